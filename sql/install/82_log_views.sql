-- Sync logs in the columns that dashboards and dbt packages for warehouse sync logs read. The views here are owner-filtered like all views;
-- create_log_views makes them known under the names and in the schema that a dashboard expects, as views of the caller.

CREATE VIEW courier.sync_runs WITH (security_barrier) AS
    SELECT s.sync_id, r.run_id AS sync_run_id, pg_catalog.array_to_string(m.primary_key, ',') AS primary_key, d.name AS destination, m.name AS model_name, r.error,
           CASE r.status WHEN 'sending' THEN 'processing' WHEN 'blocked' THEN 'failed' ELSE r.status END AS status, r.started_at, r.finished_at,
           r.planned_added AS num_planned_add, r.planned_changed AS num_planned_change, r.planned_removed AS num_planned_remove,
           r.succeeded_added + r.rejected_added AS num_attempted_add, r.succeeded_changed + r.rejected_changed AS num_attempted_change,
           r.succeeded_removed + r.rejected_removed AS num_attempted_remove,
           r.succeeded_added AS num_succeeded_add, r.succeeded_changed AS num_succeeded_change, r.succeeded_removed AS num_succeeded_remove,
           r.rejected_added AS num_failed_add, r.rejected_changed AS num_failed_change, r.rejected_removed AS num_failed_remove,
           s.name AS sync_name
      FROM courier_internal.run r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id
      JOIN courier_internal.sync y ON y.sync_id = r.sync_id
      JOIN courier_internal.model m ON m.model_id = y.model_id
      JOIN courier_internal.destination d ON d.destination_id = y.destination_id
     WHERE r.test IS NULL;
COMMENT ON VIEW courier.sync_runs IS 'courier.run_details in the columns of warehouse sync logs; see courier.create_log_views';
COMMENT ON COLUMN courier.sync_runs.status IS 'queued, querying, processing, success, warning, failed (also blocked), cancelled or interrupted';
COMMENT ON COLUMN courier.sync_runs.num_attempted_add IS 'Accepted and rejected; skipped and unknown records are not told apart by change';

CREATE VIEW courier.sync_changelog WITH (security_barrier) AS
    SELECT s.sync_id, c.run_id AS sync_run_id, c.key AS row_id, c.change AS op_type,
           CASE WHEN c.outcome IN ('succeeded', 'aborted') THEN c.outcome ELSE 'failed' END AS status,
           CASE WHEN c.outcome NOT IN ('succeeded', 'aborted') THEN
               pg_catalog.concat_ws(': ', CASE WHEN c.outcome IN ('skipped', 'unknown') THEN c.outcome END, c.error_code, c.message) END AS failure_reason,
           c.payload::json AS fields, s.name AS sync_name, c.changed_at, c.http_status
      FROM courier_internal.change_log c
      JOIN courier_internal.visible_sync s ON s.sync_id = c.sync_id
     WHERE c.run_id > 0; -- for the index
COMMENT ON VIEW courier.sync_changelog IS 'courier.changelog in the columns of warehouse sync logs; see courier.create_log_views';
COMMENT ON COLUMN courier.sync_changelog.row_id IS 'The primary key as text; of several columns, a JSON array. Indexed';
COMMENT ON COLUMN courier.sync_changelog.status IS 'succeeded, failed (rejected, skipped or unknown) or aborted';
COMMENT ON COLUMN courier.sync_changelog.fields IS 'The record as it was sent; NULL where the log does not keep it (option log_records)';

-- Named by a view, so it runs as its reader, and courier.snapshot sees to the rights.
CREATE FUNCTION courier_internal.readable_snapshot(sync text) RETURNS SETOF jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN QUERY SELECT * FROM courier.snapshot(sync);
EXCEPTION WHEN undefined_table OR undefined_column OR undefined_object OR object_not_in_prerequisite_state THEN
    RETURN; -- its model or its owner is gone: no reason to show nothing of all others
END
$$;
COMMENT ON FUNCTION courier_internal.readable_snapshot(text) IS 'courier.snapshot, and nothing where the model of the sync cannot be read';

CREATE VIEW courier.sync_snapshot WITH (security_barrier) AS
    WITH last_outcome AS (
        SELECT DISTINCT ON (c.sync_id, c.row_id) c.sync_id, c.row_id, c.sync_run_id, c.op_type, c.fields
          FROM courier.sync_changelog c ORDER BY c.sync_id, c.row_id, c.changed_at DESC)
    SELECT s.sync_id, l.sync_run_id, a.record->>'key' AS row_id,
           CASE a.record->>'state' WHEN 'left' THEN 'removed' ELSE COALESCE(l.op_type, 'added') END AS op_type,
           CASE a.record->>'state' WHEN 'skipped' THEN 'failed' ELSE 'succeeded' END AS status,
           CASE a.record->>'state' WHEN 'skipped' THEN 'skipped: the destination has no such record' END AS failure_reason,
           COALESCE(NULLIF(a.record->'payload', 'null')::json, l.fields) AS fields, s.name AS sync_name
      FROM courier_internal.visible_sync s
     CROSS JOIN LATERAL courier_internal.readable_snapshot(s.name) a (record)
      LEFT JOIN last_outcome l ON l.sync_id = s.sync_id AND l.row_id = a.record->>'key'
     WHERE NOT EXISTS (SELECT FROM courier_internal.rejected r WHERE r.sync_id = s.sync_id AND r.key = a.record->>'key' AND r.outcome IN ('rejected', 'unknown'))
    UNION ALL
    SELECT s.sync_id, l.sync_run_id, r.key, r.change, 'failed',
           pg_catalog.concat_ws(': ', CASE r.outcome WHEN 'unknown' THEN r.outcome END, r.error_code, r.message), r.payload::json, s.name
      FROM courier_internal.rejected r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id
      LEFT JOIN last_outcome l ON l.sync_id = r.sync_id AND l.row_id = r.key
     WHERE r.outcome IN ('rejected', 'unknown');
COMMENT ON VIEW courier.sync_snapshot IS 'The latest status of every record: what the destination has accepted, and what it refuses at present. Reads whole snapshots. In the columns of warehouse sync logs; see courier.create_log_views';
COMMENT ON COLUMN courier.sync_snapshot.sync_run_id IS 'The last run that dealt with it; NULL: not in the log any more';
COMMENT ON COLUMN courier.sync_snapshot.op_type IS 'The last change: added, changed or removed; added where the log has none';

CREATE FUNCTION courier_internal.create_log_views(caller oid, caller_path text, schema name) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    view text;
    there oid;
BEGIN
    PERFORM courier_internal.require_value('schema', schema);
    IF schema IN ('courier', 'courier_internal', 'courier_models', 'courier_data') THEN
        RAISE EXCEPTION 'schema "%" belongs to pg_courier', schema USING ERRCODE = '22023', HINT = 'Name another one; it is made where it does not exist.';
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL THEN
        PERFORM courier_internal.execute_as(caller, 'pg_catalog', NULL, format('CREATE SCHEMA %I', schema));
    END IF;
    FOREACH view IN ARRAY ARRAY['sync_runs', 'sync_changelog', 'sync_snapshot'] LOOP
        there := courier_internal.relation_oid(schema, view);
        IF there IS NOT NULL AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
                                              WHERE w.ev_class = there AND d.refclassid = 'pg_class'::regclass
                                                AND d.refobjid = courier_internal.relation_oid('courier', view)) THEN
            RAISE EXCEPTION 'relation "%" already exists in schema "%"', view, schema USING ERRCODE = '42P07',
                DETAIL = 'It is not a view of the sync logs.', HINT = 'Name another schema.';
        END IF;
        -- security_barrier again: a condition that is not leakproof must not be looked at before the filter below.
        PERFORM courier_internal.execute_as(caller, 'pg_catalog', NULL,
            format('CREATE OR REPLACE VIEW %I.%I WITH (security_barrier) AS SELECT * FROM courier.%I', schema, view, view));
        PERFORM courier_internal.execute_as(caller, 'pg_catalog', NULL,
            format('COMMENT ON VIEW %I.%I IS %L', schema, view, format('As courier.%s; made by courier.create_log_views', view)));
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.create_log_views(oid, text, name) IS 'Behind courier.create_log_views';

CREATE FUNCTION courier.create_log_views(schema name) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_log_views(name) IS
'Makes the views sync_runs, sync_changelog and sync_snapshot in a schema of your choice, with the column names that dashboards and dbt packages for warehouse sync logs read. A row of another owner''s sync shows only to those who may see it, whoever reads the view.

schema  where the views go; made where it does not exist

The views are yours: GRANT USAGE ON SCHEMA and SELECT to whoever reads them, and DROP them like any view. Calling it again makes them anew.
Errors: 22023 a schema of pg_courier; 22004 schema is NULL; 42P07 something else has the name; 42501 you may not create there.

Example: SELECT courier.create_log_views(''sync_logs'')';
