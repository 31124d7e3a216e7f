// Messages and digests of notifications: which request carries them, and what create_sync refuses.

#include "core/json_text.hpp"
#include "destinations/message.hpp"
#include "destinations/validate.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

using Json = nlohmann::ordered_json;

Wanted notifications(const char *sync_config) {
	Wanted wanted;
	wanted.sync_type = "notifications";
	wanted.sync_config = parsed(sync_config);
	return wanted;
}

std::string body(const Wanted &wanted, const Record &record) {
	return client(wanted)->render(Operation::message, std::vector {record}, noon).request.body;
}

Error refused(const char *config, const char *sync_type = "notifications") {
	Json settings = Json::parse(
	    R"({"name":"news","type":"http","definition":null,"destination":"chat","destination_config":{"base_url":"https://h"},
		"mode":null,"object":null,"on_removed":null,"first_run":null,"options":{},"fields":["id","name","address.city"],"match_on":["id"]})");
	settings["sync_type"] = sync_type;
	settings["config"] = Json::parse(config);
	return error_of([&] {
		check_sync(settings);
		throw Error("00000", "accepted");
	});
}

} // namespace

TEST(MessageRequests, WithoutARequestTheTextIsPosted) {
	Wanted wanted = notifications(R"({"messages":{"added":"new: {{ name }} \"{{ sync }}\" {{ run_id }} {{ key.id }}",
		"changed":"{{ previous.name }} is {{ name }}"}})");
	EXPECT_EQ(body(wanted, record(R"({"name":"A \"quoted\"\nline"})")),
	          R"({"text":"new: A \"quoted\"\nline \"contacts\" 42 7"})");
	Record changed = record(R"({"name":"new"})", Change::changed);
	changed.previous = R"({"name":"old"})";
	EXPECT_EQ(body(wanted, changed), R"({"text":"old is new"})");
	auto http = client(wanted);
	EXPECT_TRUE(http->serves(Operation::message, Change::added));
	EXPECT_FALSE(http->serves(Operation::message, Change::removed)); // no template: nothing is sent
}

TEST(MessageRequests, TheTextGoesWhereTheRequestPutsIt) {
	EXPECT_EQ(body(notifications(
	                   R"({"messages":{"added":"{{ name }}"},"requests":{"message":{"encoding":"form","body":{"text":"{{ message }}"}}}})"),
	               record(R"({"name":"a b&c"})")),
	          "text=a%20b%26c");
	EXPECT_EQ(body(notifications(
	                   R"({"messages":{"added":"{{ name }}"},"requests":{"message":{"encoding":"text","body":"{{ message }}!"}}})"),
	               record(R"({"name":"<a>"})")),
	          "<a>!");
	EXPECT_EQ(body(notifications(
	                   R"({"messages":{"added":"{{ name }}"},"requests":{"message":{"body":{"a":{"b":"** {{ message | upper }}"}}}}})"),
	               record(R"({"name":"x\"y"})")),
	          R"({"a":{"b":"** X\"Y"}})");
	Wanted made = notifications(R"({"messages":{"added":"{{ name }}"}})");
	made.definition = parsed(R"({"base_url":"https://chat","requests":{"message":{"path":"/post","body":{"content":"{{ message }}"}}}})");
	EXPECT_EQ(body(made, record(R"({"name":"A"})")), R"({"content":"A"})");
}

TEST(MessageRequests, ARequestThatNeedsNoTextServesChangesWithoutATemplate) {
	auto http = client(notifications(
	    R"({"messages":{"added":"{{ name }}"},"requests":{"message":{"body":{"text":"{{ message }}"}},"message.removed":{"body":{"gone":"{{ id }}"}}}})"));
	EXPECT_TRUE(http->serves(Operation::message, Change::added));
	EXPECT_FALSE(http->serves(Operation::message, Change::changed));
	EXPECT_TRUE(http->serves(Operation::message, Change::removed));
	// Without messages, a field may be called so.
	EXPECT_EQ(body(notifications(R"({"requests":{"message":{"body":{"text":"{{ message }}"}}}})"),
	               record(R"({"message":"mine"})")),
	          R"({"text":"mine"})");
	EXPECT_EQ(body(notifications(
	                   R"({"messages":{"added":"T"},"requests":{"message":{"body":{"text":"{{ message }}","mine":"{{ record.message }}"}}}})"),
	               record(R"({"message":"mine"})")),
	          R"({"mine":"mine","text":"T"})");
}

TEST(MessageDigest, OneTextForAllChanges) {
	DigestContent content;
	content.counts[0] = 12;
	content.counts[2] = 1;
	content.samples[0] = {R"({"change":"added","key":{"id":1},"previous":null,"record":{"name":"A","n":1.10}})",
	                      R"({"change":"added","key":{"id":2},"previous":null,"record":{"name":"B"}})"};
	content.samples[2] = {R"({"change":"removed","key":{"id":3},"previous":{"name":"C"},"record":{"name":"C"}})"};
	Record digest = record(digest_fields(content));
	Wanted wanted = notifications(
	    R"({"messages":{"digest":"{{count}}: {{added_count}} new ({{#added}}{{name}}{{#n}} {{n}}{{/n}}, {{/added}}{{added_more}} more), {{changed_count}} changed, gone {{#removed}}{{previous.name}} {{key.id}}{{/removed}}, {{more}} {{run_id}}"}})");
	EXPECT_EQ(body(wanted, digest), R"({"text":"13: 12 new (A 1.10, B, 10 more), 0 changed, gone C 3, 10 42"})");
	for (Change change : {Change::added, Change::changed, Change::removed})
		EXPECT_TRUE(client(wanted)->serves(Operation::message, change));
	wanted = notifications(
	    R"({"messages":{"digest":"{{count}}"},"requests":{"message":{"body":{"text":"{{ message }}","new":"{{ added_count }}"}}}})");
	EXPECT_EQ(body(wanted, digest), R"({"new":12,"text":"13"})");
	EXPECT_TRUE(json_valid(digest.fields));
}

TEST(CheckMessages, WhatIsRefused) {
	EXPECT_EQ(refused(R"({"messages":{"added":"{{ name }}{{#previous}}{{ name }}{{/previous}} {{ address.city }}"}})").message,
	          "accepted");
	Error unknown = refused(R"({"messages":{"add":"x"}})");
	EXPECT_EQ(unknown.message, "config of sync \"news\": messages has unknown key \"add\"");
	EXPECT_TRUE(has(unknown.detail, "added, changed, removed, digest"));
	Error name = refused(R"({"messages":{"changed":"{{ nmae }}"}})");
	EXPECT_EQ(name.sqlstate, "42703");
	EXPECT_EQ(name.message, "config of sync \"news\": messages.changed: there is nothing called \"nmae\" for {{ nmae }}");
	EXPECT_EQ(name.detail, "Names here: address, change, id, key, name, object, previous, record, run_id, sync.");
	EXPECT_TRUE(has(refused(R"({"messages":{"removed":"{{#name}}"}})").message, "messages.removed: the section"));
	EXPECT_TRUE(has(refused(R"({"messages":{}})").message, "messages is empty"));
	EXPECT_TRUE(has(refused(R"({"messages":{"added":5}})").message, "messages.added"));
	EXPECT_TRUE(has(refused(R"({"messages":{"added":"x","digest":"y"}})").message, "beside templates of single changes"));
	EXPECT_TRUE(has(refused(R"({"messages":{"added":"x"}})", "objects").message, "is for sync type notifications"));
	EXPECT_TRUE(has(refused(R"({"messages":{"added":"x"},"requests":{"message":{"body":{"text":"{{ name }}"}}}})").message,
	                "has no {{ message }}"));
	EXPECT_TRUE(has(refused(R"({"messages":{"changed":"x"},"requests":{"message.added":{"body":{"text":"{{ message }}"}}}})").message,
	                "no request to send it with"));
}

TEST(CheckMessages, Digests) {
	EXPECT_EQ(refused(R"({"messages":{"digest":"{{count}}{{#added}}{{name}}{{previous.name}}{{key.id}}{{/added}}"},"digest_records":20})").message,
	          "accepted");
	Error name = refused(R"({"messages":{"digest":"{{ name }}"}})");
	EXPECT_EQ(name.message, "config of sync \"news\": messages.digest: there is nothing called \"name\" for {{ name }}");
	EXPECT_TRUE(has(name.detail, "added, added_count, added_more"));
	EXPECT_EQ(refused(R"({"messages":{"digest":"{{#added}}{{ nmae }}{{/added}}"}})").sqlstate, "42703");
	EXPECT_EQ(refused(R"({"messages":{"digest":"x"},"digest_records":21})").sqlstate, "22023");
	EXPECT_TRUE(has(refused(R"({"messages":{"added":"x"},"digest_records":5})").message, "has no effect without"));
	EXPECT_TRUE(has(refused(R"({"messages":{"digest":"x"},"requests":{"message.added":{"body":"{{ message }}"}}})").message,
	                "is not used by a digest"));
	Error one = refused(R"({"messages":{"digest":"x"},"requests":{"message":{"body":{"t":"{{ message }}","c":"{{ change }}"}}}})");
	EXPECT_TRUE(has(one.message, "speaks of one record"));
	EXPECT_TRUE(has(refused(R"({"messages":{"digest":"x"},"requests":{"message":{"body":{"t":"{{ message }}","c":"{{ name }}"}}}})").message,
	                "nothing called \"name\""));
}
