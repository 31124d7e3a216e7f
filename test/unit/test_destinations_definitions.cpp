// Destination types that are made in SQL: what a definition may say, and what the same machinery does with it.

#include <fstream>
#include <set>

#include "destinations/operations.hpp"
#include "destinations/validate.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

const char *const crm = R"json({
	"description": "An example", "docs": "https://example.com/docs",
	"base_url": "https://{{ config.region }}.crm.example/api",
	"headers": {"X-Account": "{{ config.account }}", "X-App": "{{ secret.app }}"},
	"auth": {"type": "header", "name": "X-Key", "secret": "api_key"},
	"secrets": {"app": {"required": true, "description": "application id"}},
	"config": {"region": {"enum": ["eu", "us"], "default": "eu"}, "account": {"required": true, "description": "account number"}},
	"sync_config": {"list": {"default": "all"}},
	"objects": {
		"contacts": {"requests": {"upsert": {"path": "/contacts/batch", "body": {"list": "{{ config.list }}", "inputs": "{{ records }}"}},
		                          "archive": {"path": "/contacts/{{ id }}/archive"}},
		             "limits": {"batch_size": 100}},
		"companies": {"requests": {"insert": {"path": "/companies"}, "update": {"method": "PATCH", "path": "/companies/{{ remote_id }}"},
		                           "delete": {"method": "DELETE", "path": "/companies/{{ remote_id }}"}}}
	},
	"response": {"remote_id": "/id"}, "idempotency": {"header": "X-Once", "honoured": true}, "options": {"rate_limit": "100/s"}
})json";

nlohmann::ordered_json ordered(const char *text) {
	return nlohmann::ordered_json::parse(text);
}

Error definition_error(const std::string &patch) {
	auto definition = ordered(crm);
	definition.merge_patch(ordered(patch.c_str()));
	return error_of([&] { check_destination_type("crm", definition); });
}

} // namespace

TEST(Definitions, ARequestCanHaveAResponseOfItsOwn) {
	Wanted wanted;
	wanted.batch_size = 10;
	wanted.sync_config = parsed(R"({
	  "requests": {"insert": {"path": "/bulk", "body": {"docs": "{{ records }}"}, "response": {"atomic": true, "records": {
	                 "mapper": "by_order", "at": "", "ok": {"pointer": "/ok", "equals": true}, "code": "/error",
	                 "remote_id": "/rev"}}},
	               "update": {"method": "PUT", "path": "/{{ id }}"}},
	  "response": {"code": "/why", "remote_id": "/rev"}})");
	auto its = client(wanted);
	std::vector added {record(R"({"id":1})"), record(R"({"id":2})")};
	auto rendered = its->render(Operation::insert, added, noon);
	const char *partly = R"([{"ok":true,"rev":"1-a"},{"error":"conflict"}])";
	auto verdicts = its->classify(Operation::insert, rendered, added, answer(201, partly));
	EXPECT_EQ(verdicts[0].verdict, Verdict::accepted);
	EXPECT_EQ(verdicts[0].remote_id, "1-a");
	EXPECT_EQ(verdicts[1].verdict, Verdict::rejected);
	EXPECT_EQ(verdicts[1].code, "conflict");
	std::vector changed {record(R"({"id":1})", Change::changed)};
	rendered = its->render(Operation::update, changed, noon);
	verdicts = its->classify(Operation::update, rendered, changed, answer(201, R"({"rev":"2-b"})"));
	EXPECT_EQ(verdicts[0].verdict, Verdict::accepted);
	EXPECT_EQ(verdicts[0].remote_id, "2-b");
	verdicts = its->classify(Operation::update, rendered, changed, answer(400, R"({"why":"no"})"));
	EXPECT_EQ(verdicts[0].code, "no");
	EXPECT_TRUE(its->limits(Operation::insert).atomic);
	EXPECT_FALSE(its->limits(Operation::update).atomic);
	wanted.sync_config["requests"]["insert"]["response"] = parsed(R"({"wait": {"pointer": "/x"}})");
	auto error = error_of([&] { client(wanted); });
	EXPECT_EQ(error.sqlstate, "22023");
	EXPECT_NE(error.message.find("requests.insert.response.wait"), std::string::npos) << error.message;
}

TEST(Definitions, AMadeTypeSendsWhatItSays) {
	Wanted wanted;
	wanted.definition = parsed(crm);
	wanted.config = parsed(R"({"account":12})");
	wanted.secrets = {{"api_key", "secret-key"}, {"app", "app-1"}};
	wanted.object = "contacts";
	EXPECT_EQ(client(wanted)->limits(Operation::upsert).batch_records, 100u);
	EXPECT_EQ(golden(wanted, Operation::upsert, {record(R"({"id":1.50})")}),
	          "POST https://eu.crm.example/api/contacts/batch\nContent-Type: application/json\nX-Account: 12\nX-App: "
	          "app-1\nX-Once: idem-1\nX-Key: secret-key\n\n"
	          R"({"inputs":[{"id":1.50}],"list":"all"})");
	EXPECT_TRUE(client(wanted)->render(Operation::upsert, std::vector {record("{}")}, noon).request.idempotent);
	EXPECT_EQ(client(wanted)->redact("X-Key: secret-key"), "X-Key: [secret]");
	EXPECT_FALSE(client(wanted)->has(Operation::del)); // no default requests for made types
}

TEST(Definitions, WithoutUpsertAddedInsertsAndChangedUpdates) {
	Wanted wanted;
	wanted.definition = parsed(crm);
	wanted.config = parsed(R"({"account":12})");
	wanted.secrets = {{"api_key", "k"}, {"app", "a"}};
	wanted.object = "companies";
	auto made = client(wanted);
	OperationMap map = operations("mirror", "objects", "delete", *made);
	EXPECT_EQ(map.added, Operation::insert);
	EXPECT_EQ(map.changed, Operation::update);
	EXPECT_EQ(map.removed, Operation::del);
}

TEST(Definitions, OperationsOfHttp) {
	Wanted wanted;
	auto map = [&](const char *mode, const char *type, const char *on_removed) {
		return operations(mode, type, on_removed, *client(wanted));
	};
	EXPECT_EQ(map("upsert", "objects", "ignore").added, Operation::upsert);
	EXPECT_FALSE(map("upsert", "objects", "ignore").removed);
	EXPECT_EQ(map("mirror", "objects", "delete").removed, Operation::del);
	EXPECT_FALSE(map("insert", "objects", "ignore").changed);
	EXPECT_EQ(map("update", "objects", "ignore").added, Operation::update);
	EXPECT_EQ(map("insert", "events", "ignore").added, Operation::event);
	EXPECT_FALSE(map("insert", "events", "ignore").changed);
	EXPECT_EQ(map("mirror", "segments", "delete").removed, Operation::remove);
	EXPECT_EQ(map("upsert", "notifications", "ignore").removed,
	          Operation::message); // no entries at all: everything is POSTed
	wanted.sync_config =
	    parsed(R"({"requests":{"message.added":{"path":"/x"},"insert":{"path":"/i"},"update":{"path":"/u"}}})");
	EXPECT_FALSE(map("upsert", "notifications", "ignore").removed);
	EXPECT_EQ(map("upsert", "objects", "clear").added, Operation::insert);
	EXPECT_EQ(map("upsert", "objects", "clear").removed, Operation::clear); // by update
	wanted.sync_config = parsed(R"({"requests":{"insert":{"path":"/i"}}})");
	EXPECT_EQ(map("insert", "events", "ignore").added, Operation::insert);
	wanted.sync_config = parsed(R"({"requests":{"upsert":{"path":"/i"},"delete":{"path":"/d"}}})");
	EXPECT_EQ(map("mirror", "segments", "delete").added, Operation::upsert);
	EXPECT_EQ(map("mirror", "segments", "delete").removed, Operation::del);
}

TEST(Definitions, ErrorsNameThePlaceAndWhatIsAllowed) {
	check_destination_type("crm", ordered(crm));
	const std::string where = "definition of destination type \"crm\": ";
	Error error = definition_error(R"({"bodies":1})");
	EXPECT_EQ(error.message, where + "unknown key \"bodies\"");
	EXPECT_TRUE(has(error.detail, "base_url, headers, auth, requests, objects"));
	EXPECT_EQ(definition_error(R"({"requests":{"upsert":{"methd":"PUT"}}})").message,
	          where + "requests.upsert has unknown key \"methd\"");
	EXPECT_EQ(definition_error(R"({"requests":{"upsert":{"method":"YELL"}}})").message,
	          where + "requests.upsert.method cannot be \"YELL\"");
	EXPECT_EQ(definition_error(R"({"requests":{"replace":{}}})").message,
	          where + "requests has unknown operation \"replace\"");
	EXPECT_EQ(definition_error(R"({"objects":{"contacts":{"limits":{"batch_size":0}}}})").message,
	          where + "objects.contacts.limits.batch_size must be a whole number from 1 to 1000000");
	EXPECT_TRUE(has(definition_error(R"({"objects":{"contacts":{"modes":["mirror"]}}})").message,
	                "objects.contacts.modes names mirror, which no request serves"));
	EXPECT_TRUE(has(definition_error(R"({"base_url":"https://{{ config.zone }}"})").message,
	                "base_url: there is nothing called \"config.zone\""));
	EXPECT_TRUE(has(definition_error(R"({"base_url":"https://{{ config.list }}"})").message,
	                "config.list")); // a sync never says where
	EXPECT_TRUE(has(definition_error(R"({"options":{"batchsize":1}})").message, "options"));
	EXPECT_TRUE(has(definition_error(R"({"base_url":null})").message, "lacks \"base_url\""));
	EXPECT_EQ(error_of([] { check_destination_type("http", ordered(crm)); }).sqlstate, "42710");
	EXPECT_TRUE(has(error_of([] { check_destination_type("x", ordered(R"({"base_url":"https://h"})")); }).message,
	                "has no request that a sync could use"));
}

TEST(Definitions, Description) {
	auto description = describe_type("crm", ordered(crm));
	EXPECT_EQ(description["sync_types"].dump(), R"(["objects"])");
	EXPECT_EQ(description["objects"]["companies"]["modes"].dump(), R"(["upsert","insert","update","mirror"])");
	EXPECT_EQ(description["config"]["region"].dump(), R"({"default":"eu","enum":["eu","us"]})");
	EXPECT_TRUE(description["secrets"].contains("api_key"));
	EXPECT_TRUE(has(type_description("http"), "HTTP API"));
	EXPECT_EQ(describe_type("http", nullptr)["sync_types"].size(), 4u);
	EXPECT_EQ(merged_options(parsed(crm), parsed(R"({"timeout":"5 s"})")).dump(),
	          R"({"rate_limit":"100/s","timeout":"5 s"})");
}

// The published schema is kept true: for every place, the keys it lists are those that the reader lists.
TEST(Definitions, TheSchemaSaysTheSame) {
	std::ifstream file(SOURCE_FOLDER "/doc/definition.schema.json");
	auto schema = nlohmann::ordered_json::parse(file);
	auto keys = [](const nlohmann::ordered_json &properties) {
		std::set<std::string> out;
		for (auto &[key, value] : properties.items())
			out.insert(key);
		return out;
	};
	auto allowed = [](const Error &error) {
		std::set<std::string> out;
		std::string list = error.detail.substr(error.detail.find(": ") + 2);
		list.pop_back();
		for (std::size_t start = 0; start < list.size();) {
			std::size_t end = std::min(list.find(", ", start), list.size());
			out.insert(list.substr(start, end - start));
			start = end + 2;
		}
		return out;
	};
	auto &defs = schema["$defs"];
	EXPECT_EQ(keys(schema["properties"]), allowed(definition_error(R"({"?":1})")));
	EXPECT_EQ(keys(defs["requests"]["properties"]), allowed(definition_error(R"({"requests":{"?":{}}})")));
	EXPECT_EQ(keys(defs["request"]["properties"]), allowed(definition_error(R"({"requests":{"upsert":{"?":1}}})")));
	EXPECT_EQ(keys(defs["object"]["properties"]), allowed(definition_error(R"({"objects":{"contacts":{"?":1}}})")));
	EXPECT_EQ(keys(defs["limits"]["properties"]), allowed(definition_error(R"({"limits":{"?":1}})")));
	EXPECT_EQ(keys(defs["response"]["properties"]), allowed(definition_error(R"({"response":{"?":1}})")));
	EXPECT_EQ(keys(defs["records"]["properties"]), allowed(definition_error(R"({"response":{"records":{"?":1}}})")));
	EXPECT_EQ(keys(defs["when"]["properties"]),
	          allowed(definition_error(R"({"response":{"rules":[{"when":{"?":1},"then":"gone"}]}})")));
	EXPECT_EQ(keys(defs["entry_when"]["properties"]),
	          allowed(definition_error(R"({"response":{"records":{"ok":{"?":1}}}})")));
	EXPECT_EQ(keys(defs["response"]["properties"]["wait"]["properties"]),
	          allowed(definition_error(R"({"response":{"wait":{"?":1}}})")));
	EXPECT_EQ(keys(defs["response"]["properties"]["learn"]["properties"]),
	          allowed(definition_error(R"({"response":{"learn":{"?":1}}})")));
	EXPECT_EQ(keys(defs["words"]["oneOf"][1]["properties"]),
	          allowed(definition_error(R"({"response":{"code":{"?":1}}})")));
	EXPECT_EQ(keys(defs["request"]["properties"]["query"]["additionalProperties"]["oneOf"][1]["properties"]),
	          allowed(definition_error(R"({"requests":{"upsert":{"query":{"a":{"?":1}}}}})")));
	EXPECT_EQ(keys(defs["idempotency"]["oneOf"][1]["properties"]),
	          allowed(definition_error(R"({"idempotency":{"?":1}})")));
	EXPECT_EQ(keys(defs["keys"]["additionalProperties"]["properties"]),
	          allowed(definition_error(R"({"config":{"x":{"?":1}}})")));
	auto values = [&](const nlohmann::ordered_json &place, const std::string &patch) {
		std::set<std::string> out;
		for (auto &value : place["enum"])
			out.insert(value);
		EXPECT_EQ(out, allowed(definition_error(patch))) << patch;
	};
	auto &request = defs["request"]["properties"];
	auto &response = defs["response"]["properties"];
	values(request["method"], R"({"requests":{"upsert":{"method":"?"}}})");
	values(request["encoding"], R"({"requests":{"upsert":{"encoding":"?"}}})");
	values(request["nesting"], R"({"requests":{"upsert":{"encoding":"form","nesting":"?"}}})");
	values(request["compress"], R"({"requests":{"upsert":{"compress":"?"}}})");
	values(response["format"], R"({"response":{"format":"?"}})");
	values(response["learn"]["properties"]["unit"], R"({"response":{"learn":{"reset":"x","unit":"?"}}})");
	values(defs["records"]["properties"]["mapper"], R"({"response":{"records":{"mapper":"?"}}})");
	values(defs["records"]["properties"]["unlisted"], R"({"response":{"records":{"unlisted":"?"}}})");
	for (auto &kind : defs["auth"]["oneOf"]) {
		std::string type = kind["properties"]["type"]["const"];
		auto definition = ordered(crm);
		definition["auth"] = {{"type", type}, {"?", "1"}};
		EXPECT_EQ(keys(kind["properties"]), allowed(error_of([&] { check_destination_type("crm", definition); })))
		    << type;
	}
}
