-- What a run worker (or a preview) has to know of a sync, in one value. json, not jsonb: the order of the fields of a mapping is kept.

CREATE FUNCTION courier_internal.definition_parts(sync_id integer,
        OUT sync json, OUT model json, OUT destination json, OUT state json) RETURNS record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.json_build_object(
               'sync_id', s.sync_id, 'name', s.name, 'mode', s.mode, 'sync_type', s.sync_type, 'object', s.object, 'mapping', s.mapping,
               'match_on', s.match_on, 'on_removed', s.on_removed, 'first_run', s.first_run, 'config', s.config, 'options', s.options,
               'search_path', s.search_path, 'owner', courier_internal.effective_owner(s.sync_id, s.owner), 'seed', s.seed,
               'snapshot_format', s.snapshot_format, 'paused', s.paused, 'restored', courier_internal.is_restored(s.epoch, s.database_oid)),
           pg_catalog.json_build_object(
               'name', m.name, 'relation_schema', m.relation_schema, 'relation_name', m.relation_name, 'primary_key', m.primary_key, 'owner', m.owner),
           pg_catalog.json_build_object(
               'destination_id', d.destination_id, 'name', d.name, 'type', d.type, 'definition', t.definition,
               'config', d.config, 'secrets', d.secrets, 'owner', d.owner),
           pg_catalog.json_build_object(
               'snapshot_records', COALESCE(st.snapshot_records, 0),
               -- A run that added nearly everything was a first one, and says nothing of the next.
               'last_changes', COALESCE((SELECT CASE WHEN r.planned_added < 0.9 * r.rows_queried THEN r.planned_added + r.planned_changed + r.planned_removed END
                                           FROM courier_internal.run r WHERE r.run_id = st.last_run_id), 0),
               'last_run_id', st.last_run_id, 'blocked_run_id', st.blocked_run_id,
               'not_before', st.not_before)
      FROM courier_internal.sync s
      JOIN courier_internal.model m ON m.model_id = s.model_id
      JOIN courier_internal.destination d ON d.destination_id = s.destination_id
      LEFT JOIN courier_internal.destination_type t ON t.name = d.type
      LEFT JOIN courier_internal.sync_state st ON st.sync_id = s.sync_id
     WHERE s.sync_id = definition_parts.sync_id
$$;
COMMENT ON FUNCTION courier_internal.definition_parts(integer) IS 'The parts of sync_definition and run_definition';

CREATE FUNCTION courier_internal.sync_definition(name text) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.json_build_object('sync', p.sync, 'model', p.model, 'destination', p.destination, 'state', p.state)
      FROM courier_internal.sync s, courier_internal.definition_parts(s.sync_id) p
     WHERE s.name = sync_definition.name
$$;
COMMENT ON FUNCTION courier_internal.sync_definition(text) IS 'All that planning and previewing need: {"sync", "model", "destination", "state"}; NULL: no such sync. Secrets are references. The caller has checked rights';

CREATE FUNCTION courier_internal.run_definition(run_id bigint) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.json_build_object(
               'run', pg_catalog.json_build_object(
                   'run_id', r.run_id, 'resync', r.resync, 'origin_run_id', r.origin_run_id, 'approved', r.approved, 'test', r.test, 'created_at', r.created_at),
               'sync', p.sync, 'model', p.model, 'destination', p.destination, 'state', p.state)
      FROM courier_internal.run r, courier_internal.definition_parts(r.sync_id) p
     WHERE r.run_id = run_definition.run_id
$$;
COMMENT ON FUNCTION courier_internal.run_definition(bigint) IS 'All that a run worker needs: {"run", "sync", "model", "destination", "state"}; NULL: no such run. Secrets are references';
