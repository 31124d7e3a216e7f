"""courier.metrics through a real exporter, with the query file that is shipped; and the dashboard over it."""

import json
import os
import re
import subprocess
import urllib.request

from harness import PG_BIN, equal, free_port, test, until
from receiver import Answer

MONITORING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "monitoring")


class Exporter:
    def __init__(self, t, role):
        self.url = f"http://127.0.0.1:{free_port()}/metrics"
        self.log = open(os.path.join(t.world.services_directory, "exporter.log"), "w+")
        self.process = subprocess.Popen(
            ["prometheus-postgres-exporter", "--disable-default-metrics", "--disable-settings-metrics", f"--web.listen-address={self.url[7:-8]}",
             f"--extend.query-path={os.path.join(MONITORING, 'postgres_exporter.yml')}"],
            env={**os.environ, "DATA_SOURCE_NAME": f"postgresql://{role}@127.0.0.1:{t.world.cluster.port}/app?sslmode=disable"}, stdout=self.log, stderr=self.log)
        until("the exporter", self.answers)

    def answers(self):
        try:
            return self.scrape() is not None
        except OSError:
            return False

    def scrape(self):
        """(metric, sync or alert) -> value"""
        self.text = urllib.request.urlopen(self.url, timeout=10).read().decode()
        out = {}
        for line in self.text.splitlines():
            if line.startswith("courier_"):
                name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()
                labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                out[name, labels.get("alert") or labels["sync"]] = float(value)
        return out

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.seek(0)
        return self.log.read()


@test("metrics: every column of courier.metrics arrives at a real exporter; counters never fall; the dashboard asks for what there is", settings=("superuser",))
def exported(t):
    t.table([(n, "x") for n in range(1, 6)])
    t.receiver.script(t.path + "/5", Answer(422))
    t.sync(mode="mirror")
    t.sql(f"SELECT courier.create_alert('{t.name}_refused', 'rejected', warning => '0', sync => '{t.name}')")
    t.run("warning", succeeded_added=4, rejected_added=1)
    t.sql(f"UPDATE {t.name} SET name = 'y' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 2")
    t.run("warning", succeeded_changed=1, succeeded_removed=1)
    role = t.name + "_monitoring"
    t.admin(f"CREATE ROLE {role} LOGIN IN ROLE courier_viewer")
    exporter = Exporter(t, role)
    try:
        found = exporter.scrape()
        row = t.rows(f"SELECT * FROM courier.metrics WHERE sync = '{t.name}'")[0]
        for column, value in row.items():
            if column not in ("sync", "model", "destination"):
                scraped = found["courier_sync_" + column, t.name]
                assert scraped != scraped and value is None or abs(scraped - value) <= 1e-6 * max(1, abs(value)), f"{column}: {value}, scraped {scraped}"
        expected = {"health": 1, "snapshot_records": 3, "rejected_records": 1, "runs_warning_total": 2, "records_added_total": 4, "records_changed_total": 1,
                    "records_removed_total": 1, "records_rejected_total": 1, "requests_total": 7, "last_run_rows": 4, "running": 0}
        equal({column: row[column] for column in expected}, expected)
        equal(found["courier_alert_state", t.name + "_refused"], 1)
        # A column that the query file does not name arrives, too, but untyped and without a description.
        for column in row.keys() - {"sync", "model", "destination"}:
            kind = "counter" if column.endswith("_total") else "gauge"
            assert f"# TYPE courier_sync_{column} {kind}\n" in exporter.text, f"{column} is not a {kind}"

        # Retention deletes runs; what was counted stays.
        t.admin(f"UPDATE courier_internal.sync_state SET last_run_id = NULL WHERE sync_id = (SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}')",
                f"DELETE FROM courier_internal.run WHERE sync_id = (SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}')")
        equal(exporter.scrape()["courier_sync_records_added_total", t.name], 4)

        with open(os.path.join(MONITORING, "grafana-dashboard.json")) as f:
            dashboard = json.load(f)
        names = {name for name, _ in found}
        asked = {name for panel in dashboard["panels"] for target in panel["targets"] for name in re.findall(r"courier_\w+", target["expr"])}
        equal(asked - names, set(), "the dashboard asks for metrics that do not exist")
        assert len(asked) >= 12, asked
        places = [panel["gridPos"] for panel in dashboard["panels"]]
        for i, a in enumerate(places):
            assert a["x"] + a["w"] <= 24, a
            assert not any(a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"] for b in places[:i]), "panels overlap"
    finally:
        log = exporter.stop()
    assert "level=error" not in log and "level=warn" not in log, log


@test("metrics: a run under way is counted while it goes on, and not twice")
def under_way(t):
    t.table([(n, "x") for n in range(1, 41)])
    gate = t.path + "/40"
    t.receiver.script(gate, Answer(200, delay=3))
    t.sync(options={"concurrency": 1, "log_requests": "none"})
    run_id = t.trigger()
    counted = lambda: t.rows(f"SELECT records_added_total AS added, running, active_run_done AS done, active_run_planned AS planned FROM courier.metrics WHERE sync = '{t.name}'")[0]
    seen = until("some records", lambda: (c := counted())["added"] > 0 and c)
    equal((seen["running"], seen["planned"], seen["added"] <= seen["done"]), (1, 40, True))
    t.wait(run_id)
    equal(counted(), {"added": 40, "running": 0, "done": 0, "planned": 0})


@test("progress: run_sync draws a bar with rate and time left, and courier.progress shows the same to every session")
def bar(t):
    t.table([(n, "x") for n in range(1, 41)])
    for n in range(1, 41):
        t.receiver.script(f"{t.path}/{n}", Answer(202, delay=0.1))
    t.sync(options={"concurrency": 1})
    cluster = t.world.cluster
    psql = subprocess.Popen([os.path.join(PG_BIN, "psql"), "-XAtq", "-h", cluster.directory, "-p", str(cluster.port), "-U", t.world.caller, "-d", "app",
                             "-c", f"CALL courier.run_sync('{t.name}')"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen = until("half of it", lambda: (p := t.rows(f"SELECT * FROM courier.progress WHERE sync = '{t.name}' AND phase = 'sending'")) and p[0]["done"] and p[0])
    filled = seen["percent"] // 10
    equal(seen["bar"], f"[{'#' * filled}{'-' * (10 - filled)}] {seen['percent']} %")
    assert seen["planned"] == 40 and seen["records_per_second"] > 0 and seen["eta"] is not None, seen
    equal(t.call("SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type LIKE 'pg_courier run%' AND query LIKE '%sending%'") if t.world.caller == "postgres" else "t", "t")
    notices = psql.communicate(timeout=60)[1]
    equal(psql.returncode, 0)
    found = re.findall(r"sending \[(#*)(-*)\] (\d+) of 40 \((\d+) %\)(?:, \d+/s, eta \d\d:\d\d:\d\d)?", notices)
    assert found and "eta" in notices, notices
    for full, rest, done, percent in found:
        equal((len(full), len(full) + len(rest), int(percent)), (int(percent) // 10, 10, int(done) * 100 // 40))
