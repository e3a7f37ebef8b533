// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/engine/sync.h"

#include <gtest/gtest.h>

#include "libraid/io/faulty.h"
#include "tests/raid/plain_rows.h"

namespace mdtool {
namespace {

using test::Members;

constexpr Sectors chunk(16);
constexpr std::uint64_t stripes = 9;
constexpr Sectors data_offset(8);

const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

Layout layout_of(std::int32_t level, std::uint32_t code, std::uint32_t slots) {
  return *Layout::of({level, code, slots, chunk, chunk * stripes});
}

std::vector<SyncMember> all_of(Members& members) {
  std::vector<SyncMember> out;
  for (auto& m : members.devices) {
    out.push_back({m.get(), data_offset, Sectors::max(), {}});
  }
  return out;
}

std::vector<const Source*> sources(const Members& members) {
  std::vector<const Source*> out;
  for (const auto& m : members.devices) {
    out.push_back(m.get());
  }
  return out;
}

std::vector<std::vector<std::byte>> images(const Members& members) {
  std::vector<std::vector<std::byte>> out;
  for (const auto& m : members.devices) {
    out.push_back(*read_bytes(*m, 0, m->size_bytes()));
  }
  return out;
}

void spoil_parity(const Layout& layout, Members& members, Sectors sector) {
  const ParitySlots slots = layout.parity(sector / chunk);
  test::spoil(*members.devices[slots.p], (data_offset + sector).bytes(), (data_offset + sector).bytes() + 1);
  if (slots.q) {
    test::spoil(*members.devices[*slots.q], (data_offset + sector).bytes() + 511, (data_offset + sector).bytes() + 512);
  }
}

TEST(ParitySync, PutsParityRightInsideOfTheRangeAndLeavesItAloneOutside) {
  for (std::int32_t level : {4, 5, 6}) {
    const Layout layout = layout_of(level, 2, 5);
    Members members = test::make_members(layout, data_offset, 1);
    const auto before = images(members);
    for (std::uint64_t sector : {0, 40, 41, 60, 143}) {
      spoil_parity(layout, members, Sectors(sector));
    }
    const auto spoilt = images(members);
    ParitySync sync(layout, all_of(members), kernels());
    auto outcome = sync.sync({Sectors(40), Sectors(20)});
    ASSERT_TRUE(outcome);
    EXPECT_GT(outcome->parity_bytes_wrong, 0U);
    EXPECT_FALSE(outcome->data_is_zero);
    EXPECT_TRUE(outcome->rows_left.is_zero());
    for (std::uint64_t sector = 0; sector < (chunk * stripes).count(); ++sector) {
      const bool right = test::row_is_right(layout, sources(members), data_offset, Sectors(sector));
      EXPECT_EQ(right, sector != 0 && sector != 60 && sector != 143) << sector;
    }
    ASSERT_TRUE(sync.sync({Sectors(), chunk * stripes}));
    EXPECT_EQ(images(members), before);
    EXPECT_NE(spoilt, before);
  }
}

TEST(ParitySync, WritesNothingWhereParityIsRight) {
  const Layout layout = layout_of(6, 2, 5);
  Members members = test::make_members(layout, data_offset, 2);
  ParitySync sync(layout, all_of(members), kernels());
  auto outcome = sync.sync({Sectors(), chunk * stripes});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->parity_bytes_wrong, 0U);
  for (std::uint32_t slot = 0; slot < 5; ++slot) {
    EXPECT_EQ(sync.bytes_written(slot), 0U);
    EXPECT_EQ(sync.bytes_read(slot), (chunk * stripes).bytes());
  }
}

TEST(ParitySync, Raid6WithoutOneMemberRewritesQFromP) {
  for (std::uint32_t missing = 0; missing < 5; ++missing) {
    const Layout layout = layout_of(6, 2, 5);
    Members members = test::make_members(layout, data_offset, 3);
    const auto before = images(members);
    for (std::uint64_t stripe = 0; stripe < stripes; ++stripe) {
      const ParitySlots slots = layout.parity(stripe);
      const std::uint64_t at = (data_offset + chunk * stripe).bytes();
      if (*slots.q != missing) {
        test::spoil(*members.devices[*slots.q], at, at + chunk.bytes());
      }
      if (slots.p != missing && layout.parity(stripe).q == missing) {
        test::spoil(*members.devices[slots.p], at, at + chunk.bytes());
      }
    }
    auto present = all_of(members);
    present[missing].device = nullptr;
    ParitySync sync(layout, present, kernels());
    auto outcome = sync.sync({Sectors(), chunk * stripes});
    ASSERT_TRUE(outcome);
    EXPECT_TRUE(outcome->rows_left.is_zero());
    EXPECT_EQ(images(members), before) << missing;
  }
}

TEST(ParitySync, AtTheLimitOfRedundancyNothingIsComputed) {
  const Layout layout = layout_of(5, 2, 4);
  Members members = test::make_members(layout, data_offset, 4);
  spoil_parity(layout, members, Sectors(20));
  auto present = all_of(members);
  const std::uint32_t data_slot = layout.data(layout.array_sector({0, Sectors(20)}).value_or(Sectors())).slot;
  present[data_slot].device = nullptr;
  const auto before = images(members);
  ParitySync sync(layout, present, kernels());
  auto outcome = sync.sync({Sectors(16), Sectors(16)});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->rows_left, Sectors(16));
  EXPECT_EQ(images(members), before);
}

TEST(ParitySync, LeavesRowsThatTheBadBlockLogListsAndRecoveringMembersBeyondTheirMark) {
  const Layout layout = layout_of(5, 4, 4);  // parity-first: slot 0 has P everywhere
  Members members = test::make_members(layout, data_offset, 5);
  test::spoil(*members.devices[0], data_offset.bytes(), (data_offset + chunk * stripes).bytes());
  auto present = all_of(members);
  present[2].bad = {{Sectors(5), Sectors(3)}};
  present[3].valid_until = Sectors(100);
  ParitySync sync(layout, present, kernels());
  auto outcome = sync.sync({Sectors(), chunk * stripes});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->rows_left, Sectors(3 + 44));
  for (std::uint64_t sector = 0; sector < 144; ++sector) {
    const bool left = (sector >= 5 && sector < 8) || sector >= 100;
    EXPECT_EQ(test::row_is_right(layout, sources(members), data_offset, Sectors(sector)), !left) << sector;
  }
}

TEST(ParitySync, SeesZeroData) {
  const Layout layout = layout_of(6, 2, 4);
  Members members = test::make_members(layout, data_offset, 6);
  for (auto& m : members.devices) {
    ASSERT_TRUE(m->write(data_offset.bytes(), std::vector<std::byte>(chunk.bytes())));
  }
  test::spoil(*members.devices[layout.parity(0).p], data_offset.bytes(), data_offset.bytes() + 1);
  ParitySync sync(layout, all_of(members), kernels());
  EXPECT_TRUE(sync.sync({Sectors(), chunk})->data_is_zero);
  EXPECT_FALSE(sync.sync({Sectors(), chunk + Sectors(1)})->data_is_zero);
}

TEST(ParitySync, FailsOnUnreadableDataAndRewritesUnreadableParity) {
  const Layout layout = layout_of(4, 0, 3);
  Members members = test::make_members(layout, data_offset, 7);
  FaultyDevice data(*members.devices[1]);
  data.add({Operation::read, (data_offset + Sectors(30)).bytes(), 512});
  auto present = all_of(members);
  present[1].device = &data;
  ParitySync sync(layout, present, kernels());
  auto outcome = sync.sync({Sectors(), chunk * stripes});
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error().text.find("slot 1"), std::string::npos) << outcome.error().text;

  FaultyDevice parity(*members.devices[2]);
  parity.add({Operation::read, (data_offset + Sectors(30)).bytes(), 512});
  present = all_of(members);
  present[2].device = &parity;
  ParitySync other(layout, present, kernels());
  ASSERT_TRUE(other.sync({Sectors(), chunk * stripes}));
  EXPECT_GT(other.bytes_written(2), 0U);
}

}  // namespace
}  // namespace mdtool
