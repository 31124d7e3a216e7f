-- What pg_dump carries: definitions and their sequences. Not secrets, not the epoch (so that a restored copy does not send), not what
-- moves while syncs live (state, runs, logs, rejected records). Snapshots are ordinary tables of their owners and are dumped by themselves.

SELECT pg_catalog.pg_extension_config_dump('courier_internal.source', 'WHERE name <> ''local''');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.source_source_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.model', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.model_model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination_type', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination_destination_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.destination_share', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.sync', '');
SELECT pg_catalog.pg_extension_config_dump('courier_internal.sync_sync_id_seq', '');
