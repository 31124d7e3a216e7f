#include "destinations/xml_to_json.hpp"

#include <charconv>
#include <utility>
#include <vector>

#include "core/json_text.hpp"

// A reader for answers, not for documents: it keeps what a pointer can name. The text may come from a hostile server, so
// its depth is bounded and nothing in it is expanded but the five entities of XML itself and numbers of characters.

namespace courier {

namespace {

constexpr int most_depth = 100;

class XmlReader {
public:
	explicit XmlReader(std::string_view text) : text_(text) {}

	std::optional<std::string> document() {
		std::string ignored;
		if (text_.starts_with("\xEF\xBB\xBF"))
			text_.remove_prefix(3);
		if (!content(ignored) || !text_.starts_with('<'))
			return std::nullopt;
		std::string name, value;
		if (!element(name, value, 0) || !content(ignored) || !text_.empty())
			return std::nullopt;
		return "{" + json_string(name) + ":" + value + "}";
	}

private:
	static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

	bool skip(std::string_view open, std::string_view close) {
		if (!text_.starts_with(open))
			return false;
		auto end = text_.find(close, open.size());
		text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + close.size());
		return true;
	}

	// Text up to the next tag.
	bool content(std::string &out) {
		while (!text_.empty()) {
			if (skip("<!--", "-->") || skip("<?", "?>"))
				continue;
			if (text_.starts_with("<![CDATA[")) {
				auto end = text_.find("]]>");
				if (end == std::string_view::npos)
					return false;
				out += text_.substr(9, end - 9);
				text_.remove_prefix(end + 3);
				continue;
			}
			if (text_.starts_with("<!"))
				return false;
			if (text_.front() == '<')
				return true;
			if (text_.front() == '&') {
				if (!entity(out))
					return false;
				continue;
			}
			out += text_.front();
			text_.remove_prefix(1);
		}
		return true;
	}

	bool entity(std::string &out) {
		auto end = text_.find(';');
		if (end == std::string_view::npos || end > 10)
			return false;
		std::string_view name = text_.substr(1, end - 1);
		text_.remove_prefix(end + 1);
		static constexpr std::pair<std::string_view, char> known[] = {
		    {"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
		for (auto &[word, c] : known)
			if (word == name) {
				out += c;
				return true;
			}
		if (!name.starts_with('#'))
			return false;
		bool hex = name.starts_with("#x");
		name.remove_prefix(hex ? 2 : 1);
		unsigned code = 0;
		auto read = std::from_chars(name.data(), name.data() + name.size(), code, hex ? 16 : 10);
		if (read.ec != std::errc() || read.ptr != name.data() + name.size() || code == 0 || code > 0xFFFF)
			return false;
		char escaped[7]; // JSON can say it
		static constexpr char digits[] = "0123456789abcdef";
		escaped[0] = '\\', escaped[1] = 'u', escaped[6] = 0;
		for (int i = 0; i < 4; ++i)
			escaped[2 + i] = digits[code >> (12 - 4 * i) & 15];
		out += json_plain("\"" + std::string(escaped) + "\"");
		return true;
	}

	bool tag_name(std::string &name) {
		std::size_t end = 0;
		while (end < text_.size() && !is_space(text_[end]) && text_[end] != '>' && text_[end] != '/')
			++end;
		name = text_.substr(0, end);
		text_.remove_prefix(end);
		if (auto colon = name.find(':'); colon != std::string::npos)
			name.erase(0, colon + 1);
		return !name.empty();
	}

	// Attributes are passed over; a ">" inside their quotes is text. True for <x/>.
	bool end_of_tag(bool &empty) {
		char quote = 0;
		for (std::size_t i = 0; i < text_.size(); ++i) {
			char c = text_[i];
			if (quote) {
				quote = c == quote ? 0 : quote;
			} else if (c == '"' || c == '\'') {
				quote = c;
			} else if (c == '>') {
				empty = i > 0 && text_[i - 1] == '/';
				text_.remove_prefix(i + 1);
				return true;
			}
		}
		return false;
	}

	bool element(std::string &name, std::string &json, int depth) {
		text_.remove_prefix(1);
		bool empty = false;
		if (depth > most_depth || !tag_name(name) || !end_of_tag(empty))
			return false;
		if (empty) {
			json = "\"\"";
			return true;
		}
		std::string text;
		std::vector<std::pair<std::string, std::vector<std::string>>> children;
		for (;;) {
			if (!content(text) || text_.empty())
				return false;
			if (text_.starts_with("</"))
				break;
			std::string child, value;
			if (!element(child, value, depth + 1))
				return false;
			auto same = children.begin();
			while (same != children.end() && same->first != child)
				++same;
			if (same == children.end())
				children.push_back({child, {std::move(value)}});
			else
				same->second.push_back(std::move(value));
		}
		text_.remove_prefix(2);
		std::string closing;
		bool ignored = false;
		if (!tag_name(closing) || closing != name || !end_of_tag(ignored))
			return false;
		if (children.empty()) {
			json_append_string(json, text);
			return true;
		}
		json = "{";
		for (auto &[child, values] : children) {
			if (json.size() > 1)
				json += ',';
			json_append_string(json, child);
			json += values.size() > 1 ? ":[" : ":";
			for (std::size_t i = 0; i < values.size(); ++i)
				(json += i > 0 ? "," : "") += values[i];
			if (values.size() > 1)
				json += ']';
		}
		json += '}';
		return true;
	}

	std::string_view text_;
};

} // namespace

std::optional<std::string> xml_to_json(std::string_view xml) {
	return XmlReader(xml).document();
}

} // namespace courier
