"""Real services, through the http destination and nothing but configuration. What arrived is read from the service itself."""

import contextlib
import json
import tempfile

from harness import equal, test
from parse_server import ParseServer
from services.couchdb import CouchDb
from services.influxdb import InfluxDb
from services.rabbitmq import RabbitMq


@contextlib.contextmanager
def running(make, t, *more):
    service = make(tempfile.mkdtemp(prefix="service-", dir=t.world.services_directory), *more)
    try:
        yield service
    finally:
        service.stop()


# The revision that CouchDB assigns is the identifier of what was accepted: without it nothing can be changed or deleted there.
COUCH = {"insert": {"method": "PUT", "path": "/{{ _id }}"},
         "update": {"method": "PUT", "path": "/{{ _id }}", "query": {"rev": "{{ remote_id }}"}},
         "delete": {"method": "DELETE", "path": "/{{ _id }}", "query": {"rev": "{{ remote_id }}"}}}


def couch_sync(t, couch, requests=COUCH, **settings):
    couch.create(t.name)
    t.sync(base=f"{couch.url}/{t.name}", mode="mirror", mapping={"_id": "id", "name": "name", "n": "n"}, match_on="{_id}", requests=requests,
           response={"code": "/error", "message": "/reason", "remote_id": "/rev"}, **settings)


@test("CouchDB API: every change is written once, with the revision that the server assigned, and removals come last", settings=("superuser",))
def couchdb(t):
    odd = ["a/b", "ü 2", 'q"u\'o', "50%41", "x?y&z"]
    with running(CouchDb, t) as couch:
        t.table([(k, f"name of {k}", n) for n, k in enumerate(odd)], "id text PRIMARY KEY, name text, n numeric")
        couch_sync(t, couch)
        t.run(succeeded_added=5)
        changes, writes = couch.written(t.name)
        equal((sorted(changes), writes), (sorted((k, 1, False) for k in odd), 5))
        equal(couch.document(t.name, "a/b")[0], {"name": "name of a/b", "n": 0})
        t.run(requests=0)
        equal(couch.written(t.name), ([], 0))
        t.sql(f"UPDATE {t.name} SET n = 7 WHERE id IN ('a/b', 'ü 2')", f"DELETE FROM {t.name} WHERE id = '50%41'", f"INSERT INTO {t.name} VALUES ('new', 'late', 9)")
        t.run(succeeded_added=1, succeeded_changed=2, succeeded_removed=1, requests=4)
        changes, writes = couch.written(t.name)
        equal((sorted(changes[:3]), changes[3:], writes), ([("a/b", 2, False), ("new", 1, False), ("ü 2", 2, False)], [("50%41", 2, True)], 4))
        # The revision of the update is the one that the next update needs.
        t.sql(f"UPDATE {t.name} SET n = 8 WHERE id = 'a/b'")
        t.run(succeeded_changed=1, requests=1)
        equal(couch.written(t.name), ([("a/b", 3, False)], 1))
        equal(couch.document(t.name, "a/b")[0], {"name": "name of a/b", "n": 8})


@test("CouchDB API: a document that somebody else wrote is not overwritten; the record is rejected with the server's words", settings=("superuser",))
def couchdb_conflict(t):
    with running(CouchDb, t) as couch:
        t.table([("a", "one", 1), ("b", "two", 2)], "id text PRIMARY KEY, name text, n numeric")
        couch_sync(t, couch)
        t.run(succeeded_added=2)
        _, revision = couch.document(t.name, "a")
        couch.put(t.name, "a", {"name": "theirs", "_rev": revision})
        couch.written(t.name)
        t.sql(f"UPDATE {t.name} SET n = n + 10")
        t.run("warning", succeeded_changed=1, rejected_changed=1)
        equal([(r["key"], r["http_status"], r["error_code"], r["message"]) for r in t.rejected()], [("a", 409, "conflict", "Document update conflict")])
        equal(couch.written(t.name), ([("b", 2, False)], 1))
        equal(couch.document(t.name, "a")[0], {"name": "theirs"})


@test("CouchDB API, _bulk_docs: conflicts inside a 201 are rejected one by one, the others carry their revisions on", settings=("superuser",))
def couchdb_bulk(t):
    with running(CouchDb, t) as couch:
        t.table([(f"k{n:02}", "new", n) for n in range(30)], "id text PRIMARY KEY, name text, n numeric")
        couch_sync(t, couch, options={"batch_size": 20}, requests={**COUCH, "insert": {
            "method": "POST", "path": "/_bulk_docs", "body": {"docs": "{{ records }}"}, "response": {"records": {
                "mapper": "by_order", "at": "", "ok": {"pointer": "/ok", "equals": True}, "code": "/error", "message": "/reason", "remote_id": "/rev"}}}})
        for key in ("k03", "k25"):
            couch.put(t.name, key, {"name": "theirs"})
        couch.written(t.name)
        t.run("warning", succeeded_added=28, rejected_added=2, requests=2)
        changes, writes = couch.written(t.name)
        equal((sorted(changes), writes), ([(f"k{n:02}", 1, False) for n in range(30) if n not in (3, 25)], 28))
        equal([(r["key"], r["error_code"], r["message"]) for r in t.rejected()], [(k, "conflict", "Document update conflict") for k in ("k03", "k25")])
        t.sql(f"UPDATE {t.name} SET n = 100 WHERE id = 'k07'", f"DELETE FROM {t.name} WHERE id = 'k08'")
        t.run("warning", succeeded_changed=1, succeeded_removed=1, requests=2)
        equal(couch.written(t.name), ([("k07", 2, False), ("k08", 2, True)], 2))


@test("InfluxDB: lines; of a batch that is refused in part the good points are stored and the bad one is rejected with its words", settings=("superuser",))
def influxdb(t):
    with running(InfluxDb, t) as influx:
        influx.query("CREATE DATABASE d")
        t.table([(f"room {n}, left", f"2024-03-10 12:00:{n:02}+00", str(n + 0.5)) for n in range(10)], "sensor text, at timestamptz, value text, PRIMARY KEY (sensor, at)")
        mapping = {"sensor": "sensor", "tag": r"regexp_replace(sensor, '([ ,=])', '\\\1', 'g')", "ns": "(extract(epoch FROM at) * 1000000000)::bigint", "value": "value"}
        t.sync(base=influx.url, mode="mirror", mapping=mapping, match_on="{sensor,ns}", options={"batch_size": 100}, requests={
            "upsert": {"method": "POST", "path": "/write", "query": {"db": "d"}, "encoding": "text", "body": "celsius,sensor={{ tag }} value={{ value }} {{ ns }}", "idempotent": True},
            "delete": {"method": "POST", "path": "/query", "query": {"db": "d"}, "encoding": "form",
                       "body": {"q": "DELETE FROM celsius WHERE sensor = '{{ sensor }}' AND time = {{ ns }}"}}},
            response={"message": "/error", "rules": [{"when": {"status": 200, "pointer": "/results/0/error", "exists": True}, "then": "rejected"}]})
        t.run(succeeded_added=10, requests=1)
        stored = influx.query("SELECT sensor, value FROM celsius", "d")
        start = 1710072000 * 10**9
        equal(stored, [[start + n * 10**9, f"room {n}, left", n + 0.5] for n in range(10)])
        # Text where numbers are.
        t.sql(f"UPDATE {t.name} SET value = CASE sensor WHEN 'room 4, left' THEN '\"warm\"' ELSE '20.25' END")
        t.run("warning", succeeded_changed=9, rejected_changed=1)
        words = t.rejected()
        equal([(r["key"], r["http_status"]) for r in words], [('["room 4, left","2024-03-10T12:00:04+00:00"]', 400)])
        assert "partial write: field type conflict" in words[0]["message"] and "dropped=1" in words[0]["message"], words[0]["message"]
        stored = influx.query("SELECT sensor, value FROM celsius", "d")
        equal([value for _, _, value in stored], [20.25] * 4 + [4.5] + [20.25] * 5)
        t.sql(f"UPDATE {t.name} SET value = '21' WHERE sensor = 'room 4, left'", f"DELETE FROM {t.name} WHERE sensor = 'room 9, left'")
        t.run(succeeded_changed=1, succeeded_removed=1)
        equal([value for _, _, value in influx.query("SELECT sensor, value FROM celsius", "d")], [20.25] * 4 + [21] + [20.25] * 4)


@test("RabbitMQ: each new row is one message, byte for byte; what no queue takes is rejected", settings=("superuser",))
def rabbitmq(t):
    with running(RabbitMq, t) as rabbit:
        rabbit.ask("PUT", "/exchanges/%2F/orders", {"type": "direct"})
        t.table([(n, f"Größe \"{n}\" \\ \n€", "12345678901234567890.10") for n in range(1, 21)], "id integer PRIMARY KEY, name text, price numeric")
        t.sync(base=rabbit.url, mode=None, sync_type="events", first_run="send",
               destination_config={"auth": {"type": "basic", "username": "guest"}}, secrets={"password": "guest"},
               requests={"event": {"method": "POST", "path": "/exchanges/%2F/orders/publish", "body": {
                   "properties": {"message_id": "{{ idempotency_key }}", "delivery_mode": 2, "type": "{{ sync }}"}, "routing_key": "created",
                   "payload": "{{ record | json_text | base64 }}", "payload_encoding": "base64"}}},
               response={"rules": [{"when": {"status": 200, "pointer": "/routed", "equals": False}, "then": "rejected"}]})
        t.run("warning", rejected_added=20)
        equal({r["message"] for r in t.rejected()}, {'{"routed":false}'})
        rabbit.queue("created", "orders")
        t.run("warning", requests=0)
        t.call(f"SELECT courier.retry_rejected('{t.name}')")
        t.run(succeeded_added=20)
        messages = sorted(rabbit.messages("created"), key=lambda m: json.loads(m[1])["id"])
        expected = [f'{{"id":{n},"name":{json.dumps(f"Größe {chr(34)}{n}{chr(34)} {chr(92)} {chr(10)}€", ensure_ascii=False)},"price":12345678901234567890.10}}' for n in range(1, 21)]
        equal([payload.decode() for _, payload in messages], expected)
        equal((len({p["message_id"] for p, _ in messages}), {p["type"] for p, _ in messages}), (20, {t.name}))
        t.sql(f"UPDATE {t.name} SET name = 'changed'", f"DELETE FROM {t.name} WHERE id = 1", f"INSERT INTO {t.name} VALUES (21, 'x', 1)")
        t.run(succeeded_added=1, requests=1)
        equal([json.loads(payload)["id"] for _, payload in rabbit.messages("created")], [21])


@test("parse-server, /batch: errors of single records inside a 200, identifiers from the answer", settings=("superuser",))
def parse_batch(t):
    with running(ParseServer, t, t.world.cluster, "parse_batch") as parse:
        t.table([(n, f"p{n}@example.com", f"doc {n}") for n in range(1, 61)], "id integer PRIMARY KEY, email text, doc text")
        t.sql(f"UPDATE {t.name} SET email = NULL WHERE id = 7", f"UPDATE {t.name} SET email = 'p1@example.com' WHERE id = 52")
        # A record is the request within the batch.
        mapping = {"method": "'POST'", "path": "'/parse/classes/Contact'", "body.ext": "id::text", "body.email": "email", "body.doc": "doc"}
        t.sync(base=parse.url, mode="mirror", mapping=mapping, match_on="{body.ext}", destination_config={"headers": parse.HEADERS}, options={"batch_size": 50, "concurrency": 1},
               requests={"insert": {"method": "POST", "path": "/batch", "body": {"requests": "{{ records }}"}, "response": {"records": {
                             "mapper": "by_order", "at": "", "ok": {"pointer": "/success", "exists": True}, "code": "/error/code", "message": "/error/error",
                             "remote_id": "/success/objectId"}}},
                         "update": {"method": "PUT", "path": "/classes/Contact/{{ remote_id }}", "body": "{{ body }}"},
                         "delete": {"method": "DELETE", "path": "/classes/Contact/{{ remote_id }}"}},
               response={"code": "/code", "message": "/error"})
        t.run("warning", succeeded_added=58, rejected_added=2, requests=2)
        found = {r["key"]: r for r in t.rejected()}
        equal({k: r["error_code"] for k, r in found.items()}, {"7": "142", "52": "137"})
        assert "email is required" in found["7"]["message"] and "duplicate value" in found["52"]["message"], found
        contacts = lambda: json.loads(parse.sql("""SELECT json_object_agg(ext, json_build_array(email, doc)) FROM "Contact" """))
        equal(contacts(), {str(n): [f"p{n}@example.com", f"doc {n}"] for n in range(1, 61) if n not in (7, 52)})
        t.sql(f"UPDATE {t.name} SET doc = 'new' WHERE id = 3", f"DELETE FROM {t.name} WHERE id = 4", f"UPDATE {t.name} SET email = 'p7@example.com' WHERE id = 7",
              f"UPDATE {t.name} SET email = 'p52@example.com' WHERE id = 52")
        t.run(succeeded_added=2, succeeded_changed=1, succeeded_removed=1)
        equal(contacts(), {str(n): [f"p{n}@example.com", "new" if n == 3 else f"doc {n}"] for n in range(1, 61) if n != 4})
        equal(parse.sql("""SELECT count(*) FROM "Contact" """), "59")
