#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/record.hpp"
#include "core/transport.hpp"

namespace courier {

// What an answer means for one record, or (gone, auth, throttled) for the whole destination. interface.md, "response".
enum class Verdict { accepted, exists, missing, rejected, split, retry, throttled, auth, gone };

struct RecordVerdict {
	Verdict verdict = Verdict::accepted;
	bool bad_answer = false; // the answer does not fit its mapper: retry where idempotent, then rejected with bad_answer
	bool whole = false;      // said of the request, no record was named: of several rejected like this, bisect (or unknown)
	std::string code;        // the destination's own code, or ours (bad_path_value, bad_answer, ...)
	std::string message;
	std::string remote_id;
};

// One request for a batch, or the reason why a record cannot be rendered at all (bad_path_value, unknown_remote_id).
struct Rendered {
	Request request;
	std::vector<std::size_t> records;    // indexes into the batch, in the order the body has them
	std::vector<std::size_t> unrendered; // indexes that were left out
	std::vector<RecordVerdict> why;      // as long as unrendered
};

struct Limits {
	std::size_t batch_records = 1;
	std::size_t batch_bytes = 1 << 20; // of the encoded body
	std::size_t concurrency = 8;
	bool atomic = false; // a refused batch applied nothing
	std::optional<double> rate; // requests a second to the destination, where the sync says nothing
	bool grouped = false;       // placement() may tell records apart
};

// What a request counts against besides the destination's own rate. An empty key: nothing.
struct Budget {
	std::string key;
	std::optional<double> rate; // requests a second
	bool waits_alone = false;   // a throttled answer is about this budget only, not about the destination
};

// Which records may share a request.
struct Placement {
	std::string group;  // a request carries records of one group (and of one budget)
	std::string unique; // and never two with the same text here; empty: it does not matter
	Budget budget;
};

// A configured destination, as one sync sees it. Every method is a pure function of its arguments and of the token the
// client holds; sockets, clocks and retries belong to Delivery.
class Client {
public:
	virtual ~Client() = default;

	virtual Limits limits(Operation operation) const = 0;
	virtual bool has(Operation operation) const = 0; // is there a request for it
	// The operation to ask for when `wanted` is wanted for a record with this change (upsert may be served by insert and
	// update; a message may exist for one change only). nullopt: nothing serves it.
	virtual std::optional<Operation> serves(Operation wanted, Change /* change */) const {
		return has(wanted) ? std::optional(wanted) : std::nullopt;
	}

	virtual Placement placement(Operation /* operation */, const Record & /* record */) const { return {}; }

	// A request that must be answered before any other (a token). nullopt: none needed now.
	virtual std::optional<Request> authorize(std::chrono::system_clock::time_point now) = 0;
	// Takes the answer of authorize(); an error message when it is not a token.
	virtual std::optional<std::string> authorized(const Answer &answer, std::chrono::system_clock::time_point now) = 0;
	// After a 401: forget the token. False when there is nothing that could be refreshed.
	virtual bool forget_token() = 0;

	virtual Rendered render(Operation operation, std::span<const Record> batch,
	                        std::chrono::system_clock::time_point now) = 0;
	// As many verdicts as rendered.records, in that order.
	virtual std::vector<RecordVerdict> classify(Operation operation, const Rendered &rendered,
	                                            std::span<const Record> batch, const Answer &answer) const = 0;
	// How long the destination asks us to wait, from this answer's headers or body.
	virtual std::optional<std::chrono::milliseconds> wait(const Answer &answer,
	                                                      std::chrono::system_clock::time_point now) const = 0;

	// A harmless request that shows that address and credentials work.
	virtual Request test(std::chrono::system_clock::time_point now) = 0;

	// The text with every secret of this destination (also encoded: base64, percent) replaced by "[secret]".
	virtual std::string redact(std::string text) const = 0;
};

} // namespace courier
