#include "core/idempotency_key.hpp"

#include <gtest/gtest.h>

#include <string>

namespace courier {
namespace {

const std::string uuid = "5a0f3c5e-6b1d-4c0e-9c55-0e8a8f1f2d3c";

TEST(IdempotencyKey, is_the_text_that_it_was_given) {
	EXPECT_EQ(std::string_view(IdempotencyKey()), "");
	EXPECT_EQ(IdempotencyKey(uuid), uuid);
	EXPECT_EQ(IdempotencyKey("i7").size(), 2u);
}

TEST(IdempotencyKey, gets_a_word_behind_it_and_loses_it_again) {
	IdempotencyKey key = uuid;
	key.append("-");
	key.append("removed");
	EXPECT_EQ(key, uuid + "-removed");
	key.shorten(uuid.size());
	EXPECT_EQ(key, uuid);
	key.shorten(100); // never longer
	EXPECT_EQ(key, uuid);
}

TEST(IdempotencyKey, is_copied_whole) {
	IdempotencyKey key = uuid, copy = key;
	key = "other";
	EXPECT_EQ(copy, uuid);
	EXPECT_EQ(key, "other");
}

TEST(IdempotencyKey, does_not_cut_off_what_has_no_room) {
	const std::string longest(47, 'x');
	EXPECT_EQ(IdempotencyKey(longest), longest);
	EXPECT_THROW(IdempotencyKey(longest + "x"), std::length_error);
}

} // namespace
} // namespace courier
