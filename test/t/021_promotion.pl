# A standby that is promoted goes on where the primary was: it is the same installation, so its syncs run, and only what changed is sent.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use PostgreSQL::Test::Cluster;
use Test::More;

start_receiver();
my $primary = new_node(1, "wal_level = replica\nmax_wal_senders = 4\nhot_standby = on\n");
$primary->append_conf('pg_hba.conf', "local replication all trust\nhost replication all 127.0.0.1/32 trust\n");
$primary->reload;
make_sync($primary);
$primary->safe_psql('app', "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 20) n");
is($primary->safe_psql('app', "CALL courier.run_sync('items')"), '1|success', 'the first run');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->safe_psql('app', "UPDATE item SET name = 'before' WHERE id = 1");
is($primary->safe_psql('app', "CALL courier.run_sync('items')"), '2|success', 'a run while the standby follows');
$primary->wait_for_catchup($standby);
my $before = receiver('_requests', prefix => '/store/item');
my ($code, $out, $error) = $standby->psql('app', "SELECT courier.trigger_sync('items')");
like($error, qr/read-only/, 'a standby triggers nothing');

# Without preload whoever waits for a run starts it. Not on a standby: a worker that is registered there would wait for the end of recovery.
$primary->append_conf('postgresql.conf', "pg_courier.enabled = off\n");
$primary->reload;
my $queued = $primary->safe_psql('app', "SELECT courier.trigger_sync('items')");
$primary->wait_for_catchup($standby);
$standby->append_conf('postgresql.conf', "shared_preload_libraries = ''\nlog_min_messages = debug1\n");
$standby->restart;
is($standby->safe_psql('app', "SELECT courier.wait_for_run($queued, '2 s')"), 'queued', 'without preload too: a run that is waited for stays queued');
open(my $log, '<', $standby->logfile) or die;
my $registered = grep { /register\w* background worker "pg_courier/ } <$log>;
is($registered, 0, 'and nobody registers a worker for it');
$standby->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_courier'\nlog_min_messages = warning\n");
$standby->restart;
$primary->safe_psql('app', "SELECT courier.cancel_run($queued)");
$primary->wait_for_catchup($standby);
$primary->stop;

$standby->promote;
$standby->safe_psql('app', "UPDATE item SET name = 'after' WHERE id = 2; DELETE FROM item WHERE id = 3");
my $status = $standby->safe_psql('app', "CALL courier.run_sync('items')");
like($status, qr/\|success$/, 'the promoted server runs it, without courier.resume_all()');
my @sent = map { "$_->{method} $_->{path}" } @{ receiver('_requests', prefix => '/store/item') }[ scalar @$before .. scalar @$before + 1 ];
is_deeply([ sort @sent ], [ 'DELETE /store/item/3', 'PUT /store/item/2' ], 'what changed since is sent');
is(scalar @{ receiver('_requests', prefix => '/store/item') }, @$before + 2, 'and nothing else');
mirror_is_equal($standby, 'the destination equals the model');
$standby->stop;
done_testing();
