# Launcher, schedulers and run workers: who is started when, and what happens when one of them is killed.
#
# Syncs here use first_run = baseline, so a run needs no destination that answers; models sleep, so a run lasts long enough to be
# hit.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_courier'
pg_courier.poll_interval = '200ms'
restart_after_crash = on
log_min_messages = debug1
max_worker_processes = 16
CONF
# What was staged, not what may be installed.
my $stage = $ENV{PG_COURIER_DESTDIR};
$node->append_conf('postgresql.conf', "extension_destdir = '$stage'\ndynamic_library_path = '$stage$ENV{PG_COURIER_PKGLIBDIR}:\$libdir'\n") if $stage;
$node->start;

sub make_database {
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, <<'SQL');
CREATE EXTENSION pg_courier;
SELECT courier.create_destination('nowhere', 'http', config => '{"base_url": "https://localhost.invalid/"}');
SELECT courier.create_model('quick', 'SELECT g AS id FROM generate_series(1, 3) g', '{id}');
SELECT courier.create_model('slow', 'SELECT g AS id, pg_sleep(3)::text AS s FROM generate_series(1, 1) g', '{id}');
SELECT courier.create_sync('quick', 'quick', 'nowhere', first_run => 'baseline');
SELECT courier.create_sync('slow', 'slow', 'nowhere', first_run => 'baseline');
SQL
}

sub wait_until {
	my ($what, $query, $expected, $database) = @_;
	ok($node->poll_query_until($database // 'one', $query, $expected // 't'), $what);
}

sub active_pid {
	$node->poll_query_until('one', "SELECT count(*) = 1 FROM courier_internal.run WHERE status IN ('querying', 'sending')");
	return $node->safe_psql('one', "SELECT worker_pid FROM courier_internal.run WHERE status IN ('querying', 'sending')");
}

make_database('one');

# Idle databases cost nothing.
wait_until('the scheduler exits when there is nothing to do', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_courier scheduler'");
wait_until('tables for the logs of today and tomorrow are there',
	"SELECT count(*) = 6 FROM pg_inherits WHERE inhparent IN ('courier_internal.request_key'::regclass, 'courier_internal.request'::regclass, 'courier_internal.change_log'::regclass)");
sleep 2; # what the last commits asked for is looked at by then
my $offset = -s $node->logfile;
sleep 3;
unlike(slurp_file($node->logfile, $offset), qr/starting background worker process "pg_courier scheduler"/,
	'a database without the extension is not looked at again');

# A run starts at commit, and run_sync waits for it.
is($node->safe_psql('one', "CALL courier.run_sync('quick')"), '1|success', 'run_sync returns the run and its status');
my ($code, $out, $err) = $node->psql('one', "BEGIN; CALL courier.run_sync('quick');");
like($err, qr/cannot run inside a transaction block/, 'run_sync refuses a transaction block');
($code, $out, $err) = $node->psql('one', "BEGIN; SELECT courier.wait_for_run(courier.trigger_sync('quick'));");
like($err, qr/was queued by this transaction/, 'wait_for_run refuses a run of its own transaction');
($code, $out, $err) = $node->psql('one', "SELECT courier.wait_for_run(999)");
like($err, qr/run 999 does not exist/, 'wait_for_run of an unknown run');

# A transaction that has asked for a run holds it back.
my $asker = $node->background_psql('one');
$asker->query_safe("BEGIN; SELECT courier.trigger_sync('quick');");
sleep 1;
is($node->safe_psql('one', "SELECT count(*) FROM courier_internal.run WHERE status = 'queued'"), '0', 'nobody sees it');
$asker->query_safe('COMMIT');
wait_until('it runs after the commit', "SELECT status FROM courier_internal.run ORDER BY run_id DESC LIMIT 1", 'success');

# Two askers, one run: the second one's transaction is still open, and rolls back.
$node->safe_psql('one', "ALTER DATABASE one SET pg_courier.enabled = off");
my $run = $node->safe_psql('one', "SELECT courier.trigger_sync('quick')");
wait_until('a run that may not start says so',
	"SELECT waiting_for FROM courier_internal.sync_state JOIN courier_internal.sync USING (sync_id) WHERE name = 'quick'", 'pg_courier.enabled');
$node->safe_psql('one', "ALTER DATABASE one RESET pg_courier.enabled");
$asker->quit;
$asker = $node->background_psql('one');
$asker->query_safe("BEGIN; SELECT courier.trigger_sync('quick');");
sleep 2;
is($node->safe_psql('one', "SELECT status FROM courier_internal.run WHERE run_id = $run"), 'queued', 'an open asker keeps the run queued');
$asker->query_safe('ROLLBACK');
is($node->safe_psql('one', "SELECT courier.wait_for_run($run, '30 s')"), 'success', 'its rollback lets it start');
$asker->quit;

# Death of a worker: by a signal that it can answer, and by one that takes the whole server along.
for my $signal ('TERM', 'KILL') {
	$run = $node->safe_psql('one', "SELECT courier.trigger_sync('slow')");
	kill $signal, active_pid();
	wait_until("SIG$signal: the run is interrupted", "SELECT status = 'interrupted' FROM courier_internal.run WHERE run_id = $run");
	wait_until("SIG$signal: a run that carries on succeeds",
		"SELECT count(*) = 1 FROM courier_internal.run WHERE origin_run_id = $run AND triggered_by = 'recovery' AND status = 'success'");
}

# A paused sync is not carried on.
$run = $node->safe_psql('one', "SELECT courier.trigger_sync('slow', 'baseline')");
my $pid = active_pid();
$node->safe_psql('one', "SELECT courier.pause_sync('slow')");
kill 'TERM', $pid;
wait_until('paused: the run is interrupted', "SELECT status = 'interrupted' FROM courier_internal.run WHERE run_id = $run");
sleep 1;
is($node->safe_psql('one', "SELECT count(*) FROM courier_internal.run WHERE run_id > $run"), '0', 'paused: nothing carries on');
$node->safe_psql('one', "SELECT courier.resume_sync('slow')");

# Schedules.
$node->safe_psql('one', "SELECT courier.alter_sync('quick', schedule => 'every 1 s')");
wait_until('a schedule starts runs', "SELECT count(*) >= 3 FROM courier_internal.run WHERE triggered_by = 'schedule' AND status = 'success'");
$node->safe_psql('one', "SELECT courier.pause_sync('quick')");
sleep 2;
my $count = $node->safe_psql('one', "SELECT count(*) FROM courier_internal.run WHERE triggered_by = 'schedule'");
sleep 2;
is($node->safe_psql('one', "SELECT count(*) FROM courier_internal.run WHERE triggered_by = 'schedule'"), $count, 'a paused sync is not scheduled');

# A copy does not run, and copying and dropping wait for nobody. What is active there is so by its row alone: its scheduler
# ends that run, and queues none that would carry on.
$node->safe_psql('one', "SELECT courier.resume_sync('quick')");
$run = $node->safe_psql('one', "SELECT courier.trigger_sync('slow', 'baseline')");
active_pid();
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE one');
$node->safe_psql('copy', 'SELECT courier_internal.announce()'); # or the launcher finds the database within a minute
wait_until('a copied database: the run that was active is interrupted',
	"SELECT status = 'interrupted' AND hint LIKE '%a copy of%' FROM courier_internal.run WHERE run_id = $run", 't', 'copy');
sleep 3;
my $runs = 'SELECT run_id, sync_id, triggered_by, created_at FROM courier_internal.run ORDER BY run_id';
my %original = map { $_ => 1 } split /\n/, $node->safe_psql('one', $runs);
is_deeply([ grep { !$original{$_} } split /\n/, $node->safe_psql('copy', $runs) ], [], 'a copied database has no run of its own');
is($node->safe_psql('copy', "SELECT count(*) FROM courier_internal.run WHERE status IN ('querying', 'sending')"), '0', 'and none that is active');
$node->safe_psql('postgres', 'DROP DATABASE copy');
$node->safe_psql('one', "SELECT courier.trigger_sync('slow', 'baseline')");
$node->poll_query_until('one', "SELECT count(*) > 0 FROM courier_internal.run WHERE status IN ('querying', 'sending')");
my $begin = time;
$node->safe_psql('postgres', 'DROP DATABASE one');
cmp_ok(time - $begin, '<', 5, 'DROP DATABASE does not wait for runs');

# Without shared_preload_libraries.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
make_database('bare');
is($node->safe_psql('bare', "CALL courier.run_sync('quick')"), '1|success', 'without preload: a trigger starts a worker');

$node->stop;
done_testing();
