"""One walk: a random model, a random history of it, and what must be true after every run that came to its end.

What is asserted looks at the receiver and at the proxy's journal of what arrived there, against the model as Python keeps it. Our own views
are only asked which records are rejected, and each of those must have a reason that can be seen from outside.
"""

import os
import signal

from harness import Case, SqlError, equal, literal, until
from property_model import Model
from property_receivers import usable_mail
from property_values import key_from, load

ENDED = ("success", "warning")
KILL_IN_ROUND = 5  # of every model; and some more by chance


class Walk:
    def __init__(self, case, receiver, random):
        self.t, self.receiver, self.random = case, receiver, random
        self.model, self.proxy = Model(case.name, random), receiver.proxy
        self.steps, self.killed = 0, 0
        self.acked, self.pending, self.spent, self.sick_since, self.writes = {}, set(), set(), set(), {}
        self.form = self.model.form()
        self.hold_removals = random.random() < 0.6
        t, model = case, self.model
        t.sql(model.ddl)
        options = {"max_removed": "100%", "max_rejected": "100%", "max_attempts": 6, "concurrency": random.choice([1, 4, 8]),
                   "null_keys": "hold" if self.hold_removals else "remove"}
        t.sync(query=f"SELECT * FROM {model.name}", primary_key=model.key_columns, base=self.proxy.url, mode="mirror", mapping=model.mapping(), options=options,
               **receiver.settings())

    def describe(self):
        return f"{self.t.name}: {self.receiver.describe()}, {self.model.describe()}"

    # A round: changes, perhaps something that goes wrong, runs until one came to its end, and the look at what arrived

    def round(self, n):
        r, model, proxy = self.random, self.model, self.proxy
        former = {key: dict(row) for key, row in model.rows.items()}
        statements = model.usable()
        mutations = [m for m in (model.step() for _ in range(r.randint(3, 30))) if m]
        statements += [s for m in mutations for s in m]
        self.steps += len(mutations)
        self.full, self.extra, self.vanished, self.doubted = False, 0, set(), set()
        if r.random() < 0.12:
            statements += model.unusable()
            self.steps += 1
        elif r.random() < 0.2:
            statements += self.somebody_deletes()
        if statements:
            self.t.sql(";\n".join(statements))
        if r.random() < 0.15:
            self.steps += 1
            if proxy.sick and r.random() < 0.5:
                proxy.sick.clear()
            else:
                well = sorted(set(model.rows) - self.vanished)
                proxy.sick |= {self.about(k) for k in r.sample(well, min(3, len(well)))}
        if r.random() < 0.12:
            self.steps += 1
            model.change_mapping()
            self.t.sql(f"SELECT courier.alter_sync('{self.t.name}', mapping => {literal(model.mapping())})")
        self.release()
        proxy.seed, proxy.trouble = f"{self.t.name} {n} {r.random()}", {"lost": 0.06, "reset": 0.03, "500": 0.03, "429": 0.02} if r.random() < 0.5 else {}
        what = r.random()
        if n == KILL_IN_ROUND or what < 0.04:
            self.interrupt("kill", former)
        elif what < 0.11:
            self.interrupt("terminate", former)
        elif what < 0.18:
            self.interrupt("cancel", former)
        elif what < 0.26:
            self.full = True
            self.t.wait(self.trigger("full"))
        self.finish()
        self.check()
        model.former = former

    def about(self, key):
        """What the header X-Key says of this key."""
        return self.model.json_key(key)

    def release(self):
        """Rejected records are due at once, and refused requests have not used up their keys."""
        if self.random.random() < 0.8:
            self.t.sql(f"SELECT courier.retry_rejected('{self.t.name}')")
        self.receiver.between_runs()

    def somebody_deletes(self):
        """A record that is accepted vanishes at the receiver, and its row changes: it is made anew."""
        model, held = self.model, self.receiver.held(self.model)
        mails = [row["mail"] for row in model.rows.values()]
        fit = [k for k in sorted(model.rows) if k in self.acked and k not in self.pending and self.about(k) not in self.proxy.sick and mails.count(model.rows[k]["mail"]) == 1
               and usable_mail(model.mail(k)) and self.acked[k]["mail"] == model.mail(k) and all(m != model.mail(k) for e, (_, m) in held.items() if e != model.k(k))]
        if not fit or not self.receiver.once_only:
            return []
        key = self.random.choice(fit)
        self.steps += 1
        self.receiver.vanish(model.k(key))
        self.vanished.add(key)
        model.fresh += 1
        return model.put(key, {"name": (f"'anew {model.fresh}'", f'"anew {model.fresh}"')})

    def trigger(self, resync="none"):
        self.steps += 1
        return int(self.t.call(f"SELECT courier.trigger_sync('{self.t.name}', '{resync}')"))

    def finish(self):
        for _ in range(20):
            self.t.wait(self.trigger())
            self.last = self.t.last_run()
            if self.last["status"] in ENDED:
                return
        raise AssertionError(f"no run comes to its end: {self.last}")

    def take_back(self, former):
        """While requests are under way, rows go back to what the receiver has accepted, and rows that were removed are there again."""
        model, statements = self.model, []
        mails = [row["mail"] for row in model.rows.values()]
        for key in [k for k in sorted(former) if k in self.acked and k not in self.pending and self.about(k) not in self.proxy.sick and k not in self.vanished]:
            row, now = former[key], model.rows.get(key)
            if now == row or mails.count(row["mail"]) != (now is not None) or (now and now["mail"] != row["mail"]):
                continue
            statements += model.put(key, row) if now else [model.insert(key, row)]
            model.rows[key] = row
            self.doubted.add(key)
        self.steps += len(statements)
        if statements:
            self.t.sql(";\n".join(statements))

    def interrupt(self, how, former):
        """Stops the run while a request is under way, before or after the receiver has done it."""
        self.proxy.hold(self.random.randint(1, 6), self.random.random() < 0.6)
        run = self.trigger()
        while not self.proxy.reached.wait(0.1):
            if self.t.rows(f"SELECT 1 AS x FROM courier.runs WHERE run_id = {run} AND status NOT IN ('queued', 'querying', 'sending')"):
                self.proxy.let_go()
                return
        self.steps += 1
        if how == "cancel":
            self.t.sql(f"SELECT courier.cancel_run({run})")
            self.proxy.let_go()
            self.t.wait(run)
            self.t.sql(f"SELECT courier.retry_rejected('{self.t.name}')")  # what was sent, had no answer, and was not sent again
            return
        if self.random.random() < 0.5 and not self.model.nulls:
            self.take_back(former)
        self.extra += 1
        worker = int(self.t.admin(f"SELECT r.worker_pid FROM courier_internal.run r JOIN pg_stat_activity a ON a.pid = r.worker_pid AND a.backend_type = 'pg_courier run worker'"
                                  f" WHERE r.run_id = {run}"))
        if how == "terminate":
            self.t.admin(f"SELECT pg_terminate_backend({worker})")
            until("the worker to end", lambda: self.t.admin(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {worker}") == "0")
            self.proxy.let_go()
        else:
            os.kill(worker, signal.SIGKILL)
            self.killed += 1
            self.proxy.let_go()
        # By itself.
        until("the run that follows an interrupted one", lambda: self.followed(run), 60)

    def followed(self, run):
        try:
            last = self.t.last_run()
        except SqlError:  # a killed backend takes the others with it, a moment later
            return False
        return last["run_id"] > run and last["status"] in ENDED

    # What must be true

    def invalid(self, key):
        model = self.model
        if key in model.copies:
            return True
        if self.receiver.match == "k":
            return False
        mail = model.mail(key)
        return not usable_mail(mail) or sum(model.mail(k) == mail for k in model.rows) > 1

    def rejected(self):
        names = {self.model.json_key(k): k for k in set(self.model.rows) | set(self.acked) | self.pending}
        found = self.t.call(f"SELECT json_build_object('c', change, 'k', primary_key, 'o', outcome, 'e', error_code) FROM courier.rejected_records WHERE sync = '{self.t.name}'")
        out = {}
        for line in found.splitlines():
            row = load(line)
            out[names[key_from(row["k"])]] = (row["c"], row["o"], row["e"])
        return out

    def check(self):
        model, receiver = self.model, self.receiver
        before, held, rejected = self.acked, receiver.held(model), self.rejected()
        holds = bool(model.nulls) and self.hold_removals
        records = {key: model.record(key) for key in model.rows}
        invalid = {key for key in model.rows if self.invalid(key)}
        self.check_requests(records, invalid, holds)
        self.acked = {}
        for key in sorted(set(records) | set(before)):
            k = model.k(key)
            found = held[k][0] if k in held else None
            stays = key in rejected or key in invalid or (key not in records and holds)
            if key in rejected:
                self.check_reason(key, rejected[key], held)
            if stays:
                self.same(found, before.get(key), f"{k!r} ({rejected.get(key, 'invalid or held back')}), which stays as it was accepted")
                if key in before:
                    self.acked[key] = before[key]
            elif key in records:
                self.same(found, records[key], f"{k!r}")
                self.acked[key] = records[key]
            else:
                equal(found, None, f"{k!r}, which is not in the model")
        known = {model.k(key) for key in self.acked}
        equal([k for k in held if k not in known], [], "what the receiver has beside the model")
        equal(self.last["status"], "warning" if rejected or invalid or model.nulls else "success", "status of the run")
        self.check_writes(held)
        self.form = model.form()
        self.pending = set(rejected) | invalid | {k for k in self.acked if k not in records}

    def same(self, found, expected, what):
        if found is None or expected is None:
            return equal(found, expected, what)
        # What was dropped from the mapping is not taken away from records that have not changed.
        equal({f: found.get(f, "missing") for f in expected}, expected, what)

    def check_reason(self, key, rejected, held):
        change, outcome, code = rejected
        model = self.model
        why = f"why {model.k(key)!r} is rejected ({change}, {outcome}, {code})"
        equal(outcome, "rejected", why)
        if self.about(key) in self.sick_since or key not in self.sent:  # not due yet: for a reason of an earlier round
            return
        assert change != "removed" and self.receiver.unique_mail, why
        mail = model.mail(key)
        others = [k for k, (record, m) in held.items() if m == mail and k != model.k(key)]
        was = [k for k, r in self.acked_before.items() if r["mail"] == mail and k != key]
        assert not usable_mail(mail) or others or was or mail in self.mails_sent, why

    def check_requests(self, records, invalid, holds):
        """Who was sent, how often, and with which idempotency key."""
        model, before = self.model, self.acked
        names = {model.json_key(k): k for k in set(records) | set(before) | self.pending}
        self.acked_before = before
        self.sent, self.mails_sent = set(), set()
        self.sick_since |= self.proxy.sick
        by_key, by_request = {}, {}
        for entry in self.proxy.take_journal():
            self.steps += entry.fate != "passed"
            about = entry.about
            assert about in names, f"sent, and neither in the model nor accepted before: {entry}"
            by_key.setdefault(names[about], []).append(entry)
            if self.doubted and entry.done and entry.body and self.receiver.unique_mail:  # it may have been free again later
                self.mails_sent.add(load(entry.body)["email"])
            self.sent.add(names[about])
            by_request.setdefault(entry.idempotency_key, []).append(entry)
        for key, entries in by_key.items():
            assert key not in invalid, f"an unusable row was sent: {entries}"
            assert key in records or not holds, f"a removal that is held back was sent: {entries}"
            assert key in records or key in before, f"a record that never arrived and has gone was sent: {entries}"
            unchanged = key in records and key in before and self.unchanged(key, records[key], before[key])
            assert self.full or key in self.pending or key in self.doubted or not unchanged, f"sent again, although it is accepted and has not changed: {entries}, {before[key]}"
            for operation in {self.receiver.operation(e) for e in entries}:
                its = [e for e in entries if self.receiver.operation(e) == operation]
                most = (2 if key in self.doubted else 1) if self.receiver.once_only else 1 + (key in self.doubted) + self.extra + sum(e.fate in ("lost", "held") for e in its)
                assert sum(e.done for e in its) <= most, f"done more than {most} times: {its}"
        for idempotency_key, entries in by_request.items():
            assert idempotency_key, f"without an idempotency key: {entries}"
            assert idempotency_key not in self.spent, f"the key of an older change: {entries}"
            assert len({(e.key, e.method, e.path, self.receiver.payload(e)) for e in entries}) == 1, f"one idempotency key for several things: {entries}"
        self.spent |= {i for i, entries in by_request.items() if any(e.done for e in entries)}

    def check_writes(self, held):
        """The same by the receiver's own count, which knows nothing of our proxy."""
        sent, writes = {self.model.k(key) for key in self.sent}, {k: count for k, (_, count) in held.items()} if self.receiver.counts_writes else {}
        equal({k: n for k, n in writes.items() if k not in sent}, {k: n for k, n in self.writes.items() if k not in sent}, "writes of records that were not sent")
        self.writes = writes

    def unchanged(self, key, now, before):
        """Under the mapping of the last look it is what was accepted, and under the present one that has not changed either."""
        was = self.model.record(key, self.form)
        return all(was.get(field, "new") == value for field, value in now.items()) and all(before.get(field, "new") == value for field, value in was.items())

    # The end of a model: everything that hinders a record is taken away, and then the receiver equals the model

    def close(self):
        model = self.model
        self.proxy.sick.clear()
        self.proxy.trouble = {}
        self.full, self.extra, self.doubted = False, 0, set()
        statements = model.usable()
        mails = [model.mail(k) for k in model.rows]
        for key in sorted(model.rows):
            if not usable_mail(model.mail(key)) or mails.count(model.mail(key)) > 1:
                statements += model.put(key, {"mail": model.own_mail()})
        if statements:
            self.t.sql(";\n".join(statements))
        for _ in range(8):
            self.t.sql(f"SELECT courier.retry_rejected('{self.t.name}')")
            self.receiver.between_runs()
            self.finish()
            self.check()
            stuck = [k for k in self.rejected() if k in model.rows]
            if self.last["status"] == "success":
                break
            # Rows that wait for each other's e-mail would do so for ever.
            if stuck:
                self.t.sql(";\n".join(s for key in stuck for s in model.put(key, {"mail": model.own_mail()})))
        equal(self.last["status"], "success", "the last run")
        equal(sorted(self.receiver.held(model)), sorted(model.k(k) for k in model.rows), "keys at the end")
        self.finish()
        equal((self.last["requests"], self.proxy.take_journal()), (0, []), "requests of a run without changes")
        self.t.quiet()
        self.proxy.stop()
