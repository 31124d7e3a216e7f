#include "pg/user_context.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/acl.h"
#include "utils/varlena.h"
}

namespace courier::pg {

namespace {

constexpr std::array<std::pair<const char *, const char *>, 6> pinned_settings {{
    {"DateStyle", "ISO, MDY"},
    {"IntervalStyle", "postgres"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"lc_monetary", "C"},
    {"standard_conforming_strings", "on"},
}};

std::int64_t current_run_id = 0;

void set_setting(const char *name, const char *value) {
	set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

// Temporary tables are searched first unless the path names pg_temp. They are the caller's, so they must come last.
bool names_pg_temp(const char *search_path) {
	char *copy = pstrdup(search_path);
	List *names = NIL;
	if (!SplitIdentifierString(copy, ',', &names))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid search_path: %s", search_path)));
	ListCell *cell;
	foreach (cell, names) {
		if (std::strcmp(static_cast<const char *>(lfirst(cell)), "pg_temp") == 0)
			return true;
	}
	return false;
}

} // namespace

UserContext::UserContext(const UserSettings &settings)
    : transaction_(local_transaction_id()), subtransaction_(GetCurrentSubTransactionId()) {
	GetUserIdAndSecContext(&saved_role_, &saved_security_);

	std::string search_path = settings.search_path;
	call_postgres([&] {
		// Also where the caller is trusted: a role is only ever put on by somebody who could put it on anyway.
		const char *name = GetUserNameFromId(settings.role, false); // it may have been dropped
		if (!has_privs_of_role(saved_role_, settings.role))
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			                errmsg("permission denied to run SQL as role \"%s\"", name)));
	});
	if (!call_postgres([&] { return names_pg_temp(search_path.c_str()); }))
		search_path += search_path.find_first_not_of(" \t\r\n") == std::string::npos ? "pg_temp" : ", pg_temp";

	nest_level_ = NewGUCNestLevel();
	try {
		call_postgres([&] {
			SetUserIdAndSecContext(settings.role,
			                       saved_security_ | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
			for (auto &[name, value] : pinned_settings)
				set_setting(name, value);
			set_setting("search_path", search_path.c_str());
			if (!settings.time_zone.empty())
				set_setting("TimeZone", settings.time_zone.c_str());
			for (auto &[name, value] : settings.settings)
				set_setting(name.c_str(), value.c_str());
		});
	} catch (...) {
		restore();
		throw;
	}
}

UserContext::~UserContext() {
	restore();
}

// The abort of a transaction puts back role and settings itself, and counts nest levels from 1 again. Undoing a level
// of a transaction that is gone would undo somebody else's.
bool UserContext::still_ours() const {
	return IsTransactionState() && local_transaction_id() == transaction_ &&
	       GetCurrentSubTransactionId() == subtransaction_;
}

void UserContext::restore() noexcept {
	if (!still_ours())
		return;
	try {
		call_postgres([this] { AtEOXact_GUC(false, nest_level_); });
	} catch (...) {
		// The settings of somebody else would stay in force. FATAL does not unwind.
		ereport(FATAL, (errmsg_internal("could not restore settings")));
	}
	SetUserIdAndSecContext(saved_role_, saved_security_);
}

void set_current_run_id(std::int64_t run_id) {
	current_run_id = run_id;
}

COURIER_FUNCTION(courier_run_id) {
	if (current_run_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(current_run_id);
}

} // namespace courier::pg
