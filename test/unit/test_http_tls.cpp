// Certificates: made with the openssl command, checked by libcurl against a TLS server on loopback.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "http_test_client.hpp"
#include "http_test_server.hpp"

using namespace courier;
using namespace courier::test;
using namespace std::chrono_literals;

namespace {

class HttpTls : public testing::Test {
protected:
	static inline std::filesystem::path folder;

	static void run(const std::string &command) {
		auto whole = "cd '" + folder.string() + "' && " + command + " >>log 2>&1";
		ASSERT_EQ(std::system(whole.c_str()), 0) << command;
	}

	static void leaf(const std::string &name, const std::string &ca, const std::string &extension) {
		run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout " + name + ".key -out " +
		    name + ".csr -subj /CN=" + name);
		std::ofstream(folder / (name + ".ext")) << extension << "\n";
		run("openssl x509 -req -in " + name + ".csr -CA " + ca + ".crt -CAkey " + ca +
		    ".key -CAcreateserial -days 2 -extfile " + name + ".ext -out " + name + ".crt");
	}

	static void authority(const std::string &name) {
		run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout " + name +
		    ".key -out " + name + ".crt -subj /CN=" + name);
	}

	static void SetUpTestSuite() {
		char name[] = "/tmp/courier_tls_XXXXXX";
		ASSERT_NE(mkdtemp(name), nullptr);
		folder = name;
		authority("ca");
		authority("other_ca");
		leaf("good", "ca", "subjectAltName=IP:127.0.0.1,DNS:localhost");
		leaf("wrong_host", "ca", "subjectAltName=DNS:api.example.com");
		leaf("client", "ca", "extendedKeyUsage=clientAuth");
		leaf("other_client", "other_ca", "extendedKeyUsage=clientAuth");
	}
	static void TearDownTestSuite() { std::filesystem::remove_all(folder); }

	static std::string file(const std::string &name) { return (folder / name).string(); }
	static std::string text(const std::string &name) {
		std::ostringstream out;
		out << std::ifstream(file(name)).rdbuf();
		return out.str();
	}
	static ServerTls certificate(const std::string &name, const std::string &client_ca = "") {
		return {file(name + ".crt"), file(name + ".key"), client_ca.empty() ? "" : file(client_ca + ".crt")};
	}
	static http::MultiSettings with(const std::string &ca, const std::string &client = "") {
		auto settings = loopback_settings();
		if (!ca.empty())
			settings.tls.ca_pem = text(ca + ".crt");
		if (!client.empty()) {
			settings.tls.client_certificate_pem = text(client + ".crt");
			settings.tls.client_key_pem = text(client + ".key");
		}
		return settings;
	}
	static Answer send(const Server &server, http::MultiSettings settings) {
		Driver driver(std::move(settings));
		return driver.send(make_request(server.url()));
	}
};

} // namespace

TEST_F(HttpTls, PrivateAuthority) {
	Server server(Server::always(200), certificate("good"));
	EXPECT_EQ(send(server, with("")).transfer, Transfer::tls); // unknown to the system
	EXPECT_EQ(send(server, with("other_ca")).transfer, Transfer::tls);
	EXPECT_EQ(server.arrived().size(), 0u);
	auto answer = send(server, with("ca"));
	EXPECT_EQ(answer.transfer, Transfer::complete) << answer.error;
	EXPECT_EQ(answer.status, 200);
	Driver driver(with("ca"));
	EXPECT_EQ(driver.send(make_request("https://localhost:" + std::to_string(server.port) + "/")).status, 200);
}

TEST_F(HttpTls, SelfSigned) {
	Server server(Server::always(200), certificate("ca"));
	EXPECT_EQ(send(server, with("")).transfer, Transfer::tls);
	EXPECT_EQ(server.arrived().size(), 0u);
}

TEST_F(HttpTls, WrongHost) {
	Server server(Server::always(200), certificate("wrong_host"));
	EXPECT_EQ(send(server, with("ca")).transfer, Transfer::tls);
	EXPECT_EQ(server.arrived().size(), 0u);
}

TEST_F(HttpTls, ClientCertificate) {
	Server server(Server::always(200), certificate("good", "ca"));
	for (int i = 0; i < 5; ++i) {
		auto without = send(server, with("ca"));
		EXPECT_EQ(without.transfer, Transfer::tls) << without.error;
		auto wrong = send(server, with("ca", "other_client"));
		EXPECT_EQ(wrong.transfer, Transfer::tls) << wrong.error;
	}
	EXPECT_EQ(server.arrived().size(), 0u);
	auto right = send(server, with("ca", "client"));
	EXPECT_EQ(right.transfer, Transfer::complete) << right.error;
}

TEST_F(HttpTls, UnusableSettings) {
	Server server(Server::always(200), certificate("good"));
	auto settings = with("ca");
	settings.tls.ca_pem = "not a certificate";
	EXPECT_EQ(send(server, settings).transfer, Transfer::tls);
	settings = with("ca", "client");
	settings.tls.client_certificate_pem = "not a certificate";
	EXPECT_EQ(send(server, settings).transfer, Transfer::tls);
	settings = with("ca", "client");
	settings.tls.client_key_pem = text("other_client.key"); // not the certificate's
	EXPECT_EQ(send(server, settings).transfer, Transfer::tls);
	EXPECT_EQ(server.arrived().size(), 0u);
}

TEST_F(HttpTls, PlainServer) {
	Server server([](Connection &connection) {
		connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
		std::this_thread::sleep_for(50ms);
	});
	Driver driver(with("ca"));
	auto answer = driver.send(make_request("https://127.0.0.1:" + std::to_string(server.port) + "/"));
	EXPECT_EQ(answer.transfer, Transfer::tls) << answer.error;
}

TEST_F(HttpTls, HandshakeThatNeverEnds) {
	for (bool reset : {false, true})
		for (bool listens : {false, true}) { // reads the hello and says nothing until the client gives up
			Server server([=](Connection &connection) {
				if (listens)
					connection.read_head();
				if (reset)
					connection.reset();
			});
			Driver driver(with("ca"));
			auto request = make_request("https://127.0.0.1:" + std::to_string(server.port) + "/");
			request.timeout = 500ms;
			auto answer = driver.send(request);
			EXPECT_EQ(answer.transfer, listens ? Transfer::refused : Transfer::unsent) << answer.error;
		}
}

TEST_F(HttpTls, KeptAliveAndNotIdempotentArrivesOnce) {
	for (std::size_t size : {10u, 100000u}) {
		Server server(
		    [](Connection &connection) {
			    if (!connection.read_request())
				    return;
			    connection.answer(200);
			    connection.read_request();
		    },
		    certificate("good"));
		Driver driver(with("ca"));
		EXPECT_EQ(driver.send(make_request(server.url())).status, 200);
		auto second = driver.send(make_request(server.url(), "POST", std::string(size, 'x')));
		EXPECT_EQ(second.transfer, Transfer::lost) << second.error;
		auto arrived = server.arrived();
		ASSERT_EQ(arrived.size(), 2u);
		EXPECT_EQ(arrived[1].connection, 1);
	}
}
