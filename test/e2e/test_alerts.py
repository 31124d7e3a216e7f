"""Alerts and health: state changes, told once, delivered by an ordinary sync; and NOTIFY."""

import json
import subprocess
import os

from harness import PG_BIN, SqlError, equal, literal, test, until
from receiver import Answer

OK = Answer(202)


def health(t, sync=None):
    return t.rows(f"SELECT * FROM courier.health WHERE sync = {literal(sync or t.name)}")[0]


def events(t):
    return [(e["alert"].removeprefix(t.name + "_"), e["state"]) for e in t.rows(f"SELECT * FROM courier.alert_events WHERE sync = '{t.name}' ORDER BY event_id")]


def alert(t, kind, name=None, **settings):
    settings.setdefault("sync", t.name)
    t.sql(f"SELECT courier.create_alert('{t.name}_{name or kind}', '{kind}', " + ", ".join(f"{k} => {literal(v)}" for k, v in settings.items()) + ")")


@test("an alert tells of a failed run once, and when the sync has recovered: delivered by a sync, with retries")
def delivered(t):
    t.table([(1, "one")])
    t.sync()
    channel = t.name + "_chat"
    t.receiver.script(t.path + "/chat", Answer(503), OK)
    t.sync(channel, query=f"SELECT event_id, text, state FROM courier.alert_events WHERE channel = '{channel}'", primary_key=["event_id"],
           base=t.receiver.url + t.path + "/chat", mode=None, sync_type="events", requests={"event": {"method": "POST", "body": "{{ record }}"}},
           mapping={"text": "text"}, options={"log_requests": "all"})
    t.run(sync=channel)
    alert(t, "run_failed", channel=channel)
    t.sql(f"ALTER TABLE {t.name} RENAME TO {t.name}_away")
    t.run("failed")
    t.run("failed")
    equal(events(t), [("run_failed", "critical")])
    sent = until("the message", lambda: [r for r in t.receiver.requests(t.path + "/chat") if r.number and r.method == "POST"][1:2])
    assert sent[0].json["text"].startswith(f"critical: sync {t.name}: the run failed: "), sent[0].json
    found = health(t)
    equal(found["health"], "critical")
    assert found["problem"] and found["remedy"] and found["since"], found
    t.sql(f"ALTER TABLE {t.name}_away RENAME TO {t.name}")
    t.run()
    equal(events(t), [("run_failed", "critical"), ("run_failed", "recovered")])
    until("the second message", lambda: len(t.receiver.requests(t.path + "/chat")) == 3)
    equal((health(t)["health"], health(t)["problem"]), ("ok", None))
    last = t.receiver.requests(t.path + "/chat")[2].json["text"]
    equal(last, f"recovered: sync {t.name}: the last run went through")
    equal(t.rows(f"SELECT state, channel FROM courier.alerts WHERE sync = '{t.name}'"), [{"state": "ok", "channel": channel}])


@test("an alert on the share of rejected records: warning, critical, recovered")
def share(t):
    t.table([(n, "x") for n in range(1, 11)])
    t.receiver.script(t.path + "/1", Answer(422, {"detail": "no x please"}), Answer(422), OK)
    t.receiver.script(t.path + "/2", OK, Answer(422), OK)
    t.sync()
    alert(t, "rejected", warning="1%", critical="15%")
    t.run("warning", succeeded_added=9, rejected_added=1)
    found = t.rows(f"SELECT state, message FROM courier.alerts WHERE sync = '{t.name}'")[0]
    equal(found["state"], "warning")
    assert found["message"].startswith("1 of 10 records are not accepted, most of them: "), found
    equal((health(t)["health"], health(t)["rejected"]), ("warning", 1))
    t.sql(f"UPDATE {t.name} SET name = 'y' WHERE id <= 2")
    t.run("warning", rejected_changed=1, rejected_added=1)
    equal(events(t), [("rejected", "warning"), ("rejected", "critical")])
    equal(health(t)["health"], "critical")
    t.call(f"SELECT courier.retry_rejected('{t.name}')")
    t.run()
    equal(events(t)[2:], [("rejected", "recovered")])


@test("alerts on duration, on nothing succeeded, and on an unusual volume")
def others(t):
    t.table([(n, "x") for n in range(1, 301)])
    t.sync(options={"max_changes": "1000000"})
    alert(t, "duration", warning="1 h", critical="2 h")
    alert(t, "no_success", warning="1 microsecond", critical="1 h")
    alert(t, "volume", warning="3", critical="100")
    t.run(succeeded_added=300)
    for _ in range(5):
        t.run(requests=0)
    equal([e for e in events(t) if e[0] != "no_success"], [])
    equal(events(t)[:1], [("no_success", "warning")])
    t.sql(f"UPDATE {t.name} SET name = 'y'")
    t.run(succeeded_changed=300)
    equal([e for e in events(t) if e[0] == "volume"], [("volume", "critical")], "300 changes after five runs without")
    t.run(requests=0)
    equal([e for e in events(t) if e[0] == "volume"], [("volume", "critical"), ("volume", "recovered")])
    # A run that took long, in the table: nothing here waits for hours.
    t.admin(f"UPDATE courier_internal.run SET started_at = finished_at - interval '90 min' WHERE run_id = {t.last_run()['run_id']}", "SELECT courier_internal.evaluate_alerts()")
    equal([e for e in events(t) if e[0] == "duration"], [("duration", "warning")])


@test("the scheduler looks at alerts without a run", settings=("superuser",))
def by_scheduler(t):
    t.table([(1, "one")])
    t.sync()
    alert(t, "no_success", critical="1 microsecond")
    # What the round calls; that it does so each minute is in test/t/002_kill_launcher_scheduler.pl.
    t.admin("SELECT courier_internal.evaluate_alerts()")
    equal(events(t), [("no_success", "critical")])
    t.admin("SELECT courier_internal.evaluate_alerts()")
    equal(len(events(t)), 1)
    t.sql(f"SELECT courier.pause_sync('{t.name}')")
    equal((health(t)["health"], health(t)["next_run"]), ("paused", None))


@test("a muted alert makes no events; a threshold that is taken back recovers; a dropped one is gone")
def muted(t):
    t.table([(1, "one")])
    t.script(Answer(422))
    t.receiver.script(t.path + "/1", Answer(422))
    t.sync()
    alert(t, "rejected", warning="0")
    t.sql(f"SELECT courier.alter_alert('{t.name}_rejected', muted_until => 'infinity')")
    t.run("warning", rejected_added=1)
    equal((events(t), t.rows(f"SELECT state FROM courier.alerts WHERE sync = '{t.name}'")), ([], [{"state": "warning"}]))
    t.sql(f"SELECT courier.alter_alert('{t.name}_rejected', critical => '5', reset => '{{warning,muted_until}}')", )
    t.admin("SELECT courier_internal.evaluate_alerts()")
    equal(events(t), [("rejected", "recovered")])
    t.sql(f"SELECT courier.drop_alert('{t.name}_rejected')")
    equal(t.rows(f"SELECT * FROM courier.alerts WHERE sync = '{t.name}'"), [])


@test("create_alert says what is wrong with a rule")
def wrong(t):
    t.table([(1, "one")])
    t.sync()
    for sqlstate, arguments in (("22023", "'unheard', warning => '1'"), ("22023", "'rejected'"), ("22023", "'rejected', warning => 'many'"),
                                ("22023", "'rejected', warning => '100%'"), ("22023", "'duration', critical => 'soon'"), ("22023", "'duration', critical => '-1 s'"),
                                ("22023", "'volume', critical => '1'"), ("22023", "'run_failed', critical => '0'"), ("42704", "'run_failed', sync => 'nothing like it'"),
                                ("42704", "'run_failed', channel => 'nothing like it'"), ("42704", "'run_failed', destination => 'nothing like it'"),
                                ("22023", f"'run_failed', sync => '{t.name}', destination => '{t.name}'")):
        try:
            t.sql(f"SELECT courier.create_alert('{t.name}_wrong', {arguments})")
            raise AssertionError(f"taken: {arguments}")
        except SqlError as error:
            equal(error.sqlstate, sqlstate, f"{arguments}: {error.message}")


@test("alerts: strangers are told nothing, and may not watch what they may not see", settings=("owner",))
def rights(t):
    t.table([(1, "one")])
    t.sync()
    alert(t, "run_failed")
    stranger = t.name + "_stranger"
    t.admin(f"CREATE ROLE {stranger} LOGIN")
    for what, sqlstate in ((f"SELECT courier.create_alert('{t.name}_x', 'run_failed', sync => '{t.name}')", "42501"),
                           (f"SELECT courier.drop_alert('{t.name}_run_failed')", "42501"),
                           (f"SELECT courier.alter_alert('{t.name}_run_failed', critical => '9')", "42501"),
                           (f"SELECT courier.create_alert('{t.name}_x', 'run_failed', channel => '{t.name}')", "42501")):
        try:
            t.admin(what, user=stranger)
            raise AssertionError("allowed: " + what)
        except SqlError as error:
            equal(error.sqlstate, sqlstate, what)
    # A rule over everything covers what its owner may see, and that is nothing.
    t.admin(f"SELECT courier.create_alert('{t.name}_all', 'no_success', critical => '1 microsecond')", user=stranger)
    t.admin("SELECT courier_internal.evaluate_alerts()")
    equal(t.admin("SELECT count(*) FROM courier.alert_events", user=stranger), "0")
    equal(t.admin(f"SELECT name, state FROM courier.alerts", user=stranger), f"{t.name}_all|ok")
    equal(t.admin("SELECT count(*) FROM courier.health", user=stranger), "0")
    t.admin(f"SELECT courier.drop_alert('{t.name}_all')", user=stranger)


class Listener:
    """A session that listens: psql prints notifications after each of its commands."""

    def __init__(self, t, *channels):
        cluster = t.world.cluster
        self.psql = subprocess.Popen([os.path.join(PG_BIN, "psql"), "-XAtq", "-h", cluster.directory, "-p", str(cluster.port), "-U", t.world.caller, "-d", "app"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.ask("".join(f"LISTEN {c};\n" for c in channels))

    def ask(self, command=""):
        """What came until now, as (channel, payload)."""
        self.psql.stdin.write(command + "SELECT 'asked';\n")
        self.psql.stdin.write("\\echo done\n")
        self.psql.stdin.flush()
        heard = []
        while (line := self.psql.stdout.readline().strip()) != "done":
            if line.startswith("Asynchronous notification"):
                name, rest = line.split('"', 2)[1:]
                heard.append((name, json.loads(rest[rest.index('"') + 1:rest.rindex('" received')])))
        return heard

    def close(self):
        self.psql.stdin.close()
        self.psql.wait(10)


@test("NOTIFY courier_runs at every change of status, and courier_alerts at every event, with no more than they need")
def notified(t):
    t.table([(1, "one")])
    t.receiver.script(t.path + "/1", Answer(422))
    t.sync()
    alert(t, "rejected", warning="0")
    listener = Listener(t, "courier_runs", "courier_alerts")
    try:
        run_id = t.run("warning")["run_id"]
        heard = []
        until("all notifications", lambda: heard.extend(listener.ask()) or any(c == "courier_alerts" for c, _ in heard) and ("courier_runs", {"run_id": run_id, "status": "warning"}) in heard)
        equal([p["status"] for c, p in heard if c == "courier_runs" and p["run_id"] == run_id], ["querying", "sending", "warning"])
        event = t.rows(f"SELECT event_id FROM courier.alert_events WHERE sync = '{t.name}'")[0]["event_id"]
        assert ("courier_alerts", {"event_id": event, "state": "warning"}) in heard, heard
        assert all(set(p) in ({"run_id", "status"}, {"event_id", "state"}) for _, p in heard), heard
    finally:
        listener.close()
