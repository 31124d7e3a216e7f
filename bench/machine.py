"""The machine of a benchmark: a throwaway cluster at default settings, SQL sessions, and the CPU time of its processes."""

import bisect
import collections
import os
import platform
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import psycopg2

PG_BIN = os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, condition, timeout=60):
    deadline = time.time() + timeout
    while not condition():
        if time.time() > deadline:
            raise RuntimeError(f"waited {timeout} s for {what}")
        time.sleep(0.05)


def describe():
    """What the numbers depend on."""
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo") as f:
        memory = int(re.search(r"MemTotal: +(\d+)", f.read())[1])
    return {"cpu": model[1] if model else platform.processor(), "cores": os.cpu_count(), "memory_gb": round(memory / 2**20), "kernel": platform.release(),
            "load_before": os.getloadavg()[0]}


class Cluster:
    """PostgreSQL as it comes, but for what is in `settings`; everything lives in one directory that goes in the end."""

    settings = {"shared_buffers": "2GB", "min_wal_size": "4GB", "max_wal_size": "16GB", "max_connections": "60", "max_worker_processes": "16"}

    def __init__(self, stage):
        self.directory = tempfile.mkdtemp(prefix="pg_courier-bench-")
        self.port = free_port()
        self.as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
        os.chmod(self.directory, 0o755)
        self.data = os.path.join(self.directory, "data")
        self.pg("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        libraries = subprocess.run([os.path.join(PG_BIN, "pg_config"), "--pkglibdir"], capture_output=True, text=True, check=True).stdout.strip()
        preload = "pg_courier" + os.environ.get("BENCH_PRELOAD", "")
        if os.path.exists(os.path.join(libraries, "pg_net.so")):
            preload += ",pg_net"
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        lines += [f"port = {self.port}", "listen_addresses = '127.0.0.1'", f"unix_socket_directories = '{self.directory}'", f"shared_preload_libraries = '{preload}'",
                  "pg_courier.allow_addresses = '127.0.0.0/8'", "pg_net.database_name = 'bench'"]
        if stage:  # a copy that is not installed into system folders
            lines += [f"extension_destdir = '{stage}'", f"dynamic_library_path = '{stage}{libraries}:$libdir'"]
        subprocess.run([*self.as_postgres, "tee", "-a", os.path.join(self.data, "postgresql.conf")], input="\n".join(lines) + "\n", text=True, check=True,
                       stdout=subprocess.DEVNULL, cwd="/")
        self.pg("pg_ctl", "-D", self.data, "-l", os.path.join(self.directory, "postgresql.log"), "-w", "-t", "60", "start")
        self.pg("createdb", "-h", self.directory, "-p", str(self.port), "-U", "postgres", "bench")
        with open(os.path.join(self.data, "postmaster.pid")) as f:
            self.pid = int(f.readline())
        self.cpu = Cpu(self.pid)

    def address(self, database="bench"):
        return {"host": self.directory, "port": self.port, "user": "postgres", "dbname": database}

    def pg(self, program, *arguments):
        with tempfile.TemporaryFile() as out:  # a file: the server would keep a pipe open
            done = subprocess.run([*self.as_postgres, os.path.join(PG_BIN, program), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                                  env={**os.environ, "LC_ALL": "C.UTF-8"})
            if done.returncode:
                out.seek(0)
                raise RuntimeError(f"{program} failed: {out.read().decode()}")

    def session(self):
        return Session(self)

    def stop(self):
        self.cpu.stop()
        try:
            self.pg("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "-t", "30", "stop")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


class Session:
    def __init__(self, cluster):
        self.cluster = cluster
        self.connection = psycopg2.connect(**cluster.address())
        self.connection.autocommit = True

    def __call__(self, sql, *values):
        """Rows; one value if there is one."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            if cursor.description is None:
                return None
            rows = cursor.fetchall()
        return rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else rows

    def make_wal_files(self):
        """WAL files as a server has them that has been at work. Where there is none to be used again, whoever needs the next one fills 16 MB with zeros first."""
        self("SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1000000))) FROM generate_series(1, 2500)")
        self("CHECKPOINT")

    def timed(self, sql):
        """(CPU seconds of this backend and its parallel workers, wall seconds)"""
        cpu, me = self.cluster.cpu, self.connection.get_backend_pid()
        start = time.time()
        self(sql)
        end = time.time()
        return cpu.seconds(start, end, me), end - start


class Cpu:
    """Looks at the children of a postmaster every few milliseconds: CPU time of each (from schedstat, in ns), and its own memory."""

    period = 0.004

    def __init__(self, postmaster):
        self.postmaster = postmaster
        self.series = collections.defaultdict(lambda: ([], []))  # pid -> times, seconds
        self.titles, self.memory = {}, []  # memory: (time, MB) of run workers
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        rounds = 0
        while not self.done.wait(self.period):
            try:
                with open(f"/proc/{self.postmaster}/task/{self.postmaster}/children") as f:
                    pids = f.read().split()
            except OSError:
                return
            rounds += 1
            for pid in map(int, pids):
                try:
                    with open(f"/proc/{pid}/schedstat") as f:
                        spent = int(f.read().split()[0]) / 1e9
                    if not self.titles.get(pid, "").startswith("postgres: "):
                        with open(f"/proc/{pid}/cmdline") as f:
                            self.titles[pid] = f.read().rstrip("\0 ")
                    if rounds % 16 == 0 and "run worker" in self.titles[pid]:
                        with open(f"/proc/{pid}/status") as f:
                            own = int(re.search(r"RssAnon:\s+(\d+)", f.read())[1]) / 1024
                        self.memory.append((time.time(), own))
                except (OSError, IndexError, TypeError):
                    continue
                times, seconds = self.series[pid]
                if len(seconds) > 1 and seconds[-1] == spent == seconds[-2]:
                    times[-1] = time.time()  # idle: one sample at each end is enough
                else:
                    times.append(time.time())
                    seconds.append(spent)

    def at(self, pid, when):
        times, seconds = self.series[pid]
        i = bisect.bisect_left(times, when)
        if i == len(times):
            return seconds[-1] if seconds else 0.0
        if i == 0:
            return seconds[0] if times[0] <= when else 0.0
        share = (when - times[i - 1]) / (times[i] - times[i - 1])
        return seconds[i - 1] + share * (seconds[i] - seconds[i - 1])

    def seconds(self, start, end, backend=None):
        """Of one backend, or of the run workers; with their parallel workers."""
        time.sleep(3 * self.period)
        total = 0.0
        for pid, title in list(self.titles.items()):
            mine = pid == backend or f"parallel worker for PID {backend}" in title if backend else "run worker" in title
            if not backend and "parallel worker for PID" in title:
                parent = int(title.split("PID ")[1].split()[0])
                mine = "run worker" in self.titles.get(parent, "")
            if mine:
                total += self.at(pid, end) - self.at(pid, start)
        return total

    def most_memory(self, start, end):
        """MB of its own that a run worker had at most."""
        return max((own for when, own in self.memory if start <= when <= end), default=0)

    def stop(self):
        self.done.set()
        self.thread.join()


class Nginx:
    """Answers 200 to everything, with one process: the receiver, and the floor with wrk."""

    def __init__(self, directory):
        self.port = free_port()
        self.directory = os.path.join(directory, "nginx")
        os.makedirs(self.directory)
        with open(os.path.join(self.directory, "nginx.conf"), "w") as f:
            temporary = " ".join(f"{name}_temp_path {self.directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            f.write(f"""daemon off; master_process off; worker_processes 1; pid {self.directory}/pid; error_log {self.directory}/log;
events {{ worker_connections 2048; }}
http {{
    access_log off; {temporary} keepalive_requests 1000000000; client_max_body_size 100m;
    server {{ listen 127.0.0.1:{self.port} backlog=1024; location / {{ default_type application/json; return 200 '{{}}'; }} }}
}}
""")
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([nginx, "-c", os.path.join(self.directory, "nginx.conf"), "-p", self.directory], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}"
        until("nginx", lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
