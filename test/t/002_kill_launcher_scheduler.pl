# kill -9 of launcher and scheduler: schedules go on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;

start_receiver();
my $node = new_node(1);
$node->safe_psql('app', "INSERT INTO item VALUES (1, 'one')");
make_sync($node, schedule => 'every 1 second');
until_true('the first run', sub { keys %{ receiver('_store', name => 'item') } == 1 });

my $id = 1;
for my $kind ('pg_courier scheduler', 'pg_courier launcher')
{
	kill_process(worker_pid($node, $kind));
	until_true('the server to come back', sub { my ($code) = $node->psql('postgres', 'SELECT true'); defined $code && $code == 0 });
	$id++;
	until_true('an insert', sub { my ($code) = $node->psql('app', "INSERT INTO item VALUES ($id, 'after $kind') ON CONFLICT DO NOTHING"); defined $code && $code == 0 });
	until_true("the schedule after the end of the $kind", sub { exists receiver('_store', name => 'item')->{$id} });
	pass("$kind killed: the schedule goes on");
}
$node->safe_psql('app', "SELECT courier.pause_sync('items')");
until_sql($node, "SELECT count(*) FROM courier.runs WHERE status IN ('queued', 'querying', 'sending')", '0', 'quiet');
mirror_is_equal($node, 'the destination equals the model');

# A clean restart interrupts nothing and loses nothing.
$node->safe_psql('app', "SELECT courier.resume_sync('items')");
# A sync that never runs: only the scheduler's own round, of which a start makes one, can notice.
$node->safe_psql('app', "SELECT courier.create_sync('idle', 'item', 'receiver'), courier.create_alert('silence', 'no_success', critical => '1 microsecond', sync => 'idle')");
$node->restart;
$node->safe_psql('app', "UPDATE item SET name = 'restarted' WHERE id = 1");
until_true('the schedule after a restart', sub { receiver('_store', name => 'item')->{1}{name} eq 'restarted' });
pass('after a restart the schedule goes on');
until_sql($node, "SELECT string_agg(state, ',') FROM courier.alert_events WHERE sync = 'idle'", 'critical', 'the scheduler looks at alerts without a run');
pass('the scheduler looks at alerts without a run');
$node->stop;
done_testing();
