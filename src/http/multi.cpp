#include "http/multi.hpp"

// The event loop, seen from outside as one descriptor. That descriptor is an epoll set which holds libcurl's sockets
// and a timerfd for libcurl's timeouts; an epoll set is itself readable while it has events, so a PostgreSQL process
// waits on it together with its latch and needs to know nothing more.
//
// Sockets. libcurl stops watching a connection when a request is done and starts again with the next one. Telling
// epoll each time costs two system calls a request, so registrations are lazy: "remove" is only noted, and an event on
// a socket that nobody wants takes it out. That is safe only for sockets whose closing is reported to us
// (CLOSESOCKETFUNCTION), because the kernel forgets a registration at close and the number may come back as another
// socket. The pipes of libcurl's resolver are closed behind our back: they are taken out at once.
//
// Timer. Lazy as well: it is set at the end of on_activity(), where what is due is done without it, only to something earlier than what it is
// set to, and set on when it rings too soon.
//
// Signals. libcurl resolves names in threads, which inherit the signal mask. A thread that took a PostgreSQL signal
// would run a handler that expects the main thread, so everything is blocked while a thread may be made.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <new>
#include <pthread.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace courier::http {

namespace {

class SignalsBlocked {
public:
	SignalsBlocked() noexcept {
		sigset_t all;
		sigfillset(&all);
		// A fault of our own must still be one.
		for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS})
			sigdelset(&all, fault);
		pthread_sigmask(SIG_SETMASK, &all, &before_);
	}
	~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
	SignalsBlocked(const SignalsBlocked &) = delete;
	SignalsBlocked &operator=(const SignalsBlocked &) = delete;

private:
	sigset_t before_;
};

class Descriptor {
public:
	Descriptor(int fd, const char *what) : fd_(fd) {
		if (fd < 0)
			throw Error(errno == EMFILE || errno == ENFILE ? "53000" : "58000",
			            std::string("cannot make ") + what + ": " + std::strerror(errno), {},
			            "See the limit on open files of the server (ulimit -n).");
	}
	~Descriptor() { close(fd_); }
	Descriptor(const Descriptor &) = delete;
	Descriptor &operator=(const Descriptor &) = delete;
	operator int() const { return fd_; }

private:
	int fd_;
};

void initialize_libcurl() {
	static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
	if (once != CURLE_OK)
		throw Error("58000", std::string("libcurl cannot start: ") + curl_easy_strerror(once));
}

constexpr std::chrono::steady_clock::time_point never = std::chrono::steady_clock::time_point::max();
constexpr int most_rounds = 32; // of events in one on_activity(); the descriptor stays readable when there are more

} // namespace

struct Multi::State final : SocketOwner {
	using Clock = std::chrono::steady_clock;

	// By descriptor number.
	struct Watch {
		bool ours = false;            // opened by open_socket
		std::uint32_t registered = 0; // what epoll watches for; 0: not in the set
		std::uint32_t wanted = 0;     // what libcurl wants
	};

	struct Waiting {
		std::uint64_t id;
		Request request;
		Clock::time_point since;
	};

	struct MultiCleanup {
		void operator()(CURLM *multi) const noexcept { curl_multi_cleanup(multi); }
	};

	// Order matters for destruction: handles before the multi handle, that before the bookkeeping it calls back into.
	MultiSettings settings;
	Descriptor epoll;
	Descriptor timer;
	std::vector<Watch> watches;
	Clock::time_point deadline = never;  // when libcurl wants to be called
	Clock::time_point armed_for = never; // when the timer rings
	std::vector<Finished> finished;
	std::deque<Waiting> waiting;
	std::unique_ptr<CURLM, MultiCleanup> multi;
	std::vector<std::unique_ptr<EasyRequest>> active, idle;

	explicit State(MultiSettings settings_)
	    : settings(std::move(settings_)), epoll(epoll_create1(EPOLL_CLOEXEC), "an epoll set"),
	      timer(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "a timer") {
		initialize_libcurl();
		settings.max_host_connections = std::max<std::size_t>(settings.max_host_connections, 1);
		epoll_event event {};
		event.events = EPOLLIN;
		event.data.fd = timer;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event) != 0)
			throw Error("58000", std::string("cannot watch a timer: ") + std::strerror(errno));
		make_multi();
	}

	void make_multi() {
		multi.reset(curl_multi_init());
		if (!multi)
			throw std::bad_alloc();
		auto most = static_cast<long>(settings.max_host_connections);
		curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &State::on_socket);
		curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, this);
		curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &State::on_timer);
		curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, this);
		curl_multi_setopt(multi.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
		curl_multi_setopt(multi.get(), CURLMOPT_MAX_HOST_CONNECTIONS, most);
		curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, most + 4);
	}

	~State() {
		SignalsBlocked blocked; // closing may run the state machine
		for (auto &request : active)
			curl_multi_remove_handle(multi.get(), request->handle());
		active.clear();
		idle.clear();
		multi.reset();
	}

	// Sockets

	Watch *watch(int fd) noexcept {
		try {
			if (static_cast<std::size_t>(fd) >= watches.size())
				watches.resize(static_cast<std::size_t>(fd) + 64);
			return &watches[static_cast<std::size_t>(fd)];
		} catch (...) {
			return nullptr;
		}
	}

	curl_socket_t open_socket(int family, int type, int protocol) noexcept override {
		int fd = ::socket(family, type | SOCK_CLOEXEC, protocol);
		if (fd < 0)
			return CURL_SOCKET_BAD;
		auto place = watch(fd);
		if (!place) {
			::close(fd);
			errno = ENOMEM;
			return CURL_SOCKET_BAD;
		}
		*place = Watch {.ours = true};
		return fd;
	}

	void close_socket(curl_socket_t fd) noexcept override {
		if (auto place = watch(fd)) {
			unregister(fd, *place); // close alone would do, unless a child process got a copy
			*place = Watch();
		}
		::close(fd);
	}

	void unregister(int fd, Watch &place) noexcept {
		if (place.registered != 0)
			epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
		place.registered = 0;
	}

	bool update(int fd, Watch &place) noexcept {
		if (place.wanted == 0) {
			if (!place.ours)
				unregister(fd, place);
			return true;
		}
		if (place.registered == place.wanted)
			return true;
		epoll_event event {};
		event.events = place.wanted;
		event.data.fd = fd;
		int rc = epoll_ctl(epoll, place.registered != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
		if (rc != 0 && errno == ENOENT)
			rc = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
		else if (rc != 0 && errno == EEXIST)
			rc = epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
		if (rc != 0)
			return false;
		place.registered = place.wanted;
		return true;
	}

	static int on_socket(CURL *, curl_socket_t fd, int what, void *self, void *) noexcept {
		auto state = static_cast<State *>(self);
		auto place = state->watch(fd);
		if (!place)
			return -1;
		// CURL_POLL_REMOVE is a bit of its own: nothing is wanted then.
		place->wanted = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
		return state->update(fd, *place) ? 0 : -1;
	}

	// Timer

	void arm(Clock::time_point when) noexcept {
		auto in = std::max<std::int64_t>(
		    std::chrono::duration_cast<std::chrono::nanoseconds>(when - Clock::now()).count(), 1);
		itimerspec spec {};
		spec.it_value.tv_sec = in / 1000000000;
		spec.it_value.tv_nsec = in % 1000000000;
		timerfd_settime(timer, 0, &spec, nullptr);
		armed_for = when;
	}

	static int on_timer(CURLM *, long milliseconds, void *self) noexcept {
		auto state = static_cast<State *>(self);
		if (milliseconds < 0) {
			state->deadline = never;
			return 0;
		}
		state->deadline = Clock::now() + std::chrono::milliseconds(milliseconds);
		return 0;
	}

	void timer_rang() {
		std::uint64_t count;
		if (read(timer, &count, sizeof count) > 0)
			armed_for = never;
	}

	bool due() const { return deadline <= Clock::now(); }

	void do_what_is_due() {
		if (!due())
			return;
		deadline = never; // libcurl names the next one, whatever it finds to do
		act(CURL_SOCKET_TIMEOUT, 0);
	}

	void set_timer() {
		if (deadline < armed_for)
			arm(deadline);
	}

	// Transfers

	void act(curl_socket_t fd, int events) {
		int still_running = 0;
		auto code = curl_multi_socket_action(multi.get(), fd, events, &still_running);
		drain(); // after every action: a transfer can finish inside the timeout's as well
		if (code == CURLM_ABORTED_BY_CALLBACK)
			abandon(curl_multi_strerror(code));
	}

	// libcurl refuses to go on for good: the bookkeeping of a socket failed (no memory, epoll is full). Ends what runs
	// and begins anew.
	void abandon(const char *why) {
		while (!active.empty()) {
			auto done = release(*active.back());
			done.answer.transfer = Transfer::lost;
			done.answer.error = why;
			finished.push_back(std::move(done));
		}
		idle.clear();
		deadline = never;
		make_multi();
	}

	// Takes it out of libcurl and gives its end as a cancelled one.
	Finished release(EasyRequest &request) {
		curl_multi_remove_handle(multi.get(), request.handle());
		auto done = request.cancel();
		deactivate(request);
		return done;
	}

	void deactivate(EasyRequest &request) {
		auto slot = request.slot;
		auto owner = std::move(active[slot]);
		if (slot + 1 != active.size()) {
			active[slot] = std::move(active.back());
			active[slot]->slot = slot;
		}
		active.pop_back();
		if (owner->reusable())
			idle.push_back(std::move(owner));
	}

	void drain() {
		int left = 0;
		while (CURLMsg *message = curl_multi_info_read(multi.get(), &left)) {
			if (message->msg != CURLMSG_DONE)
				continue;
			CURL *easy = message->easy_handle;
			CURLcode code = message->data.result; // the message dies with remove_handle
			EasyRequest *request = nullptr;
			curl_easy_getinfo(easy, CURLINFO_PRIVATE, &request);
			curl_multi_remove_handle(multi.get(), easy);
			finished.push_back(request->finish(code));
			deactivate(*request);
		}
	}

	void launch(std::uint64_t id, Request request) {
		if (idle.empty())
			idle.push_back(std::make_unique<EasyRequest>(settings, *this));
		auto &prepared = *idle.back();
		prepared.prepare(id, std::move(request));
		active.reserve(active.size() + 1);
		idle.reserve(idle.size() + active.size() + 1); // so that coming back needs no memory
		auto code = curl_multi_add_handle(multi.get(), prepared.handle());
		if (code != CURLM_OK)
			throw Error("58000", std::string("libcurl does not take a request: ") + curl_multi_strerror(code));
		prepared.slot = active.size();
		active.push_back(std::move(idle.back()));
		idle.pop_back();
	}

	bool can_launch() const { return !waiting.empty() && active.size() < settings.max_host_connections; }

	void launch_waiting() {
		while (can_launch()) {
			auto next = std::move(waiting.front());
			waiting.pop_front();
			try {
				launch(next.id, std::move(next.request));
			} catch (const std::exception &error) { // whoever started it is no longer on the stack
				Finished done {next.id, Answer()};
				done.answer.transfer = Transfer::unsent;
				done.answer.error = error.what();
				finished.push_back(std::move(done));
			}
		}
	}
};

Multi::Multi(MultiSettings settings) : state_(std::make_unique<State>(std::move(settings))) {
}

Multi::~Multi() = default;

int Multi::descriptor() const {
	return state_->epoll;
}

void Multi::on_activity() {
	auto &state = *state_;
	SignalsBlocked blocked;
	epoll_event events[64];
	for (int round = 0; round < most_rounds; ++round) {
		state.launch_waiting();
		state.do_what_is_due(); // those that were launched begin
		int count = epoll_wait(state.epoll, events, 64, 0);
		for (int i = 0; i < count; ++i) {
			int fd = events[i].data.fd;
			if (fd == state.timer) {
				state.timer_rang();
				continue;
			}
			auto place = state.watch(fd);
			if (!place || place->wanted == 0) {
				if (place)
					state.unregister(fd, *place);
				continue;
			}
			auto happened = events[i].events;
			int action = (happened & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
			             (happened & EPOLLOUT ? CURL_CSELECT_OUT : 0) | (happened & EPOLLERR ? CURL_CSELECT_ERR : 0);
			state.act(fd, action);
		}
		if (count < 64 && !state.can_launch() && !state.due())
			break;
	}
	state.set_timer();
}

void Multi::start(std::uint64_t id, Request request) {
	EasyRequest::check(request);
	auto &state = *state_;
	auto ends = state.finished.size() + running() + 1;
	if (state.finished.capacity() < ends)
		state.finished.reserve(ends * 2); // here, so that an end is never lost for want of memory
	// libcurl gets it in on_activity(), where signals are blocked anyway.
	state.waiting.push_back({id, std::move(request), State::Clock::now()});
}

std::vector<Finished> Multi::take_finished() {
	return std::exchange(state_->finished, {});
}

bool Multi::has_finished() const {
	return !state_->finished.empty();
}

std::size_t Multi::running() const {
	return state_->active.size() + state_->waiting.size();
}

void Multi::cancel_all() {
	auto &state = *state_;
	SignalsBlocked blocked;
	while (!state.active.empty())
		state.finished.push_back(state.release(*state.active.back()));
	for (auto &entry : state.waiting) {
		Finished done {entry.id, Answer()};
		done.answer.transfer = Transfer::unsent;
		done.answer.error = "cancelled before the request was sent";
		done.answer.duration = std::chrono::duration_cast<std::chrono::microseconds>(State::Clock::now() - entry.since);
		state.finished.push_back(std::move(done));
	}
	state.waiting.clear();
	state.set_timer();
}

} // namespace courier::http
