#include "http/sign.hpp"

// AWS Signature Version 4. The service computes the same signature from what it received, so everything here is about
// one question: what will the service make of the bytes that go out?
//
// - Path. Services but S3 take the path as it went out, resolve dots and repeated slashes, and encode it once more
//   ("%20" becomes "%2520"). S3 takes it as it went out. In both cases a byte that was not encoded, though it should
//   have been, is encoded.
// - Query. Sorted by encoded name, then value; "?acl" counts as "acl=". Names and values are decoded and encoded
//   again, because the service does not see whether "~" travelled as "%7E". A "+" is a blank to it.
// - Headers. Blanks around values go, runs of blanks inside become one; several of one name are joined by commas.

#include <algorithm>
#include <cctype>
#include <ctime>
#include <map>
#include <utility>
#include <vector>

#include "http/url.hpp"

namespace courier::http {

namespace {

std::string lower_case(std::string_view text) {
	std::string out(text);
	std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
	return out;
}

// RFC 3986 "remove dot segments", and runs of slashes made one; a slash at the end stays.
std::string normalize(std::string_view path) {
	std::vector<std::string_view> kept;
	bool slash_at_end = false;
	for (std::size_t at = 0; at <= path.size();) {
		std::size_t end = std::min(path.find('/', at), path.size());
		auto segment = path.substr(at, end - at);
		slash_at_end = segment.empty() || segment == "." || segment == "..";
		if (segment == ".." && !kept.empty())
			kept.pop_back();
		else if (!slash_at_end)
			kept.push_back(segment);
		at = end + 1;
	}
	std::string out;
	for (auto segment : kept)
		out.append(1, '/').append(segment);
	if (out.empty() || slash_at_end)
		out += '/';
	return out;
}

std::string canonical_path(std::string_view path, const AwsRules &rules) {
	std::string source = rules.normalize_path ? normalize(path) : std::string(path);
	std::string out;
	for (char c : source)
		if (c == '/' || (c == '%' && !rules.encode_path_twice))
			out += c;
		else
			out += percent_encode(std::string_view(&c, 1));
	return out;
}

std::string canonical_query(std::string_view query) {
	std::vector<std::pair<std::string, std::string>> parameters;
	auto again = [](std::string_view text) {
		std::string blanks(text);
		std::replace(blanks.begin(), blanks.end(), '+', ' ');
		return percent_encode(percent_decode(blanks));
	};
	for (std::size_t at = 0; at < query.size();) {
		std::size_t end = std::min(query.find('&', at), query.size());
		auto pair = query.substr(at, end - at);
		at = end + 1;
		if (pair.empty())
			continue;
		auto equals = pair.find('=');
		auto value = equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
		parameters.emplace_back(again(pair.substr(0, equals)), again(value));
	}
	std::sort(parameters.begin(), parameters.end());
	std::string out;
	for (auto &[name, value] : parameters) {
		if (!out.empty())
			out += '&';
		out += name + '=' + value;
	}
	return out;
}

std::string canonical_value(std::string_view value) {
	std::string out;
	bool blank = false;
	for (char c : value) {
		if (c == ' ' || c == '\t') {
			blank = true;
			continue;
		}
		if (blank && !out.empty())
			out += ' ';
		blank = false;
		out += c;
	}
	return out;
}

bool is_signed(const std::string &name) {
	// Set or changed on the way by the transport, proxies and load balancers.
	static constexpr std::string_view left_out[] = {"authorization", "user-agent",        "x-amzn-trace-id", "expect",
	                                                "connection",    "transfer-encoding", "accept-encoding"};
	return std::find(std::begin(left_out), std::end(left_out), name) == std::end(left_out);
}

std::string utc(std::chrono::system_clock::time_point now) {
	std::time_t seconds = std::chrono::system_clock::to_time_t(now);
	std::tm parts {};
	gmtime_r(&seconds, &parts);
	char text[32];
	auto length = std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
	return std::string(text, length);
}

void erase_header(Request &request, std::string_view lower_name) {
	std::erase_if(request.headers, [&](const Header &header) { return lower_case(header.name) == lower_name; });
}

std::string credential_scope(const AwsScope &scope, const std::string &date) {
	return date + '/' + scope.region + '/' + scope.service + "/aws4_request";
}

} // namespace

AwsRules AwsRules::of(std::string_view service) {
	bool s3 = service == "s3" || service == "s3express" || service == "s3-outposts" || service == "s3-object-lambda";
	return AwsRules {.encode_path_twice = !s3, .normalize_path = !s3, .content_sha256_header = s3};
}

AwsSignature aws_v4_signature(const Request &request, const AwsScope &scope, std::string_view secret_access_key,
                              std::chrono::system_clock::time_point now, const AwsRules &rules) {
	auto url = split_url(request.url);
	std::map<std::string, std::string> headers; // sorted by name, as the canonical form wants it
	for (auto &header : request.headers) {
		auto name = lower_case(header.name);
		if (!is_signed(name))
			continue;
		auto [place, is_new] = headers.try_emplace(name, canonical_value(header.value));
		if (!is_new)
			place->second += ',' + canonical_value(header.value);
	}
	headers.try_emplace("host", url.authority());

	AwsSignature out;
	std::string header_lines;
	for (auto &[name, value] : headers) {
		header_lines += name + ':' + value + '\n';
		if (!out.signed_headers.empty())
			out.signed_headers += ';';
		out.signed_headers += name;
	}
	out.canonical_request = request.method + '\n' + canonical_path(url.path, rules) + '\n' +
	                        canonical_query(url.query) + '\n' + header_lines + '\n' + out.signed_headers + '\n' +
	                        sha256_hex(request.body);

	auto time = utc(now);
	auto date = time.substr(0, 8);
	out.string_to_sign =
	    "AWS4-HMAC-SHA256\n" + time + '\n' + credential_scope(scope, date) + '\n' + sha256_hex(out.canonical_request);
	auto key = hmac(Hash::sha256, "AWS4" + std::string(secret_access_key), date);
	for (std::string_view step :
	     {std::string_view(scope.region), std::string_view(scope.service), std::string_view("aws4_request")})
		key = hmac(Hash::sha256, key, step);
	out.signature = hex(hmac(Hash::sha256, key, out.string_to_sign));
	return out;
}

void sign_aws_v4(Request &request, const AwsScope &scope, const AwsCredentials &credentials,
                 std::chrono::system_clock::time_point now, const AwsRules &rules) {
	for (std::string_view name : {"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})
		erase_header(request, name);
	auto time = utc(now);
	request.headers.push_back({"X-Amz-Date", time});
	if (!credentials.session_token.empty())
		request.headers.push_back({"X-Amz-Security-Token", credentials.session_token});
	if (rules.content_sha256_header)
		request.headers.push_back({"x-amz-content-sha256", sha256_hex(request.body)});
	auto made = aws_v4_signature(request, scope, credentials.secret_access_key, now, rules);
	request.headers.push_back({"Authorization", "AWS4-HMAC-SHA256 Credential=" + credentials.access_key_id + '/' +
	                                                credential_scope(scope, time.substr(0, 8)) + ", SignedHeaders=" +
	                                                made.signed_headers + ", Signature=" + made.signature});
}

void sign_aws_v4(Request &request, const AwsScope &scope, const AwsCredentials &credentials,
                 std::chrono::system_clock::time_point now) {
	sign_aws_v4(request, scope, credentials, now, AwsRules::of(scope.service));
}

} // namespace courier::http
