#pragma once

// How an accepted or refused request divides among its records. Answers are read as text, slice by slice, so that an
// identifier keeps its digits.

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "destinations/rules.hpp"
#include "destinations/words.hpp"

namespace courier {

enum class MapperKind { whole, by_order, by_id, by_index, index_map, lines, count };

struct RecordMapper {
	MapperKind kind = MapperKind::whole;
	std::vector<Pointer> at; // at least one; the entries of all of them, those that are there
	std::optional<Pointer> ok_at; // by_id, by_index: a list of those that were accepted
	std::optional<Condition> ok; // which entries are accepted; none: every entry is a failure
	std::vector<Rule> rules;     // what a failure means; none matches: rejected
	Pointer index, id;
	std::optional<Pointer> ok_id; // the identifier in an entry of ok_at, where it stands elsewhere than in a failure
	std::vector<std::string> fields; // by_id: the record's fields that `id` may speak of
	bool ignore_case = false;
	std::int64_t base = 0;
	Pointer code, message, remote_id; // in an entry
	bool has_code = false, has_message = false, has_remote_id = false;
	bool unlisted_accepted = true;
};

// How long to wait, where no header says it.
struct WaitRule {
	std::optional<Pointer> pointer;                     // a number in the body
	std::chrono::milliseconds unit {1000};              // of that number
	std::optional<std::chrono::milliseconds> otherwise; // a throttled answer that says nothing
};

// Headers that say how much may still be asked for, where they are not the usual ones.
struct LearnRule {
	std::optional<std::string> remaining; // lower case; none: only a throttled answer is looked at
	std::string reset;
	enum class Unit { s, ms, epoch, epoch_ms } unit = Unit::s;
};

// How long to wait by them; nullopt: not at all.
std::optional<std::chrono::milliseconds> learned_wait(const LearnRule &rule, const Answer &answer, bool throttled,
                                                      std::chrono::system_clock::time_point now);

struct Response {
	std::vector<Rule> rules;
	bool xml = false; // the body is XML, and read as the JSON that xml_to_json makes of it
	std::optional<Words> code, message, remote_id;
	bool atomic = false;
	RecordMapper records;
	WaitRule wait;
	std::optional<LearnRule> learn;
};

Response read_response(const Reader &reader);

// As many verdicts as `records`; asked(i) says how record i was asked for.
std::vector<RecordVerdict> map_answer(const Response &response, const Answer &answer, std::span<const Record> batch,
                                      std::span<const std::size_t> records,
                                      const std::function<Asked(const Record &)> &asked);

// Cut to a number of characters, with everything that is not UTF-8 (and NUL) replaced: it goes into a table.
std::string clean_text(std::string_view text, std::size_t characters);
// Problem details (RFC 9457) if it is such, else the beginning of the body.
std::string default_message(const Answer &answer, bool valid_json);

} // namespace courier
