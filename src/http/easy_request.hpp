#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <curl/curl.h>
#include <memory>
#include <string>

#include "core/transport.hpp"
#include "http/address_filter.hpp"

namespace courier::http {

// PEM texts; empty: not set. A private CA replaces the system's authorities (put both into it where both are wanted):
// who pins a CA does not want any public one to be able to speak for the host. Verification is never off.
struct TlsSettings {
	std::string ca_pem;
	std::string client_certificate_pem; // the certificate, then its chain
	std::string client_key_pem;
};

struct MultiSettings {
	AddressFilter filter;
	TlsSettings tls;
	// Also how many transfers run at a time; more wait inside Multi, without their clocks running.
	std::size_t max_host_connections = 64;
	std::size_t max_body = 16 << 20;     // of an answer
	std::size_t max_headers = 256 << 10; // of an answer, informational ones and trailers included
	std::chrono::milliseconds connect_timeout {5000};
	std::string user_agent = "pg_courier";
};

// Told about sockets, so that the event loop knows which descriptors are its own. No exceptions: libcurl is the caller.
class SocketOwner {
public:
	virtual curl_socket_t open_socket(int family, int type, int protocol) noexcept = 0; // CURL_SOCKET_BAD: failed
	virtual void close_socket(curl_socket_t socket) noexcept = 0;

protected:
	~SocketOwner() = default;
};

// One libcurl easy handle and the request it carries. Handles are pooled: what is the same for every request is set
// once.
class EasyRequest {
public:
	EasyRequest(const MultiSettings &settings, SocketOwner &sockets); // both outlive it
	EasyRequest(const EasyRequest &) = delete;
	EasyRequest &operator=(const EasyRequest &) = delete;

	void prepare(std::uint64_t id, Request request); // then add handle() to a multi handle
	Finished finish(CURLcode code);                  // after it was taken out again
	Finished cancel();                               // likewise
	// False after a transfer that left libcurl's retry counter in the handle: make a new one.
	bool reusable() const { return sends_ <= 1; }

	CURL *handle() const { return easy_.get(); }
	std::size_t slot = 0; // the multi's own note: where it is in its list

	// Error 22023 when the request must not go out as it is (control characters in a header, ...).
	static void check(const Request &request);

private:
	void set_method();
	void set_headers();
	Transfer classify(CURLcode code) const;
	bool went_out() const;
	std::string words(CURLcode code) const;
	std::chrono::microseconds age() const;

	std::size_t take_header(std::string_view line);
	std::size_t take_body(std::string_view piece);

	static std::size_t on_header(char *data, std::size_t size, std::size_t count, void *self) noexcept;
	static std::size_t on_body(char *data, std::size_t size, std::size_t count, void *self) noexcept;
	static curl_socket_t on_open(void *self, curlsocktype purpose, curl_sockaddr *address) noexcept;
	static int on_close(void *owner, curl_socket_t socket) noexcept;
	static int on_send(void *self, char *, char *, int, int) noexcept;

	struct EasyCleanup {
		void operator()(CURL *easy) const noexcept { curl_easy_cleanup(easy); }
	};
	struct ListCleanup {
		void operator()(curl_slist *list) const noexcept { curl_slist_free_all(list); }
	};

	const MultiSettings &settings_;
	SocketOwner &sockets_;
	std::uint64_t id_ = 0;
	Request request_;
	Answer answer_;
	std::chrono::steady_clock::time_point started_;
	std::size_t header_bytes_ = 0;
	bool in_body_ = false;  // headers that come now are trailers
	bool over_cap_ = false; // we gave up on an answer that is too large
	bool no_memory_ = false;
	bool secure_ = false; // https
	int sends_ = 0;       // how often libcurl was about to send the request
	bool resend_refused_ = false;
	int addresses_tried_ = 0; // allowed ones
	std::string blocked_;     // the last address that the filter refused
	std::string socket_error_;
	std::unique_ptr<curl_slist, ListCleanup> headers_; // before easy_: it must live longer
	char error_[CURL_ERROR_SIZE] = {};
	std::unique_ptr<CURL, EasyCleanup> easy_;
};

} // namespace courier::http
