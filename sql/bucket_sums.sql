-- Sums of hashes by bucket: what a run asks before it joins. The sums themselves are the machine's bytes and are not shown.
CREATE FUNCTION pg_temp.differ(a text, b text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    result bigint;
BEGIN
    EXECUTE format('SELECT bit_count(courier_internal.differing_buckets((SELECT courier_internal.bucket_sums(k, h, 1024) FROM (%s) a),
                                                                         (SELECT courier_internal.bucket_sums(k, h, 1024) FROM (%s) b)))', a, b) INTO result;
    RETURN result;
END $$;
\set rows 'SELECT n::bigint AS k, courier.hash128(n) AS h FROM generate_series(1, 5000) n'

-- The same rows in another order are the same.
SELECT pg_temp.differ(:'rows', :'rows' || ' ORDER BY -n') IS NULL AS same;
-- A row that is missing, one more, another hash, the same hash under another key: a bucket or two differ.
SELECT pg_temp.differ(:'rows', :'rows' || ' WHERE n <> 17') AS removed, pg_temp.differ(:'rows', :'rows' || ' UNION ALL SELECT 5001, courier.hash128(1)') AS added,
       pg_temp.differ(:'rows', 'SELECT k, CASE k WHEN 17 THEN courier.hash128(0) ELSE h END AS h FROM (' || :'rows' || ') x') AS changed,
       pg_temp.differ(:'rows', 'SELECT CASE k WHEN 17 THEN 5001 ELSE k END AS k, h FROM (' || :'rows' || ') x') AS renamed;
-- A row that stands twice does not cancel out, and a key that is NULL does not count.
SELECT pg_temp.differ(:'rows', :'rows' || ' UNION ALL SELECT 17, courier.hash128(17) UNION ALL SELECT 17, courier.hash128(17)') AS thrice,
       pg_temp.differ(:'rows', :'rows' || ' UNION ALL SELECT NULL, courier.hash128(17)') IS NULL AS null_key;
-- Against nothing, every bucket that has a row differs; nothing against nothing is the same.
SELECT pg_temp.differ(:'rows', :'rows' || ' WHERE false') > 1000 AS all_new, pg_temp.differ(:'rows' || ' WHERE false', :'rows' || ' WHERE false') IS NULL AS both_empty;
-- Exactly the rows of differing buckets are in them.
SELECT count(*) FILTER (WHERE courier_internal.in_buckets(n::bigint, bits) AND n = 17) AS the_row,
       count(*) FILTER (WHERE courier_internal.in_buckets(n::bigint, bits)) < 30 AS few_others, courier_internal.in_buckets(NULL::bigint, bits) IS NULL AS no_key
  FROM generate_series(1, 5000) n,
       (SELECT courier_internal.differing_buckets((SELECT courier_internal.bucket_sums(k, h, 1024) FROM (SELECT n::bigint AS k, courier.hash128(n) AS h FROM generate_series(1, 5000) n) a),
                                                  (SELECT courier_internal.bucket_sums(k, h, 1024) FROM (SELECT n::bigint AS k, courier.hash128(n) AS h FROM generate_series(1, 5000) n WHERE n <> 17) b)) AS bits) d
 GROUP BY bits;
-- Keys of every fixed size; a parallel plan gives the same sums as a serial one.
SELECT courier_internal.differing_buckets(courier_internal.bucket_sums(a, h, 64), courier_internal.bucket_sums(b, h, 64)) IS NULL AS same
  FROM (SELECT n::smallint AS a, n::smallint AS b, courier.hash128(n) AS h FROM generate_series(1, 100) n) x;
SELECT courier_internal.differing_buckets(courier_internal.bucket_sums(u, h, 64), courier_internal.bucket_sums(u, h, 64)) IS NULL AS uuids
  FROM (SELECT md5(n::text)::uuid AS u, courier.hash128(n) AS h FROM generate_series(1, 100) n) x;
CREATE TABLE bucket_rows AS SELECT n AS k, courier.hash128(n) AS h FROM generate_series(1, 50000) n;
ANALYZE bucket_rows;
CREATE TABLE bucket_serial AS SELECT courier_internal.bucket_sums(k, h, 4096) AS sums FROM bucket_rows;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT courier_internal.bucket_sums(k, h, 4096) FROM bucket_rows;
SELECT courier_internal.differing_buckets(courier_internal.bucket_sums(k, h, 4096), (SELECT sums FROM bucket_serial)) IS NULL AS same FROM bucket_rows;
DROP TABLE bucket_rows, bucket_serial;
-- What is no result of these functions is refused.
SELECT courier_internal.bucket_sums(1, courier.hash128(1), 100);
SELECT courier_internal.bucket_sums('a'::text, courier.hash128(1), 64);
SELECT courier_internal.differing_buckets('\x00', NULL);
SELECT courier_internal.in_buckets(1, '');
SELECT courier_internal.in_buckets(1, '\x000000');
SELECT courier_internal.values_json('{a,b.c}', NULL, 1, NULL::text), courier_internal.values_json('{a,b.c}', '{f,t}', 1, NULL::text);
SELECT courier_internal.values_json('{a}', NULL, 1, 2);
