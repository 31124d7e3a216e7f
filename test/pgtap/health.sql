-- courier.health: the worst first, since when, and what to do. The runs are written here, not made; leaves nothing behind.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(14);

SELECT columns_are('courier', 'health', ARRAY['sync', 'health', 'since', 'problem', 'remedy', 'last_success', 'rejected', 'next_run']);
CREATE TABLE public.courier_health (id integer PRIMARY KEY, name text);
SELECT courier.create_model('courier_health', relation => 'public.courier_health') \g /dev/null
SELECT courier.create_destination('courier_health', 'http', '{"base_url": "https://192.0.2.1"}') \g /dev/null
SELECT courier.create_sync('health_' || n, 'courier_health', 'courier_health', schedule => CASE WHEN n = 'new' THEN 'every 1 day' ELSE 'manual' END)
  FROM unnest(ARRAY['good', 'new', 'failing', 'blocked', 'refused', 'paused', 'recovered', 'alerted']) n \g /dev/null
SELECT courier.pause_sync('health_paused') \g /dev/null

CREATE FUNCTION pg_temp.run(sync text, status text, ended timestamptz, error text DEFAULT NULL, hint text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    WITH r AS (INSERT INTO courier_internal.run (sync_id, status, triggered_by, started_at, finished_at, error, hint)
               SELECT s.sync_id, status, 'test', ended - '1 min'::interval, ended, error, hint FROM courier_internal.sync s WHERE s.name = 'health_' || sync RETURNING sync_id, run_id)
    UPDATE courier_internal.sync_state t SET last_run_id = r.run_id, blocked_run_id = CASE WHEN status = 'blocked' THEN r.run_id END
      FROM r WHERE t.sync_id = r.sync_id RETURNING t.last_run_id
$$;
INSERT INTO courier_internal.sync_state (sync_id) SELECT sync_id FROM courier_internal.sync WHERE name LIKE 'health\_%' ON CONFLICT DO NOTHING;
SELECT pg_temp.run('good', 'success', '2026-01-01 10:00Z'), pg_temp.run('good', 'success', '2026-01-01 11:00Z'),
       pg_temp.run('failing', 'success', '2026-01-01 10:00Z'), pg_temp.run('failing', 'failed', '2026-01-01 11:00Z', 'the token is refused', 'Give it another token.'),
       pg_temp.run('failing', 'failed', '2026-01-01 12:00Z', 'the token is refused', 'Give it another token.'),
       pg_temp.run('blocked', 'blocked', '2026-01-01 12:00Z', 'the model lost 9 of 10 records'),
       pg_temp.run('refused', 'warning', '2026-01-01 12:00Z'),
       pg_temp.run('recovered', 'failed', '2026-01-01 10:00Z', 'no'), pg_temp.run('recovered', 'cancelled', '2026-01-01 11:00Z'),
       pg_temp.run('recovered', 'success', '2026-01-01 12:00Z'), pg_temp.run('alerted', 'success', '2026-01-01 12:00Z') \g /dev/null
INSERT INTO courier_internal.rejected (sync_id, key, primary_key, change, outcome, origin_run_id)
SELECT s.sync_id, k::text, '{}', 'added', CASE k WHEN 3 THEN 'discarded' ELSE 'rejected' END, 1 FROM courier_internal.sync s, generate_series(1, 3) k WHERE s.name = 'health_refused';
SELECT courier.create_alert('health_alert', 'no_success', critical => '1 day', sync => 'health_alerted') \g /dev/null
SELECT courier_internal.evaluate_alerts() \g /dev/null

SELECT results_eq($$SELECT sync, health FROM courier.health WHERE sync LIKE 'health\_%'$$,
    $$VALUES ('health_alerted', 'critical'), ('health_blocked', 'critical'), ('health_failing', 'critical'), ('health_refused', 'warning'), ('health_paused', 'paused'),
             ('health_new', 'never run'), ('health_good', 'ok'), ('health_recovered', 'ok')$$, 'health of each, the worst first');
SELECT is((SELECT problem || ' ' || remedy FROM courier.health WHERE sync = 'health_failing'), 'the token is refused Give it another token.', 'error and hint of the run');
SELECT is((SELECT since FROM courier.health WHERE sync = 'health_failing'), '2026-01-01 11:00Z', 'failing since the first run that failed');
SELECT is((SELECT last_success FROM courier.health WHERE sync = 'health_failing'), '2026-01-01 10:00Z', 'and the success before');
SELECT is((SELECT since FROM courier.health WHERE sync = 'health_good'), '2026-01-01 10:00Z', 'good since the first success');
SELECT is((SELECT since FROM courier.health WHERE sync = 'health_recovered'), '2026-01-01 12:00Z', 'a cancelled run says nothing of since when');
SELECT matches((SELECT remedy FROM courier.health WHERE sync = 'health_blocked'), 'approve_run\(\d+\)', 'a blocked sync: how to approve');
SELECT is((SELECT rejected FROM courier.health WHERE sync = 'health_refused'), 2::bigint, 'discarded records do not count');
SELECT isnt((SELECT since FROM courier.health WHERE sync = 'health_alerted'), '2026-01-01 12:00Z', 'an alert has a time of its own');
SELECT matches((SELECT problem FROM courier.health WHERE sync = 'health_alerted'), 'the last run that went through ended at 2026-01-01', 'and says what it measured');

-- Retention of events
UPDATE courier_internal.sync SET sync_type = 'notifications' WHERE name = 'health_new';
INSERT INTO courier_internal.alert_event (alert, kind, sync, state, former, message, channel, owner, occurred_at)
SELECT 'health_old', 'no_success', 'health_good', 'critical', 'ok', 'old', c, 'nobody', clock_timestamp() - a
  FROM (VALUES ('health_good', interval '40 days'), (NULL, interval '40 days'), ('health_new', interval '40 days'), (NULL, interval '20 days')) v (c, a);
SELECT is(courier_internal.forget_alert_events('30 days'), 2::bigint, 'events are forgotten by age');
SELECT is((SELECT count(*) FROM courier_internal.alert_event WHERE channel = 'health_new'), 1::bigint, 'not those of notifications, which would be told of as removed');
SELECT is((SELECT count(*) FROM courier_internal.alert_event WHERE sync = 'health_alerted'), 1::bigint, 'nor young ones');

SELECT * FROM finish();
ROLLBACK;
