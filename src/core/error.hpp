#pragma once

#include <exception>
#include <string>
#include <utility>

namespace courier {

// An error for the person who reads it, with the parts PostgreSQL gives an error: what was wrong (message, with the
// object's name), what is allowed (detail) and what to do next (hint). src/pg turns it into ereport(ERROR).
class Error : public std::exception {
public:
	std::string sqlstate; // five characters, for example "22023"
	std::string message;
	std::string detail;
	std::string hint;

	Error(std::string sqlstate, std::string message, std::string detail = {}, std::string hint = {})
	    : sqlstate(std::move(sqlstate)), message(std::move(message)), detail(std::move(detail)), hint(std::move(hint)) {}

	const char *what() const noexcept override { return message.c_str(); }
};

} // namespace courier
