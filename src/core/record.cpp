#include "core/record.hpp"

#include <array>
#include <utility>

namespace courier {

namespace {

constexpr std::array<std::pair<Operation, std::string_view>, 10> operation_names {{
    {Operation::insert, "insert"},
    {Operation::update, "update"},
    {Operation::upsert, "upsert"},
    {Operation::del, "delete"},
    {Operation::clear, "clear"},
    {Operation::archive, "archive"},
    {Operation::event, "event"},
    {Operation::message, "message"},
    {Operation::add, "add"},
    {Operation::remove, "remove"},
}};

} // namespace

std::string_view to_text(Change change) {
	switch (change) {
	case Change::added:
		return "added";
	case Change::changed:
		return "changed";
	case Change::removed:
		return "removed";
	}
	return "added";
}

std::string_view to_text(Operation operation) {
	for (auto &[value, name] : operation_names)
		if (value == operation)
			return name;
	return "upsert";
}

std::optional<Operation> operation_from(std::string_view text) {
	for (auto &[value, name] : operation_names)
		if (name == text)
			return value;
	return std::nullopt;
}

} // namespace courier
