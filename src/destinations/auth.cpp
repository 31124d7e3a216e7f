#include "destinations/auth.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "destinations/mapper.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

using Time = std::chrono::system_clock::time_point;
using Texts = std::map<std::string, std::string>;

struct Kind {
	std::string_view name;
	std::vector<std::string_view> required, optional;        // parameters
	std::vector<std::string_view> secrets, optional_secrets; // kind's names
};

const std::array<Kind, 10> &kinds() {
	static const std::array<Kind, 10> all {{
	    {"none", {}, {}, {}, {}},
	    {"bearer", {}, {"prefix"}, {"token"}, {}},
	    {"basic", {}, {"username", "secret_is"}, {"password"}, {}},
	    {"header", {"name"}, {"prefix"}, {"key"}, {}},
	    {"query", {"name"}, {}, {"key"}, {}},
	    {"oauth2_client_credentials",
	     {"token_url", "client_id"},
	     {"scope", "audience", "client_auth"},
	     {"client_secret"},
	     {}},
	    {"oauth2_refresh_token",
	     {"token_url", "client_id"},
	     {"scope", "client_auth"},
	     {"refresh_token"},
	     {"client_secret"}},
	    {"hmac", {"header"}, {"algorithm", "encoding", "prefix"}, {"key"}, {}},
	    {"standard_webhooks", {}, {}, {"signing_key"}, {}},
	    {"aws_sigv4", {"region", "service", "access_key_id"}, {}, {"secret_access_key"}, {"session_token"}},
	}};
	return all;
}

const Kind &kind_of(const std::string &type) {
	for (auto &kind : kinds())
		if (kind.name == type)
			return kind;
	throw Error("22023", "there is no auth type \"" + type + "\"");
}

class NoAuth : public Auth {
public:
	void sign(Request &, Time, const std::string &) const override {}
};

class HeaderAuth : public Auth {
public:
	HeaderAuth(std::string name, std::string value) : name_(std::move(name)), value_(std::move(value)) {}
	void sign(Request &request, Time, const std::string &) const override {
		request.headers.push_back({name_, value_});
	}

private:
	std::string name_, value_;
};

class QueryAuth : public Auth {
public:
	QueryAuth(const std::string &name, const std::string &key)
	    : pair_(http::percent_encode(name) + "=" + http::percent_encode(key)) {}
	void sign(Request &request, Time, const std::string &) const override {
		request.url += (request.url.find('?') == std::string::npos ? "?" : "&") + pair_;
	}

private:
	std::string pair_;
};

class HmacAuth : public Auth {
public:
	HmacAuth(Texts parameters, std::string key) : parameters_(std::move(parameters)), key_(std::move(key)) {}
	void sign(Request &request, Time, const std::string &) const override {
		auto hash = http::hash_from(value("algorithm", "sha256"));
		std::string signature = http::hmac(hash.value_or(http::Hash::sha256), key_, request.body);
		signature = value("encoding", "hex") == "base64" ? http::base64(signature) : http::hex(signature);
		request.headers.push_back({value("header", ""), value("prefix", "") + signature});
	}

private:
	std::string value(const std::string &name, const std::string &otherwise) const {
		auto found = parameters_.find(name);
		return found == parameters_.end() ? otherwise : found->second;
	}
	Texts parameters_;
	std::string key_;
};

class StandardWebhooks : public Auth {
public:
	explicit StandardWebhooks(std::string key) : key_(std::move(key)) {}
	void sign(Request &request, Time now, const std::string &id) const override {
		http::sign_standard_webhook(request, id, now, key_);
	}

private:
	std::string key_;
};

class AwsAuth : public Auth {
public:
	AwsAuth(Texts parameters, std::string secret, std::string token)
	    : parameters_(std::move(parameters)), secret_(std::move(secret)), token_(std::move(token)) {}
	void sign(Request &request, Time now, const std::string &) const override {
		http::sign_aws_v4(request, {parameters_.at("region"), parameters_.at("service")},
		                  {parameters_.at("access_key_id"), secret_, token_}, now);
	}

private:
	Texts parameters_;
	std::string secret_, token_;
};

// A token is asked for when it is needed, and kept until shortly before it ends; the margin covers the requests that are
// under way when it does. Rotated refresh tokens live as long as this process.
class OAuth2 : public Auth {
public:
	OAuth2(const AuthSpec &spec, Texts secrets)
	    : refresh_(spec.type == "oauth2_refresh_token"), parameters_(spec.parameters), secrets_(std::move(secrets)) {}

	void sign(Request &request, Time, const std::string &) const override {
		request.headers.push_back({"Authorization", "Bearer " + token_});
	}

	std::optional<Request> authorize(Time now) override {
		if (!token_.empty() && (!until_ || now < *until_))
			return std::nullopt;
		Request request;
		request.method = "POST";
		request.url = parameters_.at("token_url");
		request.idempotent = true; // a second token does no harm
		request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}};
		auto add = [&](std::string_view name, const std::string &value) {
			((request.body += request.body.empty() ? "" : "&") += name) += "=" + http::percent_encode(value);
		};
		add("grant_type", refresh_ ? "refresh_token" : "client_credentials");
		if (refresh_)
			add("refresh_token", secrets_.at("refresh_token"));
		for (const char *name : {"scope", "audience"})
			if (auto found = parameters_.find(name); found != parameters_.end())
				add(name, found->second);
		const std::string &client = parameters_.at("client_id");
		auto secret = secrets_.find("client_secret");
		auto how = parameters_.find("client_auth");
		if (how != parameters_.end() && how->second == "basic") {
			// RFC 6749, 2.3.1: both are form-encoded first.
			std::string pair = http::percent_encode(client) + ":" +
			                   (secret == secrets_.end() ? "" : http::percent_encode(secret->second));
			request.headers.push_back({"Authorization", "Basic " + http::base64(pair)});
		} else {
			add("client_id", client);
			if (secret != secrets_.end())
				add("client_secret", secret->second);
		}
		return request;
	}

	std::optional<std::string> authorized(const Answer &answer, Time now) override {
		auto json = nlohmann::json::parse(answer.body, nullptr, false);
		auto text = [&](const char *name) {
			return json.is_object() && json.contains(name) && json[name].is_string() ? json[name].get<std::string>()
			                                                                         : std::string();
		};
		if (answer.transfer != Transfer::complete)
			return "the token was not given: " + clean_text(answer.error, 500);
		if (answer.status < 200 || answer.status > 299 || text("access_token").empty()) {
			std::string reason = text("error");
			if (!text("error_description").empty())
				reason += (reason.empty() ? "" : ": ") + text("error_description");
			return "the token was not given: status " + std::to_string(answer.status) +
			       (reason.empty() ? ", and no access_token in the answer" : ", " + clean_text(reason, 500));
		}
		token_ = text("access_token");
		if (std::any_of(token_.begin(), token_.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; })) {
			token_.clear();
			return "the token that was given cannot stand in a header";
		}
		if (!text("refresh_token").empty() && refresh_)
			secrets_["refresh_token"] = text("refresh_token");
		until_.reset();
		double seconds = 0;
		if (json.contains("expires_in") && json["expires_in"].is_number())
			seconds = json["expires_in"].get<double>();
		else if (!text("expires_in").empty()) // some write the number as text
			seconds = std::strtod(text("expires_in").c_str(), nullptr);
		if (seconds > 0) {
			seconds = std::min(seconds, 365.0 * 86400);
			seconds -= std::min(60.0, seconds / 10);
			until_ = now + std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
		}
		return std::nullopt;
	}

	bool forget_token() override {
		token_.clear();
		until_.reset();
		return true;
	}

	std::vector<std::string> hidden() const override {
		std::vector<std::string> texts;
		if (!token_.empty())
			texts.push_back(token_);
		if (refresh_)
			texts.push_back(secrets_.at("refresh_token"));
		return texts;
	}

private:
	bool refresh_;
	Texts parameters_, secrets_;
	std::string token_;
	std::optional<Time> until_;
};

} // namespace

AuthSpec read_auth(const Reader &reader) {
	reader.expect_object();
	AuthSpec spec;
	spec.type = reader.at("type").one_of({"none", "bearer", "basic", "header", "query", "oauth2_client_credentials",
	                                      "oauth2_refresh_token", "hmac", "standard_webhooks", "aws_sigv4"});
	const Kind &kind = kind_of(spec.type);
	auto contains = [](auto &names, const std::string &name) {
		return std::find(names.begin(), names.end(), name) != names.end();
	};
	reader.each([&](const std::string &key, const Reader &value) {
		if (key == "type" || value.json().is_null())
			return;
		if (key == "secret" && kind.secrets.size() == 1) { // another name for the one secret
			spec.secret_names[std::string(kind.secrets[0])] = value.text();
			return;
		}
		if (!contains(kind.required, key) && !contains(kind.optional, key)) {
			std::string allowed = "type";
			for (auto &names : {kind.required, kind.optional})
				for (auto name : names)
					(allowed += ", ") += name;
			if (kind.secrets.size() == 1)
				allowed += ", secret";
			std::string hint;
			if (contains(kind.secrets, key) || contains(kind.optional_secrets, key))
				hint = "A secret belongs into the destination's secrets, not into its config.";
			throw Error("22023", reader.place() + " has unknown key \"" + key + "\"",
			            "Keys of auth type " + spec.type + ": " + allowed + ".", hint);
		}
		spec.parameters[key] = value.text();
	});
	for (auto name : kind.required)
		if (!spec.parameters.contains(std::string(name)))
			reader.fail("of type " + spec.type + " needs \"" + std::string(name) + "\"");
	auto choice = [&](const char *key, std::initializer_list<std::string_view> allowed) {
		if (spec.parameters.contains(key) && spec.parameters[key].find("{{") == std::string::npos)
			reader.at(key).one_of(allowed);
	};
	choice("algorithm", {"sha1", "sha256", "sha512"});
	choice("encoding", {"hex", "base64"});
	choice("client_auth", {"body", "basic"});
	choice("secret_is", {"password", "username"});
	if (spec.type == "basic") { // some take a key as the user, and no password
		bool key_is_user = spec.parameters.contains("secret_is") && spec.parameters["secret_is"] == "username";
		if (key_is_user && spec.parameters.contains("username"))
			reader.fail("has a username, and secret_is says that the secret is one");
		if (!key_is_user && !spec.parameters.contains("username"))
			reader.fail("of type basic needs \"username\"", {},
			            R"(Or say "secret_is": "username", where a key is the user and there is no password.)");
	}
	for (auto &[name, text] : spec.parameters)
		if ((name == "name" || name == "header" || name == "prefix") &&
		    std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
			reader.at(name).fail("may not have control characters");
	return spec;
}

std::vector<std::pair<std::string, bool>> secrets_of(const AuthSpec &spec) {
	const Kind &kind = kind_of(spec.type);
	std::vector<std::pair<std::string, bool>> out;
	for (auto name : kind.secrets) {
		auto renamed = spec.secret_names.find(std::string(name));
		out.emplace_back(renamed == spec.secret_names.end() ? std::string(name) : renamed->second, true);
	}
	for (auto name : kind.optional_secrets)
		out.emplace_back(std::string(name), false);
	return out;
}

std::unique_ptr<Auth> make_auth(const AuthSpec &spec, const Texts &secrets) {
	auto secret = [&](const char *name) -> std::string {
		auto renamed = spec.secret_names.find(name);
		auto found = secrets.find(renamed == spec.secret_names.end() ? name : renamed->second);
		return found == secrets.end() ? std::string() : found->second;
	};
	auto parameter = [&](const char *name, const char *otherwise) {
		auto found = spec.parameters.find(name);
		return found == spec.parameters.end() ? std::string(otherwise) : found->second;
	};
	// A secret read from a file that an editor ended with a line break is refused here by name: in a header it would cut
	// the request in two.
	for (auto &[name, value] : secrets)
		if (spec.type != "hmac" && spec.type != "standard_webhooks" && name != "client_key" &&
		    std::any_of(value.begin(), value.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
			throw Error("22023", "secret \"" + name + "\" has control characters (a line break?)", {},
			            "Remove them from the file or variable.");
	if (spec.type == "bearer")
		return std::make_unique<HeaderAuth>("Authorization", parameter("prefix", "Bearer ") + secret("token"));
	if (spec.type == "basic")
		return std::make_unique<HeaderAuth>(
		    "Authorization",
		    "Basic " + http::base64(parameter("secret_is", "") == std::string_view("username")
		                                ? secret("password") + ":"
		                                : parameter("username", "") + ":" + secret("password")));
	if (spec.type == "header")
		return std::make_unique<HeaderAuth>(parameter("name", ""), parameter("prefix", "") + secret("key"));
	if (spec.type == "query")
		return std::make_unique<QueryAuth>(parameter("name", ""), secret("key"));
	if (spec.type == "hmac")
		return std::make_unique<HmacAuth>(spec.parameters, secret("key"));
	if (spec.type == "standard_webhooks")
		return std::make_unique<StandardWebhooks>(secret("signing_key"));
	if (spec.type == "aws_sigv4")
		return std::make_unique<AwsAuth>(spec.parameters, secret("secret_access_key"), secret("session_token"));
	if (spec.type.starts_with("oauth2")) {
		Texts own;
		for (const char *name : {"client_secret", "refresh_token"})
			if (auto value = secret(name); !value.empty() || std::string_view(name) == "refresh_token")
				own.emplace(name, value);
		return std::make_unique<OAuth2>(spec, std::move(own));
	}
	return std::make_unique<NoAuth>();
}

} // namespace courier
