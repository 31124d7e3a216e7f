"""Mailchimp's batches: handed over, asked for, and fetched as an archive from another host. What arrives is looked at in the vendor's own store."""

import hashlib
import time

import specs
from harness import equal, literal, test
from receiver import Answer
from vendors import Mailchimp

ALL = ("superuser",)  # the engine beneath is the same in every setting


def mailchimp(t, rows, config=None, object="members", mapping=None, match_on="{email_address}", **settings):
    mc = Mailchimp(t.receiver, f"/mc-{t.name}")
    t.sql(f"SELECT courier.create_destination({literal(t.name)}, 'mailchimp', {literal({'data_center': 'us19', 'base_url': mc.url})}, '{{\"api_key\": \"k3y-us19\"}}')")
    t.table(rows, columns="id integer PRIMARY KEY, name text")
    t.sync(destination=t.name, requests=None, object=object, mapping=mapping or {"email_address": "'m' || id || '@example.com'", "FNAME": "name"}, match_on=match_on,
           config={"list_id": "a1b2", **({"status": "subscribed"} if object == "members" else {}), **(config or {})}, **settings)
    return mc


def name_of(number):
    return hashlib.md5(f"m{number}@example.com".encode()).hexdigest()


def names(mc):
    return {k: v["merge_fields"]["FNAME"] for k, v in mc.members.items()}


def until(what, check):
    deadline = time.time() + 30
    while not check():
        assert time.time() < deadline, f"waited for {what}"
        time.sleep(0.05)


def no_open_jobs(t):
    equal(t.rows(f"SELECT * FROM courier.open_jobs WHERE sync = {literal(t.name)}"), [], "open jobs")


@test("mailchimp, many requests: a batch takes their place; results are told apart by operation, and the host that has them gets no credentials", ALL)
def batch(t):
    mc = mailchimp(t, [(n, "bad" if n == 3 else f"name {n}") for n in range(1, 8)], {"keep_status": True, "batches_above": 6}, mode="mirror", options={"max_removed": "100%", "log_requests": "all"})
    t.run("warning", succeeded_added=6, rejected_added=1)
    equal(names(mc), {name_of(n): f"name {n}" for n in range(1, 8) if n != 3})
    equal([(r["key"], r["error_code"], r["message"]) for r in t.rejected()], [("3", "Invalid Resource", "Your merge fields were invalid.")])
    equal([r.method + " " + r.path[len(mc.path):] for r in mc.served], ["POST /batches"] + ["GET /batches/b1"] * 2)
    fetched = mc.results.requests("/results-b1.tar.gz")
    equal(len(fetched), 1)
    equal([h for h in fetched[0].headers if h[0].lower() in ("authorization", "cookie", "content-type")], [])
    logged = str(t.rows(f"SELECT * FROM courier.requests WHERE sync = {literal(t.name)}"))
    assert "results-b1.tar.gz" in logged and "5ecret5eal" not in logged, "the address of the results is in the log"
    # Few requests go by themselves.
    t.sql(f"DELETE FROM {t.name} WHERE id > 5")
    t.run("warning", succeeded_removed=2)
    equal([r.method for r in mc.served[3:]], ["DELETE", "DELETE"])
    # Many removals do not; one that is gone already is removed.
    mc.members.pop(name_of(1))
    t.sql(f"SELECT courier.alter_sync({literal(t.name)}, config => '{{\"batches_above\": 2}}')", f"DELETE FROM {t.name}")
    t.run("success", succeeded_removed=4)
    equal((mc.members, len(mc.batches)), ({}, 2))
    no_open_jobs(t)
    specs.check("mailchimp", mc.path, mc.served)


@test("mailchimp: the worker dies while a batch is worked on; the next run fetches its results and hands over nothing again", ALL)
def killed(t):
    mc = mailchimp(t, [(1, "one"), (2, "two"), (3, "bad")], {"keep_status": True, "api": "batches"}, mode="upsert")
    mc.hold = True
    run = t.trigger()
    until("a batch that is asked for", lambda: len(mc.requests("GET")) > 1)
    t.admin(f"SELECT pg_terminate_backend(worker_pid) FROM courier_internal.run WHERE run_id = {run}")
    until("the worker to end", lambda: t.admin(f"SELECT count(*) FROM pg_stat_activity a JOIN courier_internal.run r ON r.worker_pid = a.pid WHERE run_id = {run}") == "0")
    kept = t.rows(f"SELECT step, records FROM courier.open_jobs WHERE sync = {literal(t.name)}")
    equal(kept, [{"step": "poll", "records": 3}], "what is kept")
    mc.hold = False
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1")  # meanwhile
    until("a run that succeeds", lambda: t.wait(t.trigger()) == "warning")
    equal([len(r.json["operations"]) for r in mc.requests("POST")], [3, 1], "operations of the batches")
    equal(names(mc), {name_of(1): "uno", name_of(2): "two"})
    equal(t.rows(f"SELECT status FROM courier.run_details WHERE run_id = {run}")[0]["status"], "interrupted")
    no_open_jobs(t)


@test("mailchimp events: a batch whose answer is lost leaves them unknown; one that is handed over tells each once", ALL)
def events(t):
    mc = mailchimp(t, [(1, "ordered"), (2, "ordered")], {"api": "batches"}, object="events", mode=None, sync_type="events", mapping={"email_address": "'m' || id || '@example.com'", "name": "name", "total": "1.50"}, match_on=None)
    t.run("success", succeeded_added=2)
    equal(sorted(mc.events), sorted((name_of(n), {"name": "ordered", "properties": {"total": "1.50"}}) for n in (1, 2)))
    mc.trouble = [("POST /batches", Answer(drop=True))]
    t.sql(f"INSERT INTO {t.name} VALUES (3, 'ordered')")
    t.wait(t.trigger())
    equal([(r["key"], r["outcome"]) for r in t.rows(f"SELECT key, outcome FROM courier.changelog WHERE run_id = {t.last_run()['run_id']}")], [("3", "unknown")])
    before = len(mc.served)
    t.run("warning", requests=0)
    equal(len(mc.served), before)
    no_open_jobs(t)


@test("mailchimp: results on a host that pg_courier.allow_addresses does not allow are not fetched", ALL)
def blocked(t):
    mc = mailchimp(t, [(1, "one")], {"api": "batches"}, mode="upsert")
    mc.results_url = mc.results_url.replace("127.0.0.1", "169.254.169.254")
    equal(t.run("failed", aborted=1)["error_code"], "blocked_address")
    equal(len(mc.results.requests()), 0)
    mc.batches["b1"]["response_body_url"] = mc.results.url + "/results-b1.tar.gz"
    t.run("success", succeeded_added=1)
    equal(len(mc.requests("POST")), 1, "batches")
    no_open_jobs(t)
