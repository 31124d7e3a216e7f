# Logs are kept by day and retention: a day that is old enough is dropped as a table, and no row is ever deleted.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Courier;
use Test::More;

start_receiver();
my $node = new_node(1);
make_sync($node);
$node->safe_psql('app', <<SQL);
INSERT INTO item VALUES (1, 'one');
SELECT courier.create_sync('short', 'item', 'receiver', options => '{"retention": "36 hours", "log_requests": "all"}',
    config => (SELECT config FROM courier_internal.sync WHERE name = 'items'));
CALL courier.run_sync('items');
CALL courier.run_sync('short');
SQL
my $today = $node->safe_psql('app', "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')");
is($node->safe_psql('app', "SELECT s.name, l.tableoid::regclass FROM courier_internal.change_log l JOIN courier_internal.sync s USING (sync_id) ORDER BY 1"),
	"items|courier_internal.change_log_$today\nshort|courier_internal.change_log_2160min_$today", 'a sync that has a retention has partitions of its own');
is($node->safe_psql('app', "SELECT DISTINCT l.tableoid::regclass FROM courier_internal.request l"), "courier_internal.request_2160min_$today", 'so have requests');

# Days as they would be there by now: two days ago ended less than 36 hours ago, three days ago did not.
my $days = $node->safe_psql('app', <<'SQL');
WITH made AS (SELECT p, kept, (now() AT TIME ZONE 'UTC')::date - n AS day, format('%s_%s%s', p, CASE WHEN kept > 0 THEN kept || 'min_' END, to_char((now() AT TIME ZONE 'UTC')::date - n, 'YYYYMMDD')) AS name
  FROM unnest(ARRAY['change_log', 'request', 'request_key']) p, (VALUES (2160, 1), (2160, 3), (0, 3), (0, 40)) d (kept, n))
SELECT format('CREATE TABLE courier_internal.%1$s PARTITION OF courier_internal.%2$s FOR VALUES FROM (%3$s, %4$L) TO (%3$s, %5$L); ALTER EXTENSION pg_courier ADD TABLE courier_internal.%1$s;',
    name, p, kept, to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00') FROM made
SQL
$node->safe_psql('app', $days);
my $left = "SELECT string_agg(replace(relname, p, ''), ' ' ORDER BY relname) FROM (VALUES ('change_log'), ('request'), ('request_key')) v (p)"
  . " JOIN pg_class ON relname ~ ('^' || p || '_([0-9]+min_)?[0-9]{8}\$') AND right(relname, 8) < '$today' GROUP BY p ORDER BY p";
my $date = sub { $node->safe_psql('app', "SELECT to_char((now() AT TIME ZONE 'UTC')::date - $_[0], 'YYYYMMDD')") };
my $kept = join ' ', sort "_2160min_" . $date->(1), '_' . $date->(3);

# Rate budgets: one that nobody has needed for two hours, one that is in use, and one that the destination blocked until tomorrow.
$node->safe_psql('app', "INSERT INTO courier_internal.destination_state SELECT destination_id, b, now() - f, now() + u FROM courier_internal.destination,"
	. " (VALUES ('old', interval '2 hours', interval '-2 hours'), ('used', '1 min', '-2 hours'), ('blocked', '2 hours', '1 day')) v (b, f, u)");

# A summary that was begun and cancelled, as autovacuum is when it stands in somebody's way: its placeholder stays in the index.
my $day = 'courier_internal.change_log_' . $date->(3);
my $index = $node->safe_psql('app', "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = '$day'::regclass");
$node->safe_psql('app', <<SQL);
CREATE EXTENSION pageinspect;
INSERT INTO $day (run_id, sync_id, key, primary_key, change, outcome, changed_at, kept)
    SELECT 1, 0, n::text, '{}', 'added', 'succeeded', to_date(right('$day', 8), 'YYYYMMDD') + interval '12 hours', 0 FROM generate_series(1, 50000) n;
SQL
my $ranges = "SELECT count(*) FILTER (WHERE placeholder) || ' of ' || count(*) FROM (SELECT (brin_page_items(get_raw_page('$index', p::integer), '$index')).*"
  . " FROM generate_series(0, pg_relation_size('$index') / 8192 - 1) p WHERE brin_page_type(get_raw_page('$index', p::integer)) = 'regular' OFFSET 0) i WHERE attnum = 1";
my $every = $node->safe_psql('app', "SELECT (pg_relation_size('$day') / 8192 + 7) / 8");
for (1 .. 200) {
	$node->psql('app', 'SET statement_timeout = ' . (1 + $_ % 40) . "; SELECT brin_summarize_new_values('$index')");
	last if $node->safe_psql('app', $ranges) =~ /^1 of/;
	$node->safe_psql('app', "SELECT brin_desummarize_range('$index', g * 8) FROM generate_series(0, $every) g");
}
like($node->safe_psql('app', $ranges), qr/^1 of/, 'the summary of a range was begun, and cancelled');
$node->safe_psql('app', "VACUUM $day");
like($node->safe_psql('app', $ranges), qr/^1 of/, 'VACUUM takes it for a summary');

$node->restart; # the scheduler keeps house when it begins, and every minute
until_sql($node, $left, join("\n", ($kept) x 3), 'old days to be dropped');
until_sql($node, $ranges, "0 of $every", 'the index of an old day to be complete');
pass('the index of a day that is over is complete');
until_sql($node, "SELECT obj_description('$day'::regclass, 'pg_class') IS NOT NULL", 't', 'it to be noted');
is($node->safe_psql('app', "SELECT obj_description('courier_internal.change_log_$today'::regclass, 'pg_class') IS NULL"), 't', 'that of today is left alone');
pass('a day that ended before the retention of its rows is gone, others are there');
is($node->safe_psql('app', "SELECT sum(n_tup_del) FROM pg_stat_all_tables WHERE schemaname = 'courier_internal' AND relname ~ '^(change_log|request)'"), 0, 'and no row was deleted');
until_sql($node, "SELECT string_agg(budget, ' ' ORDER BY budget) FROM courier_internal.destination_state WHERE budget <> ''", 'blocked used', 'old budgets to go');
pass('a rate budget that nobody needs is gone');
is($node->safe_psql('app', "SELECT count(*) FROM courier.changelog"), 2, 'the logs of today are there');

$node->safe_psql('postgres', "ALTER SYSTEM SET pg_courier.log_retention = '1 d'");
$node->restart;
until_sql($node, $left, join("\n", ('_2160min_' . $date->(1)) x 3), 'the setting to count');
pass('a shorter pg_courier.log_retention counts at once');
$node->stop;
done_testing();
