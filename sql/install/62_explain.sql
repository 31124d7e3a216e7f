-- The story of one record: courier.explain_record. The facts of model, mapping and snapshot come from the library, read as the sync's
-- owner; here it is said what a run would make of them, in the order in which a comparison decides, and what the logs know.

CREATE FUNCTION courier_internal.record_facts(name text, primary_key text) RETURNS TABLE (item text, value text, copy integer)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_record_facts';
COMMENT ON FUNCTION courier_internal.record_facts(text, text) IS 'What model, mapping and snapshot of a sync say about one primary key (JSON), read as its owner. Items of a model row come once per copy (1, 2, ...), all others with copy 0';

CREATE FUNCTION courier_internal.differing_fields(accepted text, record text, fields text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT json_object_agg(d.field, json_build_array(d.was, d.is_now))::text
      FROM (SELECT f AS field, accepted::json #> string_to_array(f, '.') AS was, record::json #> string_to_array(f, '.') AS is_now
              FROM unnest(fields) f) d
     WHERE d.was::text IS DISTINCT FROM d.is_now::text
$$;
COMMENT ON FUNCTION courier_internal.differing_fields(text, text, text[]) IS 'The fields that differ between two records, each as [before, now]; NULL: none';

CREATE FUNCTION courier_internal.record_verdict(found_sync courier_internal.sync, facts jsonb, hashes text[], wanted text,
        OUT verdict text, OUT why text, OUT operation text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    state text := facts->>'snapshot';
    copies integer := cardinality(hashes);
    same boolean := hashes[1] IS NOT DISTINCT FROM facts->>'snapshot_hash';
    change text;
    reject courier_internal.rejected;
BEGIN
    SELECT r.* INTO reject FROM courier_internal.rejected r WHERE r.sync_id = found_sync.sync_id AND r.key = wanted;

    -- What stands before any record.
    IF facts ? 'key_changed' THEN
        verdict := 'blocked';
        why := 'The primary key of the model is another one than that of the snapshot. No run starts until it is told what the destination holds: resync => ''full'' or ''baseline''.';
        RETURN;
    ELSIF facts ? 'snapshot_gone' THEN
        verdict := 'blocked';
        why := 'The snapshot table is gone. No run starts until it is told what the destination holds: resync => ''full'' or ''baseline''.';
        RETURN;
    END IF;

    -- Rows that cannot be used.
    IF copies > 1 AND NOT (state = 'accepted' AND NOT EXISTS (SELECT FROM unnest(hashes) h WHERE h IS DISTINCT FROM facts->>'snapshot_hash')) THEN
        verdict := 'invalid';
        why := format('duplicate_key: the model has this key %s times. No copy is sent, and the snapshot is left as it is.', CASE WHEN copies >= 10 THEN '10 or more' ELSE copies::text END);
        RETURN;
    ELSIF facts->>'match_missing' = 'true' THEN
        verdict := 'invalid';
        why := 'null_match: a field by which the destination knows the record is NULL or empty. The row is not sent.';
        RETURN;
    ELSIF facts ? 'shares_match_with' THEN
        verdict := 'invalid';
        why := format('duplicate_match: the record with key %s has the same match values. Neither is sent, and the snapshot is left as it is.', facts->>'shares_match_with');
        RETURN;
    END IF;

    IF facts->>'baseline' = 'true' THEN
        verdict := 'baseline';
        why := 'The next run is a baseline: it sends nothing and takes the model as what the destination has.';
        RETURN;
    END IF;

    -- The comparison.
    IF copies = 0 AND state IS NULL THEN
        verdict := 'nothing';
        why := 'Neither the model nor the snapshot has it.' || CASE WHEN reject.key IS NOT NULL THEN ' It never reached the destination; the next run forgets that it was rejected.' ELSE '' END;
        RETURN;
    ELSIF copies = 0 AND state = 'left' THEN
        verdict := 'nothing';
        why := 'It left the model after it was accepted. The key is remembered, so that it is not sent again when it returns.';
        RETURN;
    ELSIF copies = 0 AND state = 'skipped' THEN
        verdict := 'forgotten';
        why := 'It is gone from the model, and the destination never had it: nothing is sent.';
        RETURN;
    ELSIF copies = 0 AND facts->>'send_removals' = 'false' THEN
        verdict := 'forgotten';
        why := CASE WHEN facts->>'keep_left' = 'true' THEN 'It is gone from the model: nothing is sent, and the key is remembered.'
                    ELSE format('It is gone from the model, and on_removed is %s: nothing is sent, the record stays in the destination.', found_sync.on_removed) END;
        RETURN;
    ELSIF copies = 0 AND facts->>'null_keys' = 'true' THEN
        verdict := 'held';
        why := 'It is gone from the model, but the model has NULL keys: removals are held back until it has none (option null_keys).';
        RETURN;
    ELSIF copies = 0 AND facts->>'match_held' = 'true' THEN
        verdict := 'forgotten';
        why := 'It is gone from the model, but another record has its match values now: nothing is sent, the key leaves the snapshot.';
        RETURN;
    ELSIF copies = 0 THEN
        change := 'removed';
        why := 'The destination has accepted it, and it is gone from the model.';
    ELSIF state IS NULL THEN
        change := 'added';
        why := 'The snapshot does not have it: the destination has not accepted it yet.';
    ELSIF facts->>'compare_changes' = 'false' THEN
        verdict := 'unchanged';
        why := format('%s, and an accepted key is never looked at again (%s).', CASE state WHEN 'left' THEN 'It is back in the model after it had left' ELSE 'It was accepted' END,
                      CASE WHEN found_sync.mode = 'insert' THEN 'mode insert' ELSE found_sync.sync_type END);
        RETURN;
    ELSIF facts->>'former_lost' = 'true' THEN
        change := 'changed';
        why := 'The mapping that the snapshot was made with cannot be evaluated any more: every record counts as changed.';
    ELSIF same THEN
        verdict := 'unchanged';
        why := CASE state WHEN 'skipped' THEN 'The destination has no such record (mode update), and its values are those that were tried.' ELSE 'The compared fields are what the destination has accepted.' END;
        RETURN;
    ELSIF facts->>'former' = 'true' AND facts->>'former_hash' = facts->>'snapshot_hash' AND facts->>'differs_from_former' = 'false' THEN
        verdict := 'unchanged';
        why := 'The mapping has changed since, but it makes the same record of this row.';
        RETURN;
    ELSE
        change := CASE state WHEN 'skipped' THEN 'added' ELSE 'changed' END;
        why := CASE state WHEN 'skipped' THEN 'The destination had no such record (mode update), and the values have changed since.'
                    ELSE 'A compared field differs from what the destination has accepted.' END;
        IF facts->>'rename_by_removal' = 'true' AND facts->>'snapshot_match_hash' <> facts->>'match_hash' THEN
            why := why || ' Its match value has changed: the destination is told of a removal and an addition.';
        END IF;
    END IF;

    operation := facts->>('operation_' || change);
    IF operation IS NULL THEN
        verdict := 'nothing';
        why := why || format(' The sync sends no %s records.', change);
        RETURN;
    END IF;

    -- What was refused before and has not changed since waits.
    IF reject.next_attempt_at > clock_timestamp() AND (reject.outcome = 'unknown' OR reject.hash::text IS NOT DISTINCT FROM hashes[1]) THEN
        verdict := 'held';
        why := format('%s. %s', change || ': ' || rtrim(why, '.'), CASE reject.outcome
            WHEN 'unknown' THEN format('It was sent and may have arrived: held until courier.retry_rejected(%L) or courier.discard_rejected(%L).', found_sync.name, found_sync.name)
            WHEN 'discarded' THEN 'It was discarded: it is not sent before its values change.'
            ELSE format('It was rejected (%s) and is tried again at the first run after %s, or when its values change.',
                        COALESCE(reject.error_code, reject.http_status::text, 'no code'), reject.next_attempt_at::timestamptz(0)) END);
        RETURN;
    END IF;
    verdict := change;
    IF reject.key IS NOT NULL AND reject.hash::text IS DISTINCT FROM hashes[1] THEN
        why := why || ' It was rejected with other values; these are new.';
    ELSIF reject.key IS NOT NULL THEN
        why := why || format(' It was rejected (%s times) and is due again.', reject.attempts);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.record_verdict(courier_internal.sync, jsonb, text[], text) IS 'What a run would do with a record now, and why, from its facts: the decisions of a comparison in their order';

CREATE FUNCTION courier_internal.explain_record(caller oid, caller_path text, sync text, primary_key jsonb)
    RETURNS TABLE (section text, item text, value text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target courier_internal.sync;
    overview courier_internal.sync_overview;
    columns text[];
    given jsonb;
    wanted text;
    facts jsonb := '{}';
    hashes text[] := '{}';
    compared text[];
    record_now text;
    v record;
    accepted_at timestamptz;
    obstacle text;
    refused courier_internal.rejected;
BEGIN
    PERFORM courier_internal.require_value('sync', explain_record.sync);
    PERFORM courier_internal.require_value('primary_key', explain_record.primary_key);
    target := courier_internal.operable_sync(caller, explain_record.sync);
    columns := (SELECT m.primary_key FROM courier_internal.model m WHERE m.model_id = target.model_id);
    given := courier_internal.key_object(columns, explain_record.primary_key);
    SELECT o.* INTO overview FROM courier_internal.sync_overview o WHERE o.sync_id = target.sync_id;

    section := 'record';
    RETURN QUERY VALUES (section, 'sync', target.name), (section, 'primary_key', given::text);
    IF EXISTS (SELECT FROM jsonb_each(given) e WHERE jsonb_typeof(e.value) = 'null') THEN
        RETURN QUERY VALUES ('now', 'verdict', 'invalid'),
                            ('now', 'why', 'null_key: a row without a primary key is counted, listed in courier.invalid_rows, and never sent.');
        RETURN;
    END IF;

    -- A model that cannot be read is part of the story; the logs are told all the same.
    BEGIN
        SELECT jsonb_object_agg(f.item, f.value) FILTER (WHERE f.item <> 'compared' AND f.copy <= 1),
               array_agg(f.value ORDER BY f.copy) FILTER (WHERE f.item = 'hash'),
               array_agg(f.value) FILTER (WHERE f.item = 'compared')
          INTO facts, hashes, compared
          FROM courier_internal.record_facts(target.name, given::text) f;
        hashes := COALESCE(hashes, '{}');
        SELECT r.verdict, r.why, r.operation INTO v FROM courier_internal.record_verdict(target, facts, hashes, facts->>'key') r;
    EXCEPTION WHEN others THEN
        facts := '{}';
        SELECT 'failed' AS verdict, 'The next run would fail: ' || SQLERRM AS why, NULL::text AS operation INTO v;
    END;
    wanted := COALESCE(facts->>'key', CASE cardinality(columns) WHEN 1 THEN given->>columns[1]
        ELSE (SELECT '[' || string_agg((given->c)::text, ',' ORDER BY n) || ']' FROM unnest(columns) WITH ORDINALITY u (c, n)) END);
    record_now := CASE WHEN v.verdict = 'changed' THEN facts->>'record_changed' ELSE facts->>'record_added' END;
    RETURN QUERY VALUES (section, 'key', wanted);

    IF v.verdict <> 'failed' THEN
        RETURN QUERY VALUES ('model', 'row', COALESCE(facts->>'row', 'not in the model'));
        IF cardinality(hashes) > 1 THEN
            RETURN QUERY VALUES ('model', 'copies', cardinality(hashes)::text);
        END IF;
        IF facts ? 'row' THEN
            RETURN QUERY VALUES ('mapped', 'record', record_now);
        END IF;

        section := 'snapshot';
        RETURN QUERY VALUES (section, 'state', COALESCE(facts->>'snapshot', 'not in the snapshot'));
        IF facts ? 'snapshot' THEN
            IF facts->>'snapshot' = 'accepted' THEN
                SELECT max(c.changed_at) INTO accepted_at FROM courier_internal.change_log c
                 WHERE c.key = wanted AND c.run_id > 0 AND c.sync_id = target.sync_id AND c.outcome = 'succeeded' AND c.change <> 'removed';
                RETURN QUERY VALUES (section, 'accepted_at', COALESCE(accepted_at::text, 'not in the log any more'));
            ELSIF facts->>'snapshot' = 'left' THEN
                RETURN QUERY VALUES (section, 'left_at', facts->>'left_at');
            END IF;
            IF hashes <> '{}' THEN
                RETURN QUERY VALUES (section, 'hash', CASE WHEN hashes[1] = facts->>'snapshot_hash' THEN 'as the record now' ELSE 'of another record' END);
            END IF;
            RETURN QUERY SELECT section, i.item, i.value
                           FROM (VALUES ('remote_id', facts->>'remote_id'), ('match', facts->>'accepted_match'), ('payload', facts->>'accepted_payload')) i (item, value)
                          WHERE i.value IS NOT NULL;
        END IF;
    END IF;

    section := 'now';
    RETURN QUERY VALUES (section, 'verdict', v.verdict), (section, 'why', v.why);
    IF v.operation IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'operation', v.operation);
    END IF;
    IF v.verdict IN ('changed', 'held') AND facts->>'accepted_payload' IS NOT NULL AND record_now IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'fields', courier_internal.differing_fields(facts->>'accepted_payload', record_now, compared));
    END IF;
    obstacle := CASE overview.health
        WHEN 'paused' THEN format('The sync is paused: SELECT courier.resume_sync(%L)', target.name)
        WHEN 'restored copy' THEN 'The sync came with a copy of a database: SELECT courier.resume_all()'
        WHEN 'blocked' THEN format('The sync is blocked, schedules skip it: SELECT courier.approve_run(%s)', COALESCE(overview.blocked_run_id, overview.last_run_id))
        WHEN 'failing' THEN 'The last run failed: ' || COALESCE(overview.last_error, overview.last_error_code, overview.last_status)
        WHEN 'model changed' THEN 'The model has changed: ' || COALESCE(overview.last_error, format('relation %s does not exist', overview.relation))
    END;
    IF obstacle IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'sync', obstacle);
    END IF;

    SELECT r.* INTO refused FROM courier_internal.rejected r WHERE r.sync_id = target.sync_id AND r.key = wanted;
    IF refused.key IS NOT NULL THEN
        RETURN QUERY SELECT 'rejected'::text, i.item, i.value
                       FROM (VALUES ('outcome', refused.outcome), ('change', refused.change), ('attempts', refused.attempts::text),
                                    ('first_failed_at', refused.first_failed_at::text), ('last_failed_at', refused.last_failed_at::text),
                                    ('http_status', refused.http_status::text), ('error_code', refused.error_code),
                                    ('message', refused.message), ('payload', refused.payload)) i (item, value)
                      WHERE i.value IS NOT NULL;
    END IF;

    -- The log, newest first: by key alone, which is what its index is for.
    RETURN QUERY
        SELECT 'history'::text, format('%s, run %s', l.changed_at::timestamptz(0), l.run_id),
               concat_ws(' ', l.change, l.outcome, '(' || concat_ws(' ', l.http_status, l.error_code) || ')', l.message, l.payload)
          FROM (SELECT c.* FROM courier_internal.change_log c WHERE c.key = wanted AND c.run_id > 0 AND c.sync_id = target.sync_id
                 ORDER BY c.changed_at DESC LIMIT 10) l
         ORDER BY l.changed_at DESC;
    RETURN QUERY
        SELECT 'requests'::text, format('%s, run %s', q.sent_at::timestamptz(0), q.run_id),
               concat_ws(' ', q.operation, format('%s %s', q.method, q.url), format('(%s record%s, attempt %s)', q.records, CASE WHEN q.records = 1 THEN '' ELSE 's' END, q.attempt),
                         '->', COALESCE(q.http_status::text, q.error), left(q.response_body, 500))
          FROM (SELECT r.* FROM courier_internal.request r WHERE r.key = wanted AND r.sync_id = target.sync_id
                UNION ALL
                SELECT r.* FROM courier_internal.request_key k
                  JOIN courier_internal.request r ON r.request_id = k.request_id AND r.sent_at = k.sent_at
                 WHERE k.key = wanted AND k.sync_id = target.sync_id) q
         ORDER BY q.sent_at DESC LIMIT 10;

    section := 'next';
    IF refused.next_attempt_at IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'attempt', CASE
            WHEN refused.next_attempt_at = 'infinity' THEN 'held'
            WHEN refused.next_attempt_at <= clock_timestamp() THEN 'due: with the next run'
            ELSE format('the first run after %s', refused.next_attempt_at::timestamptz(0)) END);
    END IF;
    RETURN QUERY VALUES (section, 'run', CASE
        WHEN overview.paused OR overview.restored THEN 'none'
        WHEN overview.active_run_id IS NOT NULL THEN format('run %s is %s', overview.active_run_id, overview.active_status)
        WHEN overview.blocked_run_id IS NOT NULL THEN 'none while the sync is blocked'
        WHEN overview.next_run_at IS NOT NULL THEN GREATEST(overview.next_run_at, overview.not_before)::timestamptz(0)::text
        ELSE format('not by itself (schedule %s)', overview.schedule) END);
END
$$;
COMMENT ON FUNCTION courier_internal.explain_record(oid, text, text, jsonb) IS 'Behind courier.explain_record';

CREATE FUNCTION courier.explain_record(sync text, primary_key jsonb) RETURNS TABLE (section text, item text, value text)
    LANGUAGE c VOLATILE ROWS 20 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.explain_record(text, jsonb) IS
'The whole story of one record: the row of the model, the record that the mapping makes of it, what the snapshot says, what a run would do with it now and why, what was refused, what happened to it in past runs, the requests that carried it, and what comes next. Sends nothing and changes nothing. Model and mapping are read as the owner of the sync.

sync         the sync
primary_key  which record: an object ({"id": 7}), or for a key of one column the value alone (7)

Sections, in this order: record, model, mapped, snapshot, now, rejected, history (10 outcomes, newest first), requests (10, newest first), next. The verdict in section now is added, changed, removed, unchanged, forgotten (leaves the snapshot without a request), invalid (null_key, duplicate_key, null_match or duplicate_match), held (rejected, unknown or discarded, and not due), baseline, nothing, blocked or failed (no run can do its work).
Requests are in the log as option log_requests says (failed ones by default), outcomes as log_records says.
Errors: 42704 no such sync; 42501 not permitted; 22004 an argument is NULL; 22023 primary_key does not fit the model.

Example: SELECT * FROM courier.explain_record(''contacts'', ''7'')';
