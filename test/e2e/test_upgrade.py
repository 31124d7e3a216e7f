"""ALTER EXTENSION UPDATE from the frozen script of the first release, with live syncs; and that it makes what a fresh installation makes."""

import os
import re
import shutil
import subprocess

from harness import PG_BIN, SqlError, equal, test, until
from receiver import Answer

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../upgrade")
ONCE = ("superuser",)
PUT = """config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}}'"""


def extension_folder():
    share = subprocess.run([os.path.join(PG_BIN, "pg_config"), "--sharedir"], capture_output=True, text=True, check=True).stdout.strip()
    return os.environ.get("PG_COURIER_DESTDIR", "") + share + "/extension"


def default_version():
    """From the file: pg_available_extensions lists the system's folder alone, where a staged copy is not."""
    with open(os.path.join(extension_folder(), "pg_courier.control")) as f:
        return re.search(r"^default_version = '(.*)'", f.read(), re.M)[1]


def lay_out_old_versions():
    folder = extension_folder()
    for name in os.listdir(HERE):
        if name.startswith("pg_courier--"):
            shutil.copy(os.path.join(HERE, name), folder)
            os.chmod(os.path.join(folder, name), 0o644)


def catalog(t, database):
    with open(os.path.join(HERE, "catalog.sql")) as f:
        return set(t.admin(f.read(), database=database).split("\n"))


@test("upgrade: a database of the first release goes on, with its syncs, and sends nothing again", settings=ONCE)
def upgrade(t):
    lay_out_old_versions()
    old = f"old_{t.name}"
    t.admin(f"CREATE DATABASE {old}")
    admin = lambda *commands: t.admin(*commands, database=old)  # noqa: E731
    one = lambda query: admin(query)  # noqa: E731
    admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier VERSION '0.1.0'", "CREATE TABLE item (id integer PRIMARY KEY, name text)", "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 20) n",
          "SELECT courier.create_model('item', relation => 'item')", f"SELECT courier.create_destination('d', 'http', '{{\"base_url\": \"{t.receiver.url}{t.path}\"}}')",
          f"SELECT courier.create_sync('items', 'item', 'd', mode => 'mirror', {PUT})",
          # What a user may have built on it.
          "CREATE VIEW report AS SELECT s.name, s.health, r.status FROM courier.syncs s LEFT JOIN courier.runs r ON r.sync = s.name",
          "CREATE VIEW report_of_progress AS SELECT * FROM courier.progress")
    # New files, old tables: nothing runs, and it says why.
    run = one("SELECT courier.trigger_sync('items')")
    until("the run to say what it waits for", lambda: one("SELECT waiting_for FROM courier.sync_details WHERE name = 'items'") == "ALTER EXTENSION pg_courier UPDATE")
    equal(t.seen(), [])
    admin("ALTER EXTENSION pg_courier UPDATE")
    equal(one("SELECT courier.version()"), default_version())
    equal(one(f"SELECT courier.wait_for_run({run}, '30 s')"), "success", "the run that waited")
    equal(len(t.stored()), 20)
    t.seen()
    admin("UPDATE item SET name = 'new' WHERE id = 1", "DELETE FROM item WHERE id = 2")
    equal(one("CALL courier.run_sync('items', timeout => '30 s')").split("|")[1], "success")
    equal(sorted((r.method, r.path.split("/")[-1]) for r in t.seen()), [("DELETE", "2"), ("PUT", "1")])
    equal(one("SELECT name || ' ' || health FROM report GROUP BY 1"), "items ok")

    fresh = f"fresh_{t.name}"
    t.admin(f"CREATE DATABASE {fresh}")
    t.admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", database=fresh)
    expected, found = catalog(t, fresh), catalog(t, old)
    if expected != found:
        show = lambda lines: "\n".join("  " + line[:300] for line in sorted(lines)[:12])  # noqa: E731
        raise AssertionError("The schema has changed since the frozen script, and ALTER EXTENSION UPDATE does not lead to it: write the step (doc/operations.md, \"Making a release\").\n"
                             f"only in a fresh installation:\n{show(expected - found)}\nonly in the upgraded one:\n{show(found - expected)}")

    # ALTER EXTENSION UPDATE while a request is under way that takes long.
    t.script(Answer(200, delay=3), Answer(200))
    admin("UPDATE item SET name = 'slow' WHERE id = 5")
    run = one("SELECT courier.trigger_sync('items')")
    until("a request", lambda: t.seen())
    admin("SET statement_timeout = '5 s'", "ALTER EXTENSION pg_courier UPDATE TO 'next'")
    equal(one(f"SELECT courier.wait_for_run({run}, '20 s')"), "success", "the run that was under way")
    equal(t.stored()["5"]["name"], "slow")
    t.admin(f"DROP DATABASE {old}", f"DROP DATABASE {fresh}")


@test("upgrade: the snapshots of the first release, restored from a frozen dump: nothing is sent again, only what changes", settings=ONCE)
def snapshots(t):
    lay_out_old_versions()
    cluster, old = t.world.cluster, f"dump_{t.name}"
    t.admin(f"CREATE DATABASE {old}", "CREATE ROLE first_release_owner")
    admin = lambda *commands: t.admin(*commands, database=old)  # noqa: E731
    dump = os.path.join(cluster.directory, "dump-0.1.0.sql")
    shutil.copy(os.path.join(HERE, "dump-0.1.0.sql"), dump)
    os.chmod(dump, 0o644)
    cluster.pg("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", cluster.directory, "-p", str(cluster.port), "-U", "postgres", "-d", old, "-f", dump, env={"PGOPTIONS": "-c courier.keep_role_members=on"})
    equal(admin("SELECT courier.version()"), "0.1.0")
    admin(f"SELECT courier.alter_destination('d', config => '{{\"base_url\": \"{t.receiver.url}{t.path}\"}}')", "ALTER EXTENSION pg_courier UPDATE")
    equal(admin("SELECT DISTINCT health FROM courier.syncs"), "restored copy")
    admin("SELECT courier.resume_all()")
    run = lambda sync: equal(admin(f"CALL courier.run_sync('{sync}', timeout => '30 s')").split("|")[1], "success")  # noqa: E731
    run("items")
    run("pairs")
    equal(t.seen(), [], "30 records of 13 types and 10 with a composite key, unchanged since the first release")
    equal(admin("SELECT string_agg(snapshot_records::text, ' ' ORDER BY name) FROM courier.sync_details"), "30 10")
    admin("UPDATE shop.item SET price = price + 0.01 WHERE id = 7", "UPDATE shop.pair SET name = 'x' WHERE b = 4", "DELETE FROM shop.pair WHERE b = 5")
    run("items")
    run("pairs")
    equal(sorted((r.method, r.path.split("/")[-1]) for r in t.seen()), [("DELETE", "k55"), ("PUT", "7"), ("PUT", "k44")])
    equal(t.stored()["7"].keys(), {"id", "price"}, "changed_fields_only knows what the first release had sent")
    t.admin(f"DROP DATABASE {old} WITH (FORCE)", "DROP ROLE first_release_owner")


@test("upgrade: there is no way back, and no way from a version that never was", settings=ONCE)
def no_way(t):
    for statement in ("ALTER EXTENSION pg_courier UPDATE TO '0.1.0'", "ALTER EXTENSION pg_courier UPDATE TO '9.9'"):
        try:
            t.admin(statement)
            raise AssertionError("went through: " + statement)
        except SqlError as error:
            equal(error.sqlstate, "22023")
