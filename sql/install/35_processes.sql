-- Processes: what the tables' functions ask of launcher, scheduler and run workers, and the two ways to wait for a run.

CREATE FUNCTION courier_internal.request_run(run_id bigint) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_request_run';
COMMENT ON FUNCTION courier_internal.request_run(bigint) IS 'When this transaction ends, a run worker is started for the run, and the scheduler of this database is woken. After a rollback too: a run that was queued already may have been passed over because this transaction held its row. A run is never lost: the scheduler finds it by its row';

CREATE FUNCTION courier_internal.announce() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_announce';
COMMENT ON FUNCTION courier_internal.announce() IS 'When this transaction ends, the launcher looks at this database: CREATE EXTENSION, a new schedule, a resumed sync';

CREATE FUNCTION courier_internal.lease_held(sync_id integer) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_lease_held';
COMMENT ON FUNCTION courier_internal.lease_held(integer) IS 'Whether a living process works on this sync. A run that says querying or sending without it has been interrupted';

CREATE FUNCTION courier_internal.check_schedule(schedule text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_check_schedule';
COMMENT ON FUNCTION courier_internal.check_schedule(text) IS 'manual, every, cron or after; raises 22023 for what is no schedule or names an unknown time zone';

CREATE FUNCTION courier_internal.next_run(schedule text, after timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_next_run';
COMMENT ON FUNCTION courier_internal.next_run(text, timestamptz) IS 'The first time later than "after" at which the schedule starts a run; NULL for manual and after. A cron expression without a time zone is in UTC; a time that the clock skips in spring is taken after the gap, one that it repeats in autumn the first time';

CREATE FUNCTION courier_internal.schedule_after(schedule text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_schedule_after';
COMMENT ON FUNCTION courier_internal.schedule_after(text) IS 'The sync that a schedule "after <sync>" follows; NULL for other schedules';

CREATE FUNCTION courier.wait_for_run(run_id bigint, timeout interval DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_wait_for_run';
COMMENT ON FUNCTION courier.wait_for_run(bigint, interval) IS
'Waits for a run to end and returns its status: success, warning, failed, cancelled, interrupted or blocked.

run_id   as returned by trigger_sync and run_sync; see courier.runs
timeout  how long to wait; NULL (default): as long as it takes. After it, the present status is returned (queued, querying, sending)

Your transaction stays open meanwhile; CALL courier.run_sync(...) waits without one.
Errors: 25001 the run was queued by this transaction, and starts only when it commits; 42704 no such run, or not for you to see; 22004 run_id is NULL.

Example: SELECT courier.wait_for_run(42, ''10 min'')';

-- No SET clause and no SECURITY DEFINER: either would forbid its commits.
CREATE PROCEDURE courier.run_sync(name text, resync text DEFAULT 'none', timeout interval DEFAULT NULL,
                                  INOUT run_id bigint DEFAULT NULL, INOUT status text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'courier_run_sync';
COMMENT ON PROCEDURE courier.run_sync(text, text, interval, bigint, text) IS
'Runs a sync and waits for its end: queues the run, commits, waits without holding a snapshot, and shows the progress in NOTICEs. What pg_cron, dbt hooks and Airflow call.

name     the sync
resync   none (default), full or baseline; see courier.trigger_sync
timeout  how long to wait; NULL (default): as long as it takes. After it an error (57014) is raised, and the run goes on
run_id, status  results: leave them out

Returns when the run has ended with success or warning. Errors: 58000 the run failed; 55000 it was blocked, cancelled or interrupted (a run that carries on is named in the hint); 25001 inside a transaction block; and those of courier.trigger_sync.

Example: CALL courier.run_sync(''contacts'')';
