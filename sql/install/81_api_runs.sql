-- What users call about runs. Each is the door (doc/architecture.md) to the function of the same name in courier_internal. Not STRICT:
-- a NULL that is not allowed is an error with a name, not a silent NULL.

CREATE FUNCTION courier.trigger_sync(name text, resync text DEFAULT 'none') RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.trigger_sync(text, text) IS
'Queues a run of a sync. It starts when your transaction commits, and sees everything that the transaction has written.

name    the sync
resync  none (default): send what has changed
        full: send every record; not for events, notifications and mode insert
        baseline: send nothing, take the model as what the destination has

Returns the run_id. While a run is active, one follow-up run is queued; further triggers return that run and raise its resync to the stronger of the two (none, full, baseline). The owner of the sync, members of the owning role and of courier_operator may call it.
Errors: 42704 no such sync; 42501 not permitted; 22023 resync not known or not possible for this sync; 55000 paused (see courier.resume_sync), or a restored copy (see courier.resume_all); 25006 the server is a standby.
See also: CALL courier.run_sync(...), which waits for the run to end; courier.wait_for_run, courier.runs.

Example: SELECT courier.trigger_sync(''contacts'')';

CREATE FUNCTION courier.cancel_run(run_id bigint) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.cancel_run(bigint) IS
'Cancels a run. A queued one ends at once. An active one stops within about a second of your commit: requests under way are settled, the rest is aborted, and the next run goes on from there. One that has ended is left alone, with a NOTICE.

run_id  as returned by trigger_sync and run_sync; see courier.runs

Commit soon: the run waits for your transaction where it wants to note its progress.
Errors: 42704 no such run; 42501 not permitted; 22004 run_id is NULL.

Example: SELECT courier.cancel_run(42)';

CREATE FUNCTION courier.approve_run(run_id bigint) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.approve_run(bigint) IS
'Lets a blocked sync go on. Queues a new run that compares again, and may remove and change as many records as the blocked run had planned, but no more: with more, it is blocked again.

run_id  a run with status blocked; courier.run_details has the numbers, courier.plan_sync those of now

Returns the run_id of the new run.
Errors: 42704 no such run; 42501 not permitted; 22004 run_id is NULL; 55000 the run is not blocked, was approved already, a later run went through, or the sync is paused.

Example: SELECT courier.approve_run(42)';

CREATE FUNCTION courier.retry_rejected(sync text, primary_key jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.retry_rejected(text, jsonb) IS
'Makes rejected records due now, so that the next run tries them again whatever their next_attempt_at says. Also releases records whose outcome is unknown: they are sent again, so the destination may receive them a second time. Starts no run; see courier.trigger_sync.

sync         the sync
primary_key  only the record with this key: an object ({"id": 7}), or for a key of one column the value alone (7); NULL: all

Returns how many records were released.
Errors: 42704 no such sync; 42501 not permitted; 22004 sync is NULL; 22023 primary_key does not fit the model.

Example: SELECT courier.retry_rejected(''contacts''), courier.trigger_sync(''contacts'')';

CREATE FUNCTION courier.discard_rejected(sync text, primary_key jsonb DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.discard_rejected(text, jsonb) IS
'Lets go of rejected records: they leave courier.rejected_records and are not sent again before their values change. A record whose outcome is unknown counts as not delivered.

sync         the sync
primary_key  only the record with this key: an object ({"id": 7}), or for a key of one column the value alone (7); NULL: all

Returns how many records were discarded.
Errors: 42704 no such sync; 42501 not permitted; 22004 sync is NULL; 22023 primary_key does not fit the model.

Example: SELECT courier.discard_rejected(''contacts'', ''7'')';

CREATE FUNCTION courier.plan_sync(name text)
    RETURNS TABLE (added bigint, changed bigint, removed bigint, unchanged bigint, invalid bigint)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.plan_sync(text) IS
'What a run would do now: how many records it would add, change and remove, how many are unchanged, and how many rows are invalid. Sends nothing and changes nothing. Reads the whole model, as the owner of the sync.

name  the sync

Errors: 42704 no such sync; 42501 not permitted; 22004 name is NULL; and those of the model query.

Example: SELECT * FROM courier.plan_sync(''contacts'')';

CREATE FUNCTION courier.preview_sync(name text, max_requests integer DEFAULT 5)
    RETURNS TABLE (change text, operation text, records integer, method text, url text, headers jsonb, body text)
    LANGUAGE c VOLATILE ROWS 5 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.preview_sync(text, integer) IS
'The first requests that a run would send now, with secrets redacted. Sends nothing and changes nothing.

name          the sync
max_requests  how many

Errors: 42704 no such sync; 42501 not permitted; 22004 an argument is NULL; and those of the model query.

Example: SELECT change, method, url, body FROM courier.preview_sync(''contacts'')';

CREATE FUNCTION courier.test_record(sync text, primary_key jsonb, change text DEFAULT NULL, timeout interval DEFAULT '10 s')
    RETURNS TABLE (operation text, method text, url text, request_body text, http_status integer, response_body text, outcome text, message text)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.test_record(text, jsonb, text, interval) IS
'Really sends one record, and shows request and answer. A run worker sends it while you wait. It is settled like a run of one record: accepted, it is in the snapshot, even if you roll back.

sync         the sync
primary_key  which record: an object ({"id": 7}), or for a key of one column the value alone (7)
change       added, changed or removed; NULL: what a comparison finds
timeout      how long to wait

Errors: 42704 no such sync; 42501 not permitted; 22004 a required argument is NULL; 55000 paused, or no worker took it in time.

Example: SELECT * FROM courier.test_record(''contacts'', ''7'')';

CREATE FUNCTION courier.test_destination(name text)
    RETURNS TABLE (ok boolean, http_status integer, duration interval, message text)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.test_destination(text) IS
'Asks a destination whether it is there and takes the credentials, by a request that changes nothing there. A worker sends it while you wait.

name  the destination

Returns ok, the HTTP status (NULL: no answer), how long it took, and a message.
Errors: 42704 no such destination; 42501 not permitted; 22004 name is NULL.

Example: SELECT * FROM courier.test_destination(''crm'')';

CREATE FUNCTION courier.snapshot(sync text) RETURNS SETOF jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'courier_door';
COMMENT ON FUNCTION courier.snapshot(text) IS
'What the destination has accepted so far, a JSON object per primary key.

sync  the sync

Errors: 42704 no such sync; 42501 not permitted; 22004 sync is NULL.

Example: SELECT * FROM courier.snapshot(''contacts'') LIMIT 10';
