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
