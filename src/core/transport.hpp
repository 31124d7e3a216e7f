#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace courier {

struct Header {
	std::string name;
	std::string value;
};

struct Request {
	std::string method = "POST";
	std::string url;
	std::vector<Header> headers;
	std::string body;
	std::string plain; // the body before it was compressed, for limits and logs; empty: it is not
	std::chrono::milliseconds timeout {30000};
	const std::string &plain_body() const { return plain.empty() ? body : plain; }
	bool idempotent = false; // may be sent again when the reply was lost (also: libcurl may resend on a dead connection)
};

// How the exchange ended, before anybody looks at the status. Success is `complete` and a status, never the status alone.
enum class Transfer {
	complete,   // a whole answer arrived
	unresolved, // the name did not resolve
	refused,    // no connection (refused, unreachable, connect timeout)
	tls,        // certificate or handshake failure; nothing was sent
	blocked,    // pg_courier.allow_addresses forbids the resolved address, or the URL is not http(s)
	unsent,     // the connection failed before the request was sent
	lost,       // the request went out, wholly or in part, and no whole answer came back (reset, timeout, cut body)
	too_large,  // the answer is over the cap (16 MB)
	cancelled   // by us, when it was under way already
};

struct Answer {
	Transfer transfer = Transfer::complete;
	int status = 0;
	std::vector<Header> headers; // names lower-cased
	std::string body;            // at most the cap; bytes as they came, not checked for encoding
	std::chrono::microseconds duration {0};
	std::string error; // libcurl's words when transfer is not complete
};

struct Finished {
	std::uint64_t id = 0;
	Answer answer;
};

// Carries requests. The real one is http::Multi over libcurl; unit tests of delivery use a fake.
class Transport {
public:
	virtual ~Transport() = default;
	virtual void start(std::uint64_t id, Request request) = 0;
	virtual std::vector<Finished> take_finished() = 0;
	virtual std::size_t running() const = 0;
	virtual void cancel_all() = 0; // every running transfer ends in take_finished(), as Transfer::cancelled, or unsent
};

} // namespace courier
