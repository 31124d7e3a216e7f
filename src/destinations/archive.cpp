#include "destinations/archive.hpp"

#include <algorithm>
#include <cstdint>
#include <zlib.h>

#include "core/error.hpp"

namespace courier {

std::optional<std::string> gunzip(std::string_view bytes, std::size_t most) {
	z_stream stream {};
	constexpr int gzip_window = 15 + 16;
	if (inflateInit2(&stream, gzip_window) != Z_OK)
		throw Error("53200", "zlib could not start to decompress");
	std::string out;
	stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(bytes.data()));
	stream.avail_in = static_cast<uInt>(bytes.size()); // an answer; it has a cap
	bool whole = false;
	while (true) {
		const auto before = out.size();
		// One byte more than is allowed, so that too much shows.
		const auto room = std::min<std::size_t>(std::max<std::size_t>(before, 1 << 16), most + 1 - before);
		out.resize(before + room);
		stream.next_out = reinterpret_cast<Bytef *>(out.data() + before);
		stream.avail_out = static_cast<uInt>(room);
		const int result = inflate(&stream, Z_NO_FLUSH);
		out.resize(out.size() - stream.avail_out);
		if (out.size() > most || (result != Z_OK && result != Z_STREAM_END))
			break;
		if (result == Z_STREAM_END) {
			// Zeros after the end are padding, as of a tape; anything else is another member.
			while (stream.avail_in > 0 && *stream.next_in == 0) {
				++stream.next_in;
				--stream.avail_in;
			}
			whole = stream.avail_in == 0;
			if (whole || inflateReset(&stream) != Z_OK)
				break;
		} else if (stream.avail_in == 0 && stream.avail_out > 0) {
			break; // it was cut off
		}
	}
	inflateEnd(&stream);
	return whole ? std::optional(std::move(out)) : std::nullopt;
}

namespace {

constexpr std::size_t block = 512;

// Octal digits with blanks around them, or (first bit set) a number in binary, as GNU tar writes large ones.
std::optional<std::uint64_t> number(std::string_view field) {
	std::uint64_t value = 0;
	constexpr std::uint64_t room_for_a_byte = UINT64_MAX >> 8;
	if (static_cast<unsigned char>(field[0]) & 0x80) {
		for (std::size_t i = 0; i < field.size(); ++i) {
			if (value > room_for_a_byte)
				return std::nullopt;
			value = value << 8 | (static_cast<unsigned char>(field[i]) & (i == 0 ? 0x7f : 0xff));
		}
		return value;
	}
	const auto first = field.find_first_not_of(' ');
	const auto end = std::min(field.find_first_of(std::string_view(" \0", 2), first), field.size());
	for (auto i = first; i < end; ++i) {
		if (field[i] < '0' || field[i] > '7' || value > room_for_a_byte)
			return std::nullopt;
		value = value << 3 | static_cast<std::uint64_t>(field[i] - '0');
	}
	return value;
}

// The sum of all bytes, its own field read as blanks. Some have summed signed bytes.
bool sum_is_right(std::string_view header) {
	const auto said = number(header.substr(148, 8));
	std::int64_t sum = 0, signed_sum = 0;
	for (std::size_t i = 0; i < block; ++i) {
		const char c = i >= 148 && i < 156 ? ' ' : header[i];
		sum += static_cast<unsigned char>(c);
		signed_sum += static_cast<signed char>(c);
	}
	return said && (*said == static_cast<std::uint64_t>(sum) || static_cast<std::int64_t>(*said) == signed_sum);
}

std::string_view text(std::string_view field) {
	return field.substr(0, field.find('\0'));
}

} // namespace

std::optional<std::vector<TarFile>> read_tar(std::string_view bytes) {
	std::vector<TarFile> files;
	while (!bytes.empty()) {
		if (bytes.size() < block)
			return std::nullopt;
		const auto header = bytes.substr(0, block);
		if (header.find_first_not_of('\0') == std::string_view::npos)
			return files; // the end is two blocks of zeros, or at least one
		const auto size = number(header.substr(124, 12));
		if (!sum_is_right(header) || !size)
			return std::nullopt;
		bytes.remove_prefix(block);
		if (*size > bytes.size())
			return std::nullopt;
		const auto content = bytes.substr(0, static_cast<std::size_t>(*size));
		bytes.remove_prefix(std::min(bytes.size(), (content.size() + block - 1) / block * block));
		const char type = header[156];
		if (type != '0' && type != '\0')
			continue; // folders, links, and headers that say more about the next file than is needed
		std::string name(text(header.substr(0, 100)));
		if (const auto prefix = text(header.substr(345, 155)); header.substr(257, 5) == "ustar" && !prefix.empty())
			name = std::string(prefix) + "/" + name;
		if (name.empty() || name.back() != '/') // a folder, before there were types
			files.push_back({std::move(name), content});
	}
	return files; // without its end: all files are whole
}

} // namespace courier
