# Sourced by quickstart.sh and test/run: who we are, waiting, free ports, a throwaway cluster, processes that are ended by id.

export LC_ALL=C.UTF-8
pg_bin=${PG_BIN:-/usr/lib/postgresql/15/bin}
pg_config=$pg_bin/pg_config

as_root=()
((EUID == 0)) || as_root=(sudo)

# PostgreSQL refuses to run as root.
if ((EUID == 0)); then
	pg_user=postgres
	as_postgres() { runuser -u postgres -- "$@"; }
else
	pg_user=$(id -un)
	as_postgres() { "$@"; }
fi

say() { printf '%s\n' "$@"; }
die() {
	printf '%s\n' "$*" >&2
	exit 1
}

# wait_until SECONDS WHAT COMMAND...: until the command succeeds
wait_until() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || die "waited too long for $what"
		sleep 0.1
	done
}

# Prints N free TCP ports of 127.0.0.1, below the range that the kernel hands out for outgoing connections.
free_ports() {
	python3 - "$1" <<'PY'
import random, socket, sys
kept = []
while len(kept) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randint(20000, 32000)))
    except OSError:
        continue
    kept.append(s)
print(" ".join(str(s.getsockname()[1]) for s in kept))
PY
}

# start_cluster DIR PORT: settings come from stdin
start_cluster() {
	local dir=$1 port=$2
	as_postgres "$pg_bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 || {
		cat "$dir/initdb.log" >&2
		die "initdb failed"
	}
	{
		cat <<-CONF
			port = $port
			listen_addresses = '127.0.0.1'
			unix_socket_directories = '$dir'
			fsync = off
			logging_collector = off
			log_line_prefix = '%m [%p] %b '
			max_worker_processes = 16
		CONF
		cat
	} | as_postgres tee -a "$dir/data/postgresql.conf" >/dev/null
	# pg_ctl is given no standard output of ours: the server would keep a pipe open.
	as_postgres "$pg_bin/pg_ctl" -D "$dir/data" -l "$dir/postgresql.log" -w -t 60 start >"$dir/pg_ctl.log" 2>&1 </dev/null || {
		cat "$dir/pg_ctl.log" "$dir/postgresql.log" >&2
		die "PostgreSQL did not start"
	}
}

# stop_cluster DIR
stop_cluster() {
	[[ -f $1/data/postmaster.pid ]] || return 0
	as_postgres "$pg_bin/pg_ctl" -D "$1/data" -m fast -w -t 30 stop >/dev/null 2>&1 ||
		as_postgres "$pg_bin/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null 2>&1 || true
}

# is_process PID NAME: whether this id still is what it was when it was noted
is_process() { [[ -r /proc/$1/comm && $(</proc/"$1"/comm) == "$2" ]]; }

# end_process PID NAME
end_process() {
	is_process "$1" "$2" || return 0
	kill "$1" 2>/dev/null || return 0
	local deadline=$((SECONDS + 10))
	while is_process "$1" "$2"; do
		((SECONDS < deadline)) || {
			kill -KILL "$1" 2>/dev/null || true
			return 0
		}
		sleep 0.1
	done
}
