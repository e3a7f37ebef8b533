// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/field_list.h"

#include <array>
#include <string_view>

namespace mdtool {

std::string hexadecimal(std::uint32_t value) {
  const std::array<unsigned char, 4> bytes{static_cast<unsigned char>(value >> 24),
                                           static_cast<unsigned char>(value >> 16),
                                           static_cast<unsigned char>(value >> 8), static_cast<unsigned char>(value)};
  return "0x" + hex_digits(bytes);
}

std::string hex_digits(std::span<const unsigned char> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace mdtool
