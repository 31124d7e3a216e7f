-- Configuration as code: export and apply go round, apply is idempotent, a dry run leaves nothing, snapshots stay, rights are those of the
-- functions that are called. Leaves nothing behind.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = error;

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(43);

CREATE SCHEMA courier_config;
SET LOCAL search_path = courier_config, public;
CREATE ROLE courier_config_owner;
CREATE ROLE courier_config_other;
CREATE ROLE courier_config_stranger;
GRANT CREATE, USAGE ON SCHEMA courier_config TO courier_config_owner, courier_config_other;
SET LOCAL ROLE courier_config_owner;
CREATE TABLE customer (id integer PRIMARY KEY, email text, "City" text);
CREATE TABLE wide (a integer, b text, PRIMARY KEY (a, b));

-- Everything that there is, with settings off their defaults.
CREATE FUNCTION pg_temp.make() RETURNS void LANGUAGE sql AS $$
    SELECT courier.create_model('customers', $q$SELECT id, email, "City" FROM customer$q$, '{id}', description => 'all of them');
    SELECT courier.create_model('wide', relation => 'wide');
    SELECT courier.create_destination_type('shelf', '{"description": "x", "base_url": "https://shelf.example.com",
        "objects": {"*": {"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}}}}}');
    SELECT courier.create_destination('crm', 'http', '{"base_url": "https://crm.example.com", "auth": {"type": "bearer"}, "headers": {"X-A": "b"}}', '{"token": {"env": "CRM_TOKEN"}}', 'the crm');
    SELECT courier.share_destination('crm', 'courier_config_other');
    SELECT courier.create_sync('contacts', 'customers', 'crm', mode => 'mirror', match_on => '{mail}', schedule => 'every 15 min',
        mapping => '{"z": "id", "mail": {"expr": "lower(email)", "null": "omit"}, "a.b": "\"City\""}', options => '{"max_removed": "10%", "batch_size": 1}',
        config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ mail }}"}, "delete": {"method": "DELETE", "path": "/{{ mail }}"}}}');
    SELECT courier.create_sync('all wide', 'wide', 'crm', mode => 'upsert', schedule => 'after contacts', options => '{"stop_on": "never"}',
        config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ a }}"}}}');
    SELECT courier.pause_sync('all wide');
    SELECT courier.create_alert('failures', 'run_failed', destination => 'crm', channel => 'all wide');
$$;
-- The settings of the test may not allow the names of secrets.
RESET ROLE;
SET LOCAL pg_courier.secret_env = 'CRM_TOKEN,OTHER_TOKEN';
SET LOCAL ROLE courier_config_owner;
SELECT lives_ok('SELECT pg_temp.make()', 'make one of each');

CREATE TEMP TABLE kept AS SELECT courier.export_config() AS document;
SELECT is((SELECT array_agg(k ORDER BY k) FROM kept, jsonb_object_keys(document) k), ARRAY['alerts', 'destination_types', 'destinations', 'format', 'models', 'syncs'],
          'a document has a section for each kind that there is');
SELECT is((SELECT document->'destinations'->'crm'->'secrets' FROM kept), '{"token": {"env": "CRM_TOKEN"}}', 'secrets are references');
SELECT is((SELECT document->'syncs'->'contacts'->'mapping' FROM kept), '[{"z": "id"}, {"mail": {"expr": "lower(email)", "null": "omit"}}, {"a.b": "\"City\""}]', 'a mapping keeps its order');
SELECT ok(NOT (SELECT document->'models'->'customers' ? 'owner' FROM kept), 'the owner is left out where it is oneself');
SELECT is((SELECT document->'models'->'wide' FROM kept), '{"relation": "courier_config.wide", "primary_key": ["a", "b"]}', 'defaults are left out');
SELECT is_empty('SELECT a.* FROM kept, courier.apply_config(document, false) a', 'apply what is there: nothing to do');

-- Change
CREATE TEMP TABLE snapshots AS SELECT c.oid, c.relname FROM pg_class c WHERE c.relnamespace = 'courier_data'::regnamespace AND c.relkind = 'r';
CREATE TEMP TABLE changed AS SELECT jsonb_set(jsonb_set(jsonb_set(jsonb_set(document,
        '{syncs,contacts,options}', '{"max_changes": 5}'), '{syncs,contacts,schedule}', '"manual"'),
        '{models,customers,query}', '"SELECT id, email, \"City\", 1 AS one FROM customer"'),
        '{destinations,crm}', '{"type": "http", "config": {"base_url": "https://other.example.com", "auth": {"type": "bearer"}}, "secrets": {"token": {"env": "OTHER_TOKEN"}}}') AS document FROM kept;
SELECT results_eq('SELECT a.action, a.kind, a.name FROM changed, courier.apply_config(document) a',
    $$VALUES ('change', 'model', 'customers'), ('change', 'destination', 'crm'), ('change', 'sync', 'contacts')$$, 'the plan of a dry run');
SELECT is(courier.export_config(), (SELECT document FROM kept), 'a dry run leaves nothing');
SELECT matches((SELECT a.detail FROM changed, courier.apply_config(document) a WHERE a.kind = 'sync'), 'options: .*max_removed.* -> {"max_changes": 5}; schedule: every 15 min -> manual', 'what changes');
SELECT is((SELECT count(*) FROM changed, courier.apply_config(document, false)), 3::bigint, 'apply');
SELECT is((SELECT options FROM courier.sync_details WHERE name = 'contacts'), '{"max_changes": 5}', 'settings that are gone from the document are gone');
SELECT is((SELECT config FROM courier.destinations WHERE name = 'crm'), '{"base_url": "https://other.example.com", "auth": {"type": "bearer"}}', 'those of a destination, too');
SELECT is((SELECT shared_with FROM courier.destinations WHERE name = 'crm'), '{}', 'and whom it is shared with');
SELECT ok((SELECT description IS NULL FROM courier.destinations WHERE name = 'crm'), 'and its description');
SELECT is_empty('SELECT a.* FROM changed, courier.apply_config(document, false) a', 'a second time there is nothing to do');
SELECT is_empty('SELECT * FROM snapshots s WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.oid AND c.relname = s.relname)', 'snapshots stay what they are');
SELECT is((SELECT count(*) FROM kept, courier.apply_config(document, false)), 3::bigint, 'and back');
SELECT is(courier.export_config(), (SELECT document FROM kept), 'all is as it was');
-- A mapping as an object says nothing of the order.
SELECT is_empty($$SELECT a.* FROM courier.apply_config('{"syncs": {"contacts": {"model": "customers", "destination": "crm", "match_on": ["mail"], "schedule": "every 15 min",
    "mapping": {"a.b": "\"City\"", "mail": {"expr": "lower(email)", "null": "omit"}, "z": "id"}, "options": {"max_removed": "10%", "batch_size": 1},
    "config": {"requests": {"upsert": {"method": "PUT", "path": "/{{ mail }}"}, "delete": {"method": "DELETE", "path": "/{{ mail }}"}}}}}}') a$$, 'a mapping given as an object');

-- Drops only when asked for, of the kinds that are spoken of.
SELECT is_empty($$SELECT * FROM courier.apply_config('{"syncs": {}, "alerts": {}}')$$, 'what a document lacks is left alone');
SELECT results_eq($$SELECT action, kind, name FROM courier.apply_config('{"syncs": {}, "alerts": {}, "prune": true}')$$,
    $$VALUES ('drop', 'alert', 'failures'), ('drop', 'sync', 'all wide'), ('drop', 'sync', 'contacts')$$, 'prune: the plan');
SELECT is((SELECT count(*) FROM courier.syncs), 2::bigint, 'a dry run drops nothing');
SELECT is((SELECT count(*) FROM courier.apply_config('{"syncs": {}, "alerts": {}, "models": {}, "destinations": {}, "destination_types": {}}', false, true)), 7::bigint, 'prune');
SELECT is(courier.export_config(), '{"format": 1}', 'nothing is left');

-- Elsewhere
SELECT is((SELECT count(*) FROM kept, courier.apply_config(document)), 7::bigint, 'a dry run makes everything, in order');
SELECT is(courier.export_config(), '{"format": 1}', 'and undoes it');
SELECT is((SELECT string_agg(a.action, ',') FROM kept, courier.apply_config(document, false) a), 'create,create,create,create,create,create,create', 'apply elsewhere');
SELECT is(courier.export_config(), (SELECT document FROM kept), 'round trip');
SELECT is((SELECT string_agg(key, ',' ORDER BY n) FROM courier.sync_details, json_each(mapping) WITH ORDINALITY e (key, value, n) WHERE name = 'contacts'), 'z,mail,a.b', 'with the order of the fields');
SELECT ok((SELECT paused FROM courier.sync_details WHERE name = 'all wide'), 'and what was paused');

-- All or nothing, and what is wrong
SELECT throws_ok($$SELECT courier.apply_config('{"models": {"good": {"query": "SELECT 1 AS id", "primary_key": ["id"]}, "worse": {"query": "SELECT nonsense", "primary_key": ["id"]}}}', false)$$, '42703', NULL, 'an error of what is called');
SELECT is((SELECT count(*) FROM courier.models WHERE name = 'good'), 0::bigint, 'leaves nothing');
SELECT throws_ok($$SELECT courier.apply_config('{"models": {"worse": {"query": "SELECT nonsense", "primary_key": ["id"]}}}')$$, '42703', NULL, 'a dry run finds it, too');
SELECT throws_ok(format('SELECT courier.apply_config(%L)', d), '22023', NULL, d) FROM unnest(ARRAY['{"modells": {}}', '{"models": {"x": {"querry": "SELECT 1"}}}', '[]',
    '{"format": 2}', '{"destinations": {"crm": {"type": "http", "secrets": {"token": "plain"}}}}', '{"syncs": {"x": {"model": "customers"}}}']) d;

-- Rights
RESET ROLE;
SET LOCAL ROLE courier_config_stranger;
SELECT is(courier.export_config(), '{"format": 1}', 'a stranger exports nothing of others');
SELECT throws_ok($$SELECT courier.apply_config('{"syncs": {"x": {"model": "customers", "destination": "crm"}}}')$$, '42501', NULL, 'and makes nothing from it');
RESET ROLE;
-- A superuser's export names the owners, so that models do not come to run as a superuser.
SELECT is(courier.export_config()->'models'->'customers'->>'owner', 'courier_config_owner', 'the owner is told where it is somebody else');

SELECT * FROM finish();
ROLLBACK;
