# pg_upgrade moves the catalogs into a new cluster: it is still the same installation, so its syncs run, and only what changed is sent.
# One server version is enough to see it: pg_upgrade makes the new catalogs from a dump also where both are of the same version.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_receiver();
my $old = new_node(1);
make_sync($old);
$old->safe_psql('app', "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 20) n");
script('/store/item/7', { status => 422 }, {});
is($old->safe_psql('app', "CALL courier.run_sync('items')"), '1|warning', 'the first run');
$old->safe_psql('app', "UPDATE courier_internal.rejected SET next_attempt_at = now() + interval '1 hour'"); # not by itself
my $facts = "SELECT (SELECT array_agg((key, hash, attempts)) FROM courier_internal.rejected), (SELECT count(*) FROM courier.snapshot('items')), (SELECT array_agg((run_id, status, succeeded_added)) FROM courier.run_details)";
my $before = $old->safe_psql('app', $facts);
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', PostgreSQL::Test::Utils::slurp_file($old->data_dir . '/postgresql.conf') =~ s/^(port|unix_socket_directories|listen_addresses) .*$//mgr);
chdir $ENV{TESTDIR} or die "chdir: $!";
my $bin = $old->config_data('--bindir');
command_ok([ 'pg_upgrade', '--no-sync', '-b', $bin, '-B', $bin, '-d', $old->data_dir, '-D', $new->data_dir, '-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
my @sent = @{ receiver('_requests', prefix => '/store/item') };

$new->start;
is($new->safe_psql('app', $facts), $before, 'snapshot, rejected records and history are there');
$new->safe_psql('app', "UPDATE item SET name = 'after' WHERE id = 2; DELETE FROM item WHERE id = 3");
like($new->safe_psql('app', "CALL courier.run_sync('items')"), qr/\|(success|warning)$/, 'the new server runs it, without courier.resume_all()');
my @all = @{ receiver('_requests', prefix => '/store/item') };
is_deeply([ sort map { "$_->{method} $_->{path}" } @all[ scalar @sent .. $#all ] ], [ 'DELETE /store/item/3', 'PUT /store/item/2' ], 'what changed since is sent, and nothing else');
$new->safe_psql('app', "SELECT courier.retry_rejected('items')");
is($new->safe_psql('app', "CALL courier.run_sync('items')") =~ s/.*\|//r, 'success', 'the rejected record is tried again when it is asked for');
mirror_is_equal($new, 'the destination equals the model');
$new->stop;
done_testing();
