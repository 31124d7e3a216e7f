#!/usr/bin/env bash
# Every SQL block of README.md and doc/ runs, in the order of its page, in a database of its own. A block that cannot says so in its first
# line, with the reason: "-- not run: sends to the destination", "-- needs pg_cron". Nothing leaves this machine: only pages with a local receiver
# may send. (troubleshooting.md and reference.md are made from what runs.)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PGOPTIONS="-c client_min_messages=warning" PGCLIENTENCODING=UTF8 PSQL_PAGER=
work=$(mktemp -d)
receiver=
maintenance() { psql -XAtq -v ON_ERROR_STOP=1 -d postgres "$@"; }
roles() { maintenance -c "SELECT quote_ident(rolname) FROM pg_roles ORDER BY 1"; }
roles >"$work/roles"
finish() {
	[[ -z $receiver ]] || kill "$receiver" 2>/dev/null || true
	for page in "$work"/*.sql; do
		[[ ! -e $page ]] || maintenance -c "DROP DATABASE IF EXISTS \"$(basename "$page" .sql)\" WITH (FORCE)" || true
	done
	# Roles belong to the cluster: those that a page made go with it.
	roles | comm -13 "$work/roles" - | while IFS= read -r role; do maintenance -c "DROP ROLE $role" || true; done
	rm -rf "$work"
}
trap finish EXIT

python3 "$root/test/e2e/receiver.py" "$work/receiver.port" &
receiver=$!
until [[ -s $work/receiver.port ]]; do
	kill -0 "$receiver" || { echo "the receiver did not start"; exit 1; }
	sleep 0.05
done

status=0 blocks=0 left_out=0
for page in README.md doc/*.md doc/destinations/*.md; do
	case $page in doc/troubleshooting.md | doc/reference.md) continue ;; esac
	database=courier_doc_$(basename "$page" .md | tr 'A-Z-' 'a-z_')
	[[ $page != doc/destinations/* ]] || database=${database/doc_/doc_to_}
	# A block is \echo'ed, so that an error is found on the page.
	awk -v page="$page" -v skipped="$work/skipped" '
		/^```sql$/ { inside = 1; first = 1; line = NR; next }
		/^```/     { inside = 0; next }
		!inside    { next }
		first      { first = 0; skip = match($0, /^-- (not run: |needs )./); if (skip) print page ":" line ": " substr($0, 4) >> skipped; else printf "\\echo %s:%d\n", page, line }
		!skip      { print }
	' "$root/$page" | sed "s#/tmp/receiver.port#$work/receiver.port#" >"$work/$database.sql"
	grep -q . "$work/$database.sql" || { rm "$work/$database.sql"; continue; }
	blocks=$((blocks + $(grep -c "^.echo $page:" "$work/$database.sql")))
	maintenance -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "CREATE DATABASE $database TEMPLATE template0 ENCODING 'UTF8'"
	grep -q receiver.port "$root/$page" || maintenance -c "ALTER DATABASE $database SET pg_courier.enabled = off"
	psql -Xq -v ON_ERROR_STOP=1 -d "$database" -c 'SET courier.keep_role_members = on' -c 'CREATE EXTENSION pg_courier'
	if ! (cd "$root" && timeout 120 psql -X -v ON_ERROR_STOP=1 -d "$database" -f "$work/$database.sql") >"$work/out" 2>&1; then
		echo "a block of $page does not run:"
		grep -a "^$page:" "$work/out" | tail -n 1
		tail -n 15 "$work/out"
		status=1
	fi
done
touch "$work/skipped"
left_out=$(wc -l <"$work/skipped")
sed 's/^/left out: /' "$work/skipped"

# The tours sent what they say: three records and three changes in the README; a record repaired and two changes in the tutorial.
sent=$(curl -fsS "http://127.0.0.1:$(<"$work/receiver.port")/_requests?prefix=/store/contacts" | jq -r '[.[].method] | .[:3] + (.[3:] | sort) | join(" ")')
if [[ $sent != "PUT PUT PUT DELETE PUT PUT" ]]; then
	echo "the tour of README.md sent: $sent"
	status=1
fi
sent=$(curl -fsS "http://127.0.0.1:$(<"$work/receiver.port")/_requests?prefix=/store/zones" | jq -r '[.[-3:][].method] | .[:1] + (.[1:] | sort) | join(" ")')
if [[ $sent != "PUT DELETE PUT" ]]; then
	echo "the last requests of doc/tutorial.md were: $sent"
	status=1
fi
echo "$blocks blocks ran, $left_out were left out"
((blocks >= 20)) || { echo "that is too few: the blocks were not found"; status=1; }
exit $status
