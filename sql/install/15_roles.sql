-- The three roles, viewer below operator below admin. They belong to the cluster, not to a database, and DROP EXTENSION leaves them.
--
-- A role of that name that somebody can already act as would become an administrator of every sync by CREATE EXTENSION alone, so that
-- stops the installation. Whoever knows the members (a second database of the cluster, a restore from pg_dumpall) says so with
-- SET courier.keep_role_members = on. The setting counts only when it was made in the session: a database owner could have it
-- attached to the database.

DO $$
DECLARE
    role_name text;
    strangers text;
    may_login boolean;
    keep_members boolean := COALESCE(NULLIF(pg_catalog.current_setting('courier.keep_role_members', true), '')::boolean, false)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting r, pg_catalog.unnest(r.setconfig) c
                         WHERE pg_catalog.lower(c) LIKE 'courier.keep\_role\_members=%');
BEGIN
    FOREACH role_name IN ARRAY ARRAY['courier_viewer', 'courier_operator', 'courier_admin'] LOOP
        SELECT r.rolcanlogin INTO may_login FROM pg_catalog.pg_roles r WHERE r.rolname = role_name;
        IF NOT FOUND THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
            CONTINUE;
        END IF;

        SELECT pg_catalog.string_agg(pg_catalog.format('%I', pg_catalog.pg_get_userbyid(m.member)), ', ' ORDER BY m.member) INTO strangers
          FROM pg_catalog.pg_auth_members m
          JOIN pg_catalog.pg_roles r ON r.oid = m.roleid
         WHERE r.rolname = role_name
           AND pg_catalog.pg_get_userbyid(m.member) NOT IN ('courier_viewer', 'courier_operator', 'courier_admin');
        IF keep_members THEN
            CONTINUE;
        ELSIF may_login THEN
            RAISE EXCEPTION 'role "%" exists already and may log in', role_name USING ERRCODE = '42710',
                DETAIL = 'pg_courier gives this role rights over the syncs of all owners.',
                HINT = pg_catalog.format('ALTER ROLE %I NOLOGIN, or rename it, then CREATE EXTENSION pg_courier again.', role_name);
        ELSIF strangers IS NOT NULL THEN
            RAISE EXCEPTION 'role "%" exists already and has members', role_name USING ERRCODE = '42710',
                DETAIL = pg_catalog.format('Members: %s. pg_courier gives this role rights over the syncs of all owners.', strangers),
                HINT = pg_catalog.format('REVOKE %I FROM %s, CREATE EXTENSION pg_courier, and grant it again to whom it is meant for. Where these members are wanted (a second database, a restored cluster): SET courier.keep_role_members = on first.',
                                         role_name, strangers);
        END IF;
    END LOOP;

    IF NOT pg_catalog.pg_has_role('courier_operator', 'courier_viewer', 'MEMBER') THEN
        GRANT courier_viewer TO courier_operator;
    END IF;
    IF NOT pg_catalog.pg_has_role('courier_admin', 'courier_operator', 'MEMBER') THEN
        GRANT courier_operator TO courier_admin;
    END IF;
END
$$;

COMMENT ON ROLE courier_viewer IS 'pg_courier: sees the rows of every owner in the views of schema courier';
COMMENT ON ROLE courier_operator IS 'pg_courier: also triggers, plans, cancels, pauses and approves any sync';
COMMENT ON ROLE courier_admin IS 'pg_courier: also reconfigures and drops any object; not model queries, mappings and owners, which take membership in the owning role';
