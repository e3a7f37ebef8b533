// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "libmeta/ondisk.h"

namespace mdtool {
namespace {

template <std::endian Order>
std::vector<std::byte> words(const std::vector<std::uint32_t>& values) {
  std::vector<std::byte> bytes(values.size() * 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const OnDisk<std::uint32_t, Order> word = values[i];
    std::memcpy(bytes.data() + 4 * i, &word, 4);
  }
  return bytes;
}

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

constexpr std::size_t nowhere = 1U << 20;

TEST(SuperblockSum, FoldsTheCarriesOnce) {
  // The sum 0x4f8e063eb of a real 0.90 superblock.
  const auto data = words<std::endian::little>({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xf8e063ef});
  EXPECT_EQ(superblock_sum<std::endian::little>(data, nowhere), 0xf8e063efU);
}

TEST(SuperblockSum, DropsTheCarryOfTheFold) {
  const auto data = words<std::endian::little>({0xffffffff, 0xffffffff, 0x00000001});  // 0x1ffffffff
  EXPECT_EQ(superblock_sum<std::endian::little>(data, nowhere), 0U);
}

TEST(SuperblockSum, TakesTheStoredSumAsZero) {
  const auto data = words<std::endian::little>({1, 0xdeadbeef, 2});
  EXPECT_EQ(superblock_sum<std::endian::little>(data, 4), 3U);
  EXPECT_EQ(superblock_sum<std::endian::little>(data, nowhere), 0xdeadbef2U);
}

TEST(SuperblockSum, AddsALastHalfWordAsLittleEndian) {
  auto data = words<std::endian::little>({1});
  data.push_back(std::byte{0x34});
  data.push_back(std::byte{0x12});
  EXPECT_EQ(superblock_sum<std::endian::little>(data, nowhere), 0x1235U);
}

TEST(SuperblockSum, IsTheSameNumberInBothByteOrders) {
  const std::vector<std::uint32_t> values{0xa92b4efc, 90, 0x80000000, 0x90000000};
  EXPECT_EQ(superblock_sum<std::endian::big>(words<std::endian::big>(values), nowhere),
            superblock_sum<std::endian::little>(words<std::endian::little>(values), nowhere));
}

TEST(SuperblockSum, OfNothingIsZero) {
  EXPECT_EQ(superblock_sum<std::endian::little>({}, 0), 0U);
}

TEST(Crc32c, StandardCheckValue) {
  EXPECT_EQ(crc32c_standard(bytes("123456789")), 0xe3069283U);
}

TEST(Crc32c, PlainDoesNotInvert) {
  EXPECT_EQ(crc32c(0xffffffff, bytes("123456789")), ~0xe3069283U);
}

TEST(Crc32c, ChainsThroughItsSeed) {
  EXPECT_EQ(crc32c(crc32c(0xffffffff, bytes("1234")), bytes("56789")), ~0xe3069283U);
  EXPECT_EQ(crc32c(0x12345678, {}), 0x12345678U);
}

TEST(Crc32c, ThirtyTwoZeroBytes) {
  const std::vector<std::byte> zeroes(32);  // RFC 3720, B.4
  EXPECT_EQ(crc32c_standard(zeroes), 0x8a9136aaU);
}

}  // namespace
}  // namespace mdtool
