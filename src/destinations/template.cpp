#include "destinations/template.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/placeholder.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

void check_path_literal(const std::string &text, const Scope &scope) {
	for (unsigned char c : text)
		if (c <= ' ' || c == 0x7f || c == '#' || c == '\\')
			throw Error("22023", scope.where + " has a character that may not stand in a path", {},
			            "Percent-encode it; parameters belong into \"query\".");
}

// A value may hide half of a "..": the whole segments are looked at, after rendering.
bool has_dot_segment(std::string_view path) {
	path = path.substr(0, path.find('?'));
	for (std::size_t start = 0; start <= path.size();) {
		std::size_t slash = std::min(path.find('/', start), path.size());
		if (is_dot_segment(path.substr(start, slash - start)))
			return true;
		start = slash + 1;
	}
	return false;
}

} // namespace

TextTemplate::TextTemplate(std::string_view text, const Scope &scope, Context context) : context_(context) {
	auto literal = [&](std::string_view part) {
		if (part.empty())
			return;
		Part piece;
		if (context == Context::json_string) {
			std::string quoted = json_string(part);
			piece.literal = quoted.substr(1, quoted.size() - 2);
		} else {
			piece.literal = part;
		}
		if (context == Context::path || context == Context::query)
			check_path_literal(piece.literal, scope);
		if (context == Context::header)
			for (unsigned char c : piece.literal)
				if (c < ' ' || c == 0x7f)
					throw Error("22023", scope.where + ": a header may not have control characters");
		parts_.push_back(std::move(piece));
	};
	std::size_t start = 0;
	while (true) {
		std::size_t open = text.find("{{", start);
		if (open == std::string_view::npos)
			break;
		std::size_t close = placeholder_end(text, open + 2);
		if (close == std::string_view::npos)
			throw Error("42601", scope.where + ": \"{{\" without \"}}\"", {},
			            "Write {{ '{{' }} for the braces themselves.");
		literal(text.substr(start, open - start));
		Part piece;
		piece.placeholder = parse_placeholder(text.substr(open + 2, close - open - 2), scope);
		constexpr Source whole[] = {Source::record, Source::records, Source::rest, Source::values, Source::fields};
		if (context == Context::json_string && piece.placeholder->pipes.empty() &&
		    std::find(std::begin(whole), std::end(whole), piece.placeholder->source) != std::end(whole))
			throw Error("22023",
			            scope.where + ": {{ " + piece.placeholder->name + " }} can only stand alone in a JSON string",
			            {}, "Write {{ " + piece.placeholder->name + " | json_text }} for its text inside a string.");
		parts_.push_back(std::move(piece));
		start = close + 2;
	}
	literal(text.substr(start));
	if (context == Context::path && constant() && has_dot_segment(text))
		throw Error("22023", scope.where + ": \".\" and \"..\" may not stand in a path");
}

void TextTemplate::append(std::string &out, const RenderInput &input) const {
	std::size_t start = out.size();
	for (auto &part : parts_) {
		if (!part.placeholder) {
			out += part.literal;
			continue;
		}
		std::optional<std::string> value = placeholder_text(*part.placeholder, input);
		switch (context_) {
		case Context::path:
			if (!value || value->empty() || is_dot_segment(*value))
				throw Unrenderable {"bad_path_value", "{{ " + part.placeholder->name + " }} in the path is " +
				                                          (!value           ? "null"
				                                           : value->empty() ? "empty"
				                                                            : "\"" + *value + "\"")};
			out += http::percent_encode(*value);
			break;
		case Context::query:
			out += http::percent_encode(value.value_or(""));
			break;
		case Context::header:
			for (unsigned char c : value.value_or(""))
				if (c < ' ' || c == 0x7f)
					throw Unrenderable {"bad_header_value",
					                    "{{ " + part.placeholder->name +
					                        " }} has control characters, which a header may not have"};
			out += value.value_or("");
			break;
		case Context::text:
			out += value.value_or("");
			break;
		case Context::json_string: {
			std::string quoted = json_string(value.value_or(""));
			out.append(quoted, 1, quoted.size() - 2);
			break;
		}
		}
	}
	if (context_ == Context::path && has_dot_segment(std::string_view(out).substr(start)))
		throw Unrenderable {"bad_path_value", "a segment of the path is \".\" or \"..\""};
}

std::string TextTemplate::render(const RenderInput &input) const {
	std::string out;
	append(out, input);
	return out;
}

bool TextTemplate::constant() const {
	return std::none_of(parts_.begin(), parts_.end(), [](const Part &part) {
		return part.placeholder && part.placeholder->source != Source::constant;
	});
}

void TextTemplate::visit(const PlaceholderVisitor &visitor) const {
	for (auto &part : parts_)
		if (part.placeholder)
			visit_placeholder(*part.placeholder, visitor);
}

bool TextTemplate::uses(Source source) const {
	bool found = false;
	visit([&](const Placeholder &placeholder) { found = found || placeholder.source == source; });
	return found;
}

bool TextTemplate::is_null(const RenderInput &input) const {
	return parts_.size() == 1 && parts_[0].placeholder && !placeholder_text(*parts_[0].placeholder, input);
}

std::optional<Placeholder> only_placeholder(std::string_view text, const Scope &scope) {
	if (!text.starts_with("{{") || text.size() < 4 || placeholder_end(text, 2) != text.size() - 2)
		return std::nullopt;
	return parse_placeholder(text.substr(2, text.size() - 4), scope);
}

JsonTemplate::JsonTemplate(const nlohmann::ordered_json &document, const Scope &scope)
    : root_(compile(document, scope)) {
}

JsonTemplate::Node JsonTemplate::compile(const nlohmann::ordered_json &value, const Scope &scope) {
	Node node;
	if (value.is_string()) {
		const auto &text = value.get_ref<const std::string &>();
		if (auto placeholder = only_placeholder(text, scope)) {
			node.kind = Node::Kind::value;
			node.value = std::move(*placeholder);
		} else if (text.find("{{") != std::string::npos) {
			node.kind = Node::Kind::text;
			node.text = TextTemplate(text, scope, Context::json_string);
		} else {
			json_append_string(node.literal, text);
		}
		return node;
	}
	if (!value.is_structured()) {
		node.literal = value.dump();
		return node;
	}
	node.kind = value.is_object() ? Node::Kind::object : Node::Kind::array;
	bool literal = true;
	for (auto &[name, child] : value.items()) {
		if (value.is_object()) {
			node.names.emplace_back(name, scope, Context::json_string);
			literal = literal && name.find("{{") == std::string::npos;
		}
		node.children.push_back(compile(child, scope));
		literal = literal && node.children.back().kind == Node::Kind::literal;
	}
	if (literal && value.is_object()) { // nothing to fill in: one piece of text
		node.kind = Node::Kind::literal;
		node.literal = value.dump();
	}
	return node;
}

void JsonTemplate::append(const Node &node, std::string &out, const RenderInput &input) {
	switch (node.kind) {
	case Node::Kind::literal:
		out += node.literal;
		return;
	case Node::Kind::text:
		out += '"';
		node.text.append(out, input);
		out += '"';
		return;
	case Node::Kind::value:
		if (!append_value(out, node.value, input))
			out += "null";
		return;
	case Node::Kind::object: {
		out += '{';
		bool first = true;
		for (std::size_t i = 0; i < node.children.size(); ++i) {
			auto &child = node.children[i];
			std::size_t before = out.size();
			if (!first)
				out += ',';
			out += '"';
			std::size_t name = out.size();
			node.names[i].append(out, input);
			if (out.size() == name && !node.names[i].empty())
				throw Unrenderable {"bad_value", "the name of a member of the body is null or empty"};
			out += "\":";
			if (child.kind == Node::Kind::value) {
				if (!append_value(out, child.value, input)) {
					out.resize(before); // the record has no such field: neither has the body
					continue;
				}
			} else {
				append(child, out, input);
			}
			first = false;
		}
		out += '}';
		return;
	}
	case Node::Kind::array: {
		out += '[';
		bool first = true;
		for (auto &child : node.children) {
			std::size_t before = out.size();
			if (!first)
				out += ',';
			if (child.kind == Node::Kind::value && child.value.optional) {
				if (!append_value(out, child.value, input)) {
					out.resize(before);
					continue;
				}
			} else {
				append(child, out, input);
			}
			first = false;
		}
		out += ']';
		return;
	}
	}
}

void JsonTemplate::append(std::string &out, const RenderInput &input) const {
	append(root_, out, input);
}

void JsonTemplate::append_element(std::size_t index, std::string &out, const RenderInput &input) const {
	append(root_.children[index], out, input);
}

void JsonTemplate::visit(const Node &node, const PlaceholderVisitor &visitor) {
	if (node.kind == Node::Kind::value)
		visit_placeholder(node.value, visitor);
	node.text.visit(visitor);
	for (auto &name : node.names)
		name.visit(visitor);
	for (auto &child : node.children)
		visit(child, visitor);
}

void JsonTemplate::visit(const PlaceholderVisitor &visitor) const {
	visit(root_, visitor);
}

bool JsonTemplate::uses(Source source) const {
	bool found = false;
	visit([&](const Placeholder &placeholder) { found = found || placeholder.source == source; });
	return found;
}

} // namespace courier
