package Courier;

# What the crash tests share: a node with the staged library, a receiver that outlives the server, waiting for conditions.

use strict;
use warnings;
use Exporter 'import';
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(new_node make_sync start_receiver receiver script until_true until_sql worker_pid kill_process mirror_is_equal);

my ($receiver_pid, $receiver_url);
my $nodes = 0;

sub new_node
{
	my ($preload, $more) = @_;
	my $node = PostgreSQL::Test::Cluster->new('main' . ($nodes++ || ''));
	$node->init;
	my $stage = $ENV{PG_COURIER_DESTDIR};
	$node->append_conf('postgresql.conf', "extension_destdir = '$stage'\ndynamic_library_path = '$stage$ENV{PG_COURIER_PKGLIBDIR}:\$libdir'\n") if $stage;
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = '" . ($preload ? 'pg_courier' : '') . "'\n"
		  . "pg_courier.allow_addresses = '127.0.0.0/8'\nrestart_after_crash = on\nmax_worker_processes = 16\nfsync = on\nautovacuum = off\n" . ($more // ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$node->safe_psql('app', 'CREATE EXTENSION pg_courier; CREATE TABLE item (id integer PRIMARY KEY, name text)');
	return $node;
}

sub start_receiver
{
	my ($program) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/port';
	$receiver_pid = fork // die "fork: $!";
	if (!$receiver_pid)
	{
		exec 'python3', '-B', "$ENV{PG_COURIER_TEST}/e2e/" . ($program // 'receiver.py'), $file or die "exec: $!";
	}
	until_true('the receiver', sub { -s $file });
	chomp(my $port = slurp_file($file));
	$receiver_url = "http://127.0.0.1:$port";
	return $receiver_url;
}

END
{
	my $status = $?;
	if ($receiver_pid)
	{
		kill 'TERM', $receiver_pid;
		waitpid $receiver_pid, 0;
	}
	$? = $status;
}

# receiver('_writes', name => 'item'): what the receiver says
sub receiver
{
	my ($what, %query) = @_;
	my $answer = HTTP::Tiny->new(timeout => 10)->get("$receiver_url/$what?" . HTTP::Tiny->new->www_form_urlencode(\%query));
	die "receiver: $answer->{content}" unless $answer->{success};
	return decode_json($answer->{content});
}

sub script
{
	my ($prefix, @answers) = @_;
	my $answer = HTTP::Tiny->new->post("$receiver_url/_script", { content => encode_json({ prefix => $prefix, answers => \@answers }) });
	die "receiver: $answer->{content}" unless $answer->{success};
}

# A mirror of table item, to the store of that name
sub make_sync
{
	my ($node, %more) = @_;
	my $options = encode_json({ concurrency => 2, %{ $more{options} // {} } });
	my $schedule = $more{schedule} // 'manual';
	$node->safe_psql('app', <<SQL);
SELECT courier.create_model('item', relation => 'item');
SELECT courier.create_destination('receiver', 'http', '{"base_url": "$receiver_url/store/item"}');
SELECT courier.create_sync('items', 'item', 'receiver', mode => 'mirror', schedule => '$schedule', options => '$options',
    config => '{"requests": {"upsert": {"method": "PUT", "path": "/{{ id }}", "body": "{{ record }}"}, "delete": {"method": "DELETE", "path": "/{{ id }}"}}}');
SQL
}

sub until_true
{
	my ($what, $condition, $timeout) = @_;
	my $deadline = time + ($timeout // 60);
	while (1)
	{
		# While the server restarts, psql may be gone before it has read what it was to run.
		my $value = eval { $condition->() };
		die $@ if $@ && $@ !~ /Broken pipe/;
		return $value if $value;
		die "waited too long for $what" if time > $deadline;
		sleep 0.1;
	}
}

sub until_sql
{
	my ($node, $query, $expected, $what, $timeout) = @_;
	return until_true($what // $query, sub {
		my ($code, $out) = $node->psql('app', $query);
		return defined $code && $code == 0 && $out eq $expected;
	}, $timeout);
}

# The process id of a kind of background worker
sub worker_pid
{
	my ($node, $kind) = @_;
	return until_true($kind, sub {
		my ($code, $out) = $node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$kind' LIMIT 1");
		return $code == 0 && $out ? $out : undef;
	});
}

sub kill_process
{
	my ($pid) = @_;
	die "no process id" unless $pid && $pid =~ /^[0-9]+$/ && $pid > 1;
	kill 'KILL', $pid;
	until_true("process $pid to end", sub { !kill 0, $pid });
}

# The receiver holds exactly the table.
sub mirror_is_equal
{
	my ($node, $name) = @_;
	my $model = decode_json($node->safe_psql('app', "SELECT COALESCE(json_object_agg(id, to_json(item)), '{}') FROM item"));
	is_deeply(receiver('_store', name => 'item'), $model, $name);
}

1;
