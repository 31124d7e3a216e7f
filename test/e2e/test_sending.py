"""In which order and how fast requests go out, and what becomes of a batch."""

from harness import REST, equal, test
from receiver import Answer

BATCH = {"upsert": {"method": "POST", "path": "/up", "body": {"rows": "{{ records }}"}, "idempotent": True},
         "delete": {"method": "POST", "path": "/down", "body": {"rows": "{{ records }}"}, "idempotent": True}}


def batches(t, *rows, requests=BATCH, **settings):
    """A sync of batches to a path that stores nothing."""
    t.path = f"/plain/{t.name}"
    t.table(rows)
    t.sync(requests=requests, **settings)


def ids(request):
    return [r["id"] for r in request.json["rows"]]


@test("removals are sent when every addition and change is settled, over several batches and requests at a time, refused ones among them")
def order(t):
    batches(t, *[(n, "x") for n in range(1, 41)], mode="mirror", options={"batch_size": 5, "concurrency": 4})
    t.run(succeeded_added=40)
    t.seen()
    # The first answers come late, and one batch has to be tried again and taken apart.
    slow = [Answer(200, delay=0.6), Answer(503), Answer(422, delay=0.3)]
    t.receiver.script(f"{t.path}/up", *slow, Answer(200))
    t.receiver.script(f"{t.path}/down", Answer(200))
    t.sql(f"DELETE FROM {t.name} WHERE id <= 15", f"UPDATE {t.name} SET name = 'y' WHERE id > 30", f"INSERT INTO {t.name} SELECT g, 'new' FROM generate_series(101, 115) g")
    t.run(succeeded_added=15, succeeded_changed=10, succeeded_removed=15)
    seen = t.seen()
    up, down = [r for r in seen if r.path.endswith("/up")], [r for r in seen if r.path.endswith("/down")]
    assert max(r.number for r in up) < min(r.number for r in down), [(r.number, r.path) for r in seen]
    equal(sorted(i for r in down for i in ids(r)), list(range(1, 16)))
    equal(len(down), 3)
    answered = min(r.time for r in down) - min(r.time for r in up)
    assert answered >= 0.6, f"a removal went out {answered} s after the first addition, which was answered after 0.6 s"


@test("records that were refused before travel in batches of their own: they cannot spoil the others")
def known_bad(t):
    batches(t, *[(n, "bad" if n in (3, 7) else "good") for n in range(1, 11)], options={"batch_size": 100})
    t.receiver.script(f"{t.path}/up", lambda r: Answer(422, "no bad ones") if any(x["name"].startswith("bad") for x in r.json["rows"]) else Answer(200))
    t.run("warning", succeeded_added=8, rejected_added=2)
    t.seen()
    t.sql(f"UPDATE {t.name} SET name = name || '!'")
    t.run("warning", succeeded_changed=8, rejected_added=2)
    seen = [sorted(ids(r)) for r in t.seen()]
    equal([b for b in seen if not {3, 7} & set(b)], [[n for n in range(1, 11) if n not in (3, 7)]])
    equal([b for b in seen if {3, 7} & set(b) and set(b) - {3, 7}], [])


@test("a batch refused as a whole that may not be repeated: every record of it is unknown, and none is sent again by itself")
def whole_unknown(t):
    post = {"upsert": {"method": "POST", "path": "/up", "body": {"rows": "{{ records }}"}}}
    batches(t, (1, "a"), (2, "b"), (3, "c"), requests=post, options={"batch_size": 10})
    t.receiver.script(f"{t.path}/up", Answer(422, "one of them is bad"), Answer(200))
    t.run("warning", unknown=3, requests=1)
    equal([(r["key"], r["outcome"], r["message"]) for r in t.rejected()], [(k, "unknown", "one of them is bad") for k in "123"])
    t.run("warning", requests=0)
    t.call(f"SELECT courier.retry_rejected('{t.name}', '{{\"id\": 2}}')")
    t.run("warning", succeeded_added=1, requests=1)
    t.call(f"SELECT courier.discard_rejected('{t.name}', '{{\"id\": 3}}')", f"SELECT courier.retry_rejected('{t.name}')")
    t.run(succeeded_added=1, requests=1)
    equal([ids(r) for r in t.seen()], [[1, 2, 3], [2], [1]])
    # Discarded: sent when its values change, not before.
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'z' WHERE id = 3")
    t.run(succeeded_added=1, requests=1)
    equal([ids(r) for r in t.seen()], [[3]])


@test("a refused batch that is atomic: the bad record is taken out and the rest is sent again")
def atomic(t):
    post = {"upsert": {"method": "POST", "path": "/up", "body": {"rows": "{{ records }}"}}}
    batches(t, *[(n, "bad" if n == 4 else "good") for n in range(1, 9)], requests=post, options={"batch_size": 10}, response={
        "atomic": True, "records": {"mapper": "by_index", "at": "/errors", "index": "/index", "message": "/why", "unlisted": "accepted"}})

    def all_or_nothing(request):
        bad = [{"index": i, "why": "bad name"} for i, r in enumerate(request.json["rows"]) if r["name"] == "bad"]
        return Answer(400, {"errors": bad}) if bad else Answer(200, {"errors": []})
    t.receiver.script(f"{t.path}/up", all_or_nothing)
    t.run("warning", succeeded_added=7, rejected_added=1, requests=2)
    equal([(r["key"], r["message"]) for r in t.rejected()], [("4", "bad name")])
    equal([sorted(ids(r)) for r in t.seen()], [list(range(1, 9)), [1, 2, 3, 5, 6, 7, 8]])


@test("an answer that does not fit its mapper: retried and then rejected as bad_answer where the request may be repeated, else unknown")
def bad_answer(t):
    mapper = {"records": {"mapper": "by_order", "at": "/results", "ok": {"pointer": "/ok", "equals": True}}}
    batches(t, (1, "a"), (2, "b"), options={"batch_size": 10, "max_attempts": 2}, response=mapper)
    t.receiver.script(f"{t.path}/up", Answer(200, {"results": [{"ok": True}]}))
    t.run("warning", rejected_added=2, requests=2)
    equal([r["error_code"] for r in t.rejected()], ["bad_answer"] * 2)
    name = t.name + "_post"
    t.sync(name=name, model=t.name, base=t.receiver.url + f"/plain/{name}", requests={"upsert": {"method": "POST", "body": {"rows": "{{ records }}"}}},
           options={"batch_size": 10}, response=mapper)
    t.receiver.script(f"/plain/{name}", Answer(200, "this is not JSON"))
    t.run("warning", sync=name, unknown=2, requests=1)
    equal([r["outcome"] for r in t.rejected(name)], ["unknown"] * 2)


@test("rate_limit: several syncs of one destination share it")
def rate_shared(t):
    t.path = f"/plain/{t.name}"
    t.table([(n, "x") for n in range(1, 21)])
    t.sync(options={"rate_limit": "20/s", "concurrency": 8})
    t.sync(name=t.name + "_b", model=t.name, destination=t.name, options={"rate_limit": "20/s", "concurrency": 8},
           requests={"upsert": {"method": "PUT", "path": "/b/{{ id }}"}})
    runs = [t.trigger(), t.trigger(t.name + "_b")]
    equal([t.wait(r) for r in runs], ["success"] * 2)
    times = sorted(r.time for r in t.receiver.requests(t.path))
    equal(len(times), 40)
    # 40 requests at 20/s: 2 s, less the quarter of a second that each may have reserved.
    assert times[-1] - times[0] >= 1.45, f"40 requests went out in {times[-1] - times[0]:.2f} s"


@test("a limit header on a good answer: the next request waits until the limit is reset")
def limit_header(t):
    t.table([(1, "a"), (2, "b")])
    t.script(Answer(202, {"ok": True}, {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}), Answer(202))
    t.sync(options={"concurrency": 1})
    t.run(succeeded_added=2, requests=2)
    first, second = t.seen()
    assert second.time - first.time >= 0.95, second.time - first.time


@test("a wait over max_wait: failed as throttled, the rest aborted, and the next run starts when the destination said")
def max_wait(t):
    t.table([(n, "x") for n in range(1, 6)])
    t.script(Answer(200), Answer(429, "", {"Retry-After": "4"}), Answer(200))
    t.sync(options={"max_wait": "1 s", "concurrency": 1})
    t.run("failed", error_code="throttled", succeeded_added=1, aborted=4)
    equal(t.rejected(), [])
    refused = t.seen()[-1].time
    told = t.rows(f"SELECT extract(epoch FROM not_before) AS at FROM courier.sync_details WHERE name = '{t.name}'")[0]["at"] - refused
    assert 3.9 <= told < 15, f"not before {told:.1f} s; it was told 4"
    t.run(succeeded_added=4)
    waited = t.seen()[0].time - refused
    assert 3.9 <= waited < 60, f"the next run sent after {waited:.1f} s; it was told 4"


@test("the first ten answers all 410: the run is failed, nothing is rejected, the rest is not tried")
def all_gone(t):
    t.table([(n, "x") for n in range(1, 31)])
    t.script(Answer(410))
    t.sync(options={"concurrency": 1})
    t.run("failed", aborted=30)
    equal(len(t.seen()), 10)
    equal(t.rejected(), [])
    # One among others is its own matter.
    t.script(Answer(200), Answer(410), Answer(200))
    t.run("warning", succeeded_added=29, rejected_added=1)


@test("retry_rejected and discard_rejected: one key, or all; what was discarded leaves the list and is sent when it changes")
def one_or_all(t):
    t.mended = False
    t.table([(n, "bad") for n in range(1, 5)])
    t.receiver.script(t.path, lambda r: Answer(200) if t.mended or r.json["name"] == "good" else Answer(422, "bad name"))
    t.sync(options={"max_rejected": "100%"})
    t.run("warning", rejected_added=4)
    t.mended = True
    t.seen()
    equal(t.call(f"SELECT courier.retry_rejected('{t.name}', '2')"), "1")
    t.run("warning", succeeded_added=1, requests=1)
    equal([r.path.rsplit("/", 1)[1] for r in t.seen()], ["2"])
    equal(t.call(f"SELECT courier.discard_rejected('{t.name}', '{{\"id\": 3}}')"), "1")
    equal([r["key"] for r in t.rejected()], ["1", "4"])
    equal(t.call(f"SELECT courier.retry_rejected('{t.name}')"), "2")
    t.run(succeeded_added=2, requests=2)
    equal(sorted(t.stored()), ["1", "2", "4"])
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'good' WHERE id = 3")
    t.run(succeeded_added=1, requests=1)
    equal(t.stored()["3"], {"id": 3, "name": "good"})
    t.mended = False
    t.sql(f"UPDATE {t.name} SET name = 'worse'")
    t.run("warning", rejected_changed=4)
    equal(t.call(f"SELECT courier.discard_rejected('{t.name}')"), "4")
    equal(t.rejected(), [])
    t.run(requests=0)
    t.sql(f"DELETE FROM {t.name}")
    t.run(requests=0)


@test("a removal that was refused is tried again from the snapshot, also when the key column's type has changed meanwhile")
def removal_refused_other_type(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.script(t.path + "/2", Answer(200), Answer(422), Answer(204))
    t.sync(mode="mirror")
    t.run(succeeded_added=2)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run("warning", rejected_removed=1)
    t.sql(f"ALTER TABLE {t.name} ALTER id TYPE text")
    t.call(f"SELECT courier.retry_rejected('{t.name}')")
    t.seen()
    run = t.run(succeeded_removed=1)
    equal((run["planned_added"], [(r.method, r.path.rsplit("/", 1)[1]) for r in t.seen() if r.method == "DELETE"]), (0, [("DELETE", "2")]))
    equal(t.rejected(), [])


@test("a snapshot that somebody writes to while records are on their way: what the destination answered is settled all the same")
def meddled(t):
    batches(t, (1, "a"), (2, "b"))
    t.run(succeeded_added=2)
    snapshot = "courier_data.snapshot_" + t.admin(f"SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}'")

    def meddle(request):
        t.admin(f"DELETE FROM {snapshot} WHERE k = 1", f"INSERT INTO {snapshot} (k, h) VALUES (3, gen_random_uuid()) ON CONFLICT DO NOTHING")
        return Answer(200)

    t.receiver.script(f"{t.path}/up", meddle)
    t.sql(f"UPDATE {t.name} SET name = 'c' WHERE id = 1", f"INSERT INTO {t.name} VALUES (3, 'n')")
    t.run(succeeded_added=1, succeeded_changed=1, rejected_added=0)
    equal(t.admin(f"SELECT string_agg(k::text, ' ' ORDER BY k) FROM {snapshot}"), "1 2 3")
    equal(t.admin(f"SELECT string_agg(key || outcome, ' ' ORDER BY key) FROM courier.changelog WHERE run_id = (SELECT max(run_id) FROM courier.runs WHERE sync = '{t.name}')"),
          "1succeeded 3succeeded")
    t.receiver.script(f"{t.path}/up", Answer(200))
    t.run(requests=0)


def changes_of_run(t):
    """The table with the changes of the run that is at work."""
    run = t.admin(f"SELECT max(run_id) FROM courier.runs WHERE sync = '{t.name}'")
    return t.admin(f"SELECT oid::regclass FROM pg_class WHERE relnamespace = 'courier_data'::regnamespace AND relname LIKE 'run\\_{run}\\_chg\\_%'")


@test("a record that stands elsewhere in the snapshot than the comparison saw it is found by its key")
def moved_in_snapshot(t):
    by_id = {"insert": {"method": "POST", "body": "{{ record }}"}, "update": {"method": "PUT", "path": "/{{ remote_id }}", "body": "{{ record }}"}}
    t.path = f"/plain/{t.name}"
    t.table()
    t.sql(f"INSERT INTO {t.name} SELECT n, repeat('x', 1000000) FROM generate_series(1, 16) n")
    t.receiver.script(t.path, lambda request: Answer(200, {"id": f"r{request.json['id']}"}))
    t.sync(requests=by_id, response={"remote_id": "/id"}, options={"concurrency": 1})
    t.run(succeeded_added=16)
    t.seen()
    snapshot = "courier_data.snapshot_" + t.admin(f"SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}'")
    moved = []

    def move(request):
        if not moved:
            moved.append(changes_of_run(t))
            t.admin(f"UPDATE {moved[0]} c SET at = (SELECT s.ctid FROM {snapshot} s WHERE s.k <> c.k ORDER BY s.k LIMIT 1)"
                    f" WHERE ctid = (SELECT max(ctid) FROM {moved[0]})")
        return Answer(200, {"id": f"r{request.json['id']}"})

    t.receiver.script(t.path, move)
    t.sql(f"UPDATE {t.name} SET name = name || 'y'")
    t.run(succeeded_changed=16)
    equal(sorted(r.path.rsplit("/", 1)[1] for r in t.seen()), sorted(f"r{n}" for n in range(1, 17)))
    equal([len(moved), t.admin(f"SELECT count(*) FROM {snapshot} WHERE r = 'r' || k")], [1, "16"])


@test("changes that the sync's owner writes to while they are on their way: the run fails and says so, and the server lives")
def altered_changes(t):
    batches(t, (0, "a"), options={"batch_size": 1, "concurrency": 1})
    t.run(succeeded_added=1)
    t.sql(f"INSERT INTO {t.name} SELECT n, repeat('x', 1000000) FROM generate_series(1, 16) n")
    damage = [f"{column} = NULL" for column in ("op", "key", "pk", "rec", "h")] + ["op = 'z'", "k = NULL", "at = '(4000000000,1)'", "at = '(0,1)'"]
    for what in damage:
        def alter(request):
            if damaged:
                return Answer(200)
            damaged.append(changes_of_run(t))
            t.admin(f"UPDATE {damaged[0]} SET {what} WHERE ctid = (SELECT max(ctid) FROM {damaged[0]})")
            return Answer(200)

        damaged = []
        t.receiver.script(f"{t.path}/up", alter)
        t.sql(f"UPDATE {t.name} SET name = name || 'y'")
        run = t.run("success" if what.startswith("at") else "failed", resync="full")
        equal("internal" in (run["error_code"] or ""), False, f"{what}: {run['error']}")
    t.receiver.script(f"{t.path}/up", Answer(200))
    t.run(resync="full")
    t.run(requests=0)


@test("a snapshot that its owner has given a column and an index of his own is read and written all the same")
def altered_snapshot(t):
    batches(t, (1, "a"), (2, "b"), (3, "c"))
    t.run(succeeded_added=3)
    snapshot = "courier_data.snapshot_" + t.admin(f"SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}'")
    rows = f"SELECT string_agg(k::text || ' ' || (h IS NOT NULL), ', ' ORDER BY k) FROM {snapshot}"

    def change(letter, number):
        t.sql(f"UPDATE {t.name} SET name = '{letter}' WHERE id = 1", f"INSERT INTO {t.name} VALUES ({number}, 'n')")
        t.run(succeeded_added=1, succeeded_changed=1)
        t.run(requests=0)

    t.sql(f"CREATE INDEX ON {snapshot} ((h::text || k))")
    change("x", 4)
    equal(t.sql("SET enable_seqscan = off", f"SELECT k FROM {snapshot} s WHERE h::text || k = (SELECT h::text || k FROM {snapshot} WHERE k = 1 OFFSET 0)"), "1")
    t.sql(f"ALTER TABLE {snapshot} ADD COLUMN note text DEFAULT 'mine'")
    change("y", 5)
    t.sql(f"ALTER TABLE {snapshot} DROP CONSTRAINT {snapshot.split('.')[1]}_pkey, ADD PRIMARY KEY (k) INCLUDE (h)")
    change("z", 6)
    equal(t.admin(rows), "1 true, 2 true, 3 true, 4 true, 5 true, 6 true")


@test("a request's idempotency key is made of the change alone: seed of the sync, key, kind of change, hash of the record, run of origin")
def idempotency_keys(t):
    t.table([(1, "Ada"), (2, "Ben")], "id integer PRIMARY KEY, name text")
    headers = {"Idempotency-Key": "{{ idempotency_key }}"}
    t.sync(requests={"upsert": {**REST["upsert"], "headers": headers}, "delete": {**REST["delete"], "headers": headers}}, mode="mirror")
    snapshot = "courier_data.snapshot_" + t.admin(f"SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}'")

    def keys(op, hashed, run, ids):
        return t.admin(f"SELECT string_agg(courier.hash128(y.seed::text, x.id::text, '{op}'::text, {hashed}, {run['run_id']}::int8)::text, ' ' ORDER BY x.id)"
                       f" FROM courier_internal.sync y, unnest(ARRAY{ids}) x (id) LEFT JOIN {snapshot} s ON s.k = x.id WHERE y.name = '{t.name}'").split(" ")

    def sent():
        return [r.header("Idempotency-Key") for r in sorted(t.seen(), key=lambda r: r.path)]

    run = t.run(requests=2)
    equal(sent(), keys("a", "s.h::text", run, [1, 2]))
    t.sql(f"UPDATE {t.name} SET name = 'Bea' WHERE id = 2", f"DELETE FROM {t.name} WHERE id = 1")
    run = t.run(requests=2)
    equal(sent(), keys("r", """'{"id":1}'::text""", run, [1]) + keys("c", "s.h::text", run, [2]))
