"""Sending the changes: records of 300 bytes with one durable outcome each, against wrk at the same loopback nginx."""

import os
import re
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from machine import free_port, until
from report import median, us
from syncs import BATCHES, SINGLE, make_sync, run

HERE = os.path.dirname(os.path.abspath(__file__))


def make_table(sql, name, rows):
    sql(f"CREATE TABLE {name} (id bigint PRIMARY KEY, name text, email text, city text, amount numeric(12,2), note text)")
    sql(f"INSERT INTO {name} SELECT g, 'customer ' || g, 'c' || g || '@example.com', 'Bonn', g / 100.0, repeat('x', 180) FROM generate_series(1, {rows}) g")
    sql(f"VACUUM ANALYZE {name}")


def wrk(url, connections=64, seconds=3):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write('wrk.method = "PUT"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = string.rep("x", 300)\n')
        script.flush()
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url + "/1"], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"Requests/sec: +([\d.]+)", out)[1])


class Slow:
    """A server that answers after so many milliseconds; 0: never."""

    def __init__(self, delay):
        self.directory = tempfile.TemporaryDirectory(prefix="pg_courier-bench-")
        program = os.path.join(self.directory.name, "slow_server")
        subprocess.run([os.environ.get("CXX", "c++"), "-std=c++20", "-O2", "-o", program, os.path.join(HERE, "slow_server.cpp")], check=True)
        self.port = free_port()
        self.process = subprocess.Popen([program, str(self.port), str(delay)])
        self.url = f"http://127.0.0.1:{self.port}"
        until("the slow server", lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.directory.cleanup()


class Arrivals:
    """Notes when a request begins to arrive."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.arrived, self.when = threading.Event(), 0.0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            while data := connection.recv(65536):
                self.when = time.time()
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                head, _, body = data.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.I)
                while length and len(body) < int(length[1]):
                    body += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")
                self.arrived.set()


class Sending:
    def __init__(self, session, nginx, report, records, rounds):
        self.sql, self.nginx, self.report, self.records, self.rounds = session, nginx, report, records, rounds

    def sync(self, name, table, url, **options):
        batch = options["batch_size"]
        make_sync(self.sql, name, table, url, requests=SINGLE if batch == 1 else BATCHES, mode="upsert", **options)

    def narrow_update(self):
        """CPU seconds a row of the cheapest durable per-record outcome that SQL has: UPDATE of a narrow table, 10,000 rows of an array at a time."""
        rows, at_once = 100000, 10000
        if not self.sql("SELECT to_regclass('outcome')"):
            self.sql("CREATE TABLE outcome (id bigint PRIMARY KEY, status int, code int, at timestamptz) WITH (fillfactor = 50)")
            self.sql(f"INSERT INTO outcome SELECT g, 0, 0, now() FROM generate_series(1, {rows}) g")
            self.sql("VACUUM ANALYZE outcome")
        spent = sum(self.sql.timed("UPDATE outcome SET status = status + 1, code = 200, at = now() FROM unnest((SELECT array_agg(g::bigint) "
                                   f"FROM generate_series({first + 1}, {first + at_once}) g)) u (id) WHERE outcome.id = u.id")[0] for first in range(0, rows, at_once))
        self.sql("VACUUM outcome")
        return spent / rows

    def throughput(self):
        sql, add = self.sql, self.report.add
        single = max(self.records // 5, 1000)
        sql.make_wal_files()
        make_table(sql, "sent", self.records)
        make_table(sql, "sent_singly", single)
        self.sync("single", "sent_singly", self.nginx.url, batch_size=1, concurrency=64)
        self.sync("hundreds", "sent", self.nginx.url, batch_size=100, concurrency=16)
        run(sql, "hundreds")
        ratios, rates, singly, hundreds = [], [], [], []
        cases = {"first run": [], "every record changed": []}  # of each round: CPU and WAL a record, CPU of a narrow UPDATE
        compare_memory = send_memory = 0  # MB
        for n in range(self.rounds):
            floor = wrk(self.nginx.url)
            one = run(sql, "single", "full" if n else "none")
            ratios.append(one.requests / one.send_wall / floor)
            singly.append(one.send_cpu / single)
            self.sync(f"first_{n}", "sent", self.nginx.url, batch_size=100, concurrency=16)
            before = self.narrow_update()
            for (case, measured), name, resync in zip(cases.items(), (f"first_{n}", "hundreds"), ("none", "full")):
                lsn = sql("SELECT pg_current_wal_insert_lsn()")
                many = run(sql, name, resync)
                wal = float(sql("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", lsn))
                after = self.narrow_update()
                compare_memory, send_memory = max(compare_memory, many.compare_memory), max(send_memory, one.send_memory, many.send_memory)
                measured.append((many.send_cpu / self.records, wal / self.records, (before + after) / 2))
                before = after
            rates.append((many.succeeded / many.send_wall) / (one.succeeded / one.send_wall))
            hundreds.append(many.succeeded / many.send_wall)
            sql(f"SELECT courier.drop_sync('first_{n}')")
        add("64 connections, a record a request: requests/s of wrk's", median(ratios), 0.25, most=False, floor=f"{floor:.0f}/s", measured=f"{one.requests / one.send_wall:.0f}/s")
        add("batches of 100: records/s of those of a record a request", median(rates), 4, most=False, measured=f"{median(hundreds):.0f}/s")
        # The must is 5 us, of a machine whose narrow UPDATE took 2.3 us a row (lab). A slower one may take as much more as its UPDATE takes.
        for case, measured in cases.items():
            cpu, wal, narrow = zip(*measured)
            add(f"CPU a record, batches of 100, {case}: us where a narrow UPDATE takes 2.3", median(cpu) * 1e6 * min(1, 2.3e-6 / median(narrow)), 5, unit="us",
                floor=us(median(narrow), 1), measured=us(median(cpu), 1))
            add(f"WAL a record, {case}", median(wal), unit="B")
        add("CPU a record, a record a request", median(singly) * 1e6, unit="us")
        add("memory of the worker's own (RssAnon) while it sends", send_memory, 40, unit="MB")
        add("while it compares: PostgreSQL's sums, sorts and hash tables", compare_memory, unit="MB")

    def two_workers(self):
        """Option workers, in turns with one worker; of a machine with two cores the receiver has a part too."""
        self.sync("hundreds_of_two", "sent", self.nginx.url, batch_size=100, concurrency=16, workers=2)
        self.sync("single_of_two", "sent_singly", self.nginx.url, batch_size=1, concurrency=64, workers=2)
        for what, one, two in (("batches of 100", "hundreds", "hundreds_of_two"), ("a record a request", "single", "single_of_two")):
            run(self.sql, two)
            ratios, rates = [], []
            for _ in range(self.rounds):
                alone, both = (run(self.sql, name, "full") for name in (one, two))
                ratios.append((both.succeeded / both.send_wall) / (alone.succeeded / alone.send_wall))
                rates.append(both.succeeded / both.send_wall)
            self.report.add(f"two workers, {what}: records/s of those of one", median(ratios), measured=f"{median(rates):.0f}/s")

    def slow(self):
        slow = Slow(50)
        try:
            # Both take three seconds, so that what a run costs besides its requests weighs the same.
            parts = {1: 60, 128: 128 * 60}
            make_table(self.sql, "slowly", max(parts.values()))
            rates = {}
            for connections, part in parts.items():
                self.sql(f"CREATE VIEW slowly_{connections} AS SELECT * FROM slowly WHERE id <= {part}")
                make_sync(
                    self.sql, f"slow_{connections}", f"slowly_{connections}", slow.url, requests=SINGLE, mode="upsert", batch_size=1, concurrency=connections)
                done = [run(self.sql, f"slow_{connections}", "full" if n else "none") for n in range(self.rounds)]
                rates[connections] = median([d.requests / d.send_wall for d in done])
            self.report.add("a server of 50 ms: 128 connections against 1", rates[128] / rates[1], 110, most=False, floor=f"{rates[1]:.1f}/s", measured=f"{rates[128]:.0f}/s")
        finally:
            slow.stop()

    def latency(self, rounds=100):
        arrivals = Arrivals()
        make_table(self.sql, "one", 1000)
        make_sync(self.sql, "one", "one", arrivals.url, requests=SINGLE, mode="upsert", batch_size=1)
        run(self.sql, "one", "baseline")
        took = []
        for n in range(rounds):
            arrivals.arrived.clear()
            connection = self.sql.connection
            connection.autocommit = False
            self.sql("UPDATE one SET city = city || 'x' WHERE id = %s", n + 1)
            run_id = self.sql("SELECT courier.trigger_sync('one')")
            start = time.time()
            connection.commit()
            connection.autocommit = True
            if not arrivals.arrived.wait(20):
                raise RuntimeError("the record did not arrive")
            took.append((arrivals.when - start) * 1000)
            self.sql("SELECT courier.wait_for_run(%s, '1 min')", run_id)
        quantiles = statistics.quantiles(took, n=100)
        self.report.add("commit to request on the wire, a triggered run of one record, p50", quantiles[49], 30, unit="ms")
        self.report.add("commit to request on the wire, p99", quantiles[98], 100, unit="ms")

    def beside_a_stuck_one(self):
        """One sync sits on a server that never answers; what another one does meanwhile, and what it does alone, in turns. A turn takes two
        seconds and varies by a tenth, so there are more of them than elsewhere, and either comes first in half of them."""
        # The stuck sync has the worker that was idle; what runs beside it must not be compared with one that has a warm process.
        self.sql("ALTER SYSTEM SET pg_courier.worker_idle_time = 0")
        self.sql("SELECT pg_reload_conf()")
        pairs, stuck_cpu, wall = [], 0.0, 0.0
        make_table(self.sql, "stuck", 100)
        for n in range(4 * self.rounds):
            alone = self.neighbour() if n % 2 == 0 else None
            silent, name = Slow(0), f"stuck_{n}"
            try:
                self.sql(f"CREATE VIEW {name} AS SELECT * FROM stuck")
                make_sync(self.sql, name, name, silent.url, requests=SINGLE, mode="upsert", batch_size=1, concurrency=16, timeout="10 min")
                run_id = self.sql("SELECT courier.trigger_sync(%s)", name)
                until("the stuck sync to send", lambda: self.sql("SELECT status FROM courier_internal.run WHERE run_id = %s", run_id) == "sending")
                before, start = self.worker_cpu(run_id), time.time()
                beside = self.neighbour()
                stuck_cpu, wall = stuck_cpu + self.worker_cpu(run_id) - before, wall + time.time() - start
                self.sql("SELECT courier.cancel_run(%s)", run_id)
            finally:
                silent.stop()
            self.sql("SELECT courier.wait_for_run(%s, '1 min')", run_id)
            pairs.append((alone or self.neighbour(), beside))
        self.sql("ALTER SYSTEM RESET pg_courier.worker_idle_time")
        self.sql("SELECT pg_reload_conf()")
        alone, beside = (median(rates) for rates in zip(*pairs))
        self.report.add("beside a sync stuck on a silent server: records/s of those alone", median([b / a for a, b in pairs]), 0.95, most=False,
                        floor=f"{alone:.0f}/s", measured=f"{beside:.0f}/s")
        self.report.add("CPU of the stuck sync's worker", stuck_cpu / wall * 100, 5, unit="%")

    def neighbour(self):
        done = run(self.sql, "hundreds", "full")
        return done.succeeded / done.send_wall

    def worker_cpu(self, run_id):
        """CPU seconds so far of the run's worker."""
        time.sleep(0.05)
        return self.sql.cluster.cpu.at(self.sql("SELECT worker_pid FROM courier_internal.run WHERE run_id = %s", run_id), time.time())

    def pg_net(self):
        if not self.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_net'"):
            self.report.missing("against pg_net at its defaults", "that extension is not installed in this cluster")
            return
        self.sql("CREATE EXTENSION pg_net")
        start, count = time.time(), 2000
        self.sql(f"SELECT count(net.http_post('{self.nginx.url}/1', jsonb_build_object('id', g, 'note', repeat('x', 270)))) FROM generate_series(1, {count}) g")
        until("pg_net", lambda: self.sql("SELECT count(*) FROM net._http_response") >= count, 300)
        peer = count / (time.time() - start)
        one = run(self.sql, "single", "full")
        ours = one.requests / one.send_wall
        self.report.add("against pg_net at its defaults, a record a request", ours / peer, 60, most=False, floor=f"{peer:.0f}/s", measured=f"{ours:.0f}/s")

    def run(self):
        self.report.group(f"Sending them: {self.records} records of 300 bytes, log options at their defaults")
        self.throughput()
        self.two_workers()
        self.slow()
        self.latency()
        self.beside_a_stuck_one()
        self.pg_net()
