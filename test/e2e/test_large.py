"""Values and models that are larger, narrower or emptier than usual. A model of millions of rows is test/large."""

import hashlib

from harness import equal, methods, test
from receiver import Answer


@test("a text of 20 MB arrives byte for byte, added and changed", settings=("superuser",))
def twenty_megabytes(t):
    t.table()
    t.receiver.script(t.path, Answer(202))
    # Random enough not to be squeezed away, with characters of one to four bytes.
    text = "SELECT string_agg(md5(g::text) || 'ü€\U0001f409\"\\' || chr(10), '' ORDER BY g) FROM generate_series(1, 470000) g"
    t.sql(f"INSERT INTO {t.name} SELECT 1, ({text})")
    t.sync(options={"timeout": "120 s", "log_requests": "none"})
    for changed, update in ((False, None), (True, f"UPDATE {t.name} SET name = name || '!'")):
        if update:
            t.sql(update)
        t.run(**{"succeeded_changed" if changed else "succeeded_added": 1})
        size, digest = t.sql(f"SELECT octet_length(name) || ' ' || md5(name) FROM {t.name}").split()
        arrived = t.seen()[0].json["name"].encode()
        equal((len(arrived), hashlib.md5(arrived).hexdigest()), (int(size), digest))
    assert int(size) > 20_000_000, size
    t.run(requests=0)


@test("a model of one column: the key is the record")
def one_column(t):
    t.table([(1,), (2,), (3,)], "id integer PRIMARY KEY")
    t.sync(mode="mirror")
    t.run(succeeded_added=3)
    equal(sorted(r.text for r in t.seen()), ['{"id":1}', '{"id":2}', '{"id":3}'])
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET id = 4 WHERE id = 2")
    t.run(succeeded_added=1, succeeded_removed=1, requests=2)
    equal([(r.method, r.path.rsplit("/", 1)[1]) for r in t.seen()], [("PUT", "4"), ("DELETE", "2")])


@test("an empty model: success and no request; then rows come; then it is empty again, which is blocked until somebody approves")
def empty_model(t):
    t.table()
    t.script(Answer(202))
    t.sync(mode="mirror", requests=None, options={"batch_size": 1000})
    t.run(requests=0, rows_queried=0)
    t.run(requests=0)
    equal(t.seen(), [])
    t.sql(f"INSERT INTO {t.name} SELECT g, 'x' FROM generate_series(1, 1000) g")
    t.run(succeeded_added=1000, requests=1)
    equal(sorted(r["id"] for r in t.seen()[0].json), list(range(1, 1001)))
    # No option was set: of a snapshot of 1,000 more than half may not go at once.
    t.sql(f"DELETE FROM {t.name} WHERE id > 500")
    t.run(succeeded_removed=500)
    t.sql(f"INSERT INTO {t.name} SELECT g, 'x' FROM generate_series(501, 1000) g")
    t.run(succeeded_added=500)
    t.seen()
    t.sql(f"DELETE FROM {t.name}")
    blocked = t.run("blocked", planned_removed=1000)
    equal(t.seen(), [])
    equal(t.wait(t.call(f"SELECT courier.approve_run({blocked['run_id']})")), "success")
    seen = t.seen()
    equal((methods(seen), sorted(r["id"] for r in seen[0].json)), (["POST"], list(range(1, 1001))))
    t.run(requests=0)
