// Reading the `requests` of a definition or a sync, and which of them serves what.

#include <algorithm>
#include <array>

#include "core/duration.hpp"
#include "core/error.hpp"
#include "destinations/definition.hpp"

namespace courier {

namespace {

constexpr std::array<std::string_view, 13> request_keys {
    "insert",  "update", "upsert", "delete",        "clear",           "archive",        "event",
    "message", "add",    "remove", "message.added", "message.changed", "message.removed"};

// Headers that belong to the connection. Host is among them because it decides who reads the credentials.
constexpr std::array<std::string_view, 8> reserved_headers {
    "host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"};

std::string lower(std::string text) {
	for (char &c : text)
		c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
	return text;
}

TextPairs read_pairs(const Reader &reader, TextPairs *each = nullptr) {
	TextPairs pairs;
	reader.each([&](const std::string &name, const Reader &value) {
		if (each && value.json().is_object()) {
			value.only_keys({"each"});
			each->emplace_back(name, value.at("each").text());
		} else if (value.json().is_string())
			pairs.emplace_back(name, value.text());
		else if (value.json().is_number() || value.json().is_boolean())
			pairs.emplace_back(name, value.json().dump());
		else
			value.fail("must be text, a number or true or false");
	});
	return pairs;
}

} // namespace

TextPairs read_headers(const Reader &reader) {
	TextPairs headers = read_pairs(reader);
	for (auto &[name, value] : headers) {
		bool token = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
			return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			       std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
		});
		if (!token)
			reader.fail("has \"" + name + "\", which cannot be the name of a header");
		if (std::find(reserved_headers.begin(), reserved_headers.end(), lower(name)) != reserved_headers.end())
			reader.fail("may not set the header " + name, "It belongs to the connection.");
	}
	return headers;
}

namespace {

void read_batch(const Reader &reader, RequestSpec &spec) {
	if (reader.has("each"))
		spec.each = reader.at("each").json();
	if (reader.has("each_key"))
		spec.each_key = reader.at("each_key").text();
	if (reader.has("exclude"))
		spec.exclude = reader.at("exclude").texts();
	if (reader.has("require"))
		for (auto &name : reader.at("require").elements())
			spec.require.push_back(name.json().is_array() ? name.texts() : std::vector {name.text()});
	for (auto &names : spec.require)
		if (names.empty())
			reader.at("require").fail("has an empty list of names");
	if (reader.has("group_by"))
		spec.group_by = reader.at("group_by").text();
	if (reader.has("rate"))
		spec.rate = parse_rate(reader.at("rate").text(), reader.at("rate").place());
}

void read_encoding(const Reader &reader, RequestSpec &spec) {
	auto only_for = [&](const char *key, Encoding encoding) {
		if (reader.has(key) && spec.encoding != encoding)
			reader.at(key).fail("belongs to encoding " + std::string(to_text(encoding)));
	};
	only_for("nesting", Encoding::form);
	only_for("csv_header", Encoding::csv);
	if (reader.has("nesting"))
		spec.dotted = reader.at("nesting").one_of({"brackets", "dotted"}) == "dotted";
	spec.csv_header = reader.boolean_or("csv_header", true);
	if (reader.has("compress"))
		spec.gzip = reader.at("compress").one_of({"gzip", "none"}) == "gzip";
	if (spec.encoding == Encoding::none && spec.body)
		reader.fail("has a body and encoding none");
	if (spec.body || !spec.encoding)
		return;
	switch (*spec.encoding) {
	case Encoding::xml:
		reader.fail("needs a body", {}, R"(An object with one key, the root element: {"contact": "{{ record }}"}.)");
	case Encoding::text:
	case Encoding::lines:
		reader.fail("needs a body", {}, "Text with placeholders: \"{{ id }} {{ email }}\".");
	case Encoding::raw:
		reader.fail("needs a body", {}, "One placeholder: \"{{ content }}\".");
	case Encoding::ndjson_pairs:
		reader.fail("needs a body", {}, R"(The lines of a record: [{"index": {"_id": "{{ id }}"}}, "{{ record }}"].)");
	default:
		break;
	}
}

} // namespace

RequestSpec read_request(const Reader &reader, bool from_sync) {
	reader.only_keys({"method", "path", "query", "headers", "encoding", "body", "each", "each_key", "exclude", "require",
	                  "group_by", "nesting", "csv_header", "compress", "rate", "idempotent", "response"});
	RequestSpec spec;
	spec.place = reader.place();
	spec.from_sync = from_sync;
	if (reader.has("method"))
		spec.method = reader.at("method").one_of({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"});
	spec.path = reader.text_or("path", "");
	if (reader.has("query"))
		spec.query = read_pairs(reader.at("query"), &spec.query_each);
	if (reader.has("headers"))
		spec.headers = read_headers(reader.at("headers"));
	if (reader.has("encoding"))
		spec.encoding = encoding_from(reader.at("encoding").one_of(encoding_names));
	if (reader.has("body"))
		spec.body = reader.at("body").json();
	if (reader.has("idempotent"))
		spec.idempotent = reader.at("idempotent").boolean();
	if (reader.has("response")) {
		Reader response = reader.at("response");
		if (response.has("wait"))
			response.at("wait").fail("belongs to the response that all operations share");
		spec.response = read_response(response);
	}
	read_batch(reader, spec);
	read_encoding(reader, spec);
	return spec;
}

Requests read_requests(const Reader &reader, bool from_sync) {
	Requests requests;
	reader.each([&](const std::string &key, const Reader &entry) {
		if (std::find(request_keys.begin(), request_keys.end(), key) == request_keys.end()) {
			std::string allowed;
			for (auto name : request_keys)
				(allowed += allowed.empty() ? "" : ", ") += name;
			throw Error("22023", reader.place() + " has unknown operation \"" + key + "\"",
			            "Operations: " + allowed + ".");
		}
		if (!entry.json().is_null())
			requests.emplace(key, read_request(entry, from_sync));
	});
	return requests;
}

LimitSpec read_limits(const Reader &reader) {
	reader.only_keys({"batch_size", "batch_bytes", "record_bytes", "concurrency", "unique", "rate", "rate_key"});
	LimitSpec limits;
	auto number = [&](const char *key, std::int64_t most) -> std::optional<std::size_t> {
		if (!reader.has(key))
			return std::nullopt;
		return static_cast<std::size_t>(reader.at(key).integer(1, most));
	};
	limits.batch_size = number("batch_size", 1'000'000);
	limits.batch_bytes = number("batch_bytes", 1 << 30);
	limits.record_bytes = number("record_bytes", 1 << 30);
	limits.concurrency = number("concurrency", 1000);
	if (reader.has("unique"))
		limits.unique = reader.at("unique").text();
	limits.rate_text = reader.text_or("rate", "");
	if (reader.has("rate"))
		limits.rate = parse_rate(reader.at("rate").text(), reader.at("rate").place());
	if (reader.has("rate_key"))
		limits.rate_key = reader.at("rate_key").text();
	return limits;
}

IdempotencySpec read_idempotency(const Reader &reader, IdempotencySpec base) {
	if (reader.json().is_boolean()) {
		base.on = reader.boolean();
		return base;
	}
	reader.only_keys({"header", "key", "honoured"});
	base.on = true;
	if (reader.has("header")) {
		base.header = reader.at("header").text();
		nlohmann::ordered_json name = {{base.header, ""}};
		read_headers(Reader(name, reader.place())); // the same rules as for any header
	}
	base.key = reader.text_or("key", base.key);
	base.honoured = reader.boolean_or("honoured", base.honoured);
	return base;
}

std::string serving_key(const Requests &requests, Operation operation, Change change) {
	auto first = [&](std::initializer_list<std::string> keys) -> std::string {
		for (auto &key : keys)
			if (requests.contains(key))
				return key;
		return {};
	};
	switch (operation) {
	case Operation::insert:
		return first({"insert", "upsert"});
	case Operation::update:
		return first({"update", "upsert"});
	case Operation::upsert:
		return first({"upsert", change == Change::added ? "insert" : "update"});
	case Operation::clear:
		return first({"clear", "update", "upsert"});
	case Operation::event:
		return first({"event", "insert", "upsert"});
	case Operation::message:
		return first({"message." + std::string(to_text(change)), "message"});
	case Operation::add:
		return first({"add", "upsert", "insert"});
	case Operation::remove:
		return first({"remove", "delete"});
	case Operation::del:
		return first({"delete"});
	case Operation::archive:
		return first({"archive"});
	}
	return {};
}

const ObjectSpec *find_object(const Definition &definition, const std::string &object) {
	const ObjectSpec *any = nullptr;
	for (auto &entry : definition.objects) {
		if (entry.name == object)
			return &entry;
		if (entry.name == "*")
			any = &entry;
	}
	return any;
}

Requests requests_for(const Definition &definition, const std::string &object) {
	Requests requests = definition.requests;
	if (auto found = find_object(definition, object))
		for (auto &[key, spec] : found->requests)
			requests.insert_or_assign(key, spec);
	return requests;
}

std::vector<std::string> served_sync_types(const Requests &requests) {
	std::vector<std::string> types;
	auto has = [&](std::initializer_list<const char *> keys) {
		return std::any_of(keys.begin(), keys.end(), [&](const char *key) { return requests.contains(key); });
	};
	if (has({"upsert", "insert", "update"}))
		types.push_back("objects");
	if (has({"event"}))
		types.push_back("events");
	if (has({"message", "message.added", "message.changed", "message.removed"}))
		types.push_back("notifications");
	if (has({"add"}) && has({"remove", "delete"}))
		types.push_back("segments");
	return types;
}

std::vector<std::string> served_modes(const Requests &requests) {
	auto served = [&](Operation operation, Change change) { return !serving_key(requests, operation, change).empty(); };
	bool upsert = served(Operation::upsert, Change::added) && served(Operation::upsert, Change::changed);
	std::vector<std::string> modes;
	if (upsert)
		modes.push_back("upsert");
	if (served(Operation::insert, Change::added))
		modes.push_back("insert");
	if (served(Operation::update, Change::changed))
		modes.push_back("update");
	if (upsert && served(Operation::del, Change::removed))
		modes.push_back("mirror");
	return modes;
}

} // namespace courier
