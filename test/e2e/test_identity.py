"""By what a destination knows that something is the same: idempotency keys, and identifiers that it gave itself."""

from harness import equal, test
from receiver import Answer


@test("a change that another run sends again has the same idempotency key, although now() and courier.run_id() in it differ")
def same_change(t):
    t.table([(1, "one")])
    t.sync(mapping={"id": "id", "name": "name", "at": "now()", "run": "courier.run_id()"})
    t.script(Answer(422), Answer(200))
    t.run("warning", rejected_added=1)
    t.sql(f"SELECT courier.retry_rejected('{t.name}')")
    t.run(succeeded_added=1)
    first, second = t.seen()
    assert first.raw != second.raw, "the field that is never compared"
    equal(second.header("Idempotency-Key"), first.header("Idempotency-Key"), "idempotency key")
