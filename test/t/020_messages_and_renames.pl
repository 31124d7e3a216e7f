# kill -9 where one change is two requests (a match value that changed), and where one request is many changes (a digest).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use JSON::PP;
use Test::More;

my $url = start_receiver();
my $node = new_node(1);
$node->safe_psql('app', <<SQL);
SELECT courier.create_model('item', relation => 'item');
SELECT courier.create_destination('people', 'http', '{"base_url": "$url/store/people"}');
SELECT courier.create_sync('people', 'item', 'people', mode => 'mirror', mapping => '{"name": "name", "n": "id"}', match_on => '{name}',
    config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ name }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ name }}"}}}');
SELECT courier.create_destination('news', 'http', '{"base_url": "$url/store/news"}');
SELECT courier.create_sync('news', 'item', 'news', sync_type => 'notifications', first_run => 'send',
    config => '{"messages": {"digest": "{{ count }} {{#added}}{{ name }} {{/added}}"}}');
INSERT INTO item VALUES (1, 'a'), (2, 'z');
SQL

# A run of the sync dies at the fault point; gives the number of the run that follows and succeeds.
my $crashes = 0;
sub die_at
{
	my ($sync, $point) = @_;
	$node->safe_psql('postgres', "ALTER DATABASE app SET pg_courier.fault_point = '$point:kill'");
	until_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'", '0', 'workers to end');
	$node->psql('app', "SELECT courier.trigger_sync('$sync')");
	$crashes++;
	until_true("death at $point", sub { my @all = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /was terminated by signal 9/g; @all >= $crashes });
	until_true('the setting to go', sub { my ($code) = $node->psql('postgres', 'ALTER DATABASE app RESET pg_courier.fault_point'); defined $code && $code == 0 });
	until_sql($node, "SELECT status FROM courier.runs WHERE sync = '$sync' ORDER BY run_id DESC LIMIT 1", 'success', "$sync: a run that succeeds", 90);
	my @all = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /was terminated by signal 9/g;
	$crashes = @all;
}

# The addition is settled, the removal has been sent and never arrives.
$node->safe_psql('app', "CALL courier.run_sync('people')");
script('/store/people/a', { status => 503, delay => 3 }, {});
$node->safe_psql('app', "UPDATE item SET name = 'b' WHERE id = 1");
die_at('people', 'after_settle');
is_deeply(receiver('_store', name => 'people'), { b => { name => 'b', n => 1 }, z => { name => 'z', n => 2 } }, 'rename: the former record is gone, the new one is there');
my @removals = grep { $_->{method} eq 'DELETE' } @{ receiver('_requests', prefix => '/store/people') };
cmp_ok(scalar @removals, '>=', 2, 'rename: the removal was sent again');
is(scalar(keys %{ { map { $_->{key} => 1 } @removals } }), 1, 'rename: under the same key');
is($node->safe_psql('app', "SELECT sum(succeeded_added), count(*) FILTER (WHERE error IS NOT NULL AND status = 'failed') FROM courier.run_details WHERE sync = 'people'"), '3|0',
	'rename: the addition was not sent again');
$node->safe_psql('app', "CALL courier.run_sync('people')");
is($node->safe_psql('app', "SELECT requests FROM courier.run_details WHERE sync = 'people' ORDER BY run_id DESC LIMIT 1"), 0, 'rename: then nothing is left');

# The digest is accepted and not settled.
script('/store/news', { body => '"ok"' });
die_at('news', 'before_settle');
my @digests = @{ receiver('_requests', prefix => '/store/news') };
cmp_ok(scalar @digests, '>=', 2, 'digest: sent again');
is(scalar(keys %{ { map { $_->{key} => 1 } @digests } }), 1, 'digest: under the same key');
my @texts = keys %{ { map { decode_json($_->{body})->{text} => 1 } @digests } };
is(scalar @texts, 1, 'digest: with the same text');
is(join(' ', sort split / /, $texts[0]), '2 b z', 'digest: of all changes');
my $sent = @digests;
$node->safe_psql('app', "CALL courier.run_sync('news')");
is(scalar @{ receiver('_requests', prefix => '/store/news') }, $sent, 'digest: then nothing is left');

$node->stop;
done_testing();
