#include "destinations/mapper.hpp"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "core/json_text.hpp"
#include "destinations/record_parts.hpp"
#include "destinations/xml_to_json.hpp"

namespace courier {

namespace {

constexpr std::size_t message_characters = 500;

std::optional<std::int64_t> whole_number(std::string_view json) {
	std::string text = json_plain(json); // "3" is read like 3
	std::int64_t value = 0;
	auto end = text.data() + text.size();
	auto read = std::from_chars(text.data(), end, value);
	if (text.empty() || read.ec != std::errc() || read.ptr != end)
		return std::nullopt;
	return value;
}

bool is_plain(std::string_view entry) {
	JsonKind kind = json_kind(entry);
	return kind == JsonKind::string || kind == JsonKind::number;
}

// The answer, entry by entry, laid over the records.
class Division {
public:
	Division(const Response &response, const Answer &answer, std::span<const Record> batch,
	         std::span<const std::size_t> records, bool accepted)
	    : mapper_(response.records), response_(response), answer_(answer), batch_(batch), records_(records),
	      accepted_(accepted) {}

	// False: the answer does not fit the mapper. `named` afterwards: it named at least one record.
	bool divide(bool valid_json);
	bool named = false;
	std::vector<std::optional<RecordVerdict>> verdicts;

private:
	RecordVerdict judge(std::string_view entry) const;
	void index_records();
	bool lists();
	bool list(std::string_view at, const std::string &reason);
	bool entry(std::string_view entry, const Pointer &name_at, RecordVerdict verdict);
	const Pointer &name_at() const { return mapper_.kind == MapperKind::by_id ? mapper_.id : mapper_.index; }
	bool place(std::size_t position, RecordVerdict verdict);
	bool in_order(const std::vector<std::string_view> &entries);

	const RecordMapper &mapper_;
	const Response &response_;
	const Answer &answer_;
	std::span<const Record> batch_;
	std::span<const std::size_t> records_;
	bool accepted_;
	std::unordered_multimap<std::string, std::size_t> positions_; // by_id
};

RecordVerdict Division::judge(std::string_view entry) const {
	RecordVerdict verdict;
	auto plain = [&](const Pointer &pointer, std::size_t most) {
		auto found = find_at(entry, pointer);
		return found ? clean_text(json_plain(*found), most) : std::string();
	};
	if (mapper_.has_remote_id)
		verdict.remote_id = plain(mapper_.remote_id, 1000);
	if (mapper_.ok && mapper_.ok->holds_for_entry(entry))
		return verdict;
	verdict.verdict = Verdict::rejected;
	for (auto &rule : mapper_.rules)
		if (rule.when.holds_for_entry(entry)) {
			verdict.verdict = rule.then;
			break;
		}
	if (mapper_.has_code)
		verdict.code = plain(mapper_.code, 100);
	verdict.message =
	    mapper_.has_message ? plain(mapper_.message, message_characters) : clean_text(entry, message_characters);
	return verdict;
}

bool Division::place(std::size_t position, RecordVerdict verdict) {
	if (position >= verdicts.size())
		return false;
	named = true;
	// A record listed twice (two bad fields): the first word stands, unless only the second one is a failure.
	if (!verdicts[position] || verdicts[position]->verdict == Verdict::accepted)
		verdicts[position] = std::move(verdict);
	return true;
}

bool Division::in_order(const std::vector<std::string_view> &entries) {
	if (entries.size() != records_.size())
		return false;
	for (std::size_t i = 0; i < entries.size(); ++i)
		place(i, judge(entries[i]));
	return true;
}

void Division::index_records() {
	for (auto &field : mapper_.fields) {
		auto path = split_dots(field);
		for (std::size_t i = 0; i < records_.size(); ++i) {
			const Record &record = batch_[records_[i]];
			std::string id;
			if (field == "idempotency_key") {
				id = std::string_view(record.idempotency_key);
			} else {
				auto value = json_find(record.fields, path);
				if (!value)
					value = json_find(record.previous, path);
				if (!value || json_kind(*value) == JsonKind::null)
					continue;
				id = json_plain(*value);
			}
			positions_.emplace(mapper_.ignore_case ? lower_case(std::move(id)) : std::move(id), i);
		}
	}
}

bool Division::entry(std::string_view entry, const Pointer &name_at, RecordVerdict verdict) {
	bool by_id = mapper_.kind == MapperKind::by_id, placed = false;
	auto name = is_plain(entry) ? std::optional(entry) : find_at(entry, name_at);
	if (by_id && name) {
		std::string id = json_plain(*name);
		auto [from, to] = positions_.equal_range(mapper_.ignore_case ? lower_case(std::move(id)) : id);
		for (auto found = from; found != to; ++found)
			placed = place(found->second, verdict) || placed;
	} else if (name) {
		auto index = whole_number(*name);
		placed = index && *index >= mapper_.base && place(static_cast<std::size_t>(*index - mapper_.base), verdict);
	}
	// A failure that belongs to nobody must not be lost: somebody's record was refused.
	return placed || verdict.verdict == Verdict::accepted;
}

// `reason`: the name of the list, which is all that is said about plain identifiers in it.
bool Division::list(std::string_view at, const std::string &reason) {
	for (auto element : json_elements(at)) {
		RecordVerdict verdict = judge(element);
		if (verdict.code.empty() && verdict.verdict != Verdict::accepted)
			verdict.code = clean_text(reason, 100);
		if (is_plain(element) && !reason.empty())
			verdict.message = verdict.code;
		if (!entry(element, name_at(), std::move(verdict)))
			return false;
	}
	return true;
}

// by_id and by_index: lists of entries, an object from reason to such lists, or (in XML, where one of a list looks like
// no list) a single entry.
bool Division::lists() {
	if (mapper_.kind == MapperKind::by_id)
		index_records();
	for (auto &pointer : mapper_.at) {
		auto at = find_at(answer_.body, pointer);
		if (!at || json_kind(*at) == JsonKind::null || (response_.xml && json_kind(*at) == JsonKind::string))
			continue;
		std::string reason = mapper_.at.size() > 1 && !pointer.empty() ? pointer.back() : std::string();
		if (json_kind(*at) == JsonKind::array) {
			if (!list(*at, reason))
				return false;
			continue;
		}
		if (json_kind(*at) != JsonKind::object)
			return false;
		if (find_at(*at, name_at()).has_value() && response_.xml) {
			if (!entry(*at, name_at(), judge(*at)))
				return false;
			continue;
		}
		bool any = json_members(*at).empty();
		for (auto &[name, value] : json_members(*at)) {
			if (json_kind(value) != JsonKind::array)
				continue; // a count, or a note
			any = true;
			if (!list(value, name))
				return false;
		}
		if (!any)
			return false;
	}
	auto good = mapper_.ok_at ? find_at(answer_.body, *mapper_.ok_at) : std::nullopt;
	if (!good)
		return true;
	auto accept = [&](std::string_view element) {
		RecordVerdict verdict;
		if (mapper_.has_remote_id)
			if (auto found = find_at(element, mapper_.remote_id))
				verdict.remote_id = clean_text(json_plain(*found), 1000);
		entry(element, mapper_.ok_id.value_or(name_at()), std::move(verdict));
	};
	if (json_kind(*good) == JsonKind::object)
		accept(*good);
	for (auto element : json_elements(*good))
		accept(element);
	return true;
}

bool Division::divide(bool valid_json) {
	verdicts.assign(records_.size(), std::nullopt);
	if (mapper_.kind == MapperKind::lines) {
		std::vector<std::string_view> lines;
		std::string_view body = answer_.body;
		for (std::size_t start = 0; start < body.size();) {
			std::size_t end = std::min(body.find('\n', start), body.size());
			std::string_view line = body.substr(start, end - start);
			if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
				if (!json_valid(line))
					return false;
				lines.push_back(line);
			}
			start = end + 1;
		}
		return in_order(lines);
	}
	bool failures_only = !mapper_.ok && mapper_.kind != MapperKind::count;
	if (!valid_json)
		return failures_only && answer_.body.empty() && answer_.status == 204;
	auto there = [&](const Pointer &pointer) {
		auto found = find_at(answer_.body, pointer);
		return found && json_kind(*found) != JsonKind::null;
	};
	auto at = find_at(answer_.body, mapper_.at.front());
	if (std::none_of(mapper_.at.begin(), mapper_.at.end(), there) && !(mapper_.ok_at && there(*mapper_.ok_at)))
		return failures_only; // no list of failures: none failed (or, of a refused request, none was named)
	if (mapper_.kind == MapperKind::count) {
		auto count = whole_number(*at);
		return accepted_ && count && *count == static_cast<std::int64_t>(records_.size());
	}
	if (mapper_.kind == MapperKind::index_map) {
		if (json_kind(*at) != JsonKind::object)
			return false;
		for (auto &[reason, indexes] : json_members(*at)) {
			if (json_kind(indexes) != JsonKind::array)
				return false;
			for (auto entry : json_elements(indexes)) {
				auto index = whole_number(entry);
				RecordVerdict verdict;
				verdict.verdict = Verdict::rejected;
				verdict.code = clean_text(reason, 100);
				verdict.message = response_.message
				                      ? clean_text(response_.message->from(answer_, true), message_characters)
				                      : verdict.code;
				if (!index || *index < mapper_.base || !place(static_cast<std::size_t>(*index - mapper_.base), verdict))
					return false;
			}
		}
		return true;
	}
	if (mapper_.kind == MapperKind::by_order)
		return json_kind(*at) == JsonKind::array && in_order(json_elements(*at));
	return lists();
}

} // namespace

std::vector<RecordVerdict> map_answer(const Response &response, const Answer &given, std::span<const Record> batch,
                                      std::span<const std::size_t> records,
                                      const std::function<Asked(const Record &)> &asked) {
	std::optional<Answer> read; // the XML as JSON
	if (response.xml && given.transfer == Transfer::complete) {
		read = given;
		if (auto json = xml_to_json(given.body))
			read->body = std::move(*json);
	}
	const Answer &answer = read ? *read : given;
	std::vector<RecordVerdict> out(records.size());
	if (answer.transfer != Transfer::complete) {
		for (auto &verdict : out) {
			verdict.verdict = Verdict::retry;
			verdict.whole = true;
			verdict.bad_answer = answer.transfer == Transfer::too_large;
			verdict.code = verdict.bad_answer ? "bad_answer" : "";
			verdict.message = clean_text(answer.error, message_characters);
		}
		return out;
	}
	bool valid_json = json_valid(answer.body);
	auto pointed = [&](const std::optional<Words> &words, std::size_t most) {
		return words ? clean_text(words->from(answer, valid_json), most) : std::string();
	};
	std::string code = pointed(response.code, 100), message = pointed(response.message, message_characters);
	if (message.empty())
		message = default_message(answer, valid_json);

	std::optional<Division> divisions[2]; // for records whose request counts as refused, accepted
	for (std::size_t i = 0; i < records.size(); ++i) {
		RecordVerdict &verdict = out[i];
		verdict.verdict = verdict_of(response.rules, answer, valid_json, asked(batch[records[i]]));
		bool accepted = verdict.verdict == Verdict::accepted;
		verdict.whole = !accepted;
		if (!accepted) {
			verdict.code = code;
			verdict.message = message;
		}
		bool divides = response.records.kind != MapperKind::whole &&
		               (accepted || verdict.verdict == Verdict::rejected) &&
		               !(accepted && (answer.status == 404 || answer.status == 410));
		if (!divides) {
			if (accepted && records.size() == 1)
				verdict.remote_id = pointed(response.remote_id, 1000);
			continue;
		}
		auto &division = divisions[accepted];
		bool fits = true;
		if (!division) {
			division.emplace(response, answer, batch, records, accepted);
			fits = division->divide(valid_json);
			if (!fits)
				division->verdicts.clear();
		} else {
			fits = !division->verdicts.empty();
		}
		if (!fits && accepted) {
			verdict = {.verdict = Verdict::retry,
			           .bad_answer = true,
			           .whole = true,
			           .code = "bad_answer",
			           .message = "the answer does not say what became of each record: " +
			                      default_message(answer, valid_json)};
		} else if (fits && division->named) {
			if (division->verdicts[i]) {
				verdict = *division->verdicts[i];
			} else if (!response.records.unlisted_accepted) {
				verdict = {.verdict = Verdict::rejected, .code = code.empty() ? "unlisted" : code, .message = message};
			} else if (!accepted && response.atomic) {
				verdict.verdict = Verdict::split; // nothing was applied: this one goes again, without the named ones
			} else {
				verdict = {};
			}
		} else if (fits && accepted && response.records.kind != MapperKind::count &&
		           !response.records.unlisted_accepted) {
			verdict = {
			    .verdict = Verdict::rejected, .code = "unlisted", .message = "the answer does not list this record"};
		}
		// A refused request that names nobody stays what it is: rejected as a whole.
	}
	return out;
}

std::string clean_text(std::string_view text, std::size_t characters) {
	std::string out;
	for (std::size_t i = 0, count = 0; i < text.size() && count < characters; ++count) {
		unsigned char c = static_cast<unsigned char>(text[i]);
		std::size_t length = c < 0x80                 ? 1
		                     : c >= 0xC2 && c <= 0xDF ? 2
		                     : c >= 0xE0 && c <= 0xEF ? 3
		                     : c >= 0xF0 && c <= 0xF4 ? 4
		                                              : 0;
		bool good = length > 0 && i + length <= text.size() && c != 0;
		for (std::size_t k = 1; good && k < length; ++k)
			good = (static_cast<unsigned char>(text[i + k]) & 0xC0) == 0x80;
		if (good && length == 3) { // no overlong forms, no surrogates
			unsigned char second = static_cast<unsigned char>(text[i + 1]);
			good = !(c == 0xE0 && second < 0xA0) && !(c == 0xED && second > 0x9F);
		} else if (good && length == 4) {
			unsigned char second = static_cast<unsigned char>(text[i + 1]);
			good = !(c == 0xF0 && second < 0x90) && !(c == 0xF4 && second > 0x8F);
		}
		if (good)
			out.append(text, i, length);
		else
			out += '?';
		i += good ? length : 1;
	}
	return out;
}

std::string default_message(const Answer &answer, bool valid_json) {
	if (valid_json && json_kind(answer.body) == JsonKind::object)
		for (const char *name : {"detail", "title"}) {
			auto found = json_find(answer.body, {name});
			if (found && json_kind(*found) == JsonKind::string)
				return clean_text(json_plain(*found), message_characters);
		}
	if (answer.body.empty())
		return "status " + std::to_string(answer.status) + " without a body";
	return clean_text(answer.body, message_characters);
}

} // namespace courier
