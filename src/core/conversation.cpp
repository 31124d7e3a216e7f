#include <algorithm>

#include "core/delivery_state.hpp"
#include "core/exchange_log.hpp"

// Several requests for one batch. The client knows the steps; this is what all destinations have in common.
//
// A conversation lives in Batch::talk. Between two steps the batch is in `waiting`, due now or when the job is asked
// for again, and during one it is in a flight, like any batch. So a job that is polled takes no connection, no
// transaction and no thread; it takes room in the window, which bounds memory, and one of Limits::conversations, which
// bounds the jobs that are open at the destination.
//
// What a step answers concerns the step (repeat), or leads to the next step, or ends the conversation with a verdict
// for each record. Those verdicts go where the verdicts of a single request go (judge), so rejecting, bisecting and
// retrying are the same; a record that is to be sent again is sent in another conversation.
//
// What must survive a crash is kept in the JobStore: the client says after which steps. From the step on that hands the
// records over, they are the destination's business whatever becomes of us: a run that stops leaves its job alone and
// says of its records that they are aborted with `job_open`. The next run asks for the result first (Delivery::resume)
// and compares only then. So a job that we can no longer ask about, because steps fail again and again, ends the run:
// to reject its records would be a guess.

namespace courier {

namespace {

using namespace std::chrono_literals;

constexpr double poll_growth = 1.5;

constexpr std::string_view asks_again = "The destination has the records of this job. The next run asks for its result "
                                        "before it compares, so nothing is sent "
                                        "twice; option max_job_time says how long a run waits.";

} // namespace

void Delivery::State::begin_talk(Batch &batch, Operation operation, std::string state, bool keep) {
	batch.talk.emplace();
	batch.talk->operation = operation;
	batch.talk->state = std::move(state);
	++open_talks;
	if (keep)
		keep_state(batch);
}

void Delivery::State::keep_state(Batch &batch) {
	auto &talk = *batch.talk;
	if (!jobs)
		return;
	if (talk.job == 0)
		talk.job = jobs->open(talk.operation, batch.records, talk.state);
	else
		jobs->update(talk.job, talk.state);
}

void Delivery::State::end_talk(Batch &batch) {
	if (!batch.talk)
		return;
	if (batch.talk->job != 0)
		jobs->close(batch.talk->job);
	batch.talk.reset();
	--open_talks;
}

void Delivery::State::leave_talk(Batch &batch) {
	if (!batch.talk)
		return;
	batch.talk.reset();
	--open_talks;
}

void Delivery::State::send_step(Batch batch) {
	Flight flight;
	flight.operation = batch.talk->operation;
	flight.rendered.request = client.step(flight.operation, batch.records, batch.talk->state, wall);
	flight.rendered.request.timeout = options.timeout;
	for (std::size_t i = 0; i < batch.size(); ++i)
		flight.rendered.records.push_back(i);
	flight.batch = std::move(batch);
	flight.token = token;
	tokens_in_a_row = 0;
	permit = false;
	++sent;
	const auto id = next_id++;
	Request request = flight.rendered.request;
	flights.emplace(id, std::move(flight));
	transport.start(id, std::move(request));
}

void Delivery::State::on_step(Flight flight, const Answer &answer) {
	if (answer.transfer != Transfer::complete) {
		on_broken_step(std::move(flight), answer);
		return;
	}
	heard = true;
	auto &batch = flight.batch;
	auto move = client.next(flight.operation, batch.records, batch.talk->state, answer);
	if (move.verdicts) {
		RecordVerdict none;
		none.bad_answer = true;
		none.message = "the destination does not say what became of this record";
		move.verdicts->resize(batch.size(), none);
		const auto refused = [](auto &its) { return its.verdict != Verdict::accepted || its.bad_answer; };
		log(flight, answer, std::any_of(move.verdicts->begin(), move.verdicts->end(), refused));
		// From here on it is the batch as a whole that may be told again or not, not the last request.
		flight.rendered.request.idempotent = client.repeatable(flight.operation);
		end_talk(batch);
		judge(std::move(flight), *move.verdicts, answer);
		return;
	}
	log(flight, answer, move.repeat.has_value());
	if (!move.repeat) {
		end_trial(); // it talks to us
		throttled_since.reset();
		silent_throttles = 0;
		if (const auto wait = client.wait(answer, wall))
			pause(*wait);
		proceed(std::move(batch), std::move(move));
	} else if (move.repeat->verdict == Verdict::throttled) {
		throttled(answer, batch.budget);
		enqueue(std::move(batch));
	} else if (move.repeat->verdict == Verdict::auth) {
		refused_token(std::move(batch), *move.repeat, answer.status, flight.token);
	} else {
		repeat_step(std::move(batch), *move.repeat, answer.status);
	}
}

void Delivery::State::proceed(Batch batch, Move move) {
	auto &talk = *batch.talk;
	talk.state = std::move(move.state);
	talk.handed_over = talk.handed_over || move.handed_over;
	talk.attempts = 0;
	if (move.keep)
		keep_state(batch);
	if (!move.poll) {
		enqueue(std::move(batch));
		return;
	}
	if (!talk.polling_since)
		talk.polling_since = now;
	if (now - *talk.polling_since >= options.max_job_time) {
		fail({"job_open",
		      "the destination was not done with " + std::to_string(batch.size()) + " records after " +
		          spell(std::chrono::duration_cast<Milliseconds>(now - *talk.polling_since)),
		      std::string(asks_again), std::nullopt});
		abort(std::move(batch));
		return;
	}
	auto interval = static_cast<double>(options.poll_first.count());
	for (int i = 0; i < talk.polls && interval < static_cast<double>(options.poll_most.count()); ++i)
		interval *= poll_growth;
	++talk.polls;
	const auto left = std::chrono::duration_cast<Milliseconds>(*talk.polling_since + options.max_job_time - now);
	const auto pace = std::min(Milliseconds(static_cast<std::int64_t>(interval)), options.poll_most);
	enqueue(std::move(batch), now + std::min(pace, left));
}

void Delivery::State::repeat_step(Batch batch, const RecordVerdict &verdict, int status) {
	auto &talk = *batch.talk;
	if (stopping()) {
		abort(std::move(batch));
		return;
	}
	if (++talk.attempts < options.max_attempts) {
		enqueue(std::move(batch), now + backoff_for(talk.attempts));
		return;
	}
	if (talk.handed_over) {
		fail({"job_open",
		      "the destination does not say what became of " + std::to_string(batch.size()) +
		          " records that it has: " + words(verdict, status),
		      std::string(asks_again), std::nullopt});
		abort(std::move(batch));
		return;
	}
	// Nothing of it was taken. What stays of a job at the destination is for the next run to end.
	const auto job = talk.job;
	leave_talk(batch);
	if (job != 0)
		jobs->abandon(job);
	auto why = verdict;
	if (why.code.empty() && status != 0)
		why.code = "http_" + std::to_string(status);
	if (options.resuming)
		why.code = "compared_again";
	for (std::size_t i = 0; i < batch.size(); ++i)
		settle(std::move(batch.records[i]), batch.trails[i], options.resuming ? Outcome::aborted : Outcome::rejected,
		       status, why);
	resume(std::move(batch.then), false);
}

void Delivery::State::on_broken_step(Flight flight, const Answer &answer) {
	log(flight, answer, true);
	last_broken = transfer_message(answer);
	const bool idempotent = flight.rendered.request.idempotent;
	auto &batch = flight.batch;
	RecordVerdict verdict {Verdict::retry};
	verdict.code = transfer_code(answer.transfer);
	verdict.message = last_broken;

	const bool gone_out = answer.transfer == Transfer::lost || answer.transfer == Transfer::cancelled;
	if (answer.transfer == Transfer::tls || answer.transfer == Transfer::blocked) {
		fail_transfer(answer);
		abort(std::move(batch));
	} else if (answer.transfer == Transfer::too_large) {
		// It would be as large the next time.
		heard = true;
		verdict.bad_answer = true;
		flight.rendered.request.idempotent = client.repeatable(flight.operation);
		end_talk(batch);
		const std::vector<RecordVerdict> verdicts(batch.size(), verdict);
		sort_out(std::move(flight), verdicts, 0, false);
	} else if (gone_out && !idempotent) {
		end_talk(batch);
		for (std::size_t i = 0; i < batch.size(); ++i)
			settle(std::move(batch.records[i]), batch.trails[i], Outcome::unknown, 0, verdict);
		resume(std::move(batch.then), false);
	} else if (answer.transfer == Transfer::cancelled) {
		abort(std::move(batch));
	} else if (!heard && !stopping() && batch.talk->attempts + 1 >= options.max_attempts) {
		fail_unreachable();
		abort(std::move(batch));
	} else {
		repeat_step(std::move(batch), verdict, 0);
	}
}

void Delivery::State::resume_job(Operation operation, std::vector<Record> records, std::int64_t job,
                                 std::string state) {
	poked = true;
	Batch batch;
	if (!records.empty())
		batch.change = records.front().change;
	for (auto &record : records) {
		const Trail trail {record.change, false, false, record.idempotency_key.size()};
		++(record.change == Change::removed ? open_removals : open_upserts);
		open_bytes += text_size(record);
		batch.add(std::move(record), trail);
	}
	begin_talk(batch, operation, std::move(state), false);
	batch.talk->job = job;
	auto move = client.resume(operation, batch.records, batch.talk->state);
	if (!move.verdicts) {
		proceed(std::move(batch), std::move(move));
		return;
	}
	move.verdicts->resize(batch.size());
	end_talk(batch);
	settle_resumed(std::move(batch), *move.verdicts, 0, client.repeatable(operation));
}

// What was not taken comes back to nobody: the comparison that follows finds it again, with the newest values.
void Delivery::State::settle_resumed(Batch batch, const std::vector<RecordVerdict> &verdicts, int status,
                                     bool repeatable) {
	for (std::size_t i = 0; i < batch.size(); ++i) {
		auto its = verdicts[i];
		auto outcome = Outcome::aborted;
		if (its.bad_answer || (its.verdict == Verdict::rejected && its.whole && batch.size() > 1))
			outcome = repeatable ? Outcome::aborted : Outcome::unknown;
		else if (its.verdict == Verdict::accepted ||
		         (its.verdict == Verdict::missing && batch.records[i].change == Change::removed))
			outcome = Outcome::succeeded;
		else if (its.verdict == Verdict::missing && options.update_only)
			outcome = Outcome::skipped;
		else if (its.verdict == Verdict::rejected || its.verdict == Verdict::gone)
			outcome = Outcome::rejected;
		if (outcome == Outcome::aborted)
			its.code = "compared_again";
		settle(std::move(batch.records[i]), batch.trails[i], outcome, status, its);
	}
}

} // namespace courier
