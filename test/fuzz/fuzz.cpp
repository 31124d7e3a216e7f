// Everything that reads text of others: definitions and templates of users, answers of destinations. One program; COURIER_FUZZ_TARGET says which
// reader. An Error is an answer, anything else (a crash, another exception, a broken promise) is a finding. See test/fuzz/run.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "core/retry.hpp"
#include "core/schedule.hpp"
#include "core/xml_text.hpp"
#include "destinations/csv_text.hpp"
#include "destinations/mapper.hpp"
#include "destinations/template.hpp"
#include "destinations/validate.hpp"
#include "destinations/xml_to_json.hpp"

using namespace courier;

namespace {

const std::chrono::system_clock::time_point noon {std::chrono::seconds(1700000000)};

void hold(bool promise, const char *what) {
	if (promise)
		return;
	std::fprintf(stderr, "broken promise: %s\n", what);
	std::abort();
}

std::pair<std::string_view, std::string_view> two(std::string_view text) {
	auto end = text.find('\n');
	return end == std::string_view::npos ? std::pair {text, std::string_view()} : std::pair {text.substr(0, end), text.substr(end + 1)};
}

void schedule(std::string_view text) {
	auto read = parse_schedule(text);
	if (read.kind != ScheduleKind::cron)
		return;
	CivilTime after {2024, 2, 29, 23, 59};
	for (int i = 0; i < 3; ++i) {
		auto found = next(read.cron, after);
		if (!found)
			return;
		hold(*found > after, "the next time is later");
		after = *found;
	}
}

void retry(std::string_view text) {
	auto waits = [](const std::optional<std::chrono::milliseconds> &wait) {
		hold(!wait || wait->count() >= 0, "nobody waits for the past");
	};
	auto [name, value] = two(text);
	waits(parse_retry_after(value, noon));
	std::vector<Header> headers {{std::string(name), std::string(value)}, {"retry-after", std::string(value)}, {"ratelimit", std::string(value)},
	                             {"ratelimit-reset", std::string(name)}, {"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", std::string(value)}};
	waits(parse_rate_limit(headers, noon));
	for (std::size_t i = 0; i < headers.size(); ++i)
		waits(parse_rate_limit(std::span(headers).subspan(i, 1), noon));
	(void)parse_http_date(value, noon);
}

void json(std::string_view text) {
	auto [pointer, document] = two(text);
	if (json_valid(document)) {
		if (json_kind(document) == JsonKind::object)
			for (auto &[name, value] : json_members(document))
				hold(json_kind(value) != JsonKind::invalid, "a member of a valid object is valid");
		if (json_kind(document) == JsonKind::array)
			for (auto &value : json_elements(document))
				hold(json_kind(value) != JsonKind::invalid, "an element of a valid array is valid");
		(void)json_plain(document);
	}
	if (auto path = json_pointer_path(pointer))
		if (auto found = json_find(document, *path))
			hold(found->data() >= document.data() && found->data() + found->size() <= document.data() + document.size(), "a piece of the text");
	hold(json_valid(json_string(text)) || json_kind(json_string(text)) == JsonKind::string, "a string that we write can be read");
}

void csv(std::string_view text) {
	(void)read_csv(text);
	auto [one, other] = two(text);
	std::string line;
	append_csv_cell(line, one);
	line += ",";
	append_csv_cell(line, other);
	line += "\n";
	auto back = read_csv(line);
	hold(back && back->size() == 1 && back->front().size() == 2 && back->front()[0] == one && back->front()[1] == other, "cells come back as they were");
}

void xml(std::string_view text) {
	if (auto read = xml_to_json(text))
		hold(json_valid(*read), "XML becomes valid JSON");
	(void)xml_to_json("<a b=\"" + xml_escape(text) + "\">" + xml_escape(text) + "</a>");
	hold(xml_escape(text).find('<') == std::string::npos, "nothing escaped opens a tag");
}

void render(std::string_view text) {
	auto [source, value] = two(text);
	Scope scope;
	scope.where = "fuzz";
	scope.fields = {{"id", "name", "a.b"}};
	scope.key = {{"id"}};
	scope.match = {{"id"}};
	Record record;
	record.change = Change::changed;
	record.key = "7";
	record.key_json = R"({"id":7})";
	record.fields = R"({"id":7,"name":)" + json_string(value) + R"(,"a":{"b":[1,null,"x"]}})";
	record.previous = R"({"id":6})";
	record.idempotency_key = "key";
	std::size_t all[] = {0};
	RenderInput input {.batch = {&record, 1}, .records = all, .record = &record, .idempotency_key = "key"};
	for (auto context : {Context::path, Context::query, Context::header, Context::text}) {
		try {
			TextTemplate compiled(source, scope, context);
			auto out = compiled.render(input);
			if (context != Context::text && source.find_first_of("\r\n") == std::string_view::npos && !compiled.constant())
				hold(out.find_first_of("\r\n") == std::string::npos, "no line break leaves a path, a query or a header");
		} catch (const Error &) {
		} catch (const Unrenderable &) {
		}
	}
	try {
		auto document = nlohmann::ordered_json::parse(source, nullptr, false);
		if (document.is_discarded() || !json_valid(record.fields))
			return;
		std::string out;
		JsonTemplate(document, scope).append(out, input);
		hold(json_valid(out), "a JSON body is JSON");
	} catch (const Unrenderable &) {
	}
}

void definition(std::string_view text) {
	auto document = nlohmann::ordered_json::parse(text, nullptr, false);
	if (document.is_discarded())
		return;
	try {
		check_destination_type("fuzz", document);
	} catch (const Error &) {
	}
	try {
		check_destination("fuzz", "http", nullptr, document, {"token"});
	} catch (const Error &) {
	}
	check_sync({{"name", "s"}, {"type", "http"}, {"definition", nullptr}, {"destination", "d"}, {"destination_config", {{"base_url", "https://api.example.com"}}},
	            {"mode", "upsert"}, {"sync_type", nullptr}, {"object", nullptr}, {"on_removed", "delete"}, {"first_run", nullptr}, {"config", document},
	            {"options", nlohmann::ordered_json::object()}, {"fields", {"id", "name"}}, {"match_on", {"id"}}});
}

void mapper(std::string_view text) {
	auto [spec, body] = two(text);
	auto document = nlohmann::ordered_json::parse(spec, nullptr, false);
	if (document.is_discarded())
		return;
	Response response = read_response(Reader(document, "fuzz"));
	std::vector<Record> batch(3);
	std::vector<std::size_t> all {0, 1, 2};
	for (std::size_t i = 0; i < batch.size(); ++i) {
		batch[i].key = std::to_string(i);
		batch[i].key_json = R"({"id":)" + batch[i].key + "}";
		batch[i].fields = R"({"id":)" + batch[i].key + R"(,"email":"a@x"})";
	}
	for (int status : {200, 207, 422, 429, 500}) {
		Answer answer;
		answer.transfer = Transfer::complete;
		answer.status = status;
		answer.body = body;
		auto verdicts = map_answer(response, answer, batch, all, [](const Record &record) { return Asked {Operation::upsert, record.change, false}; });
		hold(verdicts.size() == batch.size(), "a verdict for each record");
	}
}

const std::map<std::string_view, void (*)(std::string_view)> targets {{"schedule", schedule}, {"retry", retry}, {"json", json}, {"csv", csv},
                                                                      {"xml", xml}, {"template", render}, {"definition", definition}, {"mapper", mapper}};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
	static const auto target = [] {
		const char *name = std::getenv("COURIER_FUZZ_TARGET");
		auto found = targets.find(name ? name : "");
		hold(found != targets.end(), "COURIER_FUZZ_TARGET names a target");
		return found->second;
	}();
	try {
		target({reinterpret_cast<const char *>(data), size});
	} catch (const Error &) {
	} catch (const Unrenderable &) {
	}
	return 0;
}
