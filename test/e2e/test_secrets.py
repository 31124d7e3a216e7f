"""Secrets are planted in every way that there is, destinations give them back in their answers, runs fail in every way; then everything that somebody may read is searched for them.
And names, keys, options and values that would like to be SQL."""

import base64
import os
import subprocess
import urllib.parse

from harness import PG_BIN, SqlError, equal, literal, test
from receiver import Answer

ONCE = ("superuser",)
FILE, ENVIRONMENT, PLAIN = "file-secret-93be42", "env-secret-7c1f0a", "plain & secret/5d+e8=f1"
REST = '{"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}}}'

FIND = """DO $$
DECLARE
    relation record;
    words text;
    secret text;
BEGIN
    FOR relation IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relkind IN ('r', 'v', 'm', 'p') AND has_table_privilege(c.oid, 'SELECT') LOOP
        BEGIN
            EXECUTE format('SELECT string_agg(x::text, '' '') FROM %s x', relation.name) INTO words;
        EXCEPTION WHEN OTHERS THEN
            CONTINUE;
        END;
        FOREACH secret IN ARRAY current_setting('test.secrets')::text[] LOOP
            IF position(secret IN words) > 0 THEN
                RAISE EXCEPTION 'found in %: %', relation.name, substr(words, greatest(position(secret IN words) - 100, 1), 200);
            END IF;
        END LOOP;
    END LOOP;
END $$"""


def forms(secret):
    """As it is, in a URL, as base64 (alone, and as a password after user names of the three lengths), in JSON, in hexadecimal."""
    return {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), base64.b64encode(secret.encode()).decode(), base64.b64encode(f"ada:{secret}".encode()).decode(), secret.encode().hex()}


@test("secrets: given by file, by environment and as text, they stand in no view, table, catalog, log at debug5, dump, report or error, in no form", settings=ONCE)
def nowhere(t):
    database, cluster = f"secrets_{t.name}", t.world.cluster
    t.admin(f"CREATE DATABASE {database}", f"CREATE ROLE stranger_{t.name} LOGIN")
    admin = lambda *commands, **more: t.admin(*commands, database=database, **more)  # noqa: E731
    admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", "CREATE TABLE item (id integer PRIMARY KEY, name text)", "INSERT INTO item VALUES (1, 'one'), (2, 'two')", "SELECT courier.create_model('item', relation => 'item')")
    kinds = {"bearer": ({"type": "bearer"}, "token"), "basic": ({"type": "basic", "username": "ada"}, "password"), "header": ({"type": "header", "name": "X-Api-Key"}, "key"), "query": ({"type": "query", "name": "key"}, "key"),
             "hmac": ({"type": "hmac", "algorithm": "sha256", "header": "X-Signature"}, "key"), "oauth": ({"type": "oauth2_client_credentials", "token_url": t.receiver.url + f"/plain/{t.name}/token", "client_id": "me"}, "client_secret"),
             "refused": ({"type": "bearer"}, "token"), "unreachable": ({"type": "query", "name": "key"}, "key"), "aws": ({"type": "aws_sigv4", "region": "eu", "service": "s3", "access_key_id": "AKIA"}, "secret_access_key")}
    references = {"file": {"file": "token"}, "env": {"env": "COURIER_TEST_TOKEN"}, "text": PLAIN}
    echo = lambda status: lambda r: Answer(status, {"error": f"you said {r.target} {r.headers} {r.text}"}, {"X-Echo": str(r.headers).encode("ascii", "replace").decode()})  # noqa: E731
    t.receiver.script(f"/plain/{t.name}", echo(422))
    t.receiver.script(f"/plain/{t.name}/refused", echo(401))
    t.receiver.script(f"/plain/{t.name}/token", echo(400))
    ways, pairs = list(references), []
    for n, (kind, (auth, key)) in enumerate(kinds.items()):
        for way in ways if kind == "bearer" else (ways[n % 3],):
            pairs.append((kind, way))
            reference = references[way]
            base = "http://127.0.0.1:1" if kind == "unreachable" else f"{t.receiver.url}/plain/{t.name}/{kind}"
            admin(f"SELECT courier.create_destination('{kind}_{way}', 'http', {literal({'base_url': base, 'auth': auth, 'headers': {'X-Own': '{{ secret.own }}'}})}, {literal({key: reference, 'own': reference})})",
                  f"SELECT courier.create_sync('{kind}_{way}', 'item', '{kind}_{way}', mode => 'upsert', options => '{{\"log_requests\": \"all\", \"log_records\": \"payload\", \"max_attempts\": 2, \"max_rejected\": \"100%\"}}', config => {literal(REST)})")
    # From here on the log has everything.
    offset = os.path.getsize(cluster.log)
    admin(f"ALTER DATABASE {database} SET log_min_messages = debug5", f"ALTER DATABASE {database} SET log_min_error_statement = debug5", f"ALTER DATABASE {database} SET log_error_verbosity = verbose")
    said = ""
    names = [f"{kind}_{way}" for kind, way in pairs]
    runs = admin("SELECT string_agg(courier.trigger_sync(name)::text, ' ') FROM courier.syncs").split()
    for run in runs:
        admin(f"SELECT courier.wait_for_run({run}, '60 s')")
    statuses = set(admin("SELECT string_agg(DISTINCT status, ' ') FROM courier.runs").split())
    equal(statuses, {"warning", "failed"})
    for name in names:
        for statement in (f"CALL courier.run_sync('{name}', timeout => '30 s')", f"SELECT * FROM courier.test_destination('{name}')", f"SELECT * FROM courier.preview_sync('{name}')", f"SELECT * FROM courier.explain_record('{name}', '{{\"id\": 1}}')"):
            if "test_destination" in statement and not name.startswith(("refused_", "oauth_", "query_")):
                continue
            try:
                said += admin("SET client_min_messages = debug1", statement)
            except SqlError as error:
                said += str(error)
    said += admin("SELECT courier.report()", "SELECT courier.export_config()")
    for path in (f"/plain/{t.name}/bearer", f"/plain/{t.name}/basic", f"/plain/{t.name}/query"):
        assert t.receiver.requests(path), path
    for way, secret in (("file", FILE), ("env", ENVIRONMENT), ("text", PLAIN)):  # they did go out
        assert any(r.header("Authorization") == f"Bearer {secret}" for r in t.receiver.requests(f"/plain/{t.name}/bearer")), way

    everywhere = set().union(*(forms(secret) for secret in (FILE, ENVIRONMENT, PLAIN)))
    array = "{" + ",".join('"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"' for s in sorted(everywhere)) + "}"
    admin("DELETE FROM courier_internal.secret")  # where the texts are, without grants; asked for with strangers below
    with open(cluster.log, errors="replace") as f:
        f.seek(offset)
        log = f.read()
    admin(f"ALTER DATABASE {database} RESET ALL")
    for role in ("courier_viewer", "courier_admin", f"stranger_{t.name}", "postgres"):
        admin(f"SELECT set_config('test.secrets', {literal(array)}, false)", f"SET SESSION AUTHORIZATION {role}", FIND)
    dump = subprocess.run([os.path.join(PG_BIN, "pg_dump"), "-h", cluster.directory, "-p", str(cluster.port), "-U", "postgres", database], capture_output=True, text=True, check=True).stdout
    assert "DEBUG:" in log
    for what, text in (("what statements returned", said), ("the dump", dump), ("the log", log)):
        for secret in everywhere:
            assert secret not in text, f"{what} has {secret!r}: {text[max(0, text.index(secret) - 300):][:600]}"
    t.admin(f"DROP DATABASE {database} WITH (FORCE)")


@test("secrets: texts are for nobody to read, not even for their owner, and are not dumped", settings=ONCE)
def texts(t):
    t.admin(f"CREATE ROLE texts_{t.name}", f"SET ROLE texts_{t.name}", f"SELECT courier.create_destination('{t.name}', 'http', '{{\"base_url\": \"https://api.example.com\", \"auth\": {{\"type\": \"bearer\"}}}}', '{{\"token\": \"a-text-{t.name}\"}}')")
    for role in (f"texts_{t.name}", "courier_admin"):
        try:
            t.admin(f"SET ROLE {role}", "SELECT * FROM courier_internal.secret")
            raise AssertionError("read by " + role)
        except SqlError as error:
            equal(error.sqlstate, "42501")
    equal(t.admin("SELECT count(*) FROM courier_internal.secret WHERE value = 'a-text-" + t.name + "'"), "1")
    t.admin(f"SELECT courier.drop_destination('{t.name}')")
    equal(t.admin("SELECT count(*) FROM courier_internal.secret WHERE value = 'a-text-" + t.name + "'"), "0")


@test("secrets: where they may come from is asked again at every run: links out of the directory, names that are not allowed any more; a role's directory is that role's", settings=ONCE)
def asked_again(t):
    database, files = f"asked_{t.name}", os.path.join(t.world.cluster.directory, "secrets")
    t.admin(f"CREATE DATABASE {database}", f"CREATE ROLE teller_{t.name}", f"CREATE ROLE other_{t.name}")
    admin = lambda *commands, **more: t.admin(*commands, database=database, **more)  # noqa: E731
    admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", "CREATE TABLE item (id integer PRIMARY KEY)", "INSERT INTO item VALUES (1)", "SELECT courier.create_model('item', relation => 'item')")
    link, own = os.path.join(files, f"link_{t.name}"), os.path.join(files, f"teller_{t.name}")
    os.symlink("token", link)
    os.mkdir(own)
    os.chmod(own, 0o755)
    with open(os.path.join(own, "token"), "w") as file:
        file.write("of-the-teller\n")

    def destination(name, reference):
        return f"""SELECT courier.create_destination('{name}', 'http', {literal({'base_url': t.receiver.url + '/plain/' + name + t.name, 'auth': {'type': 'bearer'}})}, {literal({'token': reference})})"""

    def run(name):
        """Its status, its words, and the tokens that arrived."""
        before = len(t.receiver.requests("/plain/" + name + t.name))
        run_id = admin(f"SELECT courier.trigger_sync('{name}', resync => 'full')")
        status = admin(f"SELECT courier.wait_for_run({run_id}, '30 s')")
        return status, admin(f"SELECT concat_ws(' ', error_code, error) FROM courier.run_details WHERE run_id = {run_id}"), [r.header("Authorization") for r in t.receiver.requests("/plain/" + name + t.name)[before:]]

    for name, reference in (("link", {"file": os.path.basename(link)}), ("environment", {"env": "COURIER_TEST_TOKEN"})):
        admin(destination(name, reference), f"SELECT courier.create_sync('{name}', 'item', '{name}', mode => 'upsert')")
    equal(run("link"), ("success", "", ["Bearer " + FILE]))
    equal(run("environment"), ("success", "", ["Bearer " + ENVIRONMENT]))
    for target in ("/etc/hostname", "..", "../data/PG_VERSION"):
        os.remove(link)
        os.symlink(target, link)
        status, error, arrived = run("link")
        equal((status, arrived), ("failed", []), target)
        assert error.startswith("42501 ") and "is not a file below pg_courier.secrets_directory" in error, error
    admin(f"ALTER DATABASE {database} SET pg_courier.secret_env = 'COURIER_TEST_TOKEN_2, OURIER_TEST_TOKEN'")
    status, error, arrived = run("environment")
    equal((status, arrived), ("failed", []), "a name that is not allowed any more")
    assert error.startswith("42501 ") and '"COURIER_TEST_TOKEN" is not allowed' in error, error

    admin(f"SET ROLE teller_{t.name}", destination("own", {"file": f"teller_{t.name}/token"}))
    try:
        admin(f"SET ROLE other_{t.name}", destination("foreign", {"file": f"teller_{t.name}/token"}))
        raise AssertionError("the file of another role was taken")
    except SqlError as error:
        equal(error.sqlstate, "42501")
    t.admin(f"DROP DATABASE {database} WITH (FORCE)", f"DROP ROLE teller_{t.name}", f"DROP ROLE other_{t.name}")


BAD = ["'; DROP TABLE canary; --", "\"; DROP TABLE canary; --", "x') ; DROP TABLE canary; --", "$$; DROP TABLE canary; $$", "\\'; DROP TABLE canary; --", "%s %I %L $1 %1$s", "{{ secret.token }}", "a/../../b?c#d", "Ünï 🙂 \u202e", "null", "*/ x /*"]


@test("injection: names, columns, fields, options and values that would like to be SQL, a path, a header or a template are what they are", settings=ONCE)
def injection(t):
    quote = lambda name: '"' + name.replace('"', '""') + '"'  # noqa: E731
    t.sql("CREATE TABLE canary (id integer)")
    for n, bad in enumerate((BAD[0], BAD[1], BAD[3], BAD[5] + BAD[4], BAD[6] + BAD[7], BAD[8])):
        # A schema, a table, columns, a key, an enum and its labels of that name.
        name, schema = f"{t.name}{bad}"[:60], quote(f"s{n}{bad}")
        store = f"/plain/{t.name}/{n}"
        t.sql(f"CREATE SCHEMA {schema}", f"CREATE TYPE {schema}.{quote('t' + bad)} AS ENUM ({literal(bad)})",
              f"CREATE TABLE {schema}.{quote(bad)} ({quote('k' + bad)} text PRIMARY KEY, {quote('c' + bad)} text, {quote('e' + bad)} {schema}.{quote('t' + bad)})",
              f"INSERT INTO {schema}.{quote(bad)} VALUES ({literal('key ' + bad)}, {literal(bad)}, {literal(bad)}), ('plain', 'x', NULL)")
        field = bad.replace(".", "-").replace("{{", "((").replace("}}", "))")
        mapping = {f"k{field}": quote("k" + bad), f"c{field}": quote("c" + bad), f"e{field}": quote("e" + bad), "constant": literal(bad), "id": quote("k" + bad)}
        t.sql(f"SELECT courier.create_source({literal(name)}, description => {literal(bad)})",
              f"SELECT courier.create_model({literal(name)}, relation => {literal(schema + '.' + quote(bad))}::regclass, source => {literal(name)}, description => {literal(bad)})",
              f"SELECT courier.create_destination({literal(name)}, 'http', {literal({'base_url': t.receiver.url + store, 'headers': {'X-Bad': bad.replace('{{', '((').replace('}}', '))').encode('ascii', 'ignore').decode()}})}, description => {literal(bad)})",
              f"SELECT courier.create_sync({literal(name)}, {literal(name)}, {literal(name)}, mode => 'upsert', on_removed => 'delete', match_on => '{{id}}', mapping => {literal(mapping)}, options => '{{\"log_records\": \"payload\", \"log_requests\": \"all\", \"max_removed\": \"100%\"}}',"
              f" config => '{{\"requests\": {{\"upsert\": {{\"method\": \"PUT\", \"path\": \"/{{{{ id }}}}\", \"headers\": {{\"X-Name\": \"{{{{ sync }}}}\"}}, \"body\": \"{{{{ record }}}}\"}}, \"delete\": {{\"method\": \"DELETE\", \"path\": \"/{{{{ id }}}}\"}}}}}}')")
        t.run("success", sync=name, succeeded_added=2)
        sent = {r.json["id"]: (r.json, urllib.parse.unquote(r.path.removeprefix(store + "/"))) for r in t.receiver.requests(store)}
        equal(sent["key " + bad], ({f"k{field}": "key " + bad, f"c{field}": bad, f"e{field}": bad, "constant": bad, "id": "key " + bad}, "key " + bad), bad)
        t.sql(f"SELECT * FROM courier.plan_sync({literal(name)})", f"SELECT * FROM courier.preview_sync({literal(name)})", f"SELECT * FROM courier.explain_record({literal(name)}, {literal({'k' + bad: 'key ' + bad})})",
              f"SELECT count(*) FROM courier.changelog WHERE key = {literal('key ' + bad)}", f"SELECT courier.retry_rejected({literal(name)}, {literal({'k' + bad: 'key ' + bad})})", f"SELECT courier.report({literal(name)}) IS NULL",
              f"SELECT courier.snapshot({literal(name)})", f"SELECT courier.alter_sync({literal(name)}, options => '{{\"concurrency\": 2}}')")
        t.sql(f"DELETE FROM {schema}.{quote(bad)}")
        t.run("success", sync=name, succeeded_removed=2)
        t.sql(f"SELECT courier.drop_sync({literal(name)})", f"SELECT courier.drop_model({literal(name)})", f"SELECT courier.drop_destination({literal(name)})", f"SELECT courier.drop_source({literal(name)})")
    # Where no name is wanted, they are refused as what they are.
    t.table([(1, "one")])
    t.sync()
    t.sql("CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN EXECUTE statement; RETURN 'taken'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $f$")
    options = ("time_zone", "batch_size", "rate_limit", "timeout", "max_removed", "log_records", "window", "retention")
    statements = [f"SELECT courier.alter_sync('{t.name}', {argument} => {literal(bad)})" for bad in BAD for argument in ("mode", "sync_type", "on_removed", "first_run", "schedule")]
    statements += [f"SELECT courier.alter_sync('{t.name}', options => {literal({option: bad})})" for bad in BAD for option in (*options, bad)]
    statements += [f"SELECT courier.{call}" for bad in BAD for call in (f"trigger_sync('{t.name}', {literal(bad)})", f"trigger_sync({literal(bad)})", f"create_destination('x', {literal(bad)})", f"check_source({literal(bad)})")]
    for row in t.rows(f"SELECT s AS statement, shop.outcome(s) AS code FROM unnest(ARRAY[{', '.join(map(literal, statements))}]) s"):
        assert row["code"][:2] in ("22", "42", "0A"), row
    equal(t.sql("SELECT count(*) FROM canary"), "0")
