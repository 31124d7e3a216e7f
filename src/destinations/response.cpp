// Reading the `response` of a definition.

#include "core/json_text.hpp"
#include "destinations/mapper.hpp"

namespace courier {

namespace {

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
	mapper.ok_id = read_pointer(reader, "ok_id");
	if (mapper.ok_id && !mapper.ok_at)
		reader.at("ok_id").fail("has no effect without ok_at");
}

RecordMapper read_mapper(const Reader &reader) {
	reader.only_keys(
	    {"mapper", "at", "ok_at", "ok_id", "ok", "rules", "index", "base", "id", "field", "ignore_case", "code", "message",
	     "remote_id", "unlisted"});
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

} // namespace courier
