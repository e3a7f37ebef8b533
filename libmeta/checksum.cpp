// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/checksum.h"

#include <array>

#include "libmeta/ondisk.h"

namespace mdtool {
namespace {

constexpr std::uint32_t castagnoli_reflected = 0x82f63b78;

constexpr std::array<std::uint32_t, 256> crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? castagnoli_reflected : 0);
    }
    table[i] = crc;
  }
  return table;
}

// The integer at `offset`, which the caller has bounded.
template <typename T, std::endian Order>
T integer_at(std::span<const std::byte> bytes, std::size_t offset) {
  OnDisk<T, Order> value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

}  // namespace

template <std::endian Order>
std::uint32_t superblock_sum(std::span<const std::byte> superblock, std::size_t csum_offset) {
  std::uint64_t sum = 0;
  std::size_t offset = 0;
  for (; superblock.size() - offset >= 4; offset += 4) {
    if (offset != csum_offset) {
      sum += integer_at<std::uint32_t, Order>(superblock, offset);
    }
  }
  if (superblock.size() - offset >= 2) {
    sum += integer_at<std::uint16_t, Order>(superblock, offset);
  }
  return static_cast<std::uint32_t>(sum) + static_cast<std::uint32_t>(sum >> 32);
}

template std::uint32_t superblock_sum<std::endian::little>(std::span<const std::byte>, std::size_t);
template std::uint32_t superblock_sum<std::endian::big>(std::span<const std::byte>, std::size_t);

std::uint32_t crc32c(std::uint32_t seed, std::span<const std::byte> bytes) {
  static constexpr auto table = crc32c_table();
  std::uint32_t crc = seed;
  for (std::byte byte : bytes) {
    crc = (crc >> 8) ^ table[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
  }
  return crc;
}

std::uint32_t crc32c_standard(std::span<const std::byte> bytes) {
  return ~crc32c(~std::uint32_t{0}, bytes);
}

}  // namespace mdtool
