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
