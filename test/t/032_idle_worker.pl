# A run worker stays for a while after its run: it takes the next one at once, and is in nobody's way meanwhile.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Time::HiRes qw(sleep time);
use Test::More;

start_receiver();

sub workers { "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'" }

# Runs the sync. The processes of run workers that are there afterwards.
sub run_it
{
	my ($node, $database) = @_;
	my $run = $node->safe_psql($database // 'app', "SELECT courier.trigger_sync('items')");
	is($node->safe_psql($database // 'app', "SELECT courier.wait_for_run($run, '1 min')"), 'success', 'a run succeeds');
	return $node->safe_psql('postgres', "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'");
}

for my $preload (1, 0)
{
	my $with = $preload ? 'with preload' : 'without preload';
	my $node = new_node($preload, "pg_courier.worker_idle_time = '1 h'\n");
	make_sync($node);
	$node->safe_psql('app', "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 10) n");
	my $pid = run_it($node);

	$node->safe_psql('app', "UPDATE item SET name = 'other' WHERE id = 3");
	is(run_it($node), $pid, "$with, the same process takes the next run");
	mirror_is_equal($node, 'its records arrived');
	until_sql($node, "SELECT count(*) FROM pg_locks WHERE pid IN ($pid)", '0', 'an idle worker to hold no lock');
	until_sql($node, "SELECT state, xact_start, backend_xmin FROM pg_stat_activity WHERE pid IN ($pid)", 'idle||', 'an idle worker to have neither transaction nor snapshot');
	pass("$with, an idle worker holds nothing");

	# A model that takes session locks leaves none behind.
	$node->safe_psql('app', "CREATE VIEW locking AS SELECT id, name, pg_advisory_lock(7) IS NOT NULL AS locked FROM item;"
		  . "SELECT courier.create_model('locking', relation => 'locking', primary_key => '{id}'); SELECT courier.create_sync('locking', 'locking', 'receiver',"
		  . " mode => 'upsert', config => '{\"requests\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/{{ id }}\", \"body\": \"{{ record }}\"}}}')");
	my $locking = $node->safe_psql('app', "SELECT courier.trigger_sync('locking')");
	$node->safe_psql('app', "SELECT courier.wait_for_run($locking, '1 min')");
	until_sql($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7", '0', 'the locks of the model to go');
	$node->safe_psql('app', "SELECT courier.drop_sync('locking')");
	$pid = run_it($node);

	# Many runs of one commit find one idle worker, and all of them begin.
	$node->safe_psql('app', "SELECT courier.create_sync('items$_', 'item', 'receiver', mode => 'upsert',"
		  . " config => '{\"requests\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/{{ id }}\", \"body\": \"{{ record }}\"}}}')") for 2, 3;
	script('/store/item', { delay => 0.1 });
	my @runs = map { $node->safe_psql('app', "SELECT courier.trigger_sync('$_')") } 'items', 'items2', 'items3';
	until_sql($node, "SELECT count(*) FROM courier.runs WHERE run_id IN (" . join(',', @runs) . ") AND status = 'success'", scalar @runs, 'three runs that were asked for quickly');
	script('/store/item', {});
	$pid = run_it($node);

	# Settings that only a new process reads, and those that every process reads.
	$node->safe_psql('postgres', "ALTER DATABASE app SET pg_courier.log_retention = '1 d'");
	isnt(run_it($node), $pid, 'after ALTER DATABASE ... SET another process takes the run');
	$node->append_conf('postgresql.conf', "pg_courier.enabled = off\n");
	$node->reload;
	until_sql($node, workers(), '0', 'idle workers to leave when pg_courier is off', 20);
	$node->append_conf('postgresql.conf', "pg_courier.enabled = on\n");
	$node->reload;
	until_sql($node, 'SHOW pg_courier.enabled', 'on', 'the settings');
	$pid = run_it($node);
	$node->append_conf('postgresql.conf', "pg_courier.worker_idle_time = 0\n");
	$node->reload;
	until_sql($node, workers(), '0', 'idle workers to leave when none may stay', 20);
	$node->append_conf('postgresql.conf', "pg_courier.worker_idle_time = '1 h'\n");
	$node->reload;
	until_sql($node, "SELECT replace(current_setting('pg_courier.worker_idle_time'), ' ', '')", '1h', 'the settings'); # where nobody has loaded the library, as it is written

	# A cancel that comes too late, and an end.
	$pid = run_it($node);
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid IN ($pid)");
	is(run_it($node), $pid, 'an idle worker is not cancelled');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN ($pid)");
	until_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid IN ($pid)", '0', 'the worker to end');
	isnt(run_it($node), $pid, 'after its end another one takes the run');

	# The extension goes and comes back under an idle worker.
	$node->safe_psql('app', 'DROP EXTENSION pg_courier CASCADE; DROP SCHEMA IF EXISTS courier_data CASCADE; CREATE EXTENSION pg_courier');
	make_sync($node);
	run_it($node);
	mirror_is_equal($node, 'the extension made anew: records arrive');

	# Commands that want the database alone.
	my $begin = time;
	$node->safe_psql('postgres', 'ALTER DATABASE app RENAME TO moved');
	run_it($node, 'moved');
	$node->safe_psql('postgres', 'CREATE DATABASE app TEMPLATE moved');
	$node->safe_psql('app', 'SELECT courier.resume_all()') if $node->safe_psql('app', 'SELECT 1');
	run_it($node, 'moved');
	$node->safe_psql('postgres', 'DROP DATABASE moved');
	pass('databases are renamed, copied and dropped');
	$node->stop;
}

# No worker slot is free: an idle worker gives its own to a run of another database. Nobody polls here, and nobody waits for the run.
{
	my $node = new_node(0, "pg_courier.worker_idle_time = '1 h'\n");
	make_sync($node);
	$node->safe_psql('app', "INSERT INTO item VALUES (1, 'one')");
	$node->safe_psql('app', "SELECT courier.create_sync('more', 'item', 'receiver', mode => 'upsert',"
		  . " config => '{\"requests\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/{{ id }}\", \"body\": \"{{ record }}\"}}}')");
	for my $name ('busy', 'third')
	{
		$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE app");
		$node->safe_psql($name, 'SELECT courier.resume_all()');
	}
	# One of them is the logical replication launcher's. An idle worker leaves two free.
	$node->append_conf('postgresql.conf', "max_worker_processes = 4\n");
	$node->restart;
	my $idle = run_it($node);
	script('/store/item', { delay => 20 });
	$node->safe_psql('busy', "SELECT courier.trigger_sync('$_')") for 'items', 'more';
	until_true('two busy workers', sub { $node->safe_psql('busy', "SELECT count(*) FROM courier.runs WHERE status = 'sending'") eq '2' });
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid IN ($idle)"), 1, 'while slots are free an idle worker stays');
	script('/store/item', {});
	my $run = $node->safe_psql('third', "SELECT courier.trigger_sync('items')");
	until_true('the run of a third database', sub { $node->safe_psql('third', "SELECT status FROM courier.runs WHERE run_id = $run") eq 'success' }, 15);
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid IN ($idle)"), 0, 'an idle worker leaves for another one that needs its slot');
	$node->stop;
}
done_testing();
