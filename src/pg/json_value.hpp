#pragma once

// Writes values as JSON text. row_to_json comes close, but it is shaped by the session (TimeZone, extra_float_digits,
// bytea_output) and writes bytea as hex. What a destination gets must be the same whoever runs the sync, so this writer
// uses no setting: dates go through the ISO encoder with UTC, numbers through the shortest decimal form, and every type
// that is written as its own text is written with the settings pinned around its output function.
//
// Nothing here owns C++ memory or throws, so server calls need no guard: an error leaves plain frames behind.

#include "pg/postgres.hpp"

extern "C" {
#include "access/tupdesc.h"
#include "lib/stringinfo.h"
}

namespace courier::pg::json {

enum class Kind : unsigned char {
	boolean,
	small_integer,
	integer,
	big_integer,
	float4,
	float8,
	numeric,
	date_or_time,
	bytea,
	text, // varlena whose bytes are the text
	json,
	jsonb,
	array,
	composite,
	plain_output, // the text of the type's output function, which no setting shapes
	output,       // ... under pinned settings
};

// How to write a type; made once per call site.
struct Plan {
	Oid type;
	Kind kind;
	int16 length;
	bool by_value;
	char align;
	FmgrInfo output;
	Plan *element;
	Oid composite_type; // of the last value: record is a different type at every value
	int32 composite_typmod;
	int fields;
	Plan **field_plans;
	MemoryContext field_context;
	MemoryContext memory;
};

Plan *make_plan(Oid type, MemoryContext memory);

// `quoted` false: what JSON writes as a string is written without quotes and escapes.
void write_value(StringInfo out, Plan &plan, Datum value, bool quoted);
void write_string(StringInfo out, const char *text, std::size_t size, bool quoted);

// A composite value taken apart; plan.field_plans are ready for its fields then (NULL: a dropped column).
struct Deformed {
	TupleDesc descriptor; // pinned: ReleaseTupleDesc
	Datum *values;
	bool *nulls;
};
Deformed deform(Plan &plan, Datum value);

} // namespace courier::pg::json
