"""Sync logs under the names and columns that dashboards know."""

from harness import SqlError, equal, test
from receiver import Answer

RUNS = (["sync_id", "sync_run_id", "primary_key", "destination", "model_name", "error", "status", "started_at", "finished_at"]
        + [f"num_{what}_{change}" for what in ("planned", "attempted", "succeeded", "failed") for change in ("add", "change", "remove")])
ROWS = ["sync_id", "sync_run_id", "row_id", "op_type", "status", "failure_reason", "fields"]


@test("create_log_views: sync_runs, sync_changelog and sync_snapshot in a schema of the user's choice")
def log_views(t):
    t.table([(n, "one") for n in (1, 2, 3)])
    t.receiver.script(t.path + "/2", Answer(422, {"title": "no two", "detail": "never"}))
    t.sync(mode="mirror", options={"log_records": "payload"})
    first = t.run("warning", succeeded_added=2, rejected_added=1)["run_id"]
    t.sql(f"UPDATE {t.name} SET name = 'uno' WHERE id = 1", f"DELETE FROM {t.name} WHERE id = 3")
    second = t.run("warning", succeeded_changed=1, succeeded_removed=1)["run_id"]

    logs = t.name + "_logs"
    t.admin(f"CREATE SCHEMA {logs} AUTHORIZATION {t.world.owner}")
    t.sql(f"SELECT courier.create_log_views('{logs}')")
    t.sql(f"SELECT courier.create_log_views('{logs}')")
    columns = lambda view: t.call(f"SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{logs}.{view}'::regclass AND attnum > 0").split()
    equal(columns("sync_runs")[:len(RUNS)], RUNS)
    equal((columns("sync_changelog")[:len(ROWS)], columns("sync_snapshot")[:len(ROWS)]), (ROWS, ROWS))

    # As dashboards ask: joined by the two ids.
    equal(t.rows(f"""SELECT r.sync_run_id AS run, r.model_name, r.destination, r.primary_key, r.status, num_planned_add, num_succeeded_add, num_failed_add, num_attempted_add,
                            num_succeeded_change, num_succeeded_remove, (SELECT count(*) FROM {logs}.sync_changelog c WHERE c.sync_id = r.sync_id AND c.sync_run_id = r.sync_run_id) AS rows
                       FROM {logs}.sync_runs r WHERE r.sync_name = '{t.name}' ORDER BY 1"""),
          [{"run": first, "model_name": t.name, "destination": t.name, "primary_key": "id", "status": "warning", "num_planned_add": 3, "num_succeeded_add": 2, "num_failed_add": 1,
            "num_attempted_add": 3, "num_succeeded_change": 0, "num_succeeded_remove": 0, "rows": 3},
           {"run": second, "model_name": t.name, "destination": t.name, "primary_key": "id", "status": "warning", "num_planned_add": 0, "num_succeeded_add": 0, "num_failed_add": 0,
            "num_attempted_add": 0, "num_succeeded_change": 1, "num_succeeded_remove": 1, "rows": 2}])
    found = t.rows(f"SELECT row_id, op_type, status, failure_reason, fields FROM {logs}.sync_changelog WHERE sync_name = '{t.name}' AND row_id = '1' ORDER BY changed_at")
    equal(found, [{"row_id": "1", "op_type": "added", "status": "succeeded", "failure_reason": None, "fields": {"id": 1, "name": "one"}},
                  {"row_id": "1", "op_type": "changed", "status": "succeeded", "failure_reason": None, "fields": {"id": 1, "name": "uno"}}])
    found = t.rows(f"SELECT row_id, op_type, status, failure_reason, fields, sync_run_id FROM {logs}.sync_snapshot WHERE sync_name = '{t.name}' ORDER BY row_id")
    reason = found[1].pop("failure_reason")
    assert "never" in reason, reason
    equal(found, [{"row_id": "1", "op_type": "changed", "status": "succeeded", "failure_reason": None, "fields": {"id": 1, "name": "uno"}, "sync_run_id": second},
                  {"row_id": "2", "op_type": "added", "status": "failed", "fields": {"id": 2, "name": "one"}, "sync_run_id": first}])

    # A sync whose model is gone does not take the others' rows away.
    t.table([(1, "x")], name=t.name + "_gone")
    t.sync(t.name + "_gone", relation=t.name + "_gone")
    t.run(sync=t.name + "_gone")
    t.sql(f"DROP TABLE {t.name}_gone")
    equal(t.call(f"SELECT count(*) FROM {logs}.sync_snapshot WHERE sync_name = '{t.name}'"), "2")

    # Granted to everybody, it shows a stranger nothing.
    stranger = t.name + "_stranger"
    t.admin(f"CREATE ROLE {stranger} LOGIN", f"GRANT USAGE ON SCHEMA {logs} TO PUBLIC", f"GRANT SELECT ON ALL TABLES IN SCHEMA {logs} TO PUBLIC")
    for view in ("sync_runs", "sync_changelog", "sync_snapshot"):
        equal(t.admin(f"SELECT count(*) FROM {logs}.{view}", user=stranger), "0", view)


@test("create_log_views: does not take over what is there, and has no more rights than its caller")
def refused(t):
    there = t.name + "_there"
    t.admin(f"CREATE SCHEMA {there} AUTHORIZATION {t.world.owner}")
    t.sql(f"CREATE VIEW {there}.sync_changelog AS SELECT 1 AS one")
    t.admin(f"CREATE ROLE {t.name}_stranger LOGIN")
    for user, schema, sqlstate in ((None, there, "42P07"), (None, "courier", "22023"), (f"{t.name}_stranger", there + "_new", "42501"), (f"{t.name}_stranger", "shop", "42501")):
        try:
            t.admin(f"SELECT courier.create_log_views('{schema}')", user=user) if user else t.sql(f"SELECT courier.create_log_views('{schema}')")
            raise AssertionError(f"made in {schema}")
        except SqlError as error:
            equal(error.sqlstate, sqlstate, schema)
    equal(t.call(f"SELECT count(*) FROM pg_class WHERE relnamespace = '{there}'::regnamespace"), "1", "all or nothing")


@test("the index of the log leads to every row of a key: where its range was summarized before it came, while it was half full, or not yet")
def log_index(t):
    rows = 3000  # some 35 pages of the log
    t.path = f"/plain/{t.name}"
    t.receiver.script(f"{t.path}/up", Answer(200))
    t.table([(n, "x") for n in range(1, rows + 1)])
    t.sync(requests={"upsert": {"method": "POST", "path": "/up", "body": {"rows": "{{ records }}"}, "idempotent": True}}, options={"batch_size": 100})
    for run in range(1, 4):
        t.run(resync="full", planned_changed=rows if run > 1 else 0)
        found = t.admin(f"""SET enable_seqscan = off; EXPLAIN (COSTS off) SELECT FROM courier_internal.change_log WHERE run_id > 0 AND key = '7';
            SELECT string_agg(DISTINCT (SELECT count(*) FROM courier_internal.change_log c JOIN courier_internal.sync s USING (sync_id)
                                         WHERE c.run_id > 0 AND c.key = n::text AND s.name = '{t.name}')::text, ' ') FROM generate_series(1, {rows}, 41) n""")
        assert "Bitmap Index Scan" in found and "Seq Scan" not in found, found
        equal(found.splitlines()[-1], str(run))
        t.admin("SELECT brin_summarize_new_values(i.oid::regclass) FROM pg_class i WHERE i.relam = (SELECT oid FROM pg_am WHERE amname = 'brin') AND i.relkind = 'i'"
                " AND i.relnamespace = 'courier_internal'::regnamespace")
