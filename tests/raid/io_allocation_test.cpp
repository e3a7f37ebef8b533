// SPDX-License-Identifier: GPL-2.0-or-later
// Under memory pressure an allocation could wait for the very write that it is made for: the I/O path makes none.
#include <gtest/gtest.h>

#include <array>

#include "libraid/io/fence.h"
#include "libraid/io/file.h"
#include "libraid/io/slice.h"
#include "tests/raid/counted_allocations.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

using test::allocations;

TEST(IoAllocation, none_where_all_goes_well) {
  ScratchFolder scratch;
  write_file(scratch.path("member"), pattern(1 << 20));
  auto file = FileDevice::open(scratch.path("member"), Access::read_write);
  ASSERT_TRUE(file);
  auto slice = Slice::of(std::move(*file), 4096, 1 << 19);
  ASSERT_TRUE(slice);
  FencedDevice device(std::move(*slice), {{0, 1 << 19, "all"}});
  std::array<std::byte, 8192> bytes{};
  const std::size_t before = allocations;
  const bool well = device.read(100, bytes) && device.write(100, bytes) && device.write_durable(4096, bytes) &&
                    device.zero(1, 300'000) && device.discard(0, 4096) && device.flush();
  const std::size_t after = allocations;
  EXPECT_TRUE(well);
  EXPECT_EQ(after, before);
  EXPECT_GT(before, 0U) << "allocations are not counted";
}

}  // namespace
}  // namespace mdtool
