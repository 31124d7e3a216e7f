#include "pg/spi.hpp"

#include "pg/kept_plans.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
}

namespace courier::pg {

namespace {

// To the database's encoding. Also in a UTF-8 database this checks the text: a broken answer of some API must not
// become a broken value in a table.
const char *to_server(const char *text, std::size_t size) {
	return pg_any_to_server(text, static_cast<int>(size), PG_UTF8);
}

Datum make_text(const char *text, std::size_t size) {
	const char *converted = to_server(text, size);
	return PointerGetDatum(converted == text ? cstring_to_text_with_len(text, static_cast<int>(size))
	                                         : cstring_to_text(converted));
}

Datum make_by_input(const std::string &text, Oid type) {
	Oid input;
	Oid io_param;
	getTypeInputInfo(type, &input, &io_param);
	const char *converted = to_server(text.c_str(), text.size());
	return OidInputFunctionCall(input, const_cast<char *>(converted), io_param, -1);
}

} // namespace

Param::Param(bool value) : type_(BOOLOID) {
	scalar_ = value;
	make_ = [](const Param &param) { return BoolGetDatum(param.scalar_ != 0); };
}

Param::Param(double value) : type_(FLOAT8OID) {
	scalar_ = std::bit_cast<std::uint64_t>(value);
	make_ = [](const Param &param) { return Float8GetDatum(std::bit_cast<double>(param.scalar_)); };
}

void Param::set_int4(std::int32_t value) {
	type_ = INT4OID;
	scalar_ = static_cast<std::uint32_t>(value);
	make_ = [](const Param &param) { return Int32GetDatum(static_cast<std::int32_t>(param.scalar_)); };
}

void Param::set_int8(std::int64_t value) {
	type_ = INT8OID;
	scalar_ = static_cast<std::uint64_t>(value);
	make_ = [](const Param &param) { return Int64GetDatum(static_cast<std::int64_t>(param.scalar_)); };
}

Param::Param(std::string_view value) : type_(TEXTOID) {
	source_ = value.data();
	size_ = value.size();
	make_ = [](const Param &param) { return make_text(static_cast<const char *>(param.source_), param.size_); };
}

Param::Param(const char *value) : Param(std::string_view(value ? value : "")) {
	null_ = value == nullptr;
}

Param::Param(const Uuid &value)
    : Param(
          UUIDOID, [](const Param &p) { return make_by_input(static_cast<const Uuid *>(p.source_)->text, UUIDOID); },
          &value) {
}

Param::Param(const Json &value)
    : Param(
          JSONOID, [](const Param &p) { return make_by_input(static_cast<const Json *>(p.source_)->text, JSONOID); },
          &value) {
}

Param::Param(const Jsonb &value)
    : Param(
          JSONBOID, [](const Param &p) { return make_by_input(static_cast<const Jsonb *>(p.source_)->text, JSONBOID); },
          &value) {
}

Param::Param(const Timestamptz &value)
    : Param(
          TIMESTAMPTZOID,
          [](const Param &p) {
	          return make_by_input(static_cast<const Timestamptz *>(p.source_)->text, TIMESTAMPTZOID);
          },
          &value) {
}

Param::Param(const Interval &value)
    : Param(
          INTERVALOID,
          [](const Param &p) { return make_by_input(static_cast<const Interval *>(p.source_)->text, INTERVALOID); },
          &value) {
}

Param::Param(const ObjectId &value) : type_(OIDOID) {
	scalar_ = value.oid;
	make_ = [](const Param &param) { return ObjectIdGetDatum(static_cast<Oid>(param.scalar_)); };
}

Param::Param(const Tid &value) : type_(TIDOID) {
	scalar_ = value.pack();
	make_ = [](const Param &param) {
		Tid tid = Tid::unpack(param.scalar_);
		auto *pointer = static_cast<ItemPointer>(palloc(sizeof(ItemPointerData)));
		ItemPointerSet(pointer, tid.block, tid.offset);
		return PointerGetDatum(pointer);
	};
}

Param Param::null(Oid type) {
	Param param(
	    type, [](const Param &) { return (Datum)0; }, nullptr);
	param.null_ = true;
	return param;
}

Oid Param::array_type(Oid element) {
	switch (element) {
	case BOOLOID:
		return BOOLARRAYOID;
	case INT4OID:
		return INT4ARRAYOID;
	case INT8OID:
		return INT8ARRAYOID;
	case FLOAT8OID:
		return FLOAT8ARRAYOID;
	case UUIDOID:
		return UUIDARRAYOID;
	case JSONOID:
		return JSONARRAYOID;
	case JSONBOID:
		return JSONBARRAYOID;
	case TIMESTAMPTZOID:
		return TIMESTAMPTZARRAYOID;
	case INTERVALOID:
		return INTERVALARRAYOID;
	case OIDOID:
		return OIDARRAYOID;
	case TIDOID:
		return TIDARRAYOID;
	default:
		return TEXTARRAYOID;
	}
}

Datum Param::build_array(const Param &param, ElementAt element_at) {
	std::size_t count = param.size_;
	if (count == 0)
		return PointerGetDatum(construct_empty_array(param.element_));
	auto *values = static_cast<Datum *>(palloc_extended(count * sizeof(Datum), MCXT_ALLOC_HUGE));
	auto *nulls = static_cast<bool *>(palloc_extended(count * sizeof(bool), MCXT_ALLOC_HUGE));
	for (std::size_t i = 0; i < count; i++) {
		Param element = element_at(param.source_, i);
		nulls[i] = element.is_null();
		values[i] = nulls[i] ? (Datum)0 : element.make();
	}
	int16 length;
	bool by_value;
	char align;
	get_typlenbyvalalign(param.element_, &length, &by_value, &align);
	int dimensions[1] = {static_cast<int>(count)};
	int lower_bounds[1] = {1};
	return PointerGetDatum(
	    construct_md_array(values, nulls, 1, dimensions, lower_bounds, param.element_, length, by_value, align));
}

std::string_view Rows::text(std::size_t row, std::size_t column) const {
	const Cell &found = cell(row, column);
	if (found.length < 0)
		return {};
	return std::string_view(buffer_).substr(found.offset, static_cast<std::size_t>(found.length));
}

Tid Rows::parse_tid(std::string_view text) {
	Tid tid;
	if (text.size() < 5 || text.front() != '(' || text.back() != ')')
		not_a("tid", text);
	const char *end = text.data() + text.size() - 1;
	auto [comma, error] = std::from_chars(text.data() + 1, end, tid.block);
	if (error != std::errc() || comma == end || *comma != ',')
		not_a("tid", text);
	auto [last, offset_error] = std::from_chars(comma + 1, end, tid.offset);
	if (offset_error != std::errc() || last != end)
		not_a("tid", text);
	return tid;
}

void Rows::not_a(const char *type, std::string_view text) {
	throw std::logic_error("result \"" + std::string(text.substr(0, 100)) + "\" is not a " + type);
}

void Rows::unexpected_null(std::size_t column) {
	throw std::logic_error("result column " + std::to_string(column) + " is NULL");
}

Spi::Spi() {
	call_postgres([] {
		MemoryContext caller = CurrentMemoryContext;
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		// SPI would have us allocate in a context that SPI_finish frees, and a result that was made before the end of
		// the scope would dangle. Statements use contexts of their own, so nothing piles up in the caller's.
		MemoryContextSwitchTo(caller);
	});
}

Spi::~Spi() {
	// An abort in between has closed every level; then there is nothing left to finish, and SPI_finish only says so.
	SPI_finish();
}

// Copies a result out row by row: texts are made by the server in a context that is reset for each row.
class Reader {
public:
	explicit Reader(SPITupleTable *table) : table_(table), columns_(table->tupdesc->natts) {
		call_postgres([this] {
			row_context_ = AllocSetContextCreate(CurrentMemoryContext, "pg_courier result row", ALLOCSET_DEFAULT_SIZES);
			texts_ = static_cast<const char **>(palloc(columns_ * sizeof(char *)));
			lengths_ = static_cast<std::size_t *>(palloc(columns_ * sizeof(std::size_t)));
			values_ = static_cast<Datum *>(palloc(columns_ * sizeof(Datum)));
			nulls_ = static_cast<bool *>(palloc(columns_ * sizeof(bool)));
			output_ = static_cast<FmgrInfo *>(palloc0(columns_ * sizeof(FmgrInfo)));
			for (int i = 0; i < columns_; i++) {
				Oid function;
				bool is_varlena;
				getTypeOutputInfo(TupleDescAttr(table_->tupdesc, i)->atttypid, &function, &is_varlena);
				fmgr_info(function, &output_[i]);
			}
		});
	}

	void append_to(Rows &rows) {
		rows.columns_ = static_cast<std::size_t>(columns_);
		rows.cells_.reserve(table_->numvals * rows.columns_);
		for (uint64 row = 0; row < table_->numvals; row++) {
			call_postgres([this, row] { read(table_->vals[row]); });
			for (int i = 0; i < columns_; i++) {
				if (texts_[i]) {
					rows.cells_.push_back({rows.buffer_.size(), static_cast<std::ptrdiff_t>(lengths_[i])});
					rows.buffer_.append(texts_[i], lengths_[i]);
				} else {
					rows.cells_.push_back({0, -1});
				}
			}
		}
	}

private:
	void read(HeapTuple tuple) {
		MemoryContextReset(row_context_);
		MemoryContext previous = MemoryContextSwitchTo(row_context_);
		heap_deform_tuple(tuple, table_->tupdesc, values_, nulls_);
		for (int i = 0; i < columns_; i++) {
			texts_[i] = nullptr;
			if (nulls_[i])
				continue;
			const char *text;
			std::size_t length;
			Oid type = TupleDescAttr(table_->tupdesc, i)->atttypid;
			if (type == TEXTOID || type == JSONOID || type == VARCHAROID) {
				auto *detoasted = reinterpret_cast<text_t *>(PG_DETOAST_DATUM_PACKED(values_[i]));
				text = VARDATA_ANY(detoasted);
				length = VARSIZE_ANY_EXHDR(detoasted);
			} else {
				text = OutputFunctionCall(&output_[i], values_[i]);
				length = std::strlen(text);
			}
			const char *converted = pg_server_to_any(text, static_cast<int>(length), PG_UTF8);
			texts_[i] = converted;
			lengths_[i] = converted == text ? length : std::strlen(converted);
		}
		MemoryContextSwitchTo(previous);
	}

	using text_t = struct varlena;
	SPITupleTable *table_;
	int columns_;
	MemoryContext row_context_ = nullptr;
	const char **texts_ = nullptr;
	std::size_t *lengths_ = nullptr;
	Datum *values_ = nullptr;
	bool *nulls_ = nullptr;
	FmgrInfo *output_ = nullptr;
};

static KeptPlans kept_plans;

Rows spi_run(const SpiOptions &options, const std::string &sql, std::initializer_list<Param> params) {
	Rows rows;
	const Param *first = params.begin();
	const int count = static_cast<int>(params.size());

	// Everything that this call allocates, parameters and texts, lives in a context of its own.
	struct Work {
		MemoryContext context = nullptr;
		MemoryContext caller = nullptr;
		SPITupleTable *table = nullptr;
		~Work() {
			if (caller)
				MemoryContextSwitchTo(caller);
			if (table)
				SPI_freetuptable(table);
			if (context)
				MemoryContextDelete(context);
		}
	} work;

	Oid *types = nullptr;
	Datum *values = nullptr;
	char *nulls = nullptr;
	const std::string key = kept_plans.key(sql, params);
	SPIPlanPtr plan = key.empty() ? nullptr : kept_plans.at(key);
	const bool prepares = !key.empty() && plan == nullptr;
	call_postgres([&] {
		MemoryContext caller = CurrentMemoryContext;
		work.context = AllocSetContextCreate(caller, "pg_courier statement", ALLOCSET_DEFAULT_SIZES);
		work.caller = caller;
		MemoryContextSwitchTo(work.context);
		types = static_cast<Oid *>(palloc((count + 1) * sizeof(Oid)));
		values = static_cast<Datum *>(palloc((count + 1) * sizeof(Datum)));
		nulls = static_cast<char *>(palloc(count + 1));
		for (int i = 0; i < count; i++) {
			types[i] = first[i].type();
			nulls[i] = first[i].is_null() ? 'n' : ' ';
			values[i] = first[i].is_null() ? (Datum)0 : first[i].make();
		}
		if (prepares) {
			plan = SPI_prepare(to_server(sql.c_str(), sql.size()), count, types);
			if (plan == nullptr || SPI_keepplan(plan) != 0)
				elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		}
	});
	if (prepares)
		kept_plans.at(key) = plan;
	call_postgres([&] {
		int result = plan != nullptr
		                 ? SPI_execute_plan(plan, values, nulls, options.read_only, options.limit)
		                 : SPI_execute_with_args(to_server(sql.c_str(), sql.size()), count, types, values, nulls,
		                                         options.read_only, options.limit);
		work.table = SPI_tuptable;
		if (result < 0)
			elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	});
	rows.processed_ = SPI_processed;
	if (work.table) {
		Reader reader(work.table);
		reader.append_to(rows);
	}
	return rows;
}

Transaction::Transaction(Isolation isolation, bool snapshot) : caller_context_(CurrentMemoryContext) {
	open_ = true;
	try {
		call_postgres([isolation, snapshot] {
			SetCurrentStatementStartTimestamp();
			StartTransactionCommand();
			// Said outright, because default_transaction_isolation may be anything.
			XactIsoLevel = isolation == Isolation::repeatable_read ? XACT_REPEATABLE_READ : XACT_READ_COMMITTED;
			if (snapshot)
				PushActiveSnapshot(GetTransactionSnapshot());
		});
	} catch (...) {
		abort();
		throw;
	}
	snapshot_ = snapshot;
}

void Transaction::become_read_committed() {
	XactIsoLevel = XACT_READ_COMMITTED;
}

void Transaction::commit() {
	call_postgres([this] {
		if (snapshot_)
			PopActiveSnapshot();
		snapshot_ = false;
		CommitTransactionCommand();
		open_ = false;
		pgstat_report_stat(true);
	});
	MemoryContextSwitchTo(caller_context_);
}

Transaction::~Transaction() {
	if (open_)
		abort();
}

void Transaction::abort() noexcept {
	open_ = false;
	try {
		call_postgres([] { AbortCurrentTransaction(); });
	} catch (...) {
		// A transaction that can be neither finished nor aborted: only the end of the process is safe. FATAL does not
		// unwind.
		ereport(FATAL, (errmsg_internal("could not abort a transaction")));
	}
	MemoryContextSwitchTo(caller_context_);
}

ResultSet::ResultSet(FunctionCallInfo fcinfo) : info_(reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo)) {
	call_postgres([&] {
		InitMaterializedSRF(fcinfo, 0);
		row_context_ = AllocSetContextCreate(CurrentMemoryContext, "pg_courier result set row", ALLOCSET_DEFAULT_SIZES);
	});
}

void ResultSet::add(std::initializer_list<Param> columns) {
	const Param *first = columns.begin();
	const int count = static_cast<int>(columns.size());
	call_postgres([&] {
		if (count != info_->setDesc->natts)
			elog(ERROR, "a row of %d columns for a function of %d", count, info_->setDesc->natts);
		MemoryContext previous = MemoryContextSwitchTo(row_context_);
		auto *values = static_cast<Datum *>(palloc(count * sizeof(Datum)));
		auto *nulls = static_cast<bool *>(palloc(count * sizeof(bool)));
		for (int i = 0; i < count; i++) {
			nulls[i] = first[i].is_null();
			values[i] = nulls[i] ? (Datum)0 : first[i].make();
		}
		tuplestore_putvalues(info_->setResult, info_->setDesc, values, nulls);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(row_context_);
	});
}

namespace {

std::string text_to_string(Datum value) {
	struct Slice {
		const char *text;
		std::size_t length;
	};
	Slice slice = call_postgres([value] {
		auto *detoasted = PG_DETOAST_DATUM_PACKED(value);
		const char *text = VARDATA_ANY(detoasted);
		std::size_t length = VARSIZE_ANY_EXHDR(detoasted);
		const char *converted = pg_server_to_any(text, static_cast<int>(length), PG_UTF8);
		return Slice {converted, converted == text ? length : std::strlen(converted)};
	});
	return std::string(slice.text, slice.length);
}

std::string copy_text(const char *text) {
	const char *converted = call_postgres([text] { return pg_server_to_any(text, std::strlen(text), PG_UTF8); });
	return converted;
}

} // namespace

std::string text_argument(FunctionCallInfo fcinfo, int index) {
	if (PG_ARGISNULL(index))
		throw Error("22004", "argument " + std::to_string(index + 1) + " must not be NULL");
	return text_to_string(PG_GETARG_DATUM(index));
}

std::optional<std::string> optional_text_argument(FunctionCallInfo fcinfo, int index) {
	if (PG_ARGISNULL(index))
		return std::nullopt;
	return text_to_string(PG_GETARG_DATUM(index));
}

std::vector<std::optional<std::string>> text_array_argument(FunctionCallInfo fcinfo, int index) {
	std::vector<std::optional<std::string>> texts;
	if (PG_ARGISNULL(index))
		return texts;
	struct Elements {
		Datum *values;
		bool *nulls;
		int count;
	};
	Elements elements = call_postgres([&] {
		Elements found;
		deconstruct_array(DatumGetArrayTypeP(PG_GETARG_DATUM(index)), TEXTOID, -1, false, TYPALIGN_INT, &found.values,
		                  &found.nulls, &found.count);
		return found;
	});
	texts.reserve(elements.count);
	for (int i = 0; i < elements.count; i++) {
		if (elements.nulls[i])
			texts.emplace_back(std::nullopt);
		else
			texts.emplace_back(text_to_string(elements.values[i]));
	}
	return texts;
}

Datum text_datum(std::string_view text) {
	return call_postgres([text] { return make_text(text.data(), text.size()); });
}

std::string datum_to_text(Datum value, Oid type) {
	return copy_text(call_postgres([value, type] {
		Oid function;
		bool is_varlena;
		getTypeOutputInfo(type, &function, &is_varlena);
		return OidOutputFunctionCall(function, value);
	}));
}

std::string quote_name(std::string_view name) {
	std::string terminated(name);
	return call_postgres([&] { return quote_identifier(terminated.c_str()); });
}

std::string quote_text(std::string_view text) {
	std::string terminated(text);
	return call_postgres([&] { return quote_literal_cstr(terminated.c_str()); });
}

} // namespace courier::pg
