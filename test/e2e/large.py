#!/usr/bin/env python3
"""A model of millions of rows: how long its runs take, what the worker needs, and that exactly the changes arrive. Started by test/large."""

import collections
import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Cluster, equal, literal  # noqa: E402
from receiver import Answer, Receiver  # noqa: E402

ROWS = int(os.environ.get("LARGE_ROWS", "5000000"))
MEMORY_LIMIT = 256  # MB that are the worker's own; shared buffers come on top
passed = failed = 0


class Watch:
    """The memory of the run worker, read from /proc while it lives."""

    def __init__(self, cluster):
        self.cluster, self.most, self.done = cluster, collections.Counter(), threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.done.wait(0.25):
            pids = self.cluster.psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'").split()
            for pid in pids:
                try:
                    with open(f"/proc/{pid}/status") as status:
                        found = dict(line.split(":", 1) for line in status)
                except OSError:
                    continue
                for name in ("VmHWM", "RssAnon"):
                    self.most[name] = max(self.most[name], int(found[name].split()[0]) // 1024)

    def end(self):
        self.done.set()
        self.thread.join()
        return self.most


def step(what, function):
    """Runs it, says what it measured and whether it was as it should be."""
    global passed, failed
    start = time.time()
    try:
        said = function()
        passed += 1
        print(f"ok - {what}: {time.time() - start:.1f} s{'; ' + said if said else ''}", flush=True)
    except Exception as error:
        failed += 1
        print(f"not ok - {what} ({time.time() - start:.1f} s)\n  # {type(error).__name__}: {str(error)[:2000]}", flush=True)


def main():
    receiver, cluster = Receiver(), Cluster("owner")
    answered, arrived = Answer(200, {"ok": True}), collections.Counter()
    try:
        cluster.psql("CREATE DATABASE app", database="postgres")
        receiver.script("/in", answered)
        sql = cluster.psql
        run_details = "planned_added, planned_changed, planned_removed, succeeded_added + succeeded_changed + succeeded_removed, requests"

        def make():
            sql("CREATE EXTENSION pg_courier", "CREATE TABLE customer (id bigint PRIMARY KEY, name text, email text, amount numeric(12,2), changed_at timestamptz)",
                f"INSERT INTO customer SELECT g, 'customer ' || g, 'c' || g || '@example.com', g / 100.0, '2024-01-01' FROM generate_series(1, {ROWS}) g", "ANALYZE customer",
                "SELECT courier.create_model('customer', relation => 'customer')", f"SELECT courier.create_destination('d', 'http', {literal({'base_url': receiver.url})})",
                "SELECT courier.create_sync('large', 'customer', 'd', mode => 'mirror', first_run => 'baseline', options => '{\"batch_size\": 500, \"log_records\": \"failed\"}', config => "
                + literal({"requests": {"upsert": {"method": "PUT", "path": "/in/up", "body": {"rows": "{{ records }}"}},
                                        "delete": {"method": "PUT", "path": "/in/down", "body": {"rows": "{{ records }}"}}}}) + ")", timeout=1800)
            return f"{ROWS} rows, {sql('SELECT pg_size_pretty(pg_total_relation_size($$customer$$))')}"

        def run(*expected):
            watch = Watch(cluster)
            try:
                sql("CALL courier.run_sync('large')", timeout=3600)
            finally:
                memory = watch.end()
            details = sql(f"SELECT {run_details} FROM courier.run_details ORDER BY run_id DESC LIMIT 1")
            equal([int(n) for n in details.split("|")][:4], list(expected), "added, changed, removed, succeeded")
            seconds = sql("SELECT extract(epoch FROM finished_at - started_at)::numeric(10,1) FROM courier.run_details ORDER BY run_id DESC LIMIT 1")
            assert memory["RssAnon"] <= MEMORY_LIMIT, f"the worker needed {memory['RssAnon']} MB of its own"
            return f"run {seconds} s, {details.rsplit('|', 1)[1]} requests, worker {memory['RssAnon']} MB of its own, VmHWM {memory['VmHWM']} MB with shared buffers"

        def came(path):
            """The ids that came to a path since the last look."""
            every = receiver.requests(path)
            new, arrived[path] = every[arrived[path]:], len(every)
            return sorted(row["id"] for r in new for row in r.json["rows"])

        share = ROWS // 100
        step("a model is made", make)
        step("first run, baseline", lambda: run(0, 0, 0, 0))
        step("a run without changes", lambda: run(0, 0, 0, 0))

        def changes():
            sql("UPDATE customer SET amount = amount + 1 WHERE id % 100 = 7", timeout=1800)
            said = run(0, share, 0, share)
            equal(came("/in/up"), list(range(7, ROWS + 1, 100)), "ids that arrived")
            return said
        step("1 % of the rows change", changes)

        def removals():
            sql("DELETE FROM customer WHERE id % 100 = 8", f"INSERT INTO customer SELECT g, 'new', NULL, 1, now() FROM generate_series({ROWS + 1}, {ROWS + share}) g", timeout=1800)
            said = run(share, 0, share, 2 * share)
            equal(came("/in/up"), list(range(ROWS + 1, ROWS + share + 1)), "ids that were added")
            equal(came("/in/down"), list(range(8, ROWS + 1, 100)), "ids that were removed")
            return said
        step("1 % is removed and 1 % is added", removals)
        step("and nothing is left to send", lambda: run(0, 0, 0, 0))

        def logs():
            """Thirty days of logs, two rows a record, a request for every ten."""
            day = "timestamptz '1999-01-01 00:00 UTC' + n % 30 * interval '1 day' + interval '1 hour'"
            sql("DO $$ DECLARE p text; n integer; BEGIN FOREACH p IN ARRAY ARRAY['change_log', 'request', 'request_key'] LOOP FOR n IN 0..29 LOOP"
                " EXECUTE format('CREATE TABLE courier_internal.large_%s_%s PARTITION OF courier_internal.%s FOR VALUES FROM (0, %L) TO (0, %L)', p, n, p,"
                " (date '1999-01-01' + n)::text || ' 00:00 UTC', (date '1999-01-02' + n)::text || ' 00:00 UTC'); END LOOP; END LOOP; END $$",
                "INSERT INTO courier_internal.change_log (run_id, sync_id, key, primary_key, change, outcome, changed_at)"
                f" SELECT n / 100000, s.sync_id, (n % {ROWS} + 1)::text, jsonb_build_object('id', n % {ROWS} + 1), 'changed', 'succeeded', {day}"
                f" FROM generate_series(0, {2 * ROWS - 1}) n, courier_internal.sync s WHERE s.name = 'large'",
                "INSERT INTO courier_internal.request (run_id, sync_id, sent_at, operation, records, attempt, method, url, request_id)"
                f" SELECT n / 10000, s.sync_id, {day}, 'upsert', 10, 1, 'PUT', 'http://x/', -1 - n FROM generate_series(0, {ROWS // 10 - 1}) n, courier_internal.sync s WHERE s.name = 'large'",
                "INSERT INTO courier_internal.request_key (key, request_id, run_id, sync_id, sent_at)"
                f" SELECT (n * 10 + k)::text, -1 - n, n / 10000, s.sync_id, {day} FROM generate_series(0, {ROWS // 10 - 1}) n, generate_series(1, 10) k, courier_internal.sync s WHERE s.name = 'large'",
                "VACUUM ANALYZE courier_internal.change_log", "ANALYZE courier_internal.request, courier_internal.request_key", timeout=3600)
        step("logs of thirty days, two changes and a request of every record", logs)

        def completed():
            left = ("SELECT count(*) FROM pg_inherits WHERE inhparent = 'courier_internal.change_log'::regclass AND inhrelid::regclass::text ~ 'large_'"
                    " AND obj_description(inhrelid, 'pg_class') IS NULL")
            until = time.time() + 300
            while sql(left) != "0":
                assert time.time() < until, f"{sql(left)} days are left"
                time.sleep(1)
        step("housekeeping completes the indexes of days that are over", completed)

        def look(what, query, rows, limit=50):
            """Planning and execution in a session that has planned it once."""
            took = []
            for n in range(1, 12):
                asked = query.format(n * (ROWS // 12) + 1)
                said = sql(asked, "EXPLAIN (ANALYZE, SUMMARY, FORMAT JSON) " + asked, timeout=60)
                took.append(sum(float(said.split(f'"{part} Time": ')[1].split(",")[0].split()[0]) for part in ("Planning", "Execution")))
                equal(int(sql(f"SELECT count(*) FROM ({asked}) q")) >= rows, True, "rows that were found")
            middle = sorted(took)[len(took) // 2]
            assert middle < limit, f"{what}: {middle:.1f} ms"
            return f"{middle:.2f} ms, median of {len(took)} keys, the slowest {max(took):.1f} ms"
        step("courier.changelog by key", lambda: look("changelog", "SELECT * FROM courier.changelog WHERE sync = 'large' AND key = '{}'", 2))
        step("courier.record_requests by key", lambda: look("record_requests", "SELECT * FROM courier.record_requests WHERE key = '{}'", 1))
        step("courier.explain_record", lambda: look("explain_record", "SELECT * FROM courier.explain_record('large', '{}')", 1, limit=500))
    finally:
        cluster.stop()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
