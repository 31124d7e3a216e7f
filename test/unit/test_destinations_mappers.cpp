// Answers of the shapes that services are known to give, and the words in them.

#include "destinations/mapper.hpp"
#include "destinations/xml_to_json.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

std::vector<RecordVerdict> judge(const std::string &response, const Answer &answer, const std::vector<Record> &batch) {
	auto json = nlohmann::ordered_json::parse(response);
	Response spec = read_response(Reader(json, "response"));
	std::vector<std::size_t> all(batch.size());
	for (std::size_t i = 0; i < all.size(); ++i)
		all[i] = i;
	return map_answer(spec, answer, batch, all,
	                  [&](const Record &record) { return Asked {Operation::upsert, record.change, false}; });
}

// "ok" or the code, and "=remote id", for each record; "?" for an answer that does not fit.
std::string words(const std::vector<RecordVerdict> &verdicts) {
	std::string out;
	for (auto &its : verdicts) {
		(out += out.empty() ? "" : " ") += its.bad_answer                      ? "?"
		                                   : its.verdict == Verdict::accepted  ? "ok"
		                                   : its.verdict == Verdict::throttled ? "throttled"
		                                                                       : its.code;
		if (!its.remote_id.empty())
			out += "=" + its.remote_id;
	}
	return out;
}

std::string mapped(const std::string &records, const char *body, int status = 200) {
	std::vector<Record> batch {record(R"({"id":1,"email":"a@x","user":"u1"})"), record(R"({"id":2,"email":"B@x","user":"u2"})"),
	                           record(R"({"id":3,"user":"u3"})")};
	for (std::size_t i = 0; i < batch.size(); ++i)
		batch[i].idempotency_key = "row-" + std::to_string(i + 1);
	return words(judge("{\"records\":" + records + "}", answer(status, body), batch));
}

std::string word(const std::string &response, const Answer &its) {
	return judge(response, its, {record("{}")})[0].code;
}

} // namespace

TEST(Mappers, ListsOfIdentifiersByReason) {
	const char *lists = R"({"mapper":"by_id","at":"/failedUpdates","field":["email","user"]})";
	EXPECT_EQ(mapped(lists, R"({"successCount":1,"failedUpdates":{"invalidEmails":["a@x"],"conflictUserIds":["u3"],"notFoundEmails":[]}})"),
	          "invalidEmails ok conflictUserIds");
	EXPECT_EQ(mapped(lists, R"({"failedUpdates":{}})"), "ok ok ok");
	EXPECT_EQ(mapped(lists, R"({"failedUpdates":{"invalidEmails":["nobody"]}})"), "? ? ?");
	EXPECT_EQ(mapped(R"({"mapper":"by_id","at":["/invalidEmails","/invalidUserIds"],"field":["email","user"]})",
	                 R"({"invalidEmails":["a@x"],"invalidUserIds":["u2"]})"),
	          "invalidEmails invalidUserIds ok");
}

TEST(Mappers, SuccessesAndFailuresAtOnce) {
	const char *lists = R"({"mapper":"by_index","at":"/Failed","ok_at":"/Successful","index":"/Id","code":"/Code","message":"/Message",
		"remote_id":"/MessageId","unlisted":"rejected"})";
	EXPECT_EQ(mapped(lists, R"({"Successful":[{"Id":"0","MessageId":"m0"},{"Id":"2","MessageId":"m2"}],"Failed":[{"Id":"1","Code":"InvalidMessageContents"}]})"),
	          "ok=m0 InvalidMessageContents ok=m2");
	EXPECT_EQ(mapped(lists, R"({"Successful":[{"Id":"0","MessageId":"m0"}]})"), "ok=m0 unlisted unlisted");
	EXPECT_EQ(mapped(R"({"mapper":"by_id","at":"/failures","ok_at":"/successes","id":"/id","field":"idempotency_key","code":"/error_code"})",
	                 R"({"successes":[{"id":"row-1"},{"id":"row-2"}],"failures":[{"id":"row-3","error_code":42208}]})"),
	          "ok ok 42208");
}

TEST(Mappers, ATraceIdInsideAList) {
	EXPECT_EQ(mapped(R"({"mapper":"by_id","at":"/errors","id":"/context/objectWriteTraceId/0","field":"idempotency_key","code":"/category","message":"/message"})",
	                 R"({"status":"COMPLETE","errors":[{"category":"VALIDATION_ERROR","message":"no","context":{"objectWriteTraceId":["row-2"]}}]})", 207),
	          "ok VALIDATION_ERROR ok");
}

TEST(Mappers, AnIdentifierThatStandsElsewhereInASuccess) {
	EXPECT_EQ(mapped(R"({"mapper":"by_id","at":"/errors","id":"/context/trace/0","field":"idempotency_key","code":"/category","ok_at":"/results","ok_id":"/trace","remote_id":"/id"})",
	                 R"({"results":[{"id":"51","trace":"row-1"},{"id":"53","trace":"row-3"}],"errors":[{"category":"NO","context":{"trace":["row-2"]}}]})", 207),
	          "ok=51 NO ok=53");
}

TEST(Mappers, AddressesThatDifferInCase) {
	const char *errors = R"({"mapper":"by_id","at":"/errors","id":"/email_address","field":"email","ignore_case":true,"code":"/error_code"})";
	EXPECT_EQ(mapped(errors, R"({"errors":[{"email_address":"b@X","error_code":"ERROR_GENERIC"}]})"), "ok ERROR_GENERIC ok");
}

TEST(Mappers, AnIndexInsideANamedArray) {
	EXPECT_EQ(mapped(R"({"mapper":"by_index","at":"/errors","index":"/index","code":"/type"})",
	                 R"({"message":"success","errors":[{"type":"bad phone","input_array":"attributes","index":2}]})", 201),
	          "ok ok bad phone");
}

TEST(Mappers, ItemsUnderTheNameOfTheirAction) {
	EXPECT_EQ(mapped(R"({"mapper":"by_order","at":"/items","ok":{"pointer":"/*/status","matches":"^2"},"code":"/*/error/type",
		"rules":[{"when":{"pointer":"/*/status","equals":429},"then":"throttled"}],"remote_id":"/*/_id"})",
	                 R"({"errors":true,"items":[{"index":{"_id":"1","status":201}},{"index":{"_id":"2","status":400,"error":{"type":"mapper_parsing_exception"}}},{"delete":{"_id":"3","status":429}}]})"),
	          "ok=1 mapper_parsing_exception=2 throttled=3");
	EXPECT_EQ(mapped(R"({"mapper":"by_order","at":"","ok":{"pointer":"/success","equals":true},"code":"/errors/0/statusCode","remote_id":"/id"})",
	                 R"([{"id":"003","success":true},{"success":false,"errors":[{"statusCode":"REQUIRED_FIELD_MISSING"}]},{"id":"004","success":true}])"),
	          "ok=003 REQUIRED_FIELD_MISSING ok=004");
}

TEST(Mappers, XmlAnswers) {
	const std::string response = R"({"format":"xml","code":"/ErrorResponse/Error/Code","message":"/ErrorResponse/Error/Message",
		"records":{"mapper":"by_index","at":"/PublishBatchResponse/PublishBatchResult/Failed/member","index":"/Id","code":"/Code",
		"ok_at":"/PublishBatchResponse/PublishBatchResult/Successful/member","remote_id":"/MessageId"}})";
	std::vector<Record> batch(2, record("{}"));
	EXPECT_EQ(words(judge(response, answer(200, "<?xml version=\"1.0\"?><PublishBatchResponse xmlns=\"http://sns/\"><PublishBatchResult><Failed><member><Id>1</Id>"
	                                            "<Code>InvalidParameter</Code></member></Failed><Successful><member><Id>0</Id><MessageId>m-0</MessageId></member>"
	                                            "</Successful></PublishBatchResult></PublishBatchResponse>"), batch)),
	          "ok=m-0 InvalidParameter");
	EXPECT_EQ(words(judge(response, answer(200, "<PublishBatchResponse><PublishBatchResult><Failed/><Successful><member><Id>0</Id></member><member><Id>1</Id></member>"
	                                            "</Successful></PublishBatchResult></PublishBatchResponse>"), batch)),
	          "ok ok");
	auto refused = judge(response, answer(403, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>a &lt; b</Message></Error></ErrorResponse>"),
	                     {record("{}")})[0];
	EXPECT_EQ(refused.code, "SignatureDoesNotMatch");
	EXPECT_EQ(refused.message, "a < b");
}

TEST(Mappers, XmlIsReadWithoutTrust) {
	EXPECT_EQ(xml_to_json("<a x='>'><!-- c --><n:b>1</n:b><b>2&#x41;</b><c><![CDATA[<x>]]></c><d/></a>"),
	          R"({"a":{"b":["1","2A"],"c":"<x>","d":""}})");
	for (const char *bad : {"", "x", "<a>", "<a></b>", "<a>&nope;</a>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "<a/><b/>", "<a", "<>"})
		EXPECT_FALSE(xml_to_json(bad)) << bad;
	std::string deep;
	for (int i = 0; i < 100000; ++i)
		deep += "<a>";
	EXPECT_FALSE(xml_to_json(deep));
}

TEST(Mappers, WordsOfTextsAndHeaders) {
	EXPECT_EQ(word(R"({"code":{"body":true,"matches":"^[a-z_]+$"}})", answer(404, "no_service")), "no_service");
	EXPECT_EQ(word(R"({"code":{"body":true,"matches":"^[a-z_]+$"}})", answer(404, "<html>")), "");
	EXPECT_EQ(word(R"json({"code":{"body":true,"matches":"Code: (\\d+)"}})json", answer(500, "Code: 57. DB::Exception: no")), "57");
	EXPECT_EQ(word(R"({"code":{"header":"X-ClickHouse-Exception-Code"}})", answer(400, "", {{"x-clickhouse-exception-code", "57"}})), "57");
	EXPECT_EQ(word(R"json({"code":{"pointer":"/__type","matches":"#(.*)$"}})json", answer(400, R"({"__type":"com.amazon#Throttled"})")), "Throttled");
	EXPECT_EQ(judge(R"json({"remote_id":{"header":"Location","matches":"/([^/]+)$"}})json", answer(201, "", {{"location", "https://h/contacts/77"}}), {record("{}")})[0].remote_id, "77");
	EXPECT_TRUE(has(error_of([] { word(R"({"code":{"matches":"x"}})", answer(200)); }).message, "code must name one of pointer, header and body"));
}

TEST(Mappers, WhatIsLearnedFromHeaders) {
	auto waits = [](const char *learn, Answer its) -> std::int64_t {
		Wanted wanted;
		wanted.sync_config = {{"response", {{"learn", parsed(learn)}}}};
		auto wait = client(wanted)->wait(its, noon);
		return wait ? wait->count() : -1;
	};
	const char *seconds = R"({"remaining":"X-Left","reset":"X-Again","unit":"s"})";
	EXPECT_EQ(waits(seconds, answer(200, "", {{"x-left", "0"}, {"x-again", "7"}})), 7000);
	EXPECT_EQ(waits(seconds, answer(200, "", {{"x-left", "1"}, {"x-again", "7"}})), -1);
	EXPECT_EQ(waits(seconds, answer(200, "", {{"x-left", "0"}})), -1);
	EXPECT_EQ(waits(seconds, answer(429, "", {{"x-again", "7"}})), 7000); // it is throttled, whatever is left
	EXPECT_EQ(waits(R"({"remaining":"X-Left","reset":"X-Again","unit":"ms"})", answer(200, "", {{"x-left", "0"}, {"x-again", "250"}})), 250);
	EXPECT_EQ(waits(R"({"remaining":"X-Left","reset":"X-Again","unit":"epoch"})", answer(200, "", {{"x-left", "0"}, {"x-again", "1700000003"}})), 3000);
	EXPECT_EQ(waits(R"({"remaining":"X-Left","reset":"X-Again","unit":"epoch_ms"})", answer(200, "", {{"x-left", "0"}, {"x-again", "1700000000500"}})), 500);
	EXPECT_EQ(waits(R"({"reset":"X-Again"})", answer(200, "", {{"x-again", "7"}})), -1);
}

TEST(Mappers, MistakesNameThePlace) {
	auto message = [](const char *response) { return error_of([&] { judge(response, answer(200), {}); }).message; };
	EXPECT_EQ(message(R"({"records":{"mapper":"by_order","at":["/a"],"ok":{"exists":true},"ok_at":"/b"}})"),
	          "response: records has ok_at or a list in \"at\", which belong to mappers by_id and by_index");
	EXPECT_EQ(message(R"({"records":{"mapper":"by_index","field":"id"}})"), "response: records has field or ignore_case, which belong to mapper by_id");
	EXPECT_EQ(message(R"({"records":{"mapper":"by_index","at":"/a","ok_id":"/b"}})"), "response: records.ok_id has no effect without ok_at");
	EXPECT_EQ(message(R"({"learn":{"unit":"s"}})"), "response: learn must have \"reset\"");
	EXPECT_EQ(message(R"({"format":"yaml"})"), "response: format cannot be \"yaml\"");
}
