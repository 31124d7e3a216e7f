-- Triggering, cancelling, approving, and letting go of rejected records: who may, and what becomes of it. Run with pg_prove in a database
-- that has the extension. Everything happens in one transaction that is rolled back, so no worker ever sees these runs.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(68);

CREATE ROLE courier_test_owner;
CREATE ROLE courier_test_member IN ROLE courier_test_owner;
CREATE ROLE courier_test_nobody;
CREATE ROLE courier_test_viewer IN ROLE courier_viewer;
CREATE ROLE courier_test_operator IN ROLE courier_operator;

INSERT INTO courier_internal.model (name, source, relation_schema, relation_name, primary_key, owner)
VALUES ('courier_test_one', 'local', 'public', 'courier_test', '{id}', 'courier_test_owner'),
       ('courier_test_two', 'local', 'public', 'courier_test', '{shop,id}', 'courier_test_owner');
INSERT INTO courier_internal.destination (name, type, owner) VALUES ('courier_test_destination', 'http', 'courier_test_owner');
INSERT INTO courier_internal.sync (name, model_id, destination_id, mode, sync_type, mapping, on_removed, first_run, search_path, owner, epoch, database_oid, schedule, options)
SELECT v.name, m.model_id, d.destination_id, v.mode, v.sync_type, '{"z": "id", "a": "name", "m": "name"}', 'ignore', 'send', 'public', 'courier_test_owner', i.epoch, b.oid, v.schedule, v.options
  FROM (VALUES ('courier_test_sync', 'courier_test_one', 'upsert', 'objects', 'manual', '{}'::jsonb),
               ('courier_test_pair', 'courier_test_two', 'upsert', 'objects', 'manual', '{}'),
               ('courier_test_insert', 'courier_test_one', 'insert', 'objects', 'manual', '{}'),
               ('courier_test_events', 'courier_test_one', 'upsert', 'events', 'manual', '{}'),
               ('courier_test_after', 'courier_test_one', 'upsert', 'objects', 'after courier_test_sync', '{}'),
               ('courier_test_strict', 'courier_test_one', 'upsert', 'objects', 'after courier_test_sync', '{"stop_on": "warning"}'),
               ('courier_test_always', 'courier_test_one', 'upsert', 'objects', 'after courier_test_sync', '{"stop_on": "never"}')) v (name, model, mode, sync_type, schedule, options)
  JOIN courier_internal.model m ON m.name = v.model,
       courier_internal.destination d, courier_internal.installation i, pg_database b
 WHERE d.name = 'courier_test_destination' AND b.datname = current_database();

CREATE FUNCTION pg_temp.sync_id(text) RETURNS integer LANGUAGE sql AS $$ SELECT sync_id FROM courier_internal.sync WHERE name = 'courier_test_' || $1 $$;
CREATE FUNCTION pg_temp.run(bigint) RETURNS courier_internal.run LANGUAGE sql AS $$ SELECT r FROM courier_internal.run r WHERE run_id = $1 $$;
CREATE FUNCTION pg_temp.followers() RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE names text[];
BEGIN
    SELECT COALESCE(array_agg(substr(s.name, 14) ORDER BY s.name), '{}') INTO names
      FROM courier_internal.run r JOIN courier_internal.sync s USING (sync_id) WHERE r.triggered_by = 'after courier_test_sync' AND r.status = 'queued';
    DELETE FROM courier_internal.run WHERE triggered_by = 'after courier_test_sync';
    RETURN names;
END $$;

-- Triggering

SET ROLE courier_test_owner;
SELECT courier.trigger_sync('courier_test_sync') || '::bigint' AS first \gset
SELECT is(courier.trigger_sync('courier_test_sync'), :first, 'a second trigger joins the queued run');
SELECT is(courier.trigger_sync('courier_test_sync', 'full'), :first, 'whatever it resyncs');
RESET ROLE;
SELECT is((pg_temp.run(:first)).resync, 'full', 'the stronger resync counts');
SELECT is((pg_temp.run(:first)).triggered_by, 'courier_test_owner', 'a run says who asked first');
SET ROLE courier_test_member;
SELECT is(courier.trigger_sync('courier_test_sync'), :first, 'members of the owning role may trigger');
RESET ROLE;
SELECT is((pg_temp.run(:first)).resync, 'full', 'and weaken nothing');
SET ROLE courier_test_operator;
SELECT is(courier.trigger_sync('courier_test_sync', 'baseline'), :first, 'operators may trigger');
RESET ROLE;
SELECT is((pg_temp.run(:first)).resync, 'baseline', 'baseline is stronger than full');
SET ROLE courier_test_viewer;
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_sync'')', '42501', 'permission denied for sync "courier_test_sync"', 'viewers may not trigger');
SET ROLE courier_test_nobody;
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_sync'')', '42501', NULL, 'others may not trigger');
SELECT throws_ok(format('SELECT courier.cancel_run(%s)', :first), '42501', NULL, 'others may not cancel');
SELECT throws_ok(format('SELECT courier.approve_run(%s)', :first), '42501', NULL, 'others may not approve');
SELECT throws_ok('SELECT courier.retry_rejected(''courier_test_sync'')', '42501', NULL, 'others may not retry');
SELECT throws_ok('SELECT courier.discard_rejected(''courier_test_sync'')', '42501', NULL, 'others may not discard');
SET ROLE courier_test_owner;
SELECT throws_ok('SELECT courier.trigger_sync(NULL)', '22004', 'argument "name" must not be NULL', 'name is required');
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_sync'', NULL)', '22004', 'argument "resync" must not be NULL', 'resync is required');
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_sink'')', '42704', 'sync "courier_test_sink" does not exist', 'an unknown name');
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_sync'', ''half'')', '22023', 'resync "half" is not known', 'an unknown resync');
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_insert'', ''full'')', '22023', NULL, 'no full resync in mode insert');
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_events'', ''full'')', '22023', NULL, 'no full resync of events');
SELECT lives_ok('SELECT courier.trigger_sync(''courier_test_events'', ''baseline'')', 'but a baseline');
RESET ROLE;

UPDATE courier_internal.sync SET paused = true WHERE name = 'courier_test_pair';
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_pair'')', '55000', 'sync "courier_test_pair" is paused', 'a paused sync');
UPDATE courier_internal.sync SET paused = false, epoch = gen_random_uuid() WHERE name = 'courier_test_pair';
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_pair'')', '55000', NULL, 'a restored sync');
UPDATE courier_internal.sync SET epoch = (SELECT epoch FROM courier_internal.installation), database_oid = 0 WHERE name = 'courier_test_pair';
SELECT throws_ok('SELECT courier.trigger_sync(''courier_test_pair'')', '55000', NULL, 'a sync of another database');

-- Ways of a run

SELECT lives_ok(format('SELECT courier_internal.set_run_status(%s, ''querying'')', :first), 'a run is claimed');
SELECT courier.trigger_sync('courier_test_sync') || '::bigint' AS second \gset
SELECT isnt(:second, :first, 'a trigger while a run is active queues another');
SELECT is(courier.trigger_sync('courier_test_sync'), :second, 'just one');
SELECT lives_ok(format('SELECT courier_internal.set_run_status(%s, ''sending'')', :first), 'a run sends');
SELECT ok(started_at IS NOT NULL AND sending_at >= started_at, 'and has its times') FROM pg_temp.run(:first);
SET ROLE courier_test_operator;
SELECT lives_ok(format('SELECT courier.cancel_run(%s)', :first), 'operators may cancel');
SELECT lives_ok(format('SELECT courier.cancel_run(%s)', :second), 'a queued run too');
SELECT lives_ok(format('SELECT courier.cancel_run(%s)', :second), 'a run that has ended is let be');
SELECT throws_ok('SELECT courier.cancel_run(-1)', '42704', 'run -1 does not exist', 'an unknown run');
SELECT throws_ok('SELECT courier.cancel_run(NULL)', '22004', 'argument "run_id" must not be NULL', 'run_id is required');
RESET ROLE;
SELECT is((pg_temp.run(:first)).status, 'sending', 'an active run goes on until its worker sees the request');
SELECT ok((pg_temp.run(:first)).cancel_requested, 'which is there');
SELECT is((pg_temp.run(:second)).status, 'cancelled', 'a queued run is cancelled at once');
SELECT ok((pg_temp.run(:second)).finished_at IS NOT NULL, 'and has ended');
SELECT is_empty($$SELECT * FROM courier_internal.sync_state WHERE sync_id = pg_temp.sync_id('sync') AND last_run_id IS NOT NULL$$, 'it does not count as the last run');

SELECT courier_internal.finish_run(:first, 'cancelled', NULL, NULL, NULL);
SELECT is(pg_temp.followers(), '{always}', 'cancelled: only followers that stop on nothing');
SELECT courier_internal.finish_run(:first, 'success', NULL, NULL, NULL);
SELECT is((pg_temp.run(:first)).status, 'cancelled', 'a run ends once');

CREATE FUNCTION pg_temp.ends(how text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE id bigint;
BEGIN
    id := courier.trigger_sync('courier_test_sync');
    PERFORM courier_internal.set_run_status(id, 'querying');
    PERFORM courier_internal.finish_run(id, how, NULL, NULL, NULL);
    RETURN pg_temp.followers();
END $$;
SELECT is(pg_temp.ends('success'), '{after,always,strict}', 'success: all followers');
SELECT is(pg_temp.ends('warning'), '{after,always}', 'warning: not those that stop on it');
SELECT is(pg_temp.ends('failed'), '{always}', 'failed: only followers that stop on nothing');
SELECT is(pg_temp.ends('interrupted'), '{}', 'interrupted: none, another run comes');
UPDATE courier_internal.sync SET paused = true WHERE name = 'courier_test_after';
SELECT is(pg_temp.ends('success'), '{always,strict}', 'no paused followers');

-- Blocked and approved

SELECT courier.trigger_sync('courier_test_sync', 'full') || '::bigint' AS blocked \gset
SELECT throws_ok(format('SELECT courier.approve_run(%s)', :blocked), '55000', NULL, 'only a blocked run is approved');
UPDATE courier_internal.run SET planned_added = 1, planned_changed = 2, planned_removed = 40 WHERE run_id = :blocked;
SELECT courier_internal.finish_run(:blocked, 'blocked', 'max_removed', 'too many', 'approve');
SELECT is((SELECT blocked_run_id FROM courier_internal.sync_state WHERE sync_id = pg_temp.sync_id('sync')), :blocked, 'the sync is blocked');
SELECT is(pg_temp.followers(), '{always}', 'blocked: only followers that stop on nothing');
SET ROLE courier_test_viewer;
SELECT throws_ok(format('SELECT courier.approve_run(%s)', :blocked), '42501', NULL, 'viewers may not approve');
SET ROLE courier_test_operator;
SELECT courier.approve_run(:blocked) || '::bigint' AS approved \gset
RESET ROLE;
SELECT is((pg_temp.run(:approved)).approved, '{"removed": 40, "changes": 43}', 'the approved run may do what was planned');
SELECT is((pg_temp.run(:approved)).resync, 'full', 'and is the same resync');
SELECT is((SELECT blocked_run_id FROM courier_internal.sync_state WHERE sync_id = pg_temp.sync_id('sync')), NULL, 'the sync is no longer blocked');
SELECT throws_ok(format('SELECT courier.approve_run(%s)', :blocked), '55000', 'sync "courier_test_sync" is no longer blocked', 'nothing is approved twice');

-- Rejected records

INSERT INTO courier_internal.rejected (sync_id, key, primary_key, change, outcome, origin_run_id, next_attempt_at, payload)
SELECT pg_temp.sync_id('sync'), k, p::jsonb, 'added', o, 1, 'infinity', '{}'
  FROM (VALUES ('1', '{"id": 1}', 'rejected'), ('2', '{"id": 2}', 'unknown'), ('3', '{"id": 3}', 'unknown'), ('x', '{"id": "x"}', 'rejected')) v (k, p, o);
INSERT INTO courier_internal.rejected (sync_id, key, primary_key, change, outcome, origin_run_id, next_attempt_at)
VALUES (pg_temp.sync_id('pair'), '["a",1]', '{"shop": "a", "id": 1}', 'added', 'rejected', 1, 'infinity');
SET ROLE courier_test_owner;
SELECT is(courier.retry_rejected('courier_test_sync', '{"id": 1}'), 1::bigint, 'one record by its key');
SELECT is(courier.retry_rejected('courier_test_sync', '2'), 1::bigint, 'or by the value alone');
SELECT is(courier.retry_rejected('courier_test_sync', '"2"'), 1::bigint, 'as a number or as text');
SELECT is(courier.retry_rejected('courier_test_sync', '"x"'), 1::bigint, 'a text key');
SELECT is(courier.retry_rejected('courier_test_sync', '99'), 0::bigint, 'a record that was not rejected');
SELECT is(courier.retry_rejected('courier_test_sync'), 4::bigint, 'or all');
SELECT is(courier.retry_rejected('courier_test_pair', '{"id": 1, "shop": "a"}'), 1::bigint, 'a composite key');
SELECT throws_ok('SELECT courier.retry_rejected(''courier_test_pair'', ''1'')', '22023', NULL, 'half of a composite key');
SELECT throws_ok('SELECT courier.discard_rejected(''courier_test_sync'', ''{"no": 1}'')', '22023', NULL, 'a key with another column');
SELECT throws_ok('SELECT courier.retry_rejected(NULL)', '22004', 'argument "sync" must not be NULL', 'sync is required');
SELECT is(courier.discard_rejected('courier_test_sync', '3'), 1::bigint, 'one record is let go');
RESET ROLE;
SELECT results_eq($$SELECT outcome, next_attempt_at, payload FROM courier_internal.rejected WHERE sync_id = pg_temp.sync_id('sync') AND key = '3'$$,
    $$VALUES ('discarded'::text, 'infinity'::timestamptz, NULL::text)$$, 'and kept from being sent again');
SELECT is(courier.retry_rejected('courier_test_sync'), 3::bigint, 'it is not retried with the others');

-- What a worker reads

SELECT is((SELECT array_agg(k) FROM json_object_keys(courier_internal.run_definition(:approved)->'sync'->'mapping') k), '{z,a,m}', 'fields of the mapping keep their order');

SELECT * FROM finish();
ROLLBACK;
