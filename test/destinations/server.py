"""One sync of each destination with PostgreSQL: rows are added, changed and removed, a scripted receiver answers.

"server": {"sync": NAME, "table": "id integer PRIMARY KEY, ...", "steps": [{"sql", "answers", "status", "outcomes", "requests"}]}
"under" is a path before all others: the receiver keeps /_... for itself. "server" may also name the file of another test that does it. Each step runs its sql on table `t`, then the sync, whose answers come in order (the last one stays).
"""

import os
import threading
import traceback
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from harness import Case, Cluster, equal, literal
from published import ROOT
from receiver import Answer, Receiver


class World:
    """A cluster alone: no service of test/e2e is needed. Each destination has a receiver, so that paths are the vendor's."""

    def __init__(self):
        self.setting, self.owner, self.caller = "no-preload", "postgres", "postgres"
        self.receiver = self.etcd = None
        self.cluster = Cluster(self.setting)
        self.cluster.psql("CREATE DATABASE app", database="postgres")
        self.cluster.psql("CREATE EXTENSION pg_courier")


def perform(world, number, case, keep_request):
    t, plan, receiver = Case(world, number), case["server"], Receiver()
    sync = case["syncs"][plan["sync"]]
    destination = {**case["destination"], **sync.get("destination", {})}
    base = urllib.parse.urlsplit(case["base_url"])
    under = plan.get("under", "")
    config = {**destination.get("config", {}), "base_url": receiver.url + under + base.path}
    t.table(columns=plan["table"])
    t.sql(f"SELECT courier.create_model('{t.name}', relation => '{t.name}')",
          f"SELECT courier.create_destination('{t.name}', '{case['name']}', {literal(config)}, {literal(destination.get('secrets', {}))})",
          f"SELECT courier.create_sync('{t.name}', '{t.name}', '{t.name}', " + ", ".join(
              f"{k} => {literal('{' + ','.join(v) + '}' if k == 'match_on' else v)}" for k, v in sync.items() if k not in ("destination", "base_url")) + ")")
    t.syncs.append(t.name)
    looked = 0
    for step in plan["steps"]:
        t.sql(step["sql"].replace("{t}", t.name))
        receiver.script("/", *[Answer(a.get("status", 200), a.get("body", ""), a.get("headers")) for a in step["answers"]])
        try:
            run = t.run(step.get("status", "success"))
        except AssertionError as e:
            outcomes = t.rows(f"SELECT key, change, outcome, error_code, message FROM courier.changelog WHERE run_id = {t.last_run()['run_id']}")
            raise AssertionError(f"{e}\n{outcomes}\n{[r.text for r in receiver.requests()[looked:]]}") from None
        outcomes = t.rows(f"SELECT key, change, outcome, error_code FROM courier.changelog WHERE run_id = {run['run_id']} ORDER BY change, key")
        equal({f"{o['change']} {o['key']}": " ".join(filter(None, (o["outcome"], o["error_code"]))) for o in outcomes}, step["outcomes"], "outcomes")
        seen = receiver.requests()[looked:]
        looked += len(seen)
        equal([r.method + " " + r.target.removeprefix(under) for r in seen], step["requests"], "requests")
        for r in seen:
            keep_request({"method": r.method, "url": case["base_url"].removesuffix(base.path) + r.target.removeprefix(under), "headers": [list(h) for h in r.headers], "body": r.text})
        for number, bodies in enumerate(step.get("bodies", [])):
            equal(seen[number].json, bodies, f"body of request {number + 1}")
    t.quiet()


def check(cases, report, see):
    world = World()
    lock = threading.Lock()

    def one(number, case):
        name, problem = f"server: {case['name']}", None
        try:
            perform(world, number, case, lambda request: see(name, case, request))
        except Exception:
            problem = traceback.format_exc(limit=-3)
        with lock:
            report(name, problem)

    try:
        with ThreadPoolExecutor(2) as pool:
            for number, case in enumerate(cases, 1):
                if isinstance(case.get("server"), str):  # tested there, against a fake of the vendor
                    with open(os.path.join(ROOT, case["server"])) as f:
                        report(f"server: {case['name']} in {case['server']}", None if case["name"] in f.read() else "it is not mentioned there")
                elif "server" in case:
                    pool.submit(one, number, case)
                else:
                    report(f"server: {case['name']}", "it has no case \"server\"")
    finally:
        world.cluster.stop()
