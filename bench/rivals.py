"""The two usual ways without pg_courier, on the same data and the same receiver; each a script of its own that is run as a process."""

import json
import os
import resource
import subprocess
import sys
import time

from report import us
from sending import make_table
from syncs import make_sync, run

HERE = os.path.dirname(os.path.abspath(__file__))


def rival(script, cluster, *arguments):
    """(wall seconds, CPU seconds of the script and of its backend, what it said)"""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    done = subprocess.run([sys.executable, os.path.join(HERE, script), json.dumps(cluster.address()), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    end, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return end - start, cpu + cluster.cpu.seconds(start, end, said["backend"]), said


def compare(session, nginx, report, rows):
    """1 % of a table has changed; then the whole table is sent for the first time."""
    report.group(f"Rivals: {rows} rows of 300 bytes, 1 % changed, the same receiver; the ratio is the rival's CPU to ours")
    make_table(session, "rival", rows)
    make_sync(session, "rival", "rival", nginx.url, mode="upsert", batch_size=100, concurrency=16)
    state = os.path.join(session.cluster.directory, "state")
    scripts = (("cron script: reads all, compares in memory, POSTs one by one", "rival_cron.py"), ("service: pulls all out, sorts, compares files, POSTs in hundreds", "rival_service.py"))
    run(session, "rival", "baseline")
    for _, script in scripts:
        rival(script, session.cluster, "rival", nginx.url, state + script, "baseline")
    for what, change in (("nothing changed", None), ("1 % changed", f"UPDATE rival SET city = city || '!' WHERE id % 100 = 7")):
        if change:
            session(change)
            session("VACUUM ANALYZE rival")
        ours = run(session, "rival")
        for name, script in scripts:
            wall, cpu, said = rival(script, session.cluster, "rival", nginx.url, state + script, "run")
            if said["sent"] != ours.planned:
                raise RuntimeError(f"{script} sent {said['sent']}, pg_courier {ours.planned}")
            report.add(f"{what}; {name}", cpu / ours.cpu, floor=f"{cpu:.2f} s", measured=f"{ours.cpu:.2f} s", note=f"wall {wall / ours.wall:.2f} x")
