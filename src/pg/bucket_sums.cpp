// Sums of hashes by bucket: whether two sets of (key, hash) are the same, and where they differ, without a join.
//
//   courier_internal.bucket_sums(key, hash, buckets)   aggregate: a sum of 128 bits per bucket, over the rows whose key is not NULL
//   courier_internal.differing_buckets(sums, sums)     one bit per bucket; NULL when no bucket differs
//   courier_internal.in_buckets(key, bits)             whether the key falls into a bucket whose bit is set
//
// A row adds XXH3-128(key, hash) to the bucket that XXH3-64(key) names. Sums do not depend on order, so both scans may be
// parallel, and a row that stands twice does not cancel out, as it would with XOR. Sets that differ have the same sum in a
// bucket with a chance of 2^-128; `hash` carries the sync's secret seed, so nobody can craft such a set.
//
// The table of sums is larger than the caches next to the processor, and every row hits another place of it. So rows wait in
// a small buffer and go in together, their places fetched beforehand: the waiting overlaps.
//
// The sums are made anew in every run and live no longer than the statement: there is no state that could be wrong. The
// bytes are the machine's own, for the same reason.
//
// Nothing in this file owns C++ memory or throws, so server calls need no guard.

#include "pg/postgres.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

extern "C" {
#include "utils/lsyscache.h"
#include "utils/uuid.h"
}

namespace courier::pg {

namespace {

struct Sum {
	std::uint64_t low, high;

	void add(std::uint64_t more_low, std::uint64_t more_high) {
		low += more_low;
		high += more_high + (low < more_low);
	}
};

constexpr std::size_t max_buckets = 1 << 22;

std::size_t bytes_of(std::size_t buckets) {
	return VARHDRSZ + sizeof(std::uint32_t) + buckets * sizeof(Sum);
}

// 4 bytes in front make the sums aligned.
Sum *sums_of(bytea *state) {
	return reinterpret_cast<Sum *>(VARDATA(state) + sizeof(std::uint32_t));
}

std::size_t buckets_of(const bytea *state) {
	return (VARSIZE(state) - VARHDRSZ - sizeof(std::uint32_t)) / sizeof(Sum);
}

bool is_bucket_count(std::size_t buckets) {
	return buckets >= 8 && buckets <= max_buckets && std::has_single_bit(buckets);
}

// Anybody may call the two functions over bytes with bytes of his own.
bytea *checked_sums(bytea *sums) {
	if (VARSIZE(sums) < bytes_of(8) || VARSIZE(sums) != bytes_of(buckets_of(sums)) || !is_bucket_count(buckets_of(sums)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("these are not sums that courier_internal.bucket_sums made")));
	return sums;
}

struct State {
	struct Row {
		std::uint64_t bucket, low, high;
	};

	bytea *sums; // what the aggregate returns, so that nothing is copied
	std::size_t buckets;
	int waiting;
	Row rows[64];

	void add(std::uint64_t bucket, std::uint64_t low, std::uint64_t high) {
		__builtin_prefetch(sums_of(sums) + bucket, 1);
		rows[waiting] = {bucket, low, high};
		if (++waiting == std::size(rows))
			flush();
	}

	void flush() {
		for (int i = 0; i < waiting; i++)
			sums_of(sums)[rows[i].bucket].add(rows[i].low, rows[i].high);
		waiting = 0;
	}
};

State *new_state(MemoryContext memory, std::size_t buckets) {
	auto *state = static_cast<State *>(MemoryContextAllocZero(memory, sizeof(State)));
	state->buckets = buckets;
	state->sums = static_cast<bytea *>(
	    MemoryContextAllocExtended(memory, bytes_of(buckets), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
	SET_VARSIZE(state->sums, bytes_of(buckets));
	return state;
}

// The bytes of a key, filled up with zeros. One size for all keys of a set, known to the compiler, makes the hashes cheap.
struct KeyImage {
	unsigned char bytes[UUID_LEN] {};
};

struct KeyType {
	int16 length;
	bool by_value;
};

const KeyType &key_type(FmgrInfo *function, int argument) {
	if (!function->fn_extra) {
		Oid type = getBaseType(get_fn_expr_argtype(function, argument));
		auto *made = static_cast<KeyType *>(MemoryContextAlloc(function->fn_mcxt, sizeof(KeyType)));
		get_typlenbyval(type, &made->length, &made->by_value);
		if (!made->by_value && made->length != UUID_LEN)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			                errmsg("a key must have a fixed size of at most 8 bytes, or be a uuid, not type %s",
			                       format_type_be(type))));
		function->fn_extra = made;
	}
	return *static_cast<KeyType *>(function->fn_extra);
}

KeyImage image_of(const KeyType &type, Datum key) {
	KeyImage image;
	if (type.by_value) {
		std::uint64_t number = key;
		std::memcpy(image.bytes, &number, sizeof number);
	} else {
		std::memcpy(image.bytes, DatumGetPointer(key), UUID_LEN);
	}
	return image;
}

std::size_t bucket_of(const KeyImage &key, std::size_t buckets) {
	return XXH3_64bits(key.bytes, sizeof key.bytes) & (buckets - 1);
}

State *state_argument(FunctionCallInfo fcinfo, int index) {
	return PG_ARGISNULL(index) ? nullptr : reinterpret_cast<State *>(PG_GETARG_POINTER(index));
}

MemoryContext aggregate_memory(FunctionCallInfo fcinfo) {
	MemoryContext memory;
	if (!AggCheckCallContext(fcinfo, &memory))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("this function is part of an aggregate")));
	return memory;
}

} // namespace

// (state internal, key "any", hash uuid, buckets integer)
COURIER_FUNCTION(courier_bucket_sums_add) {
	State *state = state_argument(fcinfo, 0);
	if (!state) {
		int32 buckets = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
		if (buckets < 0 || !is_bucket_count(buckets))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("the number of buckets must be a power of two between 8 and %zu", max_buckets)));
		state = new_state(aggregate_memory(fcinfo), buckets);
	}
	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2)) {
		KeyImage key = image_of(key_type(fcinfo->flinfo, 1), PG_GETARG_DATUM(1));
		unsigned char row[sizeof key.bytes + UUID_LEN];
		std::memcpy(row, key.bytes, sizeof key.bytes);
		std::memcpy(row + sizeof key.bytes, PG_GETARG_UUID_P(2)->data, UUID_LEN);
		XXH128_hash_t hash = XXH3_128bits(row, sizeof row);
		state->add(bucket_of(key, state->buckets), hash.low64, hash.high64);
	}
	PG_RETURN_POINTER(state);
}

COURIER_FUNCTION(courier_bucket_sums_combine) {
	State *state = state_argument(fcinfo, 0), *more = state_argument(fcinfo, 1);
	if (!more && !state)
		PG_RETURN_NULL();
	if (!more)
		PG_RETURN_POINTER(state);
	if (!state)
		state = new_state(aggregate_memory(fcinfo), more->buckets);
	if (state->buckets != more->buckets)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the number of buckets must be a constant")));
	more->flush();
	for (std::size_t i = 0; i < state->buckets; i++)
		sums_of(state->sums)[i].add(sums_of(more->sums)[i].low, sums_of(more->sums)[i].high);
	PG_RETURN_POINTER(state);
}

COURIER_FUNCTION(courier_bucket_sums_serial) {
	State *state = state_argument(fcinfo, 0);
	state->flush();
	PG_RETURN_BYTEA_P(state->sums);
}

COURIER_FUNCTION(courier_bucket_sums_deserial) {
	auto *state = static_cast<State *>(palloc0(sizeof(State)));
	state->sums = checked_sums(PG_GETARG_BYTEA_P(0));
	state->buckets = buckets_of(state->sums);
	PG_RETURN_POINTER(state);
}

COURIER_FUNCTION(courier_bucket_sums_final) {
	State *state = state_argument(fcinfo, 0);
	if (!state)
		PG_RETURN_NULL();
	state->flush();
	PG_RETURN_BYTEA_P(state->sums);
}

// (bytea, bytea): NULL stands for sums that are all zero, which an aggregate over no rows gives.
COURIER_FUNCTION(courier_differing_buckets) {
	bytea *left = PG_ARGISNULL(0) ? nullptr : checked_sums(PG_GETARG_BYTEA_P(0));
	bytea *right = PG_ARGISNULL(1) ? nullptr : checked_sums(PG_GETARG_BYTEA_P(1));
	if (!left && !right)
		PG_RETURN_NULL();
	std::size_t buckets = buckets_of(left ? left : right);
	if (left && right && buckets_of(right) != buckets)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the sums have different numbers of buckets")));
	auto *bits = static_cast<bytea *>(palloc0(VARHDRSZ + buckets / 8));
	SET_VARSIZE(bits, VARHDRSZ + buckets / 8);
	auto *bytes = reinterpret_cast<unsigned char *>(VARDATA(bits));
	bool any = false;
	const Sum zero {0, 0};
	for (std::size_t i = 0; i < buckets; i++) {
		const Sum &a = left ? sums_of(left)[i] : zero;
		const Sum &b = right ? sums_of(right)[i] : zero;
		if (a.low == b.low && a.high == b.high)
			continue;
		bytes[i / 8] |= static_cast<unsigned char>(1 << (i % 8));
		any = true;
	}
	if (!any)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(bits);
}

// (key "any", bits bytea), STRICT. The statement carries the bits as a constant, so they are never compressed or out of line.
COURIER_FUNCTION(courier_in_buckets) {
	KeyImage key = image_of(key_type(fcinfo->flinfo, 0), PG_GETARG_DATUM(0));
	bytea *bits = PG_GETARG_BYTEA_PP(1);
	std::size_t buckets = VARSIZE_ANY_EXHDR(bits) * 8;
	if (!is_bucket_count(buckets))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("these are not bits that courier_internal.differing_buckets made")));
	std::size_t bucket = bucket_of(key, buckets);
	PG_RETURN_BOOL(reinterpret_cast<unsigned char *>(VARDATA_ANY(bits))[bucket / 8] >> (bucket % 8) & 1);
}

} // namespace courier::pg
