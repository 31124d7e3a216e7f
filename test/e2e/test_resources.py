"""What runs short for one sync: time of a query, space on a disk. The run fails with words, the others go on, and it goes on itself once that is mended."""

import os
import pwd
import subprocess
import tempfile
import threading

from harness import equal, literal, test, until

ONCE = ("superuser",)


@test("resources: a statement_timeout, here of the server behind a foreign table, fails the run; nobody has cancelled it", settings=ONCE)
def statement_timeout(t):
    view = "CREATE OR REPLACE VIEW slow_stock AS SELECT 'pear'::text AS sku, 5 AS pieces, {}::text AS s"
    t.admin(view.format("pg_sleep(20)"), "GRANT SELECT ON slow_stock TO reader", database="warehouse")
    t.sql(f"CREATE SERVER hasty FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', dbname 'warehouse', port '{t.world.cluster.port}', options '-c statement_timeout=300')",
          "CREATE USER MAPPING FOR CURRENT_USER SERVER hasty OPTIONS (user 'reader', password 'reader')",
          f"CREATE FOREIGN TABLE {t.name} (sku text, pieces integer, s text) SERVER hasty OPTIONS (schema_name 'public', table_name 'slow_stock')")
    t.sync(primary_key=["sku"], mapping={"id": "sku", "pieces": "pieces", "s": "s"})
    run = t.run("failed", error_code="57014")
    assert "statement timeout" in run["error"], run["error"]
    equal(t.seen(), [])
    equal(t.rows(f"SELECT health FROM courier.health WHERE sync = '{t.name}'"), [{"health": "critical"}])
    t.admin(view.format("''"), database="warehouse")
    t.run("success", succeeded_added=1)


@test("resources: the disk of the snapshot's tablespace is full: the run fails and says so, others go on; with more space it goes on", settings=ONCE)
def disk_full(t):
    if os.geteuid() != 0:
        print("# resources: only root can mount a small file system; the test of a full disk was left out", flush=True)
        return
    directory, database = tempfile.mkdtemp(prefix="pg_courier-full-", dir="/tmp"), f"full_{t.name}"
    user = pwd.getpwnam("postgres")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=5m,uid={user.pw_uid},gid={user.pw_gid},mode=700", "tmpfs", directory], capture_output=True, text=True)
    if mounted.returncode != 0:
        os.rmdir(directory)
        print(f"# resources: nothing can be mounted here ({mounted.stderr.strip()}); the test of a full disk was left out", flush=True)
        return
    admin = lambda *commands: t.admin(*commands, database=database)  # noqa: E731
    create = lambda name, model: f"""SELECT courier.create_sync('{name}', '{model}', 'd', mode => 'upsert', options => '{{"batch_size": 10000, "concurrency": 1, "max_changes": 1000000}}', config => {literal({
        "requests": {"upsert": {"method": "POST", "path": "/" + name, "body": "{{ records }}"}}})})"""  # noqa: E731
    try:
        t.admin(f"CREATE TABLESPACE small_{t.name} LOCATION '{directory}'", f"CREATE DATABASE {database}")
        admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", "CREATE TABLE item (id integer PRIMARY KEY)", "INSERT INTO item VALUES (1)",
              "CREATE TABLE few (id integer PRIMARY KEY)", "INSERT INTO few VALUES (1)",
              "SELECT courier.create_model('item', relation => 'item')", "SELECT courier.create_model('few', relation => 'few')",
              f"SELECT courier.create_destination('d', 'http', '{{\"base_url\": \"{t.receiver.url}/plain/{t.name}\"}}')", create("large", "item"), create("small", "few"),
              "CALL courier.run_sync('large', timeout => '20 s')", "INSERT INTO item SELECT generate_series(2, 120000)", f"ALTER TABLE courier_data.snapshot_1 SET TABLESPACE small_{t.name}", f"ALTER INDEX courier_data.snapshot_1_pkey SET TABLESPACE small_{t.name}")
        try:
            admin("CALL courier.run_sync('large', timeout => '60 s')")
            raise AssertionError("5 MB were enough")
        except Exception as error:
            assert "No space left on device" in str(error), error
        run = admin("SELECT concat_ws('|', status, error_code, succeeded_added > 0, succeeded_added < 119999) FROM courier.run_details WHERE sync = 'large' ORDER BY run_id DESC LIMIT 1")
        equal(run, "failed|53100|t|t", "what was settled before the disk was full stays so")
        health = admin("SELECT health || ' ' || problem FROM courier.health WHERE sync = 'large'")
        assert health.startswith("critical") and "No space left" in health, health
        equal(admin("CALL courier.run_sync('small', timeout => '20 s')").split("|")[1], "success", "another sync of the same database")
        equal(admin("SELECT count(*) FROM pg_class WHERE relname LIKE 'run\\_%' AND relname NOT LIKE '%doubt%' AND relkind = 'r' AND relnamespace = 'courier_data'::regnamespace"), "0", "scratch")
        subprocess.run(["mount", "-o", "remount,size=200m", directory], check=True)
        equal(admin("CALL courier.run_sync('large', timeout => '60 s')").split("|")[1], "success")
        equal(admin("SELECT snapshot_records FROM courier.sync_details WHERE name = 'large'"), "120000")
        sent = {r["id"] for request in t.receiver.requests(f"/plain/{t.name}/large") if len(request.raw) == int(request.header("Content-Length")) for r in request.json}
        equal(len(sent), 120000)
    finally:
        t.admin(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"DROP TABLESPACE IF EXISTS small_{t.name}")
        subprocess.run(["umount", directory], check=True)
        os.rmdir(directory)


@test("resources: run workers and the parallel workers of their queries give way to other processes, as pg_courier.worker_nice says; other parallel workers do not", settings=ONCE)
def nice(t):
    database = f"nice_{t.name}"
    admin = lambda *commands: t.admin(*commands, database=database)  # noqa: E731
    t.admin(f"CREATE DATABASE {database}")
    parallel = [f"ALTER DATABASE {database} SET {setting}" for setting in ("parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0")]
    # Each process that reads the table meets a row at which it waits.
    admin(*parallel, "SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", "CREATE TABLE item (id integer, x text) WITH (parallel_workers = 2)", "INSERT INTO item SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n",
          "CREATE VIEW slow AS SELECT id, CASE WHEN id % 50 = 0 THEN pg_sleep(0.2)::text END AS s FROM item", "SELECT courier.create_model('slow', relation => 'slow', primary_key => '{id}')",
          f"SELECT courier.create_destination('d', 'http', '{{\"base_url\": \"{t.receiver.url}/plain/{t.name}\"}}')", "SELECT courier.create_sync('slow', 'slow', 'd', mode => 'upsert')")

    def priorities():
        """Of the processes that are about `database`, by kind."""
        found = {}
        for line in t.admin(f"SELECT pid, backend_type FROM pg_stat_activity WHERE datname = '{database}' AND backend_type IN ('pg_courier run worker', 'parallel worker')").splitlines():
            pid, kind = line.split("|")
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    found.setdefault(kind, set()).add(int(stat.read().rsplit(")", 1)[1].split()[16]))
            except OSError:
                pass
        return found

    def look(wanted):
        until(f"processes with the priorities {wanted}", lambda: priorities() == wanted)
        run_id = admin("SELECT courier.cancel_run(max(run_id)) FROM courier.runs", "SELECT max(run_id) FROM courier.runs").splitlines()[-1]
        equal(admin(f"SELECT courier.wait_for_run({run_id}, '30 s')"), "cancelled")

    own = os.getpriority(os.PRIO_PROCESS, int(open(os.path.join(t.world.cluster.directory, "data", "postmaster.pid")).readline()))
    for setting, wanted in (("RESET pg_courier.worker_nice", 5), ("SET pg_courier.worker_nice = 12", 12), ("SET pg_courier.worker_nice = 0", own)):
        admin(f"ALTER DATABASE {database} {setting}", "SELECT courier.trigger_sync('slow')")
        look({"pg_courier run worker": {wanted}, "parallel worker": {wanted}})
    session = threading.Thread(target=lambda: admin("SELECT courier.version()", "SELECT count(s) FROM slow WHERE id <= 2000"))
    session.start()
    until("parallel workers of a session", lambda: priorities().get("parallel worker") == {own})
    session.join()
    t.admin(f"DROP DATABASE {database} WITH (FORCE)")
