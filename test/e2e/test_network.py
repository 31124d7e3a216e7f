"""What the network can do to a request. Each test says what arrived, what became of the records, and with which words the run ended."""

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import equal, free_port, test, until
from test_modes import etcd_state, to_etcd
from wire import Wire

ONCE = ("superuser",)  # the engine is the same in all settings

POST = {"insert": {"method": "POST", "body": "{{ record }}"}}


def one_record(t, wire, timeout="500 ms", **settings):
    """A sync of its own for each kind of trouble, over the same table."""
    t.number = getattr(t, "number", 0) + 1
    if t.number == 1:
        t.table([(1, "one")])
        t.sql(f"SELECT courier.create_model('{t.name}', relation => '{t.name}')")
    name = f"{t.name}_{t.number}"
    t.sync(name=name, model=t.name, base=wire.url, options={"timeout": timeout, "max_attempts": 2}, **settings)
    return name


def both_ways(t, trouble, words, timeout="30 s"):
    """The destination breaks off once the request is there. What may be repeated is, and the next run goes on; what may not is `unknown`, and sent once."""
    with Wire(trouble) as wire:
        name = one_record(t, wire, timeout)
        run = t.run("failed", sync=name, error_code="unreachable", aborted=1)
        equal(len(wire.requests), 2, "an idempotent request goes out max_attempts times")
        equal(len({request for request in wire.requests}), 1, "and is the same each time")
        assert words in run["error"] and run["hint"], run
        equal(t.rejected(name), [])
        wire.behave = lambda line, n: line.answer(200)
        t.sql(f"SELECT courier.alter_sync('{name}', options => '{{\"timeout\": \"30 s\"}}')")
        t.run("success", sync=name, succeeded_added=1)
        equal(len(wire.requests), 3)
    with Wire(trouble) as wire:
        name = one_record(t, wire, timeout, mode="insert", requests=POST)
        run = t.run("failed", sync=name, error_code="unreachable", unknown=1)
        equal(len(wire.requests), 1, "a request that may not be repeated goes out once")
        assert "unknown" in run["hint"], run["hint"]
        found = t.rejected(name)[0]
        equal((found["outcome"], found["error_code"]), ("unknown", "connection_lost"))
        assert words in found["message"], found
        wire.behave = lambda line, n: line.answer(200)
        t.run("warning", sync=name, requests=0)
        equal(len(wire.requests), 1)


@test("network: the connection is reset once the request is there", settings=ONCE)
def reset(t):
    both_ways(t, lambda line, n: line.reset(), "reset")


@test("network: half a body, then the end", settings=ONCE)
def half_body(t):
    both_ways(t, lambda line, n: line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\""), "bytes remaining")


@test("network: an answer that comes drop by drop ends with the timeout", settings=ONCE)
def drip(t):
    def drops(line, n):
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            line.send(b" ")
            time.sleep(0.02)
    both_ways(t, drops, "timed out", timeout="1 s")


@test("network: a destination that never answers", settings=ONCE)
def silent(t):
    both_ways(t, lambda line, n: line.until_closed(), "timed out", timeout="1 s")


@test("network: what comes back is not HTTP", settings=ONCE)
def not_http(t):
    both_ways(t, lambda line, n: line.send(b"SSH-2.0-OpenSSH_9.2\r\n"), "HTTP/0.9")


@test("network: the request is cut in the middle of its body", settings=ONCE)
def cut_request(t):
    t.table()
    t.sql(f"INSERT INTO {t.name} VALUES (1, repeat('x', 3000000))")
    with Wire(lambda line, n: line.answer(200)) as wire:
        whole, cut = wire.serve, []

        def serve(connection):
            if len(cut) < 1:
                cut.append(connection.recv(1000))
                connection.close()  # unread data: the peer gets a reset
                return
            whole(connection)
        wire.serve = serve
        t.sync(base=wire.url, options={"max_attempts": 3})
        t.run("success", succeeded_added=1)
        equal((len(cut), len(wire.requests)), (1, 1))
        equal(json.loads(wire.requests[0][1]), {"id": 1, "name": "x" * 3_000_000})


# Answers that are whole, and bad.

def answered(t, answer, expected, response=None, **checks):
    with Wire(lambda line, n: line.answer(*answer)) as wire:
        name = one_record(t, wire, timeout="30 s", response=response)
        run = t.run(expected, sync=name, **checks)
        return run, name, len(wire.requests)


@test("network: a refusal of 10 MB: the record is rejected, and a readable piece of the words is kept", settings=ONCE)
def large_refusal(t):
    words = json.dumps({"message": "no such field", "trace": "x" * 10_000_000}).encode()
    _, name, requests = answered(t, (422, words), "warning", rejected_added=1)
    equal(requests, 1)
    found = t.rejected(name)[0]
    assert "no such field" in found["message"] and len(found["message"]) <= 4000, found["message"][:200]
    size = t.rows(f"SELECT length(response_body) AS n FROM courier.requests WHERE sync = '{name}'")[0]["n"]
    assert 0 < size <= 70_000, size
    # Over the cap of 16 MB nothing is read to its end.
    _, name, requests = answered(t, (200, b"x" * 17_000_000), "warning", rejected_added=1)
    equal((requests, t.rejected(name)[0]["error_code"]), (2, "bad_answer"))


@test("network: a gzip bomb is not unpacked", settings=ONCE)
def bomb(t):
    bomb = gzip.compress(b"0" * 200_000_000, 1)  # 200 MB in less than 1 MB
    started = time.time()
    run, name, requests = answered(t, (200, bomb, "Content-Encoding: gzip"), "warning", rejected_added=1,
                                   response={"records": {"mapper": "by_order", "at": "/results", "ok": {"pointer": "/ok", "equals": True}}})
    equal((requests, t.rejected(name)[0]["error_code"]), (2, "bad_answer"))
    assert time.time() - started < 20
    # Where only the status counts, its content is nobody's business.
    answered(t, (200, bomb, "Content-Encoding: gzip"), "success", succeeded_added=1)
    _, name, _ = answered(t, (422, bomb, "Content-Encoding: gzip"), "warning", rejected_added=1)
    assert len(t.rejected(name)[0]["message"] or "") <= 4000


@test("network: words that are not UTF-8, and a NUL among them, are stored as they can be", settings=ONCE)
def invalid_utf8(t):
    _, name, _ = answered(t, (422, b'{"message": "caf\xe9 \xff\xc0\x80\xed\xa0\x80 is bad\x00 indeed"}'), "warning", rejected_added=1)
    found = t.rejected(name)[0]["message"]
    assert "caf? ??" in found and "is bad" in found, found
    assert "is bad" in t.rows(f"SELECT response_body AS b FROM courier.requests WHERE sync = '{name}'")[0]["b"]


@test("network: answers that are not the JSON that the mapper expects", settings=ONCE)
def invalid_json(t):
    mapper = {"records": {"mapper": "by_order", "at": "/results", "ok": {"pointer": "/ok", "equals": True}}}
    for body in (b"", b"<html>oops</html>", b'{"results": [{"ok": tr', b"[" * 100_000, b'{"results": [{"ok": true}, {"ok": true}]}', b'{"results": 7}', b'{"results":[{"ok":"\xff"}]}'):
        _, name, requests = answered(t, (200, body), "warning", rejected_added=1, response=mapper)
        equal((requests, t.rejected(name)[0]["error_code"]), (2, "bad_answer"), repr(body[:60]))


@test("network: redirects without end: the first is an answer, and no second request goes out", settings=ONCE)
def redirects(t):
    t.table([(1, "one")])
    with Wire(lambda line, n: line.answer(307, b"", f"Location: {wire.url}/again/{n}")) as wire:
        t.sync(base=wire.url)
        t.run("warning", rejected_added=1, requests=1)
        equal(len(wire.requests), 1)
        found = t.rejected()[0]
        equal(found["http_status"], 307)
        assert "redirect" in found["message"].lower() or "307" in found["message"], found["message"]


@test("network: 429 again and again costs no attempt, and ends with max_wait", settings=ONCE)
def throttled_for_long(t):
    t.table([(1, "one")])
    with Wire(lambda line, n: line.answer(429 if n < 30 else 200, b"", "Retry-After: 0.03")) as wire:
        t.sync(base=wire.url, options={"max_attempts": 1, "max_wait": "30 s"})
        t.run("success", succeeded_added=1)
        equal(len(wire.requests), 30)
    with Wire(lambda line, n: line.answer(429, b"", "Retry-After: 0.1")) as wire:
        name = t.name + "_long"
        t.sync(name=name, model=t.name, base=wire.url, options={"max_attempts": 1, "max_wait": "1 s"})
        run = t.run("failed", sync=name, error_code="throttled", aborted=1)
        assert len(wire.requests) >= 3 and run["hint"], run
        equal(t.rejected(name), [])
    with Wire(lambda line, n: line.answer(429, b"", "Retry-After: 3600")) as wire:
        name = t.name + "_hour"
        t.sync(name=name, model=t.name, base=wire.url)
        run = t.run("failed", sync=name, error_code="throttled", aborted=1)
        equal(len(wire.requests), 1)
        waits = t.rows(f"SELECT EXTRACT(epoch FROM not_before - now()) AS s FROM courier.sync_details WHERE name = '{name}'")[0]["s"]
        assert 3400 < waits <= 3600, waits


@test("network: a name that nobody knows", settings=ONCE)
def unresolved(t):
    t.table([(1, "one")])
    t.sync(base="http://no-such-host.invalid", options={"max_attempts": 2})
    run = t.run("failed", error_code="unreachable", aborted=1)
    assert "no-such-host.invalid" in run["error"] and "DNS" in run["hint"], run
    equal(t.rejected(), [])


# Lost replies before a real service: mitmproxy lets etcd do what it is asked, and drops the answer.

ADDON = '''
import collections
attempts = collections.Counter()

def response(flow):
    body = flow.request.content
    attempts[body] += 1
    fate = (hash(body) + attempts[body]) % 3
    if attempts[body] > 2:
        return
    if fate == 0:
        flow.kill()  # etcd has done it
'''


@test("network: answers lost behind mitmproxy, over TLS, after etcd had done what it was asked", settings=ONCE)
def lost_replies(t):
    directory, port = tempfile.mkdtemp(prefix="pg_courier-mitm-", dir="/tmp"), free_port()
    with open(os.path.join(directory, "addon.py"), "w") as f:
        f.write(ADDON)
    proxy = subprocess.Popen(["mitmdump", "--mode", f"reverse:{t.etcd.url}", "--listen-host", "127.0.0.1", "-p", str(port), "-s", os.path.join(directory, "addon.py"),
                              "--set", f"confdir={directory}", "-q"], stdout=open(os.path.join(directory, "log"), "w"), stderr=subprocess.STDOUT,
                             env={**os.environ, "PYTHONHASHSEED": "7"})
    try:
        until("mitmproxy", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, timeout=120)
        authority = os.path.join(directory, "mitmproxy-ca-cert.pem")
        until("mitmproxy's authority", lambda: os.path.exists(authority))
        t.table([(n, f"row {n}") for n in range(1, 61)])
        to_etcd(t, mode="mirror", options={"concurrency": 8, "max_attempts": 6}, destination=None)
        t.sql(f"SELECT courier.alter_destination('{t.name}', config => '{json.dumps({'base_url': f'https://127.0.0.1:{port}', 'tls': {'ca': open(authority).read()}})}')")
        run = t.run("success", succeeded_added=60)
        state = etcd_state(t)
        equal({k: v for k, (v, _) in state.items()}, {str(n): f"row {n}" for n in range(1, 61)})
        again = sum(version - 1 for _, version in state.values())
        assert again >= 15, f"only {again} answers were lost"
        assert 60 < run["requests"] <= 60 + again, (run["requests"], again)  # libcurl repeats what may be repeated by itself, once
        t.sql(f"DELETE FROM {t.name} WHERE id <= 30", f"UPDATE {t.name} SET name = 'new' WHERE id > 50")
        t.run("success", succeeded_removed=30, succeeded_changed=10)
        equal({k: v for k, (v, _) in etcd_state(t).items()}, {str(n): f"row {n}" if n <= 50 else "new" for n in range(31, 61)})
        t.run("success", requests=0)
    finally:
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(60)
        shutil.rmtree(directory, ignore_errors=True)
