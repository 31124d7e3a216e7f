#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/transport.hpp"

namespace courier::http {

// Error 22023, with `what` (the setting's name) in its message, unless `text` is an http or https URL with a host,
// without user:password, fragment, blanks and control characters. The URL itself is not in the message where it may
// hold a secret.
void check_url(std::string_view text, std::string_view what);

// Error 22023 unless name and value can be sent as they are: the name is a token, the value has no control characters
// (a line break in it would start another header), and the header is not one that frames the message (Content-Length,
// ...). Values are not put into messages; `what` is (for example "headers").
void check_header(std::string_view name, std::string_view value, std::string_view what);
void check_method(std::string_view method, std::string_view what);

struct UrlParts {
	std::string scheme, host; // the host of an IPv6 address with its brackets
	std::string port;         // empty: the scheme's
	std::string path;         // at least "/", as it was written
	std::string query;        // without "?"; as it was written
	std::string authority() const { return port.empty() ? host : host + ":" + port; } // what the Host header says
};
// Error 22023 (names `what`) when it is not a URL. The port is dropped when it is the scheme's own.
UrlParts split_url(std::string_view text, std::string_view what = "url");

// base "https://h/v1?x=1", path "/contacts/7?y=2", query "z=3" -> "https://h/v1/contacts/7?x=1&y=2&z=3". The path
// stays as it is ("/a/../b", "//", "%2F"); bytes that may not stand in a URL (blanks, control characters, other than
// ASCII, "#") are percent-encoded. Exactly one slash stands between base and path.
std::string url_join(std::string_view base, std::string_view path, std::string_view query = {});

std::string percent_encode(std::string_view text); // all but A-Z a-z 0-9 - . _ ~
std::string percent_decode(std::string_view text); // "%zz" stays; "+" stays

// name=value&...: application/x-www-form-urlencoded, and right in a query too (a blank is %20, which both read).
std::string form_encode(const std::vector<std::pair<std::string, std::string>> &fields);

} // namespace courier::http
