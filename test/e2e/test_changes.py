"""What is found to have changed, and what is sent for it."""

from harness import REST, SqlError, equal, methods, test

PEOPLE = [(1, "Ada"), (2, "Ben"), (3, "Cid")]


@test("first run adds every record, and a run without changes sends no request")
def first_run(t):
    t.table(PEOPLE)
    t.sync()
    t.run(planned_added=3, succeeded_added=3, requests=3, rows_queried=3)
    equal(t.stored(), {"1": {"id": 1, "name": "Ada"}, "2": {"id": 2, "name": "Ben"}, "3": {"id": 3, "name": "Cid"}})
    t.seen()
    t.run(planned_added=0, planned_changed=0, planned_removed=0, requests=0, rows_queried=3)
    equal(t.seen(), [])


@test("a changed row sends one request; an unmapped column sends none")
def changed(t):
    t.table([(1, "Ada", "x"), (2, "Ben", "y")], "id integer PRIMARY KEY, name text, secret text")
    t.sync(mapping={"id": "id", "name": "name"})
    t.run()
    t.seen()
    t.sql(f"UPDATE {t.name} SET name = 'Bea' WHERE id = 2")
    t.run(planned_changed=1, succeeded_changed=1, requests=1)
    seen = t.seen()
    equal([(r.method, r.path, r.json) for r in seen], [("PUT", t.path + "/2", {"id": 2, "name": "Bea"})])
    t.sql(f"UPDATE {t.name} SET secret = 'z'")
    t.run(requests=0)
    equal(t.seen(), [])


@test("removed row, on_removed ignore: nothing is sent, and the row that returns is added")
def removed_ignore(t):
    t.table(PEOPLE)
    t.sync()
    t.run()
    t.seen()
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(requests=0)
    t.insert((2, "Ben"))
    t.run(planned_added=1, succeeded_added=1)
    equal(methods(t.seen()), ["PUT"])


@test("removed row, on_removed delete: one DELETE")
def removed_delete(t):
    t.table(PEOPLE)
    t.sync(on_removed="delete")
    t.run()
    t.seen()
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(planned_removed=1, succeeded_removed=1, requests=1)
    equal([(r.method, r.path) for r in t.seen()], [("DELETE", t.path + "/2")])
    equal(sorted(t.stored()), ["1", "3"])


@test("removed row, on_removed clear: its fields become null, match fields stay")
def removed_clear(t):
    t.table(PEOPLE)
    t.sync(on_removed="clear", requests={"upsert": REST["upsert"], "clear": {"method": "PATCH", "path": "/{{ id }}", "body": "{{ record }}"}})
    t.run()
    t.seen()
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(planned_removed=1, succeeded_removed=1)
    equal([r.method for r in t.seen()], ["PATCH"])
    equal(t.stored()["2"], {"id": 2, "name": None})


@test("composite text keys")
def composite(t):
    t.table([("a", "x/1", 1), ("a", "ü 2", 2), ("b", "x/1", 3)], "shop text, sku text, pieces integer, PRIMARY KEY (shop, sku)")
    t.sync(mode="mirror", requests={"upsert": {"method": "PUT", "path": "/{{ shop }}~{{ sku }}", "body": "{{ record }}"},
                                    "delete": {"method": "DELETE", "path": "/{{ shop }}~{{ sku }}"}})
    t.run(succeeded_added=3)
    equal(sorted(t.stored()), ["a~x/1", "a~ü 2", "b~x/1"])
    t.sql(f"UPDATE {t.name} SET pieces = 9 WHERE shop = 'b'", f"DELETE FROM {t.name} WHERE sku = 'ü 2'")
    t.run(succeeded_changed=1, succeeded_removed=1, requests=2)
    equal(t.stored(), {"a~x/1": {"shop": "a", "sku": "x/1", "pieces": 1}, "b~x/1": {"shop": "b", "sku": "x/1", "pieces": 9}})
    keys = t.rows(f"SELECT key FROM courier.changelog WHERE sync = '{t.name}' AND change = 'removed'")
    equal(keys, [{"key": '["a","ü 2"]'}])


@test("mapping: dotted names nest, constants and now() are sent and never a reason to resend")
def mapping(t):
    t.table([(1, "Ada", "London")], "id integer PRIMARY KEY, name text, city text")
    t.sync(mapping={"id": "id", "who.name": "upper(name)", "who.city": "city", "source": "'pg'", "sent_at": "now()", "run": "courier.run_id()",
                    "nick": {"expr": "nullif(name, 'Ada')", "null": "omit"}})
    run = t.run()
    record = t.seen()[0].json
    equal(list(record), ["id", "who", "source", "sent_at", "run"])
    equal(record["who"], {"name": "ADA", "city": "London"})
    equal((record["source"], record["run"]), ("pg", run["run_id"]))
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'ada'")
    t.run(planned_changed=1)
    equal(t.seen()[0].json.get("nick"), "ada")


@test("a changed mapping resends only records whose output changed")
def changed_mapping(t):
    t.table([(1, "Ada"), (2, "ben")])
    t.sync(mapping={"id": "id", "name": "name"})
    t.run()
    t.seen()
    t.sql(f"SELECT courier.alter_sync('{t.name}', mapping => '{{\"id\": \"id\", \"name\": \"initcap(name)\"}}')")
    t.run(planned_changed=1, succeeded_changed=1)
    equal([r.json for r in t.seen()], [{"id": 2, "name": "Ben"}])
    t.run(requests=0)


@test("NULL in the primary key: invalid, warning, and removals are held")
def null_key(t):
    t.table(columns="id integer, name text", rows=PEOPLE)
    t.sync(query=f"SELECT id, name FROM {t.name}", primary_key=["id"], on_removed="delete")
    t.run()
    t.seen()
    t.insert((None, "Nobody"))
    t.sql(f"DELETE FROM {t.name} WHERE id = 3")
    t.run("warning", invalid=1, held_removals=1, requests=0)
    equal([r["reason"] for r in t.rows(f"SELECT reason FROM courier.invalid_rows WHERE sync = '{t.name}'")], ["null_key"])
    t.sql(f"DELETE FROM {t.name} WHERE id IS NULL")
    t.run(succeeded_removed=1)
    equal(methods(t.seen()), ["DELETE"])


@test("duplicate primary key: all copies are invalid, and the accepted record stays as it is")
def duplicate_key(t):
    t.table(columns="id integer, name text", rows=PEOPLE)
    t.sync(query=f"SELECT id, name FROM {t.name}", primary_key=["id"], mode="mirror")
    t.run()
    t.seen()
    t.insert((2, "Bob"))
    t.sql(f"UPDATE {t.name} SET name = 'Cyd' WHERE id = 3")
    t.run("warning", planned_removed=0, planned_changed=1)
    equal([r.path for r in t.seen()], [t.path + "/3"])
    equal(t.stored()["2"], {"id": 2, "name": "Ben"})
    equal([(r["reason"], r["key"], r["copies"]) for r in t.rows(f"SELECT * FROM courier.invalid_rows WHERE sync = '{t.name}'")], [("duplicate_key", "2", 2)])


@test("the match field's value changes: the old record goes, the new one comes")
def match_changes(t):
    t.table([(1, "ada@x"), (2, "ben@x")], "id integer PRIMARY KEY, email text")
    t.sync(mode="mirror", mapping={"email": "email", "n": "id"}, match_on="{email}",
           requests={"upsert": {"method": "PUT", "path": "/{{ email }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ email }}"}})
    t.run()
    t.sql(f"UPDATE {t.name} SET email = 'ada@y' WHERE id = 1")
    t.run()
    equal(t.stored(), {"ada@y": {"email": "ada@y", "n": 1}, "ben@x": {"email": "ben@x", "n": 2}})
    t.seen()
    t.run(requests=0)


@test("match value shared by several rows, or empty: invalid, never sent")
def match_shared(t):
    t.table([(1, "ada@x"), (2, "ada@x"), (3, ""), (4, None), (5, "eve@x")], "id integer PRIMARY KEY, email text")
    t.sync(mapping={"email": "email"}, match_on="{email}", requests={"upsert": {"method": "PUT", "path": "/{{ email }}", "body": "{{ record }}"}})
    t.run("warning", succeeded_added=1, invalid=4)
    equal([r.path for r in t.seen()], [t.path + "/eve%40x"])
    found = t.rows(f"SELECT reason, sum(copies) AS copies FROM courier.invalid_rows WHERE sync = '{t.name}' GROUP BY 1 ORDER BY 1")
    equal([(r["reason"], r["copies"]) for r in found], [("duplicate_match", 2), ("null_match", 2)])


@test("numeric of 40 digits, bigint over 2^53, timestamps in UTC, NaN")
def numbers(t):
    number = "1234567890123456789012345678901234567890.12"
    t.table(columns="id bigint PRIMARY KEY, n numeric, at timestamptz, f float8, j json")
    t.sql(f"INSERT INTO {t.name} VALUES (9007199254740993, {number}, '2024-03-10 12:30:00+02', 'NaN', '{{\"b\": 1, \"a\": 1.50}}')")
    t.sync(options={"time_zone": "Asia/Tokyo"})
    t.run()
    text = t.seen()[0].text
    for part in ('"id":9007199254740993', f'"n":{number}', '"f":"NaN"', '{"b": 1, "a": 1.50}'):
        assert part in text, f"{part} is not in {text}"
    assert '"at":"2024-03-10T10:30:00Z"' in text or '"at":"2024-03-10T10:30:00+00:00"' in text, text


@test("a record of 5 MB arrives whole")
def large(t):
    t.table([(1, "small")])
    t.sql(f"INSERT INTO {t.name} VALUES (2, repeat('0123456789', 500000))")
    t.sync(options={"timeout": "60 s"})
    t.run(succeeded_added=2)
    equal(t.stored()["2"]["name"], "0123456789" * 500000)


@test("a model over postgres_fdw, with its owner's own user mapping")
def foreign(t):
    t.sql(f"CREATE FOREIGN TABLE {t.name} (sku text, pieces integer) SERVER warehouse OPTIONS (schema_name 'public', table_name 'stock')",
          f"SELECT courier.create_source('{t.name}', 'warehouse')", f"SELECT courier.create_model('{t.name}', relation => '{t.name}', primary_key => '{{sku}}', source => '{t.name}')")
    equal(t.rows(f"SELECT ok FROM courier.check_source('{t.name}')") if t.world.owner == t.world.caller else [{"ok": True}], [{"ok": True}])
    t.sync(model=t.name, mode="mirror", requests={"upsert": {"method": "PUT", "path": "/{{ sku }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ sku }}"}})
    t.run(succeeded_added=2)
    t.admin("UPDATE stock SET pieces = 6 WHERE sku = 'A-1'", database="warehouse")
    t.run(succeeded_changed=1, requests=1)
    equal(t.stored(), {"A-1": {"sku": "A-1", "pieces": 6}, "B-2": {"sku": "B-2", "pieces": 7}})


@test("a delete that names a field of which a removed row has no value: refused when created, or right")
def derived_key(t):
    t.table(PEOPLE)
    try:
        t.sync(mode="mirror", mapping={"code": "'p/' || id", "name": "name"},
               requests={"upsert": {"method": "PUT", "path": "/{{ code }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ code }}"}})
    except SqlError as error:
        assert error.sqlstate in ("22023", "42703"), error
        return
    t.run()
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run()
    equal(sorted(t.stored()), ["p/1", "p/3"])
