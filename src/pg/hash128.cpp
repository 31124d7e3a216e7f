// courier.hash128(VARIADIC "any") RETURNS uuid: the hash by which changes are found.
//
// PostgreSQL's own hashes answer another question (are these equal by the type's `=`), miss changes that have equal or
// folded hashes (5 and -5, 1 and 4294967296), do not exist for many types, and text hashes depend on session settings.
// This one runs XXH3-128 over a stream of bytes that two values share only when they are the same value:
//
//   NULL                 tag 0
//   plain value          tag 1, length (8 bytes), the datum's bytes, detoasted and without its header
//   value told by text   tag 2, length, text: what has an OID inside (enums, reg*, aclitem). OIDs change when a database
//                        is restored, and a restored database must not resend
//   composite            tag 3, number of live fields, each field as a value
//   array                tag 4, number of dimensions, sizes and lower bounds, number of elements, the elements as values
//   range                tag 5, flags, the bounds that there are, as values
//   multirange           tag 6, number of ranges, each range as a value
//
// Domains are their base type. Arrays, composites and ranges are always taken apart, never hashed as one image: the
// image holds type OIDs, and equal ones may differ in padding and NULL bitmaps. Names and types of columns are not
// hashed; the caller's first argument (a sync's seed) stands for them. Integers of the stream are little-endian on
// every machine; the images of numeric, jsonb and geometric types have the machine's byte order, so a copy restored on
// a machine of the other byte order has other hashes.
//
// The stream is frozen: snapshots hold these hashes. Another stream is another function (or the hash version in a
// sync's snapshot_format). The regression test holds golden values.
//
// Nothing in this file owns C++ memory or throws, so server calls need no guard, which would cost more than the hash.

#include "pg/hash128.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

extern "C" {
#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_ts_dict.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"
}

namespace courier::pg {

namespace {

enum Tag : unsigned char {
	tag_null = 0,
	tag_image = 1,
	tag_text = 2,
	tag_composite = 3,
	tag_array = 4,
	tag_range = 5,
	tag_multirange = 6,
};

// Gathers the stream. Small rows stay in the buffer and are hashed in one call; longer ones go through XXH3's streaming
// state, which gives the same value.
struct Stream {
	static constexpr std::size_t capacity = 2048;

	XXH3_state_t state;
	bool streaming;
	std::size_t used;
	unsigned char buffer[capacity];

	void start() {
		streaming = false;
		used = 0;
	}

	void flush() {
		if (!streaming) {
			XXH3_128bits_reset(&state);
			streaming = true;
		}
		XXH3_128bits_update(&state, buffer, used);
		used = 0;
	}

	void put(const void *bytes, std::size_t size) {
		if (size > capacity - used) {
			flush();
			if (size > capacity / 2) {
				XXH3_128bits_update(&state, bytes, size);
				return;
			}
		}
		std::memcpy(buffer + used, bytes, size);
		used += size;
	}

	void put_byte(unsigned char byte) {
		if (used == capacity)
			flush();
		buffer[used++] = byte;
	}

	// The low `size` bytes, lowest first.
	void put_number(std::uint64_t number, int size) {
		if constexpr (std::endian::native == std::endian::big) {
			std::uint64_t reversed = 0;
			for (int i = 0; i < 8; i++)
				reversed = reversed << 8 | (number >> (8 * i) & 0xff);
			number = reversed;
		}
		if (sizeof number <= capacity - used) { // all of it, at a size that the compiler knows
			std::memcpy(buffer + used, &number, sizeof number);
			used += size;
		} else {
			put(&number, size);
		}
	}

	void put_head(Tag tag, std::size_t size) {
		put_byte(tag);
		put_number(size, 8);
	}

	void put_value(Tag tag, const void *bytes, std::size_t size) {
		put_head(tag, size);
		put(bytes, size);
	}

	XXH128_hash_t finish() {
		if (!streaming)
			return XXH3_128bits(buffer, used);
		XXH3_128bits_update(&state, buffer, used);
		return XXH3_128bits_digest(&state);
	}
};

enum class Kind : unsigned char {
	by_value,
	float4,
	float8,
	fixed,    // passed by reference, known length
	varlena,  // passed by reference, own length
	c_string, // also the name type: up to the first zero byte
	enumeration,
	reference, // reg* and aclitem
	composite,
	array,
	range,
	multirange,
};

// How to hash a type; made once per call site.
struct Plan {
	Oid type; // of the base type
	Kind kind;
	int16 length;
	bool by_value;
	char align;
	Plan *element;            // of an array's elements, a range's bounds
	TypeCacheEntry *typcache; // of a range (for a multirange, of its ranges)
	Oid composite_type;       // of the last composite value seen: record is a different type at every value
	int32 composite_typmod;
	int fields;
	Plan **field_plans; // NULL entries: dropped
	MemoryContext field_context;
	MemoryContext memory;
};

struct CallSite {
	int arguments;
	Plan **plans;
};

void hash_value(Stream &stream, Plan &plan, Datum value, bool is_null);

Plan *make_plan(Oid declared_type, MemoryContext memory) {
	check_stack_depth();
	auto *plan = static_cast<Plan *>(MemoryContextAllocZero(memory, sizeof(Plan)));
	plan->memory = memory;
	plan->type = getBaseType(declared_type);
	get_typlenbyvalalign(plan->type, &plan->length, &plan->by_value, &plan->align);

	switch (plan->type) {
	case FLOAT4OID:
		plan->kind = Kind::float4;
		return plan;
	case FLOAT8OID:
		plan->kind = Kind::float8;
		return plan;
	case NAMEOID:
		plan->kind = Kind::c_string;
		return plan;
	case REGPROCOID:
	case REGPROCEDUREOID:
	case REGOPEROID:
	case REGOPERATOROID:
	case REGCLASSOID:
	case REGTYPEOID:
	case REGROLEOID:
	case REGNAMESPACEOID:
	case REGCONFIGOID:
	case REGDICTIONARYOID:
	case REGCOLLATIONOID:
	case ACLITEMOID:
		plan->kind = Kind::reference;
		return plan;
	case RECORDOID:
		plan->kind = Kind::composite;
		return plan;
	}

	switch (get_typtype(plan->type)) {
	case TYPTYPE_ENUM:
		plan->kind = Kind::enumeration;
		return plan;
	case TYPTYPE_COMPOSITE:
		plan->kind = Kind::composite;
		return plan;
	case TYPTYPE_RANGE:
		plan->kind = Kind::range;
		plan->typcache = lookup_type_cache(plan->type, TYPECACHE_RANGE_INFO);
		plan->element = make_plan(plan->typcache->rngelemtype->type_id, memory);
		return plan;
	case TYPTYPE_MULTIRANGE:
		plan->kind = Kind::multirange;
		plan->typcache = lookup_type_cache(plan->type, TYPECACHE_MULTIRANGE_INFO)->rngtype;
		plan->element = make_plan(plan->typcache->type_id, memory);
		return plan;
	}

	Oid element = get_element_type(plan->type); // of true arrays only
	if (OidIsValid(element)) {
		plan->kind = Kind::array;
		plan->element = make_plan(element, memory);
	} else if (plan->length == -2) {
		plan->kind = Kind::c_string;
	} else if (plan->length == -1) {
		plan->kind = Kind::varlena;
	} else if (plan->by_value) {
		plan->kind = Kind::by_value;
	} else {
		plan->kind = Kind::fixed;
	}
	return plan;
}

void put_text(Stream &stream, const char *text) {
	stream.put_value(tag_text, text, std::strlen(text));
}

// schema.name of a catalog row, or NULL when there is none.
template <class Form> const char *qualified(int cache, Oid oid, Oid Form::*schema, NameData Form::*name) {
	HeapTuple tuple = SearchSysCache1(cache, ObjectIdGetDatum(oid));
	if (!HeapTupleIsValid(tuple))
		return nullptr;
	auto *row = reinterpret_cast<Form *>(GETSTRUCT(tuple));
	const char *schema_name = get_namespace_name(row->*schema);
	const char *text = quote_qualified_identifier(schema_name, NameStr(row->*name));
	ReleaseSysCache(tuple);
	return text;
}

// reg* types by name, always with the schema: the output functions leave it out by search_path. An OID that names
// nothing is told by its number, as the output functions do.
void hash_reference(Stream &stream, Oid type, Datum value) {
	if (type == ACLITEMOID) {
		Oid output;
		bool is_varlena;
		getTypeOutputInfo(type, &output, &is_varlena);
		put_text(stream, OidOutputFunctionCall(output, value));
		return;
	}

	const Oid oid = DatumGetObjectId(value);
	const char *text = nullptr;
	switch (type) {
	case REGPROCOID:
		text = qualified(PROCOID, oid, &FormData_pg_proc::pronamespace, &FormData_pg_proc::proname);
		break;
	case REGOPEROID:
		text = qualified(OPEROID, oid, &FormData_pg_operator::oprnamespace, &FormData_pg_operator::oprname);
		break;
	case REGCLASSOID:
		text = qualified(RELOID, oid, &FormData_pg_class::relnamespace, &FormData_pg_class::relname);
		break;
	case REGCONFIGOID:
		text = qualified(TSCONFIGOID, oid, &FormData_pg_ts_config::cfgnamespace, &FormData_pg_ts_config::cfgname);
		break;
	case REGDICTIONARYOID:
		text = qualified(TSDICTOID, oid, &FormData_pg_ts_dict::dictnamespace, &FormData_pg_ts_dict::dictname);
		break;
	case REGCOLLATIONOID:
		text = qualified(COLLOID, oid, &FormData_pg_collation::collnamespace, &FormData_pg_collation::collname);
		break;
	case REGPROCEDUREOID:
		text = format_procedure_extended(oid, FORMAT_PROC_FORCE_QUALIFY | FORMAT_PROC_INVALID_AS_NULL);
		break;
	case REGOPERATOROID:
		text = format_operator_extended(oid, FORMAT_OPERATOR_FORCE_QUALIFY | FORMAT_OPERATOR_INVALID_AS_NULL);
		break;
	case REGTYPEOID:
		text = format_type_extended(oid, -1, FORMAT_TYPE_FORCE_QUALIFY | FORMAT_TYPE_INVALID_AS_NULL);
		break;
	case REGROLEOID:
		text = GetUserNameFromId(oid, true);
		break;
	case REGNAMESPACEOID:
		text = get_namespace_name(oid);
		break;
	}

	if (text) {
		put_text(stream, text);
	} else {
		char number[16] = {};
		pg_ultoa_n(oid, number);
		put_text(stream, number);
	}
}

void hash_enum(Stream &stream, Datum value) {
	HeapTuple tuple = SearchSysCache1(ENUMOID, value);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
		                errmsg("invalid internal value for enum: %u", DatumGetObjectId(value))));
	put_text(stream, NameStr(reinterpret_cast<Form_pg_enum>(GETSTRUCT(tuple))->enumlabel));
	ReleaseSysCache(tuple);
}

void hash_array(Stream &stream, Plan &plan, Datum value) {
	ArrayType *array = DatumGetArrayTypeP(value);
	const int dimensions = ARR_NDIM(array);
	const int *sizes = ARR_DIMS(array);
	const int *lower_bounds = ARR_LBOUND(array);
	const int count = ArrayGetNItems(dimensions, sizes);

	stream.put_byte(tag_array);
	stream.put_number(dimensions, 4);
	for (int i = 0; i < dimensions; i++) {
		stream.put_number(static_cast<std::uint32_t>(sizes[i]), 4);
		stream.put_number(static_cast<std::uint32_t>(lower_bounds[i]), 4);
	}
	stream.put_number(count, 4);

	Plan &element = *plan.element;
	// The element type as stored: a domain's layout is its base type's.
	const char *position = ARR_DATA_PTR(array);
	const bits8 *nulls = ARR_NULLBITMAP(array);
	for (int i = 0; i < count; i++) {
		if (nulls && !(nulls[i / 8] & (1 << (i % 8)))) {
			hash_value(stream, element, (Datum)0, true);
			continue;
		}
		hash_value(stream, element, fetch_att(position, element.by_value, element.length), false);
		position = att_addlength_pointer(position, element.length, position);
		position = reinterpret_cast<const char *>(att_align_nominal(position, element.align));
	}
	if (reinterpret_cast<Pointer>(array) != DatumGetPointer(value))
		pfree(array);
}

// Field plans belong to a row type. A column of type record may hold another one in every row.
void plan_fields(Plan &plan, TupleDesc descriptor, Oid type, int32 typmod) {
	if (plan.field_plans && plan.composite_type == type && plan.composite_typmod == typmod &&
	    plan.fields == descriptor->natts)
		return;
	if (!plan.field_context)
		plan.field_context = AllocSetContextCreate(plan.memory, "pg_courier hash plan", ALLOCSET_SMALL_SIZES);
	plan.field_plans = nullptr;
	MemoryContextReset(plan.field_context);
	auto **fields =
	    static_cast<Plan **>(MemoryContextAllocZero(plan.field_context, descriptor->natts * sizeof(Plan *) + 1));
	for (int i = 0; i < descriptor->natts; i++) {
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		if (!attribute->attisdropped)
			fields[i] = make_plan(attribute->atttypid, plan.field_context);
	}
	plan.composite_type = type;
	plan.composite_typmod = typmod;
	plan.fields = descriptor->natts;
	plan.field_plans = fields;
}

void hash_composite(Stream &stream, Plan &plan, Datum value) {
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	const Oid type = HeapTupleHeaderGetTypeId(header);
	const int32 typmod = HeapTupleHeaderGetTypMod(header);
	TupleDesc descriptor = lookup_rowtype_tupdesc(type, typmod);
	plan_fields(plan, descriptor, type, typmod);

	HeapTupleData tuple;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	const int count = descriptor->natts;
	auto *values = static_cast<Datum *>(palloc(count * sizeof(Datum) + 1));
	auto *nulls = static_cast<bool *>(palloc(count * sizeof(bool) + 1));
	heap_deform_tuple(&tuple, descriptor, values, nulls);
	ReleaseTupleDesc(descriptor);

	int live = 0;
	for (int i = 0; i < count; i++)
		live += plan.field_plans[i] != nullptr;
	stream.put_byte(tag_composite);
	stream.put_number(live, 4);
	for (int i = 0; i < count; i++) {
		if (plan.field_plans[i])
			hash_value(stream, *plan.field_plans[i], values[i], nulls[i]);
	}
	pfree(values);
	pfree(nulls);
	if (reinterpret_cast<Pointer>(header) != DatumGetPointer(value))
		pfree(header);
}

void hash_range(Stream &stream, Plan &plan, const RangeType *range) {
	RangeBound lower;
	RangeBound upper;
	bool empty;
	range_deserialize(plan.typcache, range, &lower, &upper, &empty);
	stream.put_byte(tag_range);
	if (empty) {
		stream.put_byte(1);
		return;
	}
	stream.put_byte(static_cast<unsigned char>((lower.infinite ? 2 : 0) | (lower.inclusive ? 4 : 0) |
	                                           (upper.infinite ? 8 : 0) | (upper.inclusive ? 16 : 0)));
	if (!lower.infinite)
		hash_value(stream, *plan.element, lower.val, false);
	if (!upper.infinite)
		hash_value(stream, *plan.element, upper.val, false);
}

void hash_multirange(Stream &stream, Plan &plan, Datum value) {
	MultirangeType *multirange = DatumGetMultirangeTypeP(value);
	int32 count;
	RangeType **ranges;
	multirange_deserialize(plan.typcache, multirange, &count, &ranges);
	stream.put_byte(tag_multirange);
	stream.put_number(static_cast<std::uint32_t>(count), 4);
	for (int i = 0; i < count; i++)
		hash_range(stream, *plan.element, ranges[i]);
}

void hash_value(Stream &stream, Plan &plan, Datum value, bool is_null) {
	if (is_null) {
		stream.put_byte(tag_null);
		return;
	}
	switch (plan.kind) {
	case Kind::by_value:
		stream.put_head(tag_image, plan.length);
		stream.put_number(static_cast<std::uint64_t>(value), plan.length);
		return;
	case Kind::float4: {
		float number = DatumGetFloat4(value);
		if (std::isnan(number))
			number = std::numeric_limits<float>::quiet_NaN(); // one of the many
		stream.put_head(tag_image, 4);
		stream.put_number(std::bit_cast<std::uint32_t>(number), 4);
		return;
	}
	case Kind::float8: {
		double number = DatumGetFloat8(value);
		if (std::isnan(number))
			number = std::numeric_limits<double>::quiet_NaN();
		stream.put_head(tag_image, 8);
		stream.put_number(std::bit_cast<std::uint64_t>(number), 8);
		return;
	}
	case Kind::fixed:
		stream.put_value(tag_image, DatumGetPointer(value), plan.length);
		return;
	case Kind::varlena: {
		struct varlena *detoasted = PG_DETOAST_DATUM_PACKED(value);
		stream.put_value(tag_image, VARDATA_ANY(detoasted), VARSIZE_ANY_EXHDR(detoasted));
		if (reinterpret_cast<Pointer>(detoasted) != DatumGetPointer(value))
			pfree(detoasted);
		return;
	}
	case Kind::c_string: {
		const char *text = DatumGetCString(value);
		stream.put_value(tag_image, text, plan.length > 0 ? strnlen(text, plan.length) : std::strlen(text));
		return;
	}
	case Kind::enumeration:
		hash_enum(stream, value);
		return;
	case Kind::reference:
		hash_reference(stream, plan.type, value);
		return;
	case Kind::composite:
		check_stack_depth();
		hash_composite(stream, plan, value);
		return;
	case Kind::array:
		check_stack_depth();
		hash_array(stream, plan, value);
		return;
	case Kind::range:
		hash_range(stream, plan, DatumGetRangeTypeP(value));
		return;
	case Kind::multirange:
		hash_multirange(stream, plan, value);
		return;
	}
}

CallSite *make_call_site(FunctionCallInfo fcinfo) {
	if (get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("courier.hash128 cannot be called with VARIADIC and an array"),
		                errhint("Pass the values one by one, or the array as a single value without VARIADIC.")));
	MemoryContext memory = fcinfo->flinfo->fn_mcxt;
	auto *site = static_cast<CallSite *>(MemoryContextAllocZero(memory, sizeof(CallSite)));
	site->arguments = PG_NARGS();
	site->plans = static_cast<Plan **>(MemoryContextAllocZero(memory, site->arguments * sizeof(Plan *) + 1));
	for (int i = 0; i < site->arguments; i++) {
		Oid type = get_fn_expr_argtype(fcinfo->flinfo, i);
		if (!OidIsValid(type))
			ereport(ERROR, (errcode(ERRCODE_INDETERMINATE_DATATYPE),
			                errmsg("could not determine the type of argument %d of courier.hash128", i + 1)));
		site->plans[i] = make_plan(type, memory);
	}
	return site;
}

} // namespace

UuidText uuid_text(const UuidBytes &bytes) {
	static constexpr char digits[] = "0123456789abcdef";
	UuidText out;
	int at = 0;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out.characters[at++] = '-';
		out.characters[at++] = digits[bytes[i] >> 4];
		out.characters[at++] = digits[bytes[i] & 15];
	}
	return out;
}

UuidBytes uuid_bytes(std::string_view text) {
	UuidBytes out {};
	int digit = 0;
	for (char c : text) {
		if (c == '-' || digit == 32)
			continue;
		out[digit / 2] = static_cast<unsigned char>(out[digit / 2] << 4 | (c <= '9' ? c - '0' : (c | 32) - 'a' + 10));
		digit++;
	}
	return out;
}

void hash128_of_texts(const std::string_view *texts, int count, std::int64_t number, unsigned char *out) {
	Stream stream;
	stream.start();
	for (int i = 0; i < count; i++)
		stream.put_value(tag_image, texts[i].data(), texts[i].size());
	stream.put_head(tag_image, 8);
	stream.put_number(static_cast<std::uint64_t>(number), 8);
	XXH128_canonical_t canonical;
	XXH128_canonicalFromHash(&canonical, stream.finish());
	std::memcpy(out, canonical.digest, sizeof canonical.digest);
}

COURIER_FUNCTION(courier_hash128) {
	auto *site = static_cast<CallSite *>(fcinfo->flinfo->fn_extra);
	if (!site)
		fcinfo->flinfo->fn_extra = site = make_call_site(fcinfo);

	Stream stream;
	stream.start();
	for (int i = 0; i < site->arguments; i++)
		hash_value(stream, *site->plans[i], PG_GETARG_DATUM(i), PG_ARGISNULL(i));

	auto *result = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
	XXH128_canonical_t canonical;
	XXH128_canonicalFromHash(&canonical, stream.finish());
	static_assert(sizeof canonical.digest == UUID_LEN);
	std::memcpy(result->data, canonical.digest, UUID_LEN);
	PG_RETURN_UUID_P(result);
}

} // namespace courier::pg
