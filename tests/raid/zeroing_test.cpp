// SPDX-License-Identifier: GPL-2.0-or-later
// How devices and files zero, by what a made-up sysfs says of them, and what samples find of a device that lies.
#include "libraid/io/zeroing.h"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>

#include <filesystem>

#include "libraid/engine/zero.h"
#include "libraid/io/memory.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t xfs = 0x58465342;
constexpr std::uint64_t nfs = 0x6969;

class ZeroAbilityTest : public testing::Test {
 protected:
  void attribute(const std::string& folder, const std::string& name, const std::string& text) {
    write_file(system_.sys + "/dev/block/" + folder + "/" + name, text);
  }
  Result<ZeroAbility> ability(ZeroMethod wanted, unsigned minor = 0) const {
    return zero_ability_of_device({.rdev = makedev(8, minor), .block_device = true}, wanted, system_);
  }
  void expect(ZeroMethod wanted, ZeroMethod method, bool fast, const std::string& why) const {
    const auto a = ability(wanted);
    ASSERT_TRUE(a) << a.error().text;
    EXPECT_EQ(a->method, method);
    EXPECT_EQ(a->fast, fast);
    EXPECT_NE(a->why.find(why), std::string::npos) << a->why;
  }

  ScratchFolder scratch_;
  SystemPaths system_{scratch_.path("proc"), scratch_.path("sys")};
};

TEST_F(ZeroAbilityTest, a_device_that_unmaps_does_so) {
  attribute("8:0/queue", "write_zeroes_max_bytes", "33553920\n");
  attribute("8:0/queue", "write_zeroes_unmap_max_bytes", "33553920\n");
  expect(ZeroMethod::automatic, ZeroMethod::unmap, true, "write_zeroes_unmap_max_bytes is 33553920");
  expect(ZeroMethod::unmap, ZeroMethod::unmap, true, "write_zeroes_unmap_max_bytes");
  expect(ZeroMethod::zeroout, ZeroMethod::zeroout, true, "write_zeroes_max_bytes is 33553920");
  expect(ZeroMethod::write, ZeroMethod::write, false, "every zero is written");
}

TEST_F(ZeroAbilityTest, one_that_only_zeroes_is_not_said_to_unmap_fast) {
  attribute("8:0/queue", "write_zeroes_max_bytes", "4294966784\n");
  attribute("8:0/queue", "write_zeroes_unmap_max_bytes", "0\n");
  expect(ZeroMethod::automatic, ZeroMethod::zeroout, true, "zeroes by itself");
  expect(ZeroMethod::unmap, ZeroMethod::unmap, false, "write_zeroes_unmap_max_bytes is 0");
}

TEST_F(ZeroAbilityTest, without_an_attribute_a_device_is_slow) {
  attribute("8:0/queue", "write_zeroes_max_bytes", "65536\n");
  expect(ZeroMethod::unmap, ZeroMethod::unmap, false, "no queue/write_zeroes_unmap_max_bytes");
  expect(ZeroMethod::automatic, ZeroMethod::zeroout, true, "write_zeroes_max_bytes");
  const auto nothing_known = ability(ZeroMethod::automatic, 16);
  ASSERT_TRUE(nothing_known);
  EXPECT_EQ(nothing_known->method, ZeroMethod::zeroout);
  EXPECT_FALSE(nothing_known->fast);
}

TEST_F(ZeroAbilityTest, discard_promises_nothing) {
  attribute("8:0/queue", "write_zeroes_max_bytes", "0\n");
  attribute("8:0/queue", "write_zeroes_unmap_max_bytes", "1048576\n");
  attribute("8:0/queue", "discard_max_bytes", "4294966784\n");
  expect(ZeroMethod::automatic, ZeroMethod::zeroout, false, "write_zeroes_max_bytes is 0");
  const auto refused = ability(ZeroMethod::unmap);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_NE(refused.error().text.find("write_zeroes_max_bytes is 0"), std::string::npos);
}

TEST_F(ZeroAbilityTest, a_partition_has_its_disks_queue) {
  attribute("8:0/queue", "write_zeroes_max_bytes", "65536\n");
  attribute("8:0/sda1", "partition", "1\n");
  std::filesystem::create_directory_symlink("8:0/sda1", system_.sys + "/dev/block/8:1");
  const auto partition = ability(ZeroMethod::zeroout, 1);
  ASSERT_TRUE(partition);
  EXPECT_TRUE(partition->fast) << partition->why;
}

TEST_F(ZeroAbilityTest, nonsense_in_an_attribute_is_none) {
  attribute("8:0/queue", "write_zeroes_max_bytes", "-1\n");
  expect(ZeroMethod::zeroout, ZeroMethod::zeroout, false, "no queue/write_zeroes_max_bytes");
}

TEST(ZeroAbilityOfFile, depends_on_what_its_file_system_takes) {
  for (const ZeroMethod any : {ZeroMethod::automatic, ZeroMethod::unmap, ZeroMethod::zeroout}) {
    const auto on_xfs = zero_ability_of_file(xfs, any);
    ASSERT_TRUE(on_xfs);
    EXPECT_TRUE(on_xfs->fast);
    EXPECT_EQ(on_xfs->method, any == ZeroMethod::zeroout ? ZeroMethod::zeroout : ZeroMethod::unmap);
  }
  EXPECT_EQ(zero_ability_of_file(TMPFS_MAGIC, ZeroMethod::automatic)->method, ZeroMethod::unmap);
  EXPECT_EQ(zero_ability_of_file(TMPFS_MAGIC, ZeroMethod::zeroout).error().kind, ErrorKind::refused);
  EXPECT_FALSE(zero_ability_of_file(nfs, ZeroMethod::automatic)->fast);
  EXPECT_EQ(zero_ability_of_file(nfs, ZeroMethod::unmap).error().kind, ErrorKind::refused);
  EXPECT_EQ(zero_ability_of_file(nfs, ZeroMethod::zeroout).error().kind, ErrorKind::refused);
  EXPECT_FALSE(zero_ability_of_file(xfs, ZeroMethod::write)->fast);
}

TEST(ZeroAbilityOfFile, this_folders_file_is_zeroed_by_what_was_said) {
  const ScratchFolder scratch;
  const std::string path = scratch.path("member");
  for (const ZeroMethod method : {ZeroMethod::automatic, ZeroMethod::unmap, ZeroMethod::zeroout, ZeroMethod::write}) {
    write_file(path, pattern(mib));
    auto device = FileDevice::open(path, Access::read_write);
    ASSERT_TRUE(device);
    const auto ability = zero_ability(**device, method);
    const Status chosen = zero_by(**device, method);
    ASSERT_EQ(chosen.has_value(), ability.has_value());
    if (!ability) {
      EXPECT_NE(method, ZeroMethod::automatic);
      EXPECT_EQ(chosen.error().kind, ErrorKind::refused);
      continue;
    }
    ASSERT_TRUE((*device)->zero(4096, mib - 8192));
    std::vector<std::byte> expected = pattern(mib);
    std::fill(expected.begin() + 4096, expected.end() - 4096, std::byte{});
    EXPECT_EQ(file_bytes(path), expected);
  }
}

std::vector<SectorRange> ranges_of(std::uint64_t count) {
  std::vector<SectorRange> ranges;
  for (std::uint64_t i = 0; i < count; ++i) {
    ranges.push_back({Sectors(i * 4096), Sectors(2048)});
  }
  return ranges;
}

TEST(Samples, find_what_lies_at_either_end_of_any_range) {
  const auto ranges = ranges_of(8);
  for (const SectorRange& r : ranges) {
    for (const std::uint64_t at : {r.first.bytes(), r.end().bytes() - 1}) {
      for (const Sampling sampling : {Sampling::brief, Sampling::thorough}) {
        std::vector<std::byte> bytes(17 * mib);
        bytes[mib / 2 + at] = std::byte{1};
        const auto found = sample_not_zero(MemoryDevice(bytes), mib / 2, ranges, sampling);
        ASSERT_TRUE(found);
        EXPECT_EQ(*found, mib / 2 + at);
      }
    }
  }
}

TEST(Samples, are_thorough_where_labels_are_and_look_at_nothing_outside) {
  const std::vector<SectorRange> range{{Sectors(2048), Sectors(65536)}};
  std::vector<std::byte> bytes(64 * mib);
  bytes[mib - 1] = bytes[33 * mib] = std::byte{1};
  EXPECT_FALSE(*sample_not_zero(MemoryDevice(bytes), 0, range, Sampling::thorough));
  for (const std::uint64_t label : {mib + 1024, mib + 65536, 2 * mib - 1, 32 * mib, 33 * mib - 512}) {
    std::vector<std::byte> labelled = bytes;
    labelled[label] = std::byte{0x80};
    EXPECT_EQ(**sample_not_zero(MemoryDevice(std::move(labelled)), 0, range, Sampling::thorough), label);
  }
  EXPECT_FALSE(*sample_not_zero(MemoryDevice(bytes), 0, {}, Sampling::thorough));
}

TEST(Samples, find_a_member_of_which_a_tenth_is_not_zero) {
  std::vector<std::byte> bytes(64 * mib);
  std::fill_n(bytes.begin() + 30 * mib, 6 * mib, std::byte{0xa5});
  const std::vector<SectorRange> range{{Sectors(), Sectors::from_bytes(bytes.size())}};
  EXPECT_TRUE(*sample_not_zero(MemoryDevice(bytes), 0, range, Sampling::thorough));
}

TEST(Samples, a_range_of_one_sector_is_read_and_nothing_behind_it) {
  std::vector<std::byte> bytes(1536, std::byte{});
  bytes[511] = bytes[1024] = std::byte{1};
  const std::vector<SectorRange> sector{{Sectors(1), Sectors(1)}};
  EXPECT_FALSE(*sample_not_zero(MemoryDevice(bytes), 0, sector, Sampling::thorough));
  bytes[1023] = std::byte{1};
  EXPECT_EQ(**sample_not_zero(MemoryDevice(bytes), 0, sector, Sampling::brief), 1023U);
}

TEST(ZeroingTest, names_the_member_and_the_byte_that_a_device_did_not_zero) {
  MemoryDevice good(pattern(4 * mib)), lying(pattern(4 * mib));
  Zeroing zeroing({{"sda", &good, &good, mib}, {"sdb", &lying, &lying, 2 * mib}});
  const SectorRange range{Sectors(8), Sectors(2048)};
  ASSERT_TRUE(zeroing.zero(range));
  ASSERT_TRUE(zeroing.flush());
  EXPECT_EQ(zeroing.bytes_zeroed(), 2 * mib);
  ASSERT_TRUE(zeroing.verify_samples(std::span(&range, 1), Sampling::brief));
  std::vector<std::byte> expected = pattern(4 * mib);
  std::fill_n(expected.begin() + mib + 4096, mib, std::byte{});
  EXPECT_EQ(good.bytes(), expected);
  const std::uint64_t last = 2 * mib + range.end().bytes() - 1;
  ASSERT_TRUE(lying.write(last, std::vector{std::byte{7}}));
  const Status found = zeroing.verify_samples(std::span(&range, 1), Sampling::brief);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().text.find("sdb: byte " + std::to_string(last)), 0U) << found.error().text;
}

}  // namespace
}  // namespace mdtool
