-- Views of objects. They read the tables with the extension owner's rights and filter by courier_internal.visible; security_barrier keeps
-- a user's function in a WHERE clause from seeing rows before the filter. No role or relation is looked up in a way that could fail.

CREATE VIEW courier.sources WITH (security_barrier) AS
    SELECT s.name, s.foreign_server, s.description, s.owner, s.created_at
      FROM courier_internal.source s
     WHERE s.name = 'local' OR courier_internal.visible(s.owner)
     ORDER BY s.name;
COMMENT ON VIEW courier.sources IS 'Where the data of models comes from. "local" is this database';
COMMENT ON COLUMN courier.sources.foreign_server IS 'As in \des; courier.check_source proves that it answers';

CREATE VIEW courier.models WITH (security_barrier) AS
    SELECT o.name, o.source, pg_catalog.format('%I.%I', o.relation_schema, o.relation_name) AS relation, o.primary_key, o.query, o.description,
           o.owner, o.created_at
      FROM (SELECT m.name, m.source, m.relation_schema, m.relation_name, m.primary_key, m.query, m.description, m.created_at,
                   COALESCE(pg_catalog.pg_get_userbyid(c.relowner)::text, m.owner) AS owner
              FROM courier_internal.model m
              LEFT JOIN pg_catalog.pg_class c
                     ON m.query IS NOT NULL AND c.relname = m.relation_name AND c.relkind = 'v'
                    AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = m.relation_schema)) o
     WHERE courier_internal.visible(o.owner)
     ORDER BY o.name;
COMMENT ON VIEW courier.models IS 'What syncs read: a query or relation with a primary key';
COMMENT ON COLUMN courier.models.relation IS 'The relation that is read; for a query, its view in courier_models';
COMMENT ON COLUMN courier.models.query IS 'As it was given; NULL: the model is a relation';
COMMENT ON COLUMN courier.models.owner IS 'The role whose rights the model is read with';

CREATE VIEW courier.destinations WITH (security_barrier) AS
    SELECT d.name, d.type, d.config,
           (SELECT COALESCE(pg_catalog.jsonb_object_agg(e.key, CASE WHEN e.value ? 'file' THEN 'file' WHEN e.value ? 'env' THEN 'env' ELSE 'stored' END), '{}')
              FROM pg_catalog.jsonb_each(d.secrets) e) AS secrets,
           ARRAY(SELECT h.role FROM courier_internal.destination_share h WHERE h.destination_id = d.destination_id ORDER BY h.role) AS shared_with,
           d.description, d.owner, d.created_at
      FROM courier_internal.destination d
     WHERE courier_internal.visible(d.owner)
        OR EXISTS (SELECT FROM courier_internal.destination_share h WHERE h.destination_id = d.destination_id AND courier_internal.visible(h.role))
     ORDER BY d.name;
COMMENT ON VIEW courier.destinations IS 'Your destinations and those that are shared with you. courier.test_destination asks one whether it answers';
COMMENT ON COLUMN courier.destinations.secrets IS 'Which secrets it has, and where they are: file, env or stored (given as a plain string). Never their values';
COMMENT ON COLUMN courier.destinations.shared_with IS 'Roles that may use it besides its owner; see courier.share_destination';

CREATE VIEW courier.destination_types AS
    SELECT k.name AS type,
           ARRAY(SELECT v FROM pg_catalog.jsonb_array_elements_text(k.facts->'sync_types') v) AS sync_types,
           ARRAY(SELECT v FROM pg_catalog.jsonb_array_elements_text(k.facts->'modes') v) AS modes,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'objects') v) AS objects,
           k.facts->'limits' AS limits,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'config') v) AS config_keys,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'secrets') v) AS secret_keys,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'sync_config') v) AS sync_config_keys,
           k.facts AS details, k.facts->>'description' AS description, k.owner
      FROM (SELECT b.name, NULL::text AS owner, b.description AS facts FROM courier_internal.builtin_destination_types() b
            UNION ALL
            SELECT d.name, d.owner, courier_internal.describe_destination_type(d.name, d.definition) FROM courier_internal.destination_type d) k
     ORDER BY k.name;
COMMENT ON VIEW courier.destination_types IS 'What can be a destination: the built-in types and those made with courier.create_destination_type';
COMMENT ON COLUMN courier.destination_types.type IS 'For courier.create_destination(name, type, ...)';
COMMENT ON COLUMN courier.destination_types.sync_types IS 'objects, events, notifications, segments; the first is the default';
COMMENT ON COLUMN courier.destination_types.modes IS 'insert, upsert, update, mirror; the first is the default';
COMMENT ON COLUMN courier.destination_types.objects IS 'For argument object of courier.create_sync; "*" stands for any name';
COMMENT ON COLUMN courier.destination_types.limits IS 'Records and bytes of a request, and how many at a time';
COMMENT ON COLUMN courier.destination_types.config_keys IS 'For argument config of courier.create_destination';
COMMENT ON COLUMN courier.destination_types.secret_keys IS 'For argument secrets of courier.create_destination';
COMMENT ON COLUMN courier.destination_types.sync_config_keys IS 'For argument config of courier.create_sync';
COMMENT ON COLUMN courier.destination_types.details IS 'All of it: each key with its description, default and allowed values, each object with its operations';
COMMENT ON COLUMN courier.destination_types.owner IS 'NULL: built in';

-- Any role may ask who blocks whom, and which kind of process it is. The words name no role, database or statement of others.
CREATE FUNCTION courier_internal.active_run_waits_for(worker_pid integer, noted text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE WHEN worker_pid IS NULL THEN noted
                ELSE COALESCE((SELECT 'a lock that process ' || pg_catalog.string_agg(DISTINCT b.pid::text, ', ') || ' holds'
                                 FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(worker_pid)) b (pid) HAVING pg_catalog.count(*) > 0), noted) END
$$;
COMMENT ON FUNCTION courier_internal.active_run_waits_for(integer, text) IS 'What an active run waits for: a lock (of somebody on the model''s tables, mostly), or what its worker has noted; NULL: for nothing';

-- What both views of syncs are made from: a sync, its owner, its last and its active run, and its health in one word.
CREATE VIEW courier_internal.sync_overview AS
    SELECT w.*,
           CASE
               WHEN w.restored THEN 'restored copy'
               WHEN w.paused THEN 'paused'
               WHEN w.active_status IN ('querying', 'sending') THEN 'running'
               WHEN w.blocked_run_id IS NOT NULL THEN 'blocked'
               WHEN w.active_status = 'queued' THEN 'queued'
               WHEN NOT w.relation_exists OR w.last_status = 'failed' AND w.last_error_code = 'model_changed' THEN 'model changed'
               WHEN w.last_status IN ('failed', 'interrupted') THEN 'failing'
               WHEN w.last_status = 'blocked' THEN 'blocked'
               WHEN w.last_status IN ('warning', 'cancelled') OR w.has_rejected THEN 'warning'
               WHEN w.last_status IS NULL THEN 'never run'
               ELSE 'ok'
           END AS health
      FROM (SELECT s.*, m.name AS model, d.name AS destination, pg_catalog.format('%I.%I', m.relation_schema, m.relation_name) AS relation,
                   COALESCE(pg_catalog.pg_get_userbyid(c.relowner)::text, s.owner) AS effective_owner,
                   s.epoch IS DISTINCT FROM i.epoch OR s.database_oid IS DISTINCT FROM b.oid AS restored,
                   EXISTS (SELECT FROM pg_catalog.pg_class v JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
                            WHERE n.nspname = m.relation_schema AND v.relname = m.relation_name) AS relation_exists,
                   EXISTS (SELECT FROM courier_internal.rejected r WHERE r.sync_id = s.sync_id) AS has_rejected,
                   t.last_run_id, t.blocked_run_id, t.next_run_at, t.not_before, COALESCE(t.snapshot_records, 0) AS snapshot_records,
                   CASE WHEN a.status = 'queued' THEN t.waiting_for ELSE courier_internal.active_run_waits_for(a.worker_pid, a.waiting_for) END AS waiting_for,
                   l.status AS last_status, l.finished_at AS last_finished_at, l.error_code AS last_error_code, l.error AS last_error, l.hint AS last_hint,
                   l.invalid AS last_invalid, l.held_removals AS last_held_removals,
                   a.run_id AS active_run_id, a.status AS active_status
              FROM courier_internal.sync s
              JOIN courier_internal.model m ON m.model_id = s.model_id
              JOIN courier_internal.destination d ON d.destination_id = s.destination_id
              -- One row. The planner takes a table that was never analyzed for larger, and would compile the whole for seconds (jit).
              CROSS JOIN (SELECT e.epoch FROM courier_internal.installation e LIMIT 1) i
              CROSS JOIN (SELECT p.oid FROM pg_catalog.pg_database p WHERE p.datname = pg_catalog.current_database()) b
              LEFT JOIN courier_internal.sync_state t ON t.sync_id = s.sync_id
              LEFT JOIN courier_internal.run l ON l.run_id = t.last_run_id
              LEFT JOIN LATERAL (SELECT r.run_id, r.status, r.worker_pid, r.waiting_for FROM courier_internal.run r
                                  WHERE r.sync_id = s.sync_id AND r.status IN ('queued', 'querying', 'sending')
                                  ORDER BY r.status = 'queued', r.run_id LIMIT 1) a ON true
              LEFT JOIN pg_catalog.pg_class c
                     ON c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'courier_data')
                    AND c.relname = ('snapshot_' || s.sync_id)::name AND c.relkind = 'r') w;
COMMENT ON VIEW courier_internal.sync_overview IS 'Syncs of everybody, for courier.syncs and courier.sync_details. Shows a restored copy as what it is: nothing of a sync''s state is dumped, so everything about it may be missing';

CREATE VIEW courier.syncs WITH (security_barrier) AS
    SELECT o.name, o.model, o.destination, o.mode, o.schedule, o.health, o.last_status,
           CASE WHEN NOT o.paused AND NOT o.restored AND o.blocked_run_id IS NULL THEN GREATEST(o.next_run_at, o.not_before)::timestamptz(0) END AS next_run_at
      FROM courier_internal.sync_overview o
     WHERE courier_internal.visible(o.effective_owner)
     ORDER BY o.name;
COMMENT ON VIEW courier.syncs IS 'Your syncs, in short. All of a sync, with what to do about its health, is in courier.sync_details';
COMMENT ON COLUMN courier.syncs.schedule IS 'manual, every <interval>, a cron expression, or after <sync>';
COMMENT ON COLUMN courier.syncs.health IS 'ok, never run, queued, running, warning (rejected or invalid records), failing, blocked (see courier.approve_run), model changed, paused, restored copy (see courier.resume_all)';
COMMENT ON COLUMN courier.syncs.last_status IS 'Status of the last run that ended: success, warning, failed, cancelled, interrupted or blocked';
COMMENT ON COLUMN courier.syncs.next_run_at IS 'NULL: not by itself';

CREATE VIEW courier.sync_details WITH (security_barrier) AS
    SELECT o.name, o.model, o.destination, o.mode, o.sync_type, o.object, o.mapping, o.match_on, o.on_removed, o.first_run, o.schedule, o.config, o.options,
           o.paused, o.health,
           CASE o.health
               WHEN 'restored copy' THEN 'This database is a copy (restore or template). If it is to send from now on: SELECT courier.resume_all()'
               WHEN 'paused' THEN pg_catalog.format('SELECT courier.resume_sync(%L) lets it run again.', o.name)
               WHEN 'running' THEN pg_catalog.format('Run %s is %s%s; see courier.progress.', o.active_run_id, o.active_status, COALESCE(', waiting for ' || o.waiting_for, ''))
               WHEN 'queued' THEN pg_catalog.format('Run %s has not started yet%s.', o.active_run_id, COALESCE(', waiting for ' || o.waiting_for, ''))
               WHEN 'blocked' THEN pg_catalog.format('%s SELECT courier.approve_run(%s) lets it go on; courier.plan_sync(%L) shows the numbers of now.',
                                       COALESCE(o.last_error, 'The last run would have changed or removed more than it may.'), COALESCE(o.blocked_run_id, o.last_run_id), o.name)
               WHEN 'model changed' THEN CASE WHEN o.relation_exists
                   THEN pg_catalog.concat_ws(' ', o.last_error, COALESCE(o.last_hint, pg_catalog.format('SELECT courier.alter_sync(%L, mapping => ...) makes the mapping fit.', o.name)))
                   ELSE pg_catalog.format('Relation %s does not exist. SELECT courier.alter_model(%L, ...) gives the model another query or relation.', o.relation, o.model) END
               WHEN 'failing' THEN CASE WHEN o.last_status = 'interrupted'
                   THEN pg_catalog.format('Run %s was interrupted by a crash or restart; the next one carries on.', o.last_run_id)
                   ELSE pg_catalog.concat_ws(' ', COALESCE(o.last_error, o.last_error_code, 'The last run failed.'), o.last_hint) END
               WHEN 'warning' THEN pg_catalog.concat_ws(' ',
                   CASE WHEN o.last_status = 'cancelled' THEN 'The last run was cancelled; the next one goes on from there.' END,
                   CASE WHEN o.rejected_records > 0 THEN pg_catalog.format('%s records are not accepted: SELECT * FROM courier.rejected_records WHERE sync = %L', o.rejected_records, o.name) END,
                   CASE WHEN o.last_invalid > 0 THEN pg_catalog.format('%s rows could not be used: SELECT * FROM courier.invalid_rows WHERE sync = %L', o.last_invalid, o.name) END,
                   CASE WHEN o.last_held_removals > 0 THEN pg_catalog.format('%s removals are held back because the model has NULL keys.', o.last_held_removals) END)
               WHEN 'never run' THEN CASE WHEN o.schedule = 'manual'
                   THEN pg_catalog.format('CALL courier.run_sync(%L) runs it.', o.name)
                   ELSE 'It runs by its schedule: ' || o.schedule END
           END
           || CASE WHEN o.paused AND o.restored THEN ' It was paused there.' ELSE '' END
           || CASE WHEN o.enabled THEN '' ELSE ' pg_courier.enabled is off: nothing is sent.' END AS health_detail,
           o.last_status, o.last_run_id, o.last_finished_at, o.next_run_at, o.not_before, o.waiting_for, o.snapshot_records, o.rejected_records,
           o.search_path, o.effective_owner AS owner, o.created_at
      FROM (SELECT v.*,
                   (SELECT pg_catalog.count(*) FROM courier_internal.rejected r WHERE r.sync_id = v.sync_id) AS rejected_records,
                   COALESCE(NULLIF(pg_catalog.current_setting('pg_courier.enabled', true), '')::boolean, true) AS enabled
              FROM courier_internal.sync_overview v
             WHERE courier_internal.visible(v.effective_owner)) o
     ORDER BY o.name;
COMMENT ON VIEW courier.sync_details IS 'All settings of your syncs, what they are doing, and what to do about their health. In psql: \x';
COMMENT ON COLUMN courier.sync_details.mapping IS 'NULL: every column to the field of its own name';
COMMENT ON COLUMN courier.sync_details.match_on IS 'NULL: the fields that are mapped from the primary key';
COMMENT ON COLUMN courier.sync_details.health_detail IS 'What is the matter, and what to do next; NULL: nothing';
COMMENT ON COLUMN courier.sync_details.last_run_id IS 'The last run that ended; see courier.run_details';
COMMENT ON COLUMN courier.sync_details.not_before IS 'The destination asked not to be called before this time';
COMMENT ON COLUMN courier.sync_details.waiting_for IS 'Why a queued run has not started, or what an active one is waiting for: a lock, or for more than five seconds the destination; NULL: for nothing';
COMMENT ON COLUMN courier.sync_details.snapshot_records IS 'Records that the destination has accepted';
COMMENT ON COLUMN courier.sync_details.rejected_records IS 'Records that it has not; see courier.rejected_records';
COMMENT ON COLUMN courier.sync_details.search_path IS 'With which model and mapping are evaluated: that of whoever created the sync';
COMMENT ON COLUMN courier.sync_details.owner IS 'The role that model and mapping run as';
