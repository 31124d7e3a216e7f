#pragma once

// The client of every destination that is described as data: one request and one answer per batch. `http` and the types
// that users make take this same path.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/client.hpp"
#include "destinations/client_settings.hpp"
#include "destinations/definition.hpp"
#include "destinations/request_template.hpp"
#include "http/redact.hpp"

namespace courier {

class DeclarativeClient : public Client {
public:
	DeclarativeClient(Definition definition, const ClientSettings &settings);

	Limits limits(Operation operation) const override;
	bool has(Operation operation) const override;
	std::optional<Operation> serves(Operation wanted, Change change) const override;
	bool names_remote_id(Operation operation, Change change) const override;
	Placement placement(Operation operation, const Record &record) const override;

	std::optional<Request> authorize(std::chrono::system_clock::time_point now) override;
	std::optional<std::string> authorized(const Answer &answer, std::chrono::system_clock::time_point now) override;
	bool forget_token() override;

	Rendered render(Operation operation, std::span<const Record> batch,
	                std::chrono::system_clock::time_point now) override;
	std::vector<RecordVerdict> classify(Operation operation, const Rendered &rendered, std::span<const Record> batch,
	                                    const Answer &answer) const override;
	std::optional<std::chrono::milliseconds> wait(const Answer &answer,
	                                              std::chrono::system_clock::time_point now) const override;
	Request test(std::chrono::system_clock::time_point now) override;
	std::optional<Tested> tested(const Answer &answer, std::chrono::system_clock::time_point now) override;
	std::string redact(std::string text) const override;

protected:
	// A request that no template says: below base_url, with the destination's headers and credentials.
	Request plain_request(std::string method, std::string path, std::string json,
	                      std::chrono::system_clock::time_point now) const;
	std::string path_of(const Request &request) const; // what follows base_url
	bool may_repeat(Operation operation) const;        // its request may be sent again when the answer was lost
	const std::string &base_url() const { return base_url_; }
	void hide(std::string_view secret) { redactor_.add_secret(secret); } // one that an answer gave

private:
	const RequestTemplate *find(Operation operation, Change change) const;
	const Response &response_to(Operation operation, Change change) const;
	std::size_t batch_records(const RequestTemplate &request) const;
	void finish(Request &request, const std::string &idempotency_key, std::chrono::system_clock::time_point now) const;
	std::string batch_key(std::span<const Record> batch, std::span<const std::size_t> records) const;

	Definition definition_;
	Requests specs_;
	Response response_;
	LimitSpec limits_;
	std::string object_;
	std::string base_url_;
	std::vector<std::pair<std::string, TextTemplate>> headers_;
	std::map<std::string, RequestTemplate> requests_; // by key
	std::optional<RequestTemplate> default_, default_message_, test_;
	std::optional<TextTemplate> rate_key_;
	TextTemplate idempotency_;
	std::shared_ptr<const Messages> messages_; // null: none
	std::unique_ptr<Auth> auth_;
	http::Redactor redactor_;
	std::size_t batch_size_;
	std::chrono::milliseconds timeout_;
	bool changes_objects_; // the mode has updates: a record that exists already can be retried as changed
};

// What a destination's own config puts in place of what its type's definition says: base_url, idempotency.
void apply_destination_config(Definition &definition, const std::string &destination,
                              const nlohmann::ordered_json &config);
// Definition, object and scope put together for a destination or sync; also what validation compiles against.
Definition definition_of(const ClientSettings &settings);
Scope scope_of(const Definition &definition, const ClientSettings &settings);
std::string render_base_url(const Definition &definition, const Scope &scope);
AuthSpec render_auth(const Definition &definition, const Scope &scope);

} // namespace courier
