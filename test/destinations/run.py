#!/usr/bin/env python3
"""Tests of the built-in destinations: run.py [--update] [--only NAME] [--parts definition,golden,replay,specification,server].

Every type of src/destinations/builtin has its test in NAME.json here (doc/destinations/README.md says what stands in it), its requests
in golden/NAME/*.http, and its page doc/destinations/NAME.md. --update rewrites the golden files: read what changed before you commit.

  definition     the definition is a valid one, also by doc/definition.schema.json
  golden         the exact requests
  replay         what the destination's answers lead to: an outcome per record, waits, the end of the run
  specification  every request, also those to the server below, is valid by what the vendor publishes; a wrong one is refused
  server         a sync with PostgreSQL against a scripted receiver
"""

import argparse
import base64
import gzip
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import traceback
import urllib.parse

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "test", "e2e")]
import http_text  # noqa: E402
from published import SPECS, install_node_modules, judge, node  # noqa: E402

BUILTIN = os.path.join(ROOT, "src", "destinations", "builtin")
PARTS = ("definition", "golden", "replay", "specification", "server")

options = argparse.ArgumentParser()
options.add_argument("--update", action="store_true")
options.add_argument("--only", default="")
options.add_argument("--parts", default=",".join(PARTS))
options.add_argument("--driver", default=os.path.join(ROOT, ".test", "cmake", "courier_destination"))
options = options.parse_args()
parts = options.parts.split(",")
assert set(parts) <= set(PARTS), f"the parts are {', '.join(PARTS)}"

failures = 0
requests_seen = []  # (case, destination, request), for the specification


def report(name, problem=None):
    global failures
    print(f"{'not ok' if problem else 'ok'} - {name}", flush=True)
    if problem:
        failures += 1
        print("\n".join("  # " + line for line in str(problem).splitlines()), flush=True)


def read_json(*path):
    with open(os.path.join(*path)) as f:
        return json.load(f)


def play(plays):
    """Plays through the library; see driver.cpp."""
    done = subprocess.run([options.driver], input=json.dumps(plays), capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise SystemExit(f"courier_destination failed: {done.stderr}")
    return json.loads(done.stdout)


def archive(files):
    """A gzipped tar of {name: JSON}."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            info, data = tarfile.TarInfo(name), json.dumps(content).encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), mtime=0)


def answer_of(answer):
    if "archive" not in answer:
        return answer
    answer = dict(answer)
    return {**answer, "base64": base64.b64encode(archive(answer.pop("archive"))[:answer.pop("cut", None)]).decode()}


def load(name):
    """NAME.json, and NAME.py beside it where a test needs code: it may have `checks`, a list of (name, function of `tools`), and
    `requests_within(request)`: the requests that another carries in its body."""
    case = read_json(HERE, name + ".json")
    case["name"], case["code"] = name, None
    case["definition"] = read_json(BUILTIN, name + ".json") if os.path.exists(os.path.join(BUILTIN, name + ".json")) else {}
    code = os.path.join(HERE, name + ".py")
    if os.path.exists(code):
        spec = importlib.util.spec_from_file_location("destination_" + name, code)
        case["code"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(case["code"])
    return case


def play_of(case, entry):
    sync = case["syncs"].get(entry.get("sync"), {}) if entry.get("test") else case["syncs"][entry["sync"]]
    destination = {**case["destination"], **sync.get("destination", {})}
    out = {"type": case["name"], "config": destination.get("config", {}), "secrets": destination.get("secrets", {}),
           "sync": {**{k: v for k, v in sync.items() if k not in ("destination", "base_url")}, **entry.get("with", {})}, "changes": entry.get("changes", [])}
    if entry.get("test"):
        out["test"] = True
    if "answers" in entry:
        out["answers"] = [answer_of(a) for a in entry["answers"]]
    return out


def object_of(case, entry):
    """As the definition names it."""
    wanted = {**case["syncs"].get(entry.get("sync"), {}), **entry.get("with", {})}.get("object")
    names = list(case["definition"].get("objects", {}))
    return wanted if wanted in names else names[0] if len(names) == 1 else "*"


def see(name, case, request):
    """Remembers a request for the specification, and those that it carries."""
    requests_seen.append((name, case, request))
    within = getattr(case["code"], "requests_within", lambda request: [])
    requests_seen.extend((f"{name}: within", case, r) for r in within(request))


def wrong_place(case, entry, requests):
    """Every request goes to the vendor, or to a place that the case names; there, nothing may be known of the credentials."""
    sync = case["syncs"].get(entry.get("sync"), {})
    base_url, elsewhere = sync.get("base_url", case["base_url"]), entry.get("elsewhere")
    secrets = {**case["destination"], **sync.get("destination", {})}.get("secrets", {}).values()
    for request in requests:
        if request["url"].startswith(base_url):
            continue
        if not elsewhere or not request["url"].startswith(elsewhere):
            return f"{request['url']} is not below {base_url}"
        if any(n.lower() == "authorization" for n, _ in request["headers"]) or any(s in json.dumps(request) for s in secrets if isinstance(s, str)):
            return f"{request['url']} is another host, and gets credentials"
    return None


# Golden requests

def check_golden(case):
    entries = case["golden"]
    if not any(e.get("test") for e in entries):
        report(f"golden: {case['name']}: test", "there is no case of what courier.test_destination asks (\"test\": true)")
    directory = os.path.join(HERE, "golden", case["name"])
    os.makedirs(directory, exist_ok=True)
    known, told = set(), set()
    for entry, result in zip(entries, play([play_of(case, e) for e in entries])):
        file = entry["name"].replace(" ", "_").replace("/", "_") + ".http"
        path = os.path.join(directory, file)
        known.add(file)
        name = f"golden: {case['name']}: {entry['name']}"
        if "error" in result:
            report(name, json.dumps(result, indent=1))
            continue
        told.update((object_of(case, entry), operation) for operation in result.get("operations", ()))
        for request in result["requests"]:
            see(f"{case['name']}: {entry['name']}", case, request)
        text = http_text.document(entry.get("says", entry["name"]), result["requests"])
        if options.update:
            with open(path, "w") as f:
                f.write(text)
        expected = open(path).read() if os.path.exists(path) else None
        expected_outcomes = ("succeeded", "aborted") if "answers" in entry else ("aborted",)
        left_out = [f"{key}: {o['outcome']} {o['code']} {o['message']}" for key, o in result["outcomes"].items() if o["outcome"] not in expected_outcomes]
        outside = wrong_place(case, entry, result["requests"])
        if left_out:
            report(name, "not every record is in a request: " + "; ".join(left_out))
        elif outside:
            report(name, outside)
        elif not result["requests"]:
            report(name, "no request")
        elif text != expected:
            report(name, f"{os.path.relpath(path, ROOT)} differs (--update rewrites it):\n" + http_text.difference(expected or "", text))
        else:
            report(name)
    for of, its in case["definition"].get("objects", {}).items():
        for operation in its.get("requests", {}):
            if (of, operation) not in told:
                report(f"golden: {case['name']}: {of} {operation}", "no case shows this operation")
    for file in sorted(set(os.listdir(directory)) - known):
        if options.update:
            os.remove(os.path.join(directory, file))
        else:
            report(f"golden: {case['name']}: {file}", "there is no such case")


# Replayed answers

def outcome_text(outcome):
    return " ".join(t for t in (outcome["outcome"], outcome["code"] if outcome["outcome"] != "succeeded" else "") if t)


def compare_replay(expected, result):
    if "error" in result:
        return json.dumps(result, indent=1)
    allowed = {"outcomes", "messages", "remote_ids", "sent", "failure", "requests"}
    if set(expected) - allowed or "outcomes" not in expected:
        return f"an expectation has outcomes, and may have {sorted(allowed - {'outcomes'})}"
    found = {"outcomes": {key: outcome_text(o) for key, o in result["outcomes"].items()},
             "messages": {key: o["message"] for key, o in result["outcomes"].items() if key in expected.get("messages", {})},
             "remote_ids": {key: o["remote_id"] for key, o in result["outcomes"].items() if o["remote_id"]},
             "sent": [round(r["seconds"], 1) for r in result["requests"]],
             "failure": result["failure"] and result["failure"]["code"],
             "requests": [r["method"] + " " + urllib.parse.urlsplit(r["url"]).path for r in result["requests"]]}
    problems = [f"{key}: expected {value!r}\n{' ' * len(key)}     found {found[key]!r}" for key, value in {"failure": None, **expected}.items() if found[key] != value]
    if result["unasked"]:
        problems.append(f"{result['unasked']} answers were not asked for")
    if problems and result["failure"]:
        problems.append(f"the run failed: {result['failure']}")
    return "\n".join(problems)


def check_replay(case):
    entries = case["replay"]
    for entry, result in zip(entries, play([play_of(case, e) for e in entries])):
        for request in result.get("requests", []):
            see(f"{case['name']}: replay: {entry['name']}", case, request)
        report(f"replay: {case['name']}: {entry['name']}", compare_replay(entry["expect"], result) or wrong_place(case, entry, result["requests"]))


# What is published

def twist(request, change):
    """The wrong twin: `change` may have method, path, query, headers, and body as a JSON merge patch or text."""
    request = json.loads(json.dumps(request))
    url = urllib.parse.urlsplit(request["url"])
    request["url"] = urllib.parse.urlunsplit(url._replace(path=change.get("path", url.path), query=change.get("query", url.query)))
    request["method"] = change.get("method", request["method"])
    for header, value in change.get("headers", {}).items():
        request["headers"] = [h for h in request["headers"] if h[0].lower() != header.lower()] + ([[header, value]] if value is not None else [])
    if isinstance(change.get("body"), str):
        request["body"] = change["body"]
    elif "body" in change:
        request["body"] = json.dumps(merge(json.loads(request["body"]), change["body"]))
    return request


def merge(target, patch):
    """RFC 7396; and "0" names an element of an array."""
    if not isinstance(patch, dict):
        return patch
    if isinstance(target, list):
        return [merge(v, patch[str(n)]) if str(n) in patch else v for n, v in enumerate(target) if patch.get(str(n), 0) is not None]
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), value)
    return out


def check_specification(cases):
    if not os.path.isdir(SPECS):
        print(f"# skipped: the published specifications are not there ({os.path.relpath(SPECS, ROOT)})")
        return
    asked, names = [], []

    def ask(name, case, request, wrong):
        names.append((name, wrong, request))
        asked.append({"specs": case["spec"], **{k: request[k] for k in ("method", "url", "headers", "body")}})

    for name, case, request in requests_seen:
        ask(name, case, request, None)
    for case in cases:
        if not case.get("wrong"):
            report(f"specification: {case['name']}", "it has no wrong twin, so nobody knows that the check bites")
        for entry in case.get("wrong", []):
            origin = [r for n, _, r in requests_seen if n == f"{case['name']}: {entry['of']}"]
            if not origin:
                report(f"specification: {case['name']}: {entry['name']}", f"there is no golden case {entry['of']}")
                continue
            ask(f"{case['name']}: {entry['name']}", case, twist(origin[entry.get("request", 0)], entry["change"]), entry["refused"])
    bad = {}
    for (name, wrong, request), problems in zip(names, judge(asked)):
        if wrong is None:
            bad.setdefault(name, [])
            if problems:
                bad[name].append(f"{request['method']} {request['url']}\n{request['body'][:2000]}\n" + "\n".join(problems[:10]))
        else:
            report(f"specification: {name} is refused", None if any(wrong in p for p in problems) else f"expected {wrong!r}, found {problems}")
    for name, problems in bad.items():
        report(f"specification: {name}", "\n".join(problems))


# Definitions

def check_definitions(names):
    definitions = {n: read_json(BUILTIN, n + ".json") for n in names if n != "http"}
    judged = node("validate.js", {"schema": os.path.join(ROOT, "doc", "definition.schema.json"), "definitions": definitions, "requests": []})["definitions"]
    for name in names:
        problems = list(judged.get(name, []))
        page = ("doc", "http.md") if name == "http" else ("doc", "destinations", name + ".md")
        for path in (os.path.join(HERE, name + ".json"), os.path.join(ROOT, *page)):
            if not os.path.exists(path):
                problems.append(f"there is no {os.path.relpath(path, ROOT)}")
        for key in ("description", "docs"):
            if name in definitions and not definitions[name].get(key):
                problems.append(f"it has no {key}")
        report(f"definition: {name}", "\n".join(problems))


def guarded(name, function, *arguments):
    try:
        function(*arguments)
    except Exception:  # one destination's mistake does not hide the others
        report(name, traceback.format_exc(limit=-3))


builtin = sorted({f[:-5] for f in os.listdir(BUILTIN) if f.endswith(".json")} | {"http"})  # http has no definition
chosen = [n for n in builtin if options.only in ("", n)]
if not chosen:
    sys.exit(f"there is no destination {options.only}")
install_node_modules()
if "definition" in parts:
    check_definitions(chosen)
cases = [load(n) for n in chosen if os.path.exists(os.path.join(HERE, n + ".json"))]
started = time.time()
for case in cases:
    if "golden" in parts or "specification" in parts:
        guarded(f"golden: {case['name']}", check_golden, case)
    if "replay" in parts:
        guarded(f"replay: {case['name']}", check_replay, case)
    for name, check in getattr(case["code"], "checks", []):
        problem = None
        try:
            check({"play": lambda entry, case=case: play([play_of(case, entry)])[0], "driver": play, "node": node})
        except Exception:
            problem = traceback.format_exc(limit=-3)
        report(f"{case['name']}: {name}", problem)
if "server" in parts:
    import server
    server.check(cases, report, see)
if "specification" in parts:
    guarded("specification", check_specification, cases)
print(f"# {time.time() - started:.1f} s")
sys.exit(1 if failures else 0)
