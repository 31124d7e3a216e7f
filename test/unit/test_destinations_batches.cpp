// How a batch becomes one request: elements, names of elements, what is left of a record, groups, sizes.

#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

Wanted with(const char *request, const char *operation = "upsert") {
	Wanted wanted;
	wanted.config = {{"base_url", "https://h"}, {"idempotency", false}};
	wanted.batch_size = 10;
	wanted.sync_config = {{"requests", {{operation, parsed(request)}}}};
	return wanted;
}

Rendered rendered(const Wanted &wanted, const std::vector<Record> &batch) {
	return client(wanted)->render(Operation::upsert, batch, noon);
}

std::string body(const char *request, const std::vector<Record> &batch) {
	return rendered(with(request), batch).request.body;
}

std::vector<Record> two() {
	auto first = record(R"({"id":1,"email":"a@x","address":{"city":"Bonn","zip":"0123"},"n":1.50})");
	auto second = record(R"({"id":2,"email":"b@x","n":null})");
	first.idempotency_key = "k1";
	second.idempotency_key = "k2";
	first.remote_id = "rec1";
	second.remote_id = "rec2";
	return {first, second};
}

} // namespace

TEST(Batches, AnElementPerRecord) {
	EXPECT_EQ(body(R"({"body":{"users":"{{ records }}","createNewFields":true},"each":{"email":"{{ email }}","dataFields":"{{ rest }}"}})", two()),
	          R"({"createNewFields":true,"users":[{"dataFields":{"id":1,"address":{"city":"Bonn","zip":"0123"},"n":1.50},"email":"a@x"},)"
	          R"({"dataFields":{"id":2,"n":null},"email":"b@x"}]})");
	EXPECT_EQ(body(R"({"each":"{{ id }}"})", two()), "[1,2]"); // without a body: all elements
	EXPECT_EQ(body(R"({"body":{"values":"{{ records }}"},"each":["{{ id }}","{{ n }}"]})", two()),
	          R"({"values":[[1,1.50],[2,null]]})");
	EXPECT_EQ(body(R"({"encoding":"ndjson","each":{"id":"{{ id }}"}})", two()), "{\"id\":1}\n{\"id\":2}\n");
}

TEST(Batches, ElementsUnderNames) {
	EXPECT_EQ(body(R"({"body":{"documents":"{{ records }}"},"each_key":"item-{{ id }}","each":"{{ rest }}","exclude":["address.zip","n"]})", two()),
	          R"({"documents":{"item-1":{"email":"a@x","address":{"city":"Bonn"}},"item-2":{"email":"b@x"}}})");
	EXPECT_EQ(body(R"({"body":{"documents":"{{ records }}"},"each_key":"{{ id }}"})", {record(R"({"id":"a\"b"})")}),
	          R"({"documents":{"a\"b":{"id":"a\"b"}}})");
	// The second of a name waits for the next request; one without a name is refused.
	Rendered out = rendered(with(R"({"each_key":"{{ id }}","each":{"v":"{{ v }}"}})"),
	                        {record(R"({"id":1,"v":1})"), record(R"({"id":1,"v":2})"), record(R"({"id":null,"v":3})")});
	EXPECT_EQ(out.request.body, R"({"1":{"v":1}})");
	EXPECT_EQ(out.records, (std::vector<std::size_t> {0}));
	EXPECT_EQ(out.unrendered, (std::vector<std::size_t> {2}));
}

TEST(Batches, SubRequestsWithIds) {
	EXPECT_EQ(body(R"({"body":{"Entries":"{{ records }}"},"each":{"Id":"{{ index | string }}","Dedup":"{{ idempotency_key }}","Body":"{{ record | json_text }}"}})",
	               {two()[1], two()[0]}),
	          R"({"Entries":[{"Body":"{\"id\":2,\"email\":\"b@x\",\"n\":null}","Dedup":"k2","Id":"0"},)"
	          R"({"Body":"{\"id\":1,\"email\":\"a@x\",\"address\":{\"city\":\"Bonn\",\"zip\":\"0123\"},\"n\":1.50}","Dedup":"k1","Id":"1"}]})");
}

TEST(Batches, AMatrixHasTheSameColumnsInEveryRow) {
	EXPECT_EQ(body(R"({"body":{"columns":"{{ fields }}","rows":"{{ records }}"},"each":"{{ values }}"})",
	               {record(R"({"b":1,"a":"x"})"), record(R"({"a":"y","c":true})")}),
	          R"({"columns":["b","a","c"],"rows":[[1,"x",null],[null,"y",true]]})");
}

TEST(Batches, ARepeatedParameter) {
	Wanted wanted = with(R"({"method":"DELETE","path":"/t","query":{"x":1,"records[]":{"each":"{{ remote_id }}"}}})");
	Rendered out = rendered(wanted, two());
	EXPECT_EQ(out.request.url, "https://h/t?x=1&records%5B%5D=rec1&records%5B%5D=rec2");
	EXPECT_EQ(out.request.body, "");
	EXPECT_EQ(client(wanted)->limits(Operation::upsert).batch_records, 10u);
	Record unknown = two()[0];
	unknown.remote_id.clear();
	out = rendered(wanted, {unknown, two()[1]});
	EXPECT_EQ(out.request.url, "https://h/t?x=1&records%5B%5D=rec2");
	EXPECT_EQ(out.why.at(0).code, "unknown_remote_id");
	EXPECT_EQ(rendered(with(R"({"method":"DELETE","path":"/t","query":{"ids":"{{ records | join: ',' }}"},"each":"{{ id }}"})"), two()).request.url,
	          "https://h/t?ids=1%2C2");
}

TEST(Batches, ARecordThatHasNoElementIsLeftOut) {
	Rendered out = rendered(with(R"({"body":{"ids":"{{ records }}"},"each":"{{ remote_id }}"})"), {record("{}"), two()[0]});
	EXPECT_EQ(out.request.body, R"({"ids":["rec1"]})");
	EXPECT_EQ(out.records, (std::vector<std::size_t> {1}));
	EXPECT_EQ(out.why.at(0).code, "unknown_remote_id");
	out = rendered(with(R"({"each":"{{ id }}"})"), {record(R"({"id":null})"), two()[0]});
	EXPECT_EQ(out.request.body, "[1]"); // never [null,1]
	EXPECT_EQ(out.why.at(0).code, "bad_value");
	out = rendered(with(R"({"each":{"n":"{{ n | number }}"}})"), {record(R"({"n":"x"})"), record(R"({"n":" 1.50"})")});
	EXPECT_EQ(out.request.body, R"([{"n":1.50}])");
}

TEST(Batches, WhatIsNotUsedOrMixedIsAnError) {
	auto message = [](const char *request) { return error_of([&] { client(with(request)); }).message; };
	EXPECT_TRUE(has(message(R"({"body":{"a":1},"each":{"b":"{{ id }}"}})"), "requests.upsert.each is not used"));
	EXPECT_TRUE(has(message(R"({"body":{"a":"{{ id }}","r":"{{ records }}"}})"), "beside placeholders of one record"));
	EXPECT_TRUE(has(message(R"({"each":{"r":"{{ records }}"}})"), "each is of one record"));
	EXPECT_TRUE(has(message(R"({"query":{"a":{"every":"{{ id }}"}}})"), "requests.upsert.query.a has unknown key \"every\""));
}

TEST(Batches, AGroupMayStandOutsideOfTheElements) {
	Wanted wanted = with(R"({"path":"/lists/{{ list }}","group_by":"{{ list }}","body":{"list":"{{ list }}","subscribers":"{{ records }}"},"each":{"email":"{{ email }}"}})");
	auto made = client(wanted);
	EXPECT_TRUE(made->limits(Operation::upsert).grouped);
	EXPECT_EQ(made->limits(Operation::upsert).batch_records, 10u);
	EXPECT_EQ(made->placement(Operation::upsert, record(R"({"list":7,"email":"a"})")).group, "7");
	Rendered out = rendered(wanted, {record(R"({"list":7,"email":"a"})"), record(R"({"list":7,"email":"b"})")});
	EXPECT_EQ(show(out.request), "POST https://h/lists/7\nContent-Type: application/json\n\n"
	                             R"({"list":7,"subscribers":[{"email":"a"},{"email":"b"}]})");
	// Without a body of its own too, and where lines follow each other.
	wanted = with(R"({"path":"/{{ index_name }}/_bulk","group_by":"{{ index_name }}","encoding":"ndjson"})");
	EXPECT_EQ(show(rendered(wanted, {record(R"({"index_name":"a"})"), record(R"({"index_name":"a","b":1})")}).request),
	          "POST https://h/a/_bulk\nContent-Type: application/x-ndjson\n\n{\"index_name\":\"a\"}\n{\"index_name\":\"a\",\"b\":1}\n");
}

TEST(Batches, RecordsThatAreTooLargeAreRefusedBeforeTheyAreSent) {
	Wanted wanted = with(R"({"body":{"items":"{{ records }}"},"each":{"e":"{{ email }}"}})");
	wanted.sync_config["limits"] = {{"record_bytes", 12}};
	Rendered out = rendered(wanted, {record(R"({"email":"12345"})"), record(R"({"email":"1234"})")});
	EXPECT_EQ(out.request.body, R"({"items":[{"e":"1234"}]})");
	EXPECT_EQ(out.why.at(0).code, "too_large");
	wanted = with(R"({"encoding":"ndjson"})");
	wanted.sync_config["limits"] = {{"record_bytes", 9}};
	out = rendered(wanted, {record(R"({"a":123})"), record(R"({"a":1})")});
	EXPECT_EQ(out.request.body, "{\"a\":1}\n");
	EXPECT_EQ(out.why.at(0).message, "the record takes 10 bytes of the body, and 9 are allowed");
}

TEST(Batches, WhoseRateARequestCountsAgainst) {
	Wanted wanted = with(R"({"path":"/x"})");
	EXPECT_FALSE(client(wanted)->limits(Operation::upsert).grouped);
	wanted.sync_config["limits"] = {{"rate", "5/s"}};
	EXPECT_EQ(client(wanted)->limits(Operation::upsert).rate, 5.0);
	wanted.sync_config["limits"] = {{"rate", "1/s"}, {"rate_key", "{{ channel }}"}, {"unique", "user.id"}};
	auto made = client(wanted);
	EXPECT_FALSE(made->limits(Operation::upsert).rate);
	auto place = made->placement(Operation::upsert, record(R"({"channel":"C1","user":{"id":9}})"));
	EXPECT_EQ(place.budget.key, "=C1");
	EXPECT_EQ(place.budget.rate, 1.0);
	EXPECT_TRUE(place.budget.waits_alone);
	EXPECT_EQ(place.unique, "9");
	wanted = with(R"({"path":"/x","rate":"300/min"})");
	place = client(wanted)->placement(Operation::upsert, record("{}"));
	EXPECT_EQ(place.budget.key, ".upsert");
	EXPECT_EQ(place.budget.rate, 5.0);
	EXPECT_FALSE(place.budget.waits_alone); // the rate is the request's, but a 429 holds for the destination
}
