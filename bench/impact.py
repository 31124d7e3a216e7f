"""What a run costs the database that hosts it: a pgbench beside it, and the locks that it holds meanwhile."""

import os
import re
import subprocess

from machine import PG_BIN


def pgbench(cluster, seconds):
    out = subprocess.run([os.path.join(PG_BIN, "pgbench"), "-n", "-c", "4", "-T", str(seconds), "-h", cluster.directory, "-p", str(cluster.port), "-U", "postgres", "bench"],
                         capture_output=True, text=True, check=True).stdout
    return float(re.search(r"tps = ([\d.]+)", out)[1])


def measure(session, report, seconds=8):
    report.group("Impact on the database: pgbench (TPC-B, 4 clients) beside runs that never stop")
    cluster = session.cluster
    cluster.pg("pgbench", "-i", "-q", "-s", "10", "-h", cluster.directory, "-p", str(cluster.port), "-U", "postgres", "bench")
    alone = pgbench(cluster, seconds)
    for what, sync, resync in (("comparing, nothing to send", "m", "none"), ("sending in batches of 100", "hundreds", "full")):
        bench = subprocess.Popen([os.path.join(PG_BIN, "pgbench"), "-n", "-c", "4", "-T", str(seconds), "-h", cluster.directory, "-p", str(cluster.port), "-U", "postgres",
                                  "bench"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        held = set()
        while bench.poll() is None:
            run_id = session("SELECT courier.trigger_sync(%s, resync => %s)", sync, resync)
            while session("SELECT finished_at IS NULL FROM courier_internal.run WHERE run_id = %s", run_id) and bench.poll() is None:
                held.update(mode for mode, in session("SELECT mode FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation"
                                                      " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.backend_type = 'pg_courier run worker'"
                                                      " AND n.nspname = 'public' UNION ALL SELECT 'none' UNION ALL SELECT 'none'"))
                session("SELECT pg_sleep(0.05)")
        beside = float(re.search(r"tps = ([\d.]+)", bench.stdout.read())[1])
        report.add(f"transactions/s beside a run {what}", beside / alone, floor=f"{alone:.0f}/s", measured=f"{beside:.0f}/s",
                   note=f"locks on the model's tables: {', '.join(sorted(held - {'none'})) or 'none'}")
        session("SELECT courier.cancel_run(run_id) FROM courier_internal.run WHERE run_id = %s AND finished_at IS NULL", run_id)
        session("SELECT courier.wait_for_run(%s, '1 min')", run_id)
