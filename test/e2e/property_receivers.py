"""The two kinds of receiver: etcd, which takes a record under its natural key as often as it comes, and parse-server, which forgives nothing."""

import json

from harness import b64, literal, post, unb64
from fault_proxy import FaultProxy, is_repeat_at_parse
from parse_server import CLASS
from property_values import load

ABOUT = {"X-Key": "{{ key | json_text | base64 }}"}


def compared(record):
    """A record as text, without the field that is sent and never compared."""
    return json.dumps({field: value for field, value in load(record).items() if field != "run"})


def usable_mail(mail):
    return mail not in (None, "")


class ToEtcd:
    """Records under their key; etcd counts the writes of each."""

    header, once_only, unique_mail, counts_writes = "Idempotency-Key", False, False, True

    def __init__(self, etcd, random):
        self.etcd, self.match, self.proxy = etcd, "k", FaultProxy(etcd.url, self.header)

    def describe(self):
        return "etcd"

    def settings(self):
        path = {"method": "POST", "headers": ABOUT, "idempotent": True}
        requests = {"upsert": {**path, "path": "/v3/kv/put", "body": {"key": "{{ k | base64 }}", "value": "{{ record | json_text | base64 }}"}},
                    "delete": {**path, "path": "/v3/kv/deleterange", "body": {"key": "{{ k | base64 }}"}}}
        return {"match_on": "{k}", "requests": requests}

    def held(self, model):
        """k -> (record, number of writes)"""
        start = model.name + "/"
        found = post(self.etcd.url + "/v3/kv/range", {"key": b64(start), "range_end": b64(start[:-1] + "0")})
        return {unb64(kv["key"]): (load(unb64(kv["value"])), int(kv["version"])) for kv in found.get("kvs", [])}

    def operation(self, entry):
        return entry.path.rsplit("/", 1)[1]

    def payload(self, entry):
        body = json.loads(entry.body)
        return body["key"], compared(unb64(body["value"])) if "value" in body else None

    def between_runs(self):
        self.proxy.forget_refused()

    def vanish(self, k):
        pass


class ToParse:
    """The server gives the identifiers, e-mails are unique, a request is done once. The e-mail is a match field, or just a field."""

    header, once_only, unique_mail, counts_writes = "X-Parse-Request-Id", True, True, False

    def __init__(self, parse, random):
        self.parse, self.match = parse, random.choice(["k", "mail"])
        self.proxy = FaultProxy(parse.url, self.header, is_repeat_at_parse)

    def describe(self):
        return f"parse-server, match on {self.match}"

    def settings(self):
        body = {"ext": "{{ k }}", "email": "{{ mail }}", "doc": "{{ record | json_text }}"}
        one = f"/classes/{CLASS}/" + "{{ remote_id }}"
        requests = {"insert": {"method": "POST", "path": f"/classes/{CLASS}", "headers": ABOUT, "body": body}, "update": {"method": "PUT", "path": one, "headers": ABOUT, "body": body},
                    "delete": {"method": "DELETE", "path": one, "headers": ABOUT}}
        return {"match_on": "{" + self.match + "}", "requests": requests, "response": {"remote_id": "/objectId", "code": "/code", "message": "/error"},
                "destination_config": {"headers": self.parse.HEADERS, "idempotency": {"header": self.header, "honoured": True}}}

    def held(self, model):
        """k -> (record, e-mail)"""
        where = f'WHERE starts_with(ext, {literal(model.name + "/")})'
        rows = json.loads(self.parse.sql(f"""SELECT coalesce(json_agg(json_build_object('ext', ext, 'mail', email, 'doc', doc)), '[]') FROM "{CLASS}" {where}"""))
        out = {}
        for row in rows:
            assert row["ext"] not in out, f"parse-server has {row['ext']!r} twice"
            out[row["ext"]] = (load(row["doc"]), row["mail"])
        return out

    def operation(self, entry):
        return entry.method

    def payload(self, entry):
        return compared(json.loads(entry.body)["doc"]) if entry.body else None

    def between_runs(self):
        # parse-server remembers the key of a refused request like that of any other, for idempotencyOptions.ttl. Its time is over here.
        refused = self.proxy.forget_refused()
        if refused:
            self.parse.sql('DELETE FROM "_Idempotency" WHERE "reqId" IN (' + ", ".join(map(literal, refused)) + ")")

    def vanish(self, k):
        """Somebody deletes the record at the server."""
        self.parse.sql(f'DELETE FROM "{CLASS}" WHERE ext = {literal(k)}')
