#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "destinations/archive.hpp"
#include "destinations/encode.hpp"

// Gzipped tar archives as they are, and as they should not be: none of these may be read beyond its end or be taken for whole.

using namespace courier;

namespace {

constexpr std::size_t sum_at = 148, size_at = 124, type_at = 156, magic_at = 257;

void put(std::string &header, std::size_t at, std::string_view text) {
	header.replace(at, text.size(), text);
}

std::string with_sum(std::string header) {
	put(header, sum_at, "        ");
	unsigned sum = 0;
	for (unsigned char c : header)
		sum += c;
	char digits[8];
	std::snprintf(digits, sizeof digits, "%06o", sum);
	put(header, sum_at, std::string_view(digits, 7)); // with its NUL
	return header;
}

std::string header_of(std::string_view name, std::string_view size, char type) {
	std::string header(512, '\0');
	put(header, 0, name);
	put(header, 100, std::string_view("0000644\0", 8));
	put(header, size_at, size);
	header[type_at] = type;
	put(header, magic_at, std::string_view("ustar\00000", 8));
	return with_sum(header);
}

std::string entry(std::string_view name, std::string_view content, char type = '0') {
	char size[12];
	std::snprintf(size, sizeof size, "%011o", static_cast<unsigned>(content.size()));
	std::string out = header_of(name, std::string_view(size, 12), type);
	out += content;
	out.append((512 - content.size() % 512) % 512, '\0');
	return out;
}

const std::string end_of_archive(1024, '\0');

std::vector<std::string> contents(std::string_view bytes) {
	std::vector<std::string> out;
	const auto files = read_tar(bytes).value();
	for (auto &file : files)
		out.push_back(file.name + "=" + std::string(file.content));
	return out;
}

using Texts = std::vector<std::string>;

} // namespace

TEST(Tar, RegularFilesInTheirOrderAndNothingElse) {
	const auto bytes = entry("./", "", '5') + entry("pax", "19 path=other.json\n", 'x') + entry("a.json", "[1]") + entry("link", "", '2') +
	                   entry("old", "[2]", '\0') + entry("folder/", "", '\0') + entry("empty", "") + entry("large", std::string(1000, 'x')) + end_of_archive;
	EXPECT_EQ(contents(bytes), (Texts {"a.json=[1]", "old=[2]", "empty=", "large=" + std::string(1000, 'x')}));
}

TEST(Tar, NamesMayHaveAPrefix) {
	auto file = entry("a.json", "[1]");
	put(file, 345, "results");
	EXPECT_EQ(contents(with_sum(file.substr(0, 512)) + file.substr(512)), Texts {"results/a.json=[1]"});
}

TEST(Tar, SizesInBinaryAndWithBlanks) {
	auto blanks = header_of("a", std::string_view("         3 \0", 12), '0');
	EXPECT_EQ(contents(blanks + "[1]" + std::string(509, '\0')), Texts {"a=[1]"});
	auto binary = header_of("a", std::string_view("\x80\0\0\0\0\0\0\0\0\0\0\3", 12), '0');
	EXPECT_EQ(contents(binary + "[1]" + std::string(509, '\0')), Texts {"a=[1]"});
}

TEST(Tar, AnArchiveMayEndWithoutItsEnd) {
	EXPECT_EQ(contents(""), Texts {});
	EXPECT_EQ(contents(end_of_archive), Texts {});
	EXPECT_EQ(contents(entry("a", "1")), Texts {"a=1"});
	EXPECT_EQ(contents(entry("a", "1").substr(0, 513)), Texts {"a=1"}); // and without the padding of its last file
	EXPECT_EQ(contents(entry("a", "1") + std::string(512, '\0') + "rubbish"), Texts {"a=1"});
}

TEST(Tar, WhatIsCutOffIsNoArchive) {
	const auto bytes = entry("a", "12345") + entry("b", "67890");
	for (std::size_t cut : {1, 511, 512, 516, 1025, 1535, 1536, 1540})
		EXPECT_FALSE(read_tar(std::string_view(bytes).substr(0, cut))) << cut;
}

TEST(Tar, SizesThatLie) {
	for (std::string_view size : {"77777777777", "00000000011", "0000000009x", "-0000000001", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	                              "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"})
		EXPECT_FALSE(read_tar(header_of("a", size, '0') + "12345678")) << size;
}

TEST(Tar, ASumThatIsWrong) {
	auto bytes = entry("a", "1");
	bytes[0] = 'b';
	EXPECT_FALSE(read_tar(bytes));
	EXPECT_FALSE(read_tar(std::string(2048, 'x')));
	EXPECT_FALSE(read_tar("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"));
}

TEST(Gunzip, GivesBackWhatWasCompressed) {
	for (std::size_t size : {0, 1, 65535, 65536, 65537, 300000}) {
		std::string text(size, 'x');
		EXPECT_EQ(gunzip(gzip(text), size).value(), text) << size;
	}
	EXPECT_EQ(gunzip(gzip("one ") + gzip("two"), 100).value(), "one two");
	EXPECT_EQ(gunzip(gzip("one") + std::string(100, '\0'), 100).value(), "one");
}

TEST(Gunzip, NeverMoreThanIsAllowed) {
	const auto bomb = gzip(std::string(10 << 20, '\0'));
	EXPECT_LT(bomb.size(), 20000u);
	EXPECT_FALSE(gunzip(bomb, (10 << 20) - 1));
	EXPECT_TRUE(gunzip(bomb, 10 << 20));
	EXPECT_FALSE(gunzip(gzip("ab"), 1));
	EXPECT_FALSE(gunzip(gzip("ab") + gzip("cd"), 3));
}

TEST(Gunzip, WhatIsDamagedIsNotRead) {
	const auto bytes = gzip("a text that is long enough to be cut in many places");
	for (std::size_t cut = 0; cut < bytes.size(); ++cut)
		EXPECT_FALSE(gunzip(std::string_view(bytes).substr(0, cut), 1000)) << cut;
	EXPECT_FALSE(gunzip("[]", 1000));
	EXPECT_FALSE(gunzip(bytes + "rubbish", 1000));
	auto other = bytes;
	other[other.size() - 5] ^= 1; // of its check sum
	EXPECT_FALSE(gunzip(other, 1000));
}

// No outcome is expected of these but an end. Sanitizers watch.
TEST(Tar, AnyBytes) {
	std::mt19937 random(1);
	const auto good = entry("a", std::string(700, '1')) + entry("b", "2", 'x') + entry("c", "3") + end_of_archive;
	const auto packed = gzip(good);
	for (int round = 0; round < 3000; ++round) {
		auto tar = good, gz = packed;
		for (unsigned changes = 1 + random() % 3; changes > 0; --changes) {
			tar[random() % tar.size()] = static_cast<char>(random());
			gz[random() % gz.size()] = static_cast<char>(random());
		}
		if (random() % 4 == 0)
			tar.replace(0, 512, with_sum(tar.substr(0, 512))); // so that the rest is looked at
		const auto files = read_tar(std::string_view(tar).substr(0, random() % tar.size()));
		for (std::size_t i = 0; files && i < files->size(); ++i)
			EXPECT_LE(files->at(i).content.size(), tar.size());
		EXPECT_LE(gunzip(gz, 10000).value_or("").size(), 10000u);
	}
}
