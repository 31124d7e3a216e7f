# Death at each step of a run, by the fault points of test builds.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;

start_receiver();
my $node = new_node(1);
make_sync($node);
$node->safe_psql('app', "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 20) n");

for my $point (qw(claimed staged compared planned before_settle after_settle finished))
{
	$node->safe_psql('app', "UPDATE item SET name = '$point ' || id; DELETE FROM item WHERE id = (SELECT max(id) FROM item)");
	$node->safe_psql('postgres', "ALTER DATABASE app SET pg_courier.fault_point = '$point:kill'");
	# A worker that is alive has the old setting.
	until_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'", '0', 'workers to end');
	my $last = $node->safe_psql('app', 'SELECT COALESCE(max(run_id), 0) FROM courier.runs');
	$node->psql('app', "SELECT courier.trigger_sync('items')");
	# Every run dies there, so take the setting away as soon as the first has.
	until_true("death at $point", sub { crashes($node) > ($main::seen // 0) });
	until_true('the setting to go', sub { my ($code) = $node->psql('postgres', 'ALTER DATABASE app RESET pg_courier.fault_point'); defined $code && $code == 0 });
	# A run that died before the setting went may be followed by others that died; the last one succeeds.
	until_sql($node, "SELECT status FROM courier.runs ORDER BY run_id DESC LIMIT 1", 'success', "$point: a run that succeeds", 90);
	mirror_is_equal($node, "$point: the destination equals the model");
	is($node->safe_psql('app', "SELECT snapshot_records FROM courier.sync_details WHERE name = 'items'"), $node->safe_psql('app', 'SELECT count(*) FROM item'),
		"$point: the snapshot's records are counted right");
	$main::seen = crashes($node);
}

# What a death may cost: no more than a thousand records are settled at once. Here they come in batches of a hundred, one after the other.
$node->safe_psql('app', <<'SQL');
SELECT courier.alter_sync('items', options => '{"concurrency": 1, "batch_size": 100}',
    config => '{"requests": {"upsert": {"method": "POST", "path": "/many", "body": "{{ records }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}}');
SQL
$node->safe_psql('postgres', "ALTER SYSTEM SET pg_courier.fault_point = 'after_settle:wait'");
$node->reload;
until_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'", '0', 'workers to end');
my $settled = "SELECT snapshot_records FROM courier.sync_details WHERE name = 'items'";
my $before = $node->safe_psql('app', $settled);
$node->safe_psql('app', "INSERT INTO item SELECT n, 'many ' || n FROM generate_series(1001, 3500) n; SELECT courier.trigger_sync('items')");
until_sql($node, "SELECT ($settled) > $before", 't', 'the first settlement');
cmp_ok($node->safe_psql('app', $settled), '<=', $before + 1000, 'at most 1,000 records are settled at once');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET pg_courier.fault_point');
$node->reload;
until_sql($node, "SELECT status FROM courier.runs ORDER BY run_id DESC LIMIT 1", 'success', 'the run to end');

sub slurp { open my $file, '<', $_[0] or die; local $/; return <$file> }
sub crashes { my @all = slurp($_[0]->logfile) =~ /was terminated by signal 9/g; return scalar @all }

$node->stop;
done_testing();
