"""A scripted HTTP service for what a real one cannot be made to show: it records every request in order and answers as told.

In process:   receiver = Receiver(); receiver.script("/path", Answer(503), Answer(200)); receiver.requests("/path")
On its own:   python3 receiver.py PORT_FILE [JOURNAL]     (the crash tests; see Control below)

Paths that begin with /store/ are a small record store: PUT and PATCH and DELETE /store/NAME/ID, POST /store/NAME with an "id". It counts
the writes of every record, and knows idempotency keys where the name ends in "-idem".
"""

import http.server
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time
import urllib.parse


class Answer:
    """status, body (text, bytes or JSON), headers; delay seconds before the answer; drop: processed, but the answer never comes; reset: neither."""

    def __init__(self, status=200, body="", headers=None, delay=0, drop=False, reset=False):
        self.status, self.headers, self.delay, self.drop, self.reset = status, dict(headers or {}), delay, drop, reset
        self.body = body if isinstance(body, (str, bytes)) else json.dumps(body)


class Request:
    def __init__(self, number, method, target, headers, body):
        self.number, self.method, self.target, self.headers, self.raw = number, method, target, headers, body
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.time = time.time()

    @property
    def text(self):
        return self.raw.decode()

    @property
    def json(self):
        return json.loads(self.raw)

    def header(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def __repr__(self):
        return f"<{self.number} {self.method} {self.target} {self.raw[:200]!r}>"


class Receiver:
    def __init__(self, port=0, journal=None):
        self.lock = threading.Condition()
        self.log, self.scripts, self.stores, self.writes, self.keys = [], {}, {}, {}, {}
        self.under_way = {}
        self.most_under_way = {}
        self.journal = open(journal, "a", buffering=1) if journal else None
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError, ValueError):
                    self.close_connection = True

            def serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                receiver.serve(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # What tests say

    def script(self, prefix, *answers):
        """Answers for requests below a path, in order; the last one stays. A function takes the request and gives an Answer."""
        with self.lock:
            self.scripts[prefix] = list(answers)

    def requests(self, prefix="/", method=None):
        with self.lock:
            return [r for r in self.log if below(r.path, prefix) and (method is None or r.method == method)]

    def wait_for(self, prefix, count, timeout=20):
        deadline = time.time() + timeout
        with self.lock:
            while sum(below(r.path, prefix) for r in self.log) < count:
                if not self.lock.wait(max(0, deadline - time.time())) and time.time() >= deadline:
                    raise AssertionError(f"{count} requests to {prefix} did not come within {timeout} s; came: {[r for r in self.log if below(r.path, prefix)]}")

    def store(self, name):
        with self.lock:
            return dict(self.stores.get(name, {}))

    # What the server does

    def serve(self, handler, body):
        with self.lock:
            request = Request(len(self.log) + 1, handler.command, handler.path, list(handler.headers.items()), body)
            if request.path.startswith("/_"):
                return self.control(handler, request)
            self.log.append(request)
            prefix = max((p for p in self.scripts if below(request.path, p)), key=len, default=None)
            answer = None
            if prefix is not None and self.scripts[prefix]:
                script = self.scripts[prefix]
                answer = script.pop(0) if len(script) > 1 else script[0]
            top = "/" + request.path.split("/")[1]
            self.under_way[top] = self.under_way.get(top, 0) + 1
            self.most_under_way[top] = max(self.most_under_way.get(top, 0), self.under_way[top])
            self.lock.notify_all()
        try:
            if callable(answer):
                answer = answer(request)
            # A refusal or a cut line before processing leaves the store alone.
            if request.path.startswith("/store/") and (answer is None or (answer.status < 300 and not answer.reset)):
                done = self.apply(request)
                if answer is None or answer.status == 200:
                    done.delay, done.drop = (answer.delay, answer.drop) if answer else (0, False)
                    answer = done
            answer = answer or Answer(200, {"ok": True})
            if answer.delay:
                time.sleep(answer.delay)
            self.reply(handler, answer)
        finally:
            with self.lock:
                self.under_way[top] -= 1

    def reply(self, handler, answer):
        if answer.drop or answer.reset:
            # Linger 0 makes close() a reset.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.rfile.close()
            handler.connection.close()
            return
        data = answer.body if isinstance(answer.body, bytes) else answer.body.encode()
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if "Content-Type" not in answer.headers:
            handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def apply(self, request):
        parts = [urllib.parse.unquote(p) for p in request.path.split("/")[2:]]
        name, key = parts[0], parts[1] if len(parts) > 1 else None
        with self.lock:
            store, writes = self.stores.setdefault(name, {}), self.writes.setdefault(name, {})
            idempotency_key = request.header("Idempotency-Key")
            if name.endswith("-idem") and idempotency_key in self.keys:
                return self.keys[idempotency_key]
            if request.method == "GET":
                return Answer(200, store.get(key)) if key in store else Answer(404)
            if request.method == "DELETE":
                answer = Answer(204 if store.pop(key, None) is not None else 404)
            else:
                try:
                    record = json.loads(request.raw)
                except ValueError:
                    record = None
                if not isinstance(record, dict) or (key is None and "id" not in record):
                    return Answer(200, {"ok": True})  # a message, an event, a batch: recorded, not stored
                key = key if key is not None else str(record["id"])
                if request.method == "POST" and key in store:
                    answer = Answer(409, {"error": "exists"})
                elif request.method == "PATCH" and key not in store:
                    answer = Answer(404, {"error": "missing"})
                else:
                    answer = Answer(200, {"id": key})
                    store[key] = {**store.get(key, {}), **record} if request.method == "PATCH" else record
            if answer.status < 300:
                writes[key] = writes.get(key, 0) + 1
                if self.journal:
                    self.journal.write(json.dumps({"store": name, "key": key, "method": request.method}) + "\n")
            if idempotency_key:
                self.keys[idempotency_key] = answer
            return answer

    def control(self, handler, request):
        """GET /_requests?prefix=, GET /_store?name=, GET /_writes?name=, POST /_script {"prefix": ..., "answers": [{...}]}"""
        prefix, name = request.query.get("prefix", "/"), request.query.get("name", "")
        if request.path == "/_script":
            asked = request.json
            self.scripts[asked["prefix"]] = [Answer(**a) for a in asked["answers"]]
            result = {}
        elif request.path == "/_store":
            result = self.stores.get(name, {})
        elif request.path == "/_writes":
            result = self.writes.get(name, {})
        else:
            result = [{"method": r.method, "path": r.path, "time": r.time, "key": r.header("Idempotency-Key"), "body": r.raw.decode("utf-8", "replace")}
                      for r in self.log if below(r.path, prefix)]
        self.reply(handler, Answer(200, result))


def below(path, prefix):
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


if __name__ == "__main__":
    alone = Receiver(0, sys.argv[2] if len(sys.argv) > 2 else None)
    with open(sys.argv[1] + ".new", "w") as f:
        f.write(str(alone.port))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    threading.Event().wait()
