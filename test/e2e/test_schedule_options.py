"""Options window and jitter: when the runs of a schedule start."""

import datetime

from harness import SqlError, equal, test, until

PRELOADED = ("superuser", "owner")


def window(hours_from, hours_to):
    now = datetime.datetime.now(datetime.timezone.utc)
    return "-".join((now + datetime.timedelta(hours=h)).strftime("%H:%M") for h in (hours_from, hours_to))


def due(t, sync=None):
    return datetime.datetime.fromisoformat(t.rows(f"SELECT next_run_at FROM courier.syncs WHERE name = '{sync or t.name}'")[0]["next_run_at"])


@test("a schedule waits for its window, and goes on when it is open", settings=PRELOADED)
def windows(t):
    t.table([(1, "one")])
    t.sync(schedule="every 1 second", options={"window": window(2, 3)})
    wait = due(t) - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(minutes=118) < wait <= datetime.timedelta(hours=2), f"the first run is due in {wait}"
    # Due all the same (the server slept, the clock was set): it is looked at, and put off.
    t.admin(f"UPDATE courier_internal.sync_state SET next_run_at = now() WHERE sync_id = (SELECT sync_id FROM courier_internal.sync WHERE name = '{t.name}')",
            "SELECT courier_internal.announce()")
    until("the next time", lambda: due(t) - datetime.datetime.now(datetime.timezone.utc) > datetime.timedelta(minutes=118))
    equal(t.last_run(), None)
    t.run()  # asked for, it runs at any time
    t.sql(f"""SELECT courier.alter_sync('{t.name}', options => '{{"window": "{window(-1, 1)}"}}')""")
    until("runs by schedule", lambda: t.call(f"SELECT count(*) >= 2 FROM courier.run_details WHERE sync = '{t.name}' AND triggered_by = 'schedule' AND status = 'success'") == "t")


@test("jitter: runs keep their interval, later by the sync's own share", settings=PRELOADED)
def spread(t):
    t.table([(1, "one")])
    t.sync(schedule="every 1 second", options={"jitter": "4 s"})
    until("runs by schedule", lambda: t.call(f"SELECT count(*) >= 4 FROM courier.run_details WHERE sync = '{t.name}' AND triggered_by = 'schedule'") == "t")
    # With the offset in every step the runs would be up to 5 s apart.
    equal(t.call(f"SELECT min(gap) < '2 s' FROM (SELECT created_at - lag(created_at) OVER (ORDER BY run_id) AS gap FROM courier.run_details WHERE sync = '{t.name}') g"), "t")


@test("jitter spreads what is due at the same minute; windows that are none are refused")
def many(t):
    t.table([(1, "one")])
    t.sync(schedule="0 3 1 1 *", options={"jitter": "30 min"})
    for n in range(11):
        t.sync(f"{t.name}_{n}", model=t.name, destination=t.name, schedule="0 3 1 1 *", options={"jitter": "30 min"})
    times = [datetime.datetime.fromisoformat(r["next_run_at"]) for r in t.rows(f"SELECT next_run_at FROM courier.syncs WHERE model = '{t.name}'")]
    first = min(times).astimezone(datetime.timezone.utc).replace(hour=3, minute=0, second=0, microsecond=0)
    assert all(datetime.timedelta(0) <= at - first <= datetime.timedelta(minutes=30) for at in times), times
    assert len(set(times)) >= 11 and max(times) - min(times) > datetime.timedelta(minutes=10), times
    for option in ('{"window": "8-18"}', '{"window": "08:00-25:00"}', '{"window": "08:00-18:00 Mars/Base"}', '{"window": 8}', '{"jitter": "-1 s"}', '{"jitter": "often"}'):
        try:
            t.sql(f"SELECT courier.alter_sync('{t.name}', options => '{option}')")
            raise AssertionError("taken: " + option)
        except SqlError as error:
            equal(error.sqlstate, "22023", option)
