#pragma once

// What a destination can do, as data: read from a destination type's definition, or for the type `http` from the
// destination's own config. Reading checks everything that can be checked without a sync; see doc/definition.schema.json.

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/record.hpp"
#include "destinations/auth.hpp"
#include "destinations/encode.hpp"
#include "destinations/mapper.hpp"
#include "destinations/message.hpp"
#include "destinations/reader.hpp"
#include "destinations/template.hpp"

namespace courier {

using TextPairs = std::vector<std::pair<std::string, std::string>>;

// One entry of `requests`. Texts are templates, still uncompiled.
struct RequestSpec {
	std::string place; // for messages: 'config of sync "x": requests.upsert'
	std::string method = "POST";
	std::string path;
	TextPairs query, headers;
	TextPairs query_each; // a parameter that is there once per record
	std::optional<Encoding> encoding;
	std::optional<nlohmann::ordered_json> body;
	std::optional<nlohmann::ordered_json> each; // what {{ records }} holds of a record
	std::optional<std::string> each_key;        // and under which name: an object in place of an array
	std::vector<std::string> exclude;           // what {{ rest }} leaves out, besides what the request names itself
	std::optional<std::string> group_by;        // a batch holds records of one such text
	bool dotted = false;                        // form: a.b.1=c
	bool csv_header = true;
	bool gzip = false;
	std::optional<double> rate; // requests a second
	std::optional<bool> idempotent;
	std::optional<Response> response; // instead of the one that the operations share
	bool from_sync = false; // written by a sync's owner: no secrets in it
};

// Keyed by operation, or message.added, message.changed, message.removed.
using Requests = std::map<std::string, RequestSpec>;

struct LimitSpec {
	std::optional<std::size_t> batch_size, batch_bytes, record_bytes, concurrency;
	std::optional<std::string> unique;   // a field: a batch never holds two records with the same value of it
	std::optional<double> rate;          // requests a second
	std::string rate_text;               // as it was written
	std::optional<std::string> rate_key; // text: each has that rate for itself
};

struct IdempotencySpec {
	bool on = true;
	std::string header = "Idempotency-Key", key = "{{ idempotency_key }}";
	bool honoured = false; // the destination drops what it has seen: any request may be sent again
};

struct KeySpec {
	bool required = false;
	std::string description;
	std::optional<nlohmann::json> default_value;
	std::vector<nlohmann::json> allowed; // "enum"; empty: anything plain
};

struct SecretSpec {
	bool required = true;
	std::string description;
};

struct ObjectSpec {
	std::string name, description; // "*": any name
	Requests requests;
	std::optional<Response> response;
	LimitSpec limits;
	std::vector<std::string> sync_types, modes; // first: the default
};

struct Definition {
	std::string name;
	bool posts_by_default = false; // http: an operation without a request is POSTed to base_url
	std::string description, docs;
	std::string base_url;
	TextPairs headers;
	AuthSpec auth;
	Requests requests;
	std::vector<ObjectSpec> objects; // empty: requests hold for every object
	Response response;
	LimitSpec limits;
	IdempotencySpec idempotency;
	std::map<std::string, KeySpec> config, sync_config;
	std::map<std::string, SecretSpec> secrets; // those that auth needs included
	std::vector<std::string> sync_types, modes;
	std::map<std::string, std::string> first_run; // by sync type
	nlohmann::ordered_json options = nlohmann::ordered_json::object();
	std::optional<RequestSpec> test;
	MessageSpec messages; // of the sync
};

// Throws Error that names the place inside the definition.
Definition read_definition(const std::string &name, const nlohmann::ordered_json &definition);

// The templates in limits and idempotency, and that the field of limits.unique is mapped. `where` stands before the place.
void check_limits(const LimitSpec &limits, const Scope &scope, const std::string &where);
void check_idempotency(const IdempotencySpec &idempotency, const Scope &scope, const std::string &where);
TextTemplate rate_key_template(const std::string &text, Scope scope, const std::string &where = {});
TextTemplate idempotency_template(const std::string &text, Scope scope, const std::string &where = {});

// Pieces that http.cpp uses too.
Requests read_requests(const Reader &reader, bool from_sync);
LimitSpec merged_limits(LimitSpec base, const LimitSpec &over);
LimitSpec read_limits(const Reader &reader);
IdempotencySpec read_idempotency(const Reader &reader, IdempotencySpec base);
TextPairs read_headers(const Reader &reader);
RequestSpec read_request(const Reader &reader, bool from_sync);

// The requests that hold for an object (objects[].requests over requests).
Requests requests_for(const Definition &definition, const std::string &object);
const ObjectSpec *find_object(const Definition &definition, const std::string &object);
// Which sync types and modes these requests can serve.
std::vector<std::string> served_sync_types(const Requests &requests);
std::vector<std::string> served_modes(const Requests &requests);

// The key of the request that serves an operation for a record with this change; "" when there is none.
std::string serving_key(const Requests &requests, Operation operation, Change change);

} // namespace courier
