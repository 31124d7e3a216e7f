-- Sums of hashes by bucket, by which a run sees without a join whether and where the model differs from the snapshot. They stand in
-- statements that run as the owner of a sync, so everybody may execute them; they read nothing but their arguments.

CREATE FUNCTION courier_internal.bucket_sums_add(state internal, key "any", hash uuid, buckets integer) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_add';
COMMENT ON FUNCTION courier_internal.bucket_sums_add(internal, "any", uuid, integer) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_combine(internal, internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_combine';
COMMENT ON FUNCTION courier_internal.bucket_sums_combine(internal, internal) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_serial(internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_serial';
COMMENT ON FUNCTION courier_internal.bucket_sums_serial(internal) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_deserial(bytea, internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_deserial';
COMMENT ON FUNCTION courier_internal.bucket_sums_deserial(bytea, internal) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_final(internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_final';
COMMENT ON FUNCTION courier_internal.bucket_sums_final(internal) IS 'Part of the aggregate courier_internal.bucket_sums';

CREATE AGGREGATE courier_internal.bucket_sums(key "any", hash uuid, buckets integer) (
    SFUNC = courier_internal.bucket_sums_add, STYPE = internal, SSPACE = 1048576,
    FINALFUNC = courier_internal.bucket_sums_final, COMBINEFUNC = courier_internal.bucket_sums_combine,
    SERIALFUNC = courier_internal.bucket_sums_serial, DESERIALFUNC = courier_internal.bucket_sums_deserial, PARALLEL = SAFE);
COMMENT ON AGGREGATE courier_internal.bucket_sums("any", uuid, integer) IS
'A sum of 128 bits per bucket over (key, hash), whatever the order. key: of fixed size up to 8 bytes, or a uuid; rows without one do not count. buckets: a power of two';

CREATE FUNCTION courier_internal.differing_buckets(bytea, bytea) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_differing_buckets';
COMMENT ON FUNCTION courier_internal.differing_buckets(bytea, bytea) IS
'A bit per bucket in which two results of courier_internal.bucket_sums differ; NULL when none does';

CREATE FUNCTION courier_internal.in_buckets(key "any", bits bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'courier_in_buckets';
COMMENT ON FUNCTION courier_internal.in_buckets("any", bytea) IS 'Whether the key falls into a bucket whose bit is set';
