#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/client.hpp"
#include "core/record.hpp"
#include "core/transport.hpp"

namespace courier {

enum class Outcome { succeeded, rejected, skipped, unknown, aborted };

std::string_view to_text(Outcome outcome);

struct Settled {
	Record record; // moved back, with id, change and key
	Outcome outcome = Outcome::succeeded;
	int http_status = 0;
	std::string code;
	std::string message;
	std::string remote_id;
};

// One exchange, for the request log. Text is redacted already and capped at 64 kB a body.
struct Exchange {
	Operation operation = Operation::upsert;
	std::size_t records = 0;
	int attempt = 1;
	std::string method, url, request_headers, request_body; // headers as a JSON object
	int http_status = 0;
	std::string response_body;
	std::chrono::microseconds duration {0};
	std::string error;
	bool failed = false;
	std::vector<std::string> keys;
};

struct DeliveryOptions {
	std::size_t batch_size = 0;  // 0: the client's limit; never over it
	std::size_t concurrency = 0; // 0: the client's limit
	std::chrono::milliseconds timeout {30000};
	int max_attempts = 5;
	double max_rejected = 0.9; // share of the last 100 outcomes
	std::optional<std::size_t> max_rejected_count;
	std::chrono::milliseconds max_wait {15 * 60 * 1000};
	bool update_only = false;       // mode update: `missing` on a changed or added record is `skipped`
	bool log_failed = true, log_all = false;
	std::chrono::milliseconds backoff_base {500}, backoff_cap {60000};
	std::chrono::milliseconds poll_first {1000}, poll_most {30000}; // how often a job is asked for, growing
	std::chrono::milliseconds max_job_time {60 * 60 * 1000};        // how long one is waited for
	bool resuming = false; // only jobs of former runs are asked for: nothing is begun
	bool proven = false;   // another worker of the run was answered already, and not refused
	bool hold_removals = false; // until allow_removals()
};

// Which request serves which change; decided once per run from sync type, mode and what the client has.
struct OperationMap {
	std::optional<Operation> added, changed, removed;
};

// Why the whole run stops (the rest is aborted). sqlstate-free: code is one of credentials, forbidden, gone, tls,
// unreachable, throttled, too_many_rejected, blocked_address.
struct Failure {
	std::string code, message, hint;
	std::optional<std::chrono::system_clock::time_point> not_before; // throttled: when the destination may be asked again
};

// Permission to send, shared by every sync and worker of a destination. Returns how long to wait before `requests` more
// may start (zero: now). The run worker implements it over a table; unit tests with a counter.
class RateGate {
public:
	virtual ~RateGate() = default;
	// `budget` "" is the destination as a whole, whose rate the gate knows; every other has a rate or none.
	virtual std::chrono::milliseconds acquire(std::chrono::steady_clock::time_point now, const Budget &budget) = 0;
	virtual void throttled(std::chrono::milliseconds wait, const std::string &budget) = 0; // tell the others
};

// Keeps what a conversation must not forget. The run worker implements it over tables. Every method returns when its work
// is on disk, but for close() and abandon(), which belong to the settlement of what take_settled() gives next.
class JobStore {
public:
	virtual ~JobStore() = default;
	virtual std::int64_t open(Operation operation, std::span<const Record> batch, const std::string &state) = 0;
	virtual void update(std::int64_t job, const std::string &state) = 0;
	virtual void close(std::int64_t job) = 0;   // the job and its records are done with
	virtual void abandon(std::int64_t job) = 0; // its records are, but it may still be open at the destination
};

class Delivery {
public:
	using Clock = std::chrono::steady_clock;

	Delivery(DeliveryOptions options, OperationMap operations, Client &client, Transport &transport, RateGate &gate,
	         std::function<double()> random /* uniform in [0,1) */);
	~Delivery();

	void keep_jobs(JobStore &store); // before the first record
	// A job that a former run left open: what became of its records is asked for. With options.resuming; records that
	// were not taken come back as aborted, because comparing again is the way to send them.
	void resume(Operation operation, std::vector<Record> records, std::int64_t job, std::string state);

	// Hands over the next record. Additions and changes first, removals after them; end() after the last one.
	void offer(Record record);
	void end();
	bool wants_more() const; // false while the window (records and bytes) is full

	// Does what can be done now: reads finished transfers, starts new ones. Call after every wake-up.
	void step(Clock::time_point now, std::chrono::system_clock::time_point wall);
	// When step() should be called again even if no transfer finishes; nullopt: only transfers can move it.
	std::optional<Clock::time_point> next_step() const;

	std::size_t settled() const; // so many has take_settled()
	std::vector<Settled> take_settled();
	std::vector<Exchange> take_exchanges();
	std::uint64_t requests() const; // sent so far, retries included
	std::string_view waits_for() const; // in words for people; "": for nothing

	// One run, several workers: each has a Delivery, and a share of the run's concurrency.
	std::size_t concurrency() const;
	void set_concurrency(std::size_t requests); // more of them that are under way are waited for
	std::size_t under_way() const;              // requests
	bool proven() const;                        // the destination takes or refuses records one by one, as it should
	bool has_additions() const;                 // that were offered and have no outcome; changes are meant too
	void allow_removals();
	void stop(Failure reason); // another worker's reason to end the run
	std::uint64_t rejected() const;
	void rejected_elsewhere(std::uint64_t records); // so many, by the others, in all

	void cancel();  // nothing new is sent; what is in flight is settled, the rest is aborted. Who will not wait for it ends the transfers
	bool finished() const;
	const std::optional<Failure> &failure() const;

private:
	struct State;
	std::unique_ptr<State> state_;
};

} // namespace courier
