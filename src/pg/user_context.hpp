#pragma once

#include "pg/guard.hpp"

namespace courier::pg {

// Settings that shape text. They have the same values wherever a model or a mapping is evaluated, because what a run
// compares must not depend on who looks at it (semantics.md, "Change detection").
struct UserSettings {
	Oid role = InvalidOid;
	std::string search_path; // as it stands; pg_temp is put last where it is not named
	std::string time_zone = "UTC";
	std::vector<std::pair<std::string, std::string>> settings; // more of them, for the planner
};

// While it lives, SQL runs as `role`, within a security-restricted operation: the role's functions, views and casts
// have that role's rights and no way back to ours, and nothing that they do to the session stays (no temporary tables,
// no prepared statements, no held cursors, no deferred triggers, no SET ROLE).
//
// Everything is put back by the destructor, or by the abort of the transaction, whichever comes first.
class UserContext {
public:
	explicit UserContext(const UserSettings &settings);
	~UserContext();
	UserContext(const UserContext &) = delete;
	UserContext &operator=(const UserContext &) = delete;

private:
	bool still_ours() const;
	void restore() noexcept;

	Oid saved_role_ = InvalidOid;
	int saved_security_ = 0;
	int nest_level_ = 0;
	LocalTransactionId transaction_;
	SubTransactionId subtransaction_;
};

// The run that this backend works on, for courier.run_id(). 0: none.
void set_current_run_id(std::int64_t run_id);

} // namespace courier::pg
