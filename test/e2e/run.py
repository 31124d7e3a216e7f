#!/usr/bin/env python3
"""End-to-end tests: run.py --setting superuser|owner|no-preload [--only WORDS] [--files test_a,test_b] [--jobs N]. The extension must be installed."""

import argparse
import concurrent.futures
import glob
import importlib
import os
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402

options = argparse.ArgumentParser()
options.add_argument("--setting", choices=harness.SETTINGS, default="superuser")
options.add_argument("--only", default="")
options.add_argument("--files", default="", help="of these files alone")
options.add_argument("--jobs", type=int, default=int(os.environ.get("E2E_JOBS", "3")))
options = options.parse_args()

modules = [os.path.basename(path)[:-3] for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_*.py")))]
for module in modules:
    importlib.import_module(module)
files = options.files.split(",") if options.files else modules
assert set(files) <= set(modules), f"there is no file {sorted(set(files) - set(modules))}"

names = [name for name, _, _ in harness.tests]
assert len(names) == len(set(names)), "two tests have one name"
chosen = [(n, name, f) for n, (name, f, settings) in enumerate(harness.tests, 1)
          if options.setting in settings and f.__module__ in files and options.only.lower() in name.lower()]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services are ended
world = harness.World(options.setting)
try:
    world.start()
except BaseException:
    world.stop()
    raise


def perform(number, name, function):
    case, start = harness.Case(world, number), time.time()
    failure = None
    try:
        function(case)
    except Exception as error:
        where = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        failure = f"{type(error).__name__}: {error}\n  at {' > '.join(where)}"
        if error.__context__ and error.__context__ is not error.__cause__:  # went wrong while that was dealt with
            failure += f"\n  after {type(error.__context__).__name__}: {error.__context__}"
    finally:
        try:
            case.quiet()
        except Exception as error:
            failure = failure or f"at the end: {error}"
    return name, failure, time.time() - start


failed = []
try:
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(perform, *c) for c in chosen]):
            name, failure, seconds = done.result()
            print(f"{'not ok' if failure else 'ok'} - {options.setting}: {name} ({seconds:.1f} s)\n", end="", flush=True)
            if failure:
                print("\n".join("  # " + line for line in failure.splitlines()), flush=True)
                failed.append(name)
    log = open(world.cluster.log, errors="replace").read() if os.access(world.cluster.log, os.R_OK) else ""
    crashes = [line for line in log.splitlines() if "was terminated by signal" in line or "PANIC" in line or "TRAP" in line or "XX000" in line]
    print(f"{'not ok' if crashes else 'ok'} - {options.setting}: no process of the server crashed")
    for line in crashes:
        print("  # " + line)
    if crashes:
        failed.append("crash")
finally:
    if failed and os.environ.get("SHOW_LOG"):
        print(log)
    if failed and os.environ.get("SERVER_LOG"):
        with open(os.environ["SERVER_LOG"], "w") as f:
            f.write(log)
    world.stop()
total = len(chosen) + 1
print(f"{total - len(failed)} passed, {len(failed)} failed")
sys.exit(1 if failed else 0)
