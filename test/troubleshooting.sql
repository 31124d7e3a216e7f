-- Typical mistakes, and what a user reads then. test/checks/troubleshooting.sh runs this file in a database of its own and makes
-- doc/troubleshooting.md from it; with `check` it says whether the page is still true.
--
-- --# heading        starts a section and a session of its own
-- --: sentence       goes into the page, below the heading
-- --setup            statements that are not shown and must succeed (they run in a session before)
-- --show             statements that are shown with what psql prints
--
-- No request leaves the machine: what is run here is stopped before it sends, or is a baseline.

--# Before all sections
--setup
CREATE TABLE customer (id integer, email text, city text, updated_at timestamptz DEFAULT '2026-01-01');
INSERT INTO customer SELECT n, 'user' || n || '@example.com', 'Austin' FROM generate_series(1, 2000) n;
CREATE VIEW customer_view AS SELECT * FROM customer;
SELECT courier.create_model('customers', 'SELECT id, email, city, updated_at FROM customer', '{id}');
SELECT courier.create_destination('crm', 'http', '{"base_url": "https://api.example.com/v1"}');
SELECT courier.create_sync('contacts', model => 'customers', destination => 'crm', mapping => '{"id": "id", "email": "email"}', first_run => 'baseline');

--# The model query names a column that does not exist
--: The error is PostgreSQL's own, with its position in the query. Nothing has been stored.
--show
SELECT courier.create_model('people', 'SELECT id, e_mail FROM customer', '{id}');

--# A model without a primary key
--: Only a table has a primary key of its own. For a query or a view, name the columns that identify a row.
--show
SELECT courier.create_model('people', relation => 'customer_view');

--# The key column is not in the model
--show
SELECT courier.create_model('people', 'SELECT email, city FROM customer', '{id}');

--# An unknown destination type
--show
SELECT courier.create_destination('crm2', 'htpp', '{"base_url": "https://api.example.com"}');

--# A URL that is not http or https
--show
SELECT courier.create_destination('crm2', 'http', '{"base_url": "ftp://api.example.com"}');

--# An unknown key in the config of a destination
--show
SELECT courier.create_destination('crm2', 'http', '{"base_url": "https://api.example.com", "header": {"X-Team": "data"}}');

--# A secret that the destination needs was not given
--show
SELECT courier.create_destination('crm2', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}');

--# The file of a secret does not exist
--: The file is looked for when the destination is made, and again when a run starts.
--show
SET pg_courier.secrets_directory = '/etc/pg_courier/secrets';
SELECT courier.create_destination('crm2', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}',
    secrets => '{"token": {"file": "crm_tokn"}}');

--# Secrets in files, but no directory is set
--show
SET pg_courier.secrets_directory = '';
SELECT courier.create_destination('crm2', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}',
    secrets => '{"token": {"file": "crm_token"}}');

--# An environment variable that may not be read
--show
SELECT courier.create_destination('crm2', 'http', '{"base_url": "https://api.example.com", "auth": {"type": "bearer"}}',
    secrets => '{"token": {"env": "PGPASSWORD"}}');

--# An unknown destination
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crn');

--# A mode that does not exist
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', mode => 'replace');

--# An unknown option
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', options => '{"batchsize": 100}');

--# An option with a value that is not allowed
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', options => '{"timeout": 30}');

--# An unknown key in the config of a sync
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', config => '{"request": {}}');

--# A template that names a field which is not mapped
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', mapping => '{"id": "id", "email": "email"}',
    config => '{"requests": {"upsert": {"method": "PUT", "path": "/leads/{{ mail }}"}}}');

--# A mapping that names a column which does not exist
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', mapping => '{"id": "id", "email": "lower(e_mail)"}');

--# A mapping that does not compile
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', mapping => '{"id": "id", "email": "lower(email"}');

--# A compared field that reads the clock
--: Its value would differ at every run, so that every record would be sent every time.
--show
SELECT courier.create_sync('leads', model => 'customers', destination => 'crm', mapping => '{"id": "id", "age": "now() - updated_at"}');

--# A schedule that is not understood
--show
SELECT courier.alter_sync('contacts', schedule => 'hourly');

--# A cron field out of range
--show
SELECT courier.alter_sync('contacts', schedule => '0 25 * * *');

--# Syncs that run after each other in a loop
--setup
SELECT courier.create_sync('followups', model => 'customers', destination => 'crm', schedule => 'after contacts', first_run => 'baseline');
--show
SELECT courier.alter_sync('contacts', schedule => 'after followups');

--# A sync that does not exist
--setup
SELECT courier.drop_sync('followups');
--show
SELECT courier.trigger_sync('contact');

--# Dropping what is used
--: A destination, a source and a sync that others run after refuse in the same way.
--show
SELECT courier.drop_model('customers');

--# run_sync in a transaction block
--: `run_sync` commits, so it needs a transaction of its own.
--show
BEGIN;
CALL courier.run_sync('contacts');
ROLLBACK;

--# A paused sync
--setup
SELECT courier.pause_sync('contacts');
--show
CALL courier.run_sync('contacts');
SELECT courier.resume_sync('contacts');

--# A destination at an address that is not allowed
--: Private, loopback and link-local addresses are refused when a connection is made, whatever name led there. A superuser lists those that may be reached in `pg_courier.allow_addresses`.
--setup
SELECT courier.create_destination('metadata', 'http', '{"base_url": "http://169.254.169.254/latest"}');
SELECT courier.create_sync('inside', model => 'customers', destination => 'metadata', mapping => '{"id": "id"}');
--show
CALL courier.run_sync('inside');

--# Rows with NULL or duplicate keys
--: They are counted, listed and never sent; the run ends with a warning, not with an error. While a model has NULL keys, removals are held back.
--setup
CALL courier.run_sync('contacts');
INSERT INTO customer VALUES (NULL, 'nobody@example.com', 'Nowhere'), (7, 'twice@example.com', 'Austin');
--show
SELECT * FROM courier.check_model('customers');
CALL courier.run_sync('contacts');
SELECT reason, key, copies FROM courier.invalid_rows WHERE sync = 'contacts' ORDER BY reason;

--# More removals than max_removed
--: A snapshot of 1,000 records or more may lose half of them at once unless the option says otherwise. Nothing was sent.
--setup
DELETE FROM customer WHERE id IS NULL OR email = 'twice@example.com' OR id > 500;
SELECT courier.alter_sync('contacts', on_removed => 'delete');
--show
CALL courier.run_sync('contacts');
SELECT health FROM courier.syncs WHERE name = 'contacts';

--# The model no longer has a column that the mapping reads
--setup
SELECT courier.create_model('people', relation => 'customer_view', primary_key => '{id}');
SELECT courier.create_sync('people', model => 'people', destination => 'crm', mapping => '{"id": "id", "email": "email"}', first_run => 'baseline');
DROP VIEW customer_view;
CREATE VIEW customer_view AS SELECT id, city FROM customer;
--show
CALL courier.run_sync('people');
SELECT health FROM courier.syncs WHERE name = 'people';
