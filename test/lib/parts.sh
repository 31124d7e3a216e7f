# Sourced by test/run and test/faults: the parts of the suite. Each prints its log to standard output; part() counts what it says.

passed=0
failed=0

# begin: the packages, and a work directory that is gone at the end. KEEP=1, or keep_work=1 set later, keeps it.
begin() {
	root=$PWD
	test/install_packages test
	mkdir -p .test
	work=$(mktemp -d /tmp/pg_courier-test.XXXXXX)
	stage=$work/stage
	chmod 755 "$work"
	mkdir "$work/cluster" "$work/logs"
	if ((EUID == 0)); then chown "$pg_user" "$work/cluster"; fi
	at_exit() {
		stop_cluster "$work/cluster"
		[[ -n ${KEEP:-${keep_work:-}} ]] || rm -rf "$work"
	}
	trap at_exit EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# part NAME FUNCTION ARGUMENTS...: "ok"/"not ok" lines are counted; a part that fails without such a line counts as one failure.
part() {
	local name=$1 log begin=$SECONDS good bad status=0
	shift
	log=$work/logs/${name//[^a-z]/_}.log
	printf '== %s ' "$name"
	# A subshell of its own with errexit: inside a condition bash would switch it off.
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1 </dev/null
	status=$?
	set -e
	good=$(grep -cE '^ok [^ ]' "$log" || true)
	bad=$(grep -cE '^not ok [^ ]' "$log" || true)
	if ((bad == 0 && status != 0)); then bad=1; fi
	if ((good + bad == 0)); then
		bad=1
		echo "nothing was tested" >>"$log"
	fi
	passed=$((passed + good))
	failed=$((failed + bad))
	say "$good passed, $bad failed ($((SECONDS - begin)) s)"
	if ((bad > 0)); then sed 's/^/    /' "$log"; fi
}

# A copy of the sources with objects of its own, staged for the cluster.
build_for_test() {
	local build=$root/.test/build file begin=$SECONDS
	say "== build"
	mkdir -p "$build"
	# Times are kept, so only what changed is compiled; what is gone from the tree goes here too.
	tar -c --exclude='*.o' --exclude='*.d' Makefile pg_courier.control src sql | tar -x -C "$build"
	while IFS= read -r file; do
		[[ -e $file ]] || rm -f "$build/$file" "$build/${file%.cpp}.o" "$build/${file%.cpp}.d"
	done < <(cd "$build" && find src sql -type f ! -name '*.o' ! -name '*.d')
	make -s -C "$build" -j"$(nproc)" FAULT_POINTS=1 PG_CONFIG="$pg_config" || die "the build failed"
	make -s -C "$build" install FAULT_POINTS=1 PG_CONFIG="$pg_config" DESTDIR="$work/stage" >/dev/null
	# The server's user may not be able to read this tree.
	cp -r test "$work/test"
	chmod -R a+rX "$work/stage" "$work/test"
	say "built in $((SECONDS - begin)) s"
}

# cmake_build TARGETS...  The layers are those of the library under test.
cmake_build() {
	cmake -S . -B .test/cmake -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-g1 -DCOURIER_OBJECTS="$root/.test/build" >.test/cmake.log 2>&1 || { cat .test/cmake.log; return 1; }
	cmake --build .test/cmake -j "$(nproc)" --target "$@" >.test/cmake.log 2>&1 || { tail -n 60 .test/cmake.log; return 1; }
}

run_destinations() {
	cmake_build courier_destination
	python3 test/destinations/run.py
}

run_unit() {
	cmake_build all
	local status=0
	.test/cmake/courier_unit | sed -E 's/^\[       OK \]/ok/; s/^\[  FAILED  \] ([^ ]+ \()/not ok \1/' || status=1
	(cd .test/cmake && ctest --output-on-failure -E '^unit$') || status=1
	((status == 0)) && echo "ok - layers: includes follow the arrows"
	return $status
}

# A few seconds for each reader of others' text; hours are spent with: make fuzz FUZZ_SECONDS=3600.
run_fuzz() {
	test/install_packages fuzz
	test/fuzz/run "${FUZZ_SECONDS:-10}"
}

run_checks() {
	local status=0 check
	createdb courier_checks
	psql -qX -d courier_checks -c 'CREATE EXTENSION pg_courier'
	export CHECK_DATABASE=courier_checks CHECK_LIBRARY=$stage$("$pg_config" --pkglibdir)/pg_courier.so
	for check in test/checks/*.sh; do
		if bash "$check" check; then echo "ok - $check"; else echo "not ok - $check"; status=1; fi
	done
	return $status
}

pg_test_programs() { echo "$(dirname "$("$pg_config" --pgxs)")/../test"; }

# pg_regress and its kin print "test NAME ... ok 12 ms".
regress_lines() { sed -E 's/^test ([^ ]+) +\.\.\. +ok .*/ok - \1/; s/^test ([^ ]+) +\.\.\. +FAILED.*/not ok - \1/'; }

run_regress() {
	local status=0
	mkdir -p "$work/regress"
	"$(pg_test_programs)/regress/pg_regress" --inputdir="$root" --outputdir="$work/regress" --bindir="$pg_bin" --schedule=test/schedule \
		--host="$PGHOST" --port="$PGPORT" --user=postgres --dbname=courier_regress | regress_lines || status=1
	[[ ! -s $work/regress/regression.diffs ]] || cat "$work/regress/regression.diffs"
	return $status
}

run_isolation() {
	local status=0 specs=()
	for spec in test/isolation/specs/*.spec; do specs+=("$(basename "$spec" .spec)"); done
	mkdir -p "$work/isolation"
	createdb courier_isolation
	# The specs play the run worker themselves.
	psql -qX -d courier_isolation -c 'ALTER DATABASE courier_isolation SET pg_courier.enabled = off' -c 'CREATE EXTENSION pg_courier'
	"$(pg_test_programs)/isolation/pg_isolation_regress" --inputdir="$root/test/isolation" --outputdir="$work/isolation" --bindir="$pg_bin" --use-existing \
		--host="$PGHOST" --port="$PGPORT" --user=postgres --dbname=courier_isolation "${specs[@]}" | regress_lines || status=1
	[[ ! -s $work/isolation/regression.diffs ]] || cat "$work/isolation/regression.diffs"
	return $status
}

run_pgtap() {
	createdb courier_pgtap
	psql -qX -d courier_pgtap -c 'CREATE EXTENSION pg_courier'
	pg_prove --verbose --failures -d courier_pgtap test/pgtap/*.sql
}

# Each file has a server of its own, and waits for most of its time.
run_crash() {
	rm -rf "$work/crash"
	mkdir "$work/crash"
	if ((EUID == 0)); then chown "$pg_user" "$work/crash"; fi
	local programs
	programs=$(pg_test_programs)
	(
		cd "$work/crash"
		as_postgres env PATH="$pg_bin:$PATH" PG_REGRESS="$programs/regress/pg_regress" TESTDIR="$work/crash" TESTDATADIR="$work/crash/data" TESTLOGDIR="$work/crash/log" \
			PG_COURIER_DESTDIR="$stage" PG_COURIER_PKGLIBDIR="$("$pg_config" --pkglibdir)" PG_COURIER_TEST="$work/test" \
			prove --jobs "${CRASH_JOBS:-2}" --verbose --failures -I "$programs/perl" -I "$work/test/t" "$work"/test/t/*.pl
	)
}

# run_e2e SETTING OPTIONS...
run_e2e() { python3 test/e2e/run.py --setting "$@"; }
