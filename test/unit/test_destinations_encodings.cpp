// Encodings beyond JSON, and compression.

#include <zlib.h>

#include "destinations/encode.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

std::string sent(const char *request, const std::vector<Record> &batch, nlohmann::json limits = nullptr) {
	Wanted wanted;
	wanted.config = {{"base_url", "https://h"}, {"idempotency", false}};
	wanted.batch_size = 10;
	wanted.sync_config = {{"requests", {{"upsert", parsed(request)}}}, {"limits", limits}};
	return golden(wanted, Operation::upsert, batch);
}

std::string refused(const char *request) {
	return error_of([&] { sent(request, {record("{}")}); }).message;
}

std::string gunzip(const std::string &bytes) {
	z_stream stream {};
	inflateInit2(&stream, 15 + 16);
	std::string out(100000, '\0');
	stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(bytes.data()));
	stream.avail_in = static_cast<uInt>(bytes.size());
	stream.next_out = reinterpret_cast<Bytef *>(out.data());
	stream.avail_out = static_cast<uInt>(out.size());
	EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
	out.resize(stream.total_out);
	inflateEnd(&stream);
	return out;
}

} // namespace

TEST(Encodings, PairsOfLines) {
	EXPECT_EQ(sent(R"({"encoding":"ndjson_pairs","body":[{"index":{"_id":"{{ id }}"}},"{{ rest }}"]})",
	               {record(R"({"id":1,"a":"x"})"), record(R"({"id":2,"a":"y"})")}),
	          "POST https://h\nContent-Type: application/x-ndjson\n\n{\"index\":{\"_id\":1}}\n{\"a\":\"x\"}\n{\"index\":{\"_id\":2}}\n{\"a\":\"y\"}\n");
	EXPECT_EQ(sent(R"({"encoding":"ndjson_pairs","body":[{"delete":{"_id":"{{ id }}"}}]})", {record(R"({"id":1})")}),
	          "POST https://h\nContent-Type: application/x-ndjson\n\n{\"delete\":{\"_id\":1}}\n");
	EXPECT_TRUE(has(refused(R"({"encoding":"ndjson_pairs","body":{"a":1}})"), "must be an array"));
}

TEST(Encodings, LinesOfText) {
	EXPECT_EQ(sent(R"json({"encoding":"lines","body":"{{ m | line_measurement }},host={{ host | line_tag }}{{ zone | line_tag | prefix: ',zone=' }} note={{ note | line_string }},n={{ n }} {{ at | epoch: s }}"})json",
	               {record(R"({"m":"a b,c","host":"x=1, y","zone":null,"note":"say \"hi\" \\","n":1.50,"at":"2024-02-29T12:00:00+01:00"})"),
	                record(R"({"m":"m","host":"h","zone":"z","note":"","n":2,"at":"2024-02-29"})")}),
	          "POST https://h\nContent-Type: text/plain; charset=utf-8\n\n"
	          "a\\ b\\,c,host=x\\=1\\,\\ y note=\"say \\\"hi\\\" \\\\\",n=1.50 1709204400\n"
	          "m,host=h,zone=z note=\"\",n=2 1709164800");
}

TEST(Encodings, RawBytes) {
	EXPECT_EQ(sent(R"({"method":"PUT","path":"/{{ name }}","encoding":"raw","body":"{{ content }}","headers":{"Content-Type":"image/png"}})",
	               {record(R"({"name":"a.png","content":"AP9QTkc="})")}),
	          std::string("PUT https://h/a.png\nContent-Type: image/png\n\n\0\xffPNG", 50));
	EXPECT_TRUE(has(refused(R"({"encoding":"raw","body":"x{{ content }}"})"), "must be one placeholder"));
	Wanted wanted;
	wanted.sync_config = parsed(R"({"requests":{"upsert":{"encoding":"raw","body":"{{ content }}"}}})");
	EXPECT_EQ(client(wanted)->render(Operation::upsert, std::vector {record(R"({"content":"?"})")}, noon).why.at(0).code,
	          "bad_value");
}

TEST(Encodings, FormsWithDotsCountFromOne) {
	EXPECT_EQ(sent(R"({"encoding":"form","nesting":"dotted","body":{"Action":"PublishBatch","Entries":{"member":"{{ records }}"}},"each":{"Id":"{{ index }}","Message":"{{ text }}"}})",
	               {record(R"({"text":"a b"})"), record(R"({"text":"c"})")}),
	          "POST https://h\nContent-Type: application/x-www-form-urlencoded\n\n"
	          "Action=PublishBatch&Entries.member.1.Id=0&Entries.member.1.Message=a%20b&Entries.member.2.Id=1&Entries.member.2.Message=c");
	EXPECT_EQ(sent(R"({"encoding":"form","body":{"a":{"b":["{{ text }}"]}}})", {record(R"({"text":"c"})")}),
	          "POST https://h\nContent-Type: application/x-www-form-urlencoded\n\na%5Bb%5D%5B0%5D=c");
	EXPECT_TRUE(has(refused(R"({"nesting":"dotted"})"), "nesting belongs to encoding form"));
}

TEST(Encodings, CsvWithoutAHeaderLine) {
	EXPECT_EQ(sent(R"({"encoding":"csv","csv_header":false})", {record(R"({"a":1,"b":"x"})"), record(R"({"a":2})")}),
	          "POST https://h\nContent-Type: text/csv; charset=utf-8\n\n1,x\r\n2,\r\n");
	EXPECT_EQ(sent(R"({"encoding":"csv","each":{"id":"{{ a }}"}})", {record(R"({"a":1,"b":"x"})"), record(R"({"a":2})")}),
	          "POST https://h\nContent-Type: text/csv; charset=utf-8\n\nid\r\n1\r\n2\r\n");
}

TEST(Encodings, Compressed) {
	Wanted wanted;
	wanted.config = parsed(R"({"base_url":"https://h","auth":{"type":"hmac","header":"X-Sig"}})");
	wanted.secrets = {{"key", "k"}};
	wanted.batch_size = 100;
	wanted.sync_config = parsed(R"({"requests":{"upsert":{"encoding":"ndjson","compress":"gzip"}}})");
	std::vector<Record> batch(50, record(R"({"text":"the same again and again"})"));
	auto made = client(wanted);
	Request request = made->render(Operation::upsert, batch, noon).request;
	EXPECT_EQ(request.plain, gunzip(request.body));
	EXPECT_EQ(request.plain_body().size(), 50 * 36u);
	EXPECT_LT(request.body.size(), 200u);
	EXPECT_TRUE(has(show(request), "\nContent-Encoding: gzip\n"));
	// What is signed is what is sent.
	Request other = made->render(Operation::upsert, std::span(batch).first(1), noon).request;
	auto signature = [](const Request &its) { return its.headers.back().value; };
	EXPECT_NE(signature(request), signature(other));
	EXPECT_EQ(gunzip(gzip("")), "");
}
