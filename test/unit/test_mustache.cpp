// Mustache over JSON text: what comes out, and what is refused when a template is read.

#include "destinations/mustache.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

std::string render(std::string_view text, const std::string &record) {
	return Mustache(text, nullptr, "messages.added").render("{\"change\":\"added\",\"record\":" + record + "}");
}

Error refused(std::string_view text, const NameTree *names = nullptr) {
	return error_of([&] { Mustache(text, names, "messages.added"); });
}

} // namespace

TEST(MustacheText, ValuesAreTheTextOfTheRecord) {
	EXPECT_EQ(render("{{ change }}: {{name}}", R"({"name":"Ada"})"), "added: Ada");
	EXPECT_EQ(render("{{ n }} {{ m }}", R"({"n":1234567890123456789012345678901234567890.10,"m":9007199254740993})"),
	          "1234567890123456789012345678901234567890.10 9007199254740993");
	EXPECT_EQ(render("{{ address.city }}", R"({"address":{"city":"Bonn"}})"), "Bonn");
	EXPECT_EQ(render("[{{ a }}|{{ b }}|{{ c }}]", R"({"a":null,"c":""})"), "[||]");
	EXPECT_EQ(render("{{ yes }} {{ no }}", R"({"yes":true,"no":false})"), "true false");
	EXPECT_EQ(render("{{ tags }} {{ o }}", R"({"tags":["a","b"],"o":{"x":1.0}})"), R"(["a","b"] {"x":1.0})");
	EXPECT_EQ(render("{{ u }}", R"({"u":"\u00fc\ud83d\ude00"})"), "\u00fc\U0001F600");
}

TEST(MustacheText, NothingIsEscapedForHtml) {
	const char *record = R"({"x":"<b>\"A\" & 'B'</b>\n"})";
	for (const char *text : {"{{ x }}", "{{{ x }}}", "{{& x }}"})
		EXPECT_EQ(render(text, record), "<b>\"A\" & 'B'</b>\n") << text;
}

TEST(MustacheText, SectionsRepeatAreLeftOutOrGoInside) {
	EXPECT_EQ(render("{{#tags}}<{{.}}>{{/tags}}", R"({"tags":["a",2,null]})"), "<a><2><>");
	EXPECT_EQ(render("{{#lines}}{{n}}x{{sku}} {{/lines}}", R"({"lines":[{"n":1,"sku":"A"},{"n":2,"sku":"B"}]})"),
	          "1xA 2xB ");
	EXPECT_EQ(render("{{#o}}{{a}}{{#b}}{{.}}{{/b}}{{/o}}", R"({"o":{"a":1,"b":[2,3]}})"), "123");
	EXPECT_EQ(render("{{#o}}{{name}}{{/o}}", R"({"name":"outside","o":{"a":1}})"), "outside");
	EXPECT_EQ(render("{{#name}}hello {{name}}{{/name}}", R"({"name":"Ada"})"), "hello Ada");
	for (const char *nothing : {"null", "false", "[]", "\"\""})
		EXPECT_EQ(render("{{#x}}yes{{/x}}{{^x}}no{{/x}}", std::string("{\"x\":") + nothing + "}"), "no") << nothing;
	for (const char *something : {"0", "true", "{}", "[0]", "\" \""})
		EXPECT_EQ(render("{{#x}}yes{{/x}}{{^x}}no{{/x}}", std::string("{\"x\":") + something + "}"), "yes")
		    << something;
	EXPECT_EQ(render("a\n{{#x}}\nb\n{{/x}}\nc", R"({"x":true})"), "a\nb\nc"); // lines of sections alone are no lines
	EXPECT_EQ(render("a{{! a remark }}b", "{}"), "ab");
}

TEST(MustacheText, AFramesOwnNamesComeBeforeItsRecords) {
	Mustache text("{{change}} {{record.change}} {{n}}", nullptr, "x");
	EXPECT_EQ(text.render(R"({"change":"added","record":{"change":"c","n":1}})"), "added c 1");
	Mustache list("{{#added}}{{change}}{{n}};{{/added}}", nullptr, "x");
	EXPECT_EQ(list.render(R"({"record":{"added":[{"change":"added","record":{"n":1}},{"change":"added","record":{"n":2}}]}})",
	                      {"added"}),
	          "added1;added2;");
	// In a digest, which has lists of frames, a number is a count.
	Mustache more("{{#more}}and {{more}} more{{/more}}{{^more}}all{{/more}}", nullptr, "x");
	EXPECT_EQ(more.render(R"({"record":{"more":0}})", {"added"}), "all");
	EXPECT_EQ(more.render(R"({"record":{"more":10}})", {"added"}), "and 10 more");
}

TEST(MustacheText, WhatIsRefused) {
	EXPECT_EQ(refused("a {{ b").message, "messages.added: \"{{\" without \"}}\" at character 3");
	EXPECT_EQ(refused("{{#a}}b").message, "messages.added: the section {{#a}} is not closed");
	EXPECT_EQ(refused("{{#a}}{{#b}}{{/a}}{{/b}}").message, "messages.added: {{/a}} closes no section");
	EXPECT_EQ(refused("{{/a}}").sqlstate, "42601");
	EXPECT_EQ(refused("{{ }}").message, "messages.added: a tag without a name");
	EXPECT_EQ(refused("{{> part }}").sqlstate, "0A000");
	EXPECT_EQ(refused("{{=<% %>=}}").sqlstate, "0A000");
	std::string deep;
	for (int i = 0; i < 40; i++)
		deep += "{{#a}}";
	EXPECT_EQ(refused(deep).sqlstate, "54000");
}

TEST(MustacheText, NamesThatDoNotExistAreFound) {
	NameTree names;
	names.at("id").open = true;
	names.at("address.city").open = true;
	names.at("details").open = true;
	names.at("change");
	for (const char *good : {"{{id}} {{address.city}} {{change}}", "{{#address}}{{city}} {{id}}{{/address}}",
	                         "{{details.a.b}}", "{{#details}}{{anything}}{{/details}}", "{{^id}}none{{/id}}"})
		Mustache(good, &names, "messages.added");
	Error error = refused("{{ emial }}", &names);
	EXPECT_EQ(error.sqlstate, "42703");
	EXPECT_EQ(error.message, "messages.added: there is nothing called \"emial\" for {{ emial }}");
	EXPECT_EQ(error.detail, "Names here: address, change, details, id.");
	EXPECT_EQ(refused("{{#address}}{{street}}{{/address}}", &names).sqlstate, "42703");
	EXPECT_EQ(refused("{{^id}}{{nobody}}{{/id}}", &names).sqlstate, "42703");
	EXPECT_EQ(refused("{{ change.x }}", &names).sqlstate, "42703");
}
