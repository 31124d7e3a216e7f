#pragma once

// Answers that are archives: a gzipped tar, as some destinations hand out the results of a job. The bytes come from
// elsewhere, so every length in them is checked, and what they may grow to is bounded.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace courier {

// RFC 1952, also several members one after the other. nullopt: it is damaged, cut off, or longer than `most` bytes.
std::optional<std::string> gunzip(std::string_view bytes, std::size_t most);

struct TarFile {
	std::string name; // as its header has it; not a path to write to
	std::string_view content;
};

// The regular files of a tar archive (ustar, pax, GNU, and what was before them), in order. Anything else in it is
// passed over. nullopt: it is damaged or cut off.
std::optional<std::vector<TarFile>> read_tar(std::string_view bytes);

} // namespace courier
