// SPDX-License-Identifier: GPL-2.0-or-later
// recover: members that are being rebuilt get what they lack, on arrays of every level and layout.
#include "libraid/assemble/recovery.h"

#include <gtest/gtest.h>

#include "tests/raid/rebuilding.h"

namespace mdtool {
namespace {

using namespace test;
using Machine = RebuildMachine;

std::vector<SmallArray> all_arrays() {
  std::vector<SmallArray> arrays;
  for (const bitmap::Kind kind : {bitmap::Kind::none, bitmap::Kind::classic, bitmap::Kind::lockless}) {
    arrays.push_back({4, 0, 4, kind});
    for (const std::uint32_t layout : {0U, 2U, 3U, 4U}) {
      arrays.push_back({5, layout, 4, kind});
    }
    for (const std::uint32_t layout : {1U, 2U, 8U, 10U, 18U, 20U}) {
      arrays.push_back({6, layout, 5, kind});
    }
  }
  return arrays;
}

std::string name_of(const SmallArray& array) {
  return "raid" + std::to_string(array.level) + " layout " + std::to_string(array.layout_code) + " bitmap " +
         std::to_string(static_cast<int>(array.bitmap));
}

TEST(Recovery, AReAddedMemberGetsExactlyWhatItMissed) {
  for (const SmallArray& array : all_arrays()) {
    for (const std::uint32_t slot : {0U, array.slots - 1}) {
      SCOPED_TRACE(name_of(array) + " slot " + std::to_string(slot));
      const Told told = tell({array, {slot}});
      Machine machine(told.before);
      ASSERT_EQ(machine.array().in_slot(slot)->state, MemberState::recovering);
      auto report = machine.run();
      ASSERT_TRUE(report) << report.error().text;
      EXPECT_TRUE(report->complete && report->left.empty() && report->disagreeing.empty());
      machine.look();
      expect_all_in_sync(machine, told);
      expect_settled_bitmap(machine.array());
      // Data of that member alone, and of that only what the bitmap names.
      for (const Event& e : machine.log()) {
        if (e.flush || e.offset < SmallArray::data_offset.bytes()) {
          continue;
        }
        EXPECT_EQ(e.member, slot);
        for (std::uint64_t at = 0; at < e.bytes.size() && array.bitmap != bitmap::Kind::none; at += 512) {
          EXPECT_TRUE(told.missed_sectors.contains((e.offset + at) / 512 - SmallArray::data_offset.count()));
        }
      }
      const std::size_t events = machine.log().size();
      ASSERT_TRUE(machine.run());
      EXPECT_EQ(machine.log().size(), events) << "a second run writes nothing";
    }
  }
}

TEST(Recovery, AHalfRebuiltMemberIsFilledFromItsMarkOn) {
  for (const SmallArray& array : all_arrays()) {
    for (const Sectors mark : {Sectors(), Sectors(44), Sectors(248), SmallArray::component}) {
      SCOPED_TRACE(name_of(array) + " mark " + std::to_string(mark.count()));
      const Told told = tell({array, {1}, false, mark});
      Machine machine(told.before);
      auto report = machine.run();
      ASSERT_TRUE(report) << report.error().text;
      machine.look();
      expect_all_in_sync(machine, told);
      expect_settled_bitmap(machine.array());
      EXPECT_GE(report->filled.front().lacked_bytes, (SmallArray::component - mark).bytes());
    }
  }
}

// The kernel's own rebuild skips chunks that were never written, below its mark: the mark proves nothing there.
TEST(Recovery, BelowItsMarkALocklessBitmapStillCounts) {
  const Told told = tell({{5, 2, 4, bitmap::Kind::lockless}, {1}, false, Sectors(240)});
  std::vector<Image> images = told.before;
  const Sectors in_unwritten = SmallArray::data_offset + SmallArray::bitmap_chunk * 12;
  const auto first = images[1].begin() + static_cast<std::ptrdiff_t>(in_unwritten.bytes());
  std::fill(first, first + static_cast<std::ptrdiff_t>(SmallArray::bitmap_chunk.bytes()), std::byte{0x11});
  Machine machine(images);
  ASSERT_TRUE(machine.run());
  machine.look();
  expect_all_in_sync(machine, told);
}

TEST(Recovery, TwoMembersOfARaid6AtOnce) {
  for (const bool by_bitmap : {true, false}) {
    for (const std::uint32_t layout : {2U, 8U, 20U}) {
      for (const bitmap::Kind kind : {bitmap::Kind::none, bitmap::Kind::classic, bitmap::Kind::lockless}) {
        const SmallArray array{6, layout, 5, kind};
        SCOPED_TRACE(name_of(array) + (by_bitmap ? " by bitmap" : " from a mark"));
        const Told told = tell({array, {0, 3}, by_bitmap, Sectors(100)});
        Machine machine(told.before);
        auto report = machine.run();
        ASSERT_TRUE(report) << report.error().text;
        EXPECT_EQ(report->filled.size(), 2U);
        machine.look();
        expect_all_in_sync(machine, told);
        expect_settled_bitmap(machine.array());
      }
    }
  }
}

TEST(Recovery, WhileASlotIsMissingNoBitIsClearedAndNobodyIsTakenBack) {
  for (const bitmap::Kind kind : {bitmap::Kind::none, bitmap::Kind::classic, bitmap::Kind::lockless}) {
    const SmallArray array{6, 2, 5, kind};
    SCOPED_TRACE(name_of(array));
    const Told told = tell({array, {1}, true, {}, {4}});
    Machine machine(told.before);
    auto report = machine.run();
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_FALSE(report->complete);
    machine.look();
    expect_all_in_sync(machine, told);
    EXPECT_EQ(machine.array().verdict, Verdict::degraded);
    EXPECT_GE(machine.array().array().events, 22U);
    EXPECT_EQ(machine.array().array().dev_roles[4], role_spare);
    if (kind == bitmap::Kind::classic) {
      EXPECT_EQ(machine.array().bitmap.classic->set_count(), 5U);
      EXPECT_EQ(machine.array().bitmap.classic->header().events_cleared, 7U);
    }
    if (kind == bitmap::Kind::lockless) {
      EXPECT_EQ(machine.array().bitmap.lockless->counts().by_state[need_sync], 3U);
    }
    // The bitmap of the member that came back is the others' now.
    EXPECT_EQ(finding(machine.array().bitmap.findings, "bitmap-copies-differ"), nullptr);
  }
}

TEST(Recovery, DirtyAndDegradedIsRefusedUnlessForcedAndThenStaysDirty) {
  for (const bitmap::Kind kind : {bitmap::Kind::none, bitmap::Kind::classic, bitmap::Kind::lockless}) {
    const SmallArray array{5, 2, 4, kind};
    SCOPED_TRACE(name_of(array));
    const Told told = tell({array, {1}, true, {}, {}, Sectors()});
    Machine machine(told.before);
    auto refused = machine.run();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::refused);
    EXPECT_TRUE(machine.log().empty());
    Forces forces;
    forces.dirty_degraded = true;
    const auto plan = plan_recovery(machine.array(), forces);
    ASSERT_TRUE(plan) << plan.error().text;
    EXPECT_FALSE(plan->uncertain.empty());
    ASSERT_TRUE(machine.run(forces));
    machine.look();
    expect_all_in_sync(machine, told);
    EXPECT_TRUE(machine.array().complete);
    EXPECT_FALSE(machine.array().clean);
    const auto resync = plan_maintenance(machine.array(), {});
    ASSERT_TRUE(resync);
    EXPECT_GE(resync->intent.due().size(), kind == bitmap::Kind::none ? 1U : 3U) << "what was due stays due";
  }
}

// What holds parity alone is computed from data: a dirty array's parity does not matter.
TEST(Recovery, AParityDiskIsFilledThoughTheArrayIsDirty) {
  const SmallArray array{4, 0, 4, bitmap::Kind::classic};
  const Told told = tell({array, {3}, false, Sectors(16), {}, Sectors()});
  Machine machine(told.before);
  auto report = machine.run();
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_FALSE(report->clean);
  machine.look();
  expect_all_in_sync(machine, told);
  EXPECT_FALSE(machine.array().clean);
  EXPECT_EQ(machine.array().bitmap.classic->set_count(), 5U);
}

TEST(Recovery, ALockesslyMarkedHighestSlotIsRefusedByNamingBothReadings) {
  const SmallArray array{5, 2, 4, bitmap::Kind::lockless};
  Machine dirty_one(tell({array, {3}, true, {}, {}, Sectors()}).before);
  ASSERT_TRUE(dirty_one.array().lazy_slot);
  auto refused = dirty_one.run();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("resync --force=lazy-recovery"), std::string::npos);
  EXPECT_NE(refused.error().text.find("--force=dirty-degraded"), std::string::npos);
  Machine clean_one(tell({array, {3}, true}).before);
  EXPECT_TRUE(clean_one.run());
}

TEST(Recovery, WithTooFewOthersItIsRefused) {
  Machine two_of_raid5(tell({{5, 2, 4, bitmap::Kind::classic}, {0, 2}}).before);
  Machine one_and_none(tell({{5, 2, 4, bitmap::Kind::classic}, {0}, true, {}, {2}}).before);
  Machine three_of_raid6(tell({{6, 2, 5, bitmap::Kind::none}, {0, 2}, false, Sectors(128), {3}}).before);
  for (Machine* machine : {&two_of_raid5, &one_and_none, &three_of_raid6}) {
    auto report = machine->run();
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, ErrorKind::refused);
    EXPECT_TRUE(machine->log().empty());
  }
}

// Q that does not agree with what was taken from P is not what recover writes; a lockless bitmap remembers it.
TEST(Recovery, AQThatDisagreesIsReportedAndLeft) {
  for (const bitmap::Kind kind : {bitmap::Kind::none, bitmap::Kind::classic, bitmap::Kind::lockless}) {
    const SmallArray array{6, 2, 5, kind};
    SCOPED_TRACE(name_of(array));
    Told told = tell({array, {1}, false, Sectors()});
    const Sectors row(21);
    const std::uint32_t q = *array.layout().parity(row / SmallArray::chunk).q;
    ASSERT_NE(q, 1U);
    for (std::vector<Image>* images : {&told.before, &told.right}) {
      (*images)[q][(SmallArray::data_offset + row).bytes()] ^= std::byte{1};
    }
    Machine machine(told.before);
    auto report = machine.run();
    ASSERT_TRUE(report) << report.error().text;
    ASSERT_EQ(report->disagreeing.size(), 1U);
    EXPECT_TRUE(report->disagreeing[0].first <= row && row < report->disagreeing[0].end());
    machine.look();
    expect_all_in_sync(machine, told);
    if (kind == bitmap::Kind::lockless) {
      EXPECT_EQ(machine.array().bitmap.lockless->raw(row / SmallArray::bitmap_chunk), need_sync);
      ASSERT_EQ(plan_maintenance(machine.array(), {})->intent.due().size(), 1U);
    }
  }
}

Fault unreadable(Sectors first, Sectors count) {
  Fault fault;
  fault.operation = Operation::read;
  fault.offset_bytes = (SmallArray::data_offset + first).bytes();
  fault.length_bytes = count.bytes();
  return fault;
}

TEST(Recovery, RowsThatCannotBeComputedAreLeftAndTheMemberStaysAsItWas) {
  for (const bool by_bitmap : {true, false}) {
    for (const bitmap::Kind kind : {bitmap::Kind::none, bitmap::Kind::classic, bitmap::Kind::lockless}) {
      const SmallArray array{5, 2, 4, kind};
      SCOPED_TRACE(name_of(array) + (by_bitmap ? " by bitmap" : " from a mark"));
      const Told told = tell({array, {1}, by_bitmap, Sectors(16)});
      Machine machine(told.before);
      const Sectors bad(9 * SmallArray::bitmap_chunk.count() + 2);
      auto report = machine.run({}, {}, {{2, unreadable(bad, Sectors(1))}});
      ASSERT_TRUE(report) << report.error().text;
      ASSERT_EQ(report->left.size(), 1U);
      EXPECT_EQ(report->left[0].slot, 1U);
      EXPECT_EQ(report->left[0].range, (SectorRange{Sectors(144), Sectors(8)}));
      EXPECT_FALSE(report->complete);
      EXPECT_FALSE(report->filled[0].in_sync);
      machine.look();
      const MemberDescription& d = machine.array().in_slot(1)->description();
      EXPECT_TRUE(d.recovery);
      EXPECT_EQ(d.recovery_by_bitmap, by_bitmap);
      EXPECT_EQ(d.recovery_offset, by_bitmap ? Sectors() : Sectors(144));
      if (kind == bitmap::Kind::classic) {
        EXPECT_EQ(machine.array().bitmap.classic->set_count(), 5U);
      }
      // The row as it was, and nothing but right bytes beside it.
      const Image now = machine.images()[1];
      for (Sectors row; row < SmallArray::component; row += Sectors(1)) {
        const auto at = static_cast<std::ptrdiff_t>((SmallArray::data_offset + row).bytes());
        const bool left = row >= Sectors(144) && row < Sectors(152);
        const Image& expected = left ? told.before[1] : told.right[1];
        ASSERT_TRUE(std::equal(now.begin() + at, now.begin() + at + 512, expected.begin() + at)) << row.count();
      }
      ASSERT_TRUE(machine.run());
      machine.look();
      expect_all_in_sync(machine, told);
      expect_settled_bitmap(machine.array());
    }
  }
}

// Two that lack different rows: one is filled, the other cannot be, and the bits are for it.
TEST(Recovery, AMemberIsInSyncThoughAnotherIsNot) {
  const SmallArray array{6, 2, 5, bitmap::Kind::classic};
  Told told = tell({array, {1, 3}});
  const Sectors mark(244);
  Image half = told.right[3];
  const auto from = half.begin() + static_cast<std::ptrdiff_t>((SmallArray::data_offset + mark).bytes());
  std::fill(from, half.end(), std::byte{0x77});
  put_superblock(array, half, 3, {20, Sectors::max(), md1::feature_recovery_offset, mark});
  put_bitmap(array, half, states_of(array), 20, 7);
  told.before[3] = half;
  Machine machine(told.before);
  const Fault bad = unreadable(Sectors(150), Sectors(1));
  auto report = machine.run({}, {}, {{0, bad}, {2, bad}});
  ASSERT_TRUE(report) << report.error().text;
  machine.look();
  EXPECT_EQ(machine.array().in_slot(1)->state, MemberState::recovering);
  EXPECT_EQ(machine.array().in_slot(3)->state, MemberState::in_sync);
  EXPECT_TRUE(data_is_right(machine.images(), told, 3));
  EXPECT_EQ(machine.array().array().events, 21U);
  EXPECT_EQ(machine.array().bitmap.classic->set_count(), 5U);
  EXPECT_EQ(machine.array().bitmap.classic->header().events_cleared, 7U);
  ASSERT_TRUE(machine.run());
  machine.look();
  expect_all_in_sync(machine, told);
  expect_settled_bitmap(machine.array());
}

TEST(Recovery, ARaid6ReadsAroundABlockThatCannotBeRead) {
  const SmallArray array{6, 2, 5, bitmap::Kind::classic};
  const Told told = tell({array, {1}});
  Machine machine(told.before);
  auto report = machine.run({}, {}, {{2, unreadable(Sectors(33), Sectors(12))}});
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_TRUE(report->complete);
  machine.look();
  expect_all_in_sync(machine, told);
}

TEST(Recovery, AMemberThatTheOthersCallASpareIsNotFilled) {
  const SmallArray array{5, 2, 4, bitmap::Kind::classic};
  Told told = tell({array, {1}});
  for (const std::uint32_t slot : {0U, 2U, 3U}) {
    put_superblock(array, told.before[slot], slot, {}, {1});
  }
  Machine machine(told.before);
  auto report = machine.run();
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().text.find("re-add"), std::string::npos);
  EXPECT_TRUE(machine.log().empty());
}

TEST(Recovery, WithoutAUsableBitmapEverythingIsFilled) {
  const SmallArray array{5, 2, 4, bitmap::Kind::classic};
  Told told = tell({array, {1}});
  for (Image& image : told.before) {
    put_bitmap(array, image, std::vector<std::uint8_t>(SmallArray::bitmap_chunks, 0), 18, 7);  // behind
  }
  Machine machine(told.before);
  ASSERT_EQ(machine.array().bitmap.trust, Trust::stale);
  auto report = machine.run();
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(report->filled[0].lacked_bytes, SmallArray::component.bytes());
  machine.look();
  expect_all_in_sync(machine, told);
  expect_settled_bitmap(machine.array());
}

TEST(Recovery, ThePlanSaysWhatTheMetadataBecomes) {
  for (const SmallArray& array :
       {SmallArray{5, 2, 4, bitmap::Kind::classic}, SmallArray{6, 2, 5, bitmap::Kind::lockless}}) {
    const Told told =
        tell({array, {1}, true, {}, array.level == 6 ? std::vector<std::uint32_t>{4} : std::vector<std::uint32_t>{}});
    Machine machine(told.before);
    const auto plan = plan_recovery(machine.array(), {});
    ASSERT_TRUE(plan);
    std::vector<std::vector<Patch>> foreseen;
    for (const PlannedMember& m : plan->metadata.members) {
      foreseen.push_back(metadata_after(machine.array(), *plan, m, {1700000001}));
    }
    ASSERT_TRUE(machine.run());
    for (std::size_t i = 0; i < foreseen.size(); ++i) {
      EXPECT_EQ(foreseen[i].size(), 2U);
      for (const Patch& p : foreseen[i]) {
        const Image now = machine.images()[i];
        EXPECT_TRUE(
            std::equal(p.bytes.begin(), p.bytes.end(), now.begin() + static_cast<std::ptrdiff_t>(p.offset_bytes)));
      }
    }
  }
}

}  // namespace
}  // namespace mdtool
