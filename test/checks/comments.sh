# Everything that a user can see carries a COMMENT: \df+ courier.* is the manual. (Partitions have their parent's.)
set -euo pipefail
missing=$(psql -XAt -d "$CHECK_DATABASE" <<'SQL'
WITH member AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'pg_courier'
)
SELECT pg_describe_object(m.classid, m.objid, 0)
  FROM member m
  LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
  LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
 WHERE obj_description(m.objid, m.classid::regclass::name) IS NULL
   AND m.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
   AND (c.oid IS NULL OR (c.relkind NOT IN ('S', 'i', 'I', 't') AND NOT c.relispartition))
   AND (t.oid IS NULL OR (t.typrelid = 0 AND t.typelem = 0))
 ORDER BY 1;
SQL
)
if [[ -n $missing ]]; then
	echo "without a COMMENT:"
	echo "$missing"
	exit 1
fi
