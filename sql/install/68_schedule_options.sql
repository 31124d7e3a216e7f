-- Two options that place the runs of a schedule: a window of the day, and a spread for when many syncs are due at the same minute.
--
-- The spread is the same for every run of a sync (a hash of its number), so its runs keep their distance from each other; what differs is the
-- offset from sync to sync. next_run_at has the offset in it; the scheduler takes it off before it looks for the next slot.

CREATE FUNCTION courier_internal.jitter_offset(sync_id integer, options jsonb) RETURNS interval
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE((options->>'jitter')::interval * (('x' || substr(md5(sync_id::text), 1, 8))::bit(32)::bigint / 4294967296::double precision), interval '0')
$$;
COMMENT ON FUNCTION courier_internal.jitter_offset(integer, jsonb) IS 'By how much the runs of a sync come after the times of its schedule (option jitter)';

CREATE FUNCTION courier_internal.window_opening(moment timestamptz, options jsonb) RETURNS timestamptz
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    parts text[] := regexp_match(options->>'window', '^\s*(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})(?:\s+(\S+))?\s*$');
    opens time := parts[1];
    closes time := parts[2];
    zone text := COALESCE(parts[3], 'UTC');
    here timestamp;
BEGIN
    IF parts IS NULL THEN
        RETURN moment;
    END IF;
    here := moment AT TIME ZONE zone;
    IF (CASE WHEN opens < closes THEN here::time >= opens AND here::time < closes ELSE here::time >= opens OR here::time < closes END) THEN
        RETURN moment;
    END IF;
    RETURN ((here::date + CASE WHEN here::time < opens THEN 0 ELSE 1 END) + opens) AT TIME ZONE zone;
END
$$;
COMMENT ON FUNCTION courier_internal.window_opening(timestamptz, jsonb) IS 'The moment itself where it is within option window, else when the window opens next';

CREATE FUNCTION courier_internal.place_run(slot timestamptz, sync_id integer, options jsonb) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    -- The offset may lead out of a narrow window again.
    SELECT courier_internal.window_opening(courier_internal.window_opening(slot, options) + courier_internal.jitter_offset(sync_id, options), options)
$$;
COMMENT ON FUNCTION courier_internal.place_run(timestamptz, integer, jsonb) IS 'When the run of a slot of the schedule starts: within option window, spread by option jitter';
