"""A dump that is restored into another database does not send before somebody says so, and then goes on from where the dump was."""

import os

from harness import REST, SqlError, equal, literal, test, until


@test("pg_dump and restore: comes up paused; after resume_all only what changed since the dump is sent", settings=("superuser",))
def dump_and_restore(t):
    source, copy = "dumped_" + t.name, "restored_" + t.name
    cluster, admin = t.world.cluster, lambda *c, database: t.admin(*c, database=database)
    t.admin(f"CREATE DATABASE {source}", f"CREATE DATABASE {copy}", database="postgres")
    admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", database=source)
    admin("CREATE TABLE x (id integer PRIMARY KEY, name text, email text)", "INSERT INTO x SELECT g, 'row ' || g, 'm' || g || '@x' FROM generate_series(1, 20) g",
          "SELECT courier.create_model('plain', relation => 'x')", "SELECT courier.create_model('queried', query => 'SELECT id, name, email FROM x', primary_key => '{id}')",
          f"SELECT courier.create_destination('d', 'http', {literal({'base_url': t.receiver.url + t.path})})",
          f"SELECT courier.create_sync('mirrored', 'plain', 'd', mode => 'mirror', config => {literal({'requests': REST})})",
          f"SELECT courier.create_sync('matched', 'queried', 'd', mode => 'mirror', schedule => 'every 1 second', mapping => {literal({'mail': 'email', 'name': 'name'})}, match_on => '{{mail}}',"
          f" config => {literal({'requests': {'upsert': {'method': 'PUT', 'path': '/by-mail/{{ mail }}'}, 'delete': {'method': 'DELETE', 'path': '/by-mail/{{ mail }}'}}})})", database=source)
    admin("SELECT courier.create_alert('failures', 'run_failed', sync => 'mirrored')", "SELECT courier.create_alert('silence', 'no_success', critical => '1 day', destination => 'd')", database=source)
    admin("CALL courier.run_sync('mirrored', timeout => '60 s')", database=source)
    admin("CALL courier.run_sync('matched', timeout => '60 s')", "SELECT courier.pause_sync('matched')", database=source)
    dump = os.path.join(cluster.directory, t.name + ".dump")
    cluster.pg("pg_dump", "-h", cluster.directory, "-p", str(cluster.port), "-U", "postgres", "-d", source, "-Fc", "-f", dump)
    # Unpaused after the dump: the copy must not be held by that alone.
    admin("UPDATE x SET name = 'lost with the original' WHERE id = 1", "CALL courier.run_sync('mirrored', timeout => '60 s')", database=source)
    cluster.pg("pg_restore", "-h", cluster.directory, "-p", str(cluster.port), "-U", "postgres", "-d", copy, "--exit-on-error", dump, env={"PGOPTIONS": "-c courier.keep_role_members=on"})
    t.seen()
    alerts = [admin("SELECT courier.export_config()->'alerts'", database=d) for d in (source, copy)]
    assert "failures" in alerts[0] and "silence" in alerts[0], alerts[0]
    equal(alerts[1], alerts[0], "alerts of the copy")

    admin("UPDATE x SET name = 'changed' WHERE id = 2", "DELETE FROM x WHERE id = 3", "INSERT INTO x VALUES (21, 'row 21', 'm21@x')", database=copy)
    try:
        admin("SELECT courier.trigger_sync('mirrored')", database=copy)
        raise AssertionError("a restored sync was triggered")
    except SqlError as error:
        equal(error.sqlstate, "55000")
    equal(admin("SELECT DISTINCT health FROM courier.syncs", database=copy), "restored copy")
    equal(t.seen(), [])
    admin("SELECT courier.resume_all()", database=copy)
    admin("CALL courier.run_sync('mirrored', timeout => '60 s')", database=copy)
    mine = lambda: sorted((r.method, r.path.removeprefix(t.path)) for r in t.seen())
    until("the run of the schedule", lambda: admin("SELECT count(*) FROM courier.run_details WHERE sync = 'matched' AND status = 'success'", database=copy) != "0")
    admin("SELECT courier.pause_sync('matched')", database=copy)
    equal(mine(), [("DELETE", "/3"), ("DELETE", "/by-mail/m3%40x"), ("PUT", "/2"), ("PUT", "/21"), ("PUT", "/by-mail/m2%40x"), ("PUT", "/by-mail/m21%40x")])
    admin("CALL courier.run_sync('mirrored', timeout => '60 s')", database=copy)
    equal(mine(), [])
    for database in (source, copy):
        t.admin(f"DROP DATABASE {database} WITH (FORCE)", database="postgres")
