-- Asking for a run.
--
-- A request for a run is a row in courier_internal.run with status `queued`. Two promises hang on its locks:
--
-- 1. A queued run is not claimed while a transaction that asked for it is still open, so a run has seen everything its askers wrote.
--    Whoever asks holds the row FOR KEY SHARE to the end of its transaction (or has inserted it, which nobody else can see before
--    the commit). Whoever claims takes it with FOR UPDATE SKIP LOCKED, which passes over both. The claim must really lock FOR UPDATE
--    before it sets the status: a plain UPDATE takes FOR NO KEY UPDATE, which goes along with FOR KEY SHARE.
-- 2. A request is never lost. An asker joins the queued run that it sees, with FOR KEY SHARE SKIP LOCKED. A claim in progress holds
--    FOR UPDATE, so the asker does not get the row and queues another run; when the claim has committed, the re-check of
--    status = 'queued' says the same. Askers do not hinder one another.
--
-- Two transactions that ask at the same moment and see no queued run queue one each. The second one then finds nothing to send;
-- making one wait for the other's commit would cost more.

CREATE FUNCTION courier_internal.resync_rank(resync text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_catalog.array_position(ARRAY['none', 'full', 'baseline'], resync) $$;
COMMENT ON FUNCTION courier_internal.resync_rank(text) IS 'Which of two resyncs is the stronger: none 1, full 2, baseline 3; NULL: there is no such word';

CREATE FUNCTION courier_internal.effective_owner(sync_id integer, stored_owner text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(
        (SELECT pg_catalog.pg_get_userbyid(c.relowner)::text
           FROM pg_catalog.pg_class c
           JOIN courier_internal.sync_state t ON t.snapshot_oid = c.oid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE t.sync_id = effective_owner.sync_id AND n.nspname = 'courier_data'
            AND c.relname = ('snapshot_' || t.sync_id)::name AND c.relkind = 'r'),
        stored_owner)
$$;
COMMENT ON FUNCTION courier_internal.effective_owner(integer, text) IS 'Who owns a sync: the owner of its snapshot table, which follows REASSIGN OWNED and ALTER ROLE ... RENAME; before there is one, the stored name';

CREATE FUNCTION courier_internal.is_restored(epoch uuid, database_oid oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT epoch IS DISTINCT FROM (SELECT i.epoch FROM courier_internal.installation i)
        OR database_oid IS DISTINCT FROM (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
$$;
COMMENT ON FUNCTION courier_internal.is_restored(uuid, oid) IS 'Whether a sync was activated under another installation or in another database, so that this is a copy and must not send';

-- The gate of every function about a sync's runs: does it exist, and may the caller operate it?
CREATE FUNCTION courier_internal.operable_sync(caller oid, sync_name text) RETURNS courier_internal.sync
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.sync := courier_internal.find_sync(caller, sync_name);
BEGIN
    IF NOT courier_internal.may_operate(caller, target.owner) THEN
        RAISE EXCEPTION 'permission denied for sync "%"', sync_name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', target.owner),
            HINT = format('Members of role "%s" and of courier_operator may do this.', target.owner);
    END IF;
    RETURN target;
END
$$;
COMMENT ON FUNCTION courier_internal.operable_sync(oid, text) IS 'The sync of this name, with its effective owner, if the caller may trigger, run, cancel, approve it; 22004, 42704 or 42501 otherwise';

CREATE FUNCTION courier_internal.operable_run(caller oid, run_id bigint) RETURNS courier_internal.run
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.run;
BEGIN
    PERFORM courier_internal.require_value('run_id', run_id);
    SELECT r.* INTO target FROM courier_internal.run r WHERE r.run_id = operable_run.run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % does not exist', run_id USING ERRCODE = '42704', HINT = 'SELECT run_id, sync, status FROM courier.runs';
    END IF;
    PERFORM courier_internal.operable_sync(caller, s.name) FROM courier_internal.sync s WHERE s.sync_id = target.sync_id;
    RETURN target;
END
$$;
COMMENT ON FUNCTION courier_internal.operable_run(oid, bigint) IS 'The run, if the caller may operate its sync; 22004, 42704 or 42501 otherwise';

CREATE FUNCTION courier_internal.check_runnable(sync courier_internal.sync) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF courier_internal.is_restored(sync.epoch, sync.database_oid) THEN
        RAISE EXCEPTION 'sync "%" belongs to the database that this one is a copy of', sync.name USING ERRCODE = '55000',
            DETAIL = 'Syncs of a restored or copied database come up paused, so that two databases do not send to the same destinations.',
            HINT = 'If this database is to send from now on: SELECT courier.resume_all()';
    END IF;
    IF sync.paused THEN
        RAISE EXCEPTION 'sync "%" is paused', sync.name USING ERRCODE = '55000',
            HINT = format('SELECT courier.resume_sync(%L)', sync.name);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_runnable(courier_internal.sync) IS 'Raises 55000 when the sync is paused or came with a restored copy';

CREATE FUNCTION courier_internal.queue_run(sync_id integer, resync text, triggered_by text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    queued courier_internal.run;
    stronger boolean;
    new_run_id bigint;
BEGIN
    -- Locking a run that was claimed after a REPEATABLE READ transaction took its snapshot raises 40001. It is no longer queued, which is all that matters here.
    BEGIN
        SELECT r.* INTO queued
          FROM courier_internal.run r
         WHERE r.sync_id = queue_run.sync_id AND r.status = 'queued' AND r.test IS NULL AND NOT r.cancel_requested
         ORDER BY r.run_id LIMIT 1
           FOR KEY SHARE SKIP LOCKED;

        stronger := courier_internal.resync_rank(queue_run.resync) > courier_internal.resync_rank(queued.resync);
        IF stronger THEN
            -- Another open transaction may be raising the same run: a run of our own is better than waiting for its commit.
            PERFORM FROM courier_internal.run r WHERE r.run_id = queued.run_id FOR NO KEY UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                queued := NULL;
            END IF;
        END IF;
    EXCEPTION WHEN serialization_failure THEN
        queued := NULL;
    END;

    IF queued.run_id IS NULL THEN
        INSERT INTO courier_internal.run (sync_id, resync, triggered_by)
        VALUES (queue_run.sync_id, queue_run.resync, queue_run.triggered_by)
        RETURNING run.run_id INTO new_run_id;
    ELSE
        new_run_id := queued.run_id;
        IF stronger THEN
            UPDATE courier_internal.run r SET resync = queue_run.resync
             WHERE r.run_id = new_run_id AND courier_internal.resync_rank(r.resync) < courier_internal.resync_rank(queue_run.resync);
        END IF;
    END IF;
    PERFORM courier_internal.request_run(new_run_id);
    RETURN new_run_id;
END
$$;
COMMENT ON FUNCTION courier_internal.queue_run(integer, text, text) IS 'Joins the sync''s queued run, raising its resync to the stronger, or queues a new one; a worker is asked for when the transaction commits. Checks nothing: callers have';

CREATE FUNCTION courier_internal.note_if_disabled(run_id bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT COALESCE(NULLIF(pg_catalog.current_setting('pg_courier.enabled', true), '')::boolean, true) THEN
        RAISE NOTICE 'pg_courier.enabled is off: run % stays queued until it is on', run_id;
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.note_if_disabled(bigint) IS 'A NOTICE when nothing is sent for now because pg_courier.enabled is off';

CREATE FUNCTION courier_internal.trigger_sync(caller oid, caller_path text, name text, resync text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wanted courier_internal.sync;
    queued_id bigint;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    PERFORM courier_internal.require_value('resync', resync);
    IF courier_internal.resync_rank(resync) IS NULL THEN
        RAISE EXCEPTION 'resync "%" is not known', resync USING ERRCODE = '22023', DETAIL = 'Allowed: none, full, baseline.';
    END IF;

    wanted := courier_internal.operable_sync(caller, name);
    PERFORM courier_internal.check_runnable(wanted);
    IF resync = 'full' AND (wanted.sync_type IN ('events', 'notifications') OR wanted.mode = 'insert') THEN
        RAISE EXCEPTION 'resync "full" is not possible for sync "%"', name USING ERRCODE = '22023',
            DETAIL = format('It would deliver every record a second time: the sync type is %s, the mode is %s. Allowed: none, baseline.', wanted.sync_type, wanted.mode),
            HINT = 'To send some records again, see courier.retry_rejected; to start anew, drop the sync and create it again.';
    END IF;

    queued_id := courier_internal.queue_run(wanted.sync_id, resync, pg_catalog.pg_get_userbyid(caller)::text);
    PERFORM courier_internal.note_if_disabled(queued_id);
    RETURN queued_id;
END
$$;
COMMENT ON FUNCTION courier_internal.trigger_sync(oid, text, text, text) IS 'Behind courier.trigger_sync';

CREATE FUNCTION courier_internal.trigger_followers(run_id bigint) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ended record;
    follower record;
    queued integer := 0;
BEGIN
    SELECT r.status, s.name INTO ended
      FROM courier_internal.run r JOIN courier_internal.sync s ON s.sync_id = r.sync_id
     -- An interrupted run is followed by another one of the same sync, which triggers the followers when it is through. A test of one record is no run to wait for.
     WHERE r.run_id = trigger_followers.run_id AND r.status IN ('success', 'warning', 'failed', 'cancelled', 'blocked') AND r.test IS NULL;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;

    FOR follower IN
        SELECT s.sync_id
          FROM courier_internal.sync s
          LEFT JOIN courier_internal.sync_state t ON t.sync_id = s.sync_id
         WHERE CASE WHEN courier_internal.check_schedule(s.schedule) = 'after' THEN courier_internal.schedule_after(s.schedule) = ended.name ELSE false END
           AND CASE COALESCE(s.options->>'stop_on', 'failed')
                   WHEN 'never' THEN true
                   WHEN 'warning' THEN ended.status = 'success'
                   ELSE ended.status IN ('success', 'warning')
               END
           AND NOT s.paused
           AND NOT courier_internal.is_restored(s.epoch, s.database_oid)
           AND t.blocked_run_id IS NULL
         ORDER BY s.sync_id
    LOOP
        PERFORM courier_internal.queue_run(follower.sync_id, 'none', 'after ' || ended.name);
        queued := queued + 1;
    END LOOP;
    RETURN queued;
END
$$;
COMMENT ON FUNCTION courier_internal.trigger_followers(bigint) IS 'Queues the syncs whose schedule is "after" the sync of this run, which has ended. Option stop_on of the follower: failed (default: success and warning go on), warning (only success goes on), never';
