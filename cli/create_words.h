// SPDX-License-Identifier: GPL-2.0-or-later
// mdadm's words for what a new array is like, as numbers. Knows spellings; what can be combined is judged elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libmeta/result.h"
#include "libmeta/sectors.h"

namespace mdtool::cli {

// "raid5", "5", "stripe", "mirror", "linear", ...
Result<std::int32_t> level_of(std::string_view word);
// Of this level: "left-symmetric", "ls", "n2", "original", ..., or md's number.
Result<std::uint32_t> layout_of(std::int32_t level, std::string_view word);
// "1.2", "1", "default", "0.90", "0", ...: as superblocks are called.
Result<std::string> metadata_of(std::string_view word);
// parse_size() in mdadm's util.c: K, M, G, T, or s for sectors; KiB where nothing is said. `option` is named where it
// does not parse.
Result<Sectors> sectors_of(std::string_view option, std::string_view word);
// Decimal digits alone.
std::optional<std::uint64_t> number_of(std::string_view digits);

}  // namespace mdtool::cli
