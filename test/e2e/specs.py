"""Requests against the vendors' machine-readable specifications, where the folder with them is there (API_SPECS, or ../shared/api-specs).

What a specification does not know (Zendesk's tickets and show_many, Salesforce's queries) is written down in EXTRA, from the vendor's
reference pages.
"""

import json
import os
import re
import urllib.parse

try:
    import jsonschema
except ImportError:
    jsonschema = None

FOLDER = os.environ.get("API_SPECS") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/api-specs")
FILES = {"salesforce": "salesforce/salesforce-rest-bulk2.authored.openapi.json", "zendesk": "zendesk/zendesk-users-jobs.authored.openapi.json"}


def ids(name):
    return {"name": name, "in": "query", "schema": {"type": "string"}}


EXTRA = {
    "salesforce": {"/services/data/{version}/query": {"get": {"parameters": [{**ids("q"), "required": True}]}}},
    "zendesk": {"/api/v2/users/show_many": {"get": {"parameters": [ids("external_ids")]}}, "/api/v2/organizations/show_many": {"get": {"parameters": [ids("external_ids")]}}},
}
specifications = {}


def available():
    return jsonschema is not None and os.path.isdir(FOLDER)


def specification(vendor):
    if vendor not in specifications:
        with open(os.path.join(FOLDER, FILES[vendor])) as f:
            text = f.read()
        spec = json.loads(text)
        spec["paths"].update(EXTRA[vendor])
        specifications[vendor] = spec
    return specifications[vendor]


def nullable(schema):
    """OpenAPI 3.0 to JSON Schema."""
    if isinstance(schema, list):
        return [nullable(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {k: nullable(v) for k, v in schema.items()}
    if schema.pop("nullable", False) is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    return schema


def problems(vendor, method, path, query, content_type, body):
    spec = specification(vendor)
    for template in sorted(spec["paths"], key=lambda p: p.count("{")):
        item = spec["paths"][template]
        match = re.fullmatch(re.sub(r"\{[^}]+\}", "([^/]+)", template), path)
        if not match or method.lower() not in item:
            continue
        operation = item[method.lower()]
        names = re.findall(r"\{([^}]+)\}", template)
        found = []

        def check(schema, value, where):
            whole = nullable({**schema, "components": spec["components"]})
            found.extend(f"{where}: {e.message[:200]}" for e in jsonschema.Draft202012Validator(whole).iter_errors(value))

        for parameter in item.get("parameters", []) + operation.get("parameters", []):
            if "$ref" in parameter:
                parameter = spec["components"]["parameters"][parameter["$ref"].split("/")[-1]]
            name = parameter["name"]
            value = urllib.parse.unquote(match[names.index(name) + 1]) if parameter["in"] == "path" else query.get(name)
            if value is None:
                found += [f"{name} is required"] if parameter.get("required") else []
                continue
            kind = parameter["schema"].get("type")
            if kind == "integer" and value.isdigit():
                value = int(value)
            if kind == "boolean" and value in ("true", "false"):
                value = value == "true"
            check(parameter["schema"], value, name)
        given = operation.get("requestBody")
        if given:
            content = given["content"].get(content_type)
            if content is None:
                return found + [f"content type {content_type}"]
            value = json.loads(body) if "json" in content_type else dict(urllib.parse.parse_qsl(body)) if "form" in content_type else body
            check(content["schema"], value, "body")
        elif body:
            found.append("a body where there is none")
        return found
    return [f"no operation {method} {path}"]


def check(vendor, prefix, requests):
    if not available():
        print(f"# {vendor}: no specification here, requests are not checked against it", flush=True)
        return
    assert requests
    for r in requests:
        found = problems(vendor, r.method, r.path[len(prefix):], r.query, r.header("Content-Type"), r.text)
        assert not found, f"{r.method} {r.target}: {found}"


# Each is nearly right.
TWINS = [
    ("salesforce", "PATCH", "/services/data/v60.0/composite/sobjects/Contact/Ext__c", {}, {"records": [{"attributes": {"type": "Contact"}, "Ext__c": "1"}]}, {"records": [{"attributes": {"type": "Contact"}, "Id": "003", "Ext__c": "1"}]}),
    ("salesforce", "POST", "/services/data/v60.0/jobs/ingest", {}, {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Ext__c"}, {"object": "Contact", "operation": "upsert"}),
    ("salesforce", "PATCH", "/services/data/v60.0/composite/sobjects", {}, {"records": [{"attributes": {"type": "Contact"}, "id": "003"}]}, {"records": [{"attributes": {"type": "Contact"}}]}),
    ("salesforce", "PATCH", "/services/data/v60.0/jobs/ingest/750", {}, {"state": "UploadComplete"}, {"state": "Closed"}),
    ("zendesk", "POST", "/api/v2/users/create_or_update_many", {}, {"users": [{"name": "x"}]}, {"users": [{"name": "x"}] * 101}),
    ("zendesk", "PUT", "/api/v2/organizations/update_many", {}, {"organizations": [{"id": 1}]}, {"organizations": [{"id": "1"}]}),
]


def twins():
    if not available():
        return
    for vendor, method, path, query, right, wrong in TWINS:
        assert not problems(vendor, method, path, query, "application/json", json.dumps(right)), (path, right, problems(vendor, method, path, query, "application/json", json.dumps(right)))
        assert problems(vendor, method, path, query, "application/json", json.dumps(wrong)), (path, wrong)
    assert problems("salesforce", "DELETE", "/services/data/v60.0/composite/sobjects", {"ids": "x y"}, None, "")
    assert problems("zendesk", "DELETE", "/api/v2/users/destroy_many", {"ids": "1;2"}, None, "")
