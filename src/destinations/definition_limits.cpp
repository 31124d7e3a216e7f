// Templates of a definition that belong to no request.

#include <algorithm>

#include "core/error.hpp"
#include "destinations/definition.hpp"

namespace courier {

TextTemplate rate_key_template(const std::string &text, Scope scope, const std::string &where) {
	scope.secrets_allowed = false; // it stands in a table
	scope.where = where + "limits.rate_key";
	TextTemplate out(text, scope, Context::text);
	if (out.uses(Source::records) || out.uses(Source::index))
		throw Error("22023", scope.where + " is of one record: records and index have no value there");
	return out;
}

TextTemplate idempotency_template(const std::string &text, Scope scope, const std::string &where) {
	scope.secrets_allowed = false; // it stands in logs
	scope.where = where + "idempotency.key";
	TextTemplate out(text, scope, Context::header);
	out.visit([&](const Placeholder &placeholder) {
		if (placeholder.source != Source::constant && placeholder.source != Source::idempotency_key)
			throw Error("22023", scope.where + " may not use {{ " + placeholder.name + " }}",
			            "It is of a whole request: idempotency_key, config, run_id, sync and object have a value there.");
	});
	if (!out.uses(Source::idempotency_key))
		throw Error("22023", scope.where + " must use {{ idempotency_key }}", {},
		            "Otherwise all requests would have the same key.");
	return out;
}

LimitSpec merged_limits(LimitSpec base, const LimitSpec &over) {
	if (over.batch_size)
		base.batch_size = over.batch_size;
	if (over.batch_bytes)
		base.batch_bytes = over.batch_bytes;
	if (over.record_bytes)
		base.record_bytes = over.record_bytes;
	if (over.unique)
		base.unique = over.unique;
	if (over.rate) {
		base.rate = over.rate;
		base.rate_text = over.rate_text;
	}
	if (over.rate_key) {
		base.rate_key = over.rate_key;
		base.from_sync = over.from_sync;
	}
	if (over.concurrency)
		base.concurrency = over.concurrency;
	return base;
}

void check_limits(const LimitSpec &limits, const Scope &scope, const std::string &where) {
	if (limits.rate_key)
		rate_key_template(*limits.rate_key, scope, where);
	if (limits.unique) { // {{ x }} knows what is mapped
		Scope here = scope;
		here.where = where + "limits.unique";
		if (limits.unique->empty() || limits.unique->find_first_of("{}|") != std::string::npos)
			throw Error("22023", here.where + " must be the name of a field", "It is \"" + *limits.unique + "\".");
		TextTemplate("{{ record." + *limits.unique + " }}", here, Context::text);
	}
}

void check_idempotency(const IdempotencySpec &idempotency, const Scope &scope, const std::string &where) {
	idempotency_template(idempotency.key, scope, where);
}

} // namespace courier
