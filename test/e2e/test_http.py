"""What goes over the wire: authentication, encodings, TLS, addresses, secrets."""

import base64
import hashlib
import hmac
import urllib.parse

from harness import TOKEN_IN_ENVIRONMENT, TOKEN_IN_FILE, SqlError, equal, test
from receiver import Answer


def one_request(t, auth, secrets, **more):
    t.table([(1, "Ada & Grüße")])
    t.sync(destination_config={"auth": auth}, secrets=secrets, **more)
    t.run()
    return t.seen()[0]


@test("auth bearer")
def bearer(t):
    equal(one_request(t, {"type": "bearer"}, {"token": "tok"}).header("Authorization"), "Bearer tok")


@test("auth basic")
def basic(t):
    equal(one_request(t, {"type": "basic", "username": "ada"}, {"password": "pä:ss"}).header("Authorization"), "Basic " + base64.b64encode("ada:pä:ss".encode()).decode())


@test("auth header")
def header(t):
    equal(one_request(t, {"type": "header", "name": "X-Api-Key"}, {"key": "k1"}).header("X-Api-Key"), "k1")


@test("auth query")
def query(t):
    request = one_request(t, {"type": "query", "name": "api_key"}, {"key": "k&1"})
    equal(request.query, {"api_key": "k&1"})
    urls = t.rows(f"SELECT url FROM courier.preview_sync('{t.name}')")
    assert "k%261" not in str(urls) and "k&1" not in str(urls), urls


@test("auth hmac signs the body as it was sent")
def hmac_auth(t):
    request = one_request(t, {"type": "hmac", "algorithm": "sha256", "header": "X-Signature", "prefix": "sha256="}, {"key": "hush"})
    equal(request.header("X-Signature"), "sha256=" + hmac.new(b"hush", request.raw, hashlib.sha256).hexdigest())


@test("auth standard_webhooks")
def webhooks(t):
    key = base64.b64encode(b"0123456789abcdef01234567").decode()
    request = one_request(t, {"type": "standard_webhooks"}, {"signing_key": "whsec_" + key})
    identifier, timestamp = request.header("webhook-id"), request.header("webhook-timestamp")
    expected = base64.b64encode(hmac.new(base64.b64decode(key), f"{identifier}.{timestamp}.".encode() + request.raw, hashlib.sha256).digest()).decode()
    assert f"v1,{expected}" in request.header("webhook-signature").split(), request.headers


@test("auth oauth2_client_credentials: one token for many requests, a new one after 401")
def oauth2(t):
    tokens = f"/token/{t.name}"
    t.receiver.script(tokens, Answer(200, {"access_token": "T1", "expires_in": 3600}), Answer(200, {"access_token": "T2", "expires_in": 3600}))
    t.script(lambda r: Answer(200) if r.header("Authorization") == "Bearer T2" or r.path.endswith(("/1", "/2")) else Answer(401))
    t.table([(n, "x") for n in range(1, 6)])
    t.sync(destination_config={"auth": {"type": "oauth2_client_credentials", "token_url": t.receiver.url + tokens, "client_id": "me", "scope": "write"}},
           secrets={"client_secret": "s3cret"}, options={"concurrency": 1})
    t.run("success", succeeded_added=5)
    asked = t.receiver.requests(tokens)
    equal(len(asked), 2)
    equal(dict(urllib.parse.parse_qsl(asked[0].text)), {"grant_type": "client_credentials", "scope": "write", "client_id": "me", "client_secret": "s3cret"})


@test("secrets by file and by environment arrive, and show nowhere")
def secrets(t):
    t.table([(1, "one"), (2, "two")])
    t.receiver.script(t.path + "/2", lambda r: Answer(422, f"you said {r.header('Authorization')} and {r.header('X-Other')}"))
    t.sync(destination_config={"auth": {"type": "bearer"}, "headers": {"X-Other": "{{ secret.other }}"}}, secrets={"token": {"file": "token"}, "other": {"env": "COURIER_TEST_TOKEN"}},
           options={"log_requests": "all", "log_records": "payload"})
    t.run("warning")
    equal([(r.header("Authorization"), r.header("X-Other")) for r in t.seen()], [("Bearer " + TOKEN_IN_FILE, TOKEN_IN_ENVIRONMENT)] * 2)
    views = [r["viewname"] for r in t.rows("SELECT viewname FROM pg_views WHERE schemaname = 'courier'")]
    everything = "".join(t.call(f"SELECT * FROM courier.{view}") for view in views)
    everything += t.call(f"SELECT * FROM courier.preview_sync('{t.name}')") + t.admin("SELECT * FROM pg_stat_activity")
    for table in ("request", "change_log", "rejected", "destination", "run"):
        everything += t.admin(f"SELECT * FROM courier_internal.{table}")
    everything += open(t.world.cluster.log, errors="replace").read()
    for secret in (TOKEN_IN_FILE, TOKEN_IN_ENVIRONMENT):
        assert secret not in everything, f"{secret} shows: {everything[max(0, everything.index(secret) - 200):][:400]}"
    equal(len(t.rows(f"SELECT 1 FROM courier.requests WHERE sync = '{t.name}'")), 2)


@test("a missing secret file and a forbidden variable are errors")
def missing_secret(t):
    for reference in ({"file": "nothing"}, {"file": "../data/PG_VERSION"}, {"env": "HOME"}):
        t.table([(1, "x")], name=t.name + str(len(str(reference))))
        try:
            t.sync(name=t.name + str(len(str(reference))), relation=t.name + str(len(str(reference))), destination_config={"auth": {"type": "bearer"}}, secrets={"token": reference})
            t.run("failed", sync=t.syncs[-1])
        except SqlError as error:
            assert error.sqlstate in ("58P01", "42501", "22023"), error
    equal(t.seen(), [])


@test("a private address that nobody allowed is refused, and nothing is rejected")
def blocked_address(t):
    t.table([(1, "one")])
    t.sync(base="http://169.254.169.254/latest")
    run = t.run("failed")
    assert "169.254.169.254" in run["error"], run["error"]
    assert "allow_addresses" in (run["hint"] or ""), run["hint"]
    equal(t.rejected(), [])


@test("a redirect is not followed")
def redirect(t):
    t.table([(1, "one")])
    t.script(Answer(302, "", {"Location": t.receiver.url + f"/elsewhere/{t.name}"}))
    t.sync()
    t.run("warning", rejected_added=1)
    equal(t.receiver.requests(f"/elsewhere/{t.name}"), [])


@test("TLS with a private authority: with it the record arrives, without it the run is failed")
def tls(t):
    t.table([(1, "one")])
    nginx = t.world.nginx
    t.sync(base=nginx.url + t.path, destination_config={"tls": {"ca": nginx.ca}})
    t.run("success")
    equal(t.stored(), {"1": {"id": 1, "name": "one"}})
    other = t.name + "_without"
    t.sync(name=other, model=t.name, base=nginx.url + t.path)
    run = t.run("failed", sync=other, aborted=1)
    assert run["hint"], run
    equal(t.rejected(other), [])


def encoded(t, rows, request, **more):
    base = f"/plain/{t.name}"
    t.table(rows)
    t.sync(base=t.receiver.url + base, requests={"upsert": {"method": "POST", **request}}, **more)
    t.run("success")
    return t.receiver.requests(base)


@test("encoding form")
def form(t):
    request = encoded(t, [(1, "a b&c=ü")], {"encoding": "form", "body": "{{ record }}"})[0]
    equal(dict(urllib.parse.parse_qsl(request.text)), {"id": "1", "name": "a b&c=ü"})
    assert request.header("Content-Type").startswith("application/x-www-form-urlencoded")


@test("encoding ndjson")
def ndjson(t):
    request = encoded(t, [(1, "a\nb"), (2, "c")], {"encoding": "ndjson", "body": "{{ records }}"}, options={"batch_size": 10})[0]
    equal(request.text.strip().split("\n"), ['{"id":1,"name":"a\\nb"}', '{"id":2,"name":"c"}'])


@test("encoding csv")
def csv_encoding(t):
    import csv
    import io
    request = encoded(t, [(1, 'a "quoted", one'), (2, "two\nlines")], {"encoding": "csv", "body": "{{ records }}"}, options={"batch_size": 10})[0]
    equal(list(csv.reader(io.StringIO(request.text, newline=""))), [["id", "name"], ["1", 'a "quoted", one'], ["2", "two\nlines"]])


@test("encoding xml")
def xml(t):
    import xml.etree.ElementTree as tree
    request = encoded(t, [(1, "<Ada & Co>")], {"encoding": "xml", "body": {"contact": "{{ record }}"}})[0]
    root = tree.fromstring(request.text)
    equal((root.tag, root.find("id").text, root.find("name").text), ("contact", "1", "<Ada & Co>"))


@test("without requests: added, changed and removed are POSTed to base_url, a batch as an array")
def default_requests(t):
    base = f"/plain/{t.name}"
    t.table([(1, "one"), (2, "two")])
    t.sync(base=t.receiver.url + base, requests=None, mode="upsert", on_removed="delete", options={"batch_size": 10})
    t.run("success", requests=1)
    equal(t.receiver.requests(base)[0].json, [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])


@test("a value with CR and LF cannot make a header of its own")
def header_injection(t):
    t.table([(1, "a\r\nX-Evil: 1")])
    t.sync(requests={"upsert": {"method": "PUT", "path": "/{{ id }}", "headers": {"X-Name": "{{ name }}"}, "body": "{{ record }}"}})
    t.call(f"SELECT courier.wait_for_run({t.trigger()}, '30 s')")
    assert t.last_run()["status"] in ("success", "warning"), t.last_run()
    for request in t.seen():
        equal(request.header("X-Evil"), None)


@test("a destination type made in SQL takes the same path")
def own_type(t):
    t.table([(1, "one")])
    t.sql("""SELECT courier.create_destination_type('%s', '{"base_url": "{{ config.url }}", "config": {"url": {"required": true}},
          "requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}}}')""" % t.name,
          f"""SELECT courier.create_destination('{t.name}', '{t.name}', '{{"url": "{t.receiver.url}{t.path}"}}')""")
    t.sync(destination=t.name, requests=None)
    t.run("success")
    equal(t.stored(), {"1": {"id": 1, "name": "one"}})
