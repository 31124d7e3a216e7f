-- Destinations, their secrets and types, and who else may use them.
--
-- What a type allows in config and which secrets it wants is decided in the library (check_destination); here are the rights and where
-- secrets come from. A value of a secret is never put into an error, and only a plain one is ever seen by SQL.

CREATE FUNCTION courier_internal.destination_definition(type text, OUT known boolean, OUT definition jsonb) RETURNS record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    SELECT t.definition INTO definition FROM courier_internal.destination_type t WHERE t.name = destination_definition.type;
    known := FOUND OR EXISTS (SELECT FROM courier_internal.builtin_destination_types() b WHERE b.name = destination_definition.type);
END
$$;
COMMENT ON FUNCTION courier_internal.destination_definition(text) IS 'Whether the type is known, and its definition; NULL: built in';

CREATE FUNCTION courier_internal.require_type(type text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_type record;
BEGIN
    PERFORM courier_internal.require_value('type', type);
    SELECT t.known, t.definition INTO found_type FROM courier_internal.destination_definition(type) t;
    IF NOT found_type.known THEN
        RAISE EXCEPTION 'destination type "%" does not exist', type USING ERRCODE = '42704',
            DETAIL = format('There is: %s.', (
                SELECT string_agg(n.name, ', ' ORDER BY n.name)
                  FROM (SELECT b.name FROM courier_internal.builtin_destination_types() b
                        UNION ALL SELECT t.name FROM courier_internal.destination_type t) n)),
            HINT = 'SELECT * FROM courier.destination_types. Type "http" serves any HTTP API, and courier.create_destination_type makes new types.';
    END IF;
    RETURN found_type.definition;
END
$$;
COMMENT ON FUNCTION courier_internal.require_type(text) IS 'The definition of a destination type, NULL for a built-in one; 22004 or 42704 otherwise';

CREATE FUNCTION courier_internal.check_secret(caller oid, name text, value jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    directory text := NULLIF(current_setting('pg_courier.secrets_directory', true), '');
    allowed_env text := COALESCE(current_setting('pg_courier.secret_env', true), '');
    kind text;
    place text;
    is_directory boolean;
BEGIN
    IF jsonb_typeof(value) = 'string' THEN
        IF value #>> '{}' = '' THEN
            RAISE EXCEPTION 'secret "%" is empty', name USING ERRCODE = '22023';
        END IF;
        RETURN '{"stored": true}';
    END IF;
    IF jsonb_typeof(value) = 'object' THEN
        SELECT min(k) INTO kind FROM jsonb_object_keys(value) k HAVING count(*) = 1;
    END IF;
    IF kind IS NULL OR kind NOT IN ('file', 'env') OR jsonb_typeof(value->kind) <> 'string' THEN
        RAISE EXCEPTION 'secret "%" must say where its value is', name USING ERRCODE = '22023',
            DETAIL = 'Allowed: {"file": "name"}, {"env": "NAME"}, or a plain string for trying out.';
    END IF;

    place := value->>kind;
    IF kind = 'file' THEN
        IF place = '' OR left(place, 1) = '/' OR place ~ '[[:cntrl:]\\]' OR string_to_array(place, '/') && ARRAY['', '.', '..'] THEN
            RAISE EXCEPTION 'secret "%": invalid file name "%"', name, place USING ERRCODE = '22023',
                DETAIL = 'The name is relative to pg_courier.secrets_directory: no leading /, no "." or "..", no empty parts.';
        ELSIF directory IS NULL THEN
            RAISE EXCEPTION 'secret "%" is in a file, but pg_courier.secrets_directory is not set', name USING ERRCODE = '55000',
                HINT = 'A superuser sets it: ALTER SYSTEM SET pg_courier.secrets_directory = ''/etc/pg_courier/secrets''; SELECT pg_reload_conf().';
        -- A directory that is named like a role is that role's.
        ELSIF strpos(place, '/') > 0 AND courier_internal.role_oid(split_part(place, '/', 1)) IS NOT NULL
            AND NOT courier_internal.is_member(caller, split_part(place, '/', 1)) THEN
            RAISE EXCEPTION 'secret "%": permission denied for file "%"', name, place USING ERRCODE = '42501',
                DETAIL = format('Files below "%s/" are for members of that role.', split_part(place, '/', 1));
        END IF;
        BEGIN
            SELECT f.isdir INTO is_directory FROM pg_stat_file(directory || '/' || place, true) f;
        EXCEPTION WHEN OTHERS THEN
            is_directory := NULL;
        END;
        IF is_directory IS NULL THEN
            RAISE EXCEPTION 'secret "%": file "%" does not exist', name, place USING ERRCODE = '58P01',
                DETAIL = 'It must be below pg_courier.secrets_directory, on the database server, readable by the server.';
        ELSIF is_directory THEN
            RAISE EXCEPTION 'secret "%": "%" is a directory', name, place USING ERRCODE = '42809';
        END IF;
    ELSIF NOT EXISTS (SELECT FROM regexp_split_to_table(allowed_env, '[\s,]+') e WHERE e = place AND e <> '') THEN
        RAISE EXCEPTION 'secret "%": environment variable "%" may not be read', name, place USING ERRCODE = '42501',
            DETAIL = 'Names that may be read stand in the setting pg_courier.secret_env.',
            HINT = format('A superuser allows it: ALTER SYSTEM SET pg_courier.secret_env = ''%s''; SELECT pg_reload_conf().',
                          concat_ws(', ', NULLIF(allowed_env, ''), place));
    END IF;
    RETURN value;
END
$$;
COMMENT ON FUNCTION courier_internal.check_secret(oid, text, jsonb) IS 'What courier_internal.destination.secrets keeps of a secret: the reference, or {"stored": true} for a plain string. Raises an error, which never shows a value, when the caller cannot use the reference';

CREATE FUNCTION courier_internal.store_secrets(destination_id integer, secrets jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    plain text;
BEGIN
    DELETE FROM courier_internal.secret s WHERE s.destination_id = store_secrets.destination_id AND s.name IN (SELECT k FROM jsonb_object_keys(secrets) k);
    INSERT INTO courier_internal.secret (destination_id, name, value)
    SELECT store_secrets.destination_id, e.key, e.value #>> '{}' FROM jsonb_each(secrets) e WHERE jsonb_typeof(e.value) = 'string';

    SELECT string_agg(format('"%s"', e.key), ', ' ORDER BY e.key) INTO plain FROM jsonb_each(secrets) e WHERE jsonb_typeof(e.value) = 'string';
    IF plain IS NOT NULL THEN
        RAISE NOTICE 'secret % stands in the SQL statement, so PostgreSQL may log it', plain USING
            HINT = 'In production use {"file": "name"} or {"env": "NAME"}: these show in no statement, log or dump.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.store_secrets(integer, jsonb) IS 'Keeps the plain ones of these secrets, as given by the user, and forgets the former values of all of them';

CREATE FUNCTION courier_internal.create_destination(caller oid, caller_path text, name text, type text, config jsonb, secrets jsonb, description text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
    definition jsonb;
    references_only jsonb;
    new_id integer;
BEGIN
    PERFORM courier_internal.check_name('destination', name);
    config := courier_internal.require_object('config', config);
    secrets := courier_internal.require_object('secrets', secrets);
    IF EXISTS (SELECT FROM courier_internal.destination d WHERE d.name = create_destination.name) THEN
        RAISE EXCEPTION 'destination "%" already exists', name USING ERRCODE = '42710',
            HINT = format('SELECT courier.alter_destination(%L, ...) changes it.', name);
    END IF;
    definition := courier_internal.require_type(type);
    SELECT COALESCE(jsonb_object_agg(e.key, courier_internal.check_secret(caller, e.key, e.value)), '{}') INTO references_only FROM jsonb_each(secrets) e;
    PERFORM courier_internal.check_destination(name, type, definition, config, ARRAY(SELECT k FROM jsonb_object_keys(references_only) k ORDER BY k));

    PERFORM courier_internal.grant_schemas(owner, false);
    BEGIN
        INSERT INTO courier_internal.destination AS d (name, type, config, secrets, description, owner)
        VALUES (create_destination.name, create_destination.type, create_destination.config, references_only, create_destination.description, owner)
        RETURNING d.destination_id INTO new_id;
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'destination "%" already exists', name USING ERRCODE = '42710';
    END;
    PERFORM courier_internal.store_secrets(new_id, secrets);
END
$$;
COMMENT ON FUNCTION courier_internal.create_destination(oid, text, text, text, jsonb, jsonb, text) IS 'Behind courier.create_destination';

CREATE FUNCTION courier_internal.share_destination(caller oid, caller_path text, name text, role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    role_name text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_value('role', role);
    PERFORM courier_internal.require_owner(caller, destination.owner, 'destination', name, 'sharing lends its credentials');
    SELECT r.rolname INTO role_name FROM pg_roles r WHERE r.oid = role::oid;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role with OID % does not exist', role::oid USING ERRCODE = '42704';
    END IF;
    INSERT INTO courier_internal.destination_share (destination_id, role) VALUES (destination.destination_id, role_name)
    ON CONFLICT ON CONSTRAINT destination_share_pkey DO NOTHING;
END
$$;
COMMENT ON FUNCTION courier_internal.share_destination(oid, text, text, regrole) IS 'Behind courier.share_destination';

CREATE FUNCTION courier_internal.syncs_without_right(destination_id integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.string_agg(pg_catalog.format('sync "%s" of role "%s"', s.name, o.owner), E'\n' ORDER BY s.name)
      FROM courier_internal.sync s, courier_internal.effective_owner(s.sync_id, s.owner) o (owner)
     WHERE s.destination_id = syncs_without_right.destination_id
       AND NOT COALESCE(courier_internal.may_use_destination(o.owner, s.destination_id), false)
$$;
COMMENT ON FUNCTION courier_internal.syncs_without_right(integer) IS 'The syncs that send to the destination although their owner may not use it (any more); NULL: none';

CREATE FUNCTION courier_internal.unshare_destination(caller oid, caller_path text, name text, role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    before text;
    after text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_value('role', role);
    PERFORM courier_internal.require_configure(caller, destination.owner, 'destination', name);
    before := courier_internal.syncs_without_right(destination.destination_id);
    DELETE FROM courier_internal.destination_share s
     USING pg_roles r
     WHERE s.destination_id = destination.destination_id AND r.oid = unshare_destination.role::oid AND s.role = r.rolname;
    IF NOT FOUND THEN
        RAISE NOTICE 'destination "%" was not shared with role "%"', name, pg_get_userbyid(role::oid);
    END IF;
    after := courier_internal.syncs_without_right(destination.destination_id);
    IF after IS DISTINCT FROM before THEN
        RAISE EXCEPTION 'cannot take destination "%" back from role "%" because syncs depend on it', name, pg_get_userbyid(role::oid) USING ERRCODE = '2BP01',
            DETAIL = after,
            HINT = 'Drop these syncs first, or give them another destination.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.unshare_destination(oid, text, text, regrole) IS 'Behind courier.unshare_destination';

CREATE FUNCTION courier_internal.create_destination_type(caller oid, caller_path text, name text, definition jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
BEGIN
    PERFORM courier_internal.check_name('destination type', name);
    PERFORM courier_internal.require_value('definition', definition);
    PERFORM courier_internal.require_object('definition', definition);
    IF (SELECT t.known FROM courier_internal.destination_definition(name) t) THEN
        RAISE EXCEPTION 'destination type "%" already exists', name USING ERRCODE = '42710';
    END IF;
    PERFORM courier_internal.check_destination_type(name, definition);
    PERFORM courier_internal.grant_schemas(owner, false);
    BEGIN
        INSERT INTO courier_internal.destination_type (name, definition, owner)
        VALUES (create_destination_type.name, create_destination_type.definition, owner);
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'destination type "%" already exists', name USING ERRCODE = '42710';
    END;
END
$$;
COMMENT ON FUNCTION courier_internal.create_destination_type(oid, text, text, jsonb) IS 'Behind courier.create_destination_type';

CREATE FUNCTION courier_internal.drop_destination_type(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_type courier_internal.destination_type;
    users text;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT t.* INTO found_type FROM courier_internal.destination_type t WHERE t.name = drop_destination_type.name FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM courier_internal.require_type(name);
        RAISE EXCEPTION 'destination type "%" is built in and cannot be dropped', name USING ERRCODE = '55000';
    END IF;
    PERFORM courier_internal.require_configure(caller, found_type.owner, 'destination type', name);
    SELECT string_agg(format('destination "%s"', d.name), E'\n' ORDER BY d.name) INTO users
      FROM courier_internal.destination d WHERE d.type = drop_destination_type.name;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop destination type "%" because destinations are of it', name USING ERRCODE = '2BP01', DETAIL = users;
    END IF;
    DELETE FROM courier_internal.destination_type t WHERE t.name = drop_destination_type.name;
    PERFORM courier_internal.revoke_schemas(found_type.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_destination_type(oid, text, text) IS 'Behind courier.drop_destination_type';
