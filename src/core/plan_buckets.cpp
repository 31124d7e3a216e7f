#include <algorithm>
#include <bit>

#include "core/plan_sql.hpp"

// Narrowing a comparison. Most runs find nothing, or little. Whether, and in which part of the keys, model and snapshot differ
// is answered by sums of hashes in buckets of keys (pg/bucket_sums.cpp): two scans that may both be parallel, against sorting
// and merging all of both. Only the buckets that differ are then joined; where none does, nothing is.
//
// Over a model that is a plain scan the sums are made of the model itself, and only rows of differing buckets are staged: their
// columns are read twice, which costs less than writing all rows down. Any other model (joins, aggregates, foreign tables) is
// evaluated once, staged whole, and the sums are made of the staged rows.
//
// It pays as long as no large part of the records changes, so the changes of the last run say whether it is tried and with how
// many buckets; more buckets mean fewer unchanged rows in those that differ, and more misses of the processor's cache. A bucket
// for four records leaves two thirds of the buckets alone when a tenth of the records changes out of the blue. Too few buckets
// are noticed, and then everything is joined: what is found is the same either way.

namespace courier {

using namespace plan_sql;

namespace {

constexpr std::int64_t worth_it = 20000; // records in the snapshot
constexpr std::uint64_t fewest = 1 << 12, usual = 1 << 20, most = 1 << 21;
// Of the buckets. A filter costs a twentieth of what staging, sorting and merging a row costs; above this share the reading of
// the model's unaffected rows is not worth it either.
constexpr double useful_share = 0.7;

} // namespace

int wanted_buckets(const Plan &plan, std::int64_t records, std::int64_t expected_changes) {
	bool whole = plan.resend || plan.former_lost || !plan.only_key.empty();
	if (whole || records < worth_it || expected_changes > records / 5)
		return 0;
	auto ceil = [](std::int64_t number) { return std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(number, 1))); };
	std::uint64_t buckets = std::max(std::min(ceil(records / 4), usual), ceil(expected_changes * 8));
	return static_cast<int>(std::clamp(buckets, fewest, most));
}

// What looks at staged rows beyond the differing ones needs all of them: shared match values, another form of the hashes.
bool may_sum_model(const Plan &plan) {
	return plan.plain_scan && !plan.keep_match() && !plan.former;
}

std::string sums(const Plan &plan, bool of_model, int buckets) {
	// Where changes are not compared, the key alone counts.
	auto sum = [&](const std::string &hash, const std::string &filter = "") {
		return "courier_internal.bucket_sums(k, " +
		       (plan.compare_changes ? hash : "'00000000-0000-0000-0000-000000000000'::pg_catalog.uuid") + ", " +
		       std::to_string(buckets) + ")" + filter + " AS sums";
	};
	std::string rows = cur(plan), key_missing = "k IS NULL", null_match = "x IS NOT NULL";
	if (of_model) {
		rows = "(SELECT " + model_k(plan) + " AS k, " + record_hash(plan.seed, plan.fields, false) + " AS h, " + null_key(plan) + " AS nk, " +
		       (plan.check_match() ? "(" + match_missing(plan) + ")" : "false") + " AS nm FROM " + model(plan) + ") m";
		key_missing = "nk";
		null_match = "nm";
	}
	return "SELECT pg_catalog.encode(d.bits, 'hex'), pg_catalog.bit_count(d.bits), d.n, d.null_keys, d.null_matches, d.records FROM "
	       "(SELECT courier_internal.differing_buckets(m.sums, s.sums) AS bits, m.n, m.null_keys, m.null_matches, s.records FROM "
	       "(SELECT " +
	       sum("h") + ", pg_catalog.count(*) AS n, pg_catalog.count(*) FILTER (WHERE " + key_missing +
	       ") AS null_keys, pg_catalog.count(*) FILTER (WHERE NOT (" + key_missing + ") AND " + null_match +
	       ") AS null_matches FROM " + rows + ") m, (SELECT " + sum("h", " FILTER (WHERE s IS NULL OR s OPERATOR(pg_catalog.<>) 'l')") +
	       ", pg_catalog.count(*) AS records FROM " + snapshot(plan) + ") s OFFSET 0) d";
}

std::optional<Narrowing> narrowing(const std::string &bits, std::int64_t differing, int buckets) {
	if (static_cast<double>(differing) > useful_share * buckets)
		return std::nullopt;
	return Narrowing {bits};
}

std::string in_narrowing(const Narrowing &narrowing, const std::string &key) {
	if (narrowing.bits.empty())
		return "false";
	return "courier_internal.in_buckets(" + key + ", '\\x" + narrowing.bits + "'::pg_catalog.bytea)";
}

} // namespace courier
