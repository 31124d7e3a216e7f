\echo Use "CREATE EXTENSION pg_courier" to load this file. \quit

-- Schemas. All by plain CREATE: a schema somebody made before is never taken over. `courier` is the manual: what users may call and look at. Everything else stays out of their way.

CREATE SCHEMA courier;
COMMENT ON SCHEMA courier IS 'pg_courier: functions and views. \df+ courier.* and \dv+ courier.* are the manual';

CREATE SCHEMA courier_internal;
COMMENT ON SCHEMA courier_internal IS 'pg_courier: tables and functions behind schema courier; nobody has rights here';

CREATE SCHEMA courier_models;
COMMENT ON SCHEMA courier_models IS 'pg_courier: a view per model that was created from a query, owned by its model''s owner';

CREATE SCHEMA courier_data;
COMMENT ON SCHEMA courier_data IS 'pg_courier: a snapshot table per sync, owned by the sync''s owner, and the scratch tables of active runs';

GRANT USAGE ON SCHEMA courier TO PUBLIC;
GRANT USAGE ON SCHEMA courier_models TO PUBLIC;
-- The three roles, viewer below operator below admin. They belong to the cluster, not to a database, and DROP EXTENSION leaves them.
--
-- A role of that name that somebody can already act as would become an administrator of every sync by CREATE EXTENSION alone, so that
-- stops the installation. Whoever knows the members (a second database of the cluster, a restore from pg_dumpall) says so with
-- SET courier.keep_role_members = on. The setting counts only when it was made in the session: a database owner could have it
-- attached to the database.

DO $$
DECLARE
    role_name text;
    strangers text;
    may_login boolean;
    keep_members boolean := COALESCE(NULLIF(pg_catalog.current_setting('courier.keep_role_members', true), '')::boolean, false)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting r, pg_catalog.unnest(r.setconfig) c
                         WHERE pg_catalog.lower(c) LIKE 'courier.keep\_role\_members=%');
BEGIN
    FOREACH role_name IN ARRAY ARRAY['courier_viewer', 'courier_operator', 'courier_admin'] LOOP
        SELECT r.rolcanlogin INTO may_login FROM pg_catalog.pg_roles r WHERE r.rolname = role_name;
        IF NOT FOUND THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
            CONTINUE;
        END IF;

        SELECT pg_catalog.string_agg(pg_catalog.format('%I', pg_catalog.pg_get_userbyid(m.member)), ', ' ORDER BY m.member) INTO strangers
          FROM pg_catalog.pg_auth_members m
          JOIN pg_catalog.pg_roles r ON r.oid = m.roleid
         WHERE r.rolname = role_name
           AND pg_catalog.pg_get_userbyid(m.member) NOT IN ('courier_viewer', 'courier_operator', 'courier_admin');
        IF keep_members THEN
            CONTINUE;
        ELSIF may_login THEN
            RAISE EXCEPTION 'role "%" exists already and may log in', role_name USING ERRCODE = '42710',
                DETAIL = 'pg_courier gives this role rights over the syncs of all owners.',
                HINT = pg_catalog.format('ALTER ROLE %I NOLOGIN, or rename it, then CREATE EXTENSION pg_courier again.', role_name);
        ELSIF strangers IS NOT NULL THEN
            RAISE EXCEPTION 'role "%" exists already and has members', role_name USING ERRCODE = '42710',
                DETAIL = pg_catalog.format('Members: %s. pg_courier gives this role rights over the syncs of all owners.', strangers),
                HINT = pg_catalog.format('REVOKE %I FROM %s, CREATE EXTENSION pg_courier, and grant it again to whom it is meant for. Where these members are wanted (a second database, a restored cluster): SET courier.keep_role_members = on first.',
                                         role_name, strangers);
        END IF;
    END LOOP;

    IF NOT pg_catalog.pg_has_role('courier_operator', 'courier_viewer', 'MEMBER') THEN
        GRANT courier_viewer TO courier_operator;
    END IF;
    IF NOT pg_catalog.pg_has_role('courier_admin', 'courier_operator', 'MEMBER') THEN
        GRANT courier_operator TO courier_admin;
    END IF;
END
$$;

COMMENT ON ROLE courier_viewer IS 'pg_courier: sees the rows of every owner in the views of schema courier';
COMMENT ON ROLE courier_operator IS 'pg_courier: also triggers, plans, cancels, pauses and approves any sync';
COMMENT ON ROLE courier_admin IS 'pg_courier: also reconfigures and drops any object; not model queries, mappings and owners, which take membership in the owning role';
-- Tables. Definitions are dumped (see 90_dump.sql); secrets, the epoch, runs and logs are not.
-- Owners and relations are names, not OIDs, because dumps carry names.

CREATE TABLE courier_internal.installation (
    epoch      uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_internal.installation IS 'One row. The epoch is drawn by CREATE EXTENSION and never dumped, so a restored copy has another one and its syncs come up paused';
INSERT INTO courier_internal.installation DEFAULT VALUES;

CREATE TABLE courier_internal.source (
    source_id      integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    foreign_server text,
    description    text,
    owner          text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_internal.source IS 'Where the data of models comes from';

CREATE TABLE courier_internal.model (
    model_id        integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    source          text NOT NULL REFERENCES courier_internal.source (name) ON UPDATE CASCADE,
    query           text,
    relation_schema text NOT NULL,
    relation_name   text NOT NULL,
    primary_key     text[] NOT NULL,
    description     text,
    owner           text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_internal.model IS 'A query or relation with a primary key; a query is the view courier_models.<name>';
COMMENT ON COLUMN courier_internal.model.query IS 'NULL: the model is a relation';

CREATE TABLE courier_internal.destination_type (
    name       text PRIMARY KEY,
    definition jsonb NOT NULL,
    owner      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_internal.destination_type IS 'Destination types made with courier.create_destination_type; the built-in ones are in the library';

CREATE TABLE courier_internal.destination (
    destination_id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    type           text NOT NULL,
    config         jsonb NOT NULL DEFAULT '{}',
    secrets        jsonb NOT NULL DEFAULT '{}',
    description    text,
    owner          text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_internal.destination IS 'A configured instance of a destination type';
COMMENT ON COLUMN courier_internal.destination.secrets IS 'Only references: {"token": {"file": "name"}}, {"token": {"env": "NAME"}}, or {"token": {"stored": true}} for a value in courier_internal.secret';

CREATE TABLE courier_internal.secret (
    destination_id integer NOT NULL REFERENCES courier_internal.destination ON DELETE CASCADE,
    name           text NOT NULL,
    value          text NOT NULL,
    PRIMARY KEY (destination_id, name)
);
COMMENT ON TABLE courier_internal.secret IS 'Secrets that were given as plain strings. No grants, not dumped';

CREATE TABLE courier_internal.destination_share (
    destination_id integer NOT NULL REFERENCES courier_internal.destination ON DELETE CASCADE,
    role           text NOT NULL,
    PRIMARY KEY (destination_id, role)
);
COMMENT ON TABLE courier_internal.destination_share IS 'Roles that may use a destination besides its owner';

CREATE TABLE courier_internal.destination_state (
    destination_id integer NOT NULL REFERENCES courier_internal.destination ON DELETE CASCADE,
    budget         text NOT NULL DEFAULT '',
    free_at        timestamptz NOT NULL DEFAULT '-infinity',
    blocked_until  timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (destination_id, budget)
) WITH (fillfactor = 50);
COMMENT ON TABLE courier_internal.destination_state IS 'The rate budgets that every sync and worker of a destination shares. budget: empty is the destination as a whole, others are kinds of requests and values of limits.rate_key (long ones hashed), and go when they have not been needed for an hour; free_at: when the next request may start under the rate limit; blocked_until: what the destination asked for (Retry-After)';

CREATE TABLE courier_internal.sync (
    sync_id         integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    model_id        integer NOT NULL REFERENCES courier_internal.model,
    destination_id  integer NOT NULL REFERENCES courier_internal.destination,
    mode            text NOT NULL,
    sync_type       text NOT NULL,
    object          text,
    mapping         json,
    match_on        text[],
    on_removed      text NOT NULL,
    first_run       text NOT NULL,
    schedule        text NOT NULL DEFAULT 'manual',
    config          jsonb NOT NULL DEFAULT '{}',
    options         jsonb NOT NULL DEFAULT '{}',
    search_path     text NOT NULL,
    paused          boolean NOT NULL DEFAULT false,
    owner           text NOT NULL,
    epoch           uuid NOT NULL,
    database_oid    oid NOT NULL,
    seed            uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    snapshot_format jsonb,
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_internal.sync IS 'A model connected to a destination. Its snapshot is courier_data.snapshot_<sync_id>';
COMMENT ON COLUMN courier_internal.sync.mapping IS 'NULL maps every column of the model to the field of its own name';
COMMENT ON COLUMN courier_internal.sync.match_on IS 'NULL: the fields mapped from the primary key';
COMMENT ON COLUMN courier_internal.sync.epoch IS 'The installation epoch under which the sync was activated; with another one (a restored copy) it does not run';
COMMENT ON COLUMN courier_internal.sync.seed IS 'First argument of courier.hash128 for this sync, so that nobody can craft a row that hides a change';
COMMENT ON COLUMN courier_internal.sync.snapshot_format IS 'The mapping, key and types that the hashes in the snapshot were made with; NULL: the snapshot is empty';

CREATE TABLE courier_internal.sync_state (
    sync_id           integer PRIMARY KEY REFERENCES courier_internal.sync ON DELETE CASCADE,
    last_run_id       bigint,
    blocked_run_id    bigint,
    next_run_at       timestamptz,
    not_before        timestamptz,
    snapshot_records  bigint NOT NULL DEFAULT 0,
    snapshot_oid      oid,
    waiting_for       text
) WITH (fillfactor = 50);
COMMENT ON TABLE courier_internal.sync_state IS 'What moves while a sync lives. Not dumped';
COMMENT ON COLUMN courier_internal.sync_state.last_run_id IS 'The last run that ended';
COMMENT ON COLUMN courier_internal.sync_state.snapshot_oid IS 'The snapshot table that pg_courier made: its owner owns the sync. Another table of that name makes nobody an owner';
COMMENT ON COLUMN courier_internal.sync_state.not_before IS 'The destination asked not to be called before this time';

CREATE TABLE courier_internal.run (
    run_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sync_id           integer NOT NULL REFERENCES courier_internal.sync ON DELETE CASCADE,
    status            text NOT NULL DEFAULT 'queued',
    resync            text NOT NULL DEFAULT 'none',
    triggered_by      text NOT NULL,
    origin_run_id     bigint,
    attempt           integer NOT NULL DEFAULT 0,
    worker_pid        integer,
    cancel_requested  boolean NOT NULL DEFAULT false,
    approved          jsonb,
    test              jsonb,
    created_at        timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started_at        timestamptz,
    sending_at        timestamptz,
    finished_at       timestamptz,
    rows_queried      bigint NOT NULL DEFAULT 0,
    planned_added     bigint NOT NULL DEFAULT 0,
    planned_changed   bigint NOT NULL DEFAULT 0,
    planned_removed   bigint NOT NULL DEFAULT 0,
    succeeded_added   bigint NOT NULL DEFAULT 0,
    succeeded_changed bigint NOT NULL DEFAULT 0,
    succeeded_removed bigint NOT NULL DEFAULT 0,
    rejected_added    bigint NOT NULL DEFAULT 0,
    rejected_changed  bigint NOT NULL DEFAULT 0,
    rejected_removed  bigint NOT NULL DEFAULT 0,
    skipped           bigint NOT NULL DEFAULT 0,
    unknown           bigint NOT NULL DEFAULT 0,
    aborted           bigint NOT NULL DEFAULT 0,
    invalid           bigint NOT NULL DEFAULT 0,
    held_removals     bigint NOT NULL DEFAULT 0,
    requests          bigint NOT NULL DEFAULT 0,
    error_code        text,
    error             text,
    hint              text
) WITH (fillfactor = 50);
CREATE INDEX run_sync_id_idx ON courier_internal.run (sync_id, run_id);
CREATE INDEX run_active_idx ON courier_internal.run (run_id) WHERE status IN ('queued', 'querying', 'sending');
COMMENT ON TABLE courier_internal.run IS 'Executions of syncs';
COMMENT ON COLUMN courier_internal.run.origin_run_id IS 'The run whose changes this one carries on with (it was interrupted): its idempotency keys are used again';
COMMENT ON COLUMN courier_internal.run.attempt IS 'Raised and committed before the run does anything, so that a crash is visible';
COMMENT ON COLUMN courier_internal.run.approved IS 'Numbers that courier.approve_run allowed: {"removed": n, "changes": n}';
COMMENT ON COLUMN courier_internal.run.test IS 'A run of one record for courier.test_record: {"primary_key": {...}, "change": "added"}; result is added by the worker';

CREATE TABLE courier_internal.job (
    job_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sync_id    integer NOT NULL REFERENCES courier_internal.sync ON DELETE CASCADE,
    run_id     bigint NOT NULL,
    operation  text NOT NULL,
    records    integer NOT NULL,
    state      text NOT NULL,
    opened_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX job_sync_id_idx ON courier_internal.job (sync_id);
COMMENT ON TABLE courier_internal.job IS 'Jobs that destinations work on and whose result is not settled. Their records are in courier_data.jobs_<sync_id>. The next run asks for them first. Not dumped';
COMMENT ON COLUMN courier_internal.job.records IS '0: the records are done with, but the job may still be open at the destination';
COMMENT ON COLUMN courier_internal.job.state IS 'Written and read by the destination''s client: a JSON object whose member "step" names the step';

CREATE TABLE courier_internal.rejected (
    sync_id         integer NOT NULL REFERENCES courier_internal.sync ON DELETE CASCADE,
    key             text NOT NULL,
    former          text NOT NULL DEFAULT '',
    primary_key     jsonb NOT NULL,
    change          text NOT NULL,
    outcome         text NOT NULL,
    hash            uuid,
    origin_run_id   bigint NOT NULL,
    attempts        integer NOT NULL DEFAULT 1,
    first_failed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    last_failed_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    next_attempt_at timestamptz,
    http_status     integer,
    error_code      text,
    message         text,
    payload         text,
    PRIMARY KEY (sync_id, key, former)
) WITH (fillfactor = 70);
COMMENT ON TABLE courier_internal.rejected IS 'Records that the destination did not accept. outcome unknown: held until courier.retry_rejected or courier.discard_rejected';
COMMENT ON COLUMN courier_internal.rejected.former IS 'Hash of the match value whose removal this is, where a match value changed: the addition of the new one has the same key. Else empty';
COMMENT ON COLUMN courier_internal.rejected.hash IS 'The hash that was tried; NULL for a removal. A record with another hash is tried at once';
COMMENT ON COLUMN courier_internal.rejected.next_attempt_at IS 'infinity: held (outcome unknown, or discarded)';

CREATE TABLE courier_internal.invalid_row (
    sync_id     integer NOT NULL REFERENCES courier_internal.sync ON DELETE CASCADE,
    run_id      bigint NOT NULL,
    reason      text NOT NULL,
    key         text,
    primary_key jsonb,
    copies      bigint NOT NULL DEFAULT 1
);
CREATE INDEX invalid_row_sync_id_idx ON courier_internal.invalid_row (sync_id);
COMMENT ON TABLE courier_internal.invalid_row IS 'Rows that the last run of a sync could not use, at most 1,000 of each reason';

CREATE SEQUENCE courier_internal.request_id_seq;
CREATE TABLE courier_internal.request (
    run_id          bigint NOT NULL,
    sync_id         integer NOT NULL,
    sent_at         timestamptz NOT NULL,
    operation       text NOT NULL,
    records         integer NOT NULL,
    attempt         integer NOT NULL,
    method          text NOT NULL,
    url             text NOT NULL,
    request_headers jsonb,
    request_body    text,
    http_status     integer,
    response_body   text,
    duration        interval,
    error           text,
    request_id      bigint NOT NULL DEFAULT pg_catalog.nextval('courier_internal.request_id_seq'),
    key             text,
    kept            integer NOT NULL DEFAULT 0
) PARTITION BY RANGE (kept, sent_at);
CREATE INDEX request_run_id_idx ON courier_internal.request (run_id);
CREATE INDEX request_request_id_idx ON courier_internal.request (request_id);
CREATE INDEX request_key_idx ON courier_internal.request (key);
COMMENT ON TABLE courier_internal.request IS 'Requests and answers, redacted and capped. A partition per day and retention, which is dropped when nobody may look at it any more';
COMMENT ON COLUMN courier_internal.request.kept IS 'Minutes: the retention of the sync when this was written. 0: pg_courier.log_retention';
COMMENT ON COLUMN courier_internal.request.key IS 'Of the one record; NULL: the request carried several (see request_key) or none';

CREATE TABLE courier_internal.request_key (
    key        text NOT NULL,
    request_id bigint NOT NULL,
    run_id     bigint NOT NULL,
    sync_id    integer NOT NULL,
    sent_at    timestamptz NOT NULL,
    kept       integer NOT NULL DEFAULT 0
) PARTITION BY RANGE (kept, sent_at);
CREATE INDEX request_key_key_idx ON courier_internal.request_key (key);
CREATE INDEX request_key_run_id_idx ON courier_internal.request_key (run_id);
COMMENT ON TABLE courier_internal.request_key IS 'The records of requests that carried several: an array in the request could not be searched through a security barrier, a text can. sent_at is that of the request';

CREATE TABLE courier_internal.change_log (
    run_id      bigint NOT NULL,
    sync_id     integer NOT NULL,
    key         text NOT NULL,
    primary_key json NOT NULL,
    change      text NOT NULL,
    outcome     text NOT NULL,
    http_status integer,
    error_code  text,
    message     text,
    payload     text,
    changed_at  timestamptz NOT NULL,
    kept        integer NOT NULL DEFAULT 0
) PARTITION BY RANGE (kept, changed_at);
-- Written for every record of every run: a hash index takes half of what a tree of texts does, and rows of a run lie together.
CREATE INDEX change_log_key_idx ON courier_internal.change_log USING hash (key);
CREATE INDEX change_log_run_id_idx ON courier_internal.change_log USING brin (run_id) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE courier_internal.change_log IS 'The outcome of every record that a run dealt with. A partition per day and retention, like those of requests';
-- Functions over values: the hash by which changes are found, records as JSON, and running SQL as somebody else.
--
-- courier.hash128, courier_internal.record_json and courier_internal.key_text stand in statements that run as the owner of a sync, so
-- everybody may execute them; they read nothing but their arguments. The others are for functions of this extension only.

CREATE FUNCTION courier.hash128(VARIADIC "any") RETURNS uuid
    LANGUAGE c IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'courier_hash128';
COMMENT ON FUNCTION courier.hash128(VARIADIC "any") IS
'The hash by which changes are found: 128 bits over the values of all arguments, of any type, in their order. Another hash means that a value has changed; NULL has a value of its own.

It depends on no setting and is the same after dump and restore, on every server, and in every later version. Equal values that print differently (1.0 and 1.00) have different hashes. Types and names are not hashed. VARIADIC with an array is not supported: pass the array as one value.
Errors: 0A000 called with VARIADIC and an array.

Example: SELECT courier.hash128(''seed'', id, email, updated_at) FROM customers';

CREATE FUNCTION courier.run_id() RETURNS bigint
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'courier_run_id';
COMMENT ON FUNCTION courier.run_id() IS
'The run that evaluates a mapping, for use in an expression of the mapping; NULL anywhere else. A field made from it is sent but never a reason to send.

Example of a mapping: {"id": "id", "synced_by_run": "courier.run_id()"}';

CREATE FUNCTION courier.version() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT extversion FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'pg_courier' $$;
COMMENT ON FUNCTION courier.version() IS
'The version of pg_courier in this database. ALTER EXTENSION pg_courier UPDATE brings it to that of the installed files.

Example: SELECT courier.version()';

CREATE FUNCTION courier_internal.record_json(fields text[], omit_null boolean[], record record) RETURNS json
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'courier_record_json';
COMMENT ON FUNCTION courier_internal.record_json(text[], boolean[], record) IS
'The record as a JSON object, as destinations get it. fields: a name per column, dots nest; omit_null: a flag per column that leaves the field out where it is NULL (NULL: none). No setting of the session shapes it, except lc_monetary';

CREATE FUNCTION courier_internal.values_json(fields text[], omit_null boolean[], VARIADIC "any") RETURNS json
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'courier_values_json';
COMMENT ON FUNCTION courier_internal.values_json(text[], boolean[], "any") IS
'record_json of the values one by one, at most 98 of them';

CREATE FUNCTION courier_internal.key_text(VARIADIC "any") RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'courier_key_text';
COMMENT ON FUNCTION courier_internal.key_text("any") IS
'A primary key as canonical text: one column as JSON writes it, without quotes (NULL: NULL); several as a JSON array without spaces';

CREATE FUNCTION courier_internal.query_as(role oid, search_path text, time_zone text, query text) RETURNS SETOF text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_query_as';
COMMENT ON FUNCTION courier_internal.query_as(oid, text, text, text) IS
'Runs a query of one column as the role, in a security-restricted operation with pinned settings, and returns the values as text. The current role must have the rights of the role. time_zone NULL: UTC';

CREATE FUNCTION courier_internal.execute_as(role oid, search_path text, time_zone text, statement text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_execute_as';
COMMENT ON FUNCTION courier_internal.execute_as(oid, text, text, text) IS
'Runs a statement as the role, in a security-restricted operation with pinned settings, and returns how many rows it touched. The current role must have the rights of the role. time_zone NULL: UTC';

CREATE FUNCTION courier_internal.check_query(query text) RETURNS void
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'courier_check_query';
COMMENT ON FUNCTION courier_internal.check_query(text) IS
'Raises 42601 unless the text is exactly one SELECT, VALUES, TABLE or WITH ... SELECT that neither writes nor locks';

CREATE FUNCTION courier_internal.analyze_mapping(role oid, search_path text, relation regclass, alias text, fields text[], expressions text[],
                                                 OUT ordinal integer, OUT type_name text, OUT columns text[], OUT reads_clock boolean) RETURNS SETOF record
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_analyze_mapping';
COMMENT ON FUNCTION courier_internal.analyze_mapping(oid, text, regclass, text, text[], text[]) IS
'What the expressions of a mapping are, as the role sees them: type, the columns of the relation that each reads, and whether it reads the clock (or random, a sequence, courier.run_id()). Raises an error that names the field where one does not compile. alias is the name by which an expression may call the model';

REVOKE EXECUTE ON FUNCTION
    courier_internal.query_as(oid, text, text, text),
    courier_internal.execute_as(oid, text, text, text),
    courier_internal.check_query(text),
    courier_internal.analyze_mapping(oid, text, regclass, text, text[], text[])
    FROM PUBLIC;

CREATE FUNCTION courier_internal.key_json(columns text[], VARIADIC "any") RETURNS json
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_key_json';
COMMENT ON FUNCTION courier_internal.key_json(text[], "any") IS 'The primary key as a JSON object. Names are names: dots in them do not nest';
-- Sums of hashes by bucket, by which a run sees without a join whether and where the model differs from the snapshot. They stand in
-- statements that run as the owner of a sync, so everybody may execute them; they read nothing but their arguments.

CREATE FUNCTION courier_internal.bucket_sums_add(state internal, key "any", hash uuid, buckets integer) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_add';
COMMENT ON FUNCTION courier_internal.bucket_sums_add(internal, "any", uuid, integer) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_combine(internal, internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_combine';
COMMENT ON FUNCTION courier_internal.bucket_sums_combine(internal, internal) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_serial(internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_serial';
COMMENT ON FUNCTION courier_internal.bucket_sums_serial(internal) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_deserial(bytea, internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_deserial';
COMMENT ON FUNCTION courier_internal.bucket_sums_deserial(bytea, internal) IS 'Part of the aggregate courier_internal.bucket_sums';
CREATE FUNCTION courier_internal.bucket_sums_final(internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_bucket_sums_final';
COMMENT ON FUNCTION courier_internal.bucket_sums_final(internal) IS 'Part of the aggregate courier_internal.bucket_sums';

CREATE AGGREGATE courier_internal.bucket_sums(key "any", hash uuid, buckets integer) (
    SFUNC = courier_internal.bucket_sums_add, STYPE = internal, SSPACE = 1048576,
    FINALFUNC = courier_internal.bucket_sums_final, COMBINEFUNC = courier_internal.bucket_sums_combine,
    SERIALFUNC = courier_internal.bucket_sums_serial, DESERIALFUNC = courier_internal.bucket_sums_deserial, PARALLEL = SAFE);
COMMENT ON AGGREGATE courier_internal.bucket_sums("any", uuid, integer) IS
'A sum of 128 bits per bucket over (key, hash), whatever the order. key: of fixed size up to 8 bytes, or a uuid; rows without one do not count. buckets: a power of two';

CREATE FUNCTION courier_internal.differing_buckets(bytea, bytea) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'courier_differing_buckets';
COMMENT ON FUNCTION courier_internal.differing_buckets(bytea, bytea) IS
'A bit per bucket in which two results of courier_internal.bucket_sums differ; NULL when none does';

CREATE FUNCTION courier_internal.in_buckets(key "any", bits bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'courier_in_buckets';
COMMENT ON FUNCTION courier_internal.in_buckets("any", bytea) IS 'Whether the key falls into a bucket whose bit is set';
-- What the library knows about destination types, and what it checks when a destination or sync is created or altered.
-- All of them judge what they are given and look at no table.

CREATE FUNCTION courier_internal.builtin_destination_types() RETURNS TABLE (name text, description jsonb)
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_builtin_destination_types';
COMMENT ON FUNCTION courier_internal.builtin_destination_types() IS 'The destination types that are in the library, described as describe_destination_type does it';

CREATE FUNCTION courier_internal.check_destination_type(name text, definition jsonb) RETURNS void
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_check_destination_type';
COMMENT ON FUNCTION courier_internal.check_destination_type(text, jsonb) IS 'Raises an error that names the place in the definition where it is wrong (doc/definition.schema.json), or the name of a type that is built in';

CREATE FUNCTION courier_internal.describe_destination_type(name text, definition jsonb) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_describe_destination_type';
COMMENT ON FUNCTION courier_internal.describe_destination_type(text, jsonb) IS 'description, sync_types, modes, operations, objects, limits, config, sync_config, secrets of a type; definition NULL: a built-in one';

CREATE FUNCTION courier_internal.check_destination(name text, type text, definition jsonb, config jsonb, secret_names text[]) RETURNS void
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_check_destination';
COMMENT ON FUNCTION courier_internal.check_destination(text, text, jsonb, jsonb, text[]) IS 'Raises an error where config or secrets are not what the type wants. definition NULL: a built-in type';

CREATE FUNCTION courier_internal.check_sync(settings jsonb) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_check_sync';
COMMENT ON FUNCTION courier_internal.check_sync(jsonb) IS 'The settings with mode, sync_type, object, on_removed and first_run filled in; raises an error that lists what the destination has where they are not possible';

CREATE FUNCTION courier_internal.check_options(options jsonb) RETURNS void
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_check_options';
COMMENT ON FUNCTION courier_internal.check_options(jsonb) IS 'Raises 22023 for an option that is not known or a value that is not allowed';
-- Processes: what the tables' functions ask of launcher, scheduler and run workers, and the two ways to wait for a run.

CREATE FUNCTION courier_internal.request_run(run_id bigint) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_request_run';
COMMENT ON FUNCTION courier_internal.request_run(bigint) IS 'When this transaction ends, a run worker is started for the run, and the scheduler of this database is woken. After a rollback too: a run that was queued already may have been passed over because this transaction held its row. A run is never lost: the scheduler finds it by its row';

CREATE FUNCTION courier_internal.announce() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_announce';
COMMENT ON FUNCTION courier_internal.announce() IS 'When this transaction ends, the launcher looks at this database: CREATE EXTENSION, a new schedule, a resumed sync';

CREATE FUNCTION courier_internal.lease_held(sync_id integer) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_lease_held';
COMMENT ON FUNCTION courier_internal.lease_held(integer) IS 'Whether a living process works on this sync. A run that says querying or sending without it has been interrupted';

CREATE FUNCTION courier_internal.check_schedule(schedule text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_check_schedule';
COMMENT ON FUNCTION courier_internal.check_schedule(text) IS 'manual, every, cron or after; raises 22023 for what is no schedule or names an unknown time zone';

CREATE FUNCTION courier_internal.next_run(schedule text, after timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_next_run';
COMMENT ON FUNCTION courier_internal.next_run(text, timestamptz) IS 'The first time later than "after" at which the schedule starts a run; NULL for manual and after. A cron expression without a time zone is in UTC; a time that the clock skips in spring is taken after the gap, one that it repeats in autumn the first time';

CREATE FUNCTION courier_internal.schedule_after(schedule text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_schedule_after';
COMMENT ON FUNCTION courier_internal.schedule_after(text) IS 'The sync that a schedule "after <sync>" follows; NULL for other schedules';

CREATE FUNCTION courier.wait_for_run(run_id bigint, timeout interval DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'courier_wait_for_run';
COMMENT ON FUNCTION courier.wait_for_run(bigint, interval) IS
'Waits for a run to end and returns its status: success, warning, failed, cancelled, interrupted or blocked.

run_id   as returned by trigger_sync and run_sync; see courier.runs
timeout  how long to wait; NULL (default): as long as it takes. After it, the present status is returned (queued, querying, sending)

Your transaction stays open meanwhile; CALL courier.run_sync(...) waits without one.
Errors: 25001 the run was queued by this transaction, and starts only when it commits; 42704 no such run, or not for you to see; 22004 run_id is NULL.

Example: SELECT courier.wait_for_run(42, ''10 min'')';

-- No SET clause and no SECURITY DEFINER: either would forbid its commits.
CREATE PROCEDURE courier.run_sync(name text, resync text DEFAULT 'none', timeout interval DEFAULT NULL,
                                  INOUT run_id bigint DEFAULT NULL, INOUT status text DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'courier_run_sync';
COMMENT ON PROCEDURE courier.run_sync(text, text, interval, bigint, text) IS
'Runs a sync and waits for its end: queues the run, commits, waits without holding a snapshot, and shows the progress in NOTICEs. What pg_cron, dbt hooks and Airflow call.

name     the sync
resync   none (default), full or baseline; see courier.trigger_sync
timeout  how long to wait; NULL (default): as long as it takes. After it an error (57014) is raised, and the run goes on
run_id, status  results: leave them out

Returns when the run has ended with success or warning. Errors: 58000 the run failed; 55000 it was blocked, cancelled or interrupted (a run that carries on is named in the hint); 25001 inside a transaction block; and those of courier.trigger_sync.

Example: CALL courier.run_sync(''contacts'')';
-- Who may do what, and the checks that every object shares.
--
-- The functions behind the API run as the extension's owner and get the caller as an OID from the door, so every right is asked for by
-- that OID and never by current_user. Owners are stored as names, because dumps carry names; a name whose role is gone belongs to
-- nobody but administrators, and never makes a function or a view fail.
--
-- Where PostgreSQL knows better, it is asked: the view of a model and the snapshot table of a sync are owned by the object's owner and
-- follow REASSIGN OWNED and ALTER ROLE ... RENAME, so their owner counts before the stored name (model_owner, effective_owner).

CREATE FUNCTION courier_internal.role_oid(role text) RETURNS oid
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_catalog.to_regrole(pg_catalog.quote_ident(role))::oid $$;
COMMENT ON FUNCTION courier_internal.role_oid(text) IS 'The role of this name; NULL: there is none (any more)';

CREATE FUNCTION courier_internal.has_courier_role(caller oid, role text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.pg_has_role(caller, pg_catalog.to_regrole(pg_catalog.quote_ident(role)), 'MEMBER'), false)
        OR COALESCE((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = caller), false)
$$;
COMMENT ON FUNCTION courier_internal.has_courier_role(oid, text) IS 'Whether the caller is a member of courier_viewer, courier_operator or courier_admin; superusers are members of all, even where the role was dropped';

CREATE FUNCTION courier_internal.is_member(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.pg_has_role(caller, pg_catalog.to_regrole(pg_catalog.quote_ident(owner)), 'MEMBER'),
                    courier_internal.has_courier_role(caller, 'courier_admin'))
$$;
COMMENT ON FUNCTION courier_internal.is_member(oid, text) IS 'Whether the caller is a member of the owning role (superusers are of every role). An owner that no longer exists: whether the caller is an administrator';

CREATE FUNCTION courier_internal.may_see(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT courier_internal.is_member(caller, owner) OR courier_internal.has_courier_role(caller, 'courier_viewer') $$;
COMMENT ON FUNCTION courier_internal.may_see(oid, text) IS 'Whether the caller may see an object of this owner: a member of the owning role or of courier_viewer';

CREATE FUNCTION courier_internal.may_operate(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT courier_internal.is_member(caller, owner) OR courier_internal.has_courier_role(caller, 'courier_operator') $$;
COMMENT ON FUNCTION courier_internal.may_operate(oid, text) IS 'Whether the caller may run, cancel, pause and approve a sync of this owner: a member of the owning role or of courier_operator';

CREATE FUNCTION courier_internal.may_configure(caller oid, owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT courier_internal.is_member(caller, owner) OR courier_internal.has_courier_role(caller, 'courier_admin') $$;
COMMENT ON FUNCTION courier_internal.may_configure(oid, text) IS 'Whether the caller may reconfigure and drop an object of this owner: a member of the owning role or of courier_admin';

-- The filter of the views. Views run functions with the rights of whoever reads them, so this one and what it rests on read catalogs
-- only, and it is the one place where current_user is the right thing to ask. It calls nothing of courier_internal: only functions that
-- a view names are granted to PUBLIC.
CREATE FUNCTION courier_internal.visible(owner text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole(pg_catalog.quote_ident(owner)), 'MEMBER'), false)
        OR COALESCE(pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole('courier_viewer'), 'MEMBER'), false)
        OR COALESCE((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user), false)
$$;
COMMENT ON FUNCTION courier_internal.visible(text) IS 'Whether the current role may see rows of this owner in the views: a member of the owning role or of courier_viewer';

CREATE FUNCTION courier_internal.require_owner(caller oid, owner text, kind text, name text, action text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT courier_internal.is_member(caller, owner) THEN
        RAISE EXCEPTION 'permission denied for % "%"', kind, name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s"%s.', owner, CASE WHEN action IS NOT NULL THEN ', and ' || action ELSE '' END),
            HINT = format('Members of role "%s" may do this.', owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_owner(oid, text, text, text, text) IS 'Raises 42501 unless the caller is a member of the owning role';

CREATE FUNCTION courier_internal.require_configure(caller oid, owner text, kind text, name text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT courier_internal.may_configure(caller, owner) THEN
        RAISE EXCEPTION 'permission denied for % "%"', kind, name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', owner),
            HINT = format('Members of role "%s" and of courier_admin may do this.', owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_configure(oid, text, text, text) IS 'Raises 42501 unless the caller is a member of the owning role or of courier_admin';

CREATE FUNCTION courier_internal.may_use_destination(sync_owner text, destination_id integer) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(courier_internal.is_member(o.role, d.owner), false)
        OR EXISTS (SELECT FROM courier_internal.destination_share h
                    WHERE h.destination_id = d.destination_id
                      AND pg_catalog.pg_has_role(o.role, courier_internal.role_oid(h.role), 'MEMBER'))
      FROM courier_internal.destination d, courier_internal.role_oid(sync_owner) o (role)
     WHERE d.destination_id = may_use_destination.destination_id AND o.role IS NOT NULL
$$;
COMMENT ON FUNCTION courier_internal.may_use_destination(text, integer) IS 'Whether syncs of this owner may send to the destination: the owner is a member of its owner, or of a role that it is shared with. NULL (not true): the owner or the destination does not exist';

-- Finding objects by name. An object that somebody may not touch is told from one that does not exist: names are unique in the
-- database, so creating one would tell them apart anyway.

-- RAISE takes no NULL for DETAIL and HINT, and shows an empty one as an empty line.
CREATE FUNCTION courier_internal.raise_error(code text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF detail IS NULL AND hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
    ELSIF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
    ELSIF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
    ELSE
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.raise_error(text, text, text, text) IS 'An error whose detail or hint may be missing';

CREATE FUNCTION courier_internal.require_value(argument text, value anyelement) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF value IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be NULL', argument USING ERRCODE = '22004';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_value(text, anyelement) IS 'Raises 22004, naming the argument, when the value is NULL';

CREATE FUNCTION courier_internal.check_name(kind text, name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM courier_internal.require_value('name', name);
    IF name = '' OR name ~ '[[:cntrl:]]' OR name <> btrim(name) THEN
        RAISE EXCEPTION 'invalid name for a %: "%"', kind, name USING ERRCODE = '42602',
            DETAIL = 'A name is not empty, has no control characters, and neither begins nor ends with a space.';
    ELSIF octet_length(name) > 63 THEN
        RAISE EXCEPTION 'name of the % is too long: "%"', kind, name USING ERRCODE = '42622',
            DETAIL = format('It has %s bytes. A name has at most 63.', octet_length(name));
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_name(text, text) IS 'Raises 22004, 42602 or 42622 when this cannot name an object';

CREATE FUNCTION courier_internal.raise_unknown(kind text, name text, known text[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION '% "%" does not exist', kind, name USING ERRCODE = '42704',
        HINT = CASE
            WHEN cardinality(known) = 0 OR known IS NULL THEN format('There is none that you may see. SELECT * FROM courier.%ss', kind)
            WHEN cardinality(known) <= 10 THEN format('There is: %s.', array_to_string(known, ', '))
            ELSE format('There is: %s, and %s more. SELECT name FROM courier.%ss', array_to_string(known[1:10], ', '), cardinality(known) - 10, kind)
        END;
END
$$;
COMMENT ON FUNCTION courier_internal.raise_unknown(text, text, text[]) IS 'Raises 42704 for an object that does not exist, with the names that the caller may see';

CREATE FUNCTION courier_internal.find_source(caller oid, name text) RETURNS courier_internal.source
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_source courier_internal.source;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT s.* INTO found_source FROM courier_internal.source s WHERE s.name = find_source.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown('source', name, ARRAY(
            SELECT s.name FROM courier_internal.source s WHERE s.name = 'local' OR courier_internal.may_see(caller, s.owner) ORDER BY s.name));
    END IF;
    RETURN found_source;
END
$$;
COMMENT ON FUNCTION courier_internal.find_source(oid, text) IS 'The source of this name; 22004 or 42704 otherwise. Checks no rights';

CREATE FUNCTION courier_internal.model_owner(model courier_internal.model) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(
        (SELECT pg_catalog.pg_get_userbyid(c.relowner)::text
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE model.query IS NOT NULL AND n.nspname = model.relation_schema AND c.relname = model.relation_name AND c.relkind = 'v'),
        model.owner)
$$;
COMMENT ON FUNCTION courier_internal.model_owner(courier_internal.model) IS 'Who owns a model: for a query the owner of its view, which follows REASSIGN OWNED and ALTER ROLE ... RENAME; else the stored name';

CREATE FUNCTION courier_internal.find_model(caller oid, name text) RETURNS courier_internal.model
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_model courier_internal.model;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT m.* INTO found_model FROM courier_internal.model m WHERE m.name = find_model.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown('model', name, ARRAY(
            SELECT m.name FROM courier_internal.model m WHERE courier_internal.may_see(caller, m.owner) ORDER BY m.name));
    END IF;
    found_model.owner := courier_internal.model_owner(found_model);
    RETURN found_model;
END
$$;
COMMENT ON FUNCTION courier_internal.find_model(oid, text) IS 'The model of this name, with its effective owner; 22004 or 42704 otherwise. Checks no rights';

CREATE FUNCTION courier_internal.find_destination(caller oid, name text) RETURNS courier_internal.destination
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_destination courier_internal.destination;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT d.* INTO found_destination FROM courier_internal.destination d WHERE d.name = find_destination.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown('destination', name, ARRAY(
            SELECT d.name
              FROM courier_internal.destination d
             WHERE courier_internal.may_see(caller, d.owner)
                OR courier_internal.may_use_destination(pg_get_userbyid(caller)::text, d.destination_id)
             ORDER BY d.name));
    END IF;
    RETURN found_destination;
END
$$;
COMMENT ON FUNCTION courier_internal.find_destination(oid, text) IS 'The destination of this name; 22004 or 42704 otherwise. Checks no rights';

CREATE FUNCTION courier_internal.raise_unknown_sync(caller oid, name text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM courier_internal.raise_unknown('sync', name, ARRAY(
        SELECT s.name FROM courier_internal.sync s
         WHERE courier_internal.may_see(caller, courier_internal.effective_owner(s.sync_id, s.owner)) ORDER BY s.name));
END
$$;
COMMENT ON FUNCTION courier_internal.raise_unknown_sync(oid, text) IS 'Raises 42704 for a sync that does not exist, with the names that the caller may see';

CREATE FUNCTION courier_internal.find_sync(caller oid, name text) RETURNS courier_internal.sync
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_sync courier_internal.sync;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT s.* INTO found_sync FROM courier_internal.sync s WHERE s.name = find_sync.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown_sync(caller, name);
    END IF;
    found_sync.owner := courier_internal.effective_owner(found_sync.sync_id, found_sync.owner);
    RETURN found_sync;
END
$$;
COMMENT ON FUNCTION courier_internal.find_sync(oid, text) IS 'The sync of this name, with its effective owner; 22004 or 42704 otherwise. Checks no rights';

-- Rights that objects need in the schemas where their views and snapshots live. They are also what makes DROP ROLE refuse the owner of
-- an object, so they are given even to roles that do not need them, and taken back with the role's last object.

CREATE FUNCTION courier_internal.grant_schemas(owner text, create_data boolean) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role oid := courier_internal.role_oid(owner);
    missing text[];
BEGIN
    -- Two grants on one schema at the same time end in "tuple concurrently updated": look, then lock, then look again.
    FOR turn IN 1..2 LOOP
        SELECT array_agg(format('GRANT %s ON SCHEMA %I TO %I', w.privilege, n.nspname, owner)) INTO missing
          FROM (VALUES ('courier_models', 'USAGE', true), ('courier_models', 'CREATE', true),
                       ('courier_data', 'USAGE', true), ('courier_data', 'CREATE', create_data)) w (schema_name, privilege, wanted)
          JOIN pg_namespace n ON n.nspname = w.schema_name
         WHERE w.wanted AND n.nspowner <> role
           AND NOT EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = role AND a.privilege_type = w.privilege);
        EXIT WHEN missing IS NULL;
        IF turn = 1 THEN
            PERFORM pg_advisory_xact_lock('courier_internal.grant_schemas(text,boolean)'::regprocedure::oid::bigint);
        END IF;
    END LOOP;
    FOR turn IN 1..COALESCE(cardinality(missing), 0) LOOP
        EXECUTE missing[turn];
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.grant_schemas(text, boolean) IS 'Gives the owner of an object USAGE and CREATE on courier_models and USAGE (create_data: also CREATE) on courier_data, where it lacks them';

CREATE FUNCTION courier_internal.revoke_schemas(owner text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role oid := courier_internal.role_oid(owner);
    schema_name text;
BEGIN
    IF role IS NULL
        OR EXISTS (SELECT FROM courier_internal.source s WHERE s.owner = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.model m WHERE courier_internal.model_owner(m) = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.destination_type t WHERE t.owner = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.destination d WHERE d.owner = revoke_schemas.owner)
        OR EXISTS (SELECT FROM courier_internal.sync s WHERE courier_internal.effective_owner(s.sync_id, s.owner) = revoke_schemas.owner) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock('courier_internal.grant_schemas(text,boolean)'::regprocedure::oid::bigint);
    FOR schema_name IN
        SELECT n.nspname FROM pg_namespace n
         WHERE n.nspname IN ('courier_models', 'courier_data') AND n.nspowner <> role
           AND EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = role)
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', schema_name, owner);
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.revoke_schemas(text) IS 'Takes back what grant_schemas gave, when the role owns no object any more';

-- Settings that are merged and put back.

CREATE FUNCTION courier_internal.require_object(argument text, value jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF jsonb_typeof(value) <> 'object' THEN
        RAISE EXCEPTION '"%" must be a JSON object, not %', argument,
            CASE WHEN jsonb_typeof(value) IN ('array') THEN 'an array' WHEN jsonb_typeof(value) = 'null' THEN 'null' ELSE 'a ' || jsonb_typeof(value) END
            USING ERRCODE = '22023';
    END IF;
    RETURN COALESCE(value, '{}');
END
$$;
COMMENT ON FUNCTION courier_internal.require_object(text, jsonb) IS 'The object, {} for NULL; raises 22023, naming the argument, for any other JSON';

CREATE FUNCTION courier_internal.merge_settings(settings jsonb, changes jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(pg_catalog.jsonb_object_agg(e.key, e.value) FILTER (WHERE pg_catalog.jsonb_typeof(e.value) <> 'null'), '{}')
      FROM pg_catalog.jsonb_each(settings || COALESCE(changes, '{}')) e
$$;
COMMENT ON FUNCTION courier_internal.merge_settings(jsonb, jsonb) IS 'settings with changes laid over them, key by key; a JSON null removes the key';

CREATE FUNCTION courier_internal.check_reset(reset text[], allowed text[], given text[]) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('"%s"', r), ', ') INTO wrong FROM unnest(reset) r WHERE r IS NULL OR NOT r = ANY (allowed);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'cannot reset %', wrong USING ERRCODE = '22023', DETAIL = format('Can be reset: %s.', array_to_string(allowed, ', '));
    END IF;
    SELECT string_agg(format('"%s"', r), ', ') INTO wrong FROM unnest(reset) r WHERE r = ANY (given);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be given a value and be reset at the same time', wrong USING ERRCODE = '22023';
    END IF;
    RETURN COALESCE(reset, '{}');
END
$$;
COMMENT ON FUNCTION courier_internal.check_reset(text[], text[], text[]) IS 'The names to reset; raises 22023 for names that are not settings or that were given a value as well';
-- Sources. A source is a label with, at most, a foreign server behind it: models read foreign tables like any other.

INSERT INTO courier_internal.source (name, description, owner)
VALUES ('local', 'This database', current_user);

CREATE FUNCTION courier_internal.create_source(caller oid, caller_path text, name text, foreign_server name, description text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
BEGIN
    PERFORM courier_internal.check_name('source', name);
    IF foreign_server IS NOT NULL THEN
        PERFORM courier_internal.require_server(caller, foreign_server);
    END IF;
    PERFORM courier_internal.grant_schemas(owner, false);
    INSERT INTO courier_internal.source (name, foreign_server, description, owner)
    VALUES (create_source.name, create_source.foreign_server, create_source.description, owner);
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'source "%" already exists', name USING ERRCODE = '42710';
END
$$;
COMMENT ON FUNCTION courier_internal.create_source(oid, text, text, name, text) IS 'Behind courier.create_source';

CREATE FUNCTION courier_internal.require_server(caller oid, foreign_server name) RETURNS oid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    server oid;
BEGIN
    SELECT s.oid INTO server FROM pg_foreign_server s WHERE s.srvname = foreign_server;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'server "%" does not exist', foreign_server USING ERRCODE = '42704',
            HINT = 'CREATE SERVER makes one; in psql, \des lists them.';
    ELSIF NOT has_server_privilege(caller, server, 'USAGE') THEN
        RAISE EXCEPTION 'permission denied for foreign server %', foreign_server USING ERRCODE = '42501',
            HINT = format('GRANT USAGE ON FOREIGN SERVER %I TO %I', foreign_server, pg_get_userbyid(caller));
    END IF;
    RETURN server;
END
$$;
COMMENT ON FUNCTION courier_internal.require_server(oid, name) IS 'The foreign server, if it exists and the caller may use it; 42704 or 42501 otherwise';

CREATE FUNCTION courier_internal.may_use_source(caller oid, source courier_internal.source) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT source.name = 'local' OR courier_internal.is_member(caller, source.owner)
        OR COALESCE((SELECT pg_catalog.has_server_privilege(caller, s.oid, 'USAGE')
                       FROM pg_catalog.pg_foreign_server s WHERE s.srvname = source.foreign_server), false)
$$;
COMMENT ON FUNCTION courier_internal.may_use_source(oid, courier_internal.source) IS 'Whether models of the caller may name the source: local, its own, or with a foreign server that the caller may use';

CREATE FUNCTION courier_internal.check_source(caller oid, caller_path text, name text) RETURNS TABLE (ok boolean, message text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source courier_internal.source;
    server oid;
    caller_name text := pg_get_userbyid(caller);
    foreign_table text;
    probe text;
    is_postgres boolean;
    reason text;
BEGIN
    source := courier_internal.find_source(caller, name);
    IF source.name <> 'local' AND NOT courier_internal.may_see(caller, source.owner) AND NOT courier_internal.may_use_source(caller, source) THEN
        PERFORM courier_internal.require_owner(caller, source.owner, 'source', name);
    END IF;
    IF source.foreign_server IS NULL THEN
        RETURN QUERY SELECT true, 'this database'::text;
        RETURN;
    END IF;

    SELECT s.oid, w.fdwname = 'postgres_fdw' INTO server, is_postgres
      FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
     WHERE s.srvname = source.foreign_server;
    IF server IS NULL THEN
        RETURN QUERY SELECT false, format('server "%s" does not exist', source.foreign_server);
        RETURN;
    ELSIF NOT has_server_privilege(caller, server, 'USAGE') THEN
        RETURN QUERY SELECT false, format('role "%s" may not use server "%s": GRANT USAGE ON FOREIGN SERVER', caller_name, source.foreign_server);
        RETURN;
    END IF;

    -- A foreign table that the caller may read proves it on any wrapper.
    SELECT format('%I.%I', n.nspname, c.relname) INTO foreign_table
      FROM pg_foreign_table t
      JOIN pg_class c ON c.oid = t.ftrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE t.ftserver = server AND has_table_privilege(caller, c.oid, 'SELECT') AND has_schema_privilege(caller, n.oid, 'USAGE')
     ORDER BY c.oid LIMIT 1;
    IF foreign_table IS NULL AND NOT is_postgres THEN
        RETURN QUERY SELECT NULL::boolean,
            format('not proved: server "%s" exists and you may use it, but it has no foreign table that you may read, so it was not asked', source.foreign_server);
        RETURN;
    END IF;

    -- Every PostgreSQL has pg_catalog.pg_database, so there a foreign table is made for the occasion. The error at the end of the block
    -- takes it away again.
    BEGIN
        IF foreign_table IS NULL THEN
            probe := format('courier_models.%I', 'check_source ' || pg_backend_pid());
            EXECUTE format('CREATE FOREIGN TABLE %s (datname name) SERVER %I OPTIONS (schema_name ''pg_catalog'', table_name ''pg_database'')',
                           probe, source.foreign_server);
            EXECUTE format('GRANT SELECT ON %s TO %I', probe, caller_name);
        END IF;
        PERFORM FROM courier_internal.query_as(caller, caller_path, 'UTC', format('SELECT 1 FROM %s LIMIT 1', COALESCE(foreign_table, probe)));
        RAISE EXCEPTION USING ERRCODE = 'PCOK0', MESSAGE = 'it answers';
    EXCEPTION
        WHEN SQLSTATE 'PCOK0' THEN
            RETURN QUERY SELECT true, format('server "%s" answers%s', source.foreign_server,
                CASE WHEN foreign_table IS NOT NULL THEN ': ' || foreign_table || ' can be read' ELSE '' END);
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
            RETURN QUERY SELECT false, concat_ws(': ', SQLERRM, NULLIF(btrim(reason, E' \n'), ''));
    END;
END
$$;
COMMENT ON FUNCTION courier_internal.check_source(oid, text, text) IS 'Behind courier.check_source';
-- Models: a query or relation with a primary key.
--
-- A query becomes the view courier_models.<name>, made as the caller (execute_as), so that it is his, is parsed with his search_path and
-- reads with his rights. Nothing here evaluates a user's SQL as anybody but its owner.

CREATE FUNCTION courier_internal.relation_oid(schema_name text, relation_name text) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.oid
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = schema_name AND c.relname = relation_name AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
$$;
COMMENT ON FUNCTION courier_internal.relation_oid(text, text) IS 'The relation of a model; NULL: it is gone. Unlike to_regclass it needs no rights on the schema';

CREATE FUNCTION courier_internal.columns_of(relation oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
$$;
COMMENT ON FUNCTION courier_internal.columns_of(oid) IS 'The columns of a relation, in order';

CREATE FUNCTION courier_internal.own_primary_key(relation oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.position)
      FROM pg_catalog.pg_index i
      CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, position)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indrelid = relation AND i.indisprimary AND k.position <= i.indnkeyatts
$$;
COMMENT ON FUNCTION courier_internal.own_primary_key(oid) IS 'The columns of a table''s primary key; NULL: it has none';

CREATE FUNCTION courier_internal.base_type(type oid) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE below (oid, base) AS (
        SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = type
        UNION ALL
        SELECT t.oid, t.typbasetype FROM below b JOIN pg_catalog.pg_type t ON t.oid = b.base
    )
    SELECT b.oid FROM below b WHERE b.base = 0
$$;
COMMENT ON FUNCTION courier_internal.base_type(oid) IS 'The type below all domains';

CREATE FUNCTION courier_internal.check_key(kind text, name text, relation oid, primary_key text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    columns text[] := courier_internal.columns_of(relation);
    key_column text;
    key_type oid;
    full_type text;
BEGIN
    IF COALESCE(cardinality(primary_key), 0) = 0 OR array_ndims(primary_key) > 1 THEN
        RAISE EXCEPTION 'primary_key of % "%" must name at least one column', kind, name USING ERRCODE = '22023',
            DETAIL = format('Columns: %s.', array_to_string(columns, ', '));
    END IF;
    FOREACH key_column IN ARRAY primary_key LOOP
        IF key_column IS NULL THEN
            RAISE EXCEPTION 'primary_key of % "%" must not contain NULL', kind, name USING ERRCODE = '22004';
        ELSIF (SELECT count(*) > 1 FROM unnest(primary_key) k WHERE k = key_column) THEN
            RAISE EXCEPTION 'primary_key of % "%" names column "%" twice', kind, name, key_column USING ERRCODE = '22023';
        END IF;
        SELECT a.atttypid, format_type(a.atttypid, a.atttypmod) INTO key_type, full_type
          FROM pg_attribute a
         WHERE a.attrelid = relation AND a.attname = key_column AND a.attnum > 0 AND NOT a.attisdropped;
        IF NOT FOUND THEN
            PERFORM courier_internal.raise_error('42703', format('column "%s" of the primary key does not exist in %s "%s"', key_column, kind, name),
                format('Columns: %s.', array_to_string(columns, ', ')),
                CASE WHEN lower(key_column) = ANY (columns) THEN format('There is a column "%s", in lower case.', lower(key_column)) END);
        END IF;
        -- Keys are sorted and compared. PostgreSQL finds the operator, also inside arrays and composites; a NULL of the type below all
        -- domains runs no function of anybody.
        BEGIN
            EXECUTE format('SELECT n.v FROM (SELECT NULL::%s AS v) n ORDER BY 1', format_type(courier_internal.base_type(key_type), NULL));
        EXCEPTION WHEN undefined_function OR datatype_mismatch OR indeterminate_datatype THEN
            RAISE EXCEPTION 'column "%" of type % cannot be a primary key', key_column, full_type USING ERRCODE = '42P17',
                DETAIL = format('Values of type %s cannot be sorted and compared.', full_type),
                HINT = format('Use another column, or a query that casts it, for example %I::text.', key_column);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.check_key(text, text, oid, text[]) IS 'Raises 22023, 42703 or 42P17 when these columns cannot be the primary key of a model over the relation';

CREATE FUNCTION courier_internal.check_relation(caller oid, name text, relation oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    class record;
BEGIN
    SELECT c.oid, c.relkind, c.relpersistence, n.nspname, format('%I.%I', n.nspname, c.relname) AS label INTO class
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'relation with OID % does not exist', relation USING ERRCODE = '42P01';
    ELSIF class.relkind NOT IN ('r', 'v', 'm', 'p', 'f') THEN
        RAISE EXCEPTION 'relation % cannot be a model', class.label USING ERRCODE = '42809',
            DETAIL = 'A model is a table, partitioned table, foreign table, view or materialized view.';
    ELSIF class.relpersistence = 't' THEN
        RAISE EXCEPTION 'temporary relation "%" cannot be a model', class.label USING ERRCODE = '42P16',
            DETAIL = 'Runs happen in a session of their own, which does not see it.';
    ELSIF class.nspname IN ('courier_data', 'courier_internal') THEN
        RAISE EXCEPTION 'relation % cannot be a model', class.label USING ERRCODE = '42501',
            DETAIL = 'The schemas courier_data and courier_internal belong to pg_courier.';
    ELSIF NOT has_table_privilege(caller, relation, 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for relation %', class.label USING ERRCODE = '42501',
            HINT = format('GRANT SELECT ON %s TO %I', class.label, pg_get_userbyid(caller));
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_relation(oid, text, oid) IS 'Raises an error when the relation cannot be a model of the caller''s';

CREATE FUNCTION courier_internal.create_model_view(owner oid, search_path text, name text, query text, replace boolean) RETURNS oid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM courier_internal.check_query(query);
    PERFORM courier_internal.execute_as(owner, search_path, NULL,
        format('CREATE %sVIEW courier_models.%I AS %s', CASE WHEN replace THEN 'OR REPLACE ' ELSE '' END, name, query));
    RETURN courier_internal.relation_oid('courier_models', name);
END
$$;
COMMENT ON FUNCTION courier_internal.create_model_view(oid, text, text, text, boolean) IS 'Makes the view of a model as its owner, and returns it. Errors of the query are the query''s own';

CREATE FUNCTION courier_internal.drop_model_view(name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    dependents text;
BEGIN
    EXECUTE format('DROP VIEW IF EXISTS courier_models.%I', name);
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS dependents = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'cannot drop view courier_models.% of model "%" because other objects depend on it', quote_ident(name), name USING ERRCODE = '2BP01',
        DETAIL = dependents, HINT = 'Drop these first.';
END
$$;
COMMENT ON FUNCTION courier_internal.drop_model_view(text) IS 'Drops the view of a model; 2BP01 while other objects depend on it';

CREATE FUNCTION courier_internal.check_model_source(caller oid, source text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wanted courier_internal.source;
BEGIN
    wanted := courier_internal.find_source(caller, COALESCE(source, 'local'));
    IF NOT courier_internal.may_use_source(caller, wanted) THEN
        PERFORM courier_internal.raise_error('42501', format('permission denied for source "%s"', wanted.name),
            format('It belongs to role "%s".', wanted.owner),
            CASE WHEN wanted.foreign_server IS NOT NULL THEN format('Whoever may use foreign server "%s" may use the source.', wanted.foreign_server) END);
    END IF;
    RETURN wanted.name;
END
$$;
COMMENT ON FUNCTION courier_internal.check_model_source(oid, text) IS 'The name of the source, "local" for NULL; 42704 or 42501 when the caller cannot use it';

CREATE FUNCTION courier_internal.create_model(caller oid, caller_path text, name text, query text, primary_key text[], relation regclass,
        source text, description text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
    model_relation oid;
    model_key text[] := primary_key;
    stored_source text;
    place record;
BEGIN
    PERFORM courier_internal.check_name('model', name);
    IF query IS NULL AND relation IS NULL THEN
        RAISE EXCEPTION 'model "%" needs a query or a relation', name USING ERRCODE = '22023',
            HINT = 'Give one of them: query => ''SELECT ...'' or relation => ''a_table''.';
    ELSIF query IS NOT NULL AND relation IS NOT NULL THEN
        RAISE EXCEPTION 'model "%" cannot have both a query and a relation', name USING ERRCODE = '22023',
            HINT = 'Give one of them: query => ''SELECT ...'' or relation => ''a_table''.';
    ELSIF EXISTS (SELECT FROM courier_internal.model m WHERE m.name = create_model.name) THEN
        RAISE EXCEPTION 'model "%" already exists', name USING ERRCODE = '42710',
            HINT = format('SELECT courier.alter_model(%L, ...) changes it.', name);
    ELSIF query IS NOT NULL AND primary_key IS NULL THEN
        RAISE EXCEPTION 'model "%" needs a primary_key', name USING ERRCODE = '22023',
            HINT = 'Name the columns of the query that identify a row, for example primary_key => ''{id}''.';
    END IF;
    stored_source := courier_internal.check_model_source(caller, source);
    PERFORM courier_internal.grant_schemas(owner, false);

    IF relation IS NOT NULL THEN
        PERFORM courier_internal.check_relation(caller, name, relation);
        model_relation := relation;
        model_key := COALESCE(primary_key, courier_internal.own_primary_key(relation));
        IF model_key IS NULL THEN
            RAISE EXCEPTION 'model "%" needs a primary_key', name USING ERRCODE = '22023',
                DETAIL = format('%s has no primary key of its own.', relation),
                HINT = 'Name the columns that identify a row, for example primary_key => ''{id}''.';
        END IF;
    ELSE
        model_relation := courier_internal.create_model_view(caller, caller_path, name, query, false);
    END IF;
    PERFORM courier_internal.check_key('model', name, model_relation, model_key);

    SELECT n.nspname, c.relname INTO place FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = model_relation;
    BEGIN
        INSERT INTO courier_internal.model (name, source, query, relation_schema, relation_name, primary_key, description, owner)
        VALUES (create_model.name, stored_source, create_model.query, place.nspname, place.relname, model_key, create_model.description, owner);
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'model "%" already exists', name USING ERRCODE = '42710';
    END;
END
$$;
COMMENT ON FUNCTION courier_internal.create_model(oid, text, text, text, text[], regclass, text, text) IS 'Behind courier.create_model';

CREATE FUNCTION courier_internal.readable_model(caller oid, name text) RETURNS courier_internal.model
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
BEGIN
    model := courier_internal.find_model(caller, name);
    IF NOT courier_internal.may_see(caller, model.owner) THEN
        RAISE EXCEPTION 'permission denied for model "%"', name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', model.owner),
            HINT = format('Members of role "%s" and of courier_viewer may do this.', model.owner);
    ELSIF courier_internal.role_oid(model.owner) IS NULL THEN
        RAISE EXCEPTION 'the owner of model "%" does not exist', name USING ERRCODE = '42704',
            DETAIL = format('It belongs to role "%s".', model.owner),
            HINT = format('SELECT courier.alter_model(%L, owner => ...)', name);
    ELSIF courier_internal.relation_oid(model.relation_schema, model.relation_name) IS NULL THEN
        RAISE EXCEPTION 'the relation of model "%" does not exist', name USING ERRCODE = '42P01',
            DETAIL = format('It was %I.%I.', model.relation_schema, model.relation_name),
            HINT = format('SELECT courier.alter_model(%L, ...) gives the model another query or relation.', name);
    END IF;
    RETURN model;
END
$$;
COMMENT ON FUNCTION courier_internal.readable_model(oid, text) IS 'The model, if the caller may see it and it can be read now; 42704, 42501 or 42P01 otherwise';

-- Functions inside a model find what they call by search_path. Somebody who may look but is no member of the owning role must not choose
-- it: he would choose the code that runs as the owner.
CREATE FUNCTION courier_internal.model_search_path(caller oid, caller_path text, model courier_internal.model) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE
        WHEN courier_internal.is_member(caller, model.owner) THEN caller_path
        ELSE COALESCE((SELECT s.search_path FROM courier_internal.sync s
                        WHERE s.model_id = model.model_id AND courier_internal.effective_owner(s.sync_id, s.owner) = model.owner
                        ORDER BY s.sync_id LIMIT 1), 'pg_catalog')
    END
$$;
COMMENT ON FUNCTION courier_internal.model_search_path(oid, text, courier_internal.model) IS 'The search_path to read a model with: the caller''s for members of the owning role, else that of the owner''s oldest sync of it';

CREATE FUNCTION courier_internal.preview_model(caller oid, caller_path text, name text, max_rows integer) RETURNS SETOF jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
BEGIN
    model := courier_internal.readable_model(caller, name);
    IF max_rows < 0 THEN
        RAISE EXCEPTION 'max_rows must not be negative: %', max_rows USING ERRCODE = '22023';
    END IF;
    RETURN QUERY
        SELECT q.line::jsonb
          FROM courier_internal.query_as(courier_internal.role_oid(model.owner), courier_internal.model_search_path(caller, caller_path, model), 'UTC',
                   format('SELECT pg_catalog.to_jsonb(courier_row)::text FROM (SELECT * FROM %I.%I LIMIT %s) AS courier_row',
                          model.relation_schema, model.relation_name, COALESCE(max_rows, 10))) AS q (line);
END
$$;
COMMENT ON FUNCTION courier_internal.preview_model(oid, text, text, integer) IS 'Behind courier.preview_model';

CREATE FUNCTION courier_internal.check_model(caller oid, caller_path text, name text)
    RETURNS TABLE (row_count bigint, null_keys bigint, duplicate_keys bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    relation oid;
    key_list text;
BEGIN
    model := courier_internal.readable_model(caller, name);
    relation := courier_internal.relation_oid(model.relation_schema, model.relation_name);
    PERFORM courier_internal.check_key('model', name, relation, model.primary_key);
    SELECT string_agg(format('courier_row.%I', k.key_column), ', ' ORDER BY k.position) INTO key_list
      FROM unnest(model.primary_key) WITH ORDINALITY k (key_column, position);
    -- num_nulls and not IS NULL, which is true for a composite of NULLs.
    RETURN QUERY
        SELECT (q.line::json->>0)::bigint, (q.line::json->>1)::bigint, (q.line::json->>2)::bigint
          FROM courier_internal.query_as(courier_internal.role_oid(model.owner), courier_internal.model_search_path(caller, caller_path, model), 'UTC',
                   format('SELECT pg_catalog.json_build_array(COALESCE(pg_catalog.sum(k.copies), 0), '
                              'COALESCE(pg_catalog.sum(k.copies) FILTER (WHERE k.is_null), 0), '
                              'pg_catalog.count(*) FILTER (WHERE k.copies > 1 AND NOT k.is_null))::text '
                          'FROM (SELECT pg_catalog.count(*) AS copies, pg_catalog.num_nulls(%s) > 0 AS is_null FROM %I.%I AS courier_row GROUP BY %s) k',
                          key_list, model.relation_schema, model.relation_name, key_list)) AS q (line);
END
$$;
COMMENT ON FUNCTION courier_internal.check_model(oid, text, text) IS 'Behind courier.check_model';
-- Destinations, their secrets and types, and who else may use them.
--
-- What a type allows in config and which secrets it wants is decided in the library (check_destination); here are the rights and where
-- secrets come from. A value of a secret is never put into an error, and only a plain one is ever seen by SQL.

CREATE FUNCTION courier_internal.destination_definition(type text, OUT known boolean, OUT definition jsonb) RETURNS record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    SELECT t.definition INTO definition FROM courier_internal.destination_type t WHERE t.name = destination_definition.type;
    known := FOUND OR EXISTS (SELECT FROM courier_internal.builtin_destination_types() b WHERE b.name = destination_definition.type);
END
$$;
COMMENT ON FUNCTION courier_internal.destination_definition(text) IS 'Whether the type is known, and its definition; NULL: built in';

CREATE FUNCTION courier_internal.require_type(type text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_type record;
BEGIN
    PERFORM courier_internal.require_value('type', type);
    SELECT t.known, t.definition INTO found_type FROM courier_internal.destination_definition(type) t;
    IF NOT found_type.known THEN
        RAISE EXCEPTION 'destination type "%" does not exist', type USING ERRCODE = '42704',
            DETAIL = format('There is: %s.', (
                SELECT string_agg(n.name, ', ' ORDER BY n.name)
                  FROM (SELECT b.name FROM courier_internal.builtin_destination_types() b
                        UNION ALL SELECT t.name FROM courier_internal.destination_type t) n)),
            HINT = 'SELECT * FROM courier.destination_types. Type "http" serves any HTTP API, and courier.create_destination_type makes new types.';
    END IF;
    RETURN found_type.definition;
END
$$;
COMMENT ON FUNCTION courier_internal.require_type(text) IS 'The definition of a destination type, NULL for a built-in one; 22004 or 42704 otherwise';

CREATE FUNCTION courier_internal.check_secret(caller oid, name text, value jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    directory text := NULLIF(current_setting('pg_courier.secrets_directory', true), '');
    allowed_env text := COALESCE(current_setting('pg_courier.secret_env', true), '');
    kind text;
    place text;
    is_directory boolean;
BEGIN
    IF jsonb_typeof(value) = 'string' THEN
        IF value #>> '{}' = '' THEN
            RAISE EXCEPTION 'secret "%" is empty', name USING ERRCODE = '22023';
        END IF;
        RETURN '{"stored": true}';
    END IF;
    IF jsonb_typeof(value) = 'object' THEN
        SELECT min(k) INTO kind FROM jsonb_object_keys(value) k HAVING count(*) = 1;
    END IF;
    IF kind IS NULL OR kind NOT IN ('file', 'env') OR jsonb_typeof(value->kind) <> 'string' THEN
        RAISE EXCEPTION 'secret "%" must say where its value is', name USING ERRCODE = '22023',
            DETAIL = 'Allowed: {"file": "name"}, {"env": "NAME"}, or a plain string for trying out.';
    END IF;

    place := value->>kind;
    IF kind = 'file' THEN
        IF place = '' OR left(place, 1) = '/' OR place ~ '[[:cntrl:]\\]' OR string_to_array(place, '/') && ARRAY['', '.', '..'] THEN
            RAISE EXCEPTION 'secret "%": invalid file name "%"', name, place USING ERRCODE = '22023',
                DETAIL = 'The name is relative to pg_courier.secrets_directory: no leading /, no "." or "..", no empty parts.';
        ELSIF directory IS NULL THEN
            RAISE EXCEPTION 'secret "%" is in a file, but pg_courier.secrets_directory is not set', name USING ERRCODE = '55000',
                HINT = 'A superuser sets it: ALTER SYSTEM SET pg_courier.secrets_directory = ''/etc/pg_courier/secrets''; SELECT pg_reload_conf().';
        -- A directory that is named like a role is that role's.
        ELSIF strpos(place, '/') > 0 AND courier_internal.role_oid(split_part(place, '/', 1)) IS NOT NULL
            AND NOT courier_internal.is_member(caller, split_part(place, '/', 1)) THEN
            RAISE EXCEPTION 'secret "%": permission denied for file "%"', name, place USING ERRCODE = '42501',
                DETAIL = format('Files below "%s/" are for members of that role.', split_part(place, '/', 1));
        END IF;
        BEGIN
            SELECT f.isdir INTO is_directory FROM pg_stat_file(directory || '/' || place, true) f;
        EXCEPTION WHEN OTHERS THEN
            is_directory := NULL;
        END;
        IF is_directory IS NULL THEN
            RAISE EXCEPTION 'secret "%": file "%" does not exist', name, place USING ERRCODE = '58P01',
                DETAIL = 'It must be below pg_courier.secrets_directory, on the database server, readable by the server.';
        ELSIF is_directory THEN
            RAISE EXCEPTION 'secret "%": "%" is a directory', name, place USING ERRCODE = '42809';
        END IF;
    ELSIF NOT EXISTS (SELECT FROM regexp_split_to_table(allowed_env, '[\s,]+') e WHERE e = place AND e <> '') THEN
        RAISE EXCEPTION 'secret "%": environment variable "%" may not be read', name, place USING ERRCODE = '42501',
            DETAIL = 'Names that may be read stand in the setting pg_courier.secret_env.',
            HINT = format('A superuser allows it: ALTER SYSTEM SET pg_courier.secret_env = ''%s''; SELECT pg_reload_conf().',
                          concat_ws(', ', NULLIF(allowed_env, ''), place));
    END IF;
    RETURN value;
END
$$;
COMMENT ON FUNCTION courier_internal.check_secret(oid, text, jsonb) IS 'What courier_internal.destination.secrets keeps of a secret: the reference, or {"stored": true} for a plain string. Raises an error, which never shows a value, when the caller cannot use the reference';

CREATE FUNCTION courier_internal.store_secrets(destination_id integer, secrets jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    plain text;
BEGIN
    DELETE FROM courier_internal.secret s WHERE s.destination_id = store_secrets.destination_id AND s.name IN (SELECT k FROM jsonb_object_keys(secrets) k);
    INSERT INTO courier_internal.secret (destination_id, name, value)
    SELECT store_secrets.destination_id, e.key, e.value #>> '{}' FROM jsonb_each(secrets) e WHERE jsonb_typeof(e.value) = 'string';

    SELECT string_agg(format('"%s"', e.key), ', ' ORDER BY e.key) INTO plain FROM jsonb_each(secrets) e WHERE jsonb_typeof(e.value) = 'string';
    IF plain IS NOT NULL THEN
        RAISE NOTICE 'secret % stands in the SQL statement, so PostgreSQL may log it', plain USING
            HINT = 'In production use {"file": "name"} or {"env": "NAME"}: these show in no statement, log or dump.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.store_secrets(integer, jsonb) IS 'Keeps the plain ones of these secrets, as given by the user, and forgets the former values of all of them';

CREATE FUNCTION courier_internal.create_destination(caller oid, caller_path text, name text, type text, config jsonb, secrets jsonb, description text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
    definition jsonb;
    references_only jsonb;
    new_id integer;
BEGIN
    PERFORM courier_internal.check_name('destination', name);
    config := courier_internal.require_object('config', config);
    secrets := courier_internal.require_object('secrets', secrets);
    IF EXISTS (SELECT FROM courier_internal.destination d WHERE d.name = create_destination.name) THEN
        RAISE EXCEPTION 'destination "%" already exists', name USING ERRCODE = '42710',
            HINT = format('SELECT courier.alter_destination(%L, ...) changes it.', name);
    END IF;
    definition := courier_internal.require_type(type);
    SELECT COALESCE(jsonb_object_agg(e.key, courier_internal.check_secret(caller, e.key, e.value)), '{}') INTO references_only FROM jsonb_each(secrets) e;
    PERFORM courier_internal.check_destination(name, type, definition, config, ARRAY(SELECT k FROM jsonb_object_keys(references_only) k ORDER BY k));

    PERFORM courier_internal.grant_schemas(owner, false);
    BEGIN
        INSERT INTO courier_internal.destination AS d (name, type, config, secrets, description, owner)
        VALUES (create_destination.name, create_destination.type, create_destination.config, references_only, create_destination.description, owner)
        RETURNING d.destination_id INTO new_id;
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'destination "%" already exists', name USING ERRCODE = '42710';
    END;
    PERFORM courier_internal.store_secrets(new_id, secrets);
END
$$;
COMMENT ON FUNCTION courier_internal.create_destination(oid, text, text, text, jsonb, jsonb, text) IS 'Behind courier.create_destination';

CREATE FUNCTION courier_internal.share_destination(caller oid, caller_path text, name text, role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    role_name text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_value('role', role);
    PERFORM courier_internal.require_owner(caller, destination.owner, 'destination', name, 'sharing lends its credentials');
    SELECT r.rolname INTO role_name FROM pg_roles r WHERE r.oid = role::oid;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role with OID % does not exist', role::oid USING ERRCODE = '42704';
    END IF;
    INSERT INTO courier_internal.destination_share (destination_id, role) VALUES (destination.destination_id, role_name)
    ON CONFLICT ON CONSTRAINT destination_share_pkey DO NOTHING;
END
$$;
COMMENT ON FUNCTION courier_internal.share_destination(oid, text, text, regrole) IS 'Behind courier.share_destination';

CREATE FUNCTION courier_internal.syncs_without_right(destination_id integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.string_agg(pg_catalog.format('sync "%s" of role "%s"', s.name, o.owner), E'\n' ORDER BY s.name)
      FROM courier_internal.sync s, courier_internal.effective_owner(s.sync_id, s.owner) o (owner)
     WHERE s.destination_id = syncs_without_right.destination_id
       AND NOT COALESCE(courier_internal.may_use_destination(o.owner, s.destination_id), false)
$$;
COMMENT ON FUNCTION courier_internal.syncs_without_right(integer) IS 'The syncs that send to the destination although their owner may not use it (any more); NULL: none';

CREATE FUNCTION courier_internal.unshare_destination(caller oid, caller_path text, name text, role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    before text;
    after text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_value('role', role);
    PERFORM courier_internal.require_configure(caller, destination.owner, 'destination', name);
    before := courier_internal.syncs_without_right(destination.destination_id);
    DELETE FROM courier_internal.destination_share s
     USING pg_roles r
     WHERE s.destination_id = destination.destination_id AND r.oid = unshare_destination.role::oid AND s.role = r.rolname;
    IF NOT FOUND THEN
        RAISE NOTICE 'destination "%" was not shared with role "%"', name, pg_get_userbyid(role::oid);
    END IF;
    after := courier_internal.syncs_without_right(destination.destination_id);
    IF after IS DISTINCT FROM before THEN
        RAISE EXCEPTION 'cannot take destination "%" back from role "%" because syncs depend on it', name, pg_get_userbyid(role::oid) USING ERRCODE = '2BP01',
            DETAIL = after,
            HINT = 'Drop these syncs first, or give them another destination.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.unshare_destination(oid, text, text, regrole) IS 'Behind courier.unshare_destination';

CREATE FUNCTION courier_internal.create_destination_type(caller oid, caller_path text, name text, definition jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    owner text := pg_get_userbyid(caller);
BEGIN
    PERFORM courier_internal.check_name('destination type', name);
    PERFORM courier_internal.require_value('definition', definition);
    PERFORM courier_internal.require_object('definition', definition);
    IF (SELECT t.known FROM courier_internal.destination_definition(name) t) THEN
        RAISE EXCEPTION 'destination type "%" already exists', name USING ERRCODE = '42710';
    END IF;
    PERFORM courier_internal.check_destination_type(name, definition);
    PERFORM courier_internal.grant_schemas(owner, false);
    BEGIN
        INSERT INTO courier_internal.destination_type (name, definition, owner)
        VALUES (create_destination_type.name, create_destination_type.definition, owner);
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'destination type "%" already exists', name USING ERRCODE = '42710';
    END;
END
$$;
COMMENT ON FUNCTION courier_internal.create_destination_type(oid, text, text, jsonb) IS 'Behind courier.create_destination_type';

CREATE FUNCTION courier_internal.drop_destination_type(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_type courier_internal.destination_type;
    users text;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT t.* INTO found_type FROM courier_internal.destination_type t WHERE t.name = drop_destination_type.name FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM courier_internal.require_type(name);
        RAISE EXCEPTION 'destination type "%" is built in and cannot be dropped', name USING ERRCODE = '55000';
    END IF;
    PERFORM courier_internal.require_configure(caller, found_type.owner, 'destination type', name);
    SELECT string_agg(format('destination "%s"', d.name), E'\n' ORDER BY d.name) INTO users
      FROM courier_internal.destination d WHERE d.type = drop_destination_type.name;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop destination type "%" because destinations are of it', name USING ERRCODE = '2BP01', DETAIL = users;
    END IF;
    DELETE FROM courier_internal.destination_type t WHERE t.name = drop_destination_type.name;
    PERFORM courier_internal.revoke_schemas(found_type.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_destination_type(oid, text, text) IS 'Behind courier.drop_destination_type';
-- Syncs. All that a sync says about itself goes through resolve_sync, for a new one as for a changed one, so that what is stored has
-- been checked as a whole: mapping by compiling it as the sync's owner, settings by the destination's type (check_sync).

CREATE FUNCTION courier_internal.parse_mapping(sync_name text, mapping json)
    RETURNS TABLE (ordinal integer, field text, expression text, omit_null boolean, track boolean, insert_only boolean)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    item record;
    wrong text;
    prefix text := format('mapping of sync "%s"', sync_name);
BEGIN
    IF json_typeof(mapping) <> 'object' THEN
        RAISE EXCEPTION '% must be a JSON object from destination field to SQL expression', prefix USING ERRCODE = '22023',
            HINT = 'For example {"id": "id", "email": "lower(email)"}.';
    END IF;
    ordinal := 0;
    FOR item IN SELECT e.key, e.value, json_typeof(e.value) AS kind FROM json_each(mapping) e LOOP
        ordinal := ordinal + 1;
        field := item.key;
        omit_null := false;
        track := true;
        insert_only := false;
        IF string_to_array(field, '.') && ARRAY[''] OR field = '' THEN
            RAISE EXCEPTION '%: invalid field name "%"', prefix, field USING ERRCODE = '22023', DETAIL = 'Neither a name nor a part between dots may be empty.';
        END IF;
        IF item.kind = 'string' THEN
            expression := item.value #>> '{}';
        ELSIF item.kind = 'object' THEN
            SELECT string_agg(format('"%s"', k), ', ') INTO wrong FROM json_object_keys(item.value) k WHERE k NOT IN ('expr', 'null', 'track', 'on');
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION '%, field "%": unknown key %', prefix, field, wrong USING ERRCODE = '22023',
                    DETAIL = 'Allowed: "expr", "null", "track", "on".';
            ELSIF (SELECT count(*) <> count(DISTINCT k) FROM json_object_keys(item.value) k) THEN
                RAISE EXCEPTION '%, field "%": a key stands twice', prefix, field USING ERRCODE = '22023';
            ELSIF json_typeof(item.value->'expr') IS DISTINCT FROM 'string' THEN
                RAISE EXCEPTION '%, field "%": "expr" must be an SQL expression, as a string', prefix, field USING ERRCODE = '22023';
            ELSIF item.value->'null' IS NOT NULL AND (json_typeof(item.value->'null') <> 'string' OR item.value->>'null' NOT IN ('send', 'omit')) THEN
                RAISE EXCEPTION '%, field "%": bad value for "null": %', prefix, field, item.value->'null' USING ERRCODE = '22023', DETAIL = 'Allowed: "send" (default), "omit".';
            ELSIF json_typeof(item.value->'track') <> 'boolean' THEN
                RAISE EXCEPTION '%, field "%": bad value for "track": %', prefix, field, item.value->'track' USING ERRCODE = '22023', DETAIL = 'Allowed: true (default), false.';
            ELSIF item.value->'on' IS NOT NULL AND (json_typeof(item.value->'on') <> 'string' OR item.value->>'on' NOT IN ('always', 'insert')) THEN
                RAISE EXCEPTION '%, field "%": bad value for "on": %', prefix, field, item.value->'on' USING ERRCODE = '22023', DETAIL = 'Allowed: "always" (default), "insert".';
            END IF;
            expression := item.value->>'expr';
            omit_null := COALESCE(item.value->>'null' = 'omit', false);
            track := COALESCE((item.value->>'track')::boolean, true);
            insert_only := COALESCE(item.value->>'on' = 'insert', false);
        ELSE
            PERFORM courier_internal.raise_error('22023', format('%s, field "%s": must be an SQL expression, not %s', prefix, field, item.value),
                'Allowed: a string, or an object {"expr": "...", "null": "send|omit", "track": true|false, "on": "always|insert"}.',
                CASE WHEN item.kind IN ('number', 'boolean', 'null') THEN format('A constant is an SQL expression too: "%s".', item.value) END);
        END IF;
        IF btrim(expression, E' \t\r\n') = '' THEN
            RAISE EXCEPTION '%, field "%": the expression is empty', prefix, field USING ERRCODE = '22023',
                HINT = 'For an empty text write "''''".';
        END IF;
        RETURN NEXT;
    END LOOP;
    IF ordinal = 0 THEN
        RAISE EXCEPTION '% has no field', prefix USING ERRCODE = '22023', HINT = 'Leave mapping out to map every column to the field of its own name.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.parse_mapping(text, json) IS 'The fields of a mapping, in order; raises 22023 where it is no mapping. Checks no expression';

CREATE FUNCTION courier_internal.check_fields(sync_name text, fields text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wrong record;
BEGIN
    SELECT f INTO wrong FROM unnest(fields) f GROUP BY f HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'sync "%" maps field "%" twice', sync_name, wrong.f USING ERRCODE = '22023';
    END IF;
    -- Of the fields above a dotted one, none may be a value. 1,600 columns make a product of pairs too many, so parents are looked up.
    SELECT f.field, p.parent INTO wrong
      FROM unnest(fields) f (field)
     CROSS JOIN LATERAL generate_series(1, cardinality(string_to_array(f.field, '.')) - 1) n
     CROSS JOIN LATERAL array_to_string((string_to_array(f.field, '.'))[1:n], '.') p (parent)
     WHERE strpos(f.field, '.') > 0 AND p.parent IN (SELECT v FROM unnest(fields) v)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'sync "%" maps field "%", which cannot be inside field "%"', sync_name, wrong.field, wrong.parent USING ERRCODE = '22023',
            DETAIL = 'A dot in a field name makes an object, and the field above it has a value already.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_fields(text, text[]) IS 'Raises 22023 when a field stands twice or has a value and fields inside';

-- The column that an expression consists of, if it is nothing else: "id", "Id" in quotes, or model.id.
CREATE FUNCTION courier_internal.bare_column(model_name text, expression text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    parts text[];
BEGIN
    parts := parse_ident(btrim(expression, E' \t\r\n'));
    RETURN CASE
        WHEN cardinality(parts) = 1 THEN parts[1]
        WHEN cardinality(parts) = 2 AND parts[1] = model_name THEN parts[2]
    END;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION courier_internal.bare_column(text, text) IS 'The name of the column that the expression is, if it is nothing but one';

CREATE FUNCTION courier_internal.check_mapping(sync courier_internal.sync, model courier_internal.model, OUT fields text[], OUT match_fields text[]) RETURNS record
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    derived text[] := '{}';
    relation oid := courier_internal.relation_oid(model.relation_schema, model.relation_name);
    owner oid := courier_internal.role_oid(sync.owner);
    item record;
    constants text[] := '{}';
    insert_only text[] := '{}';
    wrong text;
BEGIN
    match_fields := '{}';
    IF relation IS NULL THEN
        RAISE EXCEPTION 'the relation of model "%" does not exist', model.name USING ERRCODE = '42P01',
            DETAIL = format('It was %I.%I.', model.relation_schema, model.relation_name),
            HINT = format('SELECT courier.alter_model(%L, ...) gives the model another query or relation.', model.name);
    ELSIF owner IS NULL THEN
        RAISE EXCEPTION 'the owner of sync "%" does not exist', sync.name USING ERRCODE = '42704', DETAIL = format('It belongs to role "%s".', sync.owner);
    END IF;
    IF sync.mapping IS NULL THEN
        fields := courier_internal.columns_of(relation);
        match_fields := model.primary_key;
        PERFORM courier_internal.check_fields(sync.name, fields);
    ELSE
        SELECT array_agg(p.field ORDER BY p.ordinal) INTO fields FROM courier_internal.parse_mapping(sync.name, sync.mapping) p;
        PERFORM courier_internal.check_fields(sync.name, fields);
        FOR item IN
            SELECT p.*, a.columns, a.reads_clock
              FROM courier_internal.parse_mapping(sync.name, sync.mapping) p
              JOIN (SELECT t.ordinal, t.columns, t.reads_clock
                      FROM courier_internal.analyze_mapping(owner, sync.search_path, relation::regclass, model.name, fields,
                               ARRAY(SELECT e.expression FROM courier_internal.parse_mapping(sync.name, sync.mapping) e ORDER BY e.ordinal)) t) a
                USING (ordinal)
             ORDER BY ordinal
        LOOP
            IF COALESCE(cardinality(item.columns), 0) = 0 THEN
                constants := constants || item.field;
            ELSIF item.reads_clock AND item.track AND NOT item.insert_only THEN
                RAISE EXCEPTION 'mapping of sync "%", field "%": the expression reads columns and the clock', sync.name, item.field USING ERRCODE = '22023',
                    DETAIL = format('The clock, a random value, a sequence or courier.run_id() makes it differ at every run, so every record would be sent every time: %s',
                                    item.expression),
                    HINT = format('With "track": false the field is sent but is no reason to send: %s', json_build_object(
                        item.field, json_build_object('expr', item.expression, 'track', false)));
            ELSIF courier_internal.bare_column(model.name, item.expression) = ANY (model.primary_key)
                AND item.columns = ARRAY[courier_internal.bare_column(model.name, item.expression)] THEN
                match_fields := match_fields || item.field;
            ELSIF item.columns <@ model.primary_key AND NOT item.reads_clock AND NOT item.insert_only THEN
                derived := derived || item.field;
            END IF;
            IF item.insert_only THEN
                insert_only := insert_only || item.field;
            END IF;
        END LOOP;
        -- No field is a key column itself: those that are made from the key alone identify the record.
        IF cardinality(match_fields) = 0 THEN
            match_fields := derived;
        END IF;
    END IF;

    IF sync.match_on IS NOT NULL THEN
        IF cardinality(sync.match_on) = 0 THEN
            RAISE EXCEPTION 'match_on of sync "%" names no field', sync.name USING ERRCODE = '22023',
                DETAIL = format('Mapped fields: %s.', array_to_string(fields, ', ')), HINT = 'Leave it out to match by the fields that are mapped from the primary key.';
        END IF;
        SELECT string_agg(CASE WHEN m IS NULL THEN 'NULL' ELSE format('"%s"', m) END, ', ') INTO wrong FROM unnest(sync.match_on) m WHERE m IS NULL OR NOT m = ANY (fields);
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'match_on of sync "%" names %, which is not mapped', sync.name, wrong USING ERRCODE = '22023',
                DETAIL = format('Mapped fields: %s.', array_to_string(fields, ', '));
        ELSIF (SELECT count(*) <> count(DISTINCT m) FROM unnest(sync.match_on) m) THEN
            RAISE EXCEPTION 'match_on of sync "%" names a field twice', sync.name USING ERRCODE = '22023';
        END IF;
        SELECT string_agg(format('"%s"', m), ', ') INTO wrong FROM unnest(sync.match_on) m WHERE m = ANY (constants);
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'match_on of sync "%" names %, which reads no column', sync.name, wrong USING ERRCODE = '22023',
                DETAIL = 'Every record would have the same value there.';
        END IF;
        match_fields := sync.match_on;
    END IF;
    SELECT string_agg(format('"%s"', m), ', ') INTO wrong FROM unnest(match_fields) m WHERE m = ANY (insert_only);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'sync "%" matches by %, which is sent with new records only', sync.name, wrong USING ERRCODE = '22023',
            DETAIL = 'A field by which records are found has "on": "always".';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_mapping(courier_internal.sync, courier_internal.model) IS 'The mapped fields and those that identify a record. Compiles every expression as the sync''s owner, with his search_path; raises an error where one cannot be used';

CREATE FUNCTION courier_internal.check_sync_options(options jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    item record;
BEGIN
    PERFORM courier_internal.check_options(options);
    -- What only PostgreSQL can judge.
    FOR item IN SELECT e.key, e.value FROM jsonb_each_text(options) e WHERE e.key IN ('time_zone', 'remember', 'retention', 'window') AND e.value IS NOT NULL LOOP
        BEGIN
            IF item.key = 'time_zone' THEN
                PERFORM timezone(item.value, now());
            ELSIF item.key = 'window' THEN
                PERFORM courier_internal.window_opening(now(), options);
            ELSIF item.value::interval < '0'::interval THEN
                RAISE EXCEPTION USING ERRCODE = '22007';
            END IF;
        EXCEPTION WHEN invalid_parameter_value OR invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
            PERFORM courier_internal.raise_error('22023', format('option "%s": bad value "%s"', item.key, item.value),
                CASE item.key
                    WHEN 'window' THEN 'Allowed: two times of the day and, if wanted, a time zone, for example "08:00-18:00 Europe/Berlin".'
                    WHEN 'time_zone' THEN 'Allowed: a time zone that PostgreSQL knows, for example "UTC" or "Europe/Berlin".'
                    ELSE 'Allowed: an interval as PostgreSQL reads it, for example "30 days".'
                END,
                CASE item.key WHEN 'time_zone' THEN 'SELECT name FROM pg_timezone_names' END);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.check_sync_options(jsonb) IS 'Raises 22023 for an option that is not known or a value that is not allowed';

CREATE FUNCTION courier_internal.resolve_sync(sync courier_internal.sync) RETURNS courier_internal.sync
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    destination courier_internal.destination;
    definition jsonb;
    mapped record;
    resolved jsonb;
BEGIN
    SELECT m.* INTO model FROM courier_internal.model m WHERE m.model_id = sync.model_id;
    SELECT d.* INTO destination FROM courier_internal.destination d WHERE d.destination_id = sync.destination_id;
    definition := courier_internal.require_type(destination.type);
    PERFORM courier_internal.check_sync_options(sync.options);
    mapped := courier_internal.check_mapping(sync, model);
    resolved := courier_internal.check_sync(jsonb_build_object(
        'name', sync.name, 'type', destination.type, 'definition', definition, 'destination', destination.name, 'destination_config', destination.config,
        'mode', sync.mode, 'sync_type', sync.sync_type, 'object', sync.object, 'on_removed', sync.on_removed, 'first_run', sync.first_run,
        'config', sync.config, 'options', sync.options, 'fields', to_jsonb(mapped.fields), 'match_on', to_jsonb(mapped.match_fields)));
    sync.mode := resolved->>'mode';
    sync.sync_type := resolved->>'sync_type';
    sync.object := COALESCE(resolved->>'object', sync.object);
    sync.on_removed := resolved->>'on_removed';
    sync.first_run := resolved->>'first_run';
    RETURN sync;
END
$$;
COMMENT ON FUNCTION courier_internal.resolve_sync(courier_internal.sync) IS 'The sync with every setting checked and defaults filled in. Rights and schedule are not its business';

CREATE FUNCTION courier_internal.check_sync_schedule(caller oid, sync_name text, schedule text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    kind text := courier_internal.check_schedule(schedule);
    upstream courier_internal.sync;
    upstream_name text;
    chain text[] := ARRAY[sync_name];
BEGIN
    IF kind <> 'after' THEN
        RETURN kind;
    END IF;
    upstream_name := courier_internal.schedule_after(schedule);
    IF upstream_name = sync_name THEN
        RAISE EXCEPTION 'sync "%" cannot run after itself', sync_name USING ERRCODE = '22023';
    END IF;
    upstream := courier_internal.find_sync(caller, upstream_name);
    IF NOT courier_internal.may_see(caller, upstream.owner) THEN
        PERFORM courier_internal.require_owner(caller, upstream.owner, 'sync', upstream_name, 'following it shows when it runs');
    END IF;
    LOOP
        chain := chain || upstream_name;
        IF upstream_name = sync_name OR cardinality(chain) > 1000 THEN
            RAISE EXCEPTION 'schedule of sync "%" makes a loop', sync_name USING ERRCODE = '22023',
                DETAIL = format('Each would run after the next: %s.', array_to_string(chain, ', '));
        END IF;
        SELECT courier_internal.schedule_after(s.schedule) INTO upstream_name
          FROM courier_internal.sync s
         WHERE s.name = upstream_name AND courier_internal.check_schedule(s.schedule) = 'after';
        EXIT WHEN upstream_name IS NULL;
    END LOOP;
    RETURN kind;
END
$$;
COMMENT ON FUNCTION courier_internal.check_sync_schedule(oid, text, text) IS 'The kind of a schedule (manual, every, cron, after); raises an error when it cannot be read, or follows a sync that does not exist or follows this one';

CREATE FUNCTION courier_internal.first_due(schedule text) RETURNS timestamptz
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE courier_internal.check_schedule(schedule)
        WHEN 'every' THEN pg_catalog.now()
        WHEN 'cron' THEN courier_internal.next_run(schedule, pg_catalog.now())
    END
$$;
COMMENT ON FUNCTION courier_internal.first_due(text) IS 'When a sync with a new schedule runs first: "every" at once, cron at its next time, others when they are asked';

CREATE FUNCTION courier_internal.require_model_use(sync_owner text, model courier_internal.model) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role oid := courier_internal.role_oid(sync_owner);
    relation oid := courier_internal.relation_oid(model.relation_schema, model.relation_name);
BEGIN
    PERFORM courier_internal.require_owner(role, model.owner, 'model', model.name);
    IF NOT has_table_privilege(role, relation, 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for model "%"', model.name USING ERRCODE = '42501',
            DETAIL = format('Role "%s", which the sync runs as, may not read %I.%I.', sync_owner, model.relation_schema, model.relation_name),
            HINT = format('GRANT SELECT ON %I.%I TO %I', model.relation_schema, model.relation_name, sync_owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_model_use(text, courier_internal.model) IS 'Raises 42501 unless syncs of this owner may use the model: a member of its owner, who may read it';

CREATE FUNCTION courier_internal.require_destination_use(sync_owner text, destination courier_internal.destination) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT COALESCE(courier_internal.may_use_destination(sync_owner, destination.destination_id), false) THEN
        RAISE EXCEPTION 'permission denied for destination "%"', destination.name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s" and is not shared with role "%s".', destination.owner, sync_owner),
            HINT = format('A member of "%s" shares it: SELECT courier.share_destination(%L, %L)', destination.owner, destination.name, sync_owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.require_destination_use(text, courier_internal.destination) IS 'Raises 42501 unless syncs of this owner may send to the destination';

CREATE FUNCTION courier_internal.create_sync(caller oid, caller_path text, name text, model text, destination text, mode text, sync_type text,
        object text, mapping json, match_on text[], on_removed text, first_run text, schedule text, config jsonb, options jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    used_model courier_internal.model;
    used_destination courier_internal.destination;
BEGIN
    PERFORM courier_internal.check_name('sync', name);
    PERFORM courier_internal.require_value('model', model);
    PERFORM courier_internal.require_value('destination', destination);
    IF EXISTS (SELECT FROM courier_internal.sync s WHERE s.name = create_sync.name) THEN
        RAISE EXCEPTION 'sync "%" already exists', name USING ERRCODE = '42710',
            HINT = format('SELECT courier.alter_sync(%L, ...) changes it.', name);
    END IF;

    sync.name := name;
    sync.owner := pg_get_userbyid(caller);
    sync.search_path := caller_path;
    sync.mode := mode;
    sync.sync_type := sync_type;
    sync.object := object;
    sync.mapping := CASE WHEN json_typeof(mapping) <> 'null' THEN mapping END;
    sync.match_on := match_on;
    sync.on_removed := on_removed;
    sync.first_run := first_run;
    sync.schedule := COALESCE(schedule, 'manual');
    sync.config := courier_internal.require_object('config', config);
    sync.options := courier_internal.require_object('options', options);
    SELECT i.epoch INTO sync.epoch FROM courier_internal.installation i;
    SELECT d.oid INTO sync.database_oid FROM pg_database d WHERE d.datname = current_database();

    used_model := courier_internal.find_model(caller, model);
    PERFORM courier_internal.require_model_use(sync.owner, used_model);
    sync.model_id := used_model.model_id;
    used_destination := courier_internal.find_destination(caller, destination);
    PERFORM courier_internal.require_destination_use(sync.owner, used_destination);
    sync.destination_id := used_destination.destination_id;
    sync := courier_internal.resolve_sync(sync);
    PERFORM courier_internal.check_sync_schedule(caller, name, sync.schedule);

    PERFORM courier_internal.grant_schemas(sync.owner, true);
    BEGIN
        INSERT INTO courier_internal.sync AS s (name, model_id, destination_id, mode, sync_type, object, mapping, match_on, on_removed, first_run,
                                                schedule, config, options, search_path, owner, epoch, database_oid)
        VALUES (sync.name, sync.model_id, sync.destination_id, sync.mode, sync.sync_type, sync.object, sync.mapping, sync.match_on, sync.on_removed,
                sync.first_run, sync.schedule, sync.config, sync.options, sync.search_path, sync.owner, sync.epoch, sync.database_oid)
        RETURNING s.sync_id INTO sync.sync_id;
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'sync "%" already exists', name USING ERRCODE = '42710';
    END;
    INSERT INTO courier_internal.sync_state (sync_id, next_run_at) VALUES (sync.sync_id, courier_internal.place_run(courier_internal.first_due(sync.schedule), sync.sync_id, sync.options));
    PERFORM courier_internal.create_snapshot_table(sync.sync_id);
    PERFORM courier_internal.announce();
END
$$;
COMMENT ON FUNCTION courier_internal.create_sync(oid, text, text, text, text, text, text, text, json, text[], text, text, text, jsonb, jsonb) IS 'Behind courier.create_sync';

CREATE FUNCTION courier_internal.pause_sync(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    sync := courier_internal.operable_sync(caller, name);
    UPDATE courier_internal.sync s SET paused = true WHERE s.sync_id = sync.sync_id AND NOT s.paused;
    IF FOUND AND EXISTS (SELECT FROM courier_internal.run r WHERE r.sync_id = sync.sync_id AND r.status IN ('querying', 'sending')) THEN
        RAISE NOTICE 'a run of sync "%" is active and goes on', name USING HINT = 'courier.cancel_run stops it.';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.pause_sync(oid, text, text) IS 'Behind courier.pause_sync';

CREATE FUNCTION courier_internal.activate_sync(sync courier_internal.sync) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    changed boolean;
    kept bigint := 0;
    missing text;
BEGIN
    UPDATE courier_internal.sync s
       SET paused = false, epoch = i.epoch, database_oid = d.oid
      FROM courier_internal.installation i, pg_database d
     WHERE s.sync_id = sync.sync_id AND d.datname = current_database()
       AND (s.paused OR s.epoch <> i.epoch OR s.database_oid <> d.oid);
    changed := FOUND;

    -- The state is not dumped but snapshots are, and guards such as max_removed go by their size. The table is its owner's, so he counts.
    IF NOT EXISTS (SELECT FROM courier_internal.sync_state t WHERE t.sync_id = sync.sync_id)
        AND courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id) IS NOT NULL AND courier_internal.role_oid(sync.owner) IS NOT NULL THEN
        SELECT q.line::bigint INTO kept
          FROM courier_internal.query_as(courier_internal.role_oid(sync.owner), 'pg_catalog', 'UTC',
                   format('SELECT pg_catalog.count(*)::text FROM courier_data.%I', 'snapshot_' || sync.sync_id)) AS q (line);
    END IF;
    INSERT INTO courier_internal.sync_state AS t (sync_id, next_run_at, snapshot_records)
    VALUES (sync.sync_id, courier_internal.place_run(courier_internal.first_due(sync.schedule), sync.sync_id, sync.options), kept)
    ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET next_run_at = EXCLUDED.next_run_at
     WHERE changed AND (t.next_run_at IS NULL OR t.next_run_at < now());

    -- A restored copy has no values of secrets, since they are not dumped, and may have been restored without its snapshots.
    IF courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id) IS NULL AND courier_internal.role_oid(sync.owner) IS NOT NULL THEN
        PERFORM courier_internal.grant_schemas(sync.owner, true);
        PERFORM courier_internal.create_snapshot_table(sync.sync_id);
    ELSE
        -- Restored: the table has another OID here. It counts when it belongs to the owner that the dump names.
        UPDATE courier_internal.sync_state t
           SET snapshot_oid = c.oid
          FROM pg_class c
         WHERE t.sync_id = sync.sync_id AND c.oid = courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id)
           AND t.snapshot_oid IS DISTINCT FROM c.oid AND c.relowner = courier_internal.role_oid(sync.owner);
    END IF;
    SELECT string_agg(format('"%s"', e.key), ', ' ORDER BY e.key) INTO missing
      FROM courier_internal.destination d, jsonb_each(d.secrets) e
     WHERE d.destination_id = sync.destination_id AND e.value ? 'stored'
       AND NOT EXISTS (SELECT FROM courier_internal.secret v WHERE v.destination_id = d.destination_id AND v.name = e.key);
    IF missing IS NOT NULL THEN
        RAISE WARNING 'the destination of sync "%" has no value for secret %', sync.name, missing USING
            HINT = 'Values that were given as plain strings are not dumped. courier.alter_destination(name, secrets => ...) gives them again.';
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION courier_internal.activate_sync(courier_internal.sync) IS 'Lets a sync run here: not paused, under the present epoch and database. False: it did already';

CREATE FUNCTION courier_internal.resume_sync(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    PERFORM courier_internal.operable_sync(caller, name);
    sync := courier_internal.find_sync(caller, name);
    PERFORM courier_internal.activate_sync(sync);
    PERFORM courier_internal.announce();
END
$$;
COMMENT ON FUNCTION courier_internal.resume_sync(oid, text, text) IS 'Behind courier.resume_sync';

CREATE FUNCTION courier_internal.resume_all(caller oid, caller_path text) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    resumed integer := 0;
BEGIN
    FOR sync IN SELECT s.* FROM courier_internal.sync s ORDER BY s.sync_id LOOP
        sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
        IF courier_internal.may_configure(caller, sync.owner) AND courier_internal.activate_sync(sync) THEN
            resumed := resumed + 1;
        END IF;
    END LOOP;
    PERFORM courier_internal.announce();
    RETURN resumed;
END
$$;
COMMENT ON FUNCTION courier_internal.resume_all(oid, text) IS 'Behind courier.resume_all';
-- Changing and dropping.
--
-- A change is laid over the stored row and the result is checked like a new object. Administrators (courier_admin) may change settings
-- and drop; what runs as the owner (queries, mappings, which model a sync reads) and ownership itself take a member of the owning role.

CREATE FUNCTION courier_internal.new_owner(caller oid, owner regrole, former text, kind text, name text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role_name text;
BEGIN
    PERFORM courier_internal.require_owner(caller, former, kind, name, 'its owner is changed only by its members');
    SELECT r.rolname INTO role_name FROM pg_roles r WHERE r.oid = owner::oid;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role with OID % does not exist', owner::oid USING ERRCODE = '42704';
    ELSIF NOT pg_has_role(caller, owner::oid, 'MEMBER') THEN
        RAISE EXCEPTION 'must be member of role "%"', role_name USING ERRCODE = '42501',
            DETAIL = format('The %s "%s" would run with its rights.', kind, name);
    END IF;
    RETURN role_name;
END
$$;
COMMENT ON FUNCTION courier_internal.new_owner(oid, regrole, text, text, text) IS 'The name of the new owner; raises 42501 unless the caller is a member of both owners';

CREATE FUNCTION courier_internal.replace_model_view(owner oid, search_path text, name text, query text) RETURNS oid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    former oid := courier_internal.relation_oid('courier_models', name);
    grants boolean;
BEGIN
    BEGIN
        RETURN courier_internal.create_model_view(owner, search_path, name, query, true);
    EXCEPTION WHEN invalid_table_definition THEN
        -- Columns changed in a way that CREATE OR REPLACE VIEW does not do. DROP refuses while anything depends on the view.
        IF former IS NULL THEN
            RAISE;
        END IF;
    END;
    SELECT c.relacl IS NOT NULL INTO grants FROM pg_class c WHERE c.oid = former;
    PERFORM courier_internal.drop_model_view(name);
    former := courier_internal.create_model_view(owner, search_path, name, query, false);
    IF grants THEN
        RAISE NOTICE 'view courier_models.% was made anew, because its columns changed', quote_ident(name) USING
            HINT = 'Rights that were granted on it have to be granted again.';
    END IF;
    RETURN former;
END
$$;
COMMENT ON FUNCTION courier_internal.replace_model_view(oid, text, text, text) IS 'Gives a model another query, keeping its view where its columns allow it';

-- A changed model does not wait for the next run to tell that a mapping no longer fits.
CREATE FUNCTION courier_internal.warn_about_mappings(model courier_internal.model) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
BEGIN
    FOR sync IN SELECT s.* FROM courier_internal.sync s WHERE s.model_id = model.model_id ORDER BY s.name LOOP
        sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
        BEGIN
            PERFORM courier_internal.check_mapping(sync, model);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'the mapping of sync "%" does not fit the changed model: %', sync.name, SQLERRM USING
                HINT = format('SELECT courier.alter_sync(%L, mapping => ...)', sync.name);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.warn_about_mappings(courier_internal.model) IS 'A WARNING for every sync whose mapping can no longer be evaluated on the model';

CREATE FUNCTION courier_internal.alter_model(caller oid, caller_path text, name text, query text, primary_key text[], relation regclass,
        source text, description text, owner regrole, reset text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    former courier_internal.model;
    model_relation oid;
    place record;
    broken text;
BEGIN
    model := courier_internal.find_model(caller, name);
    PERFORM courier_internal.require_configure(caller, model.owner, 'model', name);
    PERFORM FROM courier_internal.model m WHERE m.model_id = model.model_id FOR NO KEY UPDATE;
    former := model;
    reset := courier_internal.check_reset(reset, '{description,primary_key,source}', array_remove(ARRAY[
        CASE WHEN description IS NOT NULL THEN 'description' END, CASE WHEN primary_key IS NOT NULL THEN 'primary_key' END,
        CASE WHEN source IS NOT NULL THEN 'source' END], NULL));
    IF query IS NOT NULL AND relation IS NOT NULL THEN
        RAISE EXCEPTION 'model "%" cannot have both a query and a relation', name USING ERRCODE = '22023';
    END IF;
    IF query IS NOT NULL OR relation IS NOT NULL THEN
        PERFORM courier_internal.require_owner(caller, former.owner, 'model', name, 'its query runs with that role''s rights');
    END IF;

    IF owner IS NOT NULL THEN
        model.owner := courier_internal.new_owner(caller, owner, former.owner, 'model', name);
        PERFORM courier_internal.grant_schemas(model.owner, false);
        IF former.query IS NOT NULL AND courier_internal.relation_oid('courier_models', name) IS NOT NULL THEN
            EXECUTE format('ALTER VIEW courier_models.%I OWNER TO %I', name, model.owner);
        END IF;
    ELSIF courier_internal.role_oid(model.owner) IS NULL AND (query IS NOT NULL OR relation IS NOT NULL) THEN
        RAISE EXCEPTION 'the owner of model "%" does not exist', name USING ERRCODE = '42704',
            DETAIL = format('It belongs to role "%s".', model.owner), HINT = 'Give it another one in the same call: owner => ...';
    END IF;

    model_relation := courier_internal.relation_oid(model.relation_schema, model.relation_name);
    IF query IS NOT NULL THEN
        model_relation := courier_internal.replace_model_view(courier_internal.role_oid(model.owner), caller_path, name, query);
        model.query := query;
    ELSIF relation IS NOT NULL THEN
        PERFORM courier_internal.check_relation(courier_internal.role_oid(model.owner), name, relation);
        model_relation := relation;
        model.query := NULL;
    ELSIF model.query IS NULL AND model_relation IS NOT NULL AND owner IS NOT NULL THEN
        PERFORM courier_internal.check_relation(courier_internal.role_oid(model.owner), name, model_relation);
    END IF;

    IF primary_key IS NOT NULL THEN
        model.primary_key := primary_key;
    ELSIF 'primary_key' = ANY (reset) THEN
        model.primary_key := courier_internal.own_primary_key(model_relation);
        IF model.primary_key IS NULL THEN
            RAISE EXCEPTION 'primary_key of model "%" has no default', name USING ERRCODE = '22023', DETAIL = 'Only a table has a primary key of its own.';
        END IF;
    END IF;
    IF model_relation IS NOT NULL THEN
        PERFORM courier_internal.check_key('model', name, model_relation, model.primary_key);
        SELECT n.nspname, c.relname INTO place FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = model_relation;
        model.relation_schema := place.nspname;
        model.relation_name := place.relname;
    END IF;
    IF source IS NOT NULL THEN
        model.source := courier_internal.check_model_source(caller, source);
    ELSIF 'source' = ANY (reset) THEN
        model.source := 'local';
    END IF;
    model.description := CASE WHEN 'description' = ANY (reset) THEN NULL ELSE COALESCE(description, model.description) END;

    UPDATE courier_internal.model m
       SET source = model.source, query = model.query, relation_schema = model.relation_schema, relation_name = model.relation_name,
           primary_key = model.primary_key, description = model.description, owner = model.owner
     WHERE m.model_id = model.model_id;

    IF relation IS NOT NULL AND former.query IS NOT NULL AND courier_internal.relation_oid('courier_models', name) IS DISTINCT FROM model_relation THEN
        PERFORM courier_internal.drop_model_view(name);
    END IF;
    IF model.owner <> former.owner THEN
        SELECT string_agg(format('sync "%s" of role "%s"', s.name, o.owner), E'\n' ORDER BY s.name) INTO broken
          FROM courier_internal.sync s, courier_internal.effective_owner(s.sync_id, s.owner) o (owner)
         WHERE s.model_id = model.model_id AND NOT courier_internal.is_member(courier_internal.role_oid(o.owner), model.owner);
        IF broken IS NOT NULL THEN
            RAISE EXCEPTION 'cannot give model "%" to role "%" because syncs of others depend on it', name, model.owner USING ERRCODE = '2BP01', DETAIL = broken;
        END IF;
        PERFORM courier_internal.revoke_schemas(former.owner);
    END IF;
    IF query IS NOT NULL OR relation IS NOT NULL OR model.primary_key <> former.primary_key THEN
        PERFORM courier_internal.warn_about_mappings(model);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.alter_model(oid, text, text, text, text[], regclass, text, text, regrole, text[]) IS 'Behind courier.alter_model';

CREATE FUNCTION courier_internal.alter_destination(caller oid, caller_path text, name text, type text, config jsonb, secrets jsonb, description text,
        owner regrole, reset text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    former courier_internal.destination;
    definition jsonb;
    kept jsonb;
    sync courier_internal.sync;
    before text;
    after text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_configure(caller, destination.owner, 'destination', name);
    SELECT d.* INTO destination FROM courier_internal.destination d WHERE d.destination_id = destination.destination_id FOR NO KEY UPDATE;
    former := destination;
    reset := courier_internal.check_reset(reset, '{config,description,secrets}', array_remove(ARRAY[
        CASE WHEN config IS NOT NULL THEN 'config' END, CASE WHEN description IS NOT NULL THEN 'description' END,
        CASE WHEN secrets IS NOT NULL THEN 'secrets' END], NULL));
    before := courier_internal.syncs_without_right(destination.destination_id);

    IF owner IS NOT NULL THEN
        destination.owner := courier_internal.new_owner(caller, owner, former.owner, 'destination', name);
        PERFORM courier_internal.grant_schemas(destination.owner, false);
    END IF;
    destination.type := COALESCE(type, destination.type);
    destination.config := CASE WHEN 'config' = ANY (reset) THEN '{}'
                               ELSE courier_internal.merge_settings(destination.config, courier_internal.require_object('config', config)) END;
    destination.description := CASE WHEN 'description' = ANY (reset) THEN NULL ELSE COALESCE(description, destination.description) END;

    secrets := courier_internal.require_object('secrets', secrets);
    kept := CASE WHEN 'secrets' = ANY (reset) THEN '{}' ELSE destination.secrets END;
    SELECT courier_internal.merge_settings(kept, COALESCE(jsonb_object_agg(e.key,
               CASE WHEN jsonb_typeof(e.value) = 'null' THEN e.value ELSE courier_internal.check_secret(caller, e.key, e.value) END), '{}'))
      INTO destination.secrets FROM jsonb_each(secrets) e;

    definition := courier_internal.require_type(destination.type);
    PERFORM courier_internal.check_destination(name, destination.type, definition, destination.config,
                                               ARRAY(SELECT k FROM jsonb_object_keys(destination.secrets) k ORDER BY k));
    UPDATE courier_internal.destination d
       SET type = destination.type, config = destination.config, secrets = destination.secrets, description = destination.description, owner = destination.owner
     WHERE d.destination_id = destination.destination_id;
    IF 'secrets' = ANY (reset) THEN
        DELETE FROM courier_internal.secret s WHERE s.destination_id = destination.destination_id;
    END IF;
    PERFORM courier_internal.store_secrets(destination.destination_id, secrets);

    IF destination.type <> former.type OR destination.config <> former.config THEN
        FOR sync IN SELECT s.* FROM courier_internal.sync s WHERE s.destination_id = destination.destination_id ORDER BY s.name LOOP
            sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
            BEGIN
                PERFORM courier_internal.resolve_sync(sync);
            EXCEPTION WHEN OTHERS THEN
                RAISE WARNING 'sync "%" does not fit the changed destination: %', sync.name, SQLERRM USING
                    HINT = format('SELECT courier.alter_sync(%L, ...)', sync.name);
            END;
        END LOOP;
    END IF;
    IF destination.owner <> former.owner THEN
        after := courier_internal.syncs_without_right(destination.destination_id);
        IF after IS DISTINCT FROM before AND after IS NOT NULL THEN
            RAISE EXCEPTION 'cannot give destination "%" to role "%" because syncs of others depend on it', name, destination.owner USING ERRCODE = '2BP01',
                DETAIL = after, HINT = 'Share it with them first: courier.share_destination.';
        END IF;
        PERFORM courier_internal.revoke_schemas(former.owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.alter_destination(oid, text, text, text, jsonb, jsonb, text, regrole, text[]) IS 'Behind courier.alter_destination';

-- The snapshot is what the destination has accepted. With another destination, it has accepted nothing. The table is made anew rather
-- than emptied: a TRUNCATE trigger that its owner may have put there would run with our rights.
CREATE FUNCTION courier_internal.forget_snapshot(sync courier_internal.sync) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF courier_internal.lease_held(sync.sync_id) THEN
        RAISE EXCEPTION 'a run of sync "%" is active', sync.name USING ERRCODE = '55006',
            HINT = 'Wait for it to end, or stop it with courier.cancel_run, before the sync gets another destination or object.';
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS courier_data.%I, courier_data.%I, courier_data.%I', 'snapshot_' || sync.sync_id, 'jobs_' || sync.sync_id,
                   'former_' || sync.sync_id);
    DELETE FROM courier_internal.job j WHERE j.sync_id = sync.sync_id;
    UPDATE courier_internal.sync s SET snapshot_format = NULL WHERE s.sync_id = sync.sync_id;
    UPDATE courier_internal.sync_state t SET snapshot_records = 0, blocked_run_id = NULL, not_before = NULL WHERE t.sync_id = sync.sync_id;
    DELETE FROM courier_internal.rejected r WHERE r.sync_id = sync.sync_id;
    DELETE FROM courier_internal.invalid_row i WHERE i.sync_id = sync.sync_id;
    PERFORM courier_internal.create_snapshot_table(sync.sync_id);
    RAISE NOTICE 'sync "%" starts anew: its next run is a first run', sync.name USING
        DETAIL = 'What its former destination has accepted says nothing about the new one. Records there are left as they are.';
END
$$;
COMMENT ON FUNCTION courier_internal.forget_snapshot(courier_internal.sync) IS 'Empties the snapshot of a sync that sends elsewhere from now on';

CREATE FUNCTION courier_internal.alter_sync(caller oid, caller_path text, name text, model text, destination text, mode text, sync_type text,
        object text, mapping json, match_on text[], on_removed text, first_run text, schedule text, config jsonb, options jsonb,
        owner regrole, reset text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    former courier_internal.sync;
    used_model courier_internal.model;
    used_destination courier_internal.destination;
    null_mapping boolean := json_typeof(mapping) = 'null';
BEGIN
    sync := courier_internal.find_sync(caller, name);
    PERFORM courier_internal.require_configure(caller, sync.owner, 'sync', name);
    SELECT s.* INTO sync FROM courier_internal.sync s WHERE s.sync_id = sync.sync_id FOR NO KEY UPDATE;
    sync.owner := courier_internal.effective_owner(sync.sync_id, sync.owner);
    former := sync;
    reset := courier_internal.check_reset(reset, '{mode,sync_type,object,mapping,match_on,on_removed,first_run,schedule,config,options}', array_remove(ARRAY[
        CASE WHEN mode IS NOT NULL THEN 'mode' END, CASE WHEN sync_type IS NOT NULL THEN 'sync_type' END, CASE WHEN object IS NOT NULL THEN 'object' END,
        CASE WHEN mapping IS NOT NULL THEN 'mapping' END, CASE WHEN match_on IS NOT NULL THEN 'match_on' END,
        CASE WHEN on_removed IS NOT NULL THEN 'on_removed' END, CASE WHEN first_run IS NOT NULL THEN 'first_run' END,
        CASE WHEN schedule IS NOT NULL THEN 'schedule' END, CASE WHEN config IS NOT NULL THEN 'config' END,
        CASE WHEN options IS NOT NULL THEN 'options' END], NULL));
    IF null_mapping THEN
        reset := reset || 'mapping'::text;
        mapping := NULL;
    END IF;
    IF mapping IS NOT NULL OR 'mapping' = ANY (reset) THEN
        PERFORM courier_internal.require_owner(caller, former.owner, 'sync', name, 'its mapping runs with that role''s rights');
    END IF;

    IF owner IS NOT NULL THEN
        sync.owner := courier_internal.new_owner(caller, owner, former.owner, 'sync', name);
    END IF;
    IF model IS NOT NULL THEN
        PERFORM courier_internal.require_owner(caller, former.owner, 'sync', name, 'its model is read with that role''s rights');
        used_model := courier_internal.find_model(caller, model);
        sync.model_id := used_model.model_id;
    ELSE
        SELECT m.* INTO used_model FROM courier_internal.model m WHERE m.model_id = sync.model_id;
        used_model.owner := courier_internal.model_owner(used_model);
    END IF;
    IF destination IS NOT NULL THEN
        used_destination := courier_internal.find_destination(caller, destination);
        sync.destination_id := used_destination.destination_id;
    ELSE
        SELECT d.* INTO used_destination FROM courier_internal.destination d WHERE d.destination_id = sync.destination_id;
    END IF;
    IF model IS NOT NULL OR owner IS NOT NULL THEN
        PERFORM courier_internal.require_model_use(sync.owner, used_model);
    END IF;
    IF destination IS NOT NULL OR owner IS NOT NULL THEN
        PERFORM courier_internal.require_destination_use(sync.owner, used_destination);
    END IF;

    sync.sync_type := CASE WHEN 'sync_type' = ANY (reset) THEN NULL ELSE COALESCE(sync_type, sync.sync_type) END;
    sync.mode := CASE WHEN 'mode' = ANY (reset) THEN NULL ELSE COALESCE(mode, sync.mode) END;
    sync.object := CASE WHEN 'object' = ANY (reset) THEN NULL ELSE COALESCE(object, sync.object) END;
    sync.mapping := CASE WHEN 'mapping' = ANY (reset) THEN NULL ELSE COALESCE(mapping, sync.mapping) END;
    sync.match_on := CASE WHEN 'match_on' = ANY (reset) THEN NULL ELSE COALESCE(match_on, sync.match_on) END;
    sync.first_run := CASE WHEN 'first_run' = ANY (reset) THEN NULL ELSE COALESCE(first_run, sync.first_run) END;
    -- Mirror allows one on_removed only. Going there or leaving it takes the default of the new mode.
    sync.on_removed := CASE
        WHEN 'on_removed' = ANY (reset) THEN NULL
        WHEN on_removed IS NULL AND sync.mode IS DISTINCT FROM former.mode AND 'mirror' IN (sync.mode, former.mode) THEN NULL
        ELSE COALESCE(on_removed, sync.on_removed)
    END;
    sync.schedule := CASE WHEN 'schedule' = ANY (reset) THEN 'manual' ELSE COALESCE(schedule, sync.schedule) END;
    sync.config := CASE WHEN 'config' = ANY (reset) THEN '{}' ELSE courier_internal.merge_settings(sync.config, courier_internal.require_object('config', config)) END;
    sync.options := CASE WHEN 'options' = ANY (reset) THEN '{}' ELSE courier_internal.merge_settings(sync.options, courier_internal.require_object('options', options)) END;

    -- A schedule can be changed while the model is broken.
    IF (sync.owner, sync.model_id, sync.destination_id, sync.mode, sync.sync_type, sync.object, sync.mapping::text, sync.match_on, sync.on_removed,
        sync.first_run, sync.config, sync.options)
       IS DISTINCT FROM
       (former.owner, former.model_id, former.destination_id, former.mode, former.sync_type, former.object, former.mapping::text, former.match_on,
        former.on_removed, former.first_run, former.config, former.options) THEN
        sync := courier_internal.resolve_sync(sync);
    END IF;
    IF sync.schedule <> former.schedule THEN
        PERFORM courier_internal.check_sync_schedule(caller, name, sync.schedule);
    END IF;

    IF sync.owner <> former.owner THEN
        PERFORM courier_internal.grant_schemas(sync.owner, true);
        IF courier_internal.relation_oid('courier_data', 'snapshot_' || sync.sync_id) IS NOT NULL THEN
            IF courier_internal.lease_held(sync.sync_id) THEN
                RAISE EXCEPTION 'a run of sync "%" is active', name USING ERRCODE = '55006',
                    HINT = 'Wait for it to end, or stop it with courier.cancel_run, before the sync gets another owner.';
            END IF;
            EXECUTE format('ALTER TABLE courier_data.%I OWNER TO %I', 'snapshot_' || sync.sync_id, sync.owner);
            IF courier_internal.relation_oid('courier_data', 'jobs_' || sync.sync_id) IS NOT NULL THEN
                EXECUTE format('ALTER TABLE courier_data.%I OWNER TO %I', 'jobs_' || sync.sync_id, sync.owner);
            END IF;
        END IF;
        IF courier_internal.relation_oid('courier_data', 'former_' || sync.sync_id) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE courier_data.%I OWNER TO %I', 'former_' || sync.sync_id, sync.owner);
        END IF;
    END IF;
    UPDATE courier_internal.sync s
       SET model_id = sync.model_id, destination_id = sync.destination_id, mode = sync.mode, sync_type = sync.sync_type, object = sync.object,
           mapping = sync.mapping, match_on = sync.match_on, on_removed = sync.on_removed, first_run = sync.first_run, schedule = sync.schedule,
           config = sync.config, options = sync.options, owner = sync.owner
     WHERE s.sync_id = sync.sync_id;
    IF sync.owner <> former.owner THEN
        PERFORM courier_internal.revoke_schemas(former.owner);
    END IF;
    -- For events and messages, object is a label: they must not be sent again because it changed.
    IF sync.destination_id <> former.destination_id
        OR sync.object IS DISTINCT FROM former.object AND sync.sync_type IN ('objects', 'segments') THEN
        PERFORM courier_internal.forget_snapshot(sync);
    END IF;
    IF sync.schedule <> former.schedule OR (sync.options->'window', sync.options->'jitter') IS DISTINCT FROM (former.options->'window', former.options->'jitter') THEN
        INSERT INTO courier_internal.sync_state AS t (sync_id, next_run_at)
        VALUES (sync.sync_id, courier_internal.place_run(CASE WHEN sync.schedule <> former.schedule THEN courier_internal.first_due(sync.schedule)
                                                              ELSE courier_internal.next_run(sync.schedule, now()) END, sync.sync_id, sync.options))
        ON CONFLICT ON CONSTRAINT sync_state_pkey DO UPDATE SET next_run_at = EXCLUDED.next_run_at;
        PERFORM courier_internal.announce();
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.alter_sync(oid, text, text, text, text, text, text, text, json, text[], text, text, text, jsonb, jsonb, regrole, text[]) IS 'Behind courier.alter_sync';

CREATE FUNCTION courier_internal.drop_source(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source courier_internal.source;
    users text;
BEGIN
    source := courier_internal.find_source(caller, name);
    IF name = 'local' THEN
        RAISE EXCEPTION 'source "local" cannot be dropped' USING ERRCODE = '55000', DETAIL = 'It is this database.';
    END IF;
    PERFORM courier_internal.require_configure(caller, source.owner, 'source', name);
    PERFORM FROM courier_internal.source s WHERE s.source_id = source.source_id FOR UPDATE;
    SELECT string_agg(format('model "%s"', m.name), E'\n' ORDER BY m.name) INTO users FROM courier_internal.model m WHERE m.source = drop_source.name;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop source "%" because models depend on it', name USING ERRCODE = '2BP01', DETAIL = users;
    END IF;
    DELETE FROM courier_internal.source s WHERE s.source_id = source.source_id;
    PERFORM courier_internal.revoke_schemas(source.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_source(oid, text, text) IS 'Behind courier.drop_source';

CREATE FUNCTION courier_internal.drop_model(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    model courier_internal.model;
    users text;
BEGIN
    model := courier_internal.find_model(caller, name);
    PERFORM courier_internal.require_configure(caller, model.owner, 'model', name);
    PERFORM FROM courier_internal.model m WHERE m.model_id = model.model_id FOR UPDATE;
    SELECT string_agg(format('sync "%s"', s.name), E'\n' ORDER BY s.name) INTO users FROM courier_internal.sync s WHERE s.model_id = model.model_id;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop model "%" because syncs depend on it', name USING ERRCODE = '2BP01', DETAIL = users,
            HINT = 'Drop them first: courier.drop_sync.';
    END IF;
    IF model.query IS NOT NULL THEN
        PERFORM courier_internal.drop_model_view(name);
    END IF;
    DELETE FROM courier_internal.model m WHERE m.model_id = model.model_id;
    PERFORM courier_internal.revoke_schemas(model.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_model(oid, text, text) IS 'Behind courier.drop_model';

CREATE FUNCTION courier_internal.drop_destination(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    destination courier_internal.destination;
    users text;
BEGIN
    destination := courier_internal.find_destination(caller, name);
    PERFORM courier_internal.require_configure(caller, destination.owner, 'destination', name);
    PERFORM FROM courier_internal.destination d WHERE d.destination_id = destination.destination_id FOR UPDATE;
    SELECT string_agg(format('sync "%s"', s.name), E'\n' ORDER BY s.name) INTO users FROM courier_internal.sync s WHERE s.destination_id = destination.destination_id;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop destination "%" because syncs depend on it', name USING ERRCODE = '2BP01', DETAIL = users,
            HINT = 'Drop them first: courier.drop_sync.';
    END IF;
    DELETE FROM courier_internal.destination d WHERE d.destination_id = destination.destination_id;
    PERFORM courier_internal.revoke_schemas(destination.owner);
END
$$;
COMMENT ON FUNCTION courier_internal.drop_destination(oid, text, text) IS 'Behind courier.drop_destination';

-- Ends an active run of the sync, before anything of it is locked in a way that the worker would have to wait for: it must be able to
-- settle and to write its last status. So the run's row is left alone (its cancel flag would not be visible before our commit anyway)
-- and the worker gets a query cancel, which it takes for a cancel of its run. A process number may be that of somebody else by now;
-- only while the lease is held, and only a process of ours in this database, is signalled.
CREATE FUNCTION courier_internal.stop_active_run(sync courier_internal.sync) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    patience timestamptz := clock_timestamp() + '4.5 s'::interval;
    signalled timestamptz;
BEGIN
    WHILE courier_internal.lease_held(sync.sync_id) LOOP
        IF clock_timestamp() > patience THEN
            RAISE EXCEPTION 'a run of sync "%" is active and does not end', sync.name USING ERRCODE = '55006',
                HINT = 'Its cancel was asked for. Try again in a moment; courier.runs shows the run.';
        END IF;
        IF signalled IS NULL OR clock_timestamp() > signalled + '1 s'::interval THEN
            PERFORM pg_cancel_backend(a.pid)
              FROM courier_internal.run r
              JOIN pg_stat_activity a ON a.pid = r.worker_pid AND a.backend_type LIKE 'pg_courier%' AND a.datname = current_database()
             WHERE r.sync_id = sync.sync_id AND r.status IN ('querying', 'sending');
            signalled := clock_timestamp();
        END IF;
        PERFORM pg_sleep(0.05);
        -- pg_stat_activity is read once per transaction.
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.stop_active_run(courier_internal.sync) IS 'Cancels the active run of a sync and waits until its worker has let go of it; 55006 when it does not within 4.5 seconds';

CREATE FUNCTION courier_internal.drop_sync(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    sync courier_internal.sync;
    former_owner text;
    users text;
    table_name text;
BEGIN
    sync := courier_internal.find_sync(caller, name);
    PERFORM courier_internal.require_configure(caller, sync.owner, 'sync', name);
    SELECT string_agg(format('sync "%s" (%s)', s.name, s.schedule), E'\n' ORDER BY s.name) INTO users
      FROM courier_internal.sync s
     WHERE s.sync_id <> sync.sync_id
       AND CASE WHEN courier_internal.check_schedule(s.schedule) = 'after' THEN courier_internal.schedule_after(s.schedule) = drop_sync.name ELSE false END;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop sync "%" because other syncs run after it', name USING ERRCODE = '2BP01', DETAIL = users,
            HINT = 'Give them another schedule first: courier.alter_sync.';
    END IF;

    -- No follow-up run is taken while we wait: queued ones are locked (a claim skips them) and deleted with the sync. NO KEY UPDATE on
    -- the sync lets the worker insert what refers to it.
    PERFORM FROM courier_internal.sync s WHERE s.sync_id = sync.sync_id FOR NO KEY UPDATE;
    PERFORM FROM courier_internal.run r WHERE r.sync_id = sync.sync_id AND r.status = 'queued' FOR UPDATE;
    PERFORM courier_internal.stop_active_run(sync);

    FOR table_name IN
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'courier_data' AND c.relkind IN ('r', 'p')
           AND (c.relname IN ('snapshot_' || sync.sync_id, 'jobs_' || sync.sync_id, 'former_' || sync.sync_id)
                OR c.relname ~ '^run_[0-9]+_' AND EXISTS (SELECT FROM courier_internal.run r
                                                          WHERE r.sync_id = sync.sync_id AND r.run_id::text = split_part(c.relname, '_', 2)))
    LOOP
        EXECUTE format('DROP TABLE courier_data.%I', table_name);
    END LOOP;
    -- Runs, state, rejected records and invalid rows go with it. The logs of requests and records are out of sight now, and retention takes them.
    DELETE FROM courier_internal.sync s WHERE s.sync_id = sync.sync_id RETURNING s.owner INTO former_owner;
    PERFORM courier_internal.revoke_schemas(sync.owner);
    IF former_owner <> sync.owner THEN
        PERFORM courier_internal.revoke_schemas(former_owner);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.drop_sync(oid, text, text) IS 'Behind courier.drop_sync';
-- Asking for a run.
--
-- A request for a run is a row in courier_internal.run with status `queued`. Two promises hang on its locks:
--
-- 1. A queued run is not claimed while a transaction that asked for it is still open, so a run has seen everything its askers wrote.
--    Whoever asks holds the row FOR KEY SHARE to the end of its transaction (or has inserted it, which nobody else can see before
--    the commit). Whoever claims takes it with FOR UPDATE SKIP LOCKED, which passes over both. The claim must really lock FOR UPDATE
--    before it sets the status: a plain UPDATE takes FOR NO KEY UPDATE, which goes along with FOR KEY SHARE.
-- 2. A request is never lost. An asker joins the queued run that it sees, with FOR KEY SHARE SKIP LOCKED. A claim in progress holds
--    FOR UPDATE, so the asker does not get the row and queues another run; when the claim has committed, the re-check of
--    status = 'queued' says the same. Askers do not hinder one another.
--
-- Two transactions that ask at the same moment and see no queued run queue one each. The second one then finds nothing to send;
-- making one wait for the other's commit would cost more.

CREATE FUNCTION courier_internal.resync_rank(resync text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_catalog.array_position(ARRAY['none', 'full', 'baseline'], resync) $$;
COMMENT ON FUNCTION courier_internal.resync_rank(text) IS 'Which of two resyncs is the stronger: none 1, full 2, baseline 3; NULL: there is no such word';

CREATE FUNCTION courier_internal.effective_owner(sync_id integer, stored_owner text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(
        (SELECT pg_catalog.pg_get_userbyid(c.relowner)::text
           FROM pg_catalog.pg_class c
           JOIN courier_internal.sync_state t ON t.snapshot_oid = c.oid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE t.sync_id = effective_owner.sync_id AND n.nspname = 'courier_data'
            AND c.relname = ('snapshot_' || t.sync_id)::name AND c.relkind = 'r'),
        stored_owner)
$$;
COMMENT ON FUNCTION courier_internal.effective_owner(integer, text) IS 'Who owns a sync: the owner of its snapshot table, which follows REASSIGN OWNED and ALTER ROLE ... RENAME; before there is one, the stored name';

CREATE FUNCTION courier_internal.is_restored(epoch uuid, database_oid oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT epoch IS DISTINCT FROM (SELECT i.epoch FROM courier_internal.installation i)
        OR database_oid IS DISTINCT FROM (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
$$;
COMMENT ON FUNCTION courier_internal.is_restored(uuid, oid) IS 'Whether a sync was activated under another installation or in another database, so that this is a copy and must not send';

-- The gate of every function about a sync's runs: does it exist, and may the caller operate it?
CREATE FUNCTION courier_internal.operable_sync(caller oid, sync_name text) RETURNS courier_internal.sync
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.sync := courier_internal.find_sync(caller, sync_name);
BEGIN
    IF NOT courier_internal.may_operate(caller, target.owner) THEN
        RAISE EXCEPTION 'permission denied for sync "%"', sync_name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', target.owner),
            HINT = format('Members of role "%s" and of courier_operator may do this.', target.owner);
    END IF;
    RETURN target;
END
$$;
COMMENT ON FUNCTION courier_internal.operable_sync(oid, text) IS 'The sync of this name, with its effective owner, if the caller may trigger, run, cancel, approve it; 22004, 42704 or 42501 otherwise';

CREATE FUNCTION courier_internal.operable_run(caller oid, run_id bigint) RETURNS courier_internal.run
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.run;
BEGIN
    PERFORM courier_internal.require_value('run_id', run_id);
    SELECT r.* INTO target FROM courier_internal.run r WHERE r.run_id = operable_run.run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % does not exist', run_id USING ERRCODE = '42704', HINT = 'SELECT run_id, sync, status FROM courier.runs';
    END IF;
    PERFORM courier_internal.operable_sync(caller, s.name) FROM courier_internal.sync s WHERE s.sync_id = target.sync_id;
    RETURN target;
END
$$;
COMMENT ON FUNCTION courier_internal.operable_run(oid, bigint) IS 'The run, if the caller may operate its sync; 22004, 42704 or 42501 otherwise';

CREATE FUNCTION courier_internal.check_runnable(sync courier_internal.sync) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF courier_internal.is_restored(sync.epoch, sync.database_oid) THEN
        RAISE EXCEPTION 'sync "%" belongs to the database that this one is a copy of', sync.name USING ERRCODE = '55000',
            DETAIL = 'Syncs of a restored or copied database come up paused, so that two databases do not send to the same destinations.',
            HINT = 'If this database is to send from now on: SELECT courier.resume_all()';
    END IF;
    IF sync.paused THEN
        RAISE EXCEPTION 'sync "%" is paused', sync.name USING ERRCODE = '55000',
            HINT = format('SELECT courier.resume_sync(%L)', sync.name);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_runnable(courier_internal.sync) IS 'Raises 55000 when the sync is paused or came with a restored copy';

CREATE FUNCTION courier_internal.queue_run(sync_id integer, resync text, triggered_by text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    queued courier_internal.run;
    stronger boolean;
    new_run_id bigint;
BEGIN
    -- Locking a run that was claimed after a REPEATABLE READ transaction took its snapshot raises 40001. It is no longer queued, which is all that matters here.
    BEGIN
        SELECT r.* INTO queued
          FROM courier_internal.run r
         WHERE r.sync_id = queue_run.sync_id AND r.status = 'queued' AND r.test IS NULL AND NOT r.cancel_requested
         ORDER BY r.run_id LIMIT 1
           FOR KEY SHARE SKIP LOCKED;

        stronger := courier_internal.resync_rank(queue_run.resync) > courier_internal.resync_rank(queued.resync);
        IF stronger THEN
            -- Another open transaction may be raising the same run: a run of our own is better than waiting for its commit.
            PERFORM FROM courier_internal.run r WHERE r.run_id = queued.run_id FOR NO KEY UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                queued := NULL;
            END IF;
        END IF;
    EXCEPTION WHEN serialization_failure THEN
        queued := NULL;
    END;

    IF queued.run_id IS NULL THEN
        INSERT INTO courier_internal.run (sync_id, resync, triggered_by)
        VALUES (queue_run.sync_id, queue_run.resync, queue_run.triggered_by)
        RETURNING run.run_id INTO new_run_id;
    ELSE
        new_run_id := queued.run_id;
        IF stronger THEN
            UPDATE courier_internal.run r SET resync = queue_run.resync
             WHERE r.run_id = new_run_id AND courier_internal.resync_rank(r.resync) < courier_internal.resync_rank(queue_run.resync);
        END IF;
    END IF;
    PERFORM courier_internal.request_run(new_run_id);
    RETURN new_run_id;
END
$$;
COMMENT ON FUNCTION courier_internal.queue_run(integer, text, text) IS 'Joins the sync''s queued run, raising its resync to the stronger, or queues a new one; a worker is asked for when the transaction commits. Checks nothing: callers have';

CREATE FUNCTION courier_internal.note_if_disabled(run_id bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT COALESCE(NULLIF(pg_catalog.current_setting('pg_courier.enabled', true), '')::boolean, true) THEN
        RAISE NOTICE 'pg_courier.enabled is off: run % stays queued until it is on', run_id;
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.note_if_disabled(bigint) IS 'A NOTICE when nothing is sent for now because pg_courier.enabled is off';

CREATE FUNCTION courier_internal.trigger_sync(caller oid, caller_path text, name text, resync text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wanted courier_internal.sync;
    queued_id bigint;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    PERFORM courier_internal.require_value('resync', resync);
    IF courier_internal.resync_rank(resync) IS NULL THEN
        RAISE EXCEPTION 'resync "%" is not known', resync USING ERRCODE = '22023', DETAIL = 'Allowed: none, full, baseline.';
    END IF;

    wanted := courier_internal.operable_sync(caller, name);
    PERFORM courier_internal.check_runnable(wanted);
    IF resync = 'full' AND (wanted.sync_type IN ('events', 'notifications') OR wanted.mode = 'insert') THEN
        RAISE EXCEPTION 'resync "full" is not possible for sync "%"', name USING ERRCODE = '22023',
            DETAIL = format('It would deliver every record a second time: the sync type is %s, the mode is %s. Allowed: none, baseline.', wanted.sync_type, wanted.mode),
            HINT = 'To send some records again, see courier.retry_rejected; to start anew, drop the sync and create it again.';
    END IF;

    queued_id := courier_internal.queue_run(wanted.sync_id, resync, pg_catalog.pg_get_userbyid(caller)::text);
    PERFORM courier_internal.note_if_disabled(queued_id);
    RETURN queued_id;
END
$$;
COMMENT ON FUNCTION courier_internal.trigger_sync(oid, text, text, text) IS 'Behind courier.trigger_sync';

CREATE FUNCTION courier_internal.trigger_followers(run_id bigint) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ended record;
    follower record;
    queued integer := 0;
BEGIN
    SELECT r.status, s.name INTO ended
      FROM courier_internal.run r JOIN courier_internal.sync s ON s.sync_id = r.sync_id
     -- An interrupted run is followed by another one of the same sync, which triggers the followers when it is through. A test of one record is no run to wait for.
     WHERE r.run_id = trigger_followers.run_id AND r.status IN ('success', 'warning', 'failed', 'cancelled', 'blocked') AND r.test IS NULL;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;

    FOR follower IN
        SELECT s.sync_id
          FROM courier_internal.sync s
          LEFT JOIN courier_internal.sync_state t ON t.sync_id = s.sync_id
         WHERE CASE WHEN courier_internal.check_schedule(s.schedule) = 'after' THEN courier_internal.schedule_after(s.schedule) = ended.name ELSE false END
           AND CASE COALESCE(s.options->>'stop_on', 'failed')
                   WHEN 'never' THEN true
                   WHEN 'warning' THEN ended.status = 'success'
                   ELSE ended.status IN ('success', 'warning')
               END
           AND NOT s.paused
           AND NOT courier_internal.is_restored(s.epoch, s.database_oid)
           AND t.blocked_run_id IS NULL
         ORDER BY s.sync_id
    LOOP
        PERFORM courier_internal.queue_run(follower.sync_id, 'none', 'after ' || ended.name);
        queued := queued + 1;
    END LOOP;
    RETURN queued;
END
$$;
COMMENT ON FUNCTION courier_internal.trigger_followers(bigint) IS 'Queues the syncs whose schedule is "after" the sync of this run, which has ended. Option stop_on of the follower: failed (default: success and warning go on), warning (only success goes on), never';
-- A run's way through its states, and the user's hand on it.
--
-- The row of an active run is written by its worker every second or so. cancel_run is the only other writer; it holds the row until
-- its transaction ends, which is why the manual says to call it outside a long transaction.

CREATE FUNCTION courier_internal.announce_run(run_id bigint, status text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_catalog.pg_notify('courier_runs', pg_catalog.json_build_object('run_id', run_id, 'status', status)::text) $$;
COMMENT ON FUNCTION courier_internal.announce_run(bigint, text) IS 'NOTIFY courier_runs with {"run_id", "status"}, and no more, because every role may listen';

CREATE FUNCTION courier_internal.set_run_status(run_id bigint, status text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    UPDATE courier_internal.run r
       SET status = set_run_status.status,
           started_at = COALESCE(r.started_at, pg_catalog.clock_timestamp()),
           sending_at = CASE WHEN set_run_status.status = 'sending' THEN COALESCE(r.sending_at, pg_catalog.clock_timestamp()) ELSE r.sending_at END
     WHERE r.run_id = set_run_status.run_id AND r.status IN ('queued', 'querying', 'sending');
    IF FOUND THEN
        PERFORM courier_internal.announce_run(run_id, status);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.set_run_status(bigint, text) IS 'querying or sending, with the times that go with it. A run that has ended stays as it is';

CREATE FUNCTION courier_internal.finish_run(run_id bigint, status text, error_code text, error text, hint text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ended courier_internal.run;
BEGIN
    UPDATE courier_internal.run r
       SET status = finish_run.status, finished_at = pg_catalog.clock_timestamp(), worker_pid = NULL,
           error_code = finish_run.error_code, error = finish_run.error, hint = finish_run.hint
     WHERE r.run_id = finish_run.run_id AND r.status IN ('queued', 'querying', 'sending')
    RETURNING r.* INTO ended;
    -- A worker and the scheduler that takes it for dead may both end a run: the first one counts.
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- A test of one record says nothing about the health of the sync.
    IF ended.test IS NULL THEN
        INSERT INTO courier_internal.sync_state AS t (sync_id, last_run_id, blocked_run_id)
        VALUES (ended.sync_id, ended.run_id, CASE WHEN ended.status = 'blocked' THEN ended.run_id END)
        ON CONFLICT (sync_id) DO UPDATE SET last_run_id = EXCLUDED.last_run_id, blocked_run_id = EXCLUDED.blocked_run_id;
        PERFORM courier_internal.trigger_followers(run_id);
        PERFORM courier_internal.count_run(ended);
        PERFORM courier_internal.alerts_after_run(ended.sync_id);
    END IF;
    PERFORM courier_internal.announce_run(run_id, status);
END
$$;
COMMENT ON FUNCTION courier_internal.finish_run(bigint, text, text, text, text) IS 'Ends a run: status and error, the sync''s last and blocked run, followers, NOTIFY. Does nothing to a run that has ended already';

CREATE FUNCTION courier_internal.cancel_run(caller oid, caller_path text, run_id bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.run;
BEGIN
    target := courier_internal.operable_run(caller, run_id);

    -- FOR UPDATE keeps new askers from joining a run that is about to be cancelled. It is not waited for: askers that hold the run may be
    -- open for long, and the UPDATE goes along with their locks. Where a claim holds it, the UPDATE waits for that short transaction and
    -- looks again: the run is active by then, and the worker sees the flag.
    PERFORM FROM courier_internal.run r WHERE r.run_id = cancel_run.run_id AND r.status = 'queued' FOR UPDATE SKIP LOCKED;

    UPDATE courier_internal.run r
       SET cancel_requested = true,
           status = CASE WHEN r.status = 'queued' THEN 'cancelled' ELSE r.status END,
           finished_at = CASE WHEN r.status = 'queued' THEN pg_catalog.clock_timestamp() END
     WHERE r.run_id = cancel_run.run_id AND r.status IN ('queued', 'querying', 'sending')
    RETURNING r.* INTO target;
    IF NOT FOUND THEN
        RAISE NOTICE 'run % has ended already: %', run_id, (SELECT r.status FROM courier_internal.run r WHERE r.run_id = cancel_run.run_id);
    ELSIF target.status = 'cancelled' THEN
        -- It never began, so the sync's last run, its block and its followers stay what they are.
        PERFORM courier_internal.announce_run(run_id, 'cancelled');
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.cancel_run(oid, text, bigint) IS 'Behind courier.cancel_run';

CREATE FUNCTION courier_internal.approve_run(caller oid, caller_path text, run_id bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.run;
    wanted courier_internal.sync;
    new_run_id bigint;
BEGIN
    target := courier_internal.operable_run(caller, run_id);
    SELECT s.* INTO wanted FROM courier_internal.sync s WHERE s.sync_id = target.sync_id;
    IF target.status <> 'blocked' THEN
        RAISE EXCEPTION 'run % is not blocked: its status is %', run_id, target.status USING ERRCODE = '55000',
            HINT = 'Only a run that max_removed or max_changes stopped needs approval.';
    END IF;
    PERFORM courier_internal.check_runnable(wanted);

    -- Two approvals at the same time: the second waits here and finds the block gone.
    UPDATE courier_internal.sync_state t SET blocked_run_id = NULL WHERE t.sync_id = target.sync_id AND t.blocked_run_id IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'sync "%" is no longer blocked', wanted.name USING ERRCODE = '55000',
            DETAIL = format('Run %s has been approved already, or a later run went through.', run_id),
            HINT = format('SELECT courier.trigger_sync(%L)', wanted.name);
    END IF;

    -- What was blocked is what is approved: the same resync, and no more than the numbers that were seen.
    INSERT INTO courier_internal.run (sync_id, resync, triggered_by, approved)
    VALUES (target.sync_id, target.resync, pg_catalog.pg_get_userbyid(caller)::text,
            pg_catalog.jsonb_build_object('removed', target.planned_removed,
                                          'changes', target.planned_added + target.planned_changed + target.planned_removed))
    RETURNING run.run_id INTO new_run_id;
    PERFORM courier_internal.request_run(new_run_id);
    PERFORM courier_internal.note_if_disabled(new_run_id);
    RETURN new_run_id;
END
$$;
COMMENT ON FUNCTION courier_internal.approve_run(oid, text, bigint) IS 'Behind courier.approve_run';
-- Rejected and unknown records: try again, or let go.

CREATE FUNCTION courier_internal.key_object(columns text[], primary_key jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF pg_catalog.jsonb_typeof(primary_key) = 'object'
       AND (SELECT pg_catalog.array_agg(k ORDER BY k) FROM pg_catalog.jsonb_object_keys(primary_key) k)
         = (SELECT pg_catalog.array_agg(c ORDER BY c) FROM pg_catalog.unnest(columns) c) THEN
        RETURN primary_key;
    ELSIF pg_catalog.cardinality(columns) = 1 AND pg_catalog.jsonb_typeof(primary_key) <> 'object' THEN
        RETURN pg_catalog.jsonb_build_object(columns[1], primary_key);
    END IF;
    RAISE EXCEPTION 'primary_key % does not fit', primary_key USING ERRCODE = '22023',
        DETAIL = format('The primary key of the model is (%s).', pg_catalog.array_to_string(columns, ', ')),
        HINT = CASE WHEN pg_catalog.cardinality(columns) = 1 THEN 'Give an object with this key, or the value alone.' ELSE 'Give an object with these keys.' END;
END
$$;
COMMENT ON FUNCTION courier_internal.key_object(text[], jsonb) IS 'A primary key as an object from column to value; for a key of one column the value alone will do. 22023 when it does not fit';

CREATE FUNCTION courier_internal.same_key(stored jsonb, wanted jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stored = wanted OR (SELECT pg_catalog.bool_and(stored->>w.key = w.value) FROM pg_catalog.jsonb_each_text(wanted) w)
$$;
COMMENT ON FUNCTION courier_internal.same_key(jsonb, jsonb) IS 'Whether two primary keys are the same value, be it written as a JSON number or as text';

CREATE FUNCTION courier_internal.retry_rejected(caller oid, caller_path text, sync text, primary_key jsonb) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.sync;
    wanted jsonb;
    released bigint;
BEGIN
    PERFORM courier_internal.require_value('sync', sync);
    target := courier_internal.operable_sync(caller, sync);
    IF primary_key IS NOT NULL THEN
        SELECT courier_internal.key_object(m.primary_key, retry_rejected.primary_key) INTO wanted
          FROM courier_internal.model m WHERE m.model_id = target.model_id;
    END IF;
    -- An unknown record stays unknown until the next run has dealt with it.
    UPDATE courier_internal.rejected r SET next_attempt_at = pg_catalog.now()
     WHERE r.sync_id = target.sync_id AND r.outcome IN ('rejected', 'unknown')
       AND (wanted IS NULL OR courier_internal.same_key(r.primary_key, wanted));
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;
COMMENT ON FUNCTION courier_internal.retry_rejected(oid, text, text, jsonb) IS 'Behind courier.retry_rejected';

CREATE FUNCTION courier_internal.discard_rejected(caller oid, caller_path text, sync text, primary_key jsonb) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.sync;
    wanted jsonb;
    discarded bigint;
BEGIN
    PERFORM courier_internal.require_value('sync', sync);
    target := courier_internal.operable_sync(caller, sync);
    IF primary_key IS NOT NULL THEN
        SELECT courier_internal.key_object(m.primary_key, discard_rejected.primary_key) INTO wanted
          FROM courier_internal.model m WHERE m.model_id = target.model_id;
    END IF;
    -- The row stays, out of sight: were it deleted, the next comparison would find the record again and send it. It is not in the
    -- snapshot, so only a hash that differs from the one kept here is a reason to send it.
    UPDATE courier_internal.rejected r SET outcome = 'discarded', next_attempt_at = 'infinity', payload = NULL
     WHERE r.sync_id = target.sync_id AND r.outcome IN ('rejected', 'unknown')
       AND (wanted IS NULL OR courier_internal.same_key(r.primary_key, wanted));
    GET DIAGNOSTICS discarded = ROW_COUNT;
    RETURN discarded;
END
$$;
COMMENT ON FUNCTION courier_internal.discard_rejected(oid, text, text, jsonb) IS 'Behind courier.discard_rejected';
-- What a run worker (or a preview) has to know of a sync, in one value. json, not jsonb: the order of the fields of a mapping is kept.

CREATE FUNCTION courier_internal.definition_parts(sync_id integer,
        OUT sync json, OUT model json, OUT destination json, OUT state json) RETURNS record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.json_build_object(
               'sync_id', s.sync_id, 'name', s.name, 'mode', s.mode, 'sync_type', s.sync_type, 'object', s.object, 'mapping', s.mapping,
               'match_on', s.match_on, 'on_removed', s.on_removed, 'first_run', s.first_run, 'config', s.config, 'options', s.options,
               'search_path', s.search_path, 'owner', courier_internal.effective_owner(s.sync_id, s.owner), 'seed', s.seed,
               'snapshot_format', s.snapshot_format, 'paused', s.paused, 'restored', courier_internal.is_restored(s.epoch, s.database_oid)),
           pg_catalog.json_build_object(
               'name', m.name, 'relation_schema', m.relation_schema, 'relation_name', m.relation_name, 'primary_key', m.primary_key, 'owner', m.owner),
           pg_catalog.json_build_object(
               'destination_id', d.destination_id, 'name', d.name, 'type', d.type, 'definition', t.definition,
               'config', d.config, 'secrets', d.secrets, 'owner', d.owner),
           pg_catalog.json_build_object(
               'snapshot_records', COALESCE(st.snapshot_records, 0),
               -- A run that added nearly everything was a first one, and says nothing of the next.
               'last_changes', COALESCE((SELECT CASE WHEN r.planned_added < 0.9 * r.rows_queried THEN r.planned_added + r.planned_changed + r.planned_removed END
                                           FROM courier_internal.run r WHERE r.run_id = st.last_run_id), 0),
               'last_run_id', st.last_run_id, 'blocked_run_id', st.blocked_run_id,
               'not_before', st.not_before)
      FROM courier_internal.sync s
      JOIN courier_internal.model m ON m.model_id = s.model_id
      JOIN courier_internal.destination d ON d.destination_id = s.destination_id
      LEFT JOIN courier_internal.destination_type t ON t.name = d.type
      LEFT JOIN courier_internal.sync_state st ON st.sync_id = s.sync_id
     WHERE s.sync_id = definition_parts.sync_id
$$;
COMMENT ON FUNCTION courier_internal.definition_parts(integer) IS 'The parts of sync_definition and run_definition';

CREATE FUNCTION courier_internal.sync_definition(name text) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.json_build_object('sync', p.sync, 'model', p.model, 'destination', p.destination, 'state', p.state)
      FROM courier_internal.sync s, courier_internal.definition_parts(s.sync_id) p
     WHERE s.name = sync_definition.name
$$;
COMMENT ON FUNCTION courier_internal.sync_definition(text) IS 'All that planning and previewing need: {"sync", "model", "destination", "state"}; NULL: no such sync. Secrets are references. The caller has checked rights';

CREATE FUNCTION courier_internal.run_definition(run_id bigint) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT pg_catalog.json_build_object(
               'run', pg_catalog.json_build_object(
                   'run_id', r.run_id, 'resync', r.resync, 'origin_run_id', r.origin_run_id, 'approved', r.approved, 'test', r.test, 'created_at', r.created_at),
               'sync', p.sync, 'model', p.model, 'destination', p.destination, 'state', p.state)
      FROM courier_internal.run r, courier_internal.definition_parts(r.sync_id) p
     WHERE r.run_id = run_definition.run_id
$$;
COMMENT ON FUNCTION courier_internal.run_definition(bigint) IS 'All that a run worker needs: {"run", "sync", "model", "destination", "state"}; NULL: no such run. Secrets are references';
-- The internal halves of what can be asked of a sync without running it.

CREATE FUNCTION courier_internal.create_snapshot_table(sync_id integer) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_create_snapshot_table';
COMMENT ON FUNCTION courier_internal.create_snapshot_table(integer) IS 'Makes courier_data.snapshot_<sync_id>, owned by the sync''s owner';

CREATE FUNCTION courier_internal.plan_counts(name text)
    RETURNS TABLE (added bigint, changed bigint, removed bigint, unchanged bigint, invalid bigint)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_plan_counts';
COMMENT ON FUNCTION courier_internal.plan_counts(text) IS 'Compares as a run does and rolls it back';

CREATE FUNCTION courier_internal.preview_requests(name text, max_requests integer)
    RETURNS TABLE (change text, operation text, records integer, method text, url text, headers jsonb, body text)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_preview_requests';
COMMENT ON FUNCTION courier_internal.preview_requests(text, integer) IS 'The first requests that a run would send, secrets redacted';

CREATE FUNCTION courier_internal.accepted_records(name text) RETURNS TABLE (ordinal bigint, record jsonb)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_accepted_records';
COMMENT ON FUNCTION courier_internal.accepted_records(text) IS 'The snapshot of a sync, one object a record';

CREATE FUNCTION courier_internal.plan_sync(caller oid, caller_path text, name text)
    RETURNS TABLE (added bigint, changed bigint, removed bigint, unchanged bigint, invalid bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM courier_internal.operable_sync(caller, plan_sync.name);
    RETURN QUERY SELECT p.* FROM courier_internal.plan_counts(plan_sync.name) p;
END
$$;
COMMENT ON FUNCTION courier_internal.plan_sync(oid, text, text) IS 'Behind courier.plan_sync';

CREATE FUNCTION courier_internal.preview_sync(caller oid, caller_path text, name text, max_requests integer)
    RETURNS TABLE (change text, operation text, records integer, method text, url text, headers jsonb, body text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM courier_internal.operable_sync(caller, preview_sync.name);
    IF COALESCE(preview_sync.max_requests, 0) < 1 THEN
        RAISE EXCEPTION 'max_requests must be at least 1' USING ERRCODE = '22023';
    END IF;
    RETURN QUERY SELECT p.* FROM courier_internal.preview_requests(preview_sync.name, preview_sync.max_requests) p;
END
$$;
COMMENT ON FUNCTION courier_internal.preview_sync(oid, text, text, integer) IS 'Behind courier.preview_sync';

CREATE FUNCTION courier_internal.snapshot(caller oid, caller_path text, sync text) RETURNS SETOF jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_sync courier_internal.sync := courier_internal.find_sync(caller, snapshot.sync);
BEGIN
    IF NOT courier_internal.may_see(caller, found_sync.owner) THEN
        RAISE EXCEPTION 'permission denied for sync "%"', found_sync.name USING ERRCODE = '42501',
            DETAIL = format('It belongs to role "%s".', found_sync.owner),
            HINT = format('Members of role "%s" and of courier_viewer may do this.', found_sync.owner);
    END IF;
    RETURN QUERY SELECT a.record FROM courier_internal.accepted_records(snapshot.sync) a ORDER BY a.ordinal;
END
$$;
COMMENT ON FUNCTION courier_internal.snapshot(oid, text, text) IS 'Behind courier.snapshot';
-- Tests that really send: a worker does it while the caller waits, apart from the caller's transaction.

CREATE FUNCTION courier_internal.errand(request text, timeout_ms integer) RETURNS text
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_errand';
COMMENT ON FUNCTION courier_internal.errand(text, integer) IS 'Has a worker do what the request (JSON) says and returns its answer';

CREATE FUNCTION courier_internal.test_destination(caller oid, caller_path text, name text)
    RETURNS TABLE (ok boolean, http_status integer, duration interval, message text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    destination courier_internal.destination := courier_internal.find_destination(caller, test_destination.name);
    answer json;
BEGIN
    IF NOT COALESCE(courier_internal.may_use_destination((SELECT r.rolname FROM pg_roles r WHERE r.oid = caller), destination.destination_id), false)
       AND NOT courier_internal.has_courier_role(caller, 'courier_operator') THEN
        RAISE EXCEPTION 'permission denied for destination "%"', destination.name USING ERRCODE = '42501',
            DETAIL = 'Its owner, roles that it is shared with and members of courier_operator may test it.';
    END IF;
    answer := courier_internal.errand(json_build_object('kind', 'destination', 'name', destination.name)::text, 40000)::json;
    RETURN QUERY SELECT (answer ->> 'ok')::boolean, (answer ->> 'http_status')::integer,
                        (answer ->> 'duration_us')::float8 * interval '1 microsecond', answer ->> 'message';
END
$$;
COMMENT ON FUNCTION courier_internal.test_destination(oid, text, text) IS 'Behind courier.test_destination';

CREATE FUNCTION courier_internal.test_record(caller oid, caller_path text, sync text, primary_key jsonb, change text, timeout interval)
    RETURNS TABLE (operation text, method text, url text, request_body text, http_status integer, response_body text, outcome text, message text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_sync courier_internal.sync := courier_internal.operable_sync(caller, test_record.sync);
    columns text[] := (SELECT m.primary_key FROM courier_internal.model m WHERE m.model_id = found_sync.model_id);
    key jsonb;
    answer json;
BEGIN
    IF test_record.primary_key IS NULL THEN
        RAISE EXCEPTION 'primary_key must not be NULL' USING ERRCODE = '22004';
    ELSIF test_record.change IS NOT NULL AND test_record.change NOT IN ('added', 'changed', 'removed') THEN
        RAISE EXCEPTION 'change "%" is not known', test_record.change USING ERRCODE = '22023',
            DETAIL = 'Allowed: added, changed, removed, or NULL for what a comparison finds.';
    END IF;
    key := courier_internal.key_object(columns, test_record.primary_key);
    answer := courier_internal.errand(
        json_build_object('kind', 'record', 'sync', found_sync.name,
                          'caller', (SELECT r.rolname FROM pg_roles r WHERE r.oid = caller),
                          'test', json_build_object('primary_key', key, 'change', COALESCE(test_record.change, '')))::text,
        GREATEST(1, LEAST(extract(epoch FROM COALESCE(test_record.timeout, interval '10 s')) * 1000, 3600000))::integer)::json;
    IF answer ->> 'outcome' IS NULL AND answer ->> 'status' <> 'success' THEN
        RAISE EXCEPTION 'the test of sync "%" ended %: %', found_sync.name, answer ->> 'status', answer ->> 'error'
            USING ERRCODE = '55000', DETAIL = format('error_code: %s', answer ->> 'error_code');
    ELSIF answer ->> 'outcome' IS NULL THEN
        RAISE EXCEPTION 'sync "%" has no record with primary key %', found_sync.name, key USING ERRCODE = '22023',
            DETAIL = 'Neither the model (rows that can be used) nor, for removed, the snapshot has it.';
    END IF;
    RETURN QUERY
        SELECT q.operation, q.method, q.url, q.request_body, q.http_status, q.response_body, answer ->> 'outcome', answer ->> 'message'
          FROM json_populate_recordset(NULL::courier_internal.request, answer -> 'requests') q;
    IF NOT FOUND THEN
        RETURN QUERY SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::integer, NULL::text, answer ->> 'outcome', answer ->> 'message';
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.test_record(oid, text, text, jsonb, text, interval) IS 'Behind courier.test_record';
-- Views of objects. They read the tables with the extension owner's rights and filter by courier_internal.visible; security_barrier keeps
-- a user's function in a WHERE clause from seeing rows before the filter. No role or relation is looked up in a way that could fail.

CREATE VIEW courier.sources WITH (security_barrier) AS
    SELECT s.name, s.foreign_server, s.description, s.owner, s.created_at
      FROM courier_internal.source s
     WHERE s.name = 'local' OR courier_internal.visible(s.owner)
     ORDER BY s.name;
COMMENT ON VIEW courier.sources IS 'Where the data of models comes from. "local" is this database';
COMMENT ON COLUMN courier.sources.foreign_server IS 'As in \des; courier.check_source proves that it answers';

CREATE VIEW courier.models WITH (security_barrier) AS
    SELECT o.name, o.source, pg_catalog.format('%I.%I', o.relation_schema, o.relation_name) AS relation, o.primary_key, o.query, o.description,
           o.owner, o.created_at
      FROM (SELECT m.name, m.source, m.relation_schema, m.relation_name, m.primary_key, m.query, m.description, m.created_at,
                   COALESCE(pg_catalog.pg_get_userbyid(c.relowner)::text, m.owner) AS owner
              FROM courier_internal.model m
              LEFT JOIN pg_catalog.pg_class c
                     ON m.query IS NOT NULL AND c.relname = m.relation_name AND c.relkind = 'v'
                    AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = m.relation_schema)) o
     WHERE courier_internal.visible(o.owner)
     ORDER BY o.name;
COMMENT ON VIEW courier.models IS 'What syncs read: a query or relation with a primary key';
COMMENT ON COLUMN courier.models.relation IS 'The relation that is read; for a query, its view in courier_models';
COMMENT ON COLUMN courier.models.query IS 'As it was given; NULL: the model is a relation';
COMMENT ON COLUMN courier.models.owner IS 'The role whose rights the model is read with';

CREATE VIEW courier.destinations WITH (security_barrier) AS
    SELECT d.name, d.type, d.config,
           (SELECT COALESCE(pg_catalog.jsonb_object_agg(e.key, CASE WHEN e.value ? 'file' THEN 'file' WHEN e.value ? 'env' THEN 'env' ELSE 'stored' END), '{}')
              FROM pg_catalog.jsonb_each(d.secrets) e) AS secrets,
           ARRAY(SELECT h.role FROM courier_internal.destination_share h WHERE h.destination_id = d.destination_id ORDER BY h.role) AS shared_with,
           d.description, d.owner, d.created_at
      FROM courier_internal.destination d
     WHERE courier_internal.visible(d.owner)
        OR EXISTS (SELECT FROM courier_internal.destination_share h WHERE h.destination_id = d.destination_id AND courier_internal.visible(h.role))
     ORDER BY d.name;
COMMENT ON VIEW courier.destinations IS 'Your destinations and those that are shared with you. courier.test_destination asks one whether it answers';
COMMENT ON COLUMN courier.destinations.secrets IS 'Which secrets it has, and where they are: file, env or stored (given as a plain string). Never their values';
COMMENT ON COLUMN courier.destinations.shared_with IS 'Roles that may use it besides its owner; see courier.share_destination';

CREATE VIEW courier.destination_types AS
    SELECT k.name AS type,
           ARRAY(SELECT v FROM pg_catalog.jsonb_array_elements_text(k.facts->'sync_types') v) AS sync_types,
           ARRAY(SELECT v FROM pg_catalog.jsonb_array_elements_text(k.facts->'modes') v) AS modes,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'objects') v) AS objects,
           k.facts->'limits' AS limits,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'config') v) AS config_keys,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'secrets') v) AS secret_keys,
           ARRAY(SELECT v FROM pg_catalog.jsonb_object_keys(k.facts->'sync_config') v) AS sync_config_keys,
           k.facts AS details, k.facts->>'description' AS description, k.owner
      FROM (SELECT b.name, NULL::text AS owner, b.description AS facts FROM courier_internal.builtin_destination_types() b
            UNION ALL
            SELECT d.name, d.owner, courier_internal.describe_destination_type(d.name, d.definition) FROM courier_internal.destination_type d) k
     ORDER BY k.name;
COMMENT ON VIEW courier.destination_types IS 'What can be a destination: the built-in types and those made with courier.create_destination_type';
COMMENT ON COLUMN courier.destination_types.type IS 'For courier.create_destination(name, type, ...)';
COMMENT ON COLUMN courier.destination_types.sync_types IS 'objects, events, notifications, segments; the first is the default';
COMMENT ON COLUMN courier.destination_types.modes IS 'insert, upsert, update, mirror; the first is the default';
COMMENT ON COLUMN courier.destination_types.objects IS 'For argument object of courier.create_sync; "*" stands for any name';
COMMENT ON COLUMN courier.destination_types.limits IS 'Records and bytes of a request, and how many at a time';
COMMENT ON COLUMN courier.destination_types.config_keys IS 'For argument config of courier.create_destination';
COMMENT ON COLUMN courier.destination_types.secret_keys IS 'For argument secrets of courier.create_destination';
COMMENT ON COLUMN courier.destination_types.sync_config_keys IS 'For argument config of courier.create_sync';
COMMENT ON COLUMN courier.destination_types.details IS 'All of it: each key with its description, default and allowed values, each object with its operations';
COMMENT ON COLUMN courier.destination_types.owner IS 'NULL: built in';

-- What both views of syncs are made from: a sync, its owner, its last and its active run, and its health in one word.
CREATE VIEW courier_internal.sync_overview AS
    SELECT w.*,
           CASE
               WHEN w.restored THEN 'restored copy'
               WHEN w.paused THEN 'paused'
               WHEN w.active_status IN ('querying', 'sending') THEN 'running'
               WHEN w.blocked_run_id IS NOT NULL THEN 'blocked'
               WHEN w.active_status = 'queued' THEN 'queued'
               WHEN NOT w.relation_exists OR w.last_status = 'failed' AND w.last_error_code = 'model_changed' THEN 'model changed'
               WHEN w.last_status IN ('failed', 'interrupted') THEN 'failing'
               WHEN w.last_status = 'blocked' THEN 'blocked'
               WHEN w.last_status IN ('warning', 'cancelled') OR w.has_rejected THEN 'warning'
               WHEN w.last_status IS NULL THEN 'never run'
               ELSE 'ok'
           END AS health
      FROM (SELECT s.*, m.name AS model, d.name AS destination, pg_catalog.format('%I.%I', m.relation_schema, m.relation_name) AS relation,
                   COALESCE(pg_catalog.pg_get_userbyid(c.relowner)::text, s.owner) AS effective_owner,
                   s.epoch IS DISTINCT FROM i.epoch OR s.database_oid IS DISTINCT FROM b.oid AS restored,
                   EXISTS (SELECT FROM pg_catalog.pg_class v JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
                            WHERE n.nspname = m.relation_schema AND v.relname = m.relation_name) AS relation_exists,
                   EXISTS (SELECT FROM courier_internal.rejected r WHERE r.sync_id = s.sync_id) AS has_rejected,
                   t.last_run_id, t.blocked_run_id, t.next_run_at, t.not_before, COALESCE(t.snapshot_records, 0) AS snapshot_records, t.waiting_for,
                   l.status AS last_status, l.finished_at AS last_finished_at, l.error_code AS last_error_code, l.error AS last_error, l.hint AS last_hint,
                   l.invalid AS last_invalid, l.held_removals AS last_held_removals,
                   a.run_id AS active_run_id, a.status AS active_status
              FROM courier_internal.sync s
              JOIN courier_internal.model m ON m.model_id = s.model_id
              JOIN courier_internal.destination d ON d.destination_id = s.destination_id
              CROSS JOIN courier_internal.installation i
              CROSS JOIN (SELECT p.oid FROM pg_catalog.pg_database p WHERE p.datname = pg_catalog.current_database()) b
              LEFT JOIN courier_internal.sync_state t ON t.sync_id = s.sync_id
              LEFT JOIN courier_internal.run l ON l.run_id = t.last_run_id
              LEFT JOIN LATERAL (SELECT r.run_id, r.status FROM courier_internal.run r
                                  WHERE r.sync_id = s.sync_id AND r.status IN ('queued', 'querying', 'sending')
                                  ORDER BY r.status = 'queued', r.run_id LIMIT 1) a ON true
              LEFT JOIN pg_catalog.pg_class c
                     ON c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'courier_data')
                    AND c.relname = ('snapshot_' || s.sync_id)::name AND c.relkind = 'r') w;
COMMENT ON VIEW courier_internal.sync_overview IS 'Syncs of everybody, for courier.syncs and courier.sync_details. Shows a restored copy as what it is: nothing of a sync''s state is dumped, so everything about it may be missing';

CREATE VIEW courier.syncs WITH (security_barrier) AS
    SELECT o.name, o.model, o.destination, o.mode, o.schedule, o.health, o.last_status,
           CASE WHEN NOT o.paused AND NOT o.restored AND o.blocked_run_id IS NULL THEN GREATEST(o.next_run_at, o.not_before)::timestamptz(0) END AS next_run_at
      FROM courier_internal.sync_overview o
     WHERE courier_internal.visible(o.effective_owner)
     ORDER BY o.name;
COMMENT ON VIEW courier.syncs IS 'Your syncs, in short. All of a sync, with what to do about its health, is in courier.sync_details';
COMMENT ON COLUMN courier.syncs.schedule IS 'manual, every <interval>, a cron expression, or after <sync>';
COMMENT ON COLUMN courier.syncs.health IS 'ok, never run, queued, running, warning (rejected or invalid records), failing, blocked (see courier.approve_run), model changed, paused, restored copy (see courier.resume_all)';
COMMENT ON COLUMN courier.syncs.last_status IS 'Status of the last run that ended: success, warning, failed, cancelled, interrupted or blocked';
COMMENT ON COLUMN courier.syncs.next_run_at IS 'NULL: not by itself';

CREATE VIEW courier.sync_details WITH (security_barrier) AS
    SELECT o.name, o.model, o.destination, o.mode, o.sync_type, o.object, o.mapping, o.match_on, o.on_removed, o.first_run, o.schedule, o.config, o.options,
           o.paused, o.health,
           CASE o.health
               WHEN 'restored copy' THEN 'This database is a copy (restore or template). If it is to send from now on: SELECT courier.resume_all()'
               WHEN 'paused' THEN pg_catalog.format('SELECT courier.resume_sync(%L) lets it run again.', o.name)
               WHEN 'running' THEN pg_catalog.format('Run %s is %s; see courier.progress.', o.active_run_id, o.active_status)
               WHEN 'queued' THEN pg_catalog.format('Run %s has not started yet%s.', o.active_run_id, COALESCE(', waiting for ' || o.waiting_for, ''))
               WHEN 'blocked' THEN pg_catalog.format('%s SELECT courier.approve_run(%s) lets it go on; courier.plan_sync(%L) shows the numbers of now.',
                                       COALESCE(o.last_error, 'The last run would have changed or removed more than it may.'), COALESCE(o.blocked_run_id, o.last_run_id), o.name)
               WHEN 'model changed' THEN CASE WHEN o.relation_exists
                   THEN pg_catalog.concat_ws(' ', o.last_error, COALESCE(o.last_hint, pg_catalog.format('SELECT courier.alter_sync(%L, mapping => ...) makes the mapping fit.', o.name)))
                   ELSE pg_catalog.format('Relation %s does not exist. SELECT courier.alter_model(%L, ...) gives the model another query or relation.', o.relation, o.model) END
               WHEN 'failing' THEN CASE WHEN o.last_status = 'interrupted'
                   THEN pg_catalog.format('Run %s was interrupted by a crash or restart; the next one carries on.', o.last_run_id)
                   ELSE pg_catalog.concat_ws(' ', COALESCE(o.last_error, o.last_error_code, 'The last run failed.'), o.last_hint) END
               WHEN 'warning' THEN pg_catalog.concat_ws(' ',
                   CASE WHEN o.last_status = 'cancelled' THEN 'The last run was cancelled; the next one goes on from there.' END,
                   CASE WHEN o.rejected_records > 0 THEN pg_catalog.format('%s records are not accepted: SELECT * FROM courier.rejected_records WHERE sync = %L', o.rejected_records, o.name) END,
                   CASE WHEN o.last_invalid > 0 THEN pg_catalog.format('%s rows could not be used: SELECT * FROM courier.invalid_rows WHERE sync = %L', o.last_invalid, o.name) END,
                   CASE WHEN o.last_held_removals > 0 THEN pg_catalog.format('%s removals are held back because the model has NULL keys.', o.last_held_removals) END)
               WHEN 'never run' THEN CASE WHEN o.schedule = 'manual'
                   THEN pg_catalog.format('CALL courier.run_sync(%L) runs it.', o.name)
                   ELSE 'It runs by its schedule: ' || o.schedule END
           END
           || CASE WHEN o.paused AND o.restored THEN ' It was paused there.' ELSE '' END
           || CASE WHEN o.enabled THEN '' ELSE ' pg_courier.enabled is off: nothing is sent.' END AS health_detail,
           o.last_status, o.last_run_id, o.last_finished_at, o.next_run_at, o.not_before, o.waiting_for, o.snapshot_records, o.rejected_records,
           o.search_path, o.effective_owner AS owner, o.created_at
      FROM (SELECT v.*,
                   (SELECT pg_catalog.count(*) FROM courier_internal.rejected r WHERE r.sync_id = v.sync_id) AS rejected_records,
                   COALESCE(NULLIF(pg_catalog.current_setting('pg_courier.enabled', true), '')::boolean, true) AS enabled
              FROM courier_internal.sync_overview v
             WHERE courier_internal.visible(v.effective_owner)) o
     ORDER BY o.name;
COMMENT ON VIEW courier.sync_details IS 'All settings of your syncs, what they are doing, and what to do about their health. In psql: \x';
COMMENT ON COLUMN courier.sync_details.mapping IS 'NULL: every column to the field of its own name';
COMMENT ON COLUMN courier.sync_details.match_on IS 'NULL: the fields that are mapped from the primary key';
COMMENT ON COLUMN courier.sync_details.health_detail IS 'What is the matter, and what to do next; NULL: nothing';
COMMENT ON COLUMN courier.sync_details.last_run_id IS 'The last run that ended; see courier.run_details';
COMMENT ON COLUMN courier.sync_details.not_before IS 'The destination asked not to be called before this time';
COMMENT ON COLUMN courier.sync_details.waiting_for IS 'Why a queued run has not started';
COMMENT ON COLUMN courier.sync_details.snapshot_records IS 'Records that the destination has accepted';
COMMENT ON COLUMN courier.sync_details.rejected_records IS 'Records that it has not; see courier.rejected_records';
COMMENT ON COLUMN courier.sync_details.search_path IS 'With which model and mapping are evaluated: that of whoever created the sync';
COMMENT ON COLUMN courier.sync_details.owner IS 'The role that model and mapping run as';
-- Views of runs. Each joins courier_internal.visible_sync, which is where it is decided whose rows somebody sees. The views read the
-- tables with their owner's rights; security_barrier keeps a user's function in a WHERE clause from seeing rows before the filter.
-- No owner's name is looked up in a way that could fail: a role may have been dropped since.

CREATE VIEW courier_internal.visible_sync WITH (security_barrier) AS
    SELECT o.sync_id, o.name
      FROM (SELECT s.sync_id, s.name, COALESCE(pg_catalog.pg_get_userbyid(c.relowner)::text, s.owner) AS owner
              FROM courier_internal.sync s
              LEFT JOIN pg_catalog.pg_class c
                     ON c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'courier_data')
                    AND c.relname = ('snapshot_' || s.sync_id)::name AND c.relkind = 'r') o
     WHERE courier_internal.visible(o.owner);
COMMENT ON VIEW courier_internal.visible_sync IS 'The syncs whose rows the current role may see. The owner is courier_internal.effective_owner, written out because that function would read its table with the user''s rights';

CREATE VIEW courier.runs WITH (security_barrier) AS
    SELECT r.run_id, s.name AS sync, r.status,
           r.started_at::timestamptz(0) AS started_at,
           (COALESCE(r.finished_at, CASE WHEN r.status IN ('querying', 'sending') THEN pg_catalog.clock_timestamp() END) - r.started_at)::interval(0) AS duration,
           r.succeeded_added + r.succeeded_changed + r.succeeded_removed AS sent,
           r.rejected_added + r.rejected_changed + r.rejected_removed AS rejected,
           CASE
               WHEN r.error_code ~ '^[a-z][a-z0-9_]*$' THEN r.error_code
               WHEN pg_catalog.length(f.line) > 15 THEN pg_catalog.rtrim(pg_catalog.left(f.line, 12)) || '...'
               ELSE f.line
           END AS error
      FROM courier_internal.run r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id,
           LATERAL (SELECT pg_catalog.split_part(COALESCE(r.error, r.error_code), E'\n', 1) AS line) f
     ORDER BY r.run_id DESC;
COMMENT ON VIEW courier.runs IS 'The runs of your syncs, newest first, in short. All of a run is in courier.run_details';
COMMENT ON COLUMN courier.runs.run_id IS 'Grows with time; what trigger_sync and run_sync return';
COMMENT ON COLUMN courier.runs.sync IS 'Name of the sync';
COMMENT ON COLUMN courier.runs.status IS 'queued, querying, sending; then success, warning (rejected, unknown or invalid records), failed, cancelled, interrupted (crash; another run follows by itself) or blocked (see courier.approve_run)';
COMMENT ON COLUMN courier.runs.started_at IS 'When a worker took it; NULL: not yet';

COMMENT ON COLUMN courier.runs.duration IS 'From started_at to the end, or to now';
COMMENT ON COLUMN courier.runs.sent IS 'Records that the destination has accepted in this run';
COMMENT ON COLUMN courier.runs.rejected IS 'Records that the destination has refused in this run; see courier.rejected_records';
COMMENT ON COLUMN courier.runs.error IS 'The error code, or the beginning of the message; the whole is in courier.run_details';

CREATE VIEW courier.run_details WITH (security_barrier) AS
    SELECT r.run_id, s.name AS sync, r.status, r.triggered_by, r.resync, r.created_at, r.started_at, r.finished_at, r.rows_queried,
           r.planned_added, r.planned_changed, r.planned_removed,
           r.succeeded_added, r.succeeded_changed, r.succeeded_removed,
           r.rejected_added, r.rejected_changed, r.rejected_removed,
           r.skipped, r.unknown, r.aborted, r.invalid, r.requests, r.error_code, r.error, r.hint, r.held_removals
      FROM courier_internal.run r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id;
COMMENT ON VIEW courier.run_details IS 'All numbers of the runs of your syncs. planned = succeeded + rejected + skipped + unknown + aborted, once a run has ended';
COMMENT ON COLUMN courier.run_details.triggered_by IS 'The role that asked first, or schedule, or "after <sync>"';
COMMENT ON COLUMN courier.run_details.resync IS 'none: what changed; full: every record; baseline: nothing is sent, the snapshot becomes the model';
COMMENT ON COLUMN courier.run_details.created_at IS 'When it was queued';
COMMENT ON COLUMN courier.run_details.started_at IS 'When a worker took it';
COMMENT ON COLUMN courier.run_details.rows_queried IS 'Rows of the model';
COMMENT ON COLUMN courier.run_details.planned_added IS 'Records that the comparison found to be new (of the destination''s point of view)';
COMMENT ON COLUMN courier.run_details.planned_changed IS 'Records that the comparison found to be changed';
COMMENT ON COLUMN courier.run_details.planned_removed IS 'Records that the comparison found to be removed';
COMMENT ON COLUMN courier.run_details.skipped IS 'Mode update: the destination has no such record';
COMMENT ON COLUMN courier.run_details.unknown IS 'Sent, but no answer says whether it arrived, and sending again could deliver twice: held until courier.retry_rejected or courier.discard_rejected';
COMMENT ON COLUMN courier.run_details.aborted IS 'Not sent because the run ended before; the next run finds them again';
COMMENT ON COLUMN courier.run_details.invalid IS 'Rows (not records) that could not be used; see courier.invalid_rows';
COMMENT ON COLUMN courier.run_details.requests IS 'HTTP requests, retries included';
COMMENT ON COLUMN courier.run_details.error_code IS 'A word for programs, or an SQLSTATE';
COMMENT ON COLUMN courier.run_details.hint IS 'What to do next';
COMMENT ON COLUMN courier.run_details.held_removals IS 'Removals that were held back because the model had NULL keys (option null_keys)';

CREATE VIEW courier.rejected_records WITH (security_barrier) AS
    SELECT s.name AS sync, r.key, r.primary_key, r.change, r.attempts, r.first_failed_at, r.last_failed_at, r.next_attempt_at, r.outcome,
           r.http_status, r.error_code, r.message, r.payload
      FROM courier_internal.rejected r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id
     WHERE r.outcome IN ('rejected', 'unknown');
COMMENT ON VIEW courier.rejected_records IS 'Records that the destination has not accepted, at present: they are tried again by themselves. See courier.retry_rejected and courier.discard_rejected';
COMMENT ON COLUMN courier.rejected_records.key IS 'The primary key as text; of several columns, a JSON array';
COMMENT ON COLUMN courier.rejected_records.change IS 'added, changed or removed, from the destination''s point of view: added until the first success';
COMMENT ON COLUMN courier.rejected_records.next_attempt_at IS 'The first run after this time tries again, with the newest values; at once when they change. infinity: held';
COMMENT ON COLUMN courier.rejected_records.outcome IS 'rejected, or unknown: it may have arrived, and is held so that it does not arrive twice';
COMMENT ON COLUMN courier.rejected_records.message IS 'The destination''s own words where it had any';
COMMENT ON COLUMN courier.rejected_records.payload IS 'What was sent; NULL where option log_records is none';

CREATE VIEW courier.invalid_rows WITH (security_barrier) AS
    SELECT s.name AS sync, i.run_id, i.reason, i.key, i.primary_key, i.copies
      FROM courier_internal.invalid_row i
      JOIN courier_internal.visible_sync s ON s.sync_id = i.sync_id;
COMMENT ON VIEW courier.invalid_rows IS 'Rows that the last run of a sync could not use, at most 1,000 of each reason. They are never sent';
COMMENT ON COLUMN courier.invalid_rows.reason IS 'null_key, duplicate_key, null_match (a match field is NULL or empty) or duplicate_match (several rows have the same match values)';
COMMENT ON COLUMN courier.invalid_rows.key IS 'The primary key as text; of several columns, a JSON array';
COMMENT ON COLUMN courier.invalid_rows.copies IS 'How many rows this line stands for';

CREATE VIEW courier.requests WITH (security_barrier) AS
    SELECT q.run_id, s.name AS sync, q.sent_at, q.operation, q.records, q.attempt, q.method, q.url, q.request_headers, q.request_body,
           q.http_status, q.response_body, q.duration, q.error, q.key, q.request_id
      FROM courier_internal.request q
      JOIN courier_internal.visible_sync s ON s.sync_id = q.sync_id;
COMMENT ON VIEW courier.requests IS 'Requests and answers, secrets redacted, bodies capped; option log_requests says which (failed ones by default), option retention how long';
COMMENT ON COLUMN courier.requests.operation IS 'insert, update, upsert, delete, clear, archive, event, message, add or remove';
COMMENT ON COLUMN courier.requests.records IS 'Records in the request';
COMMENT ON COLUMN courier.requests.attempt IS '1 is the first';
COMMENT ON COLUMN courier.requests.http_status IS 'NULL: there was no answer; see error';
COMMENT ON COLUMN courier.requests.error IS 'What went wrong below HTTP';
COMMENT ON COLUMN courier.requests.key IS 'The primary key of the record as text, indexed; NULL: the request carried several. courier.record_requests finds both';

CREATE VIEW courier.record_requests WITH (security_barrier) AS
    SELECT k.key, q.run_id, s.name AS sync, q.sent_at, q.operation, q.records, q.attempt, q.method, q.url, q.http_status, q.duration, q.error,
           q.request_headers, q.request_body, q.response_body, q.request_id
      FROM courier_internal.request_key k
      JOIN courier_internal.request q ON q.request_id = k.request_id AND q.sent_at = k.sent_at
      JOIN courier_internal.visible_sync s ON s.sync_id = q.sync_id
    UNION ALL
    SELECT q.key, q.run_id, s.name, q.sent_at, q.operation, q.records, q.attempt, q.method, q.url, q.http_status, q.duration, q.error,
           q.request_headers, q.request_body, q.response_body, q.request_id
      FROM courier_internal.request q
      JOIN courier_internal.visible_sync s ON s.sync_id = q.sync_id
     WHERE q.key IS NOT NULL;
COMMENT ON VIEW courier.record_requests IS 'The logged requests that carried a record: a row per record and request. Search by key, which is indexed. courier.explain_record tells the rest';
COMMENT ON COLUMN courier.record_requests.key IS 'The primary key as text; of several columns, a JSON array. Indexed';
COMMENT ON COLUMN courier.record_requests.records IS 'Records in the request, this one included';
COMMENT ON COLUMN courier.record_requests.request_id IS 'The same in courier.requests';

CREATE VIEW courier.changelog WITH (security_barrier) AS
    SELECT c.run_id, s.name AS sync, c.key, c.primary_key::jsonb, c.change, c.outcome, c.http_status, c.error_code, c.message, c.payload, c.changed_at
      FROM courier_internal.change_log c
      JOIN courier_internal.visible_sync s ON s.sync_id = c.sync_id;
COMMENT ON VIEW courier.changelog IS 'What happened to each record in each run. Search by key or run_id: both are indexed. Option log_records says what is kept, option retention how long';
COMMENT ON COLUMN courier.changelog.key IS 'The primary key as text; of several columns, a JSON array. Indexed';
COMMENT ON COLUMN courier.changelog.change IS 'added, changed or removed';
COMMENT ON COLUMN courier.changelog.outcome IS 'succeeded, rejected, skipped, unknown or aborted';
COMMENT ON COLUMN courier.changelog.payload IS 'What was sent; of failed records only, unless option log_records is payload';

CREATE VIEW courier.progress WITH (security_barrier) AS
    SELECT p.run_id, p.sync, p.phase, p.done, p.planned, p.rejected, p.percent,
           pg_catalog.round(p.rate)::bigint AS records_per_second,
           CASE WHEN p.phase = 'sending' AND p.rate > 0 THEN pg_catalog.make_interval(secs => ((p.planned - p.done) / p.rate)::double precision)::interval(0) END AS eta,
           '[' || pg_catalog.repeat('#', COALESCE(p.percent, 0) / 10) || pg_catalog.repeat('-', 10 - COALESCE(p.percent, 0) / 10) || ']'
               || COALESCE(' ' || p.percent || ' %', '') AS bar
      FROM (SELECT t.*,
                   CASE WHEN t.planned > 0 THEN (100 * t.done / t.planned)::integer WHEN t.phase IN ('success', 'warning') THEN 100 END AS percent,
                   t.done / NULLIF(EXTRACT(epoch FROM COALESCE(t.finished_at, pg_catalog.clock_timestamp()) - t.sending_at), 0) AS rate
              FROM (SELECT r.run_id, s.name AS sync, r.status AS phase, r.sending_at, r.finished_at,
                           r.succeeded_added + r.succeeded_changed + r.succeeded_removed + r.rejected_added + r.rejected_changed + r.rejected_removed
                               + r.skipped + r.unknown AS done,
                           r.planned_added + r.planned_changed + r.planned_removed AS planned,
                           r.rejected_added + r.rejected_changed + r.rejected_removed AS rejected
                      -- Two branches, so that neither has to read all runs that ever were.
                      FROM (SELECT a.* FROM courier_internal.run a WHERE a.status IN ('queued', 'querying', 'sending')
                            UNION ALL
                            SELECT e.* FROM courier_internal.sync_state l JOIN courier_internal.run e ON e.run_id = l.last_run_id
                             WHERE e.finished_at > pg_catalog.clock_timestamp() - '10 seconds'::interval) r
                      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id) t) p
     ORDER BY p.run_id DESC;
COMMENT ON VIEW courier.progress IS 'Runs that are queued or active, and those that ended within the last 10 seconds, newest first. In psql: \watch 1';
COMMENT ON COLUMN courier.progress.phase IS 'The status of the run';
COMMENT ON COLUMN courier.progress.done IS 'Records that are settled: accepted, rejected, skipped or unknown';
COMMENT ON COLUMN courier.progress.planned IS 'Records to send; 0 until the comparison is through';
COMMENT ON COLUMN courier.progress.percent IS 'done of planned; NULL: not known yet';
COMMENT ON COLUMN courier.progress.rejected IS 'Records that the destination has refused in this run';
COMMENT ON COLUMN courier.progress.records_per_second IS 'On the average since sending began';
COMMENT ON COLUMN courier.progress.eta IS 'Time that is left at this rate';

GRANT SELECT ON courier.runs, courier.run_details, courier.rejected_records, courier.invalid_rows, courier.requests, courier.changelog, courier.progress TO PUBLIC;

CREATE VIEW courier.open_jobs WITH (security_barrier) AS
    SELECT j.job_id, s.name AS sync, j.run_id, j.operation, j.records, j.state::jsonb ->> 'step' AS step, j.state::jsonb ->> 'job' AS job, j.opened_at
      FROM courier_internal.job j
      JOIN courier_internal.visible_sync s ON s.sync_id = j.sync_id
     ORDER BY j.job_id;
COMMENT ON VIEW courier.open_jobs IS 'Jobs that destinations work on for your syncs and whose result is not settled yet. The run that opened one asks for it until it is done; after a crash or a cancel, the next run does';
COMMENT ON COLUMN courier.open_jobs.run_id IS 'The run that opened it';
COMMENT ON COLUMN courier.open_jobs.records IS 'Records that it has; 0: they are done with, but the job may still be open at the destination';
COMMENT ON COLUMN courier.open_jobs.step IS 'How far it was when its state was last written';
COMMENT ON COLUMN courier.open_jobs.job IS 'The destination''s name for it';
-- The story of one record: courier.explain_record. The facts of model, mapping and snapshot come from the library, read as the sync's
-- owner; here it is said what a run would make of them, in the order in which a comparison decides, and what the logs know.

CREATE FUNCTION courier_internal.record_facts(name text, primary_key text) RETURNS TABLE (item text, value text, copy integer)
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'courier_record_facts';
COMMENT ON FUNCTION courier_internal.record_facts(text, text) IS 'What model, mapping and snapshot of a sync say about one primary key (JSON), read as its owner. Items of a model row come once per copy (1, 2, ...), all others with copy 0';

CREATE FUNCTION courier_internal.differing_fields(accepted text, record text, fields text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT json_object_agg(d.field, json_build_array(d.was, d.is_now))::text
      FROM (SELECT f AS field, accepted::json #> string_to_array(f, '.') AS was, record::json #> string_to_array(f, '.') AS is_now
              FROM unnest(fields) f) d
     WHERE d.was::text IS DISTINCT FROM d.is_now::text
$$;
COMMENT ON FUNCTION courier_internal.differing_fields(text, text, text[]) IS 'The fields that differ between two records, each as [before, now]; NULL: none';

CREATE FUNCTION courier_internal.record_verdict(found_sync courier_internal.sync, facts jsonb, hashes text[], wanted text,
        OUT verdict text, OUT why text, OUT operation text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    state text := facts->>'snapshot';
    copies integer := cardinality(hashes);
    same boolean := hashes[1] IS NOT DISTINCT FROM facts->>'snapshot_hash';
    change text;
    reject courier_internal.rejected;
BEGIN
    SELECT r.* INTO reject FROM courier_internal.rejected r WHERE r.sync_id = found_sync.sync_id AND r.key = wanted;

    -- What stands before any record.
    IF facts ? 'key_changed' THEN
        verdict := 'blocked';
        why := 'The primary key of the model is another one than that of the snapshot. No run starts until it is told what the destination holds: resync => ''full'' or ''baseline''.';
        RETURN;
    ELSIF facts ? 'snapshot_gone' THEN
        verdict := 'blocked';
        why := 'The snapshot table is gone. No run starts until it is told what the destination holds: resync => ''full'' or ''baseline''.';
        RETURN;
    END IF;

    -- Rows that cannot be used.
    IF copies > 1 AND NOT (state = 'accepted' AND NOT EXISTS (SELECT FROM unnest(hashes) h WHERE h IS DISTINCT FROM facts->>'snapshot_hash')) THEN
        verdict := 'invalid';
        why := format('duplicate_key: the model has this key %s times. No copy is sent, and the snapshot is left as it is.', CASE WHEN copies >= 10 THEN '10 or more' ELSE copies::text END);
        RETURN;
    ELSIF facts->>'match_missing' = 'true' THEN
        verdict := 'invalid';
        why := 'null_match: a field by which the destination knows the record is NULL or empty. The row is not sent.';
        RETURN;
    ELSIF facts ? 'shares_match_with' THEN
        verdict := 'invalid';
        why := format('duplicate_match: the record with key %s has the same match values. Neither is sent, and the snapshot is left as it is.', facts->>'shares_match_with');
        RETURN;
    END IF;

    IF facts->>'baseline' = 'true' THEN
        verdict := 'baseline';
        why := 'The next run is a baseline: it sends nothing and takes the model as what the destination has.';
        RETURN;
    END IF;

    -- The comparison.
    IF copies = 0 AND state IS NULL THEN
        verdict := 'nothing';
        why := 'Neither the model nor the snapshot has it.' || CASE WHEN reject.key IS NOT NULL THEN ' It never reached the destination; the next run forgets that it was rejected.' ELSE '' END;
        RETURN;
    ELSIF copies = 0 AND state = 'left' THEN
        verdict := 'nothing';
        why := 'It left the model after it was accepted. The key is remembered, so that it is not sent again when it returns.';
        RETURN;
    ELSIF copies = 0 AND state = 'skipped' THEN
        verdict := 'forgotten';
        why := 'It is gone from the model, and the destination never had it: nothing is sent.';
        RETURN;
    ELSIF copies = 0 AND facts->>'send_removals' = 'false' THEN
        verdict := 'forgotten';
        why := CASE WHEN facts->>'keep_left' = 'true' THEN 'It is gone from the model: nothing is sent, and the key is remembered.'
                    ELSE format('It is gone from the model, and on_removed is %s: nothing is sent, the record stays in the destination.', found_sync.on_removed) END;
        RETURN;
    ELSIF copies = 0 AND facts->>'null_keys' = 'true' THEN
        verdict := 'held';
        why := 'It is gone from the model, but the model has NULL keys: removals are held back until it has none (option null_keys).';
        RETURN;
    ELSIF copies = 0 AND facts->>'match_held' = 'true' THEN
        verdict := 'forgotten';
        why := 'It is gone from the model, but another record has its match values now: nothing is sent, the key leaves the snapshot.';
        RETURN;
    ELSIF copies = 0 THEN
        change := 'removed';
        why := 'The destination has accepted it, and it is gone from the model.';
    ELSIF state IS NULL THEN
        change := 'added';
        why := 'The snapshot does not have it: the destination has not accepted it yet.';
    ELSIF facts->>'compare_changes' = 'false' THEN
        verdict := 'unchanged';
        why := format('%s, and an accepted key is never looked at again (%s).', CASE state WHEN 'left' THEN 'It is back in the model after it had left' ELSE 'It was accepted' END,
                      CASE WHEN found_sync.mode = 'insert' THEN 'mode insert' ELSE found_sync.sync_type END);
        RETURN;
    ELSIF facts->>'former_lost' = 'true' THEN
        change := 'changed';
        why := 'The mapping that the snapshot was made with cannot be evaluated any more: every record counts as changed.';
    ELSIF same THEN
        verdict := 'unchanged';
        why := CASE state WHEN 'skipped' THEN 'The destination has no such record (mode update), and its values are those that were tried.' ELSE 'The compared fields are what the destination has accepted.' END;
        RETURN;
    ELSIF facts->>'former' = 'true' AND facts->>'former_hash' = facts->>'snapshot_hash' AND facts->>'differs_from_former' = 'false' THEN
        verdict := 'unchanged';
        why := 'The mapping has changed since, but it makes the same record of this row.';
        RETURN;
    ELSE
        change := CASE state WHEN 'skipped' THEN 'added' ELSE 'changed' END;
        why := CASE state WHEN 'skipped' THEN 'The destination had no such record (mode update), and the values have changed since.'
                    ELSE 'A compared field differs from what the destination has accepted.' END;
        IF facts->>'rename_by_removal' = 'true' AND facts->>'snapshot_match_hash' <> facts->>'match_hash' THEN
            why := why || ' Its match value has changed: the destination is told of a removal and an addition.';
        END IF;
    END IF;

    operation := facts->>('operation_' || change);
    IF operation IS NULL THEN
        verdict := 'nothing';
        why := why || format(' The sync sends no %s records.', change);
        RETURN;
    END IF;

    -- What was refused before and has not changed since waits.
    IF reject.next_attempt_at > clock_timestamp() AND (reject.outcome = 'unknown' OR reject.hash::text IS NOT DISTINCT FROM hashes[1]) THEN
        verdict := 'held';
        why := format('%s. %s', change || ': ' || rtrim(why, '.'), CASE reject.outcome
            WHEN 'unknown' THEN format('It was sent and may have arrived: held until courier.retry_rejected(%L) or courier.discard_rejected(%L).', found_sync.name, found_sync.name)
            WHEN 'discarded' THEN 'It was discarded: it is not sent before its values change.'
            ELSE format('It was rejected (%s) and is tried again at the first run after %s, or when its values change.',
                        COALESCE(reject.error_code, reject.http_status::text, 'no code'), reject.next_attempt_at::timestamptz(0)) END);
        RETURN;
    END IF;
    verdict := change;
    IF reject.key IS NOT NULL AND reject.hash::text IS DISTINCT FROM hashes[1] THEN
        why := why || ' It was rejected with other values; these are new.';
    ELSIF reject.key IS NOT NULL THEN
        why := why || format(' It was rejected (%s times) and is due again.', reject.attempts);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.record_verdict(courier_internal.sync, jsonb, text[], text) IS 'What a run would do with a record now, and why, from its facts: the decisions of a comparison in their order';

CREATE FUNCTION courier_internal.explain_record(caller oid, caller_path text, sync text, primary_key jsonb)
    RETURNS TABLE (section text, item text, value text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target courier_internal.sync;
    overview courier_internal.sync_overview;
    columns text[];
    given jsonb;
    wanted text;
    facts jsonb := '{}';
    hashes text[] := '{}';
    compared text[];
    record_now text;
    v record;
    accepted_at timestamptz;
    obstacle text;
    refused courier_internal.rejected;
BEGIN
    PERFORM courier_internal.require_value('sync', explain_record.sync);
    PERFORM courier_internal.require_value('primary_key', explain_record.primary_key);
    target := courier_internal.operable_sync(caller, explain_record.sync);
    columns := (SELECT m.primary_key FROM courier_internal.model m WHERE m.model_id = target.model_id);
    given := courier_internal.key_object(columns, explain_record.primary_key);
    SELECT o.* INTO overview FROM courier_internal.sync_overview o WHERE o.sync_id = target.sync_id;

    section := 'record';
    RETURN QUERY VALUES (section, 'sync', target.name), (section, 'primary_key', given::text);
    IF EXISTS (SELECT FROM jsonb_each(given) e WHERE jsonb_typeof(e.value) = 'null') THEN
        RETURN QUERY VALUES ('now', 'verdict', 'invalid'),
                            ('now', 'why', 'null_key: a row without a primary key is counted, listed in courier.invalid_rows, and never sent.');
        RETURN;
    END IF;

    -- A model that cannot be read is part of the story; the logs are told all the same.
    BEGIN
        SELECT jsonb_object_agg(f.item, f.value) FILTER (WHERE f.item <> 'compared' AND f.copy <= 1),
               array_agg(f.value ORDER BY f.copy) FILTER (WHERE f.item = 'hash'),
               array_agg(f.value) FILTER (WHERE f.item = 'compared')
          INTO facts, hashes, compared
          FROM courier_internal.record_facts(target.name, given::text) f;
        hashes := COALESCE(hashes, '{}');
        SELECT r.verdict, r.why, r.operation INTO v FROM courier_internal.record_verdict(target, facts, hashes, facts->>'key') r;
    EXCEPTION WHEN others THEN
        facts := '{}';
        SELECT 'failed' AS verdict, 'The next run would fail: ' || SQLERRM AS why, NULL::text AS operation INTO v;
    END;
    wanted := COALESCE(facts->>'key', CASE cardinality(columns) WHEN 1 THEN given->>columns[1]
        ELSE (SELECT '[' || string_agg((given->c)::text, ',' ORDER BY n) || ']' FROM unnest(columns) WITH ORDINALITY u (c, n)) END);
    record_now := CASE WHEN v.verdict = 'changed' THEN facts->>'record_changed' ELSE facts->>'record_added' END;
    RETURN QUERY VALUES (section, 'key', wanted);

    IF v.verdict <> 'failed' THEN
        RETURN QUERY VALUES ('model', 'row', COALESCE(facts->>'row', 'not in the model'));
        IF cardinality(hashes) > 1 THEN
            RETURN QUERY VALUES ('model', 'copies', cardinality(hashes)::text);
        END IF;
        IF facts ? 'row' THEN
            RETURN QUERY VALUES ('mapped', 'record', record_now);
        END IF;

        section := 'snapshot';
        RETURN QUERY VALUES (section, 'state', COALESCE(facts->>'snapshot', 'not in the snapshot'));
        IF facts ? 'snapshot' THEN
            IF facts->>'snapshot' = 'accepted' THEN
                SELECT max(c.changed_at) INTO accepted_at FROM courier_internal.change_log c
                 WHERE c.key = wanted AND c.sync_id = target.sync_id AND c.outcome = 'succeeded' AND c.change <> 'removed';
                RETURN QUERY VALUES (section, 'accepted_at', COALESCE(accepted_at::text, 'not in the log any more'));
            ELSIF facts->>'snapshot' = 'left' THEN
                RETURN QUERY VALUES (section, 'left_at', facts->>'left_at');
            END IF;
            IF hashes <> '{}' THEN
                RETURN QUERY VALUES (section, 'hash', CASE WHEN hashes[1] = facts->>'snapshot_hash' THEN 'as the record now' ELSE 'of another record' END);
            END IF;
            RETURN QUERY SELECT section, i.item, i.value
                           FROM (VALUES ('remote_id', facts->>'remote_id'), ('match', facts->>'accepted_match'), ('payload', facts->>'accepted_payload')) i (item, value)
                          WHERE i.value IS NOT NULL;
        END IF;
    END IF;

    section := 'now';
    RETURN QUERY VALUES (section, 'verdict', v.verdict), (section, 'why', v.why);
    IF v.operation IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'operation', v.operation);
    END IF;
    IF v.verdict IN ('changed', 'held') AND facts->>'accepted_payload' IS NOT NULL AND record_now IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'fields', courier_internal.differing_fields(facts->>'accepted_payload', record_now, compared));
    END IF;
    obstacle := CASE overview.health
        WHEN 'paused' THEN format('The sync is paused: SELECT courier.resume_sync(%L)', target.name)
        WHEN 'restored copy' THEN 'The sync came with a copy of a database: SELECT courier.resume_all()'
        WHEN 'blocked' THEN format('The sync is blocked, schedules skip it: SELECT courier.approve_run(%s)', COALESCE(overview.blocked_run_id, overview.last_run_id))
        WHEN 'failing' THEN 'The last run failed: ' || COALESCE(overview.last_error, overview.last_error_code, overview.last_status)
        WHEN 'model changed' THEN 'The model has changed: ' || COALESCE(overview.last_error, format('relation %s does not exist', overview.relation))
    END;
    IF obstacle IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'sync', obstacle);
    END IF;

    SELECT r.* INTO refused FROM courier_internal.rejected r WHERE r.sync_id = target.sync_id AND r.key = wanted;
    IF refused.key IS NOT NULL THEN
        RETURN QUERY SELECT 'rejected'::text, i.item, i.value
                       FROM (VALUES ('outcome', refused.outcome), ('change', refused.change), ('attempts', refused.attempts::text),
                                    ('first_failed_at', refused.first_failed_at::text), ('last_failed_at', refused.last_failed_at::text),
                                    ('http_status', refused.http_status::text), ('error_code', refused.error_code),
                                    ('message', refused.message), ('payload', refused.payload)) i (item, value)
                      WHERE i.value IS NOT NULL;
    END IF;

    -- The log, newest first: by key alone, which is what its index is for.
    RETURN QUERY
        SELECT 'history'::text, format('%s, run %s', l.changed_at::timestamptz(0), l.run_id),
               concat_ws(' ', l.change, l.outcome, '(' || concat_ws(' ', l.http_status, l.error_code) || ')', l.message, l.payload)
          FROM (SELECT c.* FROM courier_internal.change_log c WHERE c.key = wanted AND c.sync_id = target.sync_id
                 ORDER BY c.changed_at DESC LIMIT 10) l
         ORDER BY l.changed_at DESC;
    RETURN QUERY
        SELECT 'requests'::text, format('%s, run %s', q.sent_at::timestamptz(0), q.run_id),
               concat_ws(' ', q.operation, format('%s %s', q.method, q.url), format('(%s record%s, attempt %s)', q.records, CASE WHEN q.records = 1 THEN '' ELSE 's' END, q.attempt),
                         '->', COALESCE(q.http_status::text, q.error), left(q.response_body, 500))
          FROM (SELECT r.* FROM courier_internal.request r WHERE r.key = wanted AND r.sync_id = target.sync_id
                UNION ALL
                SELECT r.* FROM courier_internal.request_key k
                  JOIN courier_internal.request r ON r.request_id = k.request_id AND r.sent_at = k.sent_at
                 WHERE k.key = wanted AND k.sync_id = target.sync_id) q
         ORDER BY q.sent_at DESC LIMIT 10;

    section := 'next';
    IF refused.next_attempt_at IS NOT NULL THEN
        RETURN QUERY VALUES (section, 'attempt', CASE
            WHEN refused.next_attempt_at = 'infinity' THEN 'held'
            WHEN refused.next_attempt_at <= clock_timestamp() THEN 'due: with the next run'
            ELSE format('the first run after %s', refused.next_attempt_at::timestamptz(0)) END);
    END IF;
    RETURN QUERY VALUES (section, 'run', CASE
        WHEN overview.paused OR overview.restored THEN 'none'
        WHEN overview.active_run_id IS NOT NULL THEN format('run %s is %s', overview.active_run_id, overview.active_status)
        WHEN overview.blocked_run_id IS NOT NULL THEN 'none while the sync is blocked'
        WHEN overview.next_run_at IS NOT NULL THEN GREATEST(overview.next_run_at, overview.not_before)::timestamptz(0)::text
        ELSE format('not by itself (schedule %s)', overview.schedule) END);
END
$$;
COMMENT ON FUNCTION courier_internal.explain_record(oid, text, text, jsonb) IS 'Behind courier.explain_record';

CREATE FUNCTION courier.explain_record(sync text, primary_key jsonb) RETURNS TABLE (section text, item text, value text)
    LANGUAGE c VOLATILE ROWS 20 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.explain_record(text, jsonb) IS
'The whole story of one record: the row of the model, the record that the mapping makes of it, what the snapshot says, what a run would do with it now and why, what was refused, what happened to it in past runs, the requests that carried it, and what comes next. Sends nothing and changes nothing. Model and mapping are read as the owner of the sync.

sync         the sync
primary_key  which record: an object ({"id": 7}), or for a key of one column the value alone (7)

Sections, in this order: record, model, mapped, snapshot, now, rejected, history (10 outcomes, newest first), requests (10, newest first), next. The verdict in section now is added, changed, removed, unchanged, forgotten (leaves the snapshot without a request), invalid (null_key, duplicate_key, null_match or duplicate_match), held (rejected, unknown or discarded, and not due), baseline, nothing, blocked or failed (no run can do its work).
Requests are in the log as option log_requests says (failed ones by default), outcomes as log_records says.
Errors: 42704 no such sync; 42501 not permitted; 22004 an argument is NULL; 22023 primary_key does not fit the model.

Example: SELECT * FROM courier.explain_record(''contacts'', ''7'')';
-- Alerts. A rule looks at the syncs it covers and says ok, warning or critical of each; a change of that is an event, and nothing else is.
--
-- Rules are looked at when a run ends (those that cover its sync) and in the scheduler's round every minute (all: time passes without
-- runs, too). Both may want the same state at the same time: whoever does not get the row leaves it to the next round, so the end of a
-- run never waits here, and no change is told twice.
--
-- An event is delivered like any other record: the channel of a rule is a sync, of an ordinary model over courier.alert_events, to any
-- destination. It is triggered in the transaction that writes the event, and it has retries, rejected records and logs like all syncs.

CREATE TABLE courier_internal.alert (
    alert_id       integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    kind           text NOT NULL,
    sync_id        integer REFERENCES courier_internal.sync ON DELETE CASCADE,
    destination_id integer REFERENCES courier_internal.destination ON DELETE CASCADE,
    warning        text,
    critical       text,
    channel_id     integer REFERENCES courier_internal.sync ON DELETE SET NULL,
    muted_until    timestamptz NOT NULL DEFAULT '-infinity',
    owner          text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE courier_internal.alert IS 'Rules. sync_id and destination_id NULL: every sync that the owner may see';

CREATE TABLE courier_internal.alert_state (
    alert_id integer NOT NULL REFERENCES courier_internal.alert ON DELETE CASCADE,
    sync_id  integer NOT NULL REFERENCES courier_internal.sync ON DELETE CASCADE,
    state    text NOT NULL DEFAULT 'ok',
    since    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    message  text,
    PRIMARY KEY (alert_id, sync_id)
) WITH (fillfactor = 70);
CREATE INDEX alert_state_sync_id_idx ON courier_internal.alert_state (sync_id);
COMMENT ON TABLE courier_internal.alert_state IS 'What a rule says of a sync at present';

CREATE TABLE courier_internal.alert_event (
    event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert       text NOT NULL,
    kind        text NOT NULL,
    sync        text NOT NULL,
    state       text NOT NULL,
    former      text NOT NULL,
    message     text NOT NULL,
    remedy      text,
    channel     text,
    owner       text NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE courier_internal.alert_event IS 'Changes of state. Names, not references: an event outlives what it tells of';

SELECT pg_catalog.pg_extension_config_dump('courier_internal.alert', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.alert_alert_id_seq', '');

-- Thresholds

CREATE FUNCTION courier_internal.check_threshold(kind text, which text, value text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    allowed text := CASE kind WHEN 'run_failed' THEN 'how many runs in a row, for example 1'
                              WHEN 'rejected' THEN 'a number of records, or a share such as 5%'
                              WHEN 'volume' THEN 'a factor over 1, for example 3'
                              ELSE 'an interval, for example 30 minutes' END;
    good boolean := true;
BEGIN
    IF value IS NULL THEN
        RETURN;
    END IF;
    BEGIN
        good := CASE kind
            WHEN 'run_failed' THEN value ~ '^[1-9][0-9]{0,5}$'
            WHEN 'rejected' THEN value ~ '^[0-9]{1,12}$' OR value ~ '^[0-9]{1,3}(\.[0-9]+)?%$' AND rtrim(value, '%')::numeric < 100
            WHEN 'volume' THEN value ~ '^[0-9]{1,6}(\.[0-9]+)?$' AND value::numeric > 1
            ELSE value::interval > '0'::interval END;
    EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow OR invalid_parameter_value THEN
        good := false;
    END;
    IF NOT good THEN
        RAISE EXCEPTION 'threshold % of an alert of kind % cannot be "%"', which, kind, value USING ERRCODE = '22023',
            DETAIL = format('Allowed: %s.', allowed);
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.check_threshold(text, text, text) IS 'Raises 22023 for what is no threshold of this kind of alert';

CREATE FUNCTION courier_internal.check_thresholds(kind text, warning text, critical text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT COALESCE(kind IN ('run_failed', 'rejected', 'duration', 'no_success', 'volume'), false) THEN
        RAISE EXCEPTION 'kind of alert "%" is not known', kind USING ERRCODE = '22023',
            DETAIL = 'Allowed: run_failed, rejected, duration, no_success, volume.';
    ELSIF warning IS NULL AND critical IS NULL THEN
        RAISE EXCEPTION 'an alert of kind % needs a threshold', kind USING ERRCODE = '22023',
            HINT = 'Give warning, critical or both.';
    END IF;
    PERFORM courier_internal.check_threshold(kind, 'warning', warning), courier_internal.check_threshold(kind, 'critical', critical);
END
$$;
COMMENT ON FUNCTION courier_internal.check_thresholds(text, text, text) IS 'Raises 22023 unless kind and thresholds go together';

CREATE FUNCTION courier_internal.over_threshold(kind text, threshold text, value numeric, total numeric) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(CASE kind
        WHEN 'run_failed' THEN value >= threshold::numeric
        WHEN 'rejected' THEN CASE WHEN threshold LIKE '%\%' THEN value > 0 AND value * 100 > rtrim(threshold, '%')::numeric * total ELSE value > threshold::numeric END
        WHEN 'volume' THEN value > threshold::numeric
        ELSE value > EXTRACT(epoch FROM threshold::interval) END, false)
$$;
COMMENT ON FUNCTION courier_internal.over_threshold(text, text, numeric, numeric) IS 'Whether a value is over a threshold: runs in a row, records (of a total), a factor, seconds. NULL: it is not';

-- What a kind of alert measures of a sync; a value of NULL says nothing, and leaves the state as it is.
CREATE FUNCTION courier_internal.alert_value(kind text, sync_id integer, alert_since timestamptz, OUT value numeric, OUT total numeric, OUT message text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    last courier_internal.run;
    running courier_internal.run;
    succeeded_at timestamptz;
    usual numeric;
    runs bigint;
BEGIN
    SELECT r.* INTO last FROM courier_internal.run r
     WHERE r.sync_id = alert_value.sync_id AND r.test IS NULL AND r.status IN ('success', 'warning', 'failed', 'blocked')
     ORDER BY r.run_id DESC LIMIT 1;
    CASE kind
    WHEN 'run_failed' THEN
        SELECT count(*) INTO value FROM courier_internal.run r
         WHERE r.sync_id = alert_value.sync_id AND r.test IS NULL AND r.status IN ('failed', 'blocked')
           AND r.run_id > COALESCE((SELECT max(g.run_id) FROM courier_internal.run g
                                     WHERE g.sync_id = alert_value.sync_id AND g.test IS NULL AND g.status IN ('success', 'warning')), 0);
        message := CASE WHEN value = 0 THEN 'the last run went through'
            ELSE format('%s%s: %s', CASE last.status WHEN 'blocked' THEN 'the run was blocked' ELSE 'the run failed' END,
                        CASE WHEN value > 1 THEN format(' (%s in a row)', value) ELSE '' END, COALESCE(last.error, last.error_code, 'no message')) END;
    WHEN 'rejected' THEN
        SELECT count(*) INTO value FROM courier_internal.rejected r WHERE r.sync_id = alert_value.sync_id AND r.outcome IN ('rejected', 'unknown');
        total := value + COALESCE((SELECT t.snapshot_records FROM courier_internal.sync_state t WHERE t.sync_id = alert_value.sync_id), 0);
        message := format('%s of %s records are not accepted', value, total)
            || COALESCE((SELECT format(', most of them: %s', COALESCE(r.message, r.error_code, r.http_status::text))
                           FROM courier_internal.rejected r WHERE r.sync_id = alert_value.sync_id AND r.outcome IN ('rejected', 'unknown')
                          GROUP BY COALESCE(r.message, r.error_code, r.http_status::text) ORDER BY count(*) DESC LIMIT 1), '');
    WHEN 'duration' THEN
        SELECT r.* INTO running FROM courier_internal.run r
         WHERE r.sync_id = alert_value.sync_id AND r.status IN ('querying', 'sending') AND r.test IS NULL ORDER BY r.run_id LIMIT 1;
        value := EXTRACT(epoch FROM COALESCE(clock_timestamp() - running.started_at, last.finished_at - last.started_at));
        message := format('run %s %s %s', COALESCE(running.run_id, last.run_id), CASE WHEN running.run_id IS NULL THEN 'took' ELSE 'has been running for' END,
                          make_interval(secs => round(value)::double precision));
    WHEN 'no_success' THEN
        SELECT max(r.finished_at) INTO succeeded_at FROM courier_internal.run r
         WHERE r.sync_id = alert_value.sync_id AND r.test IS NULL AND r.status IN ('success', 'warning');
        value := EXTRACT(epoch FROM clock_timestamp() - COALESCE(succeeded_at, alert_since));
        message := COALESCE(format('the last run that went through ended at %s', succeeded_at::timestamptz(0)), 'no run has gone through yet');
    ELSE -- volume: what the last run planned, against the median of those before; small numbers are no news
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY p.planned), count(*) INTO usual, runs
          FROM (SELECT r.planned_added + r.planned_changed + r.planned_removed AS planned FROM courier_internal.run r
                 WHERE r.sync_id = alert_value.sync_id AND r.test IS NULL AND r.resync = 'none' AND r.status IN ('success', 'warning') AND r.run_id < last.run_id
                 ORDER BY r.run_id DESC LIMIT 20) p;
        total := last.planned_added + last.planned_changed + last.planned_removed;
        value := CASE WHEN runs < 5 OR last.resync <> 'none' THEN NULL
                      WHEN abs(total - usual) < 100 THEN 1
                      ELSE GREATEST(total, 1) / GREATEST(usual, 1) END;
        value := CASE WHEN value < 1 THEN 1 / value ELSE value END;
        message := format('run %s had %s changes, %s are usual', last.run_id, total, round(usual));
    END CASE;
    IF kind IN ('rejected', 'duration') AND last.run_id IS NULL AND running.run_id IS NULL THEN
        value := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION courier_internal.alert_value(text, integer, timestamptz) IS 'What a kind of alert measures of a sync: failed runs in a row; records not accepted, of how many; seconds; a factor. And a sentence about it';

CREATE FUNCTION courier_internal.evaluate_alerts(only_sync integer DEFAULT NULL) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    rule record;
    measured record;
    held courier_internal.alert_state;
    now_state text;
    channel record;
    new_event_id bigint;
    told integer := 0;
BEGIN
    FOR rule IN
        SELECT a.*, o.sync_id AS covered_id, o.name AS sync, o.schedule, GREATEST(a.created_at, o.created_at) AS covered_since,
               courier_internal.role_oid(a.owner) AS owner_oid
          FROM courier_internal.alert a
          JOIN courier_internal.sync_overview o
            ON COALESCE(a.sync_id = o.sync_id, a.destination_id = o.destination_id, true)
         -- Of a sync that is paused or sleeps in a copy nothing is news. Rights are those of now: an owner may have lost them.
         WHERE (only_sync IS NULL OR o.sync_id = only_sync) AND NOT o.paused AND NOT o.restored
           AND courier_internal.role_oid(a.owner) IS NOT NULL AND courier_internal.may_see(courier_internal.role_oid(a.owner), o.effective_owner)
           -- A rule over everything leaves out the sync that would have to tell of it.
           AND NOT (a.sync_id IS NULL AND COALESCE(a.channel_id = o.sync_id, false))
         ORDER BY a.alert_id, o.sync_id
    LOOP
        INSERT INTO courier_internal.alert_state (alert_id, sync_id) VALUES (rule.alert_id, rule.covered_id) ON CONFLICT DO NOTHING;
        SELECT t.* INTO held FROM courier_internal.alert_state t
         WHERE t.alert_id = rule.alert_id AND t.sync_id = rule.covered_id FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;

        SELECT v.* INTO measured FROM courier_internal.alert_value(rule.kind, rule.covered_id, rule.covered_since) v;
        CONTINUE WHEN measured.value IS NULL;
        now_state := CASE
            WHEN courier_internal.over_threshold(rule.kind, rule.critical, measured.value, measured.total) THEN 'critical'
            WHEN courier_internal.over_threshold(rule.kind, rule.warning, measured.value, measured.total) THEN 'warning'
            ELSE 'ok' END;
        CONTINUE WHEN now_state = held.state;

        UPDATE courier_internal.alert_state t SET state = now_state, since = clock_timestamp(), message = measured.message
         WHERE t.alert_id = rule.alert_id AND t.sync_id = rule.covered_id;
        CONTINUE WHEN rule.muted_until > clock_timestamp();

        SELECT c.sync_id, c.name, NOT c.paused AND NOT c.restored AND courier_internal.may_operate(rule.owner_oid, c.effective_owner) AS usable INTO channel
          FROM courier_internal.sync_overview c WHERE c.sync_id = rule.channel_id;
        INSERT INTO courier_internal.alert_event (alert, kind, sync, state, former, message, remedy, channel, owner)
        VALUES (rule.name, rule.kind, rule.sync, CASE now_state WHEN 'ok' THEN 'recovered' ELSE now_state END, held.state, measured.message,
                CASE WHEN now_state <> 'ok' THEN format('SELECT * FROM courier.health WHERE sync = %L', rule.sync) END, channel.name, rule.owner)
        RETURNING event_id INTO new_event_id;
        PERFORM pg_notify('courier_alerts', json_build_object('event_id', new_event_id, 'state', CASE now_state WHEN 'ok' THEN 'recovered' ELSE now_state END)::text);
        IF channel.usable THEN
            PERFORM courier_internal.queue_run(channel.sync_id, 'none', 'alert ' || rule.name);
        END IF;
        told := told + 1;
    END LOOP;
    RETURN told;
END
$$;
COMMENT ON FUNCTION courier_internal.evaluate_alerts(integer) IS 'Looks at the rules that cover a sync (NULL: all syncs), notes changes of state as events and triggers their channels. Returns how many there were. Waits for nobody';

CREATE FUNCTION courier_internal.alerts_after_run(sync_id integer) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF EXISTS (SELECT FROM courier_internal.alert) THEN
        PERFORM courier_internal.evaluate_alerts(sync_id);
    END IF;
EXCEPTION WHEN others THEN
    -- A run ends whatever becomes of its alerts; the scheduler looks again within a minute.
    RAISE LOG 'pg_courier could not look at the alerts of sync %: %', sync_id, SQLERRM;
END
$$;
COMMENT ON FUNCTION courier_internal.alerts_after_run(integer) IS 'evaluate_alerts for the end of a run, which it never makes fail';

CREATE FUNCTION courier_internal.forget_alert_events(older_than interval) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    forgotten bigint;
BEGIN
    -- An event that leaves a model of notifications would be told of as removed.
    DELETE FROM courier_internal.alert_event e
     WHERE e.occurred_at < clock_timestamp() - older_than
       AND NOT EXISTS (SELECT FROM courier_internal.sync s WHERE s.name = e.channel AND s.sync_type = 'notifications');
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$;
COMMENT ON FUNCTION courier_internal.forget_alert_events(interval) IS 'Retention of alert events, except those that a sync of notifications delivers';

-- The API

CREATE FUNCTION courier_internal.find_alert(caller oid, name text) RETURNS courier_internal.alert
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found_alert courier_internal.alert;
BEGIN
    PERFORM courier_internal.require_value('name', name);
    SELECT a.* INTO found_alert FROM courier_internal.alert a WHERE a.name = find_alert.name;
    IF NOT FOUND THEN
        PERFORM courier_internal.raise_unknown('alert', name, ARRAY(
            SELECT a.name FROM courier_internal.alert a WHERE courier_internal.may_see(caller, a.owner) ORDER BY a.name));
    END IF;
    PERFORM courier_internal.require_configure(caller, found_alert.owner, 'alert', name);
    RETURN found_alert;
END
$$;
COMMENT ON FUNCTION courier_internal.find_alert(oid, text) IS 'The alert of this name, if the caller may change it; 22004, 42704 or 42501 otherwise';

CREATE FUNCTION courier_internal.create_alert(caller oid, caller_path text, name text, kind text, warning text, critical text, sync text, destination text, channel text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    covered courier_internal.sync;
    covered_destination courier_internal.destination;
    wanted_channel courier_internal.sync;
BEGIN
    PERFORM courier_internal.check_name('alert', name), courier_internal.require_value('kind', kind);
    IF kind = 'run_failed' AND warning IS NULL AND critical IS NULL THEN
        critical := '1';
    END IF;
    PERFORM courier_internal.check_thresholds(kind, warning, critical);
    IF sync IS NOT NULL AND destination IS NOT NULL THEN
        RAISE EXCEPTION 'an alert is for a sync or for a destination, not for both' USING ERRCODE = '22023';
    END IF;
    IF sync IS NOT NULL THEN
        covered := courier_internal.find_sync(caller, sync);
        IF NOT courier_internal.may_see(caller, covered.owner) THEN
            RAISE EXCEPTION 'permission denied for sync "%"', sync USING ERRCODE = '42501', DETAIL = format('It belongs to role "%s".', covered.owner),
                HINT = format('Members of role "%s" and of courier_viewer may be told of it.', covered.owner);
        END IF;
    ELSIF destination IS NOT NULL THEN
        covered_destination := courier_internal.find_destination(caller, destination);
    END IF;
    IF channel IS NOT NULL THEN
        wanted_channel := courier_internal.operable_sync(caller, channel);
    END IF;
    INSERT INTO courier_internal.alert (name, kind, sync_id, destination_id, warning, critical, channel_id, owner)
    VALUES (name, kind, covered.sync_id, covered_destination.destination_id, warning, critical, wanted_channel.sync_id, pg_get_userbyid(caller)::text)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'alert "%" already exists', name USING ERRCODE = '42710';
    END IF;
    PERFORM courier_internal.announce();
END
$$;
COMMENT ON FUNCTION courier_internal.create_alert(oid, text, text, text, text, text, text, text, text) IS 'Behind courier.create_alert';

CREATE FUNCTION courier_internal.alter_alert(caller oid, caller_path text, name text, warning text, critical text, channel text, muted_until timestamptz, reset text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target courier_internal.alert := courier_internal.find_alert(caller, alter_alert.name);
    given text[] := array_remove(ARRAY[CASE WHEN warning IS NOT NULL THEN 'warning' END, CASE WHEN critical IS NOT NULL THEN 'critical' END,
                                       CASE WHEN channel IS NOT NULL THEN 'channel' END, CASE WHEN muted_until IS NOT NULL THEN 'muted_until' END], NULL);
    cleared text[] := courier_internal.check_reset(reset, ARRAY['warning', 'critical', 'channel', 'muted_until'], given);
BEGIN
    target.warning := CASE WHEN NOT 'warning' = ANY (cleared) THEN COALESCE(alter_alert.warning, target.warning) END;
    target.critical := CASE WHEN NOT 'critical' = ANY (cleared) THEN COALESCE(alter_alert.critical, target.critical) END;
    target.muted_until := CASE WHEN 'muted_until' = ANY (cleared) THEN '-infinity' ELSE COALESCE(alter_alert.muted_until, target.muted_until) END;
    IF channel IS NOT NULL THEN
        target.channel_id := (courier_internal.operable_sync(caller, channel)).sync_id;
    ELSIF 'channel' = ANY (cleared) THEN
        target.channel_id := NULL;
    END IF;
    PERFORM courier_internal.check_thresholds(target.kind, target.warning, target.critical);
    UPDATE courier_internal.alert a
       SET warning = target.warning, critical = target.critical, channel_id = target.channel_id, muted_until = target.muted_until
     WHERE a.alert_id = target.alert_id;
END
$$;
COMMENT ON FUNCTION courier_internal.alter_alert(oid, text, text, text, text, text, timestamptz, text[]) IS 'Behind courier.alter_alert';

CREATE FUNCTION courier_internal.drop_alert(caller oid, caller_path text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    DELETE FROM courier_internal.alert a WHERE a.alert_id = (courier_internal.find_alert(caller, drop_alert.name)).alert_id;
END
$$;
COMMENT ON FUNCTION courier_internal.drop_alert(oid, text, text) IS 'Behind courier.drop_alert';

CREATE FUNCTION courier.create_alert(name text, kind text, warning text DEFAULT NULL, critical text DEFAULT NULL, sync text DEFAULT NULL, destination text DEFAULT NULL,
        channel text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_alert(text, text, text, text, text, text, text) IS
'Makes a rule that tells of changes: when a sync becomes warning or critical, and when it has recovered; never twice of the same state.

name         unique in the database
kind         run_failed: that many runs in a row failed or were blocked (default: critical 1)
             rejected: records that are not accepted at present; a number, or a share of all ("5%")
             duration: the last run took longer, or the present one does already ("30 minutes")
             no_success: no run went through for that long ("1 day")
             volume: the last run had that many times more or fewer changes than the median of the 20 before (3). Not before there are 5, and not below 100 changes of difference
warning, critical  thresholds; at least one
sync, destination  what it covers: one sync, or every sync to a destination; NULL: every sync that you may see
channel      a sync that delivers the events, made from a model over courier.alert_events; it is triggered at each event. NULL: only LISTEN courier_alerts, courier.alerts and courier.alert_events

Rules are looked at when a run ends and once a minute (which needs shared_preload_libraries). Paused syncs keep their state.
Errors: 42704 no such sync, destination or channel; 42501 not permitted; 22023 kind or threshold not allowed; 42710 the name is taken; 22004, 42602 or 42622 bad name.

Example: SELECT courier.create_alert(''refused'', ''rejected'', warning => ''1'', critical => ''5%'', sync => ''contacts'', channel => ''alerts_to_chat'')';

CREATE FUNCTION courier.alter_alert(name text, warning text DEFAULT NULL, critical text DEFAULT NULL, channel text DEFAULT NULL, muted_until timestamptz DEFAULT NULL,
        reset text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.alter_alert(text, text, text, text, timestamptz, text[]) IS
'Changes an alert. NULL leaves a setting.

name         the alert
warning, critical, channel  as in courier.create_alert
muted_until  until then changes of state make no events; infinity: for ever
reset        settings to take away: warning, critical, channel, muted_until

Errors: 42704 no such alert or channel; 42501 not permitted; 22023 threshold not allowed.

Example: SELECT courier.alter_alert(''refused'', muted_until => now() + ''1 day''::interval)';

CREATE FUNCTION courier.drop_alert(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.drop_alert(text) IS
'Drops an alert. Its events stay in courier.alert_events.

name  the alert

Errors: 42704 no such alert; 42501 not permitted; 22004 name is NULL.

Example: SELECT courier.drop_alert(''refused'')';

CREATE VIEW courier.alerts WITH (security_barrier) AS
    SELECT a.name, a.kind, COALESCE(s.name, o.name) AS sync, d.name AS destination, COALESCE(t.state, 'ok') AS state, t.since::timestamptz(0) AS since, t.message,
           a.warning, a.critical, c.name AS channel, NULLIF(a.muted_until, '-infinity') AS muted_until, a.owner, a.created_at
      FROM courier_internal.alert a
      LEFT JOIN courier_internal.alert_state t ON t.alert_id = a.alert_id
      LEFT JOIN courier_internal.sync o ON o.sync_id = t.sync_id
      LEFT JOIN courier_internal.sync s ON s.sync_id = a.sync_id
      LEFT JOIN courier_internal.destination d ON d.destination_id = a.destination_id
      LEFT JOIN courier_internal.sync c ON c.sync_id = a.channel_id
     WHERE courier_internal.visible(a.owner)
     ORDER BY a.name, o.name;
COMMENT ON VIEW courier.alerts IS 'Your alerts, a row per sync that they have looked at';
COMMENT ON COLUMN courier.alerts.state IS 'ok, warning or critical';
COMMENT ON COLUMN courier.alerts.since IS 'Since when it is in this state; NULL: not looked at yet';
COMMENT ON COLUMN courier.alerts.message IS 'What was measured when the state changed';
COMMENT ON COLUMN courier.alerts.channel IS 'The sync that delivers its events';

CREATE VIEW courier.alert_events WITH (security_barrier) AS
    SELECT e.event_id, e.alert, e.kind, e.sync, e.state, e.former, e.message, e.remedy,
           pg_catalog.format('%s: sync %s: %s', e.state, e.sync, e.message) AS text, e.channel, e.occurred_at
      FROM courier_internal.alert_event e
     WHERE courier_internal.visible(e.owner);
COMMENT ON VIEW courier.alert_events IS 'Changes of state of your alerts. A model over it makes a channel: query => SELECT event_id, text FROM courier.alert_events WHERE channel = ..., primary_key => {event_id}';
COMMENT ON COLUMN courier.alert_events.state IS 'warning, critical or recovered';
COMMENT ON COLUMN courier.alert_events.former IS 'The state before: ok, warning or critical';
COMMENT ON COLUMN courier.alert_events.text IS 'All of it in one line, for a chat';
COMMENT ON COLUMN courier.alert_events.remedy IS 'Where to look; NULL: recovered';
COMMENT ON COLUMN courier.alert_events.channel IS 'The sync that was told to deliver it';
-- One row per sync: what is wrong, since when, and what to do.

CREATE VIEW courier_internal.health_of_all AS
    SELECT h.name AS sync, h.grade AS health, h.since::timestamptz(0) AS since, h.problem, h.remedy, h.last_success::timestamptz(0) AS last_success, h.rejected,
           CASE WHEN NOT h.paused AND NOT h.restored AND h.blocked_run_id IS NULL THEN GREATEST(h.next_run_at, h.not_before)::timestamptz(0) END AS next_run, h.effective_owner
      FROM (SELECT g.*, c.grade, c.problem, c.remedy,
                   CASE WHEN c.grade = g.alert_state AND c.problem = g.alert_message THEN g.alert_since
                        WHEN c.grade IN ('ok', 'warning', 'critical') AND g.last_status IS NOT NULL THEN
                            (SELECT r.finished_at FROM courier_internal.run r
                              WHERE r.sync_id = g.sync_id AND r.test IS NULL AND r.finished_at IS NOT NULL AND r.status <> 'cancelled' AND r.started_at IS NOT NULL
                                AND r.run_id > COALESCE((SELECT b.run_id FROM courier_internal.run b
                                                          WHERE b.sync_id = g.sync_id AND b.test IS NULL AND b.finished_at IS NOT NULL AND b.status <> 'cancelled'
                                                            AND CASE b.status WHEN 'failed' THEN 3 WHEN 'blocked' THEN 3 WHEN 'success' THEN 1 ELSE 2 END
                                                             <> CASE g.last_status WHEN 'failed' THEN 3 WHEN 'blocked' THEN 3 WHEN 'success' THEN 1 ELSE 2 END
                                                          ORDER BY b.run_id DESC LIMIT 1), 0)
                              ORDER BY r.run_id LIMIT 1) END AS since
              FROM (SELECT o.*, p.state AS alert_state, p.since AS alert_since, p.message AS alert_message,
                           (SELECT pg_catalog.count(*) FROM courier_internal.rejected r WHERE r.sync_id = o.sync_id AND r.outcome IN ('rejected', 'unknown')) AS rejected,
                           -- By the index backwards: the last good run is among the first.
                           (SELECT r.finished_at FROM courier_internal.run r WHERE r.sync_id = o.sync_id AND r.test IS NULL AND r.status IN ('success', 'warning')
                             ORDER BY r.run_id DESC LIMIT 1) AS last_success,
                           COALESCE(NULLIF(pg_catalog.current_setting('pg_courier.enabled', true), '')::boolean, true) AS enabled
                      FROM courier_internal.sync_overview o
                      LEFT JOIN LATERAL (SELECT t.state, t.since, t.message FROM courier_internal.alert_state t
                                           JOIN courier_internal.alert a ON a.alert_id = t.alert_id
                                          WHERE t.sync_id = o.sync_id AND t.state <> 'ok'
                                            -- Only of those who have a say in the sync: who may merely look at it cannot make it look sick.
                                            AND (COALESCE(pg_catalog.pg_has_role(pg_catalog.to_regrole(pg_catalog.quote_ident(a.owner)),
                                                                                 pg_catalog.to_regrole(pg_catalog.quote_ident(o.effective_owner)), 'MEMBER'), false)
                                                 OR COALESCE(pg_catalog.pg_has_role(pg_catalog.to_regrole(pg_catalog.quote_ident(a.owner)),
                                                                                    pg_catalog.to_regrole('courier_operator'), 'MEMBER'), false))
                                          ORDER BY t.state = 'warning', t.since LIMIT 1) p ON true) g
             -- The first that applies, worst first.
             CROSS JOIN LATERAL (SELECT v.* FROM (VALUES
                 (g.restored, 'restored copy', 'This database is a copy (restore or template); nothing is sent from here.', 'If it is to send from now on: SELECT courier.resume_all()'),
                 (g.paused, 'paused', 'It is paused: no run starts.', pg_catalog.format('SELECT courier.resume_sync(%L)', g.name)),
                 (NOT g.enabled, 'disabled', 'pg_courier.enabled is off: nothing is sent.', 'ALTER SYSTEM SET pg_courier.enabled = on, or where else it was set'),
                 (g.blocked_run_id IS NOT NULL OR g.last_status = 'blocked', 'critical', COALESCE(g.last_error, 'The last run would have changed or removed more than it may.'),
                  pg_catalog.format('SELECT * FROM courier.plan_sync(%L); if that is right: SELECT courier.approve_run(%s)', g.name, COALESCE(g.blocked_run_id, g.last_run_id))),
                 (NOT g.relation_exists, 'critical', pg_catalog.format('Relation %s does not exist.', g.relation), pg_catalog.format('SELECT courier.alter_model(%L, ...)', g.model)),
                 (g.last_status = 'failed', 'critical', COALESCE(g.last_error, g.last_error_code, 'The last run failed.'),
                  COALESCE(g.last_hint, pg_catalog.format('SELECT * FROM courier.run_details WHERE run_id = %s', g.last_run_id))),
                 (g.alert_state = 'critical', 'critical', g.alert_message, pg_catalog.format('SELECT * FROM courier.alerts WHERE sync = %L', g.name)),
                 (g.waiting_for IS NOT NULL, 'warning', 'A run has not started: it waits for ' || g.waiting_for || '.', 'See courier.progress, and pg_courier.max_running_syncs and max_worker_processes'),
                 (g.last_status = 'interrupted', 'warning', pg_catalog.format('Run %s was interrupted by a crash or restart.', g.last_run_id), 'The next run carries on by itself.'),
                 (g.rejected > 0, 'warning', pg_catalog.format('%s record%s not accepted.', g.rejected, CASE WHEN g.rejected = 1 THEN ' is' ELSE 's are' END),
                  pg_catalog.format('SELECT key, message FROM courier.rejected_records WHERE sync = %L', g.name)),
                 (g.last_invalid > 0, 'warning', pg_catalog.format('%s rows could not be used.', g.last_invalid), pg_catalog.format('SELECT * FROM courier.invalid_rows WHERE sync = %L', g.name)),
                 (g.last_held_removals > 0, 'warning', pg_catalog.format('%s removals are held back: the model has NULL keys.', g.last_held_removals),
                  pg_catalog.format('SELECT * FROM courier.invalid_rows WHERE sync = %L', g.name)),
                 (g.alert_state = 'warning', 'warning', g.alert_message, pg_catalog.format('SELECT * FROM courier.alerts WHERE sync = %L', g.name)),
                 (g.last_status IS NULL AND g.active_run_id IS NULL, 'never run', NULL,
                  CASE WHEN g.schedule = 'manual' THEN pg_catalog.format('CALL courier.run_sync(%L)', g.name) END),
                 (true, 'ok', NULL, NULL)) v (applies, grade, problem, remedy)
                 WHERE v.applies LIMIT 1) c) h;
COMMENT ON VIEW courier_internal.health_of_all IS 'Health of the syncs of everybody; courier.health filters it';

CREATE VIEW courier.health WITH (security_barrier) AS
    SELECT h.sync, h.health, h.since, h.problem, h.remedy, h.last_success, h.rejected, h.next_run
      FROM courier_internal.health_of_all h
     WHERE courier_internal.visible(h.effective_owner)
     ORDER BY pg_catalog.array_position(ARRAY['critical', 'warning', 'disabled', 'restored copy', 'paused', 'never run', 'ok'], h.health), h.sync;
COMMENT ON VIEW courier.health IS 'One row per sync, the worst first: what is wrong, since when, and what to do';
COMMENT ON COLUMN courier.health.health IS 'ok, warning, critical, never run, paused, disabled (pg_courier.enabled is off) or restored copy. Alerts count';
COMMENT ON COLUMN courier.health.since IS 'End of the first run that ended like this, or when the alert changed; NULL: not known';
COMMENT ON COLUMN courier.health.problem IS 'What is wrong; NULL: nothing';
COMMENT ON COLUMN courier.health.remedy IS 'What to do, as SQL where that is possible';
COMMENT ON COLUMN courier.health.last_success IS 'When a run last went through (success or warning)';
COMMENT ON COLUMN courier.health.rejected IS 'Records that are not accepted at present';
COMMENT ON COLUMN courier.health.next_run IS 'NULL: not by itself';
-- Configuration as code. One description of an object serves export and apply: config_objects says what is there, the document says what
-- should be, and the difference is the plan. The plan is carried out by the functions that everybody calls (create_..., alter_..., drop_...),
-- as the caller, so rights and checks are theirs and objects keep their snapshots.
--
-- A dry run carries the plan out as well, except for drops, in a subtransaction that is rolled back: what it says is what would happen.
--
-- jsonb forgets the order of keys, and the order of a mapping's fields is kept: in a document a mapping is a list of fields.

CREATE FUNCTION courier_internal.mapping_list(mapping json) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT jsonb_agg(jsonb_build_object(e.key, e.value::jsonb) ORDER BY e.n) FROM json_each(mapping) WITH ORDINALITY e (key, value, n) $$;
COMMENT ON FUNCTION courier_internal.mapping_list(json) IS 'A mapping as a list of objects of one field each; NULL for NULL';

CREATE FUNCTION courier_internal.mapping_object(list jsonb) RETURNS json
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF list IS NULL OR jsonb_typeof(list) IN ('null', 'object') THEN
        RETURN NULLIF(list, 'null')::json;
    ELSIF jsonb_typeof(list) <> 'array' OR jsonb_path_exists(list, 'strict $[*] ? (@.type() != "object")') THEN
        RAISE EXCEPTION 'a mapping in a configuration is an object, or a list of objects of one field each' USING ERRCODE = '22023',
            HINT = 'A list keeps the order of the fields: [{"id": "id"}, {"email": "lower(email)"}]';
    END IF;
    RETURN (SELECT '{' || string_agg(to_json(f.key)::text || ': ' || f.value::text, ', ' ORDER BY e.n) || '}'
              FROM jsonb_array_elements(list) WITH ORDINALITY e (entry, n), jsonb_each(e.entry) f);
END
$$;
COMMENT ON FUNCTION courier_internal.mapping_object(jsonb) IS 'A mapping of a document as courier.create_sync takes it';

-- Kinds in the order in which they are created; dropped in the other. What a document may leave out, and what it then means; a key whose
-- default is missing here leaves the setting as it is.
CREATE FUNCTION courier_internal.config_kinds() RETURNS TABLE (rank integer, kind text, section text, keys text[], required text[], defaults jsonb)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    VALUES (1, 'source', 'sources', ARRAY['foreign_server', 'description', 'owner'], ARRAY[]::text[], '{"foreign_server": null, "description": null}'::jsonb),
           (2, 'destination_type', 'destination_types', ARRAY['definition', 'owner'], ARRAY['definition'], '{}'),
           (3, 'model', 'models', ARRAY['query', 'relation', 'primary_key', 'source', 'description', 'owner'], '{}', '{"query": null, "relation": null, "source": "local", "description": null}'),
           (4, 'destination', 'destinations', ARRAY['type', 'config', 'secrets', 'shared_with', 'description', 'owner'], ARRAY['type'],
            '{"config": {}, "secrets": {}, "shared_with": [], "description": null}'),
           (5, 'sync', 'syncs', ARRAY['model', 'destination', 'mode', 'sync_type', 'object', 'mapping', 'match_on', 'on_removed', 'first_run', 'schedule', 'config', 'options', 'paused', 'owner'],
            ARRAY['model', 'destination'], '{"object": null, "mapping": null, "match_on": null, "schedule": "manual", "config": {}, "options": {}, "paused": false}'),
           (6, 'alert', 'alerts', ARRAY['kind', 'warning', 'critical', 'sync', 'destination', 'channel', 'owner'], ARRAY['kind'],
            '{"warning": null, "critical": null, "sync": null, "destination": null, "channel": null}')
$$;
COMMENT ON FUNCTION courier_internal.config_kinds() IS 'The kinds of objects of a configuration, their sections and settings';

CREATE FUNCTION courier_internal.config_objects(caller oid) RETURNS TABLE (kind text, name text, owner text, settings jsonb)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'source', s.name, s.owner, jsonb_build_object('foreign_server', s.foreign_server, 'description', s.description)
      FROM courier_internal.source s WHERE s.name <> 'local' AND courier_internal.may_see(caller, s.owner)
    UNION ALL
    SELECT 'destination_type', t.name, t.owner, jsonb_build_object('definition', t.definition)
      FROM courier_internal.destination_type t WHERE courier_internal.may_see(caller, t.owner)
    UNION ALL
    SELECT 'model', m.name, o.owner, jsonb_build_object('query', m.query, 'primary_key', m.primary_key, 'source', m.source, 'description', m.description,
               'relation', CASE WHEN m.query IS NULL THEN format('%I.%I', m.relation_schema, m.relation_name) END)
      FROM courier_internal.model m, courier_internal.model_owner(m) o (owner) WHERE courier_internal.may_see(caller, o.owner)
    UNION ALL
    SELECT 'destination', d.name, d.owner, jsonb_build_object('type', d.type, 'config', d.config, 'secrets', d.secrets, 'description', d.description,
               'shared_with', to_jsonb(ARRAY(SELECT h.role FROM courier_internal.destination_share h WHERE h.destination_id = d.destination_id ORDER BY h.role)))
      FROM courier_internal.destination d WHERE courier_internal.may_see(caller, d.owner)
    UNION ALL
    SELECT 'sync', s.name, s.effective_owner, jsonb_build_object('model', s.model, 'destination', s.destination, 'mode', s.mode, 'sync_type', s.sync_type, 'object', s.object,
               'mapping', courier_internal.mapping_list(s.mapping), 'match_on', s.match_on, 'on_removed', s.on_removed, 'first_run', s.first_run,
               'schedule', s.schedule, 'config', s.config, 'options', s.options, 'paused', s.paused)
      FROM courier_internal.sync_overview s WHERE courier_internal.may_see(caller, s.effective_owner)
    UNION ALL
    SELECT 'alert', a.name, a.owner, jsonb_build_object('kind', a.kind, 'warning', a.warning, 'critical', a.critical, 'sync', s.name, 'destination', d.name, 'channel', c.name)
      FROM courier_internal.alert a
      LEFT JOIN courier_internal.sync s ON s.sync_id = a.sync_id
      LEFT JOIN courier_internal.destination d ON d.destination_id = a.destination_id
      LEFT JOIN courier_internal.sync c ON c.sync_id = a.channel_id
     WHERE courier_internal.may_see(caller, a.owner)
$$;
COMMENT ON FUNCTION courier_internal.config_objects(oid) IS 'The objects that the caller may see, with all their settings as a document writes them. Secrets are references';

CREATE FUNCTION courier_internal.export_config(caller oid, caller_path text) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    -- Settings at their defaults are left out; so is the owner where it is the caller.
    SELECT jsonb_build_object('format', 1) || COALESCE(jsonb_object_agg(x.section, x.objects), '{}')
      FROM (SELECT k.section, jsonb_object_agg(o.name, (
                       SELECT COALESCE(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(o.settings) e
                        WHERE NOT (k.defaults ? e.key AND k.defaults->e.key = e.value))
                   || CASE WHEN o.owner = pg_get_userbyid(caller) THEN '{}' ELSE jsonb_build_object('owner', o.owner) END) AS objects
              FROM courier_internal.config_objects(caller) o
              JOIN courier_internal.config_kinds() k ON k.kind = o.kind
             GROUP BY k.section) x
$$;
COMMENT ON FUNCTION courier_internal.export_config(oid, text) IS 'Behind courier.export_config';

CREATE FUNCTION courier_internal.without(settings jsonb, former jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT settings || COALESCE((SELECT jsonb_object_agg(k, NULL) FROM jsonb_object_keys(former) k WHERE NOT settings ? k), '{}') $$;
COMMENT ON FUNCTION courier_internal.without(jsonb, jsonb) IS 'What alter_... has to merge, so that these are the settings and nothing of the former ones stays';

CREATE FUNCTION courier_internal.text_list(list jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN jsonb_typeof(list) = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(list)) END $$;
COMMENT ON FUNCTION courier_internal.text_list(jsonb) IS 'A JSON list of texts; NULL for null';

CREATE FUNCTION courier_internal.config_difference(kind text, present jsonb, wanted jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE(array_agg(e.key ORDER BY e.key), '{}')
      FROM jsonb_each(wanted) e
     WHERE CASE WHEN kind = 'sync' AND e.key = 'mapping' AND jsonb_typeof(e.value) = 'object'
                -- Given as an object, a mapping says nothing of the order.
                THEN courier_internal.mapping_object(NULLIF(present->'mapping', 'null'))::jsonb IS DISTINCT FROM e.value
                ELSE present->e.key IS DISTINCT FROM e.value END
$$;
COMMENT ON FUNCTION courier_internal.config_difference(text, jsonb, jsonb) IS 'Names of the settings that are not as wanted';

-- One object, made or changed by the functions that everybody calls.
CREATE FUNCTION courier_internal.apply_object(caller oid, caller_path text, object_kind text, object_name text, present jsonb, w jsonb, changed text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    new_owner regrole := CASE WHEN w->>'owner' IS NOT NULL AND 'owner' = ANY (changed) THEN quote_ident(w->>'owner')::regrole END;
    stored jsonb := (SELECT COALESCE(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(w->'secrets') e WHERE e.value <> '{"stored": true}');
    role text;
    -- A setting that goes back to nothing is reset.
    reset text[] := ARRAY(SELECT c FROM unnest(changed) c WHERE w->c = 'null' AND c <> 'owner');
BEGIN
    CASE object_kind
    WHEN 'source', 'destination_type' THEN
        -- These have no alter: made anew, which is refused while something depends on them.
        IF object_kind = 'source' THEN
            IF present IS NOT NULL THEN
                PERFORM courier_internal.drop_source(caller, caller_path, object_name);
            END IF;
            PERFORM courier_internal.create_source(caller, caller_path, object_name, (w->>'foreign_server')::name, w->>'description');
        ELSE
            IF present IS NOT NULL THEN
                PERFORM courier_internal.drop_destination_type(caller, caller_path, object_name);
            END IF;
            PERFORM courier_internal.create_destination_type(caller, caller_path, object_name, w->'definition');
        END IF;
    WHEN 'model' THEN
        IF present IS NULL THEN
            PERFORM courier_internal.create_model(caller, caller_path, object_name, w->>'query', courier_internal.text_list(w->'primary_key'), (w->>'relation')::regclass,
                                                  w->>'source', w->>'description');
            changed := ARRAY['owner'];
            reset := '{}';
        END IF;
        IF changed && ARRAY['query', 'primary_key', 'relation', 'source', 'description'] OR new_owner IS NOT NULL THEN
            PERFORM courier_internal.alter_model(caller, caller_path, object_name,
                CASE WHEN 'query' = ANY (changed) THEN w->>'query' END,
                CASE WHEN 'primary_key' = ANY (changed) THEN courier_internal.text_list(w->'primary_key') END,
                CASE WHEN 'relation' = ANY (changed) THEN (w->>'relation')::regclass END,
                CASE WHEN 'source' = ANY (changed) THEN w->>'source' END, CASE WHEN 'description' = ANY (changed) THEN w->>'description' END,
                new_owner, ARRAY(SELECT r FROM unnest(reset) r WHERE r NOT IN ('query', 'relation')));
        END IF;
    WHEN 'destination' THEN
        IF present IS NULL THEN
            PERFORM courier_internal.create_destination(caller, caller_path, object_name, w->>'type', w->'config', stored, w->>'description');
            present := '{"shared_with": []}';
            changed := ARRAY['owner', 'shared_with'];
            reset := '{}';
        END IF;
        IF changed && ARRAY['type', 'config', 'secrets', 'description'] OR new_owner IS NOT NULL THEN
            PERFORM courier_internal.alter_destination(caller, caller_path, object_name,
                CASE WHEN 'type' = ANY (changed) THEN w->>'type' END,
                CASE WHEN 'config' = ANY (changed) THEN courier_internal.without(w->'config', present->'config') END,
                CASE WHEN 'secrets' = ANY (changed) THEN courier_internal.without(stored, (present->'secrets') - ARRAY(SELECT jsonb_object_keys(w->'secrets'))) END,
                CASE WHEN 'description' = ANY (changed) THEN w->>'description' END, new_owner, reset);
        END IF;
        IF 'shared_with' = ANY (changed) THEN
            FOR role IN SELECT r FROM jsonb_array_elements_text(w->'shared_with') r WHERE NOT present->'shared_with' ? r ORDER BY r LOOP
                PERFORM courier_internal.share_destination(caller, caller_path, object_name, quote_ident(role)::regrole);
            END LOOP;
            FOR role IN SELECT r FROM jsonb_array_elements_text(present->'shared_with') r WHERE NOT w->'shared_with' ? r ORDER BY r LOOP
                PERFORM courier_internal.unshare_destination(caller, caller_path, object_name, quote_ident(role)::regrole);
            END LOOP;
        END IF;
    WHEN 'sync' THEN
        IF present IS NULL THEN
            -- "after" another sync is set when all are there.
            PERFORM courier_internal.create_sync(caller, caller_path, object_name, w->>'model', w->>'destination', w->>'mode', w->>'sync_type', w->>'object',
                courier_internal.mapping_object(w->'mapping'), courier_internal.text_list(w->'match_on'), w->>'on_removed', w->>'first_run',
                CASE WHEN w->>'schedule' ~* '^\s*after\s' THEN 'manual' ELSE w->>'schedule' END, w->'config', w->'options');
            changed := array_remove(ARRAY['owner', CASE WHEN w->'paused' = 'true' THEN 'paused' END], NULL);
            reset := '{}';
        END IF;
        reset := array_remove(reset, 'paused');
        IF changed && ARRAY['model', 'destination', 'mode', 'sync_type', 'object', 'mapping', 'match_on', 'on_removed', 'first_run', 'config', 'options'] OR new_owner IS NOT NULL
           OR 'schedule' = ANY (changed) AND w->>'schedule' !~* '^\s*after\s' THEN
            PERFORM courier_internal.alter_sync(caller, caller_path, object_name,
                CASE WHEN 'model' = ANY (changed) THEN w->>'model' END, CASE WHEN 'destination' = ANY (changed) THEN w->>'destination' END,
                CASE WHEN 'mode' = ANY (changed) THEN w->>'mode' END, CASE WHEN 'sync_type' = ANY (changed) THEN w->>'sync_type' END,
                CASE WHEN 'object' = ANY (changed) THEN w->>'object' END,
                CASE WHEN 'mapping' = ANY (changed) THEN courier_internal.mapping_object(w->'mapping') END,
                CASE WHEN 'match_on' = ANY (changed) THEN courier_internal.text_list(w->'match_on') END,
                CASE WHEN 'on_removed' = ANY (changed) THEN w->>'on_removed' END, CASE WHEN 'first_run' = ANY (changed) THEN w->>'first_run' END,
                CASE WHEN 'schedule' = ANY (changed) AND w->>'schedule' !~* '^\s*after\s' THEN w->>'schedule' END,
                CASE WHEN 'config' = ANY (changed) THEN courier_internal.without(w->'config', present->'config') END,
                CASE WHEN 'options' = ANY (changed) THEN courier_internal.without(w->'options', present->'options') END,
                new_owner, reset);
        END IF;
        IF 'paused' = ANY (changed) AND w->'paused' = 'true' THEN
            PERFORM courier_internal.pause_sync(caller, caller_path, object_name);
        ELSIF 'paused' = ANY (changed) THEN
            PERFORM courier_internal.resume_sync(caller, caller_path, object_name);
        END IF;
    WHEN 'alert' THEN
        IF present IS NULL OR changed && ARRAY['kind', 'sync', 'destination'] THEN
            IF present IS NOT NULL THEN
                PERFORM courier_internal.drop_alert(caller, caller_path, object_name);
            END IF;
            PERFORM courier_internal.create_alert(caller, caller_path, object_name, w->>'kind', w->>'warning', w->>'critical', w->>'sync', w->>'destination', w->>'channel');
        ELSE
            PERFORM courier_internal.alter_alert(caller, caller_path, object_name, CASE WHEN 'warning' = ANY (changed) THEN w->>'warning' END,
                CASE WHEN 'critical' = ANY (changed) THEN w->>'critical' END, CASE WHEN 'channel' = ANY (changed) THEN w->>'channel' END, NULL, reset);
        END IF;
    END CASE;
END
$$;
COMMENT ON FUNCTION courier_internal.apply_object(oid, text, text, text, jsonb, jsonb, text[]) IS 'Makes (present is NULL) or changes one object so that it is as wanted';

CREATE FUNCTION courier_internal.apply_config(caller oid, caller_path text, config jsonb, dry_run boolean, prune boolean) RETURNS TABLE (action text, kind text, name text, detail text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    me text := pg_get_userbyid(caller);
    k record;
    o record;
    step record;
    wanted jsonb;
    present jsonb;
    changed text[];
    wrong text;
    plan jsonb := '[]';
    entry jsonb;
BEGIN
    PERFORM courier_internal.require_value('config', apply_config.config), courier_internal.require_object('config', apply_config.config);
    IF COALESCE(config->'format', '1') <> '1' THEN
        RAISE EXCEPTION 'format % of the configuration is not known', config->'format' USING ERRCODE = '22023', DETAIL = 'This version reads format 1.';
    ELSIF jsonb_typeof(COALESCE(config->'prune', 'false')) <> 'boolean' THEN
        RAISE EXCEPTION '"prune" must be true or false' USING ERRCODE = '22023';
    END IF;
    prune := COALESCE(apply_config.prune, (config->'prune')::boolean, false);
    SELECT string_agg(format('"%s"', s), ', ') INTO wrong FROM jsonb_object_keys(config) s
     WHERE s NOT IN ('format', 'prune') AND NOT EXISTS (SELECT FROM courier_internal.config_kinds() c WHERE c.section = s);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'a configuration has no %', wrong USING ERRCODE = '22023',
            DETAIL = format('Allowed: format, prune, %s.', (SELECT string_agg(c.section, ', ' ORDER BY c.rank) FROM courier_internal.config_kinds() c));
    END IF;

    -- The plan: what the document wants, against what is there.
    FOR k IN SELECT c.* FROM courier_internal.config_kinds() c WHERE config ? c.section ORDER BY c.rank LOOP
        PERFORM courier_internal.require_object(k.section, config->k.section);
        FOR o IN SELECT e.key AS name, e.value AS settings FROM jsonb_each(config->k.section) e ORDER BY e.key LOOP
            IF jsonb_typeof(o.settings) <> 'object' THEN
                RAISE EXCEPTION '% "%" in the configuration must be a JSON object', k.kind, o.name USING ERRCODE = '22023';
            END IF;
            SELECT string_agg(format('"%s"', s), ', ') INTO wrong FROM jsonb_object_keys(o.settings) s WHERE NOT s = ANY (k.keys);
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION '% "%" in the configuration: there is no setting %', k.kind, o.name, wrong USING ERRCODE = '22023',
                    DETAIL = format('Allowed: %s.', array_to_string(k.keys, ', '));
            END IF;
            SELECT string_agg(format('"%s"', s), ', ') INTO wrong FROM unnest(k.required) s WHERE COALESCE(o.settings->s, 'null') = 'null';
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION '% "%" in the configuration needs %', k.kind, o.name, wrong USING ERRCODE = '22023';
            END IF;
            IF k.kind = 'destination' AND jsonb_path_exists(o.settings, 'strict $.secrets.* ? (@.type() != "object")', silent => true) THEN
                RAISE EXCEPTION 'destination "%" in the configuration: a secret must be a reference', o.name USING ERRCODE = '22023',
                    DETAIL = 'Allowed: {"file": "..."}, {"env": "..."}, or {"stored": true} for one that was given with courier.create_destination or courier.alter_destination.';
            END IF;
            SELECT c.settings || jsonb_build_object('owner', c.owner) INTO present FROM courier_internal.config_objects(caller) c WHERE c.kind = k.kind AND c.name = o.name;
            wanted := k.defaults || o.settings;
            IF NOT FOUND THEN
                present := NULL;
                IF COALESCE(wanted->>'owner', me) = me THEN
                    wanted := wanted - 'owner';
                END IF;
                plan := plan || jsonb_build_object('action', 'create', 'kind', k.kind, 'name', o.name, 'wanted', wanted, 'changed', CASE WHEN wanted ? 'owner' THEN '["owner"]' ELSE '[]' END::jsonb,
                    'detail', CASE k.kind WHEN 'sync' THEN format('%s -> %s', wanted->>'model', wanted->>'destination') WHEN 'destination' THEN wanted->>'type'
                                          WHEN 'model' THEN COALESCE(wanted->>'relation', left(wanted->>'query', 60)) WHEN 'alert' THEN wanted->>'kind' END);
            ELSE
                changed := courier_internal.config_difference(k.kind, present, wanted);
                IF changed <> '{}' THEN
                    plan := plan || jsonb_build_object('action', 'change', 'kind', k.kind, 'name', o.name, 'wanted', wanted, 'present', present, 'changed', to_jsonb(changed),
                        'detail', (SELECT string_agg(format('%s: %s -> %s', c, COALESCE(left(present->>c, 60), 'default'), COALESCE(left(wanted->>c, 60), 'default')), '; ' ORDER BY c) FROM unnest(changed) c));
                END IF;
            END IF;
        END LOOP;
    END LOOP;
    -- Pruned are only kinds that the document speaks of, and objects that the caller may drop.
    IF prune THEN
        FOR o IN SELECT c.kind, c.name FROM courier_internal.config_objects(caller) c JOIN courier_internal.config_kinds() d ON d.kind = c.kind
                  WHERE config ? d.section AND NOT config->d.section ? c.name AND courier_internal.may_configure(caller, c.owner)
                  ORDER BY d.rank DESC, c.name LOOP
            plan := plan || jsonb_build_object('action', 'drop', 'kind', o.kind, 'name', o.name);
        END LOOP;
    END IF;

    IF NOT dry_run THEN
        FOR entry IN SELECT jsonb_array_elements(plan) LOOP
            RAISE NOTICE '% % "%"%', entry->>'action', replace(entry->>'kind', '_', ' '), entry->>'name', COALESCE(': ' || (entry->>'detail'), '');
        END LOOP;
    END IF;

    BEGIN
        FOR step IN SELECT p.* FROM jsonb_to_recordset(plan) p (action text, kind text, name text, wanted jsonb, present jsonb, changed jsonb) LOOP
            CONTINUE WHEN step.action = 'drop' AND dry_run;
            IF step.action = 'drop' THEN
                CASE step.kind
                    WHEN 'source' THEN PERFORM courier_internal.drop_source(caller, caller_path, step.name);
                    WHEN 'destination_type' THEN PERFORM courier_internal.drop_destination_type(caller, caller_path, step.name);
                    WHEN 'model' THEN PERFORM courier_internal.drop_model(caller, caller_path, step.name);
                    WHEN 'destination' THEN PERFORM courier_internal.drop_destination(caller, caller_path, step.name);
                    WHEN 'sync' THEN PERFORM courier_internal.drop_sync(caller, caller_path, step.name);
                    -- Gone already where its sync went.
                    WHEN 'alert' THEN DELETE FROM courier_internal.alert a WHERE a.name = step.name;
                END CASE;
            ELSE
                PERFORM courier_internal.apply_object(caller, caller_path, step.kind, step.name, step.present, step.wanted, courier_internal.text_list(step.changed));
            END IF;
        END LOOP;
        FOR step IN SELECT p.* FROM jsonb_to_recordset(plan) p (action text, kind text, name text, wanted jsonb, changed jsonb)
                     WHERE p.kind = 'sync' AND p.wanted->>'schedule' ~* '^\s*after\s' AND (p.action = 'create' OR p.changed ? 'schedule') LOOP
            PERFORM courier_internal.alter_sync(caller, caller_path, step.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, step.wanted->>'schedule', NULL, NULL, NULL, '{}');
        END LOOP;
        IF dry_run THEN
            RAISE EXCEPTION 'a dry run' USING ERRCODE = 'DRYRU';
        END IF;
    EXCEPTION WHEN SQLSTATE 'DRYRU' THEN
        NULL; -- all of it is undone
    END;
    RETURN QUERY SELECT p.* FROM jsonb_to_recordset(plan) p (action text, kind text, name text, detail text);
END
$$;
COMMENT ON FUNCTION courier_internal.apply_config(oid, text, jsonb, boolean, boolean) IS 'Behind courier.apply_config';

CREATE FUNCTION courier.export_config() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.export_config() IS
'Every source, destination type, model, destination, sync and alert that you may see, as one document for courier.apply_config and for git. Settings at their defaults are left out. No secret is in it: only where it is ({"file": ...}, {"env": ...}), or {"stored": true}.

Example: psql -XAtc "SELECT jsonb_pretty(courier.export_config())" > courier.json';

CREATE FUNCTION courier.apply_config(config jsonb, dry_run boolean DEFAULT true, prune boolean DEFAULT NULL) RETURNS TABLE (action text, kind text, name text, detail text)
    LANGUAGE c VOLATILE ROWS 20 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.apply_config(jsonb, boolean, boolean) IS
'Makes objects as a document says, and returns what there was to do: create, change, drop. What is as it should be is left alone, so a second time there is nothing to do. Syncs keep their snapshots.

config   as from courier.export_config. What it leaves out of an object is the default (mode, sync_type, on_removed, first_run, primary_key and owner: as they are)
dry_run  true (default): everything is checked and tried, and undone; nothing is dropped. false: the plan is shown in NOTICEs, and carried out
prune    true: objects of yours that the document does not have are dropped, of the kinds that it speaks of; NULL: as "prune" in the document says (false)

All or nothing, with your rights: it calls courier.create_..., alter_... and drop_... as you. A secret {"stored": true} is left as it is, and is missing in a new destination.
Errors: 22023 the document is not right; and those of the functions that it calls.

Example: SELECT * FROM courier.apply_config(pg_read_file(''courier.json'')::jsonb)';
-- Numbers for a monitoring system. Runs are deleted by retention, so what only ever grows is counted when a run ends; the run under way is
-- added when somebody looks. Both happen to the same row in one transaction, so a counter never falls.

CREATE TABLE courier_internal.sync_counter (
    sync_id          integer PRIMARY KEY REFERENCES courier_internal.sync ON DELETE CASCADE,
    runs_success     bigint NOT NULL DEFAULT 0,
    runs_warning     bigint NOT NULL DEFAULT 0,
    runs_failed      bigint NOT NULL DEFAULT 0,
    runs_other       bigint NOT NULL DEFAULT 0,
    records_added    bigint NOT NULL DEFAULT 0,
    records_changed  bigint NOT NULL DEFAULT 0,
    records_removed  bigint NOT NULL DEFAULT 0,
    records_rejected bigint NOT NULL DEFAULT 0,
    records_unknown  bigint NOT NULL DEFAULT 0,
    requests         bigint NOT NULL DEFAULT 0,
    run_seconds      double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
COMMENT ON TABLE courier_internal.sync_counter IS 'Sums over all runs that ended, also those that retention has deleted. Not dumped';

CREATE FUNCTION courier_internal.count_run(ended courier_internal.run) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    INSERT INTO courier_internal.sync_counter AS c (sync_id, runs_success, runs_warning, runs_failed, runs_other, records_added, records_changed, records_removed,
                                                    records_rejected, records_unknown, requests, run_seconds)
    VALUES (ended.sync_id, (ended.status = 'success')::integer, (ended.status = 'warning')::integer, (ended.status = 'failed')::integer,
            (ended.status NOT IN ('success', 'warning', 'failed'))::integer, ended.succeeded_added, ended.succeeded_changed, ended.succeeded_removed,
            ended.rejected_added + ended.rejected_changed + ended.rejected_removed, ended.unknown, ended.requests,
            COALESCE(EXTRACT(epoch FROM ended.finished_at - ended.started_at), 0))
    ON CONFLICT (sync_id) DO UPDATE
       SET runs_success = c.runs_success + EXCLUDED.runs_success, runs_warning = c.runs_warning + EXCLUDED.runs_warning,
           runs_failed = c.runs_failed + EXCLUDED.runs_failed, runs_other = c.runs_other + EXCLUDED.runs_other,
           records_added = c.records_added + EXCLUDED.records_added, records_changed = c.records_changed + EXCLUDED.records_changed,
           records_removed = c.records_removed + EXCLUDED.records_removed, records_rejected = c.records_rejected + EXCLUDED.records_rejected,
           records_unknown = c.records_unknown + EXCLUDED.records_unknown, requests = c.requests + EXCLUDED.requests,
           run_seconds = c.run_seconds + EXCLUDED.run_seconds
$$;
COMMENT ON FUNCTION courier_internal.count_run(courier_internal.run) IS 'Adds a run that ended to the counters of its sync';

CREATE VIEW courier.metrics WITH (security_barrier) AS
    SELECT o.name AS sync, o.model, o.destination,
           CASE o.grade WHEN 'ok' THEN 0 WHEN 'warning' THEN 1 WHEN 'critical' THEN 2 ELSE 3 END AS health,
           (o.active_status IS NOT NULL AND o.active_status <> 'queued')::integer AS running, (o.active_status = 'queued' IS TRUE)::integer AS queued,
           (o.paused OR o.restored)::integer AS paused, (o.blocked_run_id IS NOT NULL)::integer AS blocked,
           o.snapshot_records, o.rejected AS rejected_records, o.last_invalid AS invalid_rows,
           EXTRACT(epoch FROM o.last_success)::double precision AS last_success_timestamp_seconds,
           EXTRACT(epoch FROM o.next_run)::double precision AS next_run_timestamp_seconds,
           EXTRACT(epoch FROM l.finished_at - l.started_at)::double precision AS last_run_duration_seconds,
           EXTRACT(epoch FROM l.sending_at - l.started_at)::double precision AS last_run_compare_seconds,
           l.rows_queried AS last_run_rows, l.planned_added + l.planned_changed + l.planned_removed AS last_run_changes,
           COALESCE(a.planned_added + a.planned_changed + a.planned_removed, 0) AS active_run_planned,
           COALESCE(a.succeeded_added + a.succeeded_changed + a.succeeded_removed + a.rejected_added + a.rejected_changed + a.rejected_removed + a.skipped + a.unknown, 0)
               AS active_run_done,
           COALESCE(c.runs_success, 0) AS runs_success_total, COALESCE(c.runs_warning, 0) AS runs_warning_total, COALESCE(c.runs_failed, 0) AS runs_failed_total,
           COALESCE(c.runs_other, 0) AS runs_other_total,
           COALESCE(c.records_added, 0) + COALESCE(a.succeeded_added, 0) AS records_added_total,
           COALESCE(c.records_changed, 0) + COALESCE(a.succeeded_changed, 0) AS records_changed_total,
           COALESCE(c.records_removed, 0) + COALESCE(a.succeeded_removed, 0) AS records_removed_total,
           COALESCE(c.records_rejected, 0) + COALESCE(a.rejected_added + a.rejected_changed + a.rejected_removed, 0) AS records_rejected_total,
           COALESCE(c.records_unknown, 0) + COALESCE(a.unknown, 0) AS records_unknown_total,
           COALESCE(c.requests, 0) + COALESCE(a.requests, 0) AS requests_total, COALESCE(c.run_seconds, 0) AS run_seconds_total
      FROM (SELECT v.*, h.health AS grade, h.rejected, h.last_success, h.next_run
              FROM courier.health h JOIN courier_internal.sync_overview v ON v.name = h.sync) o
      LEFT JOIN courier_internal.run l ON l.run_id = o.last_run_id
      LEFT JOIN courier_internal.run a ON a.run_id = o.active_run_id AND a.status IN ('querying', 'sending') AND a.test IS NULL
      LEFT JOIN courier_internal.sync_counter c ON c.sync_id = o.sync_id;
COMMENT ON VIEW courier.metrics IS 'A row of numbers per sync, for a monitoring system: monitoring/postgres_exporter.yml scrapes it. What ends in _total only grows';
COMMENT ON COLUMN courier.metrics.health IS '0 ok, 1 warning, 2 critical, 3 it does not run (paused, never run, disabled, restored copy)';
COMMENT ON COLUMN courier.metrics.running IS '1 while a run is active';
COMMENT ON COLUMN courier.metrics.queued IS '1 while a run waits to start';
COMMENT ON COLUMN courier.metrics.paused IS '1 where the sync is paused, or came with a restored copy';
COMMENT ON COLUMN courier.metrics.blocked IS '1 where max_removed or max_changes stopped it';
COMMENT ON COLUMN courier.metrics.snapshot_records IS 'Records that the destination has accepted';
COMMENT ON COLUMN courier.metrics.rejected_records IS 'Records that it does not accept at present';
COMMENT ON COLUMN courier.metrics.invalid_rows IS 'Rows of the model that the last run could not use';
COMMENT ON COLUMN courier.metrics.last_success_timestamp_seconds IS 'When a run last went through (success or warning)';
COMMENT ON COLUMN courier.metrics.next_run_timestamp_seconds IS 'When the schedule starts the next run';
COMMENT ON COLUMN courier.metrics.last_run_duration_seconds IS 'Duration of the last run';
COMMENT ON COLUMN courier.metrics.last_run_compare_seconds IS 'Of that, reading the model and comparing';
COMMENT ON COLUMN courier.metrics.last_run_rows IS 'Rows of the model in the last run';
COMMENT ON COLUMN courier.metrics.last_run_changes IS 'Records that the last run had to send';
COMMENT ON COLUMN courier.metrics.active_run_planned IS 'Records that the active run has to send';
COMMENT ON COLUMN courier.metrics.active_run_done IS 'Of these, settled';
COMMENT ON COLUMN courier.metrics.runs_success_total IS 'Runs that ended with success';
COMMENT ON COLUMN courier.metrics.runs_warning_total IS 'Runs that ended with warning';
COMMENT ON COLUMN courier.metrics.runs_failed_total IS 'Runs that failed';
COMMENT ON COLUMN courier.metrics.runs_other_total IS 'Runs that were cancelled, interrupted or blocked';
COMMENT ON COLUMN courier.metrics.records_added_total IS 'Records added in the destination';
COMMENT ON COLUMN courier.metrics.records_changed_total IS 'Records changed in the destination';
COMMENT ON COLUMN courier.metrics.records_removed_total IS 'Records removed from the destination';
COMMENT ON COLUMN courier.metrics.records_rejected_total IS 'Records that the destination refused, each time counted';
COMMENT ON COLUMN courier.metrics.records_unknown_total IS 'Records whose outcome no answer told';
COMMENT ON COLUMN courier.metrics.requests_total IS 'HTTP requests, retries included';
COMMENT ON COLUMN courier.metrics.run_seconds_total IS 'Time that runs took';
-- courier.report: one HTML page that needs nothing else. It has no script, and its Content-Security-Policy forbids any, so that a record
-- whose value looks like one stays text; everything from outside goes through html() all the same.
--
-- Charts are SVG without text: what they say stands beside them in HTML, which a phone can break into lines, and in a table. Colours never
-- stand alone either. Each function below writes one piece of the page.

CREATE FUNCTION courier_internal.html(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    -- Control characters have no place in HTML; tab, line feed and carriage return do.
    SELECT regexp_replace(replace(replace(replace(replace(replace(value, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
                          '[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]', U&'\FFFD', 'g')
$$;
COMMENT ON FUNCTION courier_internal.html(text) IS 'Text as it stands in HTML, in content and in quoted attributes';

CREATE FUNCTION courier_internal.report_style() RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT '
:root { color-scheme: light dark; --bg: #ffffff; --card: #f6f8fa; --line: #d0d7de; --fg: #1b1f24; --muted: #57606a; --link: #0550ae;
  --added: #1a7f37; --changed: #0969da; --removed: #8250df; --rejected: #cf222e; --ok: #116329; --warning: #7d4e00; --critical: #a40e26; --idle: #57606a }
@media (prefers-color-scheme: dark) { :root { --bg: #0d1117; --card: #161b22; --line: #30363d; --fg: #e6edf3; --muted: #9aa4ae; --link: #79b8ff;
  --added: #3fb950; --changed: #58a6ff; --removed: #bc8cff; --rejected: #ff7b72; --ok: #56d364; --warning: #e3b341; --critical: #ff938a; --idle: #9aa4ae } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem } h3 { font-size: 1rem; margin: 0 }
p { margin: .25rem 0 } .muted, figcaption, th { color: var(--muted) } code, pre { font: .85em ui-monospace, monospace }
pre { margin: .25rem 0; white-space: pre-wrap } a { color: var(--link) }
ul.tiles { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; margin: 1rem 0; padding: 0 }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem } .tiles b { font-size: 1.4rem; display: block }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: .75rem 0 }
.badge { border: 1px solid; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem; font-weight: 600; white-space: nowrap }
.ok { color: var(--ok) } .warning { color: var(--warning) } .critical { color: var(--critical) } .idle { color: var(--idle) }
.scroll { overflow-x: auto } .scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--link) }
table { border-collapse: collapse; width: 100%; font-size: .9rem } th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.scroll td, .scroll th { overflow-wrap: normal } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: 1rem 0 0 } figure svg { display: block; width: 100%; height: 6rem; background: linear-gradient(var(--line), var(--line)) bottom / 100% 1px no-repeat }
figure .ends { display: flex; justify-content: space-between; gap: 1rem; font-size: .8rem; color: var(--muted) }
.entry { white-space: nowrap } .key { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin: 0 .2rem 0 .3rem }
.added { fill: var(--added); background: var(--added) } .changed { fill: var(--changed); background: var(--changed) }
.removed { fill: var(--removed); background: var(--removed) } .rejected { fill: var(--rejected); background: var(--rejected) } .plain { fill: var(--muted) }
.graph svg { display: block; min-width: 44rem; width: 100%; height: auto } .graph rect { fill: var(--card); stroke: var(--line) } .graph path { fill: none; stroke: var(--muted); stroke-width: 1.5 }
.graph text { fill: var(--fg); font: 13px system-ui, sans-serif } .graph text.head { fill: var(--muted) } .graph circle.ok { fill: var(--ok) } .graph circle.warning { fill: var(--warning) }
.graph circle.critical { fill: var(--critical) } .graph circle.idle { fill: var(--idle) } .graph path.ok, .graph path.idle { stroke: var(--muted) }
.graph path.warning { stroke: var(--warning) } .graph path.critical { stroke: var(--critical) }
summary { cursor: pointer; margin-top: .75rem }
' $$;
COMMENT ON FUNCTION courier_internal.report_style() IS 'The style sheet of courier.report';

CREATE FUNCTION courier_internal.report_tone(health text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN health IN ('ok', 'warning', 'critical') THEN health ELSE 'idle' END $$;
COMMENT ON FUNCTION courier_internal.report_tone(text) IS 'The class that a health is drawn in';

CREATE FUNCTION courier_internal.report_time(moment timestamptz) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT '<time datetime="' || to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '">' || to_char(moment, 'YYYY-MM-DD HH24:MI:SS TZ') || '</time>' $$;
COMMENT ON FUNCTION courier_internal.report_time(timestamptz) IS 'A time for courier.report, in the time zone of the session';

-- source -> model -> sync -> destination: a column each, a row per object, a line per use.
CREATE FUNCTION courier_internal.report_graph(syncs jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH s AS (SELECT x.*, x.n - 1 AS row
            FROM ROWS FROM (jsonb_to_recordset(syncs) AS (name text, model text, source text, destination text, health text)) WITH ORDINALITY
                 x (name, model, source, destination, health, n)),
    node AS (
        SELECT c, name, health, row_number() OVER (PARTITION BY c ORDER BY first) - 1 AS row, count(*) OVER (PARTITION BY c) AS rows
          FROM (SELECT 0 AS c, source AS name, NULL AS health, min(row) AS first FROM s GROUP BY source
                UNION ALL SELECT 1, model, NULL, min(row) FROM s GROUP BY model
                UNION ALL SELECT 2, name, health, row FROM s
                UNION ALL SELECT 3, destination, NULL, min(row) FROM s GROUP BY destination) n),
    -- A short column is spread over the height of the longest.
    placed AS (SELECT n.*, 4 + n.c * 180 AS x, round(30 + ((n.row + 0.5) * m.rows / n.rows - 0.5) * 40) AS y FROM node n, (SELECT max(rows) AS rows FROM node) m),
    line AS (
        SELECT DISTINCT a.x + 160 AS x1, a.y + 15 AS y1, b.x AS x2, b.y + 15 AS y2, CASE WHEN l.c > 0 THEN courier_internal.report_tone(s.health) ELSE 'ok' END AS tone
          FROM s, LATERAL (VALUES (0, s.source, s.model), (1, s.model, s.name), (2, s.name, s.destination)) l (c, tail, head)
          JOIN placed a ON a.c = l.c AND a.name = l.tail JOIN placed b ON b.c = l.c + 1 AND b.name = l.head)
    SELECT format('<div class="scroll graph" tabindex="0" role="region" aria-label="Graph"><svg viewBox="0 0 708 %s" role="img" aria-label="Sources, models, syncs and destinations, and which belong together; the same is told in words under Syncs">',
                  (SELECT max(y) + 44 FROM placed))
        || (SELECT string_agg(format('<text class="head" x="%s" y="18">%s</text>', 4 + h.c * 180, h.t), '') FROM (VALUES (0, 'source'), (1, 'model'), (2, 'sync'), (3, 'destination')) h (c, t))
        || (SELECT string_agg(format('<path class="%s" d="M%s %sC%s %s %s %s %s %s"/>', tone, x1, y1, x1 + 10, y1, x2 - 10, y2, x2, y2), '') FROM line)
        || (SELECT string_agg(format('<g><title>%s</title><rect x="%s" y="%s" width="160" height="30" rx="6"/>%s<text x="%s" y="%s">%s</text></g>',
                       courier_internal.html(name || COALESCE(': ' || health, '')), x, y,
                       CASE WHEN health IS NOT NULL THEN format('<circle class="%s" cx="%s" cy="%s" r="5"/>', courier_internal.report_tone(health), x + 13, y + 15) ELSE '' END,
                       x + CASE WHEN health IS NULL THEN 10 ELSE 24 END, y + 20,
                       courier_internal.html(CASE WHEN length(name) > 18 THEN left(name, 17) || U&'\2026' ELSE name END)), '' ORDER BY c, row) FROM placed)
        || '</svg></div>'
$$;
COMMENT ON FUNCTION courier_internal.report_graph(jsonb) IS 'Which source, model, sync and destination belong together, as SVG';

-- Bars of equal width, one per run; a run of several values is stacked.
CREATE FUNCTION courier_internal.report_chart(title text, unit text, runs jsonb, fields text[], stacked boolean) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH r AS (SELECT x.value AS run, x.ordinality - 1 AS place, (SELECT sum((x.value->>f)::numeric) FROM unnest(fields) f) AS total FROM jsonb_array_elements(runs) WITH ORDINALITY x),
    scale AS (SELECT GREATEST(max(total), 0.000001) AS most, round(max(total), 2) AS shown, GREATEST(count(*), 12) AS places FROM r),
    bar AS (
        SELECT r.place, r.run, f.field, f.n, (r.run->>f.field)::numeric * 96 / scale.most AS height,
               COALESCE(sum((r.run->>f.field)::numeric) OVER (PARTITION BY r.place ORDER BY f.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) * 96 / scale.most AS below,
               600.0 / scale.places AS width
          FROM r, scale, unnest(fields) WITH ORDINALITY f (field, n))
    SELECT CASE WHEN (SELECT COALESCE(max(total), 0) = 0 FROM r) THEN format('<p class="muted">%s: none.</p>', title) ELSE
           format('<figure><figcaption>%s, up to %s %s%s</figcaption><svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label="%s of the last %s runs; the numbers are in the table of runs">',
                  title, (SELECT trim_scale(COALESCE(shown, 0)) FROM scale), unit,
                  CASE WHEN stacked THEN ':' || (SELECT string_agg(format(' <span class="entry"><span class="key %s"></span>%s</span>', f, f), '' ORDER BY n) FROM unnest(fields) WITH ORDINALITY u (f, n)) ELSE '' END,
                  title, (SELECT count(*) FROM r))
        || COALESCE((SELECT string_agg(format('<rect class="%s" x="%s" y="%s" width="%s" height="%s"><title>run %s: %s %s</title></rect>',
                                  CASE WHEN stacked THEN field ELSE 'plain' END, round(place * width + width * 0.1, 1), round(100 - below - height, 1), round(width * 0.8, 1), round(height, 1),
                                  run->>'run_id', trim_scale(round((run->>field)::numeric, 2)), CASE WHEN stacked THEN field ELSE unit END), '' ORDER BY place, n)
                       FROM bar WHERE height > 0), '')
        || format('</svg><div class="ends"><span>run %s</span><span>run %s</span></div></figure>', (SELECT run->>'run_id' FROM r ORDER BY place LIMIT 1), (SELECT run->>'run_id' FROM r ORDER BY place DESC LIMIT 1)) END
$$;
COMMENT ON FUNCTION courier_internal.report_chart(text, text, jsonb, text[], boolean) IS 'A bar chart of some fields over runs (oldest first), as SVG with a caption';

CREATE FUNCTION courier_internal.report_runs(wanted_sync_id integer) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    runs jsonb;
BEGIN
    SELECT jsonb_agg(to_jsonb(h) ORDER BY h.run_id) INTO runs
      FROM (SELECT r.run_id, r.status, r.started_at, r.succeeded_added AS added, r.succeeded_changed AS changed, r.succeeded_removed AS removed,
                   r.rejected_added + r.rejected_changed + r.rejected_removed AS rejected, r.requests,
                   round(EXTRACT(epoch FROM r.finished_at - r.started_at), 2) AS seconds,
                   round(COALESCE((r.succeeded_added + r.succeeded_changed + r.succeeded_removed + r.rejected_added + r.rejected_changed + r.rejected_removed)
                         / NULLIF(EXTRACT(epoch FROM r.finished_at - r.sending_at), 0), 0), 1) AS throughput
              FROM courier_internal.run r
             WHERE r.sync_id = wanted_sync_id AND r.test IS NULL AND r.started_at IS NOT NULL AND r.finished_at IS NOT NULL
             ORDER BY r.run_id DESC LIMIT 40) h;
    IF runs IS NULL THEN
        RETURN '<p class="muted">No run has ended yet.</p>';
    END IF;
    RETURN courier_internal.report_chart('Records per run', 'records', runs, '{added,changed,removed,rejected}', true)
        || courier_internal.report_chart('Duration', 's', runs, '{seconds}', false)
        || courier_internal.report_chart('Throughput while sending', 'records/s', runs, '{throughput}', false)
        || format('<details><summary>Runs</summary><div class="scroll" tabindex="0" role="region" aria-label="Runs, newest first"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div></details>',
            (SELECT string_agg(format('<th scope="col"%s>%s</th>', CASE WHEN n IN (1, 2, 3) THEN '' ELSE ' class="number"' END, h), '' ORDER BY n)
               FROM unnest(ARRAY['run', 'status', 'started', 'added', 'changed', 'removed', 'rejected', 'requests', 'seconds', 'records/s']) WITH ORDINALITY u (h, n)),
            (SELECT string_agg(format('<tr><th scope="row">%s</th><td>%s</td><td>%s</td>%s</tr>', r->>'run_id', r->>'status', courier_internal.report_time((r->>'started_at')::timestamptz),
                        (SELECT string_agg(format('<td class="number">%s</td>', r->>f), '' ORDER BY n)
                           FROM unnest(ARRAY['added', 'changed', 'removed', 'rejected', 'requests', 'seconds', 'throughput']) WITH ORDINALITY u (f, n))), '' ORDER BY (r->>'run_id')::bigint DESC)
               FROM jsonb_array_elements(runs) r));
END
$$;
COMMENT ON FUNCTION courier_internal.report_runs(integer) IS 'The last 40 runs of a sync: charts and a table';

CREATE FUNCTION courier_internal.report_rejected(wanted_sync_id integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT '<h4>Why records are not accepted</h4><ul>' || string_agg(format('<li><b>%s</b> %s%s</li>', t.records,
               courier_internal.html(left(t.reason, 300)), t.samples), '' ORDER BY t.records DESC, t.reason) || '</ul>'
      FROM (SELECT g.reason, g.records,
                   (SELECT string_agg(format('<pre>%s: %s</pre>', courier_internal.html(left(s.key, 100)), courier_internal.html(COALESCE(left(s.payload, 300), 'not kept'))), '' ORDER BY s.key)
                      FROM (SELECT r.key, r.payload FROM courier_internal.rejected r
                             WHERE r.sync_id = wanted_sync_id AND r.outcome IN ('rejected', 'unknown')
                               AND COALESCE(NULLIF(concat_ws(' ', r.http_status, r.error_code, r.message), ''), r.outcome) = g.reason
                             ORDER BY r.last_failed_at DESC LIMIT 3) s) AS samples
              FROM (SELECT COALESCE(NULLIF(concat_ws(' ', r.http_status, r.error_code, r.message), ''), r.outcome) AS reason, count(*) AS records
                      FROM courier_internal.rejected r WHERE r.sync_id = wanted_sync_id AND r.outcome IN ('rejected', 'unknown')
                     GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5) g) t
$$;
COMMENT ON FUNCTION courier_internal.report_rejected(integer) IS 'The five commonest reasons of a sync, with up to three records each; NULL: nothing is rejected';

CREATE FUNCTION courier_internal.report(caller oid, caller_path text, sync text) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    one courier_internal.sync;
    syncs jsonb;
    s record;
    page text;
    subject text := CASE WHEN sync IS NULL THEN 'database ' || current_database() ELSE 'sync ' || sync END;
BEGIN
    IF sync IS NOT NULL THEN
        one := courier_internal.find_sync(caller, sync);
        IF NOT courier_internal.may_see(caller, one.owner) THEN
            RAISE EXCEPTION 'permission denied for sync "%"', sync USING ERRCODE = '42501', DETAIL = format('It belongs to role "%s".', one.owner),
                HINT = format('Members of role "%s" and of courier_viewer may see it.', one.owner);
        END IF;
    END IF;
    SELECT jsonb_agg(to_jsonb(x) ORDER BY x.rank, x.name) INTO syncs
      FROM (SELECT o.sync_id, o.name, o.model, m.source, o.destination, o.schedule, o.mode, o.snapshot_records, o.active_status, h.health, h.since, h.problem, h.remedy,
                   h.last_success, h.rejected, h.next_run, array_position(ARRAY['critical', 'warning'], h.health) AS rank
              FROM courier_internal.sync_overview o
              JOIN courier_internal.model m ON m.model_id = o.model_id
              JOIN courier_internal.health_of_all h ON h.sync = o.name
             WHERE courier_internal.may_see(caller, o.effective_owner) AND (report.sync IS NULL OR o.sync_id = one.sync_id)) x;

    page := format('<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''; img-src data:">
<link rel="icon" href="data:,"><title>pg_courier: %s</title><style>%s</style></head><body><header><h1>pg_courier: %s</h1><p class="muted">%s, version %s</p></header><main>',
        courier_internal.html(subject), courier_internal.report_style(), courier_internal.html(subject), courier_internal.report_time(now()), courier_internal.html(courier.version()));
    IF syncs IS NULL THEN
        RETURN page || '<p>There is no sync that you may see.</p></main></body></html>' || E'\n';
    END IF;

    page := page || (SELECT '<ul class="tiles">' || string_agg(format('<li><b class="%s">%s</b>%s</li>', courier_internal.report_tone(t.health), t.n, courier_internal.html(t.health)), ''
                                ORDER BY array_position(ARRAY['critical', 'warning', 'ok'], t.health), t.health) || '</ul>'
                       FROM (SELECT x->>'health' AS health, count(*) AS n FROM jsonb_array_elements(syncs) x GROUP BY 1) t)
        || '<section><h2>From source to destination</h2>' || courier_internal.report_graph(syncs) || '</section><section><h2>Syncs</h2>';
    FOR s IN SELECT x.* FROM jsonb_to_recordset(syncs) x (sync_id integer, name text, model text, source text, destination text, schedule text, mode text, snapshot_records bigint,
                 active_status text, health text, since timestamptz, problem text, remedy text, last_success timestamptz, rejected bigint) LOOP
        page := page || format('<article class="card"><h3>%s <span class="badge %s">%s</span></h3><p class="muted">%s &rarr; %s &rarr; %s, %s, %s</p>', courier_internal.html(s.name),
                courier_internal.report_tone(s.health), courier_internal.html(s.health), courier_internal.html(s.source), courier_internal.html(s.model), courier_internal.html(s.destination),
                courier_internal.html(s.mode), courier_internal.html(s.schedule))
            || COALESCE('<p>' || courier_internal.html(s.problem) || '</p>', '') || COALESCE('<pre>' || courier_internal.html(s.remedy) || '</pre>', '')
            || format('<p>Records accepted: %s; not accepted: %s%s%s%s</p>', s.snapshot_records, s.rejected, COALESCE('; last success ' || courier_internal.report_time(s.last_success), ''),
                      COALESCE('; ' || courier_internal.html(s.health) || ' since ' || courier_internal.report_time(s.since), ''),
                      COALESCE('; a run is ' || s.active_status, ''))
            || courier_internal.report_runs(s.sync_id) || COALESCE(courier_internal.report_rejected(s.sync_id), '') || '</article>';
    END LOOP;
    page := page || '</section><section><h2>Next runs</h2>' || COALESCE(
        (SELECT '<ol>' || string_agg(format('<li>%s: %s</li>', courier_internal.report_time(x.next_run), courier_internal.html(x.name)), '' ORDER BY x.next_run, x.name) || '</ol>'
           FROM jsonb_to_recordset(syncs) x (name text, next_run timestamptz) WHERE x.next_run IS NOT NULL), '<p class="muted">None by schedule.</p>');
    RETURN page || '</section></main></body></html>' || E'\n';
END
$$;
COMMENT ON FUNCTION courier_internal.report(oid, text, text) IS 'Behind courier.report';

CREATE FUNCTION courier.report(sync text DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.report(text) IS
'A page to look at: health and what to do, the way from source to destination, the last 40 runs as charts, why records are not accepted with samples, and the next runs. One HTML file that loads nothing and has no script.

sync  one sync; NULL: all that you may see

It shows values of rejected records: treat the file like the data.
Errors: 42704 no such sync; 42501 not permitted.

Example: psql -XAtc "SELECT courier.report()" > report.html';
-- Two options that place the runs of a schedule: a window of the day, and a spread for when many syncs are due at the same minute.
--
-- The spread is the same for every run of a sync (a hash of its number), so its runs keep their distance from each other; what differs is the
-- offset from sync to sync. next_run_at has the offset in it; the scheduler takes it off before it looks for the next slot.

CREATE FUNCTION courier_internal.jitter_offset(sync_id integer, options jsonb) RETURNS interval
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT COALESCE((options->>'jitter')::interval * (('x' || substr(md5(sync_id::text), 1, 8))::bit(32)::bigint / 4294967296::double precision), interval '0')
$$;
COMMENT ON FUNCTION courier_internal.jitter_offset(integer, jsonb) IS 'By how much the runs of a sync come after the times of its schedule (option jitter)';

CREATE FUNCTION courier_internal.window_opening(moment timestamptz, options jsonb) RETURNS timestamptz
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    parts text[] := regexp_match(options->>'window', '^\s*(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})(?:\s+(\S+))?\s*$');
    opens time := parts[1];
    closes time := parts[2];
    zone text := COALESCE(parts[3], 'UTC');
    here timestamp;
BEGIN
    IF parts IS NULL THEN
        RETURN moment;
    END IF;
    here := moment AT TIME ZONE zone;
    IF (CASE WHEN opens < closes THEN here::time >= opens AND here::time < closes ELSE here::time >= opens OR here::time < closes END) THEN
        RETURN moment;
    END IF;
    RETURN ((here::date + CASE WHEN here::time < opens THEN 0 ELSE 1 END) + opens) AT TIME ZONE zone;
END
$$;
COMMENT ON FUNCTION courier_internal.window_opening(timestamptz, jsonb) IS 'The moment itself where it is within option window, else when the window opens next';

CREATE FUNCTION courier_internal.place_run(slot timestamptz, sync_id integer, options jsonb) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    -- The offset may lead out of a narrow window again.
    SELECT courier_internal.window_opening(courier_internal.window_opening(slot, options) + courier_internal.jitter_offset(sync_id, options), options)
$$;
COMMENT ON FUNCTION courier_internal.place_run(timestamptz, integer, jsonb) IS 'When the run of a slot of the schedule starts: within option window, spread by option jitter';
-- What users call about objects. Each is the door (doc/architecture.md) to the function of the same name in courier_internal. Not STRICT:
-- a NULL that is not allowed is an error with a name, not a silent NULL.

CREATE FUNCTION courier.create_source(name text, foreign_server name DEFAULT NULL, description text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_source(text, name, text) IS
'Makes a source: a name for where the data of models comes from. "local", this database, is there from the start.

name            unique in the database
foreign_server  a server as made with CREATE SERVER (postgres_fdw, mysql_fdw, tds_fdw, ...); NULL: this database
description     free text

Models read foreign tables like any other relation, and may join local and foreign ones. courier.check_source proves that the server answers.
Errors: 42710 the name is taken; 42704 no such server; 42501 the server may not be used; 22004, 42602 or 42622 bad name.

Example: SELECT courier.create_source(''warehouse'', ''warehouse_server'')';

CREATE FUNCTION courier.check_source(name text) RETURNS TABLE (ok boolean, message text)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.check_source(text) IS
'Asks the foreign server of a source for a row, as you, with your user mapping. Leaves nothing behind.

name  the source

Returns ok (true: it answered; false: it did not; NULL: not proved, because the server is no PostgreSQL and has no foreign table that you may read) and a message.
Errors: 42704 no such source; 42501 not permitted; 22004 name is NULL.

Example: SELECT * FROM courier.check_source(''warehouse'')';

CREATE FUNCTION courier.create_model(name text, query text DEFAULT NULL, primary_key text[] DEFAULT NULL, relation regclass DEFAULT NULL,
        source text DEFAULT 'local', description text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_model(text, text, text[], regclass, text, text) IS
'Makes a model: a query or relation with a primary key. It is read with your rights.

name         unique in the database, at most 63 bytes
query        one SELECT, VALUES or WITH ... SELECT; becomes the view courier_models.<name>, which is yours
relation     instead of query: a table, partitioned or foreign table, view or materialized view
primary_key  the columns that identify a row; may be left out for a table that has a primary key
source       a source, see courier.sources
description  free text

The columns of the key need values that can be sorted (not json, xml, point, ...). courier.check_model counts NULL and duplicate keys, courier.preview_model shows rows.
Errors: 22023 not exactly one of query and relation, or no primary key; 42601 query is not one SELECT; 42703 a key column does not exist; 42P17 a key column has a type that cannot be sorted; 42501 the relation or source may not be used; 42710 the name is taken; 42704 no such source; and those of the query itself.

Example: SELECT courier.create_model(''customers'', ''SELECT id, email, city FROM customer WHERE active'', ''{id}'')
         SELECT courier.create_model(''orders'', relation => ''shop.orders'')';

CREATE FUNCTION courier.preview_model(name text, max_rows integer DEFAULT 10) RETURNS SETOF jsonb
    LANGUAGE c VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.preview_model(text, integer) IS
'Rows of a model as a run sees them: as the model''s owner, whoever calls. For members of the owning role and of courier_viewer.

name      the model
max_rows  how many

Errors: 42704 no such model; 42501 not permitted; 42P01 its relation is gone; 22004 name is NULL; and those of the query.

Example: SELECT * FROM courier.preview_model(''customers'', 3)';

CREATE FUNCTION courier.check_model(name text) RETURNS TABLE (row_count bigint, null_keys bigint, duplicate_keys bigint)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.check_model(text) IS
'Reads a whole model, as its owner, and counts its rows, the rows with a NULL in the primary key, and the keys that occur more than once. Such rows are never sent.

name  the model

Errors: 42704 no such model; 42501 not permitted; 42P01 its relation is gone; 42703 a key column is gone; 22004 name is NULL; and those of the query.

Example: SELECT * FROM courier.check_model(''customers'')';

CREATE FUNCTION courier.create_destination(name text, type text, config jsonb DEFAULT '{}', secrets jsonb DEFAULT '{}', description text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_destination(text, text, jsonb, jsonb, text) IS
'Makes a destination: a configured instance of a destination type. Nothing is sent; see courier.test_destination.

name         unique in the database
type         as in courier.destination_types; "http" serves any HTTP API
config       settings of the type; unknown keys are an error
secrets      an object; each value is {"file": "name"} (below pg_courier.secrets_directory), {"env": "NAME"} (listed in pg_courier.secret_env),
             or a plain string for trying out, which stands in the statement, so that PostgreSQL may log it. Files below a directory
             that is named like a role are for members of that role. No value ever shows in a view, log, dump or error
description  free text

Errors: 42704 no such type; 22023 config or secrets are not right (the message says what is allowed); 55000 pg_courier.secrets_directory is not set; 58P01 no such secret file; 42501 the environment variable or file may not be read; 42710 the name is taken.

Example: SELECT courier.create_destination(''crm'', ''http'',
             config  => ''{"base_url": "https://api.example.com/v1", "auth": {"type": "bearer"}}'',
             secrets => ''{"token": {"file": "crm_token"}}'')';

CREATE FUNCTION courier.share_destination(name text, role regrole) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.share_destination(text, regrole) IS
'Lets syncs of another role, and of its members, send to your destination. They can neither change it nor read its credentials.

name  the destination
role  the role

Errors: 42704 no such destination or role; 42501 only members of the owning role may share it; 22004 an argument is NULL.

Example: SELECT courier.share_destination(''crm'', ''marketing'')';

CREATE FUNCTION courier.unshare_destination(name text, role regrole) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.unshare_destination(text, regrole) IS
'Takes back what courier.share_destination gave. Refuses while syncs that need it exist, and lists them.

name  the destination
role  the role

Errors: 42704 no such destination or role; 42501 not permitted; 2BP01 syncs depend on it; 22004 an argument is NULL.

Example: SELECT courier.unshare_destination(''crm'', ''marketing'')';

CREATE FUNCTION courier.create_destination_type(name text, definition jsonb) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_destination_type(text, jsonb) IS
'Makes a new type of destination from a definition: requests, responses, limits and authentication of an API, described as data. Everybody may use it.

name        unique, also among the built-in types
definition  what the built-in types are made of too; see the documentation of destination types

Errors: 42710 the name is taken; 22023 the definition is not right (the message says where); 22004 an argument is NULL.

Example: SELECT courier.create_destination_type(''newsletter'', ''{...}'')';

CREATE FUNCTION courier.drop_destination_type(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.drop_destination_type(text) IS
'Drops a destination type that was made with courier.create_destination_type. Refuses while destinations are of it, and lists them.

name  the type

Errors: 42704 no such type; 42501 not permitted; 2BP01 destinations depend on it; 55000 it is built in; 22004 name is NULL.

Example: SELECT courier.drop_destination_type(''newsletter'')';

CREATE FUNCTION courier.create_sync(name text, model text, destination text, mode text DEFAULT NULL, sync_type text DEFAULT NULL, object text DEFAULT NULL,
        mapping json DEFAULT NULL, match_on text[] DEFAULT NULL, on_removed text DEFAULT NULL, first_run text DEFAULT NULL, schedule text DEFAULT 'manual',
        config jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_sync(text, text, text, text, text, text, json, text[], text, text, text, jsonb, jsonb) IS
'Connects a model to a destination. Everything is checked now: nothing is stored when anything is wrong.

name         unique in the database
model        see courier.models
destination  see courier.destinations: your own, or one that is shared with you
mode         insert, upsert, update or mirror (upsert and delete); NULL: the destination''s first
sync_type    objects, events, notifications or segments; NULL: the destination''s first
object       what the records are there: contacts, an index, a table, an event name, a channel, ...
mapping      from destination field to SQL expression over the model''s columns, in order: {"email": "lower(email)", "address.city": "city"}.
             Dots nest. A value may be {"expr": "...", "null": "send|omit", "track": true|false, "on": "always|insert"}. NULL: every column
             to the field of its own name. Runs as you, with the search_path of now
match_on     fields that identify a record; NULL: those mapped from the primary key
on_removed   ignore, delete, clear or archive; NULL: ignore (delete for mirror)
first_run    send or baseline (send nothing, take the destination as equal); NULL: what the destination declares
schedule     manual, every <interval>, <cron expression> [time zone], or after <sync>. "every" begins at once
config       the destination''s own settings for a sync; see courier.destination_types
options      batch_size, concurrency, rate_limit, timeout, max_attempts, changed_fields_only, max_removed, max_changes, max_rejected, max_wait, max_job_time,
             null_keys, remember, time_zone, log_requests, log_records, retention, workers, stop_on, window, jitter

Errors: 42704 no such model, destination or sync to follow; 42501 not permitted; 42703 a mapping reads a column that does not exist; 22023 a setting is not allowed (the message says what is); 42710 the name is taken; and those of the expressions themselves.
See also: courier.preview_sync (what would be sent), courier.plan_sync (how much), courier.run_sync, courier.syncs.

Example: SELECT courier.create_sync(''contacts'', model => ''customers'', destination => ''crm'', mode => ''upsert'',
             mapping => ''{"id": "id", "email": "lower(email)"}'', schedule => ''every 15 minutes'')';

CREATE FUNCTION courier.alter_model(name text, query text DEFAULT NULL, primary_key text[] DEFAULT NULL, relation regclass DEFAULT NULL,
        source text DEFAULT NULL, description text DEFAULT NULL, owner regrole DEFAULT NULL, reset text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.alter_model(text, text, text[], regclass, text, text, regrole, text[]) IS
'Changes a model. NULL leaves a setting.

name   the model
query, primary_key, relation, source, description   as in courier.create_model
owner  the new owner; you must be a member of both roles
reset  settings to put back to their defaults: description, primary_key (to the table''s own), source

Another query keeps the view courier_models.<name> where its columns allow it; else the view is made anew, which is refused while other views depend on it. A sync whose primary key changed does not run until a resync is named. A WARNING names syncs whose mapping no longer fits.
Errors: 42704 no such model; 42501 not permitted (query, relation and owner: only members of the owning role); 2BP01 something depends on what would go; and those of courier.create_model.

Example: SELECT courier.alter_model(''customers'', query => ''SELECT id, email, city, phone FROM customer'')';

CREATE FUNCTION courier.alter_destination(name text, type text DEFAULT NULL, config jsonb DEFAULT NULL, secrets jsonb DEFAULT NULL, description text DEFAULT NULL,
        owner regrole DEFAULT NULL, reset text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.alter_destination(text, text, jsonb, jsonb, text, regrole, text[]) IS
'Changes a destination. NULL leaves a setting; config and secrets are merged key by key, and a JSON null removes a key. Active runs go on with what they started with.

name   the destination
type, config, secrets, description   as in courier.create_destination
owner  the new owner; you must be a member of both roles
reset  settings to put back to their defaults: config, description, secrets

A WARNING names syncs that do not fit the changed destination.
Errors: 42704 no such destination; 42501 not permitted; 2BP01 syncs of others depend on it; and those of courier.create_destination.

Example: SELECT courier.alter_destination(''crm'', config => ''{"headers": {"X-Team": "data"}}'', secrets => ''{"token": {"env": "CRM_TOKEN"}}'')';

CREATE FUNCTION courier.alter_sync(name text, model text DEFAULT NULL, destination text DEFAULT NULL, mode text DEFAULT NULL, sync_type text DEFAULT NULL,
        object text DEFAULT NULL, mapping json DEFAULT NULL, match_on text[] DEFAULT NULL, on_removed text DEFAULT NULL, first_run text DEFAULT NULL,
        schedule text DEFAULT NULL, config jsonb DEFAULT NULL, options jsonb DEFAULT NULL, owner regrole DEFAULT NULL, reset text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.alter_sync(text, text, text, text, text, text, json, text[], text, text, text, jsonb, jsonb, regrole, text[]) IS
'Changes a sync. NULL leaves a setting; config and options are merged key by key, and a JSON null removes a key; mapping is replaced. An active run goes on with what it started with.

name   the sync
model ... options   as in courier.create_sync
owner  the new owner; you must be a member of both roles
reset  settings to put back to their defaults: mode, sync_type, object, mapping, match_on, on_removed, first_run, schedule, config, options

With another mapping, the next run sends the records whose output changed. With another destination (or object, for objects and segments) the sync starts anew: the next run is a first run. The search_path stays that of create_sync.
Errors: 42704 no such sync; 42501 not permitted (mapping, model and owner: only members of the owning role); 55006 a run is active and must end first; and those of courier.create_sync.

Example: SELECT courier.alter_sync(''contacts'', schedule => ''every 5 minutes'', options => ''{"max_removed": "10%"}'')
         SELECT courier.alter_sync(''contacts'', reset => ''{options}'')';

CREATE FUNCTION courier.drop_source(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.drop_source(text) IS
'Drops a source. The foreign server stays. Refuses while models depend on it, and lists them.

name  the source

Errors: 42704 no such source; 42501 not permitted; 2BP01 models depend on it; 55000 "local" cannot be dropped; 22004 name is NULL.

Example: SELECT courier.drop_source(''warehouse'')';

CREATE FUNCTION courier.drop_model(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.drop_model(text) IS
'Drops a model, and the view that was made from its query. Refuses while syncs depend on it, and lists them.

name  the model

Errors: 42704 no such model; 42501 not permitted; 2BP01 syncs, or other views, depend on it; 22004 name is NULL.

Example: SELECT courier.drop_model(''customers'')';

CREATE FUNCTION courier.drop_destination(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.drop_destination(text) IS
'Drops a destination and its stored secrets. Nothing is sent there. Refuses while syncs depend on it, and lists them.

name  the destination

Errors: 42704 no such destination; 42501 not permitted; 2BP01 syncs depend on it; 22004 name is NULL.

Example: SELECT courier.drop_destination(''crm'')';

CREATE FUNCTION courier.drop_sync(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.drop_sync(text) IS
'Drops a sync with its snapshot, runs and rejected records. An active run is cancelled first, which takes up to 5 seconds. Records in the destination stay.

name  the sync

Errors: 42704 no such sync; 42501 not permitted; 2BP01 other syncs run after it; 55006 the active run did not end in time; 22004 name is NULL.

Example: SELECT courier.drop_sync(''contacts'')';

CREATE FUNCTION courier.pause_sync(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.pause_sync(text) IS
'Pauses a sync: no run starts until courier.resume_sync. An active run goes on; courier.cancel_run stops it. For members of the owning role and of courier_operator.

name  the sync

Errors: 42704 no such sync; 42501 not permitted; 22004 name is NULL.

Example: SELECT courier.pause_sync(''contacts'')';

CREATE FUNCTION courier.resume_sync(name text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.resume_sync(text) IS
'Lets a paused sync run again, or one that came with a restored copy of a database. What its schedule has missed is one run. For members of the owning role and of courier_operator.

name  the sync

Errors: 42704 no such sync; 42501 not permitted; 22004 name is NULL.

Example: SELECT courier.resume_sync(''contacts'')';

CREATE FUNCTION courier.resume_all() RETURNS integer
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.resume_all() IS
'Resumes every sync of yours (members of courier_admin: every sync), paused or restored, and returns how many there were. After a restore, call it where this database is to send from now on, and never in a copy that is for testing.

Example: SELECT courier.resume_all()';
-- What users call about runs. Each is the door (doc/architecture.md) to the function of the same name in courier_internal. Not STRICT:
-- a NULL that is not allowed is an error with a name, not a silent NULL.

CREATE FUNCTION courier.trigger_sync(name text, resync text DEFAULT 'none') RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.trigger_sync(text, text) IS
'Queues a run of a sync. It starts when your transaction commits, and sees everything that the transaction has written.

name    the sync
resync  none (default): send what has changed
        full: send every record; not for events, notifications and mode insert
        baseline: send nothing, take the model as what the destination has

Returns the run_id. While a run is active, one follow-up run is queued; further triggers return that run and raise its resync to the stronger of the two (none, full, baseline). The owner of the sync, members of the owning role and of courier_operator may call it.
Errors: 42704 no such sync; 42501 not permitted; 22023 resync not known or not possible for this sync; 55000 paused (see courier.resume_sync), or a restored copy (see courier.resume_all); 25006 the server is a standby.
See also: CALL courier.run_sync(...), which waits for the run to end; courier.wait_for_run, courier.runs.

Example: SELECT courier.trigger_sync(''contacts'')';

CREATE FUNCTION courier.cancel_run(run_id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.cancel_run(bigint) IS
'Cancels a run. A queued one ends at once. An active one stops within about a second of your commit: requests under way are settled, the rest is aborted, and the next run goes on from there. One that has ended is left alone, with a NOTICE.

run_id  as returned by trigger_sync and run_sync; see courier.runs

Commit soon: the run waits for your transaction where it wants to note its progress.
Errors: 42704 no such run; 42501 not permitted; 22004 run_id is NULL.

Example: SELECT courier.cancel_run(42)';

CREATE FUNCTION courier.approve_run(run_id bigint) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.approve_run(bigint) IS
'Lets a blocked sync go on. Queues a new run that compares again, and may remove and change as many records as the blocked run had planned, but no more: with more, it is blocked again.

run_id  a run with status blocked; courier.run_details has the numbers, courier.plan_sync those of now

Returns the run_id of the new run.
Errors: 42704 no such run; 42501 not permitted; 22004 run_id is NULL; 55000 the run is not blocked, was approved already, a later run went through, or the sync is paused.

Example: SELECT courier.approve_run(42)';

CREATE FUNCTION courier.retry_rejected(sync text, primary_key jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.retry_rejected(text, jsonb) IS
'Makes rejected records due now, so that the next run tries them again whatever their next_attempt_at says. Also releases records whose outcome is unknown: they are sent again, so the destination may receive them a second time. Starts no run; see courier.trigger_sync.

sync         the sync
primary_key  only the record with this key: an object ({"id": 7}), or for a key of one column the value alone (7); NULL: all

Returns how many records were released.
Errors: 42704 no such sync; 42501 not permitted; 22004 sync is NULL; 22023 primary_key does not fit the model.

Example: SELECT courier.retry_rejected(''contacts''), courier.trigger_sync(''contacts'')';

CREATE FUNCTION courier.discard_rejected(sync text, primary_key jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.discard_rejected(text, jsonb) IS
'Lets go of rejected records: they leave courier.rejected_records and are not sent again before their values change. A record whose outcome is unknown counts as not delivered.

sync         the sync
primary_key  only the record with this key: an object ({"id": 7}), or for a key of one column the value alone (7); NULL: all

Returns how many records were discarded.
Errors: 42704 no such sync; 42501 not permitted; 22004 sync is NULL; 22023 primary_key does not fit the model.

Example: SELECT courier.discard_rejected(''contacts'', ''7'')';

CREATE FUNCTION courier.plan_sync(name text)
    RETURNS TABLE (added bigint, changed bigint, removed bigint, unchanged bigint, invalid bigint)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.plan_sync(text) IS
'What a run would do now: how many records it would add, change and remove, how many are unchanged, and how many rows are invalid. Sends nothing and changes nothing. Reads the whole model, as the owner of the sync.

name  the sync

Errors: 42704 no such sync; 42501 not permitted; 22004 name is NULL; and those of the model query.

Example: SELECT * FROM courier.plan_sync(''contacts'')';

CREATE FUNCTION courier.preview_sync(name text, max_requests integer DEFAULT 5)
    RETURNS TABLE (change text, operation text, records integer, method text, url text, headers jsonb, body text)
    LANGUAGE c VOLATILE ROWS 5 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.preview_sync(text, integer) IS
'The first requests that a run would send now, with secrets redacted. Sends nothing and changes nothing.

name          the sync
max_requests  how many

Errors: 42704 no such sync; 42501 not permitted; 22004 an argument is NULL; and those of the model query.

Example: SELECT change, method, url, body FROM courier.preview_sync(''contacts'')';

CREATE FUNCTION courier.test_record(sync text, primary_key jsonb, change text DEFAULT NULL, timeout interval DEFAULT '10 s')
    RETURNS TABLE (operation text, method text, url text, request_body text, http_status integer, response_body text, outcome text, message text)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.test_record(text, jsonb, text, interval) IS
'Really sends one record, and shows request and answer. A run worker sends it while you wait. It is settled like a run of one record: accepted, it is in the snapshot, even if you roll back.

sync         the sync
primary_key  which record: an object ({"id": 7}), or for a key of one column the value alone (7)
change       added, changed or removed; NULL: what a comparison finds
timeout      how long to wait

Errors: 42704 no such sync; 42501 not permitted; 22004 a required argument is NULL; 55000 paused, or no worker took it in time.

Example: SELECT * FROM courier.test_record(''contacts'', ''7'')';

CREATE FUNCTION courier.test_destination(name text)
    RETURNS TABLE (ok boolean, http_status integer, duration interval, message text)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.test_destination(text) IS
'Asks a destination whether it is there and takes the credentials, by a request that changes nothing there. A worker sends it while you wait.

name  the destination

Returns ok, the HTTP status (NULL: no answer), how long it took, and a message.
Errors: 42704 no such destination; 42501 not permitted; 22004 name is NULL.

Example: SELECT * FROM courier.test_destination(''crm'')';

CREATE FUNCTION courier.snapshot(sync text) RETURNS SETOF jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.snapshot(text) IS
'What the destination has accepted so far, a JSON object per primary key.

sync  the sync

Errors: 42704 no such sync; 42501 not permitted; 22004 sync is NULL.

Example: SELECT * FROM courier.snapshot(''contacts'') LIMIT 10';
-- Sync logs in the columns that dashboards and dbt packages for warehouse sync logs read. The views here are owner-filtered like all views;
-- create_log_views makes them known under the names and in the schema that a dashboard expects, as views of the caller.

CREATE VIEW courier.sync_runs WITH (security_barrier) AS
    SELECT s.sync_id, r.run_id AS sync_run_id, pg_catalog.array_to_string(m.primary_key, ',') AS primary_key, d.name AS destination, m.name AS model_name, r.error,
           CASE r.status WHEN 'sending' THEN 'processing' WHEN 'blocked' THEN 'failed' ELSE r.status END AS status, r.started_at, r.finished_at,
           r.planned_added AS num_planned_add, r.planned_changed AS num_planned_change, r.planned_removed AS num_planned_remove,
           r.succeeded_added + r.rejected_added AS num_attempted_add, r.succeeded_changed + r.rejected_changed AS num_attempted_change,
           r.succeeded_removed + r.rejected_removed AS num_attempted_remove,
           r.succeeded_added AS num_succeeded_add, r.succeeded_changed AS num_succeeded_change, r.succeeded_removed AS num_succeeded_remove,
           r.rejected_added AS num_failed_add, r.rejected_changed AS num_failed_change, r.rejected_removed AS num_failed_remove,
           s.name AS sync_name
      FROM courier_internal.run r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id
      JOIN courier_internal.sync y ON y.sync_id = r.sync_id
      JOIN courier_internal.model m ON m.model_id = y.model_id
      JOIN courier_internal.destination d ON d.destination_id = y.destination_id
     WHERE r.test IS NULL;
COMMENT ON VIEW courier.sync_runs IS 'courier.run_details in the columns of warehouse sync logs; see courier.create_log_views';
COMMENT ON COLUMN courier.sync_runs.status IS 'queued, querying, processing, success, warning, failed (also blocked), cancelled or interrupted';
COMMENT ON COLUMN courier.sync_runs.num_attempted_add IS 'Accepted and rejected; skipped and unknown records are not told apart by change';

CREATE VIEW courier.sync_changelog WITH (security_barrier) AS
    SELECT s.sync_id, c.run_id AS sync_run_id, c.key AS row_id, c.change AS op_type,
           CASE WHEN c.outcome IN ('succeeded', 'aborted') THEN c.outcome ELSE 'failed' END AS status,
           CASE WHEN c.outcome NOT IN ('succeeded', 'aborted') THEN
               pg_catalog.concat_ws(': ', CASE WHEN c.outcome IN ('skipped', 'unknown') THEN c.outcome END, c.error_code, c.message) END AS failure_reason,
           c.payload::json AS fields, s.name AS sync_name, c.changed_at, c.http_status
      FROM courier_internal.change_log c
      JOIN courier_internal.visible_sync s ON s.sync_id = c.sync_id;
COMMENT ON VIEW courier.sync_changelog IS 'courier.changelog in the columns of warehouse sync logs; see courier.create_log_views';
COMMENT ON COLUMN courier.sync_changelog.row_id IS 'The primary key as text; of several columns, a JSON array. Indexed';
COMMENT ON COLUMN courier.sync_changelog.status IS 'succeeded, failed (rejected, skipped or unknown) or aborted';
COMMENT ON COLUMN courier.sync_changelog.fields IS 'The record as it was sent; NULL where the log does not keep it (option log_records)';

-- Named by a view, so it runs as its reader, and courier.snapshot sees to the rights.
CREATE FUNCTION courier_internal.readable_snapshot(sync text) RETURNS SETOF jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN QUERY SELECT * FROM courier.snapshot(sync);
EXCEPTION WHEN undefined_table OR undefined_column OR undefined_object OR object_not_in_prerequisite_state THEN
    RETURN; -- its model or its owner is gone: no reason to show nothing of all others
END
$$;
COMMENT ON FUNCTION courier_internal.readable_snapshot(text) IS 'courier.snapshot, and nothing where the model of the sync cannot be read';

CREATE VIEW courier.sync_snapshot WITH (security_barrier) AS
    WITH last_outcome AS (
        SELECT DISTINCT ON (c.sync_id, c.row_id) c.sync_id, c.row_id, c.sync_run_id, c.op_type, c.fields
          FROM courier.sync_changelog c ORDER BY c.sync_id, c.row_id, c.changed_at DESC)
    SELECT s.sync_id, l.sync_run_id, a.record->>'key' AS row_id,
           CASE a.record->>'state' WHEN 'left' THEN 'removed' ELSE COALESCE(l.op_type, 'added') END AS op_type,
           CASE a.record->>'state' WHEN 'skipped' THEN 'failed' ELSE 'succeeded' END AS status,
           CASE a.record->>'state' WHEN 'skipped' THEN 'skipped: the destination has no such record' END AS failure_reason,
           COALESCE(NULLIF(a.record->'payload', 'null')::json, l.fields) AS fields, s.name AS sync_name
      FROM courier_internal.visible_sync s
     CROSS JOIN LATERAL courier_internal.readable_snapshot(s.name) a (record)
      LEFT JOIN last_outcome l ON l.sync_id = s.sync_id AND l.row_id = a.record->>'key'
     WHERE NOT EXISTS (SELECT FROM courier_internal.rejected r WHERE r.sync_id = s.sync_id AND r.key = a.record->>'key' AND r.outcome IN ('rejected', 'unknown'))
    UNION ALL
    SELECT s.sync_id, l.sync_run_id, r.key, r.change, 'failed',
           pg_catalog.concat_ws(': ', CASE r.outcome WHEN 'unknown' THEN r.outcome END, r.error_code, r.message), r.payload::json, s.name
      FROM courier_internal.rejected r
      JOIN courier_internal.visible_sync s ON s.sync_id = r.sync_id
      LEFT JOIN last_outcome l ON l.sync_id = r.sync_id AND l.row_id = r.key
     WHERE r.outcome IN ('rejected', 'unknown');
COMMENT ON VIEW courier.sync_snapshot IS 'The latest status of every record: what the destination has accepted, and what it refuses at present. Reads whole snapshots. In the columns of warehouse sync logs; see courier.create_log_views';
COMMENT ON COLUMN courier.sync_snapshot.sync_run_id IS 'The last run that dealt with it; NULL: not in the log any more';
COMMENT ON COLUMN courier.sync_snapshot.op_type IS 'The last change: added, changed or removed; added where the log has none';

CREATE FUNCTION courier_internal.create_log_views(caller oid, caller_path text, schema name) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    view text;
    there oid;
BEGIN
    PERFORM courier_internal.require_value('schema', schema);
    IF schema IN ('courier', 'courier_internal', 'courier_models', 'courier_data') THEN
        RAISE EXCEPTION 'schema "%" belongs to pg_courier', schema USING ERRCODE = '22023', HINT = 'Name another one; it is made where it does not exist.';
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL THEN
        PERFORM courier_internal.execute_as(caller, 'pg_catalog', NULL, format('CREATE SCHEMA %I', schema));
    END IF;
    FOREACH view IN ARRAY ARRAY['sync_runs', 'sync_changelog', 'sync_snapshot'] LOOP
        there := courier_internal.relation_oid(schema, view);
        IF there IS NOT NULL AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
                                              WHERE w.ev_class = there AND d.refclassid = 'pg_class'::regclass
                                                AND d.refobjid = courier_internal.relation_oid('courier', view)) THEN
            RAISE EXCEPTION 'relation "%" already exists in schema "%"', view, schema USING ERRCODE = '42P07',
                DETAIL = 'It is not a view of the sync logs.', HINT = 'Name another schema.';
        END IF;
        -- security_barrier again: a condition that is not leakproof must not be looked at before the filter below.
        PERFORM courier_internal.execute_as(caller, 'pg_catalog', NULL,
            format('CREATE OR REPLACE VIEW %I.%I WITH (security_barrier) AS SELECT * FROM courier.%I', schema, view, view));
        PERFORM courier_internal.execute_as(caller, 'pg_catalog', NULL,
            format('COMMENT ON VIEW %I.%I IS %L', schema, view, format('As courier.%s; made by courier.create_log_views', view)));
    END LOOP;
END
$$;
COMMENT ON FUNCTION courier_internal.create_log_views(oid, text, name) IS 'Behind courier.create_log_views';

CREATE FUNCTION courier.create_log_views(schema name) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.create_log_views(name) IS
'Makes the views sync_runs, sync_changelog and sync_snapshot in a schema of your choice, with the column names that dashboards and dbt packages for warehouse sync logs read. A row of another owner''s sync shows only to those who may see it, whoever reads the view.

schema  where the views go; made where it does not exist

The views are yours: GRANT USAGE ON SCHEMA and SELECT to whoever reads them, and DROP them like any view. Calling it again makes them anew.
Errors: 22023 a schema of pg_courier; 22004 schema is NULL; 42P07 something else has the name; 42501 you may not create there.

Example: SELECT courier.create_log_views(''sync_logs'')';
-- What pg_dump carries: definitions and their sequences. Not secrets, not the epoch (so that a restored copy does not send), not what
-- moves while syncs live (state, runs, logs, rejected records). Snapshots are ordinary tables of their owners and are dumped by themselves.

SELECT pg_catalog.pg_extension_config_dump('courier_internal.source', 'WHERE name <> ''local''');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.source_source_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.model', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.model_model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination_type', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination_destination_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination_share', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.sync', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.sync_sync_id_seq', '');
-- The last word on rights. PUBLIC has EXECUTE on new functions by default, and a superuser may have altered default privileges; nothing
-- in courier_internal is left to that. Views run the functions they name with the rights of their reader, so exactly those are granted.

DO $$
DECLARE
    item record;
BEGIN
    REVOKE ALL ON SCHEMA courier_internal FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA courier_internal FROM PUBLIC;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA courier_internal FROM PUBLIC;
    REVOKE ALL ON ALL ROUTINES IN SCHEMA courier_internal FROM PUBLIC;
    GRANT EXECUTE ON ALL ROUTINES IN SCHEMA courier TO PUBLIC;

    FOR item IN
        SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS relation
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'courier' AND c.relkind = 'v'
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT ON %s TO PUBLIC', item.relation);
    END LOOP;

    FOR item IN
        SELECT DISTINCT p.oid::pg_catalog.regprocedure AS routine
          FROM pg_catalog.pg_rewrite w
          JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
                                     AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
          JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
          JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
         WHERE n.nspname IN ('courier', 'courier_internal') AND c.relkind = 'v' AND f.nspname = 'courier_internal'
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', item.routine);
    END LOOP;
END
$$;

-- A run evaluates these as the sync's owner. They are functions of their arguments alone.
GRANT USAGE ON SCHEMA courier_internal TO PUBLIC;
GRANT EXECUTE ON FUNCTION courier_internal.record_json(text[], boolean[], record), courier_internal.values_json(text[], boolean[], "any"), courier_internal.key_json(text[], "any"),
    courier_internal.key_text("any"), courier_internal.bucket_sums("any", uuid, integer), courier_internal.differing_buckets(bytea, bytea),
    courier_internal.in_buckets("any", bytea) TO PUBLIC;
-- When CREATE EXTENSION commits, the launcher starts a scheduler here.
DO $$ BEGIN PERFORM courier_internal.announce(); END $$;
