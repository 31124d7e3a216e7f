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

std::optional<Pointer> read_pointer(const Reader &reader, const std::string &key) {
	if (!reader.has(key))
		return std::nullopt;
	return json_pointer_path(reader.at(key).pointer());
}

void read_places(const Reader &reader, RecordMapper &mapper) {
	if (reader.has("at") && reader.at("at").json().is_array()) {
		for (auto &entry : reader.at("at").elements())
			mapper.at.push_back(json_pointer_path(entry.pointer()).value());
		if (mapper.at.empty())
			reader.at("at").fail("must not be empty");
	} else {
		mapper.at.push_back(read_pointer(reader, "at").value_or(Pointer {}));
	}
	mapper.ok_at = read_pointer(reader, "ok_at");
}

RecordMapper read_mapper(const Reader &reader) {
	reader.only_keys(
	    {"mapper", "at", "ok_at", "ok", "rules", "index", "base", "id", "field", "ignore_case", "code", "message", "remote_id", "unlisted"});
	static constexpr std::pair<std::string_view, MapperKind> kinds[] = {
	    {"whole", MapperKind::whole},       {"by_order", MapperKind::by_order},   {"by_id", MapperKind::by_id},
	    {"by_index", MapperKind::by_index}, {"index_map", MapperKind::index_map}, {"lines", MapperKind::lines},
	    {"count", MapperKind::count}};
	RecordMapper mapper;
	std::string name = "whole";
	if (reader.has("mapper"))
		name = reader.at("mapper").one_of({"whole", "by_order", "by_id", "by_index", "index_map", "lines", "count"});
	for (auto &[text, kind] : kinds)
		if (text == name)
			mapper.kind = kind;
	read_places(reader, mapper);
	if (reader.has("ok"))
		mapper.ok = read_condition(reader.at("ok"), true);
	if (reader.has("rules"))
		mapper.rules = read_rules(reader.at("rules"), true);
	auto index = read_pointer(reader, "index"), id = read_pointer(reader, "id");
	mapper.index = index.value_or(Pointer {});
	mapper.id = id.value_or(Pointer {});
	if (reader.has("base"))
		mapper.base = reader.at("base").integer(0, 1);
	if (reader.has("field"))
		mapper.fields = reader.at("field").json().is_array() ? reader.at("field").texts() : std::vector {reader.at("field").text()};
	mapper.ignore_case = reader.boolean_or("ignore_case", false);
	if (auto code = read_pointer(reader, "code"))
		mapper.code = *code, mapper.has_code = true;
	if (auto message = read_pointer(reader, "message"))
		mapper.message = *message, mapper.has_message = true;
	if (auto remote_id = read_pointer(reader, "remote_id"))
		mapper.remote_id = *remote_id, mapper.has_remote_id = true;
	if (reader.has("unlisted"))
		mapper.unlisted_accepted = reader.at("unlisted").one_of({"accepted", "rejected"}) == "accepted";

	auto need = [&](const char *key) {
		if (!reader.has(key))
			reader.fail("needs \"" + std::string(key) + "\" for mapper " + name);
	};
	if (mapper.kind == MapperKind::by_order || mapper.kind == MapperKind::lines)
		need("ok"); // an entry for each record: without a test nothing would tell good from bad
	if (mapper.kind == MapperKind::by_id)
		need("field");
	else if (reader.has("field") || reader.has("ignore_case"))
		reader.fail("has field or ignore_case, which belong to mapper by_id");
	bool lists = mapper.kind == MapperKind::by_id || mapper.kind == MapperKind::by_index;
	if (!lists && (mapper.ok_at || mapper.at.size() > 1))
		reader.fail("has ok_at or a list in \"at\", which belong to mappers by_id and by_index");
	if (mapper.kind == MapperKind::count || mapper.kind == MapperKind::index_map)
		need("at");
	return mapper;
}

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
	bool entry(std::string_view entry, RecordVerdict verdict);
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
				id = record.idempotency_key;
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

bool Division::entry(std::string_view entry, RecordVerdict verdict) {
	bool by_id = mapper_.kind == MapperKind::by_id, placed = false;
	auto name = is_plain(entry) ? std::optional(entry) : find_at(entry, by_id ? mapper_.id : mapper_.index);
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
		if (!entry(element, std::move(verdict)))
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
		if (find_at(*at, mapper_.kind == MapperKind::by_id ? mapper_.id : mapper_.index).has_value() && response_.xml) {
			if (!entry(*at, judge(*at)))
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
		entry(element, std::move(verdict));
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

namespace {

LearnRule read_learn(const Reader &reader) {
	reader.only_keys({"remaining", "reset", "unit"});
	LearnRule rule;
	if (reader.has("remaining"))
		rule.remaining = lower_case(reader.at("remaining").text());
	rule.reset = lower_case(reader.at("reset").text());
	if (reader.has("unit")) {
		std::string unit = reader.at("unit").one_of({"s", "ms", "epoch", "epoch_ms"});
		rule.unit = unit == "ms"         ? LearnRule::Unit::ms
		            : unit == "epoch"    ? LearnRule::Unit::epoch
		            : unit == "epoch_ms" ? LearnRule::Unit::epoch_ms
		                                 : LearnRule::Unit::s;
	}
	return rule;
}

} // namespace

Response read_response(const Reader &reader) {
	reader.only_keys({"format", "rules", "code", "message", "remote_id", "atomic", "records", "wait", "learn"});
	Response response;
	if (reader.has("rules"))
		response.rules = read_rules(reader.at("rules"), false);
	if (reader.has("format"))
		response.xml = reader.at("format").one_of({"json", "xml"}) == "xml";
	auto words = [&](const char *key) {
		return reader.has(key) ? std::optional(read_words(reader.at(key))) : std::nullopt;
	};
	response.code = words("code");
	response.message = words("message");
	response.remote_id = words("remote_id");
	if (reader.has("learn"))
		response.learn = read_learn(reader.at("learn"));
	response.atomic = reader.boolean_or("atomic", false);
	if (reader.has("records"))
		response.records = read_mapper(reader.at("records"));
	if (reader.has("wait")) {
		Reader wait = reader.at("wait");
		wait.only_keys({"pointer", "unit", "default"});
		response.wait.pointer = read_pointer(wait, "pointer");
		if (wait.has("unit"))
			response.wait.unit = std::chrono::milliseconds(wait.at("unit").one_of({"s", "ms"}) == "ms" ? 1 : 1000);
		if (wait.has("default"))
			response.wait.otherwise = std::chrono::seconds(wait.at("default").integer(0, 86400));
	}
	return response;
}

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

std::optional<std::chrono::milliseconds> learned_wait(const LearnRule &rule, const Answer &answer, bool throttled,
                                                      std::chrono::system_clock::time_point now) {
	auto number = [&](const std::string &name) -> std::optional<double> {
		auto header = find_header(answer, name);
		if (!header)
			return std::nullopt;
		char *end = nullptr;
		double value = std::strtod(header->c_str(), &end);
		bool good = end != header->c_str() && *end == 0 && value >= 0 && value < 1e15;
		return good ? std::optional(value) : std::nullopt;
	};
	auto remaining = rule.remaining ? number(*rule.remaining) : std::nullopt;
	if (remaining ? *remaining >= 1 : !throttled)
		return std::nullopt;
	auto reset = number(rule.reset);
	if (!reset)
		return std::nullopt;
	bool seconds = rule.unit == LearnRule::Unit::s || rule.unit == LearnRule::Unit::epoch;
	std::chrono::milliseconds wait(static_cast<std::int64_t>(*reset * (seconds ? 1000 : 1)));
	if (rule.unit == LearnRule::Unit::epoch || rule.unit == LearnRule::Unit::epoch_ms)
		wait -= std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
	return std::max(wait, std::chrono::milliseconds(0));
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
