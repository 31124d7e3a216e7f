#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "core/client.hpp"
#include "core/delivery.hpp"
#include "core/transport.hpp"

namespace courier {

// Text of other people on its way into tables and messages: redacted first (a cut could leave half a secret behind),
// then made valid UTF-8 without NUL (one bad byte would poison the transaction that writes a thousand outcomes), then
// cut at a character boundary.
std::string tidy(const Client &client, std::string text, std::size_t most);

// Valid UTF-8 without NUL: anything else becomes U+FFFD.
std::string clean_utf8(std::string text);
// At most `most` bytes, whole characters.
void cut_utf8(std::string &text, std::size_t most);

// The request and answer columns of the log. `with_bodies`: false for the exchange of credentials, whose request is
// a credential itself and whose answer is the token; its body is then only kept when it was refused.
Exchange describe_exchange(const Client &client, const Request &request, const Answer &answer, bool with_bodies);

// "2 h 5 min", "90 s", "1.5 s": for messages.
std::string spell(std::chrono::milliseconds duration);

// A code for a transfer that did not complete, in the style of the codes in rejected_records; and a sentence.
std::string_view transfer_code(Transfer transfer);
std::string transfer_message(const Answer &answer);

} // namespace courier
