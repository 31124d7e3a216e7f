-- Runs: trigger, cancel, approve, let go. One transaction that is rolled back, so no worker ever sees these runs, and run ids are the same every time.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

BEGIN;
ALTER TABLE courier_internal.run ALTER COLUMN run_id RESTART WITH 1001;
CREATE ROLE regress_courier_owner;
CREATE ROLE regress_courier_nobody;
CREATE ROLE regress_courier_viewer IN ROLE courier_viewer;
CREATE ROLE regress_courier_operator IN ROLE courier_operator;
CREATE SCHEMA regress_runs AUTHORIZATION regress_courier_owner;

SET ROLE regress_courier_owner;
CREATE TABLE regress_runs.customer (id integer PRIMARY KEY, email text);
INSERT INTO regress_runs.customer VALUES (1, 'ada@example.com'), (2, 'ben@example.com'), (3, 'cid@example.com');
SELECT courier.create_model('regress_customers', relation => 'regress_runs.customer');
SELECT courier.create_destination('regress_crm', 'http', '{"base_url": "https://api.example.com/v1"}');
SELECT courier.create_sync('regress_contacts', 'regress_customers', 'regress_crm', mode => 'upsert', on_removed => 'delete',
    mapping => '{"id": "id", "email": "lower(email)"}',
    config  => '{"requests": {"upsert": {"method": "PUT", "path": "/contacts/{{ id }}"}, "delete": {"method": "DELETE", "path": "/contacts/{{ id }}"}}}');
SELECT courier.create_sync('regress_signups', 'regress_customers', 'regress_crm', mode => 'insert');
SELECT courier.create_sync('regress_next', 'regress_customers', 'regress_crm', schedule => 'after regress_contacts');

-- A look ahead
SELECT * FROM courier.plan_sync('regress_contacts');
SELECT change, operation, records, method, url, body FROM courier.preview_sync('regress_contacts', 2);

-- Triggers join the queued run; the stronger resync counts
SELECT courier.trigger_sync('regress_contacts');
SELECT courier.trigger_sync('regress_contacts', 'full');
SELECT courier.trigger_sync('regress_contacts');
SELECT run_id, sync, status, triggered_by, resync FROM courier.run_details WHERE sync LIKE 'regress%';
SELECT * FROM courier.runs WHERE sync LIKE 'regress%';

-- What is refused
SELECT courier.trigger_sync(NULL);
SELECT courier.trigger_sync('regress_contacts', NULL);
SELECT courier.trigger_sync('regress_contacts', 'half');
SELECT courier.trigger_sync('regress_contcts');
SELECT courier.trigger_sync('regress_signups', 'full');
SELECT courier.pause_sync('regress_contacts');
SELECT courier.trigger_sync('regress_contacts');
SELECT courier.resume_sync('regress_contacts');
SELECT courier.approve_run(1001);
SELECT courier.cancel_run(NULL);
SELECT courier.cancel_run(-1);

-- Who may
SET ROLE regress_courier_nobody;
SELECT courier.trigger_sync('regress_contacts');
SELECT courier.cancel_run(1001);
SELECT courier.approve_run(1001);
SELECT courier.retry_rejected('regress_contacts');
SELECT courier.discard_rejected('regress_contacts');
SELECT courier.plan_sync('regress_contacts');
SELECT courier.preview_sync('regress_contacts');
SELECT courier.snapshot('regress_contacts');
SELECT count(*) FROM courier.runs;
SELECT count(*) FROM courier_internal.run;
SET ROLE regress_courier_viewer;
SELECT run_id, sync, status FROM courier.runs WHERE sync LIKE 'regress%';
SELECT courier.trigger_sync('regress_contacts');
SELECT courier.cancel_run(1001);
SET ROLE regress_courier_operator;
SELECT courier.trigger_sync('regress_contacts', 'baseline');
SELECT courier.cancel_run(1001);
SELECT courier.cancel_run(1001);
SELECT run_id, sync, status FROM courier.runs WHERE sync LIKE 'regress%';

-- A run that is blocked, and approved
SET ROLE regress_courier_owner;
SELECT courier.trigger_sync('regress_contacts', 'full');
RESET ROLE;
SELECT courier_internal.set_run_status(1002, 'querying');
UPDATE courier_internal.run SET planned_changed = 3, planned_removed = 1500 WHERE run_id = 1002;
SELECT courier_internal.finish_run(1002, 'blocked', 'max_removed', 'the run would remove 1,500 records of 2,000', 'SELECT courier.approve_run(1002)');
SET ROLE regress_courier_operator;
SELECT run_id, status, planned_removed, error_code, error, hint FROM courier.run_details WHERE run_id = 1002;
SELECT courier.approve_run(1002);
SELECT courier.approve_run(1002);
SELECT run_id, sync, status, resync, triggered_by FROM courier.run_details WHERE sync LIKE 'regress%' ORDER BY run_id;
RESET ROLE;
SELECT approved FROM courier_internal.run WHERE run_id = 1003;

-- A run that goes through, seen from outside
SELECT courier_internal.set_run_status(1003, 'sending');
UPDATE courier_internal.run SET planned_added = 3, succeeded_added = 1, rejected_added = 1 WHERE run_id = 1003;
SELECT run_id, sync, phase, done, planned, rejected, percent, bar FROM courier.progress WHERE run_id = 1003;
SELECT courier.cancel_run(1003);
SELECT run_id, sync, status FROM courier.runs WHERE run_id = 1003;
UPDATE courier_internal.run SET succeeded_added = 2 WHERE run_id = 1003;
SELECT courier_internal.finish_run(1003, 'warning', NULL, NULL, NULL);
SELECT courier_internal.finish_run(1003, 'interrupted', NULL, NULL, NULL);
SELECT run_id, sync, status, sent, rejected, error FROM courier.runs WHERE sync LIKE 'regress%';
SELECT run_id, sync, triggered_by FROM courier.run_details WHERE sync = 'regress_next';
SELECT courier.cancel_run(1003);

-- Rejected records
INSERT INTO courier_internal.rejected (sync_id, key, primary_key, change, outcome, origin_run_id, next_attempt_at, http_status, error_code, message)
SELECT s.sync_id, v.id::text, jsonb_build_object('id', v.id), 'added', v.outcome, 1003, 'infinity', v.http_status, v.error_code, v.message
  FROM (VALUES (1, 'rejected', 422, 'invalid_email', 'ada@example.com is no address'), (2, 'unknown', NULL, 'connection_lost', 'no answer'),
               (3, 'rejected', 400, NULL, 'no')) v (id, outcome, http_status, error_code, message),
       courier_internal.sync s WHERE s.name = 'regress_contacts';
SET ROLE regress_courier_owner;
SELECT sync, key, primary_key, change, attempts, outcome, http_status, error_code, message FROM courier.rejected_records ORDER BY key;
SELECT courier.retry_rejected('regress_contacts', '{"id": 1}');
SELECT courier.retry_rejected('regress_contacts', '2');
SELECT courier.retry_rejected('regress_contacts', '4');
SELECT key, next_attempt_at = now() AS due, outcome FROM courier.rejected_records ORDER BY key;
SELECT courier.retry_rejected('regress_contacts', '{"mail": 1}');
SELECT courier.retry_rejected(NULL);
SELECT courier.discard_rejected('regress_contacts', '"2"');
SELECT courier.discard_rejected('regress_contacts', '2');
SELECT courier.retry_rejected('regress_contacts');
SELECT key, outcome FROM courier.rejected_records ORDER BY key;

-- A copy of the database
RESET ROLE;
UPDATE courier_internal.sync SET epoch = gen_random_uuid() WHERE name = 'regress_contacts';
SELECT courier.trigger_sync('regress_contacts');

ROLLBACK;
