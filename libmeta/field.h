// SPDX-License-Identifier: GPL-2.0-or-later
// One named value of an on-disk structure, for printing, JSON and diffing: the kernel's field names, raw values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mdtool {

enum class Unit { none, sectors, bytes, kibibytes, seconds, hexadecimal };

struct Field {
  std::string name;  // "resync_offset", "dev_roles[3]"
  std::variant<std::uint64_t, std::int64_t, std::string> value;
  Unit unit = Unit::none;
};

using Fields = std::vector<Field>;

}  // namespace mdtool
