"""Packages of npm, pinned, installed once into .test/ of this tree."""

import fcntl
import json
import os
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def installed(name, dependencies):
    """The directory whose node_modules has these packages; installs them where they are missing. Several processes may ask at once."""
    directory, wanted = os.path.join(ROOT, ".test", name), json.dumps({"private": True, "dependencies": dependencies})
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, log_path = os.path.join(directory, ".installed"), os.path.join(directory, "npm.log")
        if os.path.exists(done) and open(done).read() == wanted:
            return directory
        if not shutil.which("npm"):
            raise RuntimeError("npm is missing: test/install_packages test")
        with open(os.path.join(directory, "package.json"), "w") as f:
            f.write(wanted)
        with open(log_path, "w") as log:
            code = subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=600).returncode
        if code:
            raise RuntimeError(f"npm install {name} failed: " + open(log_path).read()[-2000:])
        with open(done, "w") as f:
            f.write(wanted)
    return directory
