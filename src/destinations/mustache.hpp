#pragma once

// Mustache over JSON text: a message that is written for people, with sections that repeat or are left out. The library
// parses and walks; every value that it meets is a slice of the record's text, so a number keeps all its digits.
//
// What differs from plain Mustache: nothing is escaped for HTML ({{ x }}, {{{ x }}} and {{& x }} are the same), because the
// place that the text goes to decides how it is escaped; true, false, objects and arrays are written as JSON; an empty
// string counts as nothing for a section, like false, null and []. Partials and other delimiters are refused.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace courier {

// The names that a template may use. `open`: what lies inside is not known (a json field), so any name may be there.
struct NameTree {
	std::map<std::string, NameTree> members;
	bool open = false;

	NameTree &at(const std::string &dotted); // makes what is missing on the way
};

class Mustache {
public:
	// Throws Error (42601 for syntax, 42703 for a name that is not in `names`) that begins with `where`. `names` null: any
	// name may be there.
	Mustache(std::string_view text, const NameTree *names, const std::string &where);
	~Mustache();

	// A frame is an object whose member "record" is looked into as well: its own members come first. `frame` is one, and so
	// is each element of the arrays `frame_lists` in its record.
	std::string render(std::string_view frame, const std::vector<std::string> &frame_lists = {}) const;

private:
	struct Parsed; // the library's header is large and stays in one file
	std::unique_ptr<Parsed> parsed_;
};

} // namespace courier
