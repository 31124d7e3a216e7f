-- Errors between C++ and the server: what was raised arrives whole, destructors run, and the session goes on. Needs a library built with
-- FAULT_POINTS=1, as the test suite does.
\set VERBOSITY default
\set SHOW_CONTEXT always
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_courier;
RESET client_min_messages;

CREATE FUNCTION test_guard(kind text) RETURNS integer LANGUAGE c STRICT AS '$libdir/pg_courier', 'courier_test_guard';
CREATE FUNCTION test_objects_left() RETURNS integer LANGUAGE c AS '$libdir/pg_courier', 'courier_test_objects_left';

-- Without an error
SELECT test_guard('nothing');

-- Exceptions become errors
SELECT test_guard('runtime_error');
SELECT test_guard('int');
SELECT test_guard('bad_alloc');
SELECT test_guard('courier');
SELECT test_guard('courier_bare');
SELECT test_guard('exception_below_guard');

-- Errors of the server pass through C++ with everything they have
SELECT test_guard('server');
\echo :LAST_ERROR_SQLSTATE
SELECT test_guard('server_after_exception');
SELECT test_guard('cancel');
\echo :LAST_ERROR_SQLSTATE
SELECT test_guard('nothing');

-- The same from PL/pgSQL: every part is there, and a subtransaction can take it
CREATE FUNCTION catch_guard(kind text) RETURNS TABLE (code text, message text, detail text, hint text, context text)
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM test_guard(kind);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
        context = PG_EXCEPTION_CONTEXT;
    message := left(message, 60);
    RETURN NEXT;
END
$$;
SELECT kind, c.* FROM unnest('{runtime_error,int,bad_alloc,courier,courier_bare,server,exception_below_guard,server_after_exception,changed,long}'::text[]) kind,
    LATERAL catch_guard(kind) c;

-- Many in one transaction, and no object is left behind
SELECT count(*) FROM generate_series(1, 1000), LATERAL catch_guard('server');
SELECT count(*) FROM generate_series(1, 1000), LATERAL catch_guard('changed');
SELECT test_objects_left();

-- The session still works, and so does an error of its own
SELECT 1 / 0;
BEGIN;
SELECT test_guard('server');
SELECT 1;
ROLLBACK;
SELECT 'alive' AS session;

DROP FUNCTION catch_guard(text);
DROP FUNCTION test_guard(text);
DROP FUNCTION test_objects_left();
