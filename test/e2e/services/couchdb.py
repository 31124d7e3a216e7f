"""The CouchDB API, as express-pouchdb serves it: revisions are enforced, and the feed _changes is a log that is not ours."""

import os
import urllib.parse

from harness import free_port
from services.npm import installed
from services.process import Service, own_directory

# express 5 breaks _changes.
PACKAGES = {"express-pouchdb": "4.2.0", "pouchdb": "9.0.0", "pouchdb-adapter-memory": "9.0.0", "express": "4.21.2"}


class CouchDb(Service):
    def __init__(self, directory):
        directory, modules, port = own_directory(directory, "couchdb"), installed("couchdb", PACKAGES), free_port()
        self.url, self.looked = f"http://127.0.0.1:{port}", {}
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "couchdb.js")
        self.start(["node", script, modules, str(port), os.path.join(directory, "requests.log")], directory, self.url + "/")

    def create(self, database):
        self.ask("PUT", f"/{database}", {})
        self.looked[database] = 0

    def written(self, database):
        """What was written since the last look: [(id, how many times the document was ever written, whether it is deleted)], in order, and the number of writes."""
        found, since = self.ask("GET", f"/{database}/_changes?since={self.looked[database]}"), self.looked[database]
        self.looked[database] = found["last_seq"]
        changes = [(r["id"], int(r["changes"][0]["rev"].split("-")[0]), r.get("deleted", False)) for r in found["results"]]
        return changes, found["last_seq"] - since

    def document(self, database, identifier):
        """Without its own fields, with its revision."""
        document = self.ask("GET", f"/{database}/" + urllib.parse.quote(identifier, safe=""))
        return {k: v for k, v in document.items() if not k.startswith("_")}, document["_rev"]

    def put(self, database, identifier, document):
        return self.ask("PUT", f"/{database}/" + urllib.parse.quote(identifier, safe=""), document)
