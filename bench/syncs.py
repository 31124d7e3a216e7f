"""Models, destinations and syncs of the benchmark, and what their runs took."""

import json

BATCHES = {"upsert": {"method": "POST", "path": "/up", "body": {"rows": "{{ records }}"}, "idempotent": True},
           "delete": {"method": "POST", "path": "/down", "body": {"rows": "{{ records }}"}, "idempotent": True}}
SINGLE = {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}}


def literal(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text.replace("'", "''") + "'"


def make_sync(sql, name, relation, url, requests=BATCHES, key=("id",), mode="mirror", **options):
    """A sync of a table or view; log options are the defaults."""
    sql(f"SELECT courier.create_model({literal(name)}, relation => {literal(relation)}, primary_key => {literal('{' + ','.join(key) + '}')})")
    sql(f"SELECT courier.create_destination({literal(name)}, 'http', {literal({'base_url': url})})")
    sql(f"SELECT courier.create_sync({literal(name)}, {literal(name)}, {literal(name)}, mode => {literal(mode)}, config => {literal({'requests': requests})}, "
        f"options => {literal(options)})")


class Run:
    """One run that has ended; CPU is that of the worker and its parallel workers."""

    def __init__(self, session, run_id):
        self.run_id = run_id
        (self.status, self.error, started, sending, finished, self.planned, self.succeeded, self.requests), = session(
            "SELECT status, error, extract(epoch FROM started_at)::float8, extract(epoch FROM sending_at)::float8, extract(epoch FROM finished_at)::float8,"
            " planned_added + planned_changed + planned_removed, succeeded_added + succeeded_changed + succeeded_removed, requests"
            " FROM courier_internal.run WHERE run_id = %s", run_id)
        cpu = session.cluster.cpu
        self.wall = finished - started
        self.cpu = cpu.seconds(started, finished)
        if sending is None:
            sending = finished
        self.compare_cpu, self.compare_wall = cpu.seconds(started, sending), sending - started
        self.compare_memory, self.send_memory = cpu.most_memory(started, sending), cpu.most_memory(sending, finished)
        self.send_cpu, self.send_wall = self.cpu - self.compare_cpu, finished - sending


def run(session, name, resync="none", expected="success"):
    run_id = session("SELECT courier.trigger_sync(%s, resync => %s)", name, resync)
    session("SELECT courier.wait_for_run(%s, '3 hours')", run_id)
    done = Run(session, run_id)
    if done.status != expected:
        raise RuntimeError(f"the run of {name} ended {done.status}: {done.error}")
    return done
