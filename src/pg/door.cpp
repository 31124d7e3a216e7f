// The door: every API function of schema courier is declared with the one symbol courier_door (doc/architecture.md). It
// notes who calls, with which search_path, switches to the function's owner and calls the function of the same name in
// courier_internal with (caller, caller's search_path, the arguments ...).
//
// GetUserId() is the caller also within SECURITY DEFINER functions, triggers and views, where session_user and "role"
// are somebody else. A function made with SET search_path would hide the caller's from us: API functions are declared
// without.
//
// Below it are the ways down again: query_as, execute_as and check_query.

#include "pg/spi.hpp"
#include "pg/user_context.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"
}

namespace courier::pg {

namespace {

// What the door knows of the function that was called. Plain data in fn_mcxt.
struct DoorCall {
	char *name;
	char *statement;
	Oid owner;
	int arguments;
	Oid *argument_types;
	Oid result_type;
	int16 result_length;
	bool result_by_value;
	bool is_set;
	bool is_volatile;
};

DoorCall *look_up(FunctionCallInfo fcinfo) {
	MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	auto *function = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));

	auto *call = static_cast<DoorCall *>(palloc0(sizeof(DoorCall)));
	call->name = pstrdup(NameStr(function->proname));
	call->owner = function->proowner;
	call->arguments = function->pronargs;
	call->argument_types = static_cast<Oid *>(palloc(call->arguments * sizeof(Oid) + 1));
	std::memcpy(call->argument_types, function->proargtypes.values, call->arguments * sizeof(Oid));
	call->result_type = function->prorettype;
	call->is_set = function->proretset;
	call->is_volatile = function->provolatile == PROVOLATILE_VOLATILE;
	ReleaseSysCache(tuple);
	get_typlenbyval(call->result_type, &call->result_length, &call->result_by_value);

	StringInfoData statement;
	initStringInfo(&statement);
	appendStringInfo(&statement, "SELECT %s courier_internal.%s($1,$2", call->is_set ? "* FROM" : "",
	                 quote_identifier(call->name));
	for (int i = 0; i < call->arguments; i++)
		appendStringInfo(&statement, ",$%d", i + 3);
	appendStringInfoChar(&statement, ')');
	call->statement = statement.data;
	MemoryContextSwitchTo(caller);
	return call;
}

// The caller's search_path as anybody can use it later: "$user" by name, and pg_temp last, where the caller's temporary
// tables can hide nothing.
char *portable_search_path(Oid caller) {
	List *names = NIL;
	if (!SplitIdentifierString(pstrdup(namespace_search_path), ',', &names))
		elog(ERROR, "invalid search_path");
	StringInfoData path;
	initStringInfo(&path);
	ListCell *cell;
	foreach (cell, names) {
		const char *name = static_cast<const char *>(lfirst(cell));
		if (std::strcmp(name, "pg_temp") == 0)
			continue;
		if (std::strcmp(name, "$user") == 0)
			name = GetUserNameFromId(caller, false);
		appendStringInfo(&path, "%s, ", quote_identifier(name));
	}
	appendStringInfoString(&path, "pg_temp");
	return path.data;
}

void pin(const char *name, const char *value) {
	set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

// What is wrong with a call is told in message, detail and hint; where in our own functions it was noticed is noise,
// except when the fault is ours (class XX). The caller's own CONTEXT lines are added again when the error is thrown on.
[[noreturn]] void throw_to_user(ErrorData *error) {
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR))
		error->context = nullptr;
	error->internalquery = nullptr;
	error->internalpos = 0;
	error->cursorpos = 0;
	ThrowErrorData(error);
	pg_unreachable();
}

// Runs the internal function. A plain C function with regard to errors: nothing in it has a destructor.
Datum call_internal(FunctionCallInfo fcinfo, DoorCall *call, ReturnSetInfo *set) {
	MemoryContext caller_context = CurrentMemoryContext;
	ErrorContextCallback *caller_callbacks = error_context_stack;
	Oid caller;
	int security;
	GetUserIdAndSecContext(&caller, &security);

	const int count = call->arguments + 2;
	ParamListInfo params = makeParamList(count);
	for (int i = 0; i < count; i++) {
		ParamExternData &param = params->params[i];
		param.pflags = PARAM_FLAG_CONST;
		param.ptype = i == 0 ? OIDOID : i == 1 ? TEXTOID : call->argument_types[i - 2];
		param.isnull = i >= 2 && PG_ARGISNULL(i - 2);
		param.value = i < 2 || param.isnull ? (Datum)0 : PG_GETARG_DATUM(i - 2);
	}
	params->params[0].value = ObjectIdGetDatum(caller);
	params->params[1].value = CStringGetTextDatum(portable_search_path(caller));

	SPIExecuteOptions options;
	std::memset(&options, 0, sizeof options);
	options.params = params;
	options.read_only = !call->is_volatile;
	options.must_return_tuples = true;

	volatile Datum result = (Datum)0;
	volatile bool result_is_null = true;

	PG_TRY();
	{
		error_context_stack = nullptr; // see throw_to_user
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		if (set) {
			options.dest = CreateDestReceiver(DestTuplestore);
			SetTuplestoreDestReceiverParams(options.dest, set->setResult, set->econtext->ecxt_per_query_memory, false,
			                                set->setDesc, "courier and courier_internal declare different columns");
		}
		const int nest_level = NewGUCNestLevel();
		SetUserIdAndSecContext(call->owner, security | SECURITY_LOCAL_USERID_CHANGE);
		pin("search_path", "pg_catalog, pg_temp");
		pin("standard_conforming_strings", "on"); // our functions are parsed at their first call
		pin("transform_null_equals", "off");
		const int code = SPI_execute_extended(call->statement, &options);
		if (code < 0)
			elog(ERROR, "courier_internal.%s failed: %s", call->name, SPI_result_code_string(code));
		if (!set && call->result_type != VOIDOID) {
			if (SPI_processed != 1 || SPI_gettypeid(SPI_tuptable->tupdesc, 1) != call->result_type)
				elog(ERROR, "courier_internal.%s returned something else than courier.%s", call->name, call->name);
			bool is_null;
			Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
			result_is_null = is_null;
			if (!is_null)
				result = SPI_datumTransfer(value, call->result_by_value, call->result_length);
		}
		AtEOXact_GUC(true, nest_level);
		SetUserIdAndSecContext(caller, security);
		SPI_finish();
		error_context_stack = caller_callbacks;
	}
	PG_CATCH();
	{
		// Role and settings are put back by the abort that follows, too; but the callbacks that add CONTEXT run before
		// it.
		SetUserIdAndSecContext(caller, security);
		MemoryContextSwitchTo(caller_context);
		ErrorData *error = CopyErrorData();
		FlushErrorState();
		throw_to_user(error);
	}
	PG_END_TRY();

	if (set || call->result_type == VOIDOID)
		return (Datum)0;
	fcinfo->isnull = result_is_null;
	return result;
}

} // namespace

COURIER_FUNCTION(courier_door) {
	auto *call = static_cast<DoorCall *>(fcinfo->flinfo->fn_extra);
	if (!call)
		fcinfo->flinfo->fn_extra = call = look_up(fcinfo);

	// Within a model or mapping, a REFRESH or an index expression, the current user is not who wanted this.
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
		        (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		         errmsg("courier.%s cannot be called inside a security-restricted operation", call->name),
		         errhint("Models, mappings, index expressions and materialized views cannot call it. Call it from a "
		                 "session, a function or a trigger.")));

	ReturnSetInfo *set = nullptr;
	if (call->is_set) {
		InitMaterializedSRF(fcinfo, type_is_rowtype(call->result_type) ? 0 : MAT_SRF_USE_EXPECTED_DESC);
		set = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	}
	return call_internal(fcinfo, call, set);
}

namespace {

UserSettings user_settings(FunctionCallInfo fcinfo) {
	UserSettings settings;
	if (PG_ARGISNULL(0))
		throw Error("22004", "the role must not be NULL");
	settings.role = PG_GETARG_OID(0);
	settings.search_path = text_argument(fcinfo, 1);
	settings.time_zone = optional_text_argument(fcinfo, 2).value_or("UTC");
	return settings;
}

// Takes the rows of a query of one column and puts their texts into the result of a set-returning function, one by one:
// a snapshot may have millions.
struct TextReceiver {
	DestReceiver base; // first
	ReturnSetInfo *set;
	FmgrInfo output;
	MemoryContext row_context;
};

void text_receiver_startup(DestReceiver *self, int, TupleDesc descriptor) {
	auto *receiver = reinterpret_cast<TextReceiver *>(self);
	if (descriptor->natts != 1)
		ereport(ERROR,
		        (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the query must return one column, not %d", descriptor->natts)));
	Oid function;
	bool is_varlena;
	getTypeOutputInfo(TupleDescAttr(descriptor, 0)->atttypid, &function, &is_varlena);
	fmgr_info(function, &receiver->output);
	receiver->row_context =
	    AllocSetContextCreate(CurrentMemoryContext, "pg_courier query_as row", ALLOCSET_DEFAULT_SIZES);
}

bool text_receiver_receive(TupleTableSlot *slot, DestReceiver *self) {
	auto *receiver = reinterpret_cast<TextReceiver *>(self);
	MemoryContext caller = MemoryContextSwitchTo(receiver->row_context);
	bool is_null;
	Datum value = slot_getattr(slot, 1, &is_null);
	if (!is_null)
		value = CStringGetTextDatum(OutputFunctionCall(&receiver->output, value));
	tuplestore_putvalues(receiver->set->setResult, receiver->set->setDesc, &value, &is_null);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(receiver->row_context);
	return true;
}

void text_receiver_nothing(DestReceiver *) {
}

} // namespace

COURIER_FUNCTION(courier_query_as) {
	return enter_cpp([&] {
		std::string query = text_argument(fcinfo, 3);
		UserSettings settings = user_settings(fcinfo);
		call_postgres([&] { InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC); });
		Spi spi;
		UserContext user(settings);
		call_postgres([&] {
			auto *receiver = static_cast<TextReceiver *>(palloc0(sizeof(TextReceiver)));
			receiver->base.receiveSlot = text_receiver_receive;
			receiver->base.rStartup = text_receiver_startup;
			receiver->base.rShutdown = text_receiver_nothing;
			receiver->base.rDestroy = text_receiver_nothing;
			receiver->base.mydest = DestNone;
			receiver->set = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
			SPIExecuteOptions options;
			std::memset(&options, 0, sizeof options);
			options.must_return_tuples = true;
			options.dest = &receiver->base;
			SPI_execute_extended(pg_any_to_server(query.c_str(), query.size(), PG_UTF8), &options);
		});
	});
}

COURIER_FUNCTION(courier_execute_as) {
	return enter_cpp([&] {
		std::string statement = text_argument(fcinfo, 3);
		UserSettings settings = user_settings(fcinfo);
		Spi spi;
		UserContext user(settings);
		return Int64GetDatum(static_cast<std::int64_t>(spi_execute(statement).processed()));
	});
}

namespace {

// A model is read again and again, in a transaction that must not lock or write: not in a sub-select either.
bool reads_only(Node *node, void *context) {
	if (!node)
		return false;
	if (IsA(node, InsertStmt) || IsA(node, UpdateStmt) || IsA(node, DeleteStmt) || IsA(node, MergeStmt))
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the query must not write"),
		                errhint("A model only reads. Write in a job of your own before the run.")));
	if (IsA(node, SelectStmt)) {
		auto *select = reinterpret_cast<SelectStmt *>(node);
		if (select->intoClause)
			ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the query must not have INTO")));
		if (select->lockingClause != NIL)
			ereport(ERROR,
			        (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the query must not lock rows (FOR UPDATE, FOR SHARE)")));
	}
	return walk_raw(node, reads_only, context);
}

} // namespace

COURIER_FUNCTION(courier_check_query) {
	return enter_cpp([&] {
		std::string query = text_argument(fcinfo, 0);
		try {
			call_postgres([&] {
				// A caller's callback would take the position in the query for one in the statement that calls us.
				ErrorContextCallback *callbacks = error_context_stack;
				error_context_stack = nullptr;
				List *statements =
				    raw_parser(pg_any_to_server(query.c_str(), query.size(), PG_UTF8), RAW_PARSE_DEFAULT);
				if (list_length(statements) != 1)
					ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
					                errmsg("the query must be one statement, not %d", list_length(statements)),
					                errdetail("It is one SELECT, VALUES, TABLE or WITH ... SELECT.")));
				Node *statement = linitial_node(RawStmt, statements)->stmt;
				if (!IsA(statement, SelectStmt))
					ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the query must be a SELECT"),
					                errdetail("It is one SELECT, VALUES, TABLE or WITH ... SELECT.")));
				reads_only(statement, nullptr);
				error_context_stack = callbacks;
			});
		} catch (const PgError &error) {
			if (error.is_cancel() || error.origin.position == 0 || !error.detail.empty())
				throw Error(error.sqlstate, error.message, error.detail, error.hint);
			throw Error(error.sqlstate, error.message,
			            "At character " + std::to_string(error.origin.position) + " of the query.", error.hint);
		}
	});
}

} // namespace courier::pg
