#include "core/plan_sql.hpp"

// Former match values
//
// Where a destination cannot be told a record's previous identifier, a match value that changes is told as an addition and
// a removal, and each has an outcome of its own. Once the addition is accepted the snapshot speaks of the new value, so the
// old one is kept elsewhere until its removal is accepted: in courier_data.former_<sync>, made when a sync first needs it.
//
//   mh  hash of the match value, the primary key: a value stands at the destination once
//   mv  the match value as JSON, what a removal is made of
//   r   remote id
//   key, pk   the primary key of the row that had it, as text
//
// A value enters in the transaction that moves the snapshot off it, so a death in between loses nothing. It leaves when its
// removal is accepted, or when a record with this value is: then it is that record's. While the model has a row with
// this value nothing is sent for it (that row may be under way, or refused for now).
//
// The other order: the removal is accepted and the addition is not. Then the record is no longer at the destination, and its
// snapshot row goes, so that going back to the old value is an addition and not "nothing changed".

namespace courier {

using namespace plan_sql;

std::string former_table(int sync_id) {
	return "courier_data.former_" + std::to_string(sync_id);
}

std::string create_former(const Plan &plan) {
	return "CREATE TABLE " + former_table(plan.sync_id) +
	       " (mh pg_catalog.uuid PRIMARY KEY, mv pg_catalog.text NOT NULL, r pg_catalog.text, key pg_catalog.text NOT "
	       "NULL, pk pg_catalog.text NOT NULL)";
}

std::string former_is_accepted(const Plan &plan) {
	return "DELETE FROM " + former_table(plan.sync_id) + " f USING " + snapshot(plan) +
	       " s WHERE s.mh OPERATOR(pg_catalog.=) f.mh AND s.s IS NULL";
}

std::string add_former_removals(const Plan &plan) {
	// The record is made from the match value alone, so the row has no more than that.
	std::string row = "(SELECT f.mh, f.mv AS \"%mv\", f.r, f.key, f.pk, NULL::pg_catalog.text AS \"%p\" FROM " +
	                  former_table(plan.sync_id) + " f WHERE NOT EXISTS (SELECT FROM " + cur(plan) +
	                  " h WHERE h.mh OPERATOR(pg_catalog.=) f.mh)) AS " + plan.alias;
	std::string alias = plan.alias + ".";
	std::string keys;
	if (plan.key_form() == KeyForm::folded)
		for (std::size_t i = 1; i <= plan.key.size(); i++)
			keys += ", NULL::" + plan.key[i - 1].type + " AS k" + std::to_string(i);
	return insert_changes(plan, "SELECT NULL::" + k_type(plan) + " AS k" + keys +
	                                ", NULL::pg_catalog.tid AS at, 'r'::\"char\" AS op, true AS former, NULL::pg_catalog.uuid AS h, " + alias +
	                                "mh, " + alias + "\"%mv\" AS mv, " + alias + "r, " + alias + "key, " + alias +
	                                "pk, " + removal_record(plan) + " AS rec FROM " + row);
}

// Before the snapshot moves: what it is about to forget.
std::string keep_former(const Plan &plan, Held held) {
	return "INSERT INTO " + former_table(plan.sync_id) +
	       " AS f (mh, mv, r, key, pk) SELECT DISTINCT ON (s.mh) s.mh, s.mv, s.r, c.key, c.pk FROM " +
	       from_tids(plan, held) + " JOIN " + snapshot(plan) +
	       " s ON s.k OPERATOR(pg_catalog.=) c.k WHERE s.s IS NULL AND s.mh OPERATOR(pg_catalog.<>) c.mh AND s.mv IS "
	       "NOT NULL ON CONFLICT (mh) DO UPDATE SET mv = excluded.mv, r = excluded.r, key = excluded.key, pk = "
	       "excluded.pk";
}

std::string drop_former(const Plan &plan, Held held) {
	return "DELETE FROM " + former_table(plan.sync_id) + " f USING " + from_tids(plan, held) +
	       " WHERE f.mh OPERATOR(pg_catalog.=) c.mh";
}

std::string settle_former_removed(const Plan &plan, Held held) {
	return "DELETE FROM " + snapshot(plan) + " s USING " + from_tids(plan, held) +
	       " WHERE s.k OPERATOR(pg_catalog.=) c.k AND c.former AND s.mh OPERATOR(pg_catalog.=) c.mh";
}

} // namespace courier
