# A run of several workers, and the death of one of them: the helper's ends the run as interrupted, the leader's too; what they had settled is not
# sent again, and the next run compares only when nobody settles any more.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;

my $url = start_receiver();
# Servers are killed here, machines are not: nothing need be on disk.
my $node = new_node(1, "pg_courier.poll_interval = '100 ms'\nfsync = off\n");
my $options = '{"workers": 3, "concurrency": 6, "log_records": "none"}';
$node->safe_psql('app', <<SQL);
INSERT INTO item SELECT n, repeat('x', 200) || n FROM generate_series(1, 3000) n;
SELECT courier.create_model('item', relation => 'item');
SELECT courier.create_destination('receiver', 'http', '{"base_url": "$url/store/item"}');
SELECT courier.create_sync('items', 'item', 'receiver', mode => 'mirror', options => '$options',
    config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}}');
SQL

sub slurp { open my $file, '<', $_[0] or die; local $/; return <$file> }
sub fault
{
	my ($point) = @_;
	$node->safe_psql('postgres', $point ? "ALTER SYSTEM SET pg_courier.fault_point = '$point'" : 'ALTER SYSTEM RESET pg_courier.fault_point');
	$node->reload;
}
sub pids { my ($kind) = @_; return split /\n/, $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_courier run $kind' ORDER BY pid") }
sub leader { my ($run) = @_; return $node->safe_psql('app', "SELECT worker_pid FROM courier_internal.run WHERE run_id = $run") }
sub status { return $node->safe_psql('app', 'SELECT status FROM courier.runs WHERE run_id = ' . $_[0]) }
sub writes { my $sum = 0; $sum += $_ for values %{ receiver('_writes', name => 'item') }; return $sum }

# All that is there changes, 500 go and 500 come: 3,000 additions and changes, 500 removals.
my $round = 0;
my $start = 3000;
my $before = 0;
sub begin
{
	$round++;
	$node->safe_psql('app', "UPDATE item SET name = repeat('x', 200) || '$round'; DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 500);"
		  . " INSERT INTO item SELECT n, repeat('y', 200) FROM generate_series($start + 1, $start + 500) n");
	$start += 500;
	$before = writes();
	script('/store/item', { delay => 0.008 });
	return $node->safe_psql('app', "SELECT courier.trigger_sync('items')");
}

# What the run after it has to say, when the first one ended as interrupted.
sub carries_on
{
	my ($what, $run) = @_;
	until_true("$what: run $run to end", sub { status($run) !~ /queued|querying|sending/ });
	is(status($run), 'interrupted', "$what: the run is interrupted");
	script('/store/item', {});
	fault('');
	until_sql($node, "SELECT status FROM courier.runs ORDER BY run_id DESC LIMIT 1", 'success', "$what: a run that succeeds", 90);
	mirror_is_equal($node, "$what: the destination equals the model");
	is($node->safe_psql('app', "SELECT snapshot_records FROM courier.sync_details WHERE name = 'items'"), 3000, "$what: the snapshot's records are counted right");
	my ($settled, $planned) = split /\|/, $node->safe_psql('app', "SELECT sum(succeeded_added + succeeded_changed + succeeded_removed), sum(planned_added + planned_changed + planned_removed
		- succeeded_added - succeeded_changed - succeeded_removed - rejected_added - rejected_changed - rejected_removed - skipped - unknown - aborted) FROM courier_internal.run WHERE run_id >= $run");
	is($planned, 0, "$what: the numbers of the runs add up");
	is($settled, 3500, "$what: every record was accepted once, as far as the runs know");
	# In flight, or answered and not settled: within a second, or 1,000 of each.
	my $twice = writes() - $before - 3500;
	cmp_ok($twice, '<=', 1500, "$what: $twice were sent again");
	is($node->safe_psql('app', "SELECT count(*) FROM courier.runs WHERE status IN ('queued', 'querying', 'sending')"), 0, "$what: no run is left");
	until_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run helper'", '0', "$what: helpers to end");
}

my $run = $node->safe_psql('app', "SELECT courier.trigger_sync('items')");
until_sql($node, "SELECT status FROM courier.runs WHERE run_id = $run", 'success', 'the first run');
mirror_is_equal($node, 'three workers: the destination equals the model');

# The helper is ended while requests are under way.
$run = begin();
my @helpers = until_true('two helpers', sub { my @all = pids('helper'); @all == 2 && \@all })->@*;
until_true('some settled', sub { $node->safe_psql('app', "SELECT succeeded_added + succeeded_changed > 100 FROM courier_internal.run WHERE run_id = $run") eq 't' });
$node->safe_psql('postgres', "SELECT pg_terminate_backend($helpers[0])");
until_true('the end of the run', sub { status($run) ne 'sending' });
is($node->safe_psql('app', "SELECT aborted > 500 FROM courier_internal.run WHERE run_id = $run"), 't', 'end of a helper: the others stop');
carries_on('end of a helper', $run);

# The leader is, and helpers have answers to settle: the next run is claimed when they have.
$run = begin();
until_true('two helpers', sub { pids('helper') == 2 });
until_true('some settled', sub { $node->safe_psql('app', "SELECT succeeded_added + succeeded_changed > 100 FROM courier_internal.run WHERE run_id = $run") eq 't' });
fault('before_helper_settles:wait');
my $leader = leader($run);
until_true('a helper that is about to settle', sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run helper' AND wait_event = 'Extension'") });
$node->safe_psql('postgres', "SELECT pg_terminate_backend($leader)");
until_true('the leader to end', sub { !kill 0, $leader });
my $next = $node->safe_psql('app', "SELECT courier.trigger_sync('items')");
# Schedulers and workers look ten times a second.
until_sql($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND mode = 'ExclusiveLock'", '1', 'the next run to wait for the helpers');
is(status($run), 'sending', 'while a helper settles, its run is not ended');
is(status($next), 'queued', 'and no other one of the sync compares');
fault('');
carries_on('end of the leader', $run);

# Dead at once, with the whole server.
for my $point (qw(helper_joined before_helper_settles waiting_for_helpers))
{
	my $crashes = () = slurp($node->logfile) =~ /was terminated by signal 9/g;
	fault("$point:kill");
	$run = begin();
	until_true("death at $point", sub { my $now = () = slurp($node->logfile) =~ /was terminated by signal 9/g; $now > $crashes });
	until_true('the setting to go', sub { my ($code) = $node->psql('postgres', 'ALTER SYSTEM RESET pg_courier.fault_point'); defined $code && $code == 0 });
	$node->reload;
	until_true("$point: the server", sub { my ($code) = $node->psql('app', 'SELECT 1'); defined $code && $code == 0 });
	carries_on("death at $point", $run);
}

# No worker slot to spare: the leader does all of it.
$node->append_conf('postgresql.conf', "max_worker_processes = 5\n");
$node->restart;
$run = begin();
my $seen = 0;
until_true('the run without helpers', sub { $seen += () = pids('helper'); status($run) eq 'success' });
is($seen, 0, 'no slot to spare: no helper');
mirror_is_equal($node, 'no slot to spare: the destination equals the model');

unlike(slurp($node->logfile), qr/XX000|PANIC|TRAP/, 'no error is an internal one');
$node->stop;
done_testing();
