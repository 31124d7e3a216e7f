// Signatures against published examples and, where the folder is there, the suite of AWS.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.hpp"
#include "http/sign.hpp"

using namespace courier;
using namespace courier::http;

namespace {

using Time = std::chrono::system_clock::time_point;

Time at(std::int64_t seconds) {
	return Time(std::chrono::seconds(seconds));
}

const Time suite_time = at(1440938160); // 2015-08-30T12:36:00Z
const AwsCredentials suite_keys {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};

std::string header_of(const Request &request, std::string_view name) {
	std::string found;
	for (auto &header : request.headers)
		if (header.name == name) {
			EXPECT_EQ(found, "") << "twice: " << name;
			found = header.value;
		}
	return found;
}

std::filesystem::path api_specs() {
	if (auto given = std::getenv("COURIER_API_SPECS"))
		return given;
	return SOURCE_FOLDER "/../shared/api-specs";
}

// "GET /path HTTP/1.1\nName:value\n  continued\n\nbody" as the suite writes it.
Request parse_suite_request(const std::string &text) {
	auto end_of_head = text.find("\n\n");
	std::istringstream head(text.substr(0, end_of_head));
	Request request;
	if (end_of_head != std::string::npos)
		request.body = text.substr(end_of_head + 2);
	std::string line;
	std::getline(head, line);
	auto first = line.find(' '), last = line.rfind(' ');
	request.method = line.substr(0, first);
	auto target = line.substr(first + 1, last - first - 1);
	request.url = "https://example.amazonaws.com" + target;
	while (std::getline(head, line)) {
		if (line.empty())
			continue;
		if (line[0] == ' ') {
			request.headers.back().value += line;
			continue;
		}
		auto colon = line.find(':');
		if (line.substr(0, colon) != "Host")
			request.headers.push_back({line.substr(0, colon), line.substr(colon + 1)});
	}
	return request;
}

} // namespace

TEST(HttpSign, Hashes) {
	EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	EXPECT_EQ(hex(digest(Hash::sha1, "abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
	// RFC 2202, RFC 4231
	EXPECT_EQ(hex(hmac(Hash::sha1, "Jefe", "what do ya want for nothing?")),
	          "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	EXPECT_EQ(hex(hmac(Hash::sha256, "Jefe", "what do ya want for nothing?")),
	          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	EXPECT_EQ(hex(hmac(Hash::sha512, "Jefe", "what do ya want for nothing?")),
	          "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a3"
	          "4d4a6b4b636e"
	          "070a38bce737");
	EXPECT_EQ(hex(hmac(Hash::sha256, "", "")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
	EXPECT_EQ(hash_from("sha256"), Hash::sha256);
	EXPECT_EQ(hash_from("md5"), std::nullopt);
}

TEST(HttpSign, Base64) {
	for (auto &[text, encoded] :
	     std::vector<std::pair<std::string, std::string>> {{"", ""},
	                                                       {"f", "Zg=="},
	                                                       {"fo", "Zm8="},
	                                                       {"foo", "Zm9v"},
	                                                       {"foob", "Zm9vYg=="},
	                                                       {"fooba", "Zm9vYmE="},
	                                                       {std::string("\xff\xfe\x00", 3), "//4A"}}) {
		EXPECT_EQ(base64(text), encoded);
		EXPECT_EQ(base64_decode(encoded), text);
	}
	EXPECT_EQ(base64_decode("Zg"), "f");
	EXPECT_EQ(base64_decode("__4A"), std::string("\xff\xfe\x00", 3));
	for (auto bad : {"Z", "Zm9vY", "Zm 9v", "Zm9v\n", "Zg=", "=", "====", "Z===", "Zm=v", "Zm9v!"})
		EXPECT_EQ(base64_decode(bad), std::nullopt) << bad;
	std::string all;
	for (int i = 0; i < 256; ++i)
		all += static_cast<char>(i);
	EXPECT_EQ(base64_decode(base64(all)), all);
}

TEST(HttpSign, StandardWebhook) {
	Request request;
	request.body = "{\"test\": 2432232314}";
	sign_standard_webhook(request, "msg_p5jXN8AQM9LWM0D4loKWxJek", at(1614265330),
	                      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
	EXPECT_EQ(header_of(request, "webhook-id"), "msg_p5jXN8AQM9LWM0D4loKWxJek");
	EXPECT_EQ(header_of(request, "webhook-timestamp"), "1614265330");
	EXPECT_EQ(header_of(request, "webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
	auto first = request;
	sign_standard_webhook(request, "msg_p5jXN8AQM9LWM0D4loKWxJek", at(1614265331), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
	EXPECT_EQ(request.headers.size(), 3u);
	EXPECT_NE(header_of(request, "webhook-signature"), header_of(first, "webhook-signature"));
	for (auto bad : {"", "whsec_", "whsec_not base64", "sesame!"})
		try {
			sign_standard_webhook(request, "x", at(0), bad);
			ADD_FAILURE() << bad;
		} catch (const Error &error) {
			EXPECT_EQ(error.sqlstate, "22023");
			EXPECT_EQ(error.message.find("sesame"), std::string::npos);
		}
}

TEST(HttpSign, StandardWebhookVectors) {
	std::ifstream file(api_specs() / "standard-webhooks/test-vectors.json");
	if (!file)
		GTEST_SKIP() << "no " << api_specs() << " (set COURIER_API_SPECS)";
	auto vectors = nlohmann::json::parse(file)["vectors"];
	for (auto &vector : vectors) {
		Request request;
		request.body = vector["body"];
		sign_standard_webhook(request, vector["webhook-id"].get<std::string>(),
		                      at(std::stoll(vector["webhook-timestamp"].get<std::string>())),
		                      vector["secret"].get<std::string>());
		EXPECT_EQ(header_of(request, "webhook-signature"), vector["webhook-signature"]) << vector["name"];
	}
}

TEST(HttpSign, AwsVanilla) { // published with the suite of AWS
	Request request;
	request.method = "GET";
	request.url = "https://example.amazonaws.com/";
	sign_aws_v4(request, {"us-east-1", "service"}, suite_keys, suite_time);
	EXPECT_EQ(header_of(request, "X-Amz-Date"), "20150830T123600Z");
	auto expected =
	    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
	    "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
	EXPECT_EQ(header_of(request, "Authorization"), expected);
	sign_aws_v4(request, {"us-east-1", "service"}, suite_keys, suite_time); // again: the same, not one more
	EXPECT_EQ(header_of(request, "Authorization"), expected);
	EXPECT_EQ(request.headers.size(), 2u);
}

TEST(HttpSign, AwsS3) { // the examples of the Amazon S3 documentation, "Authorization header"
	AwsCredentials keys {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
	auto time = at(1369353600); // 2013-05-24T00:00:00Z
	auto signature = [&](Request request) {
		sign_aws_v4(request, {"us-east-1", "s3"}, keys, time);
		EXPECT_EQ(header_of(request, "x-amz-content-sha256"), sha256_hex(request.body));
		auto value = header_of(request, "Authorization");
		return value.substr(value.find("Signature=") + 10);
	};
	Request get;
	get.method = "GET";
	get.url = "https://examplebucket.s3.amazonaws.com/test.txt";
	get.headers = {{"Range", "bytes=0-9"}};
	EXPECT_EQ(signature(get), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	Request put;
	put.method = "PUT";
	put.url = "https://examplebucket.s3.amazonaws.com/test%24file.text";
	put.headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
	put.body = "Welcome to Amazon S3.";
	EXPECT_EQ(signature(put), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	put.url = "https://examplebucket.s3.amazonaws.com/test$file.text"; // sent unencoded: the same to S3
	EXPECT_EQ(signature(put), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	get.headers.clear();
	get.url = "https://examplebucket.s3.amazonaws.com/?lifecycle"; // a name without a value
	EXPECT_EQ(signature(get), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	get.url = "https://examplebucket.s3.amazonaws.com/?prefix=J&max-keys=2"; // not sorted
	EXPECT_EQ(signature(get), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(HttpSign, AwsCanonicalForm) {
	Request request;
	request.method = "POST";
	request.url = "https://h.example:8443/2015-03-31/functions/arn%3Aaws/a/../b?B=2&A=1&acl&s=%7e+x";
	request.headers = {{"X-A", "  two   blanks "}, {"User-Agent", "not signed"}, {"X-A", "second"}};
	auto made = aws_v4_signature(request, {"r", "lambda"}, "key", suite_time, AwsRules::of("lambda"));
	EXPECT_EQ(made.canonical_request, "POST\n/2015-03-31/functions/arn%253Aaws/b\nA=1&B=2&acl=&s=~%20x\n"
	                                  "host:h.example:8443\nx-a:two blanks,second\n\nhost;x-a\n" +
	                                      sha256_hex(""));
	made = aws_v4_signature(request, {"r", "s3"}, "key", suite_time, AwsRules::of("s3"));
	EXPECT_NE(made.canonical_request.find("\n/2015-03-31/functions/arn%3Aaws/a/../b\n"), std::string::npos);
}

TEST(HttpSign, AwsSuite) {
	std::ifstream file(api_specs() / "aws/sigv4-test-suite.json");
	if (!file)
		GTEST_SKIP() << "no " << api_specs() << " (set COURIER_API_SPECS)";
	auto suite = nlohmann::json::parse(file)["cases"];
	EXPECT_GE(suite.size(), 38u);
	for (auto &[name, files] : suite.items()) {
		auto &context = files["context.json"];
		auto text = files["request.txt"].get<std::string>();
		// The suite has blanks and UTF-8 in paths as they are. They cannot go out like that: a client sends %20, which
		// is signed as %2520. These cases are about a client that encodes while signing.
		bool blank = text.substr(0, text.find(" HTTP/1.1")).find(' ', text.find(' ') + 1) != std::string::npos;
		auto request = parse_suite_request(text);
		AwsRules rules = AwsRules::of(context["service"].get<std::string>());
		rules.normalize_path = context["normalize"];
		rules.content_sha256_header = context["sign_body"];
		if (blank) {
			for (auto at = request.url.find(' '); at != std::string::npos; at = request.url.find(' '))
				request.url.replace(at, 1, "%20");
			rules.encode_path_twice = false;
		}
		AwsCredentials keys {context["credentials"]["access_key_id"], context["credentials"]["secret_access_key"],
		                     context["credentials"].value("token", "")};
		if (context.value("omit_session_token", false))
			keys.session_token.clear(); // added after signing
		AwsScope scope {context["region"], context["service"]};
		sign_aws_v4(request, scope, keys, suite_time, rules);
		auto unsigned_again = request;
		std::erase_if(unsigned_again.headers, [](const Header &header) { return header.name == "Authorization"; });
		auto made = aws_v4_signature(unsigned_again, scope, keys.secret_access_key, suite_time, rules);
		EXPECT_EQ(made.canonical_request, files["header-canonical-request.txt"]) << name;
		EXPECT_EQ(made.string_to_sign, files["header-string-to-sign.txt"]) << name;
		EXPECT_EQ(made.signature, files["header-signature.txt"]) << name;
		EXPECT_TRUE(header_of(request, "Authorization").ends_with("Signature=" + made.signature)) << name;
		EXPECT_NE(files["header-signed-request.txt"].get<std::string>().find(header_of(request, "Authorization")),
		          std::string::npos)
		    << name;
	}
}
