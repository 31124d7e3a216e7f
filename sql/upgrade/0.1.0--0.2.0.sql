-- What CREATE OR REPLACE does not do (see "Making a release" in doc/operations.md). Functions, views, comments and grants follow by themselves.

ALTER TABLE courier_internal.run ADD COLUMN waiting_for text;

DROP INDEX courier_internal.change_log_key_idx, courier_internal.change_log_run_id_idx;
CREATE INDEX change_log_run_id_key_idx ON courier_internal.change_log
    USING brin (run_id, key text_bloom_ops (n_distinct_per_range = 800, false_positive_rate = 0.01)) WITH (pages_per_range = 8);
