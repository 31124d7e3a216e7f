"""Requests of the vendors' fakes against what the vendors publish, where the folder with it is there: by the same lists as the requests
of test/destinations (the `spec` of VENDOR.json), and by the same judge."""

import json
import os
import sys

DESTINATIONS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "destinations")
sys.path.append(DESTINATIONS)
from published import SPECS, install_node_modules, judge  # noqa: E402


def available():
    return os.path.isdir(SPECS)


def problems(vendor, requests):
    """[(method, target, headers, body)] -> a list of problems for each."""
    install_node_modules()
    with open(os.path.join(DESTINATIONS, vendor + ".json")) as f:
        specs = json.load(f)["spec"]
    return judge([{"specs": specs, "method": m, "url": "https://vendor.example" + t, "headers": h, "body": b} for m, t, h, b in requests])


def check(vendor, prefix, requests):
    if not available():
        print(f"# {vendor}: no specification here, requests are not checked against it", flush=True)
        return
    assert requests
    found = problems(vendor, [(r.method, r.target[len(prefix):], [list(h) for h in r.headers], r.text) for r in requests])
    for r, wrong in zip(requests, found):
        assert not wrong, f"{r.method} {r.target}: {wrong}"


# Each is nearly right.
TWINS = [
    ("salesforce", "PATCH", "/services/data/v60.0/composite/sobjects/Contact/Ext__c", {"records": [{"attributes": {"type": "Contact"}, "Ext__c": "1"}]}, {"records": [{"attributes": {"type": "Contact"}, "Id": "003", "Ext__c": "1"}]}),
    ("salesforce", "POST", "/services/data/v60.0/jobs/ingest", {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Ext__c"}, {"object": "Contact", "operation": "upsert"}),
    ("salesforce", "PATCH", "/services/data/v60.0/composite/sobjects", {"records": [{"attributes": {"type": "Contact"}, "id": "003"}]}, {"records": [{"attributes": {"type": "Contact"}}]}),
    ("salesforce", "PATCH", "/services/data/v60.0/jobs/ingest/750", {"state": "UploadComplete"}, {"state": "Closed"}),
    ("zendesk", "POST", "/api/v2/users/create_or_update_many", {"users": [{"name": "x"}]}, {"users": [{"name": "x"}] * 101}),
    ("zendesk", "PUT", "/api/v2/organizations/update_many", {"organizations": [{"id": 1}]}, {"organizations": [{"id": "1"}]}),
]


HEADERS = [["Content-Type", "application/json"], ["Authorization", "Bearer t"]]


def twins():
    if not available():
        return
    for vendor, method, path, right, wrong in TWINS:
        good, bad = problems(vendor, [(method, path, HEADERS, json.dumps(body)) for body in (right, wrong)])
        assert not good, (path, right, good)
        assert bad, (path, wrong)
    assert problems("salesforce", [("DELETE", "/services/data/v60.0/composite/sobjects?ids=x%20y", HEADERS[1:], "")])[0]
    assert problems("zendesk", [("DELETE", "/api/v2/users/destroy_many?ids=1;2", HEADERS[1:], "")])[0]
