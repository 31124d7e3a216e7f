"""What becomes of a record when the destination says something else than yes."""

import time

from harness import POSTED, equal, methods, test
from receiver import Answer


@test("422: the record is rejected with the destination's words, stays out of the snapshot, and retry_rejected makes it due")
def rejected(t):
    t.table([(1, "one"), (2, "bad"), (3, "three")])
    t.receiver.script(t.path + "/2", Answer(422, {"title": "Name is not allowed", "detail": "choose another"}, {"Content-Type": "application/problem+json"}), Answer(200))
    t.sync()
    t.run("warning", succeeded_added=2, rejected_added=1)
    found = t.rejected()
    equal([(r["key"], r["change"], r["attempts"], r["http_status"], r["outcome"]) for r in found], [("2", "added", 1, 422, "rejected")])
    assert "choose another" in found[0]["message"] or "Name is not allowed" in found[0]["message"], found[0]["message"]
    equal(len(t.rows(f"SELECT courier.snapshot('{t.name}')")), 2)
    t.seen()
    t.run("warning", requests=0)
    equal(t.seen(), [])
    t.call(f"SELECT courier.retry_rejected('{t.name}')")
    t.run("success", succeeded_added=1)
    equal(t.rejected(), [])
    equal(sorted(t.stored()), ["1", "2", "3"])


@test("rejected, then changed: one attempt at once, with the newest values, still added")
def rejected_changed(t):
    t.table([(1, "bad")])
    t.script(Answer(422), Answer(200))
    t.sync()
    t.run("warning", rejected_added=1)
    t.sql(f"UPDATE {t.name} SET name = 'good'")
    t.run("success", planned_added=1, succeeded_added=1, requests=1)
    equal(t.stored(), {"1": {"id": 1, "name": "good"}})


@test("rejected, then gone from the model: leaves rejected_records, nothing is sent")
def rejected_gone(t):
    t.table([(1, "bad"), (2, "good")])
    t.receiver.script(t.path + "/1", Answer(422))
    t.sync(mode="mirror")
    t.run("warning")
    t.seen()
    t.sql(f"DELETE FROM {t.name} WHERE id = 1")
    t.run("success", requests=0)
    equal(t.rejected(), [])


@test("429 with Retry-After: waits as told, and is not an attempt")
def throttled(t):
    t.table([(1, "one")])
    t.script(Answer(429, "", {"Retry-After": "1"}), Answer(429, "", {"Retry-After": "1"}), Answer(200))
    t.sync(options={"max_attempts": 1})
    t.run("success", succeeded_added=1)
    times = [r.time for r in t.seen()]
    equal(len(times), 3)
    assert times[1] - times[0] >= 0.95 and times[2] - times[1] >= 0.95, times


@test("503, then success: retried with the same idempotency key")
def unavailable(t):
    t.table([(1, "one")])
    t.script(Answer(503), Answer(500), Answer(200))
    t.sync()
    t.run("success", requests=3)
    seen = t.seen()
    equal(len({r.header("Idempotency-Key") for r in seen}), 1)
    assert seen[0].header("Idempotency-Key"), "there is no Idempotency-Key"


@test("5xx up to max_attempts: then rejected")
def exhausted(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.script(t.path + "/1", Answer(500, "broken"))
    t.sync(options={"max_attempts": 2})
    t.run("warning", rejected_added=1, succeeded_added=1)
    equal(len(t.receiver.requests(t.path + "/1")), 2)


@test("401: the run is failed with a hint, nothing is rejected, and the next run carries on")
def unauthorized(t):
    t.table([(n, "x") for n in range(1, 6)])
    t.script(Answer(401))
    t.sync(options={"concurrency": 1})
    run = t.run("failed")
    assert run["hint"], "no hint"
    equal(t.rejected(), [])
    t.script(Answer(200))
    t.run("success", succeeded_added=5)


@test("all answers 403: the run is failed, nothing is rejected")
def forbidden(t):
    t.table([(n, "x") for n in range(1, 4)])
    t.script(Answer(403))
    t.sync()
    t.run("failed", aborted=3)
    equal(t.rejected(), [])


@test("a single 403 among accepted records rejects that record")
def forbidden_one(t):
    t.table([(n, "x") for n in range(1, 4)])
    t.receiver.script(t.path + "/2", Answer(403))
    t.sync()
    t.run("warning", rejected_added=1, succeeded_added=2)
    equal([r["key"] for r in t.rejected()], ["2"])


BATCH = {"upsert": {"method": "POST", "body": {"rows": "{{ records }}"}, "idempotent": True}}


@test("a batch refused in part, by index: good ones are accepted, bad ones have their own words")
def by_index(t):
    t.table([(n, f"n{n}") for n in range(1, 6)])
    t.receiver.script(f"/plain/{t.name}", Answer(207, {"errors": [{"index": 1, "code": "E7", "message": "no such thing"}]}))
    t.sync(base=f"{t.receiver.url}/plain/{t.name}", requests=BATCH, options={"batch_size": 5},
           response={"records": {"mapper": "by_index", "at": "/errors", "index": "/index", "code": "/code", "message": "/message", "unlisted": "accepted"}})
    t.run("warning", succeeded_added=4, rejected_added=1, requests=1)
    equal([len(r.json["rows"]) for r in t.seen(f"/plain/{t.name}")], [5])
    equal([(r["key"], r["error_code"], r["message"]) for r in t.rejected()], [("2", "E7", "no such thing")])


@test("a batch refused as a whole, idempotent: bisected until the bad record stands alone")
def bisected(t):
    t.table([(n, "bad" if n == 6 else "good") for n in range(1, 17)])
    base = f"/plain/{t.name}"
    t.receiver.script(base, lambda r: Answer(422, "refused") if any(x["name"] == "bad" for x in r.json["rows"]) else Answer(200))
    t.sync(base=t.receiver.url + base, requests=BATCH, options={"batch_size": 16})
    run = t.run("warning", succeeded_added=15, rejected_added=1)
    equal([r["key"] for r in t.rejected()], ["6"])
    assert run["requests"] <= 1 + 2 * 4, f"{run['requests']} requests for one bad record among 16"


@test("reply lost, PUT: sent again with the same key, and stored once")
def lost_put(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.script(t.path + "/2", Answer(200, drop=True), Answer(200))
    t.sync(options={"concurrency": 1})
    t.run("success", succeeded_added=2)
    seen = t.receiver.requests(t.path + "/2")
    equal(len(seen), 2)
    equal(seen[0].header("Idempotency-Key"), seen[1].header("Idempotency-Key"))
    equal(t.stored()["2"], {"id": 2, "name": "two"})


@test("reply lost, POST that is not idempotent: unknown, held until retry_rejected; on a used connection too")
def lost_post(t):
    t.table([(1, "one"), (2, "two")])
    t.script(Answer(200), Answer(200, drop=True), Answer(200))
    t.sync(mode="insert", requests=POSTED, options={"concurrency": 1})
    t.run("warning", succeeded_added=1, unknown=1)
    equal(len(t.seen()), 2)
    equal([(r["outcome"], r["change"]) for r in t.rejected()], [("unknown", "added")])
    t.run("warning", requests=0)
    equal(t.seen(), [])
    t.call(f"SELECT courier.discard_rejected('{t.name}')")
    t.run("success", requests=0)


@test("reply lost, POST, but the destination honours the key: sent again and stored once")
def lost_honoured(t):
    t.table([(1, "one")])
    base = f"/store/{t.name}-idem"
    t.receiver.script(base, Answer(200, drop=True), Answer(200))
    t.sync(base=t.receiver.url + base, mode="insert", requests=POSTED, config={"idempotency": {"header": "Idempotency-Key", "honoured": True}})
    t.run("success", succeeded_added=1)
    equal(t.receiver.writes[f"{t.name}-idem"], {"1": 1})
    equal(len(t.receiver.requests(base)), 2)


@test("a timeout is retried where the operation is idempotent")
def timeout(t):
    t.table([(1, "one")])
    t.script(Answer(200, delay=4), Answer(200))
    t.sync(options={"timeout": "1 s"})
    t.run("success", requests=2)


@test("nobody listens: failed as unreachable, nothing rejected")
def unreachable(t):
    t.table([(1, "one")])
    t.sync(base="http://127.0.0.1:1", options={"max_attempts": 2})
    t.run("failed", error_code="unreachable", aborted=1)
    equal(t.rejected(), [])


@test("most records fail: the circuit breaker ends the run")
def breaker(t):
    t.table([(n, "x") for n in range(1, 401)])
    t.script(Answer(422))
    t.sync(options={"concurrency": 2})
    run = t.run("failed", error_code="too_many_rejected")
    assert run["requests"] < 200 and run["aborted"] > 200, run


@test("a path value that is empty or a dot is never sent")
def bad_path(t):
    t.table([(1, ".."), (2, "ok")])
    t.sync(mapping={"id": "id", "name": "name"}, requests={"upsert": {"method": "PUT", "path": "/{{ name }}", "body": "{{ record }}"}})
    t.run("warning", rejected_added=1, succeeded_added=1)
    equal([r["error_code"] for r in t.rejected()], ["bad_path_value"])
    equal([r.path for r in t.seen()], [t.path + "/ok"])


@test("concurrency is bounded, and rate_limit is kept")
def limits(t):
    t.table([(n, "x") for n in range(1, 13)])
    top = f"/{t.name}"
    t.receiver.script(top, Answer(200, delay=0.1))
    t.sync(base=t.receiver.url + top, options={"concurrency": 3})
    t.run("success")
    assert 2 <= t.receiver.most_under_way[top] <= 3, t.receiver.most_under_way[top]
    t.receiver.script(top, Answer(200))
    t.sql(f"SELECT courier.alter_sync('{t.name}', options => '{{\"rate_limit\": \"10/s\"}}')", f"UPDATE {t.name} SET name = 'y'")
    start = time.time()
    t.run("success", succeeded_changed=12)
    assert time.time() - start > 0.9, "12 requests at 10/s took less than a second"
    equal(set(methods(t.receiver.requests(top))), {"PUT"})
