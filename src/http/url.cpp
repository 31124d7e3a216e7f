#include "http/url.hpp"

#include <algorithm>
#include <cctype>
#include <curl/curl.h>
#include <memory>
#include <new>

#include "core/error.hpp"

namespace courier::http {

namespace {

using Url = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

constexpr const char *allowed_urls = "Allowed are URLs like https://api.example.com/v1: http or https, with a host, "
                                     "without user:password, fragment (#), "
                                     "blanks and control characters.";

bool is_alnum(unsigned char c) {
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool is_unreserved(unsigned char c) {
	return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

bool is_token(std::string_view text) {
	constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
	return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
		return is_alnum(c) || marks.find(static_cast<char>(c)) != std::string_view::npos;
	});
}

void append_encoded(std::string &out, unsigned char c) {
	constexpr char digits[] = "0123456789ABCDEF";
	out += '%';
	out += digits[c >> 4];
	out += digits[c & 15];
}

int hex_value(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

[[noreturn]] void refuse(std::string_view what, const std::string &why) {
	throw Error("22023", std::string(what) + " " + why, allowed_urls);
}

Url parse(std::string_view text, std::string_view what) {
	if (text.empty())
		refuse(what, "is empty, not a URL");
	for (unsigned char c : text)
		if (c <= 0x20 || c == 0x7f)
			refuse(what, "is not a URL: it has a blank or a control character");
	Url url(curl_url(), &curl_url_cleanup);
	if (!url)
		throw std::bad_alloc();
	auto rc =
	    curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME);
	if (rc != CURLUE_OK)
		refuse(what, std::string("is not a URL: ") + curl_url_strerror(rc));
	return url;
}

std::string part(const Url &url, CURLUPart which, unsigned flags = 0) {
	char *text = nullptr;
	if (curl_url_get(url.get(), which, &text, flags) != CURLUE_OK)
		return {};
	std::unique_ptr<char, decltype(&curl_free)> owner(text, &curl_free);
	return text;
}

bool has_part(const Url &url, CURLUPart which) {
	char *text = nullptr;
	auto rc = curl_url_get(url.get(), which, &text, 0);
	curl_free(text);
	return rc == CURLUE_OK;
}

std::string encode_forbidden(std::string_view text) {
	std::string out;
	out.reserve(text.size());
	for (unsigned char c : text)
		if (c <= 0x20 || c >= 0x7f || c == '#')
			append_encoded(out, c);
		else
			out += static_cast<char>(c);
	return out;
}

} // namespace

void check_url(std::string_view text, std::string_view what) {
	auto url = parse(text, what);
	auto scheme = part(url, CURLUPART_SCHEME);
	if (scheme != "http" && scheme != "https")
		refuse(what, "has the scheme \"" + scheme + "\"");
	// libcurl also takes "http:/h" and "http:///h"; others read another host in them.
	if (auto slashes = text.substr(text.find(':') + 1); !slashes.starts_with("//") || slashes.starts_with("///"))
		refuse(what, "is not a URL: two slashes and a host must follow the scheme");
	if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
		throw Error("22023", std::string(what) + " has a user or password in the URL", allowed_urls,
		            "Give credentials as secrets of the destination, not in a URL.");
	if (part(url, CURLUPART_HOST).empty())
		refuse(what, "has no host");
	if (text.find('#') != std::string_view::npos)
		refuse(what, "has a fragment (#)");
	auto port = part(url, CURLUPART_PORT);
	if (port == "0")
		refuse(what, "has the port 0");
}

void check_header(std::string_view name, std::string_view value, std::string_view what) {
	if (!is_token(name)) {
		std::string shown;
		for (unsigned char c : name.substr(0, 60))
			shown += c < 0x20 || c >= 0x7f ? '?' : static_cast<char>(c);
		throw Error("22023", std::string(what) + ": \"" + shown + "\" is not a header name",
		            "Allowed are letters, digits and !#$%&'*+-.^_`|~.");
	}
	for (unsigned char c : value)
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			throw Error("22023",
			            std::string(what) + ": the value of header \"" + std::string(name) +
			                "\" has a control character",
			            "Line breaks and other control characters cannot be sent in a header.");
	static constexpr std::string_view framing[] = {"content-length", "transfer-encoding", "connection",
	                                               "keep-alive",     "proxy-connection",  "te",
	                                               "trailer",        "upgrade",           "expect"};
	std::string lower(name);
	std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
	if (std::find(std::begin(framing), std::end(framing), lower) != std::end(framing))
		throw Error("22023", std::string(what) + ": header \"" + std::string(name) + "\" cannot be set",
		            "Headers that frame the message or manage the connection are set by pg_courier.");
}

void check_method(std::string_view method, std::string_view what) {
	bool letters = !method.empty() && method.size() <= 32 && std::all_of(method.begin(), method.end(), [](char c) {
		return (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
	});
	// CONNECT asks for a tunnel: what follows would not be an answer.
	if (!letters || method == "CONNECT")
		throw Error("22023", std::string(what) + " is not a method that can be sent",
		            "Allowed are names in capital letters, like POST, PUT, PATCH, DELETE and GET.");
}

UrlParts split_url(std::string_view text, std::string_view what) {
	auto url = parse(text, what);
	UrlParts parts;
	parts.scheme = part(url, CURLUPART_SCHEME);
	parts.host = part(url, CURLUPART_HOST);
	parts.port = part(url, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
	parts.path = part(url, CURLUPART_PATH);
	if (parts.path.empty())
		parts.path = "/";
	parts.query = part(url, CURLUPART_QUERY);
	return parts;
}

std::string url_join(std::string_view base, std::string_view path, std::string_view query) {
	auto cut = [](std::string_view &text) { // takes the query off
		auto mark = text.find('?');
		auto rest = mark == std::string_view::npos ? std::string_view() : text.substr(mark + 1);
		text = text.substr(0, mark);
		return rest;
	};
	auto base_query = cut(base);
	auto path_query = cut(path);

	// The host may have other letters than those of ASCII, which libcurl has a name for; what follows it may not.
	const auto scheme = base.find("://");
	const auto base_path = std::min(base.find('/', scheme == std::string_view::npos ? 0 : scheme + 3), base.size());
	std::string out(base.substr(0, base_path));
	out += encode_forbidden(base.substr(base_path));
	if (!path.empty()) {
		if (!out.empty() && out.back() == '/')
			out.pop_back();
		if (path.front() != '/')
			out += '/';
		out += encode_forbidden(path);
	}
	char separator = '?';
	for (auto piece : {base_query, path_query, query})
		if (!piece.empty()) {
			out += separator;
			out += encode_forbidden(piece);
			separator = '&';
		}
	return out;
}

std::string percent_encode(std::string_view text) {
	std::string out;
	out.reserve(text.size());
	for (unsigned char c : text)
		if (is_unreserved(c))
			out += static_cast<char>(c);
		else
			append_encoded(out, c);
	return out;
}

std::string percent_decode(std::string_view text) {
	std::string out;
	out.reserve(text.size());
	for (std::size_t i = 0; i < text.size(); ++i) {
		if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
			out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
			i += 2;
		} else {
			out += text[i];
		}
	}
	return out;
}

std::string form_encode(const std::vector<std::pair<std::string, std::string>> &fields) {
	std::string out;
	for (auto &[name, value] : fields) {
		if (!out.empty())
			out += '&';
		out += percent_encode(name) + '=' + percent_encode(value);
	}
	return out;
}

} // namespace courier::http
