-- Looking up one record in large logs: by index, in every partition, through the views and their security barrier. Fills the logs with some
-- hundred thousand rows of four weeks and rolls back. Run with pg_prove in a database that has the extension.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(17);

CREATE ROLE courier_log_owner;
INSERT INTO courier_internal.model (name, source, relation_schema, relation_name, primary_key, owner)
VALUES ('courier_log_model', 'local', 'public', 'courier_log', '{id}', 'courier_log_owner');
INSERT INTO courier_internal.destination (name, type, owner) VALUES ('courier_log_destination', 'http', 'courier_log_owner');
INSERT INTO courier_internal.sync (name, model_id, destination_id, mode, sync_type, on_removed, first_run, search_path, owner, epoch, database_oid)
SELECT 'courier_log_sync', m.model_id, d.destination_id, 'upsert', 'objects', 'ignore', 'send', 'public', 'courier_log_owner', i.epoch, b.oid
  FROM courier_internal.model m, courier_internal.destination d, courier_internal.installation i, pg_database b
 WHERE m.name = 'courier_log_model' AND d.name = 'courier_log_destination' AND b.datname = current_database();
SELECT set_config('test.sync', (SELECT sync_id::text FROM courier_internal.sync WHERE name = 'courier_log_sync'), true) \g /dev/null

-- Four weeks, a partition each; every key occurs once or so in each.
SELECT format('CREATE TABLE courier_internal.courier_test_%s_%s PARTITION OF courier_internal.%s FOR VALUES FROM (0, %L) TO (0, %L)',
              p, n, p, date '1999-01-01' + n, date '1999-01-02' + n)
  FROM unnest(ARRAY['change_log', 'request', 'request_key']) p, generate_series(0, 27) n \gexec
INSERT INTO courier_internal.change_log (run_id, sync_id, key, primary_key, change, outcome, changed_at)
SELECT n / 1000, current_setting('test.sync')::integer, (n % 20000)::text, '{}', 'changed', 'succeeded', timestamptz '1999-01-01 00:00 UTC' + n * interval '10 s'
  FROM generate_series(0, 239999) n;
INSERT INTO courier_internal.request (run_id, sync_id, sent_at, operation, records, attempt, method, url, request_id, key)
SELECT n / 1000, current_setting('test.sync')::integer, timestamptz '1999-01-01 00:00 UTC' + n * interval '40 s', 'upsert', 1 + (n % 2) * 2, 1, 'PUT', 'http://x/' || n, -1 - n,
       CASE n % 2 WHEN 0 THEN (n % 20000)::text END
  FROM generate_series(0, 59999) n;
INSERT INTO courier_internal.request_key (key, request_id, run_id, sync_id, sent_at)
SELECT ((n * 3 + k) % 20000)::text, -1 - n, n / 1000, current_setting('test.sync')::integer, timestamptz '1999-01-01 00:00 UTC' + n * interval '40 s'
  FROM generate_series(1, 59999, 2) n, generate_series(0, 2) k;
ANALYZE courier_internal.change_log, courier_internal.request, courier_internal.request_key;
SELECT brin_summarize_new_values(i.indexrelid) -- as VACUUM does, which no transaction may
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
 WHERE c.relname ~ '^courier_test_change_log_' AND i.indkey::text = '1 3' \g /dev/null

-- Every node of a plan that reads a log, as (partition's parent, node); and what it touched.
CREATE FUNCTION pg_temp.plan_of(query text, OUT seq_scans bigint, OUT index_scans bigint, OUT blocks bigint, OUT hits bigint) LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
    SELECT count(*) FILTER (WHERE n->>'Node Type' = 'Seq Scan'), count(*) FILTER (WHERE n->>'Node Type' ~ 'Index|Bitmap')
      INTO seq_scans, index_scans
      FROM jsonb_path_query(plan, 'strict $.**') n
     WHERE jsonb_typeof(n) = 'object' AND n->>'Relation Name' ~ 'courier_test_(change_log|request|request_key)_';
    blocks := (plan->0->'Plan'->>'Shared Hit Blocks')::bigint + (plan->0->'Plan'->>'Shared Read Blocks')::bigint;
    hits := (plan->0->'Plan'->>'Actual Rows')::bigint;
END
$$;
-- What is read for a look-up: some blocks per partition, not the 100 or more that each has.
CREATE FUNCTION pg_temp.by_index(query text, rows bigint, what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    p record;
BEGIN
    SELECT * INTO p FROM pg_temp.plan_of(query);
    RETURN NEXT is(p.hits, rows, what || ': rows');
    RETURN NEXT ok(p.seq_scans = 0 AND p.index_scans >= 28, format('%s: an index of every partition (%s by index, %s read whole)', what, p.index_scans, p.seq_scans));
    RETURN NEXT ok(p.blocks < 1500, format('%s: %s blocks', what, p.blocks));
END
$$;

SET LOCAL ROLE courier_log_owner;
SELECT pg_temp.by_index($$SELECT * FROM courier.changelog WHERE key = '4242' ORDER BY changed_at DESC$$, 12, 'changelog by key');
SELECT pg_temp.by_index($$SELECT * FROM courier.changelog WHERE sync = 'courier_log_sync' AND key = '4242'$$, 12, 'changelog by sync and key');
SELECT pg_temp.by_index($$SELECT * FROM courier.requests WHERE key = '4242'$$, 3, 'requests by key');
SELECT pg_temp.by_index($$SELECT * FROM courier.record_requests WHERE key = '4242' ORDER BY sent_at$$, 6, 'record_requests by key, alone and in batches');
SELECT pg_temp.by_index($$SELECT * FROM courier.record_requests WHERE key = '4243'$$, 6, 'record_requests by key, in batches');
RESET ROLE;

CREATE ROLE courier_log_stranger;
SET LOCAL ROLE courier_log_stranger;
SELECT is_empty($$SELECT * FROM courier.record_requests WHERE key = '4242'$$, 'a stranger finds no request by a key');
SELECT is_empty($$SELECT * FROM courier.changelog WHERE key = '4242'$$, 'nor an outcome');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
