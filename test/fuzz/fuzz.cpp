// Everything that reads text of others: definitions and templates of users, answers of destinations. One program; COURIER_FUZZ_TARGET says which
// reader ("list": prints their names). An Error is an answer, anything else (a crash, another exception, a broken promise) is a finding. See test/fuzz/run.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include <arpa/inet.h>

#include "core/duration.hpp"
#include "core/error.hpp"
#include "core/json_text.hpp"
#include "core/options.hpp"
#include "core/retry.hpp"
#include "core/schedule.hpp"
#include "core/xml_text.hpp"
#include "destinations/archive.hpp"
#include "destinations/csv_text.hpp"
#include "destinations/encode.hpp"
#include "destinations/mapper.hpp"
#include "destinations/mustache.hpp"
#include "destinations/template.hpp"
#include "destinations/validate.hpp"
#include "destinations/xml_to_json.hpp"
#include "http/address_filter.hpp"
#include "http/redact.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

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

// Gzip and tar, as they come; then as tar with the sum of its first header put right, which no fuzzer guesses; then through our own gzip.
void archive(std::string_view text) {
	constexpr std::size_t most = 1 << 20, block = 512, sum_at = 148;
	auto inside = [](std::string_view bytes) {
		auto files = read_tar(bytes);
		if (!files)
			return;
		for (auto &file : *files)
			hold(file.content.empty() || (file.content.data() >= bytes.data() && file.content.data() + file.content.size() <= bytes.data() + bytes.size()),
			     "a file lies inside the archive");
	};
	if (auto bytes = gunzip(text, most)) {
		hold(bytes->size() <= most, "no more than is allowed");
		inside(*bytes);
	}
	inside(text);
	auto packed = gzip(text);
	hold(gunzip(packed, text.size()) == text, "gzip comes back as it was");
	hold(text.empty() || !gunzip(packed, text.size() - 1), "one byte too many is too many");
	std::string summed(text);
	for (std::size_t header = 0; header + block <= summed.size() && header < 4 * block; header += block) {
		summed.replace(header + sum_at, 8, 8, ' ');
		unsigned sum = 0;
		for (unsigned char c : std::string_view(summed).substr(header, block))
			sum += c;
		char digits[8];
		std::snprintf(digits, sizeof digits, "%06o", sum);
		summed.replace(header + sum_at, 8, digits, 8);
		inside(summed);
	}
}

void message(std::string_view text) {
	auto [source, record] = two(text);
	if (json_kind(record) != JsonKind::object || !json_valid(record))
		record = R"({"name":"Ada","n":1.50,"no":null,"tags":["a",{"b":[]}],"o":{"x":true}})";
	for (bool named : {false, true}) {
		NameTree names;
		names.at("name");
		names.at("tags").open = true;
		names.at("o.x");
		try {
			Mustache compiled(source, named ? &names : nullptr, "fuzz");
			(void)compiled.render("{\"change\":\"added\",\"record\":" + std::string(record) + "}");
			(void)compiled.render("{\"record\":{\"tags\":[{\"change\":\"added\",\"record\":" + std::string(record) + "}]}}", {"tags"});
		} catch (const Error &) {
		}
	}
}

void url(std::string_view text) {
	auto [base, rest] = two(text);
	auto [path, query] = two(rest);
	hold(http::percent_decode(http::percent_encode(text)) == text, "percent-encoded text comes back");
	(void)http::percent_decode(text);
	for (char c : http::form_encode({{std::string(base), std::string(rest)}}))
		hold(c > ' ' && c < 0x7f, "a form is printable");
	try {
		http::check_header(base, rest, "fuzz");
		hold(rest.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos && !base.empty(), "a header is one header");
	} catch (const Error &) {
	}
	try {
		http::check_method(base, "fuzz");
		hold(base.find_first_of(" \r\n") == std::string_view::npos && !base.empty(), "a method is a word");
	} catch (const Error &) {
	}
	http::check_url(base, "fuzz");
	auto parts = http::split_url(base);
	hold((parts.scheme == "http" || parts.scheme == "https") && !parts.host.empty() && parts.path.starts_with("/"), "a URL has a scheme, a host and a path");
	auto joined = http::url_join(base, path, query);
	for (char c : std::string_view(joined).substr(std::min(joined.find_first_of("/?", joined.find("//") + 2), joined.size())))
		hold(c > ' ' && c < 0x7f && c != '#', "what is joined is a URL");
	http::check_url(joined, "joined");
	auto whole = http::split_url(joined);
	hold(whole.scheme == parts.scheme && whole.authority() == parts.authority(), "a path leads to no other host");
}

void redact(std::string_view text) {
	auto [secret, rest] = two(text);
	http::Redactor redactor;
	redactor.add_secret(secret);
	redactor.add_basic(secret, rest.substr(0, 20));
	redactor.add_header(secret);
	(void)redactor.redact_header(secret, rest);
	(void)redactor.redact(std::string(text));
	constexpr std::size_t long_enough = 6;
	if (secret.size() < long_enough)
		return;
	http::Redactor alone;
	alone.add_secret(secret);
	auto quoted = json_string(secret);
	for (const auto &form : {std::string(secret), http::percent_encode(secret), http::base64(secret), http::hex(secret), quoted.substr(1, quoted.size() - 2)}) {
		auto shown = alone.redact(std::string(rest) + form + std::string(rest));
		// The mark itself may look like a secret; what stands between marks may not.
		for (std::size_t from = 0; from <= shown.size();) {
			auto end = std::min(shown.find(http::Redactor::mark, from), shown.size());
			hold(std::string_view(shown).substr(from, end - from).find(form) == std::string_view::npos, "no secret is shown");
			from = end + http::Redactor::mark.size();
		}
	}
}

void duration(std::string_view text) {
	for (auto calendar : {Calendar::refused, Calendar::allowed}) {
		try {
			auto read = parse_duration(text, "fuzz", calendar);
			hold(read.count() < 0 || parse_duration(duration_text(read), "fuzz") == read, "a duration that we write is read as the same");
		} catch (const Error &) {
		}
	}
	hold(parse_rate(text, "fuzz") > 0, "a rate is more than nothing");
}

void address(std::string_view text) {
	http::AddressFilter filter(text);
	sockaddr_in v4 {};
	sockaddr_in6 v6 {};
	v4.sin_family = AF_INET;
	v6.sin6_family = AF_INET6;
	for (const char *name : {"127.0.0.1", "10.1.2.3", "169.254.169.254", "8.8.8.8"}) {
		inet_pton(AF_INET, name, &v4.sin_addr);
		filter.allows(reinterpret_cast<const sockaddr *>(&v4));
	}
	hold(filter.allows(reinterpret_cast<const sockaddr *>(&v4)), "public addresses always");
	for (const char *name : {"::1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"}) {
		inet_pton(AF_INET6, name, &v6.sin6_addr);
		filter.allows(reinterpret_cast<const sockaddr *>(&v6));
	}
}

void options(std::string_view text) {
	auto document = nlohmann::json::parse(text, nullptr, false);
	if (document.is_discarded())
		return;
	auto read = parse_options(document);
	hold(read.timeout.count() > 0 && read.max_attempts > 0 && read.workers > 0, "limits that hold");
	(void)log_retention_minutes(read);
}

void encode(std::string_view text) {
	std::string raw;
	try {
		append_raw(raw, text);
	} catch (const Error &) {
	}
	raw.clear();
	append_raw(raw, http::base64(text));
	hold(raw == text, "base64 comes back");
	auto [one, other] = two(text);
	for (auto document : {text, one, other}) {
		if (!json_valid(document))
			continue;
		std::string line;
		append_line(line, document);
		hold(line.find('\n') == line.size() - 1 && json_valid(std::string_view(line).substr(0, line.size() - 1)), "one line, and still JSON");
		if (json_kind(document) != JsonKind::object)
			continue;
		for (bool dotted : {false, true}) {
			std::string form;
			append_form(form, document, dotted);
			for (char c : form)
				hold(c > ' ' && c < 0x7f, "a form is printable");
		}
		std::string table;
		append_csv(table, {std::string(document), std::string(document)});
		hold(json_members(document).empty() || read_csv(table).has_value(), "CSV that we write can be read");
		std::string xml;
		try {
			append_xml(xml, document);
		} catch (const Error &) {
			continue;
		}
		if (auto back = xml_to_json(xml))
			hold(json_valid(*back), "XML becomes valid JSON");
	}
}

const std::map<std::string_view, void (*)(std::string_view)> targets {
	{"schedule", schedule}, {"retry", retry}, {"json", json}, {"csv", csv}, {"xml", xml}, {"template", render}, {"definition", definition}, {"mapper", mapper},
	{"archive", archive}, {"message", message}, {"url", url}, {"redact", redact}, {"duration", duration}, {"address", address}, {"options", options},
	{"encode", encode}};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
	static const auto target = [] {
		const char *name = std::getenv("COURIER_FUZZ_TARGET");
		if (name && name == std::string_view("list")) {
			for (auto &[known, reader] : targets)
				std::printf("%s\n", known.data());
			std::fflush(stdout);
			std::_Exit(0);
		}
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
