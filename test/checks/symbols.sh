# The library exports what PostgreSQL calls, and nothing else: a second extension with a function of the same name must not meet ours.
set -euo pipefail
others=$(nm -D --defined-only "$CHECK_LIBRARY" | awk '{ print $NF }' | grep -vE '^(Pg_magic_func|_PG_init|_PG_fini|pg_finfo_courier_[a-z0-9_]+|courier_[a-z0-9_]+)$' || true)
if [[ -n $others ]]; then
	echo "exported, and should not be:"
	c++filt <<<"$others" | head -n 40
	exit 1
fi
