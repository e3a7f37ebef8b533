// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/array.h"

#include <gtest/gtest.h>

#include "libraid/io/faulty.h"
#include "libraid/io/memory.h"
#include "tests/raid/plain_rows.h"

namespace mdtool {
namespace {

using test::Members;

constexpr Sectors chunk(8);
constexpr std::uint64_t stripes = 12;
constexpr Sectors data_offset(16);

const parity::Kernels& kernels() {
  return *parity::supported_kernels().back();
}

Layout layout_of(std::int32_t level, std::uint32_t code, std::uint32_t slots) {
  return *Layout::of({level, code, slots, chunk, chunk * stripes});
}

std::vector<ArrayMember> all_of(const Members& members) {
  std::vector<ArrayMember> out;
  for (const auto& m : members.devices) {
    out.push_back({m.get(), data_offset, Sectors::max(), {}});
  }
  return out;
}

std::vector<std::byte> read_all(const Array& array) {
  std::vector<std::byte> content(array.size_bytes());
  auto done = array.read(0, content);
  EXPECT_TRUE(done) << done.error().text;
  return content;
}

struct Case {
  std::int32_t level;
  std::uint32_t layout;
  std::uint32_t slots;
};

const std::vector<Case> cases = {{4, 0, 3}, {5, 0, 4},  {5, 1, 4},  {5, 2, 3},  {5, 3, 5},  {5, 4, 3},  {5, 5, 4},
                                 {6, 0, 4}, {6, 1, 5},  {6, 2, 6},  {6, 3, 5},  {6, 4, 5},  {6, 5, 5},  {6, 8, 5},
                                 {6, 9, 6}, {6, 10, 5}, {6, 16, 5}, {6, 17, 5}, {6, 18, 6}, {6, 19, 5}, {6, 20, 5}};

TEST(Array, ReadsTheSameWithEveryTolerableSetOfMembersMissing) {
  for (const Case& c : cases) {
    const Layout layout = layout_of(c.level, c.layout, c.slots);
    const Members members = test::make_members(layout, data_offset, 7);
    for (std::uint32_t a = 0; a < c.slots; ++a) {
      for (std::uint32_t b = a; b < c.slots; ++b) {
        if (b != a && layout.parity_disks() < 2) {
          continue;
        }
        auto present = all_of(members);
        present[a].data = nullptr;
        present[b].data = nullptr;
        EXPECT_EQ(read_all(Array(layout, present, kernels())), members.content)
            << "level " << c.level << " layout " << c.layout << " without " << a << " and " << b;
      }
    }
  }
}

TEST(Array, RefusesMoreThanItsParityCanReplace) {
  const Layout layout = layout_of(5, 2, 4);
  const Members members = test::make_members(layout, data_offset, 8);
  auto present = all_of(members);
  present[0].data = nullptr;
  present[2].data = nullptr;
  std::vector<std::byte> content(layout.array_size().bytes());
  auto done = Array(layout, present, kernels()).read(0, content);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ErrorKind::io);
}

TEST(Array, TrustsARecoveringMemberOnlyBelowItsMark) {
  const Layout layout = layout_of(5, 2, 4);
  Members members = test::make_members(layout, data_offset, 9);
  const Sectors mark(13);  // in a stripe where slot 1 holds data
  test::spoil(*members.devices[1], (data_offset + mark).bytes(), members.devices[1]->size_bytes());
  auto present = all_of(members);
  present[1].valid_until = mark;
  EXPECT_EQ(read_all(Array(layout, present, kernels())), members.content);
  present[1].valid_until = mark + Sectors(1);
  EXPECT_NE(read_all(Array(layout, present, kernels())), members.content);
}

TEST(Array, NeverReadsWhatTheBadBlockLogLists) {
  const Layout layout = layout_of(6, 2, 5);
  Members members = test::make_members(layout, data_offset, 10);
  const std::vector<SectorRange> bad = {{Sectors(3), Sectors(2)}, {Sectors(30), Sectors(9)}};
  for (const SectorRange& r : bad) {
    test::spoil(*members.devices[2], (data_offset + r.first).bytes(), (data_offset + r.end()).bytes());
  }
  auto present = all_of(members);
  present[2].bad = bad;
  EXPECT_EQ(read_all(Array(layout, present, kernels())), members.content);
  present[0].data = nullptr;
  EXPECT_EQ(read_all(Array(layout, present, kernels())), members.content);
}

TEST(Array, ReconstructsWhatAMemberCannotRead) {
  const Layout layout = layout_of(5, 0, 4);
  Members members = test::make_members(layout, data_offset, 11);
  FaultyDevice faulty(*members.devices[3]);
  faulty.add({Operation::read, (data_offset + Sectors(11)).bytes(), 512});
  auto present = all_of(members);
  present[3].data = &faulty;
  EXPECT_EQ(read_all(Array(layout, present, kernels())), members.content);
  FaultyDevice other(*members.devices[0]);
  other.add({Operation::read, (data_offset + Sectors(11)).bytes(), 512});
  present[0].data = &other;
  std::vector<std::byte> content(layout.array_size().bytes());
  EXPECT_FALSE(Array(layout, present, kernels()).read(0, content));
}

TEST(Array, ReadsAnySectorsAnywhere) {
  const Layout layout = layout_of(6, 9, 6);
  const Members members = test::make_members(layout, data_offset, 12);
  auto present = all_of(members);
  present[4].data = nullptr;
  const Array array(layout, present, kernels());
  for (std::uint64_t first = 0; first < 100; first += 7) {
    for (std::uint64_t count = 1; count < 40; count += 6) {
      std::vector<std::byte> out(count * 512);
      ASSERT_TRUE(array.read(first * 512, out));
      EXPECT_TRUE(
          std::equal(out.begin(), out.end(), members.content.begin() + static_cast<std::ptrdiff_t>(first * 512)));
    }
  }
  std::vector<std::byte> sector(512);
  EXPECT_EQ(array.read(array.size_bytes(), sector).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(array.read(100, sector).error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace mdtool
