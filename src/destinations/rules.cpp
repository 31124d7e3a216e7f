#include "destinations/rules.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/error.hpp"
#include "core/json_text.hpp"

namespace courier {

namespace {

// libstdc++ can run a pattern in polynomial time without recursion over the input: neither a long answer nor a pattern
// like (a+)+$ can take the worker down. The price is that back references are not available.
constexpr auto regex_flags = std::regex::ECMAScript
#ifdef __GLIBCXX__
                             | std::regex_constants::__polynomial
#endif
    ;
constexpr std::size_t regex_pattern = 1000;

constexpr std::array<std::pair<std::string_view, Verdict>, 9> verdicts {{
    {"accepted", Verdict::accepted},
    {"exists", Verdict::exists},
    {"missing", Verdict::missing},
    {"rejected", Verdict::rejected},
    {"split", Verdict::split},
    {"retry", Verdict::retry},
    {"throttled", Verdict::throttled},
    {"auth", Verdict::auth},
    {"gone", Verdict::gone},
}};

std::pair<int, int> read_range(const Reader &reader) {
	if (reader.json().is_number()) {
		int status = static_cast<int>(reader.integer(100, 999));
		return {status, status};
	}
	std::string text = reader.json().is_string() ? reader.text() : std::string();
	int low = 0, high = 0;
	auto end = text.data() + text.size();
	auto first = std::from_chars(text.data(), end, low);
	bool good = first.ec == std::errc();
	if (good && first.ptr == end) {
		high = low;
	} else if (good && *first.ptr == '-') {
		auto second = std::from_chars(first.ptr + 1, end, high);
		good = second.ec == std::errc() && second.ptr == end;
	} else {
		good = false;
	}
	if (!good || low < 100 || high > 999 || low > high)
		reader.fail("is not a status", {}, "Write a number, a range like \"500-599\", or a list of these.");
	return {low, high};
}

} // namespace

std::optional<std::string_view> find_at(std::string_view json, const Pointer &pointer) {
	for (std::size_t i = 0; i < pointer.size(); ++i) {
		if (pointer[i] != "*")
			continue;
		auto outer = json_find(json, Pointer(pointer.begin(), pointer.begin() + static_cast<std::ptrdiff_t>(i)));
		if (!outer)
			return std::nullopt;
		std::string_view inner;
		if (json_kind(*outer) == JsonKind::object) {
			auto members = json_members(*outer);
			if (members.empty())
				return std::nullopt;
			inner = members.front().second;
		} else {
			auto elements = json_elements(*outer);
			if (elements.empty())
				return std::nullopt;
			inner = elements.front();
		}
		return find_at(inner, Pointer(pointer.begin() + static_cast<std::ptrdiff_t>(i) + 1, pointer.end()));
	}
	return json_find(json, pointer);
}

const std::string *find_header(const Answer &answer, std::string_view name) {
	for (auto &header : answer.headers)
		if (header.name == name)
			return &header.value;
	return nullptr;
}

bool Condition::test(const std::optional<std::string_view> &json, const std::optional<std::string> &plain) const {
	if (exists && *exists != plain.has_value())
		return false;
	if (!plain)
		return exists.has_value() && !*exists;
	if (equals) {
		if (json) {
			auto value = nlohmann::json::parse(*json, nullptr, false);
			if (value.is_discarded() || value != *equals)
				return false;
		} else if (*plain != (equals->is_string() ? equals->get<std::string>() : equals->dump())) {
			return false;
		}
	}
	if (matches) {
		std::string_view bounded = std::string_view(*plain).substr(0, pattern_input);
		if (!std::regex_search(bounded.begin(), bounded.end(), *matches))
			return false;
	}
	return true;
}

bool Condition::holds(const Answer &answer, bool valid_json) const {
	if (!status.empty() && std::none_of(status.begin(), status.end(), [&](auto &range) {
		    return answer.status >= range.first && answer.status <= range.second;
	    }))
		return false;
	if (header) {
		auto found = find_header(answer, *header);
		return test(std::nullopt, found ? std::optional(*found) : std::nullopt);
	}
	if (pointer) {
		auto found = valid_json ? find_at(answer.body, *pointer) : std::nullopt;
		return test(found, found ? std::optional(json_plain(*found)) : std::nullopt);
	}
	if (!body)
		return true;
	// An empty body does not exist, and can still be compared: "equals": "".
	bool compares = equals || matches;
	return test(std::nullopt, answer.body.empty() && !compares ? std::nullopt : std::optional(answer.body));
}

bool Condition::holds_for_entry(std::string_view entry) const {
	auto found = find_at(entry, pointer.value_or(Pointer {}));
	return test(found, found ? std::optional(json_plain(*found)) : std::nullopt);
}

std::string lower_case(std::string text) {
	for (char &c : text)
		c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
	return text;
}

std::shared_ptr<const std::regex> read_pattern(const Reader &reader) {
	std::string pattern = reader.text();
	if (pattern.size() > regex_pattern)
		reader.fail("is longer than " + std::to_string(regex_pattern) + " characters");
	try {
		return std::make_shared<const std::regex>(pattern, regex_flags);
	} catch (const std::regex_error &error) {
		reader.fail("is not a regular expression that can be used", error.what(),
		            "ECMAScript syntax, without back references.");
	}
}

Condition read_condition(const Reader &reader, bool for_entry) {
	Condition condition;
	if (for_entry)
		reader.only_keys({"pointer", "equals", "matches", "exists"});
	else
		reader.only_keys({"status", "header", "pointer", "body", "equals", "matches", "exists"});
	if (reader.has("status")) {
		Reader status = reader.at("status");
		if (status.json().is_array()) {
			for (auto &entry : status.elements())
				condition.status.push_back(read_range(entry));
		} else {
			condition.status.push_back(read_range(status));
		}
	}
	if (reader.has("header"))
		condition.header = lower_case(reader.at("header").text());
	if (reader.has("pointer"))
		condition.pointer = json_pointer_path(reader.at("pointer").pointer());
	if (reader.json().contains("equals"))
		condition.equals = nlohmann::json(reader.json()["equals"]);
	// "body": true with a test beside it; "body": "ok" is short for that with "equals": "ok".
	if (reader.has("body")) {
		Reader body = reader.at("body");
		condition.body = body.json().is_string() || body.boolean();
		if (body.json().is_string())
			condition.equals = body.text();
	}
	if (reader.has("exists"))
		condition.exists = reader.at("exists").boolean();
	if (reader.has("matches"))
		condition.matches = read_pattern(reader.at("matches"));
	int subjects = condition.header.has_value() + condition.pointer.has_value() + condition.body;
	if (subjects > 1)
		reader.fail("must test one of header, pointer and body");
	bool tests = condition.equals || condition.matches || condition.exists;
	if (subjects == 0 && tests && !for_entry)
		reader.fail("says equals, matches or exists, but not of what", "Name one of header, pointer and body.");
	if (subjects == 0 && !tests && condition.status.empty())
		reader.fail("is empty", for_entry ? "Keys: pointer, equals, matches, exists."
		                                  : "Keys: status, header, pointer, body, with equals, matches, exists.");
	if (subjects > 0 && !tests)
		condition.exists = true;
	return condition;
}

std::vector<Rule> read_rules(const Reader &reader, bool for_entry) {
	std::vector<Rule> rules;
	for (auto &entry : reader.elements()) {
		entry.only_keys({"when", "then"});
		Rule rule;
		rule.when = read_condition(entry.at("when"), for_entry);
		std::string then = entry.at("then").one_of(
		    {"accepted", "exists", "missing", "rejected", "split", "retry", "throttled", "auth", "gone"});
		for (auto &[name, verdict] : verdicts)
			if (name == then)
				rule.then = verdict;
		rules.push_back(std::move(rule));
	}
	return rules;
}

namespace {

// The operations that take a record away. A message about a removed row is not one: 404 there means a wrong address.
bool takes_away(Operation operation) {
	return operation == Operation::del || operation == Operation::remove || operation == Operation::clear ||
	       operation == Operation::archive;
}

} // namespace

Verdict default_verdict(const Answer &answer, const Asked &asked) {
	int status = answer.status;
	if (status >= 200 && status <= 299)
		return Verdict::accepted;
	// Of several records one is not there, or none: which, is found out one by one.
	if ((status == 404 || status == 410) && takes_away(asked.operation))
		return asked.several ? Verdict::split : Verdict::accepted;
	if (status == 404 && (asked.operation == Operation::update ||
	                      (asked.change == Change::changed && asked.operation == Operation::upsert)))
		return Verdict::missing;
	if (status == 409 && asked.change == Change::added && asked.can_change)
		return Verdict::exists;
	if (status == 413)
		return Verdict::split;
	if (status == 429 || (status == 503 && find_header(answer, "retry-after")))
		return Verdict::throttled;
	if (status == 408 || status == 425 || (status >= 500 && status <= 599))
		return Verdict::retry;
	if (status == 401)
		return Verdict::auth;
	return Verdict::rejected;
}

Verdict verdict_of(const std::vector<Rule> &rules, const Answer &answer, bool valid_json, const Asked &asked) {
	for (auto &rule : rules)
		if (rule.when.holds(answer, valid_json))
			return rule.then == Verdict::missing && takes_away(asked.operation) ? Verdict::accepted : rule.then;
	return default_verdict(answer, asked);
}

} // namespace courier
