# Every regression test runs, and every one has an expected output.
set -euo pipefail
status=0
for file in sql/*.sql; do
	name=$(basename "$file" .sql)
	grep -qE "^test:(.* )? ?$name( |$)" test/schedule || { echo "$file is not in test/schedule"; status=1; }
	[[ -f expected/$name.out ]] || { echo "expected/$name.out is missing"; status=1; }
done
for name in $(sed -n 's/^test://p' test/schedule); do
	[[ -f sql/$name.sql ]] || { echo "test/schedule names $name, and there is no sql/$name.sql"; status=1; }
done
for spec in test/isolation/specs/*.spec; do
	name=$(basename "$spec" .spec)
	[[ -f test/isolation/expected/$name.out ]] || { echo "test/isolation/expected/$name.out is missing"; status=1; }
done
exit $status
