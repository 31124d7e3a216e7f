#include "pg/settlement.hpp"

#include <algorithm>

#include "core/plan_doubt.hpp"
#include "pg/change_log.hpp"
#include "pg/fault.hpp"
#include "pg/jobs.hpp"
#include "pg/snapshot_rows.hpp"

extern "C" {
#include "mb/pg_wchar.h"
}

// The order inside the transaction does not matter for crashes (all of it or nothing is there afterwards); it does for
// locks: snapshot first, then our own tables, as everywhere. Several workers of a run (run_team.cpp) settle at the same
// time. The records of each are its own, and so are their rows in the snapshot, among the rejected records and in the
// logs. What they share is the row of the sync's state and that of the run, which count: by increments, in this order,
// and last, so that they are held for the commit alone.

namespace courier::pg {

namespace {

int index_of(Change change) {
	return change == Change::added ? 0 : change == Change::changed ? 1 : 2;
}

std::optional<std::string> or_null(std::string text) {
	return text.empty() ? std::nullopt : std::optional(std::move(text));
}

// By TID into the run's scratch: PostgreSQL must not read the whole of it for a thousand records.
std::vector<std::pair<std::string, std::string>> tid_settings() {
	return {{"enable_hashjoin", "off"}, {"enable_mergejoin", "off"}, {"enable_seqscan", "off"}};
}

} // namespace

std::string storable(std::string_view text, std::size_t most) {
	std::string out;
	auto *at = reinterpret_cast<const unsigned char *>(text.data());
	std::size_t left = text.size();
	while (left > 0 && out.size() < most) {
		int length = *at == 0 ? -1 : pg_utf_mblen(at);
		if (length > 0 && static_cast<std::size_t>(length) <= left && pg_utf8_islegal(at, length)) {
			out.append(reinterpret_cast<const char *>(at), static_cast<std::size_t>(length));
			at += length;
			left -= static_cast<std::size_t>(length);
		} else {
			out += "\xEF\xBF\xBD";
			at++;
			left--;
		}
	}
	return out;
}

void count_snapshot(int sync_id, std::int64_t change) {
	if (change != 0)
		spi_execute("UPDATE courier_internal.sync_state SET snapshot_records = GREATEST(snapshot_records + $2, 0)"
		            " WHERE sync_id = $1",
		            sync_id, change);
}

namespace {

// Not refused by the destination: it may have done it, and its answer was lost or was none.
bool may_have_arrived(const Settled &one) {
	if (one.outcome == Outcome::unknown)
		return true;
	return one.outcome == Outcome::rejected &&
	       (one.http_status >= 500 || one.code == "connection_lost" || one.code == "bad_answer");
}

} // namespace

void Settlement::settle(std::vector<Settled> settled, std::vector<Exchange> exchanges, UnderwayRecords &underway,
                        std::uint64_t requests) {
	COURIER_FAULT("before_settle");
	if (held_ == Held::by_job)
		std::erase_if(settled, [&](const Settled &one) {
			if (one.outcome != Outcome::aborted)
				return false;
			underway.erase(one.record.id);
			return true;
		});
	const auto counted = counted_requests_;
	try {
		write(settled, exchanges, underway, requests);
	} catch (const PgError &error) {
		// Somebody wrote to the snapshot. What the destination has answered must not be lost for it.
		if (error.sqlstate != "23505" || one_by_one_)
			throw;
		one_by_one_ = true;
		counted_requests_ = counted;
		write(settled, exchanges, underway, requests);
	}
	jobs_.forget_ends();
	COURIER_FAULT("after_settle");
	for (auto &one : settled)
		underway.erase(one.record.id);
}

void Settlement::write(const std::vector<Settled> &settled, const std::vector<Exchange> &exchanges,
                       const UnderwayRecords &underway, std::uint64_t requests) {
	Transaction transaction;
	{
		Spi spi;
		const std::int64_t growth = move_snapshot(settled, underway);
		write_rejected(settled, underway);
		write_changes(settled, underway);
		write_requests(exchanges);
		jobs_.write_ends();
		count_snapshot(run_.sync_id, growth);
		write_counters(settled, underway, requests);
	}
	transaction.commit();
}

std::int64_t Settlement::move_snapshot(const std::vector<Settled> &settled, const UnderwayRecords &underway) {
	std::vector<AcceptedChange> plain;
	std::vector<Tid> accepted, skipped, renamed, removed, former_removed, in_doubt;
	std::vector<std::optional<std::string>> remote_ids;
	std::int64_t snapshot_change = 0;
	for (auto &one : settled) {
		const Underway &known = underway[one.record.id];
		const Tid tid = known.tid;
		const bool removal = known.change == Change::removed;
		if (one.outcome == Outcome::succeeded && removal) {
			(known.former ? former_removed : removed).push_back(tid);
		} else if (one.outcome == Outcome::succeeded) {
			if (one_by_one_ || held_ == Held::by_job || run_.plan.rename_by_removal || !one.remote_id.empty()) {
				accepted.push_back(tid);
				remote_ids.push_back(or_null(storable(one.remote_id)));
			} else {
				plain.push_back({tid, known.in_snapshot ? std::optional(known.snapshot_tid) : std::nullopt, known.snapshot_key, known.hash});
			}
		} else if (one.outcome == Outcome::skipped && !removal) {
			skipped.push_back(tid);
		} else if (known.change != Change::added && may_have_arrived(one) && run_.sync_type != "notifications") {
			in_doubt.push_back(tid);
		}
		if (known.former && !removal && (one.outcome == Outcome::succeeded || one.outcome == Outcome::skipped))
			renamed.push_back(tid);
		if (one.outcome == Outcome::succeeded && known.change == Change::added && !known.former)
			snapshot_change++;
	}
	snapshot_change -= static_cast<std::int64_t>(removed.size());
	if (plain.empty() && accepted.empty() && skipped.empty() && removed.empty() &&
	    former_removed.empty() && in_doubt.empty())
		return snapshot_change;
	{
		UserContext context(run_.as_owner(tid_settings()));
		const Plan &plan = run_.plan;
		if (plan.rename_by_removal && !renamed.empty())
			spi_execute(keep_former(plan, held_), renamed);
		if (!plain.empty()) {
			// As they were written: batches are answered in any order, and neighbours share pages of three tables.
			std::sort(plain.begin(), plain.end(),
			          [](auto &a, auto &b) { return a.change.pack() < b.change.pack(); });
			const auto left = move_snapshot_rows(run_, plain);
			accepted.insert(accepted.end(), left.begin(), left.end());
			remote_ids.resize(accepted.size());
		}
		if (!accepted.empty())
			spi_execute(settle_accepted(plan, held_), accepted, remote_ids);
		if (!skipped.empty())
			spi_execute(settle_skipped(plan, held_), skipped);
		if (plan.rename_by_removal && !accepted.empty())
			spi_execute(drop_former(plan, held_), accepted);
		if (!removed.empty())
			spi_execute(settle_removed(plan, held_), removed);
		if (!former_removed.empty()) {
			spi_execute(drop_former(plan, held_), former_removed);
			auto left = spi_execute(settle_former_removed(plan, held_), former_removed).processed();
			snapshot_change -= static_cast<std::int64_t>(left);
		}
		if (!in_doubt.empty())
			spi_execute(settle_in_doubt(plan, held_), in_doubt);
	}
	return snapshot_change;
}

void Settlement::write_rejected(const std::vector<Settled> &settled, const UnderwayRecords &underway) {
	std::vector<std::string> keys, formers, changes, outcomes, done, done_formers;
	std::vector<Jsonb> primary_keys;
	std::vector<std::optional<Uuid>> hashes;
	std::vector<std::int64_t> origins;
	std::vector<std::optional<int>> statuses;
	std::vector<std::optional<std::string>> codes, messages, payloads;
	for (auto &one : settled) {
		const Record &record = one.record;
		if (one.outcome == Outcome::aborted)
			continue;
		if (one.outcome == Outcome::succeeded || one.outcome == Outcome::skipped) {
			if (run_.plan.has_rejected || held_ == Held::by_job) {
				done.push_back(record.key);
				done_formers.push_back(underway[record.id].former_value);
			}
			continue;
		}
		const Underway &known = underway[record.id];
		keys.push_back(record.key);
		formers.push_back(known.former_value);
		primary_keys.push_back({record.key_json});
		changes.emplace_back(to_text(known.change));
		outcomes.emplace_back(to_text(one.outcome));
		hashes.push_back(known.hash ? std::optional(Uuid {std::string(uuid_text(*known.hash).view())}) : std::nullopt);
		origins.push_back(known.origin);
		statuses.push_back(one.http_status ? std::optional(one.http_status) : std::nullopt);
		codes.push_back(or_null(storable(one.code, 1000)));
		messages.push_back(or_null(storable(one.message, 4000)));
		payloads.push_back(record.fields);
	}
	if (!done.empty())
		spi_execute("DELETE FROM courier_internal.rejected r USING unnest($2::text[], $3::text[]) u (key, former)"
		            " WHERE r.sync_id = $1 AND r.key = u.key AND r.former = u.former",
		            run_.sync_id, done, done_formers);
	if (keys.empty())
		return;
	// A minute, doubling to a day; another hash is another change and begins anew. Unknown ones are held.
	spi_execute(
	    "INSERT INTO courier_internal.rejected AS r (sync_id, key, former, primary_key, change, outcome, hash, origin_run_id,"
	    " next_attempt_at, http_status, error_code, message, payload)"
	    " SELECT DISTINCT ON (u.key, u.former) $1, u.key, u.former, u.pk, u.change, u.outcome, u.hash, u.origin,"
	    " CASE WHEN u.outcome = 'unknown' THEN 'infinity'::timestamptz"
	    " ELSE pg_catalog.clock_timestamp() + interval '1 minute' END, u.status, u.code, u.message, u.payload"
	    " FROM unnest($2::text[], $3::jsonb[], $4::text[], $5::text[], $6::uuid[], $7::int8[], $8::int4[],"
	    " $9::text[], $10::text[], $11::text[], $12::text[]) u (key, pk, change, outcome, hash, origin, status, code,"
	    " message, payload, former)"
	    " ON CONFLICT (sync_id, key, former) DO UPDATE SET primary_key = excluded.primary_key, change = excluded.change,"
	    " outcome = excluded.outcome, hash = excluded.hash,"
	    " origin_run_id = excluded.origin_run_id,"
	    " attempts = CASE WHEN r.hash IS NOT DISTINCT FROM excluded.hash THEN r.attempts + 1 ELSE 1 END,"
	    " last_failed_at = pg_catalog.clock_timestamp(),"
	    " next_attempt_at = CASE WHEN excluded.outcome = 'unknown' THEN 'infinity'::timestamptz"
	    " WHEN r.hash IS NOT DISTINCT FROM excluded.hash THEN pg_catalog.clock_timestamp()"
	    " + LEAST(interval '1 minute' * 2 ^ LEAST(r.attempts, 20), interval '1 day')"
	    " ELSE excluded.next_attempt_at END,"
	    " http_status = excluded.http_status, error_code = excluded.error_code, message = excluded.message,"
	    " payload = excluded.payload",
	    run_.sync_id, keys, primary_keys, changes, outcomes, hashes, origins, statuses, codes, messages, payloads,
	    formers);
}

void Settlement::write_changes(const std::vector<Settled> &settled, const UnderwayRecords &underway) {
	if (run_.options.log_records == LogRecords::none)
		return;
	std::vector<ChangeLogRow> rows;
	rows.reserve(settled.size());
	std::deque<std::string> payloads;
	for (auto &one : settled) {
		bool good = one.outcome == Outcome::succeeded || one.outcome == Outcome::skipped;
		if (run_.options.log_records == LogRecords::failed && good)
			continue;
		ChangeLogRow row {one.record.key, one.record.key_json, to_text(underway[one.record.id].change),
		                  to_text(one.outcome), one.http_status};
		row.error_code = or_null(storable(one.code, 1000));
		row.message = or_null(storable(one.message, 4000));
		if (!good || run_.options.log_records == LogRecords::payload)
			row.payload = payloads.emplace_back(storable(one.record.fields));
		rows.push_back(std::move(row));
	}
	if (!rows.empty())
		write_change_log(run_.run_id, run_.sync_id, log_retention_minutes(run_.options), rows);
}

// A request of one record names it itself; the keys of a batch stand beside it. Both are found by an index on the text.
void Settlement::write_requests(const std::vector<Exchange> &exchanges) {
	const int kept = log_retention_minutes(run_.options);
	for (auto &one : exchanges) {
		bool batch = one.keys.size() > 1;
		spi_execute(
		    "WITH q AS (INSERT INTO courier_internal.request (run_id, sync_id, sent_at, operation, records, attempt,"
		    " method, url, request_headers, request_body, http_status, response_body, duration, error, key, kept)"
		    " VALUES ($1, $2, pg_catalog.clock_timestamp(), $3, $4, $5, $6, $7, $8, $9, $10, $11,"
		    " $12 * interval '1 microsecond', $13, $14, $16) RETURNING request_id, run_id, sync_id, sent_at, kept)"
		    " INSERT INTO courier_internal.request_key (key, request_id, run_id, sync_id, sent_at, kept)"
		    " SELECT u.key, q.* FROM q, unnest($15::text[]) u (key)",
		    run_.run_id, run_.sync_id, std::string(to_text(one.operation)), static_cast<int>(one.records), one.attempt,
		    one.method, storable(one.url), Jsonb {one.request_headers.empty() ? "{}" : storable(one.request_headers)},
		    storable(one.request_body), one.http_status ? std::optional(one.http_status) : std::nullopt,
		    storable(one.response_body), static_cast<double>(one.duration.count()), or_null(storable(one.error)),
		    one.keys.size() == 1 ? std::optional(one.keys[0]) : std::nullopt,
		    batch ? one.keys : std::vector<std::string> {}, kept);
	}
}

void Settlement::Counts::add(Outcome outcome, int change, std::int64_t records) {
	switch (outcome) {
	case Outcome::succeeded:
		succeeded[change] += records;
		break;
	case Outcome::rejected:
		rejected[change] += records;
		break;
	case Outcome::skipped:
		skipped += records;
		break;
	case Outcome::unknown:
		unknown += records;
		break;
	case Outcome::aborted:
		aborted += records;
		break;
	}
}

void Settlement::write_counters(const std::vector<Settled> &settled, const UnderwayRecords &underway,
                                std::uint64_t requests) {
	Counts counts;
	for (auto &one : settled) {
		counts.add(one.outcome, index_of(underway[one.record.id].change), 1);
	}
	write_counts(counts, requests);
	if (held_ == Held::by_job) {
		std::int64_t planned[3] = {0, 0, 0};
		for (auto &one : settled)
			planned[index_of(underway[one.record.id].change)]++;
		spi_execute("UPDATE courier_internal.run SET planned_added = planned_added + $2,"
		            " planned_changed = planned_changed + $3, planned_removed = planned_removed + $4 WHERE run_id = $1",
		            run_.run_id, planned[0], planned[1], planned[2]);
	}
}

void Settlement::write_records(const std::vector<Settled> &settled, const UnderwayRecords &underway) {
	write_rejected(settled, underway);
	write_changes(settled, underway);
}

void Settlement::count_all(Outcome outcome, const std::int64_t (&records)[3], std::uint64_t requests) {
	Counts counts;
	for (int change = 0; change < 3; change++)
		counts.add(outcome, change, records[change]);
	if (outcome == Outcome::succeeded)
		count_snapshot(run_.sync_id, records[0] - records[2]);
	write_counts(counts, requests);
}

void Settlement::write_counts(const Counts &counts, std::uint64_t requests) {
	auto &[succeeded, rejected, skipped, unknown, aborted] = counts;
	spi_execute("UPDATE courier_internal.run SET succeeded_added = succeeded_added + $2,"
	            " succeeded_changed = succeeded_changed + $3, succeeded_removed = succeeded_removed + $4,"
	            " rejected_added = rejected_added + $5, rejected_changed = rejected_changed + $6,"
	            " rejected_removed = rejected_removed + $7, skipped = skipped + $8, unknown = unknown + $9,"
	            " aborted = aborted + $10, requests = requests + $11 WHERE run_id = $1",
	            run_.run_id, succeeded[0], succeeded[1], succeeded[2], rejected[0], rejected[1], rejected[2], skipped,
	            unknown, aborted, static_cast<std::int64_t>(requests - counted_requests_));
	counted_requests_ = requests;
}

void abort_rest(std::int64_t run_id) {
	Transaction transaction;
	{
		Spi spi;
		spi_execute("UPDATE courier_internal.run r SET aborted = r.aborted + x.rest FROM (SELECT planned_added + planned_changed"
		            " + planned_removed - succeeded_added - succeeded_changed - succeeded_removed - rejected_added"
		            " - rejected_changed - rejected_removed - skipped - unknown - aborted AS rest"
		            " FROM courier_internal.run WHERE run_id = $1) x WHERE r.run_id = $1 AND x.rest > 0",
		            run_id);
	}
	transaction.commit();
}

} // namespace courier::pg
