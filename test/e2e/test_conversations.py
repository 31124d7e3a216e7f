"""Destinations that are conversations: jobs that are made, filled, closed and polled; records that are looked up before they are written.

What arrives is looked at in the vendor's own store, and every request against the vendor's published specification (specs.py).
"""

import json
import time

import specs
from harness import SqlError, equal, literal, test
from receiver import Answer
from vendors import Custom, Salesforce, Zendesk

ALL = ("superuser",)  # the engine beneath is the same in every setting


def salesforce(t, secrets=None, **config):
    sf = Salesforce(t.receiver, f"/sf-{t.name}")
    t.sql(f"SELECT courier.create_destination({literal(t.name)}, 'salesforce', {literal({'base_url': sf.url, 'client_id': 'app', **config})}, {literal(secrets or {'client_secret': 's3cret'})})")
    return sf


def contacts(t, rows, mode="mirror", config=None, **settings):
    t.table(rows, columns="id integer PRIMARY KEY, name text, email text")
    t.sync(destination=t.name, requests=None, config=config or {}, mode=mode, object="Contact",
           mapping={"Ext__c": "id::text", "LastName": "name", "Email": "email"}, match_on="{Ext__c}", **settings)


def zendesk(t, object, rows, mapping, columns="id integer PRIMARY KEY, name text, email text", **settings):
    zd = Zendesk(t.receiver, f"/zd-{t.name}")
    t.sql(f"SELECT courier.create_destination({literal(t.name)}, 'zendesk', {literal({'base_url': zd.url, 'email': 'agent@example.com'})}, {literal({'api_token': 'zt0ken'})})")
    t.table(rows, columns=columns)
    t.sync(destination=t.name, requests=None, object=object, mapping=mapping, **settings)
    return zd


def no_open_jobs(t):
    equal(t.rows(f"SELECT * FROM courier.open_jobs WHERE sync = {literal(t.name)}"), [], "open jobs")
    equal(t.admin(f"SELECT count(*) FROM pg_class c JOIN courier_internal.sync s ON c.relname = 'jobs_' || s.sync_id WHERE s.name = {literal(t.name)}"), "0", "tables of open jobs")


@test("salesforce, few changes: collections upsert by external id, deletes by the record id of the answer, rejected records by order", ALL)
def salesforce_collections(t):
    sf = salesforce(t)
    contacts(t, [(1, "one", "1@x"), (2, "bad", None), (3, "three", None)])
    t.run("warning", succeeded_added=2, rejected_added=1)
    first = sf.requests("composite")
    equal([(r.method, r.path[len(sf.path):]) for r in first], [("PATCH", "/services/data/v60.0/composite/sobjects/Contact/Ext__c")])
    equal(first[0].json, {"allOrNone": False, "records": [
        {"attributes": {"type": "Contact"}, "Ext__c": "1", "LastName": "one", "Email": "1@x"},
        {"attributes": {"type": "Contact"}, "Ext__c": "2", "LastName": "bad", "Email": None},
        {"attributes": {"type": "Contact"}, "Ext__c": "3", "LastName": "three", "Email": None}]})
    equal([(r["key"], r["error_code"], r["message"]) for r in t.rejected()], [("2", "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]")])
    third = sf.records["3"]["Id"]
    t.sql(f"DELETE FROM {t.name} WHERE id = 3; UPDATE {t.name} SET name = 'uno' WHERE id = 1; UPDATE {t.name} SET name = 'two' WHERE id = 2")
    t.run("success", succeeded_changed=1, succeeded_added=1, succeeded_removed=1)
    equal({k: v["LastName"] for k, v in sf.records.items()}, {"1": "uno", "2": "two"})
    equal(sf.requests("DELETE")[0].target.split("?")[1], f"ids={third}&allOrNone=false")
    specs.check("salesforce", sf.path, sf.served)


@test("salesforce, many changes: Bulk 2.0 jobs; results come in any order and are told apart by the external id; a locked row is sent again", ALL)
def salesforce_bulk(t):
    sf = salesforce(t)
    sf.locked = {"name 7"}
    contacts(t, [(n, "bad" if n == 5 else f"name {n}", None if n == 3 else 'a "quoted", text') for n in range(1, 11)], config={"bulk_above": 9})
    t.run("warning", succeeded_added=9, rejected_added=1)
    jobs = sf.requests("jobs/ingest")
    equal([r.method for r in jobs[:3]], ["POST", "PUT", "PATCH"])
    equal(jobs[0].json, {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Ext__c", "contentType": "CSV", "lineEnding": "LF", "columnDelimiter": "COMMA"})
    equal(jobs[1].text.split("\n")[:4], ["Ext__c,LastName,Email", '1,name 1,"a ""quoted"", text"', '2,name 2,"a ""quoted"", text"', "3,name 3,#N/A"])
    equal(len(sf.jobs), 2, "jobs: the second one has the locked row")
    equal(sf.writes, {str(n): 1 for n in range(1, 11) if n != 5})
    equal(sf.records["3"]["Email"], None)
    assert "REQUIRED_FIELD_MISSING" in t.rejected()[0]["message"]
    t.sql(f"DELETE FROM {t.name} WHERE id <> 5")
    t.sql(f"SELECT courier.alter_sync({literal(t.name)}, config => '{{\"api\": \"bulk\"}}', options => '{{\"max_removed\": \"100%\"}}')")
    t.run("warning", succeeded_removed=9)
    equal(sf.records, {})
    no_open_jobs(t)
    specs.check("salesforce", sf.path, sf.served)


@test("salesforce, mode update: records are looked up by external id before they are written; those that are not there are skipped", ALL)
def salesforce_update(t):
    sf = salesforce(t)
    sf.records = {"1": {"Id": "003000000000000001", "LastName": "old"}, "o'x": {"Id": "003000000000000002", "LastName": "old"}}
    t.table([("1", "new"), ("o'x", "new"), ("nobody", "new")], columns="id text PRIMARY KEY, name text")
    t.sync(destination=t.name, requests=None, mode="update", object="Contact", mapping={"Ext__c": "id", "LastName": "name"}, match_on="{Ext__c}")
    t.run("success", succeeded_added=2, skipped=1)
    equal({k: v["LastName"] for k, v in sf.records.items()}, {"1": "new", "o'x": "new"})
    # Known from now on: no more look-ups.
    t.sql(f"UPDATE {t.name} SET name = 'newer' WHERE id = '1'")
    before = len(sf.requests("query"))
    t.run("success", succeeded_changed=1)
    equal(len(sf.requests("query")), before)
    specs.check("salesforce", sf.path, sf.served)


@test("salesforce: a refresh token, an expired session in the middle, throttling as 403, a server error: all records arrive once", ALL)
def salesforce_trouble(t):
    sf = salesforce(t, secrets={"refresh_token": "r3fresh"})
    sf.trouble = [("PUT", Answer(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])),
                  ("POST /services/data", Answer(503, [{"message": "try again", "errorCode": "SERVER_UNAVAILABLE"}])),
                  ("POST /services/data", Answer(403, [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}])),
                  ("PATCH", Answer(drop=True)), ("GET", Answer(500, "oops"))]
    contacts(t, [(1, "one", None), (2, "two", None)], config={"api": "bulk"})
    t.run("success", succeeded_added=2)
    equal(sf.trouble, [])
    equal(sf.writes, {"1": 1, "2": 1})
    equal(sf.token, 2, "tokens")
    equal([j["state"] for j in sf.jobs.values() if "csv" in j], ["JobComplete"])
    no_open_jobs(t)


@test("salesforce: credentials that are refused end the run, and nothing is rejected", ALL)
def salesforce_credentials(t):
    sf = salesforce(t, secrets={"client_secret": "wr0ng"})
    contacts(t, [(1, "one", None)])
    run = t.run("failed", aborted=1)
    equal(run["error_code"], "credentials")
    assert "wr0ng" not in json.dumps(run["error"]) and t.rejected() == []
    equal(t.rows(f"SELECT ok FROM courier.test_destination({literal(t.name)})"), [{"ok": False}])


@test("salesforce: a sync that matches on two fields is refused when it is created, and says what is needed", ALL)
def salesforce_two_fields(t):
    salesforce(t)
    t.table([], columns="a text, b text, PRIMARY KEY (a, b)")
    try:
        t.sync(destination=t.name, requests=None, mode="upsert", object="Contact", mapping={"A__c": "a", "B__c": "b"}, match_on="{A__c,B__c}")
        raise AssertionError("it was not refused")
    except SqlError as error:
        assert "must match on one field" in str(error) and "match_on" in str(error), error
        t.syncs.clear()


@test("cancel while a job is polled: its records are aborted with job_open, and the next run asks for the result and sends nothing again", ALL)
def cancel_polling(t):
    sf = salesforce(t)
    sf.hold = True
    contacts(t, [(1, "one", None), (2, "bad", None)], config={"api": "bulk"})
    run = t.trigger()
    deadline = time.time() + 30
    while not t.rows(f"SELECT * FROM courier.open_jobs WHERE sync = {literal(t.name)} AND step = 'close'") or not sf.requests("GET"):
        assert time.time() < deadline, "no job is polled"
        time.sleep(0.05)
    t.call(f"SELECT courier.cancel_run({run})")
    equal(t.wait(run), "cancelled")
    equal(t.rows(f"SELECT DISTINCT outcome, error_code FROM courier.changelog WHERE run_id = {run}"), [{"outcome": "aborted", "error_code": "job_open"}])
    sf.hold = False
    t.sql(f"UPDATE {t.name} SET name = 'two' WHERE id = 2")  # meanwhile
    t.run("success", succeeded_added=2, rejected_added=1)  # one of the job, one rejected by it, and at once the newer value
    equal((sf.writes, len(sf.jobs)), ({"1": 1, "2": 1}, 2))
    no_open_jobs(t)


@test("a job that does not end within max_job_time ends the run as failed, job_open; one that the destination has forgotten is sent again", ALL)
def job_time(t):
    sf = salesforce(t)
    sf.hold = True
    contacts(t, [(1, "one", None)], config={"api": "bulk"}, options={"max_job_time": "1 s"})
    equal(t.run("failed", aborted=1)["error_code"], "job_open")
    sf.jobs.clear()
    sf.hold = False
    t.sql(f"SELECT courier.alter_sync({literal(t.name)}, options => '{{\"max_job_time\": null}}')")
    t.run("success", succeeded_added=1)
    equal(sf.writes, {"1": 1})
    no_open_jobs(t)


@test("zendesk users: create_or_update_many, the job's results by index, external id or place; destroy_many", ALL)
def zendesk_users(t):
    zd = zendesk(t, "users", [(1, "one", "1@x"), (2, "bad", "2@x"), (3, "three", "3@x")], {"external_id": "id::text", "name": "name", "email": "email"}, mode="mirror", match_on="{external_id}")
    zd.trouble = [("create_or_update_many", Answer(429, "Rate limit", {"Retry-After": "1", "Content-Type": "text/plain"})), ("job_statuses", Answer(500, "oops"))]
    t.run("warning", succeeded_added=2, rejected_added=1)
    equal(zd.requests("create_or_update_many")[0].json["users"][0], {"skip_verify_email": True, "external_id": "1", "name": "one", "email": "1@x"})
    equal([(r["error_code"], r["message"]) for r in t.rejected()], [("UserUpdateError", "Name: is bad")])
    t.sql(f"DELETE FROM {t.name} WHERE id = 1")
    t.run("warning", succeeded_removed=1)
    equal([u["name"] for u in zd.things["users"].values()], ["three"])
    no_open_jobs(t)
    specs.check("zendesk", zd.path, zd.served)


@test("zendesk organizations: upserts one by one; updates of known external ids in a job, the others skipped", ALL)
def zendesk_organizations(t):
    zd = zendesk(t, "organizations", [(1, "one", None), (2, "bad", None)], {"external_id": "id::text", "name": "name"}, mode="upsert", match_on="{external_id}")
    t.run("warning", succeeded_added=1, rejected_added=1)
    assert "Name: is bad" in t.rejected()[0]["message"]
    t.sync(name=t.name + "u", relation=t.name, destination=t.name, requests=None, object="organizations", mode="update", mapping={"external_id": "id::text", "details": "name"}, match_on="{external_id}")
    t.run("success", sync=t.name + "u", succeeded_added=1, skipped=1)
    equal([o.get("details") for o in zd.things["organizations"].values()], ["one"])
    specs.check("zendesk", zd.path, zd.served)


@test("zendesk tickets: created in a job, updated by the id it gave; an answer lost after create_many leaves unknown records, never two tickets", ALL)
def zendesk_tickets(t):
    zd = zendesk(t, "tickets", [(1, "one", None), (2, "two", None)], {"external_id": "id::text", "subject": "name"}, mode="upsert", match_on="{external_id}")
    t.run("success", succeeded_added=2)
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1")
    t.run("success", succeeded_changed=1)
    equal(zd.requests("update_many")[0].json, {"tickets": [{"id": 1000, "external_id": "1", "subject": "uno"}]})
    zd.trouble = [("create_many", Answer(drop=True))]
    t.sql(f"INSERT INTO {t.name} VALUES (3, 'three', NULL); UPDATE {t.name} SET name = 'due' WHERE id = 2")
    t.run("warning", unknown=1, succeeded_changed=1)
    t.run("warning", requests=0)
    no_open_jobs(t)


@test("custom: behavior first, batches of its size, add, change, remove, rejected rows, and test_destination asks validate and list_objects", ALL)
def custom(t):
    server = Custom(t.receiver, f"/custom-{t.name}")
    t.sql(f"SELECT courier.create_destination({literal(t.name)}, 'custom', {literal({'base_url': server.url})}, '{{\"token\": \"t0ken\"}}')")
    t.table([(n, "bad" if n == 4 else f"name {n}") for n in range(1, 6)])
    t.sync(destination=t.name, requests=None, object="people", mode="mirror", config={"configuration": {"list": "main"}})
    t.run("warning", succeeded_added=4, rejected_added=1)
    calls = [r.json for r in server.served]
    equal([(c["method"], len(c["params"].get("rows", []))) for c in calls], [("behavior", 0), ("add", 3), ("add", 2)])
    equal(calls[1], {"jsonrpc": "2.0", "id": 1, "method": "add", "params": {
        "configuration": {"list": "main", "object": "people", "mode": "mirror", "identifierMapping": {"from": "id", "to": "id"},
                          "mappings": [{"from": "id", "to": "id"}, {"from": "name", "to": "name"}]},
        "idColumn": "id", "rows": [{"id": 1, "name": "name 1"}, {"id": 2, "name": "name 2"}, {"id": 3, "name": "name 3"}]}})
    equal([(r["key"], r["error_code"], r["message"]) for r in t.rejected()], [("4", "rejected_row", "the name is bad")])
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1; DELETE FROM {t.name} WHERE id = 2")
    t.run("warning", succeeded_changed=1, succeeded_removed=1)
    equal({k: v["name"] for k, v in server.rows.items()}, {1: "uno", 3: "name 3", 5: "name 5"})
    server.behavior = {"batchSize": 3, "operations": {"add": True, "change": False, "remove": False}}
    t.sql(f"UPDATE {t.name} SET name = 'eins' WHERE id = 1")
    t.run("warning", rejected_changed=1)
    equal([r["error_code"] for r in t.rejected() if r["key"] == "1"], ["no_such_operation"])
    found = t.rows(f"SELECT ok, message FROM courier.test_destination({literal(t.name)})")[0]
    assert found["ok"] and "objects people" in found["message"] and "batches of 3" in found["message"], found
    server.trouble = [("", Answer(200, {"jsonrpc": "2.0", "id": 1, "result": {"batchSize": 1}})), ("", Answer(200, {"jsonrpc": "2.0", "id": 1, "result": {"errors": ["no such list"]}}))]
    found = t.rows(f"SELECT ok, message FROM courier.test_destination({literal(t.name)})")[0]
    assert not found["ok"] and "no such list" in found["message"], found


@test("the specifications refuse what is wrong", ALL)
def wrong_twins(t):
    specs.twins()
