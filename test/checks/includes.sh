# src/pg is the only folder that sees postgres.h.
set -euo pipefail
found=$(grep -nE '#[[:space:]]*include[[:space:]]*[<"](postgres|fmgr|miscadmin|utils/|storage/|catalog/|executor/|access/|nodes/|libpq)' -r src/core src/http src/destinations || true)
if [[ -n $found ]]; then
	echo "headers of PostgreSQL outside src/pg:"
	echo "$found"
	exit 1
fi
