"""Owners who would like to be somebody else: whatever their SQL does inside a run, it is done with their own rights. Each attempt leaves a trace of who it was."""

from harness import SqlError, equal, literal, test

ONCE = ("superuser",)  # the caller is a superuser there: the worst case
REST = '{"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}}'


class Villain:
    def __init__(self, t):
        self.t, self.role = t, f"villain_{t.name}"
        t.admin(f"CREATE ROLE {self.role}", f"CREATE SCHEMA {self.role} AUTHORIZATION {self.role}", "CREATE ROLE " + self.role + "_victim", f"CREATE TABLE secrets_{t.name} (word text)",
                f"INSERT INTO secrets_{t.name} VALUES ('the word')")
        self.sql("CREATE TABLE trace (who name, session name, super boolean, what text)", "GRANT ALL ON trace TO PUBLIC",
                 f"""CREATE FUNCTION tell(what text) RETURNS text LANGUAGE plpgsql AS $f$
                     BEGIN
                         INSERT INTO {self.role}.trace VALUES (current_user, session_user, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), what);
                         RETURN current_user;
                     END $f$""")

    def sql(self, *commands, path=None):
        return self.t.admin(f"SET ROLE {self.role}", f"SET search_path = {path or self.role + ', public'}", *commands)

    def sync(self, model, relation=None, query=None, path=None, mapping=None, name=None, **more):
        what = f"relation => {literal(relation)}" if relation else f"query => {literal(query)}, primary_key => '{{id}}'"
        name = name or self.t.name
        self.sql(f"SELECT courier.create_model({literal(model)}, {what})", f"SELECT courier.create_destination({literal(model)}, 'http', {literal({'base_url': self.t.receiver.url + self.t.path})})",
                 f"SELECT courier.create_sync({literal(name)}, {literal(model)}, {literal(model)}, mode => 'mirror', config => {literal(REST)}" + (f", mapping => {literal(mapping)}" if mapping else "") +
                 "".join(f", {k} => {literal(v)}" for k, v in more.items()) + ")", path=path)
        self.t.syncs.append(name)

    def trace(self):
        rows = self.t.rows(f"SELECT DISTINCT who, super, what FROM {self.role}.trace")
        self.t.admin(f"TRUNCATE {self.role}.trace")
        return rows

    def only_himself(self, rows, at_least):
        assert {r["what"] for r in rows} >= at_least, f"{at_least - {r['what'] for r in rows}} did not run: {rows}"
        for row in rows:
            equal((row["who"], row["super"]), (self.role, False), row["what"])


@test("escalation: a function in the model and in the mapping cannot become anybody else", settings=ONCE)
def functions(t):
    v = Villain(t)
    attempts = {"set_role": "SET ROLE postgres", "set_session": "SET SESSION AUTHORIZATION postgres", "reset_role": "RESET ROLE", "reset_session": "RESET SESSION AUTHORIZATION", "alter": f"ALTER ROLE {v.role} SUPERUSER",
                "config": "SELECT set_config('role', 'postgres', false)", "read": f"SELECT * FROM secrets_{t.name}", "copy": "COPY (SELECT 1) TO PROGRAM 'true'", "internal": "SELECT * FROM courier_internal.secret",
                "update": "UPDATE courier_internal.destination SET owner = owner", "temporary": "CREATE TEMP TABLE hidden (x integer)", "addresses": "SET pg_courier.allow_addresses = '0.0.0.0/0'",
                "grant": f"GRANT courier_admin TO {v.role}", "api": "SELECT courier.pause_sync('other')", "replication": "SET session_replication_role = replica", "lock": "SELECT lo_import('/etc/passwd')",
                "file": "SELECT pg_read_file('/etc/passwd')", "door": "SELECT courier_internal.query_as('postgres'::regrole, '', NULL, 'SELECT 1')"}
    body = " ".join(f"BEGIN EXECUTE {literal(statement)}; PERFORM {v.role}.tell('went through: {name}'); EXCEPTION WHEN OTHERS THEN PERFORM {v.role}.tell('refused: {name}'); END;" for name, statement in attempts.items())
    v.sql(f"CREATE FUNCTION attack(place text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM {v.role}.tell(place); {body} RETURN {v.role}.tell(place || ' afterwards'); END $f$",
          "CREATE TABLE item (id integer PRIMARY KEY)", "INSERT INTO item VALUES (1)", "CREATE VIEW seen AS SELECT id, attack('model') AS who FROM item")
    v.sync(t.name, query=f"SELECT * FROM {v.role}.seen", mapping={"id": "id", "model": "who", "mapping": f"{v.role}.attack('mapping')"})
    t.admin(f"SELECT * FROM courier.preview_model('{t.name}')", f"SELECT * FROM courier.plan_sync('{t.name}')", f"SELECT * FROM courier.preview_sync('{t.name}')", f"SELECT * FROM courier.check_model('{t.name}')")
    t.run("success")
    equal({(r["model"], r["mapping"]) for r in t.stored().values()}, {(v.role, v.role)})
    rows = v.trace()
    v.only_himself(rows, {"model", "mapping", "model afterwards", "mapping afterwards"} | {f"refused: {name}" for name in attempts if name not in ("reset_role", "reset_session")})
    through = {r["what"] for r in rows if r["what"].startswith("went through")}
    equal(through, set(), "attempts that went through")
    equal(t.rows(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{v.role}'"), [{"rolsuper": False}])


@test("escalation: operators, casts, domains, functions and tables of the owner's schema that are called like the system's, and a search_path that prefers them", settings=ONCE)
def hostile_names(t):
    v = Villain(t)
    same = " ".join(f"CREATE FUNCTION {name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $f$ BEGIN PERFORM {v.role}.tell('{name}'); RETURN NULL; END $f$;" for name, arguments, result in (
        ("to_regclass", "text", "regclass"), ("format", "text, text", "text"), ("coalesce_", "integer", "integer"), ("now", "", "timestamptz"), ("current_database", "", "name"), ("pg_has_role", "oid, oid, text", "boolean"),
        ("clock_timestamp", "", "timestamptz"), ("count", "integer", "bigint"), ("lower", "text", "text"), ("hash128", "integer", "uuid")))
    v.sql(same,
          f"CREATE FUNCTION equal(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN PERFORM {v.role}.tell('='); RETURN true; END $f$", "CREATE OPERATOR = (LEFTARG = integer, RIGHTARG = integer, FUNCTION = equal)",
          f"CREATE FUNCTION equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN PERFORM {v.role}.tell('= of text'); RETURN true; END $f$", "CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = equal)",
          f"CREATE FUNCTION join_them(text, text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM {v.role}.tell('||'); RETURN 'x'; END $f$", "CREATE OPERATOR || (LEFTARG = text, RIGHTARG = text, FUNCTION = join_them)",
          f"CREATE DOMAIN checked AS integer CHECK ({v.role}.tell('domain') IS NOT NULL)", "CREATE TYPE text AS (a integer)", "CREATE TYPE uuid AS (a integer)", "CREATE TABLE pg_class (oid integer)", "CREATE TABLE pg_roles (rolsuper boolean)",
          f"CREATE TYPE odd AS (a integer)", f"CREATE FUNCTION odd_text(odd) RETURNS pg_catalog.text LANGUAGE plpgsql AS $f$ BEGIN RETURN {v.role}.tell('cast'); END $f$", "CREATE CAST (odd AS pg_catalog.text) WITH FUNCTION odd_text(odd) AS IMPLICIT",
          "CREATE TABLE item (id integer PRIMARY KEY, name pg_catalog.text, n checked, o odd)", "INSERT INTO item VALUES (1, 'One', 5, ROW(1)), (2, 'Two', 6, ROW(2))")
    v.trace()
    path = f"{v.role}, pg_catalog"
    v.sync(t.name, relation=f"{v.role}.item", path=path, mapping={"id": "id", "low": "lower(name)", "sum": "name || 'y'", "same": "id = 1", "n": "id::checked", "o": "odd_text(o)"})
    t.admin(f"SELECT * FROM courier.plan_sync('{t.name}')", f"SELECT * FROM courier.preview_sync('{t.name}')")
    t.run("success", succeeded_added=2)
    t.admin(f"UPDATE {v.role}.item SET name = 'Other' WHERE id OPERATOR(pg_catalog.=) 1", f"DELETE FROM {v.role}.item WHERE id OPERATOR(pg_catalog.=) 2")
    t.run("success", succeeded_removed=1)
    # His own expressions mean what they mean to him; the engine's own are the system's.
    equal(t.stored(), {"1": {"id": 1, "low": None, "sum": "x", "same": True, "n": 1, "o": v.role}})
    rows = v.trace()
    v.only_himself(rows, {"lower", "||", "=", "cast", "domain"})
    equal({r["what"] for r in rows} - {"lower", "||", "=", "cast", "domain"}, set(), "names that the engine took for the system's")


@test("escalation: triggers, rules, row security and children on the snapshot, defaults of roles, and event triggers bring nobody's rights", settings=ONCE)
def snapshot(t):
    v = Villain(t)
    v.sql("CREATE TABLE item (id integer PRIMARY KEY, name text)", "INSERT INTO item VALUES (1, 'one')",
          f"CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN PERFORM {v.role}.tell('trigger'); RETURN NEW; END $f$")
    v.sync(t.name, relation=f"{v.role}.item")
    t.run("success")
    table = t.admin(f"SELECT 'courier_data.snapshot_' || sync_id FROM courier_internal.sync WHERE name = '{t.name}'")
    for make, undo in ((f"CREATE TRIGGER x BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION on_row()", f"DROP TRIGGER x ON {table}"),
                       (f"CREATE RULE x AS ON UPDATE TO {table} DO ALSO SELECT tell('rule')", f"DROP RULE x ON {table}"),
                       (f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
                       (f"CREATE TABLE child () INHERITS ({table})", "DROP TABLE child")):
        t.admin(f"UPDATE {v.role}.item SET name = name || '!'")
        v.sql(make)
        t.seen()
        run = t.run("failed")
        assert "is not as pg_courier made it" in run["error"] and run["hint"], run
        equal(t.seen(), [])
        v.sql(undo)
        v.sql(f"VACUUM ANALYZE {table}")  # the catalog remembers rules and children until then
    t.run("success", succeeded_changed=1)
    # What is allowed on it, an index with a function of his, runs as him.
    v.sql(f"CREATE FUNCTION note(h uuid) RETURNS uuid LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN PERFORM {v.role}.tell('index'); RETURN h; END $f$", f"CREATE INDEX ON {table} (note(h))")
    v.trace()
    t.admin(f"UPDATE {v.role}.item SET name = 'x'", f"VACUUM ANALYZE {table}")
    t.run("success", succeeded_changed=1)
    v.only_himself(v.trace(), {"index"})


@test("escalation: row security and security_invoker views hold for the owner of the sync, whoever asks for the run", settings=ONCE)
def row_security(t):
    v = Villain(t)
    shared = f"shared_{t.name}"
    t.admin(f"CREATE TABLE {shared} (id integer PRIMARY KEY, tenant text)", f"INSERT INTO {shared} VALUES (1, '{v.role}'), (2, 'somebody else')", f"ALTER TABLE {shared} ENABLE ROW LEVEL SECURITY",
            f"GRANT USAGE ON SCHEMA shop TO {v.role}", f"CREATE POLICY own ON {shared} USING (tenant = current_user)", f"GRANT SELECT ON {shared} TO {v.role}", f"CREATE VIEW invoker_{t.name} WITH (security_invoker) AS SELECT id, word FROM secrets_{t.name}, {shared}",
            f"GRANT SELECT ON invoker_{t.name} TO {v.role}")
    v.sync(t.name, query=f"SELECT * FROM shop.{shared}")
    equal(t.admin(f"SELECT * FROM courier.preview_model('{t.name}')"), '{"id": 1, "tenant": "%s"}' % v.role)
    t.run("success", succeeded_added=1)  # a superuser called
    equal(t.stored(), {"1": {"id": 1, "tenant": v.role}})
    try:
        v.sync(t.name + "_invoker", name=t.name + "_invoker", query=f"SELECT * FROM shop.invoker_{t.name}")
        run = t.run("failed", sync=t.name + "_invoker")
        assert f"permission denied for table secrets_{t.name}" in run["error"], run["error"]
    except SqlError as error:
        equal(error.sqlstate, "42501")
    assert "the word" not in str(t.seen())


@test("escalation: run_sync takes the rights of its caller, which a transaction of a test could not show", settings=ONCE)
def run_sync_rights(t):
    t.table([(1, "one")])
    t.sync()
    kinds = {"viewer": False, "operator": True, "admin": True, "stranger": False}
    for kind, may in kinds.items():
        role = f"{t.name}_{kind}"
        t.admin(f"CREATE ROLE {role} LOGIN" + ("" if kind == "stranger" else f" IN ROLE courier_{kind}"))
        try:
            t.admin(f"CALL courier.run_sync('{t.name}')", user=role)
            found = True
        except SqlError as error:
            equal(error.sqlstate, "42501", error.message)
            found = False
        equal(found, may, role)
        t.admin(f"DROP ROLE {role}")
    equal(len(t.seen()), 1)


@test("escalation: roles courier_viewer, operator and admin that are there before, with members, stop CREATE EXTENSION, unless the session says that they are meant", settings=ONCE)
def roles_before(t):
    database, role = f"{t.name}_roles", f"{t.name}_member"
    t.admin(f"CREATE DATABASE {database}", database="postgres")
    t.admin(f"CREATE ROLE {role} IN ROLE courier_operator")
    said = f"ALTER DATABASE {database} SET courier.keep_role_members = on"
    try:
        for before in ("SELECT 1", said):  # a setting of the database could be anybody's who owns it
            t.admin(before, database="postgres")
            try:
                t.admin("CREATE EXTENSION pg_courier", database=database)
                raise AssertionError("it was created")
            except SqlError as error:
                # Tests beside this one may have made members of the others.
                equal((error.sqlstate, error.message.split('" ')[-1]), ("42710", "exists already and has members"))
            equal(t.admin("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'courier%'", database=database), "0")
        t.admin(f"ALTER DATABASE {database} RESET courier.keep_role_members", database="postgres")
        t.admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", database=database)
        equal(t.admin(f"SELECT pg_has_role('{role}', 'courier_viewer', 'MEMBER')", database=database), "t")
    finally:
        t.admin(f"DROP DATABASE {database} WITH (FORCE)", database="postgres")
        t.admin(f"DROP ROLE {role}")


@test("escalation: what stands there before CREATE EXTENSION is not taken over", settings=ONCE)
def before_create(t):
    database, villain = f"before_{t.name}", f"early_{t.name}"
    t.admin(f"CREATE ROLE {villain}", f"CREATE DATABASE {database}", f"GRANT CREATE ON DATABASE {database} TO {villain}")
    admin = lambda *commands: t.admin(*commands, database=database)  # noqa: E731
    for schema in ("courier", "courier_internal", "courier_data", "courier_models"):
        admin(f"SET ROLE {villain}", f"CREATE SCHEMA {schema}", f"CREATE FUNCTION {schema}.visible(owner text) RETURNS boolean LANGUAGE sql AS 'SELECT true'")
        try:
            admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier")
            raise AssertionError(f"took over schema {schema}")
        except SqlError as error:
            equal(error.sqlstate, "42P06", schema)
        admin(f"DROP SCHEMA {schema} CASCADE")
    # Hostile names in public and in his own schema, and a path that leads there, while it is installed.
    admin(f"GRANT CREATE ON SCHEMA public TO {villain}", f"SET ROLE {villain}", "CREATE TABLE trace (who name)", "GRANT ALL ON trace TO PUBLIC",
          "CREATE FUNCTION public.evil(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.trace VALUES (current_user); RETURN false; END $f$", "CREATE OPERATOR public.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = public.evil)",
          "CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.trace VALUES (current_user); RETURN 'SELECT 1'; END $f$",
          "CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.trace VALUES (current_user); RETURN 'postgres'; END $f$",
          "CREATE FUNCTION public.nextval(text) RETURNS bigint LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.trace VALUES (current_user); RETURN 1; END $f$")
    admin(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
    admin("SET courier.keep_role_members = on", "CREATE EXTENSION pg_courier", "CREATE TABLE item (id integer PRIMARY KEY)", "INSERT INTO item VALUES (1)", "SET search_path = pg_catalog", "SELECT courier.create_model('m', relation => 'public.item')",
          f"SELECT courier.create_destination('d', 'http', {literal({'base_url': t.receiver.url + t.path})})", "SELECT courier.create_sync('s', 'm', 'd', mode => 'upsert')", "CALL courier.run_sync('s', timeout => '30 s')")
    views = admin("SELECT string_agg(pg_catalog.quote_ident(viewname::text), ' ') FROM pg_catalog.pg_views WHERE schemaname OPERATOR(pg_catalog.=) 'courier'").split()
    admin(*(f"SELECT * FROM courier.{view}" for view in views), "SELECT courier.report() IS NULL", "SELECT courier.export_config() IS NULL", "DROP EXTENSION pg_courier CASCADE")
    equal(admin("SELECT pg_catalog.count(*) FROM public.trace"), "0", "his functions were called by somebody else's statements")
    t.admin(f"DROP DATABASE {database} WITH (FORCE)", f"DROP ROLE {villain}")
