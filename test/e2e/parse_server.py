"""A real parse-server, the unforgiving kind of receiver: it assigns identifiers, keeps e-mails unique and refuses to do a request twice."""

import fcntl
import json
import os
import shutil
import subprocess
import urllib.request

from harness import free_port, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# router 2.3.0, which a plain install takes, breaks parse-server's routes.
PACKAGE = {"private": True, "dependencies": {"parse-server": "9.10.0"}, "overrides": {"router": "2.2.0"}}
CLASS = "Contact"


def installed():
    """The directory with parse-server in it; installs it where it is missing. Several processes may ask at once."""
    directory = os.path.join(ROOT, ".test", "parse-server")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted, done = json.dumps(PACKAGE), os.path.join(directory, ".installed")
        if os.path.exists(done) and open(done).read() == wanted:
            return directory
        if not shutil.which("npm"):
            raise RuntimeError("npm is missing: test/install_packages test")
        with open(os.path.join(directory, "package.json"), "w") as f:
            f.write(wanted)
        with open(os.path.join(directory, "npm.log"), "w") as log:
            code = subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=600).returncode
        if code:
            raise RuntimeError("npm install parse-server failed: " + open(os.path.join(directory, "npm.log")).read()[-2000:])
        with open(done, "w") as f:
            f.write(wanted)
    return directory


class ParseServer:
    """Its data are a database of its own in the cluster of the tests, which is not the one whose processes are killed."""

    HEADERS = {"X-Parse-Application-Id": "app", "X-Parse-REST-API-Key": "rk"}

    def __init__(self, directory, cluster, database="parse"):
        modules, self.cluster, self.database, port = installed(), cluster, database, free_port()
        cluster.psql(f"CREATE DATABASE {database}", database="postgres")
        self.url = f"http://127.0.0.1:{port}/parse"
        config = {"appId": "app", "masterKey": "mk", "restAPIKey": "rk", "databaseURI": f"postgres://postgres@127.0.0.1:{cluster.port}/{database}",
                  "host": "127.0.0.1", "port": port, "serverURL": self.url, "allowClientClassCreation": True, "masterKeyIps": ["127.0.0.1", "::1"],
                  "idempotencyOptions": {"paths": ["classes/.*"], "ttl": 86400}, "requestComplexity": {"batchRequestLimit": 50}}
        with open(os.path.join(directory, "parse.json"), "w") as f:
            json.dump(config, f)
        self.log = open(os.path.join(directory, "parse.log"), "w")
        self.process = subprocess.Popen(["node", os.path.join(modules, "node_modules/.bin/parse-server"), os.path.join(directory, "parse.json")], cwd=modules,
                                        stdout=self.log, stderr=self.log, env={**os.environ, "PARSE_SERVER_LOGS_FOLDER": os.path.join(directory, "parse-log")})
        until("parse-server", self.healthy, timeout=180)
        fields = {"ext": {"type": "String"}, "email": {"type": "String", "required": True}, "doc": {"type": "String"}}
        self.call("POST", f"/schemas/{CLASS}", {"className": CLASS, "fields": fields})
        self.sql(f'CREATE UNIQUE INDEX ON "{CLASS}" (email)')

    def healthy(self):
        if self.process.poll() is not None:
            raise AssertionError("parse-server ended: " + open(self.log.name).read()[-2000:])
        try:
            return b"ok" in urllib.request.urlopen(self.url + "/health", timeout=5).read()
        except OSError:
            return False

    def call(self, method, path, body=None):
        """With the master key."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body is not None else None,
                                         {"X-Parse-Application-Id": "app", "X-Parse-Master-Key": "mk", "Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def sql(self, *commands):
        return self.cluster.psql(*commands, database=self.database)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
