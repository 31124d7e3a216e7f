#!/bin/sh
# Prints the C++ of builtin::all(): the text of every NAME.json of this folder, and a call of NAME_type() where NAME.cpp has it.
set -eu
cd "$(dirname "$0")"
LC_ALL=C
export LC_ALL

has_code() { [ -f "$1.cpp" ] && grep -q "^BuiltinType $1_type()" "$1.cpp"; }

names=$(for file in *.json *.cpp; do
	name=${file%.*}
	if [ -f "$name.json" ] || has_code "$name"; then echo "$name"; fi
done | sort -u)

echo '// Made by src/destinations/builtin/embed.sh.'
echo '#include "destinations/builtin/builtin.hpp"'
echo 'namespace courier::builtin {'
for name in $names; do
	if has_code "$name"; then echo "BuiltinType ${name}_type();"; fi
done
echo 'namespace {'
echo 'BuiltinType with(BuiltinType type, std::string_view name, std::string_view definition) {'
echo '	type.name = name;'
echo '	type.definition = definition;'
echo '	return type;'
echo '}'
echo '} // namespace'
echo 'std::vector<BuiltinType> all() {'
echo '	return {'
for name in $names; do
	if has_code "$name"; then type="${name}_type()"; else type='{}'; fi
	if [ -f "$name.json" ]; then
		echo "with($type, \"$name\", R\"definition("
		cat "$name.json"
		echo ')definition"),'
	else
		echo "with($type, \"$name\", {}),"
	fi
done
echo '	};'
echo '}'
echo '} // namespace courier::builtin'
