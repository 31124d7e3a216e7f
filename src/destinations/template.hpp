#pragma once

// Templates of requests: "/contacts/{{ id }}". A template is compiled once, against the names that exist (a Scope), and
// then appends to one string per request. The record is never parsed into a document: a placeholder is a raw slice of the
// record's JSON text, so a number of 40 digits leaves as it came.
//
// A placeholder that stands alone in a JSON body keeps its JSON type; a field that the record does not have (a field
// that is omitted when null, or not among the changed ones) takes its member with it, so it is never sent as null.

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/record.hpp"
#include "destinations/pipes.hpp"

namespace courier {

class Messages; // message.hpp

enum class Source {
	field,
	record,
	rest,
	values,
	fields,
	index,
	records,
	key,
	key_column,
	previous,
	remote_id,
	change,
	operation,
	idempotency_key,
	message,
	constant
};

struct Placeholder;

struct PipeCall {
	Pipe pipe = Pipe::text;
	std::string argument;
	std::shared_ptr<const Placeholder> other; // of "default": what stands in
};

struct Placeholder {
	Source source = Source::constant;
	std::vector<std::string> path; // of field, key_column, previous
	std::string name;              // as it was written, for messages
	std::string constant;          // JSON text: config, secret, run_id, sync, object
	std::shared_ptr<const Messages> messages; // of message
	std::vector<PipeCall> pipes;
	bool optional = false; // with "default" or "optional": the field need not be mapped
};

// Called with every placeholder of a template, those of "default" included.
using PlaceholderVisitor = std::function<void(const Placeholder &)>;

// The names that a template may use, and where it stands.
struct Scope {
	std::string where;                               // "requests.upsert.path", for messages
	std::optional<std::vector<std::string>> fields;  // mapped fields; nullopt: not known yet, any name may be one
	std::optional<std::vector<std::string>> removed; // what a removal's record has, where this request serves removals
	std::optional<std::vector<std::string>> key;     // primary key columns; nullopt: not known
	std::optional<std::vector<std::string>> match;   // fields to match on; nullopt: not known yet
	std::map<std::string, nlohmann::json> config;    // {{ config.x }}
	std::map<std::string, std::string> secrets;      // {{ secret.x }}, only in what the destination's owner wrote
	bool secrets_allowed = false;
	bool constants_only = false; // base_url, auth: nothing of a record
	std::shared_ptr<const Messages> messages; // {{ message }}; null: no such name
	bool digest = false;                      // a request for a whole run: nothing of one record
	std::string run_id, sync, object;
};

struct RenderInput {
	std::span<const Record> batch;
	std::span<const std::size_t> records; // the members of the batch that {{ records }} holds
	std::span<const std::string> elements = {}; // what it holds of each, where there is an `each`
	std::span<const std::string> names = {};    // and under which name, where there is an `each_key`
	const Record *record = nullptr;       // the one that the other names speak of
	Operation operation = Operation::upsert;
	std::string_view idempotency_key;
	std::size_t index = 0;                                           // {{ index }}
	const std::vector<std::string> *columns = nullptr;               // {{ fields }}, and the order of {{ values }}
	const std::vector<std::vector<std::string>> *rest_lacks = nullptr; // what {{ rest }} leaves out
};

// Thrown by append(): this record cannot be rendered (bad_path_value, unknown_remote_id, bad_header_value).
struct Unrenderable {
	std::string code, message;
};

enum class Context { path, query, header, text, json_string };

class TextTemplate {
public:
	TextTemplate() = default;
	TextTemplate(std::string_view text, const Scope &scope, Context context);

	void append(std::string &out, const RenderInput &input) const;
	std::string render(const RenderInput &input) const;
	bool constant() const;
	bool uses(Source source) const;
	void visit(const PlaceholderVisitor &visitor) const;
	bool empty() const { return parts_.empty(); }
	// True when the template is one placeholder and nothing else, and that is null or absent now.
	bool is_null(const RenderInput &input) const;

private:
	struct Part {
		std::string literal;
		std::optional<Placeholder> placeholder;
	};
	std::vector<Part> parts_;
	Context context_ = Context::text;
	friend class JsonTemplate;
};

class JsonTemplate {
public:
	JsonTemplate() = default;
	JsonTemplate(const nlohmann::ordered_json &document, const Scope &scope);

	void append(std::string &out, const RenderInput &input) const;
	bool uses(Source source) const;
	void visit(const PlaceholderVisitor &visitor) const;
	bool is_array() const { return root_.kind == Node::Kind::array; }
	std::size_t elements() const { return root_.children.size(); }
	void append_element(std::size_t index, std::string &out, const RenderInput &input) const;

private:
	struct Node {
		enum class Kind { literal, value, text, object, array } kind = Kind::literal;
		std::string literal;            // JSON text; of a member: nothing
		Placeholder value;              // kind value
		TextTemplate text;              // kind text
		std::vector<TextTemplate> names; // kind object: names of the members
		std::vector<Node> children;
	};
	static Node compile(const nlohmann::ordered_json &value, const Scope &scope);
	static void append(const Node &node, std::string &out, const RenderInput &input);
	static void visit(const Node &node, const PlaceholderVisitor &visitor);
	Node root_;
};

// The placeholder that the whole text consists of.
std::optional<Placeholder> only_placeholder(std::string_view text, const Scope &scope);

} // namespace courier
