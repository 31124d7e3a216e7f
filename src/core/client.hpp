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
	std::string state;                   // not empty: the request is the first step of a conversation
	bool keep = false;                   // ... whose state must be on disk before the request goes out
};

// A conversation: several requests for one batch (a job is made, filled, closed, asked for its result; a record is read
// before it is written). The client says what comes next, Delivery does the rest: retries, tokens, limits, waiting.
//
// The state is a text that says all about where a conversation is (which step, which job), so that it can go on in
// another process: a JSON object whose member "step" names the step. What a step answers leads to one Move.
struct Move {
	// The answer says something about the step alone: retry, throttled, auth. The step is done again, by the rules of
	// any request.
	std::optional<RecordVerdict> repeat;
	// The conversation is over: a verdict for each record, in the order of the batch.
	std::optional<std::vector<RecordVerdict>> verdicts;
	// Neither: it goes on with the step that this state names.
	std::string state;
	bool keep = false;        // the state must be on disk before anything else happens
	bool handed_over = false; // from here on the destination works on the records by itself, whatever we do
	bool poll = false;        // the step only asks how far the destination is; Delivery says when
};

// What the answer to test() means.
struct Tested {
	std::optional<std::string> problem; // what is wrong
	std::string words;                  // what was found out, for a person
	std::optional<Request> next;        // something else to ask
};

struct Limits {
	std::size_t batch_records = 1;
	std::size_t batch_bytes = 1 << 20; // of the encoded body
	std::size_t concurrency = 8;
	bool atomic = false; // a refused batch applied nothing
	std::size_t conversations = 0; // jobs that may be open at the destination at once; 0: requests are no conversations
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

	// Whether that request tells the record by the identifier that the destination gave: then it reaches this record and no
	// other, whatever its match value is.
	virtual bool names_remote_id(Operation /* operation */, Change /* change */) const { return false; }
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

	// How many changes the run is going to send; said once, before limits().
	virtual void expect(std::uint64_t /* changes */) {}

	// Conversations. The request of the step that `state` names; the same one each time it is asked for.
	virtual Request step(Operation, std::span<const Record> /* batch */, const std::string & /* state */,
	                     std::chrono::system_clock::time_point) {
		return {};
	}
	// What a whole answer to that request leads to. A record's remote_id may be filled in: what was found out about it.
	virtual Move next(Operation, std::span<Record> /* batch */, const std::string & /* state */, const Answer &) {
		return {};
	}
	// A conversation whose process died in `state` (or later, before the next state was kept). The verdict `retry` means
	// that the records were not taken, and will not be.
	virtual Move resume(Operation, std::span<Record> /* batch */, const std::string & /* state */) { return {}; }
	// The same records may be told again in another conversation, whatever became of this one.
	virtual bool repeatable(Operation) const { return false; }

	// A harmless request that shows that address and credentials work.
	virtual Request test(std::chrono::system_clock::time_point now) = 0;
	// What its answer says. nullopt: go by the status.
	virtual std::optional<Tested> tested(const Answer &, std::chrono::system_clock::time_point) { return std::nullopt; }

	// The text with every secret of this destination (also encoded: base64, percent) replaced by "[secret]".
	virtual std::string redact(std::string text) const = 0;
};

} // namespace courier
