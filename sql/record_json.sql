-- Records as JSON text.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

BEGIN;
SET LOCAL DateStyle = 'ISO, MDY';
SET LOCAL IntervalStyle = 'postgres';
CREATE SCHEMA regress_json;
SET LOCAL search_path = regress_json, public;
SET LOCAL lc_monetary = 'C';
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"');
CREATE TYPE address AS (street text, "house number" integer);
CREATE DOMAIN price AS numeric(10, 2);
CREATE DOMAIN home AS address;

-- Fields in their order; dots nest; an object stands where its first field stands
SELECT courier_internal.record_json('{id,email}', NULL, ROW(1, 'ada@example.com'));
SELECT courier_internal.record_json('{a.b,c,a.d,a.e.f,"quote\"d"}', NULL, ROW(1, 2, 3, 4, 5));
SELECT courier_internal.record_json(ARRAY[repeat('long', 20), 'Größe', E'line\nbreak'], NULL, ROW(1, 2, 3));
SELECT courier_internal.record_json('{}', NULL, ROW());

-- NULL: null, or left out, and with it an object that has nothing left
SELECT courier_internal.record_json('{a,b,c}', NULL, ROW(1, NULL::text, 3));
SELECT courier_internal.record_json('{a,b,c}', '{t,t,t}', ROW(NULL::integer, NULL::text, 3));
SELECT courier_internal.record_json('{a,b.c,b.d.e,f}', '{t,t,t,t}', ROW(NULL::integer, NULL::integer, NULL::integer, 4));
SELECT courier_internal.record_json('{a,b.c,b.d.e,f}', '{t,t,f,t}', ROW(NULL::integer, NULL::integer, NULL::integer, 4));
SELECT courier_internal.record_json('{b.c}', '{t}', ROW(NULL::integer));
SELECT courier_internal.record_json('{a}', NULL, NULL);

-- Types
CREATE TABLE types (bool boolean, int2 smallint, int4 integer, int8 bigint, "numeric" numeric, price price, float4 real, float8 float8, money money, text text, "char" char(4), name name, bytea bytea,
    date date, "time" time, timetz timetz, timestamp timestamp, timestamptz timestamptz, "interval" interval, uuid uuid, inet inet, macaddr macaddr, bit bit(3), point point, json json, jsonb jsonb, xml xml, tsvector tsvector,
    enum mood, composite address, domain home, ints integer[], texts text[], composites address[], times timestamptz[], range int4range, timerange tstzrange, multirange int4multirange, oid oid, regclass regclass);
INSERT INTO types VALUES (true, -1, 2147483647, -9223372036854775808, 1234567890123456789012345678901234567890.1234567890, 1.50, 0.1, 0.1, 1234.5, E'a"b\\c\n\t\u0001é', 'ab', 'n', '\x00ff10',
    '2024-02-29', '12:34:56.789', '12:34:56+02', '2024-02-29 12:34:56.5', '2024-02-29 12:34:56.123456+02', '1 year 2 mons -3 days 04:05:06.7', '5A7B2C1E-0000-4000-8000-000000000001', '10.0.0.1/8', '08:00:2b:01:02:03', B'101', '(1.5,-2)',
    E'{"b" : 1,\n "a": 1.0000000000000000000001}', '{"b": 1, "a": 1.0000000000000000000001}', '<a b="c"/>', 'a:1', 'it''s "ok"', ROW('Main', 5), ROW(NULL, 6), '{{1,2},{3,NULL}}', '{"a,b",NULL,"\"q\""}', ARRAY[ROW('x', 1), NULL]::address[],
    '{2024-02-29 12:34:56+02}', '[1,5)', '[2024-02-29 12:34:56+02,)', '{[1,2),[5,7)}', 42, 'pg_class');
CREATE FUNCTION all_fields() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT m.key || ': ' || m.value FROM types t,
        json_each(courier_internal.record_json((SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'types'::regclass AND attnum > 0), NULL, t)) m
$$;
SELECT * FROM all_fields() AS field;

-- No setting of the session shapes them
CREATE TEMP TABLE before AS SELECT * FROM all_fields() AS field;
SET LOCAL TimeZone = 'Asia/Tokyo';
SET LOCAL DateStyle = 'German';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL extra_float_digits = -5;
SET LOCAL bytea_output = 'escape';
SELECT * FROM all_fields() AS field EXCEPT SELECT field FROM before;
SELECT current_setting('TimeZone') AS still, timestamptz '2024-01-01 00:00+00', interval '1 day' AS "interval";
SET LOCAL DateStyle = 'ISO, MDY';
RESET TimeZone;

-- What JSON has no numbers or dates for
SELECT courier_internal.record_json('{a,b,c,d,e,f,g,h,i,j,k}', NULL, ROW('NaN'::float8, 'Infinity'::float8, '-Infinity'::real, 'NaN'::numeric, '-Infinity'::numeric, '-0'::float8, 1e300::float8, 1e-7::float8, 'infinity'::timestamptz, '-infinity'::date, '0044-03-15 BC'::date));
SELECT courier_internal.record_json('{a,b,c,d}', NULL, ROW('{}'::integer[], '[0:1]={1,2}'::integer[], ''::text, '\x'::bytea));
-- More than one line of base64, values out of line
SELECT length(r->>'a'), position(E'\n' IN r->>'a'), length(r->>'b') FROM (SELECT courier_internal.record_json('{a,b}', NULL, ROW(decode(repeat('00ff', 1000), 'hex'), repeat('x', 1000000)))) v (r);

-- Valid JSON, whatever the text
SELECT count(*) FROM generate_series(1, 300) n WHERE courier_internal.record_json('{a}', NULL, ROW(chr(n) || '"\'))::jsonb->>'a' IS DISTINCT FROM chr(n) || '"\';

-- Dropped columns; records of different shapes; fields that change
ALTER TYPE address DROP ATTRIBUTE street;
SELECT courier_internal.record_json('{a}', NULL, ROW(composite)) FROM types;
CREATE FUNCTION any_row(n integer) RETURNS record LANGUAGE plpgsql AS $$ BEGIN IF n % 2 = 0 THEN RETURN ROW(n); ELSE RETURN ROW(n::text); END IF; END $$;
SELECT courier_internal.record_json(ARRAY['n' || n], NULL, any_row(n)) FROM generate_series(1, 4) n;

-- Errors
SAVEPOINT s;
SELECT courier_internal.record_json('{a,a}', NULL, ROW(1, 2));
ROLLBACK TO s;
SELECT courier_internal.record_json('{a,a.b}', NULL, ROW(1, 2));
ROLLBACK TO s;
SELECT courier_internal.record_json('{a.b,a}', NULL, ROW(1, 2));
ROLLBACK TO s;
SELECT courier_internal.record_json('{a..b}', NULL, ROW(1));
ROLLBACK TO s;
SELECT courier_internal.record_json('{""}', NULL, ROW(1));
ROLLBACK TO s;
SELECT courier_internal.record_json('{a,b}', NULL, ROW(1));
ROLLBACK TO s;
SELECT courier_internal.record_json('{a,b}', '{t}', ROW(1, 2));
ROLLBACK TO s;
SELECT courier_internal.record_json('{a,NULL}', NULL, ROW(1, 2));
ROLLBACK TO s;

-- Keys as text
SELECT courier_internal.key_text(42) AS "integer", courier_internal.key_text('a "b"'::text) AS "text", courier_internal.key_text('5A7B2C1E-0000-4000-8000-000000000001'::uuid) AS uuid, courier_internal.key_text(NULL::text) IS NULL AS "null";
SELECT courier_internal.key_text(1.50) AS "numeric", courier_internal.key_text('2024-02-29 12:34:56+02'::timestamptz) AS timestamptz, courier_internal.key_text('\x00ff'::bytea) AS bytea, courier_internal.key_text(true) AS bool, courier_internal.key_text('NaN'::float8) AS nan;
SELECT courier_internal.key_text(1, 'a "b"'::text, NULL::text, '2024-02-29'::date) AS several, courier_internal.key_text('{1,2}'::integer[]) AS list;
ROLLBACK;
