-- Who may do what: the table of doc/security.md, cell by cell. A cell is one statement by one role, undone afterwards: it is allowed, or refused with 42501.
-- What strangers see in views, and what nobody may touch, is asked of the catalogs, so that new views and functions are covered without a word here.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT * FROM no_plan();

CREATE ROLE rights_owner;
CREATE ROLE rights_member IN ROLE rights_owner;
CREATE ROLE rights_viewer IN ROLE courier_viewer;
CREATE ROLE rights_operator IN ROLE courier_operator;
CREATE ROLE rights_admin IN ROLE courier_admin;
CREATE ROLE rights_stranger;
CREATE ROLE rights_shared;
CREATE SCHEMA rights;
GRANT ALL ON SCHEMA rights TO PUBLIC;

\set type '{"base_url": "https://api.example.com", "requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}}}'
SET LOCAL ROLE rights_owner;
CREATE TABLE rights.t (id integer PRIMARY KEY, name text);
INSERT INTO rights.t VALUES (1, 'rights_row');
SELECT courier.create_model('rights_model', query => 'SELECT id, name FROM rights.t', primary_key => '{id}'),
       courier.create_model('rights_unused_model', query => 'SELECT id, name FROM rights.t', primary_key => '{id}'),
       courier.create_destination('rights_destination', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}', '{"token": "rights_secret"}'),
       courier.create_destination('rights_unused_destination', 'http', '{"base_url": "https://api.example.com"}'),
       courier.create_destination('rights_common', 'http', '{"base_url": "https://api.example.com"}'),
       courier.share_destination('rights_common', 'rights_shared'),
       courier.create_destination_type('rights_type', :'type'),
       courier.create_source('rights_source'),
       courier.create_sync('rights_sync', 'rights_model', 'rights_destination', mode => 'upsert'),
       courier.create_sync('rights_queued', 'rights_model', 'rights_destination', mode => 'upsert');
SELECT courier.create_alert('rights_alert', 'run_failed', sync => 'rights_sync');
SELECT courier.pause_sync('rights_queued'); -- and resumed, below
SELECT courier.resume_sync('rights_queued');
RESET ROLE;
-- Everybody else has a table, a model and a destination of his own.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY '{rights_viewer,rights_operator,rights_admin,rights_stranger,rights_shared}'::text[] LOOP
        EXECUTE format('SET LOCAL ROLE %I', role);
        EXECUTE format('CREATE TABLE rights.of_%s (id integer PRIMARY KEY, name text)', role);
        PERFORM courier.create_model('of_' || role, relation => ('rights.of_' || role)::regclass), courier.create_destination('of_' || role, 'http', '{"base_url": "https://api.example.com"}');
    END LOOP;
    RESET ROLE;
END
$$;
-- What runs leave behind.
INSERT INTO courier_internal.run (sync_id, status, triggered_by, planned_removed, error)
    SELECT sync_id, CASE name WHEN 'rights_sync' THEN 'blocked' ELSE 'queued' END, 'rights_owner', 5, 'rights_words' FROM courier_internal.sync WHERE name LIKE 'rights%';
UPDATE courier_internal.sync_state t SET blocked_run_id = r.run_id, last_run_id = r.run_id FROM courier_internal.run r WHERE r.sync_id = t.sync_id AND r.status = 'blocked' AND r.error = 'rights_words';
INSERT INTO courier_internal.rejected (sync_id, key, primary_key, change, outcome, origin_run_id, message, payload)
    SELECT r.sync_id, '1', '{"id": 1}', 'added', 'rejected', r.run_id, 'rights_words', '{}' FROM courier_internal.run r WHERE r.status = 'blocked' AND r.error = 'rights_words';
INSERT INTO courier_internal.invalid_row (sync_id, run_id, reason, key) SELECT r.sync_id, r.run_id, 'null_key', 'rights_words' FROM courier_internal.run r WHERE r.error = 'rights_words';

-- Text of a query's rows, as a role.
CREATE FUNCTION pg_temp.shown(role text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE format('SELECT COALESCE(string_agg(x::text, E''\n''), '''') FROM (%s) x', query) INTO result;
    RESET ROLE;
    RETURN result;
END
$$;

CREATE FUNCTION pg_temp.try(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RAISE EXCEPTION 'undone' USING ERRCODE = 'ZZ999';
EXCEPTION
    WHEN SQLSTATE 'ZZ999' THEN RETURN 'yes';
    WHEN insufficient_privilege THEN RETURN 'no';
    WHEN query_canceled OR OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

CREATE TEMP TABLE action (what text, statement text, who text); -- who may, in letters: owner, member, viewer, operator, admin
INSERT INTO action
SELECT v.what, replace(replace(replace(v.statement, '$queued', q.run_id::text), '$blocked', b.run_id::text), '$type', quote_literal(:'type')), v.who
  FROM courier_internal.run q, courier_internal.run b, (VALUES
    ('preview a model', 'SELECT courier.preview_model(''rights_model'')', 'omvpa'),
    ('check a model', 'SELECT courier.check_model(''rights_model'')', 'omvpa'),
    ('trigger', 'SELECT courier.trigger_sync(''rights_queued'')', 'ompa'),
    ('plan', 'SELECT courier.plan_sync(''rights_sync'')', 'ompa'),
    ('preview the requests', 'SELECT courier.preview_sync(''rights_sync'')', 'ompa'),
    ('cancel', 'SELECT courier.cancel_run($queued)', 'ompa'),
    ('approve', 'SELECT courier.approve_run($blocked)', 'ompa'),
    ('pause', 'SELECT courier.pause_sync(''rights_sync'')', 'ompa'),
    ('resume', 'SELECT courier.resume_sync(''rights_sync'')', 'ompa'),
    ('retry rejected records', 'SELECT courier.retry_rejected(''rights_sync'')', 'ompa'),
    ('discard rejected records', 'SELECT courier.discard_rejected(''rights_sync'')', 'ompa'),
    ('change the schedule', 'SELECT courier.alter_sync(''rights_sync'', schedule => ''every 1 hour'')', 'oma'),
    ('change options', 'SELECT courier.alter_sync(''rights_sync'', options => ''{"concurrency": 2}'')', 'oma'),
    ('change a destination', 'SELECT courier.alter_destination(''rights_destination'', description => ''x'')', 'oma'),
    ('change a base URL', 'SELECT courier.alter_destination(''rights_destination'', config => ''{"base_url": "https://evil.example.com"}'')', 'oma'),
    ('change a description of a model', 'SELECT courier.alter_model(''rights_model'', description => ''x'')', 'oma'),
    ('drop a sync', 'SELECT courier.drop_sync(''rights_sync'')', 'oma'),
    ('drop a model', 'SELECT courier.drop_model(''rights_unused_model'')', 'oma'),
    ('drop a destination', 'SELECT courier.drop_destination(''rights_unused_destination'')', 'oma'),
    ('change a query', 'SELECT courier.alter_model(''rights_model'', query => ''SELECT id, name || ''''x'''' AS name FROM rights.t'')', 'om'),
    ('change a mapping', 'SELECT courier.alter_sync(''rights_sync'', mapping => ''{"id": "id", "n": "name"}'')', 'om'),
    ('change the model of a sync', 'SELECT courier.alter_sync(''rights_sync'', model => ''rights_unused_model'')', 'om'),
    ('give a sync to a role that only the member is of', 'SELECT courier.alter_sync(''rights_sync'', owner => ''rights_member'')', 'm'),
    ('give a model away', 'SELECT courier.alter_model(''rights_unused_model'', owner => ''rights_member'')', 'm'),
    ('give a destination away', 'SELECT courier.alter_destination(''rights_unused_destination'', owner => ''rights_member'')', 'm'),
    ('share a destination', 'SELECT courier.share_destination(''rights_destination'', ''rights_stranger'')', 'om'),
    ('take back a share', 'SELECT courier.unshare_destination(''rights_common'', ''rights_shared'')', 'oma'),
    ('sync somebody else''s model', 'SELECT courier.create_sync(''rights_new'', ''rights_model'', $own_destination, mode => ''upsert'')', 'om'),
    ('sync to somebody else''s destination', 'SELECT courier.create_sync(''rights_new'', $own_model, ''rights_destination'', mode => ''upsert'')', 'om'),
    ('sync to a destination that is shared with somebody', 'SELECT courier.create_sync(''rights_new'', $own_model, ''rights_common'', mode => ''upsert'')', 'oms'),
    ('change a shared destination', 'SELECT courier.alter_destination(''rights_common'', config => ''{"base_url": "https://evil.example.com"}'')', 'oma'),
    ('make a model of a table one may not read', 'SELECT courier.create_model(''rights_new'', relation => ''rights.t'')', 'om'),
    ('see a snapshot', 'SELECT courier.snapshot(''rights_sync'')', 'omvpa'),
    ('explain a record', 'SELECT courier.explain_record(''rights_sync'', ''1'')', 'ompa'),
    ('report on a sync', 'SELECT courier.report(''rights_sync'')', 'omvpa'),
    ('report on all that one may see', 'SELECT courier.report()', 'omvpas-'),
    ('export what one may see', 'SELECT courier.export_config()', 'omvpas-'),
    ('apply a configuration that changes a sync', 'SELECT * FROM courier.apply_config(''{"syncs": {"rights_sync": {"model": "rights_model", "destination": "rights_destination", "mode": "upsert", "schedule": "every 1 hour"}}}'', false)', 'oma'),
    ('resume what is one''s own', 'SELECT courier.resume_all()', 'omvpas-'),
    ('make log views in a schema of one''s own', 'SELECT courier.create_log_views(''rights'')', 'omvpas-'),
    ('drop a destination type', 'SELECT courier.drop_destination_type(''rights_type'')', 'oma'),
    ('make a destination', 'SELECT courier.create_destination(''rights_new'', ''http'', ''{"base_url": "https://api.example.com"}'')', 'omvpas-'),
    ('make a destination type', 'SELECT courier.create_destination_type(''rights_type_new'', $type)', 'omvpas-'),
    ('check a source', 'SELECT courier.check_source(''rights_source'')', 'omvpa'),
    ('make a source', 'SELECT courier.create_source(''rights_new'')', 'omvpas-'),
    ('drop a source', 'SELECT courier.drop_source(''rights_source'')', 'oma'),
    ('make an alert', 'SELECT courier.create_alert(''rights_new'', ''run_failed'', sync => ''rights_sync'')', 'omvpa'),
    ('change an alert', 'SELECT courier.alter_alert(''rights_alert'', muted_until => ''2100-01-01'')', 'oma'),
    ('drop an alert', 'SELECT courier.drop_alert(''rights_alert'')', 'oma'),
    ('wait for a run', 'SELECT courier.wait_for_run($blocked, ''1 ms'')', 'omvpa'),
    ('send one record', 'SELECT courier.test_record(''rights_sync'', ''1'')', 'ompa'),
    ('try a destination', 'SELECT courier.test_destination(''rights_destination'')', 'ompa'),
    ('set pg_courier.allow_addresses', 'SET LOCAL pg_courier.allow_addresses = ''0.0.0.0/0''', ''),
    ('set pg_courier.secrets_directory', 'SET LOCAL pg_courier.secrets_directory = ''/''', '')) v (what, statement, who)
 WHERE q.error = 'rights_words' AND q.status = 'queued' AND b.error = 'rights_words' AND b.status = 'blocked';

SELECT is(pg_temp.try(r.role, replace(replace(a.statement, '$own_model', quote_literal(CASE WHEN r.letter IN ('o', 'm') THEN 'rights_model' ELSE 'of_' || r.role END)),
                                      '$own_destination', quote_literal(CASE WHEN r.letter IN ('o', 'm') THEN 'rights_common' ELSE 'of_' || r.role END))),
          -- What a worker does for the caller it cannot do for a transaction that is not committed yet: allowed, and told so. Whose runs one
          -- may not see do not exist.
          CASE WHEN a.who LIKE '%' || r.letter || '%' THEN CASE a.what WHEN 'send one record' THEN '55000 sync "rights_sync" is not committed yet'
                                                                                 WHEN 'try a destination' THEN '55000 destination "rights_destination" is not committed yet' ELSE 'yes' END
               WHEN a.what = 'wait for a run' THEN '42704 run ' || substring(a.statement, '\d+') || ' does not exist'
               WHEN a.statement LIKE '%apply_config%' AND r.letter IN ('s', '-') THEN '42710 sync "rights_sync" already exists' -- names are for all
               ELSE 'no' END, r.role || ': ' || a.what)
  FROM action a,
       (VALUES ('o', 'rights_owner'), ('m', 'rights_member'), ('v', 'rights_viewer'), ('p', 'rights_operator'), ('a', 'rights_admin'), ('s', 'rights_shared'), ('-', 'rights_stranger')) r (letter, role)
 ORDER BY a.what, r.role;

-- Every function of the interface stands above, but for those that anybody may call, and run_sync, which needs a transaction of its own
-- (e2e test_escalation: run_sync_rights).
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'courier'::regnamespace AND p.proname NOT IN ('hash128', 'run_id', 'version', 'run_sync')
                     AND NOT EXISTS (SELECT FROM action a WHERE a.statement LIKE '%courier.' || p.proname || '(%')$$, 'every function of the interface has its cells');

-- Views: strangers see nothing of it, whoever may see sees it.
SELECT doesnt_match(pg_temp.shown('rights_stranger', format('SELECT * FROM courier.%I', viewname)), 'rights_(model|unused|destination|common|sync|queued|words|row|owner)', 'rights_stranger: nothing in courier.' || viewname)
  FROM pg_views WHERE schemaname = 'courier' AND viewname <> 'destination_types';
SELECT alike(pg_temp.shown(role, format('SELECT * FROM courier.%I', view)), '%rights\_%', role || ': courier.' || view)
  FROM unnest('{models,destinations,syncs,sync_details,health,runs,run_details,rejected_records,invalid_rows,progress}'::text[]) view,
       unnest('{rights_owner,rights_member,rights_viewer,rights_operator,rights_admin}'::text[]) role;
SELECT unalike(pg_temp.shown(role, format('SELECT * FROM courier.%I', viewname)), '%rights_secret%', role || ': no secret in courier.' || viewname)
  FROM pg_views, unnest('{rights_owner,rights_viewer,rights_admin}'::text[]) role WHERE schemaname = 'courier';
SELECT alike(pg_temp.shown('rights_shared', 'SELECT * FROM courier.destinations'), '%rights\_common%', 'rights_shared: sees what is shared with it');
SELECT unalike(pg_temp.shown('rights_shared', 'SELECT * FROM courier.destinations'), '%rights\_destination%', 'rights_shared: and no other');

-- Behind the interface: no table, and no function but those that views and runs name.
SELECT is(pg_temp.try(role, format('SELECT FROM courier_internal.%I', c.relname)), 'no', role || ': table courier_internal.' || c.relname)
  FROM pg_class c, unnest('{rights_stranger,rights_admin}'::text[]) role WHERE c.relnamespace = 'courier_internal'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S');
SELECT is(pg_temp.try(role, 'CREATE TABLE courier_data.x ()'), CASE role WHEN 'rights_owner' THEN 'yes' ELSE 'no' END, role || ': may make tables in courier_data')
  FROM unnest('{rights_owner,rights_stranger,rights_admin,rights_viewer}'::text[]) role;
SELECT is(pg_temp.try('rights_stranger', format('SELECT * FROM courier_data.%I', c.relname)), 'no', 'rights_stranger: somebody else''s courier_data.' || c.relname)
  FROM pg_class c WHERE c.relnamespace = 'courier_data'::regnamespace AND c.relkind = 'r';
SELECT is(pg_temp.try(role, format('CREATE FUNCTION %I.evil() RETURNS integer LANGUAGE sql AS ''SELECT 1''', schema)), 'no', role || ': makes nothing in schema ' || schema)
  FROM unnest('{rights_stranger,rights_owner,rights_admin}'::text[]) role, unnest('{courier,courier_internal}'::text[]) schema;
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('courier'::regnamespace, 'courier_internal'::regnamespace) AND prosecdef$$, 'no function is SECURITY DEFINER');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'courier_internal'::regnamespace AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')
                     AND has_function_privilege('rights_stranger', p.oid, 'EXECUTE')
                     AND p.proname <> 'readable_snapshot' /* the views of courier.create_log_views; reads with the reader's own rights */$$, 'no PL/pgSQL function behind the interface can be called');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' WHERE p.pronamespace = 'courier_internal'::regnamespace AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') AND p.prokind = 'f'
                     AND NOT COALESCE(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)$$, 'every SQL function behind the interface has its own search_path');
SELECT is_empty($$SELECT viewname FROM pg_views v JOIN pg_class c ON c.relname = v.viewname AND c.relnamespace = 'courier'::regnamespace WHERE v.schemaname = 'courier'
                     AND NOT COALESCE(c.reloptions @> '{security_barrier=true}', false) AND v.definition ~ 'visible'$$, 'every filtered view is a security barrier');

SELECT * FROM finish();
ROLLBACK;
