# kill -9 at each step of a job at a destination (Bulk API 2.0, played by vendors.py). The run that follows asks what became of it
# before it compares: the destination has every record exactly once, and no job is left open.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use HTTP::Tiny;
use JSON::PP;
use Test::More;

my $url = start_receiver('vendors.py') . '/sf';
my $node = new_node(1);
$node->safe_psql('app', <<SQL);
SELECT courier.create_model('item', relation => 'item');
SELECT courier.create_destination('sf', 'salesforce', '{"base_url": "$url", "client_id": "app"}', '{"client_secret": "s3cret"}');
SELECT courier.create_sync('items', 'item', 'sf', mode => 'upsert', object => 'Contact', mapping => '{"Ext__c": "id::text", "LastName": "name"}',
    match_on => '{Ext__c}', config => '{"api": "bulk"}');
SQL

sub control { my $answer = HTTP::Tiny->new->get("$url/_$_[0]"); die $answer->{content} unless $answer->{success}; return decode_json($answer->{content}) }
sub slurp { open my $file, '<', $_[0] or die; local $/; return <$file> }
sub crashes { my @all = slurp($node->logfile) =~ /was terminated by signal 9/g; return scalar @all }
sub idle { until_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_courier run worker'", '0', 'workers to end') }

my ($seen, $next, %expected) = (0, 1);

# What a round adds, and what has to hold after it.
sub add_items
{
	my ($what) = @_;
	$node->safe_psql('app', "INSERT INTO item SELECT n, '$what ' || n FROM generate_series($next, $next + 2) n");
	$expected{$_} = "$what $_" for $next .. $next + 2;
	$next += 3;
}

sub holds_once
{
	my ($what) = @_;
	until_sql($node, "SELECT status FROM courier.runs ORDER BY run_id DESC LIMIT 1", 'success', "$what: a run that succeeds", 90);
	my $state = control('state');
	is_deeply({ map { $_ => $state->{records}{$_}{LastName} } keys %{ $state->{records} } }, \%expected, "$what: the destination has every record");
	is_deeply([ grep { $state->{writes}{$_} != 1 } sort keys %{ $state->{writes} } ], [], "$what: each was written once");
	is_deeply([ grep { $_ !~ /^(JobComplete|Aborted)$/ } values %{ $state->{jobs} } ], [], "$what: no job is left open");
	is($node->safe_psql('app', "SELECT (SELECT count(*) FROM courier.open_jobs), (SELECT count(*) FROM pg_class WHERE relname ~ '^jobs_'),"
		. " (SELECT count(*) FROM courier.run_details WHERE status = 'success' AND planned_added <> succeeded_added)"), '0|0|0', "$what: nothing is kept, and the numbers add up");
	is($node->safe_psql('app', "SELECT count(*) FROM courier.snapshot('items')"), scalar(keys %expected), "$what: the snapshot is what was accepted");
	$seen = crashes();
}

# The fault points: the state was just written (job created; data uploaded, about to be closed), the results are read and not settled.
for my $point (qw(job_upload job_close before_settle))
{
	idle();
	add_items($point);
	$node->safe_psql('postgres', "ALTER DATABASE app SET pg_courier.fault_point = '$point:kill'");
	$node->psql('app', "SELECT courier.trigger_sync('items')");
	until_true("death at $point", sub { crashes() > $seen });
	until_true('the setting to go', sub { my ($code) = $node->psql('postgres', 'ALTER DATABASE app RESET pg_courier.fault_point'); defined $code && $code == 0 });
	holds_once($point);
}

# The job was closed and is worked on: by the worker, and by the whole server. Meanwhile the model goes on.
for my $how ('the worker', 'the server')
{
	idle();
	control('hold');
	add_items("polled, $how");
	my $run = $node->safe_psql('app', "SELECT courier.trigger_sync('items')");
	my $jobs = 0;
	until_true('a job that is worked on', sub { $jobs = grep { $_ eq 'InProgress' } values %{ control('state')->{jobs} } });
	if ($how eq 'the server')
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		kill_process(worker_pid($node, 'pg_courier run worker'));
		until_true('the server to come back', sub { my ($code) = $node->psql('postgres', 'SELECT true'); defined $code && $code == 0 });
	}
	add_items("afterwards, $how");
	is($node->safe_psql('app', 'SELECT count(*), sum(records) FROM courier.open_jobs'), '1|3', "$how: the job and its records are kept");
	control('release');
	holds_once("polled, $how");
	is($node->safe_psql('app', "SELECT status FROM courier.runs WHERE run_id = $run"), 'interrupted', "$how: the run was interrupted");
}

$node->stop;
done_testing();
