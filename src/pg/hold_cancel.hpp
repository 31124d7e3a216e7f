#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "miscadmin.h"
}

namespace courier::pg {

// A cancel that arrives meanwhile is taken afterwards: what is known must be written.
class HoldCancel {
public:
	HoldCancel() : saved_(QueryCancelHoldoffCount) { QueryCancelHoldoffCount = saved_ + 1; }
	~HoldCancel() { QueryCancelHoldoffCount = saved_; } // an error has set it to zero
	HoldCancel(const HoldCancel &) = delete;

private:
	uint32 saved_;
};

} // namespace courier::pg
