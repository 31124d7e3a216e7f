# What becomes of things that are dropped, altered or copied while a request is under way that takes long: the statement ends within 5 s, or fails
# with a clear error; the run ends with words; no process is left.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;
use Time::HiRes qw(time);

my $url = start_receiver();
# Nothing is killed here, so nothing need be on disk: DROP and CREATE DATABASE wait for a checkpoint.
my $node = new_node(1, "fsync = off\n");

# Database $name with a sync of role $owner to a store that is called like it; one request is under way when this returns.
sub in_flight
{
	my ($name, %more) = @_;
	my $owner = "owner_of_$name";
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, <<SQL);
CREATE EXTENSION pg_courier;
CREATE ROLE $owner;
CREATE SCHEMA shop AUTHORIZATION $owner;
SET ROLE $owner;
CREATE TABLE shop.item (id integer PRIMARY KEY, name text);
INSERT INTO shop.item SELECT n, 'item ' || n FROM generate_series(1, 3) n;
SELECT courier.create_model('item', query => 'SELECT id, name FROM shop.item', primary_key => '{id}');
SELECT courier.create_destination('receiver', 'http', '{"base_url": "$url/store/$name"}');
SELECT courier.create_sync('items', 'item', 'receiver', mode => 'mirror', options => '{"concurrency": 1}',
    config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}}');
SQL
	script("/store/$name", { delay => $more{delay} // 30 });
	my $run = $node->safe_psql($name, "SELECT courier.trigger_sync('items')");
	until_true("a request of $name under way", sub { @{ receiver('_requests', prefix => "/store/$name") } });
	return ($run, $owner);
}

# The statement itself, in at most 5 s. A pattern: it is expected to fail so.
sub quickly
{
	my ($database, $what, $sql, $error_like) = @_;
	my $start = time;
	my ($code, $out, $error) = $node->psql($database, $sql, extra_params => [ '-v', 'ON_ERROR_STOP=1' ]);
	cmp_ok(time - $start, '<', 5, "$what: within 5 s");
	if ($error_like) { like($error, $error_like, "$what: refused with words") }
	else { is($code, 0, "$what: works") or diag $error }
}

sub no_worker
{
	my ($what) = @_;
	until_true("$what: workers to end", sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'") eq '0' }, 10);
	pass("$what: no worker is left");
}

sub ending
{
	my ($database, $run) = @_;
	until_true("run $run of $database to end", sub { $node->safe_psql($database, "SELECT status NOT IN ('queued', 'querying', 'sending') FROM courier.runs WHERE run_id = $run") eq 't' });
	return $node->safe_psql($database, "SELECT concat_ws('|', status, error_code, error) FROM courier.run_details WHERE run_id = $run");
}

my ($run, $owner) = in_flight('drop_extension');
quickly('drop_extension', 'DROP EXTENSION', 'DROP EXTENSION pg_courier', qr/other objects depend on it/);
quickly('drop_extension', 'DROP EXTENSION CASCADE', 'DROP EXTENSION pg_courier CASCADE');
no_worker('DROP EXTENSION');
is($node->safe_psql('drop_extension', "SELECT count(*) FROM pg_class WHERE relname LIKE 'snapshot\\_%' OR relname LIKE 'run\\_%'"), 0, 'DROP EXTENSION: no table is left');
is($node->safe_psql('drop_extension', "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'courier%'"), 0, 'DROP EXTENSION: no schema is left');
$node->safe_psql('drop_extension', 'CREATE EXTENSION pg_courier');
pass('DROP EXTENSION: it can be made again');
is(scalar @{ receiver('_requests', prefix => '/store/drop_extension') }, 1, 'DROP EXTENSION: nothing more was sent');

# Its owner's role.
($run, $owner) = in_flight('drop_role');
quickly('drop_role', 'DROP ROLE', "DROP ROLE $owner", qr/cannot be dropped because some objects depend on it/);
quickly('drop_role', 'DROP OWNED, then DROP ROLE', "DROP OWNED BY $owner CASCADE; DROP ROLE $owner");
like(ending('drop_role', $run), qr/^failed\|/, 'DROP ROLE: the run fails, with words');
no_worker('DROP ROLE');
is(scalar @{ receiver('_requests', prefix => '/store/drop_role') }, 1, 'DROP ROLE: nothing more was sent');

# The model's table: what was read is sent, and the next run says what is missing.
($run, $owner) = in_flight('drop_table', delay => 1);
quickly('drop_table', 'ALTER TABLE of the model', 'ALTER TABLE shop.item ALTER name TYPE varchar(50)', qr/cannot alter type of a column used by a view/);
quickly('drop_table', 'TRUNCATE of the model', 'TRUNCATE shop.item');
quickly('drop_table', 'DROP SCHEMA of the model', 'DROP SCHEMA shop CASCADE');
like(ending('drop_table', $run), qr/^success/, 'DROP TABLE: what was compared is sent to its end');
is(scalar keys %{ receiver('_store', name => 'drop_table') }, 3, 'DROP TABLE: all of it arrived');
my ($code, $out, $error) = $node->psql('drop_table', "CALL courier.run_sync('items')");
like($error, qr/model_changed|does not exist/, 'DROP TABLE: the next run says what is missing');

# The snapshot, by its owner's own hand.
($run, $owner) = in_flight('drop_snapshot', delay => 1);
quickly('drop_snapshot', 'DROP of the snapshot', "DO \$\$ BEGIN EXECUTE (SELECT 'DROP TABLE ' || oid::regclass FROM pg_class WHERE relname LIKE 'snapshot\\_%' AND relkind = 'r'); END \$\$");
like(ending('drop_snapshot', $run), qr/^failed\|/, 'DROP of the snapshot: the run fails, with words');
no_worker('DROP of the snapshot');

# Copies and new names: both need the database without other sessions.
($run, $owner) = in_flight('original');
script('/store/original', {}); # what is under way stays so
quickly('postgres', 'CREATE DATABASE TEMPLATE', 'CREATE DATABASE the_copy TEMPLATE original');
is($node->safe_psql('the_copy', "SELECT health FROM courier.health"), 'restored copy', 'the copy sends nothing, and says so');
like(ending('original', $run), qr/^interrupted/, 'CREATE DATABASE TEMPLATE: the run is interrupted');
until_sql_in('original', "SELECT status FROM courier.runs ORDER BY run_id DESC LIMIT 1", 'success');
is(scalar keys %{ receiver('_store', name => 'original') }, 3, 'and another carries on');
is($node->safe_psql('the_copy', "SELECT count(*) FROM courier.runs WHERE status = 'success'"), 0, 'none in the copy');

script('/store/original', { delay => 30 });
$node->safe_psql('original', "UPDATE shop.item SET name = 'new'");
my $before = @{ receiver('_requests', prefix => '/store/original') };
$run = $node->safe_psql('original', "SELECT courier.trigger_sync('items')");
until_true('a request', sub { @{ receiver('_requests', prefix => '/store/original') } > $before });
script('/store/original', {});
quickly('postgres', 'ALTER DATABASE RENAME', 'ALTER DATABASE original RENAME TO renamed');
like(ending('renamed', $run), qr/^interrupted/, 'RENAME: the run is interrupted');
until_sql_in('renamed', "SELECT status FROM courier.runs ORDER BY run_id DESC LIMIT 1", 'success');
pass('RENAME: another carries on by itself');

# Two databases at once: each has its own syncs, schedules and numbers.
$node->safe_psql('renamed', "SELECT courier.alter_sync('items', schedule => 'every 1 s'); UPDATE shop.item SET name = 'two'");
$node->safe_psql('the_copy', "SELECT courier.resume_all(); SELECT courier.alter_destination('receiver', config => '{\"base_url\": \"$url/store/other\"}');
	SELECT courier.alter_sync('items', schedule => 'every 1 s'); UPDATE shop.item SET name = 'three'");
for my $database ('renamed', 'the_copy')
{
	until_sql_in($database, "SELECT count(*) >= 2 FROM courier.run_details WHERE triggered_by = 'schedule' AND status = 'success'", 't');
}
my %names = map { $_->{name} => 1 } values %{ receiver('_store', name => 'original') };
my %others = map { $_->{name} => 1 } values %{ receiver('_store', name => 'other') };
is_deeply([ sort(keys %names), sort(keys %others) ], [ 'two', 'three' ], 'two databases: each sends its own, to its own destination');
quickly('postgres', 'DROP DATABASE of one of two', 'DROP DATABASE the_copy');
my $last = $node->safe_psql('renamed', 'SELECT max(run_id) FROM courier.runs');
until_sql_in('renamed', "SELECT count(*) >= 1 FROM courier.runs WHERE run_id > $last AND status = 'success'", 't');
pass('the other one goes on');

sub until_sql_in
{
	my ($database, $query, $expected) = @_;
	return until_true($query, sub { my ($c, $o) = $node->psql($database, $query); return defined $c && $c == 0 && $o eq $expected });
}

my $log = slurp($node->logfile);
unlike($log, qr/XX000|terminated by signal|PANIC|TRAP/, 'no process crashed, and no error is an internal one');
sub slurp { open my $file, '<', $_[0] or die; local $/; return <$file> }
$node->stop;
done_testing();
