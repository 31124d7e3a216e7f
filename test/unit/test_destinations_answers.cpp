// What answers mean: default rules, rules of a definition, and every record mapper.

#include "destinations/mapper.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

std::vector<RecordVerdict> judge(const char *response, const Answer &answer, std::vector<Record> batch,
                                 Operation operation = Operation::upsert, bool can_change = false) {
	auto json = nlohmann::ordered_json::parse(response);
	Response spec = read_response(Reader(json, "response"));
	std::vector<std::size_t> all(batch.size());
	for (std::size_t i = 0; i < all.size(); ++i)
		all[i] = i;
	return map_answer(spec, answer, batch, all, [&](const Record &record) {
		return Asked {operation, record.change, can_change};
	});
}

std::vector<Record> three() {
	return {record(R"({"id":1,"email":"a"})"), record(R"({"id":2,"email":"b"})"), record(R"({"id":3,"email":"c"})")};
}

// "accepted rejected:code ..." with "!" for a bad answer and "*" for one that is said of the whole request.
std::string words(const std::vector<RecordVerdict> &verdicts) {
	static const char *names[] = {"accepted", "exists",    "missing", "rejected", "split",
	                              "retry",    "throttled", "auth",    "gone"};
	std::string out;
	for (auto &verdict : verdicts) {
		(out += out.empty() ? "" : " ") += names[static_cast<int>(verdict.verdict)];
		if (verdict.bad_answer)
			out += "!";
		if (verdict.whole)
			out += "*";
		if (!verdict.code.empty() && !verdict.bad_answer)
			out += ":" + verdict.code;
	}
	return out;
}

std::string by_default(int status, Operation operation, Change change, bool can_change = false) {
	return words(judge("{}", answer(status, "x"), {record("{}", change)}, operation, can_change));
}

std::string mapped(const char *records, int status, const char *body) {
	return words(judge((std::string("{\"records\":") + records + "}").c_str(), answer(status, body), three()));
}

} // namespace

TEST(Answers, Defaults) {
	for (int status : {200, 201, 202, 204, 299})
		EXPECT_EQ(by_default(status, Operation::upsert, Change::added), "accepted");
	for (int status : {404, 410}) {
		EXPECT_EQ(by_default(status, Operation::del, Change::removed), "accepted");
		EXPECT_EQ(by_default(status, Operation::upsert, Change::added), "rejected*");
		EXPECT_EQ(by_default(status, Operation::message, Change::removed),
		          "rejected*"); // a wrong address, not a deleted record
	}
	EXPECT_EQ(by_default(404, Operation::update, Change::changed), "missing*");
	EXPECT_EQ(by_default(404, Operation::upsert, Change::changed), "missing*");
	EXPECT_EQ(by_default(404, Operation::update, Change::added), "missing*"); // mode update
	EXPECT_EQ(by_default(409, Operation::insert, Change::added, true), "exists*");
	EXPECT_EQ(by_default(409, Operation::insert, Change::added), "rejected*"); // there is no update to retry it with
	EXPECT_EQ(by_default(413, Operation::upsert, Change::added), "split*");
	for (int status : {408, 425, 500, 502, 503, 504})
		EXPECT_EQ(by_default(status, Operation::upsert, Change::added), "retry*");
	EXPECT_EQ(by_default(429, Operation::upsert, Change::added), "throttled*");
	EXPECT_EQ(words(judge("{}", answer(503, "", {{"retry-after", "3"}}), {record("{}")})), "throttled*");
	EXPECT_EQ(by_default(401, Operation::upsert, Change::added), "auth*");
	for (int status : {301, 400, 403, 422})
		EXPECT_EQ(by_default(status, Operation::upsert, Change::added), "rejected*");
}

// One of several may be gone, or all, or none may be where it is looked for: asked again one by one, each answers for itself.
TEST(Answers, NotFoundAfterADeleteOfSeveralIsTakenApart) {
	auto said = [](int status, Operation operation, bool several) {
		return words(map_answer({}, answer(status, "x"), std::vector {record("{}", Change::removed)}, std::vector<std::size_t> {0},
		                        [&](const Record &record) { return Asked {operation, record.change, false, several}; }));
	};
	for (int status : {404, 410})
		for (auto operation : {Operation::del, Operation::remove, Operation::clear, Operation::archive}) {
			EXPECT_EQ(said(status, operation, true), "split*");
			EXPECT_EQ(said(status, operation, false), "accepted");
		}
	EXPECT_EQ(said(400, Operation::del, true), "rejected*");
}

TEST(Answers, RulesComeFirstAndTheFirstThatMatchesCounts) {
	const char *rules =
	    R"({"rules":[{"when":{"status":"200-299","pointer":"/ok","equals":false},"then":"rejected"},{"when":{"status":410},"then":"gone"},
		{"when":{"status":[400,"420-422"],"body":true,"matches":"slow ?down"},"then":"throttled"},{"when":{"header":"X-Error","exists":true},"then":"retry"},
		{"when":{"pointer":"/code","matches":"^dup"},"then":"exists"}],"code":"/error","message":"/detail"})";
	auto one = [&](const Answer &answer) { return words(judge(rules, answer, {record("{}")})); };
	EXPECT_EQ(one(answer(200, R"({"ok":true})")), "accepted");
	EXPECT_EQ(one(answer(200, R"({"ok":false,"error":"no_channel"})")), "rejected*:no_channel");
	EXPECT_EQ(one(answer(410)), "gone*");
	EXPECT_EQ(one(answer(421, "please slowdown")), "throttled*");
	EXPECT_EQ(one(answer(423, "please slowdown")), "rejected*");
	EXPECT_EQ(one(answer(200, "", {{"x-error", "1"}})), "retry*");
	EXPECT_EQ(one(answer(400, R"({"code":"duplicate"})")), "exists*");
	EXPECT_EQ(
	    words(judge(
	        R"({"rules":[{"when":{"body":"ok"},"then":"accepted"},{"when":{"body":true,"exists":false},"then":"retry"}]})",
	        answer(500, "ok"), {record("{}")})),
	    "accepted");
	EXPECT_EQ(words(judge(R"({"rules":[{"when":{"status":400},"then":"missing"}]})", answer(400),
	                      {record("{}", Change::removed)}, Operation::del)),
	          "accepted");
}

TEST(Answers, APatternCannotTakeTheWorkerDown) {
	std::string evil(1 << 20, 'a');
	EXPECT_EQ(
	    words(judge(
	        R"({"rules":[{"when":{"body":true,"matches":"^(a+)+$b"},"then":"gone"},{"when":{"body":true,"matches":"^(.|a)*z"},"then":"gone"}]})",
	        answer(200, evil), {record("{}")})),
	    "accepted");
}

TEST(Answers, Messages) {
	auto message = [](const Answer &answer, const char *response = "{}") {
		return judge(response, answer, {record("{}")})[0].message;
	};
	EXPECT_EQ(message(answer(400, R"({"type":"t","title":"Bad","detail":"No such channel"})")),
	          "No such channel"); // RFC 9457
	EXPECT_EQ(message(answer(400, R"({"title":"Bad"})")), "Bad");
	EXPECT_EQ(message(answer(400, R"({"detail":"x","err":{"text":"y"}})"), R"({"message":"/err/text"})"), "y");
	EXPECT_EQ(message(answer(400, std::string(600, 'z'))), std::string(500, 'z'));
	EXPECT_EQ(message(answer(400, std::string("a\xff\0b\xc3\xa9", 6))), "a??bé"); // it goes into a table
	EXPECT_EQ(message(answer(400)), "status 400 without a body");
}

TEST(Answers, RemoteIdKeepsItsDigits) {
	EXPECT_EQ(
	    judge(R"({"remote_id":"/id"})", answer(201, R"({"id":123456789012345678901234567890})"), {record("{}")})[0]
	        .remote_id,
	    "123456789012345678901234567890");
}

TEST(Answers, ByOrder) {
	const char *items =
	    R"({"mapper":"by_order","at":"/items","ok":{"pointer":"/*/status","matches":"^2"},"code":"/*/error/type","message":"/*/error/reason",
		"rules":[{"when":{"pointer":"/*/status","equals":429},"then":"throttled"}]})";
	EXPECT_EQ(
	    mapped(
	        items, 200,
	        R"({"items":[{"index":{"status":201}},{"create":{"status":400,"error":{"type":"mapper"}}},{"index":{"status":429}}]})"),
	    "accepted rejected:mapper throttled");
	EXPECT_EQ(mapped(items, 200, R"({"items":[{"index":{"status":201}}]})"), "retry!* retry!* retry!*"); // too short
	EXPECT_EQ(mapped(items, 200, "not json"), "retry!* retry!* retry!*");
	EXPECT_EQ(mapped(items, 400, R"({"error":"no"})"), "rejected* rejected* rejected*"); // refused, nobody named
	auto ids = judge(R"({"records":{"mapper":"by_order","at":"/ids","ok":{"exists":true},"remote_id":""}})",
	                 answer(200, R"({"ids":["x","y","z"]})"), three());
	EXPECT_EQ(ids[2].remote_id, "z");
}

TEST(Answers, ById) {
	const char *failed = R"({"mapper":"by_id","at":"/failed","id":"/email","field":"email","code":"/why"})";
	EXPECT_EQ(mapped(failed, 200, R"({"failed":[{"email":"b","why":"bad"}]})"), "accepted rejected:bad accepted");
	EXPECT_EQ(mapped(failed, 200, R"({"failed":["c"]})"),
	          "accepted accepted rejected"); // plain values are identifiers themselves
	EXPECT_EQ(mapped(failed, 200, R"({"done":3})"), "accepted accepted accepted");
	EXPECT_EQ(mapped(failed, 200, R"({"failed":[{"email":"zz"}]})"),
	          "retry!* retry!* retry!*"); // a failure of nobody is not lost
	EXPECT_EQ(
	    mapped(
	        R"({"mapper":"by_id","at":"/r","id":"/id","field":"id","ok":{"pointer":"/ok","equals":true},"unlisted":"rejected"})",
	        200, R"({"r":[{"id":"1","ok":true},{"id":2,"ok":false}]})"),
	    "accepted rejected rejected:unlisted");
}

TEST(Answers, ByIndex) {
	const char *errors =
	    R"({"mapper":"by_index","at":"/errors","index":"/index","base":0,"code":"/code","message":"/message","unlisted":"accepted"})";
	EXPECT_EQ(mapped(errors, 200, R"({"errors":[{"index":1,"code":"E"},{"index":1,"code":"F"}]})"),
	          "accepted rejected:E accepted");
	EXPECT_EQ(mapped(errors, 422, R"({"errors":[{"index":0,"code":"E"}]})"), "rejected:E accepted accepted");
	EXPECT_EQ(mapped(errors, 200, R"({"errors":[{"index":3}]})"), "retry!* retry!* retry!*"); // there is no such record
	EXPECT_EQ(mapped(R"({"mapper":"by_index","at":"/lines","base":1})", 200, R"({"lines":[1,3]})"),
	          "rejected accepted rejected");
}

TEST(Answers, AnAtomicBatchThatNamesItsBadRecordsIsSentAgainWithoutThem) {
	EXPECT_EQ(words(judge(R"({"atomic":true,"records":{"mapper":"index_map","at":"/bad"}})",
	                      answer(400, R"({"bad":{"time":[0],"id":[2]}})"), three())),
	          "rejected:time split* rejected:id");
}

TEST(Answers, Lines) {
	const char *lines = R"({"mapper":"lines","ok":{"pointer":"/error_code","equals":200},"code":"/error_code"})";
	EXPECT_EQ(mapped(lines, 200, "{\"error_code\":200}\n{\"error_code\":40002}\r\n{\"error_code\":200}\n"),
	          "accepted rejected:40002 accepted");
	EXPECT_EQ(mapped(lines, 200, "{\"error_code\":200}\n{\"err"), "retry!* retry!* retry!*");
}

TEST(Answers, Count) {
	EXPECT_EQ(mapped(R"({"mapper":"count","at":"/received"})", 200, R"({"received":3})"), "accepted accepted accepted");
	EXPECT_EQ(mapped(R"({"mapper":"count","at":"/received"})", 200, R"({"received":2})"), "retry!* retry!* retry!*");
	EXPECT_EQ(mapped(R"({"mapper":"count","at":"/received"})", 400, R"({"received":0})"),
	          "rejected* rejected* rejected*");
}

TEST(Answers, ExistsOnlyWhereAnotherRequestChanges) {
	Wanted wanted;
	wanted.sync_config = parsed(R"({"requests":{"insert":{},"update":{"method":"PATCH","path":"/{{ id }}"}}})");
	auto verdict = [&] {
		auto http = client(wanted);
		std::vector<Record> batch {record(R"({"id":1})")};
		return http->classify(Operation::insert, http->render(Operation::insert, batch, noon), batch, answer(409))[0]
		    .verdict;
	};
	EXPECT_EQ(verdict(), Verdict::exists);
	wanted.mode = "insert";
	EXPECT_EQ(verdict(), Verdict::rejected);
}

TEST(Answers, HowLongToWait) {
	Wanted wanted;
	wanted.sync_config = parsed(R"({"response":{"wait":{"pointer":"/retry_after","unit":"ms","default":30}}})");
	auto http = client(wanted);
	EXPECT_EQ(http->wait(answer(429, "", {{"retry-after", "2"}}), noon), std::chrono::milliseconds(2000));
	EXPECT_EQ(http->wait(answer(429, R"({"retry_after":250})"), noon), std::chrono::milliseconds(250));
	EXPECT_EQ(http->wait(answer(429), noon), std::chrono::milliseconds(30000));
	EXPECT_FALSE(http->wait(answer(200), noon));
}

TEST(Answers, ConfigurationErrorsNameThePlace) {
	auto message = [](const char *response) { return error_of([&] { judge(response, answer(200), {}); }).message; };
	EXPECT_EQ(message(R"({"rules":[{"when":{"status":"2xx"},"then":"accepted"}]})"),
	          "response: rules[0].when.status is not a status");
	EXPECT_EQ(message(R"({"rules":[{"when":{"status":200},"then":"fine"}]})"),
	          "response: rules[0].then cannot be \"fine\"");
	EXPECT_EQ(message(R"({"rules":[{"when":{"body":true,"matches":"("},"then":"gone"}]})"),
	          "response: rules[0].when.matches is not a regular expression that can be used");
	EXPECT_EQ(message(R"({"records":{"mapper":"by_order","at":"/x"}})"),
	          "response: records needs \"ok\" for mapper by_order");
	EXPECT_EQ(message(R"({"records":{"mapper":"by_index","at":"x"}})"), "response: records.at must be a JSON pointer");
}
