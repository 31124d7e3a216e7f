#include "pg/rate_gate.hpp"

#include <algorithm>
#include <cmath>

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

} // namespace

milliseconds TableRateGate::acquire(steady_clock::time_point now) {
	if (now < blocked_until_)
		return ceil_ms(blocked_until_ - now);
	if (!rate_)
		return milliseconds(0);
	if (left_ == 0) {
		int share = std::max(1, static_cast<int>(*rate_ / 4));
		Transaction transaction;
		Rows rows;
		{
			Spi spi;
			// The reservation begins where the last one of anybody ended, or now. Microseconds, because rates may be high.
			rows = spi_execute("INSERT INTO courier_internal.destination_state AS d (destination_id, free_at)"
			                   " VALUES ($1, pg_catalog.clock_timestamp() + $2 * interval '1 second')"
			                   " ON CONFLICT (destination_id) DO UPDATE SET free_at = GREATEST(d.free_at, "
			                   "pg_catalog.clock_timestamp())"
			                   " + $2 * interval '1 second'"
			                   " RETURNING (EXTRACT(epoch FROM d.free_at - $2 * interval '1 second' - "
			                   "pg_catalog.clock_timestamp()) * 1e6)::int8",
			                   destination_id_, share / *rate_);
		}
		transaction.commit();
		next_ = now + microseconds(rows.get<std::int64_t>(0, 0));
		left_ = share;
	}
	if (now < next_)
		return ceil_ms(next_ - now);
	left_--;
	next_ += duration_cast<steady_clock::duration>(std::chrono::duration<double>(1 / *rate_));
	return milliseconds(0);
}

void TableRateGate::throttled(milliseconds wait) {
	Transaction transaction;
	{
		Spi spi;
		spi_execute("INSERT INTO courier_internal.destination_state AS d (destination_id, blocked_until)"
		            " VALUES ($1, pg_catalog.clock_timestamp() + $2 * interval '1 ms')"
		            " ON CONFLICT (destination_id) DO UPDATE SET blocked_until = GREATEST(d.blocked_until, "
		            "excluded.blocked_until)",
		            destination_id_, static_cast<std::int64_t>(wait.count()));
	}
	transaction.commit();
}

void TableRateGate::refresh(steady_clock::time_point now) {
	Transaction transaction;
	Rows rows;
	{
		Spi spi;
		rows = spi_execute("SELECT (EXTRACT(epoch FROM blocked_until - pg_catalog.clock_timestamp()) * 1000)::int8"
		                   " FROM courier_internal.destination_state"
		                   " WHERE destination_id = $1 AND blocked_until > pg_catalog.clock_timestamp()",
		                   destination_id_);
	}
	transaction.commit();
	if (!rows.empty())
		blocked_until_ = std::max(blocked_until_, now + milliseconds(rows.get<std::int64_t>(0, 0)));
}

} // namespace courier::pg
