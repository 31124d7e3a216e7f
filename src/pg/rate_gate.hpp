#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "core/delivery.hpp"

namespace courier::pg {

// The budgets of a destination, shared through rows of courier_internal.destination_state: every sync and worker reserves
// a quarter second of a rate at a time, in a short transaction. A destination that asked to be left alone (Retry-After),
// as a whole or for one budget, says so in the same rows; the others read it at every settlement.
class TableRateGate final : public RateGate {
public:
	// The rate is that of the destination as a whole.
	TableRateGate(int destination_id, std::optional<double> requests_per_second)
	    : destination_id_(destination_id), rate_(requests_per_second) {}

	std::chrono::milliseconds acquire(std::chrono::steady_clock::time_point now, const Budget &budget) override;
	void throttled(std::chrono::milliseconds wait, const std::string &budget) override;
	void refresh(std::chrono::steady_clock::time_point now); // in its own transaction

private:
	struct Share {
		int left = 0;
		std::chrono::steady_clock::time_point next {}, blocked_until {};
	};
	Share &share_of(const std::string &budget, std::chrono::steady_clock::time_point now);

	int destination_id_;
	std::optional<double> rate_;
	std::unordered_map<std::string, Share> shares_; // by name in the table
};

} // namespace courier::pg
