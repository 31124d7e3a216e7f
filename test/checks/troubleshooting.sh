#!/usr/bin/env bash
# Makes doc/troubleshooting.md from test/troubleshooting.sql: every statement there is run, and the page shows what psql printed.
#
#   test/checks/troubleshooting.sh          writes the page
#   test/checks/troubleshooting.sh check    compares, and fails when the page is not what would be written
#
# Needs a server with pg_courier installed (PGHOST, PGPORT, PGUSER, ... say which) and the rights of a superuser there. Works in a
# database of its own, so that numbers of runs are always the same.
set -euo pipefail

what=${1:-write}
case $what in
write | check) ;;
*)
	echo "usage: $0 [check]" >&2
	exit 2
	;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source_file=$here/test/troubleshooting.sql
page=$here/doc/troubleshooting.md
database=courier_troubleshooting
work=$(mktemp -d)

# Messages in English and in UTC, wherever the server is; progress notices come and go with the time a run takes.
export PGOPTIONS="-c lc_messages=C -c client_min_messages=warning -c TimeZone=UTC"
export PGCLIENTENCODING=UTF8 LC_ALL=C.UTF-8 PSQL_PAGER=

maintenance() { psql -X -q -v ON_ERROR_STOP=1 -d postgres "$@"; }
finish() {
	maintenance -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap finish EXIT

maintenance -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "CREATE DATABASE $database TEMPLATE template0 ENCODING 'UTF8'"
# The roles belong to the cluster, and whoever tests there may have given them members.
psql -X -q -v ON_ERROR_STOP=1 -d "$database" -c 'SET courier.keep_role_members = on' -c 'CREATE EXTENSION pg_courier'

# A file per section: NNN.title, NNN.text, NNN.setup, NNN.show
awk -v work="$work" '
	/^--# /    { number = sprintf("%s/%03d", work, ++sections); print substr($0, 5) > (number ".title"); part = ""; next }
	!sections  { next }
	/^--: /    { print substr($0, 5) > (number ".text"); next }
	/^--setup/ { part = number ".setup"; next }
	/^--show/  { part = number ".show"; next }
	part != "" && NF { print > part }
' "$source_file"

made=$work/page.md
cat >"$made" <<'HEAD'
# Troubleshooting

What pg_courier says about typical mistakes, and what to do then. A test makes this page: it runs every statement below and prints what
psql shows with `\set VERBOSITY verbose`, so the number before each message is its SQLSTATE. Errors about a definition come when it is
created or altered; nothing is stored then.

Where to look when a sync does not do what you expect:

| question | answer |
|---|---|
| what is the matter with it? | `SELECT health, health_detail FROM courier.sync_details WHERE name = 'contacts'` |
| how did its last runs end? | `SELECT * FROM courier.runs WHERE sync = 'contacts' LIMIT 10`; all of a run: `courier.run_details` |
| which records were refused, and why? | `SELECT key, http_status, message FROM courier.rejected_records WHERE sync = 'contacts'` |
| which rows could not be used? | `SELECT * FROM courier.invalid_rows WHERE sync = 'contacts'` |
| what was sent and answered? | `SELECT * FROM courier.requests WHERE sync = 'contacts' ORDER BY sent_at DESC LIMIT 10` (failed requests; all with option `"log_requests": "all"`) |
| what is it with one record? | `SELECT * FROM courier.explain_record('contacts', '42')` |
| what happened to one record? | `SELECT * FROM courier.changelog WHERE key = '42' ORDER BY changed_at` |
| which requests carried it? | `SELECT * FROM courier.record_requests WHERE key = '42' ORDER BY sent_at` |
| what would a run send now? | `SELECT * FROM courier.plan_sync('contacts')` and `courier.preview_sync('contacts')` |
| nothing starts by schedule | `SHOW shared_preload_libraries` must name pg_courier; `SHOW pg_courier.enabled`; `next_run_at` and `waiting_for` in `courier.sync_details` |
HEAD

for title in "$work"/*.title; do
	section=${title%.title}
	if [[ -f $section.setup ]]; then
		psql -X -q -v ON_ERROR_STOP=1 -d "$database" <"$section.setup" >"$work/setup.out" 2>&1 || {
			echo "the setup of section \"$(<"$title")\" failed:" >&2
			cat "$work/setup.out" >&2
			exit 1
		}
	fi
	[[ -f $section.show ]] || continue
	# In the order in which they come: psql writes results to one place and errors to another.
	psql -X -q -d "$database" -v VERBOSITY=verbose -v SHOW_CONTEXT=never -P footer=off <"$section.show" >"$work/show.out" 2>&1 || true
	{
		printf '\n## %s\n\n' "$(<"$title")"
		[[ ! -f $section.text ]] || printf '%s\n\n' "$(<"$section.text")"
		printf '```sql\n%s\n```\n\n```text\n' "$(<"$section.show")"
		# Which line of which file raised an error says nothing to a user, and functions without a result print an empty table. The list of
		# all destination types is cut: a new one changes nothing here.
		sed -E '/^LOCATION:/d; s/[[:space:]]+$//; s/^(DETAIL:  There is: ).* (http, ).*/\1..., \2.../' "$work/show.out" |
			awk '/^ (create|alter|drop|pause|resume)_[a-z]+$/ { skip = 3 } skip > 0 { skip--; next } { print }' |
			sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
		printf '```\n'
	} >>"$made"
done

if [[ $what == check ]]; then
	if ! diff -u "$page" "$made"; then
		echo "doc/troubleshooting.md is stale: run test/checks/troubleshooting.sh" >&2
		exit 1
	fi
	echo "doc/troubleshooting.md is what the code says"
else
	cp "$made" "$page"
	echo "wrote doc/troubleshooting.md"
fi
