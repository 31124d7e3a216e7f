#include "pg/change_pages.hpp"

#include <algorithm>

#include "core/json_text.hpp"

// Pages are ranges of blocks, read in the order of insertion, without an index. A page ends after so many bytes of payload,
// so a worker's memory is bounded whatever the records are; then the next page begins after the last row of this one.

namespace courier::pg {

namespace {

constexpr std::uint32_t page_blocks = 128;
constexpr std::int64_t page_bytes = 4 << 20;

} // namespace

std::string changed_members(const std::string &record, const std::string &accepted,
                            const std::vector<std::string> &always) {
	auto before = json_members(accepted);
	std::string out = "{";
	for (auto &[name, value] : json_members(record)) {
		auto same = [&, &name = name, &value = value](const auto &member) {
			return member.first == name && member.second == value;
		};
		bool keep = std::find(always.begin(), always.end(), name) != always.end();
		if (!keep && std::any_of(before.begin(), before.end(), same))
			continue;
		if (out.size() > 1)
			out += ',';
		json_append_string(out, name);
		out += ':';
		out += value;
	}
	return out + "}";
}

ChangeRow row_of_page(const Rows &rows, std::size_t row) {
	ChangeRow out;
	out.tid = rows.get<Tid>(row, 0);
	out.op = change_op(rows.text(row, 1));
	if (rows.is_null(row, 6) || rows.is_null(row, 7) || rows.is_null(row, 8) || (out.op != 'r' && rows.is_null(row, 4)))
		refuse_altered_change();
	out.known_bad = rows.get<int>(row, 2) == 1;
	out.former = rows.get<bool>(row, 3);
	if (!rows.is_null(row, 4))
		out.hash = uuid_bytes(rows.text(row, 4));
	out.origin = rows.get<std::int64_t>(row, 5);
	out.key = rows.text(row, 6);
	out.key_json = rows.text(row, 7);
	out.record = rows.text(row, 8);
	out.idempotency = uuid_bytes(rows.text(row, 9));
	out.match = rows.text(row, 10);
	out.remote_id = rows.text(row, 11);
	if (!rows.is_null(row, 12))
		out.payload = rows.text(row, 12);
	out.size = rows.get<std::int64_t>(row, 13);
	if (!rows.text(row, 14).empty())
		out.former_value = uuid_bytes(rows.text(row, 14));
	out.in_snapshot = rows.get<bool>(row, 15);
	return out;
}

Record record_of(const RunDefinition &run, const ChangeRow &row) {
	Record record;
	record.change = static_cast<Change>(row.op);
	record.known_bad = row.known_bad;
	record.key = row.key;
	record.key_json = row.key_json;
	record.fields = row.record;
	record.idempotency_key = uuid_text(row.idempotency).view();
	// Of messages the whole record that was accepted last is kept, of others the match values.
	record.previous = run.plan.removal_payload && row.payload ? *row.payload : row.match;
	record.remote_id = row.remote_id;
	if (run.options.changed_fields_only && record.change == Change::changed && row.payload) {
		std::vector<std::string> match_members; // the first parts of dotted names
		for (auto &field : run.client.match_fields)
			match_members.push_back(field.substr(0, field.find('.')));
		record.fields = changed_members(record.fields, std::string(*row.payload), match_members);
	}
	return record;
}

Underway underway_of(const ChangeRow &row) {
	Underway underway;
	underway.tid = row.tid;
	underway.former = row.former;
	if (row.former_value)
		underway.former_value = uuid_text(*row.former_value).view();
	underway.in_snapshot = row.in_snapshot;
	underway.snapshot_tid = row.snapshot_tid;
	underway.snapshot_key = row.snapshot_key;
	underway.hash = row.hash;
	underway.origin = row.origin;
	underway.change = static_cast<Change>(row.op);
	return underway;
}

ChangePages::ChangePages(const RunDefinition &run, std::function<std::optional<Blocks>()> parts)
    : run_(run), parts_(std::move(parts)) {
}

std::uint32_t change_blocks(const RunDefinition &run) {
	Rows size = spi_execute("SELECT pg_catalog.pg_relation_size($1::pg_catalog.regclass) OPERATOR(pg_catalog./) "
	                        "pg_catalog.current_setting('block_size')::pg_catalog.int8",
	                        scratch_table(run.plan, "chg"));
	return static_cast<std::uint32_t>(size.get<std::int64_t>(0, 0));
}

std::optional<Record> ChangePages::next(UnderwayRecords &underway) {
	while (next_ == records_.size()) {
		records_.clear();
		next_ = 0;
		if (!read(underway))
			return std::nullopt;
	}
	return std::move(records_[next_++]);
}

// False: nothing is left. True with no records: this range had none.
bool ChangePages::read(UnderwayRecords &underway) {
	Transaction transaction;
	bool done = below_ >= end_ && after_.pack() == Tid {below_, 0}.pack();
	if (done) {
		const auto part = more();
		done = !part;
		if (part) {
			below_ = part->first;
			end_ = part->end;
			after_ = Tid {below_, 0};
		}
	}
	if (!done) {
		below_ = std::max(below_, std::min(after_.block + page_blocks, end_));
		bool cut = false;
		if (ChangeScan scan(run_, after_, {below_, 0}); scan.ready()) {
			cut = read_rows(scan, underway);
			scan.close();
		} else {
			Spi spi;
			cut = read_by_sql(underway);
		}
		if (!cut)
			after_ = Tid {below_, 0}; // the range was read to its end
	}
	transaction.commit();
	return !done;
}

std::optional<ChangePages::Blocks> ChangePages::more() {
	if (parts_)
		return parts_();
	if (std::exchange(whole_, true))
		return std::nullopt;
	Spi spi;
	const Blocks all {0, change_blocks(run_)};
	return all.end > 0 ? std::optional(all) : std::nullopt;
}

void ChangePages::take(const ChangeRow &row, UnderwayRecords &underway) {
	after_ = row.tid;
	records_.push_back(record_of(run_, row));
	records_.back().id = underway.add(underway_of(row));
}

// True: not to the end of the range.
bool ChangePages::read_rows(ChangeScan &scan, UnderwayRecords &underway) {
	std::int64_t bytes = 0;
	ChangeRow row;
	while (scan.next(row)) {
		bytes += row.size;
		take(row, underway);
		if (bytes >= page_bytes)
			return true;
	}
	return false;
}

// The snapshot is not as we made it: the owner has given it a column or another key. By name it can still be read.
bool ChangePages::read_by_sql(UnderwayRecords &underway) {
	UserContext context(run_.as_owner({{"enable_hashjoin", "off"},
	                                   {"enable_mergejoin", "off"},
	                                   {"enable_seqscan", "off"},
	                                   {"enable_bitmapscan", "off"}}));
	Rows rows = spi_execute(page(run_.plan), after_, Tid {below_, 0}, page_bytes, run_.origin_run_id);
	std::int64_t bytes = 0;
	for (std::size_t row = 0; row < rows.size(); row++) {
		bytes += rows.get<std::int64_t>(row, 13);
		take(row_of_page(rows, row), underway);
	}
	return bytes >= page_bytes;
}

} // namespace courier::pg
