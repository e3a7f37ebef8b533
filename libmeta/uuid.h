// SPDX-License-Identifier: GPL-2.0-or-later
// A 128-bit identity, its bytes in the order in which mdadm prints them.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mdtool {

struct Uuid {
  std::array<unsigned char, 16> bytes{};

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
  // mdadm's spelling: "40358a20:4a1cb57a:33206946:93e05a74".
  std::string text() const;
  // Accepts mdadm's spelling and the one with dashes: 32 hexadecimal digits, separators ignored.
  static std::optional<Uuid> parse(std::string_view text);
};

}  // namespace mdtool
