#!/usr/bin/env python3
"""Runs, failures, restarts of workers and housekeeping for as long as is asked for; every few seconds memory, table sizes and xmin are looked at. See test/soak.

What must hold: no process of ours grows (the median of the last third is at most a quarter over that of the second), the tables of state have a steady size (log
tables grow by what they log, and no faster), and no process of ours holds a snapshot or a transaction while it waits for the network.
"""

import argparse
import os
import random
import statistics
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from receiver import Answer, Receiver  # noqa: E402

options = argparse.ArgumentParser()
options.add_argument("--minutes", type=float, default=30)
options.add_argument("--syncs", type=int, default=20)
options.add_argument("--seed", type=int, default=1)
options = options.parse_args()
chance = random.Random(options.seed)

STATE = ("sync_state", "destination_state", "rejected", "invalid_row", "job", "sync", "alert_state")


def answer(request):
    draw = chance.random()
    return Answer(500) if draw < 0.05 else Answer(422, "no") if draw < 0.08 else Answer(200, drop=True) if draw < 0.1 else Answer(429, "", {"Retry-After": "0.05"}) if draw < 0.12 else Answer(200, delay=0.01)


def memory(pid):
    """Resident memory that is the process's own, in kB."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
    except OSError:
        return None


receiver, cluster = Receiver(), harness.Cluster("owner")
problems, samples, sizes, looks = [], {}, [], 0
try:
    cluster.psql("CREATE DATABASE app", database="postgres")
    cluster.psql("CREATE EXTENSION pg_courier", "CREATE TABLE item (id integer PRIMARY KEY, name text)", "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 500) n", "SELECT courier.create_model('item', relation => 'item')")
    receiver.script("/plain", answer)
    for n in range(options.syncs):
        cluster.psql(f"SELECT courier.create_destination('d{n}', 'http', '{{\"base_url\": \"{receiver.url}/plain/{n}\"}}')",
                     f"""SELECT courier.create_sync('s{n}', 'item', 'd{n}', mode => 'mirror', schedule => 'every 3 s', options => '{{"concurrency": 4, "log_requests": "all"}}', config => '{{"requests":
                     {{"upsert": {{"method": "PUT", "path": "/{{{{ id }}}}", "body": "{{{{ record }}}}"}}, "delete": {{"method": "DELETE", "path": "/{{{{ id }}}}"}}}}}}')""")
    begin, end, next_line = time.time(), time.time() + options.minutes * 60, 0
    while time.time() < end:
        low = chance.randint(1, 480)
        cluster.psql(f"UPDATE item SET name = name || '.' WHERE id BETWEEN {low} AND {low + 10} AND length(name) < 60", f"DELETE FROM item WHERE id = {chance.randint(1, 500)}", f"INSERT INTO item SELECT {chance.randint(1, 500)}, 'again' ON CONFLICT DO NOTHING")
        if chance.random() < 0.1:
            cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker' LIMIT 1")
        for line in cluster.psql("SELECT pid, backend_type, wait_event = 'Extension' AND state_change < now() - interval '1 s' AND (backend_xmin IS NOT NULL OR xact_start < now() - interval '5 s') FROM pg_stat_activity WHERE backend_type LIKE 'pg_courier%'").splitlines():
            pid, kind, holds = line.split("|")
            looks += 1
            if holds == "t":
                problems.append(f"{kind} {pid} holds a snapshot while it waits")
            if (used := memory(pid)) is not None:
                samples.setdefault(kind, []).append((time.time() - begin, used))
                if used > 256 * 1024:
                    problems.append(f"{kind} {pid} uses {used} kB")
        state = int(cluster.psql(f"SELECT sum(pg_total_relation_size(('courier_internal.' || t)::regclass)) + (SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'snapshot\\_%' AND relkind = 'r') FROM unnest('{{{','.join(STATE)}}}'::text[]) t"))
        sizes.append((time.time() - begin, state))
        if time.time() > next_line:
            print(f"{(time.time() - begin) / 60:5.1f} min: state and snapshots {state // 1024} kB; " + "; ".join(f"{kind} {s[-1][1]} kB" for kind, s in sorted(samples.items())), flush=True)
            next_line = time.time() + 30
        time.sleep(0.5)
    whole = options.minutes * 60

    def third(values, n):
        return [v for at, v in values if whole * n / 3 <= at < whole * (n + 1) / 3]
    for kind, values in [*samples.items(), ("tables of state and snapshots", sizes)]:
        second, last = third(values, 1), third(values, 2)
        if second and last and statistics.median(last) > 1.25 * statistics.median(second) + 1024 * (1 if kind in samples else 1024):
            problems.append(f"{kind} grow: {statistics.median(second)} -> {statistics.median(last)}")
    runs, failed = cluster.psql("SELECT count(*), count(*) FILTER (WHERE status NOT IN ('success', 'warning')) FROM courier.runs WHERE status NOT IN ('queued', 'querying', 'sending')").split("|")
    left = cluster.psql("SELECT string_agg(relname, ', ') FROM pg_class c WHERE relnamespace = 'courier_data'::regnamespace AND relname ~ '^run_' AND NOT EXISTS (SELECT FROM courier_internal.run r WHERE r.status IN ('queued', 'querying', 'sending', 'interrupted') AND c.relname LIKE 'run\\_' || r.run_id || '\\_%')")
    if left:
        problems.append(f"scratch is left: {left}")
    with open(cluster.log, errors="replace") as f:
        problems += [line.strip() for line in f if "terminated by signal" in line or "PANIC" in line or "XX000" in line]
    print(f"{runs} runs, {failed} of them failed or interrupted, {looks} looks at processes, {len(receiver.log)} requests")
finally:
    cluster.stop()
for problem in sorted(set(problems)):
    print("not ok - " + problem)
print("ok - soak" if not problems else f"{len(problems)} problems")
sys.exit(1 if problems else 0)
