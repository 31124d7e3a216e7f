# DROP DATABASE never waits for an HTTP request.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;
use Time::HiRes qw(time);

start_receiver();
for my $preload (1, 0)
{
	my $node = new_node($preload);
	my $name = $preload ? 'with preload' : 'without preload';
	$node->safe_psql('app', "INSERT INTO item SELECT n, 'x' FROM generate_series(1, 20) n");
	make_sync($node);
	my $before = @{ receiver('_requests', prefix => '/store/item') };
	script('/store/item', { delay => 20 });
	$node->safe_psql('app', "SELECT courier.trigger_sync('items')");
	until_true('a request under way', sub { @{ receiver('_requests', prefix => '/store/item') } > $before });
	my $start = time;
	my ($code, $out, $error) = $node->psql('postgres', 'DROP DATABASE app');
	# Without preload nobody hears of it in time unless the worker itself does.
	is($code, 0, "$name: DROP DATABASE works during a slow request") or diag $error;
	cmp_ok(time - $start, '<', 5, "$name: within 5 seconds");
	is($node->safe_psql('postgres', 'SELECT 1'), 1, "$name: the server lives");
	$node->stop;
	$node->clean_node;
}
done_testing();
