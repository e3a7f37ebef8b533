// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/fence.h"

#include <gtest/gtest.h>

#include "libraid/io/faulty.h"
#include "libraid/io/memory.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

constexpr std::uint64_t all_ones = ~std::uint64_t{0};

class FenceTest : public testing::Test {
 protected:
  FenceTest() { testing::GTEST_FLAG(death_test_style) = "threadsafe"; }

  MemoryDevice memory_{pattern(65536)};
};

TEST_F(FenceTest, planned_writes_pass_and_are_counted) {
  FencedDevice fence(memory_, {{4096, 1024, "superblock"}});
  ASSERT_TRUE(fence.write(4096, pattern(1024, 2)));
  ASSERT_TRUE(fence.write(4200, pattern(1, 3)));
  std::vector<std::byte> out(100);
  ASSERT_TRUE(fence.read(0, out));
  EXPECT_EQ(fence.written_bytes(), 1025U);
  EXPECT_EQ(fence.read_bytes(), 100U);
  EXPECT_EQ(memory_.bytes()[4097], pattern(1024, 2)[1]);
}

TEST_F(FenceTest, a_write_may_cross_extents_that_touch) {
  FencedDevice fence(memory_, {{8192, 4096, "bitmap"}, {4096, 4096, "superblock"}, {5000, 10, "inside"}});
  EXPECT_TRUE(fence.write(4096, pattern(8192)));
  EXPECT_EQ(fence.plan().size(), 3U);
}

TEST_F(FenceTest, one_byte_outside_ends_the_process) {
  FencedDevice fence(memory_, {{4096, 1024, "superblock"}, {8192, 512, "bitmap"}});
  const auto at = [&](std::uint64_t offset, std::size_t length) {
    static_cast<void>(fence.write(offset, pattern(length)));
  };
  EXPECT_DEATH(at(4095, 1), "write fence: 1 bytes at byte 4095 are not in the plan");
  EXPECT_DEATH(at(5120, 1), "write fence");
  EXPECT_DEATH(at(4096, 1025), "write fence");
  EXPECT_DEATH(at(4096, 4608), "write fence");  // across the gap
  EXPECT_DEATH(at(0, 1), "write fence");
  EXPECT_DEATH(at(all_ones, 2), "write fence");
}

TEST_F(FenceTest, nothing_planned_nothing_written) {
  FencedDevice fence(memory_, {});
  EXPECT_DEATH(static_cast<void>(fence.write(0, pattern(1))), "write fence");
  EXPECT_TRUE(fence.write(0, {}));
}

TEST_F(FenceTest, an_extent_that_would_overflow_does_not_wrap_around) {
  FencedDevice fence(memory_, {{65536 - 512, all_ones, "all ones"}});
  EXPECT_DEATH(static_cast<void>(fence.write(0, pattern(1))), "write fence");
  EXPECT_TRUE(fence.write(65536 - 512, pattern(512)));
}

TEST_F(FenceTest, a_verified_write_is_flushed_and_reads_back) {
  FaultyDevice below(memory_);
  FencedDevice fence(below, {{0, 65536, "all"}});
  EXPECT_TRUE(fence.write_verified(512, pattern(1024, 4), memory_));
  below.add({.operation = Operation::flush});
  EXPECT_FALSE(fence.write_verified(512, pattern(1024, 4), memory_));
}

TEST_F(FenceTest, a_device_that_loses_a_write_is_caught) {
  FencedDevice fence(memory_, {{0, 65536, "all"}});
  const MemoryDevice stale(memory_.bytes());
  auto fresh = pattern(1024, 4);
  std::copy_n(stale.bytes().begin() + 512, 100, fresh.begin());
  fresh[100] = ~stale.bytes()[612];
  const Status status = fence.write_verified(512, fresh, stale);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().text.find("byte 612"), std::string::npos) << status.error().text;
}

}  // namespace
}  // namespace mdtool
