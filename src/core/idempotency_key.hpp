#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string_view>

namespace courier {

// The text of a uuid, and a word behind it where a record is sent as another change. In place: as a std::string it was one of two allocations of a
// record on its way, and the part of a record that costs most to move.
class IdempotencyKey {
public:
	IdempotencyKey() = default;
	template <std::convertible_to<std::string_view> Text> IdempotencyKey(const Text &text) { append(text); }

	operator std::string_view() const { return {characters_.data(), size_}; }
	std::size_t size() const { return size_; }
	void shorten(std::size_t size) { size_ = static_cast<std::uint8_t>(std::min<std::size_t>(size, size_)); }
	void append(std::string_view text) {
		if (text.size() > characters_.size() - size_)
			throw std::length_error("an idempotency key is too long");
		std::copy(text.begin(), text.end(), characters_.begin() + size_);
		size_ = static_cast<std::uint8_t>(size_ + text.size());
	}
	friend bool operator==(const IdempotencyKey &key, std::string_view text) { return std::string_view(key) == text; }

private:
	std::array<char, 47> characters_; // what is beyond size_ is not set
	std::uint8_t size_ = 0;
};

} // namespace courier
