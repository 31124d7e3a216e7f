#pragma once

#include <memory>

#include "core/transport.hpp"
#include "http/easy_request.hpp"

namespace courier::http {

// Carries requests over libcurl. Single-threaded and never waits: the owner waits until descriptor() is readable
// (together with whatever else it waits for) and then calls on_activity(). SIGPIPE must be ignored, as PostgreSQL
// does.
class Multi final : public Transport {
public:
	explicit Multi(MultiSettings settings);
	~Multi() override;
	Multi(const Multi &) = delete;
	Multi &operator=(const Multi &) = delete;

	int descriptor() const; // readable when on_activity() has something to do, timeouts included
	void on_activity();     // does what can be done now

	// Error 22023 when the request must not go out as it is (control characters in a header, ...); then there is no
	// Finished for it. Nothing is sent before the next on_activity(): call it before you wait.
	void start(std::uint64_t id, Request request) override;
	std::vector<Finished> take_finished() override;
	bool has_finished() const;            // take_finished() has something: do not wait before it was asked
	std::size_t running() const override; // started and not finished
	void cancel_all() override;

private:
	struct State;
	std::unique_ptr<State> state_;
};

} // namespace courier::http
