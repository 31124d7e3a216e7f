"""Finding the changes: CPU and wall time of a run's comparison against F, a hash of every column by PostgreSQL's own means.

F is taken before each measurement in a session of its own; a ratio is the median of the rounds' ratios. What a comparison takes is what its
worker spends until the first request could go out; "whole run" has the sending and the settlement too.
"""

from models import make_join, make_model, make_ugly
from report import median
from syncs import make_sync, run


def floor(session, model):
    return session.timed(f"SELECT count(hash_record_extended(m.*, 0)) FROM {model} m")


class Finding:
    def __init__(self, session, url, report, rows, rounds):
        self.sql, self.url, self.report, self.rows, self.rounds = session, url, report, rows, rounds

    def unchanged(self, case, sync, model, must, rounds=None, unit="F"):
        """Adds the case; gives CPU and wall ratios and the CPU in seconds."""
        cpu, wall, spent = [], [], []
        for n in range(rounds or self.rounds):
            f = floor(self.sql, model)
            done = run(self.sql, sync)
            cpu.append(done.cpu / f[0])
            wall.append(done.wall / f[1])
            spent.append((f[0], done.cpu))
        self.report.add(case, median(cpu), must, floor=f"{median([s[0] for s in spent]):.2f} s", measured=f"{median([s[1] for s in spent]):.2f} s", unit=unit,
                        note=f"wall {median(wall):.2f} {unit}")
        return median(cpu), median([s[1] for s in spent])

    def sync(self, name, relation, key=("id",)):
        make_sync(self.sql, name, relation, self.url, key=key, mode="mirror", batch_size=100, concurrency=16)

    def cancelled_first_run(self, name, model):
        """The comparison of a first run; what it would send is not sent."""
        sql = self.sql
        f = floor(sql, model)
        run_id = sql("SELECT courier.trigger_sync(%s)", name)
        sql(f"DO $$ BEGIN WHILE (SELECT status FROM courier_internal.run WHERE run_id = {run_id}) IN ('queued', 'querying') LOOP PERFORM pg_sleep(0.005); END LOOP; END $$")
        sql("SELECT courier.cancel_run(%s)", run_id)
        sql("SELECT courier.wait_for_run(%s, '1 hour')", run_id)
        from syncs import Run
        done = Run(sql, run_id)
        return done.compare_cpu / f[0], f[0], done.compare_cpu

    def base(self, name="m", rows=None):
        make_model(self.sql, name, rows or self.rows)
        self.sync(name, name)

    def first(self):
        # Of three: the first one of a new cluster pays for every page of shared memory that it is the first to touch.
        found = []
        for n in range(3):
            self.sync(f"m_first_{n}", "m")
            found.append(self.cancelled_first_run(f"m_first_{n}", "m"))
            self.sql(f"SELECT courier.drop_sync('m_first_{n}')")
        ratio, f, spent = (median(column) for column in zip(*found))
        self.report.add("first run, every record with its payload", ratio, 5.5, floor=f"{f:.2f} s", measured=f"{spent:.2f} s", unit="F")
        self.baseline("m")

    def baseline(self, name):
        run(self.sql, name, "baseline")
        self.sql("VACUUM ANALYZE courier_data.snapshot_" + str(self.sql("SELECT sync_id FROM courier_internal.sync WHERE name = %s", name)))

    def changes(self):
        """Another hundredth of the records each time."""
        sql, found, wal = self.sql, [], []
        for n in range(self.rounds):
            sql(f"UPDATE m SET name = name || '!' WHERE number % 100 = {n}")
            sql("VACUUM ANALYZE m")
            f = floor(sql, "m")
            lsn = sql("SELECT pg_current_wal_insert_lsn()")
            done = run(sql, "m")
            wal.append(float(sql("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", lsn)) / done.planned)
            found.append((f[0], done.compare_cpu, done.cpu))
        self.of_floor("1 % changed, payloads built", found, 1, 1.8)
        self.of_floor("1 % changed, whole run: sent in hundreds, snapshot advanced, logged", found, 2, note=f"{median(wal) / 2**20 * 1e6:.0f} MB of WAL per million changes")

    def of_floor(self, case, found, what, must=None, note=None):
        """`found`: of each round F, and what was measured."""
        self.report.add(case, median([round[what] / round[0] for round in found]), must, floor=f"{median([round[0] for round in found]):.2f} s",
                        measured=f"{median([round[what] for round in found]):.2f} s", unit="F", note=note)

    def hot_share(self):
        """Of the snapshot's updates, how many needed no new index entry."""
        updates, hot = self.sql("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = ('courier_data.snapshot_' || "
                                "(SELECT sync_id FROM courier_internal.sync WHERE name = 'm'))::regclass")[0]
        self.report.add("updates of the snapshot that were HOT, of all", hot / max(updates, 1), unit="", measured=f"{updates} updates")

    def removed(self):
        """A tenth goes, and comes back for the next round."""
        sql, found = self.sql, []
        sql("CREATE TABLE gone AS SELECT * FROM m WHERE number % 10 = 3")
        for n in range(self.rounds):
            if n:
                sql("INSERT INTO m SELECT * FROM gone")
                run(sql, "m")
            sql("DELETE FROM m WHERE number % 10 = 3")
            sql("VACUUM ANALYZE m")
            f = floor(sql, "m")
            done = run(sql, "m")
            found.append((f[0], done.compare_cpu, done.cpu))
        self.of_floor("10 % removed", found, 1, 2.3)
        self.of_floor("10 % removed, whole run", found, 2)

    def keys(self):
        """Tables of one size with keys of several kinds, compared in turn."""
        rows, spent = max(self.rows // 5, 200000), {}
        for key in ("bigint", "text", "composite"):
            self.sync("k_" + key, "k_" + key, make_model(self.sql, "k_" + key, rows, key))
            self.baseline("k_" + key)
            spent[key] = []
        for _ in range(3 * self.rounds):
            for key, cpu in spent.items():
                cpu.append(run(self.sql, "k_" + key).cpu)
        for key in ("text", "composite"):
            self.report.add(f"nothing changed, {key} key, of the bigint case ({rows} rows)", median([a / b for a, b in zip(spent[key], spent["bigint"])]), 1.3,
                            floor=f"{median(spent['bigint']):.2f} s", measured=f"{median(spent[key]):.2f} s")
        self.joined("k_bigint", rows)
        for key in spent:
            self.sql(f"DROP TABLE k_{key} CASCADE")

    def disk(self):
        table = "courier_data.snapshot_" + str(self.sql("SELECT sync_id FROM courier_internal.sync WHERE name = 'm'"))
        size = float(self.sql(f"SELECT pg_relation_size('{table}') + pg_indexes_size('{table}')"))
        records = self.sql(f"SELECT count(*) FROM {table}")
        self.report.add("snapshot on disk with its index, bytes a record", size / records, 100, unit="B", note="filled by a baseline in the order of the heap")

    def joined(self, table, rows):
        make_join(self.sql, "m_join", table, rows)
        self.sync("m_join", "m_join")
        self.baseline("m_join")
        self.unchanged(f"nothing changed, a join with an aggregate, of F of it ({rows} rows)", "m_join", "m_join", 1.9)

    def ugly(self):
        rows = max(self.rows // 50, 2000)
        columns = make_ugly(self.sql, "ugly", rows)
        self.sync("ugly", "ugly", columns)
        run(self.sql, "ugly", "baseline")
        self.unchanged(f"nothing changed, the ugly model ({rows} rows, 150 columns, 12 tables)", "ugly", "ugly", 1.6)

    def growth(self, times, before):
        """`before` is the CPU of the unchanged case at a size that is so many times smaller."""
        _, spent = self.unchanged(f"nothing changed, {self.rows * times} rows", "large", "large", None, rounds=3)
        self.report.add(f"growth of the cost, {self.rows} to {self.rows * times} rows", spent / before, 1.1 * times)

    def run(self, larger):
        self.report.group(f"Finding the changes: {self.rows} rows, 10 columns")
        self.base()
        self.first()
        self.disk()
        _, bigint = self.unchanged("nothing changed, one table", "m", "m", 1.45)
        self.changes()
        self.hot_share()
        self.removed()
        self.keys()
        self.ugly()
        for times in larger:
            self.base("large", self.rows * times)
            self.baseline("large")
            self.growth(times, bigint)
            self.sql("SELECT courier.drop_sync('large'); SELECT courier.drop_model('large'); DROP TABLE large")
