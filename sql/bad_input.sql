-- Typical mistakes. Each is told with the name of what is wrong, what is allowed and what to do next; none is an internal error.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

BEGIN;
CREATE ROLE regress_mistaken;
CREATE SCHEMA regress_mistakes AUTHORIZATION regress_mistaken;
SET ROLE regress_mistaken;
SET LOCAL search_path = regress_mistakes, public;
CREATE TABLE customer (id integer PRIMARY KEY, email text, notes json, updated timestamptz);
CREATE TABLE keyless (a integer);
SELECT courier.create_model('regress_customers', relation => 'customer');
SELECT courier.create_destination('regress_crm', 'http', '{"base_url": "https://api.example.com/v1"}');
SELECT courier.create_sync('regress_contacts', 'regress_customers', 'regress_crm', mode => 'insert');

-- Names
SELECT courier.create_model(NULL, relation => 'customer');
SELECT courier.create_model('', relation => 'customer');
SELECT courier.create_model('regress_customers', relation => 'customer');
SELECT courier.create_model(repeat('x', 64), relation => 'customer');

-- Models
SELECT courier.create_model('regress_m');
SELECT courier.create_model('regress_m', 'SELECT 1 AS id', '{id}', relation => 'customer');
SELECT courier.create_model('regress_m', 'SELECT id FROM customer');
SELECT courier.create_model('regress_m', 'SELECT id FROM customer', '{ID}');
SELECT courier.create_model('regress_m', 'SELECT id FROM customer', '{}');
SELECT courier.create_model('regress_m', 'SELECT id FROM customer', '{id,id}');
SELECT courier.create_model('regress_m', 'SELECT id, notes FROM customer', '{notes}');
SELECT courier.create_model('regress_m', 'SELECT emial FROM customer', '{id}');
SELECT courier.create_model('regress_m', 'SELECT id FORM customer', '{id}');
SELECT courier.create_model('regress_m', 'SELECT id FROM customer; SELECT 2', '{id}');
SELECT courier.create_model('regress_m', 'DELETE FROM customer RETURNING id', '{id}');
SELECT courier.create_model('regress_m', relation => 'keyless');
SELECT courier.create_model('regress_m', relation => 'pg_catalog.pg_authid', primary_key => '{oid}');
SELECT courier.create_model('regress_m', relation => 'customer', source => 'warehouse');
SELECT courier.preview_model('regress_m');
SELECT courier.preview_model('regress_customers', -1);

-- Destinations
\set VERBOSITY terse
SELECT courier.create_destination('regress_d', 'htttp');
\set VERBOSITY default
SELECT courier.create_destination('regress_d', 'http');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "api.example.com"}');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "heders": {}}');
SELECT courier.create_destination('regress_d', 'http', '["https://api.example.com"]');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}', '{"tokn": "hush"}');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}', '{"token": {"path": "crm"}}');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}', '{"token": {"file": "../crm"}}');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}', '{"token": {"file": "/etc/passwd"}}');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}', '{"token": {"env": "REGRESS_HOME"}}');
SELECT courier.create_destination('regress_d', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}', '{"token": ""}');
SELECT courier.share_destination('regress_crm', NULL);
SELECT courier.create_destination_type('http', '{}');
SELECT courier.drop_destination_type('http');

-- Syncs
SELECT courier.create_sync('regress_s', 'regress_custmers', 'regress_crm');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_cmr');
SELECT courier.create_sync('regress_s', 'regress_customers', NULL);
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'upsrt');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', sync_type => 'object');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', on_removed => 'forget');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', first_run => 'no');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', config => '{"request": {}}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', options => '{"batchsize": 10}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', options => '{"time_zone": "Mars"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', options => '{"retention": "long"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', schedule => 'hourly');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', schedule => '61 * * * *');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', schedule => 'every blue moon');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', schedule => 'after regress_x');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', schedule => 'after regress_s');

-- Mappings
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '["id"]');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "idd"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id", "kind": 7}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id", "mail": ""}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": {"expression": "id"}}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": {"expr": "id", "null": "skip"}}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id", "id": "email"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id", "address": "email", "address.city": "email"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id", "age": "now() - updated"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id", "n": "count(*)"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id, email"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id) FROM customer; DROP TABLE customer; --"}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id"}', match_on => '{email}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id"}', match_on => '{}');
SELECT courier.create_sync('regress_s', 'regress_customers', 'regress_crm', mode => 'insert', mapping => '{"id": "id", "k": "''x''"}', match_on => '{k}');

-- Changing and dropping what is not there
SELECT courier.alter_model('regress_x', description => 'x');
SELECT courier.alter_destination('regress_crm', reset => '{secret}');
SELECT courier.alter_sync('regress_contacts', options => '{"batch_size": 5}', reset => '{options}');
SELECT courier.pause_sync('regress_x');
SELECT courier.drop_sync(NULL);

-- Nothing of all this was stored
SELECT name FROM courier.models WHERE name LIKE 'regress%' UNION ALL SELECT name FROM courier.destinations WHERE name LIKE 'regress%'
    UNION ALL SELECT name FROM courier.syncs WHERE name LIKE 'regress%';
SELECT relname FROM pg_class WHERE relnamespace = 'courier_models'::regnamespace AND relname LIKE 'regress%';
ROLLBACK;
