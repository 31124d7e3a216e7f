#include "destinations/reader.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/json_text.hpp"

namespace courier {

namespace {

std::string list(std::initializer_list<std::string_view> names) {
	std::string out;
	for (auto name : names)
		(out += out.empty() ? "" : ", ") += name;
	return out;
}

} // namespace

std::string join(const std::vector<std::string> &names) {
	std::string out;
	for (auto &name : names)
		(out += out.empty() ? "" : ", ") += name;
	return out;
}

Reader::Reader(const Json &value, std::string where, std::string path)
    : value_(&value), where_(std::move(where)), path_(std::move(path)) {
}

std::string Reader::place() const {
	return path_.empty() ? where_ : where_ + ": " + path_;
}

void Reader::fail(const std::string &problem, const std::string &detail, const std::string &hint) const {
	throw Error("22023", place() + " " + problem, detail, hint);
}

void Reader::expect_object() const {
	if (!value_->is_object())
		fail("must be an object");
}

void Reader::only_keys(std::initializer_list<std::string_view> allowed) const {
	expect_object();
	for (auto &[key, value] : value_->items())
		if (std::find(allowed.begin(), allowed.end(), key) == allowed.end())
			throw Error("22023", place() + (path_.empty() ? ": " : " has ") + "unknown key \"" + key + "\"",
			            "Keys allowed here: " + list(allowed) + ".");
}

bool Reader::has(const std::string &key) const {
	auto found = value_->is_object() ? value_->find(key) : value_->end();
	return value_->is_object() && found != value_->end() && !found->is_null();
}

Reader Reader::at(const std::string &key) const {
	if (!has(key))
		fail((path_.empty() ? "lacks \"" : "must have \"") + key + "\"");
	return Reader((*value_)[key], where_, path_.empty() ? key : path_ + "." + key);
}

Reader Reader::element(std::size_t index) const {
	return Reader((*value_)[index], where_, path_ + "[" + std::to_string(index) + "]");
}

void Reader::each(const std::function<void(const std::string &, Reader)> &visit) const {
	expect_object();
	for (auto &[key, value] : value_->items())
		visit(key, Reader(value, where_, path_.empty() ? key : path_ + "." + key));
}

std::vector<Reader> Reader::elements() const {
	if (!value_->is_array())
		fail("must be an array");
	std::vector<Reader> out;
	for (std::size_t i = 0; i < value_->size(); ++i)
		out.push_back(element(i));
	return out;
}

std::string Reader::text() const {
	if (!value_->is_string())
		fail("must be text");
	return value_->get<std::string>();
}

bool Reader::boolean() const {
	if (!value_->is_boolean())
		fail("must be true or false");
	return value_->get<bool>();
}

std::int64_t Reader::integer(std::int64_t least, std::int64_t most) const {
	// Whole numbers above 2^63 are unsigned in the parser; nothing here goes that far.
	if (!value_->is_number_integer() || value_->get<double>() < static_cast<double>(least) ||
	    value_->get<double>() > static_cast<double>(most))
		fail("must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
	return value_->get<std::int64_t>();
}

std::vector<std::string> Reader::texts() const {
	std::vector<std::string> out;
	for (auto &entry : elements())
		out.push_back(entry.text());
	return out;
}

std::string Reader::one_of(std::initializer_list<std::string_view> allowed) const {
	std::string value = value_->is_string() ? value_->get<std::string>() : value_->dump();
	if (!value_->is_string() || std::find(allowed.begin(), allowed.end(), value) == allowed.end())
		fail("cannot be \"" + value + "\"", "Allowed: " + list(allowed) + ".");
	return value;
}

std::string Reader::pointer() const {
	std::string value = text();
	if (!json_pointer_path(value))
		fail("must be a JSON pointer", "It is \"" + value + "\".", "A pointer starts with a slash: /errors/0/message.");
	return value;
}

std::string Reader::text_or(const std::string &key, std::string otherwise) const {
	return has(key) ? at(key).text() : otherwise;
}

bool Reader::boolean_or(const std::string &key, bool otherwise) const {
	return has(key) ? at(key).boolean() : otherwise;
}

std::string Reader::pointer_or_empty(const std::string &key) const {
	return has(key) ? at(key).pointer() : std::string();
}

} // namespace courier
