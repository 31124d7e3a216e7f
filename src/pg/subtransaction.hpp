#pragma once

#include "pg/guard.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
}

namespace courier::pg {

// A subtransaction; not released, it is rolled back. Nothing that it did is left, except the passing of transaction ids.
class Subtransaction {
public:
	Subtransaction() : context_(CurrentMemoryContext), owner_(CurrentResourceOwner) {
		call_postgres([] { BeginInternalSubTransaction(nullptr); });
		MemoryContextSwitchTo(context_);
	}
	~Subtransaction() {
		if (!open_)
			return;
		// Nothing can be done about a failing rollback here; the transaction is then aborted by whoever is outside.
		try {
			call_postgres([] { RollbackAndReleaseCurrentSubTransaction(); });
		} catch (...) {
		}
		MemoryContextSwitchTo(context_);
		CurrentResourceOwner = owner_;
	}
	Subtransaction(const Subtransaction &) = delete;
	Subtransaction &operator=(const Subtransaction &) = delete;

	void release() {
		call_postgres([] { ReleaseCurrentSubTransaction(); });
		open_ = false;
		MemoryContextSwitchTo(context_);
		CurrentResourceOwner = owner_;
	}

private:
	MemoryContext context_;
	ResourceOwner owner_;
	bool open_ = true;
};

// False: it raised an error that is a matter of the SQL that was run, and everything it did is undone. Cancel and
// shortages (classes 53, 57, 58, XX) are passed on.
template <class F> bool try_in_subtransaction(F fn) {
	Subtransaction sub;
	try {
		fn();
	} catch (const PgError &error) {
		std::string_view klass = std::string_view(error.sqlstate).substr(0, 2);
		if (klass == "53" || klass == "57" || klass == "58" || klass == "XX")
			throw;
		return false;
	}
	sub.release();
	return true;
}

} // namespace courier::pg
