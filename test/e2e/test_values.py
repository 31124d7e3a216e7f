"""Every digit, every character, every key type: the text that arrived, compared as text, whatever the settings of the session, the role and the database are."""

import json
import urllib.parse

from harness import REST, equal, literal, methods, test
from receiver import Answer

ODD = ["", "a", "A", "b'c", 'd"e', "f\\g", "h/i", "j k", "n\nl", "t\tb", "%41", "?x&y=z#w", "{{ n }}", "null", "0", "ü€", "\U0001f409", "x" * 300]


def texts(requests):
    return [r.text for r in requests]


@test("every digit of every number arrives: bigint, numeric of 40 digits, trailing zeros, exponents")
def digits(t):
    t.table((), "id bigint PRIMARY KEY, n numeric, s numeric(10,4), r real, f double precision, j json, b jsonb, a numeric[]")
    t.sql(f"""INSERT INTO {t.name} VALUES
        (9223372036854775807, 1234567890123456789012345678901234567890.0987654321, 1.5, 0.1, 0.1, '{{"x": 1.10, "x2": 12345678901234567890}}', '{{"y": 98765432109876543210.50}}', '{{1.10,2}}'),
        (-9223372036854775808, -0.00, -0.0001, 16777216, 1e-300, '[1e400]', '[0.1]', '{{}}'),
        (9007199254740993, 1e40, 0, 'NaN', '-Infinity', 'null', '"\\u20ac"', '{{NULL}}')""")
    t.sync()
    t.run(succeeded_added=3)
    equal(sorted(texts(t.seen())), sorted([
        '{"id":9223372036854775807,"n":1234567890123456789012345678901234567890.0987654321,"s":1.5000,"r":0.1,"f":0.1,"j":{"x": 1.10, "x2": 12345678901234567890},'
        '"b":{"y": 98765432109876543210.50},"a":[1.10,2]}',
        '{"id":-9223372036854775808,"n":0.00,"s":-0.0001,"r":1.6777216e+07,"f":1e-300,"j":[1e400],"b":[0.1],"a":[]}',
        '{"id":9007199254740993,"n":10000000000000000000000000000000000000000,"s":0.0000,"r":"NaN","f":"-Infinity","j":null,"b":"€","a":[null]}']))
    # One unit in the last place is a change.
    t.sql(f"UPDATE {t.name} SET n = n + 0.0000000001 WHERE id = 9223372036854775807", f"UPDATE {t.name} SET j = '[1e401]' WHERE id < 0")
    t.run(succeeded_changed=2, requests=2)


@test("NULL and the empty text are different values, and each change between them is sent")
def null_and_empty(t):
    t.table([(1, None)])
    t.sync()
    t.run(succeeded_added=1)
    for value in ("", None, " "):
        t.sql(f"UPDATE {t.name} SET name = {literal(value)}")
        t.run(succeeded_changed=1)
    equal([r.json["name"] for r in t.seen()], [None, "", None, " "])


@test("text keys with any character: added, changed and removed under exactly their key")
def text_keys(t):
    t.table([(k, "one") for k in ODD], "id text PRIMARY KEY, name text")
    by_header = {"path": "/in", "headers": {"X-Key": "{{ id | url }}"}}
    t.sync(mode="mirror", options={"max_removed": "100%"}, mapping={"id": "id", "name": "name"},
           requests={"upsert": {"method": "PUT", **by_header, "body": "{{ record }}"}, "delete": {"method": "DELETE", **by_header}})
    t.receiver.script(t.path + "/in", Answer(202))
    key_of = lambda r: urllib.parse.unquote(r.header("X-Key"))
    # The empty text cannot identify a record.
    t.run("warning", succeeded_added=len(ODD) - 1, invalid=1)
    equal([r["reason"] for r in t.rows(f"SELECT reason FROM courier.invalid_rows WHERE sync = '{t.name}'")], ["null_match"])
    usable = sorted(ODD[1:])
    seen = t.seen()
    equal((sorted(map(key_of, seen)), sorted(r.json["id"] for r in seen)), (usable, usable))
    t.run("warning", requests=0)
    t.sql(f"DELETE FROM {t.name} WHERE id = ''", f"UPDATE {t.name} SET name = 'two'")
    t.run(succeeded_changed=len(usable))
    equal(sorted(map(key_of, t.seen())), usable)
    t.sql(f"DELETE FROM {t.name}")
    t.run(succeeded_removed=len(usable))
    seen = t.seen()
    equal((set(methods(seen)), sorted(map(key_of, seen))), ({"DELETE"}, usable))


@test("key types: uuid, numeric, enum, a domain, citext, a collation that folds case, date, timestamp, boolean", settings=("superuser",))
def key_types(t):
    n = t.name
    t.admin("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public")
    t.sql(f"CREATE TYPE {n}_size AS ENUM ('small', 'large')", f"CREATE DOMAIN {n}_mail AS text CHECK (VALUE = lower(VALUE))",
          f"CREATE COLLATION {n}_nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    kinds = {
        "uuid": ("uuid", ["5a7b2c1e-0000-4000-8000-000000000001", "c0ffee11-2222-4333-8444-5566778899aa"]),
        "numeric": ("numeric", ["1.50", "12345678901234567890123456789012345678.01"]),
        "enum": (f"{n}_size", ["small", "large"]),
        "domain": (f"{n}_mail", ["ada@x", "it's \"ben\"@x"]),
        "citext": ("public.citext", ["Ada", "ben"]),
        "nocase": (f'text COLLATE {n}_nocase', ["Ada", "ben"]),
        "date": ("date", ["2024-02-29", "0044-03-15"]),
        "stamp": ("timestamptz", ["2024-02-29 10:34:56.123456+00", "1999-12-31 23:00:00+00"]),
        "flag": ("boolean", ["true", "false"]),
    }
    expected_json = {"numeric": ["1.50", kinds["numeric"][1][1]], "stamp": ['"2024-02-29T10:34:56.123456+00:00"', '"1999-12-31T23:00:00+00:00"'], "flag": ["true", "false"]}
    for kind, (type_name, values) in kinds.items():
        name = f"{n}_{kind}"
        t.sql(f"CREATE TABLE {name} (k {type_name} PRIMARY KEY, v integer)", f"INSERT INTO {name} VALUES ({literal(values[0])}, 1), ({literal(values[1])}, 2)")
        path = f"/{n}/{kind}"
        keyed = {"path": "/in", "headers": {"X-Key": "{{ k | url }}"}}
        t.sync(name=name, relation=name, base=t.receiver.url + path, mode="mirror", options={"max_removed": "100%"},
               requests={"upsert": {"method": "PUT", **keyed, "body": "{{ record }}"}, "delete": {"method": "DELETE", **keyed}})
        t.run(sync=name, succeeded_added=2)
        wanted = expected_json.get(kind) or [json.dumps(v, ensure_ascii=False) for v in values]
        equal(sorted(texts(t.receiver.requests(path))), sorted(f'{{"k":{w},"v":{i}}}' for i, w in enumerate(wanted, 1)), kind)
        keys = {r.text: r.header("X-Key") for r in t.receiver.requests(path)}
        t.sql(f"UPDATE {name} SET v = 3 WHERE v = 1", f"DELETE FROM {name} WHERE v = 2")
        t.run(sync=name, succeeded_changed=1, succeeded_removed=1, requests=2)
        found = t.receiver.requests(path)[2:]
        equal([(r.method, r.header("X-Key")) for r in found], [("PUT", keys[f'{{"k":{wanted[0]},"v":1}}']), ("DELETE", keys[f'{{"k":{wanted[1]},"v":2}}'])], kind)
        t.run(sync=name, requests=0)


@test("nothing depends on a setting: DateStyle, IntervalStyle, TimeZone and the like of database, role and session; names are found as the creator found them",
      settings=("superuser",))
def settings(t):
    db = "set_" + t.name
    t.admin(f"CREATE DATABASE {db}", database="postgres")
    run = lambda *c: t.admin(*c, database=db)
    run("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier")
    run("CREATE SCHEMA own", "SET search_path = own, public", "CREATE FUNCTION own.shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)'",
        "CREATE TABLE own.x (id integer PRIMARY KEY, at timestamptz, day date, took interval, f float8, b bytea, m money, name text)",
        "SET TimeZone = 'UTC'", "INSERT INTO own.x VALUES (1, '2024-03-10 12:30:00+02', '2024-03-10', '1 day 02:03:04.5', 0.1, '\\x00ff', 1234.5, 'ada')",
        "SELECT courier.create_model('x', primary_key => '{id}', query => 'SELECT x.*, at::text AS at_text, day::text AS day_text, took::text AS took_text, f::text AS f_text, b::text AS b_text FROM x')",
        f"SELECT courier.create_destination('x', 'http', {literal({'base_url': t.receiver.url + t.path})})",
        f"SELECT courier.create_sync('x', 'x', 'x', mode => 'upsert', mapping => {literal({'id': 'id', 'at': 'at', 'day': 'day', 'took': 'took', 'f': 'f', 'b': 'b', 'name': 'shout(name)', 'hour': 'extract(hour FROM at)', 'local': 'at::text', 'texts': 'concat(at_text, day_text, took_text, f_text, b_text)'})}, config => {literal({'requests': REST})})")
    run("CALL courier.run_sync('x', timeout => '60 s')")
    sent = t.seen()
    equal(len(sent), 1)
    text = sent[0].text
    for part in ('"at":"2024-03-10T10:30:00+00:00"', '"day":"2024-03-10"', '"f":0.1', '"b":"AP8="', '"name":"ADA"', '"hour":10', '"local":"2024-03-10 10:30:00+00"'):
        assert part in text, f"{part} is not in {text}"
    odd = {"TimeZone": "Asia/Kolkata", "DateStyle": "SQL, DMY", "IntervalStyle": "sql_standard", "extra_float_digits": "-10", "bytea_output": "escape", "search_path": "pg_catalog",
           "standard_conforming_strings": "off", "xmlbinary": "hex", "quote_all_identifiers": "on", "default_transaction_read_only": "off", "transform_null_equals": "on"}
    for name, value in odd.items():
        run(f"ALTER DATABASE {db} SET {name} = {value if name in ('DateStyle', 'search_path') else literal(value)}")
    said = t.admin("SELECT planned_changed, requests FROM courier.run_details ORDER BY run_id DESC LIMIT 1", "CALL courier.run_sync('x', timeout => '60 s')",
                   "SELECT planned_added + planned_changed + planned_removed, requests FROM courier.run_details ORDER BY run_id DESC LIMIT 1", database=db).splitlines()
    equal(said[-1], "0|0")
    # A preview is the request that goes out, from a session with other settings too.
    run("UPDATE own.x SET m = 5, name = 'eve'")
    shown = run("SELECT body FROM courier.preview_sync('x')")
    run("CALL courier.run_sync('x', timeout => '60 s')")
    sent = t.seen()
    equal([r.text for r in sent], [shown])
    equal(sent[0].text, text.replace("ADA", "EVE"))
    t.admin(f"DROP DATABASE {db} WITH (FORCE)", database="postgres")
