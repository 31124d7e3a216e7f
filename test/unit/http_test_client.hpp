#pragma once

#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <poll.h>

#include "http/multi.hpp"

namespace courier::test {

inline http::MultiSettings loopback_settings() {
	http::MultiSettings settings;
	settings.filter = http::AddressFilter("127.0.0.0/8, ::1");
	return settings;
}

// Drives a Multi the way a PostgreSQL process does: waits on its descriptor, nothing else.
struct Driver {
	http::Multi multi;
	std::map<std::uint64_t, Answer> answers;
	int wakeups = 0;
	std::uint64_t next = 1;

	explicit Driver(http::MultiSettings settings = loopback_settings()) : multi(std::move(settings)) {
		std::signal(SIGPIPE, SIG_IGN);
	}

	void collect() {
		for (auto &finished : multi.take_finished()) {
			EXPECT_EQ(answers.count(finished.id), 0u) << "finished twice";
			answers[finished.id] = std::move(finished.answer);
		}
	}

	// Until nothing runs, or the time is over.
	bool run(std::chrono::milliseconds limit = std::chrono::seconds(20)) {
		auto end = std::chrono::steady_clock::now() + limit;
		multi.on_activity(); // what was just started
		collect();
		while (multi.running() > 0) {
			auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
			if (left.count() <= 0)
				break;
			pollfd waited {multi.descriptor(), POLLIN, 0};
			poll(&waited, 1, static_cast<int>(left.count()));
			++wakeups;
			multi.on_activity();
			collect();
		}
		collect();
		return multi.running() == 0;
	}

	std::uint64_t start(Request request) {
		auto id = next++;
		multi.start(id, std::move(request));
		return id;
	}

	Answer send(Request request) {
		auto id = start(std::move(request));
		EXPECT_TRUE(run());
		EXPECT_EQ(answers.count(id), 1u);
		return answers[id];
	}
};

inline Request make_request(std::string url, std::string method = "POST", std::string body = "{\"a\":1}") {
	Request request;
	request.method = std::move(method);
	request.url = std::move(url);
	request.body = std::move(body);
	request.timeout = std::chrono::seconds(10);
	return request;
}

inline std::string header_of(const Answer &answer, std::string_view name) {
	for (auto &header : answer.headers)
		if (header.name == name)
			return header.value;
	return {};
}

} // namespace courier::test

namespace courier {
inline void PrintTo(Transfer transfer, std::ostream *out) {
	static const char *names[] = {"complete", "unresolved", "refused",   "tls",      "blocked",
	                              "unsent",   "lost",       "too_large", "cancelled"};
	*out << names[static_cast<int>(transfer)];
}
} // namespace courier
