#pragma once

namespace courier::pg {

// Makes our workers leave a database that DROP DATABASE, ALTER DATABASE ... RENAME or SET TABLESPACE, or CREATE DATABASE
// ... TEMPLATE wants for itself. Called once, by _PG_init under shared_preload_libraries.
void install_database_hook();

} // namespace courier::pg
