"""Models that are large enough for a comparison to ask first where anything differs (core/plan_buckets.cpp)."""

from harness import equal, methods, test
from receiver import Answer

ROWS = 30000


def plan(t):
    return t.rows(f"SELECT * FROM courier.plan_sync('{t.name}')")[0]


def baseline(t, **more):
    t.sync(mode="mirror", first_run="baseline", **more)
    t.run(requests=0, rows_queried=ROWS)
    t.run(requests=0, rows_queried=ROWS, planned_added=0, planned_changed=0, planned_removed=0)


@test("of many rows of one table, those that differ are found: changed, added, removed, back again")
def one_table(t):
    t.table()
    t.sql(f"INSERT INTO {t.name} SELECT n, 'name ' || n FROM generate_series(1, {ROWS}) n")
    baseline(t)
    t.sql(f"UPDATE {t.name} SET name = 'new' WHERE id IN (7, 29999)", f"DELETE FROM {t.name} WHERE id = 15000", f"INSERT INTO {t.name} VALUES (30001, 'more')")
    t.run(planned_added=1, planned_changed=2, planned_removed=1, requests=4, rows_queried=ROWS)
    equal(sorted((r.method, r.path[len(t.path):]) for r in t.seen()), [("DELETE", "/15000"), ("PUT", "/29999"), ("PUT", "/30001"), ("PUT", "/7")])
    t.run(requests=0, rows_queried=ROWS)
    # Two rows exchange their values; one is changed and changed back.
    t.sql(f"UPDATE {t.name} SET name = CASE id WHEN 1 THEN 'name 2' ELSE 'name 1' END WHERE id IN (1, 2)", f"UPDATE {t.name} SET name = 'x' WHERE id = 3", f"UPDATE {t.name} SET name = 'name 3' WHERE id = 3")
    t.run(planned_changed=2, requests=2)
    equal(sorted(r.path[len(t.path):] for r in t.seen()), ["/1", "/2"])
    # So many that everything is joined.
    t.sql(f"UPDATE {t.name} SET name = name || '!' WHERE id % 2 = 0", f"DELETE FROM {t.name} WHERE id % 2000 = 1")
    equal(plan(t), {"added": 0, "changed": 14999, "removed": 16, "unchanged": 14985, "invalid": 0})


@test("of many rows of a join with text keys, copies of a key and NULL keys are told, and nothing else is touched")
def join(t):
    t.sql(f"CREATE TABLE {t.name}_a (code text, n integer)", f"CREATE TABLE {t.name}_b (n integer, name text)",
          f"INSERT INTO {t.name}_a SELECT 'key ' || n, n FROM generate_series(1, {ROWS}) n", f"INSERT INTO {t.name}_b SELECT n, 'name ' || n FROM generate_series(1, {ROWS}) n")
    baseline(t, query=f"SELECT a.code AS id, b.name FROM {t.name}_a a JOIN {t.name}_b b USING (n)", primary_key=["id"])
    t.sql(f"UPDATE {t.name}_b SET name = 'new' WHERE n = 5", f"DELETE FROM {t.name}_b WHERE n = 6", f"INSERT INTO {t.name}_b VALUES (7, 'a copy')", f"UPDATE {t.name}_a SET code = NULL WHERE n = 8")
    # A NULL key holds removals back; the copies are invalid, and what was accepted of that key stays.
    t.run(expected="warning", planned_added=0, planned_changed=1, planned_removed=0, requests=1, rows_queried=ROWS)
    equal([r.json for r in t.seen()], [{"id": "key 5", "name": "new"}])
    equal(t.rows(f"SELECT reason, key FROM courier.invalid_rows WHERE sync = '{t.name}' ORDER BY 1"), [{"reason": "duplicate_key", "key": "key 7"}, {"reason": "null_key", "key": None}])
    t.sql(f"DELETE FROM {t.name}_a WHERE code IS NULL", f"DELETE FROM {t.name}_b WHERE name = 'a copy'")
    t.run(planned_removed=2, requests=2)
    equal(methods(t.seen()), ["DELETE", "DELETE"])
    t.run(requests=0)


@test("many rows with events: each key once, a row that left and returns is not sent again")
def events(t):
    t.table()
    t.sql(f"INSERT INTO {t.name} SELECT n, 'name ' || n FROM generate_series(1, {ROWS}) n")
    t.sync(sync_type="events", mode=None, first_run="baseline", requests={"event": {"method": "POST", "path": "/events", "body": "{{ record }}"}})
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'not told' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 2", f"INSERT INTO {t.name} VALUES (30001, 'told')")
    t.run(requests=1)
    equal([r.json["id"] for r in t.seen()], [30001])
    t.insert((2, "back"))
    t.run(requests=0)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(requests=0)


@test("records of several pages: what was settled is the record that was sent, also where it has another's place in memory")
def pages(t):
    t.path = f"/plain/{t.name}"
    t.receiver.script(f"{t.path}/up", Answer(200))
    t.table(columns="id integer PRIMARY KEY, name text")
    t.sql(f"INSERT INTO {t.name} SELECT n, repeat('x', 2000) FROM generate_series(1, 8000) n")  # a page is of 4 MB
    t.sync(requests={"upsert": {"method": "POST", "path": "/up", "body": {"rows": "{{ records }}"}, "idempotent": True}}, options={"batch_size": 100, "concurrency": 1})
    t.run(succeeded_added=8000)
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = name || 'y'")
    t.run(succeeded_changed=8000)
    t.run(requests=0)
