-- What the expressions of a mapping are.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

BEGIN;
CREATE ROLE regress_analyze_owner;
CREATE SCHEMA regress_analyze AUTHORIZATION regress_analyze_owner;
GRANT USAGE ON SCHEMA courier TO PUBLIC;
SET LOCAL search_path = regress_analyze, public;
SET ROLE regress_analyze_owner;
CREATE TABLE customer (id integer, email varchar(100), "Full Name" text, gone integer, spent numeric(10, 2), born date, seen timestamptz, tags text[], extra jsonb);
ALTER TABLE customer DROP gone;
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) || '!' $$;
CREATE FUNCTION own_volatile() RETURNS integer LANGUAGE sql VOLATILE AS $$ SELECT 1 $$;
CREATE SEQUENCE numbers;
RESET ROLE;

CREATE FUNCTION regress_analyze.analysis(VARIADIC expressions text[]) RETURNS TABLE (expression text, type_name text, columns text[], reads_clock boolean) LANGUAGE sql AS $$
    SELECT expressions[a.ordinal], a.type_name, a.columns, a.reads_clock
      FROM courier_internal.analyze_mapping('regress_analyze_owner'::regrole, 'regress_analyze', 'regress_analyze.customer'::regclass, 'c',
               ARRAY(SELECT 'field' || i FROM generate_subscripts(expressions, 1) i), expressions) a
$$;
SELECT * FROM analysis('id', 'lower(email)', 'email', 'c.id + 1', 'c."Full Name"', 'spent', '"Full Name" || email || id', 'extra->>''a''', 'tags[1]', '''constant''', 'NULL', '1.5', 'ROW(id, email)', 'c', 'c.*::text', 'shout(email) -- comment', 'id IN (1, 2)');
SELECT * FROM analysis('(SELECT max(x.id) FROM customer x)', '(SELECT count(*) FROM customer x WHERE x.id = c.id)', '(SELECT string_agg(t, '','') FROM unnest(tags) t)', 'EXISTS (SELECT FROM (SELECT born) y)', '(SELECT (SELECT c.spent))');
-- The clock, and what else differs from run to run
SELECT * FROM analysis('now()', 'current_date', 'CURRENT_TIMESTAMP(0)', 'localtime', 'clock_timestamp()', 'statement_timestamp()', 'timeofday()', 'random()', 'gen_random_uuid()', 'nextval(''numbers'')', 'courier.run_id()', 'pg_current_xact_id()', '''today''::date', 'CAST('' Now'' AS timestamptz)', '(SELECT now())');
SELECT * FROM analysis('age(born)', 'seen < now() - interval ''1 day''', 'extract(year FROM age(seen))', 'born - current_date', 'date_trunc(''day'', seen)', 'age(seen, born)', 'to_char(seen, ''YYYY'')', 'current_user', 'own_volatile()', '''2024-01-01''::date', '''today''::text', '''knowhow''::text', 'txid_current() + id', 'CASE WHEN id > 0 THEN email ELSE random()::text END');
SELECT * FROM analysis(VARIADIC '{}');

-- Mistakes: the field by name, what there is, and PostgreSQL's own hint
SELECT * FROM analysis('id', 'emial');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM analysis('d.id');
SELECT * FROM analysis('id', 'lower(id)');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM analysis('lower(email');
SELECT * FROM analysis('');
SELECT * FROM analysis('id = ''x''');
SELECT * FROM analysis('1 / 0');
SELECT * FROM analysis('"Full Name');
SELECT * FROM analysis('gone');
-- More or other than one expression
SELECT * FROM analysis('id, email');
SELECT * FROM analysis('id AS x');
SELECT * FROM analysis('id x');
SELECT * FROM analysis('*');
SELECT * FROM analysis('c.*');
SELECT * FROM analysis('id FROM customer');
SELECT * FROM analysis('id WHERE true');
SELECT * FROM analysis('id ORDER BY 1');
SELECT * FROM analysis('id LIMIT 1');
SELECT * FROM analysis('DISTINCT id');
SELECT * FROM analysis('id; DROP TABLE customer');
SELECT * FROM analysis('1) FROM pg_authid --');
SELECT * FROM analysis('1), (2');
SELECT * FROM analysis('1 /* open');
SELECT * FROM analysis('id INTO x');
SELECT * FROM analysis('id UNION SELECT 1');
SELECT * FROM analysis('SELECT 1');
-- Not one value per row
SELECT * FROM analysis('max(id)');
SELECT * FROM analysis('count(*) OVER ()');
SELECT * FROM analysis('unnest(tags)');
SELECT * FROM analysis('(SELECT id, email)');
SELECT * FROM analysis('pg_sleep(0)');
SELECT * FROM analysis('(SELECT max(c.id))');
-- Rights are the owner's
SELECT * FROM analysis('(SELECT rolpassword FROM pg_authid LIMIT 1)');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM analysis('(WITH d AS (DELETE FROM customer RETURNING id) SELECT id FROM d)');
SELECT current_user, current_setting('search_path');
-- Of another kind
SELECT * FROM courier_internal.analyze_mapping('regress_analyze_owner'::regrole, '', 'regress_analyze.customer'::regclass, 'Odd "Name', '{a,b}', '{"\"Odd \"\"Name\".id","regress_analyze.shout(email)"}');
SELECT * FROM courier_internal.analyze_mapping('regress_analyze_owner'::regrole, '', 'regress_analyze.customer'::regclass, 'c', '{a,b}', '{id}');
SELECT * FROM courier_internal.analyze_mapping('regress_analyze_owner'::regrole, '', 'regress_analyze.customer'::regclass, 'c', '{a}', '{NULL}');
ROLLBACK;
