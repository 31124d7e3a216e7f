#pragma once

// What the tests of destinations share: records, a client for type http or for a definition, requests as one text.

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "destinations/registry.hpp"

namespace courier::test {

inline const std::chrono::system_clock::time_point noon {std::chrono::seconds(1700000000)};

inline Record record(const std::string &fields, Change change = Change::added) {
	Record out;
	out.change = change;
	out.fields = fields;
	out.key = "7";
	out.key_json = R"({"id":7})";
	out.idempotency_key = "idem-1";
	return out;
}

struct Wanted {
	nlohmann::json definition, config = nlohmann::json::object(), sync_config = nlohmann::json::object();
	std::map<std::string, std::string> secrets;
	std::string mode = "upsert", sync_type = "objects", object;
	std::size_t batch_size = 0;
};

inline ClientSettings settings(const Wanted &wanted) {
	ClientSettings out;
	out.type = wanted.definition.is_null() ? "http" : "made";
	out.definition = wanted.definition;
	out.destination = "crm";
	out.config = wanted.config;
	if (wanted.definition.is_null() && !out.config.contains("base_url"))
		out.config["base_url"] = "https://api.example.com/v1";
	out.sync_config = wanted.sync_config;
	out.secrets = wanted.secrets;
	out.sync = "contacts";
	out.mode = wanted.mode;
	out.sync_type = wanted.sync_type;
	out.object = wanted.object;
	out.batch_size = wanted.batch_size;
	out.run_id = "42";
	return out;
}

inline std::unique_ptr<Client> client(const Wanted &wanted) {
	return make_client(settings(wanted));
}

// The request as it would be seen on the wire: method and url, a line per header, an empty line, the body.
inline std::string show(const Request &request) {
	std::string out = request.method + " " + request.url + "\n";
	for (auto &header : request.headers)
		out += header.name + ": " + header.value + "\n";
	return out + "\n" + request.body;
}

inline std::string golden(const Wanted &wanted, Operation operation, const std::vector<Record> &batch) {
	return show(client(wanted)->render(operation, batch, noon).request);
}

inline nlohmann::json parsed(const char *text) {
	return nlohmann::json::parse(text);
}

// Runs it and gives back the Error; fails when there is none.
template <class F> Error error_of(F fn) {
	try {
		fn();
	} catch (const Error &error) {
		return error;
	}
	ADD_FAILURE() << "no error";
	return Error("00000", "");
}

inline bool has(const std::string &text, const std::string &part) {
	return text.find(part) != std::string::npos;
}

inline Answer answer(int status, std::string body = {}, std::vector<Header> headers = {}) {
	Answer out;
	out.status = status;
	out.body = std::move(body);
	out.headers = std::move(headers);
	return out;
}

} // namespace courier::test
