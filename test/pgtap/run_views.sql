-- The views of runs: what they are made of, and who sees what. Run with pg_prove in a database that has the extension; leaves nothing behind.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(73);

-- Shape

SELECT has_view('courier', v, 'view courier.' || v)
  FROM unnest(ARRAY['runs', 'run_details', 'rejected_records', 'invalid_rows', 'requests', 'changelog', 'progress']) v;

SELECT columns_are('courier', 'runs', ARRAY['run_id', 'sync', 'status', 'started_at', 'duration', 'sent', 'rejected', 'error']);
SELECT columns_are('courier', 'run_details', ARRAY['run_id', 'sync', 'status', 'triggered_by', 'resync', 'created_at', 'started_at', 'finished_at',
    'rows_queried', 'planned_added', 'planned_changed', 'planned_removed', 'succeeded_added', 'succeeded_changed', 'succeeded_removed',
    'rejected_added', 'rejected_changed', 'rejected_removed', 'skipped', 'unknown', 'aborted', 'invalid', 'requests', 'error_code', 'error', 'hint',
    'held_removals']);
SELECT columns_are('courier', 'rejected_records', ARRAY['sync', 'key', 'primary_key', 'change', 'attempts', 'first_failed_at', 'last_failed_at',
    'next_attempt_at', 'outcome', 'http_status', 'error_code', 'message', 'payload']);
SELECT columns_are('courier', 'invalid_rows', ARRAY['sync', 'run_id', 'reason', 'key', 'primary_key', 'copies']);
SELECT columns_are('courier', 'requests', ARRAY['run_id', 'sync', 'sent_at', 'operation', 'records', 'attempt', 'method', 'url', 'request_headers',
    'request_body', 'http_status', 'response_body', 'duration', 'error', 'key', 'request_id']);
SELECT columns_are('courier', 'changelog', ARRAY['run_id', 'sync', 'key', 'primary_key', 'change', 'outcome', 'http_status', 'error_code', 'message',
    'payload', 'changed_at']);
SELECT columns_are('courier', 'progress', ARRAY['run_id', 'sync', 'phase', 'done', 'planned', 'rejected', 'percent', 'records_per_second', 'eta', 'bar']);
SELECT col_type_is('courier', 'runs', 'started_at', 'timestamp(0) with time zone', 'runs.started_at has no fractions');
SELECT col_type_is('courier', 'runs', 'duration', 'interval(0)', 'runs.duration has no fractions');
SELECT col_type_is('courier', 'rejected_records', 'primary_key', 'jsonb', 'rejected_records.primary_key is jsonb');

SELECT has_function('courier', f, a::name[], format('courier.%s(%s)', f, array_to_string(a, ', ')))
  FROM (VALUES ('trigger_sync', '{text,text}'::text[]), ('cancel_run', '{bigint}'), ('approve_run', '{bigint}'), ('retry_rejected', '{text,jsonb}'),
               ('discard_rejected', '{text,jsonb}'), ('plan_sync', '{text}'), ('preview_sync', '{text,integer}'),
               ('test_record', '{text,jsonb,text,interval}'), ('test_destination', '{text}'), ('snapshot', '{text}')) v (f, a);

SELECT is_empty($$
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'courier'::regnamespace AND c.relkind = 'v'
       AND c.relname IN ('runs', 'run_details', 'rejected_records', 'invalid_rows', 'requests', 'changelog', 'progress')
       AND (obj_description(c.oid, 'pg_class') IS NULL OR NOT 'security_barrier=true' = ANY (COALESCE(c.reloptions, '{}')))
    $$, 'every view is a security barrier and has a comment');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
     WHERE p.pronamespace IN ('courier'::regnamespace, 'courier_internal'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL
    $$, 'every function has a comment');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
     WHERE p.pronamespace IN ('courier'::regnamespace, 'courier_internal'::regnamespace) AND p.prosecdef
    $$, 'no function is SECURITY DEFINER');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.pronamespace IN ('courier'::regnamespace, 'courier_internal'::regnamespace) AND l.lanname IN ('sql', 'plpgsql')
       AND NOT 'search_path=pg_catalog, pg_temp' = ANY (COALESCE(p.proconfig, '{}'))
    $$, 'every SQL function has a fixed search_path');

-- Rights

CREATE ROLE courier_test_owner;
CREATE ROLE courier_test_member IN ROLE courier_test_owner;
CREATE ROLE courier_test_heir;
CREATE ROLE courier_test_nobody;
CREATE ROLE courier_test_viewer IN ROLE courier_viewer;
CREATE ROLE courier_test_operator IN ROLE courier_operator;

INSERT INTO courier_internal.model (name, source, relation_schema, relation_name, primary_key, owner)
VALUES ('courier_test_model', 'local', 'public', 'courier_test', '{id}', 'courier_test_owner');
INSERT INTO courier_internal.destination (name, type, owner) VALUES ('courier_test_destination', 'http', 'courier_test_owner');
INSERT INTO courier_internal.sync (name, model_id, destination_id, mode, sync_type, on_removed, first_run, search_path, owner, epoch, database_oid)
SELECT v.name, m.model_id, d.destination_id, 'upsert', 'objects', 'ignore', 'send', 'public', v.owner, i.epoch, b.oid
  FROM (VALUES ('courier_test_sync', 'courier_test_owner'), ('courier_test_orphan', 'courier_test_dropped_long_ago')) v (name, owner),
       courier_internal.model m, courier_internal.destination d, courier_internal.installation i, pg_database b
 WHERE m.name = 'courier_test_model' AND d.name = 'courier_test_destination' AND b.datname = current_database();
INSERT INTO courier_internal.sync_state (sync_id) SELECT sync_id FROM courier_internal.sync WHERE name LIKE 'courier\_test\_%' ON CONFLICT DO NOTHING;

CREATE TEMP TABLE made AS
    WITH r AS (
        INSERT INTO courier_internal.run (sync_id, status, triggered_by, started_at, sending_at, planned_added, succeeded_added, rejected_added, error)
        SELECT sync_id, 'sending', 'test', clock_timestamp() - '20 s'::interval, clock_timestamp() - '10 s'::interval, 1000, 410, 10,
               E'the destination said no, and said it at length\nand again'
          FROM courier_internal.sync WHERE name IN ('courier_test_sync', 'courier_test_orphan')
        RETURNING run_id, sync_id)
    SELECT r.*, s.name FROM r JOIN courier_internal.sync s USING (sync_id);
GRANT SELECT ON made TO PUBLIC;

CREATE TABLE courier_internal.courier_test_request PARTITION OF courier_internal.request FOR VALUES FROM (0, '1999-01-01') TO (0, '1999-01-02');
CREATE TABLE courier_internal.courier_test_log PARTITION OF courier_internal.change_log FOR VALUES FROM (0, '1999-01-01') TO (0, '1999-01-02');
INSERT INTO courier_internal.request (run_id, sync_id, sent_at, operation, records, attempt, method, url)
SELECT run_id, sync_id, '1999-01-01 12:00', 'upsert', 1, 1, 'PUT', 'https://api.example.com/1' FROM made;
INSERT INTO courier_internal.change_log (run_id, sync_id, key, primary_key, change, outcome, changed_at)
SELECT run_id, sync_id, '1', '{"id": 1}', 'added', 'succeeded', '1999-01-01 12:00' FROM made;
INSERT INTO courier_internal.rejected (sync_id, key, primary_key, change, outcome, origin_run_id)
SELECT sync_id, k, jsonb_build_object('id', k::integer), 'added', o, run_id FROM made, (VALUES ('1', 'rejected'), ('2', 'unknown'), ('3', 'discarded')) v (k, o);
INSERT INTO courier_internal.invalid_row (sync_id, run_id, reason, copies) SELECT sync_id, run_id, 'null_key', 2 FROM made;

CREATE FUNCTION pg_temp.seen(OUT view_name text, OUT syncs text[]) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    FOREACH view_name IN ARRAY ARRAY['runs', 'run_details', 'rejected_records', 'invalid_rows', 'requests', 'changelog', 'progress'] LOOP
        EXECUTE format('SELECT array_agg(DISTINCT v.sync ORDER BY v.sync) FROM courier.%I v WHERE v.sync LIKE ''courier\_test\_%%''', view_name) INTO syncs;
        RETURN NEXT;
    END LOOP;
END $$;

SET ROLE courier_test_owner;
SELECT is(syncs, '{courier_test_sync}', 'the owner sees his own in ' || view_name) FROM pg_temp.seen();
SET ROLE courier_test_member;
SELECT is(syncs, '{courier_test_sync}', 'a member of the owning role sees them in ' || view_name) FROM pg_temp.seen();
SET ROLE courier_test_nobody;
SELECT is(syncs, NULL, 'anybody else sees nothing in ' || view_name) FROM pg_temp.seen();
SET ROLE courier_test_viewer;
SELECT is(syncs, '{courier_test_orphan,courier_test_sync}', 'courier_viewer sees all in ' || view_name || ', of dropped owners too') FROM pg_temp.seen();

SET ROLE courier_test_nobody;
CREATE FUNCTION pg_temp.peep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE EXCEPTION 'saw %', $1; END $$;
SELECT lives_ok('SELECT * FROM courier.runs WHERE pg_temp.peep(sync)', 'a function in WHERE does not see rows before the filter');
SELECT lives_ok('SELECT * FROM courier.rejected_records WHERE pg_temp.peep(payload)', 'nor payloads');
SELECT set_eq($$
    SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace = 'courier_internal'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE')
$$, ARRAY['record_json', 'key_json', 'key_text', 'values_json', 'bucket_sums', 'differing_buckets', 'in_buckets', 'visible', 'builtin_destination_types', 'describe_destination_type', 'readable_snapshot'],
    'of courier_internal, anybody may run only functions of their arguments and those that views name');
RESET ROLE;
SELECT is_empty($$
    SELECT c.oid::regclass, r.rolname FROM pg_class c, pg_roles r
     WHERE c.relnamespace = 'courier_internal'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND r.rolname LIKE 'courier\_test\_%'
       AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
    $$, 'no role, operators and viewers included, has rights on a table of courier_internal');
SET ROLE courier_test_operator;
SELECT throws_ok('SELECT * FROM courier_internal.run', '42501', NULL, 'an operator cannot read tables');
SELECT throws_ok('DELETE FROM courier.runs', NULL, NULL, 'a view cannot be written');
RESET ROLE;

-- The owner of the snapshot is the owner of the sync
SELECT format('CREATE TABLE courier_data.snapshot_%s (key text); ALTER TABLE courier_data.snapshot_%s OWNER TO courier_test_heir', sync_id, sync_id)
  FROM made WHERE name = 'courier_test_sync' \gexec
SET ROLE courier_test_heir;
SELECT results_eq('SELECT sync FROM courier.runs WHERE sync LIKE ''courier\_test\_%''', ARRAY['courier_test_sync'], 'REASSIGN OWNED moves a sync: the new owner sees it');
SET ROLE courier_test_owner;
SELECT is_empty('SELECT sync FROM courier.runs WHERE sync LIKE ''courier\_test\_%''', 'and the old one does not');
RESET ROLE;
SELECT format('DROP TABLE courier_data.snapshot_%s', sync_id) FROM made WHERE name = 'courier_test_sync' \gexec

-- What they say

SELECT results_eq('SELECT sent, rejected, error FROM courier.runs WHERE sync = ''courier_test_sync''',
    $$VALUES (410::bigint, 10::bigint, 'the destinat...'::text)$$, 'runs is short');
SELECT results_eq('SELECT phase, done, planned, percent, bar FROM courier.progress WHERE sync = ''courier_test_sync''',
    $$VALUES ('sending'::text, 420::bigint, 1000::bigint, 42, '[####------] 42 %'::text)$$, 'progress counts what is settled');
SELECT ok(records_per_second BETWEEN 30 AND 43 AND eta BETWEEN '13 s' AND '20 s', 'and tells how long it will take') FROM courier.progress WHERE sync = 'courier_test_sync';
SELECT results_eq('SELECT key, outcome FROM courier.rejected_records WHERE sync = ''courier_test_sync'' ORDER BY key',
    $$VALUES ('1'::text, 'rejected'::text), ('2', 'unknown')$$, 'a discarded record is out of sight');
UPDATE courier_internal.run SET error_code = 'too_many_rejected' WHERE run_id IN (SELECT run_id FROM made);
SELECT results_eq('SELECT error FROM courier.runs WHERE sync = ''courier_test_sync''', ARRAY['too_many_rejected'], 'a code that is a word stands for the message');
UPDATE courier_internal.run SET planned_added = 0, succeeded_added = 0, rejected_added = 0, status = 'querying', sending_at = NULL WHERE run_id IN (SELECT run_id FROM made);
SELECT results_eq('SELECT percent, records_per_second, eta, bar FROM courier.progress WHERE sync = ''courier_test_sync''',
    $$VALUES (NULL::integer, NULL::bigint, NULL::interval(0), '[----------]'::text)$$, 'nothing planned yet: no division by zero');

SELECT * FROM finish();
ROLLBACK;
