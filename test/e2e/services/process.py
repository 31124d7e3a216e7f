"""A service of a test: a process that is started, looked at until it answers, and ended by its id."""

import json
import os
import subprocess
import urllib.error
import urllib.request

from harness import until


class Service:
    def start(self, command, directory, ready, timeout=60, **more):
        self.log_path = os.path.join(directory, "log")
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        try:
            until(f"{command[0]} answers", lambda: self.alive() and self.answers(ready), timeout)
        except BaseException:
            self.stop()
            raise

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.process.args[0]} ended: " + open(self.log_path, errors="replace").read()[-2000:])
        return True

    def answers(self, url):
        try:
            return self.call("GET", url) is not None
        except OSError:
            return False

    def call(self, method, url, body=None, headers=None):
        """The answer as (status, text); a text or a JSON value as the body."""
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        request = urllib.request.Request(url, data and data.encode(), {"Content-Type": "application/json", **self.headers, **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    headers = {}

    def ask(self, method, path, body=None):
        """The JSON of an answer that must be good."""
        status, text = self.call(method, self.url + path, body)
        assert status < 300, f"{method} {path}: {status} {text}"
        return json.loads(text) if text.strip() else None

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def own_directory(directory, name):
    path = os.path.join(directory, name)
    os.makedirs(path)
    return path
