// SPDX-License-Identifier: GPL-2.0-or-later
// Endian-typed, alignment-1 integers for structures declared as they lie on disk, and the only door to them:
// load() and store(), both bounds-checked. Knows no format.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "libmeta/result.h"

namespace mdtool {

template <typename T>
constexpr T byte_swapped(T value) {
  using U = std::make_unsigned_t<T>;
  auto u = static_cast<U>(value);
  if constexpr (sizeof(T) == 2) {
    u = static_cast<U>((u << 8) | (u >> 8));
  } else if constexpr (sizeof(T) == 4) {
    u = ((u & 0xff) << 24) | ((u & 0xff00) << 8) | ((u >> 8) & 0xff00) | (u >> 24);
  } else {
    u = (static_cast<U>(byte_swapped(static_cast<std::uint32_t>(u))) << 32) |
        byte_swapped(static_cast<std::uint32_t>(u >> 32));
  }
  return static_cast<T>(u);
}

template <typename T, std::endian Order>
class OnDisk {
 public:
  constexpr OnDisk() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr OnDisk(T value) : bytes_(std::bit_cast<Bytes>(converted(value))) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr operator T() const { return value(); }
  constexpr T value() const { return converted(std::bit_cast<T>(bytes_)); }

 private:
  using Bytes = std::array<unsigned char, sizeof(T)>;
  static constexpr T converted(T value) {
    if constexpr (sizeof(T) == 1 || Order == std::endian::native) {
      return value;
    } else {
      return byte_swapped(value);
    }
  }
  Bytes bytes_{};
};

using u8 = OnDisk<std::uint8_t, std::endian::little>;
using le16 = OnDisk<std::uint16_t, std::endian::little>;
using le32 = OnDisk<std::uint32_t, std::endian::little>;
using le64 = OnDisk<std::uint64_t, std::endian::little>;
using sle16 = OnDisk<std::int16_t, std::endian::little>;
using sle32 = OnDisk<std::int32_t, std::endian::little>;
using be16 = OnDisk<std::uint16_t, std::endian::big>;
using be32 = OnDisk<std::uint32_t, std::endian::big>;
using be64 = OnDisk<std::uint64_t, std::endian::big>;

template <typename T>
concept DiskStructure = std::is_trivially_copyable_v<T> && alignof(T) == 1;

// A copy of the structure at `offset` bytes; fails (out_of_range) if it does not fit.
template <DiskStructure T>
Result<T> load(std::span<const std::byte> bytes, std::size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
    return Error{ErrorKind::out_of_range, "structure of " + std::to_string(sizeof(T)) + " bytes at byte " +
                                              std::to_string(offset) + " does not fit into " +
                                              std::to_string(bytes.size()) + " bytes"};
  }
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// Writes the structure at `offset` bytes; fails (out_of_range), with nothing written, if it does not fit.
template <DiskStructure T>
Status store(std::span<std::byte> bytes, std::size_t offset, const T& value) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
    return Error{ErrorKind::out_of_range, "structure does not fit at byte " + std::to_string(offset)};
  }
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
  return Done{};
}

}  // namespace mdtool
