// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "libraid/io/faulty.h"
#include "libraid/io/memory.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

class FaultyDeviceTest : public testing::Test {
 protected:
  bool reads(std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> out(length);
    return device_.read(offset, out).has_value();
  }

  MemoryDevice memory_{pattern(8192)};
  FaultyDevice device_{memory_};
};

TEST_F(FaultyDeviceTest, without_a_script_it_is_the_device) {
  std::vector<std::byte> out(8192);
  ASSERT_TRUE(device_.read(0, out));
  EXPECT_EQ(out, memory_.bytes());
  ASSERT_TRUE(device_.write(5, pattern(3, 7)));
  EXPECT_EQ(memory_.bytes()[5], pattern(3, 7)[0]);
  EXPECT_TRUE(device_.flush());
  EXPECT_EQ(device_.operations(), 3U);
}

TEST_F(FaultyDeviceTest, a_bad_range_fails_reads_that_touch_it) {
  device_.add({.operation = Operation::read, .offset_bytes = 1024, .length_bytes = 512});
  EXPECT_TRUE(reads(0, 1024));
  EXPECT_FALSE(reads(0, 1025));
  EXPECT_FALSE(reads(1535, 1));
  EXPECT_TRUE(reads(1536, 512));
  EXPECT_TRUE(device_.write(1024, pattern(512)));
}

TEST_F(FaultyDeviceTest, the_nth_operation_of_any_kind_fails_once) {
  device_.add({.after = 2, .times = 1});
  EXPECT_TRUE(reads(0, 1));
  EXPECT_TRUE(device_.flush());
  EXPECT_FALSE(device_.write(0, pattern(1)));
  EXPECT_TRUE(device_.write(0, pattern(1)));
}

TEST_F(FaultyDeviceTest, the_nth_flush_fails_with_its_errno) {
  device_.add({.operation = Operation::flush, .after = 1, .errno_value = ENOSPC});
  EXPECT_TRUE(device_.flush());
  EXPECT_TRUE(device_.write(0, pattern(1)));
  const Status status = device_.flush();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().text.find("No space left"), std::string::npos);
}

TEST_F(FaultyDeviceTest, a_short_write_leaves_its_part_behind) {
  const auto before = memory_.bytes();
  const auto fresh = pattern(1024, 5);
  device_.add({.operation = Operation::write, .transferred_bytes = 512});
  EXPECT_FALSE(device_.write(0, fresh));
  EXPECT_TRUE(std::equal(fresh.begin(), fresh.begin() + 512, memory_.bytes().begin()));
  EXPECT_TRUE(std::equal(before.begin() + 512, before.end(), memory_.bytes().begin() + 512));
}

}  // namespace
}  // namespace mdtool
