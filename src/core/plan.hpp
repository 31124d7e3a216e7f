#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace courier {

// The SQL of a run, as pure functions from text to text. Everything here runs as the sync's owner.
//
// Names of destination fields never become SQL identifiers: expressions are numbered by position and names are attached
// when the JSON is written. Scratch and snapshot tables have these columns (plan.cpp tells why):
//
//   snapshot_<sync>   k [k1..kn] h s mh mv p r t     what the destination has accepted
//   run_<run>_cur     k h x mh ho d                  the model now, staged
//   run_<run>_dif     k op                           keys that differ: a added, c changed, r removed, f to be forgotten
//   former_<sync>     mh mv r key pk                 match values that were given up and are still to be removed
//   run_<run>_chg     k [k1..kn] op phase former h mh mv r origin key pk rec size   what will be sent, in sending order
//   run_<run>_rej     key former h outcome origin due   what was refused before
//   run_<run>_inv     reason key pk copies           rows that cannot be used
//   jobs_<sync>       job n, the columns of chg, r   what a job at the destination has, until its result is settled

struct PlanKey {
	std::string name;      // column of the model
	std::string type;      // as format_type writes it
	std::string base_type; // the same below domains
};

struct PlanField {
	std::string name;       // destination field; dots nest
	std::string expression; // SQL over the model's columns
	std::string type;
	bool compared = true;     // reads a column, is tracked, and is sent always
	bool reads_column = true; // false: a constant or a run variable
	bool omit_null = false;
	bool insert_only = false; // sent with added records alone
	bool match = false;
};

// What the hashes in a snapshot were made with. Kept with the sync as JSON; a difference starts the side-by-side comparison.
struct PlanFormat {
	std::vector<PlanKey> key;
	std::vector<PlanField> fields; // only the compared ones
	std::vector<std::string> match;
};

enum class KeyForm { plain, folded };

// The buckets of keys in which model and snapshot differ (plan_buckets.cpp), a bit each, in hexadecimal; "": in none.
struct Narrowing {
	std::string bits;
};

struct Plan {
	int sync_id = 0;
	std::int64_t run_id = 0;
	std::string relation; // quoted, qualified
	std::string alias;    // quoted
	std::string seed;     // uuid text
	std::vector<PlanKey> key;
	std::vector<PlanField> fields;

	bool compare_changes = true; // false: mode insert and events, where an accepted key is never looked at again
	bool keep_left = false; // keys that leave the model stay in the snapshot, marked, so that they are not sent twice
	bool keep_payload = false; // the accepted payload stands in the snapshot
	bool send_removals = false;
	bool clear_removals = false;      // removed records carry every field, null but for the match fields
	bool removal_payload = false;     // removed records carry the accepted payload (notifications)
	bool rename_by_removal = false;   // a changed match value is told as a removal and an addition
	bool hold_removals = true;        // a removal is not told while another record holds its match value
	bool resend = false;              // resync = full
	bool has_rejected = false;        // run_rej is not empty
	std::optional<PlanFormat> former; // set: the snapshot's hashes were made with another form; both are evaluated
	bool former_lost = false;         // ... which cannot be evaluated any more: every record is sent
	std::string only_key;             // set: a run of one record (courier.test_record), the key as JSON
	bool only_removed = false;        // ... told as removed
	bool only_added = false;          // ... told as added

	bool all_new = false; // the snapshot was empty, and every row is added
	bool small = false;   // the scratch tables will hold little
	bool plain_scan = false; // the model is one table and cheap to read again
	std::optional<Narrowing> narrow; // only these keys are compared
	bool narrow_stage = false;       // ... and no other rows are staged

	KeyForm key_form() const;
	bool keep_match() const;  // the match fields are not the key itself: their accepted values are kept
	bool check_match() const; // a match value may be missing
};

KeyForm key_form(const std::vector<PlanKey> &key);
bool same_format(const PlanFormat &a, const PlanFormat &b);
PlanFormat format_of(const Plan &plan);

std::string quote_identifier(std::string_view name);
std::string quote_literal(std::string_view text);

std::string snapshot_table(int sync_id); // courier_data.snapshot_7
// courier_data.run_9_cur_5f0e...: the end is not to be guessed, because whoever may create tables there could take the name.
std::string scratch_table(const Plan &plan, std::string_view suffix);

std::string create_snapshot(const Plan &plan);
// The statements that carry a snapshot over when the key columns have the same names and other types.
std::vector<std::string> convert_snapshot(const Plan &plan, const std::vector<PlanKey> &former);
std::string stage(const Plan &plan);           // makes cur
// Where model and snapshot differ; see plan_buckets.cpp.
int wanted_buckets(const Plan &plan, std::int64_t records, std::int64_t expected_changes); // 0: do not ask
bool may_sum_model(const Plan &plan);
// One row: the differing buckets' bits (NULL: none), how many; rows, NULL keys, missing match values; records of the snapshot.
std::string sums(const Plan &plan, bool of_model, int buckets);
std::optional<Narrowing> narrowing(const std::string &bits, std::int64_t differing, int buckets);
std::string in_narrowing(const Narrowing &narrowing, const std::string &key);

std::string create_rejected(const Plan &plan); // makes rej, empty
std::string compare(const Plan &plan);         // makes dif
std::string create_changes(const Plan &plan);  // makes chg and inv, empty
std::string
build_changes(const Plan &plan); // added and changed, with payloads; as many rows as dif has, or keys are not unique
// Of an empty snapshot, where every row is added: the model is read once, nothing is staged or compared.
std::string build_first(const Plan &plan);
std::string count_model(const Plan &plan);               // rows, NULL keys, missing match values
std::string count_copies(const Plan &plan);              // rows of chg beyond one of a key
std::vector<std::string> find_copies(const Plan &plan); // makes dif and cur of them
std::string build_removals(const Plan &plan);

// Rows that cannot be used. Each returns or removes; inv keeps reason, key, pk, copies.
std::string count_rows(const Plan &plan); // rows, NULL keys, missing match values
std::string note_shared_matches(const Plan &plan);
std::string drop_shared_matches(const Plan &plan);
std::string note_duplicates(const Plan &plan);
std::string drop_duplicates(const Plan &plan);
std::string note_null_keys(const Plan &plan);    // at most 1,000
std::string note_null_matches(const Plan &plan); // at most 1,000

std::string drop_held_removals(const Plan &plan); // the match value is still held by another record
std::string forget_removed(const Plan &plan);     // keys that leave the snapshot, or are marked, without a request
std::string recall_left(const Plan &plan);        // keys that were marked as left and are back
std::string forget_left(const Plan &plan);        // $1 interval
std::string add_rename_removals(const Plan &plan);
std::string mark_renamed(const Plan &plan);
std::string adopt_hashes(const Plan &plan);   // rows that have not changed receive the hash of the present form
std::string adopt_matches(const Plan &plan);  // and their match values
std::string stale_rejected(const Plan &plan); // keys in rej that no difference mentions any more
std::string note_baseline_duplicates(const Plan &plan);
std::string baseline_remove(const Plan &plan);
std::string baseline_fill(const Plan &plan);
std::string count_changes(const Plan &plan); // added, changed, removed in chg that are due

std::string page(const Plan &plan);            // $1 tid after, $2 tid below, $3 bytes, $4 origin run
// Whose TIDs they are.
enum class Held { by_run, by_job };
std::string settle_accepted(const Plan &plan, Held held = Held::by_run); // $1 tid[], $2 text[] remote ids
std::string settle_skipped(const Plan &plan, Held held = Held::by_run);  // $1 tid[]
std::string settle_removed(const Plan &plan, Held held = Held::by_run);  // $1 tid[]

// Records that a job at the destination has (plan_jobs.cpp).
std::string jobs_table(int sync_id); // courier_data.jobs_7
std::vector<std::string> create_jobs(const Plan &plan);
std::string keep_job(const Plan &plan);    // $1 job, $2 tid[] of chg, $3 text[] remote ids, $4 origin run
std::string job_records(const Plan &plan); // $1 job; the columns of page()
std::string close_jobs(const Plan &plan);  // $1 int8[]

// Match values that were given up (plan_former.cpp).
std::string former_table(int sync_id); // courier_data.former_7
std::string create_former(const Plan &plan);
std::string former_is_accepted(const Plan &plan);  // forgets those that another record has by now
std::string add_former_removals(const Plan &plan); // into chg
std::string keep_former(const Plan &plan, Held held);           // $1 tid[] about to be accepted or skipped
std::string drop_former(const Plan &plan, Held held);           // $1 tid[] accepted, or former removals accepted
std::string settle_former_removed(const Plan &plan, Held held); // $1 tid[]; how many snapshot rows it took away

// One message for a whole run (plan_digest.cpp). Ranges: $1 tid after, $2 tid below.
std::string digest_samples(const Plan &plan);  // $1 op, $2 how many, $3 bytes
std::string digest_key(const Plan &plan);      // $1 origin run
std::string digest_counts(const Plan &plan);   // range: added, changed, removed
std::string digest_rows(const Plan &plan);     // range, $3 bytes, $4 origin run, $5 with payload
std::string digest_accepted(const Plan &plan); // range
std::string digest_removed(const Plan &plan);  // range

std::string accepted(const Plan &plan);        // what the destination has accepted, a JSON text a row

} // namespace courier
