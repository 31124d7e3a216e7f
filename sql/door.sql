-- The door (schema courier to courier_internal) and the ways down again. Functions made here stand for API functions.
\set VERBOSITY default
\set ON_ERROR_ROLLBACK on
\set SHOW_CONTEXT errors
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

BEGIN;
SET LOCAL DateStyle = 'ISO, MDY';
SET LOCAL IntervalStyle = 'postgres';
CREATE ROLE regress_door_caller;
CREATE ROLE regress_door_other;
CREATE SCHEMA regress_door;
GRANT CREATE, USAGE ON SCHEMA regress_door TO PUBLIC;

-- What the internal function sees
CREATE FUNCTION courier.regress_who(a text DEFAULT 'default', b integer DEFAULT NULL) RETURNS text LANGUAGE c AS '$libdir/pg_courier', 'courier_door';
CREATE FUNCTION courier_internal.regress_who(caller oid, caller_path text, a text, b integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN format('caller %s, search_path %s, a %L, b %L; runs as superuser: %s, with %s', caller::regrole, caller_path, a, b,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), current_setting('search_path'));
END
$$;
GRANT USAGE ON SCHEMA courier TO PUBLIC;
SET ROLE regress_door_caller;
SELECT courier.regress_who();
SET LOCAL search_path = pg_temp, "$user", "Odd ""Name", regress_door;
SELECT courier.regress_who('x', 5), courier.regress_who(b => 6);
SELECT courier.regress_who(NULL), current_user, current_setting('search_path');
SET LOCAL search_path = '';
SELECT courier.regress_who();
RESET search_path;

-- The caller is who calls now, not the session
CREATE FUNCTION regress_door.definer() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = regress_door AS $$ SELECT courier.regress_who('from a definer function') $$;
SET ROLE regress_door_other;
SELECT regress_door.definer();
SET ROLE regress_door_caller;
CREATE TABLE regress_door.t (a integer);
CREATE FUNCTION regress_door.trigger_calls() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RAISE NOTICE '%', courier.regress_who('from a trigger'); RETURN NEW; END $$;
CREATE TRIGGER calls BEFORE INSERT ON regress_door.t FOR EACH ROW EXECUTE FUNCTION regress_door.trigger_calls();
GRANT INSERT ON regress_door.t TO regress_door_other;
SET ROLE regress_door_other;
INSERT INTO regress_door.t VALUES (1);
-- A caller cannot say that he is somebody else
RESET ROLE;
REVOKE EXECUTE ON FUNCTION courier_internal.regress_who(oid, text, text, integer) FROM PUBLIC;
SET ROLE regress_door_other;
\set VERBOSITY sqlstate
SELECT courier_internal.regress_who('regress_door_caller'::regrole, '', 'forged', 1);
\set VERBOSITY default

-- Not within a security-restricted operation
SET ROLE regress_door_caller;
CREATE MATERIALIZED VIEW regress_door.m AS SELECT 1 AS a WITH NO DATA;
CREATE FUNCTION regress_door.sneaky() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT courier.regress_who() $$;
CREATE MATERIALIZED VIEW regress_door.sneaks AS SELECT regress_door.sneaky() WITH NO DATA;
\set SHOW_CONTEXT never
REFRESH MATERIALIZED VIEW regress_door.sneaks;
RESET ROLE;
SELECT * FROM courier_internal.query_as('regress_door_caller'::regrole, 'regress_door', NULL, 'SELECT regress_door.sneaky()');
\set SHOW_CONTEXT errors

-- Results: void, one value, NULL, sets of values and of rows, in FROM and in the select list
CREATE FUNCTION courier.regress_void() RETURNS void LANGUAGE c AS '$libdir/pg_courier', 'courier_door';
CREATE FUNCTION courier_internal.regress_void(caller oid, caller_path text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'notices pass'; RAISE WARNING 'and warnings' USING HINT = 'with hints'; END $$;
CREATE FUNCTION courier.regress_set(n integer) RETURNS SETOF jsonb LANGUAGE c AS '$libdir/pg_courier', 'courier_door';
CREATE FUNCTION courier_internal.regress_set(caller oid, caller_path text, n integer) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('n', i) FROM generate_series(1, n) i $$;
CREATE FUNCTION courier.regress_table(n integer) RETURNS TABLE (i bigint, t text, d interval) LANGUAGE c STABLE AS '$libdir/pg_courier', 'courier_door';
CREATE FUNCTION courier_internal.regress_table(caller oid, caller_path text, n integer) RETURNS TABLE (i bigint, t text, d interval) LANGUAGE sql STABLE AS $$ SELECT i, NULLIF('row ' || i, 'row 2'), interval '1 hour' * i FROM generate_series(1::bigint, n) i $$;
CREATE FUNCTION courier.regress_args(c regclass, r regrole, n name, j json, b jsonb, t text[], i interval) RETURNS text LANGUAGE c AS '$libdir/pg_courier', 'courier_door';
CREATE FUNCTION courier_internal.regress_args(caller oid, caller_path text, c regclass, r regrole, n name, j json, b jsonb, t text[], i interval) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' | ', c, r, n, j, b, t, i) $$;
CREATE FUNCTION courier.regress_null() RETURNS bigint LANGUAGE c AS '$libdir/pg_courier', 'courier_door';
CREATE FUNCTION courier_internal.regress_null(caller oid, caller_path text) RETURNS bigint LANGUAGE sql AS $$ SELECT NULL::bigint $$;
SET ROLE regress_door_caller;
SELECT courier.regress_void();
SELECT courier.regress_set(2);
SELECT * FROM courier.regress_set(0);
SELECT * FROM courier.regress_table(3);
SELECT courier.regress_table(2);
SELECT sum(i) FROM courier.regress_table(100000);
SELECT courier.regress_null() IS NULL AS is_null;
SELECT courier.regress_args('pg_class', 'regress_door_caller', 'n', '{"z":1, "a":2}', '{"z":1, "a":2}', '{a,NULL}', '1 h'), courier.regress_args(NULL, NULL, NULL, NULL, NULL, NULL, NULL) = '' AS nulls;
SELECT n, courier.regress_who(n::text) FROM generate_series(1, 2) n;
RESET ROLE;

-- Errors: message, detail and hint, and no word of where in our functions; what the caller's own functions add stays
CREATE FUNCTION courier.regress_fail(kind text) RETURNS integer LANGUAGE c AS '$libdir/pg_courier', 'courier_door';
CREATE FUNCTION courier_internal.regress_fail(caller oid, caller_path text, kind text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    IF kind = 'user' THEN
        RAISE EXCEPTION 'sync "x" does not exist' USING ERRCODE = '42704', DETAIL = 'what there is', HINT = 'what to do';
    ELSIF kind = 'syntax' THEN
        EXECUTE 'SELEC 1';
    ELSIF kind = 'model' THEN
        RETURN (SELECT q FROM courier_internal.query_as(caller, caller_path, NULL, 'SELECT 1 / 0') q);
    ELSIF kind = 'ours' THEN
        RAISE EXCEPTION 'should not happen' USING ERRCODE = 'XX000';
    END IF;
    RETURN 1;
END
$$;
SET ROLE regress_door_caller;
SELECT courier.regress_fail('user');
\echo :LAST_ERROR_SQLSTATE
SELECT courier.regress_fail('syntax');
SELECT courier.regress_fail('model');
SELECT courier.regress_fail('ours');
DO $$ BEGIN PERFORM courier.regress_fail('user'); END $$;
-- Caught, role and settings are the caller's again
SET LOCAL search_path = regress_door;
DO $$
BEGIN
    PERFORM courier.regress_fail('user');
EXCEPTION WHEN undefined_object THEN
    RAISE NOTICE 'caught "%" as %, search_path %', SQLERRM, current_user, current_setting('search_path');
END
$$;
RESET search_path;
RESET ROLE;

-- query_as: as the role, with its rights only, and settings that are the same for everybody
CREATE TABLE regress_door.secret (a integer);
REVOKE ALL ON regress_door.secret FROM PUBLIC;
SELECT q FROM courier_internal.query_as('regress_door_caller'::regrole, 'regress_door', NULL, 'SELECT current_user UNION ALL SELECT current_setting(''search_path'') UNION ALL SELECT current_setting(''TimeZone'')') q;
SELECT q FROM courier_internal.query_as('regress_door_caller'::regrole, 'pg_temp, regress_door', 'Europe/Berlin', $$SELECT now()::timestamptz(0) IS NOT NULL UNION ALL SELECT '2024-07-01 00:00+00'::timestamptz::text = '2024-07-01 02:00:00+02' $$) q;
SET LOCAL DateStyle = 'German';
SET LOCAL bytea_output = 'escape';
SET LOCAL standard_conforming_strings = off;
SET LOCAL escape_string_warning = off;
SELECT q FROM courier_internal.query_as('regress_door_caller'::regrole, '', 'UTC', $$VALUES (concat_ws(' ', '2024-02-29'::date, '1 mon'::interval, 0.1::float8 + 0.2, '\x00'::bytea, 'a\b', current_setting('search_path'))), (NULL)$$) q;
SELECT current_user, current_setting('DateStyle') AS datestyle, current_setting('bytea_output') AS bytea;
SET LOCAL standard_conforming_strings = on;
SELECT * FROM courier_internal.query_as('regress_door_caller'::regrole, 'regress_door', NULL, 'SELECT a FROM secret');
SELECT * FROM courier_internal.query_as('regress_door_caller'::regrole, 'regress_door', NULL, 'SELECT 1, 2');
SELECT * FROM courier_internal.query_as('regress_door_caller'::regrole, 'regress_door', NULL, 'SET ROLE regress_door_other');
SELECT * FROM courier_internal.query_as(0, '', NULL, 'SELECT 1');
SELECT * FROM courier_internal.query_as('regress_door_caller'::regrole, '"', NULL, 'SELECT 1');
SELECT * FROM courier_internal.query_as('regress_door_caller'::regrole, '', 'Atlantis', 'SELECT 1');
SELECT current_user, current_setting('search_path') AS search_path;
-- No way back: roles, temporary tables, cursors
SELECT courier_internal.execute_as('regress_door_caller'::regrole, 'regress_door', NULL, 'SET ROLE regress_door_other');
SELECT courier_internal.execute_as('regress_door_caller'::regrole, 'regress_door', NULL, 'CREATE TEMP TABLE x (a integer)');
SELECT courier_internal.execute_as('regress_door_caller'::regrole, 'regress_door', NULL, 'CREATE TABLE made AS SELECT n FROM generate_series(1, 5) n');
SELECT courier_internal.execute_as('regress_door_caller'::regrole, 'regress_door', NULL, 'DELETE FROM made WHERE n > 2');
SELECT tableowner FROM pg_tables WHERE tablename = 'made';
-- Who may execute it still cannot run as a role that is not his
GRANT USAGE ON SCHEMA courier_internal TO regress_door_other;
GRANT EXECUTE ON FUNCTION courier_internal.execute_as(oid, text, text, text) TO regress_door_other;
SET ROLE regress_door_other;
SELECT courier_internal.execute_as('regress_door_caller'::regrole, '', NULL, 'SELECT 1');
SELECT courier_internal.execute_as('regress_door_other'::regrole, '', NULL, 'SELECT 1');
RESET ROLE;

-- check_query
CREATE FUNCTION regress_door.check_query(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
BEGIN
    PERFORM courier_internal.check_query(query);
    RETURN 'fine';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
    RETURN concat_ws(' / ', SQLSTATE, message, NULLIF(detail, ''));
END
$$;
SELECT q, regress_door.check_query(q) FROM unnest(ARRAY['SELECT 1', 'SELECT 1;', 'VALUES (1)', 'TABLE pg_class', 'WITH a AS (SELECT 1) SELECT * FROM a', '(SELECT 1 UNION SELECT 2) ORDER BY 1 -- comment', 'SELECT ''a;b''', '', ';', '-- nothing',
    'SELECT 1; SELECT 2', 'SELECT 1; DROP TABLE x', 'DELETE FROM x', 'CREATE TABLE x AS SELECT 1', 'SELECT 1 INTO x', 'SELECT 1 UNION SELECT 2 INTO x', 'SELECT * FROM x FOR UPDATE', 'SELECT * FROM (SELECT * FROM x FOR SHARE) y',
    'WITH a AS (DELETE FROM x RETURNING *) SELECT * FROM a', 'SELECT (WITH a AS (INSERT INTO x VALUES (1) RETURNING *) SELECT 1 FROM a)', 'EXPLAIN SELECT 1', 'SELEC 1', 'SELECT 1 FROM', 'SELECT ''a', 'BEGIN']) q;

SELECT courier.run_id() IS NULL AS no_run;
ROLLBACK;
