#include "core/exchange_log.hpp"

#include <cstdint>

#include "core/json_text.hpp"

namespace courier {

namespace {

constexpr std::size_t body_cap = 64 * 1024;
constexpr std::size_t line_cap = 8 * 1024; // URL, a header, an error

// Length of the well-formed character at `at`, 0 when there is none (stray, overlong, surrogate, cut off).
std::size_t character_length(std::string_view text, std::size_t at) {
	const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
	const auto lead = byte(0);
	if (lead < 0x80)
		return lead == 0 ? 0 : 1;
	const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
	if (length == 0 || lead > 0xF4 || at + length > text.size())
		return 0;
	for (std::size_t i = 1; i < length; ++i)
		if ((byte(i) & 0xC0) != 0x80)
			return 0;
	const auto second = byte(1);
	const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
	const bool surrogate = lead == 0xED && second >= 0xA0;
	const bool beyond = lead == 0xF4 && second >= 0x90;
	return overlong || surrogate || beyond ? 0 : length;
}

} // namespace

std::string clean_utf8(std::string text) {
	std::size_t good = 0;
	while (good < text.size()) {
		const auto length = character_length(text, good);
		if (length == 0)
			break;
		good += length;
	}
	if (good == text.size())
		return text;
	std::string clean = text.substr(0, good);
	for (std::size_t at = good; at < text.size();) {
		const auto length = character_length(text, at);
		if (length == 0) {
			clean += "\xEF\xBF\xBD";
			++at;
		} else {
			clean.append(text, at, length);
			at += length;
		}
	}
	return clean;
}

void cut_utf8(std::string &text, std::size_t most) {
	if (text.size() <= most)
		return;
	auto end = most;
	while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
		--end;
	text.resize(end);
}

std::string tidy(const Client &client, std::string text, std::size_t most) {
	if (text.empty())
		return text;
	text = clean_utf8(client.redact(std::move(text)));
	cut_utf8(text, most);
	return text;
}

Exchange describe_exchange(const Client &client, const Request &request, const Answer &answer, bool with_bodies) {
	Exchange exchange;
	exchange.method = request.method;
	exchange.url = tidy(client, request.url, line_cap);
	exchange.request_headers = "{";
	for (auto &header : request.headers) {
		if (exchange.request_headers.size() > 1)
			exchange.request_headers += ", ";
		json_append_string(exchange.request_headers, tidy(client, header.name, line_cap));
		exchange.request_headers += ": ";
		json_append_string(exchange.request_headers, tidy(client, header.value, line_cap));
	}
	exchange.request_headers += "}";
	const bool refused = answer.status >= 400;
	if (with_bodies)
		exchange.request_body = tidy(client, request.plain_body(), body_cap);
	if (with_bodies || refused)
		exchange.response_body = tidy(client, answer.body, body_cap);
	exchange.http_status = answer.status;
	exchange.duration = answer.duration;
	if (answer.transfer != Transfer::complete)
		exchange.error = tidy(client, transfer_message(answer), line_cap);
	return exchange;
}

std::string spell(std::chrono::milliseconds duration) {
	const auto total = duration.count();
	if (total < 10'000 && total % 1000 != 0) {
		const auto tenths = (total + 50) / 100;
		return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
	}
	const auto seconds = (total + 500) / 1000;
	if (seconds <= 120)
		return std::to_string(seconds) + " s";
	const auto minutes = (seconds + 30) / 60;
	if (minutes < 60)
		return std::to_string(minutes) + " min";
	const auto rest = minutes % 60;
	return std::to_string(minutes / 60) + " h" + (rest ? " " + std::to_string(rest) + " min" : "");
}

std::string_view transfer_code(Transfer transfer) {
	switch (transfer) {
	case Transfer::complete:
		return "";
	case Transfer::unresolved:
		return "name_not_resolved";
	case Transfer::refused:
		return "connection_refused";
	case Transfer::tls:
		return "tls";
	case Transfer::blocked:
		return "blocked_address";
	case Transfer::unsent:
		return "connection_failed";
	case Transfer::lost:
		return "connection_lost";
	case Transfer::too_large:
		return "bad_answer";
	case Transfer::cancelled:
		return "cancelled";
	}
	return "";
}

std::string transfer_message(const Answer &answer) {
	std::string message;
	switch (answer.transfer) {
	case Transfer::complete:
		return message;
	case Transfer::unresolved:
		message = "the host name could not be resolved";
		break;
	case Transfer::refused:
		message = "no connection could be made";
		break;
	case Transfer::tls:
		message = "no secure connection could be made";
		break;
	case Transfer::blocked:
		message = "the address may not be reached from here";
		break;
	case Transfer::unsent:
		message = "the connection failed before the request was sent";
		break;
	case Transfer::lost:
		message = "the request was sent, but no whole answer came back";
		break;
	case Transfer::too_large:
		message = "the answer is larger than what is accepted";
		break;
	case Transfer::cancelled:
		message = "no answer had come when the run was cancelled";
		break;
	}
	if (!answer.error.empty())
		message += ": " + answer.error;
	return message;
}

} // namespace courier
