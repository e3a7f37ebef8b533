// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/partitions.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string_view>

#include "libmeta/ondisk.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

constexpr std::size_t sector = 512;
constexpr std::uint8_t linux_raid = 0xfd;
constexpr std::uint8_t extended = 0x05;

class PartitionsTest : public testing::Test {
 protected:
  // An entry of the boot record in that sector.
  void put_entry(std::size_t record, std::size_t index, std::uint8_t type, std::uint32_t start, std::uint32_t size) {
    const std::size_t at = record * sector + 446 + index * 16;
    image_[at + 4] = static_cast<std::byte>(type);
    ASSERT_TRUE(store(std::span(image_), at + 8, le32(start)));
    ASSERT_TRUE(store(std::span(image_), at + 12, le32(size)));
    image_[record * sector + 510] = std::byte{0x55};
    image_[record * sector + 511] = std::byte{0xaa};
  }

  std::vector<Partition> found() {
    write_file(scratch_.path("disk"), image_);
    const auto device = FileDevice::open(scratch_.path("disk"), Access::read_only);
    EXPECT_TRUE(device);
    const auto list = partitions(**device);
    EXPECT_TRUE(list);
    EXPECT_EQ(file_bytes(scratch_.path("disk")), image_);
    return *list;
  }

  ScratchFolder scratch_;
  std::vector<std::byte> image_ = std::vector<std::byte>(8192 * sector);
};

// The CRC of GPT (IEEE 802.3), bit by bit.
std::uint32_t crc32(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::byte b : bytes) {
    crc ^= static_cast<std::uint32_t>(b);
    for (int i = 0; i < 8; ++i) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
    }
  }
  return ~crc;
}

TEST_F(PartitionsTest, an_image_without_a_table_has_none) {
  EXPECT_TRUE(found().empty());
  image_ = pattern(image_.size());
  EXPECT_TRUE(found().empty());
}

TEST_F(PartitionsTest, files_too_small_for_a_table_have_none) {
  for (const std::size_t size : {0U, 1U, 511U, 512U, 1023U}) {
    image_ = std::vector<std::byte>(size);
    EXPECT_TRUE(found().empty()) << size;
  }
}

TEST_F(PartitionsTest, primary_partitions) {
  put_entry(0, 0, linux_raid, 2048, 1024);
  put_entry(0, 2, linux_raid, 4096, 2048);
  EXPECT_EQ(found(), (std::vector<Partition>{{2048 * sector, 1024 * sector, 1}, {4096 * sector, 2048 * sector, 3}}));
}

TEST_F(PartitionsTest, logical_ones_without_their_container) {
  put_entry(0, 0, linux_raid, 64, 64);
  put_entry(0, 1, extended, 1024, 4096);
  put_entry(1024, 0, linux_raid, 64, 512);
  put_entry(1024, 1, extended, 1024, 1024);
  put_entry(2048, 0, linux_raid, 64, 256);
  EXPECT_EQ(found(),
            (std::vector<Partition>{
                {64 * sector, 64 * sector, 1}, {1088 * sector, 512 * sector, 5}, {2112 * sector, 256 * sector, 6}}));
}

TEST_F(PartitionsTest, a_chain_that_bites_its_tail_ends) {
  put_entry(0, 0, extended, 1024, 4096);
  put_entry(1024, 0, linux_raid, 64, 512);
  put_entry(1024, 1, extended, 0, 4096);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_LE(found().size(), 256U);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(5));
}

TEST_F(PartitionsTest, beyond_the_end_is_cut_or_left_out) {
  put_entry(0, 0, linux_raid, 8000, 0xffffffff);
  put_entry(0, 1, linux_raid, 8192, 100);
  put_entry(0, 2, linux_raid, 0xffffffff, 0xffffffff);
  EXPECT_EQ(found(), (std::vector<Partition>{{8000 * sector, 192 * sector, 1}}));
}

TEST_F(PartitionsTest, a_guid_partition_table) {
  put_entry(0, 0, 0xee, 1, 8191);
  constexpr std::size_t header = sector, entries = 2 * sector;
  const std::string_view signature = "EFI PART";
  const auto put32 = [this](std::size_t at, std::uint32_t v) { ASSERT_TRUE(store(std::span(image_), at, le32(v))); };
  const auto put64 = [this](std::size_t at, std::uint64_t v) { ASSERT_TRUE(store(std::span(image_), at, le64(v))); };
  std::copy_n(std::as_bytes(std::span(signature)).begin(), 8, image_.begin() + header);
  put32(header + 8, 0x00010000);
  put32(header + 12, 92);
  put64(header + 24, 1);
  put64(header + 32, 8191);
  put64(header + 40, 34);
  put64(header + 48, 8158);
  put64(header + 72, 2);
  put32(header + 80, 128);
  put32(header + 84, 128);
  for (std::size_t i = 0; i < 32; ++i) {
    image_[entries + i] = static_cast<std::byte>(i + 1);  // type and identity of the first entry
  }
  put64(entries + 32, 2048);
  put64(entries + 40, 4095);
  put32(header + 88, crc32(std::span(image_).subspan(entries, 128 * 128)));
  put32(header + 16, crc32(std::span(image_).subspan(header, 92)));
  EXPECT_EQ(found(), (std::vector<Partition>{{2048 * sector, 2048 * sector, 1}}));
}

TEST_F(PartitionsTest, garbage_behind_a_signature_does_no_harm) {
  image_.resize(256 * sector);
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const auto garbage = pattern(64 * sector, seed);
    std::copy(garbage.begin(), garbage.end(), image_.begin());
    for (const std::size_t index : {0U, 1U, 2U, 3U}) {
      image_[446 + index * 16] = std::byte{0};
      put_entry(0, index, index == 3 ? extended : linux_raid, static_cast<std::uint32_t>(seed * 97 * index), 60);
    }
    for (const Partition& partition : found()) {
      EXPECT_TRUE(fits(partition.offset_bytes, partition.size_bytes, image_.size()));
      EXPECT_GT(partition.offset_bytes, 0U);
      EXPECT_GT(partition.size_bytes, 0U);
    }
  }
}

}  // namespace
}  // namespace mdtool
