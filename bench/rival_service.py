"""The usual service: pulls the whole model out by COPY, sorts it, compares it with the sorted file of the last run, POSTs batches of 100.

The sort is that of the system (sort -S 200M), which spills to disk; memory does not grow with the model.
"""

import csv
import http.client
import json
import os
import subprocess
import sys

import psycopg2

address, table, url, state, what = json.loads(sys.argv[1]), *sys.argv[2:]
connection = psycopg2.connect(**address)
cursor = connection.cursor()
new = state + ".new"
with open(new, "wb") as out:
    sort = subprocess.Popen(["sort", "-S", "200M", "-t", ",", "-k", "1,1"], stdin=subprocess.PIPE, stdout=out, env={**os.environ, "LC_ALL": "C"})
    cursor.copy_expert(f"COPY {table} TO STDOUT (FORMAT csv)", sort.stdin)
    sort.stdin.close()
    sort.wait()
cursor.execute(f"SELECT * FROM {table} LIMIT 0")
names = [column.name for column in cursor.description]
receiver = http.client.HTTPConnection(url.removeprefix("http://"))
batch, sent = [], 0


def send():
    receiver.request("POST", "/up", json.dumps({"rows": batch}), {"Content-Type": "application/json"})
    receiver.getresponse().read()
    batch.clear()


if what == "run":
    differ = subprocess.Popen(["comm", "-13", state, new], stdout=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C"})
    for values in csv.reader(differ.stdout):
        batch.append(dict(zip(names, values)))
        sent += 1
        if len(batch) == 100:
            send()
    if batch:
        send()
os.replace(new, state)
print(json.dumps({"sent": sent, "backend": connection.get_backend_pid()}))
