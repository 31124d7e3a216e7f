"""Messages of notifications: Mustache templates, one message per change or one digest per run."""

import json

from harness import equal, literal, test, until
from receiver import Answer

OK = Answer(200, "ok", {"Content-Type": "text/plain"})


def texts(requests):
    return [r.json["text"] for r in requests]


def notify(t, messages, more=None, **settings):
    """A sync of notifications whose present rows are known already."""
    t.script(OK)
    t.sync(mode=None, sync_type="notifications", requests=settings.pop("requests", None), config={"messages": messages, **(more or {})}, **settings)
    t.run(requests=0)
    t.seen()


@test("messages: a Mustache template per change; what was accepted before is `previous`, also after a baseline")
def per_change(t):
    number = "1234567890123456789012345678901234567890.10"
    t.table([(1, "one", 1, "[]"), (2, "two", 2, '["x"]')], "id bigint PRIMARY KEY, name text, n numeric, tags jsonb")
    notify(t, {"added": "new {{ change }} {{ key.id }}: {{ name }} {{ n }}{{#tags}} #{{.}}{{/tags}} by {{ sync }}",
               "changed": "{{ previous.name }} -> {{ name }}{{#previous}}, n was {{ n }}{{/previous}}",
               "removed": "gone: {{ name }} ({{ id }})"})
    t.insert((9007199254740993, '<b>"three"</b> & co\n', number, '["a", "b"]'))
    t.run(succeeded_added=1, requests=1)
    equal(texts(t.seen()), [f'new added 9007199254740993: <b>"three"</b> & co\n {number} #a #b by {t.name}'])
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1")
    t.run(succeeded_changed=1)
    t.sql(f"UPDATE {t.name} SET n = 7 WHERE id = 1")
    t.run(succeeded_changed=1)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(succeeded_removed=1)
    equal(texts(t.seen()), ["one -> uno, n was 1", "uno -> uno, n was 1", "gone: two (2)"])
    t.run(requests=0)


@test("messages: a change without a template sends nothing; preview_sync shows the text")
def without_template(t):
    t.table([(1, "one")])
    notify(t, {"changed": "{{ name }}!"})
    t.insert((2, "two"))
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1")
    equal([(r["change"], json.loads(r["body"])) for r in t.rows(f"SELECT * FROM courier.preview_sync('{t.name}')")], [("changed", {"text": "uno!"})])
    t.run(succeeded_added=1, succeeded_changed=1, requests=1)
    equal(texts(t.seen()), ["uno!"])
    t.sql(f"DELETE FROM {t.name}")
    t.run(requests=0)


@test("messages: {{ message }} in a request of one's own, as a form, and in a destination type", settings=("superuser",))
def in_requests(t):
    t.table()
    notify(t, {"added": "{{ name }} & <{{ id }}>"}, requests={"message": {"path": "/form", "encoding": "form", "body": {"payload": "{{ message }}"}}})
    t.sql(f"""SELECT courier.create_destination_type('{t.name}_chat', '{{"base_url": "{{{{ config.url }}}}", "config": {{"url": {{"required": true}}}},
        "requests": {{"message": {{"path": "/chat", "body": {{"content": "{{{{ message }}}}", "kind": "{{{{ change }}}}"}}}}}}}}')""",
          f"SELECT courier.create_destination('{t.name}_chat', '{t.name}_chat', {literal({'url': t.receiver.url + t.path})})")
    t.sync(name=f"{t.name}_chat", model=t.name, destination=f"{t.name}_chat", mode=None, requests=None, config={"messages": {"added": "{{ name }}"}})
    t.run(sync=f"{t.name}_chat", requests=0)
    t.insert((1, "one"))
    t.run(succeeded_added=1)
    t.run(sync=f"{t.name}_chat", succeeded_added=1)
    equal([(r.path[len(t.path):], r.text) for r in t.seen()], [("/form", "payload=one%20%26%20%3C1%3E"), ("/chat", '{"content":"one","kind":"added"}')])


@test("messages: a template with a mistake is an error of create_sync that names it", settings=("superuser",))
def mistakes(t):
    t.table()
    for messages, code, words in (({"added": "{{ nmae }}"}, "42703", 'messages.added: there is nothing called "nmae"'),
                                  ({"removed": "{{#id}}"}, "42601", "messages.removed: the section {{#id}} is not closed"),
                                  ({"add": "x"}, "22023", 'messages has unknown key "add"'),
                                  ({"added": "x", "digest": "y"}, "22023", "beside templates of single changes")):
        try:
            t.sync(name=f"{t.name}_{code}{len(words)}", relation=t.name, mode=None, sync_type="notifications", requests=None, config={"messages": messages})
            raise AssertionError(f"{messages} was taken")
        except Exception as error:
            if getattr(error, "sqlstate", None) != code or words not in error.message:
                raise


DIGEST = ("{{count}}: +{{added_count}} [{{#added}}{{name}} {{/added}}{{added_more}}] ~{{changed_count}} [{{#changed}}{{previous.name}}>{{name}} {{/changed}}{{changed_more}}]"
          " -{{removed_count}} [{{#removed}}{{name}} {{/removed}}{{removed_more}}] {{more}}")


@test("digest: one request for all changes of a run, with samples and counts; nothing without changes")
def digest(t):
    t.table([(n, f"old{n}") for n in range(1, 6)])
    notify(t, {"digest": DIGEST}, {"digest_records": 2})
    t.insert(*[(n, f"new{n}") for n in range(11, 16)])
    t.sql(f"UPDATE {t.name} SET name = 'x' || id WHERE id <= 3", f"DELETE FROM {t.name} WHERE id = 5")
    shown = "9: +5 [new11 new12 3] ~3 [old1>x1 old2>x2 1] -1 [old5 0] 4"
    equal([(r["change"], r["operation"], r["records"], json.loads(r["body"])) for r in t.rows(f"SELECT * FROM courier.preview_sync('{t.name}')")],
          [(None, "message", 9, {"text": shown})])
    run = t.run(succeeded_added=5, succeeded_changed=3, succeeded_removed=1, requests=1)
    equal(texts(t.seen()), [shown])
    equal(t.rows(f"SELECT change, outcome, count(*) AS n FROM courier.changelog WHERE run_id = {run['run_id']} GROUP BY 1, 2 ORDER BY 1"),
          [{"change": c, "outcome": "succeeded", "n": n} for c, n in (("added", 5), ("changed", 3), ("removed", 1))])
    t.run(requests=0, planned_added=0)
    t.sql(f"UPDATE {t.name} SET name = 'y' WHERE id = 1")
    t.run(succeeded_changed=1)
    equal(texts(t.seen()), ["1: +0 [0] ~1 [x1>y 0] -0 [0] 0"])
    equal(t.rows(f"SELECT snapshot_records FROM courier.sync_details WHERE name = '{t.name}'"), [{"snapshot_records": 9}])


@test("digest: refused, every record is rejected and told again later under the same key; a lost answer has the same key")
def digest_refused(t):
    t.table()
    notify(t, {"digest": "{{count}} {{#added}}{{name}} {{/added}}"}, {"idempotency": {"honoured": True}})
    t.insert((1, "one"), (2, "two"))
    t.script(Answer(422, {"detail": "no"}), OK)
    t.run("warning", rejected_added=2, requests=1)
    equal([(r["key"], r["change"], r["message"], json.loads(r["payload"])["name"]) for r in t.rejected()], [("1", "added", "no", "one"), ("2", "added", "no", "two")])
    t.run("warning", requests=0)
    t.insert((3, "three"))
    t.run("warning", succeeded_added=1)  # the others wait for their time
    t.call(f"SELECT courier.retry_rejected('{t.name}')")
    t.script(Answer(200, drop=True), Answer(429, headers={"Retry-After": "0"}), OK)
    t.run(succeeded_added=2, requests=3)
    seen = t.seen()
    equal(texts(seen), ["2 one two ", "1 three "] + ["2 one two "] * 3)
    keys = [r.header("Idempotency-Key") for r in seen]
    equal((len(set(keys)), keys[0]), (2, keys[4]), "keys")
    equal(t.rejected(), [])
    t.run(requests=0)


@test("digest: an answer that is lost on the way makes every record unknown, once; a stopped run rejects nothing")
def digest_unknown(t):
    t.table()
    notify(t, {"digest": "{{count}}"})
    t.insert((1, "one"), (2, "two"))
    t.script(Answer(403, {"detail": "no"}))
    t.run("failed", error_code="forbidden", aborted=2)
    equal(t.rejected(), [])
    t.script(Answer(200, drop=True), OK)
    t.run("failed", error_code="unreachable", unknown=2, requests=1)  # nothing else was heard of the destination
    equal([r["outcome"] for r in t.rejected()], ["unknown"] * 2)
    t.run("warning", requests=0)
    t.call(f"SELECT courier.discard_rejected('{t.name}', '1')", f"SELECT courier.retry_rejected('{t.name}')")
    t.run(succeeded_added=1)
    equal(texts(t.seen()), ["2", "2", "1"])


@test("digest: cancelled while it waits for its answer, the run settles what was said")
def digest_cancel(t):
    t.table()
    notify(t, {"digest": "{{count}}"})
    t.insert((1, "one"))
    t.script(Answer(503), OK)
    run = t.trigger()
    t.receiver.wait_for(t.path, 1)
    t.call(f"SELECT courier.cancel_run({run})")
    until("the end", lambda: t.wait(run) in ("cancelled", "success"))
    first = t.last_run()
    t.run(succeeded_added=1 if first["aborted"] else 0)
    equal(texts(t.seen()), ["1", "1"])


@test("digest: 200,000 changes are settled by statements over ranges of the table", settings=("superuser",))
def digest_large(t):
    t.table([(1, "one")])
    notify(t, {"digest": "{{count}} {{#added}}{{id}} {{/added}}"}, {"digest_records": 3}, options={"log_records": "failed"})
    t.sql(f"INSERT INTO {t.name} SELECT n, 'x' FROM generate_series(2, 200001) n")
    t.run(succeeded_added=200000, requests=1)
    text, = texts(t.seen())
    equal((text.split()[0], len(set(text.split()[1:]))), ("200000", 3), text)
    t.run(requests=0, rows_queried=200001)
