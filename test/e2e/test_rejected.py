"""Records that were refused, and what becomes of them later; removals that are held or refused."""

from harness import REST, equal, methods, test
from receiver import Answer

OK = Answer(202)


def keys(requests):
    return [(r.method, r.path.rsplit("/", 1)[1]) for r in requests]


@test("an older version was accepted, a newer one rejected, then the row is gone: it is removed")
def rejected_then_removed(t):
    t.table([(1, "one")])
    t.sync(mode="mirror")
    t.run(succeeded_added=1)
    t.receiver.script(t.path + "/1", Answer(422), OK)
    t.sql(f"UPDATE {t.name} SET name = 'bad'")
    t.run("warning", rejected_changed=1)
    t.sql(f"DELETE FROM {t.name}")
    t.seen()
    t.run(succeeded_removed=1)
    equal(keys(t.seen()), [("DELETE", "1")])
    equal(t.rejected(), [])


@test("a removal that is rejected is tried again, from what the snapshot keeps")
def removal_rejected(t):
    t.table([(1, "a@x")], "id integer PRIMARY KEY, email text")
    t.sync(mode="mirror", mapping={"id": "email", "number": "id"}, match_on="{id}")
    t.run(succeeded_added=1)
    t.receiver.script(t.path + "/a%40x", Answer(422), OK)
    t.sql(f"DELETE FROM {t.name}")
    t.run("warning", rejected_removed=1)
    t.seen()
    t.run("warning", requests=0)
    t.call(f"SELECT courier.retry_rejected('{t.name}')")
    t.run(succeeded_removed=1)
    equal(keys(t.seen()), [("DELETE", "a%40x")])


@test("discard_rejected: the record is not sent again before its values change")
def discarded(t):
    t.table([(1, "bad")])
    t.receiver.script(t.path + "/1", Answer(422), OK)
    t.sync()
    t.run("warning", rejected_added=1)
    t.call(f"SELECT courier.discard_rejected('{t.name}')")
    equal(t.rejected(), [])
    t.seen()
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'good'")
    t.run(succeeded_added=1)
    equal(keys(t.seen()), [("PUT", "1")])


@test("rejected, then back to what was accepted: nothing is sent, and it leaves rejected_records")
def back_again(t):
    t.table([(1, "one")])
    t.sync()
    t.run(succeeded_added=1)
    t.receiver.script(t.path + "/1", Answer(422), OK)
    t.sql(f"UPDATE {t.name} SET name = 'bad'")
    t.run("warning", rejected_changed=1)
    t.sql(f"UPDATE {t.name} SET name = 'one'")
    t.seen()
    t.run(requests=0)
    equal(t.rejected(), [])


@test("a value that comes back later (A, B, A) has a new idempotency key each time")
def a_b_a(t):
    t.table([(1, "A")])
    t.sync()
    t.run()
    for value in ("B", "A"):
        t.sql(f"UPDATE {t.name} SET name = '{value}'")
        t.run(succeeded_changed=1)
    sent = t.seen()
    equal([r.json["name"] for r in sent], ["A", "B", "A"])
    equal(len({r.header("Idempotency-Key") for r in sent}), 3)


@test("on_removed archive uses the archive request")
def archive(t):
    t.table([(1, "one")])
    t.sync(on_removed="archive", requests={**REST, "archive": {"method": "POST", "path": "/{{ id }}/archive"}})
    t.receiver.script(t.path + "/1/archive", OK)
    t.run(succeeded_added=1)
    t.sql(f"DELETE FROM {t.name}")
    t.seen()
    t.run(succeeded_removed=1)
    equal([(r.method, r.path[-10:]) for r in t.seen()], [("POST", "/1/archive")])
    t.run(requests=0)


@test("null_keys remove: NULL keys do not hold removals back")
def null_keys_remove(t):
    t.table([(1, "one"), (2, "two")], "id integer UNIQUE, name text")
    t.sync(query=f"SELECT id, name FROM {t.name}", primary_key=["id"], mode="mirror", options={"null_keys": "remove"})
    t.run(succeeded_added=2)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2", f"INSERT INTO {t.name} VALUES (NULL, 'nobody')")
    t.seen()
    t.run("warning", succeeded_removed=1, invalid=1)
    equal(keys(t.seen()), [("DELETE", "2")])


@test("a mapping whose former columns are gone: plan_sync says so, and every record is sent")
def former_lost(t):
    t.table([(1, "one", 5), (2, "two", 6)], "id integer PRIMARY KEY, name text, old integer")
    t.sync(mapping={"id": "id", "name": "name", "old": "old"})
    t.run(succeeded_added=2)
    t.sql(f"ALTER TABLE {t.name} DROP old", f"""SELECT courier.alter_sync('{t.name}', mapping => '{{"id": "id", "name": "name"}}')""")
    equal(t.rows(f"SELECT changed FROM courier.plan_sync('{t.name}')"), [{"changed": 2}])
    t.run(succeeded_changed=2)
    t.run(requests=0)


@test("a changed mapping that only drops a field resends nothing")
def dropped_field(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(mapping={"id": "id", "name": "name", "upper": "upper(name)"})
    t.run(succeeded_added=2)
    t.sql(f"""SELECT courier.alter_sync('{t.name}', mapping => '{{"id": "id", "name": "name"}}')""")
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'x' WHERE id = 1")
    t.run(succeeded_changed=1, requests=1)


@test("a blocked sync is left alone by its schedule, and its health says so", settings=("superuser", "owner"))
def blocked_schedule(t):
    t.table([(n, "x") for n in range(1, 11)])
    t.sync(mode="mirror", options={"max_removed": 3})
    t.run(succeeded_added=10)
    t.sql(f"DELETE FROM {t.name} WHERE id > 2")
    t.run("blocked")
    equal(t.rows(f"SELECT health FROM courier.syncs WHERE name = '{t.name}'"), [{"health": "blocked"}])
    t.sql(f"SELECT courier.alter_sync('{t.name}', schedule => 'every 1 second')")
    equal(t.rows(f"SELECT next_run_at FROM courier.syncs WHERE name = '{t.name}'"), [{"next_run_at": None}])
