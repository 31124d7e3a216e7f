"""A random model: its columns, its rows as they should be, and random changes of them as SQL."""

from property_values import KEYS, TYPES, key_part, load, quoted, texts

NULL = ("NULL", "null")


class Model:
    def __init__(self, name, random):
        self.name, self.random = name, random
        self.kind = random.choice(sorted(KEYS))
        self.key_types, self.draw_key = KEYS[self.kind]
        self.key_columns = ["a", "b"][: len(self.key_types)]
        chosen = random.sample(sorted(TYPES), random.randint(2, 8))
        self.columns = {"name": "text", **{f"c{n}": type_ for n, type_ in enumerate(chosen)}}
        self.values = {column: TYPES[type_] for column, type_ in self.columns.items()}
        self.dropped, self.suffix, self.fresh = set(), "", 0
        self.rows, self.former = {}, {}  # key -> {column: value}; former: the rows of one round before, for A -> B -> A
        self.nulls, self.copies = 0, set()
        keys = [f"{c} {t}" for c, t in zip(self.key_columns, self.key_types)]
        rest = [f"{c} {t}" for c, t in self.columns.items()]
        self.ddl = f"CREATE TABLE {name} ({', '.join(keys + ['mail text'] + rest + ['plain integer DEFAULT 0'])})"

    def describe(self):
        return f"key {self.kind}, columns {', '.join(self.columns.values())}"

    # What is to arrive

    def mapping(self):
        text = " || '#' || ".join(f"{c}::text" for c in self.key_columns)
        fields = {c: c for c in self.columns if c not in self.dropped}
        return {"k": f"'{self.name}/' || {text}", "mail": "mail", **fields, "name": "name" + self.suffix, "run": "courier.run_id()"}

    def k(self, key):
        return f"{self.name}/" + "#".join(key)

    def json_key(self, key):
        return tuple(key_part(t, v) for t, v in zip(self.key_types, key))

    def form(self):
        return frozenset(self.dropped), self.suffix

    def record(self, key, form=None):
        """form: of another mapping"""
        dropped, suffix = form or self.form()
        row = self.rows[key]
        out = {"k": self.k(key), "mail": load(row["mail"][1])}
        for column in self.columns:
            if column not in dropped:
                out[column] = load(row[column][1])
        if suffix and out["name"] is not None:
            out["name"] += "!"
        return out

    def mail(self, key):
        return load(self.rows[key]["mail"][1])

    def change_mapping(self):
        if self.random.random() < 0.5:
            self.suffix = "" if self.suffix else " || '!'"
        else:
            self.dropped ^= {self.random.choice([c for c in self.columns if c != "name"])}

    # Random changes

    def new_key(self):
        return tuple(self.draw_key(self.random))

    def where(self, key):
        return " AND ".join(f"{c} = {quoted(v)}" for c, v in zip(self.key_columns, key))

    def some_mail(self):
        pick = self.random.random()
        if pick < 0.04:
            return NULL if pick < 0.02 else ("''", '""')
        return texts([f"m{self.random.randint(0, 80)}.{self.name}@x"])[0]

    def own_mail(self):
        self.fresh += 1
        return texts([f"own{self.fresh}.{self.name}@x"])[0]

    def value(self, column):
        return NULL if self.random.random() < 0.15 else self.random.choice(self.values[column])

    def new_row(self):
        return {"mail": self.some_mail(), **{column: self.value(column) for column in self.columns}}

    def insert(self, key, row):
        columns = self.key_columns + list(row)
        values = [quoted(v) for v in key] + [v[0] for v in row.values()]
        return f"INSERT INTO {self.name} ({', '.join(columns)}) VALUES ({', '.join(values)})"

    def set(self, key, values):
        return f"UPDATE {self.name} SET {', '.join(f'{c} = {v[0]}' for c, v in values.items())} WHERE {self.where(key)}"

    def put(self, key, values):
        self.rows[key] = {**self.rows[key], **values}
        return [self.set(key, values)]

    def step(self):
        """One mutation: a list of statements; empty where the draw fits no row."""
        r, what, key = self.random, self.random.random(), self.new_key()
        if key not in self.rows and what < 0.75:
            self.rows[key] = self.former[key] if r.random() < 0.4 and key in self.former else self.new_row()
            return [self.insert(key, self.rows[key])]
        if not self.rows:
            return []
        if key not in self.rows:
            key = r.choice(sorted(self.rows))
        other = r.choice(sorted(self.rows))
        if what < 0.18:
            self.rows.pop(key)
            return [f"DELETE FROM {self.name} WHERE {self.where(key)}"]
        if what < 0.26:
            other = self.new_key()
            if other in self.rows:
                return []
            self.rows[other] = self.rows.pop(key)
            return [f"UPDATE {self.name} SET {', '.join(f'{c} = {quoted(v)}' for c, v in zip(self.key_columns, other))} WHERE {self.where(key)}"]
        if what < 0.36:  # back to what it was before the last run
            return self.put(key, self.former[key]) if key in self.former else []
        if what < 0.40:  # away and back within a transaction
            column = r.choice(sorted(self.columns))
            return [self.set(key, {column: self.value(column)}), self.set(key, {column: self.rows[key][column]})]
        if what < 0.45:
            return [f"UPDATE {self.name} SET plain = plain + 1 WHERE {self.where(key)}"]
        if what < 0.50:  # e-mails are exchanged
            mine, its = self.rows[key]["mail"], self.rows[other]["mail"]
            return self.put(key, {"mail": its}) + self.put(other, {"mail": mine})
        if what < 0.53:  # an e-mail is shared
            return self.put(key, {"mail": self.rows[other]["mail"]})
        if what < 0.60:
            return self.put(key, {"mail": self.some_mail()})
        column = r.choice(sorted(self.columns))
        return self.put(key, {column: self.value(column)})

    def unusable(self):
        """A row without a key, and a second copy of a row. They stay for one round."""
        statements = [f"INSERT INTO {self.name} (mail, name) VALUES ('nobody@x', 'nobody')"]
        self.nulls = 1
        if self.rows and self.random.random() < 0.6:
            key = self.random.choice(sorted(self.rows))
            self.copies.add(key)
            statements.append(self.insert(key, {**self.rows[key], "name": ("'the copy'", "")}))
        return statements

    def usable(self):
        if not self.nulls and not self.copies:
            return []
        self.nulls, self.copies = 0, set()
        return [f"DELETE FROM {self.name} WHERE a IS NULL OR name = 'the copy'"]
