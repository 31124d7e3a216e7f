# The extension in ten databases of one server, all with runs due at the same time: two run at a time, each database gets its turn, no process
# grows, and what arrives at the destination of one is nobody else's.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;

my $url = start_receiver();
my $node = new_node(1, "fsync = off\npg_courier.max_running_syncs = 2\nmax_worker_processes = 20\nmax_connections = 60\n");
my @databases = map { "db$_" } 1 .. 10;

for my $db (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, <<SQL);
CREATE EXTENSION pg_courier;
CREATE TABLE item AS SELECT n AS id, '$db ' || n AS name FROM generate_series(1, 500) n;
ALTER TABLE item ADD PRIMARY KEY (id);
SELECT courier.create_model('item', relation => 'item');
SELECT courier.create_destination('receiver', 'http', '{"base_url": "$url/store/$db"}');
SQL
}
# The first slot of all is now.
for my $db (@databases)
{
	$node->safe_psql($db, <<SQL);
SELECT courier.create_sync('items', 'item', 'receiver', mode => 'mirror', schedule => 'every 1 s', options => '{"concurrency": 4}',
    config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}}');
SQL
}

# Own memory of every process of ours, in kB, and how many of them send.
my ($most_memory, $most_running) = (0, 0);
sub look
{
	my @lines = split /\n/, $node->safe_psql('postgres', "SELECT pid || ' ' || backend_type || ' ' || coalesce(state, '') FROM pg_stat_activity WHERE backend_type LIKE 'pg_courier%'");
	my $running = grep { /run worker active/ } @lines; # others stay for a while after their run
	$most_running = $running if $running > $most_running;
	for my $pid (map { /^(\d+)/ } @lines)
	{
		open(my $status, '<', "/proc/$pid/status") or next;
		my ($used) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$status>;
		$most_memory = $used if ($used // 0) > $most_memory;
	}
}

for my $round (1, 2)
{
	for my $db (@databases)
	{
		until_true("$db to be served in round $round", sub {
			look();
			my ($code, $out) = $node->psql($db, "SELECT count(*) >= 1 FROM courier.runs WHERE status = 'success' AND sent > 0" . ($round == 2 ? " AND sent < 500" : ''));
			return $code == 0 && $out eq 't';
		}, 120);
	}
	pass("round $round: all ten are served");
	my @wrong = grep {
		my $store = receiver('_store', name => $_);
		my $db = $_;
		keys %$store != ($round == 1 ? 500 : 499) || grep { $_->{name} !~ /^$db / } values %$store;
	} @databases;
	is("@wrong", '', "round $round: each destination holds what is its own");
	next if $round == 2;
	$node->safe_psql($_, "DELETE FROM item WHERE id = 1; UPDATE item SET name = name || '!' WHERE id = 2") for @databases;
}
cmp_ok($most_running, '<=', 2, "max_running_syncs holds for the whole server ($most_running)");
cmp_ok($most_running, '>', 0, 'some were seen');
cmp_ok($most_memory, '<', 256 * 1024, "no process uses more than 256 MB ($most_memory kB)");
is($node->safe_psql('db7', "SELECT count(*) FROM courier.runs WHERE status NOT IN ('success', 'queued', 'querying', 'sending')"), 0, 'no run failed');
$node->stop;
done_testing();
