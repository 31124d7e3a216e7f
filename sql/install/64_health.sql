-- One row per sync: what is wrong, since when, and what to do.

CREATE VIEW courier_internal.health_of_all AS
    SELECT h.name AS sync, h.grade AS health, h.since::timestamptz(0) AS since, h.problem, h.remedy, h.last_success::timestamptz(0) AS last_success, h.rejected,
           CASE WHEN NOT h.paused AND NOT h.restored AND h.blocked_run_id IS NULL THEN GREATEST(h.next_run_at, h.not_before)::timestamptz(0) END AS next_run, h.effective_owner
      FROM (SELECT g.*, c.grade, c.problem, c.remedy,
                   CASE WHEN c.grade = g.alert_state AND c.problem = g.alert_message THEN g.alert_since
                        WHEN c.grade IN ('ok', 'warning', 'critical') AND g.last_status IS NOT NULL THEN
                            (SELECT r.finished_at FROM courier_internal.run r
                              WHERE r.sync_id = g.sync_id AND r.test IS NULL AND r.finished_at IS NOT NULL AND r.status <> 'cancelled' AND r.started_at IS NOT NULL
                                AND r.run_id > COALESCE((SELECT b.run_id FROM courier_internal.run b
                                                          WHERE b.sync_id = g.sync_id AND b.test IS NULL AND b.finished_at IS NOT NULL AND b.status <> 'cancelled'
                                                            AND CASE b.status WHEN 'failed' THEN 3 WHEN 'blocked' THEN 3 WHEN 'success' THEN 1 ELSE 2 END
                                                             <> CASE g.last_status WHEN 'failed' THEN 3 WHEN 'blocked' THEN 3 WHEN 'success' THEN 1 ELSE 2 END
                                                          ORDER BY b.run_id DESC LIMIT 1), 0)
                              ORDER BY r.run_id LIMIT 1) END AS since
              FROM (SELECT o.*, p.state AS alert_state, p.since AS alert_since, p.message AS alert_message,
                           (SELECT pg_catalog.count(*) FROM courier_internal.rejected r WHERE r.sync_id = o.sync_id AND r.outcome IN ('rejected', 'unknown')) AS rejected,
                           -- By the index backwards: the last good run is among the first.
                           (SELECT r.finished_at FROM courier_internal.run r WHERE r.sync_id = o.sync_id AND r.test IS NULL AND r.status IN ('success', 'warning')
                             ORDER BY r.run_id DESC LIMIT 1) AS last_success,
                           COALESCE(NULLIF(pg_catalog.current_setting('pg_courier.enabled', true), '')::boolean, true) AS enabled
                      FROM courier_internal.sync_overview o
                      LEFT JOIN LATERAL (SELECT t.state, t.since, t.message FROM courier_internal.alert_state t
                                           JOIN courier_internal.alert a ON a.alert_id = t.alert_id
                                          WHERE t.sync_id = o.sync_id AND t.state <> 'ok'
                                            -- Only of those who have a say in the sync: who may merely look at it cannot make it look sick.
                                            AND (COALESCE(pg_catalog.pg_has_role(pg_catalog.to_regrole(pg_catalog.quote_ident(a.owner)),
                                                                                 pg_catalog.to_regrole(pg_catalog.quote_ident(o.effective_owner)), 'MEMBER'), false)
                                                 OR COALESCE(pg_catalog.pg_has_role(pg_catalog.to_regrole(pg_catalog.quote_ident(a.owner)),
                                                                                    pg_catalog.to_regrole('courier_operator'), 'MEMBER'), false))
                                          ORDER BY t.state = 'warning', t.since LIMIT 1) p ON true) g
             -- The first that applies, worst first.
             CROSS JOIN LATERAL (SELECT v.* FROM (VALUES
                 (g.restored, 'restored copy', 'This database is a copy (restore or template); nothing is sent from here.', 'If it is to send from now on: SELECT courier.resume_all()'),
                 (g.paused, 'paused', 'It is paused: no run starts.', pg_catalog.format('SELECT courier.resume_sync(%L)', g.name)),
                 (NOT g.enabled, 'disabled', 'pg_courier.enabled is off: nothing is sent.', 'ALTER SYSTEM SET pg_courier.enabled = on, or where else it was set'),
                 (g.blocked_run_id IS NOT NULL OR g.last_status = 'blocked', 'critical', COALESCE(g.last_error, 'The last run would have changed or removed more than it may.'),
                  pg_catalog.format('SELECT * FROM courier.plan_sync(%L); if that is right: SELECT courier.approve_run(%s)', g.name, COALESCE(g.blocked_run_id, g.last_run_id))),
                 (NOT g.relation_exists, 'critical', pg_catalog.format('Relation %s does not exist.', g.relation), pg_catalog.format('SELECT courier.alter_model(%L, ...)', g.model)),
                 (g.last_status = 'failed', 'critical', COALESCE(g.last_error, g.last_error_code, 'The last run failed.'),
                  COALESCE(g.last_hint, pg_catalog.format('SELECT * FROM courier.run_details WHERE run_id = %s', g.last_run_id))),
                 (g.alert_state = 'critical', 'critical', g.alert_message, pg_catalog.format('SELECT * FROM courier.alerts WHERE sync = %L', g.name)),
                 (g.waiting_for IS NOT NULL AND g.active_status = 'queued', 'warning', 'A run has not started: it waits for ' || g.waiting_for || '.', 'See courier.progress, and pg_courier.max_running_syncs and max_worker_processes'),
                 (g.waiting_for IS NOT NULL, 'warning', pg_catalog.format('Run %s does not get on: it waits for %s.', g.active_run_id, g.waiting_for),
                  CASE WHEN g.active_status = 'querying' THEN 'End what holds the lock, or: ' ELSE 'See courier.requests, or: ' END || pg_catalog.format('SELECT courier.cancel_run(%s)', g.active_run_id)),
                 (g.last_status = 'interrupted', 'warning', pg_catalog.format('Run %s was interrupted by a crash or restart.', g.last_run_id), 'The next run carries on by itself.'),
                 (g.rejected > 0, 'warning', pg_catalog.format('%s record%s not accepted.', g.rejected, CASE WHEN g.rejected = 1 THEN ' is' ELSE 's are' END),
                  pg_catalog.format('SELECT key, message FROM courier.rejected_records WHERE sync = %L', g.name)),
                 (g.last_invalid > 0, 'warning', pg_catalog.format('%s rows could not be used.', g.last_invalid), pg_catalog.format('SELECT * FROM courier.invalid_rows WHERE sync = %L', g.name)),
                 (g.last_held_removals > 0, 'warning', pg_catalog.format('%s removals are held back: the model has NULL keys.', g.last_held_removals),
                  pg_catalog.format('SELECT * FROM courier.invalid_rows WHERE sync = %L', g.name)),
                 (g.alert_state = 'warning', 'warning', g.alert_message, pg_catalog.format('SELECT * FROM courier.alerts WHERE sync = %L', g.name)),
                 (g.last_status IS NULL AND g.active_run_id IS NULL, 'never run', NULL,
                  CASE WHEN g.schedule = 'manual' THEN pg_catalog.format('CALL courier.run_sync(%L)', g.name) END),
                 (true, 'ok', NULL, NULL)) v (applies, grade, problem, remedy)
                 WHERE v.applies LIMIT 1) c) h;
COMMENT ON VIEW courier_internal.health_of_all IS 'Health of the syncs of everybody; courier.health filters it';

CREATE VIEW courier.health WITH (security_barrier) AS
    SELECT h.sync, h.health, h.since, h.problem, h.remedy, h.last_success, h.rejected, h.next_run
      FROM courier_internal.health_of_all h
     WHERE courier_internal.visible(h.effective_owner)
     ORDER BY pg_catalog.array_position(ARRAY['critical', 'warning', 'disabled', 'restored copy', 'paused', 'never run', 'ok'], h.health), h.sync;
COMMENT ON VIEW courier.health IS 'One row per sync, the worst first: what is wrong, since when, and what to do';
COMMENT ON COLUMN courier.health.health IS 'ok, warning, critical, never run, paused, disabled (pg_courier.enabled is off) or restored copy. Alerts count';
COMMENT ON COLUMN courier.health.since IS 'End of the first run that ended like this, or when the alert changed; NULL: not known';
COMMENT ON COLUMN courier.health.problem IS 'What is wrong; NULL: nothing';
COMMENT ON COLUMN courier.health.remedy IS 'What to do, as SQL where that is possible';
COMMENT ON COLUMN courier.health.last_success IS 'When a run last went through (success or warning)';
COMMENT ON COLUMN courier.health.rejected IS 'Records that are not accepted at present';
COMMENT ON COLUMN courier.health.next_run IS 'NULL: not by itself';
