#include "http/easy_request.hpp"

// One exchange over libcurl. Two questions decide its design.
//
// Did the request go out? A record whose request never left may be sent again by anybody; one whose request left,
// wholly or in part, may have been applied although no answer came. Transfer::unsent and Transfer::lost keep these
// apart, so the code errs to `lost`. The evidence is libcurl's count of bytes handed to the socket
// (CURLINFO_REQUEST_SIZE).
//
// Who sends it again? Not libcurl. When a kept-alive connection dies before the first byte of the answer, libcurl
// sends the request again on a fresh connection by itself: a server that reads, applies and then closes would apply a
// POST twice. There is no option against it but giving up connection reuse. But libcurl asks CURLOPT_PREREQFUNCTION
// every time it is about to send, so a second call means "again", and the callback refuses it for requests that are
// not idempotent. That works for every method, with or without a body. What remains is a connection that the server
// closes for idleness while our request is under way; such requests therefore only take connections that were used in
// the last few seconds.
//
// Callbacks must not throw: libcurl's frames are C. They catch everything and leave a note in the object.

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <new>
#include <string_view>

#include "core/error.hpp"
#include "http/url.hpp"

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or later is needed (CURLOPT_QUICK_EXIT)"
#endif

namespace courier::http {

namespace {

// Below the idle timeout of common servers (5 s is the shortest default in wide use).
constexpr long idle_seconds_not_idempotent = 4;
// TLS writes larger than a record (16 kB) can leave in part although libcurl counts nothing yet.
constexpr std::size_t one_tls_record = 8192;
constexpr std::size_t usual_headers = 16;
// Before bodies of more than 1 MB libcurl asks with "Expect: 100-continue".
constexpr std::size_t asks_first = 512 << 10;

template <typename Value> void set(CURL *easy, CURLoption option, Value value) {
	auto code = curl_easy_setopt(easy, option, value);
	if (code == CURLE_OUT_OF_MEMORY)
		throw std::bad_alloc();
	if (code != CURLE_OK)
		throw Error("58000", "libcurl refused option " + std::to_string(option) + ": " + curl_easy_strerror(code), {},
		            "The libcurl on this machine was built without a part that pg_courier needs.");
}

void set_pem(CURL *easy, CURLoption option, const std::string &pem) {
	if (pem.empty())
		return;
	curl_blob blob {const_cast<char *>(pem.data()), pem.size(), CURL_BLOB_NOCOPY};
	set(easy, option, &blob);
}

bool has_header(const Request &request, std::string_view lower_name) {
	return std::any_of(request.headers.begin(), request.headers.end(), [&](const Header &header) {
		return std::equal(header.name.begin(), header.name.end(), lower_name.begin(), lower_name.end(),
		                  [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
	});
}

std::string_view trim(std::string_view text) {
	auto first = text.find_first_not_of(" \t\r\n");
	if (first == std::string_view::npos)
		return {};
	return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// A handshake that the network or the server broke off says nothing about certificates: it can be tried again. libcurl
// gives the same code for both, only the words differ.
bool cut_off(std::string_view error) {
	for (std::string_view words : {"OpenSSL SSL_connect: ", "Recv failure: ", "Send failure: "})
		if (error.starts_with(words))
			return true;
	return error.find("unexpected eof") != std::string_view::npos;
}

std::string address_text(const sockaddr *address) {
	char text[INET6_ADDRSTRLEN] = {};
	if (address->sa_family == AF_INET)
		inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in *>(address)->sin_addr, text, sizeof text);
	else if (address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6 *>(address)->sin6_addr, text, sizeof text);
	return text[0] ? text : "of another family than IPv4 and IPv6";
}

long milliseconds(std::chrono::milliseconds time) {
	return static_cast<long>(std::clamp<std::int64_t>(time.count(), 1, 24L * 3600 * 1000));
}

} // namespace

EasyRequest::EasyRequest(const MultiSettings &settings, SocketOwner &sockets)
    : settings_(settings), sockets_(sockets), easy_(curl_easy_init()) {
	CURL *easy = easy_.get();
	if (!easy)
		throw std::bad_alloc();
	set(easy, CURLOPT_PRIVATE, this);
	set(easy, CURLOPT_ERRORBUFFER, error_);
	set(easy, CURLOPT_NOSIGNAL, 1L);   // signals belong to PostgreSQL
	set(easy, CURLOPT_QUICK_EXIT, 1L); // a silent name server must not hold up the whole loop
	set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
	set(easy, CURLOPT_PATH_AS_IS, 1L);
	set(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	set(easy, CURLOPT_FOLLOWLOCATION, 0L); // a redirect would carry credentials to another host
	set(easy, CURLOPT_PROXY, "");          // not even the environment's
	set(easy, CURLOPT_NOPROXY, "*");
	set(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
	set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	set(easy, CURLOPT_USERAGENT, settings.user_agent.c_str());
	// ACCEPT_ENCODING stays unset: nothing is decompressed here, so nothing can blow up. LOW_SPEED_* stay unset: their
	// clock also runs while a slow but honest server thinks, and every request has a timeout that ends a trickle.
	set(easy, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(settings.max_body));

	set(easy, CURLOPT_HEADERFUNCTION, &EasyRequest::on_header);
	set(easy, CURLOPT_HEADERDATA, this);
	set(easy, CURLOPT_WRITEFUNCTION, &EasyRequest::on_body);
	set(easy, CURLOPT_WRITEDATA, this);
	set(easy, CURLOPT_OPENSOCKETFUNCTION, &EasyRequest::on_open);
	set(easy, CURLOPT_OPENSOCKETDATA, this);
	set(easy, CURLOPT_CLOSESOCKETFUNCTION, &EasyRequest::on_close);
	set(easy, CURLOPT_CLOSESOCKETDATA, &sockets_); // connections outlive the handle that opened them
	set(easy, CURLOPT_PREREQFUNCTION, &EasyRequest::on_send);
	set(easy, CURLOPT_PREREQDATA, this);

	set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
	if (!settings.tls.ca_pem.empty()) {
		set_pem(easy, CURLOPT_CAINFO_BLOB, settings.tls.ca_pem);
		set(easy, CURLOPT_CAPATH, static_cast<char *>(nullptr)); // else the system's directory is trusted besides
	}
	set_pem(easy, CURLOPT_SSLCERT_BLOB, settings.tls.client_certificate_pem);
	set_pem(easy, CURLOPT_SSLKEY_BLOB, settings.tls.client_key_pem);
}

void EasyRequest::check(const Request &request) {
	check_method(request.method, "method");
	for (unsigned char c : request.url)
		if (c <= 0x20 || c == 0x7f)
			throw Error("22023", "url has a blank or a control character", "They must be percent-encoded.");
	for (auto &header : request.headers)
		check_header(header.name, header.value, "headers");
}

void EasyRequest::prepare(std::uint64_t id, Request request) {
	id_ = id;
	request_ = std::move(request);
	answer_ = Answer();
	started_ = std::chrono::steady_clock::now();
	header_bytes_ = 0;
	in_body_ = over_cap_ = no_memory_ = resend_refused_ = false;
	sends_ = addresses_tried_ = 0;
	blocked_.clear();
	socket_error_.clear();
	error_[0] = '\0';
	constexpr std::string_view https = "https:";
	secure_ =
	    request_.url.size() > https.size() && std::equal(https.begin(), https.end(), request_.url.begin(),
	                                                     [](char a, unsigned char b) { return a == std::tolower(b); });

	CURL *easy = easy_.get();
	set(easy, CURLOPT_URL, request_.url.c_str());
	set_method();
	set_headers();
	long timeout = milliseconds(request_.timeout);
	set(easy, CURLOPT_TIMEOUT_MS, timeout);
	set(easy, CURLOPT_CONNECTTIMEOUT_MS, std::min(timeout, milliseconds(settings_.connect_timeout)));
	set(easy, CURLOPT_MAXAGE_CONN, request_.idempotent ? 60L : idle_seconds_not_idempotent);
}

void EasyRequest::set_method() {
	CURL *easy = easy_.get();
	auto &method = request_.method;
	// Setting POSTFIELDS makes it a POST, HTTPGET undoes that and everything else the last request set.
	set(easy, CURLOPT_POSTFIELDS, static_cast<char *>(nullptr));
	set(easy, CURLOPT_CUSTOMREQUEST, static_cast<char *>(nullptr));
	set(easy, CURLOPT_HTTPGET, 1L);
	bool has_body = !request_.body.empty() || method == "POST" || method == "PUT" || method == "PATCH";
	if (has_body) {
		set(easy, CURLOPT_POST, 1L);
		set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
		set(easy, CURLOPT_POSTFIELDS, request_.body.c_str()); // not copied: request_ keeps it
		if (method != "POST")
			set(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
	} else if (method == "HEAD") {
		set(easy, CURLOPT_NOBODY, 1L);
	} else if (method != "GET") {
		set(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
	}
}

void EasyRequest::set_headers() {
	std::unique_ptr<curl_slist, ListCleanup> list;
	auto append = [&](const char *line) {
		curl_slist *longer = curl_slist_append(list.get(), line);
		if (!longer)
			throw std::bad_alloc();
		(void)list.release(); // the same list, or its new head
		list.reset(longer);
	};
	std::string line;
	for (auto &header : request_.headers) {
		auto value = trim(header.value);
		line.assign(header.name);
		if (value.empty())
			line += ';'; // libcurl's way to say "with an empty value"; "Name:" would take the header out
		else
			line.append(": ").append(value);
		append(line.c_str());
	}
	if (request_.body.size() > asks_first)
		append("Expect:"); // no round trip before a body
	if (!has_header(request_, "content-type"))
		append("Content-Type:"); // not libcurl's own guess
	set(easy_.get(), CURLOPT_HTTPHEADER, list.get());
	headers_ = std::move(list); // frees the previous one only now that libcurl has let go of it
}

std::size_t EasyRequest::take_header(std::string_view line) {
	header_bytes_ += line.size();
	if (header_bytes_ > settings_.max_headers) {
		over_cap_ = true;
		return 0;
	}
	if (line.starts_with("HTTP/")) { // a status line: of the answer, or of an informational one before it
		answer_.headers.clear();
		answer_.headers.reserve(usual_headers);
		in_body_ = false;
		return line.size();
	}
	if (trim(line).empty()) {
		in_body_ = true;
		return line.size();
	}
	if (in_body_)
		return line.size(); // trailers must not pass for headers
	if ((line[0] == ' ' || line[0] == '\t') && !answer_.headers.empty()) {
		answer_.headers.back().value.append(1, ' ').append(trim(line));
		return line.size();
	}
	auto colon = line.find(':');
	if (colon == std::string_view::npos)
		return line.size();
	Header header {std::string(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1)))};
	std::transform(header.name.begin(), header.name.end(), header.name.begin(),
	               [](unsigned char c) { return std::tolower(c); });
	answer_.headers.push_back(std::move(header));
	return line.size();
}

std::size_t EasyRequest::take_body(std::string_view piece) {
	if (answer_.body.size() + piece.size() > settings_.max_body) {
		over_cap_ = true;
		return 0; // ends the transfer: anything but the size of the piece does
	}
	answer_.body.append(piece);
	return piece.size();
}

std::size_t EasyRequest::on_header(char *data, std::size_t size, std::size_t count, void *self) noexcept {
	auto request = static_cast<EasyRequest *>(self);
	try {
		return request->take_header({data, size * count});
	} catch (...) {
		request->no_memory_ = true;
		return 0;
	}
}

std::size_t EasyRequest::on_body(char *data, std::size_t size, std::size_t count, void *self) noexcept {
	auto request = static_cast<EasyRequest *>(self);
	try {
		return request->take_body({data, size * count});
	} catch (...) {
		request->no_memory_ = true;
		return CURL_WRITEFUNC_ERROR;
	}
}

// Called after the name was resolved, once for each address that is tried. A connection that is used again was asked
// about when it was opened, by the same filter.
curl_socket_t EasyRequest::on_open(void *self, curlsocktype, curl_sockaddr *address) noexcept {
	auto request = static_cast<EasyRequest *>(self);
	try {
		if (!request->settings_.filter.allows(&address->addr)) {
			request->blocked_ = address_text(&address->addr);
			return CURL_SOCKET_BAD;
		}
		++request->addresses_tried_;
		auto socket = request->sockets_.open_socket(address->family, address->socktype, address->protocol);
		if (socket == CURL_SOCKET_BAD)
			request->socket_error_ = std::string("cannot open a socket: ") + std::strerror(errno);
		return socket;
	} catch (...) {
		request->no_memory_ = true;
		return CURL_SOCKET_BAD;
	}
}

int EasyRequest::on_close(void *owner, curl_socket_t socket) noexcept {
	static_cast<SocketOwner *>(owner)->close_socket(socket);
	return 0;
}

int EasyRequest::on_send(void *self, char *, char *, int, int) noexcept {
	auto request = static_cast<EasyRequest *>(self);
	if (request->sends_++ > 0 && !request->request_.idempotent) {
		request->resend_refused_ = true;
		return CURL_PREREQFUNC_ABORT;
	}
	return CURL_PREREQFUNC_OK;
}

bool EasyRequest::went_out() const {
	if (sends_ == 0)
		return false;
	if (resend_refused_ || sends_ > 1) // an earlier attempt was under way; what became of it is not known
		return true;
	long bytes = 0;
	curl_easy_getinfo(easy_.get(), CURLINFO_REQUEST_SIZE, &bytes);
	return bytes > 0 || (secure_ && request_.body.size() > one_tls_record);
}

Transfer EasyRequest::classify(CURLcode code) const {
	if (code == CURLE_OK)
		return Transfer::complete;
	if (over_cap_ || code == CURLE_FILESIZE_EXCEEDED)
		return Transfer::too_large;
	if (went_out()) {
		// One header line beyond libcurl's own limit of 100 kB is reported like this.
		if (code == CURLE_OUT_OF_MEMORY && !no_memory_)
			return Transfer::too_large;
		// TLS 1.3 servers refuse a client certificate after the client believes that all is well. Nothing was applied.
		long fresh = 0;
		curl_easy_getinfo(easy_.get(), CURLINFO_NUM_CONNECTS, &fresh);
		std::string_view text(error_);
		bool alert =
		    text.find(" alert ") != std::string_view::npos &&
		    (text.find("certificate") != std::string_view::npos || text.find("unknown ca") != std::string_view::npos ||
		     text.find("access denied") != std::string_view::npos);
		if (secure_ && fresh > 0 && sends_ == 1 && header_bytes_ == 0 && alert)
			return Transfer::tls;
		return Transfer::lost;
	}

	curl_off_t resolved = 0;
	switch (code) {
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
	case CURLE_LOGIN_DENIED: // user:password in the URL
		return Transfer::blocked;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return Transfer::unresolved;
	case CURLE_COULDNT_CONNECT:
		// Blocked only when no address was left to try: else the network is what failed.
		return !blocked_.empty() && addresses_tried_ == 0 ? Transfer::blocked : Transfer::refused;
	case CURLE_SSL_CONNECT_ERROR:
		return cut_off(error_) ? Transfer::unsent : Transfer::tls;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
	case CURLE_USE_SSL_FAILED:
		return Transfer::tls;
	case CURLE_OPERATION_TIMEDOUT:
		if (sends_ > 0)
			return Transfer::unsent;
		curl_easy_getinfo(easy_.get(), CURLINFO_NAMELOOKUP_TIME_T, &resolved);
		return resolved == 0 ? Transfer::unresolved : Transfer::refused; // the TLS handshake is part of connecting
	default:
		return Transfer::unsent;
	}
}

std::string EasyRequest::words(CURLcode code) const {
	if (no_memory_)
		return "out of memory";
	if (over_cap_)
		return header_bytes_ > settings_.max_headers
		           ? "the headers of the answer are over " + std::to_string(settings_.max_headers) + " bytes"
		           : "the answer is over " + std::to_string(settings_.max_body) + " bytes";
	if (resend_refused_)
		return "the connection closed before the answer; the request is not sent again, it may have been applied";
	if (!blocked_.empty() && addresses_tried_ == 0)
		return "the address " + blocked_ + " is not public and not among the allowed addresses";
	if (!socket_error_.empty())
		return socket_error_;
	return error_[0] ? error_ : curl_easy_strerror(code);
}

std::chrono::microseconds EasyRequest::age() const {
	return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started_);
}

Finished EasyRequest::finish(CURLcode code) {
	answer_.transfer = classify(code);
	if (code != CURLE_OK)
		answer_.error = words(code);
	long status = 0;
	curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
	answer_.status = static_cast<int>(status);
	answer_.duration = age();
	request_ = Request(); // lets go of the body
	return Finished {id_, std::move(answer_)};
}

Finished EasyRequest::cancel() {
	answer_ = Answer();
	answer_.transfer = went_out() ? Transfer::cancelled : Transfer::unsent;
	answer_.error = went_out() ? "it was under way, it may have been applied" : "cancelled before the request was sent";
	answer_.duration = age();
	request_ = Request();
	return Finished {id_, std::move(answer_)};
}

} // namespace courier::http
