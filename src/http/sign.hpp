#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/transport.hpp"

namespace courier::http {

enum class Hash { md5, sha1, sha256, sha512 };

std::optional<Hash> hash_from(std::string_view name); // "sha1", "sha256", "sha512": those that sign

std::string digest(Hash hash, std::string_view text);                     // raw bytes
std::string hmac(Hash hash, std::string_view key, std::string_view text); // raw bytes
std::string hex(std::string_view bytes);                                  // lower case
std::string sha256_hex(std::string_view text);
std::string base64(std::string_view bytes);
// Standard or URL alphabet, padded or not. nullopt: not base64 (line breaks and blanks are not either).
std::optional<std::string> base64_decode(std::string_view text);

// Sets a header: replaces those of that name (compared without case), or appends.
void set_header(Request &request, std::string_view name, std::string value);

// Standard Webhooks: adds webhook-id, webhook-timestamp and webhook-signature. The secret is base64, with or without
// whsec_ before it; Error 22023 (without the secret in it) when it is not. The id stays the same when a message is sent
// again, the time does not: sign each attempt anew.
void sign_standard_webhook(Request &request, std::string_view id, std::chrono::system_clock::time_point now,
                           std::string_view secret);

struct AwsCredentials {
	std::string access_key_id;
	std::string secret_access_key;
	std::string session_token; // empty: none
};

struct AwsScope {
	std::string region;
	std::string service; // as in the credential scope: "s3", "sqs", "execute-api", "es", ...
};

// What the signing needs to know of a service. The default follows from its name.
struct AwsRules {
	bool encode_path_twice = true;      // all but S3: the path, as it goes out, is percent-encoded once more
	bool normalize_path = true;         // all but S3: "/a/../b" is signed as "/b"
	bool content_sha256_header = false; // S3 wants x-amz-content-sha256; others allow it
	static AwsRules of(std::string_view service);
};

// AWS Signature Version 4 in the Authorization header. Signs Host and every header of the request except those that the
// transport or a proxy may change. Adds (or replaces, so that signing again is right) X-Amz-Date, X-Amz-Security-Token,
// x-amz-content-sha256 and Authorization. libcurl's own signer is not used: it is wrong for unsorted queries, for
// parameters without a value and for percent-encoded paths.
void sign_aws_v4(Request &request, const AwsScope &scope, const AwsCredentials &credentials,
                 std::chrono::system_clock::time_point now, const AwsRules &rules);
void sign_aws_v4(Request &request, const AwsScope &scope, const AwsCredentials &credentials,
                 std::chrono::system_clock::time_point now);

// The two texts on the way, for tests and for finding out why a service says SignatureDoesNotMatch.
struct AwsSignature {
	std::string canonical_request, string_to_sign, signed_headers, signature;
};
AwsSignature aws_v4_signature(const Request &request, const AwsScope &scope, std::string_view secret_access_key,
                              std::chrono::system_clock::time_point now, const AwsRules &rules);

} // namespace courier::http
