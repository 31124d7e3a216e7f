-- Views of runs. Each joins courier_internal.visible_sync, which is where it is decided whose rows somebody sees. The views read the
-- tables with their owner's rights; security_barrier keeps a user's function in a WHERE clause from seeing rows before the filter.
-- No owner's name is looked up in a way that could fail: a role may have been dropped since.

CREATE VIEW courier_internal.visible_sync WITH (security_barrier) AS
    SELECT o.sync_id, o.name
      FROM (SELECT s.sync_id, s.name, COALESCE(pg_catalog.pg_get_userbyid(c.relowner)::text, s.owner) AS owner
              FROM courier_internal.sync s
              LEFT JOIN pg_catalog.pg_class c
                     ON c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'courier_data')
                    AND c.relname = ('snapshot_' || s.sync_id)::name AND c.relkind = 'r') o
     WHERE courier_internal.visible(o.owner);
COMMENT ON VIEW courier_internal.visible_sync IS 'The syncs whose rows the current role may see. The owner is courier_internal.effective_owner, written out because that function would read its table with the user''s rights';

CREATE VIEW courier.runs WITH (security_barrier) AS
    SELECT r.run_id, s.name AS sync, r.status,
           r.started_at::timestamptz(0) AS started_at,
           (COALESCE(r.finished_at, CASE WHEN r.status IN ('querying', 'sending') THEN pg_catalog.clock_timestamp() END) - r.started_at)::interval(0) AS duration,
           r.succeeded_added + r.succeeded_changed + r.succeeded_removed AS sent,
           r.rejected_added + r.rejected_changed + r.rejected_removed AS rejected,
           CASE
               WHEN r.error_code ~ '^[a-z][a-z0-9_]*$' THEN r.error_code
               WHEN pg_catalog.length(f.line) > 15 THEN pg_catalog.rtrim(pg_catalog.left(f.line, 12)) || '...'
               ELSE f.line
           END AS error
      FROM courier_internal.run r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id,
           LATERAL (SELECT pg_catalog.split_part(COALESCE(r.error, r.error_code), E'\n', 1) AS line) f
     ORDER BY r.run_id DESC;
COMMENT ON VIEW courier.runs IS 'The runs of your syncs, newest first, in short. All of a run is in courier.run_details';
COMMENT ON COLUMN courier.runs.run_id IS 'Grows with time; what trigger_sync and run_sync return';
COMMENT ON COLUMN courier.runs.sync IS 'Name of the sync';
COMMENT ON COLUMN courier.runs.status IS 'queued, querying, sending; then success, warning (rejected, unknown or invalid records), failed, cancelled, interrupted (crash; another run follows by itself) or blocked (see courier.approve_run)';
COMMENT ON COLUMN courier.runs.started_at IS 'When a worker took it; NULL: not yet';

COMMENT ON COLUMN courier.runs.duration IS 'From started_at to the end, or to now';
COMMENT ON COLUMN courier.runs.sent IS 'Records that the destination has accepted in this run';
COMMENT ON COLUMN courier.runs.rejected IS 'Records that the destination has refused in this run; see courier.rejected_records';
COMMENT ON COLUMN courier.runs.error IS 'The error code, or the beginning of the message; the whole is in courier.run_details';

CREATE VIEW courier.run_details WITH (security_barrier) AS
    SELECT r.run_id, s.name AS sync, r.status, r.triggered_by, r.resync, r.created_at, r.started_at, r.finished_at, r.rows_queried,
           r.planned_added, r.planned_changed, r.planned_removed,
           r.succeeded_added, r.succeeded_changed, r.succeeded_removed,
           r.rejected_added, r.rejected_changed, r.rejected_removed,
           r.skipped, r.unknown, r.aborted, r.invalid, r.requests, r.error_code, r.error, r.hint, r.held_removals
      FROM courier_internal.run r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id;
COMMENT ON VIEW courier.run_details IS 'All numbers of the runs of your syncs. planned = succeeded + rejected + skipped + unknown + aborted, once a run has ended';
COMMENT ON COLUMN courier.run_details.triggered_by IS 'The role that asked first, or schedule, or "after <sync>"';
COMMENT ON COLUMN courier.run_details.resync IS 'none: what changed; full: every record; baseline: nothing is sent, the snapshot becomes the model';
COMMENT ON COLUMN courier.run_details.created_at IS 'When it was queued';
COMMENT ON COLUMN courier.run_details.started_at IS 'When a worker took it';
COMMENT ON COLUMN courier.run_details.rows_queried IS 'Rows of the model';
COMMENT ON COLUMN courier.run_details.planned_added IS 'Records that the comparison found to be new (of the destination''s point of view)';
COMMENT ON COLUMN courier.run_details.planned_changed IS 'Records that the comparison found to be changed';
COMMENT ON COLUMN courier.run_details.planned_removed IS 'Records that the comparison found to be removed';
COMMENT ON COLUMN courier.run_details.skipped IS 'Mode update: the destination has no such record';
COMMENT ON COLUMN courier.run_details.unknown IS 'Sent, but no answer says whether it arrived, and sending again could deliver twice: held until courier.retry_rejected or courier.discard_rejected';
COMMENT ON COLUMN courier.run_details.aborted IS 'Not sent because the run ended before; the next run finds them again';
COMMENT ON COLUMN courier.run_details.invalid IS 'Rows (not records) that could not be used; see courier.invalid_rows';
COMMENT ON COLUMN courier.run_details.requests IS 'HTTP requests, retries included';
COMMENT ON COLUMN courier.run_details.error_code IS 'A word for programs, or an SQLSTATE';
COMMENT ON COLUMN courier.run_details.hint IS 'What to do next';
COMMENT ON COLUMN courier.run_details.held_removals IS 'Removals that were held back because the model had NULL keys (option null_keys)';

CREATE VIEW courier.rejected_records WITH (security_barrier) AS
    SELECT s.name AS sync, r.key, r.primary_key, r.change, r.attempts, r.first_failed_at, r.last_failed_at, r.next_attempt_at, r.outcome,
           r.http_status, r.error_code, r.message, r.payload
      FROM courier_internal.rejected r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id
     WHERE r.outcome IN ('rejected', 'unknown');
COMMENT ON VIEW courier.rejected_records IS 'Records that the destination has not accepted, at present: they are tried again by themselves. See courier.retry_rejected and courier.discard_rejected';
COMMENT ON COLUMN courier.rejected_records.key IS 'The primary key as text; of several columns, a JSON array';
COMMENT ON COLUMN courier.rejected_records.change IS 'added, changed or removed, from the destination''s point of view: added until the first success';
COMMENT ON COLUMN courier.rejected_records.next_attempt_at IS 'The first run after this time tries again, with the newest values; at once when they change. infinity: held';
COMMENT ON COLUMN courier.rejected_records.outcome IS 'rejected, or unknown: it may have arrived, and is held so that it does not arrive twice';
COMMENT ON COLUMN courier.rejected_records.message IS 'The destination''s own words where it had any';
COMMENT ON COLUMN courier.rejected_records.payload IS 'What was sent; NULL where option log_records is none';

CREATE VIEW courier.invalid_rows WITH (security_barrier) AS
    SELECT s.name AS sync, i.run_id, i.reason, i.key, i.primary_key, i.copies
      FROM courier_internal.invalid_row i
      JOIN courier_internal.visible_sync s ON s.sync_id = i.sync_id;
COMMENT ON VIEW courier.invalid_rows IS 'Rows that the last run of a sync could not use, at most 1,000 of each reason. They are never sent';
COMMENT ON COLUMN courier.invalid_rows.reason IS 'null_key, duplicate_key, null_match (a match field is NULL or empty) or duplicate_match (several rows have the same match values)';
COMMENT ON COLUMN courier.invalid_rows.key IS 'The primary key as text; of several columns, a JSON array';
COMMENT ON COLUMN courier.invalid_rows.copies IS 'How many rows this line stands for';

CREATE VIEW courier.requests WITH (security_barrier) AS
    SELECT q.run_id, s.name AS sync, q.sent_at, q.operation, q.records, q.attempt, q.method, q.url, q.request_headers, q.request_body,
           q.http_status, q.response_body, q.duration, q.error, q.key, q.request_id
      FROM courier_internal.request q
      JOIN courier_internal.visible_sync s ON s.sync_id = q.sync_id;
COMMENT ON VIEW courier.requests IS 'Requests and answers, secrets redacted, bodies capped; option log_requests says which (failed ones by default), option retention how long';
COMMENT ON COLUMN courier.requests.operation IS 'insert, update, upsert, delete, clear, archive, event, message, add or remove';
COMMENT ON COLUMN courier.requests.records IS 'Records in the request';
COMMENT ON COLUMN courier.requests.attempt IS '1 is the first';
COMMENT ON COLUMN courier.requests.http_status IS 'NULL: there was no answer; see error';
COMMENT ON COLUMN courier.requests.error IS 'What went wrong below HTTP';
COMMENT ON COLUMN courier.requests.key IS 'The primary key of the record as text, indexed; NULL: the request carried several. courier.record_requests finds both';

CREATE VIEW courier.record_requests WITH (security_barrier) AS
    SELECT k.key, q.run_id, s.name AS sync, q.sent_at, q.operation, q.records, q.attempt, q.method, q.url, q.http_status, q.duration, q.error,
           q.request_headers, q.request_body, q.response_body, q.request_id
      FROM courier_internal.request_key k
      JOIN courier_internal.request q ON q.request_id = k.request_id AND q.sent_at = k.sent_at
      JOIN courier_internal.visible_sync s ON s.sync_id = q.sync_id
    UNION ALL
    SELECT q.key, q.run_id, s.name, q.sent_at, q.operation, q.records, q.attempt, q.method, q.url, q.http_status, q.duration, q.error,
           q.request_headers, q.request_body, q.response_body, q.request_id
      FROM courier_internal.request q
      JOIN courier_internal.visible_sync s ON s.sync_id = q.sync_id
     WHERE q.key IS NOT NULL;
COMMENT ON VIEW courier.record_requests IS 'The logged requests that carried a record: a row per record and request. Search by key, which is indexed. courier.explain_record tells the rest';
COMMENT ON COLUMN courier.record_requests.key IS 'The primary key as text; of several columns, a JSON array. Indexed';
COMMENT ON COLUMN courier.record_requests.records IS 'Records in the request, this one included';
COMMENT ON COLUMN courier.record_requests.request_id IS 'The same in courier.requests';

CREATE VIEW courier.changelog WITH (security_barrier) AS
    SELECT c.run_id, s.name AS sync, c.key, c.primary_key::jsonb, c.change, c.outcome, c.http_status, c.error_code, c.message, c.payload, c.changed_at
      FROM courier_internal.change_log c
      JOIN courier_internal.visible_sync s ON s.sync_id = c.sync_id
     WHERE c.run_id > 0; -- for the index
COMMENT ON VIEW courier.changelog IS 'What happened to each record in each run. Search by key or run_id: both are indexed. Option log_records says what is kept, option retention how long';
COMMENT ON COLUMN courier.changelog.key IS 'The primary key as text; of several columns, a JSON array. Indexed';
COMMENT ON COLUMN courier.changelog.change IS 'added, changed or removed';
COMMENT ON COLUMN courier.changelog.outcome IS 'succeeded, rejected, skipped, unknown or aborted';
COMMENT ON COLUMN courier.changelog.payload IS 'What was sent; of failed records only, unless option log_records is payload';

CREATE VIEW courier.progress WITH (security_barrier) AS
    SELECT p.run_id, p.sync, p.phase, p.done, p.planned, p.rejected, p.percent,
           pg_catalog.round(p.rate)::bigint AS records_per_second,
           CASE WHEN p.phase = 'sending' AND p.rate > 0 THEN pg_catalog.make_interval(secs => ((p.planned - p.done) / p.rate)::double precision)::interval(0) END AS eta,
           '[' || pg_catalog.repeat('#', COALESCE(p.percent, 0) / 10) || pg_catalog.repeat('-', 10 - COALESCE(p.percent, 0) / 10) || ']'
               || COALESCE(' ' || p.percent || ' %', '') AS bar,
           p.waiting_for
      FROM (SELECT t.*,
                   CASE WHEN t.planned > 0 THEN (100 * t.done / t.planned)::integer WHEN t.phase IN ('success', 'warning') THEN 100 END AS percent,
                   t.done / NULLIF(EXTRACT(epoch FROM COALESCE(t.finished_at, pg_catalog.clock_timestamp()) - t.sending_at), 0) AS rate
              FROM (SELECT r.run_id, s.name AS sync, r.status AS phase, r.sending_at, r.finished_at,
                           r.succeeded_added + r.succeeded_changed + r.succeeded_removed + r.rejected_added + r.rejected_changed + r.rejected_removed
                               + r.skipped + r.unknown AS done,
                           r.planned_added + r.planned_changed + r.planned_removed AS planned,
                           r.rejected_added + r.rejected_changed + r.rejected_removed AS rejected,
                           CASE WHEN r.status = 'queued' THEN (SELECT w.waiting_for FROM courier_internal.sync_state w WHERE w.sync_id = r.sync_id)
                                ELSE courier_internal.active_run_waits_for(r.worker_pid, r.waiting_for) END AS waiting_for
                      -- Two branches, so that neither has to read all runs that ever were.
                      FROM (SELECT a.* FROM courier_internal.run a WHERE a.status IN ('queued', 'querying', 'sending')
                            UNION ALL
                            SELECT e.* FROM courier_internal.sync_state l JOIN courier_internal.run e ON e.run_id = l.last_run_id
                             WHERE e.finished_at > pg_catalog.clock_timestamp() - '10 seconds'::interval) r
                      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id) t) p
     ORDER BY p.run_id DESC;
COMMENT ON VIEW courier.progress IS 'Runs that are queued or active, and those that ended within the last 10 seconds, newest first. In psql: \watch 1';
COMMENT ON COLUMN courier.progress.phase IS 'The status of the run';
COMMENT ON COLUMN courier.progress.done IS 'Records that are settled: accepted, rejected, skipped or unknown';
COMMENT ON COLUMN courier.progress.planned IS 'Records to send; 0 until the comparison is through';
COMMENT ON COLUMN courier.progress.percent IS 'done of planned; NULL: not known yet';
COMMENT ON COLUMN courier.progress.rejected IS 'Records that the destination has refused in this run';
COMMENT ON COLUMN courier.progress.records_per_second IS 'On the average since sending began';
COMMENT ON COLUMN courier.progress.eta IS 'Time that is left at this rate';
COMMENT ON COLUMN courier.progress.waiting_for IS 'Why it has not started, or what it is waiting for; NULL: for nothing';

GRANT SELECT ON courier.runs, courier.run_details, courier.rejected_records, courier.invalid_rows, courier.requests, courier.changelog, courier.progress TO PUBLIC;

CREATE VIEW courier.open_jobs WITH (security_barrier) AS
    SELECT j.job_id, s.name AS sync, j.run_id, j.operation, j.records, j.state::jsonb ->> 'step' AS step, j.state::jsonb ->> 'job' AS job, j.opened_at
      FROM courier_internal.job j
      JOIN courier_internal.visible_sync s ON s.sync_id = j.sync_id
     ORDER BY j.job_id;
COMMENT ON VIEW courier.open_jobs IS 'Jobs that destinations work on for your syncs and whose result is not settled yet. The run that opened one asks for it until it is done; after a crash or a cancel, the next run does';
COMMENT ON COLUMN courier.open_jobs.run_id IS 'The run that opened it';
COMMENT ON COLUMN courier.open_jobs.records IS 'Records that it has; 0: they are done with, but the job may still be open at the destination';
COMMENT ON COLUMN courier.open_jobs.step IS 'How far it was when its state was last written';
COMMENT ON COLUMN courier.open_jobs.job IS 'The destination''s name for it';
