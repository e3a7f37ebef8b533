// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/uuid.h"

namespace mdtool {

std::string Uuid::text() const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i != 0 && i % 4 == 0) {
      out += ':';
    }
    out += digits[bytes[i] >> 4];
    out += digits[bytes[i] & 15];
  }
  return out;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  Uuid uuid;
  std::size_t digits = 0;
  for (char c : text) {
    unsigned value = 0;
    if (c >= '0' && c <= '9') {
      value = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = static_cast<unsigned>(c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      value = static_cast<unsigned>(c - 'A' + 10);
    } else if (c == ':' || c == '-') {
      continue;
    } else {
      return std::nullopt;
    }
    if (digits == 32) {
      return std::nullopt;
    }
    unsigned char& byte = uuid.bytes[digits / 2];
    byte = static_cast<unsigned char>((static_cast<unsigned>(byte) << 4U) | value);
    ++digits;
  }
  if (digits != 32) {
    return std::nullopt;
  }
  return uuid;
}

}  // namespace mdtool
