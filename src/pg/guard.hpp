#pragma once

// Two worlds meet in src/pg. PostgreSQL leaves a failing call by longjmp, which skips destructors; C++ leaves it by
// unwinding, which must not cross a C frame. A mistake either way takes the whole server down, so there are two guards
// and nothing else:
//
//   call_postgres(fn)  C++ calls the backend. An ereport(ERROR) in `fn` comes out as PgError. The guard must be deeper
//                      than what it protects: objects with destructors live outside `fn`, and `fn` holds none while it
//                      calls the backend. Every backend call can raise, even pfree's neighbours.
//   enter_cpp(fn)      the backend calls C++. What comes out of `fn` is raised by ereport, after every C++ object is gone.
//
// A caught PgError has cleaned up nothing in the backend: locks, buffers, snapshots and the SPI stack are released by
// the abort of the transaction (or subtransaction). So a PgError is either passed on or followed by an abort, never
// swallowed. Query cancel arrives as an ordinary PgError with 57014 and is passed on like one. Termination is FATAL: it
// leaves through proc_exit, without unwinding.

#include "core/error.hpp"
#include "pg/postgres.hpp"

namespace courier::pg {

class PgError : public Error {
public:
	// What an error has besides the four parts that courier::Error keeps.
	struct Origin {
		bool to_server = false, to_client = false, hide_statement = false, hide_context = false;
		int position = 0, internal_position = 0;
		std::string internal_query, detail_log;
		std::string schema_name, table_name, column_name, datatype_name, constraint_name;
		const char *file = nullptr, *function = nullptr;
		int line = 0;
	};

	std::string context; // the CONTEXT lines, for the whole stack
	Origin origin;

	explicit PgError(const ErrorData &error);
	bool is_cancel() const { return sqlstate == "57014"; }
	bool asked_for = false; // a cancel by somebody; a statement_timeout, or one at a foreign server, has the same SQLSTATE
};

namespace detail {

using Trampoline = void (*)(void *);

// Runs fn(argument) under PG_TRY. nullptr, or the error that it raised, copied into the caller's memory context.
ErrorData *run_guarded(Trampoline fn, void *argument);
[[noreturn]] void throw_error(ErrorData *error);

// Texts of an exception, in ErrorContext: nothing in here has a destructor.
struct Raised {
	ErrorData *original; // a PgError goes on as it came, with its own context
	int sqlstate;
	const char *message, *detail, *hint;
};

Raised describe_current_exception() noexcept;
[[noreturn]] void raise(const Raised &raised);

} // namespace detail

template <class F> auto call_postgres(F fn) {
	using Result = std::invoke_result_t<F &>;
	// A longjmp that leaves `fn` would not destroy it, and a guard that hands back an owner invites building it inside.
	static_assert(std::is_void_v<Result> || std::is_trivially_copyable_v<Result>,
	              "build C++ objects outside the guarded call");

	using Stored = std::conditional_t<std::is_void_v<Result>, char, Result>;
	struct Call {
		F *fn;
		Stored result;
		std::exception_ptr thrown;
	} call {&fn, {}, nullptr};

	ErrorData *error = detail::run_guarded(
	    [](void *argument) {
		    Call &call = *static_cast<Call *>(argument);
		    // A C++ exception must not unwind PG_TRY: it would leave PG_exception_stack in a dead frame.
		    try {
			    if constexpr (std::is_void_v<Result>)
				    (*call.fn)();
			    else
				    call.result = (*call.fn)();
		    } catch (...) {
			    call.thrown = std::current_exception();
		    }
	    },
	    &call);
	if (error)
		detail::throw_error(error);
	if (call.thrown)
		std::rethrow_exception(call.thrown);
	if constexpr (!std::is_void_v<Result>)
		return call.result;
}

// `fn` returns Datum or void; PG_RETURN_NULL() works inside it when it captures fcinfo.
template <class F> Datum enter_cpp(F fn) {
	detail::Raised raised;
	try {
		if constexpr (std::is_void_v<std::invoke_result_t<F &>>) {
			fn();
			return (Datum)0;
		} else {
			return fn();
		}
	} catch (...) {
		raised = detail::describe_current_exception();
	}
	detail::raise(raised); // here, where the exception object is gone too
}

// "22023" for ERRCODE_INVALID_PARAMETER_VALUE, and back.
std::string sqlstate_text(int sqlstate);
int sqlstate_code(std::string_view sqlstate);

} // namespace courier::pg
