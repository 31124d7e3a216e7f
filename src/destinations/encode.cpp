#include "destinations/encode.hpp"

#include <array>
#include <unordered_map>
#include <zlib.h>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "http/sign.hpp"
#include "http/url.hpp"

namespace courier {

namespace {

struct EncodingName {
	Encoding encoding;
	std::string_view name, content_type;
};

constexpr std::array<EncodingName, 10> encodings {{
    {Encoding::json, "json", "application/json"},
    {Encoding::ndjson, "ndjson", "application/x-ndjson"},
    {Encoding::ndjson_pairs, "ndjson_pairs", "application/x-ndjson"},
    {Encoding::form, "form", "application/x-www-form-urlencoded"},
    {Encoding::xml, "xml", "application/xml; charset=utf-8"},
    {Encoding::csv, "csv", "text/csv; charset=utf-8"},
    {Encoding::text, "text", "text/plain; charset=utf-8"},
    {Encoding::lines, "lines", "text/plain; charset=utf-8"},
    {Encoding::raw, "raw", "application/octet-stream"},
    {Encoding::none, "none", ""},
}};

struct Form {
	std::string &out;
	bool dotted, first = true;
};

void form_value(Form &form, const std::string &name, std::string_view value) {
	std::string &out = form.out;
	const char *open = form.dotted ? "." : "%5B", *close = form.dotted ? "" : "%5D";
	switch (json_kind(value)) {
	case JsonKind::object:
		for (auto &[member, inner] : json_members(value))
			form_value(form, name.empty() ? http::percent_encode(member) : name + open + http::percent_encode(member) + close,
			           inner);
		return;
	case JsonKind::array: {
		std::size_t index = form.dotted ? 1 : 0; // those who write dots count from one
		for (auto inner : json_elements(value))
			form_value(form, name + open + std::to_string(index++) + close, inner);
		return;
	}
	default:
		break;
	}
	if (!form.first)
		out += '&';
	form.first = false;
	out += name;
	out += '=';
	out +=
	    http::percent_encode(json_plain(value)); // null is sent as an empty value: that is how form APIs unset a field
}

void xml_text(std::string &out, std::string_view text) {
	for (std::size_t i = 0; i < text.size(); ++i) {
		unsigned char c = static_cast<unsigned char>(text[i]);
		switch (c) {
		case '&':
			out += "&amp;";
			continue;
		case '<':
			out += "&lt;";
			continue;
		case '>':
			out += "&gt;";
			continue;
		case '"':
			out += "&quot;";
			continue;
		case '\r':
			out += "&#13;";
			continue; // a parser would read it as a line feed
		case '\n':
		case '\t':
			out += static_cast<char>(c);
			continue;
		default:
			break;
		}
		// XML 1.0 has no control characters, not even escaped; U+FFFE and U+FFFF (EF BF BE/BF) are no characters either.
		if (c < ' ' || (c == 0xEF && i + 2 < text.size() && static_cast<unsigned char>(text[i + 1]) == 0xBF &&
		                static_cast<unsigned char>(text[i + 2]) >= 0xBE))
			throw Error("22023", "a value has a character that XML cannot carry");
		out += static_cast<char>(c);
	}
}

void check_xml_name(std::string_view name) {
	auto letter = [](unsigned char c) {
		return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c >= 0x80;
	};
	bool good = !name.empty() && letter(static_cast<unsigned char>(name[0]));
	for (unsigned char c : name)
		good = good && (letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == ':');
	if (!good)
		throw Error("22023", "\"" + std::string(name) + "\" cannot be the name of an XML element",
		            "A name starts with a letter or underscore and has letters, digits, '-', '.', ':' and '_'.");
}

void xml_element(std::string &out, const std::string &name, std::string_view value) {
	check_xml_name(name);
	if (json_kind(value) == JsonKind::array) {
		for (auto inner : json_elements(value))
			xml_element(out, name, inner);
		return;
	}
	out += '<';
	out += name;
	std::string inside;
	if (json_kind(value) == JsonKind::object) {
		for (auto &[member, inner] : json_members(value)) {
			if (member.starts_with("@")) {
				check_xml_name(std::string_view(member).substr(1));
				out += ' ';
				out.append(member, 1);
				out += "=\"";
				std::string attribute;
				xml_text(attribute, json_plain(inner));
				for (char c : attribute)
					c == '\n' ? out += "&#10;" : c == '\t' ? out += "&#9;" : out += c;
				out += '"';
			} else if (member == "#text") {
				xml_text(inside, json_plain(inner));
			} else {
				xml_element(inside, member, inner);
			}
		}
	} else {
		xml_text(inside, json_plain(value));
	}
	if (inside.empty()) {
		out += "/>";
		return;
	}
	out += '>';
	out += inside;
	out += "</";
	out += name;
	out += '>';
}

void csv_cell(std::string &out, std::string_view text) {
	if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
		out += text;
		return;
	}
	out += '"';
	for (char c : text) {
		if (c == '"')
			out += '"';
		out += c;
	}
	out += '"';
}

} // namespace

std::optional<Encoding> encoding_from(std::string_view name) {
	for (auto &entry : encodings)
		if (entry.name == name)
			return entry.encoding;
	return std::nullopt;
}

std::string_view to_text(Encoding encoding) {
	for (auto &entry : encodings)
		if (entry.encoding == encoding)
			return entry.name;
	return "json";
}

std::string_view content_type(Encoding encoding) {
	for (auto &entry : encodings)
		if (entry.encoding == encoding)
			return entry.content_type;
	return "";
}

void append_form(std::string &out, std::string_view object, bool dotted) {
	if (json_kind(object) != JsonKind::object)
		throw Error("22023", "a body of encoding form must be an object");
	Form form {out, dotted};
	form_value(form, "", object);
}

void append_xml(std::string &out, std::string_view object) {
	auto members = json_members(object);
	if (json_kind(object) != JsonKind::object || members.size() != 1 || json_kind(members[0].second) == JsonKind::array)
		throw Error("22023", "a body of encoding xml must be an object with one key, the root element",
		            "For example {\"contact\": \"{{ record }}\"}.");
	out += "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
	xml_element(out, members[0].first, members[0].second);
}

void append_line(std::string &out, std::string_view value) {
	// Inside JSON strings line breaks are escaped, so every raw one is white space between tokens.
	for (char c : value)
		out += c == '\n' || c == '\r' ? ' ' : c;
	out += '\n';
}

void append_csv(std::string &out, const std::vector<std::string> &objects, bool header) {
	std::vector<std::string> columns;
	std::unordered_map<std::string, std::size_t> position;
	std::vector<std::vector<std::pair<std::size_t, std::string_view>>> rows;
	for (auto &object : objects) {
		if (json_kind(object) != JsonKind::object)
			throw Error("22023", "a body of encoding csv must be an object per record");
		auto &row = rows.emplace_back();
		for (auto &[name, value] : json_members(object)) {
			auto [found, fresh] = position.try_emplace(name, columns.size());
			if (fresh)
				columns.push_back(name);
			row.emplace_back(found->second, value);
		}
	}
	for (std::size_t i = 0; header && i < columns.size(); ++i) {
		if (i > 0)
			out += ',';
		csv_cell(out, columns[i]);
	}
	if (header)
		out += "\r\n";
	std::vector<std::string> cells;
	for (auto &row : rows) {
		cells.assign(columns.size(), {});
		for (auto &[column, value] : row)
			cells[column] = json_plain(value);
		for (std::size_t i = 0; i < cells.size(); ++i) {
			if (i > 0)
				out += ',';
			csv_cell(out, cells[i]);
		}
		out += "\r\n";
	}
}

void append_raw(std::string &out, std::string_view base64) {
	auto bytes = http::base64_decode(base64);
	if (!bytes)
		throw Error("22023", "a body of encoding raw must be base64, as a bytea field is");
	out += *bytes;
}

std::string gzip(std::string_view text) {
	z_stream stream {};
	constexpr int gzip_window = 15 + 16;
	if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		throw Error("53200", "zlib could not start to compress");
	std::string out(deflateBound(&stream, text.size()), '\0');
	stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(text.data()));
	stream.avail_in = static_cast<uInt>(text.size()); // batch_bytes is 1 GB at most
	stream.next_out = reinterpret_cast<Bytef *>(out.data());
	stream.avail_out = static_cast<uInt>(out.size());
	int result = deflate(&stream, Z_FINISH);
	out.resize(stream.total_out);
	deflateEnd(&stream);
	if (result != Z_STREAM_END)
		throw Error("XX001", "zlib could not compress a body");
	return out;
}

} // namespace courier
