// Records as JSON text: courier_internal.record_json and values_json, key_text and key_json.
//
// values_json gets the values one by one, which spares making a record of them only to take it apart again; record_json is
// for more of them than a function can have arguments. Both get the destination's field names apart from the record, because they need not fit into an identifier
// (63 bytes), and because dotted names nest. The names are turned into steps (open an object, write field i, close it)
// once per call site; a row only walks them. Fields keep their order; an object stands where its first field stands.
//
// Nothing in this file owns C++ memory or throws, so server calls need no guard: an error leaves plain frames behind.

#include "pg/json_value.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
}

namespace courier::pg {

namespace {

struct Step {
	enum { open, field, close } what;
	int index;      // of the field
	bool omit_null; // leave the field out when it is NULL
	char *label;    // "name": ready to be written
	int label_length;
};

struct CallSite {
	json::Plan *record;   // of record_json
	json::Plan **plans;   // of the others, one an argument
	MemoryContext memory;      // of everything below; reset when the fields change
	bytea *fields, *omit_null; // what the steps were made from
	Step *steps;
	int count;
	int fields_count;
};

// A name, or a part of a dotted one, while the steps are made.
struct Node {
	const char *name;
	int name_length;
	int field; // -1: an object
	Node *first, *last, *next;
};

// The values to write, from arguments or from a record.
struct Row {
	int count;
	json::Plan **plans;
	Datum *values;
	bool *nulls;
};

Node *child(Node &parent, const char *name, int length) {
	for (Node *node = parent.first; node; node = node->next) {
		if (node->name_length == length && std::memcmp(node->name, name, length) == 0)
			return node;
	}
	return nullptr;
}

Node *add_child(Node &parent, const char *name, int length, int field) {
	auto *node = static_cast<Node *>(palloc0(sizeof(Node)));
	node->name = name;
	node->name_length = length;
	node->field = field;
	(parent.last ? parent.last->next : parent.first) = node;
	parent.last = node;
	return node;
}

void add_field(Node &root, const char *name, int length, int field) {
	Node *parent = &root;
	const char *part = name;
	const char *end = name + length;
	for (;;) {
		const char *dot = static_cast<const char *>(std::memchr(part, '.', end - part));
		const int part_length = static_cast<int>((dot ? dot : end) - part);
		if (part_length == 0)
			ereport(
			    ERROR,
			    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			     errmsg("field name \"%.*s\" has an empty part", length, name),
			     errdetail("A dot in a field name nests: \"address.city\" is the member \"city\" of \"address\".")));
		Node *found = child(*parent, part, part_length);
		if (!dot) {
			if (found)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				                found->field >= 0 ? errmsg("field \"%.*s\" is mapped twice", length, name)
				                                  : errmsg("field \"%.*s\" is a value and an object", length, name)));
			add_child(*parent, part, part_length, field);
			return;
		}
		if (found && found->field >= 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("field \"%.*s\" is a value and an object", static_cast<int>(dot - name), name)));
		parent = found ? found : add_child(*parent, part, part_length, -1);
		part = dot + 1;
	}
}

int count_steps(const Node &parent) {
	int count = 0;
	for (Node *node = parent.first; node; node = node->next)
		count += node->field >= 0 ? 1 : 2 + count_steps(*node);
	return count;
}

void make_steps(CallSite &site, const Node &parent, const bool *omit) {
	check_stack_depth();
	for (Node *node = parent.first; node; node = node->next) {
		StringInfoData label;
		initStringInfo(&label);
		json::write_string(&label, node->name, node->name_length, true);
		appendStringInfoChar(&label, ':');
		const bool is_field = node->field >= 0;
		site.steps[site.count++] = {is_field ? Step::field : Step::open, node->field, is_field && omit[node->field],
		                            label.data, label.len};
		if (!is_field) {
			make_steps(site, *node, omit);
			site.steps[site.count++] = {Step::close, -1, false, nullptr, 0};
		}
	}
}

bool *read_omit(bytea *omit_null, int count) {
	auto *omit = static_cast<bool *>(palloc0(count * sizeof(bool) + 1));
	if (!omit_null)
		return omit;
	Datum *values;
	bool *nulls;
	int given;
	deconstruct_array(reinterpret_cast<ArrayType *>(omit_null), BOOLOID, 1, true, TYPALIGN_CHAR, &values, &nulls,
	                  &given);
	if (given != count)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("record_json got %d names and %d flags", count, given)));
	for (int i = 0; i < count; i++)
		omit[i] = !nulls[i] && DatumGetBool(values[i]);
	return omit;
}

bytea *copy_argument(FunctionCallInfo fcinfo, int index, MemoryContext memory) {
	if (PG_ARGISNULL(index))
		return nullptr;
	auto *value = reinterpret_cast<bytea *>(PG_DETOAST_DATUM(PG_GETARG_DATUM(index)));
	auto *copy = static_cast<bytea *>(MemoryContextAlloc(memory, VARSIZE(value)));
	std::memcpy(copy, value, VARSIZE(value));
	return copy;
}

bool same_argument(FunctionCallInfo fcinfo, int index, const bytea *seen) {
	if (PG_ARGISNULL(index) || !seen)
		return PG_ARGISNULL(index) && !seen;
	auto *value = reinterpret_cast<bytea *>(PG_DETOAST_DATUM(PG_GETARG_DATUM(index)));
	return VARSIZE(value) == VARSIZE(seen) && std::memcmp(value, seen, VARSIZE(seen)) == 0;
}

// The steps for these fields. They are constants in every statement that we write, so this happens once per call site.
void prepare(CallSite &site, FunctionCallInfo fcinfo) {
	if (site.steps && same_argument(fcinfo, 0, site.fields) && same_argument(fcinfo, 1, site.omit_null))
		return;
	site.steps = nullptr;
	if (!site.memory)
		site.memory = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "pg_courier record fields", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(site.memory);
	MemoryContext caller = MemoryContextSwitchTo(site.memory);
	site.fields = copy_argument(fcinfo, 0, site.memory);
	site.omit_null = copy_argument(fcinfo, 1, site.memory);

	Datum *names;
	bool *nulls;
	deconstruct_array(reinterpret_cast<ArrayType *>(site.fields), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls,
	                  &site.fields_count);
	Node root {};
	for (int i = 0; i < site.fields_count; i++) {
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a field name is NULL")));
		auto *name = PG_DETOAST_DATUM_PACKED(names[i]);
		add_field(root, VARDATA_ANY(name), static_cast<int>(VARSIZE_ANY_EXHDR(name)), i);
	}
	bool *omit = read_omit(site.omit_null, site.fields_count);
	auto *steps = static_cast<Step *>(palloc(count_steps(root) * sizeof(Step) + 1));
	site.count = 0;
	site.steps = steps;
	make_steps(site, root, omit);
	MemoryContextSwitchTo(caller);
}

template <class Prepare> CallSite &call_site(FunctionCallInfo fcinfo, Prepare prepare_types) {
	auto *site = static_cast<CallSite *>(fcinfo->flinfo->fn_extra);
	if (!site) {
		site = static_cast<CallSite *>(MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(CallSite)));
		prepare_types(*site, fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = site;
	}
	return *site;
}

CallSite &record_site(FunctionCallInfo fcinfo, int argument) {
	return call_site(fcinfo, [&](CallSite &site, MemoryContext memory) {
		Oid type = get_fn_expr_argtype(fcinfo->flinfo, argument);
		site.record = json::make_plan(OidIsValid(type) ? type : RECORDOID, memory);
	});
}

CallSite &values_site(FunctionCallInfo fcinfo, int first) {
	return call_site(fcinfo, [&](CallSite &site, MemoryContext memory) {
		if (get_fn_expr_variadic(fcinfo->flinfo))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("VARIADIC with an array is not supported")));
		site.plans = static_cast<json::Plan **>(MemoryContextAlloc(memory, PG_NARGS() * sizeof(json::Plan *)));
		for (int i = first; i < PG_NARGS(); i++)
			site.plans[i - first] = json::make_plan(get_fn_expr_argtype(fcinfo->flinfo, i), memory);
	});
}

// Dropped columns have no place in it.
Row row_of(json::Plan &record, const json::Deformed &deformed) {
	Row row {record.fields, record.field_plans, deformed.values, deformed.nulls};
	for (int i = 0; i < record.fields; i++) {
		if (record.field_plans[i])
			continue;
		row.plans = static_cast<json::Plan **>(palloc(record.fields * sizeof(json::Plan *)));
		row.count = 0;
		for (int at = 0; at < record.fields; at++) {
			if (!record.field_plans[at])
				continue;
			row.plans[row.count] = record.field_plans[at];
			row.values[row.count] = deformed.values[at];
			row.nulls[row.count++] = deformed.nulls[at];
		}
		break;
	}
	return row;
}

struct Arguments {
	Datum values[FUNC_MAX_ARGS];
	bool nulls[FUNC_MAX_ARGS];

	Arguments(FunctionCallInfo fcinfo, int first) {
		for (int i = first; i < PG_NARGS(); i++) {
			values[i - first] = PG_GETARG_DATUM(i);
			nulls[i - first] = PG_ARGISNULL(i);
		}
	}
};

Datum finish(StringInfo out) {
	SET_VARSIZE(out->data, out->len);
	return PointerGetDatum(out->data);
}

// Room for the header in front, so that the text needs no copy in the end.
void start(StringInfo out) {
	initStringInfo(out);
	static constexpr char header[VARHDRSZ] = {};
	appendBinaryStringInfo(out, header, VARHDRSZ);
}

void write_record(StringInfo out, const CallSite &site, const Row &row) {
	if (row.count != site.fields_count)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("record_json got %d names for a record of %d columns", site.fields_count, row.count)));
	appendStringInfoCharMacro(out, '{');
	bool first = true;
	// Where an open object began: one of which every field was left out is left out, too.
	struct Opened {
		int length;
		bool first;
	};
	auto *opened = static_cast<Opened *>(palloc(site.count * sizeof(Opened) + 1));
	int depth = 0;
	for (int i = 0; i < site.count; i++) {
		const Step &step = site.steps[i];
		if (step.what == Step::close) {
			depth--;
			if (first) {
				out->len = opened[depth].length;
				out->data[out->len] = '\0';
				first = opened[depth].first;
			} else {
				appendStringInfoCharMacro(out, '}');
				first = false;
			}
			continue;
		}
		const bool is_null = step.what == Step::field && row.nulls[step.index];
		if (is_null && step.omit_null)
			continue;
		const int length = out->len;
		if (!first)
			appendStringInfoCharMacro(out, ',');
		appendBinaryStringInfo(out, step.label, step.label_length);
		if (step.what == Step::open) {
			appendStringInfoCharMacro(out, '{');
			opened[depth++] = {length, first};
			first = true;
			continue;
		}
		first = false;
		if (is_null)
			appendBinaryStringInfo(out, "null", 4);
		else
			json::write_value(out, *row.plans[step.index], row.values[step.index], true);
	}
	appendStringInfoCharMacro(out, '}');
}

void need_names(FunctionCallInfo fcinfo) {
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("record_json needs the names of the fields")));
}

} // namespace

COURIER_FUNCTION(courier_record_json) {
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	need_names(fcinfo);
	CallSite &site = record_site(fcinfo, 2);
	prepare(site, fcinfo);
	json::Deformed deformed = json::deform(*site.record, PG_GETARG_DATUM(2));
	StringInfoData out;
	start(&out);
	write_record(&out, site, row_of(*site.record, deformed));
	ReleaseTupleDesc(deformed.descriptor);
	PG_RETURN_DATUM(finish(&out));
}

COURIER_FUNCTION(courier_values_json) {
	need_names(fcinfo);
	CallSite &site = values_site(fcinfo, 2);
	prepare(site, fcinfo);
	Arguments arguments(fcinfo, 2);
	StringInfoData out;
	start(&out);
	write_record(&out, site, {PG_NARGS() - 2, site.plans, arguments.values, arguments.nulls});
	PG_RETURN_DATUM(finish(&out));
}

// One column: its text, as JSON has it but without quotes (NULL: NULL). Several: a JSON array on one line.
COURIER_FUNCTION(courier_key_text) {
	CallSite &site = values_site(fcinfo, 0);
	const int count = PG_NARGS();
	if (count == 1 && PG_ARGISNULL(0))
		PG_RETURN_NULL();
	StringInfoData out;
	start(&out);
	if (count != 1)
		appendStringInfoCharMacro(&out, '[');
	for (int i = 0; i < count; i++) {
		if (i > 0)
			appendStringInfoCharMacro(&out, ',');
		if (PG_ARGISNULL(i))
			appendBinaryStringInfo(&out, "null", 4);
		else
			json::write_value(&out, *site.plans[i], PG_GETARG_DATUM(i), count != 1);
	}
	if (count != 1)
		appendStringInfoCharMacro(&out, ']');
	PG_RETURN_DATUM(finish(&out));
}

// Like key_text, with names: {"id":42}. Names are columns' names, so a dot in one is part of it.
COURIER_FUNCTION(courier_key_json) {
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	CallSite &site = values_site(fcinfo, 1);
	const int count = PG_NARGS() - 1;
	Datum *names;
	bool *name_nulls;
	int name_count;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &names, &name_nulls, &name_count);
	if (count != name_count)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		        errmsg("key_json got %d names for a key of %d columns", name_count, count));
	StringInfoData out;
	start(&out);
	for (int i = 0; i < count; i++) {
		appendStringInfoCharMacro(&out, i == 0 ? '{' : ',');
		text *name = DatumGetTextPP(names[i]);
		json::write_string(&out, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), true);
		appendStringInfoCharMacro(&out, ':');
		if (PG_ARGISNULL(i + 1))
			appendBinaryStringInfo(&out, "null", 4);
		else
			json::write_value(&out, *site.plans[i], PG_GETARG_DATUM(i + 1), true);
	}
	appendStringInfoCharMacro(&out, '}');
	PG_RETURN_DATUM(finish(&out));
}

} // namespace courier::pg
