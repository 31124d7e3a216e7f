"""By what a destination knows that something is the same: idempotency keys, and identifiers that it gave itself."""

from harness import equal, methods, test
from receiver import Answer
from test_options import BY_REMOTE_ID

BY_MAIL = {"mode": "mirror", "requests": BY_REMOTE_ID, "response": {"remote_id": "/id"}, "mapping": {"mail": "name"}, "match_on": "{mail}", "options": {"concurrency": 1}}


@test("a change that another run sends again has the same idempotency key, although now() and courier.run_id() in it differ")
def same_change(t):
    t.table([(1, "one")])
    t.sync(mapping={"id": "id", "name": "name", "at": "now()", "run": "courier.run_id()"})
    t.script(Answer(422), Answer(200))
    t.run("warning", rejected_added=1)
    t.sql(f"SELECT courier.retry_rejected('{t.name}')")
    t.run(succeeded_added=1)
    first, second = t.seen()
    assert first.raw != second.raw, "the field that is never compared"
    equal(second.header("Idempotency-Key"), first.header("Idempotency-Key"), "idempotency key")


@test("a match value that changes reaches its record by the destination's identifier: no removal, no addition")
def changed_by_remote_id(t):
    t.table([(1, "a@x"), (2, "b@x")])
    t.script(Answer(201, {"id": "R-1"}), Answer(201, {"id": "R-2"}))
    t.sync(**BY_MAIL)
    t.run(succeeded_added=2)
    given = {r.json["mail"]: f"R-{n}" for n, r in enumerate(t.seen(), 1)}
    t.script(Answer(200))
    t.sql(f"UPDATE {t.name} SET name = CASE id WHEN 1 THEN 'b@x' ELSE 'c@x' END")
    t.run(succeeded_changed=2, succeeded_added=0, succeeded_removed=0)
    equal({(r.method, r.path.rsplit("/", 1)[1], r.json["mail"]) for r in t.seen()}, {("PUT", given["a@x"], "b@x"), ("PUT", given["b@x"], "c@x")})


@test("match values that were accepted while nothing was removed are there when removals are switched on")
def mirror_later(t):
    t.path = f"/plain/{t.name}"
    t.table([(n, f"{n}@example.com") for n in (1, 2, 3)])
    by_mail = {"upsert": {"method": "PUT", "path": "/{{ mail }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ mail }}"}}
    t.sync(mode="upsert", requests=by_mail, mapping={"mail": "name", "n": "id"}, match_on="{mail}")
    t.run(succeeded_added=3)
    t.sql(f"UPDATE {t.name} SET name = 'new@example.com' WHERE id = 2")
    t.run(succeeded_changed=1)
    snapshot = "courier_data.snapshot_" + t.admin(f"SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}'")
    equal(t.admin(f"SELECT string_agg(mv::jsonb ->> 'mail', ' ' ORDER BY k) FROM {snapshot} WHERE mh IS NOT NULL"), "1@example.com new@example.com 3@example.com")
    t.call(f"SELECT courier.alter_sync('{t.name}', mode => 'mirror')")
    t.sql(f"DELETE FROM {t.name} WHERE id <= 2")
    t.seen()
    t.run(succeeded_removed=2)
    equal(sorted(r.path.rsplit("/", 1)[1] for r in t.seen() if r.method == "DELETE"), ["1%40example.com", "new%40example.com"])


@test("a removal by the destination's identifier is sent, although another record has taken the match value")
def removed_by_remote_id(t):
    t.table([(1, "a@x")])
    t.script(Answer(201, {"id": "R-1"}))
    t.sync(**BY_MAIL)
    t.run(succeeded_added=1)
    t.seen()
    t.script(Answer(201, {"id": "R-2"}), Answer(200))
    t.sql(f"UPDATE {t.name} SET id = 2")
    t.run(succeeded_added=1, succeeded_removed=1)
    added, removed = t.seen()
    equal(methods([added, removed]), ["POST", "DELETE"])
    equal(removed.path.rsplit("/", 1)[1], "R-1")
