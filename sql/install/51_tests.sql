-- Tests that really send: a worker does it while the caller waits, apart from the caller's transaction.

CREATE FUNCTION courier_internal.errand(request text, timeout_ms integer) RETURNS text
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_errand';
COMMENT ON FUNCTION courier_internal.errand(text, integer) IS 'Has a worker do what the request (JSON) says and returns its answer';

CREATE FUNCTION courier_internal.test_destination(caller oid, caller_path text, name text)
    RETURNS TABLE (ok boolean, http_status integer, duration interval, message text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    destination courier_internal.destination := courier_internal.find_destination(caller, test_destination.name);
    answer json;
BEGIN
    IF NOT COALESCE(courier_internal.may_use_destination((SELECT r.rolname FROM pg_roles r WHERE r.oid = caller), destination.destination_id), false)
       AND NOT courier_internal.has_courier_role(caller, 'courier_operator') THEN
        RAISE EXCEPTION 'permission denied for destination "%"', destination.name USING ERRCODE = '42501',
            DETAIL = 'Its owner, roles that it is shared with and members of courier_operator may test it.';
    END IF;
    answer := courier_internal.errand(json_build_object('kind', 'destination', 'name', destination.name)::text, 40000)::json;
    RETURN QUERY SELECT (answer ->> 'ok')::boolean, (answer ->> 'http_status')::integer,
                        (answer ->> 'duration_us')::float8 * interval '1 microsecond', answer ->> 'message';
END
$$;
COMMENT ON FUNCTION courier_internal.test_destination(oid, text, text) IS 'Behind courier.test_destination';

CREATE FUNCTION courier_internal.test_record(caller oid, caller_path text, sync text, primary_key jsonb, change text, timeout interval)
    RETURNS TABLE (operation text, method text, url text, request_body text, http_status integer, response_body text, outcome text, message text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_sync courier_internal.sync := courier_internal.operable_sync(caller, test_record.sync);
    columns text[] := (SELECT m.primary_key FROM courier_internal.model m WHERE m.model_id = found_sync.model_id);
    key jsonb;
    answer json;
BEGIN
    IF test_record.primary_key IS NULL THEN
        RAISE EXCEPTION 'primary_key must not be NULL' USING ERRCODE = '22004';
    ELSIF test_record.change IS NOT NULL AND test_record.change NOT IN ('added', 'changed', 'removed') THEN
        RAISE EXCEPTION 'change "%" is not known', test_record.change USING ERRCODE = '22023',
            DETAIL = 'Allowed: added, changed, removed, or NULL for what a comparison finds.';
    END IF;
    key := courier_internal.key_object(columns, test_record.primary_key);
    answer := courier_internal.errand(
        json_build_object('kind', 'record', 'sync', found_sync.name,
                          'caller', (SELECT r.rolname FROM pg_roles r WHERE r.oid = caller),
                          'test', json_build_object('primary_key', key, 'change', COALESCE(test_record.change, '')))::text,
        GREATEST(1, LEAST(extract(epoch FROM COALESCE(test_record.timeout, interval '10 s')) * 1000, 3600000))::integer)::json;
    IF answer ->> 'outcome' IS NULL AND answer ->> 'status' <> 'success' THEN
        RAISE EXCEPTION 'the test of sync "%" ended %: %', found_sync.name, answer ->> 'status', answer ->> 'error'
            USING ERRCODE = '55000', DETAIL = format('error_code: %s', answer ->> 'error_code');
    ELSIF answer ->> 'outcome' IS NULL THEN
        RAISE EXCEPTION 'sync "%" has no record with primary key %', found_sync.name, key USING ERRCODE = '22023',
            DETAIL = 'Neither the model (rows that can be used) nor, for removed, the snapshot has it.';
    END IF;
    RETURN QUERY
        SELECT q.operation, q.method, q.url, q.request_body, q.http_status, q.response_body, answer ->> 'outcome', answer ->> 'message'
          FROM json_populate_recordset(NULL::courier_internal.request, answer -> 'requests') q;
    IF NOT FOUND THEN
        RETURN QUERY SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::integer, NULL::text, answer ->> 'outcome', answer ->> 'message';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.test_record(oid, text, text, jsonb, text, interval) IS 'Behind courier.test_record';
