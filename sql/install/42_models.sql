-- Models: a query or relation with a primary key.
--
-- A query becomes the view courier_models.<name>, made as the caller (execute_as), so that it is his, is parsed with his search_path and
-- reads with his rights. Nothing here evaluates a user's SQL as anybody but its owner.

CREATE FUNCTION courier_internal.relation_oid(schema_name text, relation_name text) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.oid
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = schema_name AND c.relname = relation_name AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
$$;
COMMENT ON FUNCTION courier_internal.relation_oid(text, text) IS 'The relation of a model; NULL: it is gone. Unlike to_regclass it needs no rights on the schema';

CREATE FUNCTION courier_internal.columns_of(relation oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
$$;
COMMENT ON FUNCTION courier_internal.columns_of(oid) IS 'The columns of a relation, in order';

CREATE FUNCTION courier_internal.own_primary_key(relation oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.position)
      FROM pg_catalog.pg_index i
      CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, position)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indrelid = relation AND i.indisprimary AND k.position <= i.indnkeyatts
$$;
COMMENT ON FUNCTION courier_internal.own_primary_key(oid) IS 'The columns of a table''s primary key; NULL: it has none';

CREATE FUNCTION courier_internal.base_type(type oid) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE below (oid, base) AS (
        SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = type
        UNION ALL
        SELECT t.oid, t.typbasetype FROM below b JOIN pg_catalog.pg_type t ON t.oid = b.base
    )
    SELECT b.oid FROM below b WHERE b.base = 0
$$;
COMMENT ON FUNCTION courier_internal.base_type(oid) IS 'The type below all domains';

CREATE FUNCTION courier_internal.check_key(kind text, name text, relation oid, primary_key text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    columns text[] := courier_internal.columns_of(relation);
    key_column text;
    key_type oid;
    full_type text;
BEGIN
    IF COALESCE(cardinality(primary_key), 0) = 0 OR array_ndims(primary_key) > 1 THEN
        RAISE EXCEPTION 'primary_key of % "%" must name at least one column', kind, name USING ERRCODE = '22023',
            DETAIL = format('Columns: %s.', array_to_string(columns, ', '));
    END IF;
    FOREACH key_column IN ARRAY primary_key LOOP
        IF key_column IS NULL THEN
            RAISE EXCEPTION 'primary_key of % "%" must not contain NULL', kind, name USING ERRCODE = '22004';
        ELSIF (SELECT count(*) > 1 FROM unnest(primary_key) k WHERE k = key_column) THEN
            RAISE EXCEPTION 'primary_key of % "%" names column "%" twice', kind, name, key_column USING ERRCODE = '22023';
        END IF;
        SELECT a.atttypid, format_type(a.atttypid, a.atttypmod) INTO key_type, full_type
          FROM pg_attribute a
         WHERE a.attrelid = relation AND a.attname = key_column AND a.attnum > 0 AND NOT a.attisdropped;
        IF NOT FOUND THEN
            PERFORM courier_internal.raise_error('42703', format('column "%s" of the primary key does not exist in %s "%s"', key_column, kind, name),
                format('Columns: %s.', array_to_string(columns, ', ')),
                CASE WHEN lower(key_column) = ANY (columns) THEN format('There is a column "%s", in lower case.', lower(key_column)) END);
        END IF;
        -- Keys are sorted and compared. PostgreSQL finds the operator, also inside arrays and composites; a NULL of the type below all
        -- domains runs no function of anybody.
        BEGIN
            EXECUTE format('SELECT n.v FROM (SELECT NULL::%s AS v) n ORDER BY 1', format_type(courier_internal.base_type(key_type), NULL));
        EXCEPTION WHEN undefined_function OR datatype_mismatch OR indeterminate_datatype THEN
            RAISE EXCEPTION 'column "%" of type % cannot be a primary key', key_column, full_type USING ERRCODE = '42P17',
                DETAIL = format('Values of type %s cannot be sorted and compared.', full_type),
                HINT = format('Use another column, or a query that casts it, for example %I::text.', key_column);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.check_key(text, text, oid, text[]) IS 'Raises 22023, 42703 or 42P17 when these columns cannot be the primary key of a model over the relation';

CREATE FUNCTION courier_internal.check_relation(caller oid, name text, relation oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    class record;
BEGIN
    SELECT c.oid, c.relkind, c.relpersistence, n.nspname, format('%I.%I', n.nspname, c.relname) AS label INTO class
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'relation with OID % does not exist', relation USING ERRCODE = '42P01';
    ELSIF class.relkind NOT IN ('r', 'v', 'm', 'p', 'f') THEN
        RAISE EXCEPTION 'relation % cannot be a model', class.label USING ERRCODE = '42809',
            DETAIL = 'A model is a table, partitioned table, foreign table, view or materialized view.';
    ELSIF class.relpersistence = 't' THEN
        RAISE EXCEPTION 'temporary relation "%" cannot be a model', class.label USING ERRCODE = '42P16',
            DETAIL = 'Runs happen in a session of their own, which does not see it.';
    ELSIF class.nspname IN ('courier_data', 'courier_internal') THEN
        RAISE EXCEPTION 'relation % cannot be a model', class.label USING ERRCODE = '42501',
            DETAIL = 'The schemas courier_data and courier_internal belong to pg_courier.';
    ELSIF NOT has_table_privilege(caller, relation, 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for relation %', class.label USING ERRCODE = '42501',
            HINT = format('GRANT SELECT ON %s TO %I', class.label, pg_get_userbyid(caller));
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_relation(oid, text, oid) IS 'Raises an error when the relation cannot be a model of the caller''s';

CREATE FUNCTION courier_internal.create_model_view(owner oid, search_path text, name text, query text, replace boolean) RETURNS oid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM courier_internal.check_query(query);
    PERFORM courier_internal.execute_as(owner, search_path, NULL,
        format('CREATE %sVIEW courier_models.%I AS %s', CASE WHEN replace THEN 'OR REPLACE ' ELSE '' END, name, query));
    RETURN courier_internal.relation_oid('courier_models', name);
END
$$;
COMMENT ON FUNCTION courier_internal.create_model_view(oid, text, text, text, boolean) IS 'Makes the view of a model as its owner, and returns it. Errors of the query are the query''s own';

CREATE FUNCTION courier_internal.drop_model_view(name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    dependents text;
BEGIN
    EXECUTE format('DROP VIEW IF EXISTS courier_models.%I', name);
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS dependents = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'cannot drop view courier_models.% of model "%" because other objects depend on it', quote_ident(name), name USING ERRCODE = '2BP01',
        DETAIL = dependents, HINT = 'Drop these first.';
END
$$;
COMMENT ON FUNCTION courier_internal.drop_model_view(text) IS 'Drops the view of a model; 2BP01 while other objects depend on it';

CREATE FUNCTION courier_internal.check_model_source(caller oid, source text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wanted courier_internal.source;
BEGIN
    wanted := courier_internal.find_source(caller, COALESCE(source, 'local'));
    IF NOT courier_internal.may_use_source(caller, wanted) THEN
        PERFORM courier_internal.raise_error('42501', format('permission denied for source "%s"', wanted.name),
            format('It belongs to role "%s".', wanted.owner),
            CASE WHEN wanted.foreign_server IS NOT NULL THEN format('Whoever may use foreign server "%s" may use the source.', wanted.foreign_server) END);
    END IF;
    RETURN wanted.name;
END
$$;
COMMENT ON FUNCTION courier_internal.check_model_source(oid, text) IS 'The name of the source, "local" for NULL; 42704 or 42501 when the caller cannot use it';

CREATE FUNCTION courier_internal.create_model(caller oid, caller_path text, name text, query text, primary_key text[], relation regclass,
        source text, description text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
    model_relation oid;
    model_key text[] := primary_key;
    stored_source text;
    place record;
BEGIN
    PERFORM courier_internal.check_name('model', name);
    IF query IS NULL AND relation IS NULL THEN
        RAISE EXCEPTION 'model "%" needs a query or a relation', name USING ERRCODE = '22023',
            HINT = 'Give one of them: query => ''SELECT ...'' or relation => ''a_table''.';
    ELSIF query IS NOT NULL AND relation IS NOT NULL THEN
        RAISE EXCEPTION 'model "%" cannot have both a query and a relation', name USING ERRCODE = '22023',
            HINT = 'Give one of them: query => ''SELECT ...'' or relation => ''a_table''.';
    ELSIF EXISTS (SELECT FROM courier_internal.model m WHERE m.name = create_model.name) THEN
        RAISE EXCEPTION 'model "%" already exists', name USING ERRCODE = '42710',
            HINT = format('SELECT courier.alter_model(%L, ...) changes it.', name);
    ELSIF query IS NOT NULL AND primary_key IS NULL THEN
        RAISE EXCEPTION 'model "%" needs a primary_key', name USING ERRCODE = '22023',
            HINT = 'Name the columns of the query that identify a row, for example primary_key => ''{id}''.';
    END IF;
    stored_source := courier_internal.check_model_source(caller, source);
    PERFORM courier_internal.grant_schemas(owner, false);

    IF relation IS NOT NULL THEN
        PERFORM courier_internal.check_relation(caller, name, relation);
        model_relation := relation;
        model_key := COALESCE(primary_key, courier_internal.own_primary_key(relation));
        IF model_key IS NULL THEN
            RAISE EXCEPTION 'model "%" needs a primary_key', name USING ERRCODE = '22023',
                DETAIL = format('%s has no primary key of its own.', relation),
                HINT = 'Name the columns that identify a row, for example primary_key => ''{id}''.';
        END IF;
    ELSE
        model_relation := courier_internal.create_model_view(caller, caller_path, name, query, false);
    END IF;
    PERFORM courier_internal.check_key('model', name, model_relation, model_key);

    SELECT n.nspname, c.relname INTO place FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = model_relation;
    BEGIN
        INSERT INTO courier_internal.model (name, source, query, relation_schema, relation_name, primary_key, description, owner)
        VALUES (create_model.name, stored_source, create_model.query, place.nspname, place.relname, model_key, create_model.description, owner);
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'model "%" already exists', name USING ERRCODE = '42710';
    END;
END
$$;
COMMENT ON FUNCTION courier_internal.create_model(oid, text, text, text, text[], regclass, text, text) IS 'Behind courier.create_model';

CREATE FUNCTION courier_internal.readable_model(caller oid, name text) RETURNS courier_internal.model
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
BEGIN
    model := courier_internal.find_model(caller, name);
    IF NOT courier_internal.may_see(caller, model.owner) THEN
        RAISE EXCEPTION 'permission denied for model "%"', name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', model.owner),
            HINT = format('Members of role "%s" and of courier_viewer may do this.', model.owner);
    ELSIF courier_internal.role_oid(model.owner) IS NULL THEN
        RAISE EXCEPTION 'the owner of model "%" does not exist', name USING ERRCODE = '42704',
            DETAIL = format('It belongs to role "%s".', model.owner),
            HINT = format('SELECT courier.alter_model(%L, owner => ...)', name);
    ELSIF courier_internal.relation_oid(model.relation_schema, model.relation_name) IS NULL THEN
        RAISE EXCEPTION 'the relation of model "%" does not exist', name USING ERRCODE = '42P01',
            DETAIL = format('It was %I.%I.', model.relation_schema, model.relation_name),
            HINT = format('SELECT courier.alter_model(%L, ...) gives the model another query or relation.', name);
    END IF;
    RETURN model;
END
$$;
COMMENT ON FUNCTION courier_internal.readable_model(oid, text) IS 'The model, if the caller may see it and it can be read now; 42704, 42501 or 42P01 otherwise';

-- Functions inside a model find what they call by search_path. Somebody who may look but is no member of the owning role must not choose
-- it: he would choose the code that runs as the owner.
CREATE FUNCTION courier_internal.model_search_path(caller oid, caller_path text, model courier_internal.model) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE
        WHEN courier_internal.is_member(caller, model.owner) THEN caller_path
        ELSE COALESCE((SELECT s.search_path FROM courier_internal.sync s
                        WHERE s.model_id = model.model_id AND courier_internal.effective_owner(s.sync_id, s.owner) = model.owner
                        ORDER BY s.sync_id LIMIT 1), 'pg_catalog')
    END
$$;
COMMENT ON FUNCTION courier_internal.model_search_path(oid, text, courier_internal.model) IS 'The search_path to read a model with: the caller''s for members of the owning role, else that of the owner''s oldest sync of it';

CREATE FUNCTION courier_internal.preview_model(caller oid, caller_path text, name text, max_rows integer) RETURNS SETOF jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
BEGIN
    model := courier_internal.readable_model(caller, name);
    IF max_rows < 0 THEN
        RAISE EXCEPTION 'max_rows must not be negative: %', max_rows USING ERRCODE = '22023';
    END IF;
    RETURN QUERY
        SELECT q.line::jsonb
          FROM courier_internal.query_as(courier_internal.role_oid(model.owner), courier_internal.model_search_path(caller, caller_path, model), 'UTC',
                   format('SELECT pg_catalog.to_jsonb(courier_row)::text FROM (SELECT * FROM %I.%I LIMIT %s) AS courier_row',
                          model.relation_schema, model.relation_name, COALESCE(max_rows, 10))) AS q (line);
END
$$;
COMMENT ON FUNCTION courier_internal.preview_model(oid, text, text, integer) IS 'Behind courier.preview_model';

CREATE FUNCTION courier_internal.check_model(caller oid, caller_path text, name text)
    RETURNS TABLE (row_count bigint, null_keys bigint, duplicate_keys bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    relation oid;
    key_list text;
BEGIN
    model := courier_internal.readable_model(caller, name);
    relation := courier_internal.relation_oid(model.relation_schema, model.relation_name);
    PERFORM courier_internal.check_key('model', name, relation, model.primary_key);
    SELECT string_agg(format('courier_row.%I', k.key_column), ', ' ORDER BY k.position) INTO key_list
      FROM unnest(model.primary_key) WITH ORDINALITY k (key_column, position);
    -- num_nulls and not IS NULL, which is true for a composite of NULLs.
    RETURN QUERY
        SELECT (q.line::json->>0)::bigint, (q.line::json->>1)::bigint, (q.line::json->>2)::bigint
          FROM courier_internal.query_as(courier_internal.role_oid(model.owner), courier_internal.model_search_path(caller, caller_path, model), 'UTC',
                   format('SELECT pg_catalog.json_build_array(COALESCE(pg_catalog.sum(k.copies), 0), '
                              'COALESCE(pg_catalog.sum(k.copies) FILTER (WHERE k.is_null), 0), '
                              'pg_catalog.count(*) FILTER (WHERE k.copies > 1 AND NOT k.is_null))::text '
                          'FROM (SELECT pg_catalog.count(*) AS copies, pg_catalog.num_nulls(%s) > 0 AS is_null FROM %I.%I AS courier_row GROUP BY %s) k',
                          key_list, model.relation_schema, model.relation_name, key_list)) AS q (line);
END
$$;
COMMENT ON FUNCTION courier_internal.check_model(oid, text, text) IS 'Behind courier.check_model';
