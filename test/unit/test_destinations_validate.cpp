// What create_destination and create_sync refuse, in the words they refuse it with, and the defaults they fill in.

#include "destinations/validate.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

using Json = nlohmann::ordered_json;

void check(const char *config, std::vector<std::string> secrets = {}) {
	check_destination("crm", "http", nullptr, Json::parse(config), secrets);
}

Json sync(const char *patch) {
	Json settings = Json::parse(
	    R"({"name":"contacts","type":"http","definition":null,"destination":"crm","destination_config":{"base_url":"https://h"},
		"mode":null,"sync_type":null,"object":null,"on_removed":null,"first_run":null,"config":{},"options":{},"fields":["id","email","address.city"],"match_on":["id"]})");
	settings.merge_patch(Json::parse(patch));
	return check_sync(settings);
}

std::string resolved(const char *patch) {
	Json out = sync(patch);
	return out["sync_type"].get<std::string>() + " " + out["mode"].get<std::string>() + " " +
	       out["on_removed"].get<std::string>() + " " + out["first_run"].get<std::string>();
}

Error refused(const char *patch) {
	return error_of([&] { sync(patch); });
}

} // namespace

TEST(CheckDestination, Http) {
	check(R"({"base_url":"https://h"})");
	check(R"({"base_url":"https://h","auth":{"type":"bearer"}})", {"token"});
	check(R"({"base_url":"{{ secret.url }}"})", {"url"}); // a secret address
	auto error = [](const char *config, std::vector<std::string> secrets = {}) {
		return error_of([&] { check(config, secrets); });
	};
	Error unknown = error(R"({"base_url":"https://h","header":{}})");
	EXPECT_EQ(unknown.message, "config of destination \"crm\": unknown key \"header\"");
	EXPECT_EQ(unknown.detail,
	          "Keys allowed here: base_url, headers, auth, tls, idempotency, requests, response, limits, test.");
	EXPECT_EQ(error("{}").message, "config of destination \"crm\" lacks \"base_url\"");
	EXPECT_EQ(error(R"({"base_url":"ftp://h"})").sqlstate, "22023");
	EXPECT_EQ(error(R"({"base_url":"https://h","auth":{"type":"bearer"}})").message,
	          "destination \"crm\" needs the secret \"token\"");
	Error extra = error(R"({"base_url":"https://h","auth":{"type":"bearer"}})", {"token", "tokn"});
	EXPECT_EQ(extra.message, "destination \"crm\" does not use a secret \"tokn\"");
	EXPECT_EQ(extra.detail, "It uses: token.");
	EXPECT_TRUE(has(error(R"({"base_url":"https://h","auth":{"type":"header"}})", {"key"}).message, "needs \"name\""));
	EXPECT_TRUE(
	    has(error(R"({"base_url":"https://h","tls":{"client_certificate":"-----BEGIN CERTIFICATE-----"}})").message,
	        "client_key"));
	EXPECT_TRUE(has(error(R"({"base_url":"https://h","headers":{"X":"{{ config.y }}"}})").message,
	                "nothing called \"config.y\""));
	EXPECT_TRUE(
	    has(error(R"({"base_url":"https://h","headers":{"Bad Name":"1"}})").message, "cannot be the name of a header"));
	Error type = error_of([] { check_destination("crm", "htp", nullptr, Json::object(), {}); });
	EXPECT_EQ(type.sqlstate, "42704");
	EXPECT_EQ(type.detail, "There is: custom, http, salesforce, zendesk.");
}

TEST(CheckDestination, MadeTypes) {
	Json definition = Json::parse(
	    R"({"base_url":"https://{{ config.host }}","config":{"host":{"required":true,"description":"the host"},"kind":{"enum":["a","b"]}},"requests":{"upsert":{}}})");
	auto error = [&](const char *config) {
		return error_of([&] { check_destination("crm", "made", definition, Json::parse(config), {}); });
	};
	check_destination("crm", "made", definition, Json::parse(R"({"host":"h","kind":"a"})"), {});
	EXPECT_EQ(error("{}").message, "config of destination \"crm\" lacks \"host\"");
	EXPECT_EQ(error(R"({"host":"h","base_url":"x"})").detail, "Keys allowed here: host, kind, tls, idempotency.");
	EXPECT_EQ(error(R"({"host":"h","kind":"c"})").detail, "Allowed: a, b.");
	EXPECT_EQ(error(R"({"host":"h/ x"})").sqlstate, "22023");
}

TEST(CheckSync, Defaults) {
	EXPECT_EQ(resolved("{}"), "objects upsert ignore send");
	EXPECT_EQ(resolved(R"({"mode":"mirror"})"), "objects mirror delete send");
	EXPECT_EQ(resolved(R"({"sync_type":"events"})"), "events insert ignore send");
	EXPECT_EQ(resolved(R"({"sync_type":"notifications"})"), "notifications upsert ignore baseline");
	EXPECT_EQ(resolved(R"({"sync_type":"notifications","first_run":"send"})"), "notifications upsert ignore send");
	EXPECT_EQ(resolved(R"({"sync_type":"segments"})"), "segments mirror delete send");
	EXPECT_EQ(resolved(R"({"sync_type":"events","mode":"insert","on_removed":"ignore","first_run":"send"})"),
	          "events insert ignore send"); // what was stored comes back
	EXPECT_EQ(sync(R"({"object":"people"})")["object"], "people");
}

TEST(CheckSync, WhatIsNotPossible) {
	Error mode = refused(R"({"mode":"merge"})");
	EXPECT_EQ(mode.message,
	          "sync \"contacts\": mode \"merge\" is not possible: destination type \"http\" does not have it");
	EXPECT_EQ(mode.detail, "Allowed: upsert, insert, update, mirror.");
	EXPECT_EQ(refused(R"({"sync_type":"rows"})").detail, "Allowed: objects, events, notifications, segments.");
	EXPECT_TRUE(has(refused(R"({"sync_type":"events","mode":"upsert"})").message,
	                "for events the sync type says what is sent"));
	EXPECT_TRUE(has(refused(R"({"sync_type":"notifications","on_removed":"delete"})").message,
	                "it does not apply to notifications"));
	EXPECT_TRUE(
	    has(refused(R"({"mode":"mirror","on_removed":"ignore"})").message, "mode mirror deletes what is removed"));
	Error archive = refused(R"({"on_removed":"archive"})");
	EXPECT_TRUE(has(archive.message, "there is no request \"archive\""));
	EXPECT_EQ(archive.detail, "Allowed: ignore, delete.");
	EXPECT_TRUE(has(refused(R"({"on_removed":"clear"})").message, "there is no request \"clear\" or \"update\""));
	EXPECT_EQ(resolved(R"({"on_removed":"clear","config":{"requests":{"update":{"path":"/{{ email }}"}}}})"),
	          "objects upsert clear send");
	EXPECT_EQ(resolved(R"({"on_removed":"archive","config":{"requests":{"archive":{"path":"/{{ id }}"}}}})"),
	          "objects upsert archive send");
	EXPECT_EQ(refused(R"({"first_run":"later"})").detail, "Allowed: send, baseline.");
	EXPECT_EQ(refused(R"({"options":{"batch":1}})").sqlstate, "22023");
}

TEST(CheckSync, Config) {
	EXPECT_EQ(refused(R"({"config":{"request":{}}})").detail,
	          "Keys allowed here: requests, response, limits, idempotency, messages, digest_records.");
	EXPECT_TRUE(
	    has(refused(R"({"config":{"requests":{"patch":{}}}})").message, "requests has unknown operation \"patch\""));
	Error field = refused(R"({"config":{"requests":{"upsert":{"method":"PUT","path":"/c/{{ emial }}"}}}})");
	EXPECT_EQ(field.sqlstate, "42703");
	EXPECT_EQ(field.message,
	          "config of sync \"contacts\": requests.upsert.path: there is nothing called \"emial\" for {{ emial }}");
	EXPECT_TRUE(has(field.detail, "Mapped fields: id, email, address.city."));
	Error removed = refused(R"({"config":{"requests":{"delete":{"method":"DELETE","path":"/c/{{ email }}"}}}})");
	EXPECT_TRUE(has(removed.message, "a removed record has no field \"email\""));
	EXPECT_TRUE(has(removed.detail, "id"));
	EXPECT_EQ(
	    refused(
	        R"({"config":{"requests":{"upsert":{"body":"{{ secret.token }}"}}},"destination_config":{"auth":{"type":"bearer"}}})")
	        .sqlstate,
	    "42501");
	sync(R"({"config":{"requests":{"upsert":{"body":{"o":"{{ object }}","c":"{{ address.city }}"}}}}})");
}

TEST(CheckSync, ObjectsOfAMadeType) {
	const char *made =
	    R"("type":"made","definition":{"base_url":"https://h","objects":{"contacts":{"requests":{"upsert":{"path":"/c"}}},"deals":{"requests":{"insert":{"path":"/d"}}}}},"destination_config":{"base_url":null})";
	auto with = [&](const char *more) { return std::string("{") + made + more + "}"; };
	EXPECT_EQ(resolved(with(R"(,"object":"contacts")").c_str()), "objects upsert ignore send");
	EXPECT_EQ(resolved(with(R"(,"object":"deals")").c_str()), "objects insert ignore send");
	EXPECT_EQ(refused(with(R"(,"object":"deals","mode":"mirror")").c_str()).detail, "Allowed: insert.");
	Error object = refused(with(R"(,"object":"leads")").c_str());
	EXPECT_EQ(object.sqlstate, "42704");
	EXPECT_EQ(object.detail, "Objects: contacts, deals.");
	EXPECT_TRUE(has(refused(with("").c_str()).message, "must name an object"));
	EXPECT_TRUE(has(refused(with(R"(,"object":"deals","on_removed":"delete")").c_str()).message,
	                "there is no request \"delete\""));
	EXPECT_EQ(refused(with(R"(,"object":"deals","config":{"list":1})").c_str()).detail,
	          "Keys allowed here: idempotency, messages, digest_records.");
}
