-- The internal halves of what can be asked of a sync without running it.

CREATE FUNCTION courier_internal.create_snapshot_table(sync_id integer) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_create_snapshot_table';
COMMENT ON FUNCTION courier_internal.create_snapshot_table(integer) IS 'Makes courier_data.snapshot_<sync_id>, owned by the sync''s owner';

CREATE FUNCTION courier_internal.plan_counts(name text)
    RETURNS TABLE (added bigint, changed bigint, removed bigint, unchanged bigint, invalid bigint)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_plan_counts';
COMMENT ON FUNCTION courier_internal.plan_counts(text) IS 'Compares as a run does and rolls it back';

CREATE FUNCTION courier_internal.preview_requests(name text, max_requests integer)
    RETURNS TABLE (change text, operation text, records integer, method text, url text, headers jsonb, body text)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_preview_requests';
COMMENT ON FUNCTION courier_internal.preview_requests(text, integer) IS 'The first requests that a run would send, secrets redacted';

CREATE FUNCTION courier_internal.accepted_records(name text) RETURNS TABLE (ordinal bigint, record jsonb)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_accepted_records';
COMMENT ON FUNCTION courier_internal.accepted_records(text) IS 'The snapshot of a sync, one object a record';

CREATE FUNCTION courier_internal.plan_sync(caller oid, caller_path text, name text)
    RETURNS TABLE (added bigint, changed bigint, removed bigint, unchanged bigint, invalid bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM courier_internal.operable_sync(caller, plan_sync.name);
    RETURN QUERY SELECT p.* FROM courier_internal.plan_counts(plan_sync.name) p;
END
$$;
COMMENT ON FUNCTION courier_internal.plan_sync(oid, text, text) IS 'Behind courier.plan_sync';

CREATE FUNCTION courier_internal.preview_sync(caller oid, caller_path text, name text, max_requests integer)
    RETURNS TABLE (change text, operation text, records integer, method text, url text, headers jsonb, body text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM courier_internal.operable_sync(caller, preview_sync.name);
    IF COALESCE(preview_sync.max_requests, 0) < 1 THEN
        RAISE EXCEPTION 'max_requests must be at least 1' USING ERRCODE = '22023';
    END IF;
    RETURN QUERY SELECT p.* FROM courier_internal.preview_requests(preview_sync.name, preview_sync.max_requests) p;
END
$$;
COMMENT ON FUNCTION courier_internal.preview_sync(oid, text, text, integer) IS 'Behind courier.preview_sync';

CREATE FUNCTION courier_internal.snapshot(caller oid, caller_path text, sync text) RETURNS SETOF jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_sync courier_internal.sync := courier_internal.find_sync(caller, snapshot.sync);
BEGIN
    IF NOT courier_internal.may_see(caller, found_sync.owner) THEN
        RAISE EXCEPTION 'permission denied for sync "%"', found_sync.name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', found_sync.owner),
            HINT = format('Members of role "%s" and of courier_viewer may do this.', found_sync.owner);
    END IF;
    RETURN QUERY SELECT a.record FROM courier_internal.accepted_records(snapshot.sync) a ORDER BY a.ordinal;
END
$$;
COMMENT ON FUNCTION courier_internal.snapshot(oid, text, text) IS 'Behind courier.snapshot';
