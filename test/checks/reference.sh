#!/usr/bin/env bash
# Makes doc/reference.md from the COMMENTs of schema courier and from pg_settings: what \df+ and \dv+ show, as a page.
#
#   test/checks/reference.sh          writes the page
#   test/checks/reference.sh check    compares, and fails when the page is not what would be written
#
# CHECK_DATABASE names a database with the extension (PGHOST, PGPORT, PGUSER, ... say where).
set -euo pipefail
page=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/doc/reference.md
export PGOPTIONS="-c client_min_messages=warning -c TimeZone=UTC" PGCLIENTENCODING=UTF8 LC_ALL=C.UTF-8
made=$(mktemp)
trap 'rm -f "$made"' EXIT

psql -XAtq -v ON_ERROR_STOP=1 -d "${CHECK_DATABASE:?}" >"$made" <<'SQL'
LOAD 'pg_courier';
-- The text of a page: a comment's lines that are indented or aligned stay as they are in a code block; the rest is prose.
SELECT E'# Reference\n\nMade from the comments in the database, where `\\df+ courier.*` and `\\dv+ courier.*` show the same: a check fails when this page is not '
    'what they say. [interface.md](interface.md) has the overview.\n\n## Functions\n';
SELECT format(E'### %s\n\n```\n%s courier.%s(%s)%s\n```\n\n```text\n%s\n```\n', p.proname,
              CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.proname, pg_get_function_arguments(p.oid),
              CASE WHEN p.prokind <> 'p' THEN ' -> ' || pg_get_function_result(p.oid) ELSE '' END, obj_description(p.oid, 'pg_proc'))
  FROM pg_proc p WHERE p.pronamespace = 'courier'::regnamespace
 ORDER BY p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C";
SELECT E'## Views\n';
SELECT format(E'### courier.%s\n\n%s.\n\n| column | type | |\n|---|---|---|\n%s\n', c.relname, rtrim(replace(replace(obj_description(c.oid, 'pg_class'), '|', '\|'), '<', '&lt;'), '.'),
              (SELECT string_agg(format('| `%s` | %s | %s |', a.attname, format_type(a.atttypid, NULL), COALESCE(replace(replace(col_description(c.oid, a.attnum), '|', '\|'), '<', '&lt;'), '')), E'\n' ORDER BY a.attnum)
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
  FROM pg_class c WHERE c.relnamespace = 'courier'::regnamespace AND c.relkind = 'v' ORDER BY c.relname COLLATE "C";
SELECT E'## Settings\n\n| setting | default | who may change it, and when | |\n|---|---|---|---|';
SELECT format('| `%s` | `%s` | %s | %s |', name, COALESCE(NULLIF(boot_val, ''), 'empty') || COALESCE(' ' || unit, ''),
              CASE context WHEN 'postmaster' THEN 'at start' WHEN 'sighup' THEN 'configuration file, reload' WHEN 'superuser' THEN 'superuser, any time' ELSE 'anybody, any time' END,
              replace(replace(concat_ws(' ', short_desc, extra_desc), '|', '\|'), '<', '&lt;'))
  FROM pg_settings WHERE name LIKE 'pg_courier.%' AND name <> 'pg_courier.fault_point' ORDER BY name COLLATE "C";
SQL

case ${1:-write} in
write) cp "$made" "$page" ;;
check) diff -u "$page" "$made" || { echo "doc/reference.md is stale: run test/checks/reference.sh"; exit 1; } ;;
*) echo "usage: $0 [check]" >&2; exit 2 ;;
esac
