// The libcurl engine against a server on loopback: how requests look on the wire, and what each way to fail is called.

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <netdb.h>

#include "core/error.hpp"
#include "http_test_client.hpp"
#include "http_test_server.hpp"

using namespace courier;
using namespace courier::test;
using namespace std::chrono_literals;

namespace {

Server::Script once(std::function<void(Connection &, const Arrived &)> then) {
	return [then](Connection &connection) {
		while (auto request = connection.read_request())
			then(connection, *request);
	};
}

int free_port() { // nobody listens there
	Server server(Server::always(200));
	return server.port;
}

std::string gzip_like(std::size_t size) {
	std::string text = "\x1f\x8b\x08";
	text.resize(size, '\0');
	return text;
}

} // namespace

TEST(HttpRequest, GoesOutAsItIs) {
	Server server(
	    Server::always(201, "{\"id\":7}", "X-Kind: A\r\nX-Fold: one\r\n two\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"));
	Driver driver;
	auto request = make_request(server.url("/v1/x?b=2&a"));
	request.headers = {
	    {"Content-Type", "application/json"}, {"X-Empty", ""}, {"X-Blank", "  "}, {"X-Two", "1"}, {"X-Two", "2"}};
	auto answer = driver.send(request);
	EXPECT_EQ(answer.transfer, Transfer::complete);
	EXPECT_EQ(answer.status, 201);
	EXPECT_EQ(answer.body, "{\"id\":7}");
	EXPECT_EQ(answer.error, "");
	EXPECT_GT(answer.duration.count(), 0);
	EXPECT_EQ(header_of(answer, "x-kind"), "A");
	EXPECT_EQ(header_of(answer, "x-fold"), "one two");
	EXPECT_EQ(
	    std::count_if(answer.headers.begin(), answer.headers.end(), [](auto &h) { return h.name == "set-cookie"; }), 2);

	auto arrived = server.arrived();
	ASSERT_EQ(arrived.size(), 1u);
	auto &it = arrived[0];
	EXPECT_EQ(it.method, "POST");
	EXPECT_EQ(it.target, "/v1/x?b=2&a");
	EXPECT_EQ(it.body, "{\"a\":1}");
	EXPECT_EQ(it.header("content-type"), "application/json");
	EXPECT_EQ(it.header("x-empty"), "");
	EXPECT_EQ(it.header("x-blank"), "");
	EXPECT_EQ(it.header("user-agent"), "pg_courier");
	EXPECT_EQ(it.header("expect"), std::nullopt);
	EXPECT_EQ(it.header("accept-encoding"), std::nullopt);
	EXPECT_NE(it.head.find("X-Two: 1\r\nX-Two: 2\r\n"), std::string::npos);
	EXPECT_NE(it.head.find(" HTTP/1.1\r\n"), std::string::npos);
}

TEST(HttpRequest, MethodsOnTheSameHandle) {
	Server server(Server::always(200));
	Driver driver;
	struct {
		const char *method, *body;
		std::optional<std::string> length;
	} cases[] = {
	    {"POST", "abc", "3"}, {"GET", "", {}},   {"PUT", "abcd", "4"}, {"DELETE", "", {}}, {"DELETE", "x", "1"},
	    {"PATCH", "", "0"},   {"POST", "", "0"}, {"GET", "q", "1"},    {"GET", "", {}},    {"OPTIONS", "", {}},
	};
	for (auto &c : cases) {
		EXPECT_EQ(driver.send(make_request(server.url(), c.method, c.body)).transfer, Transfer::complete);
		auto last = server.arrived().back();
		EXPECT_EQ(last.method, c.method);
		EXPECT_EQ(last.body, c.body);
		EXPECT_EQ(last.header("content-length"), c.length) << c.method << " with \"" << c.body << "\"";
		EXPECT_EQ(last.header("content-type"), std::nullopt); // no guess of libcurl's
		EXPECT_EQ(last.header("transfer-encoding"), std::nullopt);
	}
	EXPECT_EQ(server.connections(), 1);
}

TEST(HttpRequest, Head) {
	Server server(once([](Connection &connection, const Arrived &) {
		connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
	}));
	Driver driver;
	EXPECT_EQ(driver.send(make_request(server.url(), "HEAD", "")).transfer, Transfer::complete);
	EXPECT_EQ(server.arrived().at(0).method, "HEAD");
}

TEST(HttpRequest, PathAsItIs) {
	Server server(Server::always(200));
	Driver driver;
	driver.send(make_request(server.url("/a/../b/./c//%2e%2e/%2F?x=/../")));
	EXPECT_EQ(server.arrived().at(0).target, "/a/../b/./c//%2e%2e/%2F?x=/../");
}

TEST(HttpRequest, BinaryAndLargeBody) {
	Server server(Server::always(200));
	Driver driver;
	std::string body(3 << 20, 'x');
	body[1] = '\0';
	body[2] = '\r';
	EXPECT_EQ(driver.send(make_request(server.url(), "POST", body)).transfer, Transfer::complete);
	EXPECT_TRUE(server.arrived().at(0).body == body);
}

TEST(HttpRequest, ControlCharactersAreRefused) {
	Server server(Server::always(200));
	Driver driver;
	auto refused = [&](auto change) {
		auto request = make_request(server.url());
		change(request);
		try {
			driver.multi.start(99, request);
			ADD_FAILURE() << "was taken";
		} catch (const Error &error) {
			EXPECT_EQ(error.sqlstate, "22023");
			EXPECT_EQ(error.message.find("sesame"), std::string::npos) << "shows a value: " << error.message;
		}
	};
	refused([](Request &r) { r.headers = {{"X-A", "sesame\r\nX-B: 2"}}; });
	refused([](Request &r) { r.headers = {{"X-A", "sesame\n"}}; });
	refused([](Request &r) { r.headers = {{"X-A", std::string("a\0b", 3)}}; });
	refused([](Request &r) { r.headers = {{"X-A: 1\r\nX-B", "2"}}; });
	refused([](Request &r) { r.headers = {{"X A", "2"}}; });
	refused([](Request &r) { r.headers = {{"", "2"}}; });
	refused([](Request &r) { r.headers = {{"Content-Length", "2"}}; });
	refused([](Request &r) { r.headers = {{"transfer-encoding", "chunked"}}; });
	refused([](Request &r) { r.method = "GET / HTTP/1.1\r\nX: "; });
	refused([](Request &r) { r.method = ""; });
	refused([](Request &r) { r.url += "a\r\nX-B: 2"; });
	refused([](Request &r) { r.url += "a b"; });
	EXPECT_EQ(driver.multi.running(), 0u);
	EXPECT_TRUE(driver.multi.take_finished().empty());
	EXPECT_EQ(driver.send(make_request(server.url())).status, 200); // nothing is left behind
	EXPECT_EQ(server.arrived().size(), 1u);
}

TEST(HttpConnections, KeptAlive) {
	Server server(Server::always(200));
	Driver driver;
	for (int i = 0; i < 50; ++i)
		EXPECT_EQ(driver.send(make_request(server.url())).status, 200);
	EXPECT_EQ(server.connections(), 1);
	EXPECT_EQ(server.arrived().size(), 50u);
}

TEST(HttpConnections, SixtyFourAtOnceAndTheRestWaits) {
	std::mutex mutex;
	std::condition_variable all_here;
	int here = 0, most = 0;
	Server server(once([&](Connection &connection, const Arrived &) {
		std::unique_lock lock(mutex);
		most = std::max(most, ++here);
		all_here.notify_all();
		all_here.wait_for(lock, 5s, [&] { return most >= 64; });
		lock.unlock();
		std::this_thread::sleep_for(2ms);
		lock.lock();
		--here;
		lock.unlock();
		connection.answer(200);
	}));
	Driver driver;
	for (int i = 0; i < 300; ++i)
		driver.start(make_request(server.url("/" + std::to_string(i))));
	EXPECT_EQ(driver.multi.running(), 300u);
	EXPECT_TRUE(driver.run());
	EXPECT_EQ(driver.answers.size(), 300u);
	for (auto &[id, answer] : driver.answers)
		EXPECT_EQ(answer.status, 200);
	EXPECT_EQ(most, 64);
	EXPECT_LE(server.connections(), 64);
	EXPECT_EQ(server.arrived().size(), 300u);
}

TEST(HttpConnections, WaitingCostsNoTimeout) {
	Server server(once([](Connection &connection, const Arrived &) {
		std::this_thread::sleep_for(300ms);
		connection.answer(200);
	}));
	auto settings = loopback_settings();
	settings.max_host_connections = 1;
	Driver driver(std::move(settings));
	for (int i = 0; i < 4; ++i) {
		auto request = make_request(server.url());
		request.timeout = 800ms; // less than the four take together
		driver.start(request);
	}
	EXPECT_TRUE(driver.run());
	for (auto &[id, answer] : driver.answers)
		EXPECT_EQ(answer.transfer, Transfer::complete) << answer.error;
}

TEST(HttpConnections, IdleCloseByTheServer) {
	Server server([](Connection &connection) { // one answer, then closed without saying so
		if (connection.read_request())
			connection.answer(200);
	});
	Driver driver;
	for (int i = 0; i < 20; ++i) {
		EXPECT_EQ(driver.send(make_request(server.url())).transfer, Transfer::complete);
		std::this_thread::sleep_for(5ms); // the close has arrived: libcurl sees it before it sends
	}
	EXPECT_EQ(server.arrived().size(), 20u);
}

TEST(HttpConnections, WaitsWithoutSpinning) {
	Server server(once([](Connection &connection, const Arrived &) {
		std::this_thread::sleep_for(1s);
		connection.answer(200);
	}));
	Driver driver;
	EXPECT_EQ(driver.send(make_request(server.url())).status, 200);
	EXPECT_LT(driver.wakeups, 30);
	// and an idle connection that the server closes does not leave the descriptor readable for ever
	driver.multi.on_activity();
	pollfd waited {driver.multi.descriptor(), POLLIN, 0};
	EXPECT_EQ(poll(&waited, 1, 100), 0);
}

// A server that takes the first request of a connection, reads the second one, and closes without a word: the request
// may have been applied. libcurl by itself would send it again on a new connection.
class Resend : public testing::TestWithParam<std::pair<const char *, std::size_t>> {};

TEST_P(Resend, NotIdempotentArrivesOnce) {
	for (bool reset : {false, true}) {
		Server server([reset](Connection &connection) {
			if (!connection.read_request())
				return;
			connection.answer(200);
			if (connection.read_request() && reset)
				connection.reset();
		});
		Driver driver;
		auto [method, size] = GetParam();
		EXPECT_EQ(driver.send(make_request(server.url("/first"))).status, 200);
		auto second = make_request(server.url("/second"), method, std::string(size, 'x'));
		second.idempotent = false;
		auto answer = driver.send(second);
		EXPECT_EQ(answer.transfer, Transfer::lost) << answer.error;
		EXPECT_EQ(answer.status, 0);
		auto arrived = server.arrived();
		ASSERT_EQ(arrived.size(), 2u);
		EXPECT_EQ(arrived[0].connection, arrived[1].connection) << "the connection was to be used again";
		EXPECT_EQ(server.connections() <= 2, true); // a new one may be opened, but nothing is sent on it

		EXPECT_EQ(driver.send(make_request(server.url("/third"))).status, 200);
		EXPECT_EQ(server.arrived().size(), 3u);
	}
}

TEST_P(Resend, IdempotentIsRepeatedByLibcurl) {
	Server server([](Connection &connection) {
		if (!connection.read_request())
			return;
		connection.answer(200);
		connection.read_request();
	});
	Driver driver;
	auto [method, size] = GetParam();
	for (int i = 0; i < 12; ++i) { // more often than libcurl's own count of retries allows on one handle
		auto request = make_request(server.url(), method, std::string(size, 'x'));
		request.idempotent = true;
		auto answer = driver.send(request);
		EXPECT_EQ(answer.transfer, Transfer::complete) << answer.error;
	}
}

INSTANTIATE_TEST_SUITE_P(Methods, Resend,
                         testing::Values(std::pair {"POST", std::size_t(10)}, std::pair {"POST", std::size_t(0)},
                                         std::pair {"POST", std::size_t(200000)}, std::pair {"PUT", std::size_t(10)},
                                         std::pair {"PATCH", std::size_t(10)}, std::pair {"GET", std::size_t(0)},
                                         std::pair {"DELETE", std::size_t(0)}, std::pair {"DELETE", std::size_t(3)}));

TEST(HttpFailures, Refused) {
	Driver driver;
	auto answer = driver.send(make_request("http://127.0.0.1:" + std::to_string(free_port()) + "/"));
	EXPECT_EQ(answer.transfer, Transfer::refused);
	EXPECT_NE(answer.error, "");
}

TEST(HttpFailures, Unresolved) {
	Driver driver;
	auto request = make_request("http://does-not-exist.invalid/");
	auto answer = driver.send(request);
	EXPECT_EQ(answer.transfer, Transfer::unresolved) << answer.error;
}

TEST(HttpFailures, ConnectTimeoutIsRefused) {
	// A listener whose queue is full does not answer.
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sockaddr_in where {};
	where.sin_family = AF_INET;
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t length = sizeof where;
	ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr *>(&where), length), 0);
	ASSERT_EQ(listen(listener, 0), 0);
	getsockname(listener, reinterpret_cast<sockaddr *>(&where), &length);
	std::vector<int> fill;
	for (int i = 0; i < 4; ++i) {
		fill.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
		connect(fill.back(), reinterpret_cast<sockaddr *>(&where), length);
	}
	auto settings = loopback_settings();
	settings.connect_timeout = 300ms;
	Driver driver(std::move(settings));
	auto begin = std::chrono::steady_clock::now();
	auto answer = driver.send(make_request("http://127.0.0.1:" + std::to_string(ntohs(where.sin_port)) + "/"));
	EXPECT_EQ(answer.transfer, Transfer::refused) << answer.error;
	EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
	for (int fd : fill)
		close(fd);
	close(listener);
}

TEST(HttpFailures, TimeoutIsLost) {
	Server server(once([](Connection &connection, const Arrived &) {
		for (int i = 0; i < 100 && !connection.broken(); ++i)
			std::this_thread::sleep_for(10ms);
	}));
	Driver driver;
	auto request = make_request(server.url());
	request.timeout = 200ms;
	auto answer = driver.send(request);
	EXPECT_EQ(answer.transfer, Transfer::lost) << answer.error;
	EXPECT_EQ(server.arrived().size(), 1u);
}

TEST(HttpFailures, TrickleEndsWithTheTimeout) {
	Server server(once([](Connection &connection, const Arrived &) {
		connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
		for (int i = 0; i < 500 && !connection.broken(); ++i) {
			connection.send("x");
			std::this_thread::sleep_for(10ms);
		}
	}));
	Driver driver;
	auto request = make_request(server.url());
	request.timeout = 400ms;
	auto answer = driver.send(request);
	EXPECT_EQ(answer.transfer, Transfer::lost);
	EXPECT_EQ(answer.status, 200); // a status alone is no success
}

TEST(HttpFailures, SlowButHonestIsComplete) {
	Server server(once([](Connection &connection, const Arrived &) {
		std::this_thread::sleep_for(2500ms);
		connection.answer(200, "late");
	}));
	Driver driver;
	EXPECT_EQ(driver.send(make_request(server.url())).body, "late");
}

TEST(HttpFailures, CutBodyIsLost) {
	for (std::string head : {"Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"})
		for (bool reset : {false, true}) {
			Server server([&](Connection &connection) {
				connection.read_request();
				connection.send("HTTP/1.1 200 OK\r\n" + head);
				std::this_thread::sleep_for(20ms);
				if (reset)
					connection.reset();
			});
			Driver driver;
			auto answer = driver.send(make_request(server.url()));
			EXPECT_EQ(answer.transfer, Transfer::lost);
			EXPECT_EQ(answer.status, 200);
		}
}

TEST(HttpFailures, NothingBackIsLost) {
	for (bool reset : {false, true})
		for (bool idempotent : {false, true}) {
			Server server([&](Connection &connection) {
				connection.read_request();
				if (reset)
					connection.reset();
			});
			Driver driver;
			auto request = make_request(server.url());
			request.idempotent = idempotent;
			EXPECT_EQ(driver.send(request).transfer, Transfer::lost);
			EXPECT_EQ(server.arrived().size(), 1u);
		}
}

TEST(HttpFailures, NotHttp) {
	for (std::string text :
	     {"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\nabc"}) {
		Server server([&](Connection &connection) {
			connection.read_request();
			connection.send(text);
		});
		Driver driver;
		EXPECT_EQ(driver.send(make_request(server.url())).transfer, Transfer::lost) << text;
	}
}

TEST(HttpFailures, TooLarge) {
	auto settings = [] {
		auto settings = loopback_settings();
		settings.max_body = 1 << 20;
		return settings;
	};
	{ // announced: given up before any of it comes
		Server server(once([](Connection &connection, const Arrived &) {
			connection.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
			connection.send(std::string(1000, 'x'));
			std::this_thread::sleep_for(100ms);
		}));
		Driver driver(settings());
		auto answer = driver.send(make_request(server.url()));
		EXPECT_EQ(answer.transfer, Transfer::too_large) << answer.error;
		EXPECT_EQ(answer.status, 200);
	}
	{ // not announced
		Server server(once([](Connection &connection, const Arrived &) {
			connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
			for (int i = 0; i < 1000 && !connection.broken(); ++i)
				connection.send("10000\r\n" + std::string(65536, 'x') + "\r\n");
		}));
		Driver driver(settings());
		auto answer = driver.send(make_request(server.url()));
		EXPECT_EQ(answer.transfer, Transfer::too_large) << answer.error;
		EXPECT_LE(answer.body.size(), 1u << 20);
	}
	{ // exactly as much as is allowed
		Server server(Server::always(200, std::string(1 << 20, 'x')));
		Driver driver(settings());
		EXPECT_EQ(driver.send(make_request(server.url())).body.size(), 1u << 20);
	}
	for (std::string line : {std::string(200000, 'x'), std::string(50, 'x')}) { // headers: one long, many short
		Server server(once([&](Connection &connection, const Arrived &) {
			connection.send("HTTP/1.1 200 OK\r\n");
			for (int i = 0; i < 20000 && !connection.broken(); ++i)
				connection.send("X-Header: " + line + "\r\n");
		}));
		Driver driver;
		EXPECT_EQ(driver.send(make_request(server.url())).transfer, Transfer::too_large);
	}
	{ // informational answers without end
		Server server(once([](Connection &connection, const Arrived &) {
			for (int i = 0; i < 200000 && !connection.broken(); ++i)
				connection.send("HTTP/1.1 100 Continue\r\n\r\n");
		}));
		Driver driver;
		EXPECT_EQ(driver.send(make_request(server.url())).transfer, Transfer::too_large);
	}
}

TEST(HttpAnswer, CompressedStaysAsItCame) {
	auto bomb = gzip_like(100000);
	Server server(Server::always(200, bomb, "Content-Encoding: gzip\r\n"));
	Driver driver;
	auto answer = driver.send(make_request(server.url()));
	EXPECT_EQ(answer.transfer, Transfer::complete);
	EXPECT_TRUE(answer.body == bomb);
}

TEST(HttpAnswer, TrailersAndInformationalHeadersAreNotHeaders) {
	Server server(once([](Connection &connection, const Arrived &) {
		connection.send(
		    "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-Real: 1\r\nTrailer: X-Late\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n");
	}));
	Driver driver;
	auto answer = driver.send(make_request(server.url()));
	EXPECT_EQ(answer.body, "ok");
	EXPECT_EQ(header_of(answer, "x-real"), "1");
	EXPECT_EQ(header_of(answer, "x-early"), "");
	EXPECT_EQ(header_of(answer, "x-late"), "");
}

TEST(HttpAnswer, RedirectIsNotFollowed) {
	Server other(Server::always(200));
	Server server(Server::always(302, "", "Location: " + other.url("/stolen") + "\r\n"));
	Driver driver;
	auto answer = driver.send(make_request(server.url()));
	EXPECT_EQ(answer.transfer, Transfer::complete);
	EXPECT_EQ(answer.status, 302);
	EXPECT_EQ(header_of(answer, "location"), other.url("/stolen"));
	EXPECT_EQ(other.connections(), 0);
}

TEST(HttpAnswer, ProxyOfTheEnvironmentIsIgnored) {
	Server proxy(Server::always(200, "from the proxy"));
	Server server(Server::always(200, "from the server"));
	auto address = "http://127.0.0.1:" + std::to_string(proxy.port);
	for (auto name : {"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"})
		setenv(name, address.c_str(), 1);
	Driver driver;
	EXPECT_EQ(driver.send(make_request(server.url())).body, "from the server");
	EXPECT_EQ(proxy.connections(), 0);
	for (auto name : {"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"})
		unsetenv(name);
}

TEST(HttpBlocked, AddressesThatAreNotListed) {
	Server server(Server::always(200));
	auto port = ":" + std::to_string(server.port) + "/";
	for (std::string host :
	     {"127.0.0.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "localhost", "[::ffff:127.0.0.1]", "[::1]",
	      "[::127.0.0.1]", "0.0.0.0", "0", "[::]", "169.254.169.254", "[64:ff9b::7f00:1]"}) {
		Driver driver {http::MultiSettings {}};
		auto answer = driver.send(make_request("http://" + host + port));
		EXPECT_EQ(answer.transfer, Transfer::blocked) << host << ": " << answer.error;
		EXPECT_NE(answer.error.find("not among the allowed addresses"), std::string::npos) << answer.error;
	}
	EXPECT_EQ(server.connections(), 0);
}

TEST(HttpBlocked, ListedAddressesByEveryName) {
	Server server(Server::always(200));
	auto port = ":" + std::to_string(server.port) + "/";
	for (std::string host : {"127.0.0.1", "0x7f.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"}) {
		Driver driver;
		EXPECT_EQ(driver.send(make_request("http://" + host + port)).status, 200) << host;
	}
}

TEST(HttpBlocked, OneListedAddressOfSeveralIsEnough) {
	addrinfo hints {}, *found = nullptr;
	hints.ai_socktype = SOCK_STREAM;
	bool v6 = false;
	if (getaddrinfo("localhost", nullptr, &hints, &found) == 0) {
		for (auto one = found; one; one = one->ai_next)
			v6 = v6 || one->ai_family == AF_INET6;
		freeaddrinfo(found);
	}
	if (!v6)
		GTEST_SKIP() << "localhost has no IPv6 address here";
	Server server(Server::always(200));
	http::MultiSettings settings;
	settings.filter = http::AddressFilter("127.0.0.1"); // not ::1
	Driver driver(std::move(settings));
	EXPECT_EQ(driver.send(make_request("http://localhost:" + std::to_string(server.port) + "/")).status, 200);
	// Not blocked but refused when the one that may be tried does not answer.
	http::MultiSettings again;
	again.filter = http::AddressFilter("127.0.0.1");
	Driver second(std::move(again));
	auto url = "http://localhost:" + std::to_string(free_port()) + "/";
	EXPECT_EQ(second.send(make_request(url)).transfer, Transfer::refused);
}

TEST(HttpBlocked, OtherSchemes) {
	Driver driver;
	for (std::string url : {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "dict://127.0.0.1/",
	                        "http://user:password@127.0.0.1/", "http:///"})
		EXPECT_EQ(driver.send(make_request(url, "GET", "")).transfer, Transfer::blocked) << url;
}

TEST(HttpCancel, EndsAll) {
	Server server(once([](Connection &connection, const Arrived &) {
		for (int i = 0; i < 200 && !connection.broken(); ++i)
			std::this_thread::sleep_for(10ms);
	}));
	auto settings = loopback_settings();
	settings.max_host_connections = 2;
	Driver driver(std::move(settings));
	for (int i = 0; i < 5; ++i)
		driver.start(make_request(server.url()));
	driver.run(200ms);
	EXPECT_EQ(driver.multi.running(), 5u);
	driver.multi.cancel_all();
	EXPECT_EQ(driver.multi.running(), 0u);
	driver.collect();
	EXPECT_EQ(driver.answers.size(), 5u);
	int under_way = 0;
	for (auto &[id, answer] : driver.answers) {
		EXPECT_TRUE(answer.transfer == Transfer::cancelled || answer.transfer == Transfer::unsent);
		under_way += answer.transfer == Transfer::cancelled;
	}
	EXPECT_EQ(under_way, 2);

	Server next(Server::always(200));
	EXPECT_EQ(driver.send(make_request(next.url())).status, 200); // it goes on
}

TEST(HttpCancel, DestroyedWhileRunning) {
	Server server(once([](Connection &, const Arrived &) { std::this_thread::sleep_for(300ms); }));
	Driver driver;
	for (int i = 0; i < 10; ++i)
		driver.start(make_request(server.url()));
	driver.start(make_request("http://slow-name.invalid/"));
	driver.run(50ms);
}

TEST(HttpCancel, LeavesNoDescriptor) {
	auto count = [] {
		auto folder = std::filesystem::directory_iterator("/proc/self/fd");
		return std::distance(begin(folder), end(folder));
	};
	Server server(Server::always(200));
	{ Driver warm_up; }      // what libcurl opens once
	auto client_side = [&] { // of the descriptors here, those of the server's threads close a moment later
		for (int i = 0; i < 100; ++i) {
			Driver driver;
			for (int k = 0; k < 5; ++k)
				driver.start(make_request(server.url()));
			if (i % 2 == 0)
				driver.run();
			else
				driver.multi.on_activity();
		}
	};
	auto before = count();
	client_side();
	auto after = count();
	for (int i = 0; i < 200 && (after = count()) > before + 2; ++i)
		std::this_thread::sleep_for(10ms);
	EXPECT_LE(after, before + 2);
}

TEST(HttpSignals, BlockedInResolverThreadsAndNowhereElse) {
	auto threads = [] {
		std::vector<std::string> found;
		for (auto &entry : std::filesystem::directory_iterator("/proc/self/task"))
			found.push_back(entry.path().filename());
		return found;
	};
	Driver driver;
	sigset_t before, after;
	pthread_sigmask(SIG_SETMASK, nullptr, &before);
	auto known = threads();
	int seen = 0;
	for (int i = 0; i < 50 && seen < 3; ++i) {
		driver.start(make_request("http://no-such-name-" + std::to_string(i) + ".invalid/"));
		driver.multi.on_activity();
		for (auto &thread : threads()) {
			if (std::find(known.begin(), known.end(), thread) != known.end())
				continue;
			std::ifstream status("/proc/self/task/" + thread + "/status");
			for (std::string line; std::getline(status, line);)
				if (line.starts_with("SigBlk:")) {
					auto mask = std::stoull(line.substr(7), nullptr, 16);
					for (int signal : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD})
						EXPECT_TRUE(mask >> (signal - 1) & 1) << signal;
					++seen;
				}
		}
		driver.run();
	}
	pthread_sigmask(SIG_SETMASK, nullptr, &after);
	for (int signal = 1; signal < 32; ++signal)
		EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
	if (seen == 0)
		GTEST_SKIP() << "no thread lived long enough to be looked at";
}
