// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "libraid/io/faulty.h"
#include "libraid/io/memory.h"
#include "libraid/io/sector_access.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

// Takes whole sectors only, and notes a writer of a sector that another one is writing.
class StrictDevice final : public BlockDevice {
 public:
  explicit StrictDevice(std::size_t size) : memory_(pattern(size)) {}
  const std::vector<std::byte>& bytes() const { return memory_.bytes(); }
  mutable std::uint64_t partial = 0;
  std::uint64_t zeroed_bytes = 0, discarded_bytes = 0;

  std::uint64_t size_bytes() const override { return memory_.size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    note(offset_bytes, out.size());
    return memory_.read(offset_bytes, out);
  }
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override {
    note(offset_bytes, in.size());
    return memory_.write(offset_bytes, in);
  }
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    note(offset_bytes, length_bytes);
    zeroed_bytes += length_bytes;
    return memory_.zero(offset_bytes, length_bytes);
  }
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    note(offset_bytes, length_bytes);
    discarded_bytes += length_bytes;
    return Done{};
  }
  Status flush() override { return Done{}; }

 private:
  void note(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
    const bool to_the_end = offset_bytes + length_bytes == size_bytes();
    partial += offset_bytes % 512 == 0 && (length_bytes % 512 == 0 || to_the_end) ? 0U : 1U;
  }
  MemoryDevice memory_;
};

TEST(SectorAccess, every_small_range_is_written_read_and_zeroed_exactly) {
  constexpr std::size_t size = 3 * 512 + 100;  // the last sector is short
  for (std::size_t begin = 0; begin <= size; begin += begin % 512 < 2 || begin % 512 > 508 ? 1 : 127) {
    for (std::size_t end = begin; end <= size; end += end % 512 < 2 || end % 512 > 508 || end >= size - 1 ? 1 : 126) {
      StrictDevice device(size);
      SectorAccess access(device);
      auto expected = device.bytes();
      const auto bytes = pattern(end - begin, 5);
      std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(begin));
      ASSERT_TRUE(access.write(begin, bytes));
      ASSERT_EQ(device.bytes(), expected) << begin << " to " << end;
      std::vector<std::byte> read(end - begin);
      ASSERT_TRUE(access.read(begin, read));
      ASSERT_EQ(read, bytes) << begin << " to " << end;
      std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(begin), end - begin, std::byte{0});
      ASSERT_TRUE(access.zero(begin, end - begin));
      ASSERT_EQ(device.bytes(), expected) << begin << " to " << end;
      ASSERT_EQ(device.partial, 0U) << begin << " to " << end;
    }
  }
}

TEST(SectorAccess, discards_whole_sectors_only) {
  StrictDevice device(4096);
  SectorAccess access(device);
  ASSERT_TRUE(access.discard(100, 300));
  EXPECT_EQ(device.discarded_bytes, 0U);
  ASSERT_TRUE(access.discard(100, 2000));
  EXPECT_EQ(device.discarded_bytes, 3 * 512U);
  EXPECT_EQ(device.partial, 0U);
}

TEST(SectorAccess, beyond_the_end_is_out_of_range) {
  StrictDevice device(1024);
  SectorAccess access(device);
  const auto bytes = pattern(100);
  EXPECT_EQ(access.write(1000, bytes).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(access.write(~std::uint64_t{0}, bytes).error().kind, ErrorKind::out_of_range);
  std::vector<std::byte> room(100);
  EXPECT_EQ(access.read(1000, room).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(access.zero(1, ~std::uint64_t{0}).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(access.discard(1024, 1).error().kind, ErrorKind::out_of_range);
}

TEST(SectorAccess, a_sector_that_cannot_be_read_is_not_written_in_part) {
  MemoryDevice memory(pattern(4096));
  FaultyDevice faulty(memory);
  faulty.add({.operation = Operation::read, .offset_bytes = 512, .length_bytes = 512});
  SectorAccess access(faulty);
  const auto bytes = pattern(100, 3);
  EXPECT_FALSE(access.write(600, bytes));
  EXPECT_EQ(memory.bytes(), pattern(4096));
  EXPECT_TRUE(access.write(512, pattern(512, 3)));
}

// A writer of a whole sector beside one of its parts: the part is read and written back either before or after.
TEST(SectorAccess, writers_of_parts_and_of_wholes_do_not_lose_each_other) {
  constexpr int rounds = 3000;
  MemoryDevice device(std::vector<std::byte>(1536));
  SectorAccess access(device);
  const auto patch = [&](std::uint64_t at, std::uint64_t whole_sector) {
    for (int i = 1; i <= rounds; ++i) {
      const std::array<std::byte, 2> bytes = {std::byte(i >> 8), std::byte(i & 255)};
      ASSERT_TRUE(access.write(at, bytes));
      ASSERT_TRUE(access.write(whole_sector, std::vector<std::byte>(512, std::byte(i))));
    }
  };
  std::thread first(patch, 10, 512), second(patch, 20, 1024), across([&] {
    for (int i = 1; i <= rounds; ++i) {
      ASSERT_TRUE(access.write(500, std::vector<std::byte>(100, std::byte(i))));
    }
  });
  first.join();
  second.join();
  across.join();
  for (const std::size_t at : {10U, 20U}) {
    EXPECT_EQ(static_cast<int>(device.bytes()[at]) * 256 + static_cast<int>(device.bytes()[at + 1]), rounds) << at;
  }
  EXPECT_EQ(device.bytes()[511], std::byte(rounds & 255));
}

}  // namespace
}  // namespace mdtool
