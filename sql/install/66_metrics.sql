-- Numbers for a monitoring system. Runs are deleted by retention, so what only ever grows is counted when a run ends; the run under way is
-- added when somebody looks. Both happen to the same row in one transaction, so a counter never falls.

CREATE TABLE courier_internal.sync_counter (
    sync_id          integer PRIMARY KEY REFERENCES courier_internal.sync ON DELETE CASCADE,
    runs_success     bigint NOT NULL DEFAULT 0,
    runs_warning     bigint NOT NULL DEFAULT 0,
    runs_failed      bigint NOT NULL DEFAULT 0,
    runs_other       bigint NOT NULL DEFAULT 0,
    records_added    bigint NOT NULL DEFAULT 0,
    records_changed  bigint NOT NULL DEFAULT 0,
    records_removed  bigint NOT NULL DEFAULT 0,
    records_rejected bigint NOT NULL DEFAULT 0,
    records_unknown  bigint NOT NULL DEFAULT 0,
    requests         bigint NOT NULL DEFAULT 0,
    run_seconds      double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
COMMENT ON TABLE courier_internal.sync_counter IS 'Sums over all runs that ended, also those that retention has deleted. Not dumped';

CREATE FUNCTION courier_internal.count_run(ended courier_internal.run) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    INSERT INTO courier_internal.sync_counter AS c (sync_id, runs_success, runs_warning, runs_failed, runs_other, records_added, records_changed, records_removed,
                                                    records_rejected, records_unknown, requests, run_seconds)
    VALUES (ended.sync_id, (ended.status = 'success')::integer, (ended.status = 'warning')::integer, (ended.status = 'failed')::integer,
            (ended.status NOT IN ('success', 'warning', 'failed'))::integer, ended.succeeded_added, ended.succeeded_changed, ended.succeeded_removed,
            ended.rejected_added + ended.rejected_changed + ended.rejected_removed, ended.unknown, ended.requests,
            COALESCE(EXTRACT(epoch FROM ended.finished_at - ended.started_at), 0))
    ON CONFLICT (sync_id) DO UPDATE
       SET runs_success = c.runs_success + EXCLUDED.runs_success, runs_warning = c.runs_warning + EXCLUDED.runs_warning,
           runs_failed = c.runs_failed + EXCLUDED.runs_failed, runs_other = c.runs_other + EXCLUDED.runs_other,
           records_added = c.records_added + EXCLUDED.records_added, records_changed = c.records_changed + EXCLUDED.records_changed,
           records_removed = c.records_removed + EXCLUDED.records_removed, records_rejected = c.records_rejected + EXCLUDED.records_rejected,
           records_unknown = c.records_unknown + EXCLUDED.records_unknown, requests = c.requests + EXCLUDED.requests,
           run_seconds = c.run_seconds + EXCLUDED.run_seconds
$$;
COMMENT ON FUNCTION courier_internal.count_run(courier_internal.run) IS 'Adds a run that ended to the counters of its sync';

CREATE VIEW courier.metrics WITH (security_barrier) AS
    SELECT o.name AS sync, o.model, o.destination,
           CASE o.grade WHEN 'ok' THEN 0 WHEN 'warning' THEN 1 WHEN 'critical' THEN 2 ELSE 3 END AS health,
           (o.active_status IS NOT NULL AND o.active_status <> 'queued')::integer AS running, (o.active_status = 'queued' IS TRUE)::integer AS queued,
           (o.paused OR o.restored)::integer AS paused, (o.blocked_run_id IS NOT NULL)::integer AS blocked,
           o.snapshot_records, o.rejected AS rejected_records, o.last_invalid AS invalid_rows,
           EXTRACT(epoch FROM o.last_success)::double precision AS last_success_timestamp_seconds,
           EXTRACT(epoch FROM o.next_run)::double precision AS next_run_timestamp_seconds,
           EXTRACT(epoch FROM l.finished_at - l.started_at)::double precision AS last_run_duration_seconds,
           EXTRACT(epoch FROM l.sending_at - l.started_at)::double precision AS last_run_compare_seconds,
           l.rows_queried AS last_run_rows, l.planned_added + l.planned_changed + l.planned_removed AS last_run_changes,
           COALESCE(a.planned_added + a.planned_changed + a.planned_removed, 0) AS active_run_planned,
           COALESCE(a.succeeded_added + a.succeeded_changed + a.succeeded_removed + a.rejected_added + a.rejected_changed + a.rejected_removed + a.skipped + a.unknown, 0)
               AS active_run_done,
           COALESCE(c.runs_success, 0) AS runs_success_total, COALESCE(c.runs_warning, 0) AS runs_warning_total, COALESCE(c.runs_failed, 0) AS runs_failed_total,
           COALESCE(c.runs_other, 0) AS runs_other_total,
           COALESCE(c.records_added, 0) + COALESCE(a.succeeded_added, 0) AS records_added_total,
           COALESCE(c.records_changed, 0) + COALESCE(a.succeeded_changed, 0) AS records_changed_total,
           COALESCE(c.records_removed, 0) + COALESCE(a.succeeded_removed, 0) AS records_removed_total,
           COALESCE(c.records_rejected, 0) + COALESCE(a.rejected_added + a.rejected_changed + a.rejected_removed, 0) AS records_rejected_total,
           COALESCE(c.records_unknown, 0) + COALESCE(a.unknown, 0) AS records_unknown_total,
           COALESCE(c.requests, 0) + COALESCE(a.requests, 0) AS requests_total, COALESCE(c.run_seconds, 0) AS run_seconds_total
      FROM (SELECT v.*, h.health AS grade, h.rejected, h.last_success, h.next_run
              FROM courier.health h JOIN courier_internal.sync_overview v ON v.name = h.sync) o
      LEFT JOIN courier_internal.run l ON l.run_id = o.last_run_id
      LEFT JOIN courier_internal.run a ON a.run_id = o.active_run_id AND a.status IN ('querying', 'sending') AND a.test IS NULL
      LEFT JOIN courier_internal.sync_counter c ON c.sync_id = o.sync_id;
COMMENT ON VIEW courier.metrics IS 'A row of numbers per sync, for a monitoring system: monitoring/postgres_exporter.yml scrapes it. What ends in _total only grows';
COMMENT ON COLUMN courier.metrics.health IS '0 ok, 1 warning, 2 critical, 3 it does not run (paused, never run, disabled, restored copy)';
COMMENT ON COLUMN courier.metrics.running IS '1 while a run is active';
COMMENT ON COLUMN courier.metrics.queued IS '1 while a run waits to start';
COMMENT ON COLUMN courier.metrics.paused IS '1 where the sync is paused, or came with a restored copy';
COMMENT ON COLUMN courier.metrics.blocked IS '1 where max_removed or max_changes stopped it';
COMMENT ON COLUMN courier.metrics.snapshot_records IS 'Records that the destination has accepted';
COMMENT ON COLUMN courier.metrics.rejected_records IS 'Records that it does not accept at present';
COMMENT ON COLUMN courier.metrics.invalid_rows IS 'Rows of the model that the last run could not use';
COMMENT ON COLUMN courier.metrics.last_success_timestamp_seconds IS 'When a run last went through (success or warning)';
COMMENT ON COLUMN courier.metrics.next_run_timestamp_seconds IS 'When the schedule starts the next run';
COMMENT ON COLUMN courier.metrics.last_run_duration_seconds IS 'Duration of the last run';
COMMENT ON COLUMN courier.metrics.last_run_compare_seconds IS 'Of that, reading the model and comparing';
COMMENT ON COLUMN courier.metrics.last_run_rows IS 'Rows of the model in the last run';
COMMENT ON COLUMN courier.metrics.last_run_changes IS 'Records that the last run had to send';
COMMENT ON COLUMN courier.metrics.active_run_planned IS 'Records that the active run has to send';
COMMENT ON COLUMN courier.metrics.active_run_done IS 'Of these, settled';
COMMENT ON COLUMN courier.metrics.runs_success_total IS 'Runs that ended with success';
COMMENT ON COLUMN courier.metrics.runs_warning_total IS 'Runs that ended with warning';
COMMENT ON COLUMN courier.metrics.runs_failed_total IS 'Runs that failed';
COMMENT ON COLUMN courier.metrics.runs_other_total IS 'Runs that were cancelled, interrupted or blocked';
COMMENT ON COLUMN courier.metrics.records_added_total IS 'Records added in the destination';
COMMENT ON COLUMN courier.metrics.records_changed_total IS 'Records changed in the destination';
COMMENT ON COLUMN courier.metrics.records_removed_total IS 'Records removed from the destination';
COMMENT ON COLUMN courier.metrics.records_rejected_total IS 'Records that the destination refused, each time counted';
COMMENT ON COLUMN courier.metrics.records_unknown_total IS 'Records whose outcome no answer told';
COMMENT ON COLUMN courier.metrics.requests_total IS 'HTTP requests, retries included';
COMMENT ON COLUMN courier.metrics.run_seconds_total IS 'Time that runs took';
