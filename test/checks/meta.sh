# META.json says what the control file says, and has what PGXN asks for.
set -euo pipefail
control() { sed -n "s/^$1 = '\(.*\)'/\1/p" pg_courier.control; }
[[ -f META.json ]] || { echo "there is no META.json"; exit 1; }
expect() {
	local found
	found=$(jq -r "$1" META.json)
	[[ $found == "$2" ]] || { echo "META.json: $1 is \"$found\", and should be \"$2\""; exit 1; }
}
version=$(control default_version)
expect .name pg_courier
expect .version "$version"
expect '.provides.pg_courier.version' "$version"
expect '."meta-spec".version' 1.0.0
for key in abstract maintainer license; do
	[[ -n $(jq -r ".$key // empty" META.json) ]] || { echo "META.json: $key is missing"; exit 1; }
done
file=$(jq -r '.provides.pg_courier.file' META.json)
[[ -e $file || $file == *--*.sql ]] || { echo "META.json: provides.pg_courier.file \"$file\" does not exist"; exit 1; }
