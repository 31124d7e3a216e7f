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
