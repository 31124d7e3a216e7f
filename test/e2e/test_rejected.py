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


BY_EMAIL = {"upsert": {"method": "PUT", "path": "/{{ email }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ email }}"}}


def people(t, *rows, **more):
    """A mirror whose records are named by an e-mail address that is not the key."""
    t.table(rows, "id integer PRIMARY KEY, email text")
    t.sync(**{"mode": "mirror", "mapping": {"email": "email", "n": "id"}, "match_on": "{email}", "requests": BY_EMAIL, **more})
    t.run(succeeded_added=len(rows))
    t.seen()


def rename(t, number, email):
    t.sql(f"UPDATE {t.name} SET email = '{email}' WHERE id = {number}")


def only(t, method, *answers):
    """These answers for requests of this method below the test's path, in order; everything else is stored."""
    left = list(answers)

    def answer(request):
        return left.pop(0) if request.method == method and left else Answer(200)
    t.receiver.script(t.path, answer)


def retry(t):
    t.call(f"SELECT courier.retry_rejected('{t.name}')")


@test("former match value: its removal was rejected; it is tried again, by itself, until it is accepted")
def former_rejected(t):
    people(t, (1, "a"), (2, "b"))
    only(t, "DELETE", Answer(422))
    rename(t, 1, "c")
    t.run("warning", succeeded_added=1, rejected_removed=1)
    equal(sorted(t.stored()), ["a", "b", "c"])
    equal([(r["key"], r["change"]) for r in t.rejected()], [("1", "removed")])
    t.seen()
    t.run("warning", requests=0)  # not due yet
    retry(t)
    t.run(succeeded_removed=1, requests=1)
    equal(keys(t.seen()), [("DELETE", "a")])
    equal((sorted(t.stored()), t.rejected()), (["b", "c"], []))
    t.run(requests=0)
    equal(t.rows(f"SELECT snapshot_records FROM courier.sync_details WHERE name = '{t.name}'"), [{"snapshot_records": 2}])


ZERO = "00000000-0000-0000-0000-00000000000"


@test("former match value: what is owed is no record's of its own, whatever the type of the key")
def former_of_any_key(t):
    for type, first, second in ("integer", 0, 1), ("text", "", "y"), ("uuid", ZERO + "0", ZERO + "1"):
        name = f"{t.name}_{type}"
        t.table([(first, type + "0"), (second, type + "1")], f"id {type} PRIMARY KEY, email text", name)
        t.sync(name, relation=name, mode="mirror", mapping={"email": "email"}, match_on="{email}", requests=BY_EMAIL)
        t.run(sync=name, succeeded_added=2)
        only(t, "DELETE", Answer(422))
        t.sql(f"UPDATE {name} SET email = 'new' WHERE id = '{second}'")
        t.run("warning", name, succeeded_added=1, rejected_removed=1)
        t.call(f"SELECT courier.retry_rejected('{name}')")
        t.seen()
        t.run(sync=name, succeeded_removed=1, requests=1)
        equal(keys(t.seen()), [("DELETE", type + "1")])


@test("former match value: a second rename, and the row gone, while the removal is still owed")
def former_twice(t):
    people(t, (1, "a"))
    only(t, "DELETE", Answer(422), Answer(422))
    rename(t, 1, "b")
    t.run("warning", rejected_removed=1)
    rename(t, 1, "c")
    t.run("warning", succeeded_added=1, rejected_removed=1)  # that of b; a is not due
    equal([(r["key"], r["change"]) for r in t.rejected()], [("1", "removed")] * 2)
    t.sql(f"DELETE FROM {t.name}")
    t.seen()
    t.run("warning", succeeded_removed=1)
    equal(keys(t.seen()), [("DELETE", "c")])
    retry(t)
    t.run(succeeded_removed=2)
    equal((sorted(keys(t.seen())), t.stored()), ([("DELETE", "a"), ("DELETE", "b")], {}))


@test("former match value: another record has taken it meanwhile; it is not removed")
def former_taken(t):
    people(t, (1, "a"))
    only(t, "DELETE", Answer(422))
    rename(t, 1, "b")
    t.run("warning", rejected_removed=1)
    t.insert((2, "a"))
    retry(t)
    t.seen()
    t.run(succeeded_added=1, requests=1)
    equal(t.stored(), {"a": {"email": "a", "n": 2}, "b": {"email": "b", "n": 1}})
    t.run(requests=0)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(succeeded_removed=1, requests=1)
    equal(sorted(t.stored()), ["b"])


@test("former match value: taken by a record that is refused, which then goes: the old one is removed after all")
def former_taken_refused(t):
    people(t, (1, "a"))
    only(t, "DELETE", Answer(422))
    rename(t, 1, "b")
    t.run("warning", rejected_removed=1)
    t.receiver.script(t.path + "/a", Answer(422), Answer(200))
    t.insert((2, "a"))
    t.run("warning", rejected_added=1, requests=1)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    retry(t)
    t.run(succeeded_removed=1)
    equal(sorted(t.stored()), ["b"])


@test("former match value: the removal is accepted and the addition refused; going back to the old value adds it again")
def former_addition_refused(t):
    people(t, (1, "a"))
    t.receiver.script(t.path + "/b", Answer(422))
    rename(t, 1, "b")
    t.run("warning", rejected_added=1, succeeded_removed=1)
    equal(t.stored(), {})
    t.run("warning", requests=0)
    rename(t, 1, "a")
    t.run(succeeded_added=1)
    equal((sorted(t.stored()), t.rejected()), (["a"], []))


@test("former match value: both refused, each is tried again by itself; back at the old value nothing is owed")
def former_both(t):
    people(t, (1, "a"), (2, "z"))
    t.receiver.script(t.path + "/b", Answer(422), Answer(422), Answer(200))
    only(t, "DELETE", Answer(422), Answer(422))
    rename(t, 1, "b")
    t.run("warning", rejected_added=1, rejected_removed=1)
    equal(sorted((r["key"], r["change"]) for r in t.rejected()), [("1", "added"), ("1", "removed")])
    retry(t)
    t.run("warning", rejected_added=1, rejected_removed=1)
    equal([r["attempts"] for r in t.rejected()], [2, 2])
    t.seen()
    rename(t, 1, "a")
    t.run(requests=0)
    equal((sorted(t.stored()), t.rejected()), (["a", "z"], []))
    rename(t, 1, "b")
    t.run(succeeded_added=1, succeeded_removed=1)
    equal(sorted(t.stored()), ["b", "z"])


@test("former match value: A to B and back to A while the removal of A is owed")
def former_back(t):
    people(t, (1, "a"))
    only(t, "DELETE", Answer(422))
    rename(t, 1, "b")
    t.run("warning", rejected_removed=1)
    rename(t, 1, "a")
    retry(t)
    t.seen()
    t.run(succeeded_added=1, succeeded_removed=1)
    equal(keys(t.seen()), [("PUT", "a"), ("DELETE", "b")])
    equal((t.stored(), t.rejected()), ({"a": {"email": "a", "n": 1}}, []))
    t.run(requests=0)


@test("former match value: the answer to its removal is lost: sent again with the same key")
def former_lost(t):
    people(t, (1, "a"))
    only(t, "DELETE", Answer(200, drop=True))
    rename(t, 1, "b")
    t.run(succeeded_added=1, succeeded_removed=1)
    sent = [r for r in t.seen() if r.method == "DELETE"]
    equal((len(sent), len({r.header("Idempotency-Key") for r in sent})), (2, 1))
    equal(sorted(t.stored()), ["b"])


@test("former match value: unknown is held until retry_rejected; a value that comes back meanwhile is sent")
def former_unknown(t):
    people(t, (1, "a"), requests={**BY_EMAIL, "delete": {**BY_EMAIL["delete"], "idempotent": False}})
    t.receiver.script(t.path + "/b", Answer(422))
    only(t, "DELETE", Answer(200, drop=True))
    rename(t, 1, "b")
    t.run("warning", rejected_added=1, unknown=1)
    equal(t.stored(), {})
    t.seen()
    t.run("warning", requests=0)
    rename(t, 1, "a")  # as the snapshot has it, which may not be true
    t.run(succeeded_changed=1)
    equal((sorted(t.stored()), t.rejected()), (["a"], []))


@test("former match value: removed by the identifier that the destination gave for it, not by the new one's")
def former_remote_id(t):
    t.table([(1, "a")], "id integer PRIMARY KEY, email text")
    for number, mail in enumerate(("a", "b"), 100):
        t.receiver.script(f"{t.path}/by/{mail}", Answer(201, {"id": str(number)}))
        t.receiver.script(f"{t.path}/{number}", Answer(204))
    t.sync(mode="upsert", on_removed="delete", mapping={"email": "email"}, match_on="{email}", response={"remote_id": "/id"}, requests={
        "upsert": {"method": "PUT", "path": "/by/{{ email }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ remote_id }}"}})
    t.run(succeeded_added=1)
    t.receiver.script(f"{t.path}/100", Answer(422), Answer(204))
    rename(t, 1, "b")
    t.run("warning", succeeded_added=1, rejected_removed=1)
    retry(t)
    t.run(succeeded_removed=1)
    equal([p for m, p in keys(t.seen()) if m == "DELETE"], ["100", "100"])
    t.sql(f"DELETE FROM {t.name}")
    t.run(succeeded_removed=1)
    equal(keys(t.seen()), [("DELETE", "101")])


@test("former match value: test_record tells the new value, and the next run removes the old one", settings=("superuser",))
def former_test_record(t):
    people(t, (1, "a"))
    rename(t, 1, "b")
    equal(t.rows(f"SELECT outcome FROM courier.test_record('{t.name}', '1')"), [{"outcome": "succeeded"}])
    equal(keys(t.seen()), [("PUT", "b")])
    t.run(succeeded_removed=1, planned_added=0)
    equal(sorted(t.stored()), ["b"])
