"""What the end-to-end tests stand on: a throwaway cluster, SQL through psql, one Case per test."""

import base64
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from decimal import Decimal

from receiver import Receiver

PG_BIN = os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin")
TOKEN_IN_ENVIRONMENT = "env-secret-7c1f0a"
TOKEN_IN_FILE = "file-secret-93be42"
SETTINGS = ("superuser", "owner", "no-preload")

tests = []


def test(name, settings=SETTINGS):
    def add(function):
        tests.append((name, function, settings))
        return function
    return add


class SqlError(Exception):
    def __init__(self, text):
        super().__init__(text)
        found = re.search(r"ERROR:  ([0-9A-Z]{5}): (.*)", text)
        self.sqlstate, self.message = found.groups() if found else (None, text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, condition, timeout=20):
    """Looks until the condition holds; gives what it gave."""
    deadline = time.time() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.time() > deadline:
            raise AssertionError(f"waited {timeout} s for: {what}")
        time.sleep(0.1)


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what + ': ' if what else ''}expected {expected!r}, found {found!r}")


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Etcd:
    """A real service that counts the writes of every key."""

    def __init__(self, directory):
        client, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.url, self.log = client, open(os.path.join(directory, "etcd.log"), "w")
        self.process = subprocess.Popen(
            ["etcd", "--data-dir", os.path.join(directory, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--unsafe-no-fsync"]
            if b"unsafe-no-fsync" in subprocess.run(["etcd", "--help"], capture_output=True).stdout else
            ["etcd", "--data-dir", os.path.join(directory, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
            stdout=self.log, stderr=self.log)
        until("etcd", self.healthy)

    def healthy(self):
        try:
            return b"true" in urllib.request.urlopen(self.url + "/health", timeout=2).read()
        except OSError:
            return False

    def read(self, prefix):
        """key -> (value, version); numbers keep their digits"""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = post(self.url + "/v3/kv/range", {"key": b64(prefix), "range_end": b64(end)})
        return {unb64(kv["key"])[len(prefix):]: (json.loads(unb64(kv["value"]), parse_float=Decimal), int(kv["version"])) for kv in found.get("kvs", [])}

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def b64(text):
    return base64.b64encode(text.encode()).decode()


def unb64(text):
    return base64.b64decode(text).decode()


class Nginx:
    """TLS with a certificate of a private authority."""

    def __init__(self, directory, upstream):
        self.port, run = free_port(), lambda *a: subprocess.run(a, cwd=directory, check=True, capture_output=True)
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=localhost")
        with open(os.path.join(directory, "leaf.ext"), "w") as f:
            f.write("subjectAltName=IP:127.0.0.1\n")
        run("openssl", "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "leaf.pem", "-days", "2", "-extfile", "leaf.ext")
        self.ca = open(os.path.join(directory, "ca.pem")).read()
        with open(os.path.join(directory, "nginx.conf"), "w") as f:
            f.write(f"""daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen 127.0.0.1:{self.port} ssl;
        ssl_certificate {directory}/leaf.pem; ssl_certificate_key {directory}/leaf.key;
        location / {{ proxy_pass {upstream}; proxy_http_version 1.1; }}
    }}
}}
""")
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([nginx, "-c", os.path.join(directory, "nginx.conf"), "-p", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"https://127.0.0.1:{self.port}"
        until("nginx", lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


class Cluster:
    def __init__(self, setting, environment=None):
        self.setting = setting
        self.directory = tempfile.mkdtemp(prefix="pg_courier-e2e-", dir="/tmp")
        self.port = free_port()
        self.log = os.path.join(self.directory, "postgresql.log")
        self.as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        os.makedirs(os.path.join(self.directory, "secrets"))
        with open(os.path.join(self.directory, "secrets", "token"), "w") as f:
            f.write(TOKEN_IN_FILE + "\n")
        os.chmod(os.path.join(self.directory, "secrets"), 0o755)
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        os.chmod(self.directory, 0o755)
        self.data = os.path.join(self.directory, "data")
        self.pg("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        libraries = subprocess.run([os.path.join(PG_BIN, "pg_config"), "--pkglibdir"], capture_output=True, text=True, check=True).stdout.strip()
        self.has_cron = setting == "superuser" and os.path.exists(os.path.join(libraries, "pg_cron.so"))
        preload = {"superuser": ("pg_cron,pg_courier" if self.has_cron else "pg_courier") + ",auto_explain", "owner": "pg_courier", "no-preload": ""}[setting]
        settings = f"""
port = {self.port}
listen_addresses = '127.0.0.1'
unix_socket_directories = '{self.directory}'
shared_preload_libraries = '{preload}'
fsync = off
max_connections = 60
max_worker_processes = 24
log_line_prefix = '%m [%p] %b '
log_statement = 'none'
timezone = 'America/New_York'
pg_courier.allow_addresses = '127.0.0.0/8'
pg_courier.secrets_directory = '{self.directory}/secrets'
pg_courier.secret_env = 'COURIER_TEST_TOKEN'
pg_courier.max_running_syncs = 8
"""
        if os.environ.get("PG_COURIER_DESTDIR"):  # a staged copy, so that nothing need be installed into system folders
            staged = os.environ["PG_COURIER_DESTDIR"]
            # extension_destdir serves '$libdir/pg_courier', the path serves 'pg_courier' (preload and background workers).
            settings += f"extension_destdir = '{staged}'\ndynamic_library_path = '{staged}{libraries}:$libdir'\n"
        if self.has_cron:
            settings += "cron.database_name = 'app'\ncron.use_background_workers = on\n"
        self.append("postgresql.conf", settings)
        hba = self.read("pg_hba.conf")
        self.write("pg_hba.conf", "host warehouse reader 127.0.0.1/32 scram-sha-256\n" + hba)
        self.pg("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start", env={"COURIER_TEST_TOKEN": TOKEN_IN_ENVIRONMENT, **(environment or {})})

    def read(self, name):
        return subprocess.run([*self.as_postgres, "cat", os.path.join(self.data, name)], check=True, capture_output=True, text=True, cwd="/").stdout

    def write(self, name, text, *how):
        subprocess.run([*self.as_postgres, "tee", *how, os.path.join(self.data, name)], input=text, check=True, stdout=subprocess.DEVNULL, text=True, cwd="/")

    def append(self, name, text):
        self.write(name, text, "-a")

    def pg(self, program, *arguments, env=None):
        # Output to a file: the server would keep a pipe open.
        with tempfile.TemporaryFile() as out:
            done = subprocess.run([*self.as_postgres, os.path.join(PG_BIN, program), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                                  env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})})
            if done.returncode:
                out.seek(0)
                raise RuntimeError(f"{program} failed: {out.read().decode()}")

    def psql(self, *commands, user="postgres", database="app", timeout=120):
        arguments = ["psql", "-XAtq", "-h", self.directory, "-p", str(self.port), "-U", user, "-d", database, "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        for command in commands:
            arguments += ["-c", command]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
                              env={**os.environ, "PGCLIENTENCODING": "UTF8", "PGCONNECT_TIMEOUT": "10"})
        if done.returncode:
            raise SqlError(done.stderr)
        return done.stdout.rstrip("\n")

    def stop(self):
        try:
            self.pg("pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "20", "stop")
        except RuntimeError:
            self.pg("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
            raise
        finally:
            if not os.environ.get("KEEP"):
                shutil.rmtree(self.directory, ignore_errors=True)


class World:
    """Everything that the tests of one setting share."""

    def __init__(self, setting):
        self.setting = setting
        self.services = []
        self.cluster = None
        self.receiver = Receiver()
        self.services_directory = tempfile.mkdtemp(prefix="pg_courier-services-", dir="/tmp")

    def start(self):
        setting, directory = self.setting, self.services_directory
        self.cluster = Cluster(setting)
        self.etcd = self.serve(Etcd(directory))
        self.nginx = self.serve(Nginx(directory, self.receiver.url))
        admin = lambda *c, **k: self.cluster.psql(*c, **k)
        admin("CREATE DATABASE app", database="postgres")
        admin("CREATE DATABASE warehouse", database="postgres")
        admin("CREATE ROLE reader LOGIN PASSWORD 'reader'", "CREATE TABLE stock (sku text PRIMARY KEY, pieces integer)", "GRANT SELECT ON stock TO reader",
              "INSERT INTO stock VALUES ('A-1', 5), ('B-2', 7)", database="warehouse")
        admin("CREATE EXTENSION pg_courier", "CREATE EXTENSION postgres_fdw")
        if self.cluster.has_cron:
            admin("CREATE EXTENSION pg_cron")
        self.owner, self.caller = "postgres", "postgres"
        if setting == "owner":
            self.owner, self.caller = "shop", "clerk"
            admin("CREATE ROLE shop NOLOGIN", "CREATE ROLE clerk LOGIN IN ROLE shop", "CREATE SCHEMA shop AUTHORIZATION shop")
        else:
            admin("CREATE SCHEMA shop")
        admin("ALTER DATABASE app SET search_path = shop, public")
        admin("CREATE SERVER warehouse FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', dbname 'warehouse', port '" + str(self.cluster.port) + "')",
              f"CREATE USER MAPPING FOR {self.owner} SERVER warehouse OPTIONS (user 'reader', password 'reader')", f"GRANT USAGE ON FOREIGN SERVER warehouse TO {self.owner}")

    def serve(self, service):
        self.services.append(service)
        return service

    def stop(self):
        for service in self.services:
            service.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.services_directory, ignore_errors=True)
        if self.cluster:
            self.cluster.stop()


REST = {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}
POSTED = {"insert": {"method": "POST", "body": "{{ record }}"}, "update": {"method": "PATCH", "path": "/{{ id }}", "body": "{{ record }}"},
          "delete": {"method": "DELETE", "path": "/{{ id }}"}}


class Case:
    """One test: a table, a model, a destination and a sync that are called like it, and a path of its own at the receiver."""

    def __init__(self, world, number):
        self.world, self.name = world, f"t{number:02}"
        self.receiver, self.etcd = world.receiver, world.etcd
        self.path = f"/store/{self.name}"
        self.looked = 0
        self.syncs = []

    # SQL: as the owner who makes things, as the caller who runs them, as a superuser
    def sql(self, *commands):
        world = self.world
        return world.cluster.psql(*([f"SET ROLE {world.owner}"] if world.owner != world.caller else []), *commands, user=world.caller)

    def call(self, *commands):
        return self.world.cluster.psql(*commands, user=self.world.caller)

    def admin(self, *commands, **more):
        return self.world.cluster.psql(*commands, **more)

    def rows(self, query):
        return json.loads(self.call(f"SELECT COALESCE(json_agg(x), '[]') FROM ({query}) x"))

    def table(self, rows=(), columns="id integer PRIMARY KEY, name text", name=None):
        self.sql(f"CREATE TABLE {name or self.name} ({columns})")
        self.insert(*rows, name=name)

    def insert(self, *rows, name=None):
        if rows:
            self.sql(f"INSERT INTO {name or self.name} VALUES " + ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in rows))

    def sync(self, name=None, model=None, relation=None, query=None, primary_key=None, base=None, destination=None, requests=REST, response=None,
             destination_config=None, secrets=None, config=None, **settings):
        name = name or self.name
        if model is None:
            model = name
            what = f"query => {literal(query)}" if query else f"relation => {literal(relation or self.name)}"
            key = f", primary_key => {literal('{' + ','.join(primary_key) + '}')}" if primary_key else ""
            self.sql(f"SELECT courier.create_model({literal(model)}, {what}{key})")
        if destination is None:
            destination = name
            config_text = {"base_url": base or self.receiver.url + self.path, **(destination_config or {})}
            self.sql(f"SELECT courier.create_destination({literal(destination)}, 'http', {literal(config_text)}, {literal(secrets or {})})")
        config = {**({"requests": requests} if requests else {}), **({"response": response} if response else {}), **(config or {})}
        settings.setdefault("mode", "upsert")
        settings["config"] = config
        self.sql(f"SELECT courier.create_sync({literal(name)}, {literal(model)}, {literal(destination)}, "
                 + ", ".join(f"{k} => {literal(v)}" for k, v in settings.items()) + ")")
        self.syncs.append(name)

    def run(self, expected="success", sync=None, resync=None, **checks):
        """CALL courier.run_sync, then the run's details; `checks` are columns of run_details."""
        sync = sync or self.name
        error = None
        try:
            self.call(f"CALL courier.run_sync({literal(sync)}{', ' + literal(resync) if resync else ''}, timeout => '60 s')")
        except SqlError as e:
            error = e
        run = self.last_run(sync)
        if run is None:
            raise error or AssertionError("no run")
        run["raised"] = error
        if run["status"] != expected:
            raise AssertionError(f"run {run['run_id']} ended {run['status']}, expected {expected}: {run['error_code']}: {run['error']} ({error})")
        if (error is None) != (expected in ("success", "warning")):
            raise AssertionError(f"run ended {expected}, and run_sync said: {error}")
        for column, value in checks.items():
            equal(run[column], value, column)
        total = sum(run[f"planned_{c}"] for c in ("added", "changed", "removed"))
        settled = sum(run[f"{o}_{c}"] for o in ("succeeded", "rejected") for c in ("added", "changed", "removed")) + run["skipped"] + run["unknown"] + run["aborted"]
        if expected != "blocked":
            equal(settled, total, "planned = succeeded + rejected + skipped + unknown + aborted")
        return run

    def last_run(self, sync=None):
        found = self.rows(f"SELECT * FROM courier.run_details WHERE sync = {literal(sync or self.name)} ORDER BY run_id DESC LIMIT 1")
        return found[0] if found else None

    def trigger(self, sync=None):
        return int(self.call(f"SELECT courier.trigger_sync({literal(sync or self.name)})"))

    def wait(self, run_id, timeout=60):
        return self.call(f"SELECT courier.wait_for_run({run_id}, '{timeout} s')")

    def seen(self, prefix=None):
        """The requests that came since the last look."""
        every = self.receiver.requests(prefix or self.path)
        new, self.looked = every[self.looked:], len(every)
        return new

    def script(self, *answers):
        self.receiver.script(self.path, *answers)

    def stored(self):
        return self.receiver.store(self.name)

    def rejected(self, sync=None):
        return self.rows(f"SELECT * FROM courier.rejected_records WHERE sync = {literal(sync or self.name)} ORDER BY key")

    def quiet(self):
        """Schedules end with their test."""
        for sync in self.syncs:
            self.sql(f"SELECT courier.pause_sync({literal(sync)})")


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (dict, list)):
        value = json.dumps(value)
    return "'" + value.replace("'", "''") + "'"


def methods(requests):
    return [r.method for r in requests]
