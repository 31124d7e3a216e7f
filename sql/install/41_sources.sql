-- Sources. A source is a label with, at most, a foreign server behind it: models read foreign tables like any other.

INSERT INTO courier_internal.source (name, description, owner)
VALUES ('local', 'This database', current_user);

CREATE FUNCTION courier_internal.create_source(caller oid, caller_path text, name text, foreign_server name, description text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
BEGIN
    PERFORM courier_internal.check_name('source', name);
    IF foreign_server IS NOT NULL THEN
        PERFORM courier_internal.require_server(caller, foreign_server);
    END IF;
    PERFORM courier_internal.grant_schemas(owner, false);
    INSERT INTO courier_internal.source (name, foreign_server, description, owner)
    VALUES (create_source.name, create_source.foreign_server, create_source.description, owner);
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'source "%" already exists', name USING ERRCODE = '42710';
END
$$;
COMMENT ON FUNCTION courier_internal.create_source(oid, text, text, name, text) IS 'Behind courier.create_source';

CREATE FUNCTION courier_internal.require_server(caller oid, foreign_server name) RETURNS oid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    server oid;
BEGIN
    SELECT s.oid INTO server FROM pg_foreign_server s WHERE s.srvname = foreign_server;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'server "%" does not exist', foreign_server USING ERRCODE = '42704',
            HINT = 'CREATE SERVER makes one; in psql, \des lists them.';
    ELSIF NOT has_server_privilege(caller, server, 'USAGE') THEN
        RAISE EXCEPTION 'permission denied for foreign server %', foreign_server USING ERRCODE = '42501',
            HINT = format('GRANT USAGE ON FOREIGN SERVER %I TO %I', foreign_server, pg_get_userbyid(caller));
    END IF;
    RETURN server;
END
$$;
COMMENT ON FUNCTION courier_internal.require_server(oid, name) IS 'The foreign server, if it exists and the caller may use it; 42704 or 42501 otherwise';

CREATE FUNCTION courier_internal.may_use_source(caller oid, source courier_internal.source) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT source.name = 'local' OR courier_internal.is_member(caller, source.owner)
        OR COALESCE((SELECT pg_catalog.has_server_privilege(caller, s.oid, 'USAGE')
                       FROM pg_catalog.pg_foreign_server s WHERE s.srvname = source.foreign_server), false)
$$;
COMMENT ON FUNCTION courier_internal.may_use_source(oid, courier_internal.source) IS 'Whether models of the caller may name the source: local, its own, or with a foreign server that the caller may use';

CREATE FUNCTION courier_internal.check_source(caller oid, caller_path text, name text) RETURNS TABLE (ok boolean, message text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source courier_internal.source;
    server oid;
    caller_name text := pg_get_userbyid(caller);
    foreign_table text;
    probe text;
    is_postgres boolean;
    reason text;
BEGIN
    source := courier_internal.find_source(caller, name);
    IF source.name <> 'local' AND NOT courier_internal.may_see(caller, source.owner) AND NOT courier_internal.may_use_source(caller, source) THEN
        PERFORM courier_internal.require_owner(caller, source.owner, 'source', name);
    END IF;
    IF source.foreign_server IS NULL THEN
        RETURN QUERY SELECT true, 'this database'::text;
        RETURN;
    END IF;

    SELECT s.oid, w.fdwname = 'postgres_fdw' INTO server, is_postgres
      FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
     WHERE s.srvname = source.foreign_server;
    IF server IS NULL THEN
        RETURN QUERY SELECT false, format('server "%s" does not exist', source.foreign_server);
        RETURN;
    ELSIF NOT has_server_privilege(caller, server, 'USAGE') THEN
        RETURN QUERY SELECT false, format('role "%s" may not use server "%s": GRANT USAGE ON FOREIGN SERVER', caller_name, source.foreign_server);
        RETURN;
    END IF;

    -- A foreign table that the caller may read proves it on any wrapper.
    SELECT format('%I.%I', n.nspname, c.relname) INTO foreign_table
      FROM pg_foreign_table t
      JOIN pg_class c ON c.oid = t.ftrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE t.ftserver = server AND has_table_privilege(caller, c.oid, 'SELECT') AND has_schema_privilege(caller, n.oid, 'USAGE')
     ORDER BY c.oid LIMIT 1;
    IF foreign_table IS NULL AND NOT is_postgres THEN
        RETURN QUERY SELECT NULL::boolean,
            format('not proved: server "%s" exists and you may use it, but it has no foreign table that you may read, so it was not asked', source.foreign_server);
        RETURN;
    END IF;

    -- Every PostgreSQL has pg_catalog.pg_database, so there a foreign table is made for the occasion. The error at the end of the block
    -- takes it away again.
    BEGIN
        IF foreign_table IS NULL THEN
            probe := format('courier_models.%I', 'check_source ' || pg_backend_pid());
            EXECUTE format('CREATE FOREIGN TABLE %s (datname name) SERVER %I OPTIONS (schema_name ''pg_catalog'', table_name ''pg_database'')',
                           probe, source.foreign_server);
            EXECUTE format('GRANT SELECT ON %s TO %I', probe, caller_name);
        END IF;
        PERFORM FROM courier_internal.query_as(caller, caller_path, 'UTC', format('SELECT 1 FROM %s LIMIT 1', COALESCE(foreign_table, probe)));
        RAISE EXCEPTION USING ERRCODE = 'PCOK0', MESSAGE = 'it answers';
    EXCEPTION
        WHEN SQLSTATE 'PCOK0' THEN
            RETURN QUERY SELECT true, format('server "%s" answers%s', source.foreign_server,
                CASE WHEN foreign_table IS NOT NULL THEN ': ' || foreign_table || ' can be read' ELSE '' END);
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
            RETURN QUERY SELECT false, concat_ws(': ', SQLERRM, NULLIF(btrim(reason, E' \n'), ''));
    END;
END
$$;
COMMENT ON FUNCTION courier_internal.check_source(oid, text, text) IS 'Behind courier.check_source';
