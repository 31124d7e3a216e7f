#pragma once

// A scripted HTTP server for tests: real sockets on loopback, one thread per connection, and a script (a function) that
// each connection runs. It notes every request that arrived, whatever the script does afterwards.

#include <arpa/inet.h>
#include <atomic>
#include <cstring>
#include <functional>
#include <list>
#include <mutex>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace courier::test {

struct Arrived {
	int connection = 0; // 1, 2, ...
	std::string method, target;
	std::string head; // request line and headers as they came
	std::string body;

	// The value of a header; nullopt: not there. Names are compared without case.
	std::optional<std::string> header(std::string_view name) const {
		for (std::size_t at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size();
		     at = head.find("\r\n", at + 2)) {
			auto line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
			auto colon = line.find(':');
			if (colon == name.size() && strncasecmp(line.c_str(), name.data(), name.size()) == 0) {
				auto value = line.find_first_not_of(' ', colon + 1);
				return value == std::string::npos ? std::string() : line.substr(value);
			}
		}
		return std::nullopt;
	}
};

struct ServerTls {
	std::string certificate, key; // files
	std::string client_ca;        // file; not empty: a client certificate is demanded
};

class Server;

class Connection {
public:
	Connection(Server &server, int fd, int number, SSL *ssl) : number(number), server_(server), fd_(fd), ssl_(ssl) {}
	~Connection() { close(); }

	const int number;

	std::optional<Arrived> read_request(); // nullopt: the client closed
	std::optional<Arrived> read_head();    // leaves the body unread
	void send(std::string_view text) {
		while (!text.empty() && fd_ >= 0) {
			auto n = ssl_ ? SSL_write(ssl_, text.data(), static_cast<int>(text.size()))
			              : static_cast<int>(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL));
			if (n <= 0) {
				broken_ = true;
				return;
			}
			text.remove_prefix(static_cast<std::size_t>(n));
		}
	}
	void answer(int status, std::string_view body = "", std::string_view headers = "") {
		send("HTTP/1.1 " + std::to_string(status) + " Text\r\n" + std::string(headers) +
		     "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
	}
	bool broken() const { return broken_; }
	void reset() { // RST instead of FIN
		linger now {1, 0};
		setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		::close(fd_);
		forget();
	}
	void close() {
		if (fd_ < 0)
			return;
		if (ssl_)
			SSL_shutdown(ssl_);
		::shutdown(fd_, SHUT_WR);
		::close(fd_);
		forget();
	}

private:
	bool fill() {
		char piece[65536];
		auto n = ssl_ ? SSL_read(ssl_, piece, sizeof piece) : static_cast<int>(recv(fd_, piece, sizeof piece, 0));
		if (n <= 0)
			return false;
		buffer_.append(piece, static_cast<std::size_t>(n));
		return true;
	}
	void forget() {
		if (ssl_)
			SSL_free(ssl_);
		ssl_ = nullptr;
		fd_ = -1;
	}

	Server &server_;
	std::atomic<int> fd_; // the server looks at it when it stops
	SSL *ssl_;
	std::string buffer_;
	bool broken_ = false;
	friend class Server;
};

class Server {
public:
	using Script = std::function<void(Connection &)>;

	explicit Server(Script script, std::optional<ServerTls> tls = {}, const char *address = "127.0.0.1")
	    : script_(std::move(script)) {
		if (tls)
			set_up_tls(*tls);
		bool v6 = std::strchr(address, ':');
		listener_ = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int on = 1;
		setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		sockaddr_storage where {};
		socklen_t length = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
		where.ss_family = v6 ? AF_INET6 : AF_INET;
		if (v6)
			inet_pton(AF_INET6, address, &reinterpret_cast<sockaddr_in6 &>(where).sin6_addr);
		else
			inet_pton(AF_INET, address, &reinterpret_cast<sockaddr_in &>(where).sin_addr);
		if (bind(listener_, reinterpret_cast<sockaddr *>(&where), length) != 0 || listen(listener_, 256) != 0)
			throw std::runtime_error(std::string("cannot listen: ") + std::strerror(errno));
		getsockname(listener_, reinterpret_cast<sockaddr *>(&where), &length);
		port = ntohs(v6 ? reinterpret_cast<sockaddr_in6 &>(where).sin6_port
		                : reinterpret_cast<sockaddr_in &>(where).sin_port);
		acceptor_ = std::thread([this] { accept_all(); });
	}
	// Answers every request of every connection like this.
	static Script always(int status, std::string body = "{}", std::string headers = "") {
		return [=](Connection &connection) {
			while (connection.read_request())
				connection.answer(status, body, headers);
		};
	}

	~Server() {
		stopping_ = true;
		::shutdown(listener_, SHUT_RDWR);
		acceptor_.join();
		::close(listener_);
		{
			std::lock_guard lock(mutex_);
			for (auto connection : open_)
				if (connection->fd_ >= 0)
					::shutdown(connection->fd_, SHUT_RDWR);
		}
		for (auto &thread : threads_)
			thread.join();
		if (tls_)
			SSL_CTX_free(tls_);
	}

	int port = 0;
	std::string url(std::string_view path = "/") const {
		return (tls_ ? "https" : "http") + ("://127.0.0.1:" + std::to_string(port)) + std::string(path);
	}
	std::vector<Arrived> arrived() const {
		std::lock_guard lock(mutex_);
		return arrived_;
	}
	int connections() const { return connections_; }
	bool stopping() const { return stopping_; }
	void note(Arrived request) {
		std::lock_guard lock(mutex_);
		arrived_.push_back(std::move(request));
	}

private:
	void set_up_tls(const ServerTls &tls) {
		tls_ = SSL_CTX_new(TLS_server_method());
		if (SSL_CTX_use_certificate_chain_file(tls_, tls.certificate.c_str()) != 1 ||
		    SSL_CTX_use_PrivateKey_file(tls_, tls.key.c_str(), SSL_FILETYPE_PEM) != 1)
			throw std::runtime_error("the server's certificate cannot be read");
		if (!tls.client_ca.empty()) {
			SSL_CTX_load_verify_locations(tls_, tls.client_ca.c_str(), nullptr);
			SSL_CTX_set_verify(tls_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
		}
	}

	void accept_all() {
		while (true) {
			int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
			if (fd < 0)
				return;
			int number = ++connections_;
			threads_.emplace_back([this, fd, number] { serve(fd, number); });
		}
	}

	void serve(int fd, int number) {
		SSL *ssl = nullptr;
		if (tls_) {
			ssl = SSL_new(tls_);
			SSL_set_fd(ssl, fd);
			if (SSL_accept(ssl) != 1) {
				// Read what the client still says, so that our alert is not lost to a reset.
				::shutdown(fd, SHUT_WR);
				char rest[4096];
				while (recv(fd, rest, sizeof rest, 0) > 0) {
				}
				SSL_free(ssl);
				::close(fd);
				return;
			}
		}
		Connection connection(*this, fd, number, ssl);
		{
			std::lock_guard lock(mutex_);
			if (stopping_)
				return;
			open_.push_back(&connection);
		}
		script_(connection);
		std::lock_guard lock(mutex_); // the destructor of Server may look at it until it is off the list
		open_.remove(&connection);
		connection.close();
	}

	Script script_;
	SSL_CTX *tls_ = nullptr;
	int listener_ = -1;
	std::atomic<bool> stopping_ {false};
	std::atomic<int> connections_ {0};
	std::thread acceptor_;
	std::list<std::thread> threads_;
	mutable std::mutex mutex_;
	std::list<Connection *> open_;
	std::vector<Arrived> arrived_;
};

inline std::optional<Arrived> Connection::read_head() {
	std::size_t end;
	while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
		if (!fill())
			return std::nullopt;
	Arrived request;
	request.connection = number;
	request.head = buffer_.substr(0, end + 2);
	buffer_.erase(0, end + 4);
	auto first = request.head.find(' '), second = request.head.find(' ', first + 1);
	request.method = request.head.substr(0, first);
	request.target = request.head.substr(first + 1, second - first - 1);
	return request;
}

inline std::optional<Arrived> Connection::read_request() {
	auto request = read_head();
	if (!request)
		return std::nullopt;
	std::size_t length = 0;
	if (auto value = request->header("content-length"))
		length = std::stoul(*value);
	while (buffer_.size() < length)
		if (!fill())
			return std::nullopt;
	request->body = buffer_.substr(0, length);
	buffer_.erase(0, length);
	server_.note(*request);
	return request;
}

} // namespace courier::test
