#pragma once

// From JSON text to the bytes of a request body. The record comes in as ordered JSON text and is walked slice by slice.

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace courier {

enum class Encoding { json, ndjson, ndjson_pairs, form, xml, csv, text, lines, raw, none };

std::optional<Encoding> encoding_from(std::string_view name);
std::string_view to_text(Encoding encoding);
inline const std::initializer_list<std::string_view> encoding_names {"json", "ndjson", "ndjson_pairs", "form", "xml",
                                                                  "csv",  "text",   "lines",        "raw",  "none"};
std::string_view content_type(Encoding encoding); // "" for none

// {"a":1,"b":{"c":[2,3]}} -> a=1&b[c][0]=2&b[c][1]=3 (brackets percent-encoded); dotted: a=1&b.c.1=2&b.c.2=3
void append_form(std::string &out, std::string_view object, bool dotted = false);
// {"order":{"@id":1,"line":[1,2]}} -> <order id="1"><line>1</line><line>2</line></order>. One key: the root element.
// "@name" is an attribute, "#text" the text of an element with attributes. Throws Error 22023 for what cannot be XML.
void append_xml(std::string &out, std::string_view object);
// Several values, each compact on a line of its own. JSON text from PostgreSQL may have line breaks (a json column).
void append_line(std::string &out, std::string_view value);
// RFC 4180 with a header line: the columns are the members of all records, in the order they are met first.
void append_csv(std::string &out, const std::vector<std::string> &objects, bool header = true);
// Base64 to the bytes that it stands for. Throws Error 22023.
void append_raw(std::string &out, std::string_view base64);

// RFC 1952, without name and time: the same text gives the same bytes.
std::string gzip(std::string_view text);

} // namespace courier
