#include <algorithm>

#include "core/delivery_state.hpp"
#include "core/exchange_log.hpp"

// Outcomes, and what ends a run before its last record. Ending means: nothing new is sent, everything that is not on
// its way is aborted (the next run finds it again, because the snapshot moves only for what was accepted), and what is
// on its way is waited for.

namespace courier {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t message_cap = 2000; // in a record's outcome
constexpr std::size_t code_cap = 200;
constexpr std::size_t words_cap = 300; // quoted in a failure

} // namespace

void Delivery::State::settle(Record &&record, const Trail &trail, Outcome outcome, int status,
                             const RecordVerdict &verdict, bool hold) {
	--(trail.offered == Change::removed ? open_removals : open_upserts);
	open_bytes -= text_size(record);
	record.change = trail.offered;
	record.idempotency_key.shorten(trail.key_length);
	Settled &its = (hold ? held : settled).emplace_back();
	its.record = std::move(record);
	// Not unsent: were it aborted, the next run would send it as something new, with another idempotency key.
	const bool sent_in_vain = outcome == Outcome::aborted && cancelled && !failure && trail.lost;
	its.outcome = sent_in_vain ? Outcome::rejected : outcome;
	its.http_status = status;
	if (sent_in_vain) {
		its.code = transfer_code(Transfer::lost);
		its.message = "the answer was lost, and the run was cancelled before it was sent again";
	} else if (outcome == Outcome::aborted) {
		its.code = !verdict.code.empty() ? verdict.code : failure ? failure->code : "cancelled";
		its.message = verdict.message;
	} else {
		its.code = tidy(client, verdict.code, code_cap);
		its.message = tidy(client, verdict.message, message_cap);
		its.remote_id = clean_utf8(verdict.remote_id);
	}
	if (!hold)
		count(its);
}

void Delivery::State::publish(Settled &&its) {
	settled.push_back(std::move(its));
	count(settled.back());
}

void Delivery::State::count(const Settled &its) {
	const bool bad = its.outcome == Outcome::rejected || its.outcome == Outcome::unknown;
	const bool was_sent = bad || its.http_status != 0;
	if (its.outcome != Outcome::aborted && was_sent)
		breaker.add(bad);
	some_unknown = some_unknown || its.outcome == Outcome::unknown;
	if (bad)
		bad_words = its.code + (its.message.empty() ? "" : ": " + its.message);
}

void Delivery::State::release_held() {
	for (auto &its : std::exchange(held, {}))
		publish(std::move(its));
}

void Delivery::State::abort_held() {
	for (auto &its : std::exchange(held, {})) {
		its.outcome = Outcome::aborted;
		its.code = failure ? failure->code : "cancelled";
		publish(std::move(its));
	}
}

void Delivery::State::abort(Batch batch) {
	RecordVerdict why;
	if (batch.talk && batch.talk->handed_over) {
		why.code = "job_open";
		why.message = "the destination has this record and was not done with it; the next run asks what became of it";
	}
	leave_talk(batch);
	for (std::size_t i = 0; i < batch.size(); ++i)
		settle(std::move(batch.records[i]), batch.trails[i], Outcome::aborted, 0, why);
	for (auto &next : batch.then)
		abort(std::move(next));
}

void Delivery::State::stop_sending() {
	for (auto &[due, batch] : std::exchange(waiting, {}))
		abort(std::move(batch));
	for (auto &batch : batcher.take_all())
		abort(std::move(batch));
}

void Delivery::State::fail(Failure reason) {
	if (failure)
		return; // the first reason is the reason
	failure = std::move(reason);
	stop_sending();
}

void Delivery::State::fail_throttled(Milliseconds wait) {
	fail({"throttled",
	      "the destination asks to wait " + spell(wait) + ", and max_wait allows " + spell(options.max_wait),
	      "The next run goes on where this one stopped, and does not start before the time the destination gave. Lower "
	      "rate_limit to stay below its limits, or raise max_wait.",
	      wall + wait});
}

void Delivery::State::fail_transfer(const Answer &answer) {
	const auto what = tidy(client, transfer_message(answer), words_cap);
	if (answer.transfer == Transfer::tls)
		fail({"tls", what,
		      "The destination's certificate must be valid for its host name and come from a known authority; a private one "
		      "can be named in the destination's config. Nothing was sent.",
		      std::nullopt});
	else
		fail({"blocked_address", what,
		      "Private, loopback and link-local addresses are refused unless a superuser lists them in "
		      "pg_courier.allow_addresses. Nothing was sent.",
		      std::nullopt});
}

void Delivery::State::fail_unreachable() {
	fail({"unreachable",
	      "the destination never answered (" + std::to_string(sent) + (sent == 1 ? " request): " : " requests): ") +
	          tidy(client, last_broken, words_cap),
	      "Check the destination's address with courier.test_destination, and whether this server may reach it (DNS, "
	      "firewall, proxy). No record was rejected; the next run sends them again" +
	          std::string(some_unknown ? ", but for those that may have arrived: they stand in courier.rejected_records "
	                                     "as unknown, until courier.retry_rejected or courier.discard_rejected."
	                                   : "."),
	      std::nullopt});
}

void Delivery::State::fail_refused() {
	const bool gone = trial.verdict() == Refusal::gone;
	const auto count = trial.refusals();
	std::string message = "the destination answered ";
	message += count == 1 ? "the only request" : "all of the first " + std::to_string(count) + " requests";
	message += gone ? " that its address is gone" : " that it is forbidden";
	if (!refusal_words.empty())
		message += ": " + refusal_words;
	fail({gone ? "gone" : "forbidden", std::move(message),
	      gone ? "The object or address does not exist any more. Check the sync's object and paths, and the destination's "
	             "base_url."
	           : "The credentials are known but lack the right for this. Give them the right at the destination, or check "
	             "the sync's object and paths.",
	      std::nullopt});
	abort_held();
}

void Delivery::State::pause(Milliseconds wait) {
	wait = std::min<Milliseconds>(wait, 24h * 365); // a header may say anything, and clocks count nanoseconds
	const auto until = now + wait;
	if (wait <= 0ms || until <= paused_until)
		return;
	paused_until = until;
	pause_too_long = wait > options.max_wait;
	gate.throttled(wait, {});
}

void Delivery::State::check_breaker() {
	if (!breaker.tripped() || stopping())
		return;
	cut_utf8(bad_words, words_cap);
	fail({"too_many_rejected", breaker.describe() + " were not accepted; the last one: " + bad_words,
	      "Look at courier.rejected_records for the reasons. The rest was not sent and is tried at the next run; option "
	      "max_rejected says how many may fail.",
	      std::nullopt});
}

void Delivery::State::conclude() {
	if (!idle())
		return;
	if (stopping())
		abort_held();
	else if (ended && !held.empty())
		fail_refused();
	else if (ended && !heard && !last_broken.empty())
		fail_unreachable(); // requests were lost on the way, and nothing else happened
}

std::string Delivery::State::words(const RecordVerdict &verdict, int status) const {
	auto text = verdict.message.empty() ? verdict.code : verdict.message;
	text = tidy(client, std::move(text), words_cap);
	const auto http = "HTTP " + std::to_string(status);
	return text.empty() ? http : text + " (" + http + ")";
}

} // namespace courier
