#include "destinations/mustache.hpp"

#include <kainjow/mustache.hpp>

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "core/error.hpp"
#include "core/json_text.hpp"

// The library asks a context for a name and does not say what for: as a variable, false is the text "false"; as a section,
// it is nothing. So the template is written anew before the library sees it, and each variable carries a mark in front of
// its name. The same walk checks syntax and names, with messages of our own.

namespace courier {

namespace {

namespace km = kainjow::mustache;

constexpr char variable_mark = '\x01';
constexpr std::size_t longest_text = 64 << 10, deepest_section = 32;

std::vector<std::string> split(std::string_view name) {
	std::vector<std::string> path;
	std::size_t start = 0;
	for (std::size_t dot; (dot = name.find('.', start)) != std::string_view::npos; start = dot + 1)
		path.emplace_back(name.substr(start, dot - start));
	path.emplace_back(name.substr(start));
	return path;
}

std::string_view trim(std::string_view text) {
	while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ')
		text.remove_prefix(1);
	while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ')
		text.remove_suffix(1);
	return text;
}

const NameTree anything {.members = {}, .open = true};

// Reads the template once: what the library gets, and whether it may be so.
class Reading {
public:
	Reading(std::string_view text, const NameTree *names, const std::string &where) : where_(where) {
		scopes_.push_back(names ? names : &anything);
		if (text.size() > longest_text)
			throw Error("54000", where_ + " is longer than 64 kB");
		if (text.find(variable_mark) != std::string_view::npos)
			throw Error("22023", where_ + " has a control character");
		read(text);
	}
	const std::string &rewritten() const { return out_; }

private:
	void read(std::string_view text) {
		std::size_t start = 0;
		for (std::size_t open; (open = text.find("{{", start)) != std::string_view::npos;) {
			out_ += text.substr(start, open - start);
			bool triple = open + 2 < text.size() && text[open + 2] == '{';
			std::string_view end = triple ? "}}}" : "}}";
			std::size_t inside = open + (triple ? 3 : 2), close = text.find(end, inside);
			if (close == std::string_view::npos)
				throw Error("42601", where_ + ": \"{{\" without \"}}\" at character " + std::to_string(open + 1));
			tag(trim(text.substr(inside, close - inside)), triple);
			start = close + end.size();
		}
		out_ += text.substr(start);
		if (!sections_.empty())
			throw Error("42601", where_ + ": the section {{#" + sections_.back().name + "}} is not closed", {},
			            "Write {{/" + sections_.back().name + "}} where it ends.");
	}

	void tag(std::string_view inside, bool triple) {
		char sigil = triple || inside.empty() ? '&' : inside.front();
		switch (sigil) {
		case '!':
			out_ += "{{!}}";
			return;
		case '>':
			throw Error("0A000", where_ + ": partials ({{> ... }}) are not possible");
		case '=':
			throw Error("0A000", where_ + ": other delimiters ({{= ... =}}) are not possible");
		case '#':
		case '^':
			return section(name_of(inside.substr(1)), sigil);
		case '/':
			return end_section(name_of(inside.substr(1)));
		case '&':
			if (!triple && !inside.empty())
				inside.remove_prefix(1);
			break;
		default:
			break;
		}
		std::string name = name_of(inside);
		look_up(name);
		((out_ += "{{&") += variable_mark) += name + "}}";
	}

	std::string name_of(std::string_view inside) const {
		std::string name(trim(inside));
		if (name.empty())
			throw Error("42601", where_ + ": a tag without a name", {}, "Write {{ field }}.");
		if (name.find_first_of("{}") != std::string::npos)
			throw Error("42601", where_ + ": a name may not have braces: {{ " + name + " }}");
		return name;
	}

	void section(const std::string &name, char sigil) {
		if (sections_.size() >= deepest_section)
			throw Error("54000", where_ + ": sections are nested too deep");
		const NameTree *inner = look_up(name);
		sections_.push_back({name, sigil == '#'});
		if (sigil == '#')
			scopes_.push_back(inner);
		((out_ += "{{") += sigil) += name + "}}";
	}

	void end_section(const std::string &name) {
		if (sections_.empty() || sections_.back().name != name)
			throw Error("42601", where_ + ": {{/" + name + "}} closes no section",
			            sections_.empty() ? std::string() : "Open is {{#" + sections_.back().name + "}}.");
		if (sections_.back().scoped)
			scopes_.pop_back();
		sections_.pop_back();
		out_ += "{{/" + name + "}}";
	}

	// From the innermost scope outwards, as the library does.
	const NameTree *look_up(const std::string &name) const {
		if (name == ".")
			return scopes_.back();
		auto path = split(name);
		for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
			const NameTree *here = *scope;
			bool found = true;
			for (auto &step : path) {
				auto next = here->members.find(step);
				if (next != here->members.end()) {
					here = &next->second;
				} else if (here->open) {
					return &anything;
				} else {
					found = false;
					break;
				}
			}
			if (found)
				return here;
		}
		std::string allowed;
		for (auto &[member, tree] : scopes_.back()->members)
			(allowed += allowed.empty() ? "" : ", ") += member;
		throw Error("42703", where_ + ": there is nothing called \"" + name + "\" for {{ " + name + " }}",
		            "Names here: " + allowed + ".", "Map the field, or correct the template.");
	}

	struct Section {
		std::string name;
		bool scoped;
	};
	const std::string &where_;
	std::string out_;
	std::vector<const NameTree *> scopes_;
	std::vector<Section> sections_;
};

// What the library asks for names. It works with values of its own; each that it is given here stands for a slice of JSON.
class JsonContext final : public km::basic_context<std::string> {
public:
	JsonContext(std::string_view frame, const std::vector<std::string> &frame_lists)
	    : frame_lists_(frame_lists), stack_ {{frame, true}} {}

	void push(const km::data *value) override {
		auto known = slices_.find(value);
		stack_.push_back(known == slices_.end() ? Slice {} : known->second);
	}
	void pop() override { stack_.pop_back(); }

	const km::data *get(const std::string &name) const override {
		bool variable = name.front() == variable_mark;
		auto path = split(std::string_view(name).substr(variable ? 1 : 0));
		auto found = find(path);
		if (!found)
			return nullptr;
		return variable ? text(*found) : section(*found);
	}
	const km::data *get_partial(const std::string &) const override { return nullptr; }

private:
	struct Slice {
		std::string_view json;
		bool frame = false;      // its member "record" is looked into as well
		bool of_frames = false;  // an array of such
	};

	std::optional<Slice> find(const std::vector<std::string> &path) const {
		if (path.size() == 2 && path[0].empty() && path[1].empty()) // "."
			return stack_.back();
		for (auto here = stack_.rbegin(); here != stack_.rend(); ++here) {
			if (auto value = json_find(here->json, path))
				return Slice {*value};
			if (!here->frame)
				continue;
			auto inside = path;
			inside.insert(inside.begin(), "record");
			if (auto value = json_find(here->json, inside)) {
				bool of_frames = path.size() == 1 && here + 1 == stack_.rend() &&
				                 std::find(frame_lists_.begin(), frame_lists_.end(), path[0]) != frame_lists_.end();
				return Slice {*value, false, of_frames};
			}
		}
		return std::nullopt;
	}

	const km::data *keep(km::data value, Slice slice) const {
		auto *kept = &values_.emplace_back(std::move(value));
		slices_[kept] = slice;
		return kept;
	}

	const km::data *text(const Slice &slice) const {
		return json_kind(slice.json) == JsonKind::null ? nullptr : keep(km::data(json_plain(slice.json)), slice);
	}

	const km::data *section(const Slice &slice) const {
		switch (json_kind(slice.json)) {
		case JsonKind::null:
			return nullptr;
		case JsonKind::boolean:
			return keep(km::data(slice.json == "true"), slice);
		case JsonKind::string:
			return keep(km::data(slice.json != "\"\""), slice);
		case JsonKind::array: {
			auto elements = json_elements(slice.json);
			const auto *list = keep(km::data(km::list(elements.size())), slice);
			for (std::size_t i = 0; i < elements.size(); ++i)
				slices_[&list->list_value()[i]] = {elements[i], slice.of_frames};
			return list;
		}
		default: // in a digest numbers are counts: "and 0 more" is nothing to say
			return keep(km::data(frame_lists_.empty() || slice.json != "0"), slice);
		}
	}

	const std::vector<std::string> &frame_lists_;
	std::vector<Slice> stack_;
	// Filled while the library only looks: it takes what it is given for constant.
	mutable std::deque<km::data> values_;
	mutable std::unordered_map<const km::data *, Slice> slices_;
};

} // namespace

NameTree &NameTree::at(const std::string &dotted) {
	NameTree *here = this;
	for (auto &step : split(dotted))
		here = &here->members[step];
	return *here;
}

struct Mustache::Parsed {
	mutable km::mustache library; // its render() is not const, and changes nothing that lasts
};

Mustache::Mustache(std::string_view text, const NameTree *names, const std::string &where) {
	Reading reading(text, names, where);
	parsed_ = std::make_unique<Parsed>(Parsed {km::mustache(reading.rewritten())});
	if (!parsed_->library.is_valid())
		throw Error("42601", where + ": " + parsed_->library.error_message());
}

Mustache::~Mustache() = default;

std::string Mustache::render(std::string_view frame, const std::vector<std::string> &frame_lists) const {
	JsonContext context(frame, frame_lists);
	return parsed_->library.render(context);
}

} // namespace courier
