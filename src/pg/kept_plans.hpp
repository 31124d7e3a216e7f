#pragma once

#include "pg/spi.hpp"

extern "C" {
#include "access/parallel.h"
#include "executor/spi.h"
#include "postmaster/bgworker.h"
}

namespace courier::pg {

// Plans of statements that this process runs again and again, in a worker that lives for many runs. Only our own: what runs in the
// role of somebody else names tables of one run, and is planned for the sizes of that run.
class KeptPlans {
public:
	// Text and types of a statement that is worth it, which it is from its second time on; empty otherwise.
	std::string key(const std::string &sql, std::initializer_list<Param> params) {
		Oid role;
		int security;
		GetUserIdAndSecContext(&role, &security);
		if (!in_background_worker() || IsParallelWorker() || security != 0 || sql.find("courier_data") != std::string::npos)
			return {};
		std::string key = sql;
		for (const Param &param : params)
			key += " " + std::to_string(param.type());
		if (plans_.contains(key))
			return key;
		if (plans_.size() < most_plans)
			plans_.emplace(std::move(key), nullptr);
		return {};
	}
	SPIPlanPtr &at(const std::string &key) { return plans_.at(key); }

private:
	static constexpr std::size_t most_plans = 300;
	std::unordered_map<std::string, SPIPlanPtr> plans_;
};

} // namespace courier::pg
