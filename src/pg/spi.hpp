#pragma once

// SQL from C++. Parameters and results are C++ values; every call into the server is guarded, so errors are PgErrors.
//
//     Spi spi;
//     Rows rows = spi_execute("SELECT name, paused FROM courier_internal.sync WHERE sync_id = $1", sync_id);
//     for (std::size_t row = 0; row < rows.size(); row++)
//         use(rows.get<std::string>(row, 0), rows.get<bool>(row, 1));
//
// Results are copied out as text (output functions) and the server's memory is freed before spi_execute returns, so a
// loop that runs for days does not grow. All text is UTF-8 on this side, whatever the database's encoding; parameters
// are checked for it.

#include "pg/guard.hpp"

extern "C" {
#include "catalog/pg_type_d.h"
#include "storage/itemptr.h"
}

namespace courier::pg {

// Types that C++ has no word for. Texts are in the form of the type's input function.
struct Uuid {
	std::string text;
};
struct Json {
	std::string text;
};
struct Jsonb {
	std::string text;
};
struct Timestamptz {
	std::string text;
};
struct Interval {
	std::string text;
};
struct ObjectId {
	Oid oid = InvalidOid;
};
struct Tid {
	std::uint32_t block = 0;
	std::uint16_t offset = 0;

	std::uint64_t pack() const { return std::uint64_t {block} << 16 | offset; }
	static Tid unpack(std::uint64_t packed) {
		return {static_cast<std::uint32_t>(packed >> 16), static_cast<std::uint16_t>(packed)};
	}
};

// A parameter: type and how to make its Datum. It looks at the caller's value and does not copy it, so it must not
// outlive the call that it is given to.
class Param {
public:
	Param(bool value);
	Param(double value);
	template <std::integral T>
	requires(!std::same_as<T, bool> && !std::same_as<T, char>) Param(T value) {
		if constexpr (std::is_signed_v<T> ? sizeof(T) <= 4 : sizeof(T) < 4)
			set_int4(value);
		else
			set_int8(static_cast<std::int64_t>(value));
	}
	Param(const char *value);
	Param(std::string_view value);
	Param(const std::string &value) : Param(std::string_view(value)) {}
	Param(const Uuid &value);
	Param(const Json &value);
	Param(const Jsonb &value);
	Param(const Timestamptz &value);
	Param(const Interval &value);
	Param(const ObjectId &value);
	Param(const Tid &value);
	template <class T> Param(const std::optional<T> &value) : Param(value ? Param(*value) : null(type_of<T>())) {}

	// text[], int4[], int8[], uuid[], tid[], boolean[], timestamptz[], jsonb[], with or without NULLs. One dimension.
	template <class T> Param(const std::vector<T> &values) : Param(array_of(values)) {}

	static Param null(Oid type);

	Oid type() const { return type_; }
	bool is_null() const { return null_; }
	Datum make() const { return make_(*this); } // calls the server: only inside call_postgres

private:
	using Maker = Datum (*)(const Param &);

	Param(Oid type, Maker make, const void *source, std::size_t size = 0)
	    : type_(type), make_(make), source_(source), size_(size) {}
	void set_int4(std::int32_t value);
	void set_int8(std::int64_t value);

	template <class T> static constexpr Oid type_of();
	template <class T> static Param array_of(const std::vector<T> &values);
	// Elements are wrapped into Params one by one while the array is built: no C++ memory is held meanwhile.
	using ElementAt = Param (*)(const void *values, std::size_t index);
	static Datum build_array(const Param &param, ElementAt element_at);
	static Oid array_type(Oid element);

	Oid type_ = InvalidOid;
	Oid element_ = InvalidOid;
	bool null_ = false;
	Maker make_ = nullptr;
	const void *source_ = nullptr;
	std::size_t size_ = 0;
	std::uint64_t scalar_ = 0;
};

struct SpiOptions {
	bool read_only = false; // no new snapshot, no command counter increment; writing is an error
	long limit = 0;         // rows; 0: all
};

// A result, rows by columns, as text.
class Rows {
public:
	std::size_t size() const { return columns_ ? cells_.size() / columns_ : 0; }
	bool empty() const { return size() == 0; }
	std::size_t columns() const { return columns_; }
	std::uint64_t processed() const { return processed_; } // rows of a SELECT, or that INSERT, UPDATE, DELETE touched

	bool is_null(std::size_t row, std::size_t column) const { return cell(row, column).length < 0; }
	// The text, empty for NULL. Valid as long as the Rows.
	std::string_view text(std::size_t row, std::size_t column) const;
	// std::string, std::string_view, bool, integers, double, Tid, Uuid, Json, Jsonb, Timestamptz, or std::optional of
	// one. A NULL asked for without optional is an error.
	template <class T> T get(std::size_t row, std::size_t column) const;

private:
	friend class Reader;
	friend Rows spi_run(const SpiOptions &options, const std::string &sql, std::initializer_list<Param> params);
	struct Cell {
		std::size_t offset;
		std::ptrdiff_t length; // -1: NULL
	};
	const Cell &cell(std::size_t row, std::size_t column) const { return cells_.at(row * columns_ + column); }
	[[noreturn]] static void not_a(const char *type, std::string_view text);
	[[noreturn]] static void unexpected_null(std::size_t column);
	template <class T> static T parse(std::string_view text);
	static Tid parse_tid(std::string_view text);

	std::size_t columns_ = 0;
	std::uint64_t processed_ = 0;
	std::vector<Cell> cells_;
	std::string buffer_;
};

// SPI_connect and SPI_finish. Nesting is fine. The current memory context stays the caller's, so that a Datum made
// within the scope may be returned from it.
class Spi {
public:
	Spi();
	~Spi();
	Spi(const Spi &) = delete;
	Spi &operator=(const Spi &) = delete;
};

Rows spi_run(const SpiOptions &options, const std::string &sql, std::initializer_list<Param> params);

template <class... Params> Rows spi_execute(const std::string &sql, const Params &...params) {
	return spi_run({}, sql, {Param(params)...});
}

template <class... Params>
Rows spi_execute_with(const SpiOptions &options, const std::string &sql, const Params &...params) {
	return spi_run(options, sql, {Param(params)...});
}

enum class Isolation { read_committed, repeatable_read };

// A transaction of a background worker. Not committed, it is aborted. The memory context that was current before is
// current again after either.
class Transaction {
public:
	explicit Transaction(Isolation isolation = Isolation::read_committed, bool snapshot = true);
	~Transaction();
	Transaction(const Transaction &) = delete;
	Transaction &operator=(const Transaction &) = delete;

	// Whoever changes a row that another session has changed since a REPEATABLE READ transaction began fails with 40001. From
	// here on each statement sees what is committed, and changes that. There is no way back, and nothing may be read that
	// must agree with what was read before. (SQL cannot ask for it in a transaction that has read something; for the server it is
	// a question of which snapshot the next statement gets.)
	void become_read_committed();

	void commit(); // and flushes statistics

private:
	void abort() noexcept;

	MemoryContext caller_context_;
	bool open_ = false;
	bool snapshot_ = false;
};

// The rows of a set-returning function, as values per column: ResultSet set(fcinfo); set.add({name, count}); return 0.
class ResultSet {
public:
	explicit ResultSet(FunctionCallInfo fcinfo); // materialize mode, or an error that says so
	void add(std::initializer_list<Param> columns);

private:
	ReturnSetInfo *info_;
	MemoryContext row_context_;
};

// Arguments and results of SQL-callable functions that deal in text.
std::string text_argument(FunctionCallInfo fcinfo, int index); // must not be NULL
std::optional<std::string> optional_text_argument(FunctionCallInfo fcinfo, int index);
std::vector<std::optional<std::string>> text_array_argument(FunctionCallInfo fcinfo, int index);
Datum text_datum(std::string_view text);

// The value's text by its type's output function.
std::string datum_to_text(Datum value, Oid type);
std::string quote_name(std::string_view name); // quote_identifier
std::string quote_text(std::string_view text); // quote_literal

template <class T> constexpr Oid Param::type_of() {
	if constexpr (std::is_same_v<T, bool>)
		return BOOLOID;
	else if constexpr (std::is_floating_point_v<T>)
		return FLOAT8OID;
	else if constexpr (std::is_integral_v<T>)
		return (std::is_signed_v<T> ? sizeof(T) <= 4 : sizeof(T) < 4) ? INT4OID : INT8OID;
	else if constexpr (std::is_same_v<T, Uuid>)
		return UUIDOID;
	else if constexpr (std::is_same_v<T, Json>)
		return JSONOID;
	else if constexpr (std::is_same_v<T, Jsonb>)
		return JSONBOID;
	else if constexpr (std::is_same_v<T, Timestamptz>)
		return TIMESTAMPTZOID;
	else if constexpr (std::is_same_v<T, Interval>)
		return INTERVALOID;
	else if constexpr (std::is_same_v<T, ObjectId>)
		return OIDOID;
	else if constexpr (std::is_same_v<T, Tid>)
		return TIDOID;
	else
		return TEXTOID;
}

template <class T> Param Param::array_of(const std::vector<T> &values) {
	using Element = decltype([] {
		if constexpr (requires(T value) { value.has_value(); })
			return typename T::value_type {};
		else
			return T {};
	}());
	Maker make = [](const Param &param) {
		return build_array(param, [](const void *values, std::size_t index) {
			return Param((*static_cast<const std::vector<T> *>(values))[index]);
		});
	};
	Param param(array_type(type_of<Element>()), make, &values, values.size());
	param.element_ = type_of<Element>();
	return param;
}

template <class T> T Rows::parse(std::string_view text) {
	if constexpr (std::is_same_v<T, bool>) {
		if (text != "t" && text != "f")
			not_a("boolean", text);
		return text == "t";
	} else if constexpr (std::is_arithmetic_v<T>) {
		T value {};
		auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
		if (error != std::errc() || end != text.data() + text.size())
			not_a("number", text);
		return value;
	} else if constexpr (std::is_same_v<T, Tid>) {
		return parse_tid(text);
	} else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::string_view>) {
		return T(text);
	} else {
		return T {std::string(text)};
	}
}

template <class T> T Rows::get(std::size_t row, std::size_t column) const {
	if constexpr (requires(T value) { value.has_value(); }) {
		if (is_null(row, column))
			return std::nullopt;
		return parse<typename T::value_type>(text(row, column));
	} else {
		if (is_null(row, column))
			unexpected_null(column);
		return parse<T>(text(row, column));
	}
}

} // namespace courier::pg
