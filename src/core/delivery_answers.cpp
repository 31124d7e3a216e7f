#include <algorithm>

#include "core/delivery_state.hpp"
#include "core/exchange_log.hpp"
#include "core/retry.hpp"

// What an answer, or the lack of one, means for the records that were in the request. The client says what the answer
// means (a verdict for each record); what follows from a verdict is decided here, the same for every destination.

namespace courier {

namespace {

using namespace std::chrono_literals;

// The code of a rejected record when the destination gave none.
std::string code_or_status(const RecordVerdict &verdict, int status) {
	if (!verdict.code.empty() || status == 0)
		return verdict.code;
	return "http_" + std::to_string(status);
}

RecordVerdict with_code(RecordVerdict verdict, int status) {
	verdict.code = verdict.bad_answer ? "bad_answer" : code_or_status(verdict, status);
	return verdict;
}

// An answer to a token request that is worth asking again for.
bool passes_by_itself(const Answer &answer) {
	if (answer.transfer != Transfer::complete)
		return true;
	return answer.status >= 500 || answer.status == 408 || answer.status == 425 || answer.status == 429;
}

} // namespace

Delivery::State::Milliseconds Delivery::State::backoff_for(int attempt) const {
	return backoff(attempt, options.backoff_base, options.backoff_cap, random());
}

void Delivery::State::on_finished(Finished finished) {
	auto node = flights.extract(finished.id);
	if (node.empty())
		return; // not ours
	auto &flight = node.mapped();
	if (flight.authorization)
		on_authorization(std::move(flight), finished.answer);
	else if (flight.batch.talk)
		on_step(std::move(flight), finished.answer);
	else if (finished.answer.transfer == Transfer::complete)
		on_answer(std::move(flight), finished.answer);
	else
		on_broken(std::move(flight), finished.answer);
	check_breaker();
}

void Delivery::State::on_authorization(Flight flight, const Answer &answer) {
	authorizing = false;
	std::optional<std::string> error;
	if (answer.transfer == Transfer::complete)
		error = client.authorized(answer, wall);
	else
		error = last_broken = transfer_message(answer);
	log(flight, answer, error.has_value());
	if (!error) {
		++token;
		++tokens_in_a_row;
		authorization_attempts = 0;
		authorize_at = {};
		return;
	}
	if (stopping())
		return;
	if (answer.transfer == Transfer::tls || answer.transfer == Transfer::blocked) {
		fail_transfer(answer);
		return;
	}
	if (passes_by_itself(answer) && ++authorization_attempts < options.max_attempts) {
		auto wait = backoff_for(authorization_attempts);
		if (answer.transfer == Transfer::complete)
			wait = std::max(wait, std::min<Milliseconds>(client.wait(answer, wall).value_or(0ms), 24h * 365));
		authorize_at = now + wait;
		if (wait > options.max_wait)
			fail_throttled(wait);
		return;
	}
	if (answer.transfer != Transfer::complete && !heard) {
		fail_unreachable();
		return;
	}
	fail({"credentials", "no token could be had with the credentials of the destination: " + tidy(client, *error, 300),
	      "Check the destination's secrets and the address of its token endpoint; courier.test_destination tries them. "
	      "Correct them with courier.alter_destination.",
	      std::nullopt});
}

// One verdict for each record, in the order of the batch, however many the client gave.
std::vector<RecordVerdict> Delivery::State::verdicts_of(const Flight &flight, const Answer &answer) const {
	auto given = client.classify(flight.operation, flight.rendered, flight.batch.records, answer);
	const auto &sent = flight.rendered.records;
	const auto in_order = [&] {
		for (std::size_t i = 0; i < sent.size(); ++i)
			if (sent[i] != i)
				return false;
		return true;
	};
	if (given.size() == flight.batch.size() && sent.size() == given.size() && in_order())
		return given;
	RecordVerdict none;
	none.bad_answer = true;
	none.message = "the answer does not say what became of this record";
	std::vector<RecordVerdict> verdicts(flight.batch.size(), none);
	for (std::size_t i = 0; i < sent.size() && i < given.size(); ++i)
		verdicts[sent[i]] = std::move(given[i]);
	return verdicts;
}

void Delivery::State::on_answer(Flight flight, const Answer &answer) {
	heard = true;
	const auto verdicts = verdicts_of(flight, answer);
	log(flight, answer, std::any_of(verdicts.begin(), verdicts.end(), [](auto &its) {
		    return its.verdict != Verdict::accepted || its.bad_answer;
	    }));
	judge(std::move(flight), verdicts, answer);
}

void Delivery::State::judge(Flight flight, const std::vector<RecordVerdict> &verdicts, const Answer &answer) {
	const auto any = [&](auto test) { return std::any_of(verdicts.begin(), verdicts.end(), test); };
	const auto refusal = refusal_of(answer.status, verdicts);
	bool hold = false;
	if (refusal == Refusal::none) {
		end_trial();
	} else if (refusal != Refusal::undecided && !trial.over()) {
		hold = true;
		refusal_words = words(verdicts.front(), answer.status);
		trial.add(refusal);
	}

	if (any([](auto &its) { return its.verdict == Verdict::throttled && !its.bad_answer; })) {
		throttled(answer, flight.batch.budget);
	} else {
		throttled_since.reset();
		silent_throttles = 0;
		answered(flight.batch.budget);
		// The last request that the limit allowed may say so, with any status.
		if (const auto wait = client.wait(answer, wall))
			flight.batch.budget.waits_alone ? pause_alone(flight.batch.budget, *wait) : pause(*wait);
	}

	sort_out(std::move(flight), verdicts, answer.status, hold);
	if (trial.failed() && !stopping())
		fail_refused();
}

void Delivery::State::sort_out(Flight flight, const std::vector<RecordVerdict> &verdicts, int status, bool hold) {
	auto &batch = flight.batch;
	const auto all = batch.size();
	const bool idempotent = flight.rendered.request.idempotent;
	if (options.resuming) {
		settle_resumed(std::move(batch), verdicts, status, idempotent);
		return;
	}
	auto then = std::move(batch.then);
	bool all_good = true;
	std::vector<std::size_t> again, later, unauthorized, smaller, whole;
	for (std::size_t i = 0; i < all; ++i) {
		const auto &its = verdicts[i];
		all_good = all_good && its.verdict == Verdict::accepted && !its.bad_answer;
		const auto out = [&](Outcome outcome, bool is_held = false) {
			settle(std::move(batch.records[i]), batch.trails[i], outcome, status,
			       outcome == Outcome::succeeded ? its : with_code(its, status), is_held);
		};
		if (its.bad_answer) {
			if (idempotent) {
				again.push_back(i);
			} else {
				if (!hold)
					end_trial();
				out(Outcome::unknown, hold);
			}
			continue;
		}
		switch (its.verdict) {
		case Verdict::accepted:
			out(Outcome::succeeded);
			break;
		case Verdict::exists:
		case Verdict::missing:
			switch_change(batch, i, its, status);
			break;
		case Verdict::rejected:
			if (its.whole && all > 1)
				whole.push_back(i);
			else
				out(Outcome::rejected, hold);
			break;
		case Verdict::gone:
			out(Outcome::rejected, hold);
			break;
		case Verdict::split:
			if (all > 1)
				smaller.push_back(i);
			else
				out(Outcome::rejected);
			break;
		case Verdict::retry:
			again.push_back(i);
			break;
		case Verdict::throttled:
			later.push_back(i);
			break;
		case Verdict::auth:
			unauthorized.push_back(i);
			break;
		}
	}

	// Those that go on. When that is the whole batch, what a bisection has still to send goes on behind it.
	const auto take = [&](const std::vector<std::size_t> &indexes) {
		Batch taken = pick(batch, indexes);
		if (indexes.size() == all) {
			taken.then = std::move(then);
			taken.first_half = batch.first_half;
		}
		return taken;
	};
	const auto verdicts_at = [&](const std::vector<std::size_t> &indexes) {
		std::vector<RecordVerdict> picked;
		for (auto index : indexes)
			picked.push_back(verdicts[index]);
		return picked;
	};
	if (!later.empty())
		enqueue(take(later)); // the pause holds it back, and it is the same attempt
	if (!unauthorized.empty())
		refused_token(take(unauthorized), verdicts[unauthorized.front()], status, flight.token);
	if (!smaller.empty()) {
		Batch taken = take(smaller);
		if (smaller.size() == all) {
			auto rest = std::move(taken.then);
			auto [first, second] = halve(std::move(taken));
			second.then = std::move(rest);
			enqueue(std::move(first));
			enqueue(std::move(second));
		} else {
			enqueue(std::move(taken)); // it is smaller already
		}
	}
	if (!whole.empty()) {
		const bool can_repeat = idempotent || lane(batch.change).limits.atomic;
		refused_whole(take(whole), verdicts_at(whole), status, whole.size() == all, can_repeat, hold);
	}
	if (!again.empty())
		retry(take(again), verdicts_at(again), status, hold);
	resume(std::move(then), all_good && batch.first_half);
}

// The destination knows the record although we thought it did not, or the other way round. Once each way: a destination
// that says one thing and then the other will not be convinced by a third request.
void Delivery::State::switch_change(Batch &batch, std::size_t index, const RecordVerdict &verdict, int status) {
	auto &record = batch.records[index];
	auto trail = batch.trails[index];
	auto outcome = Outcome::rejected;
	std::optional<Change> change;
	if (verdict.verdict == Verdict::exists) {
		if (record.change == Change::added && !trail.existed && lane(Change::changed).operation) {
			trail.existed = true;
			change = Change::changed;
		}
	} else if (record.change == Change::removed) {
		outcome = Outcome::succeeded;
	} else if (options.update_only) {
		outcome = Outcome::skipped;
	} else if (record.change == Change::changed && !trail.missed && lane(Change::added).operation) {
		trail.missed = true;
		change = Change::added;
	}
	if (change && stopping()) {
		settle(std::move(record), trail, Outcome::aborted, status, {});
	} else if (change) {
		// Another request about the same record: a destination that remembers keys must not answer with its first answer.
		record.change = *change;
		record.idempotency_key.shorten(trail.key_length);
		record.idempotency_key.append("-");
		record.idempotency_key.append(to_text(*change));
		push(std::move(record), trail);
	} else {
		auto why = verdict;
		if (outcome == Outcome::rejected && why.code.empty())
			why.code = verdict.verdict == Verdict::exists ? "exists" : "missing";
		settle(std::move(record), trail, outcome, status, why);
	}
}

// A request was refused and the answer names no record. Where a repetition can do no harm the bad ones are looked for.
void Delivery::State::refused_whole(Batch batch, const std::vector<RecordVerdict> &verdicts, int status, bool all,
                                    bool can_repeat, bool hold) {
	if (!can_repeat) {
		for (std::size_t i = 0; i < batch.size(); ++i)
			settle(std::move(batch.records[i]), batch.trails[i], Outcome::unknown, status, with_code(verdicts[i], status),
			       hold);
		resume(std::move(batch.then), false);
		return;
	}
	batch.attempts = 0;
	if (stopping())
		abort(std::move(batch));
	else if (all)
		bisect(std::move(batch));
	else
		enqueue(std::move(batch)); // others were named; these were only in bad company
}

void Delivery::State::retry(Batch batch, const std::vector<RecordVerdict> &verdicts, int status, bool hold) {
	++batch.attempts;
	if (stopping()) {
		abort(std::move(batch));
		return;
	}
	if (batch.attempts < options.max_attempts) {
		enqueue(std::move(batch), now + backoff_for(batch.attempts));
		return;
	}
	if (status != 0 && !hold)
		end_trial();
	for (std::size_t i = 0; i < batch.size(); ++i)
		settle(std::move(batch.records[i]), batch.trails[i], Outcome::rejected, status, with_code(verdicts[i], status),
		       hold);
	resume(std::move(batch.then), false);
}

// A 401. Requests that were under way while the token was replaced had the old one; they just go again.
void Delivery::State::refused_token(Batch batch, const RecordVerdict &verdict, int status, std::uint64_t its_token) {
	if (stopping()) {
		abort(std::move(batch));
		return;
	}
	if (its_token == token) {
		if (refreshed || !client.forget_token()) {
			fail({"credentials", "the destination refused the credentials: " + words(verdict, status),
			      "Check the destination's secrets; courier.test_destination tries them. Correct them with "
			      "courier.alter_destination; the next run goes on from here.",
			      std::nullopt});
			abort(std::move(batch));
			return;
		}
		refreshed = true;
		++token;
	}
	enqueue(std::move(batch));
}

void Delivery::State::throttled(const Answer &answer, const Budget &budget) {
	if (budget.waits_alone) {
		throttled_alone(answer, budget);
		return;
	}
	if (!throttled_since)
		throttled_since = now;
	auto wait = std::min<Milliseconds>(client.wait(answer, wall).value_or(0ms), 24h * 365);
	if (wait <= 0ms) {
		if (now < paused_until)
			return; // one of several that were under way when the first was told
		++silent_throttles;
		wait = std::max<Milliseconds>(1s, backoff(silent_throttles, 1s, options.backoff_cap, random()));
	}
	pause(wait);
	// Asking for a minute again and again comes to the same as asking for an hour.
	if (!stopping() && (wait > options.max_wait || now - *throttled_since > options.max_wait))
		fail_throttled(wait);
}

void Delivery::State::on_broken(Flight flight, const Answer &answer) {
	log(flight, answer, true);
	last_broken = transfer_message(answer);
	const bool idempotent = flight.rendered.request.idempotent;
	auto &batch = flight.batch;
	RecordVerdict verdict {Verdict::retry};
	verdict.code = transfer_code(answer.transfer);
	verdict.message = last_broken;

	const auto all_unknown = [&] {
		for (std::size_t i = 0; i < batch.size(); ++i)
			settle(std::move(batch.records[i]), batch.trails[i], Outcome::unknown, 0, verdict);
		resume(std::move(batch.then), false);
	};
	switch (answer.transfer) {
	case Transfer::complete:
		break;
	case Transfer::tls:
	case Transfer::blocked:
		fail_transfer(answer);
		abort(std::move(batch));
		return;
	case Transfer::too_large:
		heard = true;
		verdict.bad_answer = true;
		[[fallthrough]];
	case Transfer::lost:
	case Transfer::cancelled: // its answer is as good as lost
		if (!idempotent) {
			all_unknown();
			return;
		}
		for (auto &trail : batch.trails)
			trail.lost = true;
		break;
	case Transfer::unresolved:
	case Transfer::refused:
	case Transfer::unsent:
		break;
	}
	if (!heard && !stopping() && batch.attempts + 1 >= options.max_attempts) {
		fail_unreachable();
		abort(std::move(batch));
		return;
	}
	const std::vector<RecordVerdict> verdicts(batch.size(), verdict);
	retry(std::move(batch), verdicts, 0, false);
}

void Delivery::State::end_trial() {
	if (trial.over() || stopping())
		return;
	trial.add(Refusal::none);
	release_held();
}

void Delivery::State::log(const Flight &flight, const Answer &answer, bool failed) {
	if (!options.log_all && !(options.log_failed && failed))
		return;
	const auto &request = flight.authorization ? flight.request : flight.rendered.request;
	auto exchange = describe_exchange(client, request, answer, !flight.authorization);
	exchange.operation = flight.operation;
	exchange.records = flight.batch.size();
	exchange.attempt = (flight.authorization ? authorization_attempts : flight.batch.attempts) + 1;
	exchange.failed = failed;
	for (auto &record : flight.batch.records)
		exchange.keys.push_back(record.key);
	exchanges.push_back(std::move(exchange));
}

} // namespace courier
