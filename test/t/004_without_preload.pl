# Without shared_preload_libraries nobody notices a killed worker by itself; the next trigger carries on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;

start_receiver();
my $node = new_node(0);
make_sync($node);
$node->safe_psql('app', "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 30) n");
script('/store/item', { delay => 0.2 });
my $run = $node->safe_psql('app', "SELECT courier.trigger_sync('items')");
until_sql($node, "SELECT succeeded_added >= 5 FROM courier.run_details WHERE run_id = $run", 't', 'five settled records');
kill_process(worker_pid($node, 'pg_courier run worker'));
until_true('the server to come back', sub { my ($code) = $node->psql('postgres', 'SELECT true'); defined $code && $code == 0 });
script('/store/item', {});
my ($code, undef, $error) = (1, '', '');
until_true('the server', sub { ($code, undef, $error) = $node->psql('app', "CALL courier.run_sync('items')"); return $code == 0 || $error !~ /recovery|starting up|connect/ });
is($code, 0, 'the next run succeeds') or diag $error;
is($node->safe_psql('app', "SELECT status FROM courier.runs WHERE run_id = $run"), 'interrupted', 'the killed run is interrupted');
mirror_is_equal($node, 'the destination equals the model');
my $writes = receiver('_writes', name => 'item');
cmp_ok(scalar(grep { $_ > 1 } values %$writes), '<=', 14, 'at most what was in flight or not settled was sent again');
$node->stop;
done_testing();
