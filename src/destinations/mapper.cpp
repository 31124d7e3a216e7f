#include "destinations/mapper.hpp"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "core/json_text.hpp"

namespace courier {

namespace {

constexpr std::size_t message_characters = 500;

std::optional<Pointer> read_pointer(const Reader &reader, const std::string &key) {
	if (!reader.has(key))
		return std::nullopt;
	return json_pointer_path(reader.at(key).pointer());
}

RecordMapper read_mapper(const Reader &reader) {
	reader.only_keys(
	    {"mapper", "at", "ok", "rules", "index", "base", "id", "field", "code", "message", "remote_id", "unlisted"});
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
	mapper.at = read_pointer(reader, "at").value_or(Pointer {});
	if (reader.has("ok"))
		mapper.ok = read_condition(reader.at("ok"), true);
	if (reader.has("rules"))
		mapper.rules = read_rules(reader.at("rules"), true);
	auto index = read_pointer(reader, "index"), id = read_pointer(reader, "id");
	mapper.index = index.value_or(Pointer {});
	mapper.id = id.value_or(Pointer {});
	if (reader.has("base"))
		mapper.base = reader.at("base").integer(0, 1);
	mapper.field = reader.text_or("field", "");
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
	bool list(std::string_view at);
	bool place(std::size_t position, RecordVerdict verdict);
	bool in_order(const std::vector<std::string_view> &entries);

	const RecordMapper &mapper_;
	const Response &response_;
	const Answer &answer_;
	std::span<const Record> batch_;
	std::span<const std::size_t> records_;
	bool accepted_;
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

bool Division::list(std::string_view at) {
	std::unordered_multimap<std::string, std::size_t> positions;
	if (mapper_.kind == MapperKind::by_id) {
		Pointer path;
		for (std::size_t start = 0, dot; start <= mapper_.field.size(); start = dot + 1) {
			dot = std::min(mapper_.field.find('.', start), mapper_.field.size());
			path.push_back(mapper_.field.substr(start, dot - start));
		}
		for (std::size_t i = 0; i < records_.size(); ++i) {
			const Record &record = batch_[records_[i]];
			auto value = mapper_.field == "idempotency_key" ? std::nullopt : json_find(record.fields, path);
			if (mapper_.field == "idempotency_key")
				positions.emplace(record.idempotency_key, i);
			else if (value || (value = json_find(record.previous, path)))
				positions.emplace(json_plain(*value), i);
		}
	}
	for (auto entry : json_elements(at)) {
		RecordVerdict verdict = judge(entry);
		auto name = is_plain(entry) ? std::optional(entry)
		                            : find_at(entry, mapper_.kind == MapperKind::by_id ? mapper_.id : mapper_.index);
		bool placed = false;
		if (mapper_.kind == MapperKind::by_id && name) {
			auto [from, to] = positions.equal_range(json_plain(*name));
			for (auto found = from; found != to; ++found)
				placed = place(found->second, verdict) || placed;
		} else if (name) {
			auto index = whole_number(*name);
			placed = index && *index >= mapper_.base && place(static_cast<std::size_t>(*index - mapper_.base), verdict);
		}
		// A failure that belongs to nobody must not be lost: somebody's record was refused.
		if (!placed && verdict.verdict != Verdict::accepted)
			return false;
	}
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
	auto at = find_at(answer_.body, mapper_.at);
	if (!at || json_kind(*at) == JsonKind::null)
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
				verdict.message =
				    response_.message
				        ? clean_text(json_plain(find_at(answer_.body, *response_.message).value_or("null")),
				                     message_characters)
				        : verdict.code;
				if (!index || *index < mapper_.base || !place(static_cast<std::size_t>(*index - mapper_.base), verdict))
					return false;
			}
		}
		return true;
	}
	if (json_kind(*at) != JsonKind::array)
		return false;
	return mapper_.kind == MapperKind::by_order ? in_order(json_elements(*at)) : list(*at);
}

} // namespace

Response read_response(const Reader &reader) {
	reader.only_keys({"rules", "code", "message", "remote_id", "atomic", "records", "wait"});
	Response response;
	if (reader.has("rules"))
		response.rules = read_rules(reader.at("rules"), false);
	response.code = read_pointer(reader, "code");
	response.message = read_pointer(reader, "message");
	response.remote_id = read_pointer(reader, "remote_id");
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

std::vector<RecordVerdict> map_answer(const Response &response, const Answer &answer, std::span<const Record> batch,
                                      std::span<const std::size_t> records,
                                      const std::function<Asked(const Record &)> &asked) {
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
	auto pointed = [&](const std::optional<Pointer> &pointer, std::size_t most) {
		auto found = pointer && valid_json ? find_at(answer.body, *pointer) : std::nullopt;
		return found ? clean_text(json_plain(*found), most) : std::string();
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
