"""Stands before a real service and makes trouble by seed; keeps a journal of every request, so that what was sent can be counted by record.

Each request says in the header X-Key (base64) which record it is about and in one more which idempotency key it has. For one key at most
two requests in a row get into trouble, so a run with enough attempts always comes through; only records that are `sick` are refused for good.

It also plays the part of a gateway that remembers the answers of what it has passed on: where the service says that it has done a request
already (`is_repeat`), the first answer is given again. The service decides what is a repetition, not we.
"""

import base64
import http.client
import http.server
import json
import random
import socket
import socketserver
import struct
import threading
import urllib.parse

from property_values import key_from


class Entry:
    """fate: passed, lost (the service has done it, the answer was dropped), held, reset, 500, 429, 422."""

    def __init__(self, key, idempotency_key, method, path, body):
        self.key, self.about = key, key_from(key)
        self.idempotency_key, self.method, self.path, self.body = idempotency_key, method, path, body
        self.fate, self.status, self.repeat = "", None, False

    @property
    def done(self):
        return self.status is not None and self.status < 300 and not self.repeat

    def __repr__(self):
        return f"<{self.key} {self.method} {self.path} {self.idempotency_key} {self.fate} {self.status}{' repeat' if self.repeat else ''} {self.body[:600]}>"


class FaultProxy:
    def __init__(self, upstream, header, is_repeat=lambda status, body: False):
        self.upstream, self.header, self.is_repeat = urllib.parse.urlsplit(upstream), header, is_repeat
        self.lock = threading.Lock()
        self.journal, self.sick, self.answers, self.attempts = [], set(), {}, {}
        self.seed, self.trouble = 0, {}
        self.countdown, self.hold_after, self.reached, self.released = 0, False, threading.Event(), threading.Event()
        self.own, proxy = threading.local(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (OSError, ValueError):
                    self.close_connection = True

            def serve(self):
                proxy.serve(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_GET = do_POST = do_PUT = do_DELETE = serve

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}{self.upstream.path}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    # What the test says

    def hold(self, countdown, after):
        """The request of this number (from now, 1 is the next) stops, before or after the service has done it."""
        with self.lock:
            self.reached, self.released = threading.Event(), threading.Event()
            self.countdown, self.hold_after = countdown, after

    def let_go(self):
        """What is held is dropped."""
        with self.lock:
            self.countdown = 0
            self.released.set()

    def take_journal(self):
        with self.lock:
            taken, self.journal = self.journal, []
            return taken

    def forget_refused(self):
        """Refused requests do not use up their key for good: gives the keys, and forgets their answers."""
        with self.lock:
            refused = [key for key, (status, _, _) in self.answers.items() if status >= 300]
            for key in refused:
                del self.answers[key]
            return refused

    # What the server does

    def serve(self, handler, body):
        key = base64.b64decode(handler.headers.get("X-Key") or "").decode()
        entry = Entry(key, handler.headers.get(self.header), handler.command, handler.path, body)
        with self.lock:
            self.journal.append(entry)
            attempt = self.attempts[entry.idempotency_key] = self.attempts.get(entry.idempotency_key, 0) + 1
            held, released = False, self.released
            if self.countdown:
                self.countdown -= 1
                held = self.countdown == 0
            entry.fate = "held" if held else self.fate(entry, attempt)
        if held and (not self.hold_after or entry.about in self.sick):
            self.stand(released)
        elif entry.fate in ("passed", "lost", "held"):
            status, headers, answer = self.forward(handler, entry, body)
            if held:
                self.stand(released)
            elif entry.fate == "passed":
                return self.reply(handler, status, headers, answer)
        elif entry.fate != "reset":
            return self.reply(handler, int(entry.fate), {"Retry-After": "0.05"} if entry.fate == "429" else {}, b'{"error":"made up by the proxy"}')
        self.cut(handler)

    def stand(self, released):
        self.reached.set()
        released.wait(120)

    def fate(self, entry, attempt):
        if entry.about in self.sick:
            return "422"
        if attempt % 3 == 0:
            return "passed"
        draw = random.Random(f"{self.seed} {entry.key} {entry.method} {attempt}").random()
        for fate, share in self.trouble.items():
            draw -= share
            if draw < 0:
                return fate
        return "passed"

    def forward(self, handler, entry, body):
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "connection", "content-length", "x-key")}
        for fresh in (False, True):
            if fresh or not hasattr(self.own, "connection"):
                self.own.connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=60)
            self.own.connection.request(entry.method, entry.path, body or None, headers)
            try:
                answer = self.own.connection.getresponse()
                break
            except http.client.RemoteDisconnected:  # it had been idle for too long; nothing was read
                if fresh:
                    raise
        content, kept = answer.read(), {"Content-Type": answer.getheader("Content-Type") or "application/json"}
        with self.lock:
            entry.status = answer.status
            if self.is_repeat(answer.status, content):
                entry.repeat = True
                return self.answers[entry.idempotency_key]
            self.answers[entry.idempotency_key] = (answer.status, kept, content)
        return answer.status, kept, content

    def reply(self, handler, status, headers, body):
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def cut(self, handler):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # linger 0 makes close() a reset
        handler.close_connection = True
        handler.rfile.close()
        handler.connection.close()


def is_repeat_at_parse(status, body):
    return status == 400 and json.loads(body).get("code") == 159
