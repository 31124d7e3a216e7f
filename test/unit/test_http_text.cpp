// What needs no socket: addresses, URLs, redaction.

#include <arpa/inet.h>
#include <cstring>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "http/address_filter.hpp"
#include "http/redact.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

using namespace courier;
using namespace courier::http;

namespace {

bool allows(const AddressFilter &filter, const std::string &text) {
	sockaddr_storage where {};
	if (text.find(':') != std::string::npos) {
		where.ss_family = AF_INET6;
		EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &reinterpret_cast<sockaddr_in6 &>(where).sin6_addr), 1) << text;
	} else {
		where.ss_family = AF_INET;
		EXPECT_EQ(inet_pton(AF_INET, text.c_str(), &reinterpret_cast<sockaddr_in &>(where).sin_addr), 1) << text;
	}
	return filter.allows(reinterpret_cast<sockaddr *>(&where));
}

template <typename Function> Error error_of(Function function) {
	try {
		function();
	} catch (const Error &error) {
		return error;
	}
	ADD_FAILURE() << "no error";
	return {"", ""};
}

} // namespace

TEST(HttpAddress, PublicOnlyWithoutAList) {
	AddressFilter filter;
	for (auto text : {"8.8.8.8",          "1.1.1.1",
	                  "9.255.255.255",    "11.0.0.0",
	                  "100.63.255.255",   "100.128.0.0",
	                  "126.255.255.255",  "128.0.0.1",
	                  "169.253.255.255",  "169.255.0.0",
	                  "172.15.255.255",   "172.32.0.0",
	                  "192.167.255.255",  "192.169.0.0",
	                  "192.0.1.0",        "198.17.255.255",
	                  "198.20.0.0",       "223.255.255.255",
	                  "2606:4700::1111",  "2a00:1450:4001::1",
	                  "2001:200::1",      "2001:4860:4860::8888",
	                  "::ffff:8.8.8.8",   "::8.8.8.8",
	                  "64:ff9b::808:808", "2002:808:808::1"})
		EXPECT_TRUE(allows(filter, text)) << text;
	for (auto text : {"0.0.0.0",
	                  "0.1.2.3",
	                  "10.0.0.1",
	                  "10.255.255.255",
	                  "100.64.0.1",
	                  "100.127.255.255",
	                  "127.0.0.1",
	                  "127.255.255.255",
	                  "169.254.0.1",
	                  "169.254.169.254",
	                  "172.16.0.1",
	                  "172.31.255.255",
	                  "192.0.0.1",
	                  "192.0.2.1",
	                  "192.88.99.1",
	                  "192.168.0.1",
	                  "198.18.0.1",
	                  "198.19.255.255",
	                  "198.51.100.1",
	                  "203.0.113.1",
	                  "224.0.0.1",
	                  "239.255.255.255",
	                  "240.0.0.1",
	                  "255.255.255.255",
	                  "::",
	                  "::1",
	                  "::2",
	                  "fe80::1",
	                  "febf::1",
	                  "fec0::1",
	                  "fc00::1",
	                  "fd00::1",
	                  "fdff::1",
	                  "ff02::1",
	                  "2001:db8::1",
	                  "2001::1",
	                  "2001:10::1",
	                  "3fff::1",
	                  "100::1",
	                  "4000::1",
	                  "::ffff:127.0.0.1",
	                  "::ffff:10.0.0.1",
	                  "::ffff:169.254.169.254",
	                  "::127.0.0.1",
	                  "::ffff:0:127.0.0.1",
	                  "64:ff9b::7f00:1",
	                  "64:ff9b::a9fe:a9fe",
	                  "64:ff9b:1::808:808",
	                  "2002:7f00:1::",
	                  "2002:a9fe:a9fe::1",
	                  "2002:a00:1::",
	                  "fd00:ec2::254"})
		EXPECT_FALSE(allows(filter, text)) << text;
}

TEST(HttpAddress, List) {
	AddressFilter filter("127.0.0.0/8, ::1/128\n10.1.0.0/16 ,192.168.7.9,fd00:1::/32");
	for (auto text : {"127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "192.168.7.9", "fd00:1:2::3", "::ffff:10.1.0.1",
	                  "64:ff9b::a01:1", "2002:a01:1::", "8.8.8.8"})
		EXPECT_TRUE(allows(filter, text)) << text;
	for (auto text : {"10.2.0.0", "10.0.255.255", "192.168.7.8", "192.168.7.10", "fd00:2::", "169.254.169.254",
	                  "::", "::ffff:10.2.0.1"})
		EXPECT_FALSE(allows(filter, text)) << text;
	EXPECT_TRUE(allows(AddressFilter("0.0.0.0/0"), "169.254.169.254"));
	EXPECT_FALSE(allows(AddressFilter("0.0.0.0/0"), "fd00::1"));
	EXPECT_FALSE(allows(AddressFilter("0.0.0.0/0"), "::1")); // looks like an embedded 0.0.0.1
	EXPECT_TRUE(allows(AddressFilter("::/0"), "fe80::1"));
	EXPECT_FALSE(allows(AddressFilter("::/0"), "127.0.0.1"));
	EXPECT_TRUE(allows(AddressFilter("172.16.0.0/12"), "172.31.0.1"));
	EXPECT_FALSE(allows(AddressFilter("  ,, "), "127.0.0.1"));
}

TEST(HttpAddress, OtherFamilies) {
	sockaddr_un path {};
	path.sun_family = AF_UNIX;
	std::strcpy(path.sun_path, "/run/docker.sock");
	EXPECT_FALSE(AddressFilter("0.0.0.0/0, ::/0").allows(reinterpret_cast<sockaddr *>(&path)));
	EXPECT_FALSE(AddressFilter().allows(nullptr));
}

TEST(HttpAddress, BadLists) {
	for (auto text :
	     {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8x", "10.0.0/8", "localhost", "::1/129", "1.2.3.4.5",
	      "10.1.2.3/8", "fd00::1/8", "10.0.0.0/8;127.0.0.1", "/8", "*", "10.0.0.0/ 8", "010.0.0.1/8", "::1%lo"}) {
		auto error = error_of([&] { AddressFilter filter(text); });
		EXPECT_EQ(error.sqlstate, "22023") << text;
		EXPECT_EQ(error.message.find("pg_courier.allow_addresses"), 0u) << error.message;
	}
}

TEST(HttpUrl, Check) {
	for (auto text : {"https://api.example.com", "http://h/", "HTTPS://H/v1?a=b&c", "http://127.0.0.1:8080/x",
	                  "http://[::1]:80/", "https://h/a/../b/%2F", "https://h/v1/@me"})
		EXPECT_NO_THROW(check_url(text, "base_url")) << text;
	for (auto text : {"",
	                  "api.example.com",
	                  "ftp://h/",
	                  "file:///etc/passwd",
	                  "javascript:alert(1)",
	                  "http://",
	                  "http:///x",
	                  "https://user:sesame@h/",
	                  "https://user@h/",
	                  "https://@h/",
	                  "http://h/a b",
	                  "http://h/\r\nX: y",
	                  "http://h\n",
	                  "\thttp://h",
	                  "http://h/#x",
	                  "http://h:99999/",
	                  "http://h:0/",
	                  "http://h:x/",
	                  "http://[::1/",
	                  "http:\\\\h",
	                  "https:/h/"}) {
		auto error = error_of([&] { check_url(text, "base_url"); });
		EXPECT_EQ(error.sqlstate, "22023") << text;
		EXPECT_EQ(error.message.find("base_url "), 0u) << error.message;
		EXPECT_NE(error.detail, "");
		EXPECT_EQ((error.message + error.detail + error.hint).find("sesame"), std::string::npos);
	}
}

TEST(HttpUrl, Join) {
	EXPECT_EQ(url_join("https://h/v1", "/contacts/7"), "https://h/v1/contacts/7");
	EXPECT_EQ(url_join("https://h/v1/", "/contacts"), "https://h/v1/contacts");
	EXPECT_EQ(url_join("https://h/v1/", "contacts"), "https://h/v1/contacts");
	EXPECT_EQ(url_join("https://h", "contacts"), "https://h/contacts");
	EXPECT_EQ(url_join("https://h", ""), "https://h");
	EXPECT_EQ(url_join("https://h/v1/", ""), "https://h/v1/");
	EXPECT_EQ(url_join("https://h/v1?x=1", "/a?y=2", "z=3"), "https://h/v1/a?x=1&y=2&z=3");
	EXPECT_EQ(url_join("https://h", "/a/../b//c/%2F/./"), "https://h/a/../b//c/%2F/./");
	EXPECT_EQ(url_join("https://h", "/a b\r\nX#y/\xc3\xa9"), "https://h/a%20b%0D%0AX%23y/%C3%A9");
	EXPECT_EQ(url_join("https://\xc3\xa9.h/\xc3\xa9?\xc3\xa9", "/a"), "https://\xc3\xa9.h/%C3%A9/a?%C3%A9");
	EXPECT_EQ(url_join("https://h", "//evil/x"), "https://h//evil/x"); // a path, never another host
	EXPECT_EQ(url_join("https://h", "@evil/x"), "https://h/@evil/x");
}

TEST(HttpUrl, Split) {
	auto parts = split_url("HTTPS://api.example.com:8443/a/../b?x=1&y");
	EXPECT_EQ(parts.scheme, "https");
	EXPECT_EQ(parts.authority(), "api.example.com:8443");
	EXPECT_EQ(parts.path, "/a/../b");
	EXPECT_EQ(parts.query, "x=1&y");
	EXPECT_EQ(split_url("https://h:443").authority(), "h");
	EXPECT_EQ(split_url("http://h:443").authority(), "h:443");
	EXPECT_EQ(split_url("http://h?x").path, "/");
	EXPECT_EQ(split_url("http://[::1]:81/").authority(), "[::1]:81");
}

TEST(HttpUrl, Encode) {
	EXPECT_EQ(percent_encode("aZ09-._~"), "aZ09-._~");
	EXPECT_EQ(percent_encode("a b/c?d=e&f+g%\n\xc3\xa9"), "a%20b%2Fc%3Fd%3De%26f%2Bg%25%0A%C3%A9");
	EXPECT_EQ(percent_encode(std::string("\0", 1)), "%00");
	EXPECT_EQ(percent_decode("a%20b%2fc%zz%4"), "a b/c%zz%4");
	EXPECT_EQ(percent_decode("%41"), "A");
	EXPECT_EQ(form_encode({{"a b", "c&d"}, {"e", ""}}), "a%20b=c%26d&e=");
	EXPECT_EQ(form_encode({}), "");
}

TEST(HttpUrl, Header) {
	EXPECT_NO_THROW(check_header("X-Team", "data\tand more \xc3\xa9", "headers"));
	auto error = error_of([] { check_header("X-Team", "sesame\n", "requests.upsert.headers"); });
	EXPECT_NE(error.message.find("requests.upsert.headers"), std::string::npos);
	EXPECT_NE(error.message.find("X-Team"), std::string::npos);
	EXPECT_EQ(error.message.find("sesame"), std::string::npos);
	EXPECT_EQ(error_of([] { check_method("CONNECT", "method"); }).sqlstate, "22023");
	EXPECT_NO_THROW(check_method("PROPPATCH", "method"));
}

TEST(HttpRedact, EveryForm) {
	const std::string secret = "s\"3/cr+\\\xc3\xa9t &<k>";
	Redactor redactor;
	redactor.add_secret(secret);
	auto clean = [&](const std::string &form) {
		EXPECT_EQ(redactor.redact("before " + form + " after"), "before [secret] after") << form;
	};
	clean(secret);
	clean("s\\\"3/cr+\\\\\xc3\xa9t &<k>");
	clean("s\\\"3\\/cr+\\\\\xc3\xa9t &<k>");
	clean("s\\\"3/cr+\\\\\\u00e9t &<k>");
	clean("s\\\"3/cr+\\\\\\u00E9t &<k>");
	clean("s\\\\\\\"3/cr+\\\\\\\\\xc3\xa9t &<k>");
	clean("s&quot;3/cr+\\\xc3\xa9t &amp;&lt;k&gt;");
	clean(percent_encode(secret));
	clean("s%223%2fcr%2b%5c%c3%a9t%20%26%3ck%3e");
	clean("s%223%2Fcr%2B%5C%C3%A9t+%26%3Ck%3E");
	clean(base64(secret));
	clean(hex(secret));
	for (std::size_t i = 0; i < 6; ++i) { // inside something longer: no more than the shared edges stay
		auto whole = base64(std::string(i, 'u') + secret + "trail");
		auto shown = redactor.redact(whole);
		EXPECT_NE(shown.find("[secret]"), std::string::npos) << i;
		EXPECT_EQ(shown.find(base64(secret).substr(6, 8)), std::string::npos);
	}
	EXPECT_EQ(redactor.redact("nothing here"), "nothing here");
	EXPECT_EQ(redactor.redact(""), "");
	EXPECT_EQ(redactor.redact(secret + secret), "[secret][secret]");
}

TEST(HttpRedact, NotUtf8) {
	// Out of the environment; what we write into a body then has the replacement character.
	const std::string_view secret = "k3y\x88with\xff\x01more";
	Redactor redactor;
	redactor.add_secret(secret);
	EXPECT_EQ(redactor.redact("{\"a\":" + json_string(secret) + "}"), "{\"a\":\"[secret]\"}");
}

TEST(HttpRedact, Basic) {
	Redactor redactor;
	redactor.add_basic("user", "open sesame");
	EXPECT_EQ(redactor.redact("Basic " + base64("user:open sesame")), "Basic [secret]");
	EXPECT_EQ(redactor.redact("{\"password\":\"open sesame\"}"), "{\"password\":\"[secret]\"}");
	EXPECT_EQ(redactor.redact("user"), "user");
}

TEST(HttpRedact, OverlapsAndBoundaries) {
	Redactor redactor;
	redactor.add_secret("abcd");
	redactor.add_secret("abcdefgh");
	redactor.add_secret("secret"); // a part of the mark
	EXPECT_EQ(redactor.redact("abcdefgh abcd secret"), "[secret] [secret] [secret]");
	EXPECT_EQ(redactor.redact("xabcdefgy"), "x[secret]efgy");
	EXPECT_EQ(redactor.redact("aabcd"), "a[secret]");
	redactor.add_secret("");
	EXPECT_EQ(redactor.redact("x"), "x");
	std::string with_nul("a\0bcd", 5);
	redactor.add_secret(with_nul);
	EXPECT_EQ(redactor.redact("<" + with_nul + ">"), "<[secret]>");
}

TEST(HttpRedact, ShortValuesOnlyWhereTheyStandAlone) {
	Redactor redactor;
	redactor.add_secret("ab");
	EXPECT_EQ(redactor.redact("{\"ab\":\"ab\",\"t\":\"table ab\"}"), "{\"[secret]\":\"[secret]\",\"t\":\"table ab\"}");
	EXPECT_EQ(redactor.redact("[\"ab\",\"ab\"]"), "[\"[secret]\",\"[secret]\"]");
	EXPECT_EQ(redactor.redact("https://h/table?key=ab&x=1"), "https://h/table?key=[secret]&x=1");
	EXPECT_EQ(redactor.redact("https://h/table?key=ab"), "https://h/table?key=[secret]");
	EXPECT_EQ(redactor.redact("https://h/table?key=about"), "https://h/table?key=about");
	EXPECT_EQ(redactor.redact_header("X-Custom", "ab"), "[secret]");
	EXPECT_EQ(redactor.redact_header("X-Custom", "abc"), "abc");
}

TEST(HttpRedact, Headers) {
	Redactor redactor;
	redactor.add_secret("sesame");
	redactor.add_header("X-Own");
	for (auto name : {"Authorization", "authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key",
	                  "x-api-key", "Api-Key", "X-Goog-Api-Key", "X-Auth-Token", "X-Amz-Security-Token",
	                  "X-Shopify-Access-Token", "x-own", "X-Parse-Master-Key"})
		EXPECT_EQ(redactor.redact_header(name, "whatever"), "[secret]") << name;
	for (auto name :
	     {"Content-Type", "Idempotency-Key", "X-RateLimit-Remaining-Tokens", "Retry-After", "webhook-signature"})
		EXPECT_EQ(redactor.redact_header(name, "whatever"), "whatever") << name;
	EXPECT_EQ(redactor.redact_header("X-Echo", "is sesame"), "is [secret]");
}
