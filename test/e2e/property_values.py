"""Columns, values and keys that random models are drawn from. A value is its SQL and the JSON that must arrive, told by hand."""

import json

LONG = "1234567890123456789012345678901234567890"
ODD = ["a", "b'c", 'd"e', "f\\g", "ü€", "h i", "j\tk", "n\nl", "%41", "l/m", "{{ n }}", "..", "0", "null", "", " ", "x" * 200, "\x01"]


class Number(str):
    """A number as it was written: every digit counts."""


def load(text):
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)


def quoted(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def texts(values):
    return [(quoted(v), json.dumps(v)) for v in values]


SETUP = ("CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', 'glad')", "CREATE TYPE address AS (street text, number integer)", "CREATE DOMAIN price AS numeric(10, 2)",
         "CREATE DOMAIN shout AS text CHECK (VALUE = upper(VALUE))")

TYPES = {
    "text": texts(ODD),
    "varchar(30)": texts(ODD[:10] + [""]),
    "char(4)": [("'ab'", '"ab  "'), ("''", '"    "'), ("'abcd'", '"abcd"')],
    "smallint": [("-32768", "-32768"), ("5", "5"), ("-5", "-5")],
    "integer": [("2147483647", "2147483647"), ("0", "0"), ("-1", "-1")],
    "bigint": [("9007199254740993", "9007199254740993"), ("9007199254740992", "9007199254740992"), ("'-9223372036854775808'", "-9223372036854775808")],
    "numeric": [(f"{LONG}.0123456789", f"{LONG}.0123456789"), (f"{LONG}.0123456788", f"{LONG}.0123456788"), (f"-{LONG}", f"-{LONG}"), ("5", "5"), ("-5", "-5"), ("2.50", "2.50"),
                ("'NaN'", '"NaN"'), ("'Infinity'", '"Infinity"'), ("'-Infinity'", '"-Infinity"')],
    "double precision": [("0.1", "0.1"), ("-0.1", "-0.1"), ("'NaN'", '"NaN"'), ("'Infinity'", '"Infinity"'), ("0.30000000000000004", "0.30000000000000004")],
    "real": [("0.1", "0.1"), ("1.5", "1.5")],
    "boolean": [("true", "true"), ("false", "false")],
    "money": [("'1234.50'", '"$1,234.50"'), ("'-0.01'", '"-$0.01"')],
    "date": [("'2024-02-29'", '"2024-02-29"'), ("'1999-12-31'", '"1999-12-31"')],
    "time": [("'12:34:56.789'", '"12:34:56.789"'), ("'00:00'", '"00:00:00"')],
    "timestamp": [("'2024-02-29 12:34:56.5'", '"2024-02-29T12:34:56.5"'), ("'2024-03-10 02:30'", '"2024-03-10T02:30:00"')],
    "timestamptz": [("'2024-02-29 12:34:56.123456+02'", '"2024-02-29T10:34:56.123456+00:00"'), ("'2024-07-01 00:00-04'", '"2024-07-01T04:00:00+00:00"')],
    "interval": [("'1 day 02:03:04'", '"1 day 02:03:04"'), ("'00:00'", '"00:00:00"')],
    "uuid": [("'5A7B2C1E-0000-4000-8000-000000000001'", '"5a7b2c1e-0000-4000-8000-000000000001"'), ("'00000000-0000-0000-0000-000000000000'", '"00000000-0000-0000-0000-000000000000"')],
    "bytea": [("'\\x00ff10'", '"AP8Q"'), ("'\\x'", '""'), ("'\\x00'", '"AA=="')],
    "jsonb": [("'{\"b\": 1, \"a\": 1.0000000000000000000001}'", '{"a": 1.0000000000000000000001, "b": 1}'), ("'[]'", "[]"), ("'\"\"'", '""')],
    "json": [("'{\"b\" : 9007199254740993}'", '{"b" : 9007199254740993}'), ("'[1, null]'", "[1, null]")],
    "xml": [("'<a b=\"c\"/>'", '"<a b=\\"c\\"/>"'), ("'<a/>'", '"<a/>"')],
    "point": [("'(1.5,-2)'", '"(1.5,-2)"'), ("'(0,0)'", '"(0,0)"')],
    "bit(3)": [("B'101'", '"101"'), ("B'000'", '"000"')],
    "tsvector": [("'a:1 b:2'", "\"'a':1 'b':2\""), ("''", '""')],
    "inet": [("'10.0.0.1/8'", '"10.0.0.1/8"'), ("'::1'", '"::1"')],
    "int4range": [("'[1,5)'", '"[1,5)"'), ("'empty'", '"empty"')],
    "integer[]": [("'{{1,2},{3,NULL}}'", "[[1,2],[3,null]]"), ("'{}'", "[]"), ("'{1}'", "[1]")],
    "text[]": [("'{\"a,b\",NULL,\"\"}'", '["a,b",null,""]'), ("'{NULL}'", "[null]"), ("'{}'", "[]")],
    "mood": [("'sad'", '"sad"'), ("'it''s \"ok\"'", '"it\'s \\"ok\\""')],
    "address": [("ROW('Main', 5)", '{"street":"Main","number":5}'), ("ROW(NULL, 6)", '{"street":null,"number":6}')],
    "price": [("1.5", "1.50"), ("99999999.99", "99999999.99")],
    "shout": [("'HE'", '"HE"'), ("''", '""')],
}

# Key columns with their types, and what draws the text of each. Few keys, so that they come back.
KEYS = {
    "number": (["bigint"], lambda r: [str(r.choice([r.randint(-12, 12), 9007199254740993 + r.randint(0, 5)]))]),
    "text": (["text"], lambda r: [r.choice([v for v in ODD if v] + list("ABCDEFG"))]),
    "composite": (["text", "integer"], lambda r: [r.choice([v for v in ODD if v]), str(r.randint(1, 3))]),
    "uuid": (["uuid"], lambda r: [f"00000000-0000-4000-8000-{r.randint(1, 25):012}"]),
    "numeric": (["numeric"], lambda r: [f"{LONG}.{r.randint(1, 25):02}"]),
    "date": (["date"], lambda r: [f"2024-02-{r.randint(1, 25):02}"]),
    "domain": (["shout"], lambda r: [r.choice("ABCDEFGHIJKLMNOPQRSTUVW")]),
    "enum and time": (["mood", "timestamptz"], lambda r: [r.choice(["sad", "it's \"ok\"", "glad"]), f"2024-02-{r.randint(1, 9):02} 10:00:00+00"]),
}


def key_part(type_, text):
    """How a key column stands in JSON, as text."""
    return text.replace(" ", "T") + ":00" if type_ == "timestamptz" else text


def key_from(primary_key):
    """A primary key as JSON, as the tuple that models know it by."""
    return tuple(str(v) for v in (load(primary_key) if isinstance(primary_key, str) else primary_key).values())
