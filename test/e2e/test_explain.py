"""The story of one record (courier.explain_record), and requests by the key of a record."""

import json

from harness import SqlError, equal, literal, test
from receiver import Answer

OK = Answer(202)


def story(t, key, sync=None):
    """section -> {item: value}; history and requests as lists."""
    out = {"history": [], "requests": []}
    for row in t.rows(f"SELECT * FROM courier.explain_record({literal(sync or t.name)}, {literal(json.dumps(key))})"):
        if row["section"] in ("history", "requests"):
            out[row["section"]].append(row["value"])
        else:
            out.setdefault(row["section"], {})[row["item"]] = row["value"]
    return out


def verdict(t, key):
    return story(t, key)["now"]["verdict"]


def agrees(t, key):
    """What the story says is what a run does: the verdict of the only record that differs, against the plan."""
    plan = t.rows(f"SELECT * FROM courier.plan_sync('{t.name}')")[0]
    found = verdict(t, key)
    equal({name: plan[name] for name in ("added", "changed", "removed", "invalid")},
          {name: int(found == name) for name in ("added", "changed", "removed", "invalid")}, f"plan_sync, and the verdict {found}")
    return found


@test("explain_record: added, unchanged, changed, removed, as a run then does")
def life(t):
    t.table([(7, "Ann")])
    t.sync(mode="mirror", options={"changed_fields_only": True, "log_requests": "all"})
    equal(agrees(t, 7), "added")
    equal(story(t, 7)["snapshot"], {"state": "not in the snapshot"})
    t.run(succeeded_added=1)
    told = story(t, {"id": 7})
    equal(agrees(t, 7), "unchanged")
    equal(json.loads(told["model"]["row"]), {"id": 7, "name": "Ann"})
    equal(json.loads(told["mapped"]["record"]), {"id": 7, "name": "Ann"})
    equal((told["snapshot"]["state"], told["snapshot"]["hash"]), ("accepted", "as the record now"))
    equal(told["snapshot"]["accepted_at"][:2], "20")
    equal(len(told["history"]), 1)
    assert told["history"][0].startswith("added succeeded (20"), told["history"]
    assert f"PUT {t.receiver.url}{t.path}/7" in told["requests"][0] and "-> 20" in told["requests"][0], told["requests"]
    t.sql(f"UPDATE {t.name} SET name = 'Bea'")
    equal(agrees(t, 7), "changed")
    equal(json.loads(story(t, 7)["now"]["fields"]), {"name": ["Ann", "Bea"]})
    equal(story(t, 7)["now"]["operation"], "upsert")
    t.run(succeeded_changed=1)
    t.sql(f"DELETE FROM {t.name}")
    equal(agrees(t, 7), "removed")
    t.run(succeeded_removed=1)
    told = story(t, 7)
    equal((told["now"]["verdict"], told["model"]["row"]), ("nothing", "not in the model"))
    equal([line.split()[0] for line in told["history"]], ["removed", "changed", "added"])
    equal(len(told["requests"]), 3)


@test("explain_record: rejected and waiting, due again, discarded, new values")
def refused(t):
    t.table([(1, "bad")])
    t.receiver.script(t.path + "/1", Answer(422, {"detail": "no such name"}), OK)
    t.sync()
    t.run("warning", rejected_added=1)
    told = story(t, 1)
    equal(told["now"]["verdict"], "held")
    equal((told["rejected"]["outcome"], told["rejected"]["attempts"], told["rejected"]["http_status"]), ("rejected", "1", "422"))
    assert told["next"]["attempt"].startswith("the first run after 20"), told["next"]
    assert "no such name" in told["requests"][0], "log_requests is failed by default, and the request names its record"
    t.seen()
    t.run("warning", requests=0)
    t.call(f"SELECT courier.retry_rejected('{t.name}')")
    told = story(t, 1)
    equal((told["now"]["verdict"], told["next"]["attempt"]), ("added", "due: with the next run"))
    t.call(f"SELECT courier.discard_rejected('{t.name}')")
    told = story(t, 1)
    equal((told["now"]["verdict"], told["next"]["attempt"]), ("held", "held"))
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'good'")
    equal(verdict(t, 1), "added")
    t.run(succeeded_added=1)


@test("explain_record: an outcome that is unknown is held")
def unknown(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.script(t.path + "/1", Answer(drop=True))
    t.receiver.script(t.path + "/2", OK)
    t.sync(mode="insert", requests={"insert": {"method": "POST", "path": "/{{ id }}", "body": "{{ record }}"}}, config={"idempotency": False})
    t.run("warning", unknown=1)
    told = story(t, 1)
    equal((told["now"]["verdict"], told["rejected"]["outcome"]), ("held", "unknown"))
    assert "retry_rejected" in told["now"]["why"], told["now"]


@test("explain_record: keys and match values that cannot be used")
def invalid(t):
    t.table([(1, "a@x"), (1, "b@x"), (2, "c@x"), (3, "c@x"), (4, None), (5, "e@x")], "id integer, email text")
    t.sync(query=f"SELECT id, email FROM {t.name}", primary_key=["id"], mapping={"number": "id", "email": "email"}, match_on="{email}",
           requests={"upsert": {"method": "PUT", "path": "/{{ email }}", "body": "{{ record }}"}})
    told = {key: story(t, key)["now"] for key in (1, 2, 3, 4, 5, None)}
    equal({key: (now["verdict"], now["why"].split(":")[0]) for key, now in told.items() if key != 5},
          {1: ("invalid", "duplicate_key"), 2: ("invalid", "duplicate_match"), 3: ("invalid", "duplicate_match"), 4: ("invalid", "null_match"),
           None: ("invalid", "null_key")})
    equal(told[5]["verdict"], "added")
    equal(story(t, 1)["model"]["copies"], "2")
    assert "key 3" in told[2]["why"], told[2]
    run = t.run("warning", succeeded_added=1)
    equal(run["invalid"], 5)
    t.sql(f"UPDATE {t.name} SET email = 'd@x' WHERE id = 3")
    equal((verdict(t, 2), verdict(t, 3)), ("added", "added"))


@test("explain_record: composite keys, keys of text and of long numbers, given as JSON")
def key_forms(t):
    t.table([(12345678901234567890123456789, "a b", 1), (2, "x'y", 2)], "n numeric, s text, v integer, PRIMARY KEY (n, s)")
    t.sync(requests={"upsert": {"method": "PUT", "path": "/{{ n }}-{{ s }}", "body": "{{ record }}"}}, mapping={"n": "n", "s": "s", "v": "v"})
    t.run(succeeded_added=2)
    # As SQL text: Python's JSON would be exact, too, but a reader of this test should see the digits.
    rows = t.rows(f"""SELECT * FROM courier.explain_record('{t.name}', '{{"n": 12345678901234567890123456789, "s": "a b"}}')""")
    equal([r["value"] for r in rows if r["item"] in ("key", "verdict")], ['[12345678901234567890123456789,"a b"]', "unchanged"])
    equal(verdict(t, {"n": 2, "s": "x'y"}), "unchanged")
    equal(verdict(t, {"n": 3, "s": ""}), "nothing")
    t.sql(f"UPDATE {t.name} SET v = 9 WHERE n = 2")
    equal(agrees(t, {"n": 2, "s": "x'y"}), "changed")
    for wrong in ("7", '{"n": 7}', '{"n": 7, "s": "x", "z": 1}'):
        try:
            t.call(f"SELECT * FROM courier.explain_record('{t.name}', '{wrong}')")
            raise AssertionError(f"{wrong} was taken")
        except SqlError as error:
            equal(error.sqlstate, "22023", wrong)


@test("explain_record: modes and options that send nothing say so")
def nothing_to_send(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(mode="insert", requests={"insert": {"method": "POST", "body": "{{ record }}"}})
    t.run(succeeded_added=2)
    t.sql(f"UPDATE {t.name} SET name = 'other' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 2")
    equal((verdict(t, 1), verdict(t, 2)), ("unchanged", "forgotten"))
    assert "mode insert" in story(t, 1)["now"]["why"]
    t.run(requests=0)
    equal((verdict(t, 2), story(t, 2)["snapshot"]["state"]), ("nothing", "left"))


@test("explain_record: a removal that NULL keys hold back; a first run that is a baseline; a paused sync; a model that is gone")
def obstacles(t):
    t.table([(1, "one"), (2, "two")], "id integer UNIQUE, name text")
    t.sync(query=f"SELECT id, name FROM {t.name}", primary_key=["id"], mode="mirror", first_run="baseline")
    equal(verdict(t, 1), "baseline")
    t.run()
    equal(verdict(t, 1), "unchanged")
    t.sql(f"DELETE FROM {t.name} WHERE id = 2", f"INSERT INTO {t.name} VALUES (NULL, 'nobody')")
    equal(verdict(t, 2), "held")
    t.run("warning", held_removals=1)
    t.sql(f"DELETE FROM {t.name} WHERE id IS NULL", f"SELECT courier.pause_sync('{t.name}')")
    told = story(t, 2)
    equal((told["now"]["verdict"], told["next"]["run"]), ("removed", "none"))
    assert "resume_sync" in told["now"]["sync"]
    t.sql(f"ALTER TABLE {t.name} RENAME COLUMN id TO number", f"CREATE OR REPLACE VIEW courier_models.{t.name} AS SELECT number / 0 AS id, name FROM {t.name}")
    told = story(t, 1)
    equal(told["now"]["verdict"], "failed")
    assert "division by zero" in told["now"]["why"], told["now"]


@test("explain_record: a mapping that changed, told as the run takes it")
def mapping_changed(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(mapping={"id": "id", "name": "name"})
    t.run(succeeded_added=2)
    t.sql(f"""SELECT courier.alter_sync('{t.name}', mapping => '{{"id": "id", "name": "CASE id WHEN 1 THEN upper(name) ELSE name || '''' END"}}')""")
    equal((verdict(t, 1), verdict(t, 2)), ("changed", "unchanged"))
    t.run(succeeded_changed=1)
    equal((verdict(t, 1), verdict(t, 2)), ("unchanged", "unchanged"))


@test("explain_record: reads the model as the owner, and is for whoever may run the sync", settings=("owner",))
def rights(t):
    t.table([(1, "one")])
    t.sync(mapping={"id": "id", "who": "current_user::text || name"})
    equal(json.loads(story(t, 1)["mapped"]["record"])["who"], "shopone")
    t.admin(f"CREATE ROLE {t.name}_stranger LOGIN", f"CREATE ROLE {t.name}_operator LOGIN IN ROLE courier_operator")
    ask = f"SELECT count(*) > 3 FROM courier.explain_record('{t.name}', '1')"
    equal(t.admin(ask, user=f"{t.name}_operator"), "t")
    try:
        t.admin(ask, user=f"{t.name}_stranger")
        raise AssertionError("a stranger was told")
    except SqlError as error:
        equal(error.sqlstate, "42501")


@test("requests are found by the key of a record: alone or in a batch")
def requests_by_key(t):
    t.table([(n, f"name {n}") for n in range(1, 6)])
    t.sync(requests={"upsert": {"method": "POST", "path": "/many", "body": "{{ records }}"}}, options={"batch_size": 4, "log_requests": "all"})
    t.receiver.script(t.path + "/many", OK)
    t.run(succeeded_added=5)
    sent = {row["key"]: row["records"] for row in t.rows(f"SELECT key, records FROM courier.record_requests WHERE sync = '{t.name}'")}
    equal(sent, {"1": 4, "2": 4, "3": 4, "4": 4, "5": 1})
    equal(sorted((row["key"] or "-", row["records"]) for row in t.rows(f"SELECT key, records FROM courier.requests WHERE sync = '{t.name}'")), [("-", 4), ("5", 1)])
    body = t.rows(f"SELECT request_body FROM courier.record_requests WHERE sync = '{t.name}' AND key = '3'")
    equal([json.loads(row["request_body"])[2]["name"] for row in body], ["name 3"])
    equal(len(story(t, 3)["requests"]), 1)
