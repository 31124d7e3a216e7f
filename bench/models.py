"""The models of the comparison: ten columns of mixed types, heap order unrelated to the key; keys of several kinds; an ugly one."""

COLUMNS = """i::int AS number, md5(k::text)::uuid AS u, 'customer ' || k AS name, repeat(chr(97 + (k % 26)::int), 30 + (k % 40)::int) AS note,
    (k % 1000000) / 100.0 AS amount, k / 7.0::float8 AS score, timestamptz '2024-01-01 UTC' + k * interval '1 second' AS changed_at,
    jsonb_build_object('city', 'Bonn', 'n', k % 100, 'tags', jsonb_build_array('a', k % 7)) AS attributes, k % 2 = 0 AS active"""
KEYS = {"bigint": ("k AS id", ("id",)), "text": ("'C-' || lpad(k::text, 12, '0') AS id", ("id",)), "composite": ("(k % 1000)::int AS shop, 'C-' || k AS id", ("shop", "id"))}


def make_model(sql, name, rows, key="bigint"):
    expression, columns = KEYS[key]
    # A prime that divides no number of rows used here: a permutation without a sort.
    sql(f"CREATE TABLE {name} AS SELECT {expression}, {COLUMNS} FROM (SELECT i, (i * 7368787) % {rows} AS k FROM generate_series(0::bigint, {rows} - 1) i) x")
    if key == "bigint":
        sql(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
    sql(f"VACUUM ANALYZE {name}")
    return columns


def make_join(sql, name, table, rows):
    """A model that is staged: a join with what each customer ordered, summed."""
    sql(f"CREATE TABLE {name}_orders AS SELECT (i * 7368787) % {rows} AS customer, i % 100 AS pieces FROM generate_series(0::bigint, {rows} - 1) i")
    sql(f"VACUUM ANALYZE {name}_orders")
    sql(f"CREATE VIEW {name} AS SELECT t.*, coalesce(o.pieces, 0) AS pieces FROM {table} t LEFT JOIN (SELECT customer, sum(pieces) AS pieces FROM {name}_orders"
        " GROUP BY customer) o ON o.customer = t.id")


def make_ugly(sql, name, rows):
    """A view of twelve tables and 150 columns, a text key of two columns, toasted text and jsonb, statistics that are not true."""
    for n in range(12):
        columns = ", ".join(f"(k * {c + 3} % 1000)::text || 'v' AS c{n}_{c}" if c % 3 == 0 else f"k * {c + 1} AS c{n}_{c}" if c % 3 == 1 else f"k / {c + 1}.0 AS c{n}_{c}"
                            for c in range(12))
        sql(f"CREATE TABLE {name}_{n} AS SELECT k AS k{n}, {columns} FROM (SELECT (i * 7368787) % {rows} AS k"
            f" FROM generate_series(0::bigint, {rows // 10}) i) x")
        sql(f"ALTER TABLE {name}_{n} SET (autovacuum_enabled = off)")
        sql(f"ANALYZE {name}_{n}")  # of a tenth of the rows
        sql(f"INSERT INTO {name}_{n} SELECT k AS k{n}, {columns} FROM (SELECT (i * 7368787) % {rows} AS k FROM generate_series({rows // 10} + 1::bigint, {rows} - 1) i) x")
    sql(f"CREATE TABLE {name}_wide AS SELECT k, (SELECT string_agg(md5((k * 31 + n)::text), '') FROM generate_series(1, 100) n) AS story,"
        f" jsonb_build_object('k', k, 'list', (SELECT jsonb_agg(md5((k + n)::text)) FROM generate_series(1, 80) n)) AS document FROM generate_series(0::bigint, {rows} - 1, 20) k")
    joins = " ".join(f"JOIN {name}_{n} ON k{n} = k0" for n in range(1, 12))
    columns = ", ".join(f"c{n}_{c}" for n in range(12) for c in range(12))
    sql(f"CREATE VIEW {name} AS SELECT 'S' || k0 % 100 AS shop, 'C-' || k0 AS id, {columns}, w.story, w.document, k1 AS one, k2 AS two FROM {name}_0 {joins}"
        f" LEFT JOIN {name}_wide w ON w.k = k0")
    return ("shop", "id")
