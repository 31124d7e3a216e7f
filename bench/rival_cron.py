"""The usual cron script: reads every row, compares with what it sent last (kept in memory, pickled between runs), POSTs one record after another.

It knows nothing of retries, of outcomes or of a crash half-way: that is what makes it short.
"""

import http.client
import json
import pickle
import sys

import psycopg2
import psycopg2.extras

address, table, url, state, what = json.loads(sys.argv[1]), *sys.argv[2:]
connection = psycopg2.connect(**address)
rows = connection.cursor("all", cursor_factory=psycopg2.extras.RealDictCursor)
rows.itersize = 10000
rows.execute(f"SELECT * FROM {table}")
try:
    with open(state, "rb") as f:
        sent_before = pickle.load(f)
except FileNotFoundError:
    sent_before = {}
receiver = http.client.HTTPConnection(url.removeprefix("http://"))
now, sent = {}, 0
for row in rows:
    record = json.dumps(row, default=str)
    now[row["id"]] = record
    if sent_before.get(row["id"]) != record and what == "run":
        receiver.request("PUT", f"/{row['id']}", record, {"Content-Type": "application/json"})
        receiver.getresponse().read()
        sent += 1
with open(state, "wb") as f:
    pickle.dump(now, f)
print(json.dumps({"sent": sent, "backend": connection.get_backend_pid()}))
