#include "core/json_text.hpp"

#include <gtest/gtest.h>

using namespace courier;

namespace {

std::string nested(std::size_t depth, std::string inner = "") {
	return std::string(depth, '[') + inner + std::string(depth, ']');
}

// -- json_find

TEST(JsonFind, TheEmptyPathIsTheWholeValueWithoutTheSpaceAroundIt) {
	EXPECT_EQ(json_find("  {\"a\": 1} \n", {}), "{\"a\": 1}");
	EXPECT_EQ(json_find(" 7 ", {}), "7");
}

TEST(JsonFind, FindsMembersAndArrayPositionsAsTheyAreWritten) {
	std::string_view json =
	    R"({"a": {"b": [10, {"c": "x\ny"}, 1.500000000000000000000000000000000000001 ] }, "n":null})";
	EXPECT_EQ(json_find(json, {"a", "b", "0"}), "10");
	EXPECT_EQ(json_find(json, {"a", "b", "1", "c"}), R"("x\ny")");
	EXPECT_EQ(json_find(json, {"a", "b", "2"}), "1.500000000000000000000000000000000000001");
	EXPECT_EQ(json_find(json, {"n"}), "null");
}

TEST(JsonFind, NothingIsThereForAPathThatLeadsNowhere) {
	std::string_view json = R"({"a": [1, 2], "s": "text"})";
	EXPECT_EQ(json_find(json, {"b"}), std::nullopt);
	EXPECT_EQ(json_find(json, {"a", "2"}), std::nullopt);
	EXPECT_EQ(json_find(json, {"a", "00"}), std::nullopt);
	EXPECT_EQ(json_find(json, {"a", "-"}), std::nullopt);
	EXPECT_EQ(json_find(json, {"a", "x"}), std::nullopt);
	EXPECT_EQ(json_find(json, {"s", "0"}), std::nullopt);
	EXPECT_EQ(json_find("", {}), std::nullopt);
	EXPECT_EQ(json_find("", {"a"}), std::nullopt);
}

TEST(JsonFind, NamesAreComparedUnescaped) {
	EXPECT_EQ(json_find(R"({"\u0061\/b": 1})", {"a/b"}), "1");
	EXPECT_EQ(json_find(R"({"": {"0": 2}})", {"", "0"}), "2");
}

TEST(JsonFind, OfEqualNamesTheLastCountsAsInJsonb) {
	EXPECT_EQ(json_find(R"({"a": 1, "b": 2, "a": 3})", {"a"}), "3");
}

TEST(JsonFind, HandsOutNothingOfInvalidText) {
	EXPECT_EQ(json_find(R"({"a": 1, "b" )", {"a"}), std::nullopt);
	EXPECT_EQ(json_find(R"({"a": 01})", {"a"}), std::nullopt);
	EXPECT_EQ(json_find(R"([1, 2)", {"0"}), std::nullopt);
	EXPECT_EQ(json_find(R"({"a": 1} x)", {"a"}), std::nullopt);
}

// -- json_pointer_path

TEST(JsonPointer, SplitsAtSlashesAndUnescapes) {
	using Path = std::vector<std::string>;
	EXPECT_EQ(json_pointer_path(""), Path {});
	EXPECT_EQ(json_pointer_path("/"), Path {""});
	EXPECT_EQ(json_pointer_path("/a/0/b c"), (Path {"a", "0", "b c"}));
	EXPECT_EQ(json_pointer_path("/a~1b/m~0n/~01"), (Path {"a/b", "m~n", "~1"}));
	EXPECT_EQ(json_pointer_path("/a/"), (Path {"a", ""}));
}

TEST(JsonPointer, AnythingElseIsNoPointer) {
	EXPECT_EQ(json_pointer_path("a"), std::nullopt);
	EXPECT_EQ(json_pointer_path("/a~"), std::nullopt);
	EXPECT_EQ(json_pointer_path("/a~2"), std::nullopt);
}

// -- members and elements

TEST(JsonMembers, ComeInOrderWithTheirValuesAsTheyStand) {
	auto members = json_members(R"( { "z" : 1 , "a":[1, 2],"\u00e9":{} } )");
	ASSERT_EQ(members.size(), 3u);
	EXPECT_EQ(members[0].first, "z");
	EXPECT_EQ(members[0].second, "1");
	EXPECT_EQ(members[1].first, "a");
	EXPECT_EQ(members[1].second, "[1, 2]");
	EXPECT_EQ(members[2].first, "é");
	EXPECT_EQ(members[2].second, "{}");
}

TEST(JsonMembers, AreEmptyForAnythingButAnObject) {
	for (const char *text : {"{}", "[1]", "1", "", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "{} {}"})
		EXPECT_TRUE(json_members(text).empty()) << text;
}

TEST(JsonElements, ComeInOrder) {
	using Elements = std::vector<std::string_view>;
	EXPECT_EQ(json_elements(R"([1, "a,b" , {"c":[]},null ])"), (Elements {"1", "\"a,b\"", "{\"c\":[]}", "null"}));
	for (const char *text : {"[]", "{}", "1", "", "[1", "[1,]", "[,1]", "[1 2]", "[1]]"})
		EXPECT_TRUE(json_elements(text).empty()) << text;
}

// -- kinds and plain text

TEST(JsonKindOf, IsToldForEveryKind) {
	EXPECT_EQ(json_kind("null"), JsonKind::null);
	EXPECT_EQ(json_kind(" true"), JsonKind::boolean);
	EXPECT_EQ(json_kind("false"), JsonKind::boolean);
	EXPECT_EQ(json_kind("-1.5e+3"), JsonKind::number);
	EXPECT_EQ(json_kind("\"\""), JsonKind::string);
	EXPECT_EQ(json_kind("[1]"), JsonKind::array);
	EXPECT_EQ(json_kind("{\"a\":1}\n"), JsonKind::object);
	for (const char *text : {"", " ", "nul", "True", "NaN", "+1", "1 2", "\"a", "'a'", "{", "[1", "hello"})
		EXPECT_EQ(json_kind(text), JsonKind::invalid) << text;
}

TEST(JsonPlain, IsWhatAPersonWouldWrite) {
	EXPECT_EQ(json_plain("\"a b\""), "a b");
	EXPECT_EQ(json_plain("null"), "");
	EXPECT_EQ(json_plain("true"), "true");
	EXPECT_EQ(json_plain("12345678901234567890.10"), "12345678901234567890.10");
	EXPECT_EQ(json_plain(R"({"a": 1})"), R"({"a": 1})");
}

TEST(JsonPlain, DecodesEscapes) {
	EXPECT_EQ(json_plain(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
	EXPECT_EQ(json_plain(R"("\u0041\u00e4\u20AC")"), "Aä€");
	EXPECT_EQ(json_plain(R"("\ud83d\ude00!")"), "😀!");
}

TEST(JsonPlain, WhatIsNoCharacterBecomesTheReplacementCharacter) {
	EXPECT_EQ(json_plain(R"("\ud83d")"), "\uFFFD");
	EXPECT_EQ(json_plain(R"("\ude00\ud83d")"), "\uFFFD\uFFFD");
	EXPECT_EQ(json_plain(R"("\ud83d\u0041")"), "\uFFFDA");
	EXPECT_EQ(json_plain(R"("\ud83dx")"), "\uFFFDx");
	EXPECT_EQ(json_plain(R"("a\u0000b")"), "a\uFFFDb") << "text in PostgreSQL cannot hold U+0000";
}

// -- writing

TEST(JsonString, EscapesWhatMustBeEscapedAndNothingElse) {
	EXPECT_EQ(json_string(""), "\"\"");
	EXPECT_EQ(json_string("a\"b\\c/d"), R"("a\"b\\c/d")");
	EXPECT_EQ(json_string("\b\f\n\r\t\x01\x1f\x7f"), "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
	EXPECT_EQ(json_string(std::string_view("a\0b", 3)), R"("a\u0000b")");
	EXPECT_EQ(json_string("ä€😀"), "\"ä€😀\"");
}

TEST(JsonString, IsValidWhateverTheBytesWere) {
	EXPECT_EQ(json_string("a\xff\xc3"), "\"a\uFFFD\uFFFD\"");
	EXPECT_EQ(json_string("\xc0\xaf"), "\"\uFFFD\uFFFD\"");
	std::string all;
	for (int i = 0; i < 256; ++i)
		all += static_cast<char>(i);
	EXPECT_TRUE(json_valid(json_string(all)));
}

TEST(JsonString, ComesBackThroughPlain) {
	std::string text = "tab\t quote\" back\\ nl\n ü 😀";
	EXPECT_EQ(json_plain(json_string(text)), text);
	std::string out = "x=";
	json_append_string(out, "y");
	EXPECT_EQ(out, "x=\"y\"");
}

// -- json_valid

TEST(JsonValid, AcceptsOneValueOfAnyKind) {
	for (const char *text : {"0", "-0", "10.25", "1e5", "1E+5", "0.1e-9", "true", "null", "\"\"", "[]", "{}", " [ ] ",
	                         R"({"a":[1,{"b":null}],"c":"\u12aB"})", "\"\xf4\x8f\xbf\xbf\"", "\t\r\n1"})
		EXPECT_TRUE(json_valid(text)) << text;
}

TEST(JsonValid, RefusesEverythingElse) {
	for (const char *text : {"",           " ",
	                         "01",         "1.",
	                         ".5",         "-",
	                         "+1",         "1e",
	                         "1e+",        "0x10",
	                         "nul",        "truex",
	                         "NaN",        "Infinity",
	                         "[1,]",       "[,]",
	                         "[1 2]",      "[",
	                         "]",          "[}",
	                         "{\"a\"}",    "{a:1}",
	                         "{\"a\":}",   "{,}",
	                         "{\"a\":1,}", "{\"a\":1 \"b\":2}",
	                         "{\"a\":1]",  "\"",
	                         "\"a",        "\"\\x\"",
	                         "\"\\u12\"",  "\"\\u12g4\"",
	                         "\"\\\"",     "'a'",
	                         "1 2",        "// x\n1",
	                         "\"\n\"",     "\"\t\"",
	                         "[1]]",       "\xEF\xBB\xBF{}",
	                         "\v1"})
		EXPECT_FALSE(json_valid(text)) << text;
}

TEST(JsonValid, RefusesWhatIsNotUtf8) {
	for (const char *text : {"\"\xff\"", "\"\xc3\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
	                         "\"\xe0\x80\x80\"", "\"\xe2\x82\""})
		EXPECT_FALSE(json_valid(text));
}

TEST(JsonValid, RefusesABackslashAtTheVeryEndOfTheBuffer) {
	std::string text = "\"abc\\";
	EXPECT_FALSE(json_valid(text));
	text = "\"\\u00";
	EXPECT_FALSE(json_valid(text));
	EXPECT_FALSE(json_valid(std::string_view("\"a\0\"", 4)));
}

TEST(JsonValid, DepthIsBoundedAt512) {
	EXPECT_TRUE(json_valid(nested(512)));
	EXPECT_FALSE(json_valid(nested(513)));
	EXPECT_TRUE(json_valid(nested(512, "1")));
	EXPECT_FALSE(json_valid(nested(512, "{}")));
}

TEST(JsonText, HostileDepthIsRefusedByEveryFunctionWithoutHarm) {
	std::string arrays(4 << 20, '['), objects;
	for (int i = 0; i < 200000; ++i)
		objects += "{\"a\":";
	for (const std::string &text : {arrays, objects}) {
		EXPECT_FALSE(json_valid(text));
		EXPECT_EQ(json_find(text, {"a", "a"}), std::nullopt);
		EXPECT_EQ(json_find(text, {"0", "0"}), std::nullopt);
		EXPECT_TRUE(json_members(text).empty());
		EXPECT_TRUE(json_elements(text).empty());
		EXPECT_EQ(json_kind(text), JsonKind::invalid);
	}
}

} // namespace
