-- A version for the test of ALTER EXTENSION UPDATE while a run is under way: it changes a table that the run writes, and adds to it.
ALTER TABLE courier_internal.run ADD COLUMN of_a_test integer NOT NULL DEFAULT 1;
CREATE INDEX ON courier_internal.sync_state (last_run_id);
