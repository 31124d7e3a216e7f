#include "core/delivery.hpp"

#include <algorithm>

#include "core/delivery_state.hpp"

// How records get to a destination.
//
// Delivery is a machine that is turned by step(): it reads what the transport finished, decides what each answer means
// for each record, and starts as many requests as it may. It has no clock, no socket and no thread of its own, so every
// situation can be played through in a test with a clock that stands still.
//
// A record is always in exactly one place: the batcher (waits for its first request), `waiting` (a batch that is sent
// again, now or later), a flight (a request that runs), the `then` list of one of those batches (a half that a
// bisection has not come to yet), held back, or settled. It moves between them and is never copied, which is why no two
// requests can carry the same record at once and why every record has exactly one outcome. settle() is the only way
// out.
//
// Refill is continuous: whenever a request ends the next batch takes its place, and batches that wait for a retry take
// no place, so that neither a slow request nor a backoff holds up the rest. Memory stays bounded because wants_more()
// closes the window while too many records are without an outcome, however that comes.
//
// Batches are cut when a slot is free, from full queues first. What is left over is only sent when nothing more can be
// added: after end(), after the first removal (additions and changes are over then), or when the window is closed.
// Requests are rendered at the moment they are sent: a token, a signature or a timestamp may be good for seconds only.
//
// Bisection is a batch that carries the halves still to come in `then`: depth first, one request at a time for each
// refused batch (others go on beside it). That order is what keeps it within 2 log2 n requests per bad record: when a
// first half turns out good, its other half is known to hold the bad record and is halved again without being sent. The
// guess costs nothing when it is wrong, because the halves get an answer of their own anyway.
//
// What stops a run (delivery_stops.cpp) only stops sending. Requests on their way are waited for and their records get
// the outcome that the answer says, because the destination has them by then.

namespace courier {

namespace {

constexpr std::size_t window_batches = 4;               // for each request that may run at once
constexpr std::size_t grouped_window = 2000;
constexpr std::size_t window_bytes = 32 * 1024 * 1024; // of record text

bool is_removal(Change change) {
	return change == Change::removed;
}

} // namespace

std::string_view to_text(Outcome outcome) {
	switch (outcome) {
	case Outcome::succeeded:
		return "succeeded";
	case Outcome::rejected:
		return "rejected";
	case Outcome::skipped:
		return "skipped";
	case Outcome::unknown:
		return "unknown";
	case Outcome::aborted:
		return "aborted";
	}
	return "aborted";
}

Delivery::State::State(DeliveryOptions given, OperationMap operations, Client &its_client, Transport &its_transport,
                       RateGate &its_gate, std::function<double()> its_random)
    : options(std::move(given)), client(its_client), transport(its_transport), gate(its_gate),
      random(std::move(its_random)), breaker(options.max_rejected, options.max_rejected_count) {
	options.max_attempts = std::max(options.max_attempts, 1);
	lanes[0].operation = operations.added;
	lanes[1].operation = operations.changed;
	lanes[2].operation = operations.removed;
	std::size_t narrowest = 0;
	for (auto change : {Change::added, Change::changed, Change::removed}) {
		auto &its = lane(change);
		if (!its.operation)
			continue;
		its.limits = client.limits(*its.operation);
		auto &records = its.limits.batch_records;
		records = std::max<std::size_t>(records, 1);
		if (options.batch_size > 0)
			records = std::min(records, options.batch_size);
		batcher.limit(change, records, its.limits.batch_bytes);
		largest_batch = std::max(largest_batch, records);
		const auto its_concurrency = std::max<std::size_t>(its.limits.concurrency, 1);
		narrowest = narrowest == 0 ? its_concurrency : std::min(narrowest, its_concurrency);
		if (const auto most = its.limits.conversations; most > 0)
			talk_limit = talk_limit == 0 ? most : std::min(talk_limit, most);
	}
	share(options.concurrency > 0 ? options.concurrency : narrowest);
	if (options.proven) {
		heard = true;
		trial.add(Refusal::none);
	}
}

void Delivery::State::share(std::size_t requests) {
	concurrency = std::max<std::size_t>(requests, 1);
	window = window_batches * concurrency * largest_batch;
	// Records of a key that has to wait must leave room for those of others.
	if (std::any_of(lanes.begin(), lanes.end(), [](auto &its) { return its.limits.grouped; }))
		window = std::max(window, grouped_window);
}

void Delivery::State::offer(Record &&record) {
	poked = true;
	const Trail trail {record.change, false, false, record.idempotency_key.size()};
	const bool removal = is_removal(record.change);
	if (removal)
		removals_offered = true;
	++(removal ? open_removals : open_upserts);
	open_bytes += text_size(record);
	if (stopping())
		settle(std::move(record), trail, Outcome::aborted, 0, {});
	else if (!lane(record.change).operation)
		settle(std::move(record), trail, Outcome::succeeded, 0, {}); // this change is not told to the destination
	else
		push(std::move(record), trail);
}

void Delivery::State::push(Record &&record, const Trail &trail) {
	const auto &its = lane(record.change);
	const auto placement = its.limits.grouped ? client.placement(*its.operation, record) : Placement {};
	batcher.push(std::move(record), trail, placement);
}

bool Delivery::State::room() const {
	// Held records are not counted: ten answers may hold more than a window, and they wait for answers still to come.
	return open_upserts + open_removals < window && open_bytes < window_bytes;
}

bool Delivery::State::flush(bool removals) const {
	return ended || (!removals && removals_offered) || !room();
}

bool Delivery::State::sendable() const {
	if (stopping() || authorizing || flights.size() >= concurrency)
		return false;
	if (const auto next = next_waiting(); next != waiting.end() && next->first <= now)
		return true;
	const bool removals = removals_may_start();
	return may_begin() && batcher.can_take(removals, flush(removals), [this](auto &budget) { return blocked(budget); });
}

// The earliest of those that may go when they are due. One that would begin a conversation waits until another has ended.
std::multimap<Delivery::State::TimePoint, Batch>::const_iterator Delivery::State::next_waiting() const {
	return std::find_if(waiting.begin(), waiting.end(), [&](auto &entry) { return entry.second.talk || may_begin(); });
}

std::optional<Batch> Delivery::State::next_batch() {
	if (const auto next = next_waiting(); next != waiting.end() && next->first <= now) {
		auto node = waiting.extract(next);
		return std::move(node.mapped());
	}
	if (!may_begin())
		return std::nullopt;
	const bool removals = removals_may_start();
	return batcher.take(removals, flush(removals), [this](auto &budget) { return blocked(budget); });
}

void Delivery::State::step(TimePoint at, WallTime wall_at) {
	now = at;
	wall = wall_at;
	poked = false;
	for (auto &finished : transport.take_finished())
		on_finished(std::move(finished));
	dispatch();
	conclude();
}

void Delivery::State::dispatch() {
	for (postpone_blocked(); sendable(); postpone_blocked()) {
		if (now < paused_until) {
			if (pause_too_long)
				fail_throttled(std::chrono::duration_cast<Milliseconds>(paused_until - now));
			return;
		}
		pause_too_long = false;
		if (now < gate_until || now < authorize_at)
			return;
		if (!permit) {
			if (const auto wait = gate.acquire(now, {}); wait > Milliseconds::zero()) {
				gate_until = now + wait;
				// Another sync was told to stay away for so long; this one would only sit on its worker.
				if (wait > options.max_wait)
					fail_throttled(wait);
				return;
			}
			permit = true;
		}
		if (auto request = client.authorize(wall)) {
			send_authorization(std::move(*request));
			return;
		}
		if (auto batch = next_batch()) {
			if (acquire(batch->budget))
				send(std::move(*batch));
			else
				enqueue(std::move(*batch), budgets[batch->budget.key].until);
		}
		check_breaker(); // records that could not be rendered are outcomes too
	}
	check_blocked();
}

void Delivery::State::send_authorization(Request request) {
	// A token that has expired before it was used would make us ask for ever.
	if (tokens_in_a_row >= 3) {
		fail({"credentials", "the destination gives tokens that cannot be used: a new one is needed at once",
		      "Look at the expiry that the token endpoint answers with, and at the clock of this server.", std::nullopt});
		return;
	}
	Flight flight;
	flight.authorization = true;
	flight.request = request;
	request.timeout = options.timeout;
	authorizing = true;
	permit = false;
	++sent;
	const auto id = next_id++;
	flights.emplace(id, std::move(flight));
	transport.start(id, std::move(request));
}

void Delivery::State::send(Batch batch) {
	if (batch.talk) {
		send_step(std::move(batch));
		return;
	}
	const auto &its = lane(batch.change);
	const auto operation = *its.operation;
	Rendered rendered = client.render(operation, batch.records, wall);
	const auto bytes = rendered.request.plain_body().size();
	if (rendered.records.size() > 1 && bytes > its.limits.batch_bytes) {
		batcher.overflowed(batch.change, body_estimate(batch), bytes);
		auto then = std::move(batch.then);
		const int attempts = batch.attempts;
		auto [first, second] = halve(std::move(batch));
		first.attempts = second.attempts = attempts;
		second.then = std::move(then);
		enqueue(std::move(first));
		enqueue(std::move(second));
		return;
	}

	// What is in the request stays in the batch. What could not be rendered is rejected; what was left for another
	// request (a client may group) goes back to the queue, unless nothing at all was done with the batch.
	enum class Place : char { left, sent, rejected };
	std::vector<Place> places(batch.size(), Place::left);
	for (auto index : rendered.records)
		places.at(index) = Place::sent;
	std::vector<const RecordVerdict *> reasons(batch.size(), nullptr);
	for (std::size_t i = 0; i < rendered.unrendered.size(); ++i) {
		places.at(rendered.unrendered[i]) = Place::rejected;
		if (i < rendered.why.size())
			reasons[rendered.unrendered[i]] = &rendered.why[i];
	}
	if (std::any_of(places.begin(), places.end(), [](Place place) { return place != Place::sent; })) {
		std::vector<std::size_t> keep, later, moved_to(batch.size(), 0);
		const bool progress = !rendered.records.empty() || !rendered.unrendered.empty();
		for (std::size_t i = 0; i < batch.size(); ++i) {
			if (places[i] == Place::sent) {
				moved_to[i] = keep.size();
				keep.push_back(i);
			} else if (places[i] == Place::left && progress) {
				later.push_back(i);
			} else {
				RecordVerdict why {Verdict::rejected};
				if (reasons[i])
					why = *reasons[i];
				if (why.code.empty())
					why.code = "not_rendered";
				settle(std::move(batch.records[i]), batch.trails[i], Outcome::rejected, 0, why);
			}
		}
		if (!later.empty())
			enqueue(pick(batch, later));
		auto then = std::move(batch.then);
		batch = pick(batch, keep);
		batch.then = std::move(then);
		for (auto &index : rendered.records)
			index = moved_to[index];
		rendered.unrendered.clear();
		rendered.why.clear();
	}
	if (batch.size() == 0) {
		resume(std::move(batch.then), false);
		return;
	}

	if (!rendered.state.empty()) {
		begin_talk(batch, operation, std::move(rendered.state), rendered.keep);
		send_step(std::move(batch));
		return;
	}

	Flight flight;
	flight.operation = operation;
	flight.batch = std::move(batch);
	flight.rendered = std::move(rendered);
	flight.rendered.request.timeout = options.timeout;
	flight.token = token;
	tokens_in_a_row = 0;
	permit = false;
	++sent;
	const auto id = next_id++;
	Request request = flight.rendered.request; // the flight keeps one: for the log, and classify() may look at it
	flights.emplace(id, std::move(flight));
	transport.start(id, std::move(request));
}

void Delivery::State::enqueue(Batch batch, TimePoint due) {
	if (stopping())
		abort(std::move(batch));
	else
		waiting.emplace(due, std::move(batch));
}

void Delivery::State::resume(std::vector<Batch> then, bool rest_is_suspect) {
	if (then.empty())
		return;
	Batch next = std::move(then.back());
	then.pop_back();
	next.then = std::move(then);
	if (rest_is_suspect && next.size() > 1)
		bisect(std::move(next));
	else
		enqueue(std::move(next));
}

void Delivery::State::bisect(Batch batch) {
	auto then = std::move(batch.then);
	auto [first, second] = halve(std::move(batch));
	then.push_back(std::move(second));
	first.then = std::move(then);
	first.first_half = true;
	enqueue(std::move(first));
}

std::optional<Delivery::Clock::time_point> Delivery::State::next_step() const {
	if (poked)
		return now;
	if (stopping() || authorizing || flights.size() >= concurrency)
		return std::nullopt;
	std::optional<TimePoint> due;
	if (sendable())
		due = now;
	else if (const auto next = next_waiting(); next != waiting.end())
		due = next->first;
	if (const auto unblocked = first_unblocked(); unblocked && !batcher.empty() && (!due || *unblocked < *due))
		due = unblocked;
	if (!due)
		return std::nullopt;
	return std::max({*due, now, paused_until, gate_until, authorize_at});
}

Delivery::Delivery(DeliveryOptions options, OperationMap operations, Client &client, Transport &transport,
                   RateGate &gate, std::function<double()> random)
    : state_(std::make_unique<State>(std::move(options), operations, client, transport, gate, std::move(random))) {}

Delivery::~Delivery() = default;

void Delivery::keep_jobs(JobStore &store) {
	state_->jobs = &store;
}

void Delivery::resume(Operation operation, std::vector<Record> records, std::int64_t job, std::string state) {
	state_->resume_job(operation, std::move(records), job, std::move(state));
}

void Delivery::offer(Record record) {
	state_->offer(std::move(record));
}

void Delivery::end() {
	state_->poked = true;
	state_->ended = true;
	state_->conclude();
}

bool Delivery::wants_more() const {
	return !state_->ended && !state_->stopping() && state_->room();
}

void Delivery::step(Clock::time_point now, std::chrono::system_clock::time_point wall) {
	state_->step(now, wall);
}

std::optional<Delivery::Clock::time_point> Delivery::next_step() const {
	return state_->next_step();
}

std::size_t Delivery::settled() const {
	return state_->settled.size();
}

std::vector<Settled> Delivery::take_settled() {
	std::vector<Settled> next;
	next.reserve(state_->settled.size()); // as many may come until the next time
	return std::exchange(state_->settled, std::move(next));
}

std::vector<Exchange> Delivery::take_exchanges() {
	return std::exchange(state_->exchanges, {});
}

std::uint64_t Delivery::requests() const {
	return state_->sent;
}

std::string_view Delivery::waits_for() const {
	if (!state_->flights.empty())
		return "an answer of the destination";
	if (state_->now < state_->paused_until)
		return "the destination, which asked to be left alone for a while";
	if (state_->now < state_->gate_until)
		return "its turn within rate_limit";
	return state_->waiting.empty() ? "" : "the time of the next attempt";
}

std::size_t Delivery::concurrency() const {
	return state_->concurrency;
}

void Delivery::set_concurrency(std::size_t requests) {
	if (requests == state_->concurrency)
		return;
	state_->poked = true;
	state_->share(requests);
}

std::size_t Delivery::under_way() const {
	return state_->flights.size();
}

bool Delivery::proven() const {
	return state_->heard && state_->trial.over();
}

bool Delivery::has_additions() const {
	return state_->open_upserts > 0;
}

void Delivery::allow_removals() {
	state_->poked = state_->poked || state_->options.hold_removals;
	state_->options.hold_removals = false;
}

void Delivery::stop(Failure reason) {
	state_->poked = true;
	state_->fail(std::move(reason));
	state_->conclude();
}

std::uint64_t Delivery::rejected() const {
	return state_->breaker.bad();
}

void Delivery::rejected_elsewhere(std::uint64_t records) {
	state_->breaker.elsewhere(records);
	state_->check_breaker();
	state_->conclude();
}

void Delivery::cancel() {
	state_->poked = true;
	state_->cancelled = true;
	state_->stop_sending();
	state_->conclude();
}

bool Delivery::finished() const {
	return (state_->ended || state_->stopping()) && state_->idle() && state_->held.empty();
}

const std::optional<Failure> &Delivery::failure() const {
	return state_->failure;
}

} // namespace courier
