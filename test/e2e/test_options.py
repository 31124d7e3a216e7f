"""Options, sync types, identifiers that the destination gives, and models that change their shape."""

from harness import equal, methods, test, until
from receiver import Answer

BY_REMOTE_ID = {"insert": {"method": "POST", "body": "{{ record }}"}, "update": {"method": "PUT", "path": "/{{ remote_id }}", "body": "{{ record }}"},
                "delete": {"method": "DELETE", "path": "/{{ remote_id }}"}}


@test("changed_fields_only: only what differs from what was accepted is sent, with the match fields")
def changed_fields_only(t):
    t.table([(1, "one", "Rome"), (2, "two", "Oslo")], "id integer PRIMARY KEY, name text, city text")
    t.sync(options={"changed_fields_only": True})
    t.run(succeeded_added=2)
    t.seen()
    t.sql(f"UPDATE {t.name} SET city = 'Bern' WHERE id = 1")
    t.run(succeeded_changed=1)
    equal([r.json for r in t.seen()], [{"id": 1, "city": "Bern"}])
    t.sql(f"UPDATE {t.name} SET name = NULL WHERE id = 1")
    t.run(succeeded_changed=1)
    equal([r.json for r in t.seen()], [{"id": 1, "name": None}])


@test("changed_fields_only switched on later: the record goes whole once")
def changed_fields_later(t):
    t.table([(1, "one", "Rome")], "id integer PRIMARY KEY, name text, city text")
    t.sync()
    t.run(succeeded_added=1)
    t.sql(f"SELECT courier.alter_sync('{t.name}', options => '{{\"changed_fields_only\": true}}')", f"UPDATE {t.name} SET city = 'Bern'")
    t.seen()
    t.run(succeeded_changed=1)
    equal([r.json for r in t.seen()], [{"id": 1, "name": "one", "city": "Bern"}])
    t.sql(f"UPDATE {t.name} SET city = 'Graz'")
    t.run(succeeded_changed=1)
    equal([r.json for r in t.seen()], [{"id": 1, "city": "Graz"}])


@test("an identifier that the destination gives is kept and used in later requests")
def remote_id(t):
    t.table([(1, "one"), (2, "two")])
    t.script(Answer(201, {"id": "R-1"}), Answer(201, {"id": "R-2"}))
    t.sync(mode="mirror", requests=BY_REMOTE_ID, response={"remote_id": "/id"}, options={"concurrency": 1})
    t.run(succeeded_added=2)
    given = {r.json["id"]: f"R-{n}" for n, r in enumerate(t.seen(), 1)}
    t.script(Answer(200), Answer(200))
    t.sql(f"UPDATE {t.name} SET name = 'new' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 2")
    t.run(succeeded_changed=1, succeeded_removed=1)
    equal([(r.method, r.path.rsplit("/", 1)[1]) for r in t.seen()], [("PUT", given[1]), ("DELETE", given[2])])


@test("a request that needs an unknown remote id rejects the record, and is never sent")
def unknown_remote_id(t):
    t.table([(1, "one")])
    t.sync(mode="mirror", requests=BY_REMOTE_ID, response={"remote_id": "/id"}, first_run="baseline")
    t.run()
    t.sql(f"UPDATE {t.name} SET name = 'new'")
    t.run("warning", rejected_changed=1)
    equal(t.seen(), [])
    equal([r["error_code"] for r in t.rejected()], ["unknown_remote_id"])


@test("notifications: a message per change with a template of its own; the first run is a baseline")
def notifications(t):
    t.table([(1, "one"), (2, "two")])
    t.script(*[Answer(200)] * 2)
    t.sync(mode=None, sync_type="notifications", requests={
        "message.added": {"method": "POST", "body": {"text": "new: {{ name }}"}},
        "message.removed": {"method": "POST", "body": {"text": "gone: {{ name }}"}}})
    t.run()
    equal(t.seen(), [])
    t.insert((3, "three"))
    t.run(succeeded_added=1)
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1")
    t.run(requests=0)
    t.sql(f"DELETE FROM {t.name} WHERE id = 3")
    t.run(succeeded_removed=1)
    equal([r.json["text"] for r in t.seen()], ["new: three", "gone: three"])


@test("segments: added joins, removed leaves, by a match field that is not the key")
def segments(t):
    t.table([(1, "a@x"), (2, "b@x")], "id integer PRIMARY KEY, email text")
    for path in ("join", "leave"):
        t.receiver.script(f"{t.path}/{path}", Answer(202))
    t.sync(mode=None, sync_type="segments", mapping={"email": "email"}, match_on="{email}", requests={
        "add": {"method": "POST", "path": "/join", "body": {"email": "{{ email }}"}},
        "remove": {"method": "POST", "path": "/leave", "body": {"email": "{{ email }}"}}})
    t.run(succeeded_added=2)
    t.sql(f"DELETE FROM {t.name} WHERE id = 1")
    t.run(succeeded_removed=1)
    t.sql(f"UPDATE {t.name} SET email = 'c@x' WHERE id = 2")
    t.run()
    seen = [(r.path.rsplit("/", 1)[1], r.json["email"]) for r in t.seen()]
    equal((sorted(seen[:2]), seen[2:]), ([("join", "a@x"), ("join", "b@x")], [("leave", "a@x"), ("join", "c@x"), ("leave", "b@x")]))


@test("two rows exchange their match values: both records are there afterwards")
def exchange(t):
    t.table([(1, "a"), (2, "b")], "id integer PRIMARY KEY, email text")
    t.sync(mode="mirror", mapping={"id": "email", "number": "id"}, match_on="{id}")
    t.run(succeeded_added=2)
    t.sql(f"UPDATE {t.name} SET email = CASE email WHEN 'a' THEN 'b' ELSE 'a' END")
    t.run()
    equal(t.stored(), {"a": {"id": "a", "number": 2}, "b": {"id": "b", "number": 1}})


@test("a removal whose match value another record holds is not sent")
def held_removal(t):
    t.table([(1, "a")], "id integer PRIMARY KEY, email text")
    t.sync(mode="mirror", mapping={"id": "email", "number": "id"}, match_on="{id}")
    t.run(succeeded_added=1)
    t.sql(f"UPDATE {t.name} SET id = 2")
    t.run(succeeded_added=1, succeeded_removed=0)
    equal(t.stored(), {"a": {"id": "a", "number": 2}})


@test('"on": "insert" is sent with added records alone; "null": "omit" leaves NULL out; "track": false is no reason')
def field_settings(t):
    t.table([(1, "one", None)], "id integer PRIMARY KEY, name text, note text")
    t.sync(mapping={"id": "id", "name": "name", "first": {"expr": "name", "on": "insert"}, "note": {"expr": "note", "null": "omit"},
                    "loud": {"expr": "upper(coalesce(note, ''))", "track": False}})
    t.run(succeeded_added=1)
    equal([r.json for r in t.seen()], [{"id": 1, "name": "one", "first": "one", "loud": ""}])
    t.sql(f"UPDATE {t.name} SET name = 'two', note = 'x'")
    t.run(succeeded_changed=1)
    equal([r.json for r in t.seen()], [{"id": 1, "name": "two", "note": "x", "loud": "X"}])


@test("the key column's type changes: nothing is resent, and removals still find their record")
def key_type(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(mode="mirror")
    t.run(succeeded_added=2)
    t.seen()
    t.sql(f"ALTER TABLE {t.name} ALTER id TYPE text", f"DELETE FROM {t.name} WHERE id = '2'")
    run = t.run()
    equal((run["planned_added"], run["succeeded_removed"]), (0, 1))
    equal([(r.method, r.path.rsplit("/", 1)[1]) for r in t.seen() if r.method == "DELETE"], [("DELETE", "2")])


@test("another primary key: the sync refuses to run until resync is named")
def other_key(t):
    t.table([(1, "a"), (2, "b")], "id integer PRIMARY KEY, name text UNIQUE")
    t.sync(mapping={"id": "id", "name": "name"}, match_on="{id}")
    t.run(succeeded_added=2)
    t.sql(f"SELECT courier.alter_model('{t.name}', primary_key => '{{name}}')")
    t.seen()
    t.run("failed")
    equal(t.seen(), [])
    t.run(resync="baseline")
    equal(t.seen(), [])
    t.run(requests=0)


@test("column types: every kind arrives as the manual says, and each change is seen")
def column_types(t):
    t.sql("DO $$ BEGIN CREATE TYPE mood AS ENUM ('sad', 'ok'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
          "DO $$ BEGIN CREATE TYPE pair AS (x integer, y text); EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    t.table((), "id integer PRIMARY KEY, j json, x xml, p point, b bit(3), m money, v tsvector, a integer[], c pair, e mood, r int4range, n inet, y bytea, f float8")
    t.sql(f"""INSERT INTO {t.name} VALUES (1, '{{"a": 1}}', '<a/>', '(1,2)', B'101', 3.5, 'cat', '{{1,2}}', '(1,z)', 'ok', '[1,5)', '10.0.0.1', '\\x00ff', 'Infinity')""")
    t.sync()
    t.run(succeeded_added=1)
    got = t.seen()[0].json
    equal({k: got[k] for k in "japbveycnf"},
          {"j": {"a": 1}, "a": [1, 2], "p": "(1,2)", "b": "101", "v": "'cat'", "e": "ok", "y": "AP8=", "c": {"x": 1, "y": "z"}, "n": "10.0.0.1", "f": "Infinity"})
    for change in ("j = '{\"a\": -1}'", "x = '<b/>'", "p = '(2,1)'", "b = B'100'", "m = -3.5", "v = 'dog'", "a = '{{1},{2}}'", "c = '(2,z)'", "e = 'sad'",
                   "r = '[1,6)'", "n = '10.0.0.2'", "y = '\\x00fe'", "f = 'NaN'"):
        t.sql(f"UPDATE {t.name} SET {change}")
        t.run(succeeded_changed=1, requests=1)
    t.run(requests=0)


@test("1,600 columns; a field name over 63 bytes")
def wide(t):
    t.sql(f"CREATE TABLE {t.name} (id integer PRIMARY KEY, " + ", ".join(f"c{n} integer" for n in range(1, 1600)) + ")",
          f"INSERT INTO {t.name} (id, c1, c1599) VALUES (1, 10, 20)")
    t.sync()
    t.run(succeeded_added=1)
    got = t.seen()[0].json
    equal((len(got), got["c1"], got["c1599"], got["c700"]), (1600, 10, 20, None))
    t.sql(f"UPDATE {t.name} SET c1599 = 21")
    t.run(succeeded_changed=1)
    long = "x" * 80
    t.sql(f"""SELECT courier.alter_sync('{t.name}', mapping => '{{"id": "id", "{long}": "c1"}}')""")
    t.seen()
    t.run(succeeded_changed=1)
    equal(t.seen()[0].json, {"id": 1, long: 10})


@test("max_changes blocks, but not the first run")
def max_changes(t):
    t.table([(n, "x") for n in range(1, 21)])
    t.sync(options={"max_changes": 5})
    t.run(succeeded_added=20)
    t.sql(f"UPDATE {t.name} SET name = 'y'")
    t.seen()
    t.run("blocked")
    equal(t.seen(), [])
    run = int(t.call(f"SELECT courier.approve_run((SELECT max(run_id) FROM courier.run_details WHERE sync = '{t.name}'))"))
    equal(t.wait(run), "success")
    equal(methods(t.seen()), ["PUT"] * 20)


@test("a changed match value, told by the previous identifier: one request, no removal")
def previous_identifier(t):
    t.table([(1, "a@x")], "id integer PRIMARY KEY, email text")
    t.receiver.script(t.path, Answer(202))
    t.sync(mode="mirror", mapping={"email": "email", "number": "id"}, match_on="{email}", requests={
        "insert": {"method": "POST", "body": "{{ record }}"}, "update": {"method": "PUT", "path": "/{{ previous.email }}", "body": "{{ record }}"},
        "delete": {"method": "DELETE", "path": "/{{ email }}"}})
    t.run(succeeded_added=1)
    t.seen()
    t.sql(f"UPDATE {t.name} SET email = 'b@x'")
    t.run(succeeded_changed=1, requests=1)
    equal([(r.method, r.path.rsplit("/", 1)[1], r.json["email"]) for r in t.seen()], [("PUT", "a%40x", "b@x")])
    t.sql(f"DELETE FROM {t.name}")
    t.run(succeeded_removed=1)
    equal([(r.method, r.path.rsplit("/", 1)[1]) for r in t.seen()], [("DELETE", "b%40x")])


@test("429: every sync of the destination waits as told")
def throttled_together(t):
    t.table([(1, "one")])
    t.sync()
    t.sync(name=t.name + "_b", model=t.name, destination=t.name, requests={"upsert": {"method": "PUT", "path": "/b/{{ id }}"}})
    t.receiver.script(t.path + "/1", Answer(429, "", {"Retry-After": "3"}), Answer(200))
    first = t.trigger()
    t.receiver.wait_for(t.path + "/1", 1)
    refused = t.receiver.requests(t.path + "/1")[0].time
    until("the destination's wait is known to all", lambda: t.admin("SELECT count(*) FROM courier_internal.destination_state d JOIN courier_internal.destination USING (destination_id) "
                                                                   f"WHERE name = '{t.name}' AND blocked_until > clock_timestamp()") == "1", 3)
    second = t.trigger(t.name + "_b")
    equal([t.wait(first), t.wait(second)], ["success", "success"])
    waited = t.receiver.requests(t.path + "/b")[0].time - refused
    assert waited > 2.5, f"the other sync sent after {waited} s"


@test("the mapping changes while a run is active: the run goes on with what it started with")
def mapping_changes_during_run(t):
    t.table([(n, "x") for n in range(1, 5)])
    t.script(Answer(202, delay=0.7))
    t.sync(options={"concurrency": 1})
    run = t.trigger()
    t.receiver.wait_for(t.path, 1)
    t.sql(f"""SELECT courier.alter_sync('{t.name}', mapping => '{{"id": "id", "label": "name"}}')""")
    equal(t.wait(run), "success")
    equal([sorted(r.json) for r in t.seen()], [["id", "name"]] * 4)
    t.run(succeeded_changed=4)
    equal([sorted(r.json) for r in t.seen()], [["id", "label"]] * 4)


@test("max_changes: what carries on for a first run that was cancelled is a first run too")
def first_run_carried_on(t):
    t.table([(n, "x") for n in range(1, 11)])
    t.script(Answer(202, delay=0.4))
    t.sync(options={"max_changes": 3, "concurrency": 1})
    run = t.trigger()
    t.receiver.wait_for(t.path, 1)
    t.call(f"SELECT courier.cancel_run({run})")
    equal(t.wait(run), "cancelled")
    left = t.run()["planned_added"]
    assert 3 < left < 10, f"{left} records were left"
    t.sql(f"UPDATE {t.name} SET name = 'y'")
    t.run("blocked")


@test("first_run baseline: preview_sync shows nothing, and resync full sends everything")
def baseline_named_full(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(first_run="baseline")
    equal(t.rows(f"SELECT * FROM courier.preview_sync('{t.name}')"), [])
    t.run(resync="full", succeeded_added=2)
    equal(sorted(t.stored()), ["1", "2"])
