#include "pg/rate_gate.hpp"

#include <algorithm>
#include <cmath>

#include "http/sign.hpp"
#include "pg/spi.hpp"

namespace courier::pg {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

milliseconds ceil_ms(steady_clock::duration wait) {
	return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(wait));
}

// A key of any length (a rendered template) fits into an index.
std::string stored_name(const std::string &budget) {
	constexpr std::size_t longest = 200;
	return budget.size() <= longest ? budget : "sha256 " + http::sha256_hex(budget);
}

constexpr std::size_t most_shares = 1000;

} // namespace

TableRateGate::Share &TableRateGate::share_of(const std::string &budget, steady_clock::time_point now) {
	// What is forgotten here costs a reservation: the table knows the rest.
	if (shares_.size() > most_shares)
		std::erase_if(shares_, [&](auto &its) {
			return !its.first.empty() && its.second.next <= now && its.second.blocked_until <= now;
		});
	return shares_[budget];
}

milliseconds TableRateGate::acquire(steady_clock::time_point now, const Budget &budget) {
	const std::string name = stored_name(budget.key);
	const auto rate = name.empty() ? rate_ : budget.rate;
	Share &its = share_of(name, now);
	if (now < its.blocked_until)
		return ceil_ms(its.blocked_until - now);
	if (!rate)
		return milliseconds(0);
	if (its.left == 0) {
		int share = std::max(1, static_cast<int>(*rate / 4));
		Transaction transaction;
		Rows rows;
		{
			Spi spi;
			// The reservation begins where the last one of anybody ended, or now. Microseconds, because rates may be high.
			rows = spi_execute(
			    "INSERT INTO courier_internal.destination_state AS d (destination_id, budget, free_at)"
			    " VALUES ($1, $3, pg_catalog.clock_timestamp() + $2 * interval '1 second')"
			    " ON CONFLICT (destination_id, budget) DO UPDATE SET free_at = GREATEST(d.free_at, "
			    "pg_catalog.clock_timestamp())"
			    " + $2 * interval '1 second'"
			    " RETURNING (EXTRACT(epoch FROM d.free_at - $2 * interval '1 second' - pg_catalog.clock_timestamp()) * "
			    "1e6)::int8,"
			    " (EXTRACT(epoch FROM GREATEST(d.blocked_until - pg_catalog.clock_timestamp(), interval '0')) * "
			    "1000)::int8",
			    destination_id_, share / *rate, name);
		}
		transaction.commit();
		its.next = now + microseconds(rows.get<std::int64_t>(0, 0));
		its.blocked_until = std::max(its.blocked_until, now + milliseconds(rows.get<std::int64_t>(0, 1)));
		its.left = share;
	}
	const auto free = std::max(its.next, its.blocked_until);
	if (now < free)
		return ceil_ms(free - now);
	its.left--;
	its.next += duration_cast<steady_clock::duration>(std::chrono::duration<double>(1 / *rate));
	return milliseconds(0);
}

void TableRateGate::throttled(milliseconds wait, const std::string &budget) {
	Transaction transaction;
	{
		Spi spi;
		spi_execute("INSERT INTO courier_internal.destination_state AS d (destination_id, budget, blocked_until)"
		            " VALUES ($1, $3, pg_catalog.clock_timestamp() + $2 * interval '1 ms')"
		            " ON CONFLICT (destination_id, budget) DO UPDATE SET blocked_until = GREATEST(d.blocked_until, "
		            "excluded.blocked_until)",
		            destination_id_, static_cast<std::int64_t>(wait.count()), stored_name(budget));
	}
	transaction.commit();
}

void TableRateGate::refresh(steady_clock::time_point now) {
	Transaction transaction;
	Rows rows;
	{
		Spi spi;
		rows = spi_execute("SELECT budget, (EXTRACT(epoch FROM blocked_until - pg_catalog.clock_timestamp()) * 1000)::int8"
		                   " FROM courier_internal.destination_state"
		                   " WHERE destination_id = $1 AND blocked_until > pg_catalog.clock_timestamp()",
		                   destination_id_);
	}
	transaction.commit();
	for (std::size_t row = 0; row < rows.size(); row++) {
		auto &until = shares_[rows.get<std::string>(row, 0)].blocked_until;
		until = std::max(until, now + milliseconds(rows.get<std::int64_t>(row, 1)));
	}
}

} // namespace courier::pg
