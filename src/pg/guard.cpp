#include "pg/guard.hpp"

namespace courier::pg {

namespace {

std::string text_or_empty(const char *text) {
	return text ? std::string(text) : std::string();
}

// Runs in catch blocks, where an ereport may not happen: no memory gives NULL, not an error.
char *copy_for_raise(std::string_view text) noexcept {
	auto *copy = static_cast<char *>(
	    MemoryContextAllocExtended(ErrorContext, text.size() + 1, MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE));
	if (copy) {
		std::memcpy(copy, text.data(), text.size());
		copy[text.size()] = '\0';
	}
	return copy;
}

char *copy_unless_empty(const std::string &text) noexcept {
	return text.empty() ? nullptr : copy_for_raise(text);
}

ErrorData *out_of_memory() noexcept {
	static ErrorData error;
	std::memset(&error, 0, sizeof error);
	error.elevel = ERROR;
	error.output_to_server = error.output_to_client = true;
	error.sqlerrcode = ERRCODE_OUT_OF_MEMORY;
	error.message = const_cast<char *>("out of memory");
	return &error;
}

// An ErrorData again, so that ReThrowError can pass the error on without asking the context callbacks a second time.
ErrorData *rebuild(const PgError &error) noexcept {
	auto *copy = static_cast<ErrorData *>(
	    MemoryContextAllocExtended(ErrorContext, sizeof(ErrorData), MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO));
	if (!copy)
		return nullptr;
	const PgError::Origin &origin = error.origin;
	copy->elevel = ERROR;
	copy->output_to_server = origin.to_server;
	copy->output_to_client = origin.to_client;
	copy->hide_stmt = origin.hide_statement;
	copy->hide_ctx = origin.hide_context;
	copy->filename = origin.file;
	copy->lineno = origin.line;
	copy->funcname = origin.function;
	copy->sqlerrcode = sqlstate_code(error.sqlstate);
	copy->message = copy_for_raise(error.message);
	copy->detail = copy_unless_empty(error.detail);
	copy->detail_log = copy_unless_empty(origin.detail_log);
	copy->hint = copy_unless_empty(error.hint);
	copy->context = copy_unless_empty(error.context);
	copy->schema_name = copy_unless_empty(origin.schema_name);
	copy->table_name = copy_unless_empty(origin.table_name);
	copy->column_name = copy_unless_empty(origin.column_name);
	copy->datatype_name = copy_unless_empty(origin.datatype_name);
	copy->constraint_name = copy_unless_empty(origin.constraint_name);
	copy->cursorpos = origin.position;
	copy->internalpos = origin.internal_position;
	copy->internalquery = copy_unless_empty(origin.internal_query);
	copy->assoc_context = ErrorContext;
	return copy;
}

} // namespace

PgError::PgError(const ErrorData &error)
    : Error(sqlstate_text(error.sqlerrcode), text_or_empty(error.message), text_or_empty(error.detail),
            text_or_empty(error.hint)),
      context(text_or_empty(error.context)) {
	// The words before translation: ProcessInterrupts says no more precisely which cancel it was.
	asked_for = error.message_id && std::string_view(error.message_id) == "canceling statement due to user request";
	origin.to_server = error.output_to_server;
	origin.to_client = error.output_to_client;
	origin.hide_statement = error.hide_stmt;
	origin.hide_context = error.hide_ctx;
	origin.position = error.cursorpos;
	origin.internal_position = error.internalpos;
	origin.internal_query = text_or_empty(error.internalquery);
	origin.detail_log = text_or_empty(error.detail_log);
	origin.schema_name = text_or_empty(error.schema_name);
	origin.table_name = text_or_empty(error.table_name);
	origin.column_name = text_or_empty(error.column_name);
	origin.datatype_name = text_or_empty(error.datatype_name);
	origin.constraint_name = text_or_empty(error.constraint_name);
	origin.file = error.filename;
	origin.function = error.funcname;
	origin.line = error.lineno;
}

std::string sqlstate_text(int sqlstate) {
	return unpack_sql_state(sqlstate);
}

int sqlstate_code(std::string_view sqlstate) {
	if (sqlstate.size() != 5)
		return ERRCODE_INTERNAL_ERROR;
	return MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
}

namespace detail {

// The only setjmp of the project. This frame and those of `fn` below it hold nothing that needs a destructor.
ErrorData *run_guarded(Trampoline fn, void *argument) {
	MemoryContext caller_context = CurrentMemoryContext;
	ErrorData *volatile error = nullptr;

	PG_TRY();
	{ fn(argument); }
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller_context);
		// Copying an error needs memory, and the error may well be that there is none.
		PG_TRY();
		{ error = CopyErrorData(); }
		PG_CATCH();
		{
			MemoryContextSwitchTo(caller_context);
			error = out_of_memory();
		}
		PG_END_TRY();
		FlushErrorState();
	}
	PG_END_TRY();
	return error;
}

void throw_error(ErrorData *error) {
	std::optional<PgError> thrown;
	try {
		thrown.emplace(*error);
	} catch (...) { // std::bad_alloc: it says it better than half a copy
		if (error->assoc_context)
			FreeErrorData(error);
		throw;
	}
	if (error->assoc_context) // not the static one
		FreeErrorData(error);
	throw std::move(*thrown);
}

Raised describe_current_exception() noexcept {
	Raised raised {nullptr, ERRCODE_OUT_OF_MEMORY, nullptr, nullptr, nullptr};
	try {
		throw;
	} catch (const PgError &error) {
		raised.original = rebuild(error);
	} catch (const Error &error) {
		raised.sqlstate = sqlstate_code(error.sqlstate);
		raised.message = copy_for_raise(error.message);
		raised.detail = copy_unless_empty(error.detail);
		raised.hint = copy_unless_empty(error.hint);
	} catch (const std::bad_alloc &) {
		// the defaults say it
	} catch (const std::exception &error) {
		raised.sqlstate = ERRCODE_INTERNAL_ERROR;
		raised.message = copy_for_raise(error.what());
	} catch (...) {
		raised.sqlstate = ERRCODE_INTERNAL_ERROR;
		raised.message = "an exception of unknown type was thrown";
	}
	return raised;
}

void raise(const Raised &raised) {
	if (raised.original && raised.original->message)
		ReThrowError(raised.original);
	ereport(ERROR, (errcode(raised.message ? raised.sqlstate : ERRCODE_OUT_OF_MEMORY),
	                errmsg_internal("%s", raised.message ? raised.message : "out of memory"),
	                raised.detail ? errdetail_internal("%s", raised.detail) : 0,
	                raised.hint ? errhint("%s", raised.hint) : 0));
	pg_unreachable();
}

} // namespace detail

#ifdef COURIER_FAULT_POINTS

// For sql/guards.sql only: errors of every kind, raised below live C++ objects.

namespace {

int objects_made = 0;
int objects_destroyed = 0;

struct Counted {
	std::string memory = std::string(1000, 'x');
	Counted() { objects_made++; }
	~Counted() { objects_destroyed++; }
};

void raise_with_everything() {
	ereport(ERROR,
	        (errcode(ERRCODE_UNIQUE_VIOLATION), errmsg("message of the server"), errdetail("detail of the server"),
	         errhint("hint of the server"), errcontext("context of the server")));
}

void fail(const std::string &kind) {
	Counted outer;
	if (kind == "runtime_error")
		throw std::runtime_error("message of the standard library");
	if (kind == "int")
		throw 42;
	if (kind == "bad_alloc")
		throw std::bad_alloc();
	if (kind == "courier")
		throw Error("22023", "message of courier", "detail of courier", "hint of courier");
	if (kind == "courier_bare")
		throw Error("55000", "message of courier");
	if (kind == "server")
		call_postgres(raise_with_everything);
	if (kind == "exception_below_guard")
		call_postgres([] { throw Error("22023", "thrown below the guard"); });
	if (kind == "server_after_exception") {
		try {
			call_postgres([] { throw 42; });
		} catch (int) {
			Counted inner;
			call_postgres(raise_with_everything);
		}
	}
	if (kind == "changed") {
		try {
			Counted inner;
			call_postgres(raise_with_everything);
		} catch (const PgError &error) {
			throw Error(error.sqlstate, "in other words: " + error.message, error.detail, error.hint);
		}
	}
	if (kind == "cancel")
		call_postgres([] {
			QueryCancelPending = true;
			InterruptPending = true;
			CHECK_FOR_INTERRUPTS();
		});
	if (kind == "long") // more than an error buffer
		throw std::runtime_error(std::string(100000, 'y'));
}

} // namespace

COURIER_FUNCTION(courier_test_guard) {
	return enter_cpp([&] {
		std::string kind;
		kind = call_postgres([&] { return text_to_cstring(PG_GETARG_TEXT_PP(0)); });
		Counted outermost;
		fail(kind);
		return Int32GetDatum(0);
	});
}

COURIER_FUNCTION(courier_test_objects_left) {
	(void)fcinfo;
	return Int32GetDatum(objects_made - objects_destroyed);
}

#endif

} // namespace courier::pg
