// SPDX-License-Identifier: GPL-2.0-or-later
// The classic bitmap of an array in use: what is on the members when a write may begin, when bits go, what a member
// that is missing changes.
#include <gtest/gtest.h>

#include <thread>

#include "tests/raid/intent_members.h"

namespace mdtool {
namespace {

using testing::BitmapMember;
using testing::IntentMembers;
using testing::Writes;
using Synced = Intent::Synced;
using Written = Intent::Written;
using Bits = std::vector<std::uint64_t>;

// 4 KiB chunks; bits from 2048 on lie in the bitmap's second sector.
constexpr Sectors component(8 * 5000);
constexpr Ticks period = std::chrono::seconds(5);

std::vector<std::byte> member_with(const Bits& bits) {
  BitmapMember member = testing::member_with_header(4, component.count(), 4096);
  std::fill_n(member.bytes.begin() + testing::bitmap_at + testing::at_bits, 625, std::byte{0});
  for (std::uint64_t bit : bits) {
    member.at(testing::at_bits + bit / 8) |= std::byte{1} << static_cast<unsigned>(bit % 8);
  }
  return member.bytes;
}

IntentStart clean_start() {
  return {.component = component, .chunk = Sectors(128)};
}
IntentStart dirty_start() {
  return {.component = component, .chunk = Sectors(128), .resync_offset = Sectors(0)};
}

SectorRange chunk(std::uint64_t number, std::uint64_t count = 1) {
  return {Sectors(8 * number), Sectors(8 * count)};
}

struct Running {
  explicit Running(const std::vector<std::byte>& bytes, const IntentStart& start = clean_start(),
                   std::size_t present = 3)
      : members(bytes, present) {
    auto made = members.make(start);
    EXPECT_TRUE(made.has_value());
    intent = std::move(*made);
  }
  void write(SectorRange rows, Ticks now = Ticks(0)) {
    EXPECT_TRUE(intent->start_write(rows).has_value());
    intent->end_write(rows, Written::yes, now);
  }
  // One pass of whoever maintains the array.
  bool maintain(Ticks now) {
    const bool ripe = intent->prepare_to_clear(now);
    if (ripe) {
      EXPECT_TRUE(intent->clear_prepared(now).has_value());
    }
    return ripe;
  }
  Bits bits(std::size_t member = 0) const {
    const auto bytes = members.devices[member].bytes();
    Bits set;
    for (std::uint64_t bit = 0; bit < 5000; ++bit) {
      const auto byte = std::to_integer<unsigned>(bytes[testing::bitmap_at + testing::at_bits + bit / 8]);
      if ((byte >> bit % 8 & 1) != 0) {
        set.push_back(bit);
      }
    }
    return set;
  }
  std::uint64_t number(std::size_t field) const {
    return *load<le64>(members.devices[0].bytes(), testing::bitmap_at + field);
  }
  void forget_writes() {
    for (auto& device : members.devices) {
      device.take_writes();
    }
  }

  IntentMembers members;
  std::unique_ptr<Intent> intent;
};

TEST(ClassicIntent, BitsAreOnEveryMemberBeforeAWriteBegins) {
  Running array(member_with({}));
  ASSERT_TRUE(array.intent->start_write(chunk(9, 3)).has_value());
  for (std::size_t member = 0; member < 3; ++member) {
    EXPECT_EQ(array.bits(member), (Bits{9, 10, 11}));
  }
}

TEST(ClassicIntent, OnlyTheSectorsWithNewBitsAreWritten) {
  Running array(member_with({}));
  array.write(chunk(0));
  array.forget_writes();
  array.write(chunk(2048));
  EXPECT_EQ(array.members.devices[1].take_writes(), (Writes{{512, 512}}));
  array.write(chunk(2048));
  array.write(chunk(0));
  EXPECT_TRUE(array.members.devices[1].take_writes().empty()) << "a bit that is set costs nothing";
  array.write(chunk(2047, 2));
  EXPECT_EQ(array.members.devices[1].take_writes(), (Writes{{0, 512}}));
}

TEST(ClassicIntent, AllOfTheBitmapGoesOutBeforeAHeaderMakesACopyCount) {
  Running array(member_with({}));
  array.write(chunk(0));
  EXPECT_EQ(array.members.devices[0].take_writes(), (Writes{{512, 512}, {0, 512}})) << "the header last";
}

TEST(ClassicIntent, ASecondWriterWaitsUntilTheBitIsDurable) {
  Running array(member_with({}));
  array.write(chunk(0));
  array.members.devices[0].close_gate();
  std::atomic<bool> second_passed = false;
  std::thread first([&] { EXPECT_TRUE(array.intent->start_write(chunk(5)).has_value()); });
  array.members.devices[0].wait_for_arrivals(3);
  std::thread second([&] {
    EXPECT_TRUE(array.intent->start_write(chunk(5)).has_value());
    second_passed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_FALSE(second_passed);
  EXPECT_EQ(array.bits(), (Bits{0}));
  array.members.devices[0].open_gate();
  first.join();
  second.join();
  EXPECT_EQ(array.bits(2), (Bits{0, 5}));
}

TEST(ClassicIntent, AMemberThatFailsIsTakenOutAndPassedOver) {
  Running array(member_with({}));
  array.members.devices[1].fail_from_now_on();
  EXPECT_TRUE(array.intent->start_write(chunk(7)).has_value());
  EXPECT_FALSE(array.members.members->working(1));
  EXPECT_EQ(array.members.members->failures_seen(), 1U);
  EXPECT_EQ(array.bits(0), (Bits{7}));
  EXPECT_EQ(array.bits(2), (Bits{7}));
}

TEST(ClassicIntent, WithoutAnyCopyNoWriteBegins) {
  Running array(member_with({}));
  for (auto& device : array.members.devices) {
    device.fail_from_now_on();
  }
  EXPECT_FALSE(array.intent->start_write(chunk(7)).has_value());
  EXPECT_FALSE(array.intent->start_write(chunk(7)).has_value()) << "a bit in memory is not a mark";
}

TEST(ClassicIntent, AnExternalFileThatFailsIsAnError) {
  IntentMembers members(member_with({}));
  testing::RecordingDevice file(member_with({}));
  auto made = make_intent(members.view(component), clean_start(),
                          BitmapCopies(*members.members, {{std::nullopt, &file, testing::bitmap_at}}));
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE((*made)->start_write(chunk(1)).has_value());
  EXPECT_TRUE(members.devices[0].take_writes().empty());
  file.fail_from_now_on();
  EXPECT_FALSE((*made)->start_write(chunk(2)).has_value());
  EXPECT_EQ(members.members->failures_seen(), 0U);
}

TEST(ClassicIntent, IdleBitsGoInTheSecondPassOfTheDaemon) {
  Running array(member_with({}));
  array.write(chunk(3), Ticks(1000));
  EXPECT_EQ(array.intent->clears_in(Ticks(1000)), period);
  EXPECT_FALSE(array.maintain(Ticks(5999)));
  EXPECT_FALSE(array.maintain(Ticks(6000)));
  EXPECT_EQ(array.intent->clears_in(Ticks(6000)), period);
  EXPECT_FALSE(array.maintain(Ticks(10999)));
  EXPECT_EQ(array.bits(), (Bits{3}));
  EXPECT_TRUE(array.maintain(Ticks(11000)));
  EXPECT_EQ(array.bits(), (Bits{}));
  EXPECT_EQ(array.intent->clears_in(Ticks(11000)), std::nullopt);
}

TEST(ClassicIntent, AWriteStartsTheWaitAnew) {
  Running array(member_with({}));
  array.write(chunk(3), Ticks(0));
  EXPECT_FALSE(array.maintain(period));
  ASSERT_TRUE(array.intent->start_write(chunk(3)).has_value());
  EXPECT_FALSE(array.maintain(period * 2)) << "a write is in flight";
  array.intent->end_write(chunk(3), Written::yes, period * 2);
  EXPECT_FALSE(array.maintain(period * 3));
  EXPECT_TRUE(array.maintain(period * 4));
}

TEST(ClassicIntent, AWriteBetweenTheFlushAndTheClearingKeepsItsBit) {
  Running array(member_with({}));
  array.write(chunk(3, 2));
  array.intent->prepare_to_clear(period);
  ASSERT_TRUE(array.intent->prepare_to_clear(period * 2));
  array.write(chunk(4), period * 2);
  ASSERT_TRUE(array.intent->clear_prepared(period * 2).has_value());
  EXPECT_EQ(array.bits(), (Bits{4}));
}

TEST(ClassicIntent, AClearedBitIsWrittenAgainBeforeTheNextWrite) {
  Running array(member_with({}));
  array.write(chunk(3));
  array.maintain(period);
  array.maintain(period * 2);
  ASSERT_EQ(array.bits(), (Bits{}));
  ASSERT_TRUE(array.intent->start_write(chunk(3)).has_value());
  EXPECT_EQ(array.bits(), (Bits{3}));
}

TEST(ClassicIntent, EventsClearedFollowsCompletedWritesAndIsDurableBeforeBitsGo) {
  Running array(member_with({}));
  ASSERT_TRUE(array.intent->write_header(25).has_value());
  EXPECT_EQ(array.number(testing::at_events), 25U);
  EXPECT_EQ(array.number(testing::at_events_cleared), 20U);
  array.write(chunk(4000));
  array.maintain(period);
  array.forget_writes();
  ASSERT_TRUE(array.maintain(period * 2));
  EXPECT_EQ(array.number(testing::at_events_cleared), 25U);
  EXPECT_EQ(array.members.devices[0].take_writes(), (Writes{{0, 512}, {512, 512}}));
}

TEST(ClassicIntent, WithoutAMemberNothingIsClearedAndEventsClearedStays) {
  Running array(member_with({77}));
  array.write(chunk(3));
  array.intent->prepare_to_clear(period);
  ASSERT_TRUE(array.intent->prepare_to_clear(period * 2));
  array.intent->degraded();
  ASSERT_TRUE(array.intent->clear_prepared(period * 2).has_value());
  ASSERT_TRUE(array.intent->write_header(30).has_value());
  array.write(chunk(5), period * 2);
  EXPECT_FALSE(array.maintain(period * 9));
  EXPECT_EQ(array.intent->clears_in(period * 9), std::nullopt);
  ASSERT_TRUE(array.intent->write_all(31).has_value());
  EXPECT_EQ(array.bits(), (Bits{3, 5, 77}));
  EXPECT_EQ(array.number(testing::at_events), 31U);
  EXPECT_EQ(array.number(testing::at_events_cleared), 20U);
}

TEST(ClassicIntent, AMissingSlotCountsAsDegradedEvenIfNobodySaysSo) {
  Running array(member_with({}), clean_start(), 2);
  array.write(chunk(3));
  EXPECT_FALSE(array.maintain(period));
  EXPECT_FALSE(array.maintain(period * 2));
  EXPECT_EQ(array.bits(), (Bits{3}));
}

TEST(ClassicIntent, BitsOfACleanArrayAreOnlyLeftOver) {
  Running array(member_with({2, 3000}));
  EXPECT_FALSE(array.intent->anything_due());
  EXPECT_TRUE(array.intent->trusts_parity(chunk(2)));
  EXPECT_TRUE(array.intent->resync_offset().is_max());
  EXPECT_EQ(array.intent->clears_in(Ticks(0)), Ticks(0)) << "the timer is not yet running";
  array.maintain(Ticks(0));
  array.maintain(period);
  array.maintain(period * 2);
  EXPECT_EQ(array.bits(1), (Bits{}));
}

TEST(ClassicIntent, BitsOfADirtyArrayAreDueAndNothingElse) {
  Running array(member_with({2, 4999}), dirty_start());
  EXPECT_TRUE(array.intent->anything_due());
  EXPECT_EQ(array.intent->resync_offset(), Sectors(0));
  EXPECT_FALSE(array.intent->trusts_parity(chunk(1, 2)));
  EXPECT_TRUE(array.intent->trusts_parity(chunk(3)));
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(2));
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(4999)) << "one of them is in work";
  array.intent->end_sync(chunk(4999), Synced::no, Ticks(0));
  array.intent->end_sync(chunk(2), Synced::yes, Ticks(0));
  EXPECT_TRUE(array.intent->trusts_parity(chunk(2)));
  EXPECT_EQ(array.intent->resync_offset(), Sectors(0));
  EXPECT_FALSE(array.maintain(period));
  EXPECT_TRUE(array.maintain(period * 2));
  EXPECT_EQ(array.bits(), (Bits{4999})) << "what is due keeps its bit";
  EXPECT_EQ(array.intent->start_sync(chunk(3).first + Sectors(1)), chunk(4999));
  array.intent->end_sync(chunk(4999), Synced::yes, Ticks(0));
  EXPECT_FALSE(array.intent->anything_due());
  EXPECT_TRUE(array.intent->resync_offset().is_max());
}

TEST(ClassicIntent, BitsBelowTheResyncMarkAreNotDue) {
  IntentStart start = dirty_start();
  start.resync_offset = Sectors(8 * 100);
  Running array(member_with({50, 100, 200}), start);
  EXPECT_TRUE(array.intent->trusts_parity(chunk(50)));
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(100));
}

TEST(ClassicIntent, AWriteIntoADueChunkDoesNotMakeItTrusted) {
  Running array(member_with({2}), dirty_start());
  array.write(chunk(2));
  EXPECT_FALSE(array.intent->trusts_parity(chunk(2)));
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(2));
}

TEST(ClassicIntent, AWriteThatWentWrongIsDueEvenIfItWasInWork) {
  Running array(member_with({2}), dirty_start());
  ASSERT_TRUE(array.intent->start_sync(Sectors(0)).has_value());
  for (std::uint64_t n : {2U, 8U}) {
    ASSERT_TRUE(array.intent->start_write(chunk(n)).has_value());
    array.intent->end_write(chunk(n), Written::no, Ticks(0));
  }
  array.intent->end_sync(chunk(2), Synced::yes, Ticks(0));
  EXPECT_FALSE(array.intent->trusts_parity(chunk(2)));
  EXPECT_FALSE(array.intent->trusts_parity(chunk(8)));
  EXPECT_EQ(array.intent->resync_offset(), Sectors(0));
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(2));
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(8));
}

TEST(ClassicIntent, NothingIsDueWithoutAMemberButTheArrayIsNotClean) {
  Running array(member_with({2}), dirty_start());
  array.intent->degraded();
  EXPECT_FALSE(array.intent->anything_due());
  EXPECT_FALSE(array.intent->start_sync(Sectors(0)).has_value());
  EXPECT_FALSE(array.intent->trusts_parity(chunk(2)));
  EXPECT_EQ(array.intent->resync_offset(), Sectors(0));
}

// Bits of a time before: the member that they were kept for may come back after they are gone.
TEST(ClassicIntent, WhoClearsBitsSaysSoToMembersThatComeBack) {
  BitmapMember member;
  member.bytes = member_with({3});
  member.put64(testing::at_events_cleared, 7);
  Running idle(member.bytes);
  idle.intent->prepare_to_clear(Ticks(0));
  idle.maintain(period);
  ASSERT_TRUE(idle.maintain(period * 2));
  EXPECT_EQ(idle.bits(1), (Bits{}));
  EXPECT_EQ(idle.number(testing::at_events_cleared), 20U);
  Running ended(member.bytes);
  ASSERT_TRUE(ended.intent->write_all(21).has_value());
  EXPECT_EQ(ended.number(testing::at_events_cleared), 20U);
  Running degraded(member.bytes, clean_start(), 2);
  degraded.intent->degraded();
  ASSERT_TRUE(degraded.intent->write_all(21).has_value());
  EXPECT_EQ(degraded.bits(1), (Bits{3}));
  EXPECT_EQ(degraded.number(testing::at_events_cleared), 7U);
}

TEST(ClassicIntent, AStaleBitmapHasEveryBitSetAndSaysSo) {
  BitmapMember member;
  member.bytes = member_with({});
  member.put64(testing::at_events, 3).put64(testing::at_events_cleared, 3);
  Running array(member.bytes, dirty_start());
  EXPECT_EQ(array.intent->start_sync(chunk(4999).first), chunk(4999));
  ASSERT_TRUE(array.intent->write_header(21).has_value());
  EXPECT_EQ(array.bits(2).size(), 5000U);
  EXPECT_EQ(array.number(testing::at_events), 21U);
  EXPECT_EQ(array.number(testing::at_events_cleared), 20U) << "the array's events when it was found";
  EXPECT_EQ(array.members.devices[2].take_writes(), (Writes{{512, 512}, {0, 512}}));
}

TEST(ClassicIntent, AnOrderlyEndLeavesOnlyWhatIsDue) {
  Running array(member_with({2, 3000}), dirty_start());
  array.write(chunk(9));
  const SectorRange rows = *array.intent->start_sync(Sectors(0));
  array.intent->end_sync(rows, Synced::yes, Ticks(0));
  ASSERT_TRUE(array.intent->write_all(40).has_value());
  for (std::size_t member = 0; member < 3; ++member) {
    EXPECT_EQ(array.bits(member), (Bits{3000}));
  }
  EXPECT_EQ(array.number(testing::at_events), 40U);
}

TEST(ClassicIntent, WhatACutLeavesIsLoadedAgain) {
  Running array(member_with({}));
  array.write(chunk(70));
  ASSERT_TRUE(array.intent->start_write(chunk(4000)).has_value());
  Running after(array.members.devices[1].bytes(), dirty_start());
  EXPECT_EQ(after.intent->start_sync(Sectors(0)), chunk(70));
  EXPECT_EQ(after.intent->start_sync(Sectors(0)), chunk(4000));
  EXPECT_FALSE(after.intent->start_sync(Sectors(0)).has_value());
}

TEST(ClassicIntent, WhatCannotBeUsedIsRefused) {
  BitmapMember member;
  member.bytes = member_with({});
  member.at(testing::at_uuid) ^= std::byte{1};
  IntentMembers wrong_uuid(member.bytes);
  auto made = wrong_uuid.make(clean_start());
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().kind, ErrorKind::refused);
  IntentMembers good(member_with({}));
  IntentStart larger = clean_start();
  larger.component = component + Sectors(8);
  EXPECT_FALSE(make_intent(good.view(component), larger, good.copies()).has_value());
  IntentStart blocks = clean_start();
  blocks.logical_block_bytes = 768;
  EXPECT_FALSE(good.make(blocks).has_value());
  EXPECT_TRUE(good.make(clean_start()).has_value());
}

TEST(ClassicIntent, ManyWritersAndTheDaemonAtOnce) {
  Running array(member_with({}));
  std::atomic<bool> stop = false;
  std::vector<std::thread> writers;
  for (std::uint64_t t = 0; t < 4; ++t) {
    writers.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 300; ++i) {
        const std::uint64_t n = (i * 37 + t * 11) % 4900;
        ASSERT_TRUE(array.intent->start_write(chunk(n, 3)).has_value());
        const Bits now = array.bits(i % 3);
        for (std::uint64_t bit = n; bit < n + 3; ++bit) {
          ASSERT_TRUE(std::binary_search(now.begin(), now.end(), bit)) << "marked while it is written";
        }
        array.intent->end_write(chunk(n, 3), Written::yes, Ticks(0));
      }
    });
  }
  std::thread daemon([&] {
    for (Ticks now{0}; !stop; now += period) {
      array.maintain(now);
    }
  });
  for (auto& writer : writers) {
    writer.join();
  }
  stop = true;
  daemon.join();
  ASSERT_TRUE(array.intent->write_all(50).has_value());
  EXPECT_EQ(array.bits(), (Bits{}));
}

}  // namespace
}  // namespace mdtool
