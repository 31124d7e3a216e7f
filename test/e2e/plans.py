#!/usr/bin/env python3
"""How PostgreSQL executes the statements of a comparison, at any number of rows. auto_explain logs the plans of the very statements that runs
execute; what must be true of them is below. With LARGE_ROWS as a program of its own (test/large), otherwise called by test_plans.py."""

import json
import os
import re
import sys

if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Cluster, equal, literal  # noqa: E402
from receiver import Answer, Receiver  # noqa: E402

WIDE = 100  # bytes of a row: what is sorted or hashed to disk must be narrower, and the model's rows are wider
LARGE = 1000000  # rows from which plans must be parallel


def walk(node):
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


class Statement:
    def __init__(self, found):
        self.text, self.plan, self.jit = found["Query Text"], found["Plan"], "JIT" in found
        self.nodes = list(walk(self.plan))

    def count(self, node_type):
        return sum(node["Node Type"] == node_type for node in self.nodes)

    def __str__(self):
        lines = []

        def write(node, depth):
            lines.append("  " * depth + node["Node Type"] + "".join(f", {key} {node[key]}" for key in ("Relation Name", "Actual Rows", "Actual Loops", "Plan Width", "Hash Batches",
                                                                                                      "Sort Space Type", "Workers Planned") if key in node))
            for child in node.get("Plans", ()):
                write(child, depth + 1)
        write(self.plan, 2)
        return self.text[:300] + "\n" + "\n".join(lines)


def must(statement, condition, what):
    assert condition, f"{what}:\n{statement}"


def spilled(statement):
    """(width, what) of rows that went to disk."""
    for node in statement.nodes:
        if node.get("Sort Space Type") == "Disk":
            yield node["Plan Width"], "a sort"
        for child in node.get("Plans", ()):
            if child.get("Hash Batches", 1) > 1:  # rows of both sides wait in files
                yield max(side["Plan Width"] for side in node["Plans"]), "a hash join"


def check_any(statement, rows):
    """What holds for each statement of a run, whatever it does."""
    must(statement, not statement.jit, "compiled just in time")
    for node in statement.nodes:
        work = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)) * node["Actual Loops"]
        must(statement, work <= 3 * rows + 1000, f"{node['Node Type']} handles {work} rows where the model has {rows}")
    for width, what in spilled(statement):
        must(statement, width < WIDE, f"{what} writes rows of {width} bytes to disk")


def check_compare(statement, rows):
    if "WHERE false" in statement.text:  # the sums said that nothing differs
        must(statement, [node["Node Type"] for node in statement.nodes] == ["Result"], "nothing differs, and yet something is read")
        return
    must(statement, statement.count("Merge Join") == 1 and statement.count("Sort") == 2, "not sorted and merged")
    for other in ("Hash Join", "Nested Loop", "Index Scan", "Bitmap Heap Scan"):
        must(statement, statement.count(other) == 0, f"{other} in the comparison")


def check_sums(statement, rows):
    if rows >= LARGE:
        must(statement, sum(node.get("Workers Planned", 0) > 0 for node in statement.nodes) == 2, "model and snapshot are not both read in parallel")
    must(statement, statement.count("Sort") == 0, "sums need no order")


KINDS = (("sums", r"SELECT pg_catalog\.encode\(d\.bits", check_sums), ("stage", r"CREATE (?:UNLOGGED )?TABLE courier_data\.\w+_cur_", None),
         ("compare", r"CREATE (?:UNLOGGED )?TABLE courier_data\.\w+_dif_", check_compare), ("changes", r"INSERT INTO courier_data\.\w+_chg_", None))


class Plans:
    """A database of its own, whose sessions and run workers log their plans."""

    database = "plans"

    def __init__(self, cluster, receiver, rows):
        self.cluster, self.receiver, self.rows, self.kinds = cluster, receiver, rows, {}
        self.database = f"plans_{rows}"
        cluster.psql(f"CREATE DATABASE {self.database}", database="postgres")
        settings = {"log_min_duration": "0", "log_analyze": "on", "log_timing": "off", "log_nested_statements": "on", "log_format": "json"}
        cluster.psql(*(f"ALTER DATABASE {self.database} SET auto_explain.{name} = '{value}'" for name, value in settings.items()), database="postgres")
        receiver.script(f"/{self.database}", Answer(200, {"ok": True}))
        # Without these the sessions of a test would be in the log as well.
        self.quiet = "SET auto_explain.log_min_duration = -1"
        self.sql("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier")

    def sql(self, *commands):
        return self.cluster.psql(self.quiet, *commands, database=self.database, timeout=3600)

    def drop(self):
        for sync in self.sql("SELECT name FROM courier.syncs").split():
            self.sql(f"SELECT courier.pause_sync({literal(sync)})")
        self.cluster.psql(f"DROP DATABASE {self.database} WITH (FORCE)", database="postgres")

    def make(self):
        """Statistics that are those of ten rows, and none of the table that is joined to it."""
        rows = f"SELECT k, k % 10, 'customer ' || k, repeat('x', 120) FROM (SELECT (i * 7368787) % {self.rows} AS k FROM generate_series({{}}::bigint, {{}}) i) i"
        self.sql("CREATE TABLE region (region integer PRIMARY KEY, title text) WITH (autovacuum_enabled = off)", "INSERT INTO region SELECT n, 'region ' || n FROM generate_series(0, 9) n",
                 "CREATE TABLE customer (id bigint PRIMARY KEY, region integer, name text, note text) WITH (autovacuum_enabled = off)", "INSERT INTO customer " + rows.format(0, 9),
                 "ANALYZE customer", "INSERT INTO customer " + rows.format(10, self.rows - 1))

    def sync(self, name, model):
        url = {"base_url": f"{self.receiver.url}/{self.database}/{name}"}
        requests = {word: {"method": "PUT", "path": f"/{word}", "body": {"rows": "{{ records }}"}} for word in ("upsert", "delete")}
        self.sql(f"SELECT courier.create_model('{name}', {model})", f"SELECT courier.create_destination('{name}', 'http', {literal(url)})",
                 f"SELECT courier.create_sync('{name}', '{name}', '{name}', mode => 'mirror', config => {literal({'requests': requests})},"
                 """ options => '{"batch_size": 1000, "log_records": "failed", "log_requests": "none"}')""")

    def baseline(self, name):
        self.sql(f"CALL courier.run_sync('{name}', 'baseline', timeout => '1 hour')")
        self.sql(f"ALTER TABLE courier_data.snapshot_{self.sql(f'SELECT sync_id FROM courier_internal.sync WHERE name = {literal(name)}')} SET (autovacuum_enabled = off)")

    def logged(self, what):
        """Plans that were logged while `what` was done."""
        begin = os.path.getsize(self.cluster.log)
        what()
        with open(self.cluster.log, errors="replace") as f:
            f.seek(begin)
            log = f.read()
        entries = re.findall(r"\[\d+\] (pg_courier run worker|client backend) LOG:  duration: [\d.]+ ms  plan:\n((?:\t.*\n)+)", log)
        return [Statement(json.loads(text.replace("\n\t", "\n"))) for _, text in entries if "courier_data." in text]

    def check(self, what, expected):
        """`expected`: the kinds of statements that must have been executed, in this order."""
        seen = []
        for statement in self.logged(what):
            check_any(statement, self.rows)
            for kind, pattern, check in KINDS:
                if re.match(pattern, statement.text):
                    seen.append(kind)
                    if check:
                        check(statement, self.rows)
        equal(seen, expected, "statements")

    def run(self, name, expected, *planned):
        self.check(lambda: self.sql(f"CALL courier.run_sync('{name}', timeout => '1 hour')"), expected)
        equal(self.sql(f"SELECT planned_added || ' ' || planned_changed || ' ' || planned_removed FROM courier.run_details WHERE sync = '{name}' ORDER BY run_id DESC LIMIT 1"),
              " ".join(map(str, planned)), "added, changed, removed")

    def preview(self, name, expected):
        self.check(lambda: self.cluster.psql(f"SELECT * FROM courier.plan_sync('{name}')", database=self.database, timeout=3600), expected)


def check_plans(cluster, receiver, rows):
    plans = Plans(cluster, receiver, rows)
    sums = ["sums"] if rows > 20000 else []
    percent, tenth = rows // 100, rows // 10
    try:
        plans.make()
        plans.sync("plain", "relation => 'customer'")
        plans.preview("plain", ["changes"])  # every record, with its payload
        plans.baseline("plain")
        plans.run("plain", [*sums, "stage", "compare"], 0, 0, 0)
        plans.sync("joined", "query => 'SELECT r.title, c.id::text AS code, c.name, c.note FROM customer c JOIN region r USING (region)', primary_key => '{title,code}'")
        plans.baseline("joined")
        # Statistics are stale, and the snapshots have none.
        plans.sql(f"UPDATE customer SET name = name || '!' WHERE id < {percent or 1}", f"DELETE FROM customer WHERE id >= {rows - tenth}")
        plans.run("plain", [*sums, "stage", "compare", "changes", "changes"], 0, percent or 1, tenth)
        plans.preview("joined", ["stage", *sums, "compare", "changes", "changes"])
        plans.sql("ANALYZE")
        plans.sql(f"UPDATE customer SET name = name || '!' WHERE id < {percent or 1}")
        plans.run("plain", [*sums, "stage", "compare", "changes"], 0, percent or 1, 0)
        # So many that nothing is narrowed, and that the changes do not fit into work_mem.
        plans.sql(f"UPDATE customer SET name = name || '!' WHERE id % 10 < 6")
        plans.preview("plain", [*sums, "stage", "compare", "changes"])
    finally:
        plans.drop()


def main():
    cluster = receiver = None
    try:
        receiver, cluster = Receiver(), Cluster("superuser")
        cluster.psql("CREATE DATABASE app", database="postgres")
        check_plans(cluster, receiver, int(os.environ["LARGE_ROWS"]))
        print(f"ok - plans at {os.environ['LARGE_ROWS']} rows")
    finally:
        if cluster:
            cluster.stop()


if __name__ == "__main__":
    main()
