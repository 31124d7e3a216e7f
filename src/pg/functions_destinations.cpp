// What SQL asks about destination types, destinations and syncs: src/destinations/validate.hpp behind SQL functions.
// Documents go in and out as text, so that nothing here knows the inside of a jsonb.

#include <nlohmann/json.hpp>

#include "pg/guard.hpp"
#include "pg/spi.hpp"

#include "core/options.hpp"
#include "destinations/registry.hpp"
#include "destinations/validate.hpp"

namespace courier::pg {

namespace {

using Json = nlohmann::ordered_json;

// NULL is null.
Json jsonb_argument(FunctionCallInfo fcinfo, int index) {
	if (PG_ARGISNULL(index))
		return nullptr;
	try {
		return Json::parse(datum_to_text(PG_GETARG_DATUM(index), JSONBOID));
	} catch (const Json::exception &) { // jsonb holds numbers that no double can
		throw Error("22003", "a number in this document is out of range");
	}
}

Json object_argument(FunctionCallInfo fcinfo, int index) {
	Json value = jsonb_argument(fcinfo, index);
	return value.is_null() ? Json::object() : value;
}

Datum jsonb_result(const Json &value) {
	Jsonb out {value.dump()};
	Param param(out);
	return call_postgres([&] { return param.make(); });
}

} // namespace

COURIER_FUNCTION(courier_builtin_destination_types) {
	return enter_cpp([&] {
		ResultSet rows(fcinfo);
		for (auto &name : builtin_names())
			rows.add({Param(name), Param(Jsonb {describe_type(name, nullptr).dump()})});
		return (Datum)0;
	});
}

COURIER_FUNCTION(courier_check_destination_type) {
	return enter_cpp([&] { check_destination_type(text_argument(fcinfo, 0), jsonb_argument(fcinfo, 1)); });
}

COURIER_FUNCTION(courier_describe_destination_type) {
	return enter_cpp([&] { return jsonb_result(describe_type(text_argument(fcinfo, 0), jsonb_argument(fcinfo, 1))); });
}

COURIER_FUNCTION(courier_check_destination) {
	return enter_cpp([&] {
		std::vector<std::string> secrets;
		if (!PG_ARGISNULL(4))
			for (auto &name : text_array_argument(fcinfo, 4))
				if (name)
					secrets.push_back(*name);
		check_destination(text_argument(fcinfo, 0), text_argument(fcinfo, 1), jsonb_argument(fcinfo, 2),
		                  object_argument(fcinfo, 3), secrets);
	});
}

COURIER_FUNCTION(courier_check_sync) {
	return enter_cpp([&] { return jsonb_result(check_sync(jsonb_argument(fcinfo, 0))); });
}

COURIER_FUNCTION(courier_check_options) {
	return enter_cpp([&] { parse_options(nlohmann::json(object_argument(fcinfo, 0))); });
}

} // namespace courier::pg
