// courier_internal.analyze_mapping: what the expressions of a mapping are, before any run.
//
// Each expression must stand alone: the parser has to take it as exactly one expression, so that no text can close the
// parenthesis that it will be put into. Then the server's own parse analysis says whether it compiles against the model
// as the sync's owner, its type, the columns that it reads, and whether it reads the clock (or anything else that
// differs from run to run by itself), which decides whether it can be compared.
//
// Expressions are analysed one by one, so that an error can name its field; and each is put through EXPLAIN, because
// rights are checked when an execution starts, not when a query is parsed.

#include "pg/spi.hpp"
#include "pg/user_context.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
}

namespace courier::pg {

namespace {

// Functions that differ from run to run though they are only STABLE. What is VOLATILE (random, clock_timestamp,
// nextval) is found by that.
constexpr std::array clock_functions {
    F_NOW,
    F_TRANSACTION_TIMESTAMP,
    F_STATEMENT_TIMESTAMP,
    F_AGE_TIMESTAMP,
    F_AGE_TIMESTAMPTZ,
    F_TXID_CURRENT,
    F_TXID_CURRENT_IF_ASSIGNED,
    F_TXID_CURRENT_SNAPSHOT,
    F_PG_CURRENT_XACT_ID,
    F_PG_CURRENT_XACT_ID_IF_ASSIGNED,
    F_PG_CURRENT_SNAPSHOT,
    F_PG_BACKEND_PID,
    F_PG_POSTMASTER_START_TIME,
    F_PG_CONF_LOAD_TIME,
};

struct Found {
	int depth; // of sub-selects
	bool reads_clock;
	bool whole_row;
	Bitmapset *columns; // attribute numbers, shifted as the server does
};

bool is_clock_function(Oid function, void *) {
	if (std::find(clock_functions.begin(), clock_functions.end(), function) != clock_functions.end())
		return true;
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	auto *row = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
	bool found = row->pronamespace == PG_CATALOG_NAMESPACE && row->provolatile == PROVOLATILE_VOLATILE;
	if (!found && std::strcmp(NameStr(row->proname), "run_id") == 0) {
		const char *schema = get_namespace_name(row->pronamespace);
		found = schema && std::strcmp(schema, "courier") == 0;
	}
	ReleaseSysCache(tuple);
	return found;
}

bool is_clock_value(SQLValueFunctionOp op) {
	switch (op) {
	case SVFOP_CURRENT_DATE:
	case SVFOP_CURRENT_TIME:
	case SVFOP_CURRENT_TIME_N:
	case SVFOP_CURRENT_TIMESTAMP:
	case SVFOP_CURRENT_TIMESTAMP_N:
	case SVFOP_LOCALTIME:
	case SVFOP_LOCALTIME_N:
	case SVFOP_LOCALTIMESTAMP:
	case SVFOP_LOCALTIMESTAMP_N:
		return true;
	default: // the user and the schema, which are the same in every run
		return false;
	}
}

bool look_at(Node *node, void *context) {
	if (!node)
		return false;
	auto &found = *static_cast<Found *>(context);
	if (IsA(node, Var)) {
		auto *var = reinterpret_cast<Var *>(node);
		// The model is the only relation of the outermost query.
		if (static_cast<int>(var->varlevelsup) == found.depth) {
			if (var->varattno == 0)
				found.whole_row = true;
			else
				found.columns = bms_add_member(found.columns, var->varattno - FirstLowInvalidHeapAttributeNumber);
		}
		return false;
	}
	if (IsA(node, SQLValueFunction) && is_clock_value(reinterpret_cast<SQLValueFunction *>(node)->op))
		found.reads_clock = true;
	if (IsA(node, NextValueExpr) || check_functions_in_node(node, is_clock_function, nullptr))
		found.reads_clock = true;
	if (IsA(node, Query)) {
		found.depth++;
		walk_query(reinterpret_cast<Query *>(node), look_at, context);
		found.depth--;
		return false;
	}
	return walk_expression(node, look_at, context);
}

// 'today'::date is a constant once it is analysed, another one every day. Only the text still shows it.
bool has_clock_literal(Node *node, void *context) {
	if (!node)
		return false;
	if (IsA(node, TypeCast)) {
		auto *cast = reinterpret_cast<TypeCast *>(node);
		if (IsA(cast->arg, A_Const) && IsA(&reinterpret_cast<A_Const *>(cast->arg)->val, String)) {
			const char *type = strVal(llast(cast->typeName->names));
			const char *text = strVal(&reinterpret_cast<A_Const *>(cast->arg)->val);
			while (*text == ' ')
				text++;
			for (const char *type_name : {"date", "time", "timetz", "timestamp", "timestamptz"}) {
				if (std::strcmp(type, type_name) != 0)
					continue;
				for (const char *word : {"now", "today", "tomorrow", "yesterday"})
					if (pg_strncasecmp(text, word, std::strlen(word)) == 0)
						return true;
			}
		}
	}
	return walk_raw(node, has_clock_literal, context);
}

// The expression's own parse, which must be one expression and nothing else.
Node *parse_alone(const char *expression) {
	List *statements = raw_parser(expression, RAW_PARSE_PLPGSQL_EXPR);
	auto *select = reinterpret_cast<SelectStmt *>(linitial_node(RawStmt, statements)->stmt);
	const bool plain = IsA(select, SelectStmt) && list_length(select->targetList) == 1 &&
	                   select->distinctClause == NIL && !select->intoClause && select->fromClause == NIL &&
	                   !select->whereClause && select->groupClause == NIL && !select->havingClause &&
	                   select->windowClause == NIL && select->valuesLists == NIL && select->sortClause == NIL &&
	                   !select->limitOffset && !select->limitCount && select->lockingClause == NIL &&
	                   !select->withClause && select->op == SETOP_NONE;
	auto *target = plain ? linitial_node(ResTarget, select->targetList) : nullptr;
	const bool is_star =
	    target && IsA(target->val, ColumnRef) && IsA(llast(reinterpret_cast<ColumnRef *>(target->val)->fields), A_Star);
	if (!target || target->name || target->indirection != NIL || is_star)
		ereport(ERROR,
		        (errcode(ERRCODE_SYNTAX_ERROR), errmsg("it is not one SQL expression"),
		         errdetail("A mapping gives each field one expression over the model's columns, without alias, FROM, "
		                   "WHERE or other clauses."),
		         errhint("For more than that use a sub-select in parentheses, or put it into the model.")));
	return target->val;
}

struct Analysis {
	char *type_name;
	bool reads_clock;
	bool whole_row;
	Bitmapset *columns;
};

[[noreturn]] void refuse(const char *what) {
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s are not allowed", what),
	                errdetail("A field has one value for each row of the model."),
	                errhint("Put it into the model, or into a sub-select in parentheses.")));
	pg_unreachable();
}

// Plain C with regard to errors; memory goes with the caller's context.
Analysis analyze(const char *expression, const char *statement) {
	Node *raw = parse_alone(expression);

	List *statements = raw_parser(statement, RAW_PARSE_DEFAULT);
	if (list_length(statements) != 1)
		elog(ERROR, "a mapping became %d statements", list_length(statements));
	Query *query = parse_analyze_fixedparams(linitial_node(RawStmt, statements), statement, nullptr, 0, nullptr);
	if (query->hasAggs)
		refuse("aggregate functions");
	if (query->hasWindowFuncs)
		refuse("window functions");
	if (query->hasTargetSRFs)
		refuse("set-returning functions");

	Node *expr = reinterpret_cast<Node *>(linitial_node(TargetEntry, query->targetList)->expr);
	const Oid type = exprType(expr);
	if (get_typtype(type) == TYPTYPE_PSEUDO && type != RECORDOID && type != RECORDARRAYOID)
		ereport(ERROR,
		        (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("it has no value: its type is %s", format_type_be(type))));

	Found found {0, false, false, nullptr};
	look_at(expr, &found);
	char *type_name = format_type_with_typemod(type, exprTypmod(expr));
	return {pg_server_to_any(type_name, std::strlen(type_name), PG_UTF8),
	        found.reads_clock || has_clock_literal(raw, nullptr), found.whole_row, found.columns};
}

struct Model {
	std::string name;                 // qualified and quoted
	std::vector<std::string> columns; // by attribute number - 1; empty: dropped
};

Model read_model(Oid relation) {
	Model model;
	struct Raw {
		const char *name;
		const char **columns;
		int count;
	};
	Raw raw = call_postgres([relation] {
		Relation opened = relation_open(relation, AccessShareLock);
		TupleDesc descriptor = RelationGetDescr(opened);
		Raw raw;
		raw.count = descriptor->natts;
		raw.columns = static_cast<const char **>(palloc0(raw.count * sizeof(char *) + 1));
		for (int i = 0; i < raw.count; i++) {
			Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
			if (!attribute->attisdropped)
				raw.columns[i] = pg_server_to_any(pstrdup(NameStr(attribute->attname)),
				                                  std::strlen(NameStr(attribute->attname)), PG_UTF8);
		}
		const char *schema = get_namespace_name(RelationGetNamespace(opened));
		raw.name = quote_qualified_identifier(schema, RelationGetRelationName(opened));
		raw.name = pg_server_to_any(raw.name, std::strlen(raw.name), PG_UTF8);
		relation_close(opened, NoLock); // the lock stays: what is analysed is what is there
		return raw;
	});
	model.name = raw.name;
	for (int i = 0; i < raw.count; i++)
		model.columns.emplace_back(raw.columns[i] ? raw.columns[i] : "");
	return model;
}

std::string list_columns(const Model &model) {
	constexpr std::size_t shown = 40;
	std::string list;
	std::size_t count = 0;
	for (const std::string &column : model.columns) {
		if (column.empty())
			continue;
		if (++count > shown)
			continue;
		list += (list.empty() ? "" : ", ") + column;
	}
	if (count > shown)
		list += " and " + std::to_string(count - shown) + " more";
	return list;
}

// Faults of the server or the session, which have nothing to do with the mapping, go on as they are.
bool is_about_mapping(const PgError &error) {
	const std::string_view category = std::string_view(error.sqlstate).substr(0, 2);
	return category != "XX" && category != "53" && category != "57" && category != "58" && category != "40";
}

std::vector<std::string> column_names(const Model &model, const Analysis &analysis) {
	std::vector<std::string> names;
	if (analysis.whole_row) {
		for (const std::string &column : model.columns)
			if (!column.empty())
				names.push_back(column);
	}
	for (int member = -1; (member = bms_next_member(analysis.columns, member)) >= 0;) {
		const int number = member + FirstLowInvalidHeapAttributeNumber;
		if (number > 0 && !analysis.whole_row)
			names.push_back(model.columns.at(number - 1));
		else if (number < 0)
			names.push_back(number == SelfItemPointerAttributeNumber ? "ctid"
			                : number == TableOidAttributeNumber      ? "tableoid"
			                                                         : "system column " + std::to_string(number));
	}
	return names;
}

} // namespace

COURIER_FUNCTION(courier_analyze_mapping) {
	return enter_cpp([&] {
		for (int i : {0, 2, 4, 5})
			if (PG_ARGISNULL(i))
				throw Error("22004", "argument " + std::to_string(i + 1) + " of analyze_mapping must not be NULL");
		UserSettings settings;
		settings.role = PG_GETARG_OID(0);
		settings.search_path = text_argument(fcinfo, 1);
		const std::string alias = optional_text_argument(fcinfo, 3).value_or("model");
		const auto fields = text_array_argument(fcinfo, 4);
		const auto expressions = text_array_argument(fcinfo, 5);
		if (fields.size() != expressions.size())
			throw Error("22023", "analyze_mapping got " + std::to_string(fields.size()) + " fields and " +
			                         std::to_string(expressions.size()) + " expressions");

		ResultSet result(fcinfo);
		Spi spi;
		const Model model = read_model(PG_GETARG_OID(2));
		const std::string from = "\nFROM " + model.name + " AS " + quote_name(alias);
		UserContext user(settings);

		for (std::size_t i = 0; i < fields.size(); i++) {
			const std::string field = fields[i].value_or("");
			const std::string &expression =
			    expressions[i] ? *expressions[i]
			                   : throw Error("22004", "mapping of field \"" + field + "\" has no expression");
			// A line break, because the expression may end in a comment.
			const std::string statement = "SELECT (" + expression + "\n)" + from;
			Analysis analysis;
			try {
				analysis = call_postgres([&] {
					return analyze(pg_any_to_server(expression.c_str(), expression.size(), PG_UTF8),
					               pg_any_to_server(statement.c_str(), statement.size(), PG_UTF8));
				});
				spi_execute("EXPLAIN " + statement);
			} catch (const PgError &error) {
				if (!is_about_mapping(error))
					throw;
				throw Error(error.sqlstate, "mapping of field \"" + field + "\" does not compile: " + error.message,
				            error.sqlstate == "42703" ? "Columns of the model: " + list_columns(model) + "."
				                                      : error.detail,
				            error.hint);
			}
			result.add({static_cast<std::int32_t>(i + 1), analysis.type_name, column_names(model, analysis),
			            analysis.reads_clock});
		}
	});
}

} // namespace courier::pg
