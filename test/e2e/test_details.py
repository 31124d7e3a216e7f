"""What else is settled: which request serves what, what a full resync does, and who starts after whom."""

from harness import POSTED, REST, SqlError, equal, methods, test, until
from receiver import Answer


def keys(requests):
    return [(r.method, r.path.rsplit("/", 1)[1]) for r in requests]


@test("clear without a request of its own goes through update; match fields stay, all others are null")
def clear_by_update(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(on_removed="clear", requests={k: v for k, v in POSTED.items() if k != "delete"})
    t.run(succeeded_added=2)
    t.seen()
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(succeeded_removed=1, requests=1)
    equal([(r.method, r.path.rsplit("/", 1)[1], r.json) for r in t.seen()], [("PATCH", "2", {"id": 2, "name": None})])
    equal(t.stored()["2"], {"id": 2, "name": None})


@test("a changed constant resends nothing; resync full sends it")
def changed_constant(t):
    t.table([(1, "one")])
    t.sync(mapping={"id": "id", "name": "name", "origin": "'old'"})
    t.run(succeeded_added=1)
    t.sql(f"""SELECT courier.alter_sync('{t.name}', mapping => '{{"id": "id", "name": "name", "origin": "''new''"}}')""")
    t.run(requests=0)
    t.run(resync="full", planned_changed=1, requests=1)
    equal([r.json["origin"] for r in t.seen()], ["old", "new"])


@test("resync full: removals follow on_removed, and the guards apply")
def full_removals(t):
    t.table([(n, "x") for n in range(1, 11)])
    t.sync(mode="mirror", options={"max_removed": 2})
    t.run(succeeded_added=10)
    t.sql(f"DELETE FROM {t.name} WHERE id = 1")
    t.seen()
    t.run(resync="full", succeeded_changed=9, succeeded_removed=1)
    seen = t.seen()
    equal((sorted(methods(seen)), keys(seen)[-1]), (["DELETE"] + ["PUT"] * 9, ("DELETE", "1")))
    t.sql(f"DELETE FROM {t.name} WHERE id < 5")
    t.run("blocked", resync="full")
    equal(t.seen(), [])


@test("mode update: a skipped record is sent again at resync full, and with on_removed clear it is still left alone")
def skipped_full(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.stores[t.name] = {"1": {"id": 1, "name": "old"}}
    t.sync(mode="update", requests=POSTED, on_removed="clear")
    t.run(skipped=1, succeeded_added=1)
    t.seen()
    t.run(resync="full", skipped=1)
    equal(sorted(keys(t.seen())), [("PATCH", "1"), ("PATCH", "2")])
    t.receiver.stores[t.name]["2"] = {"id": 2, "name": "theirs"}
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(requests=0)
    equal(t.stored()["2"], {"id": 2, "name": "theirs"})


@test("resync baseline forgets rejected records")
def baseline_forgets(t):
    t.table([(1, "one"), (2, "bad")])
    t.receiver.script(t.path + "/2", Answer(422), Answer(200))
    t.sync()
    t.run("warning", rejected_added=1)
    t.seen()
    t.run(resync="baseline", requests=0)
    equal((t.rejected(), t.seen()), ([], []))
    t.sql(f"UPDATE {t.name} SET name = 'good' WHERE id = 2")
    t.run(succeeded_changed=1, requests=1)
    equal(keys(t.seen()), [("PUT", "2")])


@test("copies of a row that are what was accepted: nothing is sent, nothing flips, and it heals by itself")
def same_copies(t):
    t.table([(1, "one"), (2, "two")], "id integer, name text")
    t.sync(query=f"SELECT id, name FROM {t.name}", primary_key=["id"], mode="mirror")
    t.run(succeeded_added=2)
    t.seen()
    t.insert((1, "one"), (1, "one"))
    t.wait(t.trigger())
    equal(t.seen(), [])
    equal(t.stored(), {"1": {"id": 1, "name": "one"}, "2": {"id": 2, "name": "two"}})
    t.sql(f"DELETE FROM {t.name} WHERE id = 1", f"INSERT INTO {t.name} VALUES (1, 'uno')")
    t.run(succeeded_changed=1, requests=1)
    equal(t.stored()["1"], {"id": 1, "name": "uno"})


@test("two rows exchange their match values, told by their previous identifiers: two requests, nothing is removed")
def exchange_by_previous(t):
    t.table([(1, "a"), (2, "b")], "id integer PRIMARY KEY, email text")
    t.receiver.script(t.path, Answer(202))
    t.sync(mode="mirror", mapping={"email": "email", "number": "id"}, match_on="{email}", requests={
        "insert": {"method": "POST", "body": "{{ record }}"}, "update": {"method": "PUT", "path": "/{{ previous.email }}", "body": "{{ record }}"},
        "delete": {"method": "DELETE", "path": "/{{ email }}"}})
    t.run(succeeded_added=2)
    t.seen()
    t.sql(f"UPDATE {t.name} SET email = CASE email WHEN 'a' THEN 'b' ELSE 'a' END")
    t.run(succeeded_changed=2, requests=2)
    equal(sorted((r.method, r.path.rsplit("/", 1)[1], r.json["email"], r.json["number"]) for r in t.seen()), [("PUT", "a", "b", 1), ("PUT", "b", "a", 2)])
    t.sql(f"DELETE FROM {t.name} WHERE id = 1")
    t.run(succeeded_removed=1)
    equal(keys(t.seen()), [("DELETE", "b")])


@test("run_sync past its timeout raises an error, and the run goes on")
def run_sync_timeout(t):
    t.table([(1, "one")])
    t.script(Answer(200, delay=2))
    t.sync()
    try:
        t.call(f"CALL courier.run_sync('{t.name}', timeout => '500 ms')")
        raise AssertionError("no error")
    except SqlError as error:
        assert error.sqlstate != "XX000", error
    run = t.last_run()["run_id"]
    equal(t.call(f"SELECT courier.wait_for_run({run}, '1 ms') IN ('queued', 'querying', 'sending')"), "t")
    equal(t.wait(run), "success")
    equal(t.stored(), {"1": {"id": 1, "name": "one"}})


@test("a model that fails, a column that is gone: the health of the sync says so")
def health(t):
    t.table([(1, "1")])
    t.sync(query=f"SELECT id, 10 / name::integer AS share FROM {t.name}", primary_key=["id"])
    t.run()
    t.sql(f"UPDATE {t.name} SET name = '0'")
    t.run("failed", error_code="22012")
    equal(t.rows(f"SELECT health, last_status FROM courier.syncs WHERE name = '{t.name}'"), [{"health": "failing", "last_status": "failed"}])
    t.sql(f"UPDATE {t.name} SET name = '2'")
    t.run(succeeded_changed=1)
    equal(t.rows(f"SELECT health FROM courier.syncs WHERE name = '{t.name}'"), [{"health": "ok"}])


def follower(t, name, after, **settings):
    t.sync(name=name, model=t.name, base=f"{t.receiver.url}/store/{name}", schedule=f"after {after}", **settings)


def started(t, name):
    return [r["triggered_by"] for r in t.rows(f"SELECT triggered_by FROM courier.run_details WHERE sync = '{name}' ORDER BY run_id")]


@test("after: a follower runs on success and on warning, not on failed; stop_on warning only on success, never always")
def after_endings(t):
    t.table([(1, "one")])
    t.sync()
    default, strict, always = (f"{t.name}_{n}" for n in ("default", "strict", "always"))
    follower(t, default, t.name)
    follower(t, strict, t.name, options={"stop_on": "warning"})
    follower(t, always, t.name, options={"stop_on": "never"})
    # A follower's run is queued in the transaction that ends the run it follows: what is not there then does not come.
    t.script(Answer(422), Answer(401), Answer(200))
    t.run("warning", rejected_added=1)
    equal([len(started(t, n)) for n in (default, strict, always)], [1, 0, 1])
    t.sql(f"UPDATE {t.name} SET name = 'two'")
    t.run("failed")
    equal([len(started(t, n)) for n in (default, strict, always)][1], 0)
    until("the runs of the followers end", lambda: not t.rows(f"SELECT 1 FROM courier.runs WHERE sync LIKE '{t.name}~_%' ESCAPE '~' AND status IN ('queued', 'querying', 'sending')"))
    equal([len(started(t, n)) for n in (default, strict, always)], [1, 0, 2])
    t.run(succeeded_added=1)
    equal([len(started(t, n)) for n in (default, strict, always)], [2, 1, 3])
    equal(set(started(t, always)), {f"after {t.name}"})
    for name in (default, strict, always):
        until(f"what {name} sends arrives", lambda: t.receiver.store(name) == {"1": {"id": 1, "name": "two"}})


@test("after: loops are refused, however long, and so is a sync that does not exist")
def after_loops(t):
    t.table([(1, "one")])
    t.sync()
    follower(t, t.name + "_b", t.name)
    follower(t, t.name + "_c", t.name + "_b")
    for name, after, sqlstate in ((t.name, t.name, "22023"), (t.name, t.name + "_c", "22023"), (t.name, t.name + "_none", "42704")):
        try:
            t.sql(f"SELECT courier.alter_sync('{name}', schedule => 'after {after}')")
            raise AssertionError(f"{name} after {after}: no error")
        except SqlError as error:
            equal(error.sqlstate, sqlstate, error.message)
    # The chain that is allowed runs to its end.
    t.run()
    for name in (t.name + "_b", t.name + "_c"):
        t.receiver.wait_for(f"/store/{name}", 1)
