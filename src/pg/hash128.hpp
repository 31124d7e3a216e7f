#pragma once

#include "pg/postgres.hpp"

namespace courier::pg {

using UuidBytes = std::array<unsigned char, 16>;

struct UuidText {
	char characters[36];
	std::string_view view() const { return {characters, sizeof characters}; }
};

UuidText uuid_text(const UuidBytes &bytes); // as PostgreSQL writes it
UuidBytes uuid_bytes(std::string_view text);

// What courier.hash128(texts ..., number::int8) returns in SQL, into 16 bytes. Texts are in the database's encoding.
void hash128_of_texts(const std::string_view *texts, int count, std::int64_t number, unsigned char *out); // PostgreSQL is not called

} // namespace courier::pg
