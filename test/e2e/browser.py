"""Headless Chromium, driven through its debugging pipe: a page, what it says on the console, its measures, screenshots."""

import base64
import fcntl
import json
import os
import subprocess
import tempfile


def above(least, fd):
    """The same open file under a number of at least `least`."""
    number = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)
    os.close(fd)
    return number


class Browser:
    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="pg_courier-chromium-", ignore_cleanup_errors=True)  # its children outlive it for a moment
        self.errors = open(os.path.join(self.profile.name, "stderr"), "w+")
        commands, self.write = os.pipe()
        self.read, answers = os.pipe()

        # Chromium reads commands from 3 and writes to 4. The shell moves the ends there from numbers far above: ends that are themselves
        # called 3 or 4 would be closed by the first move before the second is made.
        commands, answers = (above(20, fd) for fd in (commands, answers))
        chromium = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
                    "--disable-background-networking", f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash", *chromium], pass_fds=(commands, answers),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors)
        os.close(commands)
        os.close(answers)
        self.number, self.buffer, self.events = 0, b"", []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(domain + ".enable")

    def command(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **({"sessionId": self.session} if getattr(self, "session", None) else {})}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def message(self):
        while b"\0" not in self.buffer:
            part = os.read(self.read, 1 << 20)
            if not part:
                self.errors.seek(0)
                raise RuntimeError(f"the browser is gone (exit {self.process.wait()}): {self.errors.read()[-1000:]}")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def open(self, path):
        self.events = []
        self.command("Page.navigate", url="file://" + path)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.message())

    def complaints(self):
        """What the console would show, and every request but that for the page."""
        out = [e["params"] for e in self.events if e.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")]
        return out + [url for e in self.events if e.get("method") == "Network.requestWillBeSent" and not (url := e["params"]["request"]["url"]).startswith(("file:", "data:"))]

    def screen(self, width, dark=False):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def value(self, expression):
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def picture(self, path):
        """The page from its top; a page of very many syncs is longer than a picture can be."""
        size = self.value("[document.documentElement.clientWidth, Math.min(document.documentElement.scrollHeight, 6000)]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]))

    def close(self):
        os.close(self.write)
        self.process.terminate()
        self.process.wait(20)
        os.close(self.read)
        self.errors.close()
        self.profile.cleanup()
