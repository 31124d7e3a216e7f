// How requests prove who they are.

#include "destinations/auth.hpp"
#include "http/sign.hpp"
#include "test_destinations_support.hpp"

using namespace courier;
using namespace courier::test;

namespace {

Wanted with(const char *auth, std::map<std::string, std::string> secrets) {
	Wanted wanted;
	wanted.config = {{"base_url", "https://h/v1"}, {"auth", parsed(auth)}, {"idempotency", false}};
	wanted.secrets = std::move(secrets);
	return wanted;
}

std::string sent(const char *auth, std::map<std::string, std::string> secrets) {
	return golden(with(auth, std::move(secrets)), Operation::insert, {record(R"({"id":1})")});
}

const std::string head = "POST https://h/v1\nContent-Type: application/json\n";
const std::string tail = "\n\n{\"id\":1}";

} // namespace

TEST(Auth, StaticKinds) {
	EXPECT_EQ(sent(R"({"type":"none"})", {}), "POST https://h/v1\nContent-Type: application/json\n\n{\"id\":1}");
	EXPECT_EQ(sent(R"({"type":"bearer"})", {{"token", "t"}}), head + "Authorization: Bearer t" + tail);
	EXPECT_EQ(sent(R"({"type":"bearer","prefix":"Token "})", {{"token", "t"}}), head + "Authorization: Token t" + tail);
	EXPECT_EQ(sent(R"({"type":"basic","username":"u"})", {{"password", "p"}}),
	          head + "Authorization: Basic dTpw" + tail);
	EXPECT_EQ(sent(R"({"type":"basic","secret":"write_key","secret_is":"username"})", {{"write_key", "u"}}),
	          head + "Authorization: Basic dTo=" + tail);
	EXPECT_TRUE(has(error_of([] { sent(R"({"type":"basic"})", {{"password", "p"}}); }).message, "needs \"username\""));
	EXPECT_EQ(sent(R"({"type":"header","name":"X-Key"})", {{"key", "k"}}), head + "X-Key: k" + tail);
	EXPECT_EQ(sent(R"({"type":"query","name":"api key"})", {{"key", "a b"}}),
	          "POST https://h/v1?api%20key=a%20b\nContent-Type: application/json\n" + tail.substr(1));
}

TEST(Auth, HmacSignsTheRawBody) {
	std::string mac = http::hmac(http::Hash::sha256, "k", R"({"id":1})");
	EXPECT_EQ(sent(R"({"type":"hmac","header":"X-Sig"})", {{"key", "k"}}), head + "X-Sig: " + http::hex(mac) + tail);
	EXPECT_EQ(sent(R"({"type":"hmac","header":"X-Sig","algorithm":"sha1","encoding":"base64","prefix":"sha1="})",
	               {{"key", "k"}}),
	          head + "X-Sig: sha1=" + http::base64(http::hmac(http::Hash::sha1, "k", R"({"id":1})")) + tail);
}

TEST(Auth, StandardWebhooksUseTheIdempotencyKeyAsId) {
	std::string request =
	    sent(R"({"type":"standard_webhooks"})", {{"signing_key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}});
	EXPECT_TRUE(has(request, "webhook-id: idem-1\n")) << request;
	EXPECT_TRUE(has(request, "webhook-timestamp: 1700000000\n")) << request;
	EXPECT_TRUE(has(request, "webhook-signature: v1,")) << request;
}

TEST(Auth, AwsSignature) {
	std::string request = sent(R"({"type":"aws_sigv4","region":"eu-central-1","service":"sqs","access_key_id":"AKID"})",
	                           {{"secret_access_key", "s"}});
	EXPECT_TRUE(has(request, "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20231114/eu-central-1/sqs/aws4_request"))
	    << request;
}

TEST(Auth, ClientCredentials) {
	auto wanted =
	    with(R"({"type":"oauth2_client_credentials","token_url":"https://id/token","client_id":"c","scope":"a b"})",
	         {{"client_secret", "s&"}});
	auto http = client(wanted);
	auto request = http->authorize(noon);
	ASSERT_TRUE(request);
	EXPECT_EQ(show(*request),
	          "POST https://id/token\nContent-Type: application/x-www-form-urlencoded\nAccept: application/json\n\n"
	          "grant_type=client_credentials&scope=a%20b&client_id=c&client_secret=s%26");
	EXPECT_FALSE(http->authorized(answer(200, R"({"access_token":"tok-12345","expires_in":600})"), noon));
	EXPECT_FALSE(http->authorize(noon + std::chrono::seconds(539)));
	EXPECT_TRUE(http->authorize(noon + std::chrono::seconds(541))); // a margin of a tenth, at most a minute
	EXPECT_EQ(show(http->render(Operation::insert, std::vector {record(R"({"id":1})")}, noon).request),
	          head + "Authorization: Bearer tok-12345" + tail);
	EXPECT_EQ(http->redact("Bearer tok-12345"), "Bearer [secret]");
	EXPECT_TRUE(http->forget_token());
	EXPECT_TRUE(http->authorize(noon));
	EXPECT_EQ(*http->authorized(answer(400, R"({"error":"invalid_client","error_description":"who?"})"), noon),
	          "the token was not given: status 400, invalid_client: who?");
	EXPECT_TRUE(http->authorized(answer(200, "<html>"), noon));
	EXPECT_FALSE(client(with(R"({"type":"bearer"})", {{"token", "t"}}))->forget_token());
}

TEST(Auth, ClientAuthenticationByBasic) {
	auto http = client(with(
	    R"({"type":"oauth2_client_credentials","token_url":"https://id/token","client_id":"c:","client_auth":"basic"})",
	    {{"client_secret", "s"}}));
	EXPECT_EQ(show(*http->authorize(noon)),
	          "POST https://id/token\nContent-Type: application/x-www-form-urlencoded\nAccept: "
	          "application/json\nAuthorization: Basic " +
	              http::base64("c%3A:s") + "\n\ngrant_type=client_credentials");
}

TEST(Auth, ARotatedRefreshTokenIsUsedNext) {
	auto http = client(with(R"({"type":"oauth2_refresh_token","token_url":"https://id/token","client_id":"c"})",
	                        {{"refresh_token", "r1"}}));
	EXPECT_EQ(http->authorize(noon)->body, "grant_type=refresh_token&refresh_token=r1&client_id=c");
	EXPECT_FALSE(http->authorized(answer(200, R"({"access_token":"t","refresh_token":"r2"})"), noon));
	EXPECT_FALSE(http->authorize(noon + std::chrono::hours(1000))); // without expires_in: until a 401
	http->forget_token();
	EXPECT_EQ(http->authorize(noon)->body, "grant_type=refresh_token&refresh_token=r2&client_id=c");
}

TEST(Auth, Errors) {
	EXPECT_EQ(error_of([] { sent(R"({"type":"bearer"})", {}); }).message,
	          "destination \"crm\" lacks the secret \"token\"");
	Error unknown = error_of([] { sent(R"({"type":"digest"})", {}); });
	EXPECT_EQ(unknown.message, "config of destination \"crm\": auth.type cannot be \"digest\"");
	EXPECT_TRUE(has(unknown.detail, "standard_webhooks"));
	Error inside = error_of([] { sent(R"({"type":"bearer","token":"abc"})", {}); });
	EXPECT_TRUE(has(inside.message, "unknown key \"token\""));
	EXPECT_FALSE(has(inside.message + inside.detail + inside.hint, "abc")); // it may be a secret
	EXPECT_TRUE(has(inside.hint, "A secret belongs into the destination's secrets"));
	Error newline = error_of([] { sent(R"({"type":"bearer"})", {{"token", "abc\n"}}); });
	EXPECT_TRUE(has(newline.message, "control characters"));
	EXPECT_FALSE(has(newline.message, "abc"));
}
