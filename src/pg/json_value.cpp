#include "pg/json_value.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/bytea.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
}

namespace courier::pg::json {

Plan *make_plan(Oid declared_type, MemoryContext memory) {
	check_stack_depth();
	auto *plan = static_cast<Plan *>(MemoryContextAllocZero(memory, sizeof(Plan)));
	plan->memory = memory;
	plan->type = getBaseType(declared_type);
	get_typlenbyvalalign(plan->type, &plan->length, &plan->by_value, &plan->align);
	switch (plan->type) {
	case BOOLOID:
		plan->kind = Kind::boolean;
		return plan;
	case INT2OID:
		plan->kind = Kind::small_integer;
		return plan;
	case INT4OID:
		plan->kind = Kind::integer;
		return plan;
	case INT8OID:
		plan->kind = Kind::big_integer;
		return plan;
	case FLOAT4OID:
		plan->kind = Kind::float4;
		return plan;
	case FLOAT8OID:
		plan->kind = Kind::float8;
		return plan;
	case NUMERICOID:
		plan->kind = Kind::numeric;
		break;
	case DATEOID:
	case TIMEOID:
	case TIMETZOID:
	case TIMESTAMPOID:
	case TIMESTAMPTZOID:
		plan->kind = Kind::date_or_time;
		return plan;
	case BYTEAOID:
		plan->kind = Kind::bytea;
		return plan;
	case TEXTOID:
	case VARCHAROID:
	case BPCHAROID:
		plan->kind = Kind::text;
		return plan;
	case JSONOID:
		plan->kind = Kind::json;
		return plan;
	case JSONBOID:
		plan->kind = Kind::jsonb;
		return plan;
	case UUIDOID:
	case NAMEOID:
	case OIDOID:
	case INETOID:
	case CIDROID:
	case MACADDROID:
	case MACADDR8OID:
		plan->kind = Kind::plain_output;
		break;
	case INT2VECTOROID:
	case OIDVECTOROID:
		plan->kind = Kind::output;
		break;
	default:
		if (plan->type == RECORDOID || get_typtype(plan->type) == TYPTYPE_COMPOSITE) {
			plan->kind = Kind::composite;
			return plan;
		}
		if (Oid element = get_element_type(plan->type); OidIsValid(element)) {
			plan->kind = Kind::array;
			plan->element = make_plan(element, memory);
			return plan;
		}
		plan->kind = Kind::output;
	}
	Oid function;
	bool is_varlena;
	getTypeOutputInfo(plan->type, &function, &is_varlena);
	fmgr_info_cxt(function, &plan->output, memory);
	return plan;
}

void write_string(StringInfo out, const char *text, std::size_t size, bool quoted) {
	if (!quoted) {
		appendBinaryStringInfo(out, text, static_cast<int>(size));
		return;
	}
	appendStringInfoCharMacro(out, '"');
	std::size_t start = 0;
	for (std::size_t i = 0; i < size; i++) {
		const auto byte = static_cast<unsigned char>(text[i]);
		if (byte >= 0x20 && byte != '"' && byte != '\\')
			continue;
		if (i > start)
			appendBinaryStringInfo(out, text + start, static_cast<int>(i - start));
		start = i + 1;
		switch (byte) {
		case '"':
			appendStringInfoString(out, "\\\"");
			break;
		case '\\':
			appendStringInfoString(out, "\\\\");
			break;
		case '\b':
			appendStringInfoString(out, "\\b");
			break;
		case '\f':
			appendStringInfoString(out, "\\f");
			break;
		case '\n':
			appendStringInfoString(out, "\\n");
			break;
		case '\r':
			appendStringInfoString(out, "\\r");
			break;
		case '\t':
			appendStringInfoString(out, "\\t");
			break;
		default:
			appendStringInfo(out, "\\u%04x", byte);
		}
	}
	if (size > start)
		appendBinaryStringInfo(out, text + start, static_cast<int>(size - start));
	appendStringInfoCharMacro(out, '"');
}

// A number as it stands; "NaN" and the infinities, which JSON has no numbers for, as text.
static void write_number(StringInfo out, const char *text, bool quoted) {
	const char first = text[0] == '-' ? text[1] : text[0];
	if (first >= '0' && first <= '9')
		appendStringInfoString(out, text);
	else
		write_string(out, text, std::strlen(text), quoted);
}

template <class Float> static void write_float(StringInfo out, Float value, bool quoted) {
	char text[DOUBLE_SHORTEST_DECIMAL_LEN];
	if (std::isnan(value))
		write_string(out, "NaN", 3, quoted);
	else if (std::isinf(value))
		write_number(out, value > 0 ? "Infinity" : "-Infinity", quoted);
	else {
		if constexpr (std::is_same_v<Float, float>)
			float_to_shortest_decimal_buf(value, text);
		else
			double_to_shortest_decimal_buf(value, text);
		appendStringInfoString(out, text);
	}
}

// The text of the output function, under settings that are the same everywhere. lc_monetary is not among them: it is a
// locale that the server has loaded; UserContext pins it.
static char *pinned_output(FmgrInfo *output, Datum value) {
	pg_tz *zone = session_timezone;
	const int date_style = DateStyle;
	const int date_order = DateOrder;
	const int interval_style = IntervalStyle;
	const int float_digits = extra_float_digits;
	const int bytes_style = bytea_output;
	char *text = nullptr;
	PG_TRY();
	{
		session_timezone = pg_tzset("GMT"); // written as +00
		DateStyle = USE_ISO_DATES;
		DateOrder = DATEORDER_MDY;
		IntervalStyle = INTSTYLE_POSTGRES;
		extra_float_digits = 1;
		bytea_output = BYTEA_OUTPUT_HEX;
		text = OutputFunctionCall(output, value);
	}
	PG_FINALLY();
	{
		session_timezone = zone;
		DateStyle = date_style;
		DateOrder = date_order;
		IntervalStyle = interval_style;
		extra_float_digits = float_digits;
		bytea_output = bytes_style;
	}
	PG_END_TRY();
	return text;
}

static void write_base64(StringInfo out, Datum value, bool quoted) {
	auto *bytes = reinterpret_cast<bytea *>(PG_DETOAST_DATUM_PACKED(value));
	const int size = static_cast<int>(VARSIZE_ANY_EXHDR(bytes));
	const int room = pg_b64_enc_len(size);
	if (quoted)
		appendStringInfoCharMacro(out, '"');
	enlargeStringInfo(out, room + 1);
	const int written = encode_base64(VARDATA_ANY(bytes), size, out->data + out->len, room);
	if (written < 0)
		elog(ERROR, "could not encode %d bytes as base64", size);
	out->len += written;
	out->data[out->len] = '\0';
	if (quoted)
		appendStringInfoCharMacro(out, '"');
}

// As it is, on one line: line breaks in JSON are only ever between tokens, and a record may become a line of NDJSON.
static void write_json(StringInfo out, Datum value) {
	auto *json = reinterpret_cast<struct varlena *>(PG_DETOAST_DATUM_PACKED(value));
	const char *text = VARDATA_ANY(json);
	const int size = static_cast<int>(VARSIZE_ANY_EXHDR(json));
	const int start = out->len;
	appendBinaryStringInfo(out, text, size);
	for (int i = start; i < out->len; i++) {
		if (out->data[i] == '\n' || out->data[i] == '\r')
			out->data[i] = ' ';
	}
}

static void write_dimension(StringInfo out, Plan &plan, int dimension, int dimensions, const int *sizes,
                            const Datum *values, const bool *nulls, int &next) {
	appendStringInfoCharMacro(out, '[');
	for (int i = 0; i < sizes[dimension]; i++) {
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		if (dimension + 1 < dimensions) {
			write_dimension(out, plan, dimension + 1, dimensions, sizes, values, nulls, next);
		} else {
			if (nulls[next])
				appendStringInfoString(out, "null");
			else
				write_value(out, *plan.element, values[next], true);
			next++;
		}
	}
	appendStringInfoCharMacro(out, ']');
}

static void write_array(StringInfo out, Plan &plan, Datum value) {
	ArrayType *array = DatumGetArrayTypeP(value);
	if (ARR_NDIM(array) == 0) {
		appendStringInfoString(out, "[]");
		return;
	}
	Datum *values;
	bool *nulls;
	int count;
	deconstruct_array(array, ARR_ELEMTYPE(array), plan.element->length, plan.element->by_value, plan.element->align,
	                  &values, &nulls, &count);
	int next = 0;
	write_dimension(out, plan, 0, ARR_NDIM(array), ARR_DIMS(array), values, nulls, next);
}

Deformed deform(Plan &plan, Datum value) {
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	const Oid type = HeapTupleHeaderGetTypeId(header);
	const int32 typmod = HeapTupleHeaderGetTypMod(header);
	TupleDesc descriptor = lookup_rowtype_tupdesc(type, typmod);
	const int count = descriptor->natts;
	if (!plan.field_plans || plan.composite_type != type || plan.composite_typmod != typmod || plan.fields != count) {
		if (!plan.field_context)
			plan.field_context = AllocSetContextCreate(plan.memory, "pg_courier JSON plan", ALLOCSET_SMALL_SIZES);
		plan.field_plans = nullptr;
		MemoryContextReset(plan.field_context);
		auto **fields = static_cast<Plan **>(MemoryContextAllocZero(plan.field_context, count * sizeof(Plan *) + 1));
		for (int i = 0; i < count; i++) {
			Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
			if (!attribute->attisdropped)
				fields[i] = make_plan(attribute->atttypid, plan.field_context);
		}
		plan.composite_type = type;
		plan.composite_typmod = typmod;
		plan.fields = count;
		plan.field_plans = fields;
	}

	HeapTupleData tuple;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	Deformed deformed {descriptor, static_cast<Datum *>(palloc(count * sizeof(Datum) + 1)),
	                   static_cast<bool *>(palloc(count * sizeof(bool) + 1))};
	heap_deform_tuple(&tuple, descriptor, deformed.values, deformed.nulls);
	return deformed;
}

static void write_composite(StringInfo out, Plan &plan, Datum value) {
	Deformed row = deform(plan, value);
	bool first = true;
	appendStringInfoCharMacro(out, '{');
	for (int i = 0; i < plan.fields; i++) {
		if (!plan.field_plans[i])
			continue;
		if (!first)
			appendStringInfoCharMacro(out, ',');
		first = false;
		const char *name = NameStr(TupleDescAttr(row.descriptor, i)->attname);
		write_string(out, name, std::strlen(name), true);
		appendStringInfoCharMacro(out, ':');
		if (row.nulls[i])
			appendStringInfoString(out, "null");
		else
			write_value(out, *plan.field_plans[i], row.values[i], true);
	}
	appendStringInfoCharMacro(out, '}');
	ReleaseTupleDesc(row.descriptor);
}

void write_value(StringInfo out, Plan &plan, Datum value, bool quoted) {
	char buffer[MAXDATELEN + 1];
	switch (plan.kind) {
	case Kind::boolean:
		appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
		return;
	case Kind::small_integer:
		pg_itoa(DatumGetInt16(value), buffer);
		appendStringInfoString(out, buffer);
		return;
	case Kind::integer:
		pg_ltoa(DatumGetInt32(value), buffer);
		appendStringInfoString(out, buffer);
		return;
	case Kind::big_integer:
		pg_lltoa(DatumGetInt64(value), buffer);
		appendStringInfoString(out, buffer);
		return;
	case Kind::float4:
		write_float(out, DatumGetFloat4(value), quoted);
		return;
	case Kind::float8:
		write_float(out, DatumGetFloat8(value), quoted);
		return;
	case Kind::numeric:
		write_number(out, OutputFunctionCall(&plan.output, value), quoted);
		return;
	case Kind::date_or_time: {
		const int utc = 0; // timestamptz is shifted to it; timetz has an offset of its own
		JsonEncodeDateTime(buffer, value, plan.type, plan.type == TIMESTAMPTZOID ? &utc : nullptr);
		write_string(out, buffer, std::strlen(buffer), quoted);
		return;
	}
	case Kind::bytea:
		write_base64(out, value, quoted);
		return;
	case Kind::text: {
		auto *text = reinterpret_cast<struct varlena *>(PG_DETOAST_DATUM_PACKED(value));
		write_string(out, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text), quoted);
		return;
	}
	case Kind::json:
		write_json(out, value);
		return;
	case Kind::jsonb: {
		Jsonb *json = DatumGetJsonbP(value);
		JsonbToCString(out, &json->root, static_cast<int>(VARSIZE(json)));
		return;
	}
	case Kind::array:
		check_stack_depth();
		write_array(out, plan, value);
		return;
	case Kind::composite:
		check_stack_depth();
		write_composite(out, plan, value);
		return;
	case Kind::plain_output: {
		const char *text = OutputFunctionCall(&plan.output, value);
		write_string(out, text, std::strlen(text), quoted);
		return;
	}
	case Kind::output: {
		const char *text = pinned_output(&plan.output, value);
		write_string(out, text, std::strlen(text), quoted);
		return;
	}
	}
}

} // namespace courier::pg::json
