#!/usr/bin/python3
"""make bench: one table of what is measured against its floor, in the same run on the same machine. Options: see --help."""

import argparse
import os
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, HERE)

import impact  # noqa: E402
import rivals  # noqa: E402
from finding import Finding  # noqa: E402
from machine import Cluster, Nginx, describe  # noqa: E402
from report import Report  # noqa: E402
from sending import Sending  # noqa: E402


def build():
    """A release build of its own, staged: nothing is installed into system folders."""
    build, stage = os.path.join(ROOT, ".bench", "build"), os.path.join(ROOT, ".bench", "stage")
    os.makedirs(build, exist_ok=True)
    subprocess.run(f"tar -c --exclude='*.o' --exclude='*.d' Makefile pg_courier.control src sql | tar -x -C {build}", shell=True, check=True, cwd=ROOT)
    subprocess.run(["make", "-s", "-C", build, f"-j{os.cpu_count()}"], check=True)
    subprocess.run(["make", "-s", "-C", build, "install", f"DESTDIR={stage}"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["chmod", "-R", "a+rX", stage], check=True)
    return stage


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000000, help="rows of the models")
    parser.add_argument("--records", type=int, default=300000, help="records that are sent")
    parser.add_argument("--larger", type=int, nargs="*", default=[], help="also models that are so many times larger")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="finding sending rivals impact", help="parts")
    parser.add_argument("--file", default=os.path.join(ROOT, ".bench", "last.json"), help="written, and compared with if it is there")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped
    stage = os.environ.get("PG_COURIER_DESTDIR") or build()
    machine, report = describe(), Report(given.file)
    cluster = nginx = None
    try:
        cluster = Cluster(stage)
        nginx = Nginx(cluster.directory)
        session = cluster.session()
        session("CREATE EXTENSION pg_courier")
        machine["postgresql"] = session("SHOW server_version")
        machine["pg_courier"] = session("SELECT extversion FROM pg_extension WHERE extname = 'pg_courier'")
        if "finding" in given.only:
            Finding(session, nginx.url, report, given.rows, given.rounds).run(given.larger)
        if "sending" in given.only:
            Sending(session, nginx, report, given.records, given.rounds).run()
        if "rivals" in given.only:
            rivals.compare(session, nginx, report, given.records)
        if "impact" in given.only and "finding" in given.only and "sending" in given.only:
            impact.measure(session, report)
        settings = {**Cluster.settings, "rows": given.rows, "records": given.records, "rounds": given.rounds}
        report.save(machine, settings)
    finally:
        if nginx:
            nginx.stop()
        if cluster:
            cluster.stop()


main()
