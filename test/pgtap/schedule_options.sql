-- Option window, to the minute: overnight, time zones, the days when clocks change. Leaves nothing behind.
\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(16);

SELECT is(courier_internal.window_opening(moment, jsonb_build_object('window', window_option)), expected, what)
  FROM (VALUES
    ('08:00-18:00', timestamptz '2026-03-02 07:59:59Z', timestamptz '2026-03-02 08:00Z', 'before: the opening of today'),
    ('08:00-18:00', '2026-03-02 08:00Z', '2026-03-02 08:00Z', 'the opening is within'),
    ('08:00-18:00', '2026-03-02 17:59:59.9Z', '2026-03-02 17:59:59.9Z', 'within: as it is'),
    ('08:00-18:00', '2026-03-02 18:00Z', '2026-03-03 08:00Z', 'the end is not'),
    ('08:00-24:00', '2026-03-02 23:59Z', '2026-03-02 23:59Z', 'until midnight'),
    ('22:00-06:00', '2026-03-02 23:00Z', '2026-03-02 23:00Z', 'overnight, in the evening'),
    ('22:00-06:00', '2026-03-02 05:59Z', '2026-03-02 05:59Z', 'overnight, in the morning'),
    ('22:00-06:00', '2026-03-02 06:00Z', '2026-03-02 22:00Z', 'overnight, by day'),
    ('8:00 - 18:00 Europe/Berlin', '2026-07-01 05:00Z', '2026-07-01 06:00Z', 'in a time zone'),
    ('08:00-18:00 Europe/Berlin', '2026-03-28 18:00Z', '2026-03-29 06:00Z', 'over the night when the clocks go forward'),
    ('08:00-18:00 Europe/Berlin', '2026-10-24 18:00Z', '2026-10-25 07:00Z', 'and back'),
    (NULL, '2026-03-02 03:00Z', '2026-03-02 03:00Z', 'no window')) v (window_option, moment, expected, what);

SELECT is(courier_internal.jitter_offset(7, '{}'), interval '0', 'no jitter');
SELECT ok((SELECT bool_and(o >= interval '0' AND o < interval '1 hour') AND count(DISTINCT o) = 1000 FROM generate_series(1, 1000) n, courier_internal.jitter_offset(n, '{"jitter": "1 hour"}') o),
          'an offset per sync, within the jitter');
SELECT ok((SELECT count(*) BETWEEN 200 AND 300 FROM generate_series(1, 1000) n WHERE courier_internal.jitter_offset(n, '{"jitter": "1 hour"}') < interval '15 min'), 'evenly spread');
SELECT is((SELECT courier_internal.place_run('2026-03-02 12:00Z', n, '{"jitter": "1 hour", "window": "08:00-08:01"}') FROM generate_series(1, 100) n
            WHERE courier_internal.jitter_offset(n, '{"jitter": "1 hour"}') > interval '10 min' LIMIT 1), timestamptz '2026-03-04 08:00Z', 'a spread never leads out of the window');

SELECT * FROM finish();
ROLLBACK;
