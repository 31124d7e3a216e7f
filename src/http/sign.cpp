#include "http/sign.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdexcept>

#include "core/error.hpp"

namespace courier::http {

namespace {

const EVP_MD *algorithm(Hash hash) {
	switch (hash) {
	case Hash::md5:
		return EVP_md5();
	case Hash::sha1:
		return EVP_sha1();
	case Hash::sha256:
		return EVP_sha256();
	case Hash::sha512:
		return EVP_sha512();
	}
	return EVP_sha256();
}

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<signed char, 256> make_values() {
	std::array<signed char, 256> values {};
	values.fill(-1);
	for (std::size_t i = 0; i < alphabet.size(); ++i)
		values[static_cast<unsigned char>(alphabet[i])] = static_cast<signed char>(i);
	values[static_cast<unsigned char>('-')] = 62;
	values[static_cast<unsigned char>('_')] = 63;
	return values;
}
constexpr auto base64_values = make_values();

bool same_name(std::string_view a, std::string_view b) {
	return std::equal(a.begin(), a.end(), b.begin(), b.end(),
	                  [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

} // namespace

std::optional<Hash> hash_from(std::string_view name) {
	if (name == "sha1")
		return Hash::sha1;
	if (name == "sha256")
		return Hash::sha256;
	if (name == "sha512")
		return Hash::sha512;
	return std::nullopt;
}

std::string digest(Hash hash, std::string_view text) {
	unsigned char out[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	if (EVP_Digest(text.data(), text.size(), out, &length, algorithm(hash), nullptr) != 1)
		throw std::runtime_error("OpenSSL cannot compute a digest");
	return std::string(reinterpret_cast<char *>(out), length);
}

std::string hmac(Hash hash, std::string_view key, std::string_view text) {
	unsigned char out[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	const char *key_data = key.empty() ? "" : key.data(); // a null pointer means "the previous key" to OpenSSL
	if (!HMAC(algorithm(hash), key_data, static_cast<int>(key.size()),
	          reinterpret_cast<const unsigned char *>(text.data()), text.size(), out, &length))
		throw std::runtime_error("OpenSSL cannot compute an HMAC");
	return std::string(reinterpret_cast<char *>(out), length);
}

std::string hex(std::string_view bytes) {
	constexpr char digits[] = "0123456789abcdef";
	std::string out;
	out.reserve(bytes.size() * 2);
	for (unsigned char c : bytes) {
		out += digits[c >> 4];
		out += digits[c & 15];
	}
	return out;
}

std::string sha256_hex(std::string_view text) {
	return hex(digest(Hash::sha256, text));
}

std::string base64(std::string_view bytes) {
	std::string out;
	out.reserve((bytes.size() + 2) / 3 * 4);
	for (std::size_t i = 0; i < bytes.size(); i += 3) {
		std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
		unsigned group = static_cast<unsigned char>(bytes[i]) << 16;
		if (have > 1)
			group |= static_cast<unsigned char>(bytes[i + 1]) << 8;
		if (have > 2)
			group |= static_cast<unsigned char>(bytes[i + 2]);
		out += alphabet[group >> 18];
		out += alphabet[group >> 12 & 63];
		out += have > 1 ? alphabet[group >> 6 & 63] : '=';
		out += have > 2 ? alphabet[group & 63] : '=';
	}
	return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
	if (text.size() % 4 == 0)
		for (int i = 0; i < 2 && !text.empty() && text.back() == '='; ++i)
			text.remove_suffix(1);
	if (text.size() % 4 == 1)
		return std::nullopt;
	std::string out;
	out.reserve(text.size() * 3 / 4);
	unsigned group = 0;
	int bits = 0;
	for (unsigned char c : text) {
		if (base64_values[c] < 0)
			return std::nullopt;
		group = (group << 6 | static_cast<unsigned>(base64_values[c])) & 0xffffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out += static_cast<char>(group >> bits & 0xff);
		}
	}
	return out;
}

void set_header(Request &request, std::string_view name, std::string value) {
	auto first = std::find_if(request.headers.begin(), request.headers.end(),
	                          [&](const Header &header) { return same_name(header.name, name); });
	if (first == request.headers.end()) {
		request.headers.push_back({std::string(name), std::move(value)});
		return;
	}
	first->value = std::move(value);
	request.headers.erase(std::remove_if(first + 1, request.headers.end(),
	                                     [&](const Header &header) { return same_name(header.name, name); }),
	                      request.headers.end());
}

void sign_standard_webhook(Request &request, std::string_view id, std::chrono::system_clock::time_point now,
                           std::string_view secret) {
	constexpr std::string_view prefix = "whsec_";
	auto encoded = secret.starts_with(prefix) ? secret.substr(prefix.size()) : secret;
	auto key = base64_decode(encoded);
	if (!key || key->empty())
		throw Error("22023", "The secret signing_key is not a Standard Webhooks secret",
		            "Allowed is base64 text, with whsec_ before it.");
	auto timestamp = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
	std::string text;
	text.reserve(id.size() + timestamp.size() + request.body.size() + 2);
	text.append(id).append(1, '.').append(timestamp).append(1, '.').append(request.body);
	set_header(request, "webhook-id", std::string(id));
	set_header(request, "webhook-timestamp", timestamp);
	set_header(request, "webhook-signature", "v1," + base64(hmac(Hash::sha256, *key, text)));
}

} // namespace courier::http
