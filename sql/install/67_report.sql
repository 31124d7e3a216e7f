-- courier.report: one HTML page that needs nothing else. It has no script, and its Content-Security-Policy forbids any, so that a record
-- whose value looks like one stays text; everything from outside goes through html() all the same.
--
-- Charts are SVG without text: what they say stands beside them in HTML, which a phone can break into lines, and in a table. Colours never
-- stand alone either. Each function below writes one piece of the page.

CREATE FUNCTION courier_internal.html(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    -- Control characters have no place in HTML; tab, line feed and carriage return do.
    SELECT regexp_replace(replace(replace(replace(replace(replace(value, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
                          '[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]', U&'\FFFD', 'g')
$$;
COMMENT ON FUNCTION courier_internal.html(text) IS 'Text as it stands in HTML, in content and in quoted attributes';

CREATE FUNCTION courier_internal.report_style() RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT '
:root { color-scheme: light dark; --bg: #ffffff; --card: #f6f8fa; --line: #d0d7de; --fg: #1b1f24; --muted: #57606a; --link: #0550ae;
  --added: #1a7f37; --changed: #0969da; --removed: #8250df; --rejected: #cf222e; --ok: #116329; --warning: #7d4e00; --critical: #a40e26; --idle: #57606a }
@media (prefers-color-scheme: dark) { :root { --bg: #0d1117; --card: #161b22; --line: #30363d; --fg: #e6edf3; --muted: #9aa4ae; --link: #79b8ff;
  --added: #3fb950; --changed: #58a6ff; --removed: #bc8cff; --rejected: #ff7b72; --ok: #56d364; --warning: #e3b341; --critical: #ff938a; --idle: #9aa4ae } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem } h3 { font-size: 1rem; margin: 0 }
p { margin: .25rem 0 } .muted, figcaption, th { color: var(--muted) } code, pre { font: .85em ui-monospace, monospace }
pre { margin: .25rem 0; white-space: pre-wrap } a { color: var(--link) }
ul.tiles { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; margin: 1rem 0; padding: 0 }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem } .tiles b { font-size: 1.4rem; display: block }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: .75rem 0 }
.badge { border: 1px solid; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem; font-weight: 600; white-space: nowrap }
.ok { color: var(--ok) } .warning { color: var(--warning) } .critical { color: var(--critical) } .idle { color: var(--idle) }
.scroll { overflow-x: auto } .scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--link) }
table { border-collapse: collapse; width: 100%; font-size: .9rem } th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.scroll td, .scroll th { overflow-wrap: normal } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: 1rem 0 0 } figure svg { display: block; width: 100%; height: 6rem; background: linear-gradient(var(--line), var(--line)) bottom / 100% 1px no-repeat }
figure .ends { display: flex; justify-content: space-between; gap: 1rem; font-size: .8rem; color: var(--muted) }
.entry { white-space: nowrap } .key { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin: 0 .2rem 0 .3rem }
.added { fill: var(--added); background: var(--added) } .changed { fill: var(--changed); background: var(--changed) }
.removed { fill: var(--removed); background: var(--removed) } .rejected { fill: var(--rejected); background: var(--rejected) } .plain { fill: var(--muted) }
.graph svg { display: block; min-width: 44rem; width: 100%; height: auto } .graph rect { fill: var(--card); stroke: var(--line) } .graph path { fill: none; stroke: var(--muted); stroke-width: 1.5 }
.graph text { fill: var(--fg); font: 13px system-ui, sans-serif } .graph text.head { fill: var(--muted) } .graph circle.ok { fill: var(--ok) } .graph circle.warning { fill: var(--warning) }
.graph circle.critical { fill: var(--critical) } .graph circle.idle { fill: var(--idle) } .graph path.ok, .graph path.idle { stroke: var(--muted) }
.graph path.warning { stroke: var(--warning) } .graph path.critical { stroke: var(--critical) }
summary { cursor: pointer; margin-top: .75rem }
' $$;
COMMENT ON FUNCTION courier_internal.report_style() IS 'The style sheet of courier.report';

CREATE FUNCTION courier_internal.report_tone(health text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN health IN ('ok', 'warning', 'critical') THEN health ELSE 'idle' END $$;
COMMENT ON FUNCTION courier_internal.report_tone(text) IS 'The class that a health is drawn in';

CREATE FUNCTION courier_internal.report_time(moment timestamptz) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT '<time datetime="' || to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '">' || to_char(moment, 'YYYY-MM-DD HH24:MI:SS TZ') || '</time>' $$;
COMMENT ON FUNCTION courier_internal.report_time(timestamptz) IS 'A time for courier.report, in the time zone of the session';

-- source -> model -> sync -> destination: a column each, a row per object, a line per use.
CREATE FUNCTION courier_internal.report_graph(syncs jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH s AS (SELECT x.*, x.n - 1 AS row
            FROM ROWS FROM (jsonb_to_recordset(syncs) AS (name text, model text, source text, destination text, health text)) WITH ORDINALITY
                 x (name, model, source, destination, health, n)),
    node AS (
        SELECT c, name, health, row_number() OVER (PARTITION BY c ORDER BY first) - 1 AS row, count(*) OVER (PARTITION BY c) AS rows
          FROM (SELECT 0 AS c, source AS name, NULL AS health, min(row) AS first FROM s GROUP BY source
                UNION ALL SELECT 1, model, NULL, min(row) FROM s GROUP BY model
                UNION ALL SELECT 2, name, health, row FROM s
                UNION ALL SELECT 3, destination, NULL, min(row) FROM s GROUP BY destination) n),
    -- A short column is spread over the height of the longest.
    placed AS (SELECT n.*, 4 + n.c * 180 AS x, round(30 + ((n.row + 0.5) * m.rows / n.rows - 0.5) * 40) AS y FROM node n, (SELECT max(rows) AS rows FROM node) m),
    line AS (
        SELECT DISTINCT a.x + 160 AS x1, a.y + 15 AS y1, b.x AS x2, b.y + 15 AS y2, CASE WHEN l.c > 0 THEN courier_internal.report_tone(s.health) ELSE 'ok' END AS tone
          FROM s, LATERAL (VALUES (0, s.source, s.model), (1, s.model, s.name), (2, s.name, s.destination)) l (c, tail, head)
          JOIN placed a ON a.c = l.c AND a.name = l.tail JOIN placed b ON b.c = l.c + 1 AND b.name = l.head)
    SELECT format('<div class="scroll graph" tabindex="0" role="region" aria-label="Graph"><svg viewBox="0 0 708 %s" role="img" aria-label="Sources, models, syncs and destinations, and which belong together; the same is told in words under Syncs">',
                  (SELECT max(y) + 44 FROM placed))
        || (SELECT string_agg(format('<text class="head" x="%s" y="18">%s</text>', 4 + h.c * 180, h.t), '') FROM (VALUES (0, 'source'), (1, 'model'), (2, 'sync'), (3, 'destination')) h (c, t))
        || (SELECT string_agg(format('<path class="%s" d="M%s %sC%s %s %s %s %s %s"/>', tone, x1, y1, x1 + 10, y1, x2 - 10, y2, x2, y2), '') FROM line)
        || (SELECT string_agg(format('<g><title>%s</title><rect x="%s" y="%s" width="160" height="30" rx="6"/>%s<text x="%s" y="%s">%s</text></g>',
                       courier_internal.html(name || COALESCE(': ' || health, '')), x, y,
                       CASE WHEN health IS NOT NULL THEN format('<circle class="%s" cx="%s" cy="%s" r="5"/>', courier_internal.report_tone(health), x + 13, y + 15) ELSE '' END,
                       x + CASE WHEN health IS NULL THEN 10 ELSE 24 END, y + 20,
                       courier_internal.html(CASE WHEN length(name) > 18 THEN left(name, 17) || U&'\2026' ELSE name END)), '' ORDER BY c, row) FROM placed)
        || '</svg></div>'
$$;
COMMENT ON FUNCTION courier_internal.report_graph(jsonb) IS 'Which source, model, sync and destination belong together, as SVG';

-- Bars of equal width, one per run; a run of several values is stacked.
CREATE FUNCTION courier_internal.report_chart(title text, unit text, runs jsonb, fields text[], stacked boolean) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH r AS (SELECT x.value AS run, x.ordinality - 1 AS place, (SELECT sum((x.value->>f)::numeric) FROM unnest(fields) f) AS total FROM jsonb_array_elements(runs) WITH ORDINALITY x),
    scale AS (SELECT GREATEST(max(total), 0.000001) AS most, round(max(total), 2) AS shown, GREATEST(count(*), 12) AS places FROM r),
    bar AS (
        SELECT r.place, r.run, f.field, f.n, (r.run->>f.field)::numeric * 96 / scale.most AS height,
               COALESCE(sum((r.run->>f.field)::numeric) OVER (PARTITION BY r.place ORDER BY f.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) * 96 / scale.most AS below,
               600.0 / scale.places AS width
          FROM r, scale, unnest(fields) WITH ORDINALITY f (field, n))
    SELECT CASE WHEN (SELECT COALESCE(max(total), 0) = 0 FROM r) THEN format('<p class="muted">%s: none.</p>', title) ELSE
           format('<figure><figcaption>%s, up to %s %s%s</figcaption><svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label="%s of the last %s runs; the numbers are in the table of runs">',
                  title, (SELECT trim_scale(COALESCE(shown, 0)) FROM scale), unit,
                  CASE WHEN stacked THEN ':' || (SELECT string_agg(format(' <span class="entry"><span class="key %s"></span>%s</span>', f, f), '' ORDER BY n) FROM unnest(fields) WITH ORDINALITY u (f, n)) ELSE '' END,
                  title, (SELECT count(*) FROM r))
        || COALESCE((SELECT string_agg(format('<rect class="%s" x="%s" y="%s" width="%s" height="%s"><title>run %s: %s %s</title></rect>',
                                  CASE WHEN stacked THEN field ELSE 'plain' END, round(place * width + width * 0.1, 1), round(100 - below - height, 1), round(width * 0.8, 1), round(height, 1),
                                  run->>'run_id', trim_scale(round((run->>field)::numeric, 2)), CASE WHEN stacked THEN field ELSE unit END), '' ORDER BY place, n)
                       FROM bar WHERE height > 0), '')
        || format('</svg><div class="ends"><span>run %s</span><span>run %s</span></div></figure>', (SELECT run->>'run_id' FROM r ORDER BY place LIMIT 1), (SELECT run->>'run_id' FROM r ORDER BY place DESC LIMIT 1)) END
$$;
COMMENT ON FUNCTION courier_internal.report_chart(text, text, jsonb, text[], boolean) IS 'A bar chart of some fields over runs (oldest first), as SVG with a caption';

CREATE FUNCTION courier_internal.report_runs(wanted_sync_id integer) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    runs jsonb;
BEGIN
    SELECT jsonb_agg(to_jsonb(h) ORDER BY h.run_id) INTO runs
      FROM (SELECT r.run_id, r.status, r.started_at, r.succeeded_added AS added, r.succeeded_changed AS changed, r.succeeded_removed AS removed,
                   r.rejected_added + r.rejected_changed + r.rejected_removed AS rejected, r.requests,
                   round(EXTRACT(epoch FROM r.finished_at - r.started_at), 2) AS seconds,
                   round(COALESCE((r.succeeded_added + r.succeeded_changed + r.succeeded_removed + r.rejected_added + r.rejected_changed + r.rejected_removed)
                         / NULLIF(EXTRACT(epoch FROM r.finished_at - r.sending_at), 0), 0), 1) AS throughput
              FROM courier_internal.run r
             WHERE r.sync_id = wanted_sync_id AND r.test IS NULL AND r.started_at IS NOT NULL AND r.finished_at IS NOT NULL
             ORDER BY r.run_id DESC LIMIT 40) h;
    IF runs IS NULL THEN
        RETURN '<p class="muted">No run has ended yet.</p>';
    END IF;
    RETURN courier_internal.report_chart('Records per run', 'records', runs, '{added,changed,removed,rejected}', true)
        || courier_internal.report_chart('Duration', 's', runs, '{seconds}', false)
        || courier_internal.report_chart('Throughput while sending', 'records/s', runs, '{throughput}', false)
        || format('<details><summary>Runs</summary><div class="scroll" tabindex="0" role="region" aria-label="Runs, newest first"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div></details>',
            (SELECT string_agg(format('<th scope="col"%s>%s</th>', CASE WHEN n IN (1, 2, 3) THEN '' ELSE ' class="number"' END, h), '' ORDER BY n)
               FROM unnest(ARRAY['run', 'status', 'started', 'added', 'changed', 'removed', 'rejected', 'requests', 'seconds', 'records/s']) WITH ORDINALITY u (h, n)),
            (SELECT string_agg(format('<tr><th scope="row">%s</th><td>%s</td><td>%s</td>%s</tr>', r->>'run_id', r->>'status', courier_internal.report_time((r->>'started_at')::timestamptz),
                        (SELECT string_agg(format('<td class="number">%s</td>', r->>f), '' ORDER BY n)
                           FROM unnest(ARRAY['added', 'changed', 'removed', 'rejected', 'requests', 'seconds', 'throughput']) WITH ORDINALITY u (f, n))), '' ORDER BY (r->>'run_id')::bigint DESC)
               FROM jsonb_array_elements(runs) r));
END
$$;
COMMENT ON FUNCTION courier_internal.report_runs(integer) IS 'The last 40 runs of a sync: charts and a table';

CREATE FUNCTION courier_internal.report_rejected(wanted_sync_id integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT '<h4>Why records are not accepted</h4><ul>' || string_agg(format('<li><b>%s</b> %s%s</li>', t.records,
               courier_internal.html(left(t.reason, 300)), t.samples), '' ORDER BY t.records DESC, t.reason) || '</ul>'
      FROM (SELECT g.reason, g.records,
                   (SELECT string_agg(format('<pre>%s: %s</pre>', courier_internal.html(left(s.key, 100)), courier_internal.html(COALESCE(left(s.payload, 300), 'not kept'))), '' ORDER BY s.key)
                      FROM (SELECT r.key, r.payload FROM courier_internal.rejected r
                             WHERE r.sync_id = wanted_sync_id AND r.outcome IN ('rejected', 'unknown')
                               AND COALESCE(NULLIF(concat_ws(' ', r.http_status, r.error_code, r.message), ''), r.outcome) = g.reason
                             ORDER BY r.last_failed_at DESC LIMIT 3) s) AS samples
              FROM (SELECT COALESCE(NULLIF(concat_ws(' ', r.http_status, r.error_code, r.message), ''), r.outcome) AS reason, count(*) AS records
                      FROM courier_internal.rejected r WHERE r.sync_id = wanted_sync_id AND r.outcome IN ('rejected', 'unknown')
                     GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5) g) t
$$;
COMMENT ON FUNCTION courier_internal.report_rejected(integer) IS 'The five commonest reasons of a sync, with up to three records each; NULL: nothing is rejected';

CREATE FUNCTION courier_internal.report(caller oid, caller_path text, sync text) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    one courier_internal.sync;
    syncs jsonb;
    s record;
    page text;
    subject text := CASE WHEN sync IS NULL THEN 'database ' || current_database() ELSE 'sync ' || sync END;
BEGIN
    IF sync IS NOT NULL THEN
        one := courier_internal.find_sync(caller, sync);
        IF NOT courier_internal.may_see(caller, one.owner) THEN
            RAISE EXCEPTION 'permission denied for sync "%"', sync USING ERRCODE = '42501', DETAIL = format('It belongs to role "%s".', one.owner),
                HINT = format('Members of role "%s" and of courier_viewer may see it.', one.owner);
        END IF;
    END IF;
    SELECT jsonb_agg(to_jsonb(x) ORDER BY x.rank, x.name) INTO syncs
      FROM (SELECT o.sync_id, o.name, o.model, m.source, o.destination, o.schedule, o.mode, o.snapshot_records, o.active_status, h.health, h.since, h.problem, h.remedy,
                   h.last_success, h.rejected, h.next_run, array_position(ARRAY['critical', 'warning'], h.health) AS rank
              FROM courier_internal.sync_overview o
              JOIN courier_internal.model m ON m.model_id = o.model_id
              JOIN courier_internal.health_of_all h ON h.sync = o.name
             WHERE courier_internal.may_see(caller, o.effective_owner) AND (report.sync IS NULL OR o.sync_id = one.sync_id)) x;

    page := format('<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''; img-src data:">
<link rel="icon" href="data:,"><title>pg_courier: %s</title><style>%s</style></head><body><header><h1>pg_courier: %s</h1><p class="muted">%s, version %s</p></header><main>',
        courier_internal.html(subject), courier_internal.report_style(), courier_internal.html(subject), courier_internal.report_time(now()), courier_internal.html(courier.version()));
    IF syncs IS NULL THEN
        RETURN page || '<p>There is no sync that you may see.</p></main></body></html>' || E'\n';
    END IF;

    page := page || (SELECT '<ul class="tiles">' || string_agg(format('<li><b class="%s">%s</b>%s</li>', courier_internal.report_tone(t.health), t.n, courier_internal.html(t.health)), ''
                                ORDER BY array_position(ARRAY['critical', 'warning', 'ok'], t.health), t.health) || '</ul>'
                       FROM (SELECT x->>'health' AS health, count(*) AS n FROM jsonb_array_elements(syncs) x GROUP BY 1) t)
        || '<section><h2>From source to destination</h2>' || courier_internal.report_graph(syncs) || '</section><section><h2>Syncs</h2>';
    FOR s IN SELECT x.* FROM jsonb_to_recordset(syncs) x (sync_id integer, name text, model text, source text, destination text, schedule text, mode text, snapshot_records bigint,
                 active_status text, health text, since timestamptz, problem text, remedy text, last_success timestamptz, rejected bigint) LOOP
        page := page || format('<article class="card"><h3>%s <span class="badge %s">%s</span></h3><p class="muted">%s &rarr; %s &rarr; %s, %s, %s</p>', courier_internal.html(s.name),
                courier_internal.report_tone(s.health), courier_internal.html(s.health), courier_internal.html(s.source), courier_internal.html(s.model), courier_internal.html(s.destination),
                courier_internal.html(s.mode), courier_internal.html(s.schedule))
            || COALESCE('<p>' || courier_internal.html(s.problem) || '</p>', '') || COALESCE('<pre>' || courier_internal.html(s.remedy) || '</pre>', '')
            || format('<p>Records accepted: %s; not accepted: %s%s%s%s</p>', s.snapshot_records, s.rejected, COALESCE('; last success ' || courier_internal.report_time(s.last_success), ''),
                      COALESCE('; ' || courier_internal.html(s.health) || ' since ' || courier_internal.report_time(s.since), ''),
                      COALESCE('; a run is ' || s.active_status, ''))
            || courier_internal.report_runs(s.sync_id) || COALESCE(courier_internal.report_rejected(s.sync_id), '') || '</article>';
    END LOOP;
    page := page || '</section><section><h2>Next runs</h2>' || COALESCE(
        (SELECT '<ol>' || string_agg(format('<li>%s: %s</li>', courier_internal.report_time(x.next_run), courier_internal.html(x.name)), '' ORDER BY x.next_run, x.name) || '</ol>'
           FROM jsonb_to_recordset(syncs) x (name text, next_run timestamptz) WHERE x.next_run IS NOT NULL), '<p class="muted">None by schedule.</p>');
    RETURN page || '</section></main></body></html>' || E'\n';
END
$$;
COMMENT ON FUNCTION courier_internal.report(oid, text, text) IS 'Behind courier.report';

CREATE FUNCTION courier.report(sync text DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.report(text) IS
'A page to look at: health and what to do, the way from source to destination, the last 40 runs as charts, why records are not accepted with samples, and the next runs. One HTML file that loads nothing and has no script.

sync  one sync; NULL: all that you may see

It shows values of rejected records: treat the file like the data.
Errors: 42704 no such sync; 42501 not permitted.

Example: psql -XAtc "SELECT courier.report()" > report.html';
