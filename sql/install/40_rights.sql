-- Who may do what, and the checks that every object shares.
--
-- The functions behind the API run as the extension's owner and get the caller as an OID from the door, so every right is asked for by
-- that OID and never by current_user. Owners are stored as names, because dumps carry names; a name whose role is gone belongs to
-- nobody but administrators, and never makes a function or a view fail.
--
-- Where PostgreSQL knows better, it is asked: the view of a model and the snapshot table of a sync are owned by the object's owner and
-- follow REASSIGN OWNED and ALTER ROLE ... RENAME, so their owner counts before the stored name (model_owner, effective_owner).

CREATE FUNCTION courier_internal.role_oid(role text) RETURNS oid
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_catalog.to_regrole(pg_catalog.quote_ident(role))::oid $$;
COMMENT ON FUNCTION courier_internal.role_oid(text) IS 'The role of this name; NULL: there is none (any more)';

CREATE FUNCTION courier_internal.has_courier_role(caller oid, role text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.pg_has_role(caller, pg_catalog.to_regrole(pg_catalog.quote_ident(role)), 'MEMBER'), false)
        OR COALESCE((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = caller), false)
$$;
COMMENT ON FUNCTION courier_internal.has_courier_role(oid, text) IS 'Whether the caller is a member of courier_viewer, courier_operator or courier_admin; superusers are members of all, even where the role was dropped';

CREATE FUNCTION courier_internal.is_member(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.pg_has_role(caller, pg_catalog.to_regrole(pg_catalog.quote_ident(owner)), 'MEMBER'),
                    courier_internal.has_courier_role(caller, 'courier_admin'))
$$;
COMMENT ON FUNCTION courier_internal.is_member(oid, text) IS 'Whether the caller is a member of the owning role (superusers are of every role). An owner that no longer exists: whether the caller is an administrator';

CREATE FUNCTION courier_internal.may_see(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT courier_internal.is_member(caller, owner) OR courier_internal.has_courier_role(caller, 'courier_viewer') $$;
COMMENT ON FUNCTION courier_internal.may_see(oid, text) IS 'Whether the caller may see an object of this owner: a member of the owning role or of courier_viewer';

CREATE FUNCTION courier_internal.may_operate(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT courier_internal.is_member(caller, owner) OR courier_internal.has_courier_role(caller, 'courier_operator') $$;
COMMENT ON FUNCTION courier_internal.may_operate(oid, text) IS 'Whether the caller may run, cancel, pause and approve a sync of this owner: a member of the owning role or of courier_operator';

CREATE FUNCTION courier_internal.may_configure(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT courier_internal.is_member(caller, owner) OR courier_internal.has_courier_role(caller, 'courier_admin') $$;
COMMENT ON FUNCTION courier_internal.may_configure(oid, text) IS 'Whether the caller may reconfigure and drop an object of this owner: a member of the owning role or of courier_admin';

-- The filter of the views. Views run functions with the rights of whoever reads them, so this one and what it rests on read catalogs
-- only, and it is the one place where current_user is the right thing to ask. It calls nothing of courier_internal: only functions that
-- a view names are granted to PUBLIC.
CREATE FUNCTION courier_internal.visible(owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole(pg_catalog.quote_ident(owner)), 'MEMBER'), false)
        OR COALESCE(pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole('courier_viewer'), 'MEMBER'), false)
        OR COALESCE((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user), false)
$$;
COMMENT ON FUNCTION courier_internal.visible(text) IS 'Whether the current role may see rows of this owner in the views: a member of the owning role or of courier_viewer';

CREATE FUNCTION courier_internal.require_owner(caller oid, owner text, kind text, name text, action text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT courier_internal.is_member(caller, owner) THEN
        RAISE EXCEPTION 'permission denied for % "%"', kind, name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s"%s.', owner, CASE WHEN action IS NOT NULL THEN ', and ' || action ELSE '' END),
            HINT = format('Members of role "%s" may do this.', owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_owner(oid, text, text, text, text) IS 'Raises 42501 unless the caller is a member of the owning role';

CREATE FUNCTION courier_internal.require_configure(caller oid, owner text, kind text, name text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT courier_internal.may_configure(caller, owner) THEN
        RAISE EXCEPTION 'permission denied for % "%"', kind, name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', owner),
            HINT = format('Members of role "%s" and of courier_admin may do this.', owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_configure(oid, text, text, text) IS 'Raises 42501 unless the caller is a member of the owning role or of courier_admin';

CREATE FUNCTION courier_internal.may_use_destination(sync_owner text, destination_id integer) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(courier_internal.is_member(o.role, d.owner), false)
        OR EXISTS (SELECT FROM courier_internal.destination_share h
                    WHERE h.destination_id = d.destination_id
                      AND pg_catalog.pg_has_role(o.role, courier_internal.role_oid(h.role), 'MEMBER'))
      FROM courier_internal.destination d, courier_internal.role_oid(sync_owner) o (role)
     WHERE d.destination_id = may_use_destination.destination_id AND o.role IS NOT NULL
$$;
COMMENT ON FUNCTION courier_internal.may_use_destination(text, integer) IS 'Whether syncs of this owner may send to the destination: the owner is a member of its owner, or of a role that it is shared with. NULL (not true): the owner or the destination does not exist';

-- Finding objects by name. An object that somebody may not touch is told from one that does not exist: names are unique in the
-- database, so creating one would tell them apart anyway.

-- RAISE takes no NULL for DETAIL and HINT, and shows an empty one as an empty line.
CREATE FUNCTION courier_internal.raise_error(code text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF detail IS NULL AND hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
    ELSIF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
    ELSIF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
    ELSE
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.raise_error(text, text, text, text) IS 'An error whose detail or hint may be missing';

CREATE FUNCTION courier_internal.require_value(argument text, value anyelement) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF value IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be NULL', argument USING ERRCODE = '22004';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_value(text, anyelement) IS 'Raises 22004, naming the argument, when the value is NULL';

CREATE FUNCTION courier_internal.check_name(kind text, name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM courier_internal.require_value('name', name);
    IF name = '' OR name ~ '[[:cntrl:]]' OR name <> btrim(name) THEN
        RAISE EXCEPTION 'invalid name for a %: "%"', kind, name USING ERRCODE = '42602',
            DETAIL = 'A name is not empty, has no control characters, and neither begins nor ends with a space.';
    ELSIF octet_length(name) > 63 THEN
        RAISE EXCEPTION 'name of the % is too long: "%"', kind, name USING ERRCODE = '42622',
            DETAIL = format('It has %s bytes. A name has at most 63.', octet_length(name));
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_name(text, text) IS 'Raises 22004, 42602 or 42622 when this cannot name an object';

CREATE FUNCTION courier_internal.raise_unknown(kind text, name text, known text[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION '% "%" does not exist', kind, name USING ERRCODE = '42704',
        HINT = CASE
            WHEN cardinality(known) = 0 OR known IS NULL THEN format('There is none that you may see. SELECT * FROM courier.%ss', kind)
            WHEN cardinality(known) <= 10 THEN format('There is: %s.', array_to_string(known, ', '))
            ELSE format('There is: %s, and %s more. SELECT name FROM courier.%ss', array_to_string(known[1:10], ', '), cardinality(known) - 10, kind)
        END;
END
$$;
COMMENT ON FUNCTION courier_internal.raise_unknown(text, text, text[]) IS 'Raises 42704 for an object that does not exist, with the names that the caller may see';

CREATE FUNCTION courier_internal.find_source(caller oid, name text) RETURNS courier_internal.source
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_source courier_internal.source;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT s.* INTO found_source FROM courier_internal.source s WHERE s.name = find_source.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown('source', name, ARRAY(
            SELECT s.name FROM courier_internal.source s WHERE s.name = 'local' OR courier_internal.may_see(caller, s.owner) ORDER BY s.name));
    END IF;
    RETURN found_source;
END
$$;
COMMENT ON FUNCTION courier_internal.find_source(oid, text) IS 'The source of this name; 22004 or 42704 otherwise. Checks no rights';

CREATE FUNCTION courier_internal.model_owner(model courier_internal.model) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(
        (SELECT pg_catalog.pg_get_userbyid(c.relowner)::text
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE model.query IS NOT NULL AND n.nspname = model.relation_schema AND c.relname = model.relation_name AND c.relkind = 'v'),
        model.owner)
$$;
COMMENT ON FUNCTION courier_internal.model_owner(courier_internal.model) IS 'Who owns a model: for a query the owner of its view, which follows REASSIGN OWNED and ALTER ROLE ... RENAME; else the stored name';

CREATE FUNCTION courier_internal.find_model(caller oid, name text) RETURNS courier_internal.model
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_model courier_internal.model;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT m.* INTO found_model FROM courier_internal.model m WHERE m.name = find_model.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown('model', name, ARRAY(
            SELECT m.name FROM courier_internal.model m WHERE courier_internal.may_see(caller, m.owner) ORDER BY m.name));
    END IF;
    found_model.owner := courier_internal.model_owner(found_model);
    RETURN found_model;
END
$$;
COMMENT ON FUNCTION courier_internal.find_model(oid, text) IS 'The model of this name, with its effective owner; 22004 or 42704 otherwise. Checks no rights';

CREATE FUNCTION courier_internal.find_destination(caller oid, name text) RETURNS courier_internal.destination
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_destination courier_internal.destination;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT d.* INTO found_destination FROM courier_internal.destination d WHERE d.name = find_destination.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown('destination', name, ARRAY(
            SELECT d.name
              FROM courier_internal.destination d
             WHERE courier_internal.may_see(caller, d.owner)
                OR courier_internal.may_use_destination(pg_get_userbyid(caller)::text, d.destination_id)
             ORDER BY d.name));
    END IF;
    RETURN found_destination;
END
$$;
COMMENT ON FUNCTION courier_internal.find_destination(oid, text) IS 'The destination of this name; 22004 or 42704 otherwise. Checks no rights';

CREATE FUNCTION courier_internal.raise_unknown_sync(caller oid, name text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM courier_internal.raise_unknown('sync', name, ARRAY(
        SELECT s.name FROM courier_internal.sync s
         WHERE courier_internal.may_see(caller, courier_internal.effective_owner(s.sync_id, s.owner)) ORDER BY s.name));
END
$$;
COMMENT ON FUNCTION courier_internal.raise_unknown_sync(oid, text) IS 'Raises 42704 for a sync that does not exist, with the names that the caller may see';

CREATE FUNCTION courier_internal.find_sync(caller oid, name text) RETURNS courier_internal.sync
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_sync courier_internal.sync;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT s.* INTO found_sync FROM courier_internal.sync s WHERE s.name = find_sync.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown_sync(caller, name);
    END IF;
    found_sync.owner := courier_internal.effective_owner(found_sync.sync_id, found_sync.owner);
    RETURN found_sync;
END
$$;
COMMENT ON FUNCTION courier_internal.find_sync(oid, text) IS 'The sync of this name, with its effective owner; 22004 or 42704 otherwise. Checks no rights';

-- Rights that objects need in the schemas where their views and snapshots live. They are also what makes DROP ROLE refuse the owner of
-- an object, so they are given even to roles that do not need them, and taken back with the role's last object.

CREATE FUNCTION courier_internal.grant_schemas(owner text, create_data boolean) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role oid := courier_internal.role_oid(owner);
    missing text[];
BEGIN
    -- Two grants on one schema at the same time end in "tuple concurrently updated": look, then lock, then look again.
    FOR turn IN 1..2 LOOP
        SELECT array_agg(format('GRANT %s ON SCHEMA %I TO %I', w.privilege, n.nspname, owner)) INTO missing
          FROM (VALUES ('courier_models', 'USAGE', true), ('courier_models', 'CREATE', true),
                       ('courier_data', 'USAGE', true), ('courier_data', 'CREATE', create_data)) w (schema_name, privilege, wanted)
          JOIN pg_namespace n ON n.nspname = w.schema_name
         WHERE w.wanted AND n.nspowner <> role
           AND NOT EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = role AND a.privilege_type = w.privilege);
        EXIT WHEN missing IS NULL;
        IF turn = 1 THEN
            PERFORM pg_advisory_xact_lock('courier_internal.grant_schemas(text,boolean)'::regprocedure::oid::bigint);
        END IF;
    END LOOP;
    FOR turn IN 1..COALESCE(cardinality(missing), 0) LOOP
        EXECUTE missing[turn];
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.grant_schemas(text, boolean) IS 'Gives the owner of an object USAGE and CREATE on courier_models and USAGE (create_data: also CREATE) on courier_data, where it lacks them';

CREATE FUNCTION courier_internal.revoke_schemas(owner text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role oid := courier_internal.role_oid(owner);
    schema_name text;
BEGIN
    IF role IS NULL
        OR EXISTS (SELECT FROM courier_internal.source s WHERE s.owner = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.model m WHERE courier_internal.model_owner(m) = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.destination_type t WHERE t.owner = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.destination d WHERE d.owner = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.sync s WHERE courier_internal.effective_owner(s.sync_id, s.owner) = revoke_schemas.owner) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock('courier_internal.grant_schemas(text,boolean)'::regprocedure::oid::bigint);
    FOR schema_name IN
        SELECT n.nspname FROM pg_namespace n
         WHERE n.nspname IN ('courier_models', 'courier_data') AND n.nspowner <> role
           AND EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = role)
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', schema_name, owner);
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.revoke_schemas(text) IS 'Takes back what grant_schemas gave, when the role owns no object any more';

-- Settings that are merged and put back.

CREATE FUNCTION courier_internal.require_object(argument text, value jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF jsonb_typeof(value) <> 'object' THEN
        RAISE EXCEPTION '"%" must be a JSON object, not %', argument,
            CASE WHEN jsonb_typeof(value) IN ('array') THEN 'an array' WHEN jsonb_typeof(value) = 'null' THEN 'null' ELSE 'a ' || jsonb_typeof(value) END
            USING ERRCODE = '22023';
    END IF;
    RETURN COALESCE(value, '{}');
END
$$;
COMMENT ON FUNCTION courier_internal.require_object(text, jsonb) IS 'The object, {} for NULL; raises 22023, naming the argument, for any other JSON';

CREATE FUNCTION courier_internal.merge_settings(settings jsonb, changes jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.jsonb_object_agg(e.key, e.value) FILTER (WHERE pg_catalog.jsonb_typeof(e.value) <> 'null'), '{}')
      FROM pg_catalog.jsonb_each(settings || COALESCE(changes, '{}')) e
$$;
COMMENT ON FUNCTION courier_internal.merge_settings(jsonb, jsonb) IS 'settings with changes laid over them, key by key; a JSON null removes the key';

CREATE FUNCTION courier_internal.check_reset(reset text[], allowed text[], given text[]) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('"%s"', r), ', ') INTO wrong FROM unnest(reset) r WHERE r IS NULL OR NOT r = ANY (allowed);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'cannot reset %', wrong USING ERRCODE = '22023', DETAIL = format('Can be reset: %s.', array_to_string(allowed, ', '));
    END IF;
    SELECT string_agg(format('"%s"', r), ', ') INTO wrong FROM unnest(reset) r WHERE r = ANY (given);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be given a value and be reset at the same time', wrong USING ERRCODE = '22023';
    END IF;
    RETURN COALESCE(reset, '{}');
END
$$;
COMMENT ON FUNCTION courier_internal.check_reset(text[], text[], text[]) IS 'The names to reset; raises 22023 for names that are not settings or that were given a value as well';
