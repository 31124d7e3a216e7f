"""Modes, against a real etcd, which counts the writes of every key, and against the receiver's store, which knows 404 and 409."""

from harness import POSTED, equal, methods, test

ETCD = {"upsert": {"method": "POST", "path": "/v3/kv/put", "idempotent": True,
                   "body": {"key": "{{ etcd_key | base64 }}", "value": "{{ record | json_text | base64 }}"}},
        "delete": {"method": "POST", "path": "/v3/kv/deleterange", "idempotent": True, "body": {"key": "{{ etcd_key | base64 }}"}}}


def to_etcd(t, **settings):
    t.sync(base=t.etcd.url, mapping={"etcd_key": f"'{t.name}/' || id", "name": "name"}, match_on="{etcd_key}", requests=ETCD, **settings)


def etcd_state(t):
    return {k: (v["name"], version) for k, (v, version) in t.etcd.read(t.name + "/").items()}


@test("mode mirror, to etcd: each change is written once, unchanged rows never again, removed rows go")
def mirror_etcd(t):
    t.table([(n, f"row {n}") for n in range(1, 201)])
    to_etcd(t, mode="mirror", options={"concurrency": 8})
    t.run(succeeded_added=200)
    equal({version for _, version in etcd_state(t).values()}, {1})
    t.sql(f"UPDATE {t.name} SET name = 'new ' || id WHERE id <= 5", f"DELETE FROM {t.name} WHERE id > 190", f"INSERT INTO {t.name} VALUES (500, 'late')")
    t.run(succeeded_added=1, succeeded_changed=5, succeeded_removed=10, requests=16)
    state = etcd_state(t)
    equal(sorted(k for k, (_, version) in state.items() if version == 2), ["1", "2", "3", "4", "5"])
    equal(len(state), 191)
    equal(state["500"], ("late", 1))
    t.run(requests=0)
    equal(etcd_state(t), state)


@test("mode upsert, to etcd: removed rows stay there")
def upsert_etcd(t):
    t.table([(1, "one"), (2, "two")])
    to_etcd(t, mode="upsert")
    t.run()
    t.sql(f"DELETE FROM {t.name} WHERE id = 1")
    t.run(requests=0)
    equal(etcd_state(t), {"1": ("one", 1), "2": ("two", 1)})


@test("mode insert: changes are not compared, and a row that returns is not sent twice")
def insert(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(mode="insert", requests=POSTED)
    t.run(succeeded_added=2)
    t.seen()
    t.sql(f"UPDATE {t.name} SET name = 'x' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 2")
    t.run(requests=0)
    t.insert((2, "again"), (3, "three"))
    t.run(succeeded_added=1, requests=1)
    equal([(r.method, r.json["id"]) for r in t.seen()], [("POST", 3)])


@test("mode update: 404 is skipped, sent again when it changes, never removed")
def update(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.stores[t.name] = {"1": {"id": 1, "name": "old"}}
    t.sync(mode="update", requests=POSTED, on_removed="delete")
    t.run(skipped=1, succeeded_added=1)
    equal(t.stored(), {"1": {"id": 1, "name": "one"}})
    t.seen()
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'second' WHERE id = 2")
    t.run(skipped=1, requests=1)
    t.seen()
    t.sql(f"DELETE FROM {t.name}")
    t.run(succeeded_removed=1)
    equal([(r.method, r.path) for r in t.seen()], [("DELETE", t.path + "/1")])


@test("upsert as insert and update: 409 on an added record is retried as changed")
def exists(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.stores[t.name] = {"1": {"id": 1, "name": "old"}}
    t.sync(requests=POSTED, options={"concurrency": 1})
    t.run(planned_added=2)
    equal(t.stored(), {"1": {"id": 1, "name": "one"}, "2": {"id": 2, "name": "two"}})
    equal(sorted(methods(t.seen())), ["PATCH", "POST", "POST"])
    t.run(requests=0)


@test("404 on a changed record is retried as added, 404 on a delete is accepted")
def missing(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(requests=POSTED, on_removed="delete")
    t.run()
    t.receiver.stores[t.name].clear()
    t.seen()
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 2")
    t.run(planned_changed=1, planned_removed=1, succeeded_removed=1)
    equal(methods(t.seen()), ["PATCH", "POST", "DELETE"])
    equal(t.stored(), {"1": {"id": 1, "name": "uno"}})
    equal(t.rejected(), [])


@test("first_run baseline sends nothing, and changes afterwards are sent")
def baseline(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(first_run="baseline")
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1")
    t.run(requests=1, succeeded_changed=1)
    equal([r.path for r in t.seen()], [t.path + "/1"])


@test("resync full sends every row, as changed where it was accepted")
def full(t):
    t.table([(1, "one"), (2, "two")])
    t.sync()
    t.run()
    t.insert((3, "three"))
    t.seen()
    t.run(resync="full", planned_added=1, planned_changed=2)
    equal(len(t.seen()), 3)
    t.run(requests=0)


@test("resync baseline sends nothing, and takes the destination as equal")
def resync_baseline(t):
    t.table([(1, "one")])
    t.sync()
    t.run()
    t.script(*[])
    t.sql(f"UPDATE {t.name} SET name = 'uno'")
    t.insert((2, "two"))
    t.seen()
    t.run(resync="baseline", requests=0)
    t.run(requests=0)
    equal(t.seen(), [])
    equal(len(t.rows(f"SELECT courier.snapshot('{t.name}')")), 2)


@test("sync type events: a new key is an event, sent once")
def events(t):
    t.table([(1, "signup")])
    t.sync(mode=None, sync_type="events", first_run="send", requests={"event": {"method": "POST", "path": "/{{ id }}", "body": "{{ record }}"}})
    t.run(succeeded_added=1)
    t.sql(f"UPDATE {t.name} SET name = 'changed'")
    t.run(requests=0)
    t.insert((2, "login"))
    t.run(requests=1)
    equal(methods(t.seen()), ["POST", "POST"])
