-- Rejected and unknown records: try again, or let go.

CREATE FUNCTION courier_internal.key_object(columns text[], primary_key jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF pg_catalog.jsonb_typeof(primary_key) = 'object'
       AND (SELECT pg_catalog.array_agg(k ORDER BY k) FROM pg_catalog.jsonb_object_keys(primary_key) k)
         = (SELECT pg_catalog.array_agg(c ORDER BY c) FROM pg_catalog.unnest(columns) c) THEN
        RETURN primary_key;
    ELSIF pg_catalog.cardinality(columns) = 1 AND pg_catalog.jsonb_typeof(primary_key) <> 'object' THEN
        RETURN pg_catalog.jsonb_build_object(columns[1], primary_key);
    END IF;
    RAISE EXCEPTION 'primary_key % does not fit', primary_key USING ERRCODE = '22023',
        DETAIL = format('The primary key of the model is (%s).', pg_catalog.array_to_string(columns, ', ')),
        HINT = CASE WHEN pg_catalog.cardinality(columns) = 1 THEN 'Give an object with this key, or the value alone.' ELSE 'Give an object with these keys.' END;
END
$$;
COMMENT ON FUNCTION courier_internal.key_object(text[], jsonb) IS 'A primary key as an object from column to value; for a key of one column the value alone will do. 22023 when it does not fit';

CREATE FUNCTION courier_internal.same_key(stored jsonb, wanted jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stored = wanted OR (SELECT pg_catalog.bool_and(stored->>w.key = w.value) FROM pg_catalog.jsonb_each_text(wanted) w)
$$;
COMMENT ON FUNCTION courier_internal.same_key(jsonb, jsonb) IS 'Whether two primary keys are the same value, be it written as a JSON number or as text';

CREATE FUNCTION courier_internal.retry_rejected(caller oid, caller_path text, sync text, primary_key jsonb) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.sync;
    wanted jsonb;
    released bigint;
BEGIN
    PERFORM courier_internal.require_value('sync', sync);
    target := courier_internal.operable_sync(caller, sync);
    IF primary_key IS NOT NULL THEN
        SELECT courier_internal.key_object(m.primary_key, retry_rejected.primary_key) INTO wanted
          FROM courier_internal.model m WHERE m.model_id = target.model_id;
    END IF;
    -- An unknown record stays unknown until the next run has dealt with it.
    UPDATE courier_internal.rejected r SET next_attempt_at = pg_catalog.now()
     WHERE r.sync_id = target.sync_id AND r.outcome IN ('rejected', 'unknown')
       AND (wanted IS NULL OR courier_internal.same_key(r.primary_key, wanted));
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;
COMMENT ON FUNCTION courier_internal.retry_rejected(oid, text, text, jsonb) IS 'Behind courier.retry_rejected';

CREATE FUNCTION courier_internal.discard_rejected(caller oid, caller_path text, sync text, primary_key jsonb) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.sync;
    wanted jsonb;
    discarded bigint;
BEGIN
    PERFORM courier_internal.require_value('sync', sync);
    target := courier_internal.operable_sync(caller, sync);
    IF primary_key IS NOT NULL THEN
        SELECT courier_internal.key_object(m.primary_key, discard_rejected.primary_key) INTO wanted
          FROM courier_internal.model m WHERE m.model_id = target.model_id;
    END IF;
    -- The row stays, out of sight: were it deleted, the next comparison would find the record again and send it. It is not in the
    -- snapshot, so only a hash that differs from the one kept here is a reason to send it.
    UPDATE courier_internal.rejected r SET outcome = 'discarded', next_attempt_at = 'infinity', payload = NULL
     WHERE r.sync_id = target.sync_id AND r.outcome IN ('rejected', 'unknown')
       AND (wanted IS NULL OR courier_internal.same_key(r.primary_key, wanted));
    GET DIAGNOSTICS discarded = ROW_COUNT;
    RETURN discarded;
END
$$;
COMMENT ON FUNCTION courier_internal.discard_rejected(oid, text, text, jsonb) IS 'Behind courier.discard_rejected';
