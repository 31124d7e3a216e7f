#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/client.hpp"

namespace courier {

// Ends a run early when most of its records fail, rather than sending a million doomed requests. Trips when more than
// `share` of the last 100 outcomes are bad (once 100 are there), or, where a count was asked for, when more than that
// many are bad in the whole run: the count replaces the share.
class Breaker {
public:
	Breaker(double share, std::optional<std::size_t> count) : share_(share), count_(count) {}

	void add(bool bad);
	// So many were bad in other workers of the run: the count is that of all, the share is looked at by each.
	void elsewhere(std::uint64_t bad);
	std::uint64_t bad() const { return bad_; }
	bool tripped() const { return tripped_; }
	std::string describe() const; // "97 of the last 100 records", "501 records, more than 500"

private:
	static constexpr std::size_t window = 100;

	double share_;
	std::optional<std::size_t> count_;
	std::vector<bool> last_ = std::vector<bool>(window, false); // a ring
	std::uint64_t outcomes_ = 0;
	std::size_t bad_in_window_ = 0;
	std::uint64_t bad_ = 0;
	std::uint64_t elsewhere_ = 0;
	bool tripped_ = false;
};

// What an answer says about the destination as a whole while the first ones come in.
enum class Refusal {
	none,      // it takes or refuses records one by one, as it should
	forbidden, // status 403, and no record got through
	gone,      // status 410 or the verdict `gone`, and no record got through
	undecided  // only "later" (retry, throttled, auth, or nonsense): says nothing yet
};
Refusal refusal_of(int status, std::span<const RecordVerdict> verdicts);

// The first answers of a run, as long as they are refusals. A destination that answers nothing but 403 or 410 has not
// rejected ten records: the credentials lack a right, or the address is wrong, and no record should carry the blame.
//
// Precisely: an answer is a whole answer to a request with records, of any operation. Undecided answers are not
// counted, unless one settles a record (attempts used up, outcome unknown): then it is an answer that is not a refusal.
// As long as every counted answer was a refusal, the outcomes it brought are held back. An answer that is not a refusal
// ends the trial for good: what was held back is published as it is. The tenth refusal in a row from the start, or the
// end of a run that had at least one and nothing else, makes the run fail: `gone` when all were, otherwise `forbidden`.
// Refused batches that are bisected count with every request that is refused.
class Trial {
public:
	void add(Refusal refusal);
	bool over() const { return over_; }
	bool failed() const { return !over_ && refusals() >= limit; }
	std::size_t refusals() const { return forbidden_ + gone_; }
	Refusal verdict() const { return forbidden_ == 0 ? Refusal::gone : Refusal::forbidden; }

private:
	static constexpr std::size_t limit = 10;

	std::size_t forbidden_ = 0;
	std::size_t gone_ = 0;
	bool over_ = false;
};

} // namespace courier
