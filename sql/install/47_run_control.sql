-- A run's way through its states, and the user's hand on it.
--
-- The row of an active run is written by its worker every second or so. cancel_run is the only other writer; it holds the row until
-- its transaction ends, which is why the manual says to call it outside a long transaction.

CREATE FUNCTION courier_internal.announce_run(run_id bigint, status text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_catalog.pg_notify('courier_runs', pg_catalog.json_build_object('run_id', run_id, 'status', status)::text) $$;
COMMENT ON FUNCTION courier_internal.announce_run(bigint, text) IS 'NOTIFY courier_runs with {"run_id", "status"}, and no more, because every role may listen';

CREATE FUNCTION courier_internal.set_run_status(run_id bigint, status text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    UPDATE courier_internal.run r
       SET status = set_run_status.status,
           started_at = COALESCE(r.started_at, pg_catalog.clock_timestamp()),
           sending_at = CASE WHEN set_run_status.status = 'sending' THEN COALESCE(r.sending_at, pg_catalog.clock_timestamp()) ELSE r.sending_at END
     WHERE r.run_id = set_run_status.run_id AND r.status IN ('queued', 'querying', 'sending');
    IF FOUND THEN
        PERFORM courier_internal.announce_run(run_id, status);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.set_run_status(bigint, text) IS 'querying or sending, with the times that go with it. A run that has ended stays as it is';

CREATE FUNCTION courier_internal.finish_run(run_id bigint, status text, error_code text, error text, hint text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ended courier_internal.run;
BEGIN
    UPDATE courier_internal.run r
       SET status = finish_run.status, finished_at = pg_catalog.clock_timestamp(), worker_pid = NULL, waiting_for = NULL,
           error_code = finish_run.error_code, error = finish_run.error, hint = finish_run.hint,
           -- Who ends a run in the middle of it, because of an error or a death, has not counted what was left.
           aborted = CASE WHEN finish_run.status IN ('failed', 'cancelled', 'interrupted')
                          THEN GREATEST(r.aborted, r.planned_added + r.planned_changed + r.planned_removed
                                                   - r.succeeded_added - r.succeeded_changed - r.succeeded_removed
                                                   - r.rejected_added - r.rejected_changed - r.rejected_removed - r.skipped - r.unknown)
                          ELSE r.aborted END
     WHERE r.run_id = finish_run.run_id AND r.status IN ('queued', 'querying', 'sending')
    RETURNING r.* INTO ended;
    -- A worker and the scheduler that takes it for dead may both end a run: the first one counts.
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- A test of one record says nothing about the health of the sync.
    IF ended.test IS NULL THEN
        INSERT INTO courier_internal.sync_state AS t (sync_id, last_run_id, blocked_run_id)
        VALUES (ended.sync_id, ended.run_id, CASE WHEN ended.status = 'blocked' THEN ended.run_id END)
        ON CONFLICT (sync_id) DO UPDATE SET last_run_id = EXCLUDED.last_run_id, blocked_run_id = EXCLUDED.blocked_run_id;
        PERFORM courier_internal.trigger_followers(run_id);
        PERFORM courier_internal.count_run(ended);
        PERFORM courier_internal.alerts_after_run(ended.sync_id);
    END IF;
    PERFORM courier_internal.announce_run(run_id, status);
END
$$;
COMMENT ON FUNCTION courier_internal.finish_run(bigint, text, text, text, text) IS 'Ends a run: status and error, what of its plan is left as aborted, the sync''s last and blocked run, followers, NOTIFY. Does nothing to a run that has ended already';

CREATE FUNCTION courier_internal.cancel_run(caller oid, caller_path text, run_id bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.run;
BEGIN
    target := courier_internal.operable_run(caller, run_id);

    -- FOR UPDATE keeps new askers from joining a run that is about to be cancelled. It is not waited for: askers that hold the run may be
    -- open for long, and the UPDATE goes along with their locks. Where a claim holds it, the UPDATE waits for that short transaction and
    -- looks again: the run is active by then, and the worker sees the flag.
    PERFORM FROM courier_internal.run r WHERE r.run_id = cancel_run.run_id AND r.status = 'queued' FOR UPDATE SKIP LOCKED;

    UPDATE courier_internal.run r
       SET cancel_requested = true,
           status = CASE WHEN r.status = 'queued' THEN 'cancelled' ELSE r.status END,
           finished_at = CASE WHEN r.status = 'queued' THEN pg_catalog.clock_timestamp() END
     WHERE r.run_id = cancel_run.run_id AND r.status IN ('queued', 'querying', 'sending')
    RETURNING r.* INTO target;
    IF NOT FOUND THEN
        RAISE NOTICE 'run % has ended already: %', run_id, (SELECT r.status FROM courier_internal.run r WHERE r.run_id = cancel_run.run_id);
    ELSIF target.status = 'cancelled' THEN
        -- It never began, so the sync's last run, its block and its followers stay what they are.
        PERFORM courier_internal.announce_run(run_id, 'cancelled');
    ELSIF target.status = 'querying' THEN
        -- A query does not look at the flag. We hold the run's row, so the worker cannot have ended this run and be at another one's.
        PERFORM pg_cancel_backend(a.pid) FROM pg_stat_activity a
          WHERE a.pid = target.worker_pid AND a.backend_type = 'pg_courier run worker' AND a.datname = current_database();
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.cancel_run(oid, text, bigint) IS 'Behind courier.cancel_run';

CREATE FUNCTION courier_internal.approve_run(caller oid, caller_path text, run_id bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.run;
    wanted courier_internal.sync;
    new_run_id bigint;
BEGIN
    target := courier_internal.operable_run(caller, run_id);
    SELECT s.* INTO wanted FROM courier_internal.sync s WHERE s.sync_id = target.sync_id;
    IF target.status <> 'blocked' THEN
        RAISE EXCEPTION 'run % is not blocked: its status is %', run_id, target.status USING ERRCODE = '55000',
            HINT = 'Only a run that max_removed or max_changes stopped needs approval.';
    END IF;
    PERFORM courier_internal.check_runnable(wanted);

    -- Two approvals at the same time: the second waits here and finds the block gone.
    UPDATE courier_internal.sync_state t SET blocked_run_id = NULL WHERE t.sync_id = target.sync_id AND t.blocked_run_id IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'sync "%" is no longer blocked', wanted.name USING ERRCODE = '55000',
            DETAIL = format('Run %s has been approved already, or a later run went through.', run_id),
            HINT = format('SELECT courier.trigger_sync(%L)', wanted.name);
    END IF;

    -- What was blocked is what is approved: the same resync, and no more than the numbers that were seen.
    INSERT INTO courier_internal.run (sync_id, resync, triggered_by, approved)
    VALUES (target.sync_id, target.resync, pg_catalog.pg_get_userbyid(caller)::text,
            pg_catalog.jsonb_build_object('removed', target.planned_removed,
                                          'changes', target.planned_added + target.planned_changed + target.planned_removed))
    RETURNING run.run_id INTO new_run_id;
    PERFORM courier_internal.request_run(new_run_id);
    PERFORM courier_internal.note_if_disabled(new_run_id);
    RETURN new_run_id;
END
$$;
COMMENT ON FUNCTION courier_internal.approve_run(oid, text, bigint) IS 'Behind courier.approve_run';
