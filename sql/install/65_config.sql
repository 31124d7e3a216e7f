-- Configuration as code. One description of an object serves export and apply: config_objects says what is there, the document says what
-- should be, and the difference is the plan. The plan is carried out by the functions that everybody calls (create_..., alter_..., drop_...),
-- as the caller, so rights and checks are theirs and objects keep their snapshots.
--
-- A dry run carries the plan out as well, except for drops, in a subtransaction that is rolled back: what it says is what would happen.
--
-- jsonb forgets the order of keys, and the order of a mapping's fields is kept: in a document a mapping is a list of fields.

CREATE FUNCTION courier_internal.mapping_list(mapping json) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT jsonb_agg(jsonb_build_object(e.key, e.value::jsonb) ORDER BY e.n) FROM json_each(mapping) WITH ORDINALITY e (key, value, n) $$;
COMMENT ON FUNCTION courier_internal.mapping_list(json) IS 'A mapping as a list of objects of one field each; NULL for NULL';

CREATE FUNCTION courier_internal.mapping_object(list jsonb) RETURNS json
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF list IS NULL OR jsonb_typeof(list) IN ('null', 'object') THEN
        RETURN NULLIF(list, 'null')::json;
    ELSIF jsonb_typeof(list) <> 'array' OR jsonb_path_exists(list, 'strict $[*] ? (@.type() != "object")') THEN
        RAISE EXCEPTION 'a mapping in a configuration is an object, or a list of objects of one field each' USING ERRCODE = '22023',
            HINT = 'A list keeps the order of the fields: [{"id": "id"}, {"email": "lower(email)"}]';
    END IF;
    RETURN (SELECT '{' || string_agg(to_json(f.key)::text || ': ' || f.value::text, ', ' ORDER BY e.n) || '}'
              FROM jsonb_array_elements(list) WITH ORDINALITY e (entry, n), jsonb_each(e.entry) f);
END
$$;
COMMENT ON FUNCTION courier_internal.mapping_object(jsonb) IS 'A mapping of a document as courier.create_sync takes it';

-- Kinds in the order in which they are created; dropped in the other. What a document may leave out, and what it then means; a key whose
-- default is missing here leaves the setting as it is.
CREATE FUNCTION courier_internal.config_kinds() RETURNS TABLE (rank integer, kind text, section text, keys text[], required text[], defaults jsonb)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    VALUES (1, 'source', 'sources', ARRAY['foreign_server', 'description', 'owner'], ARRAY[]::text[], '{"foreign_server": null, "description": null}'::jsonb),
           (2, 'destination_type', 'destination_types', ARRAY['definition', 'owner'], ARRAY['definition'], '{}'),
           (3, 'model', 'models', ARRAY['query', 'relation', 'primary_key', 'source', 'description', 'owner'], '{}', '{"query": null, "relation": null, "source": "local", "description": null}'),
           (4, 'destination', 'destinations', ARRAY['type', 'config', 'secrets', 'shared_with', 'description', 'owner'], ARRAY['type'],
            '{"config": {}, "secrets": {}, "shared_with": [], "description": null}'),
           (5, 'sync', 'syncs', ARRAY['model', 'destination', 'mode', 'sync_type', 'object', 'mapping', 'match_on', 'on_removed', 'first_run', 'schedule', 'config', 'options', 'paused', 'owner'],
            ARRAY['model', 'destination'], '{"object": null, "mapping": null, "match_on": null, "schedule": "manual", "config": {}, "options": {}, "paused": false}'),
           (6, 'alert', 'alerts', ARRAY['kind', 'warning', 'critical', 'sync', 'destination', 'channel', 'owner'], ARRAY['kind'],
            '{"warning": null, "critical": null, "sync": null, "destination": null, "channel": null}')
$$;
COMMENT ON FUNCTION courier_internal.config_kinds() IS 'The kinds of objects of a configuration, their sections and settings';

CREATE FUNCTION courier_internal.config_objects(caller oid) RETURNS TABLE (kind text, name text, owner text, settings jsonb)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'source', s.name, s.owner, jsonb_build_object('foreign_server', s.foreign_server, 'description', s.description)
      FROM courier_internal.source s WHERE s.name <> 'local' AND courier_internal.may_see(caller, s.owner)
    UNION ALL
    SELECT 'destination_type', t.name, t.owner, jsonb_build_object('definition', t.definition)
      FROM courier_internal.destination_type t WHERE courier_internal.may_see(caller, t.owner)
    UNION ALL
    SELECT 'model', m.name, o.owner, jsonb_build_object('query', m.query, 'primary_key', m.primary_key, 'source', m.source, 'description', m.description,
               'relation', CASE WHEN m.query IS NULL THEN format('%I.%I', m.relation_schema, m.relation_name) END)
      FROM courier_internal.model m, courier_internal.model_owner(m) o (owner) WHERE courier_internal.may_see(caller, o.owner)
    UNION ALL
    SELECT 'destination', d.name, d.owner, jsonb_build_object('type', d.type, 'config', d.config, 'secrets', d.secrets, 'description', d.description,
               'shared_with', to_jsonb(ARRAY(SELECT h.role FROM courier_internal.destination_share h WHERE h.destination_id = d.destination_id ORDER BY h.role)))
      FROM courier_internal.destination d WHERE courier_internal.may_see(caller, d.owner)
    UNION ALL
    SELECT 'sync', s.name, s.effective_owner, jsonb_build_object('model', s.model, 'destination', s.destination, 'mode', s.mode, 'sync_type', s.sync_type, 'object', s.object,
               'mapping', courier_internal.mapping_list(s.mapping), 'match_on', s.match_on, 'on_removed', s.on_removed, 'first_run', s.first_run,
               'schedule', s.schedule, 'config', s.config, 'options', s.options, 'paused', s.paused)
      FROM courier_internal.sync_overview s WHERE courier_internal.may_see(caller, s.effective_owner)
    UNION ALL
    SELECT 'alert', a.name, a.owner, jsonb_build_object('kind', a.kind, 'warning', a.warning, 'critical', a.critical, 'sync', s.name, 'destination', d.name, 'channel', c.name)
      FROM courier_internal.alert a
      LEFT JOIN courier_internal.sync s ON s.sync_id = a.sync_id
      LEFT JOIN courier_internal.destination d ON d.destination_id = a.destination_id
      LEFT JOIN courier_internal.sync c ON c.sync_id = a.channel_id
     WHERE courier_internal.may_see(caller, a.owner)
$$;
COMMENT ON FUNCTION courier_internal.config_objects(oid) IS 'The objects that the caller may see, with all their settings as a document writes them. Secrets are references';

CREATE FUNCTION courier_internal.export_config(caller oid, caller_path text) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    -- Settings at their defaults are left out; so is the owner where it is the caller.
    SELECT jsonb_build_object('format', 1) || COALESCE(jsonb_object_agg(x.section, x.objects), '{}')
      FROM (SELECT k.section, jsonb_object_agg(o.name, (
                       SELECT COALESCE(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(o.settings) e
                        WHERE NOT (k.defaults ? e.key AND k.defaults->e.key = e.value))
                   || CASE WHEN o.owner = pg_get_userbyid(caller) THEN '{}' ELSE jsonb_build_object('owner', o.owner) END) AS objects
              FROM courier_internal.config_objects(caller) o
              JOIN courier_internal.config_kinds() k ON k.kind = o.kind
             GROUP BY k.section) x
$$;
COMMENT ON FUNCTION courier_internal.export_config(oid, text) IS 'Behind courier.export_config';

CREATE FUNCTION courier_internal.without(settings jsonb, former jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT settings || COALESCE((SELECT jsonb_object_agg(k, NULL) FROM jsonb_object_keys(former) k WHERE NOT settings ? k), '{}') $$;
COMMENT ON FUNCTION courier_internal.without(jsonb, jsonb) IS 'What alter_... has to merge, so that these are the settings and nothing of the former ones stays';

CREATE FUNCTION courier_internal.text_list(list jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN jsonb_typeof(list) = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(list)) END $$;
COMMENT ON FUNCTION courier_internal.text_list(jsonb) IS 'A JSON list of texts; NULL for null';

CREATE FUNCTION courier_internal.config_difference(kind text, present jsonb, wanted jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(array_agg(e.key ORDER BY e.key), '{}')
      FROM jsonb_each(wanted) e
     WHERE CASE WHEN kind = 'sync' AND e.key = 'mapping' AND jsonb_typeof(e.value) = 'object'
                -- Given as an object, a mapping says nothing of the order.
                THEN courier_internal.mapping_object(NULLIF(present->'mapping', 'null'))::jsonb IS DISTINCT FROM e.value
                ELSE present->e.key IS DISTINCT FROM e.value END
$$;
COMMENT ON FUNCTION courier_internal.config_difference(text, jsonb, jsonb) IS 'Names of the settings that are not as wanted';

-- One object, made or changed by the functions that everybody calls.
CREATE FUNCTION courier_internal.apply_object(caller oid, caller_path text, object_kind text, object_name text, present jsonb, w jsonb, changed text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    new_owner regrole := CASE WHEN w->>'owner' IS NOT NULL AND 'owner' = ANY (changed) THEN quote_ident(w->>'owner')::regrole END;
    stored jsonb := (SELECT COALESCE(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(w->'secrets') e WHERE e.value <> '{"stored": true}');
    role text;
    -- A setting that goes back to nothing is reset.
    reset text[] := ARRAY(SELECT c FROM unnest(changed) c WHERE w->c = 'null' AND c <> 'owner');
BEGIN
    CASE object_kind
    WHEN 'source', 'destination_type' THEN
        -- These have no alter: made anew, which is refused while something depends on them.
        IF object_kind = 'source' THEN
            IF present IS NOT NULL THEN
                PERFORM courier_internal.drop_source(caller, caller_path, object_name);
            END IF;
            PERFORM courier_internal.create_source(caller, caller_path, object_name, (w->>'foreign_server')::name, w->>'description');
        ELSE
            IF present IS NOT NULL THEN
                PERFORM courier_internal.drop_destination_type(caller, caller_path, object_name);
            END IF;
            PERFORM courier_internal.create_destination_type(caller, caller_path, object_name, w->'definition');
        END IF;
    WHEN 'model' THEN
        IF present IS NULL THEN
            PERFORM courier_internal.create_model(caller, caller_path, object_name, w->>'query', courier_internal.text_list(w->'primary_key'), (w->>'relation')::regclass,
                                                  w->>'source', w->>'description');
            changed := ARRAY['owner'];
            reset := '{}';
        END IF;
        IF changed && ARRAY['query', 'primary_key', 'relation', 'source', 'description'] OR new_owner IS NOT NULL THEN
            PERFORM courier_internal.alter_model(caller, caller_path, object_name,
                CASE WHEN 'query' = ANY (changed) THEN w->>'query' END,
                CASE WHEN 'primary_key' = ANY (changed) THEN courier_internal.text_list(w->'primary_key') END,
                CASE WHEN 'relation' = ANY (changed) THEN (w->>'relation')::regclass END,
                CASE WHEN 'source' = ANY (changed) THEN w->>'source' END, CASE WHEN 'description' = ANY (changed) THEN w->>'description' END,
                new_owner, ARRAY(SELECT r FROM unnest(reset) r WHERE r NOT IN ('query', 'relation')));
        END IF;
    WHEN 'destination' THEN
        IF present IS NULL THEN
            PERFORM courier_internal.create_destination(caller, caller_path, object_name, w->>'type', w->'config', stored, w->>'description');
            present := '{"shared_with": []}';
            changed := ARRAY['owner', 'shared_with'];
            reset := '{}';
        END IF;
        IF changed && ARRAY['type', 'config', 'secrets', 'description'] OR new_owner IS NOT NULL THEN
            PERFORM courier_internal.alter_destination(caller, caller_path, object_name,
                CASE WHEN 'type' = ANY (changed) THEN w->>'type' END,
                CASE WHEN 'config' = ANY (changed) THEN courier_internal.without(w->'config', present->'config') END,
                CASE WHEN 'secrets' = ANY (changed) THEN courier_internal.without(stored, (present->'secrets') - ARRAY(SELECT jsonb_object_keys(w->'secrets'))) END,
                CASE WHEN 'description' = ANY (changed) THEN w->>'description' END, new_owner, reset);
        END IF;
        IF 'shared_with' = ANY (changed) THEN
            FOR role IN SELECT r FROM jsonb_array_elements_text(w->'shared_with') r WHERE NOT present->'shared_with' ? r ORDER BY r LOOP
                PERFORM courier_internal.share_destination(caller, caller_path, object_name, quote_ident(role)::regrole);
            END LOOP;
            FOR role IN SELECT r FROM jsonb_array_elements_text(present->'shared_with') r WHERE NOT w->'shared_with' ? r ORDER BY r LOOP
                PERFORM courier_internal.unshare_destination(caller, caller_path, object_name, quote_ident(role)::regrole);
            END LOOP;
        END IF;
    WHEN 'sync' THEN
        IF present IS NULL THEN
            -- "after" another sync is set when all are there.
            PERFORM courier_internal.create_sync(caller, caller_path, object_name, w->>'model', w->>'destination', w->>'mode', w->>'sync_type', w->>'object',
                courier_internal.mapping_object(w->'mapping'), courier_internal.text_list(w->'match_on'), w->>'on_removed', w->>'first_run',
                CASE WHEN w->>'schedule' ~* '^\s*after\s' THEN 'manual' ELSE w->>'schedule' END, w->'config', w->'options');
            changed := array_remove(ARRAY['owner', CASE WHEN w->'paused' = 'true' THEN 'paused' END], NULL);
            reset := '{}';
        END IF;
        reset := array_remove(reset, 'paused');
        IF changed && ARRAY['model', 'destination', 'mode', 'sync_type', 'object', 'mapping', 'match_on', 'on_removed', 'first_run', 'config', 'options'] OR new_owner IS NOT NULL
           OR 'schedule' = ANY (changed) AND w->>'schedule' !~* '^\s*after\s' THEN
            PERFORM courier_internal.alter_sync(caller, caller_path, object_name,
                CASE WHEN 'model' = ANY (changed) THEN w->>'model' END, CASE WHEN 'destination' = ANY (changed) THEN w->>'destination' END,
                CASE WHEN 'mode' = ANY (changed) THEN w->>'mode' END, CASE WHEN 'sync_type' = ANY (changed) THEN w->>'sync_type' END,
                CASE WHEN 'object' = ANY (changed) THEN w->>'object' END,
                CASE WHEN 'mapping' = ANY (changed) THEN courier_internal.mapping_object(w->'mapping') END,
                CASE WHEN 'match_on' = ANY (changed) THEN courier_internal.text_list(w->'match_on') END,
                CASE WHEN 'on_removed' = ANY (changed) THEN w->>'on_removed' END, CASE WHEN 'first_run' = ANY (changed) THEN w->>'first_run' END,
                CASE WHEN 'schedule' = ANY (changed) AND w->>'schedule' !~* '^\s*after\s' THEN w->>'schedule' END,
                CASE WHEN 'config' = ANY (changed) THEN courier_internal.without(w->'config', present->'config') END,
                CASE WHEN 'options' = ANY (changed) THEN courier_internal.without(w->'options', present->'options') END,
                new_owner, reset);
        END IF;
        IF 'paused' = ANY (changed) AND w->'paused' = 'true' THEN
            PERFORM courier_internal.pause_sync(caller, caller_path, object_name);
        ELSIF 'paused' = ANY (changed) THEN
            PERFORM courier_internal.resume_sync(caller, caller_path, object_name);
        END IF;
    WHEN 'alert' THEN
        IF present IS NULL OR changed && ARRAY['kind', 'sync', 'destination'] THEN
            IF present IS NOT NULL THEN
                PERFORM courier_internal.drop_alert(caller, caller_path, object_name);
            END IF;
            PERFORM courier_internal.create_alert(caller, caller_path, object_name, w->>'kind', w->>'warning', w->>'critical', w->>'sync', w->>'destination', w->>'channel');
        ELSE
            PERFORM courier_internal.alter_alert(caller, caller_path, object_name, CASE WHEN 'warning' = ANY (changed) THEN w->>'warning' END,
                CASE WHEN 'critical' = ANY (changed) THEN w->>'critical' END, CASE WHEN 'channel' = ANY (changed) THEN w->>'channel' END, NULL, reset);
        END IF;
    END CASE;
END
$$;
COMMENT ON FUNCTION courier_internal.apply_object(oid, text, text, text, jsonb, jsonb, text[]) IS 'Makes (present is NULL) or changes one object so that it is as wanted';

CREATE FUNCTION courier_internal.apply_config(caller oid, caller_path text, config jsonb, dry_run boolean, prune boolean) RETURNS TABLE (action text, kind text, name text, detail text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    me text := pg_get_userbyid(caller);
    k record;
    o record;
    step record;
    wanted jsonb;
    present jsonb;
    changed text[];
    wrong text;
    plan jsonb := '[]';
    entry jsonb;
BEGIN
    PERFORM courier_internal.require_value('config', apply_config.config), courier_internal.require_object('config', apply_config.config);
    IF COALESCE(config->'format', '1') <> '1' THEN
        RAISE EXCEPTION 'format % of the configuration is not known', config->'format' USING ERRCODE = '22023', DETAIL = 'This version reads format 1.';
    ELSIF jsonb_typeof(COALESCE(config->'prune', 'false')) <> 'boolean' THEN
        RAISE EXCEPTION '"prune" must be true or false' USING ERRCODE = '22023';
    END IF;
    prune := COALESCE(apply_config.prune, (config->'prune')::boolean, false);
    SELECT string_agg(format('"%s"', s), ', ') INTO wrong FROM jsonb_object_keys(config) s
     WHERE s NOT IN ('format', 'prune') AND NOT EXISTS (SELECT FROM courier_internal.config_kinds() c WHERE c.section = s);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'a configuration has no %', wrong USING ERRCODE = '22023',
            DETAIL = format('Allowed: format, prune, %s.', (SELECT string_agg(c.section, ', ' ORDER BY c.rank) FROM courier_internal.config_kinds() c));
    END IF;

    -- The plan: what the document wants, against what is there.
    FOR k IN SELECT c.* FROM courier_internal.config_kinds() c WHERE config ? c.section ORDER BY c.rank LOOP
        PERFORM courier_internal.require_object(k.section, config->k.section);
        FOR o IN SELECT e.key AS name, e.value AS settings FROM jsonb_each(config->k.section) e ORDER BY e.key LOOP
            IF jsonb_typeof(o.settings) <> 'object' THEN
                RAISE EXCEPTION '% "%" in the configuration must be a JSON object', k.kind, o.name USING ERRCODE = '22023';
            END IF;
            SELECT string_agg(format('"%s"', s), ', ') INTO wrong FROM jsonb_object_keys(o.settings) s WHERE NOT s = ANY (k.keys);
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION '% "%" in the configuration: there is no setting %', k.kind, o.name, wrong USING ERRCODE = '22023',
                    DETAIL = format('Allowed: %s.', array_to_string(k.keys, ', '));
            END IF;
            SELECT string_agg(format('"%s"', s), ', ') INTO wrong FROM unnest(k.required) s WHERE COALESCE(o.settings->s, 'null') = 'null';
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION '% "%" in the configuration needs %', k.kind, o.name, wrong USING ERRCODE = '22023';
            END IF;
            IF k.kind = 'destination' AND jsonb_path_exists(o.settings, 'strict $.secrets.* ? (@.type() != "object")', silent => true) THEN
                RAISE EXCEPTION 'destination "%" in the configuration: a secret must be a reference', o.name USING ERRCODE = '22023',
                    DETAIL = 'Allowed: {"file": "..."}, {"env": "..."}, or {"stored": true} for one that was given with courier.create_destination or courier.alter_destination.';
            END IF;
            SELECT c.settings || jsonb_build_object('owner', c.owner) INTO present FROM courier_internal.config_objects(caller) c WHERE c.kind = k.kind AND c.name = o.name;
            wanted := k.defaults || o.settings;
            IF NOT FOUND THEN
                present := NULL;
                IF COALESCE(wanted->>'owner', me) = me THEN
                    wanted := wanted - 'owner';
                END IF;
                plan := plan || jsonb_build_object('action', 'create', 'kind', k.kind, 'name', o.name, 'wanted', wanted, 'changed', CASE WHEN wanted ? 'owner' THEN '["owner"]' ELSE '[]' END::jsonb,
                    'detail', CASE k.kind WHEN 'sync' THEN format('%s -> %s', wanted->>'model', wanted->>'destination') WHEN 'destination' THEN wanted->>'type'
                                          WHEN 'model' THEN COALESCE(wanted->>'relation', left(wanted->>'query', 60)) WHEN 'alert' THEN wanted->>'kind' END);
            ELSE
                changed := courier_internal.config_difference(k.kind, present, wanted);
                IF changed <> '{}' THEN
                    plan := plan || jsonb_build_object('action', 'change', 'kind', k.kind, 'name', o.name, 'wanted', wanted, 'present', present, 'changed', to_jsonb(changed),
                        'detail', (SELECT string_agg(format('%s: %s -> %s', c, COALESCE(left(present->>c, 60), 'default'), COALESCE(left(wanted->>c, 60), 'default')), '; ' ORDER BY c) FROM unnest(changed) c));
                END IF;
            END IF;
        END LOOP;
    END LOOP;
    -- Pruned are only kinds that the document speaks of, and objects that the caller may drop.
    IF prune THEN
        FOR o IN SELECT c.kind, c.name FROM courier_internal.config_objects(caller) c JOIN courier_internal.config_kinds() d ON d.kind = c.kind
                  WHERE config ? d.section AND NOT config->d.section ? c.name AND courier_internal.may_configure(caller, c.owner)
                  ORDER BY d.rank DESC, c.name LOOP
            plan := plan || jsonb_build_object('action', 'drop', 'kind', o.kind, 'name', o.name);
        END LOOP;
    END IF;

    IF NOT dry_run THEN
        FOR entry IN SELECT jsonb_array_elements(plan) LOOP
            RAISE NOTICE '% % "%"%', entry->>'action', replace(entry->>'kind', '_', ' '), entry->>'name', COALESCE(': ' || (entry->>'detail'), '');
        END LOOP;
    END IF;

    BEGIN
        FOR step IN SELECT p.* FROM jsonb_to_recordset(plan) p (action text, kind text, name text, wanted jsonb, present jsonb, changed jsonb) LOOP
            CONTINUE WHEN step.action = 'drop' AND dry_run;
            IF step.action = 'drop' THEN
                CASE step.kind
                    WHEN 'source' THEN PERFORM courier_internal.drop_source(caller, caller_path, step.name);
                    WHEN 'destination_type' THEN PERFORM courier_internal.drop_destination_type(caller, caller_path, step.name);
                    WHEN 'model' THEN PERFORM courier_internal.drop_model(caller, caller_path, step.name);
                    WHEN 'destination' THEN PERFORM courier_internal.drop_destination(caller, caller_path, step.name);
                    WHEN 'sync' THEN PERFORM courier_internal.drop_sync(caller, caller_path, step.name);
                    -- Gone already where its sync went.
                    WHEN 'alert' THEN DELETE FROM courier_internal.alert a WHERE a.name = step.name;
                END CASE;
            ELSE
                PERFORM courier_internal.apply_object(caller, caller_path, step.kind, step.name, step.present, step.wanted, courier_internal.text_list(step.changed));
            END IF;
        END LOOP;
        FOR step IN SELECT p.* FROM jsonb_to_recordset(plan) p (action text, kind text, name text, wanted jsonb, changed jsonb)
                     WHERE p.kind = 'sync' AND p.wanted->>'schedule' ~* '^\s*after\s' AND (p.action = 'create' OR p.changed ? 'schedule') LOOP
            PERFORM courier_internal.alter_sync(caller, caller_path, step.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, step.wanted->>'schedule', NULL, NULL, NULL, '{}');
        END LOOP;
        IF dry_run THEN
            RAISE EXCEPTION 'a dry run' USING ERRCODE = 'DRYRU';
        END IF;
    EXCEPTION WHEN SQLSTATE 'DRYRU' THEN
        NULL; -- all of it is undone
    END;
    RETURN QUERY SELECT p.* FROM jsonb_to_recordset(plan) p (action text, kind text, name text, detail text);
END
$$;
COMMENT ON FUNCTION courier_internal.apply_config(oid, text, jsonb, boolean, boolean) IS 'Behind courier.apply_config';

CREATE FUNCTION courier.export_config() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.export_config() IS
'Every source, destination type, model, destination, sync and alert that you may see, as one document for courier.apply_config and for git. Settings at their defaults are left out. No secret is in it: only where it is ({"file": ...}, {"env": ...}), or {"stored": true}.

Example: psql -XAtc "SELECT jsonb_pretty(courier.export_config())" > courier.json';

CREATE FUNCTION courier.apply_config(config jsonb, dry_run boolean DEFAULT true, prune boolean DEFAULT NULL) RETURNS TABLE (action text, kind text, name text, detail text)
    LANGUAGE c VOLATILE ROWS 20 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.apply_config(jsonb, boolean, boolean) IS
'Makes objects as a document says, and returns what there was to do: create, change, drop. What is as it should be is left alone, so a second time there is nothing to do. Syncs keep their snapshots.

config   as from courier.export_config. What it leaves out of an object is the default (mode, sync_type, on_removed, first_run, primary_key and owner: as they are)
dry_run  true (default): everything is checked and tried, and undone; nothing is dropped. false: the plan is shown in NOTICEs, and carried out
prune    true: objects of yours that the document does not have are dropped, of the kinds that it speaks of; NULL: as "prune" in the document says (false)

All or nothing, with your rights: it calls courier.create_..., alter_... and drop_... as you. A secret {"stored": true} is left as it is, and is missing in a new destination.
Errors: 22023 the document is not right; and those of the functions that it calls.

Example: SELECT * FROM courier.apply_config(pg_read_file(''courier.json'')::jsonb)';
