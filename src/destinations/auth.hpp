#pragma once

// How a request proves who it is. Everything here is applied last, to the final bytes: signatures cover them.

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/transport.hpp"
#include "destinations/reader.hpp"

namespace courier {

// As it stands in a config or a definition. Texts are templates over config keys and secrets.
struct AuthSpec {
	std::string type = "none";
	std::map<std::string, std::string> parameters;
	std::map<std::string, std::string> secret_names; // the kind's name for a secret -> the destination's
};

AuthSpec read_auth(const Reader &reader);

// The secrets that this needs (destination's names), and whether each is required.
std::vector<std::pair<std::string, bool>> secrets_of(const AuthSpec &spec);

class Auth {
public:
	virtual ~Auth() = default;
	virtual void sign(Request &request, std::chrono::system_clock::time_point now, const std::string &id) const = 0;
	// Tokens; see Client.
	virtual std::optional<Request> authorize(std::chrono::system_clock::time_point) { return std::nullopt; }
	virtual std::optional<std::string> authorized(const Answer &, std::chrono::system_clock::time_point) {
		return std::nullopt;
	}
	virtual bool forget_token() { return false; }
	// What has to be redacted besides the destination's secrets.
	virtual std::vector<std::string> hidden() const { return {}; }
};

// `parameters` are rendered already.
std::unique_ptr<Auth> make_auth(const AuthSpec &spec, const std::map<std::string, std::string> &secrets);

} // namespace courier
