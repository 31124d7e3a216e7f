#pragma once

// What clients that are conversations have in common: an address, credentials, and what a status means for a step.

#include <memory>

#include "core/client.hpp"
#include "destinations/auth.hpp"
#include "destinations/client_settings.hpp"
#include "http/redact.hpp"

namespace courier {

class RestClient : public Client {
public:
	std::optional<Request> authorize(std::chrono::system_clock::time_point now) override;
	std::optional<std::string> authorized(const Answer &answer, std::chrono::system_clock::time_point now) override;
	bool forget_token() override;
	std::optional<std::chrono::milliseconds> wait(const Answer &answer,
	                                              std::chrono::system_clock::time_point now) const override;
	std::string redact(std::string text) const override;

protected:
	RestClient(const ClientSettings &settings, const AuthSpec &auth, std::string base_url);

	// Signed, and with its content type where there is a body.
	Request request(std::string method, std::string path, std::string body, std::string_view content_type,
	                std::chrono::system_clock::time_point now) const;
	// What an answer says where it is not 2xx: retry, throttled, auth, or rejected (of the request as a whole).
	virtual std::optional<RecordVerdict> trouble(const Answer &answer) const;
	// A step's Move for such trouble: the step again, or the end of the conversation for all records.
	static Move move_for(const RecordVerdict &trouble, std::size_t records);
	static std::vector<RecordVerdict> all(std::size_t records, RecordVerdict verdict);
	static RecordVerdict unreadable(std::string message);

	void address(std::string base_url) { base_url_ = std::move(base_url); }
	const std::string &address() const { return base_url_; }
	std::string config(const std::string &key, const std::string &otherwise = {}) const;      // of the destination
	std::string sync_config(const std::string &key, const std::string &otherwise = {}) const; // of the sync
	const ClientSettings settings_;

private:
	std::string base_url_;
	std::unique_ptr<Auth> auth_;
	http::Redactor redactor_;
};

// JSON text of an object with a member before the others.
std::string with_member(std::string_view object, std::string_view name, std::string_view value);
// The text of a field of a record, dots as in a mapping; "" where it is missing or null.
std::string field_text(const Record &record, const std::string &name);

} // namespace courier
