"""Slack in runs: digests and messages, by a bot and by a webhook. What counts is what arrived in a channel."""

import json

import specs
from harness import equal, literal, test
from receiver import Answer

ALL = ("superuser",)  # the engine beneath is the same in every setting
POSTED = Answer(200, {"ok": True, "channel": "C0123456789", "ts": "1750000000.000100"})
DIGEST = "{{ count }} customers{{#added}}\n+ {{ name }}{{/added}}{{#changed}}\n* {{ previous.name }} is {{ name }}{{/changed}}{{#removed}}\n- {{ name }}{{/removed}}{{#more}}\nand {{ more }} more{{/more}}"


def path(t):
    return f"/slack-{t.name}"


def script(t, *answers):
    t.receiver.script(path(t), *answers)


def slack(t, rows, config, secrets=None, destination=None, **settings):
    t.sql(f"SELECT courier.create_destination({literal(t.name)}, 'slack', {literal({'base_url': t.receiver.url + path(t), **(destination or {})})}, {literal(secrets or {'token': 'xoxb-t0ken'})})")
    t.table(rows)
    t.sync(destination=t.name, requests=None, mode=None, sync_type="notifications", first_run="send", mapping={"id": "id", "name": "name"}, config=config, **settings)


def posted(t):
    """The messages that came since the last look; all of them valid by what Slack publishes."""
    requests = t.seen(path(t))
    equal({(r.method, r.path[len(path(t)):]) for r in requests}, {("POST", "/chat.postMessage")} if requests else set())
    if requests and specs.available():
        found = specs.problems("slack", [(r.method, "/api" + r.target[len(path(t)):], [list(h) for h in r.headers], r.text) for r in requests])
        equal(found, [[]] * len(requests), "what is wrong by the specification")
    return [r.json for r in requests]


@test("slack: a run is one message to the channel: counts, the first of each kind, and how many more; a quiet run posts nothing", ALL)
def digest(t):
    script(t, POSTED)
    slack(t, [(n, f"customer {n}") for n in range(1, 6)], {"channel": "C0123456789", "digest_records": 2, "messages": {"digest": DIGEST}})
    t.run(succeeded_added=5, requests=1)
    equal(posted(t), [{"channel": "C0123456789", "text": "5 customers\n+ customer 1\n+ customer 2\nand 3 more"}])
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'Ada' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 5", f"INSERT INTO {t.name} VALUES (6, 'customer 6')")
    t.run(succeeded_added=1, succeeded_changed=1, succeeded_removed=1, requests=1)
    equal(posted(t), [{"channel": "C0123456789", "text": "3 customers\n+ customer 6\n* customer 1 is Ada\n- customer 5"}])
    equal(t.rows(f"SELECT change, key, outcome FROM courier.changelog WHERE run_id = {t.last_run()['run_id']} ORDER BY change"),
          [{"change": c, "key": k, "outcome": "succeeded"} for c, k in (("added", "6"), ("changed", "1"), ("removed", "5"))])
    t.run(requests=0)


@test("slack: a digest that Slack asks to wait with is posted once, later; one that it refuses is refused for all of its changes", ALL)
def digest_trouble(t):
    script(t, Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"}), POSTED, Answer(200, {"ok": False, "error": "is_archived"}), POSTED)
    slack(t, [(1, "Ada"), (2, "Grace")], {"channel": "C0123456789", "digest_records": 20, "messages": {"digest": DIGEST}})
    t.run(succeeded_added=2, requests=2)
    first, second = posted(t)
    equal(first, second)
    t.sql(f"UPDATE {t.name} SET name = name || '!'")
    t.run("warning", rejected_changed=2, requests=1)
    equal([(r["key"], r["error_code"]) for r in t.rejected()], [("1", "is_archived"), ("2", "is_archived")])
    posted(t)
    t.sql(f"SELECT courier.retry_rejected({literal(t.name)})")
    t.run(succeeded_changed=2, requests=1)
    equal(posted(t), [{"channel": "C0123456789", "text": "2 customers\n* Ada is Ada!\n* Grace is Grace!"}])


@test("slack by a webhook: the digest goes to the secret address, without channel and token, and the address is nowhere in the log", ALL)
def webhook(t):
    script(t, Answer(200, "ok", {"Content-Type": "text/html"}))
    slack(t, [(1, "Ada"), (2, "Grace")], {"digest_records": 1, "messages": {"digest": DIGEST}}, {"webhook_url": t.receiver.url + path(t) + "/services/T000/B000/s3cretXXXX"}, {"via": "webhook"}, options={"log_requests": "all"})
    t.run(succeeded_added=2, requests=1)
    requests = t.receiver.requests(path(t))
    equal([(r.path[len(path(t)):], json.loads(r.text), r.header("Authorization")) for r in requests], [("/services/T000/B000/s3cretXXXX", {"text": "2 customers\n+ Ada\nand 1 more"}, None)])
    logged = t.rows(f"SELECT * FROM courier.requests WHERE sync = {literal(t.name)}")
    assert len(logged) == 1 and "s3cretXXXX" not in json.dumps(logged), logged


@test("slack: a message per change, each kind with its own words", ALL)
def messages(t):
    script(t, POSTED)
    slack(t, [(1, "Ada")], {"channel": "C0123456789", "messages": {"added": "welcome, {{ name }}", "removed": "{{ name }} has left"}})
    t.run(succeeded_added=1, requests=1)
    t.sql(f"UPDATE {t.name} SET name = 'Ada King'")
    t.run(succeeded_changed=1, requests=0)
    t.sql(f"DELETE FROM {t.name}")
    t.run(succeeded_removed=1, requests=1)
    equal([m["text"] for m in posted(t)], ["welcome, Ada", "Ada King has left"])
