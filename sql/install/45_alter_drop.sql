-- Changing and dropping.
--
-- A change is laid over the stored row and the result is checked like a new object. Administrators (courier_admin) may change settings
-- and drop; what runs as the owner (queries, mappings, which model a sync reads) and ownership itself take a member of the owning role.

CREATE FUNCTION courier_internal.new_owner(caller oid, owner regrole, former text, kind text, name text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role_name text;
BEGIN
    PERFORM courier_internal.require_owner(caller, former, kind, name, 'its owner is changed only by its members');
    SELECT r.rolname INTO role_name FROM pg_roles r WHERE r.oid = owner::oid;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role with OID % does not exist', owner::oid USING ERRCODE = '42704';
    ELSIF NOT pg_has_role(caller, owner::oid, 'MEMBER') THEN
        RAISE EXCEPTION 'must be member of role "%"', role_name USING ERRCODE = '42501',
            DETAIL = format('The %s "%s" would run with its rights.', kind, name);
    END IF;
    RETURN role_name;
END
$$;
COMMENT ON FUNCTION courier_internal.new_owner(oid, regrole, text, text, text) IS 'The name of the new owner; raises 42501 unless the caller is a member of both owners';

CREATE FUNCTION courier_internal.replace_model_view(owner oid, search_path text, name text, query text) RETURNS oid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    former oid := courier_internal.relation_oid('courier_models', name);
    grants boolean;
BEGIN
    BEGIN
        RETURN courier_internal.create_model_view(owner, search_path, name, query, true);
    EXCEPTION WHEN invalid_table_definition THEN
        -- Columns changed in a way that CREATE OR REPLACE VIEW does not do. DROP refuses while anything depends on the view.
        IF former IS NULL THEN
            RAISE;
        END IF;
    END;
    SELECT c.relacl IS NOT NULL INTO grants FROM pg_class c WHERE c.oid = former;
    PERFORM courier_internal.drop_model_view(name);
    former := courier_internal.create_model_view(owner, search_path, name, query, false);
    IF grants THEN
        RAISE NOTICE 'view courier_models.% was made anew, because its columns changed', quote_ident(name) USING
            HINT = 'Rights that were granted on it have to be granted again.';
    END IF;
    RETURN former;
END
$$;
COMMENT ON FUNCTION courier_internal.replace_model_view(oid, text, text, text) IS 'Gives a model another query, keeping its view where its columns allow it';

-- A changed model does not wait for the next run to tell that a mapping no longer fits.
CREATE FUNCTION courier_internal.warn_about_mappings(model courier_internal.model) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
BEGIN
    FOR sync IN SELECT s.* FROM courier_internal.sync s WHERE s.model_id = model.model_id ORDER BY s.name LOOP
        sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
        BEGIN
            PERFORM courier_internal.check_mapping(sync, model);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'the mapping of sync "%" does not fit the changed model: %', sync.name, SQLERRM USING
                HINT = format('SELECT courier.alter_sync(%L, mapping => ...)', sync.name);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.warn_about_mappings(courier_internal.model) IS 'A WARNING for every sync whose mapping can no longer be evaluated on the model';

CREATE FUNCTION courier_internal.alter_model(caller oid, caller_path text, name text, query text, primary_key text[], relation regclass,
        source text, description text, owner regrole, reset text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    former courier_internal.model;
    model_relation oid;
    place record;
    broken text;
BEGIN
    model := courier_internal.find_model(caller, name);
    PERFORM courier_internal.require_configure(caller, model.owner, 'model', name);
    PERFORM FROM courier_internal.model m WHERE m.model_id = model.model_id FOR NO KEY UPDATE;
    former := model;
    reset := courier_internal.check_reset(reset, '{description,primary_key,source}', array_remove(ARRAY[
        CASE WHEN description IS NOT NULL THEN 'description' END, CASE WHEN primary_key IS NOT NULL THEN 'primary_key' END,
        CASE WHEN source IS NOT NULL THEN 'source' END], NULL));
    IF query IS NOT NULL AND relation IS NOT NULL THEN
        RAISE EXCEPTION 'model "%" cannot have both a query and a relation', name USING ERRCODE = '22023';
    END IF;
    IF query IS NOT NULL OR relation IS NOT NULL THEN
        PERFORM courier_internal.require_owner(caller, former.owner, 'model', name, 'its query runs with that role''s rights');
    END IF;

    IF owner IS NOT NULL THEN
        model.owner := courier_internal.new_owner(caller, owner, former.owner, 'model', name);
        PERFORM courier_internal.grant_schemas(model.owner, false);
        IF former.query IS NOT NULL AND courier_internal.relation_oid('courier_models', name) IS NOT NULL THEN
            EXECUTE format('ALTER VIEW courier_models.%I OWNER TO %I', name, model.owner);
        END IF;
    ELSIF courier_internal.role_oid(model.owner) IS NULL AND (query IS NOT NULL OR relation IS NOT NULL) THEN
        RAISE EXCEPTION 'the owner of model "%" does not exist', name USING ERRCODE = '42704',
            DETAIL = format('It belongs to role "%s".', model.owner), HINT = 'Give it another one in the same call: owner => ...';
    END IF;

    model_relation := courier_internal.relation_oid(model.relation_schema, model.relation_name);
    IF query IS NOT NULL THEN
        model_relation := courier_internal.replace_model_view(courier_internal.role_oid(model.owner), caller_path, name, query);
        model.query := query;
    ELSIF relation IS NOT NULL THEN
        PERFORM courier_internal.check_relation(courier_internal.role_oid(model.owner), name, relation);
        model_relation := relation;
        model.query := NULL;
    ELSIF model.query IS NULL AND model_relation IS NOT NULL AND owner IS NOT NULL THEN
        PERFORM courier_internal.check_relation(courier_internal.role_oid(model.owner), name, model_relation);
    END IF;

    IF primary_key IS NOT NULL THEN
        model.primary_key := primary_key;
    ELSIF 'primary_key' = ANY (reset) THEN
        model.primary_key := courier_internal.own_primary_key(model_relation);
        IF model.primary_key IS NULL THEN
            RAISE EXCEPTION 'primary_key of model "%" has no default', name USING ERRCODE = '22023', DETAIL = 'Only a table has a primary key of its own.';
        END IF;
    END IF;
    IF model_relation IS NOT NULL THEN
        PERFORM courier_internal.check_key('model', name, model_relation, model.primary_key);
        SELECT n.nspname, c.relname INTO place FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = model_relation;
        model.relation_schema := place.nspname;
        model.relation_name := place.relname;
    END IF;
    IF source IS NOT NULL THEN
        model.source := courier_internal.check_model_source(caller, source);
    ELSIF 'source' = ANY (reset) THEN
        model.source := 'local';
    END IF;
    model.description := CASE WHEN 'description' = ANY (reset) THEN NULL ELSE COALESCE(description, model.description) END;

    UPDATE courier_internal.model m
       SET source = model.source, query = model.query, relation_schema = model.relation_schema, relation_name = model.relation_name,
           primary_key = model.primary_key, description = model.description, owner = model.owner
     WHERE m.model_id = model.model_id;

    IF relation IS NOT NULL AND former.query IS NOT NULL AND courier_internal.relation_oid('courier_models', name) IS DISTINCT FROM model_relation THEN
        PERFORM courier_internal.drop_model_view(name);
    END IF;
    IF model.owner <> former.owner THEN
        SELECT string_agg(format('sync "%s" of role "%s"', s.name, o.owner), E'\n' ORDER BY s.name) INTO broken
          FROM courier_internal.sync s, courier_internal.effective_owner(s.sync_id, s.owner) o (owner)
         WHERE s.model_id = model.model_id AND NOT courier_internal.is_member(courier_internal.role_oid(o.owner), model.owner);
        IF broken IS NOT NULL THEN
            RAISE EXCEPTION 'cannot give model "%" to role "%" because syncs of others depend on it', name, model.owner USING ERRCODE = '2BP01', DETAIL = broken;
        END IF;
        PERFORM courier_internal.revoke_schemas(former.owner);
    END IF;
    IF query IS NOT NULL OR relation IS NOT NULL OR model.primary_key <> former.primary_key THEN
        PERFORM courier_internal.warn_about_mappings(model);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.alter_model(oid, text, text, text, text[], regclass, text, text, regrole, text[]) IS 'Behind courier.alter_model';

CREATE FUNCTION courier_internal.alter_destination(caller oid, caller_path text, name text, type text, config jsonb, secrets jsonb, description text,
        owner regrole, reset text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    former courier_internal.destination;
    definition jsonb;
    kept jsonb;
    sync courier_internal.sync;
    before text;
    after text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_configure(caller, destination.owner, 'destination', name);
    SELECT d.* INTO destination FROM courier_internal.destination d WHERE d.destination_id = destination.destination_id FOR NO KEY UPDATE;
    former := destination;
    reset := courier_internal.check_reset(reset, '{config,description,secrets}', array_remove(ARRAY[
        CASE WHEN config IS NOT NULL THEN 'config' END, CASE WHEN description IS NOT NULL THEN 'description' END,
        CASE WHEN secrets IS NOT NULL THEN 'secrets' END], NULL));
    before := courier_internal.syncs_without_right(destination.destination_id);

    IF owner IS NOT NULL THEN
        destination.owner := courier_internal.new_owner(caller, owner, former.owner, 'destination', name);
        PERFORM courier_internal.grant_schemas(destination.owner, false);
    END IF;
    destination.type := COALESCE(type, destination.type);
    destination.config := CASE WHEN 'config' = ANY (reset) THEN '{}'
                               ELSE courier_internal.merge_settings(destination.config, courier_internal.require_object('config', config)) END;
    destination.description := CASE WHEN 'description' = ANY (reset) THEN NULL ELSE COALESCE(description, destination.description) END;

    secrets := courier_internal.require_object('secrets', secrets);
    kept := CASE WHEN 'secrets' = ANY (reset) THEN '{}' ELSE destination.secrets END;
    SELECT courier_internal.merge_settings(kept, COALESCE(jsonb_object_agg(e.key,
               CASE WHEN jsonb_typeof(e.value) = 'null' THEN e.value ELSE courier_internal.check_secret(caller, e.key, e.value) END), '{}'))
      INTO destination.secrets FROM jsonb_each(secrets) e;

    definition := courier_internal.require_type(destination.type);
    PERFORM courier_internal.check_destination(name, destination.type, definition, destination.config,
                                               ARRAY(SELECT k FROM jsonb_object_keys(destination.secrets) k ORDER BY k));
    UPDATE courier_internal.destination d
       SET type = destination.type, config = destination.config, secrets = destination.secrets, description = destination.description, owner = destination.owner
     WHERE d.destination_id = destination.destination_id;
    IF 'secrets' = ANY (reset) THEN
        DELETE FROM courier_internal.secret s WHERE s.destination_id = destination.destination_id;
    END IF;
    PERFORM courier_internal.store_secrets(destination.destination_id, secrets);

    IF destination.type <> former.type OR destination.config <> former.config THEN
        FOR sync IN SELECT s.* FROM courier_internal.sync s WHERE s.destination_id = destination.destination_id ORDER BY s.name LOOP
            sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
            BEGIN
                PERFORM courier_internal.resolve_sync(sync);
            EXCEPTION WHEN OTHERS THEN
                RAISE WARNING 'sync "%" does not fit the changed destination: %', sync.name, SQLERRM USING
                    HINT = format('SELECT courier.alter_sync(%L, ...)', sync.name);
            END;
        END LOOP;
    END IF;
    IF destination.owner <> former.owner THEN
        after := courier_internal.syncs_without_right(destination.destination_id);
        IF after IS DISTINCT FROM before AND after IS NOT NULL THEN
            RAISE EXCEPTION 'cannot give destination "%" to role "%" because syncs of others depend on it', name, destination.owner USING ERRCODE = '2BP01',
                DETAIL = after, HINT = 'Share it with them first: courier.share_destination.';
        END IF;
        PERFORM courier_internal.revoke_schemas(former.owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.alter_destination(oid, text, text, text, jsonb, jsonb, text, regrole, text[]) IS 'Behind courier.alter_destination';

-- The snapshot is what the destination has accepted. With another destination, it has accepted nothing. The table is made anew rather
-- than emptied: a TRUNCATE trigger that its owner may have put there would run with our rights.
CREATE FUNCTION courier_internal.forget_snapshot(sync courier_internal.sync) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF courier_internal.lease_held(sync.sync_id) THEN
        RAISE EXCEPTION 'a run of sync "%" is active', sync.name USING ERRCODE = '55006',
            HINT = 'Wait for it to end, or stop it with courier.cancel_run, before the sync gets another destination or object.';
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS courier_data.%I, courier_data.%I, courier_data.%I', 'snapshot_' || sync.sync_id, 'jobs_' || sync.sync_id,
                   'former_' || sync.sync_id);
    DELETE FROM courier_internal.job j WHERE j.sync_id = sync.sync_id;
    UPDATE courier_internal.sync s SET snapshot_format = NULL WHERE s.sync_id = sync.sync_id;
    UPDATE courier_internal.sync_state t SET snapshot_records = 0, blocked_run_id = NULL, not_before = NULL WHERE t.sync_id = sync.sync_id;
    DELETE FROM courier_internal.rejected r WHERE r.sync_id = sync.sync_id;
    DELETE FROM courier_internal.invalid_row i WHERE i.sync_id = sync.sync_id;
    PERFORM courier_internal.create_snapshot_table(sync.sync_id);
    RAISE NOTICE 'sync "%" starts anew: its next run is a first run', sync.name USING
        DETAIL = 'What its former destination has accepted says nothing about the new one. Records there are left as they are.';
END
$$;
COMMENT ON FUNCTION courier_internal.forget_snapshot(courier_internal.sync) IS 'Empties the snapshot of a sync that sends elsewhere from now on';

CREATE FUNCTION courier_internal.alter_sync(caller oid, caller_path text, name text, model text, destination text, mode text, sync_type text,
        object text, mapping json, match_on text[], on_removed text, first_run text, schedule text, config jsonb, options jsonb,
        owner regrole, reset text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    former courier_internal.sync;
    used_model courier_internal.model;
    used_destination courier_internal.destination;
    null_mapping boolean := json_typeof(mapping) = 'null';
BEGIN
    sync := courier_internal.find_sync(caller, name);
    PERFORM courier_internal.require_configure(caller, sync.owner, 'sync', name);
    SELECT s.* INTO sync FROM courier_internal.sync s WHERE s.sync_id = sync.sync_id FOR NO KEY UPDATE;
    sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
    former := sync;
    reset := courier_internal.check_reset(reset, '{mode,sync_type,object,mapping,match_on,on_removed,first_run,schedule,config,options}', array_remove(ARRAY[
        CASE WHEN mode IS NOT NULL THEN 'mode' END, CASE WHEN sync_type IS NOT NULL THEN 'sync_type' END, CASE WHEN object IS NOT NULL THEN 'object' END,
        CASE WHEN mapping IS NOT NULL THEN 'mapping' END, CASE WHEN match_on IS NOT NULL THEN 'match_on' END,
        CASE WHEN on_removed IS NOT NULL THEN 'on_removed' END, CASE WHEN first_run IS NOT NULL THEN 'first_run' END,
        CASE WHEN schedule IS NOT NULL THEN 'schedule' END, CASE WHEN config IS NOT NULL THEN 'config' END,
        CASE WHEN options IS NOT NULL THEN 'options' END], NULL));
    IF null_mapping THEN
        reset := reset || 'mapping'::text;
        mapping := NULL;
    END IF;
    IF mapping IS NOT NULL OR 'mapping' = ANY (reset) THEN
        PERFORM courier_internal.require_owner(caller, former.owner, 'sync', name, 'its mapping runs with that role''s rights');
    END IF;

    IF owner IS NOT NULL THEN
        sync.owner := courier_internal.new_owner(caller, owner, former.owner, 'sync', name);
    END IF;
    IF model IS NOT NULL THEN
        PERFORM courier_internal.require_owner(caller, former.owner, 'sync', name, 'its model is read with that role''s rights');
        used_model := courier_internal.find_model(caller, model);
        sync.model_id := used_model.model_id;
    ELSE
        SELECT m.* INTO used_model FROM courier_internal.model m WHERE m.model_id = sync.model_id;
        used_model.owner := courier_internal.model_owner(used_model);
    END IF;
    IF destination IS NOT NULL THEN
        used_destination := courier_internal.find_destination(caller, destination);
        sync.destination_id := used_destination.destination_id;
    ELSE
        SELECT d.* INTO used_destination FROM courier_internal.destination d WHERE d.destination_id = sync.destination_id;
    END IF;
    IF model IS NOT NULL OR owner IS NOT NULL THEN
        PERFORM courier_internal.require_model_use(sync.owner, used_model);
    END IF;
    IF destination IS NOT NULL OR owner IS NOT NULL THEN
        PERFORM courier_internal.require_destination_use(sync.owner, used_destination);
    END IF;

    sync.sync_type := CASE WHEN 'sync_type' = ANY (reset) THEN NULL ELSE COALESCE(sync_type, sync.sync_type) END;
    sync.mode := CASE WHEN 'mode' = ANY (reset) THEN NULL ELSE COALESCE(mode, sync.mode) END;
    sync.object := CASE WHEN 'object' = ANY (reset) THEN NULL ELSE COALESCE(object, sync.object) END;
    sync.mapping := CASE WHEN 'mapping' = ANY (reset) THEN NULL ELSE COALESCE(mapping, sync.mapping) END;
    sync.match_on := CASE WHEN 'match_on' = ANY (reset) THEN NULL ELSE COALESCE(match_on, sync.match_on) END;
    sync.first_run := CASE WHEN 'first_run' = ANY (reset) THEN NULL ELSE COALESCE(first_run, sync.first_run) END;
    -- Mirror allows one on_removed only. Going there or leaving it takes the default of the new mode.
    sync.on_removed := CASE
        WHEN 'on_removed' = ANY (reset) THEN NULL
        WHEN on_removed IS NULL AND sync.mode IS DISTINCT FROM former.mode AND 'mirror' IN (sync.mode, former.mode) THEN NULL
        ELSE COALESCE(on_removed, sync.on_removed)
    END;
    sync.schedule := CASE WHEN 'schedule' = ANY (reset) THEN 'manual' ELSE COALESCE(schedule, sync.schedule) END;
    sync.config := CASE WHEN 'config' = ANY (reset) THEN '{}' ELSE courier_internal.merge_settings(sync.config, courier_internal.require_object('config', config)) END;
    sync.options := CASE WHEN 'options' = ANY (reset) THEN '{}' ELSE courier_internal.merge_settings(sync.options, courier_internal.require_object('options', options)) END;

    -- A schedule can be changed while the model is broken.
    IF (sync.owner, sync.model_id, sync.destination_id, sync.mode, sync.sync_type, sync.object, sync.mapping::text, sync.match_on, sync.on_removed,
        sync.first_run, sync.config, sync.options)
       IS DISTINCT FROM
       (former.owner, former.model_id, former.destination_id, former.mode, former.sync_type, former.object, former.mapping::text, former.match_on,
        former.on_removed, former.first_run, former.config, former.options) THEN
        sync := courier_internal.resolve_sync(sync);
    END IF;
    IF sync.schedule <> former.schedule THEN
        PERFORM courier_internal.check_sync_schedule(caller, name, sync.schedule);
    END IF;

    IF sync.owner <> former.owner THEN
        PERFORM courier_internal.grant_schemas(sync.owner, true);
        IF courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id) IS NOT NULL THEN
            IF courier_internal.lease_held(sync.sync_id) THEN
                RAISE EXCEPTION 'a run of sync "%" is active', name USING ERRCODE = '55006',
                    HINT = 'Wait for it to end, or stop it with courier.cancel_run, before the sync gets another owner.';
            END IF;
            EXECUTE format('ALTER TABLE courier_data.%I OWNER TO %I', 'snapshot_' || sync.sync_id, sync.owner);
            IF courier_internal.relation_oid('courier_data', 'jobs_' || sync.sync_id) IS NOT NULL THEN
                EXECUTE format('ALTER TABLE courier_data.%I OWNER TO %I', 'jobs_' || sync.sync_id, sync.owner);
            END IF;
        END IF;
        IF courier_internal.relation_oid('courier_data', 'former_' || sync.sync_id) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE courier_data.%I OWNER TO %I', 'former_' || sync.sync_id, sync.owner);
        END IF;
    END IF;
    UPDATE courier_internal.sync s
       SET model_id = sync.model_id, destination_id = sync.destination_id, mode = sync.mode, sync_type = sync.sync_type, object = sync.object,
           mapping = sync.mapping, match_on = sync.match_on, on_removed = sync.on_removed, first_run = sync.first_run, schedule = sync.schedule,
           config = sync.config, options = sync.options, owner = sync.owner
     WHERE s.sync_id = sync.sync_id;
    IF sync.owner <> former.owner THEN
        PERFORM courier_internal.revoke_schemas(former.owner);
    END IF;
    -- For events and messages, object is a label: they must not be sent again because it changed.
    IF sync.destination_id <> former.destination_id
        OR sync.object IS DISTINCT FROM former.object AND sync.sync_type IN ('objects', 'segments') THEN
        PERFORM courier_internal.forget_snapshot(sync);
    END IF;
    IF sync.schedule <> former.schedule OR (sync.options->'window', sync.options->'jitter') IS DISTINCT FROM (former.options->'window', former.options->'jitter') THEN
        INSERT INTO courier_internal.sync_state AS t (sync_id, next_run_at)
        VALUES (sync.sync_id, courier_internal.place_run(CASE WHEN sync.schedule <> former.schedule THEN courier_internal.first_due(sync.schedule)
                                                              ELSE courier_internal.next_run(sync.schedule, now()) END, sync.sync_id, sync.options))
        ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET next_run_at = EXCLUDED.next_run_at;
        PERFORM courier_internal.announce();
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.alter_sync(oid, text, text, text, text, text, text, text, json, text[], text, text, text, jsonb, jsonb, regrole, text[]) IS 'Behind courier.alter_sync';

CREATE FUNCTION courier_internal.drop_source(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source courier_internal.source;
    users text;
BEGIN
    source := courier_internal.find_source(caller, name);
    IF name = 'local' THEN
        RAISE EXCEPTION 'source "local" cannot be dropped' USING ERRCODE = '55000', DETAIL = 'It is this database.';
    END IF;
    PERFORM courier_internal.require_configure(caller, source.owner, 'source', name);
    PERFORM FROM courier_internal.source s WHERE s.source_id = source.source_id FOR UPDATE;
    SELECT string_agg(format('model "%s"', m.name), E'\n' ORDER BY m.name) INTO users FROM courier_internal.model m WHERE m.source = drop_source.name;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop source "%" because models depend on it', name USING ERRCODE = '2BP01', DETAIL = users;
    END IF;
    DELETE FROM courier_internal.source s WHERE s.source_id = source.source_id;
    PERFORM courier_internal.revoke_schemas(source.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_source(oid, text, text) IS 'Behind courier.drop_source';

CREATE FUNCTION courier_internal.drop_model(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    users text;
BEGIN
    model := courier_internal.find_model(caller, name);
    PERFORM courier_internal.require_configure(caller, model.owner, 'model', name);
    PERFORM FROM courier_internal.model m WHERE m.model_id = model.model_id FOR UPDATE;
    SELECT string_agg(format('sync "%s"', s.name), E'\n' ORDER BY s.name) INTO users FROM courier_internal.sync s WHERE s.model_id = model.model_id;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop model "%" because syncs depend on it', name USING ERRCODE = '2BP01', DETAIL = users,
            HINT = 'Drop them first: courier.drop_sync.';
    END IF;
    IF model.query IS NOT NULL THEN
        PERFORM courier_internal.drop_model_view(name);
    END IF;
    DELETE FROM courier_internal.model m WHERE m.model_id = model.model_id;
    PERFORM courier_internal.revoke_schemas(model.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_model(oid, text, text) IS 'Behind courier.drop_model';

CREATE FUNCTION courier_internal.drop_destination(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    users text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_configure(caller, destination.owner, 'destination', name);
    PERFORM FROM courier_internal.destination d WHERE d.destination_id = destination.destination_id FOR UPDATE;
    SELECT string_agg(format('sync "%s"', s.name), E'\n' ORDER BY s.name) INTO users FROM courier_internal.sync s WHERE s.destination_id = destination.destination_id;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop destination "%" because syncs depend on it', name USING ERRCODE = '2BP01', DETAIL = users,
            HINT = 'Drop them first: courier.drop_sync.';
    END IF;
    DELETE FROM courier_internal.destination d WHERE d.destination_id = destination.destination_id;
    PERFORM courier_internal.revoke_schemas(destination.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_destination(oid, text, text) IS 'Behind courier.drop_destination';

-- Ends an active run of the sync, before anything of it is locked in a way that the worker would have to wait for: it must be able to
-- settle and to write its last status. So the run's row is left alone (its cancel flag would not be visible before our commit anyway)
-- and the worker gets a query cancel, which it takes for a cancel of its run. A process number may be that of somebody else by now;
-- only while the lease is held, and only a process of ours in this database, is signalled.
CREATE FUNCTION courier_internal.stop_active_run(sync courier_internal.sync) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    patience timestamptz := clock_timestamp() + '4.5 s'::interval;
    signalled timestamptz;
BEGIN
    WHILE courier_internal.lease_held(sync.sync_id) LOOP
        IF clock_timestamp() > patience THEN
            RAISE EXCEPTION 'a run of sync "%" is active and does not end', sync.name USING ERRCODE = '55006',
                HINT = 'Its cancel was asked for. Try again in a moment; courier.runs shows the run.';
        END IF;
        IF signalled IS NULL OR clock_timestamp() > signalled + '1 s'::interval THEN
            PERFORM pg_cancel_backend(a.pid)
              FROM courier_internal.run r
              JOIN pg_stat_activity a ON a.pid = r.worker_pid AND a.backend_type LIKE 'pg_courier%' AND a.datname = current_database()
             WHERE r.sync_id = sync.sync_id AND r.status IN ('querying', 'sending');
            signalled := clock_timestamp();
        END IF;
        PERFORM pg_sleep(0.05);
        -- pg_stat_activity is read once per transaction.
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.stop_active_run(courier_internal.sync) IS 'Cancels the active run of a sync and waits until its worker has let go of it; 55006 when it does not within 4.5 seconds';

CREATE FUNCTION courier_internal.drop_sync(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    former_owner text;
    users text;
    table_name text;
BEGIN
    sync := courier_internal.find_sync(caller, name);
    PERFORM courier_internal.require_configure(caller, sync.owner, 'sync', name);
    SELECT string_agg(format('sync "%s" (%s)', s.name, s.schedule), E'\n' ORDER BY s.name) INTO users
      FROM courier_internal.sync s
     WHERE s.sync_id <> sync.sync_id
       AND CASE WHEN courier_internal.check_schedule(s.schedule) = 'after' THEN courier_internal.schedule_after(s.schedule) = drop_sync.name ELSE false END;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop sync "%" because other syncs run after it', name USING ERRCODE = '2BP01', DETAIL = users,
            HINT = 'Give them another schedule first: courier.alter_sync.';
    END IF;

    -- No follow-up run is taken while we wait: queued ones are locked (a claim skips them) and deleted with the sync. NO KEY UPDATE on
    -- the sync lets the worker insert what refers to it.
    PERFORM FROM courier_internal.sync s WHERE s.sync_id = sync.sync_id FOR NO KEY UPDATE;
    PERFORM FROM courier_internal.run r WHERE r.sync_id = sync.sync_id AND r.status = 'queued' FOR UPDATE;
    PERFORM courier_internal.stop_active_run(sync);

    FOR table_name IN
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'courier_data' AND c.relkind IN ('r', 'p')
           AND (c.relname IN ('snapshot_' || sync.sync_id, 'jobs_' || sync.sync_id, 'former_' || sync.sync_id)
                OR c.relname ~ '^run_[0-9]+_' AND EXISTS (SELECT FROM courier_internal.run r
                                                          WHERE r.sync_id = sync.sync_id AND r.run_id::text = split_part(c.relname, '_', 2)))
    LOOP
        EXECUTE format('DROP TABLE courier_data.%I', table_name);
    END LOOP;
    -- Runs, state, rejected records and invalid rows go with it. The logs of requests and records are out of sight now, and retention takes them.
    DELETE FROM courier_internal.sync s WHERE s.sync_id = sync.sync_id RETURNING s.owner INTO former_owner;
    PERFORM courier_internal.revoke_schemas(sync.owner);
    IF former_owner <> sync.owner THEN
        PERFORM courier_internal.revoke_schemas(former_owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.drop_sync(oid, text, text) IS 'Behind courier.drop_sync';
