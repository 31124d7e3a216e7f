# kill -9 of the process that sends. PostgreSQL restarts all its processes then, as for any backend: with the launcher, everything
# carries on by itself; what was acknowledged and settled is not sent again.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use PostgreSQL::Test::Utils;
use Test::More;

start_receiver();
my $node = new_node(1);
make_sync($node);
$node->safe_psql('app', "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 60) n");

# How far a run may be behind: settlement comes every second, and answers take 0.15 s on two connections.
my $window = 2 * (1.5 / 0.15) + 2;
my %written; # by record, before this round

for my $how ('run worker', 'immediate stop', 'postmaster')
{
	script('/store/item', { delay => 0.15 });
	$node->safe_psql('app', "UPDATE item SET name = name || '!'");
	my $run = $node->safe_psql('app', "SELECT courier.trigger_sync('items')");
	until_sql($node, "SELECT succeeded_added + succeeded_changed >= 10 FROM courier.run_details WHERE run_id = $run", 't', 'ten settled records');
	my $before = receiver('_writes', name => 'item');

	if ($how eq 'run worker')
	{
		kill_process(worker_pid($node, 'pg_courier run worker'));
		until_true('the server to come back', sub { my ($code) = $node->psql('postgres', 'SELECT true'); defined $code && $code == 0 });
	}
	elsif ($how eq 'immediate stop')
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		my $worker = worker_pid($node, 'pg_courier run worker');
		$node->kill9; # its children notice, and end
		until_true('the worker to notice', sub { !kill 0, $worker });
		until_true('the server to start again', sub { $node->start(fail_ok => 1) }, 30);
	}
	script('/store/item', {});

	until_sql($node, "SELECT status FROM courier.runs WHERE run_id = $run", 'interrupted', "$how: interrupted");
	pass("$how: the run is interrupted");
	until_sql($node, "SELECT status FROM courier.runs WHERE run_id > $run ORDER BY run_id DESC LIMIT 1", 'success', "$how: the following run");
	pass("$how: another run follows by itself and succeeds");
	mirror_is_equal($node, "$how: the destination equals the model");
	is($node->safe_psql('app', "SELECT count(*) FROM courier.runs WHERE run_id > $run"), 1, "$how: one run was enough");

	my $after = receiver('_writes', name => 'item');
	my $again = grep { $after->{$_} - ($written{$_} // 0) > 1 } keys %$after;
	%written = %$after;
	cmp_ok($again, '<=', $window, "$how: at most what was in flight or not settled was sent again ($again)");
	cmp_ok(scalar(keys %$before), '>=', 10, "$how: there was something to send again");
	is($node->safe_psql('app', "SELECT count(*) FROM pg_class WHERE relnamespace = 'courier_data'::regnamespace AND relname LIKE 'run\\_%' AND relkind = 'r'"), 0,
		"$how: no scratch table is left");
}

# The same change sent again has the same idempotency key.
my %keys;
$keys{"$_->{path} $_->{body}"}{ $_->{key} }++ for @{ receiver('_requests', prefix => '/store/item') };
is(scalar(grep { keys %$_ > 1 } values %keys), 0, 'a change that was sent twice had one idempotency key');

my $requests = @{ receiver('_requests', prefix => '/store/item') };
$node->safe_psql('app', "CALL courier.run_sync('items')");
is(scalar @{ receiver('_requests', prefix => '/store/item') }, $requests, 'then nothing is left to send');
$node->stop;
done_testing();
