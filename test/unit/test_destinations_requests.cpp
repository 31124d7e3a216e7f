// Golden requests of the http destination: what goes out for which configuration.

#include "http/sign.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

TEST(HttpRequests, TheExampleOfTheManual) {
	Wanted wanted;
	wanted.config =
	    parsed(R"({"base_url":"https://api.example.com/v1","headers":{"X-Team":"data"},"auth":{"type":"bearer"}})");
	wanted.secrets = {{"token", "abc"}};
	wanted.sync_config =
	    parsed(R"({"requests":{"upsert":{"method":"PUT","path":"/contacts/{{ id }}","body":"{{ record }}"},
	                                           "delete":{"method":"DELETE","path":"/contacts/{{ id }}"}}})");
	EXPECT_EQ(golden(wanted, Operation::upsert, {record(R"({"id":7,"email":"a@b.c","address":{"city":"Bonn"}})")}),
	          "PUT https://api.example.com/v1/contacts/7\nContent-Type: application/json\nX-Team: "
	          "data\nIdempotency-Key: idem-1\nAuthorization: Bearer abc\n\n"
	          R"({"id":7,"email":"a@b.c","address":{"city":"Bonn"}})");
	EXPECT_EQ(golden(wanted, Operation::del, {record(R"({"id":7})", Change::removed)}),
	          "DELETE https://api.example.com/v1/contacts/7\nX-Team: data\nIdempotency-Key: idem-1\nAuthorization: "
	          "Bearer abc\n\n");
	auto http = client(wanted);
	EXPECT_TRUE(http->render(Operation::upsert, std::vector {record(R"({"id":7})")}, noon).request.idempotent); // PUT
	EXPECT_EQ(http->limits(Operation::upsert).batch_records, 1u);
}

TEST(HttpRequests, AnOperationWithoutAnEntryIsPosted) {
	Wanted wanted;
	EXPECT_EQ(golden(wanted, Operation::upsert, {record(R"({"id":7})")}),
	          "POST https://api.example.com/v1\nContent-Type: application/json\nIdempotency-Key: idem-1\n\n{\"id\":7}");
	EXPECT_EQ(golden(wanted, Operation::del, {record(R"({"id":7})", Change::removed)}),
	          "POST https://api.example.com/v1\nContent-Type: application/json\nIdempotency-Key: idem-1\n\n{\"id\":7}");
	EXPECT_FALSE(client(wanted)->render(Operation::upsert, std::vector {record("{}")}, noon).request.idempotent);
}

TEST(HttpRequests, WithABatchSizeTheBodyIsAnArray) {
	Wanted wanted;
	wanted.batch_size = 100;
	EXPECT_EQ(client(wanted)->limits(Operation::upsert).batch_records, 100u);
	Record first = record(R"({"id":1})"), second = record(R"({"id":2})");
	first.idempotency_key = "k1";
	second.idempotency_key = "k2";
	std::string key = http::sha256_hex("k1\nk2\n");
	EXPECT_EQ(golden(wanted, Operation::upsert, {first, second}),
	          "POST https://api.example.com/v1\nContent-Type: application/json\nIdempotency-Key: " + key +
	              "\n\n[{\"id\":1},{\"id\":2}]");
	EXPECT_EQ(client(wanted)->render(Operation::upsert, std::vector {first}, noon).request.body,
	          R"([{"id":1}])"); // the last batch too
}

TEST(HttpRequests, ABodyWithRecordsIsABatchAndOneWithoutIsNot) {
	Wanted wanted;
	wanted.batch_size = 50;
	wanted.sync_config = parsed(
	    R"({"requests":{"insert":{"path":"/bulk","body":{"items":"{{ records }}","run":"{{ run_id }}"}},"update":{"body":{"id":"{{ id }}"}}}})");
	EXPECT_EQ(client(wanted)->limits(Operation::insert).batch_records, 50u);
	EXPECT_EQ(client(wanted)->limits(Operation::update).batch_records, 1u);
	EXPECT_EQ(client(wanted)
	              ->render(Operation::insert, std::vector {record(R"({"id":1})"), record(R"({"id":2})")}, noon)
	              .request.body,
	          R"({"items":[{"id":1},{"id":2}],"run":"42"})");
	wanted.sync_config = parsed(R"({"requests":{"upsert":{"path":"/{{ id }}","body":{"items":"{{ records }}"}}}})");
	EXPECT_TRUE(has(error_of([&] { client(wanted); }).message, "uses {{ records }}"));
}

TEST(HttpRequests, QueryAndHeaders) {
	Wanted wanted;
	wanted.config = parsed(R"({"base_url":"https://h/v1?api=2","headers":{"X-A":"dest","X-B":"b"}})");
	wanted.sync_config = parsed(
	    R"({"requests":{"upsert":{"path":"c?x={{ id }}","query":{"e mail":"{{ email }}","none":"{{ gone }}","n":1},"headers":{"x-a":"{{ id }}","X-None":"{{ gone }}"}}}})");
	EXPECT_EQ(golden(wanted, Operation::upsert, {record(R"({"id":7,"email":"a b","gone":null})")}),
	          "POST https://h/v1/c?api=2&x=7&e%20mail=a%20b&n=1\nContent-Type: application/json\nX-A: 7\nX-B: "
	          "b\nIdempotency-Key: idem-1\n\n"
	          R"({"id":7,"email":"a b","gone":null})");
}

TEST(HttpRequests, APathNeverLeavesTheHost) {
	Wanted wanted;
	wanted.config = parsed(R"({"base_url":"https://api.example.com"})");
	wanted.sync_config = parsed(R"({"requests":{"upsert":{"method":"DELETE","path":"@evil.example/{{ id }}"}}})");
	EXPECT_EQ(client(wanted)->render(Operation::upsert, std::vector {record(R"({"id":7})")}, noon).request.url,
	          "https://api.example.com/@evil.example/7");
	wanted.sync_config = parsed(R"({"requests":{"upsert":{"headers":{"Host":"evil.example"}}}})");
	EXPECT_TRUE(has(error_of([&] { client(wanted); }).message, "may not set the header Host"));
}

TEST(HttpRequests, Encodings) {
	Wanted wanted;
	auto body = [&](const char *request, std::vector<Record> batch) {
		wanted.sync_config = {{"requests", {{"upsert", parsed(request)}}}};
		return client(wanted)->render(Operation::upsert, batch, noon).request.body;
	};
	Record r = record(R"({"id":1,"a":{"b":[2,"x y"]},"n":null,"t":true})");
	EXPECT_EQ(body(R"({"encoding":"form"})", {r}), "id=1&a%5Bb%5D%5B0%5D=2&a%5Bb%5D%5B1%5D=x%20y&n=&t=true");
	EXPECT_EQ(body(R"({"encoding":"xml","body":{"c":{"@id":"{{ id }}","data":"{{ record }}"}}})",
	               {record(R"({"id":1,"s":"<&>","l":[1,2],"e":null})")}),
	          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<c "
	          "id=\"1\"><data><id>1</id><s>&lt;&amp;&gt;</s><l>1</l><l>2</l><e/></data></c>");
	EXPECT_EQ(body(R"({"encoding":"text","body":"m,id={{ id }} v=1"})", {r}), "m,id=1 v=1");
	EXPECT_EQ(body(R"({"encoding":"none"})", {r}), "");
	EXPECT_EQ(body(R"({"body":"{\"x\": \"{{ id }}\"}"})", {r}), R"({"x":1})"); // a document that was written as text
	wanted.batch_size = 10;
	EXPECT_EQ(body(R"({"encoding":"ndjson"})", {record("{\"a\":\n1}"), record(R"({"a":2})")}),
	          "{\"a\": 1}\n{\"a\":2}\n");
	EXPECT_EQ(body(R"({"encoding":"ndjson","body":[{"index":{"_id":"{{ id }}"}},"{{ record }}"]})",
	               {record(R"({"id":1})"), record(R"({"id":2})")}),
	          "{\"index\":{\"_id\":1}}\n{\"id\":1}\n{\"index\":{\"_id\":2}}\n{\"id\":2}\n");
	EXPECT_EQ(body(R"({"encoding":"csv"})", {record(R"({"a":1,"b":"x,\"y\"\nz"})"), record(R"({"b":null,"c":3})")}),
	          "a,b,c\r\n1,\"x,\"\"y\"\"\nz\",\r\n,,3\r\n");
	EXPECT_EQ(body(R"({"encoding":"text","body":"m v={{ a }}"})", {record(R"({"a":1})"), record(R"({"a":2})")}),
	          "m v=1\nm v=2");
}

TEST(HttpRequests, ARecordThatCannotBeRenderedIsLeftOutAndNamed) {
	Wanted wanted;
	wanted.batch_size = 10;
	wanted.sync_config = parsed(
	    R"({"requests":{"upsert":{"encoding":"ndjson","body":{"id":"{{ remote_id }}","k":"{{ idempotency_key }}"}}}})");
	Record good = record("{}"), bad = record("{}"), good2 = record("{}");
	good.remote_id = "r1";
	good2.remote_id = "r3";
	good.idempotency_key = "k1", bad.idempotency_key = "k2", good2.idempotency_key = "k3";
	Rendered out = client(wanted)->render(Operation::upsert, std::vector {good, bad, good2}, noon);
	EXPECT_EQ(out.records, (std::vector<std::size_t> {0, 2}));
	ASSERT_EQ(out.unrendered, (std::vector<std::size_t> {1}));
	EXPECT_EQ(out.why[0].code, "unknown_remote_id");
	EXPECT_EQ(out.why[0].verdict, Verdict::rejected);
	// A line has the key of its record; the request has one of what goes out, as when it goes out again without the bad one.
	EXPECT_EQ(out.request.body, "{\"id\":\"r1\",\"k\":\"k1\"}\n{\"id\":\"r3\",\"k\":\"k3\"}\n");
	EXPECT_TRUE(has(show(out.request), "Idempotency-Key: " + http::sha256_hex("k1\nk3\n")));

	wanted.sync_config = parsed(R"({"requests":{"upsert":{"method":"PUT","path":"/c/{{ id }}"}}})");
	out = client(wanted)->render(Operation::upsert, std::vector {record(R"({"id":".."})")}, noon);
	EXPECT_TRUE(out.records.empty());
	EXPECT_EQ(out.why.at(0).code, "bad_path_value");
	wanted.sync_config = parsed(R"({"requests":{"upsert":{"encoding":"xml","body":{"c":"{{ id }}"}}}})");
	EXPECT_EQ(
	    client(wanted)->render(Operation::upsert, std::vector {record(R"({"id":"\u0001"})")}, noon).why.at(0).code,
	    "bad_value");
}

// For destinations that answer 200 and drop what lacks a name.
TEST(HttpRequests, ARecordWithoutAValueThatIsRequiredIsNotSent) {
	Wanted wanted;
	wanted.batch_size = 10;
	wanted.sync_config = parsed(
	    R"({"requests":{"upsert":{"body":{"batch":"{{ records }}"},"each":{"u":"{{ user | optional }}","a":"{{ visitor | optional }}","e":"{{ event }}"},
	        "require":[["user","visitor"],"event"]}}})");
	Rendered out = client(wanted)->render(
	    Operation::upsert,
	    std::vector {record(R"({"user":1,"visitor":null,"event":"e"})"), record(R"({"user":null,"visitor":null,"event":"e"})"),
	                 record(R"({"visitor":"v","event":"e"})"), record(R"({"user":4,"event":null})")},
	    noon);
	EXPECT_EQ(out.records, (std::vector<std::size_t> {0, 2}));
	ASSERT_EQ(out.unrendered, (std::vector<std::size_t> {1, 3}));
	EXPECT_EQ(out.why[0].code, "missing_value");
	EXPECT_EQ(out.why[0].message, "the record has no value for user, visitor");
	EXPECT_EQ(out.why[1].message, "the record has no value for event");
	EXPECT_EQ(out.request.body, R"({"batch":[{"e":"e","u":1},{"a":"v","e":"e"}]})");
	wanted.sync_config["requests"]["upsert"]["require"] = parsed("[[]]");
	EXPECT_TRUE(has(error_of([&] { client(wanted); }).message, "requests.upsert.require has an empty list of names"));
}

TEST(HttpRequests, Idempotency) {
	Wanted wanted;
	wanted.config = parsed(R"({"base_url":"https://h","idempotency":{"header":"X-Request-Id"}})");
	EXPECT_EQ(golden(wanted, Operation::insert, {record("{}")}),
	          "POST https://h\nContent-Type: application/json\nX-Request-Id: idem-1\n\n{}");
	wanted.sync_config = parsed(R"({"idempotency":false})"); // the sync's word counts
	EXPECT_EQ(golden(wanted, Operation::insert, {record("{}")}),
	          "POST https://h\nContent-Type: application/json\n\n{}");
	wanted.sync_config = parsed(R"({"idempotency":{"honoured":true}})");
	EXPECT_TRUE(client(wanted)->render(Operation::insert, std::vector {record("{}")}, noon).request.idempotent);
	wanted.sync_config = parsed(R"({"idempotency":{"key":"{{ idempotency_key | uuid }}"},
		"requests":{"insert":{"query":{"token":"{{ idempotency_key | sha256 }}"},"body":{"uuid":"{{ idempotency_key | uuid }}"}}}})");
	EXPECT_EQ(golden(wanted, Operation::insert, {record("{}")}),
	          "POST https://h?token=" + http::sha256_hex("idem-1") + "\nContent-Type: application/json\nX-Request-Id: 316de912-0c93-5f18-98e1-82b44d4c6d18\n\n"
	          "{\"uuid\":\"316de912-0c93-5f18-98e1-82b44d4c6d18\"}");
	wanted.sync_config = parsed(R"({"idempotency":{"key":"{{ id }}"}})");
	EXPECT_TRUE(has(error_of([&] { client(wanted); }).message, "idempotency.key may not use {{ id }}"));
	wanted.sync_config = parsed(R"({"requests":{"insert":{"idempotent":true}}})");
	EXPECT_TRUE(client(wanted)->render(Operation::insert, std::vector {record("{}")}, noon).request.idempotent);
}

TEST(HttpRequests, AMessageForEachKindOfChange) {
	Wanted wanted;
	wanted.sync_type = "notifications";
	wanted.batch_size = 10;
	wanted.sync_config = parsed(
	    R"({"requests":{"message.added":{"path":"/new","body":{"text":"new {{ id }}"}},"message.removed":{"path":"/gone","body":{"text":"gone {{ id }}"}}}})");
	auto http = client(wanted);
	EXPECT_EQ(http->render(Operation::message, std::vector {record(R"({"id":7})")}, noon).request.body,
	          R"({"text":"new 7"})");
	EXPECT_EQ(http->render(Operation::message, std::vector {record(R"({"id":7})", Change::removed)}, noon).request.url,
	          "https://api.example.com/v1/gone");
	EXPECT_FALSE(http->serves(Operation::message, Change::changed));
	EXPECT_EQ(http->limits(Operation::message).batch_records, 1u);
}

TEST(HttpRequests, TestAsksForTheBaseUrl) {
	Wanted wanted;
	EXPECT_EQ(show(client(wanted)->test(noon)), "GET https://api.example.com/v1\n\n");
	wanted.config = parsed(
	    R"({"base_url":"https://h/v1","test":{"method":"GET","path":"/me"},"auth":{"type":"query","name":"api_key"}})");
	wanted.secrets = {{"key", "a&b"}};
	EXPECT_EQ(show(client(wanted)->test(noon)), "GET https://h/v1/me?api_key=a%26b\n\n");
}
