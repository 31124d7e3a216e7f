"""Vendors whose APIs are conversations, played as far as their documentation says: Salesforce, Zendesk, Mailchimp's batches, and a server of the
custom protocol.

In process:  sf = Salesforce(receiver, "/sf")      the destination's base_url is sf.url
On its own:  python3 vendors.py PORT_FILE          a Salesforce below /sf (the crash tests); GET /sf/_state, POST /sf/_hold, POST /sf/_release

A record whose name holds "bad" is refused. `trouble` is a list of Answers that the next requests get instead of being served.
"""

import csv
import gzip
import io
import json
import os
import re
import sys
import tarfile
import threading
import urllib.parse

from receiver import Answer, Receiver


class Vendor:
    def __init__(self, receiver, path):
        self.path, self.url, self.receiver = path, receiver.url + path, receiver
        self.lock, self.trouble, self.served = threading.RLock(), [], []
        receiver.script(path, self.answer)

    def answer(self, request):
        with self.lock:
            rest = request.path[len(self.path):]
            if not rest.startswith("/_"):
                self.served.append(request)
                for number, (words, answer) in enumerate(self.trouble):
                    if words in f"{request.method} {rest}":
                        del self.trouble[number]
                        return answer
            return self.serve(request, rest)

    def requests(self, words=""):
        return [r for r in self.served if words in f"{r.method} {r.path}"]


class Salesforce(Vendor):
    def __init__(self, receiver, path):
        self.records, self.jobs, self.writes = {}, {}, {}  # records: external id -> fields with Id
        self.token, self.hold, self.locked = 0, False, set()
        super().__init__(receiver, path)

    def serve(self, request, rest):
        if rest == "/_state":
            return Answer(200, {"records": self.records, "writes": self.writes, "jobs": {k: v["state"] for k, v in self.jobs.items()}})
        if rest in ("/_hold", "/_release"):
            self.hold = rest == "/_hold"
            return Answer(200, {})
        if rest == "/services/oauth2/token":
            form = dict(urllib.parse.parse_qsl(request.text))
            if form.get("client_secret") != "s3cret" and form.get("refresh_token") != "r3fresh":
                return Answer(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
            self.token += 1
            return Answer(200, {"access_token": f"token{self.token}", "instance_url": self.url, "token_type": "Bearer"})
        if request.header("Authorization") != f"Bearer token{self.token}":
            return Answer(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        rest = re.sub(r"^/services/data/v\d+\.0", "", rest)
        if rest.startswith("/jobs/ingest"):
            return self.job(request, rest.split("/")[3:])
        if rest == "/limits":
            return Answer(200, {"DailyApiRequests": {"Max": 15000, "Remaining": 14998}})
        if rest == "/query":
            names = re.search(r"SELECT Id, (\w+) FROM (\w+) WHERE \1 IN \((.*)\)$", request.query["q"])
            wanted = re.findall(r"'((?:[^'\\]|\\.)*)'", names[3])
            found = [{"Id": self.records[w]["Id"], names[1]: w} for w in (x.replace("\\'", "'") for x in wanted) if w in self.records]
            return Answer(200, {"totalSize": len(found), "done": True, "records": found})
        if rest.startswith("/composite/sobjects"):
            if request.method == "DELETE":
                return Answer(200, [self.delete(i) for i in request.query["ids"].split(",")])
            given, parts = request.json["records"], rest.split("/")
            for record in given:
                if "attributes" not in record or record["attributes"]["type"] != "Contact":
                    return Answer(400, [{"message": "type is needed", "errorCode": "INVALID_TYPE"}])
            operation = "upsert" if len(parts) > 3 else "insert" if request.method == "POST" else "update"
            return Answer(200, [self.save(operation, parts[-1], {k: v for k, v in r.items() if k != "attributes"}) for r in given])
        return Answer(404, [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}])

    def save(self, operation, field, record):
        if "bad" in str(record.get("LastName")):
            return {"success": False, "errors": [{"statusCode": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing: [LastName]", "fields": ["LastName"]}]}
        if record.get("LastName") in self.locked:
            self.locked.discard(record["LastName"])
            return {"success": False, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access to this record", "fields": []}]}
        if operation == "update":
            wanted = record.pop("id", None) or record.pop("Id", None)
            name = next((k for k, r in self.records.items() if r["Id"] == wanted), None)
            if name is None:
                return {"success": False, "errors": [{"statusCode": "ENTITY_IS_DELETED", "message": "entity is deleted", "fields": []}]}
        else:
            name = str(record["Ext__c"])
        created = name not in self.records
        row = self.records.setdefault(name, {"Id": f"003{len(self.records) + 1:015}"})
        row.update(record)
        self.writes[name] = self.writes.get(name, 0) + 1
        return {"id": row["Id"], "success": True, "created": created, "errors": []}

    def delete(self, wanted):
        name = next((k for k, r in self.records.items() if r["Id"] == wanted), None)
        if name is None:
            return {"success": False, "errors": [{"statusCode": "ENTITY_IS_DELETED", "message": "entity is deleted", "fields": []}]}
        del self.records[name]
        self.writes[name] = self.writes.get(name, 0) + 1
        return {"id": wanted, "success": True, "errors": []}

    def job(self, request, parts):
        if not parts:
            job = {"id": f"750{len(self.jobs) + 1:012}", "state": "Open", **request.json}
            self.jobs[job["id"]] = job
            return Answer(200, {k: v for k, v in job.items()})
        job = self.jobs.get(parts[0])
        if job is None:
            return Answer(404, [{"message": "job not found", "errorCode": "NOT_FOUND"}])
        if len(parts) == 2 and request.method == "PUT":
            job["csv"] = request.text
            return Answer(201)
        if len(parts) == 2:
            rows = job["results"][{"successfulResults": 0, "failedResults": 1, "unprocessedrecords": 2}[parts[1]]]
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerows(rows)
            return Answer(200, out.getvalue(), {"Content-Type": "text/csv"})
        if request.method == "PATCH":
            if job["state"] != "Open":
                return Answer(400, [{"message": "Aborting already completed job not allowed" if request.json["state"] == "Aborted" else "Closing already completed job not allowed", "errorCode": "INVALIDJOBSTATE"}])
            job["state"] = request.json["state"]
            job["results"] = [[], [], []]
        elif job["state"] in ("UploadComplete", "InProgress"):
            job["state"] = "InProgress"
            if not self.hold:
                self.work(job)
        return Answer(200, {k: v for k, v in job.items() if k not in ("csv", "results")})

    def work(self, job):
        rows = list(csv.reader(io.StringIO(job["csv"])))
        header, rows = rows[0], rows[1:]
        good, bad = [["sf__Id", "sf__Created", *header]], [["sf__Id", "sf__Error", *header]]
        for row in reversed(rows):  # in no order that anybody may rely on
            record = {k: None if v == "#N/A" else v for k, v in zip(header, row) if v != ""}
            done = self.delete(record["Id"]) if job["operation"] == "delete" else self.save(job["operation"], job.get("externalIdFieldName"), record)
            if done["success"]:
                good.append([done["id"], str(done.get("created", False)).lower(), *row])
            else:
                error = done["errors"][0]
                bad.append(["", f"{error['statusCode']}:{error['message']}:{','.join(error['fields'])} --", *row])
        job.update(state="JobComplete", results=[good, bad, [header]], numberRecordsProcessed=len(rows), numberRecordsFailed=len(bad) - 1)


class Zendesk(Vendor):
    def __init__(self, receiver, path):
        self.things, self.jobs = {"users": {}, "organizations": {}, "tickets": {}}, {}
        super().__init__(receiver, path)

    def serve(self, request, rest):
        if not (request.header("Authorization") or "").startswith("Basic "):
            return Answer(401, {"error": "Couldn't authenticate you"})
        parts = rest.split("/")[3:]
        if parts[0] == "users" and parts[1:] == ["me"]:
            return Answer(200, {"user": {"id": 1}})
        if parts[0] == "job_statuses":
            job = self.jobs.get(parts[1])
            if job is None:
                return Answer(404, {"error": "RecordNotFound", "description": "Not found"})
            job["asked"] += 1
            status = "working" if job["asked"] < 2 else "completed"
            return Answer(200, {"job_status": {"id": parts[1], "status": status, "total": len(job["results"]), "progress": None, "results": job["results"] if status == "completed" else None}})
        kind, what = parts
        things = self.things[kind]
        if what == "show_many":
            wanted = request.query["external_ids"].split(",")
            return Answer(200, {kind: [t for t in things.values() if t.get("external_id") in wanted]})
        if what == "create_or_update":
            done = self.save(kind, request.json["organization"])
            return Answer(200, {"organization": things[done["id"]]}) if "id" in done else Answer(422, {"error": "RecordInvalid", "description": "Record validation errors", "details": {"name": [{"description": "Name: is bad", "error": "InvalidValue"}]}})
        if what == "destroy_many":
            field, names = next(iter(request.query.items()))
            wanted = names.split(",")
            field = {"ids": "id", "external_ids": "external_id"}[field]
            results = [{"action": "delete", "id": i, "status": "Deleted", "success": True} for i in [i for i, t in things.items() if str(t.get(field)) in wanted]]
            for result in results:
                del things[result["id"]]
            return self.start([{"action": "delete", "id": int(w), "success": True} for w in wanted] if field == "id" else {"success": True})
        results = []
        for index, given in enumerate(request.json[kind]):
            done = self.save(kind, given, update=what == "update_many")
            results.append({"index": index, **done} if "error" in done or what == "create_many" else {**done, **{k: given[k] for k in ("external_id",) if k in given}})
        return self.start(results)

    def save(self, kind, given, update=False):
        things = self.things[kind]
        if "bad" in str(given.get("name", given.get("subject"))):
            return {"error": "UserUpdateError", "details": "Name: is bad", "status": "Failed"}
        known = next((i for i, t in things.items() if (i == given.get("id")) or (kind != "tickets" and given.get("external_id") and t.get("external_id") == given["external_id"])), None)
        if update and known is None:
            return {"error": "RecordNotFound", "details": "not there", "id": given.get("id")}
        name = known or 1000 + sum(len(t) for t in self.things.values())
        while known is None and name in things:
            name += 1
        things.setdefault(name, {"id": name}).update(given)
        return {"id": name, "status": "Updated" if known else "Created", "success": True}

    def start(self, results):
        name = f"job{len(self.jobs) + 1}"
        self.jobs[name] = {"results": results, "asked": 0}
        return Answer(200, {"job_status": {"id": name, "url": f"{self.url}/api/v2/job_statuses/{name}.json", "status": "queued", "total": None, "results": None}})


class Mailchimp(Vendor):
    """Its batches. What it did is fetched from a receiver of its own, as from another host."""

    def __init__(self, receiver, path):
        self.members, self.batches, self.events, self.hold = {}, {}, [], False  # members: hash -> body of the request that made it
        self.results = Receiver()
        self.results_url = self.results.url
        super().__init__(receiver, path)

    def serve(self, request, rest):
        if not (request.header("Authorization") or "").startswith("Basic "):
            return Answer(401, {"title": "API Key Missing", "status": 401})
        if rest == "/batches" and request.method == "POST":
            name = f"b{len(self.batches) + 1}"
            self.batches[name] = {"id": name, "status": "pending", "operations": request.json["operations"], "response_body_url": ""}
        elif rest.startswith("/batches/"):
            name = rest.split("/")[2]
            if name not in self.batches:
                return Answer(404, {"title": "Resource Not Found", "status": 404})
            if self.batches[name]["status"] == "started" and not self.hold:
                self.work(self.batches[name])
            elif self.batches[name]["status"] == "pending":
                self.batches[name]["status"] = "started"
        else:
            return Answer(*self.operation(request.method, rest, request.text))
        return Answer(200, {k: v for k, v in self.batches[name].items() if k != "operations"})

    def operation(self, method, path, body):
        parts, body = path.split("/"), json.loads(body) if body else {}
        if "bad" in json.dumps(body):
            return 400, {"title": "Invalid Resource", "status": 400, "detail": "Your merge fields were invalid."}
        if len(parts) == 3:
            self.members.update({m["email_address"]: m for m in body["members"]})
            return 200, {"new_members": [], "updated_members": [], "errors": []}
        name = parts[4]
        if method == "PUT":
            self.members[name] = body
            return 200, {"id": name, **body}
        if parts[-1] == "events":
            self.events.append((name, body))
            return 204, ""
        return (204, "") if self.members.pop(name, None) else (404, {"title": "Resource Not Found", "status": 404})

    def work(self, batch):
        entries = []
        for operation in batch.pop("operations"):
            status, body = self.operation(operation["method"], operation["path"], operation.get("body"))
            entries.insert(0, {"status_code": status, "operation_id": operation["operation_id"], "response": body if body == "" else json.dumps(body)})
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            folder = tarfile.TarInfo("./")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            for number, part in enumerate((entries[::2], entries[1::2])):  # however they are divided among its files
                data, info = json.dumps(part).encode(), tarfile.TarInfo(f"./{number}.json")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        self.results.script(f"/results-{batch['id']}.tar.gz", Answer(200, gzip.compress(packed.getvalue()), {"Content-Type": "application/gzip"}))
        batch.update(status="finished", response_body_url=f"{self.results_url}/results-{batch['id']}.tar.gz?X-Amz-Signature=5ecret5eal")


class Custom(Vendor):
    """A server like those of hightouchio/custom-destinations."""

    def __init__(self, receiver, path):
        self.rows, self.behavior = {}, {"batchSize": 3, "operations": {"add": True, "change": True, "remove": True}, "skipInitialRun": False}
        super().__init__(receiver, path)

    def serve(self, request, rest):
        call = request.json
        method, params = call["method"], call.get("params", {})
        if method == "behavior":
            result = self.behavior
        elif method == "validate":
            result = {"errors": [] if params["configuration"].get("list") != "wrong" else ["there is no list wrong"]}
        elif method == "list_objects":
            result = {"objects": [{"id": "people", "label": "People"}]}
        elif method in ("add", "change", "remove"):
            result = {"rejectedRows": []}
            for row in params["rows"]:
                key = row[params["idColumn"]]
                if "bad" in str(row.get("name")):
                    result["rejectedRows"].append({"row": row, "reason": "the name is bad"})
                elif method == "remove":
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = {m["to"]: row[m["from"]] for m in params["configuration"]["mappings"]}
            if method == "remove":
                result = None
        else:
            return Answer(200, {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": "Method not found"}})
        return Answer(200, {"jsonrpc": "2.0", "id": call["id"], "result": result})


if __name__ == "__main__":
    alone = Receiver(0, sys.argv[2] if len(sys.argv) > 2 else None)
    Salesforce(alone, "/sf")
    with open(sys.argv[1] + ".new", "w") as f:
        f.write(str(alone.port))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    threading.Event().wait()
