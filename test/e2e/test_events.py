"""What was sent once is not sent again: events and mode insert, rows that return, and how long that is remembered."""

from harness import POSTED, equal, test
from receiver import Answer

EVENT = {"event": {"method": "POST", "path": "/{{ id }}", "body": "{{ record }}"}}


def returned(t, **settings):
    """Rows 1 and 2 are sent; 2 leaves and returns."""
    t.table([(1, "one"), (2, "two")])
    t.sync(**settings)
    t.run(succeeded_added=2)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(requests=0)
    t.seen()
    t.insert((2, "two"))


def posted(t):
    return [(r.method, r.json["id"]) for r in t.seen()]


@test("events: a row that left and returns is not sent again, and neither is one that changed meanwhile")
def events_return(t):
    returned(t, mode=None, sync_type="events", first_run="send", requests=EVENT)
    t.run(requests=0)
    t.sql(f"UPDATE {t.name} SET name = 'other'")
    t.run(requests=0)
    equal(t.seen(), [])


@test("remember, events: a key that left longer ago is forgotten, and sent when it returns; one that left lately is not")
def remember_events(t):
    t.table([(1, "one"), (2, "two"), (3, "three")])
    t.sync(mode=None, sync_type="events", first_run="send", requests=EVENT, options={"remember": "1 hour"})
    t.script(Answer(202))
    t.run(succeeded_added=3)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(requests=0)
    # As if it had been two hours ago.
    aged(t)
    t.sql(f"DELETE FROM {t.name} WHERE id = 3")
    t.run(requests=0)
    t.seen()
    t.insert((2, "again"), (3, "again"))
    t.run(succeeded_added=1, requests=1)
    equal(posted(t), [("POST", 2)])


@test("remember, mode insert: the same; without the option nothing is ever forgotten")
def remember_insert(t):
    returned(t, mode="insert", requests=POSTED, options={"remember": "1 hour"})
    t.run(requests=0)
    t.sql(f"DELETE FROM {t.name} WHERE id = 2")
    t.run(requests=0)
    aged(t)
    t.run(requests=0)  # forgets
    t.receiver.stores[t.name].pop("2")
    t.insert((2, "again"))
    t.run(succeeded_added=1, requests=1)
    equal(posted(t), [("POST", 2)])
    t.sql(f"SELECT courier.alter_sync('{t.name}', reset => '{{options}}')", f"DELETE FROM {t.name} WHERE id = 1")
    t.run(requests=0)
    aged(t)
    t.insert((1, "again"))
    t.run(requests=0)


def aged(t):
    table = t.admin(f"SELECT format('courier_data.snapshot_%s', sync_id) FROM courier_internal.sync WHERE name = '{t.name}'")
    t.admin(f"UPDATE {table} SET t = t - interval '2 hours' WHERE t IS NOT NULL")


@test("mode insert with on_removed delete: a removed row is deleted, and one that returns is sent again")
def insert_delete(t):
    t.table([(1, "one"), (2, "two")])
    t.sync(mode="insert", on_removed="delete", requests=POSTED)
    t.run(succeeded_added=2)
    t.seen()
    t.sql(f"DELETE FROM {t.name} WHERE id = 2", f"UPDATE {t.name} SET name = 'not compared'")
    t.run(succeeded_removed=1, requests=1)
    t.insert((2, "two"))
    t.run(succeeded_added=1, requests=1)
    equal([(r.method, r.path.removeprefix(t.path)) for r in t.seen()], [("DELETE", "/2"), ("POST", "")])
    equal(t.stored(), {"1": {"id": 1, "name": "one"}, "2": {"id": 2, "name": "two"}})
