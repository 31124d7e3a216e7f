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
