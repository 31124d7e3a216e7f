// An HTTP server that answers every request after a while: slow_server PORT MILLISECONDS. 0: never.
// All waits are equally long, so answers are due in the order in which requests came. One thread, a few microseconds a request: it
// shares the machine with what is measured.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <string>
#include <unordered_map>

using Clock = std::chrono::steady_clock;

namespace {

const std::string answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

struct Connection {
	std::uint64_t number = 0; // a descriptor is given again, a number is not
	std::string buffer;
};

struct Due {
	Clock::time_point at;
	int descriptor;
	std::uint64_t number;
};

// How long the request at the beginning of the buffer is; 0: not all of it is there.
std::size_t request_length(const std::string &buffer) {
	const std::size_t end = buffer.find("\r\n\r\n");
	if (end == std::string::npos)
		return 0;
	std::size_t body = 0;
	for (std::size_t line = buffer.find("\r\n"); line < end; line = buffer.find("\r\n", line + 2))
		if (strncasecmp(buffer.c_str() + line + 2, "content-length:", 15) == 0)
			body = std::strtoul(buffer.c_str() + line + 17, nullptr, 10);
	return buffer.size() >= end + 4 + body ? end + 4 + body : 0;
}

} // namespace

int main(int count, char **arguments) {
	if (count != 3)
		return 2;
	const auto delay = std::chrono::milliseconds(std::atoi(arguments[2]));
	const int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	sockaddr_in address {};
	address.sin_family = AF_INET;
	address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(arguments[1])));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 || listen(listener, 1024) != 0)
		return 1;
	const int epoll = epoll_create1(0);
	auto watch = [&](int descriptor) {
		epoll_event event {EPOLLIN, {}};
		event.data.fd = descriptor;
		epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
	};
	watch(listener);
	std::unordered_map<int, Connection> connections;
	std::deque<Due> due;
	std::uint64_t numbers = 0;
	for (;;) {
		int wait = -1;
		if (!due.empty())
			wait = static_cast<int>(
			    std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(due.front().at - Clock::now()).count()));
		epoll_event events[256];
		const int ready = epoll_wait(epoll, events, 256, wait);
		for (int i = 0; i < ready; i++) {
			const int descriptor = events[i].data.fd;
			if (descriptor == listener) {
				const int accepted = accept(listener, nullptr, nullptr);
				if (accepted < 0)
					continue;
				setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
				connections[accepted] = {++numbers, {}};
				watch(accepted);
				continue;
			}
			Connection &connection = connections[descriptor];
			char text[65536];
			const ssize_t size = read(descriptor, text, sizeof text);
			if (size <= 0) {
				connections.erase(descriptor);
				close(descriptor);
				continue;
			}
			connection.buffer.append(text, static_cast<std::size_t>(size));
			while (const std::size_t length = request_length(connection.buffer)) {
				connection.buffer.erase(0, length);
				if (delay.count() > 0)
					due.push_back({Clock::now() + delay, descriptor, connection.number});
			}
		}
		for (const auto now = Clock::now(); !due.empty() && due.front().at <= now; due.pop_front()) {
			const auto found = connections.find(due.front().descriptor);
			if (found != connections.end() && found->second.number == due.front().number)
				(void)!send(due.front().descriptor, answer.data(), answer.size(), MSG_NOSIGNAL);
		}
	}
}
