"""A change that may have arrived and was never acknowledged, and a row that then goes back to what was: the destination must follow."""

import threading

from harness import equal, test, until
from receiver import Answer


class Standing:
    """An answer that stands until it is let go, and then is no answer."""

    def __init__(self):
        self.came, self.go = threading.Event(), threading.Event()

    def __call__(self, request):
        self.came.set()
        self.go.wait(60)
        return Answer(reset=True)


def interrupted_after(t, change, back):
    """`change` is done by the destination and its answer is lost; before it is sent again the row goes back and the worker ends."""
    standing = Standing()
    t.script(Answer(200, drop=True), standing, Answer(200))
    t.sql(change)
    run = t.trigger()
    until("the second request", standing.came.is_set)
    t.sql(back)
    t.admin(f"SELECT pg_terminate_backend(worker_pid) FROM courier_internal.run WHERE run_id = {run}")
    until("the worker to end", lambda: t.admin(f"SELECT count(*) FROM pg_stat_activity a JOIN courier_internal.run r ON r.worker_pid = a.pid WHERE run_id = {run}") == "0")
    standing.go.set()
    until("a run that succeeds", lambda: t.wait(t.trigger()) == "success")
    equal(t.rows(f"SELECT status FROM courier.run_details WHERE run_id = {run}")[0]["status"], "interrupted")


@test("a change that was under way when its run was interrupted is taken back at the destination too")
def change(t):
    t.table([(1, "old"), (2, "other")])
    t.sync(mode="mirror")
    t.run()
    interrupted_after(t, f"UPDATE {t.name} SET name = 'new' WHERE id = 1", f"UPDATE {t.name} SET name = 'old' WHERE id = 1")
    equal(t.stored(), {"1": {"id": 1, "name": "old"}, "2": {"id": 2, "name": "other"}})
    equal([r.path[-1] for r in t.seen() if r.method == "PUT"].count("2"), 1, "requests for the row that was never touched")
    t.run(requests=0)


@test("a removal that was under way when its run was interrupted, and whose row is back: the record is there again")
def removal(t):
    t.table([(1, "old"), (2, "other")])
    t.sync(mode="mirror", options={"max_removed": "100%"})
    t.run()
    interrupted_after(t, f"DELETE FROM {t.name} WHERE id = 1", f"INSERT INTO {t.name} VALUES (1, 'old')")
    equal(t.stored(), {"1": {"id": 1, "name": "old"}, "2": {"id": 2, "name": "other"}})
    t.run(requests=0)


@test("a change whose answers were all lost, and that is taken back: the destination gets the old value again")
def answers_lost(t):
    t.table([(1, "old"), (2, "other")])
    t.sync(options={"max_attempts": 1, "concurrency": 1})
    t.run()
    # The first request is answered: a run in which nothing gets through is failed, and rejects nothing.
    t.script(Answer(200), Answer(200, drop=True))
    t.sql(f"UPDATE {t.name} SET name = 'new'")
    t.run("warning", succeeded_changed=1, rejected_changed=1)
    t.script(Answer(200))
    t.sql(f"UPDATE {t.name} SET name = CASE id WHEN 1 THEN 'old' ELSE 'other' END")
    t.run(succeeded_changed=2)
    equal(t.stored(), {"1": {"id": 1, "name": "old"}, "2": {"id": 2, "name": "other"}})
    t.run(requests=0)
