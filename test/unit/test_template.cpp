// Templates: what {{ }} means in a path, a query, a header, a text and a JSON body.

#include "destinations/template.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

Scope scope(std::optional<std::vector<std::string>> fields = {}) {
	Scope out;
	out.where = "requests.upsert";
	out.fields = std::move(fields);
	out.run_id = "42";
	out.sync = "contacts";
	out.object = "people";
	out.config = {{"region", "eu"}, {"count", 3}, {"nothing", nullptr}};
	out.secrets = {{"token", "s3cret"}};
	return out;
}

const Record one = [] {
	Record out = record(
	    R"({"id":12345678901234567890123456789012345678.90,"email":"Ann <a@b.c>","address":{"city":"Zürich"},"tags":["x"],"note":"a\"b\\c","gone":null,"slash":"a/b?c","e":"","dots":".."})");
	out.previous = R"({"id":6})";
	out.remote_id = "r-9";
	return out;
}();

std::string text(const std::string &source, Context context = Context::text, const Record &of = one) {
	return TextTemplate(source, scope(), context)
	    .render({.record = &of, .operation = Operation::upsert, .idempotency_key = "idem-1"});
}

std::string json(const char *source, const Record &of = one) {
	std::vector<Record> batch {of, of};
	std::vector<std::size_t> all {0, 1};
	std::string out;
	JsonTemplate(nlohmann::ordered_json::parse(source), scope())
	    .append(out, {.batch = batch,
	                  .records = all,
	                  .record = &of,
	                  .operation = Operation::upsert,
	                  .idempotency_key = "idem-1"});
	return out;
}

std::string problem(const std::string &source, Context context = Context::path, const Record &of = one) {
	try {
		text(source, context, of);
	} catch (const Unrenderable &unrenderable) {
		return unrenderable.code;
	}
	return "none";
}

} // namespace

TEST(Template, Names) {
	EXPECT_EQ(text("{{ email }} {{address.city}} {{ record.email }}"), "Ann <a@b.c> Zürich Ann <a@b.c>");
	EXPECT_EQ(text("{{ key }} {{ key.id }} {{ previous.id }} {{ remote_id }}"), R"({"id":7} 7 6 r-9)");
	EXPECT_EQ(text("{{ change }} {{ operation }} {{ run_id }} {{ sync }} {{ object }} {{ idempotency_key }}"),
	          "added upsert 42 contacts people idem-1");
	EXPECT_EQ(text("{{ config.region }}{{ config.count }}{{ config.nothing }}"), "eu3");
	EXPECT_EQ(text("{{ '{{' }}x"), "{{x");
}

TEST(Template, EveryDigitIsKept) {
	EXPECT_EQ(text("/{{ id }}", Context::path), "/12345678901234567890123456789012345678.90");
	EXPECT_EQ(json(R"({"n": "{{ id }}"})"), R"({"n":12345678901234567890123456789012345678.90})");
}

TEST(Template, PathAndQueryArePercentEncoded) {
	EXPECT_EQ(text("/c/{{ slash }}", Context::path), "/c/a%2Fb%3Fc");
	EXPECT_EQ(text("/c/{{ address.city }}", Context::path), "/c/Z%C3%BCrich");
	EXPECT_EQ(text("a={{ email }}", Context::query), "a=Ann%20%3Ca%40b.c%3E");
}

TEST(Template, PathValueThatWouldNameAnotherResource) {
	EXPECT_EQ(problem("/c/{{ gone }}"), "bad_path_value");
	EXPECT_EQ(problem("/c/{{ not_there }}"), "bad_path_value");
	EXPECT_EQ(problem("/c/{{ e }}"), "bad_path_value");
	EXPECT_EQ(problem("/c/{{ dots }}"), "bad_path_value");
	EXPECT_EQ(problem("/c/.{{ d }}/x", Context::path, record(R"({"d":"."})")),
	          "bad_path_value"); // half of ".." in each
	EXPECT_EQ(problem("/c/{{ d }}{{ d }}", Context::path, record(R"({"d":"."})")), "bad_path_value");
	EXPECT_EQ(problem("/c/x{{ dots }}", Context::path, record(R"({"dots":"..a"})")), "none");
}

TEST(Template, PathLiterals) {
	EXPECT_TRUE(has(error_of([] { text("/a/../b", Context::path); }).message, "may not stand in a path"));
	EXPECT_TRUE(has(error_of([] { text("/a/%2E%2e", Context::path); }).message, "may not stand in a path"));
	EXPECT_TRUE(has(error_of([] { text("/a b", Context::path); }).message, "may not stand in a path"));
	EXPECT_TRUE(has(error_of([] { text("/a#{{ id }}", Context::path); }).message, "may not stand in a path"));
}

TEST(Template, HeadersRefuseControlCharacters) {
	EXPECT_EQ(problem("{{ x }}", Context::header, record(R"({"x":"a\r\nEvil: 1"})")), "bad_header_value");
	EXPECT_EQ(text("v {{ email }}", Context::header), "v Ann <a@b.c>");
	EXPECT_EQ(error_of([] { text("a\nb", Context::header); }).sqlstate, "22023");
}

TEST(Template, JsonBodyKeepsTypes) {
	EXPECT_EQ(
	    json(
	        R"({"a":"{{ email }}","t":"{{ tags }}","n":"{{ gone }}","k":"{{ key }}","o":true,"c":"{{ config.count }}"})"),
	    R"({"a":"Ann <a@b.c>","t":["x"],"n":null,"k":{"id":7},"o":true,"c":3})");
	EXPECT_EQ(json(R"("{{ record }}")", record(R"({"a":1.10})")), R"({"a":1.10})");
	EXPECT_EQ(json(R"({"items":"{{ records }}","op":"{{ operation }}"})", record(R"({"a":1})")),
	          R"({"items":[{"a":1},{"a":1}],"op":"upsert"})");
}

TEST(Template, InsideALongerStringTextIsEscaped) {
	EXPECT_EQ(json(R"({"t":"<{{ note }}> {{ tags }} {{ gone }}."})"), R"({"t":"<a\"b\\c> [\"x\"] ."})");
	EXPECT_TRUE(has(error_of([] { json(R"({"t":"all: {{ record }}"})"); }).message, "can only stand alone"));
	EXPECT_EQ(json(R"({"t":"all: {{ record | json_text }}"})", record(R"({"a":"x"})")),
	          R"({"t":"all: {\"a\":\"x\"}"})");
}

TEST(Template, AFieldThatTheRecordDoesNotHaveTakesItsMemberWithIt) {
	EXPECT_EQ(json(R"({"a":"{{ not_there }}","b":"{{ gone }}","c":["{{ not_there }}"],"d":"{{ not_there | lower }}"})"),
	          R"({"b":null,"c":[null]})");
	EXPECT_EQ(json(R"({"a":{"b":"{{ not_there }}"},"z":1})"), R"({"a":{},"z":1})");
}

TEST(Template, Functions) {
	Record r = record(R"({"id":7,"s":" Ab ","p":"+1 (2) 3","x":"<a&b>"})");
	EXPECT_EQ(json(R"({"key":"{{ id | base64 }}","value":"{{ record | json_text | base64 }}"})", record(R"({"id":7})")),
	          R"({"key":"Nw==","value":"eyJpZCI6N30="})");
	EXPECT_EQ(json(R"({"n":"{{ id | text }}"})", r), R"({"n":"7"})"); // a piped placeholder is a JSON string
	EXPECT_EQ(
	    text("{{ s | trim | lower }}|{{ s | upper }}|{{ p | digits }}|{{ x | xml }}|{{ x | url }}", Context::text, r),
	    "ab| AB |123|&lt;a&amp;b&gt;|%3Ca%26b%3E");
	EXPECT_EQ(text("{{ s | trim | lower | sha256 }}", Context::text, r),
	          "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603");
	EXPECT_TRUE(has(error_of([] { text("{{ id | rot13 }}"); }).detail, "base64"));
}

TEST(Template, UnknownNamesAreErrorsAtOnce) {
	auto compile = [](const char *source) {
		return error_of([&] {
			TextTemplate(source, scope({{"id", "email", "address.city", "payload"}}), Context::text);
		});
	};
	Error error = compile("/c/{{ emial }}");
	EXPECT_EQ(error.sqlstate, "42703");
	EXPECT_EQ(error.message, "requests.upsert: there is nothing called \"emial\" for {{ emial }}");
	EXPECT_TRUE(has(error.detail, "Mapped fields: id, email, address.city, payload."));
	EXPECT_TRUE(has(error.detail, "config.region"));
	EXPECT_EQ(compile("{{ previous.emial }}").sqlstate, "42703");
	EXPECT_EQ(compile("{{ config.emial }}").sqlstate, "42703");
	EXPECT_EQ(compile("{{ id").sqlstate, "42601");
	EXPECT_EQ(compile("{{ }}").sqlstate, "42601");
	TextTemplate("{{ address }} {{ address.city }} {{ payload.a.b }}", scope({{"id", "address.city", "payload"}}),
	             Context::text); // inside and above are fine
}

TEST(Template, SecretsAreForTheDestinationsOwnerOnly) {
	EXPECT_EQ(error_of([] { text("{{ secret.token }}"); }).sqlstate, "42501");
	Scope own = scope();
	own.secrets_allowed = true;
	EXPECT_EQ(TextTemplate("{{ secret.token }}", own, Context::text).render({}), "s3cret");
}

TEST(Template, WhatIsNotKnownIsNeverRenderedEmpty) {
	Record unknown = record(R"({"id":1})", Change::changed);
	EXPECT_EQ(problem("{{ remote_id }}", Context::text, unknown), "unknown_remote_id");
	EXPECT_EQ(problem("{{ previous.id }}", Context::query, unknown), "unknown_remote_id");
	EXPECT_THROW(json(R"({"id":"{{ remote_id }}"})", unknown), Unrenderable);
}

TEST(Template, ARemovalFallsBackToTheLastAcceptedValues) {
	Record removed = record(R"({})", Change::removed);
	removed.previous = R"({"email":"old@x"})";
	EXPECT_EQ(text("/{{ email }}", Context::path, removed), "/old%40x");
}

TEST(Template, FunctionsThatGiveJson) {
	Record r = record(R"({"n":"1.50","t":"2024-01-02T03:04:05.678+00:00","d":"1969-12-31T23:59:59.5Z","l":["a","b,c",3],"z":null,"i":7})");
	EXPECT_EQ(json(R"({"n":"{{ n | number }}","s":"{{ i | string }}"})", r), R"({"n":1.50,"s":"7"})");
	EXPECT_EQ(json(R"({"s":"{{ t | epoch }}","ms":"{{ t | epoch: ms }}","us":"{{ t | epoch: us }}","d":"{{ d | epoch }}"})", r),
	          R"({"s":1704164645,"ms":1704164645678,"us":1704164645678000,"d":-1})");
	EXPECT_EQ(text("{{ l | join: ', ' }}|{{ i | join: ',' }}|{{ l | join: '|}}' }}", Context::text, r), "a, b,c, 3|7|a|}}b,c|}}3");
	EXPECT_EQ(json(R"({"all":"{{ record | texts }}","no object":"{{ i | texts }}"})", record(R"({"i":7,"n":1.50,"z":null,"t":"x","b":true,"o":{"a":1}})")),
	          R"({"all":{"i":"7","n":"1.50","z":"","t":"x","b":"true","o":"{\"a\":1}"},"no object":"7"})");
	EXPECT_EQ(text("{{ t | epoch: ms | base64 }}", Context::text, r), "MTcwNDE2NDY0NTY3OA==");
	EXPECT_EQ(problem("{{ n | epoch }}", Context::text, r), "bad_value");
	EXPECT_EQ(problem("{{ t | number }}", Context::text, r), "bad_value");
	EXPECT_EQ(text("{{ z | number }}{{ z | epoch }}", Context::text, r), "");
}

TEST(Template, HashesAndUuids) {
	Record r = record(R"({"e":"Ann@Example.com","u":"www.example.com"})");
	EXPECT_EQ(text("{{ e | lower | md5 }}", Context::text, r), "257c57037d384ae37ea27a07e8a01665");
	EXPECT_EQ(text("{{ u | uuid }}", Context::text, r), "b63cdfa4-3df9-568e-97ae-006c5b8fd652"); // uuid5(NAMESPACE_URL, ...)
}

TEST(Template, DefaultAndOptional) {
	Record r = record(R"({"channel":null,"id":7})");
	EXPECT_EQ(json(R"({"a":"{{ channel | default: config.region }}","b":"{{ gone | default: 'x|y' }}","c":"{{ gone | default: 5 }}","d":"{{ gone | default: id }}","e":"{{ gone | default: config.nothing }}","f":"{{ channel | optional }}","g":["{{ channel | optional }}",1]})", r),
	          R"({"a":"eu","b":"x|y","c":5,"d":7,"g":[1]})");
	EXPECT_EQ(text("{{ channel | upper | default: config.region | upper }}", Context::text, r), "EU");
	// Neither needs the field to be mapped; what can be nothing but a mistake still is one.
	Scope mapped = scope({{"id"}});
	auto made = JsonTemplate(nlohmann::ordered_json::parse(R"({"a":"{{ email | optional }}","b":"{{ email | default: 'none' }}"})"), mapped);
	std::string out;
	made.append(out, {.record = &r});
	EXPECT_EQ(out, R"({"b":"none"})");
	EXPECT_EQ(error_of([&] { TextTemplate("{{ config.chanel | default: 'x' }}", mapped, Context::text); }).sqlstate, "42703");
	EXPECT_TRUE(has(error_of([&] { TextTemplate("{{ id | default }}", mapped, Context::text); }).message, "default in {{ id | ... }} needs a value"));
	EXPECT_TRUE(has(error_of([&] { TextTemplate("{{ id | epoch: days }}", mapped, Context::text); }).message, "s, ms or us"));
	EXPECT_TRUE(has(error_of([&] { TextTemplate("{{ id | lower: x }}", mapped, Context::text); }).message, "takes nothing after it"));
}

TEST(Template, NamesOfMembers) {
	EXPECT_EQ(json(R"({"{{ config.region }}_id":"{{ e }}","{{ object }}":{"x":1}})"), R"({"eu_id":"","people":{"x":1}})");
	EXPECT_EQ(json(R"({"a\"{{ config.count }}":1})"), R"({"a\"3":1})");
	EXPECT_THROW(json(R"({"{{ gone }}":1})"), Unrenderable);
}

TEST(Template, TheFieldToMatchOn) {
	Scope matching = scope({{"id", "email"}});
	matching.match = {{"email"}};
	EXPECT_EQ(TextTemplate("{{ match_field }}={{ match_value }} {{ match_fields }}", matching, Context::text).render({.record = &one}),
	          R"(email=Ann <a@b.c> ["email"])");
	matching.match = {{"id", "email"}};
	EXPECT_TRUE(has(error_of([&] { TextTemplate("{{ match_value }}", matching, Context::text); }).message, "matches on id, email"));
}
