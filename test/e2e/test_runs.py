"""Runs: who starts them, what stops them, and what is not sent."""

import datetime
import threading
import time

from harness import POSTED, REST, SqlError, equal, literal, methods, test, until
from receiver import Answer


def refused(sqlstate, function):
    try:
        function()
    except SqlError as error:
        equal(error.sqlstate, sqlstate, error.message)
        return error
    raise AssertionError(f"no error; {sqlstate} was expected")


@test("pg_cron is the caller of run_sync", settings=("superuser",))
def pg_cron(t):
    if not t.world.cluster.has_cron:
        return
    t.table([(1, "one")])
    t.sync()
    t.sql(f"SELECT cron.schedule('{t.name}', '* * * * *', $$CALL courier.run_sync('{t.name}')$$)")
    t.receiver.wait_for(t.path, 1, timeout=90)
    until("the job says succeeded", lambda: t.rows("SELECT 1 FROM cron.job_run_details WHERE status = 'succeeded'"), 20)
    t.sql(f"SELECT cron.unschedule('{t.name}')")
    equal(t.stored(), {"1": {"id": 1, "name": "one"}})


@test("cancel_run: unsent records are aborted, sent ones settled, and the next run goes on from there")
def cancel(t):
    t.table([(n, "x") for n in range(1, 31)])
    t.script(Answer(200, delay=0.2))
    t.sync(options={"concurrency": 1})
    run = t.trigger()
    t.receiver.wait_for(t.path, 3)
    t.call(f"SELECT courier.cancel_run({run})")
    equal(t.wait(run), "cancelled")
    details = t.last_run()
    assert details["aborted"] > 0 and details["succeeded_added"] >= 2, details
    t.script(Answer(200))
    t.run("success", planned_added=details["aborted"])
    equal(set(t.receiver.writes[t.name].values()), {1})
    equal(len(t.stored()), 30)


@test("cancel_run while a request hangs: three seconds later its answer counts as lost; what may be repeated is, under its key, the rest is unknown")
def cancel_hanging(t):
    for may, requests in (("repeat", REST), ("not", POSTED)):
        name = f"{t.name}_{may}"
        t.table([(1, "one"), (2, "two")], name=name)
        path = f"/store/{name}"
        t.receiver.script(path, Answer(200), Answer(200, delay=300))
        t.sync(name=name, relation=name, base=t.receiver.url + path, requests=requests, options={"concurrency": 1, "timeout": "10 min"})
        run = t.trigger(name)
        t.receiver.wait_for(path, 2)
        started = time.time()
        t.call(f"SELECT courier.cancel_run({run})")
        equal(t.wait(run), "cancelled")
        assert 2 < time.time() - started < 10, time.time() - started
        t.receiver.script(path, Answer(200))
        details = t.last_run(name)
        first = t.receiver.requests(path)
        equal((details["succeeded_added"], details["aborted"]), (1, 0))
        held = t.rejected(name)
        equal([(r["key"], r["error_code"]) for r in held], [("2", {"repeat": "connection_lost", "not": "cancelled"}[may])])
        if may == "repeat":
            equal(details["rejected_added"], 1)
            t.call(f"SELECT courier.retry_rejected('{name}')")
            t.run(sync=name, succeeded_added=1)
            again = t.receiver.requests(path)[len(first):]
            equal([r.header("Idempotency-Key") for r in again], [first[1].header("Idempotency-Key")])
            equal(t.receiver.store(name), {"1": {"id": 1, "name": "one"}, "2": {"id": 2, "name": "two"}})
        else:
            equal(details["unknown"], 1)
            t.run("warning", sync=name, requests=0)


@test("max_removed blocks the run, nothing is sent, and approve_run lets it go on")
def max_removed(t):
    t.table([(n, "x") for n in range(1, 11)])
    t.sync(mode="mirror", options={"max_removed": 2})
    t.run()
    t.seen()
    t.sql(f"DELETE FROM {t.name} WHERE id > 4")
    run = t.run("blocked", planned_removed=6)
    equal(t.seen(), [])
    equal(t.rows(f"SELECT health FROM courier.syncs WHERE name = '{t.name}'"), [{"health": "blocked"}])
    new = t.call(f"SELECT courier.approve_run({run['run_id']})")
    equal(t.wait(new), "success")
    equal(methods(t.seen()), ["DELETE"] * 6)


@test("trigger while a run is active: one follow-up run, which sees everything")
def follow_up(t):
    t.table([(1, "one")])
    asked = threading.Event()

    def answer(_):
        asked.wait(60)
        return Answer(200)
    t.script(answer, Answer(200))
    t.sync(options={"timeout": "60 s"})
    first = t.trigger()
    t.receiver.wait_for(t.path, 1)
    t.insert((2, "two"))
    second = t.trigger()
    equal(t.trigger(), second, "a third trigger joins the second")
    assert second != first
    asked.set()
    equal((t.wait(first), t.wait(second)), ("success", "success"))
    equal(len(t.rows(f"SELECT 1 FROM courier.runs WHERE sync = '{t.name}'")), 2)
    equal(sorted(t.stored()), ["1", "2"])


@test("a trigger in a transaction that is rolled back sends nothing")
def rolled_back(t):
    t.table([(1, "one")])
    t.sync()
    t.call("BEGIN", f"SELECT courier.trigger_sync('{t.name}')", "ROLLBACK")
    equal(t.rows(f"SELECT 1 FROM courier.runs WHERE sync = '{t.name}'"), [])
    t.run(planned_added=1)
    equal(len(t.seen()), 1)


@test("a trigger inside a transaction sees what the transaction wrote, and starts with its commit")
def in_transaction(t):
    t.table([(1, "one")])
    t.sync()
    out = t.sql("BEGIN", f"INSERT INTO {t.name} VALUES (2, 'two')", f"SELECT courier.trigger_sync('{t.name}')", f"INSERT INTO {t.name} VALUES (3, 'three')", "COMMIT")
    equal(t.wait(int(out)), "success")
    equal(sorted(t.stored()), ["1", "2", "3"])


@test("run_sync inside a transaction block: 25001; wait_for_run for a run of its own transaction: 25001")
def transaction_block(t):
    t.table([(1, "one")])
    t.sync()
    refused("25001", lambda: t.call("BEGIN", f"CALL courier.run_sync('{t.name}')"))
    refused("25001", lambda: t.call("BEGIN", f"SELECT courier.wait_for_run(courier.trigger_sync('{t.name}'))"))
    equal(t.seen(), [])


@test("a paused sync is not triggered, and a resumed one is")
def paused(t):
    t.table([(1, "one")])
    t.sync()
    t.call(f"SELECT courier.pause_sync('{t.name}')")
    error = refused("55000", lambda: t.call(f"SELECT courier.trigger_sync('{t.name}')"))
    assert "paused" in error.message
    t.call(f"SELECT courier.resume_sync('{t.name}')")
    t.run(succeeded_added=1)


@test("plan_sync and preview_sync say what would be sent, and send nothing")
def preview(t):
    t.table([(1, "one"), (2, "two"), (3, "three")])
    t.sync(mode="mirror", destination_config={"auth": {"type": "bearer"}}, secrets={"token": "plain-secret"})
    t.run()
    t.seen()
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 2", f"INSERT INTO {t.name} VALUES (4, 'four')")
    equal(t.rows(f"SELECT * FROM courier.plan_sync('{t.name}')"), [{"added": 1, "changed": 1, "removed": 1, "unchanged": 1, "invalid": 0}])
    found = t.rows(f"SELECT * FROM courier.preview_sync('{t.name}', 10)")
    equal(sorted((r["change"], r["operation"], r["method"], r["url"].rsplit("/", 1)[1]) for r in found),
          [("added", "upsert", "PUT", "4"), ("changed", "upsert", "PUT", "1"), ("removed", "delete", "DELETE", "2")])
    assert "plain-secret" not in str(found)
    equal(t.seen(), [])
    t.run(succeeded_added=1, succeeded_changed=1, succeeded_removed=1)


@test("preview_model and check_model read as the owner")
def models(t):
    t.table([(1, "one"), (1, "again"), (None, "nobody")], "id integer, name text")
    t.sync(query=f"SELECT id, name FROM {t.name}", primary_key=["id"])
    equal(t.rows(f"SELECT * FROM courier.check_model('{t.name}')"), [{"row_count": 3, "null_keys": 1, "duplicate_keys": 1}])
    equal(len(t.rows(f"SELECT courier.preview_model('{t.name}', 2)")), 2)


@test("test_record sends one record and settles it, test_destination none")
def test_record(t):
    t.table([(1, "one"), (2, "two")])
    t.sync()
    found = t.rows(f"SELECT * FROM courier.test_destination('{t.name}')")
    equal([r["http_status"] for r in found], [404])
    t.seen()
    found = t.rows(f"SELECT * FROM courier.test_record('{t.name}', '{{\"id\": 2}}')")
    equal([(r["operation"], r["method"], r["http_status"], r["outcome"]) for r in found], [("upsert", "PUT", 200, "succeeded")])
    equal(sorted(t.stored()), ["2"])
    t.run(planned_added=1)


@test("a schedule 'every 1 second' runs by itself", settings=("superuser", "owner"))
def every_second(t):
    t.table([(1, "one")])
    t.sync(schedule="every 1 second")
    t.receiver.wait_for(t.path, 1, timeout=30)
    t.insert((2, "two"))
    t.receiver.wait_for(t.path, 2, timeout=15)
    equal(t.rows(f"SELECT DISTINCT triggered_by FROM courier.run_details WHERE sync = '{t.name}'"), [{"triggered_by": "schedule"}])


@test("cron with a time zone: next_run_at is right")
def cron_zone(t):
    t.table([(1, "one")])
    t.sync(schedule="30 8 * * * Europe/Berlin")
    find = lambda: t.rows(f"SELECT (next_run_at AT TIME ZONE 'Europe/Berlin')::text AS local, next_run_at > now() AND next_run_at < now() + '25:01' AS soon "
                          f"FROM courier.sync_details WHERE name = '{t.name}' AND next_run_at IS NOT NULL")
    # Without the launcher nobody else would write it down.
    found = until("next_run_at", find)
    equal((found[0]["local"][11:], found[0]["soon"]), ("08:30:00", True))
    datetime.datetime.fromisoformat(found[0]["local"])


@test("after <sync>: runs when the other has succeeded")
def after(t):
    t.table([(1, "one")])
    t.sync()
    follower = t.name + "_after"
    t.sync(name=follower, model=t.name, base=f"{t.receiver.url}/store/{follower}", schedule=f"after {t.name}")
    t.run()
    t.receiver.wait_for(f"/store/{follower}", 1)
    run = until("its run ends", lambda: next((r for r in t.rows(f"SELECT * FROM courier.run_details WHERE sync = '{follower}'") if r["status"] == "success"), None))
    equal(run["triggered_by"], f"after {t.name}")


@test("a model that fails: the run is failed, snapshot untouched, others go on")
def model_fails(t):
    t.table([(1, "1"), (2, "2")])
    t.sync(query=f"SELECT id, 10 / name::integer AS share FROM {t.name}", primary_key=["id"], mode="mirror")
    t.run()
    t.seen()
    t.sql(f"UPDATE {t.name} SET name = '0' WHERE id = 2")
    run = t.run("failed", error_code="22012", requests=0)
    assert "division by zero" in run["error"], run["error"]
    equal(t.seen(), [])
    t.sql(f"UPDATE {t.name} SET name = '5' WHERE id = 2")
    t.run("success", planned_changed=1)


@test("a column that is gone: failed as model_changed")
def model_changed(t):
    t.table([(1, "one")])
    t.sync()
    t.run()
    t.sql(f"ALTER TABLE {t.name} RENAME name TO title")
    t.sync(name=t.name + "_b", model=t.name, mapping={"id": "id", "title": "title"})
    t.sql(f"ALTER TABLE {t.name} RENAME title TO name")
    t.run("failed", sync=t.name + "_b", error_code="model_changed")


@test("pg_courier.enabled off: the run stays queued; on again: it is delivered", settings=("superuser", "owner"))
def disabled(t):
    t.admin("CREATE DATABASE off_" + t.name, database="postgres")
    db = "off_" + t.name
    t.admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", database=db)
    t.admin("CREATE TABLE x (id integer PRIMARY KEY)", "INSERT INTO x VALUES (1)", "SELECT courier.create_model('x', relation => 'x')",
            f"SELECT courier.create_destination('x', 'http', {literal({'base_url': t.receiver.url + t.path})})",
            f"SELECT courier.create_sync('x', 'x', 'x', mode => 'upsert', config => {literal({'requests': REST})})", f"ALTER DATABASE {db} SET pg_courier.enabled = off",
            database=db)
    run = t.admin("SELECT courier.trigger_sync('x')", database=db)
    equal(t.admin(f"SELECT courier.wait_for_run({run}, '2 s')", database=db), "queued")
    equal(t.seen(), [])
    t.admin(f"ALTER DATABASE {db} RESET pg_courier.enabled", database=db)
    # Workers that are alive read it at their next start.
    again = t.admin("SELECT courier.trigger_sync('x')", database=db)
    equal(t.admin(f"SELECT courier.wait_for_run({again}, '30 s')", database=db), "success")
    equal(len(t.seen()), 1)
    t.admin(f"DROP DATABASE {db}", database="postgres")


@test("drop_sync during a run cancels it and returns within 5 s")
def drop_during(t):
    t.table([(n, "x") for n in range(1, 100)])
    t.script(Answer(200, delay=0.5))
    t.sync(options={"concurrency": 1})
    t.trigger()
    t.receiver.wait_for(t.path, 1)
    t.sql("SET statement_timeout = '8s'", f"SELECT courier.drop_sync('{t.name}')")
    t.syncs.remove(t.name)
    equal(t.rows(f"SELECT 1 FROM courier.syncs WHERE name = '{t.name}'"), [])


@test("drop_sync while a request hangs returns within 5 s")
def drop_hanging(t):
    t.table([(1, "x")])
    t.script(Answer(200, delay=300))
    t.sync(options={"timeout": "10 min"})
    t.trigger()
    t.receiver.wait_for(t.path, 1)
    t.sql("SET statement_timeout = '6s'", f"SELECT courier.drop_sync('{t.name}')")
    t.syncs.remove(t.name)
    equal(t.rows(f"SELECT 1 FROM courier.syncs WHERE name = '{t.name}'"), [])
