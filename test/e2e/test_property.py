"""Random models and random histories, against a receiver that forgives everything and one that forgives nothing (property_walk.py says what
must be true). PROPERTY_SEED repeats a failure; PROPERTY_STEPS sets the length of each test; `test/property` is the long version."""

import os
import random
import re
import shutil
import tempfile

from harness import Case, Cluster, equal, test
from parse_server import ParseServer
from property_receivers import ToEtcd, ToParse
from property_values import SETUP
from property_walk import Walk

STEPS = int(os.environ.get("PROPERTY_STEPS", "1050"))
ROUNDS = 12  # of a model


class Own:
    """A cluster of its own: the kill of a backend restarts all processes of a server."""

    owner = caller = "postgres"

    def __init__(self, world):
        self.receiver, self.etcd, self.cluster = world.receiver, world.etcd, Cluster("owner")
        self.cluster.psql("CREATE DATABASE app", database="postgres")
        self.cluster.psql("CREATE EXTENSION pg_courier", *SETUP)

    def stop(self):
        log = self.log()
        try:
            self.cluster.stop()
        except RuntimeError as error:  # says why, and leaves what was wrong before it as the cause
            raise AssertionError(f"{error}; its log ends: {log[-3000:]}")

    def kills(self):
        return len(re.findall("was terminated by signal 9", self.log()))

    def log(self):
        return open(self.cluster.log, errors="replace").read()


def walk(t, make):
    seed = int(os.environ.get("PROPERTY_SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"# {t.name}: PROPERTY_SEED={seed} PROPERTY_STEPS={STEPS}\n", end="", flush=True)  # in one piece: others print beside it
    own, done, killed, models = Own(t.world), 0, 0, 0
    what = ""
    try:
        draw = random.Random(seed)
        while done < STEPS:
            models += 1
            case = Case(own, models)
            its = Walk(case, make(draw), draw)
            what = its.describe()
            for n in range(ROUNDS):
                what = f"{its.describe()}, round {n}"
                its.round(n)
                if done + its.steps >= STEPS:
                    break
            its.close()
            done, killed = done + its.steps, killed + its.killed
            print(f"# {t.name}: {done} steps, {models} models, {killed} workers killed\n", end="", flush=True)
        equal(own.kills(), killed, "workers that were killed")
        assert killed or STEPS < 500, "no worker was killed"
        crashes = [line for line in own.log().splitlines() if re.search("terminated by signal (?!9)|PANIC|TRAP|XX000", line)]
        equal(crashes, [], "crashes")
    except Exception as error:
        raise AssertionError(f"PROPERTY_SEED={seed} PROPERTY_STEPS={STEPS}: {what}: {error}") from error
    finally:
        own.stop()


@test("property: random models and histories, to etcd", settings=("superuser",))
def to_etcd(t):
    walk(t, lambda draw: ToEtcd(t.etcd, draw))


@test("property: random models and histories, to a receiver that forgives nothing", settings=("superuser",))
def to_parse(t):
    directory = tempfile.mkdtemp(prefix="pg_courier-parse-", dir="/tmp")
    parse = None
    try:
        parse = ParseServer(directory, t.world.cluster)
        walk(t, lambda draw: ToParse(parse, draw))
    finally:
        if parse:
            parse.stop()
        shutil.rmtree(directory, ignore_errors=True)
