"""Random models and random histories. Whatever happened, after a clean run the receiver equals the model, and where nothing went wrong a
record that did not change was not written again. PROPERTY_SEED repeats a failure; PROPERTY_STEPS sets the length (default 400 steps a test)."""

import os
import random
from decimal import Decimal

from harness import equal, literal, test

STEPS = int(os.environ.get("PROPERTY_STEPS", "400"))
ODD = ["a", "b'c", 'd"e', "f\\g", "ü€", "h i", "j\tk", "n\nl", "%41", "l/m", "{{ n }}", "..", "0", "null", "x" * 200]
ETCD = {"upsert": {"method": "POST", "path": "/v3/kv/put", "idempotent": True,
                   "body": {"key": "{{ k | base64 }}", "value": "{{ record | json_text | base64 }}"}},
        "delete": {"method": "POST", "path": "/v3/kv/deleterange", "idempotent": True, "body": {"key": "{{ k | base64 }}"}}}


class History:
    """Rows as the table has them, and what etcd is expected to hold."""

    def __init__(self, t, kind, seed):
        self.t, self.kind, self.random = t, kind, random.Random(seed)
        self.rows, self.extra = {}, ""
        t.sql(f"CREATE TABLE {t.name} (a {'bigint' if kind == 'number' else 'text'}, b integer, name text, n numeric)")
        key = ["a", "b"] if kind == "composite" else ["a"]
        text = f"'{t.name}/' || a" + (" || '#' || b" if kind == "composite" else "")
        t.sync(query=f"SELECT * FROM {t.name}", primary_key=key, base=t.etcd.url, mode="mirror", mapping=self.mapping(text), match_on="{k}", requests=ETCD,
               options={"max_removed": "100%", "concurrency": 8, "null_keys": "remove"})
        self.key_text = text

    def mapping(self, text):
        return {"k": text, "name": "name" + self.extra, "n": "n"}

    def key(self):
        r = self.random
        a = r.randint(-20, 20) if self.kind == "number" else r.choice(ODD)
        return (a, r.randint(1, 3) if self.kind == "composite" else 1)

    def where(self, key):
        return f"a = {literal(key[0])} AND b = {key[1]}"

    def step(self):
        r, name = self.random, self.t.name
        what, key = r.random(), self.key()
        value = (r.choice(ODD + [None, ""]), r.choice([None, "1", "2.50", "-5", "5", "12345678901234567890.123456789"]))
        n = value[1] or "NULL"
        if key not in self.rows:
            if what < 0.75:
                self.rows[key] = value
                return f"INSERT INTO {name} VALUES ({literal(key[0])}, {key[1]}, {literal(value[0])}, {n})"
            return None
        if what < 0.35:
            del self.rows[key]
            return f"DELETE FROM {name} WHERE {self.where(key)}"
        if what < 0.45:
            other = self.key()
            if other not in self.rows:
                self.rows[other] = self.rows.pop(key)
                return f"UPDATE {name} SET a = {literal(other[0])}, b = {other[1]} WHERE {self.where(key)}"
        self.rows[key] = value
        return f"UPDATE {name} SET name = {literal(value[0])}, n = {n} WHERE {self.where(key)}"

    def expected(self):
        def shown(name):
            return None if name is None else name + ("!" if self.extra else "")
        return {str(k[0]) + (f"#{k[1]}" if self.kind == "composite" else ""): (shown(v[0]), v[1]) for k, v in self.rows.items()}

    def held(self):
        found = {}
        for key, (record, version) in self.t.etcd.read(self.t.name + "/").items():
            found[key] = (record["name"], record["n"], version)
        return found


def check(history, before, exact):
    held, expected = history.held(), history.expected()
    equal(sorted(held), sorted(expected), "keys")
    for key, (name, n) in expected.items():
        equal(held[key][0], name, f"name of {key!r}")
        equal(held[key][1], n and Decimal(n), f"n of {key!r}")
        if exact and key in before and before[key][:2] == held[key][:2]:
            equal(held[key][2], before[key][2], f"writes of {key!r}, which has not changed")


def live(t, kind):
    seed = int(os.environ.get("PROPERTY_SEED") or random.SystemRandom().randrange(1 << 30))
    try:
        print(f"# {t.name}: PROPERTY_SEED={seed}", flush=True)
        history = History(t, kind, seed)
        r, done = history.random, 0
        while done < STEPS:
            before, steps = history.held(), [s for s in (history.step() for _ in range(r.randint(1, 20))) if s]
            if steps:
                t.sql(*steps)
            done += len(steps) + 1
            trouble = r.random()
            if trouble < 0.15:
                run = t.trigger()
                t.admin(f"SELECT pg_terminate_backend(worker_pid) FROM courier_internal.run WHERE run_id = {run} AND worker_pid IS NOT NULL" if trouble < 0.08
                        else f"SELECT courier.cancel_run({run})")
            elif trouble < 0.22:
                history.extra = "" if history.extra else " || '!'"
                t.sql(f"SELECT courier.alter_sync('{t.name}', mapping => {literal(history.mapping(history.key_text))})")
            elif trouble < 0.27:
                t.run(resync="full")
                before = history.held()
            clean(t)
            check(history, before, exact=trouble >= 0.15)
            if 0.27 <= trouble < 0.40:
                unusable(t, history)
                before = history.held()
            # A run that was killed or cancelled may have sent anything that had changed, and once again what was under way.
            check(history, before, exact=trouble >= 0.15)
    except Exception as error:
        raise AssertionError(f"PROPERTY_SEED={seed}: {error}") from error


def unusable(t, history):
    """A NULL key and a second copy of a key: nothing of them is sent, what was accepted stays as it is, and the rest goes on."""
    before, name = history.held(), t.name
    t.sql(f"INSERT INTO {name} VALUES (NULL, 1, 'nobody', 7)")
    if history.rows:
        key = history.random.choice(sorted(history.rows))
        t.sql(f"INSERT INTO {name} VALUES ({literal(key[0])}, {key[1]}, 'the copy', 7)")
    t.run("warning", requests=0)
    equal(history.held(), before, "what etcd holds beside unusable rows")
    t.sql(f"DELETE FROM {name} WHERE a IS NULL OR name = 'the copy'")
    clean(t)


def clean(t):
    """A run from beginning to end; one that carries on for a killed one may be before it."""
    for _ in range(20):
        t.wait(t.trigger())
        if t.last_run()["status"] == "success":
            return
    raise AssertionError(f"no run succeeds: {t.last_run()}")


@test("property: a number as key, to etcd")
def number(t):
    live(t, "number")


@test("property: texts with any character as key, to etcd")
def text(t):
    live(t, "text")


@test("property: a composite key, to etcd")
def composite(t):
    live(t, "composite")
