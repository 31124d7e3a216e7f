#!/usr/bin/env bash
# make quickstart: from a Debian 12 machine to a running sync with real data. A throwaway PostgreSQL and a throwaway etcd, in .quickstart/.
#
#   KEEP=1 make quickstart     leaves both running and says how to connect
#   ./quickstart.sh stop       ends what KEEP=1 left running
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. test/lib/common.sh

state=$PWD/.quickstart # what is running, and the logs
db=courier_demo

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# What an earlier call left running, by the ids that it noted.
stop_former() {
	[[ -d $state ]] || return 0
	local work
	if [[ -f $state/work ]]; then
		work=$(<"$state/work")
		[[ $work == /tmp/pg_courier-quickstart.* ]] || die "$state/work holds something else than our directory"
		stop_cluster "$work"
		[[ -f $state/etcd.pid ]] && end_process "$(<"$state/etcd.pid")" etcd
		rm -rf "$work"
	fi
	rm -rf "$state"
}

if [[ ${1:-} == stop ]]; then
	stop_former
	say "stopped"
	exit 0
fi

step "Packages"
test/install_packages quickstart
say "everything is there"

step "Build and install the extension"
make -s -j"$(nproc)" PG_CONFIG="$pg_config"
"${as_root[@]}" make -s install PG_CONFIG="$pg_config" >/dev/null
say "installed into $("$pg_config" --pkglibdir)"

stop_former
mkdir -p "$state"
# The server's user may not be able to look into this tree, so its files are in /tmp.
work=$(mktemp -d /tmp/pg_courier-quickstart.XXXXXX)
echo "$work" >"$state/work"
chmod 755 "$work"
((EUID == 0)) && chown "$pg_user" "$work"
began=$SECONDS
finished=
at_exit() {
	if [[ -z $finished || -z ${KEEP:-} ]]; then
		[[ -n $finished ]] || { say "" "the server's log:"; tail -n 20 "$work/postgresql.log" 2>/dev/null || true; } >&2
		stop_former
	fi
}
trap at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "PostgreSQL and etcd"
read -r pg_port etcd_port peer_port < <(free_ports 3)
start_cluster "$work" "$pg_port" <<-CONF
	shared_preload_libraries = 'pg_courier'
	pg_courier.allow_addresses = '127.0.0.0/8'
CONF
etcd=http://127.0.0.1:$etcd_port
nohup etcd --data-dir "$state/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
	--listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
	--initial-cluster "default=http://127.0.0.1:$peer_port" >"$state/etcd.log" 2>&1 </dev/null &
echo $! >"$state/etcd.pid"
wait_until 20 etcd curl -sf "$etcd/health"
say "PostgreSQL listens on port $pg_port, etcd on $etcd"

psql=(psql -X -h "$work" -p "$pg_port" -U postgres)
"${psql[@]}" -q -d postgres -c "CREATE DATABASE $db"
psql+=(-d "$db" -v ON_ERROR_STOP=1 --pset=footer=off)

# show SQL: prints the statement, then what it gives
show() {
	printf '\033[36m%s\033[0m\n' "$1"
	"${psql[@]}" -c "$1"
}

# What etcd holds: key<TAB>version<TAB>value
etcd_dump() {
	python3 - "$etcd" <<'PY'
import base64, json, sys, urllib.request
nul = base64.b64encode(b"\0").decode()  # from the first key to the last
body = json.dumps({"key": nul, "range_end": nul}).encode()
answer = json.load(urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/v3/kv/range", body)))
for kv in answer.get("kvs", []):
    print(base64.b64decode(kv["key"]).decode(), kv["version"], base64.b64decode(kv["value"]).decode(), sep="\t")
PY
}

step "Real data: ISO 3166, countries and their subdivisions (package iso-codes)"
"${psql[@]}" -q <<SQL
CREATE EXTENSION pg_courier;
CREATE TABLE country (code text PRIMARY KEY, name text NOT NULL, flag text);
CREATE TABLE subdivision (code text PRIMARY KEY, name text NOT NULL, type text NOT NULL, country text NOT NULL);
\\set countries \`cat /usr/share/iso-codes/json/iso_3166-1.json\`
\\set subdivisions \`cat /usr/share/iso-codes/json/iso_3166-2.json\`
INSERT INTO country SELECT x.alpha_2, x.name, x.flag FROM json_to_recordset(:'countries'::json -> '3166-1') x (alpha_2 text, name text, flag text);
INSERT INTO subdivision SELECT x.code, x.name, x.type, split_part(x.code, '-', 1) FROM json_to_recordset(:'subdivisions'::json -> '3166-2') x (code text, name text, type text);
SQL
show "SELECT (SELECT count(*) FROM country) AS countries, (SELECT count(*) FROM subdivision) AS subdivisions"

step "A model, a destination, a sync"
show "CREATE VIEW region AS
    SELECT s.code, s.name, s.type, c.name AS country, c.flag FROM subdivision s JOIN country c ON c.code = s.country"
show "SELECT courier.create_model('regions', relation => 'region', primary_key => '{code}')"
show "SELECT courier.create_destination('etcd', 'http', config => '{\"base_url\": \"$etcd\"}')"
show "SELECT courier.create_sync('regions_to_etcd', model => 'regions', destination => 'etcd', mode => 'mirror',
    mapping => '{\"code\": \"code\", \"name\": \"name\", \"type\": \"type\", \"country.name\": \"country\", \"country.flag\": \"flag\"}',
    config  => '{\"requests\": {
        \"upsert\": {\"method\": \"POST\", \"path\": \"/v3/kv/put\", \"idempotent\": true,
                   \"body\": {\"key\": \"{{ code | base64 }}\", \"value\": \"{{ record | json_text | base64 }}\"}},
        \"delete\": {\"method\": \"POST\", \"path\": \"/v3/kv/deleterange\", \"idempotent\": true, \"body\": {\"key\": \"{{ code | base64 }}\"}}}}',
    options => '{\"concurrency\": 8}')"
show "SELECT * FROM courier.plan_sync('regions_to_etcd')"

step "The first run sends everything"
show "CALL courier.run_sync('regions_to_etcd')"
show "SELECT * FROM courier.runs"
show "SELECT run_id, sync, phase, done, planned, percent, bar FROM courier.progress"
rows=$("${psql[@]}" -Atc "SELECT count(*) FROM region")
etcd_dump >"$state/first"
held=$(wc -l <"$state/first")
say "etcd holds $held records, the view has $rows rows; one of them:"
grep '^FR-BRE	' "$state/first" || head -n 1 "$state/first"
[[ $held == "$rows" ]] || die "etcd and the view differ"
[[ -z $(awk -F'\t' '$2 != 1' "$state/first") ]] || die "some records were written more than once"
say "every key has version 1: etcd counts the writes of a key, and each was written once"

step "A few rows change; the second run sends only these"
show "UPDATE subdivision SET name = upper(name) WHERE code IN ('DE-BE', 'DE-HH', 'FR-BRE')"
show "INSERT INTO subdivision VALUES ('IS-QQ', 'Quickstart', 'Region', 'IS')"
show "DELETE FROM subdivision WHERE code IN ('AD-02', 'AD-03')"
show "CALL courier.run_sync('regions_to_etcd')"
show "SELECT * FROM courier.runs"
show "SELECT run_id, change, key, outcome FROM courier.changelog WHERE run_id = (SELECT max(run_id) FROM courier.runs) ORDER BY change, key"
etcd_dump >"$state/second"
twice=$(awk -F'\t' '$2 == 2 { printf "%s ", $1 }' "$state/second")
more=$(awk -F'\t' '$2 > 2' "$state/second" | wc -l)
gone=$(comm -23 <(cut -f1 "$state/first" | sort) <(cut -f1 "$state/second" | sort) | tr '\n' ' ')
new=$(comm -13 <(cut -f1 "$state/first" | sort) <(cut -f1 "$state/second" | sort) | tr '\n' ' ')
say "What etcd says:"
say "  written twice   ${twice:-none}"
say "  new             ${new:-none}"
say "  gone            ${gone:-none}"
say "  untouched       $(awk -F'\t' '$2 == 1' "$state/second" | wc -l) records, still at version 1"
[[ $twice == "DE-BE DE-HH FR-BRE " && $new == "IS-QQ " && $gone == "AD-02 AD-03 " && $more == 0 ]] ||
	die "this is not what was changed"

step "A run without changes sends nothing"
show "CALL courier.run_sync('regions_to_etcd')"
show "SELECT * FROM courier.syncs"
finished=yes
say "" "Done in $((SECONDS - began)) seconds."
if [[ -n ${KEEP:-} ]]; then
	say "" "PostgreSQL and etcd go on. To connect:" "    psql -h $work -p $pg_port -U postgres $db" "Try:" \
		"    SELECT courier.alter_sync('regions_to_etcd', schedule => 'every 5 seconds');" \
		"    UPDATE subdivision SET name = 'Brittany' WHERE code = 'FR-BRE';" "    SELECT * FROM courier.runs;" \
		"To stop both:" "    ./quickstart.sh stop"
else
	say "Nothing is left running. KEEP=1 make quickstart keeps it, to look around with psql."
fi
