"""What vendors publish, and the JavaScript that judges requests by it (validate.js). The folder is API_SPECS or ../shared/api-specs."""

import json
import os
import subprocess
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SPECS = os.environ.get("API_SPECS") or os.path.join(ROOT, "..", "shared", "api-specs")
NODE = os.path.join(ROOT, ".test", "node")
NPM = ["ajv@8.17.1", "ajv-formats@3.0.1", "standardwebhooks@1.1.1", "aws4@1.13.2"]
installing = threading.Lock()


def node(script, data):
    done = subprocess.run(["node", os.path.join(HERE, script)], input=json.dumps(data), capture_output=True, text=True, timeout=120,
                          env={**os.environ, "NODE_MODULES_OF": NODE})
    if done.returncode:
        raise SystemExit(f"{script} failed: {done.stderr}")
    return json.loads(done.stdout)


def version(name):
    try:
        with open(os.path.join(NODE, "node_modules", name, "package.json")) as f:
            return json.load(f)["version"]
    except OSError:
        return None


def install_node_modules():
    with installing:
        if all(version(p.rsplit("@", 1)[0]) == p.rsplit("@", 1)[1] for p in NPM):
            return
        os.makedirs(NODE, exist_ok=True)
        done = subprocess.run(["npm", "install", "--prefix", NODE, "--no-save", "--no-audit", "--no-fund", "--loglevel=error", *NPM], capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit(f"npm install failed: {done.stderr}")


def judge(requests):
    """[{"specs", "method", "url", "headers", "body"}] -> a list of problems for each."""
    judged = node("validate.js", {"specs": SPECS, "requests": [{**r, "id": str(n)} for n, r in enumerate(requests)]})["requests"]
    return [judged[str(n)] for n in range(len(requests))]
