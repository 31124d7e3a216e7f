#include "core/breaker.hpp"

#include <algorithm>

namespace courier {

void Breaker::add(bool bad) {
	const auto slot = outcomes_ % window;
	if (last_[slot])
		--bad_in_window_;
	last_[slot] = bad;
	++outcomes_;
	if (bad) {
		++bad_in_window_;
		++bad_;
	}
	if (count_)
		tripped_ = tripped_ || bad_ + elsewhere_ > *count_;
	else if (outcomes_ >= window)
		tripped_ = tripped_ || static_cast<double>(bad_in_window_) > share_ * static_cast<double>(window);
}

void Breaker::elsewhere(std::uint64_t bad) {
	elsewhere_ = bad;
	if (count_)
		tripped_ = tripped_ || bad_ + elsewhere_ > *count_;
}

std::string Breaker::describe() const {
	if (count_)
		return std::to_string(bad_ + elsewhere_) + " records, more than " + std::to_string(*count_);
	return std::to_string(bad_in_window_) + " of the last " + std::to_string(window) + " records";
}

Refusal refusal_of(int status, std::span<const RecordVerdict> verdicts) {
	if (verdicts.empty())
		return Refusal::undecided;
	const auto all = [&](auto test) { return std::all_of(verdicts.begin(), verdicts.end(), test); };
	const bool nothing_through = all([](auto &verdict) {
		return verdict.verdict == Verdict::rejected || verdict.verdict == Verdict::gone || verdict.bad_answer;
	});
	if (nothing_through && status == 403)
		return Refusal::forbidden;
	if (nothing_through && status == 410)
		return Refusal::gone;
	if (all([](auto &verdict) { return verdict.verdict == Verdict::gone && !verdict.bad_answer; }))
		return Refusal::gone;
	const bool later = all([](auto &verdict) {
		return verdict.bad_answer || verdict.verdict == Verdict::retry || verdict.verdict == Verdict::throttled ||
		       verdict.verdict == Verdict::auth;
	});
	return later ? Refusal::undecided : Refusal::none;
}

void Trial::add(Refusal refusal) {
	if (over_)
		return;
	switch (refusal) {
	case Refusal::none:
		over_ = true;
		break;
	case Refusal::forbidden:
		++forbidden_;
		break;
	case Refusal::gone:
		++gone_;
		break;
	case Refusal::undecided:
		break;
	}
}

} // namespace courier
