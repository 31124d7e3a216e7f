#pragma once

#include <optional>

#include "core/delivery.hpp"

namespace courier::pg {

// The budget of a destination, shared through one row of courier_internal.destination_state: every sync and worker reserves
// a quarter second of its rate at a time, in a short transaction. A destination that asked to be left alone (Retry-After)
// says so in the same row; the others read it at every settlement.
class TableRateGate final : public RateGate {
public:
	TableRateGate(int destination_id, std::optional<double> requests_per_second)
	    : destination_id_(destination_id), rate_(requests_per_second) {}

	std::chrono::milliseconds acquire(std::chrono::steady_clock::time_point now) override;
	void throttled(std::chrono::milliseconds wait) override;
	void refresh(std::chrono::steady_clock::time_point now); // in its own transaction

private:
	int destination_id_;
	std::optional<double> rate_;
	int left_ = 0;
	std::chrono::steady_clock::time_point next_ {}, blocked_until_ {};
};

} // namespace courier::pg
