"""What a definition says about batches, groups and rates, seen by the receiver."""

import gzip
import time

from harness import equal, test
from receiver import Answer

MESSAGE = {"message": {"path": "/{{ channel }}", "body": {"text": "{{ text }}"}}}


def messages(t, name=None, **more):
    """Messages to channels, from a table (id, channel, text)."""
    t.sync(name=name, model=None if name is None else t.name, destination=None if name is None else t.name, sync_type="notifications",
           mode="upsert", first_run="send", requests=MESSAGE, mapping={"channel": "channel", "text": "text"}, **more)


def channels(t, *rows):
    t.table(rows, columns="id integer PRIMARY KEY, channel text, text text")


@test("definition: a batch is of one group, removals come after additions of all groups, and preview shows it")
def grouped(t):
    t.table([(n, f"list{n % 2}") for n in range(1, 8)], columns="id integer PRIMARY KEY, list text")
    members = {"path": "/{{ list }}", "group_by": "{{ list }}", "body": {"list": "{{ list }}", "members": "{{ records }}"}, "each": {"id": "{{ id }}"}}
    t.sync(mode="mirror", mapping={"id": "id", "list": "list"}, match_on=["id", "list"],
           requests={"upsert": members, "delete": {**members, "path": "/{{ list }}/remove"}}, options={"batch_size": 3})
    shown = t.rows(f"SELECT records, url, body FROM courier.preview_sync('{t.name}')")
    equal([(r["records"], r["url"].rsplit("/", 1)[1]) for r in shown], [(3, "list1"), (3, "list0"), (1, "list1")])
    t.run(succeeded_added=7)
    sent = {}
    for request in t.seen():
        equal(request.path.rsplit("/", 1)[1], request.json["list"])
        assert len(request.json["members"]) <= 3, request.json
        sent.setdefault(request.json["list"], []).extend(m["id"] for m in request.json["members"])
    equal({k: sorted(v) for k, v in sent.items()}, {"list1": [1, 3, 5, 7], "list0": [2, 4, 6]})
    t.sql(f"UPDATE {t.name} SET list = 'list2' WHERE id = 1", f"DELETE FROM {t.name} WHERE id IN (2, 3)", f"INSERT INTO {t.name} VALUES (9, 'list1')")
    t.run(succeeded_removed=2, succeeded_added=1, succeeded_changed=1)
    paths = [r.path.removeprefix(t.path) for r in t.seen()]
    equal((sorted(paths[:2]), sorted(paths[2:])), (["/list1", "/list2"], ["/list0/remove", "/list1/remove"]))


@test("definition: a channel that is throttled does not hold up the others")
def throttled_key(t):
    channels(t, *[(n, "slow", f"s{n}") for n in range(1, 41)], *[(n, f"c{n}", "x") for n in range(41, 51)])
    t.receiver.script(f"{t.path}/slow", Answer(429, "", {"Retry-After": "2"}), Answer(200))
    messages(t, config={"limits": {"rate_key": "{{ channel }}", "concurrency": 1}})
    start = time.time()
    t.run(succeeded_added=50)
    seen = t.seen()
    refused = seen[0].time
    others = [r.time - refused for r in seen if "/slow" not in r.path]
    slow = sorted(r.time - refused for r in seen if "/slow" in r.path)
    equal((len(others), len(slow)), (10, 41))
    assert max(others) < slow[1] and slow[1] >= 1.9, f"others until {max(others)}, the throttled one again after {slow[1]}"
    assert time.time() - start < 20


@test("definition: one rate per channel, shared by two syncs")
def rate_per_key(t):
    channels(t, (1, "a", "1"), (2, "a", "2"), (3, "b", "3"))
    destination = {"limits": {"rate": "2/s", "rate_key": "{{ channel }}"}}
    messages(t, destination_config=destination)
    messages(t, name=t.name + "_b")
    runs = [t.trigger(), t.trigger(t.name + "_b")]
    equal([t.wait(run) for run in runs], ["success", "success"])
    times = {}
    for request in t.seen():
        times.setdefault(request.path[-1], []).append(request.time)
    equal({k: len(v) for k, v in times.items()}, {"a": 4, "b": 2})
    lasted = max(times["a"]) - min(times["a"])
    assert 1.4 < lasted < 5, f"four messages to one channel at 2/s took {lasted} s"
    assert max(times["b"]) - min(times["b"]) < lasted, "the other channel waited for it"
    equal(t.admin("SELECT string_agg(budget, ',' ORDER BY budget) FROM courier_internal.destination_state JOIN courier_internal.destination USING (destination_id) "
                  f"WHERE name = '{t.name}'"), "=a,=b")


@test("definition: an event endpoint has a rate of its own, the type a default, and the sync's rate_limit counts")
def rates(t):
    t.table([(n, "x") for n in range(1, 6)])
    t.sync(requests={"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}", "rate": "5/s"}}, config={"limits": {"rate": "1000/s"}})
    t.run(succeeded_added=5)
    times = [r.time for r in t.seen()]
    assert max(times) - min(times) > 0.7, f"five requests at 5/s took {max(times) - min(times)} s"


@test("definition: compressed bodies arrive whole, and the log shows them in clear")
def compressed(t):
    t.table([(n, "Grüße " * 20) for n in range(1, 21)])
    t.sync(requests={"upsert": {"path": "/bulk", "encoding": "ndjson", "compress": "gzip"}}, options={"batch_size": 100, "log_requests": "all"})
    t.run(succeeded_added=20)
    request = t.seen()[0]
    equal(request.header("Content-Encoding"), "gzip")
    equal(gzip.decompress(request.raw).decode().count("\n"), 20)
    assert len(request.raw) < 1000, len(request.raw)
    logged = t.rows(f"SELECT request_body FROM courier.requests WHERE sync = '{t.name}'")
    assert logged[0]["request_body"].startswith('{"id":1,"name":"Grüße'), logged
    assert t.rows(f"SELECT body FROM courier.preview_sync('{t.name}', 1)") == []


@test("definition: bytea leaves as the bytes that it is")
def raw(t):
    t.table(columns="id integer PRIMARY KEY, file bytea")
    t.sql(f"INSERT INTO {t.name} SELECT 1, decode(string_agg(lpad(to_hex(n), 2, '0'), '' ORDER BY n), 'hex') FROM generate_series(0, 255) n")
    t.sync(requests={"upsert": {"method": "PUT", "path": "/{{ id }}", "encoding": "raw", "body": "{{ file }}"}}, mapping={"id": "id", "file": "file"})
    t.run(succeeded_added=1)
    equal(t.seen()[0].raw, bytes(range(256)))
