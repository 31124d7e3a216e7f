"""Plans of the statements by which changes are found (plans.py); at five million rows it is test/large that asks."""

from harness import test
from plans import check_plans


@test("plans at 10 rows: nothing is asked that pays at a million only", settings=("superuser",))
def ten(t):
    check_plans(t.world.cluster, t.receiver, 10)


@test("plans at 1,000,000 rows, statistics stale, missing and fresh: parallel, no quadratic work, nothing wide goes to disk", settings=("superuser",))
def million(t):
    check_plans(t.world.cluster, t.receiver, 1000000)
