-- The hash by which changes are found: frozen values, every change seen, nothing seen where nothing changed.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

BEGIN;
CREATE SCHEMA regress_hash;
SET LOCAL search_path = regress_hash, public;
SET LOCAL DateStyle = 'ISO, MDY';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE address AS (street text, number integer, mood mood);
CREATE TYPE mood_range AS RANGE (subtype = mood, multirange_type_name = mood_multirange);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN moods AS mood[];

-- Golden values. Snapshots hold hashes: a change here resends every record of every user, so it must never happen.
SELECT v.what, courier.hash128(v.value) FROM (VALUES ('empty', ''), ('text', 'Grüße'), ('long', repeat('0123456789', 1000))) v (what, value);
SELECT courier.hash128('') AS unknown, courier.hash128('a', 'b') AS two, courier.hash128('ab') AS one, courier.hash128(NULL::text) AS "null", courier.hash128(NULL::text, NULL::integer) AS nulls;
SELECT courier.hash128(true) AS bool, courier.hash128(1::smallint) AS int2, courier.hash128(1) AS int4, courier.hash128(1::bigint) AS int8, courier.hash128(-1::bigint) AS negative;
SELECT courier.hash128(1.5::real) AS float4, courier.hash128(1.5::float8) AS float8, courier.hash128(1.50) AS numeric, courier.hash128(12.34::money) AS money, courier.hash128('x'::"char") AS "char";
SELECT courier.hash128('2024-02-29'::date) AS date, courier.hash128('12:34:56.789'::time) AS time, courier.hash128('12:34:56+02'::timetz) AS timetz,
       courier.hash128('2024-02-29 12:34:56'::timestamp) AS timestamp, courier.hash128('2024-02-29 12:34:56+00'::timestamptz) AS timestamptz, courier.hash128('1 mon 2 days 03:04:05'::interval) AS interval;
SELECT courier.hash128('{"b": [1, 2.50, null, "x"], "a": {"c": true}}'::jsonb) AS jsonb, courier.hash128('{"b": 1}'::json) AS json, courier.hash128('<a>1</a>'::xml) AS xml, courier.hash128('\x00ff'::bytea) AS bytea;
SELECT courier.hash128('5a7b2c1e-0000-4000-8000-000000000001'::uuid) AS uuid, courier.hash128('10.0.0.1/8'::inet) AS inet, courier.hash128('08:00:2b:01:02:03'::macaddr) AS macaddr, courier.hash128(B'10101') AS bit;
SELECT courier.hash128('(1,2)'::point) AS point, courier.hash128('((0,0),(1,1))'::box) AS box, courier.hash128('a:1 b:2'::tsvector) AS tsvector, courier.hash128('a & b'::tsquery) AS tsquery, courier.hash128('name'::name) AS name;
SELECT courier.hash128(ARRAY[1, 2, NULL]) AS ints, courier.hash128(ARRAY[['a', 'b'], ['c', 'd']]) AS texts, courier.hash128('{}'::integer[]) AS empty, courier.hash128('ok'::mood) AS enum, courier.hash128(ROW('Main', 5, 'ok')::address) AS composite;
SELECT courier.hash128(int4range(1, 5)) AS range, courier.hash128('empty'::int4range) AS empty, courier.hash128('{[1,2), [5,7)}'::int4multirange) AS multirange, courier.hash128('pg_class'::regclass) AS regclass, courier.hash128(mood_range('sad', 'happy')) AS enum_range;
SELECT courier.hash128('seed', 1, 'ada@example.com', NULL::text, 12.50, '2024-02-29 12:34:56+00'::timestamptz, '{"a": 1}'::jsonb, true) AS row;

-- Every change is seen. Pairs of texts of a type: all must have different hashes.
CREATE FUNCTION hash_of(type text, value text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    hash uuid;
BEGIN
    EXECUTE format('SELECT courier.hash128(%L::%s)', value, type) INTO hash;
    RETURN hash;
END
$$;
CREATE TABLE change (type text, a text, b text);
INSERT INTO change VALUES
    ('numeric', '5', '-5'), ('numeric', 'NaN', 'Infinity'), ('numeric', 'Infinity', '-Infinity'), ('numeric', '1.0', '1.00'), ('numeric', '1', '10000'), ('numeric', '0', '0.0'), ('numeric', '0', NULL),
    ('numeric', '12345678901234567890123456789012345678901', '12345678901234567890123456789012345678902'),
    ('bigint', '1', '4294967296'), ('bigint', '5', '-5'), ('bigint', '-1', '4294967295'), ('integer', '0', NULL), ('integer', '1', '-1'), ('smallint', '1', '256'), ('positive', '1', '2'),
    ('float8', '0', '-0'), ('float8', 'NaN', 'Infinity'), ('float8', 'Infinity', '-Infinity'), ('float8', '0.1', '0.10000000000000002'), ('real', '0', '-0'), ('real', 'NaN', '-Infinity'),
    ('boolean', 'true', 'false'), ('boolean', 'false', NULL), ('money', '1', '-1'), ('"char"', 'a', 'b'), ('oid', '1', '2'),
    ('timestamptz', '2020-01-01 00:00:00+00', '2020-01-01 01:11:34.967295+00'), ('timestamptz', '2020-01-01 00:00:00+00', '2020-01-01 00:00:00.000001+00'), ('timestamptz', 'infinity', '-infinity'),
    ('timestamp', 'infinity', '-infinity'), ('date', '2024-01-01', '2024-01-02'), ('date', '0001-01-01', '0001-01-01 BC'), ('time', '00:00', '24:00'), ('timetz', '12:00+00', '13:00+01'),
    ('interval', '1 day', '24:00'), ('interval', '1 mon', '30 days'), ('interval', '1 s', '-1 s'),
    ('text', '', NULL), ('text', 'a', 'A'), ('text', 'a', 'a '), ('varchar', 'a', 'b'), ('char(5)', 'a', 'b'), ('name', 'a', 'b'), ('text', U&'\00E9', U&'e\0301'), ('bytea', '\x00', '\x0000'), ('bytea', '', NULL),
    ('jsonb', '{"a": 5}', '{"a": -5}'), ('jsonb', '[[1], 2]', '[[1, 2]]'), ('jsonb', '[1, 2]', '[2, 1]'), ('jsonb', '{"a": 1.0}', '{"a": 1.00}'), ('jsonb', '{"a": 1}', '{"a": "1"}'), ('jsonb', '{"a": null}', '{}'),
    ('jsonb', 'null', NULL), ('jsonb', '[]', '{}'), ('jsonb', '{"a": {"b": 1}}', '{"a": {"c": 1}}'), ('jsonb', '{"a": {"b": 1}, "c": 2}', '{"a": {"b": 1, "c": 2}}'), ('jsonb', 'true', 'false'), ('jsonb', '""', 'null'),
    ('json', '{"a":1}', '{"a": 1}'), ('json', '{"a":1}', '{"a":2}'), ('xml', '<a/>', '<a></a>'), ('jsonpath', '$.a', '$.b'),
    ('integer[]', '{1,2}', '{{1,2}}'), ('integer[]', '{{1},{2}}', '{{1,2}}'), ('integer[]', '{{1},{2}}', '{1,2}'), ('integer[]', '{1,2}', '[0:1]={1,2}'), ('integer[]', '{}', NULL), ('integer[]', '{NULL}', '{}'),
    ('integer[]', '{1,NULL}', '{NULL,1}'), ('integer[]', '{1,NULL}', '{1}'), ('integer[]', '{0}', '{NULL}'), ('integer[]', '{{{1,2},{3,4}}}', '{{{1,2}},{{3,4}}}'), ('text[]', '{a,b}', '{ab}'), ('text[]', '{"",a}', '{NULL,a}'),
    ('text[]', '{"a,b"}', '{a,b}'), ('numeric[]', '{1.0}', '{1.00}'), ('float8[]', '{0}', '{-0}'), ('jsonb[]', '{"[1]"}', '{"[2]"}'), ('date[]', '{2024-01-01}', '{2024-01-02}'), ('moods', '{ok}', '{sad}'),
    ('mood', 'sad', 'ok'), ('mood[]', '{sad,ok}', '{ok,sad}'), ('address', '(a,1,ok)', '(a,1,sad)'), ('address', '(a,1,ok)', '(a,,ok)'), ('address', '("",1,ok)', '(,1,ok)'), ('address', '(,,)', NULL), ('address[]', '{"(a,1,ok)"}', '{"(a,2,ok)"}'),
    ('int4range', '[1,5)', '[1,6)'), ('int4range', 'empty', '[1,2)'), ('int4range', '(,)', 'empty'), ('int4range', '[1,)', '(,1)'), ('int4range', '[1,)', '[1,2)'), ('numrange', '[1,2]', '[1,2)'), ('numrange', '(1,2]', '[1,2]'),
    ('numrange', '[1.0,2]', '[1.00,2]'), ('tstzrange', '[2020-01-01,2021-01-01)', '[2020-01-01,2022-01-01)'), ('int4multirange', '{[1,2)}', '{[1,3)}'), ('int4multirange', '{}', '{[1,2)}'), ('int4multirange', '{[1,2),[4,5)}', '{[1,5)}'),
    ('int8range', '[1,5)', '[1,6)'), ('daterange', '[2024-01-01,)', '[2024-01-02,)'), ('tsrange', '[2024-01-01,)', '(2024-01-01,)'), ('nummultirange', '{[1,2]}', '{[1.0,2]}'), ('tstzmultirange', '{[2024-01-01,)}', '{(,2024-01-01)}'),
    ('refcursor', 'a', 'b'), ('xid', '1', '2'), ('cid', '1', '2'), ('txid_snapshot', '1:2:', '1:3:'),
    ('mood_range', '[sad,ok)', '[sad,happy)'), ('mood_multirange', '{[sad,ok)}', '{[sad,happy)}'),
    ('point', '(1,2)', '(2,1)'), ('point', '(0,0)', '(-0,0)'), ('box', '(1,1),(0,0)', '(2,1),(0,0)'), ('circle', '<(0,0),1>', '<(0,0),2>'), ('polygon', '((0,0),(1,1))', '((0,0),(1,2))'), ('line', '{1,2,3}', '{1,2,4}'), ('lseg', '[(0,0),(1,1)]', '[(1,1),(0,0)]'),
    ('path', '[(0,0),(1,1)]', '((0,0),(1,1))'), ('tsvector', 'a:1', 'a:2'), ('tsvector', 'a', 'b'), ('tsquery', 'a & b', 'a | b'), ('bit(3)', '101', '100'), ('varbit', '1', '10'), ('varbit', '', NULL),
    ('inet', '10.0.0.1', '10.0.0.1/8'), ('cidr', '10.0.0.0/8', '10.0.0.0/9'), ('inet', '::1', '0.0.0.1'), ('macaddr', '08:00:2b:01:02:03', '08:00:2b:01:02:04'), ('macaddr8', '08:00:2b:01:02:03:04:05', '08:00:2b:01:02:03:04:06'),
    ('uuid', '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000001'), ('uuid', '00000000-0000-0000-0000-000000000000', NULL), ('pg_lsn', '0/1', '1/0'), ('pg_snapshot', '1:2:', '1:3:'), ('tid', '(0,1)', '(1,0)'), ('xid8', '1', '4294967297'),
    ('regclass', 'pg_class', 'pg_proc'), ('regtype', 'integer', 'bigint'), ('regtype', 'integer', 'integer[]'), ('regproc', 'now', 'random'), ('regprocedure', 'abs(integer)', 'abs(bigint)'), ('regoper', '||/', '|/'), ('regoperator', '+(integer,integer)', '+(bigint,bigint)'),
    ('regrole', 'pg_monitor', 'pg_read_all_data'), ('regnamespace', 'pg_catalog', 'public'), ('regconfig', 'english', 'german'), ('regdictionary', 'simple', 'english_stem'), ('regcollation', '"C"', '"POSIX"'), ('regclass', '-', '1'), ('oidvector', '1 2', '2 1'), ('int2vector', '1', '1 2'),
    ('aclitem', 'pg_monitor=r/pg_monitor', 'pg_monitor=w/pg_monitor');
SELECT type, a, b AS missed FROM change WHERE hash_of(type, a) IS NOT DISTINCT FROM hash_of(type, b);
SELECT type, a AS unstable FROM change WHERE hash_of(type, a) IS DISTINCT FROM hash_of(type, a);
SELECT count(*) AS pairs, count(DISTINCT type) AS types FROM change;

-- Values do not run into each other
SELECT courier.hash128('ab', 'c') = courier.hash128('a', 'bc') AS text, courier.hash128('a', NULL::text) = courier.hash128(NULL::text, 'a') AS "null", courier.hash128('a') = courier.hash128('a', NULL::text) AS shorter,
       courier.hash128('{1}'::integer[], 2) = courier.hash128('{1,2}'::integer[]) AS "array", courier.hash128(ROW('a', 'b')) = courier.hash128('a', 'b') AS "row", courier.hash128(ROW(ROW(1), 2)) = courier.hash128(ROW(ROW(1, 2))) AS nested;

-- Small rows are hashed in one call and large ones in pieces: around the border there is no collision, and pieces do not matter
SELECT count(DISTINCT courier.hash128(repeat('x', n))) FROM generate_series(1990, 2110) n;
SELECT count(DISTINCT courier.hash128(repeat('x', n), repeat('y', m))) FROM generate_series(1000, 1060) n, generate_series(970, 1030) m;

-- No setting matters
CREATE TABLE everything (t timestamptz, i interval, f float8, b bytea, d date, r regclass, y regtype, m mood, a mood[], tr tstzrange, ty address);
INSERT INTO everything VALUES ('2024-02-29 12:34:56+00', '1 mon 2 days', 0.1, '\x00ff', '2024-02-29', 'regress_hash.change', 'regress_hash.mood', 'ok', '{ok,sad}', '[2020-01-01 00:00+00,)', ROW('a', 1, 'ok'));
SELECT courier.hash128(e.*) AS as_row, courier.hash128(t, i, f, b, d, r, y, m, a, tr, ty) AS as_columns FROM everything e \gset
SET LOCAL TimeZone = 'Asia/Tokyo';
SET LOCAL DateStyle = 'German';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL extra_float_digits = -5;
SET LOCAL bytea_output = 'escape';
SET LOCAL search_path = pg_catalog;
SELECT courier.hash128(e.*) = :'as_row' AS as_row, courier.hash128(t, i, f, b, d, r, y, m, a, tr, ty) = :'as_columns' AS as_columns FROM regress_hash.everything e;
SET LOCAL search_path = regress_hash, public;

-- Where a value is stored does not matter: toasted, compressed, short, from an expression
CREATE TABLE stored (plain text, compressed text, outside text, list text[]);
ALTER TABLE stored ALTER plain SET STORAGE PLAIN, ALTER compressed SET STORAGE MAIN, ALTER outside SET STORAGE EXTERNAL, ALTER list SET STORAGE EXTERNAL;
INSERT INTO stored SELECT repeat('abcdefgh', 900), repeat('abcdefgh', 900), repeat('abcdefgh', 900), array_agg(repeat('abcdefgh', 90)) FROM generate_series(1, 20);
SELECT pg_column_size(plain) > 7000 AS plain, pg_column_size(compressed) < 1000 AS compressed, pg_relation_size(reltoastrelid) > 0 AS outside FROM stored, pg_class WHERE oid = 'stored'::regclass;
SELECT count(DISTINCT h) AS hashes FROM stored, unnest(ARRAY[courier.hash128(plain), courier.hash128(compressed), courier.hash128(outside), courier.hash128(repeat('abcdefgh', 900))]) h;
SELECT courier.hash128(list) = courier.hash128((SELECT array_agg(repeat('abcdefgh', 90)) FROM generate_series(1, 20))) AS same FROM stored;
CREATE FUNCTION null_and_back() RETURNS integer[] LANGUAGE plpgsql AS $$ DECLARE a integer[] := '{1,2}'; BEGIN a[2] := NULL; a[2] := 2; RETURN a; END $$;
SELECT courier.hash128(null_and_back()) = courier.hash128('{1,2}'::integer[]) AS same;
SELECT courier.hash128(ROW(repeat('abcdefgh', 9000), 1)) = courier.hash128(ROW(outside || repeat('abcdefgh', 8100), 1)) AS same FROM stored;
SELECT courier.hash128('NaN'::float8) = courier.hash128('Infinity'::float8 - 'Infinity'::float8) AS same;

-- OIDs do not matter: what a restored database has other ones for
SELECT courier.hash128('ok'::mood) AS enum, courier.hash128('{ok,sad}'::mood[]) AS enums, courier.hash128(ROW('Main', 5, 'ok')::address) AS composite, courier.hash128(mood_range('sad', 'happy')) AS range, courier.hash128('stored'::regclass) AS relation \gset
ALTER TYPE mood RENAME TO mood_old;
CREATE TYPE mood AS ENUM ('happy', 'sad', 'great', 'ok');
CREATE TYPE address_new AS (street text, dropped integer, number integer, mood mood);
ALTER TYPE address_new DROP ATTRIBUTE dropped;
CREATE TYPE mood_range_new AS RANGE (subtype = mood);
DROP TABLE stored;
CREATE TABLE stored ();
SELECT courier.hash128('ok'::mood) = :'enum' AS enum, courier.hash128('{ok,sad}'::mood[]) = :'enums' AS enums, courier.hash128(ROW('Main', 5, 'ok')::address_new) = :'composite' AS composite, courier.hash128('stored'::regclass) = :'relation' AS relation;
SELECT courier.hash128(mood_range_new('happy', 'sad')) = courier.hash128(mood_range('happy', 'happy', '[]')) AS other_bounds;
ALTER TYPE mood ADD VALUE 'new' BEFORE 'happy';
SELECT courier.hash128('ok'::mood) = :'enum' AS value_added;

-- Records of different shapes at one call site
SELECT courier.hash128(r) = courier.hash128(r) AS same, count(*) OVER () FROM (SELECT ROW(1, 'a') UNION ALL SELECT ROW(2, 'b')) v (r);
CREATE FUNCTION any_row(n integer) RETURNS record LANGUAGE plpgsql AS $$ BEGIN IF n % 2 = 0 THEN RETURN ROW(n); ELSE RETURN ROW(n, n::text, ARRAY[n]); END IF; END $$;
SELECT count(DISTINCT courier.hash128(any_row(n))) FROM generate_series(1, 100) n;

-- Many columns; how it may not be called
SELECT format('SELECT courier.hash128(%s) IS NOT NULL AS "95 columns"', string_agg(n::text, ', ')) FROM generate_series(1, 95) n \gexec
SELECT provolatile, proisstrict, proparallel FROM pg_proc WHERE oid = 'courier.hash128'::regproc;
SAVEPOINT s;
SELECT courier.hash128(VARIADIC ARRAY[1, 2]);
ROLLBACK;
