-- Everything that belongs to the extension, one line each, so that an upgraded database can be compared with a fresh one.
SET search_path = pg_catalog;
WITH member AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
     WHERE e.extname = 'pg_courier' AND d.deptype = 'e'
       -- Partitions come and go with the days.
       AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relispartition)),
relation AS (SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid),
-- Grants in one order; NULL and the default are the same.
acl AS (SELECT c.oid, string_agg(a.grantee::regrole || '=' || a.privilege_type, ', ' ORDER BY a.grantee::regrole::text, a.privilege_type) AS text
          FROM relation c, aclexplode(COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a GROUP BY c.oid),
line AS (
    SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.reloptions, a.text) AS line FROM relation c LEFT JOIN acl a USING (oid)
    UNION ALL SELECT concat_ws(' ', 'column', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
                FROM relation c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    UNION ALL SELECT concat_ws(' ', 'constraint', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid)) FROM relation c JOIN pg_constraint k ON k.conrelid = c.oid
    UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid)) FROM relation c JOIN pg_index i ON i.indrelid = c.oid
    UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid)) FROM relation c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
    UNION ALL SELECT concat_ws(' ', 'view', c.oid::regclass, pg_get_viewdef(c.oid)) FROM relation c WHERE c.relkind = 'v'
    UNION ALL SELECT concat_ws(' ', 'dumped', x.c, e.extcondition[x.n]) FROM pg_extension e, unnest(e.extconfig::regclass[]) WITH ORDINALITY x (c, n) WHERE e.extname = 'pg_courier'
    UNION ALL SELECT concat_ws(' ', 'routine', p.oid::regprocedure, CASE p.prokind WHEN 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END,
                               (SELECT string_agg(a.grantee::regrole || '=' || a.privilege_type, ', ' ORDER BY a.grantee::regrole::text) FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a))
                FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    UNION ALL SELECT concat_ws(' ', 'member', i.type, i.identity, obj_description(m.objid, c.relname)) FROM member m, pg_identify_object(m.classid, m.objid, 0) i, pg_class c WHERE c.oid = m.classid)
SELECT line FROM line ORDER BY line COLLATE "C";
