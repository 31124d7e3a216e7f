#pragma once

#include <array>
#include <map>
#include <unordered_map>

#include "core/batcher.hpp"
#include "core/breaker.hpp"
#include "core/delivery.hpp"

// Inside of Delivery: delivery.cpp sends, delivery_answers.cpp understands what comes back, delivery_stops.cpp ends
// runs. Nobody else includes this.

namespace courier {

struct Delivery::State {
	using TimePoint = Clock::time_point;
	using WallTime = std::chrono::system_clock::time_point;
	using Milliseconds = std::chrono::milliseconds;

	// Which request serves a kind of change, and within which limits.
	struct Lane {
		std::optional<Operation> operation;
		Limits limits;
	};

	struct Flight {
		bool authorization = false; // a request for a token; no records
		Request request;            // authorization only; else it is in `rendered`
		Operation operation = Operation::upsert;
		Batch batch;
		Rendered rendered; // indexes are those of `batch`
		std::uint64_t token = 0;
	};

	State(DeliveryOptions options, OperationMap operations, Client &client, Transport &transport, RateGate &gate,
	      std::function<double()> random);

	// delivery.cpp: sending
	void offer(Record &&record);
	void step(TimePoint at, WallTime wall_at);
	void dispatch();
	bool sendable() const;
	void push(Record &&record, const Trail &trail);
	std::optional<Batch> next_batch();
	void send(Batch batch);
	void send_authorization(Request request);
	void enqueue(Batch batch, TimePoint due = {}); // a batch to be sent (again); due in the past: now
	void resume(std::vector<Batch> then, bool rest_is_suspect);
	void bisect(Batch batch);
	std::optional<TimePoint> next_step() const;
	bool room() const;
	void share(std::size_t requests);
	bool removals_may_start() const { return open_upserts == 0 && !options.hold_removals; }
	bool flush(bool removals) const;
	Lane &lane(Change change) { return lanes[change == Change::added ? 0 : change == Change::changed ? 1 : 2]; }

	std::multimap<TimePoint, Batch>::const_iterator next_waiting() const;
	bool may_begin() const { return talk_limit == 0 || open_talks < talk_limit; }

	// conversation.cpp: several requests for one batch
	void begin_talk(Batch &batch, Operation operation, std::string state, bool keep);
	void send_step(Batch batch);
	void on_step(Flight flight, const Answer &answer);
	void on_broken_step(Flight flight, const Answer &answer);
	void proceed(Batch batch, Move move);
	void repeat_step(Batch batch, const RecordVerdict &verdict, int status);
	void end_talk(Batch &batch);   // its records get their outcomes now
	void leave_talk(Batch &batch); // a later run goes on with it, where it was kept
	void keep_state(Batch &batch);
	void resume_job(Operation operation, std::vector<Record> records, std::int64_t job, std::string state);
	void settle_resumed(Batch batch, const std::vector<RecordVerdict> &verdicts, int status, bool repeatable);

	// delivery_answers.cpp: what comes back
	void on_finished(Finished finished);
	void on_authorization(Flight flight, const Answer &answer);
	void on_answer(Flight flight, const Answer &answer);
	void judge(Flight flight, const std::vector<RecordVerdict> &verdicts, const Answer &answer);
	void on_broken(Flight flight, const Answer &answer);
	std::vector<RecordVerdict> verdicts_of(const Flight &flight, const Answer &answer) const;
	void sort_out(Flight flight, const std::vector<RecordVerdict> &verdicts, int status, bool hold);
	void switch_change(Batch &batch, std::size_t index, const RecordVerdict &verdict, int status);
	void refused_whole(Batch batch, const std::vector<RecordVerdict> &verdicts, int status, bool all, bool can_repeat,
	                   bool hold);
	void retry(Batch batch, const std::vector<RecordVerdict> &verdicts, int status, bool hold);
	void refused_token(Batch batch, const RecordVerdict &verdict, int status, std::uint64_t its_token);
	void throttled(const Answer &answer, const Budget &budget);
	void end_trial();
	void log(const Flight &flight, const Answer &answer, bool failed);
	Milliseconds backoff_for(int attempt) const;

	// delivery_budgets.cpp: budgets of keys, beside the destination's own
	struct BudgetState {
		TimePoint until {};                       // it has to wait
		std::optional<TimePoint> throttled_since; // nothing but throttling since then
		int silent_throttles = 0;                 // in a row, that did not say how long
	};
	bool blocked(const std::string &budget) const;
	void postpone_blocked();
	bool acquire(const Budget &budget);
	void throttled_alone(const Answer &answer, const Budget &budget);
	void pause_alone(const Budget &budget, Milliseconds wait);
	void answered(const Budget &budget);
	std::optional<TimePoint> first_unblocked() const;
	void check_blocked();

	// delivery_stops.cpp: outcomes, and the end of a run
	void settle(Record &&record, const Trail &trail, Outcome outcome, int status, const RecordVerdict &verdict,
	            bool hold = false);
	void publish(Settled &&settled);
	void count(const Settled &settled);
	void release_held();
	void abort(Batch batch);
	void abort_held();
	void stop_sending();
	void fail(Failure reason);
	void fail_throttled(Milliseconds wait);
	void fail_transfer(const Answer &answer); // tls, blocked
	void fail_unreachable();
	void fail_refused();
	void pause(Milliseconds wait);
	void check_breaker();
	void conclude();
	std::string words(const RecordVerdict &verdict, int status) const;

	bool stopping() const { return cancelled || failure.has_value(); }
	bool idle() const { return flights.empty() && open_upserts + open_removals + open_talks == 0; }

	DeliveryOptions options;
	std::array<Lane, 3> lanes;
	Client &client;
	Transport &transport;
	RateGate &gate;
	JobStore *jobs = nullptr;
	std::function<double()> random;
	std::size_t concurrency = 1;
	std::size_t largest_batch = 1;
	std::size_t window = 4; // records

	TimePoint now {};
	WallTime wall {};
	bool poked = false; // offer(), end() or cancel() since the last step()

	// Where a record can be: in the batcher, in `waiting`, in a flight, in the `then` of one of those, held back, settled.
	// It is moved from one to the other, never copied.
	Batcher batcher;
	std::multimap<TimePoint, Batch> waiting; // by the time they are due
	std::unordered_map<std::uint64_t, Flight> flights;
	std::vector<Settled> held;
	std::vector<Settled> settled;
	std::vector<Exchange> exchanges;
	std::size_t open_upserts = 0, open_removals = 0; // without an outcome
	std::size_t open_bytes = 0;
	std::size_t open_talks = 0, talk_limit = 0;

	bool ended = false, cancelled = false, removals_offered = false;
	std::optional<Failure> failure;
	Breaker breaker;
	Trial trial;
	std::string refusal_words; // of the last 403 or 410 of the trial
	std::string bad_words;     // of the last bad record

	std::unordered_map<std::string, BudgetState> budgets;
	bool permit = false;        // the gate has let us through for the next request
	TimePoint gate_until {};    // the gate said wait
	TimePoint paused_until {};  // the destination said wait
	bool pause_too_long = false;                // it is longer than max_wait; fatal once there is something to send
	std::optional<TimePoint> throttled_since;   // nothing but throttling since then
	int silent_throttles = 0;                   // in a row, that did not say how long

	bool authorizing = false;
	bool refreshed = false;    // forget_token() was used; once per run
	std::uint64_t token = 0;   // counts tokens, to tell a 401 that an older one got
	int tokens_in_a_row = 0;   // without a request in between
	int authorization_attempts = 0;
	TimePoint authorize_at {}; // after a failed attempt

	std::uint64_t next_id = 1;
	std::uint64_t sent = 0;
	bool heard = false;       // a whole answer arrived, whatever it said
	std::string last_broken;  // how the last transfer broke
	bool some_unknown = false; // a record may have arrived, and is not sent again by itself
};

} // namespace courier
