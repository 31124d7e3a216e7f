"""InfluxDB 1: line protocol, and answers that refuse some points of a batch and keep the others."""

import os
import urllib.parse

from harness import free_port
from services.process import Service, own_directory

CONFIG = """reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
dir = "{directory}/meta"
[data]
dir = "{directory}/data"
wal-dir = "{directory}/wal"
[http]
bind-address = "127.0.0.1:{port}"
[monitor]
store-enabled = false
"""


class InfluxDb(Service):
    def __init__(self, directory):
        directory, port = own_directory(directory, "influxdb"), free_port()
        with open(os.path.join(directory, "influxdb.conf"), "w") as f:
            f.write(CONFIG.format(directory=directory, port=port, backup=free_port()))
        self.url = f"http://127.0.0.1:{port}"
        self.start(["influxd", "-config", "influxdb.conf"], directory, self.url + "/ping")

    def query(self, text, database=""):
        """The rows of the first series."""
        found = self.ask("POST", "/query?" + urllib.parse.urlencode({"db": database, "q": text, "epoch": "ns"}))["results"][0]
        assert "error" not in found, found
        return found["series"][0]["values"] if "series" in found else []
