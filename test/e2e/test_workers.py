"""option workers: one run, several processes. Each asks for a token of its own, so the receiver can tell which of them sent a request."""

import collections
import itertools
import threading
import time

from harness import equal, test, until
from receiver import Answer
from test_sending import BATCH, ids

WORKERS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run helper'"


class Crowd:
    """A sync of batches of 20. Until `workers` processes have asked for a token, answers take their time."""

    def __init__(self, t, rows, workers, answer=lambda request, number: Answer(200), pause=0.2, **options):
        self.t, self.answer = t, answer
        self.workers, self.pause = workers, pause
        self.lock, self.now, self.most = threading.Lock(), 0, 0
        self.numbers = itertools.count(1)
        t.path, self.tokens = f"/plain/{t.name}", f"/token/{t.name}"
        self.token_numbers = itertools.count(1)
        t.receiver.script(self.tokens, lambda r: Answer(200, {"access_token": f"T{next(self.token_numbers)}", "expires_in": 3600}))
        t.script(self.take)
        t.table()
        self.add(1, rows)
        t.sync(requests=BATCH, mode="mirror", options={"workers": workers, "batch_size": 20, "concurrency": 4, **options},
               destination_config={"auth": {"type": "oauth2_client_credentials", "token_url": t.receiver.url + self.tokens, "client_id": "me"}}, secrets={"client_secret": "s"})

    def add(self, first, last):
        self.t.sql(f"INSERT INTO {self.t.name} SELECT n, repeat('x', 100) FROM generate_series({first}, {last}) n")

    def take(self, request):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        if self.processes() < self.workers:
            time.sleep(self.pause)
        answer = self.answer(request, next(self.numbers))
        time.sleep(answer.delay)
        answer.delay = 0
        with self.lock:
            self.now -= 1
        return answer

    def begin(self):
        """What is said of processes and answers is said of the run that follows."""
        self.looked = len(self.t.receiver.requests(self.tokens))
        self.numbers = itertools.count(1)
        self.t.seen()
        return self

    looked = 0

    def processes(self):
        return len(self.t.receiver.requests(self.tokens)) - self.looked

    def shares(self, requests):
        """How many requests each process sent."""
        return collections.Counter(r.header("Authorization") for r in requests)

    def helpers(self):
        return int(self.t.admin(WORKERS + f" AND query LIKE '%helps sending {self.t.name}'"))

    def snapshot(self):
        number = self.t.admin(f"SELECT sync_id FROM courier_internal.sync WHERE name = '{self.t.name}'")
        return (self.t.admin(f"SELECT count(*) || ' ' || sum(k) FROM courier_data.snapshot_{number}"),
                self.t.admin(f"SELECT snapshot_records FROM courier_internal.sync_state WHERE sync_id = {number}"))

    def equals_model(self):
        t = self.t
        count = t.sql(f"SELECT count(*) FROM {t.name}")
        equal(self.snapshot(), (t.sql(f"SELECT count(*) || ' ' || sum(id) FROM {t.name}"), count), "the snapshot and its count")
        t.run(requests=0)


def sent(requests, path):
    return sorted(i for r in requests if r.path.endswith(path) for i in ids(r))


@test("workers: 2 and 4 processes send a run together; every record once, removals when all additions are settled, and the snapshot is the model")
def together(t):
    crowd = Crowd(t, 4000, 2)
    t.run(succeeded_added=4000, requests=202)
    seen = t.seen()
    equal(sent(seen, "/up"), list(range(1, 4001)))
    shares = crowd.shares(seen)
    assert len(shares) == 2 and min(shares.values()) >= 20, shares
    crowd.equals_model()

    t.sql(f"SELECT courier.alter_sync('{t.name}', options => '{{\"workers\": 4}}')")
    crowd.workers = 4
    t.sql(f"DELETE FROM {t.name} WHERE id <= 1500", f"UPDATE {t.name} SET name = 'y' WHERE id > 2000")
    crowd.add(4001, 6000)
    # One addition takes long: all removals of all processes wait for it.
    late = lambda request, number: Answer(200, delay=1.5 if request.path.endswith("/up") and number == 150 else 0)
    crowd.answer = late
    crowd.begin()
    t.run(succeeded_added=2000, succeeded_changed=2000, succeeded_removed=1500)
    seen = t.seen()
    equal(sent(seen, "/up"), list(range(2001, 6001)))
    equal(sent(seen, "/down"), list(range(1, 1501)))
    shares = crowd.shares(seen)
    assert len(shares) == 4, shares
    up, down = [r for r in seen if r.path.endswith("/up")], [r for r in seen if r.path.endswith("/down")]
    assert max(r.number for r in up) < min(r.number for r in down)
    assert down[0].time - up[0].time >= 1.5, "removals wait for the answers, not for the requests"
    assert len(crowd.shares(down)) >= 2, "removals are sent together too"
    crowd.equals_model()
    until("no helper is left", lambda: crowd.helpers() == 0)


@test("workers: what they have under way together is the sync's concurrency", settings=("superuser",))
def concurrency(t):
    crowd = Crowd(t, 4000, 3, lambda request, number: Answer(200, delay=0.02), concurrency=5)
    t.run(succeeded_added=4000)
    equal((len(crowd.shares(t.seen())), crowd.most), (3, 5))


@test("workers: rejected records here and there are rejected, once, and the others go through", settings=("superuser",))
def rejected(t):
    bad = set(range(7, 4000, 400))
    crowd = Crowd(t, 4000, 2, lambda request, number: Answer(422, {"error": "no"}) if bad & set(ids(request)) else Answer(200))
    t.run("warning", succeeded_added=4000 - len(bad), rejected_added=len(bad))
    accepted = [i for r in t.seen() if not bad & set(ids(r)) for i in ids(r)]
    equal(sorted(accepted), sorted(set(range(1, 4001)) - bad), "accepted once")
    equal({r["primary_key"]["id"] for r in t.rejected()}, bad)
    equal(t.admin(f"SELECT count(*), count(DISTINCT key) FROM courier.changelog WHERE sync = '{t.name}'"), "4000|4000")
    crowd.answer = lambda request, number: Answer(200)
    t.call(f"SELECT courier.retry_rejected('{t.name}')")
    t.run(succeeded_added=len(bad))
    crowd.equals_model()


@test("workers: max_rejected as a count is one count for all", settings=("superuser",))
def count_for_all(t):
    Crowd(t, 8000, 2, lambda request, number: Answer(422, {"error": "no"}) if number > 60 else Answer(200), batch_size=1, max_rejected=30)
    run = t.run("failed", error_code="too_many_rejected")
    assert 31 <= run["rejected_added"] <= 45, run


@test("workers: rate_limit is shared", settings=("superuser",))
def rate(t):
    crowd = Crowd(t, 2000, 2, rate_limit="60/s", concurrency=8)
    t.run(succeeded_added=2000)
    seen = t.seen()
    equal(len(crowd.shares(seen)), 2)
    took = max(r.time for r in seen) - min(r.time for r in seen)
    # 102 requests at 60/s, less the quarter of a second that each of two may have reserved.
    assert took >= 1.2, took


@test("workers: credentials that are refused end the run for all, whoever hears of it; the next run sends the rest")
def refused(t):
    crowd = Crowd(t, 4000, 2, lambda request, number: Answer(401) if request.header("Authorization") != "Bearer T1" and number > 60 else Answer(200, delay=0.05))
    crowd.begin()
    run = t.run("failed", error_code="credentials")
    # 60 requests of 20, and what the other one had under way, or sent before it heard of it.
    assert 1000 <= run["succeeded_added"] <= 2000 and run["aborted"] >= 2000 and run["rejected_added"] == 0, run
    equal(t.rejected(), [])
    accepted = crowd.t.seen()
    until("no helper is left", lambda: crowd.helpers() == 0)
    good = {i for r in accepted if r.header("Authorization") == "Bearer T1" for i in ids(r)}
    crowd.answer = lambda request, number: Answer(200)
    crowd.begin()
    t.run(succeeded_added=4000 - run["succeeded_added"])
    assert not good & set(sent(t.seen(), "/up")), "what was accepted is not sent again"
    crowd.equals_model()


@test("workers: cancel ends all of them, and the next run goes on from there")
def cancelled(t):
    crowd = Crowd(t, 6000, 2, lambda request, number: Answer(200, delay=0.04))
    number = t.trigger()
    until("two processes", lambda: crowd.processes() == 2)
    equal(crowd.helpers(), 1)
    t.call(f"SELECT courier.cancel_run({number})")
    equal(t.wait(number), "cancelled")
    equal(crowd.helpers(), 0, "helpers, when the run has ended")
    run = t.last_run()
    equal(run["succeeded_added"] + run["aborted"], 6000)
    first = sent(t.seen(), "/up")
    equal(len(first), run["succeeded_added"], "every answer was settled")
    crowd.answer = lambda request, number: Answer(200)
    crowd.begin()
    t.run(succeeded_added=6000 - len(first))
    equal(sorted(first + sent(t.seen(), "/up")), list(range(1, 6001)))
    crowd.equals_model()


@test("workers: a run is dropped with its sync while two processes send it", settings=("superuser",))
def dropped(t):
    crowd = Crowd(t, 6000, 2, lambda request, number: Answer(200, delay=0.04))
    t.trigger()
    until("two processes", lambda: crowd.processes() == 2)
    t.sql(f"SELECT courier.drop_sync('{t.name}')")
    t.syncs.clear()
    until("no helper is left", lambda: crowd.helpers() == 0)


@test("workers: an error of one is the error of the run, and all of them end", settings=("superuser",))
def error(t):
    crowd = Crowd(t, 4000, 2, lambda request, number: Answer(200, delay=0.02))
    number = t.trigger()
    until("two processes", lambda: crowd.processes() == 2)
    snapshot = "courier_data.snapshot_" + t.admin(f"SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}'")
    t.admin(f"ALTER TABLE {snapshot} ADD CHECK (k <> 3990)")
    equal(t.wait(number), "failed")
    run = t.last_run()
    assert run["error_code"] == "23514" and "violates check constraint" in run["error"], run
    equal(crowd.helpers(), 0, "helpers, when the run has ended")
    t.admin(f"ALTER TABLE {snapshot} DROP CONSTRAINT snapshot_{snapshot.split('_')[-1]}_k_check")
    t.run(succeeded_added=4000 - run["succeeded_added"])
    crowd.equals_model()


@test("workers: a small run, and one that must keep an order, have one", settings=("superuser",))
def alone(t):
    crowd = Crowd(t, 1900, 4, pause=0.02)
    t.run(succeeded_added=1900)
    equal(len(crowd.shares(t.seen())), 1, "a thousand records each, or none")
    # Match values that change are told as an addition and a removal, of which each must know of the other.
    t.sql(f"SELECT courier.drop_sync('{t.name}')")
    t.sync(model=t.name, destination=t.name, requests=BATCH, mode="mirror", match_on="{name}", mapping={"id": "id", "name": "'n' || id || name"},
           options={"workers": 4, "batch_size": 20, "concurrency": 4})
    crowd.add(1901, 4000)
    crowd.begin()
    t.run(succeeded_added=4000)
    equal(len(crowd.shares(t.seen())), 1, "one process")
