"""Requests that somebody would like the server to make: to itself, to private networks, by any spelling, name or detour. A listener on every loopback address hears nothing.

Names are resolved by libnss-wrapper from a file of the test, in a cluster of its own.
"""

import glob
import os
import tempfile

import harness
from harness import SqlError, equal, literal, test
from wire import Wire

ONCE = ("superuser",)
SPELLINGS = ["127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "017700000001", "127.0.0.1.", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
             "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost", "LOCALHOST", "localhost.", "inside.example.com", "inside6.example.com", "both.example.com", "127.0.0.2", "10.0.0.1", "192.168.1.1",
             "169.254.169.254", "metadata.example.com", "①②⑦.⓪.⓪.①"]


class Hosts:
    """The names that the servers of this cluster know."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "hosts")
        self.write()

    def write(self, more=""):
        with open(self.path + ".new", "w") as f:
            f.write("127.0.0.1 localhost inside.example.com both.example.com\n::1 inside6.example.com both.example.com\n169.254.169.254 metadata.example.com\n" + more)
        os.chmod(self.path + ".new", 0o644)
        os.rename(self.path + ".new", self.path)


def refused(admin, url):
    """Refused when it is created, or when it is tried. Gives the words."""
    try:
        admin(f"SELECT courier.create_destination('d', 'http', {literal({'base_url': url})})")
    except SqlError as error:
        equal(error.sqlstate, "22023", url)
        return error.message
    ok, message = admin("SELECT ok, message FROM courier.test_destination('d')").split("|", 1)
    admin("SELECT courier.drop_destination('d')")
    equal(ok, "f", url)
    return message


@test("addresses: loopback and private ones by every spelling and name; other protocols; redirects; a name that changes; proxies of the environment", settings=ONCE)
def addresses(t):
    wrapper = glob.glob("/usr/lib/*/libnss_wrapper.so")
    assert wrapper, "libnss-wrapper is not installed (test/install_packages test)"
    directory = tempfile.mkdtemp(prefix="pg_courier-hosts-", dir="/tmp")
    os.chmod(directory, 0o755)
    hosts = Hosts(directory)
    with Wire(lambda line, n: line.answer(200)) as four, Wire(lambda line, n: line.answer(200), "::1") as six, Wire(lambda line, n: line.answer(200), "127.0.0.3") as third, \
            Wire(lambda line, n: line.answer(307, b"", f"Location: {third.url}/inside", f"Refresh: 0; url={third.url}/inside")) as away:
        proxy = {name: four.url for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")}
        cluster = harness.Cluster("owner", {"LD_PRELOAD": wrapper[0], "NSS_WRAPPER_HOSTS": hosts.path, **proxy})
        try:
            admin = lambda *commands: cluster.psql(*commands)  # noqa: E731
            cluster.psql("CREATE DATABASE app", database="postgres")
            admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", "CREATE TABLE item (id integer PRIMARY KEY)", "INSERT INTO item VALUES (1)", "SELECT courier.create_model('item', relation => 'item')",
                  "ALTER DATABASE app SET pg_courier.allow_addresses = ''")
            for host in SPELLINGS:
                message = refused(admin, f"http://{host}:{six.port if '::' in host or '6' in host[:7] else four.port}/latest/meta-data")
                assert any(words in message for words in ("is not public", "is not a valid", "base_url", "resolve")), (host, message)
            for host in ("127.0.0.1", "localhost", "inside.example.com", "[::1]", "0x7f.1"):
                assert "is not public" in refused(admin, f"http://{host}:{four.port}/"), host
            for url in (f"file:///etc/passwd", f"ftp://127.0.0.1:{four.port}/", f"gopher://127.0.0.1:{four.port}/_x", f"dict://127.0.0.1:{four.port}/", "ldap://127.0.0.1/", "scp://127.0.0.1/", "smb://127.0.0.1/x",
                        f"//127.0.0.1:{four.port}", f"http:127.0.0.1:{four.port}", f"http://user:word@127.0.0.1:{four.port}/", f"http://api.example.com@127.0.0.1:{four.port}/", f"http://127.0.0.1:{four.port}#@api.example.com/",
                        f"http://127.0.0.1:{four.port}\\@api.example.com/", f"http://api.example.com:80:{four.port}/", "unix:/tmp/x", "http+unix://%2Ftmp%2Fx/"):
                refused(admin, url)
            equal([w.connections for w in (four, six, third)], [0, 0, 0], "connections to loopback addresses")

            # A path cannot lead to another host.
            admin("ALTER DATABASE app SET pg_courier.allow_addresses = '127.0.0.1'", f"SELECT courier.create_destination('paths', 'http', {literal({'base_url': four.url})})", "CREATE TABLE path (id integer PRIMARY KEY, p text)",
                  f"INSERT INTO path VALUES (1, {literal('@127.0.0.3:' + str(third.port) + '/')}), (2, {literal('//127.0.0.3:' + str(third.port) + '/')}), (3, '..'), (4, E'a\\r\\nHost: evil'), (5, '?a=b#c'), (6, {literal(third.url)})",
                  "SELECT courier.create_model('path', relation => 'path')",
                  """SELECT courier.create_sync('paths', 'path', 'paths', mode => 'upsert', config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ p }}", "body": "{{ record }}"}}}')""")
            try:
                admin("CALL courier.run_sync('paths', timeout => '30 s')")
            except SqlError as error:
                raise AssertionError(str(error))
            equal(third.connections, 0, "connections by way of a path")
            targets = sorted(head.split(" ")[1] for head, _ in four.requests)
            equal(len(targets), 5, targets)  # '..' is refused
            assert all(target.count("/") == 1 and "?" not in target and "#" not in target and "@" not in target for target in targets), targets
            assert all("evil" not in head.split("\r\n", 1)[1] for head, _ in four.requests), four.requests

            # A redirect to an address that is allowed is not followed either, and sees no credentials.
            admin("ALTER DATABASE app SET pg_courier.allow_addresses = '127.0.0.1, 127.0.0.3'",
                  f"""SELECT courier.create_destination('away', 'http', {literal({'base_url': away.url, 'auth': {'type': 'bearer'}})}, '{{"token": {{"file": "token"}}}}')""",
                  "SELECT courier.create_sync('away', 'item', 'away', mode => 'upsert')", "CALL courier.run_sync('away', timeout => '30 s')")
            equal((len(away.requests), third.connections), (1, 0), "a redirect")

            # Rebinding: the name was good when the destination was made and at the first run.
            hosts.write("127.0.0.1 moves.example.com\n")
            admin("ALTER DATABASE app SET pg_courier.allow_addresses = '127.0.0.1'", f"SELECT courier.create_destination('moves', 'http', {literal({'base_url': f'http://moves.example.com:{four.port}'})})",
                  "SELECT courier.create_sync('moves', 'item', 'moves', mode => 'upsert')")
            before = len(four.requests)
            equal(admin("CALL courier.run_sync('moves', timeout => '30 s')").split("|")[1], "success")
            equal(len(four.requests), before + 1)
            hosts.write("127.0.0.3 moves.example.com\n")
            admin("INSERT INTO item VALUES (2)")
            try:
                admin("CALL courier.run_sync('moves', timeout => '30 s')")
                raise AssertionError("it followed the name")
            except SqlError as error:
                assert "127.0.0.3 is not public" in str(error) and "allow_addresses" in str(error), error
            equal((len(four.requests), third.connections), (before + 1, 0), "rebinding")
            # Two addresses, one of which is allowed: that one is used.
            hosts.write("127.0.0.3 moves.example.com\n127.0.0.1 moves.example.com\n")
            equal(admin("CALL courier.run_sync('moves', timeout => '30 s')").split("|")[1], "success")
            equal((len(four.requests), third.connections), (before + 2, 0), "one of two addresses")
            # Only a superuser says what is allowed.
            admin("CREATE ROLE nobody_special LOGIN")
            for statement in ("SET pg_courier.allow_addresses = '0.0.0.0/0'", "ALTER ROLE nobody_special SET pg_courier.allow_addresses = '0.0.0.0/0'", "SET pg_courier.secret_env = 'PATH'", "SET pg_courier.secrets_directory = '/'"):
                try:
                    cluster.psql(statement, user="nobody_special")
                    raise AssertionError("went through: " + statement)
                except SqlError as error:
                    equal(error.sqlstate, "42501", statement)
        finally:
            cluster.stop()
            os.remove(hosts.path)
            os.rmdir(directory)
