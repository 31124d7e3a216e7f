#pragma once

// Walks a piece of configuration and says exactly where it is wrong: every error names the path inside the document and
// lists what is allowed there.

#include <chrono>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace courier {

class Reader {
public:
	using Json = nlohmann::ordered_json;

	// `where` is the document ("definition of destination type \"x\""); `path` grows as one descends.
	Reader(const Json &value, std::string where, std::string path = {});

	const Json &json() const { return *value_; }
	const std::string &path() const { return path_; }
	std::string place() const; // "definition of ...: requests.upsert"

	// The value is an object with no other keys than these.
	void only_keys(std::initializer_list<std::string_view> allowed) const;
	bool has(const std::string &key) const; // present and not null
	Reader at(const std::string &key) const;
	Reader element(std::size_t index) const;

	void each(const std::function<void(const std::string &, Reader)> &visit) const; // members of an object
	std::vector<Reader> elements() const;                                           // of an array

	std::string text() const;
	bool boolean() const;
	std::int64_t integer(std::int64_t least, std::int64_t most) const;
	std::vector<std::string> texts() const; // an array of strings
	std::string one_of(std::initializer_list<std::string_view> allowed) const;
	std::string pointer() const; // RFC 6901, checked

	std::string text_or(const std::string &key, std::string otherwise) const;
	bool boolean_or(const std::string &key, bool otherwise) const;
	std::string pointer_or_empty(const std::string &key) const;

	[[noreturn]] void fail(const std::string &problem, const std::string &detail = {},
	                       const std::string &hint = {}) const;
	void expect_object() const;

private:
	const Json *value_;
	std::string where_, path_;
};

std::string join(const std::vector<std::string> &names);

} // namespace courier
