-- Syncs. All that a sync says about itself goes through resolve_sync, for a new one as for a changed one, so that what is stored has
-- been checked as a whole: mapping by compiling it as the sync's owner, settings by the destination's type (check_sync).

CREATE FUNCTION courier_internal.parse_mapping(sync_name text, mapping json)
    RETURNS TABLE (ordinal integer, field text, expression text, omit_null boolean, track boolean, insert_only boolean)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    item record;
    wrong text;
    prefix text := format('mapping of sync "%s"', sync_name);
BEGIN
    IF json_typeof(mapping) <> 'object' THEN
        RAISE EXCEPTION '% must be a JSON object from destination field to SQL expression', prefix USING ERRCODE = '22023',
            HINT = 'For example {"id": "id", "email": "lower(email)"}.';
    END IF;
    ordinal := 0;
    FOR item IN SELECT e.key, e.value, json_typeof(e.value) AS kind FROM json_each(mapping) e LOOP
        ordinal := ordinal + 1;
        field := item.key;
        omit_null := false;
        track := true;
        insert_only := false;
        IF string_to_array(field, '.') && ARRAY[''] OR field = '' THEN
            RAISE EXCEPTION '%: invalid field name "%"', prefix, field USING ERRCODE = '22023', DETAIL = 'Neither a name nor a part between dots may be empty.';
        END IF;
        IF item.kind = 'string' THEN
            expression := item.value #>> '{}';
        ELSIF item.kind = 'object' THEN
            SELECT string_agg(format('"%s"', k), ', ') INTO wrong FROM json_object_keys(item.value) k WHERE k NOT IN ('expr', 'null', 'track', 'on');
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION '%, field "%": unknown key %', prefix, field, wrong USING ERRCODE = '22023',
                    DETAIL = 'Allowed: "expr", "null", "track", "on".';
            ELSIF (SELECT count(*) <> count(DISTINCT k) FROM json_object_keys(item.value) k) THEN
                RAISE EXCEPTION '%, field "%": a key stands twice', prefix, field USING ERRCODE = '22023';
            ELSIF json_typeof(item.value->'expr') IS DISTINCT FROM 'string' THEN
                RAISE EXCEPTION '%, field "%": "expr" must be an SQL expression, as a string', prefix, field USING ERRCODE = '22023';
            ELSIF item.value->'null' IS NOT NULL AND (json_typeof(item.value->'null') <> 'string' OR item.value->>'null' NOT IN ('send', 'omit')) THEN
                RAISE EXCEPTION '%, field "%": bad value for "null": %', prefix, field, item.value->'null' USING ERRCODE = '22023', DETAIL = 'Allowed: "send" (default), "omit".';
            ELSIF json_typeof(item.value->'track') <> 'boolean' THEN
                RAISE EXCEPTION '%, field "%": bad value for "track": %', prefix, field, item.value->'track' USING ERRCODE = '22023', DETAIL = 'Allowed: true (default), false.';
            ELSIF item.value->'on' IS NOT NULL AND (json_typeof(item.value->'on') <> 'string' OR item.value->>'on' NOT IN ('always', 'insert')) THEN
                RAISE EXCEPTION '%, field "%": bad value for "on": %', prefix, field, item.value->'on' USING ERRCODE = '22023', DETAIL = 'Allowed: "always" (default), "insert".';
            END IF;
            expression := item.value->>'expr';
            omit_null := COALESCE(item.value->>'null' = 'omit', false);
            track := COALESCE((item.value->>'track')::boolean, true);
            insert_only := COALESCE(item.value->>'on' = 'insert', false);
        ELSE
            PERFORM courier_internal.raise_error('22023', format('%s, field "%s": must be an SQL expression, not %s', prefix, field, item.value),
                'Allowed: a string, or an object {"expr": "...", "null": "send|omit", "track": true|false, "on": "always|insert"}.',
                CASE WHEN item.kind IN ('number', 'boolean', 'null') THEN format('A constant is an SQL expression too: "%s".', item.value) END);
        END IF;
        IF btrim(expression, E' \t\r\n') = '' THEN
            RAISE EXCEPTION '%, field "%": the expression is empty', prefix, field USING ERRCODE = '22023',
                HINT = 'For an empty text write "''''".';
        END IF;
        RETURN NEXT;
    END LOOP;
    IF ordinal = 0 THEN
        RAISE EXCEPTION '% has no field', prefix USING ERRCODE = '22023', HINT = 'Leave mapping out to map every column to the field of its own name.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.parse_mapping(text, json) IS 'The fields of a mapping, in order; raises 22023 where it is no mapping. Checks no expression';

CREATE FUNCTION courier_internal.check_fields(sync_name text, fields text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wrong record;
BEGIN
    SELECT f INTO wrong FROM unnest(fields) f GROUP BY f HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'sync "%" maps field "%" twice', sync_name, wrong.f USING ERRCODE = '22023';
    END IF;
    -- Of the fields above a dotted one, none may be a value. 1,600 columns make a product of pairs too many, so parents are looked up.
    SELECT f.field, p.parent INTO wrong
      FROM unnest(fields) f (field)
     CROSS JOIN LATERAL generate_series(1, cardinality(string_to_array(f.field, '.')) - 1) n
     CROSS JOIN LATERAL array_to_string((string_to_array(f.field, '.'))[1:n], '.') p (parent)
     WHERE strpos(f.field, '.') > 0 AND p.parent IN (SELECT v FROM unnest(fields) v)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'sync "%" maps field "%", which cannot be inside field "%"', sync_name, wrong.field, wrong.parent USING ERRCODE = '22023',
            DETAIL = 'A dot in a field name makes an object, and the field above it has a value already.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_fields(text, text[]) IS 'Raises 22023 when a field stands twice or has a value and fields inside';

-- The column that an expression consists of, if it is nothing else: "id", "Id" in quotes, or model.id.
CREATE FUNCTION courier_internal.bare_column(model_name text, expression text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    parts text[];
BEGIN
    parts := parse_ident(btrim(expression, E' \t\r\n'));
    RETURN CASE
        WHEN cardinality(parts) = 1 THEN parts[1]
        WHEN cardinality(parts) = 2 AND parts[1] = model_name THEN parts[2]
    END;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION courier_internal.bare_column(text, text) IS 'The name of the column that the expression is, if it is nothing but one';

CREATE FUNCTION courier_internal.check_mapping(sync courier_internal.sync, model courier_internal.model, OUT fields text[], OUT match_fields text[]) RETURNS record
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    derived text[] := '{}';
    relation oid := courier_internal.relation_oid(model.relation_schema, model.relation_name);
    owner oid := courier_internal.role_oid(sync.owner);
    item record;
    constants text[] := '{}';
    insert_only text[] := '{}';
    wrong text;
BEGIN
    match_fields := '{}';
    IF relation IS NULL THEN
        RAISE EXCEPTION 'the relation of model "%" does not exist', model.name USING ERRCODE = '42P01',
            DETAIL = format('It was %I.%I.', model.relation_schema, model.relation_name),
            HINT = format('SELECT courier.alter_model(%L, ...) gives the model another query or relation.', model.name);
    ELSIF owner IS NULL THEN
        RAISE EXCEPTION 'the owner of sync "%" does not exist', sync.name USING ERRCODE = '42704', DETAIL = format('It belongs to role "%s".', sync.owner);
    END IF;
    IF sync.mapping IS NULL THEN
        fields := courier_internal.columns_of(relation);
        match_fields := model.primary_key;
        PERFORM courier_internal.check_fields(sync.name, fields);
    ELSE
        SELECT array_agg(p.field ORDER BY p.ordinal) INTO fields FROM courier_internal.parse_mapping(sync.name, sync.mapping) p;
        PERFORM courier_internal.check_fields(sync.name, fields);
        FOR item IN
            SELECT p.*, a.columns, a.reads_clock
              FROM courier_internal.parse_mapping(sync.name, sync.mapping) p
              JOIN (SELECT t.ordinal, t.columns, t.reads_clock
                      FROM courier_internal.analyze_mapping(owner, sync.search_path, relation::regclass, model.name, fields,
                               ARRAY(SELECT e.expression FROM courier_internal.parse_mapping(sync.name, sync.mapping) e ORDER BY e.ordinal)) t) a
                USING (ordinal)
             ORDER BY ordinal
        LOOP
            IF COALESCE(cardinality(item.columns), 0) = 0 THEN
                constants := constants || item.field;
            ELSIF item.reads_clock AND item.track AND NOT item.insert_only THEN
                RAISE EXCEPTION 'mapping of sync "%", field "%": the expression reads columns and the clock', sync.name, item.field USING ERRCODE = '22023',
                    DETAIL = format('The clock, a random value, a sequence or courier.run_id() makes it differ at every run, so every record would be sent every time: %s',
                                    item.expression),
                    HINT = format('With "track": false the field is sent but is no reason to send: %s', json_build_object(
                        item.field, json_build_object('expr', item.expression, 'track', false)));
            ELSIF courier_internal.bare_column(model.name, item.expression) = ANY (model.primary_key)
                AND item.columns = ARRAY[courier_internal.bare_column(model.name, item.expression)] THEN
                match_fields := match_fields || item.field;
            ELSIF item.columns <@ model.primary_key AND NOT item.reads_clock AND NOT item.insert_only THEN
                derived := derived || item.field;
            END IF;
            IF item.insert_only THEN
                insert_only := insert_only || item.field;
            END IF;
        END LOOP;
        -- No field is a key column itself: those that are made from the key alone identify the record.
        IF cardinality(match_fields) = 0 THEN
            match_fields := derived;
        END IF;
    END IF;

    IF sync.match_on IS NOT NULL THEN
        IF cardinality(sync.match_on) = 0 THEN
            RAISE EXCEPTION 'match_on of sync "%" names no field', sync.name USING ERRCODE = '22023',
                DETAIL = format('Mapped fields: %s.', array_to_string(fields, ', ')), HINT = 'Leave it out to match by the fields that are mapped from the primary key.';
        END IF;
        SELECT string_agg(CASE WHEN m IS NULL THEN 'NULL' ELSE format('"%s"', m) END, ', ') INTO wrong FROM unnest(sync.match_on) m WHERE m IS NULL OR NOT m = ANY (fields);
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'match_on of sync "%" names %, which is not mapped', sync.name, wrong USING ERRCODE = '22023',
                DETAIL = format('Mapped fields: %s.', array_to_string(fields, ', '));
        ELSIF (SELECT count(*) <> count(DISTINCT m) FROM unnest(sync.match_on) m) THEN
            RAISE EXCEPTION 'match_on of sync "%" names a field twice', sync.name USING ERRCODE = '22023';
        END IF;
        SELECT string_agg(format('"%s"', m), ', ') INTO wrong FROM unnest(sync.match_on) m WHERE m = ANY (constants);
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'match_on of sync "%" names %, which reads no column', sync.name, wrong USING ERRCODE = '22023',
                DETAIL = 'Every record would have the same value there.';
        END IF;
        match_fields := sync.match_on;
    END IF;
    SELECT string_agg(format('"%s"', m), ', ') INTO wrong FROM unnest(match_fields) m WHERE m = ANY (insert_only);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'sync "%" matches by %, which is sent with new records only', sync.name, wrong USING ERRCODE = '22023',
            DETAIL = 'A field by which records are found has "on": "always".';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_mapping(courier_internal.sync, courier_internal.model) IS 'The mapped fields and those that identify a record. Compiles every expression as the sync''s owner, with his search_path; raises an error where one cannot be used';

CREATE FUNCTION courier_internal.check_sync_options(options jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    item record;
BEGIN
    PERFORM courier_internal.check_options(options);
    -- What only PostgreSQL can judge.
    FOR item IN SELECT e.key, e.value FROM jsonb_each_text(options) e WHERE e.key IN ('time_zone', 'remember', 'retention', 'window') AND e.value IS NOT NULL LOOP
        BEGIN
            IF item.key = 'time_zone' THEN
                PERFORM timezone(item.value, now());
            ELSIF item.key = 'window' THEN
                PERFORM courier_internal.window_opening(now(), options);
            ELSIF item.value::interval < '0'::interval THEN
                RAISE EXCEPTION USING ERRCODE = '22007';
            END IF;
        EXCEPTION WHEN invalid_parameter_value OR invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
            PERFORM courier_internal.raise_error('22023', format('option "%s": bad value "%s"', item.key, item.value),
                CASE item.key
                    WHEN 'window' THEN 'Allowed: two times of the day and, if wanted, a time zone, for example "08:00-18:00 Europe/Berlin".'
                    WHEN 'time_zone' THEN 'Allowed: a time zone that PostgreSQL knows, for example "UTC" or "Europe/Berlin".'
                    ELSE 'Allowed: an interval as PostgreSQL reads it, for example "30 days".'
                END,
                CASE item.key WHEN 'time_zone' THEN 'SELECT name FROM pg_timezone_names' END);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.check_sync_options(jsonb) IS 'Raises 22023 for an option that is not known or a value that is not allowed';

CREATE FUNCTION courier_internal.resolve_sync(sync courier_internal.sync) RETURNS courier_internal.sync
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    destination courier_internal.destination;
    definition jsonb;
    mapped record;
    resolved jsonb;
BEGIN
    SELECT m.* INTO model FROM courier_internal.model m WHERE m.model_id = sync.model_id;
    SELECT d.* INTO destination FROM courier_internal.destination d WHERE d.destination_id = sync.destination_id;
    definition := courier_internal.require_type(destination.type);
    PERFORM courier_internal.check_sync_options(sync.options);
    mapped := courier_internal.check_mapping(sync, model);
    resolved := courier_internal.check_sync(jsonb_build_object(
        'name', sync.name, 'type', destination.type, 'definition', definition, 'destination', destination.name, 'destination_config', destination.config,
        'mode', sync.mode, 'sync_type', sync.sync_type, 'object', sync.object, 'on_removed', sync.on_removed, 'first_run', sync.first_run,
        'config', sync.config, 'options', sync.options, 'fields', to_jsonb(mapped.fields), 'match_on', to_jsonb(mapped.match_fields)));
    sync.mode := resolved->>'mode';
    sync.sync_type := resolved->>'sync_type';
    sync.object := COALESCE(resolved->>'object', sync.object);
    sync.on_removed := resolved->>'on_removed';
    sync.first_run := resolved->>'first_run';
    RETURN sync;
END
$$;
COMMENT ON FUNCTION courier_internal.resolve_sync(courier_internal.sync) IS 'The sync with every setting checked and defaults filled in. Rights and schedule are not its business';

CREATE FUNCTION courier_internal.check_sync_schedule(caller oid, sync_name text, schedule text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    kind text := courier_internal.check_schedule(schedule);
    upstream courier_internal.sync;
    upstream_name text;
    chain text[] := ARRAY[sync_name];
BEGIN
    IF kind <> 'after' THEN
        RETURN kind;
    END IF;
    upstream_name := courier_internal.schedule_after(schedule);
    IF upstream_name = sync_name THEN
        RAISE EXCEPTION 'sync "%" cannot run after itself', sync_name USING ERRCODE = '22023';
    END IF;
    upstream := courier_internal.find_sync(caller, upstream_name);
    IF NOT courier_internal.may_see(caller, upstream.owner) THEN
        PERFORM courier_internal.require_owner(caller, upstream.owner, 'sync', upstream_name, 'following it shows when it runs');
    END IF;
    LOOP
        chain := chain || upstream_name;
        IF upstream_name = sync_name OR cardinality(chain) > 1000 THEN
            RAISE EXCEPTION 'schedule of sync "%" makes a loop', sync_name USING ERRCODE = '22023',
                DETAIL = format('Each would run after the next: %s.', array_to_string(chain, ', '));
        END IF;
        SELECT courier_internal.schedule_after(s.schedule) INTO upstream_name
          FROM courier_internal.sync s
         WHERE s.name = upstream_name AND courier_internal.check_schedule(s.schedule) = 'after';
        EXIT WHEN upstream_name IS NULL;
    END LOOP;
    RETURN kind;
END
$$;
COMMENT ON FUNCTION courier_internal.check_sync_schedule(oid, text, text) IS 'The kind of a schedule (manual, every, cron, after); raises an error when it cannot be read, or follows a sync that does not exist or follows this one';

CREATE FUNCTION courier_internal.first_due(schedule text) RETURNS timestamptz
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE courier_internal.check_schedule(schedule)
        WHEN 'every' THEN pg_catalog.now()
        WHEN 'cron' THEN courier_internal.next_run(schedule, pg_catalog.now())
    END
$$;
COMMENT ON FUNCTION courier_internal.first_due(text) IS 'When a sync with a new schedule runs first: "every" at once, cron at its next time, others when they are asked';

CREATE FUNCTION courier_internal.require_model_use(sync_owner text, model courier_internal.model) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role oid := courier_internal.role_oid(sync_owner);
    relation oid := courier_internal.relation_oid(model.relation_schema, model.relation_name);
BEGIN
    PERFORM courier_internal.require_owner(role, model.owner, 'model', model.name);
    IF NOT has_table_privilege(role, relation, 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for model "%"', model.name USING ERRCODE = '42501',
            DETAIL = format('Role "%s", which the sync runs as, may not read %I.%I.', sync_owner, model.relation_schema, model.relation_name),
            HINT = format('GRANT SELECT ON %I.%I TO %I', model.relation_schema, model.relation_name, sync_owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_model_use(text, courier_internal.model) IS 'Raises 42501 unless syncs of this owner may use the model: a member of its owner, who may read it';

CREATE FUNCTION courier_internal.require_destination_use(sync_owner text, destination courier_internal.destination) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT COALESCE(courier_internal.may_use_destination(sync_owner, destination.destination_id), false) THEN
        RAISE EXCEPTION 'permission denied for destination "%"', destination.name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s" and is not shared with role "%s".', destination.owner, sync_owner),
            HINT = format('A member of "%s" shares it: SELECT courier.share_destination(%L, %L)', destination.owner, destination.name, sync_owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_destination_use(text, courier_internal.destination) IS 'Raises 42501 unless syncs of this owner may send to the destination';

CREATE FUNCTION courier_internal.create_sync(caller oid, caller_path text, name text, model text, destination text, mode text, sync_type text,
        object text, mapping json, match_on text[], on_removed text, first_run text, schedule text, config jsonb, options jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    used_model courier_internal.model;
    used_destination courier_internal.destination;
BEGIN
    PERFORM courier_internal.check_name('sync', name);
    PERFORM courier_internal.require_value('model', model);
    PERFORM courier_internal.require_value('destination', destination);
    IF EXISTS (SELECT FROM courier_internal.sync s WHERE s.name = create_sync.name) THEN
        RAISE EXCEPTION 'sync "%" already exists', name USING ERRCODE = '42710',
            HINT = format('SELECT courier.alter_sync(%L, ...) changes it.', name);
    END IF;

    sync.name := name;
    sync.owner := pg_get_userbyid(caller);
    sync.search_path := caller_path;
    sync.mode := mode;
    sync.sync_type := sync_type;
    sync.object := object;
    sync.mapping := CASE WHEN json_typeof(mapping) <> 'null' THEN mapping END;
    sync.match_on := match_on;
    sync.on_removed := on_removed;
    sync.first_run := first_run;
    sync.schedule := COALESCE(schedule, 'manual');
    sync.config := courier_internal.require_object('config', config);
    sync.options := courier_internal.require_object('options', options);
    SELECT i.epoch INTO sync.epoch FROM courier_internal.installation i;
    SELECT d.oid INTO sync.database_oid FROM pg_database d WHERE d.datname = current_database();

    used_model := courier_internal.find_model(caller, model);
    PERFORM courier_internal.require_model_use(sync.owner, used_model);
    sync.model_id := used_model.model_id;
    used_destination := courier_internal.find_destination(caller, destination);
    PERFORM courier_internal.require_destination_use(sync.owner, used_destination);
    sync.destination_id := used_destination.destination_id;
    sync := courier_internal.resolve_sync(sync);
    PERFORM courier_internal.check_sync_schedule(caller, name, sync.schedule);

    PERFORM courier_internal.grant_schemas(sync.owner, true);
    BEGIN
        INSERT INTO courier_internal.sync AS s (name, model_id, destination_id, mode, sync_type, object, mapping, match_on, on_removed, first_run,
                                                schedule, config, options, search_path, owner, epoch, database_oid)
        VALUES (sync.name, sync.model_id, sync.destination_id, sync.mode, sync.sync_type, sync.object, sync.mapping, sync.match_on, sync.on_removed,
                sync.first_run, sync.schedule, sync.config, sync.options, sync.search_path, sync.owner, sync.epoch, sync.database_oid)
        RETURNING s.sync_id INTO sync.sync_id;
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'sync "%" already exists', name USING ERRCODE = '42710';
    END;
    INSERT INTO courier_internal.sync_state (sync_id, next_run_at) VALUES (sync.sync_id, courier_internal.place_run(courier_internal.first_due(sync.schedule), sync.sync_id, sync.options));
    PERFORM courier_internal.create_snapshot_table(sync.sync_id);
    PERFORM courier_internal.announce();
END
$$;
COMMENT ON FUNCTION courier_internal.create_sync(oid, text, text, text, text, text, text, text, json, text[], text, text, text, jsonb, jsonb) IS 'Behind courier.create_sync';

CREATE FUNCTION courier_internal.pause_sync(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    sync := courier_internal.operable_sync(caller, name);
    UPDATE courier_internal.sync s SET paused = true WHERE s.sync_id = sync.sync_id AND NOT s.paused;
    IF FOUND AND EXISTS (SELECT FROM courier_internal.run r WHERE r.sync_id = sync.sync_id AND r.status IN ('querying', 'sending')) THEN
        RAISE NOTICE 'a run of sync "%" is active and goes on', name USING HINT = 'courier.cancel_run stops it.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.pause_sync(oid, text, text) IS 'Behind courier.pause_sync';

CREATE FUNCTION courier_internal.activate_sync(sync courier_internal.sync) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    changed boolean;
    kept bigint := 0;
    missing text;
BEGIN
    UPDATE courier_internal.sync s
       SET paused = false, epoch = i.epoch, database_oid = d.oid
      FROM courier_internal.installation i, pg_database d
     WHERE s.sync_id = sync.sync_id AND d.datname = current_database()
       AND (s.paused OR s.epoch <> i.epoch OR s.database_oid <> d.oid);
    changed := FOUND;

    -- The state is not dumped but snapshots are, and guards such as max_removed go by their size. The table is its owner's, so he counts.
    IF NOT EXISTS (SELECT FROM courier_internal.sync_state t WHERE t.sync_id = sync.sync_id)
        AND courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id) IS NOT NULL AND courier_internal.role_oid(sync.owner) IS NOT NULL THEN
        SELECT q.line::bigint INTO kept
          FROM courier_internal.query_as(courier_internal.role_oid(sync.owner), 'pg_catalog', 'UTC',
                   format('SELECT pg_catalog.count(*)::text FROM courier_data.%I', 'snapshot_' || sync.sync_id)) AS q (line);
    END IF;
    INSERT INTO courier_internal.sync_state AS t (sync_id, next_run_at, snapshot_records)
    VALUES (sync.sync_id, courier_internal.place_run(courier_internal.first_due(sync.schedule), sync.sync_id, sync.options), kept)
    ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET next_run_at = EXCLUDED.next_run_at
     WHERE changed AND (t.next_run_at IS NULL OR t.next_run_at < now());

    -- A restored copy has no values of secrets, since they are not dumped, and may have been restored without its snapshots.
    IF courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id) IS NULL AND courier_internal.role_oid(sync.owner) IS NOT NULL THEN
        PERFORM courier_internal.grant_schemas(sync.owner, true);
        PERFORM courier_internal.create_snapshot_table(sync.sync_id);
    ELSE
        -- Restored: the table has another OID here. It counts when it belongs to the owner that the dump names.
        UPDATE courier_internal.sync_state t
           SET snapshot_oid = c.oid
          FROM pg_class c
         WHERE t.sync_id = sync.sync_id AND c.oid = courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id)
           AND t.snapshot_oid IS DISTINCT FROM c.oid AND c.relowner = courier_internal.role_oid(sync.owner);
    END IF;
    SELECT string_agg(format('"%s"', e.key), ', ' ORDER BY e.key) INTO missing
      FROM courier_internal.destination d, jsonb_each(d.secrets) e
     WHERE d.destination_id = sync.destination_id AND e.value ? 'stored'
       AND NOT EXISTS (SELECT FROM courier_internal.secret v WHERE v.destination_id = d.destination_id AND v.name = e.key);
    IF missing IS NOT NULL THEN
        RAISE WARNING 'the destination of sync "%" has no value for secret %', sync.name, missing USING
            HINT = 'Values that were given as plain strings are not dumped. courier.alter_destination(name, secrets => ...) gives them again.';
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION courier_internal.activate_sync(courier_internal.sync) IS 'Lets a sync run here: not paused, under the present epoch and database. False: it did already';

CREATE FUNCTION courier_internal.resume_sync(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    PERFORM courier_internal.operable_sync(caller, name);
    sync := courier_internal.find_sync(caller, name);
    PERFORM courier_internal.activate_sync(sync);
    PERFORM courier_internal.announce();
END
$$;
COMMENT ON FUNCTION courier_internal.resume_sync(oid, text, text) IS 'Behind courier.resume_sync';

CREATE FUNCTION courier_internal.resume_all(caller oid, caller_path text) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    resumed integer := 0;
BEGIN
    FOR sync IN SELECT s.* FROM courier_internal.sync s ORDER BY s.sync_id LOOP
        sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
        IF courier_internal.may_configure(caller, sync.owner) AND courier_internal.activate_sync(sync) THEN
            resumed := resumed + 1;
        END IF;
    END LOOP;
    PERFORM courier_internal.announce();
    RETURN resumed;
END
$$;
COMMENT ON FUNCTION courier_internal.resume_all(oid, text) IS 'Behind courier.resume_all';
