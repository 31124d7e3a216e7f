"""Every kind of TLS failure, against nginx and `openssl s_server`: nothing arrives, nothing is rejected, the run says what is wrong; once it is mended, the record arrives."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import equal, free_port, literal, test, until

ONCE = ("superuser",)  # the engine is the same in all settings


class Certificates:
    def __init__(self, directory):
        self.directory = directory
        for name in ("ca", "other_ca"):
            self.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2", "-subj", f"/CN={name}")
        self.leaf("good", "subjectAltName=IP:127.0.0.1")
        self.leaf("wrong_host", "subjectAltName=DNS:api.example.com,IP:127.0.0.2")
        self.leaf("expired", "subjectAltName=IP:127.0.0.1", days=-1)
        self.leaf("client", "extendedKeyUsage=clientAuth")
        self.leaf("stranger", "extendedKeyUsage=clientAuth", ca="other_ca")

    def run(self, *command):
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def leaf(self, name, extension, ca="ca", days=2):
        self.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        with open(os.path.join(self.directory, "extension"), "w") as f:
            f.write(extension + "\n")
        self.run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", str(days), "-extfile", "extension", "-out", f"{name}.crt")

    def text(self, name):
        with open(os.path.join(self.directory, name)) as f:
            return f.read()


def nginx(directory, upstream, servers):
    """servers: port -> (certificate, more settings)"""
    blocks = "".join(f"""
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {directory}/{name}.crt; ssl_certificate_key {directory}/{name}.key; {more}
        location / {{ proxy_pass {upstream}; }}
    }}""" for port, (name, more) in servers.items())
    temporary = "".join(f"{kind}_temp_path {directory}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(os.path.join(directory, "nginx.conf"), "w") as f:
        f.write(f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/log;\nevents {{}}\nhttp {{ access_log off; {temporary}{blocks}\n}}\n")
    process = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", f"{directory}/nginx.conf", "-p", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for port in servers:
        until("nginx", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    return process


@test("TLS: unknown authority, wrong host, expired, old protocol: the run fails with words, nothing arrives; mended, the record does", settings=ONCE)
def failures(t):
    directory, processes = tempfile.mkdtemp(prefix="pg_courier-tls-", dir="/tmp"), []
    try:
        made = Certificates(directory)
        good, wrong, expired, old, mutual, openssl = (free_port() for _ in range(6))
        old_protocol = "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"
        processes.append(nginx(directory, t.receiver.url, {
            good: ("good", ""), wrong: ("wrong_host", ""), expired: ("expired", ""), old: ("good", old_protocol),
            mutual: ("good", f"ssl_client_certificate {directory}/ca.crt; ssl_verify_client on;")}))
        processes.append(subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{openssl}", "-cert", "good.crt", "-key", "good.key", "-CAfile", "ca.crt", "-Verify", "1",
                                           "-verify_return_error", "-www", "-quiet"], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until("openssl s_server", lambda: socket.socket().connect_ex(("127.0.0.1", openssl)) == 0)
        # The old server does speak: with somebody who still takes it.
        said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{old}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True).stdout
        assert b"TLSv1.1" in said and b"Cipher is (NONE)" not in said, said

        authority, other = {"ca": made.text("ca.crt")}, {"ca": made.text("other_ca.crt")}
        client = {**authority, "client_certificate": made.text("client.crt")}
        stranger = {**authority, "client_certificate": made.text("stranger.crt")}
        cases = [
            ("no_authority", good, {}, None, "issuer certificate"), ("other_authority", good, other, None, "issuer certificate"),
            ("wrong_host", wrong, authority, None, "127.0.0.1"), ("expired", expired, authority, None, "expired"), ("old_protocol", old, authority, None, "protocol"),
            ("no_certificate", openssl, authority, None, "certificate required"), ("strange_certificate", openssl, stranger, "stranger", "unknown ca"),
        ]
        t.table([(1, "one")])
        t.sql(f"SELECT courier.create_model('{t.name}', relation => '{t.name}')")
        for case, port, tls, key, words in cases:
            name = f"{t.name}_{case}"
            t.sync(name=name, model=t.name, base=f"https://127.0.0.1:{port}{t.path}", destination_config={"tls": tls}, secrets={"client_key": made.text(key + ".key")} if key else None,
                   options={"max_attempts": 2, "timeout": "3 s"})
            run = t.run("failed", sync=name, error_code="tls", aborted=1)
            assert words in run["error"].lower() and "certificate" in run["hint"], (case, run["error"], run["hint"])
            equal(t.rejected(name), [], case)
        equal(t.seen(), [], "nothing arrived")

        # nginx lets a client without certificate in, and answers 400. It is an answer, with words.
        t.sync(name=t.name + "_none", model=t.name, base=f"https://127.0.0.1:{mutual}{t.path}", destination_config={"tls": authority})
        t.run("warning", sync=t.name + "_none", rejected_added=1)
        assert "SSL certificate" in t.rejected(t.name + "_none")[0]["message"], t.rejected(t.name + "_none")
        equal(t.seen(), [])

        t.sql(f"SELECT courier.alter_destination('{t.name}_no_authority', config => {literal({'tls': authority})})")
        t.run("success", sync=t.name + "_no_authority", succeeded_added=1)
        t.sync(name=t.name + "_mutual", model=t.name, base=f"https://127.0.0.1:{mutual}{t.path}", destination_config={"tls": client}, secrets={"client_key": made.text("client.key")})
        t.run("success", sync=t.name + "_mutual", succeeded_added=1)
        equal(len(t.seen()), 2)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        shutil.rmtree(directory, ignore_errors=True)
