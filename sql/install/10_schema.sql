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
