-- Sources, models, destinations, syncs: create, look, alter, drop, and who may. One transaction that is rolled back, so nothing is ever sent.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

BEGIN;
CREATE ROLE regress_objects_alice;
CREATE ROLE regress_objects_ann IN ROLE regress_objects_alice;
CREATE ROLE regress_objects_bob;
CREATE ROLE regress_objects_viewer IN ROLE courier_viewer;
CREATE ROLE regress_objects_operator IN ROLE courier_operator;
CREATE ROLE regress_objects_admin IN ROLE courier_admin;
CREATE SCHEMA regress_objects AUTHORIZATION regress_objects_alice;

SET ROLE regress_objects_alice;
SET LOCAL search_path = regress_objects, public;
CREATE TABLE customer (id integer PRIMARY KEY, email text, city text);
INSERT INTO customer VALUES (1, 'Ada@example.com', 'Rome'), (2, 'Ben@example.com', 'Oslo');
CREATE TABLE visit (customer integer, day date, pages integer);
INSERT INTO visit VALUES (1, '2024-01-01', 3), (1, '2024-01-01', 4), (2, NULL, 5), (2, '2024-01-02', 6);

-- Sources
SELECT courier.create_source('regress_files', description => 'loaded by hand');
SELECT name, foreign_server, description, owner FROM courier.sources WHERE name LIKE 'regress%';
SELECT * FROM courier.check_source('local');

-- Models: a query becomes a view of the caller's, a table has its own key
SELECT courier.create_model('regress_customers', 'SELECT id, email, city FROM customer', '{id}', source => 'regress_files');
SELECT courier.create_model('regress_people', relation => 'customer', description => 'as they are');
SELECT courier.create_model('regress_visits', relation => 'visit', primary_key => '{customer,day}');
SELECT name, source, relation, primary_key, query, description, owner FROM courier.models WHERE name LIKE 'regress%';
SELECT relname, relowner::regrole FROM pg_class WHERE oid = 'courier_models.regress_customers'::regclass;
SELECT * FROM courier.preview_model('regress_customers', 1);
SELECT * FROM courier.check_model('regress_people');
SELECT * FROM courier.check_model('regress_visits');

-- Destinations: no view shows a secret
SELECT courier.create_destination('regress_crm', 'http', '{"base_url": "https://api.example.com/v1", "auth": {"type": "bearer"}}', '{"token": "hush"}');
SELECT name, type, config, secrets, shared_with, owner FROM courier.destinations WHERE name LIKE 'regress%';

-- Syncs
SELECT courier.create_sync('regress_contacts', 'regress_customers', 'regress_crm', mode => 'upsert',
    mapping => '{"id": "id", "email": "lower(email)", "address.city": {"expr": "city", "null": "omit"}, "seen": {"expr": "id + extract(year FROM now())", "track": false}}',
    config => '{"requests": {"upsert": {"method": "PUT", "path": "/contacts/{{ id }}"}, "delete": {"method": "DELETE", "path": "/contacts/{{ id }}"}}}');
SELECT courier.create_sync('regress_raw', 'regress_people', 'regress_crm', mode => 'insert', schedule => 'after regress_contacts');
SELECT courier.create_sync('regress_hourly', 'regress_people', 'regress_crm', mode => 'insert', schedule => 'every 1 hour', match_on => '{email}', options => '{"batch_size": 10}');
SELECT name, model, destination, mode, schedule, health, last_status, next_run_at = now()::timestamptz(0) AS at_once FROM courier.syncs WHERE name LIKE 'regress%';
SELECT name, sync_type, mapping, match_on, on_removed, first_run, options, paused, snapshot_records, rejected_records, search_path, owner, health_detail
  FROM courier.sync_details WHERE name LIKE 'regress%';

-- Others see nothing, viewers everything
SET ROLE regress_objects_bob;
SELECT name FROM courier.models WHERE name LIKE 'regress%';
SELECT name FROM courier.destinations WHERE name LIKE 'regress%';
SELECT name FROM courier.syncs WHERE name LIKE 'regress%';
SELECT * FROM courier.preview_model('regress_customers');
SELECT courier.create_sync('regress_bob', 'regress_customers', 'regress_crm');
SELECT courier.alter_sync('regress_contacts', schedule => 'manual');
SELECT courier.alter_destination('regress_crm', config => '{"base_url": "https://evil.example.com"}');
SELECT courier.drop_sync('regress_contacts');
SELECT courier.pause_sync('regress_contacts');
SELECT * FROM courier_internal.secret;
SELECT courier_internal.pause_sync('regress_objects_alice'::regrole, '', 'regress_contacts');
SET ROLE regress_objects_viewer;
SELECT name FROM courier.syncs WHERE name LIKE 'regress%';
SELECT * FROM courier.preview_model('regress_customers', 1);
SELECT courier.pause_sync('regress_contacts');
SET ROLE regress_objects_operator;
SELECT courier.pause_sync('regress_contacts');
SELECT name, health, next_run_at FROM courier.syncs WHERE name = 'regress_contacts';
SELECT courier.resume_sync('regress_contacts');
SELECT courier.alter_sync('regress_contacts', schedule => 'manual');

-- A shared destination can be used, not changed
SET ROLE regress_objects_alice;
SELECT courier.share_destination('regress_crm', 'regress_objects_bob');
SET ROLE regress_objects_bob;
SELECT courier.create_model('regress_bobs', 'SELECT 1 AS id', '{id}');
SELECT courier.create_sync('regress_bob', 'regress_bobs', 'regress_crm', mode => 'insert');
SELECT name, owner FROM courier.destinations WHERE name LIKE 'regress%';
SELECT courier.alter_destination('regress_crm', config => '{"base_url": "https://evil.example.com"}');
SET ROLE regress_objects_alice;
SELECT courier.unshare_destination('regress_crm', 'regress_objects_bob');
RESET ROLE;
SELECT courier.drop_sync('regress_bob');
SELECT courier.unshare_destination('regress_crm', 'regress_objects_bob');

-- Administrators reconfigure; what runs as the owner takes a member of the owner
SET ROLE regress_objects_admin;
SELECT courier.alter_sync('regress_contacts', mode => 'mirror', options => '{"max_removed": "10%"}');
SELECT mode, on_removed, options FROM courier.sync_details WHERE name = 'regress_contacts';
SELECT courier.alter_sync('regress_contacts', mapping => '{"id": "id"}');
SELECT courier.alter_sync('regress_contacts', owner => 'regress_objects_admin');
SELECT courier.alter_model('regress_customers', query => 'SELECT 1 AS id');
SET ROLE regress_objects_ann;
SELECT courier.alter_sync('regress_contacts', mode => 'upsert', mapping => '{"id": "id", "email": "email"}', options => '{"max_removed": null, "timeout": "5 s"}', reset => '{schedule}');
SELECT mode, on_removed, mapping, options, search_path, owner FROM courier.sync_details WHERE name = 'regress_contacts';
SELECT courier.alter_sync('regress_contacts', reset => '{options,name}');
SELECT courier.alter_sync('regress_contacts', schedule => 'after regress_raw');
SELECT courier.alter_sync('regress_contacts', owner => 'regress_objects_ann');
SELECT name, owner FROM courier.sync_details WHERE name = 'regress_contacts';

-- Models change under their syncs
SET ROLE regress_objects_alice;
SELECT courier.alter_model('regress_customers', query => 'SELECT id, email, city, upper(city) AS town FROM customer');
SELECT courier.alter_model('regress_customers', query => 'SELECT id, city FROM customer');
SELECT courier.alter_model('regress_customers', query => 'SELECT city FROM customer');
SELECT courier.alter_model('regress_customers', relation => 'customer', description => 'now the table');
SELECT relation, query, primary_key, description FROM courier.models WHERE name = 'regress_customers';
SELECT to_regclass('courier_models.regress_customers');

-- Settings are merged, a null removes a key
SELECT courier.alter_destination('regress_crm', config => '{"headers": {"X-Team": "data"}, "auth": null}', secrets => '{"token": null}', description => 'test');
SELECT config, secrets, description FROM courier.destinations WHERE name = 'regress_crm';
SELECT courier.alter_destination('regress_crm', reset => '{description}');

-- A role that owns something cannot be dropped
RESET ROLE;
\set VERBOSITY terse
DROP ROLE regress_objects_alice;
\set VERBOSITY default

-- A copy comes up paused
UPDATE courier_internal.sync SET epoch = gen_random_uuid() WHERE name LIKE 'regress%';
DELETE FROM courier_internal.sync_state;
SET ROLE regress_objects_alice;
SELECT name, health, next_run_at FROM courier.syncs WHERE name LIKE 'regress%';
SELECT courier.resume_all();
SELECT name, health FROM courier.syncs WHERE name LIKE 'regress%';

-- Dropping says what depends
SELECT courier.drop_source('regress_files');
SELECT courier.drop_source('local');
SELECT courier.drop_model('regress_people');
SELECT courier.drop_destination('regress_crm');
SET ROLE regress_objects_ann;
SELECT courier.drop_sync('regress_contacts');
SELECT courier.drop_sync('regress_raw'), courier.drop_sync('regress_contacts'), courier.drop_sync('regress_hourly');
SELECT courier.drop_model('regress_people'), courier.drop_model('regress_customers'), courier.drop_model('regress_visits');
SELECT courier.drop_destination('regress_crm'), courier.drop_source('regress_files');
RESET ROLE;
SELECT count(*) FROM pg_namespace n, aclexplode(n.nspacl) a
 WHERE n.nspname IN ('courier_models', 'courier_data') AND pg_get_userbyid(a.grantee) IN ('regress_objects_alice', 'regress_objects_ann');

-- The manual is complete, and nothing behind it is open
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
 WHERE p.pronamespace IN ('courier'::regnamespace, 'courier_internal'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass AS without_comment FROM pg_class c
 WHERE c.relnamespace IN ('courier'::regnamespace, 'courier_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
   AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT p.oid::regprocedure AS open_to_all FROM pg_proc p
 WHERE p.pronamespace = 'courier_internal'::regnamespace AND has_function_privilege('regress_objects_bob', p.oid, 'EXECUTE') ORDER BY 1;
SELECT c.oid::regclass AS open_to_all FROM pg_class c
 WHERE c.relnamespace = 'courier_internal'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND has_table_privilege('regress_objects_bob', c.oid, 'SELECT, INSERT, UPDATE, DELETE');
ROLLBACK;
