# What is scarce or stuck holds up itself and nothing else, and a view says what it waits for: 200 syncs due at once, a destination that hangs, a lock
# on the model's table, no free worker slot.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;
use Time::HiRes qw(time);

my $url = start_receiver();
my $node = new_node(1, "fsync = off\npg_courier.max_running_syncs = 3\nmax_connections = 50\n");
sub sql { return $node->safe_psql('app', $_[0]) }
sub details { return sql("SELECT $_[1] FROM courier.sync_details WHERE name = '$_[0]'") }
sub idle { until_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'", '0', 'workers to end') }

sql(<<SQL);
INSERT INTO item VALUES (1, 'one'), (2, 'two');
CREATE TABLE locked (LIKE item INCLUDING ALL);
INSERT INTO locked VALUES (1, 'one');
SELECT courier.create_model('item', relation => 'item');
SELECT courier.create_model('locked', relation => 'locked');
SELECT courier.create_destination('receiver', 'http', '{"base_url": "$url/store"}');
SQL
# From (name, model, schedule)
sub make_syncs
{
	sql(<<SQL);
SELECT courier.create_sync(s.name, s.model, 'receiver', mode => 'upsert', schedule => s.schedule, options => '{"timeout": "10 s"}',
    config => format('{"requests": {"upsert": {"method": "PUT", "path": "/%s/{{ id }}", "body": "{{ record }}"}}}', s.name)::jsonb)
  FROM ($_[0]) s (name, model, schedule);
SQL
}
make_syncs("VALUES ('hanging', 'item', 'manual'), ('locked', 'locked', 'manual'), ('other', 'item', 'manual')");
script('/store/hanging', { delay => 300 });

# All due at once, and one of them never gets its answer.
my $start = time;
sql("SELECT courier.trigger_sync('hanging')");
until_true('the hanging request', sub { @{ receiver('_requests', prefix => '/store/hanging') } });
make_syncs("SELECT 'many' || n, 'item', 'every 1 day' FROM generate_series(1, 199) n"); # the first slot is now
until_sql($node, "SELECT count(*) > 50 FROM courier.sync_details WHERE waiting_for = 'max_running_syncs'", 't', 'syncs that say what they wait for');
pass('200 at once: those that wait say that it is for max_running_syncs');
like(sql("SELECT problem FROM courier.health WHERE problem LIKE '%max_running_syncs%' LIMIT 1"), qr/has not started: it waits for max_running_syncs/, 'so does courier.health');
cmp_ok(sql("SELECT count(*) FROM courier.progress WHERE waiting_for = 'max_running_syncs'"), '>', 0, 'so does courier.progress');
until_sql($node, "SELECT count(*) FROM courier.sync_details WHERE name LIKE 'many%' AND last_status = 'success'", '199', '199 runs', 90);
pass('200 at once: all but the hanging one succeed');
diag(sprintf '200 syncs took %.1f s', time - $start);
is(scalar(grep { keys %{ receiver('_store', name => "many$_") } != 2 } 1, 57, 100, 199), 0, 'and arrived');
is(sql("SELECT string_agg(n || ' of ' || sync || ' ' || t, ', ') FROM (SELECT count(*) AS n, sync, string_agg(triggered_by, '+') AS t FROM courier.run_details WHERE sync LIKE 'many%' GROUP BY sync) x WHERE n > 1"), '', 'each ran once');

# What the hanging one says.
until_sql($node, "SELECT waiting_for FROM courier.progress WHERE sync = 'hanging'", 'an answer of the destination', 'the note of the hanging run');
pass('hanging destination: courier.progress says what it waits for');
like(sql("SELECT health || ': ' || problem FROM courier.health WHERE sync = 'hanging'"), qr/^warning: Run \d+ does not get on: it waits for an answer of the destination/, 'courier.health says it');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker' AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)"), 0, 'and it holds neither snapshot nor transaction');
$start = time;
sql("SELECT courier.cancel_run(run_id) FROM courier.runs WHERE sync = 'hanging' AND status = 'sending'");
until_sql($node, "SELECT last_status FROM courier.sync_details WHERE name = 'hanging'", 'cancelled');
cmp_ok(time - $start, '<', 8, 'hanging destination: a cancel waits three seconds for the request that is under way');
is(details('hanging', 'waiting_for IS NULL'), 't', 'then it waits for nothing');

# Somebody holds a lock on the model's table.
my $holder = $node->background_psql('app');
$holder->query_safe('BEGIN; LOCK TABLE locked');
my $pid = $holder->query_safe('SELECT pg_backend_pid()');
my $run = sql("SELECT courier.trigger_sync('locked')");
until_sql($node, "SELECT waiting_for FROM courier.progress WHERE run_id = $run", "a lock that process $pid holds", 'the note of the locked run');
pass('lock: courier.progress names the process that holds it');
like(sql("SELECT problem FROM courier.health WHERE sync = 'locked'"), qr/waits for a lock that process $pid holds/, 'lock: courier.health too');
like(details('locked', 'health_detail'), qr/waiting for a lock/, 'lock: courier.sync_details too');
like(sql("CALL courier.run_sync('other')"), qr/success/, 'lock: others go on');
$start = time;
sql("SELECT courier.cancel_run($run)");
until_sql($node, "SELECT status FROM courier.runs WHERE run_id = $run", 'cancelled');
cmp_ok(time - $start, '<', 5, 'lock: a run that waits for it can be cancelled');
is(sql("SELECT count(*) FROM courier.runs WHERE sync = 'locked'"), 1, 'lock: nothing carries on by itself after that');
$run = sql("SELECT courier.trigger_sync('locked')");
until_sql($node, "SELECT waiting_for IS NOT NULL FROM courier.progress WHERE run_id = $run", 't', 'the next run to wait');
$holder->query_safe('ROLLBACK');
until_sql($node, "SELECT status FROM courier.runs WHERE run_id = $run", 'success');
pass('lock: when it is let go, the run goes on');

# While a model is read for minutes, its sync is paused, resumed and altered: nobody waits for the other, and the run does not fail for it.
sql(<<'SQL');
CREATE FUNCTION held() RETURNS boolean LANGUAGE plpgsql VOLATILE AS 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(42); RETURN true; END';
CREATE VIEW long AS SELECT id, name FROM item WHERE held();
SELECT courier.create_model('long', relation => 'long', primary_key => '{id}');
SQL
make_syncs("VALUES ('long', 'long', 'manual')");
sub alter_while_it_reads
{
	my ($run_of, $schedule) = @_;
	$holder->query_safe('SELECT pg_advisory_lock(42)');
	my $run = sql("SELECT courier.trigger_sync('long')");
	until_sql($node, "SELECT waiting_for FROM courier.progress WHERE run_id = $run", "a lock that process $pid holds", "$run_of to wait");
	sql("SET statement_timeout = '5 s'; SELECT courier.pause_sync('long'); SELECT courier.resume_sync('long')");
	sql("SET statement_timeout = '5 s'; SELECT courier.alter_sync('long', schedule => '$schedule')");
	$holder->query_safe('SELECT pg_advisory_unlock(42)');
	until_sql($node, "SELECT count(*) FROM courier.progress WHERE run_id = $run", 0, "$run_of to end");
	is(sql("SELECT status || COALESCE(': ' || error, '') FROM courier.runs WHERE run_id = $run"), 'success', "altered meanwhile: $run_of succeeds");
}
alter_while_it_reads('a first run', '0 0 1 1 *');
is(details('long', 'snapshot_records'), 2, 'altered meanwhile: a first run counts its snapshot');
sql("DELETE FROM item WHERE id = 2");
alter_while_it_reads('a run that forgets what is gone', 'manual');
is(details('long', 'snapshot_records'), 1, 'altered meanwhile: so does one that forgets what is gone');
sql("INSERT INTO item VALUES (2, 'two')");
$holder->quit;

# No worker slot: one for replication, the launcher, the scheduler, one run.
idle();
$node->append_conf('postgresql.conf', "max_worker_processes = 4\nmax_parallel_workers = 0\n");
$node->restart;
my $before = @{ receiver('_requests', prefix => '/store/hanging') };
sql("UPDATE item SET name = 'new'");
sql("SELECT courier.trigger_sync('hanging')");
until_true('the hanging request', sub { @{ receiver('_requests', prefix => '/store/hanging') } > $before });
worker_pid($node, 'pg_courier scheduler');
$run = sql("SELECT courier.trigger_sync('other')");
until_sql($node, "SELECT waiting_for FROM courier.progress WHERE run_id = $run", 'worker slots', 'the run to say that it waits for a slot');
pass('no worker slot: courier.progress says so');
like(sql("SELECT problem || ' ' || remedy FROM courier.health WHERE sync = 'other'"), qr/waits for worker slots.*max_worker_processes/s, 'no worker slot: courier.health says what to raise');
sql("SELECT courier.cancel_run(run_id) FROM courier.runs WHERE sync = 'hanging' AND status = 'sending'");
until_sql($node, "SELECT status FROM courier.runs WHERE run_id = $run", 'success', 'the run that waited');
pass('no worker slot: as soon as there is one, it runs');

sub slurp { open my $file, '<', $_[0] or die; local $/; return <$file> }
unlike(slurp($node->logfile), qr/XX000|terminated by signal|PANIC|TRAP/, 'no process crashed');
$node->stop;
done_testing();
