// SPDX-License-Identifier: GPL-2.0-or-later
// What is due for a resync and for build-parity with each bitmap in each degree of trust, and what the bitmap says
// before, during and after the work.
#include "libraid/array/write_intent.h"

#include <gtest/gtest.h>

#include <numeric>

#include "libmeta/ondisk.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool {
namespace {

using testing::BitmapMember;

constexpr Sectors unit(2048);
constexpr Sectors classic_component(testing::classic_sync_size);
constexpr Sectors lockless_component(testing::lockless_sync_size);
constexpr std::uint64_t classic_chunks = 101;

constexpr std::uint8_t unwritten = 0, clean = 1, dirty = 2, need_sync = 3, syncing = 4, need_sync_unwritten = 5,
                       syncing_unwritten = 6, clean_unwritten = 7, invalid = 0x80;

BitmapView view_of(const BitmapMember& member, Sectors component) {
  const testing::BytesSource source = member.source();
  return view_bitmap({{0, "m0", &source, testing::bitmap_at, 4096}}, testing::expected_bitmap(component.count()),
                     bitmap::Kind::none);
}

BitmapView classic_view(Trust trust) {
  BitmapMember member = testing::classic_member();
  if (trust == Trust::stale) {
    member.put64(testing::at_events, 3).put64(testing::at_events_cleared, 3);
  } else if (trust == Trust::rejected) {
    member.put32(testing::at_version, 99);
  }
  BitmapView view = trust == Trust::absent ? BitmapView{} : view_of(member, classic_component);
  EXPECT_EQ(view.trust, trust);
  return view;
}

// States 0 to 7 over and over, and one invalid byte.
BitmapView lockless_view(Trust trust) {
  BitmapMember member = testing::lockless_member();
  member.at(testing::at_states + 16) = std::byte{invalid};
  if (trust == Trust::stale) {
    member.put64(testing::at_events, 3);
  } else if (trust == Trust::first_use) {
    member.put32(testing::at_state, bitmap::state_first_use);
  } else if (trust == Trust::rejected) {
    member.put32(testing::at_uuid, 0);
  }
  BitmapView view = view_of(member, lockless_component);
  EXPECT_EQ(view.trust, trust);
  return view;
}

std::vector<std::uint64_t> all_of(std::uint64_t count) {
  std::vector<std::uint64_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Chunks of lockless_view() in one of these states.
std::vector<std::uint64_t> chunks_in(std::initializer_list<std::uint8_t> states) {
  std::vector<std::uint64_t> chunks;
  for (std::uint64_t i = 0; i < testing::lockless_chunks; ++i) {
    const std::uint8_t state = i == 16 ? invalid : static_cast<std::uint8_t>(i % 8);
    if (std::find(states.begin(), states.end(), state) != states.end()) {
      chunks.push_back(i);
    }
  }
  return chunks;
}

std::uint8_t state_in(const std::vector<std::byte>& area, std::uint64_t chunk) {
  return std::to_integer<std::uint8_t>(area[testing::at_states + chunk]);
}

bool bit_in(const std::vector<std::byte>& area, std::uint64_t chunk) {
  return (std::to_integer<unsigned>(area[testing::at_bits + chunk / 8]) >> chunk % 8 & 1) != 0;
}

std::uint64_t number_in(const std::vector<std::byte>& area, std::size_t field) {
  return *load<le64>(area, field);
}

TEST(WriteIntentForResync, WithoutABitmapADirtyArrayIsDueWhole) {
  const WriteIntent intent = WriteIntent::for_resync(BitmapView{}, Sectors(5000), unit, false);
  EXPECT_EQ(intent.due(), all_of(3));
  EXPECT_EQ(intent.range_of(1), (SectorRange{unit, unit}));
  EXPECT_EQ(intent.range_of(2), (SectorRange{unit * 2, Sectors(5000 - 4096)})) << "the last one is cut short";
  EXPECT_FALSE(intent.has_bitmap());
  EXPECT_FALSE(intent.rewrites_promised_parity()) << "a dirty array promises nothing";
  EXPECT_TRUE(WriteIntent::for_resync(BitmapView{}, Sectors(5000), unit, true).due().empty());
}

TEST(WriteIntentForResync, TheListOfUnitsDoesNotGrowWithWhatAMemberSaysItsSizeIs) {
  const Sectors component(std::uint64_t{1} << 54);
  const WriteIntent intent = WriteIntent::for_resync(BitmapView{}, component, unit, false);
  ASSERT_LE(intent.due().size(), std::size_t{1} << 20);
  EXPECT_EQ(intent.range_of(intent.due().back()).end(), component);
  EXPECT_EQ(WriteIntent::for_resync(BitmapView{}, unit * 1000, unit, false).due().size(), 1000U);
}

TEST(WriteIntentForResync, ARejectedBitmapMakesEverythingDueEvenIfClean) {
  for (bool is_clean : {false, true}) {
    for (const BitmapView& view : {classic_view(Trust::rejected), lockless_view(Trust::rejected)}) {
      WriteIntent intent = WriteIntent::for_resync(view, Sectors(4096), unit, is_clean);
      EXPECT_EQ(intent.due(), all_of(2));
      EXPECT_TRUE(intent.rewrites_promised_parity());
      EXPECT_FALSE(intent.encode(1).has_value()) << "what is not understood is not written";
    }
  }
}

TEST(WriteIntentForResync, ABelievedClassicBitmapGivesItsBitsIfDirty) {
  WriteIntent intent = WriteIntent::for_resync(classic_view(Trust::believed), classic_component, unit, false);
  EXPECT_EQ(intent.due(), (std::vector<std::uint64_t>{0, 9, 100}));
  EXPECT_EQ(intent.range_of(9), (SectorRange{Sectors(72), Sectors(8)}));
  EXPECT_EQ(intent.range_of(100), (SectorRange{Sectors(800), Sectors(3)}));
  EXPECT_TRUE(bit_in(*intent.encode(21), 9)) << "until it is done";
}

TEST(WriteIntentForResync, BitsOfACleanArrayAreOnlyLeftOver) {
  WriteIntent intent = WriteIntent::for_resync(classic_view(Trust::believed), classic_component, unit, true);
  EXPECT_TRUE(intent.due().empty());
  EXPECT_TRUE(intent.wants_tidying());
  for (std::uint64_t i = 0; i < classic_chunks; ++i) {
    EXPECT_FALSE(bit_in(*intent.encode(21), i));
  }
}

TEST(WriteIntentForResync, AStaleClassicBitmapMakesEverythingDueIfDirty) {
  WriteIntent dirty_array = WriteIntent::for_resync(classic_view(Trust::stale), classic_component, unit, false);
  EXPECT_EQ(dirty_array.due(), all_of(classic_chunks));
  EXPECT_TRUE(bit_in(*dirty_array.encode(21), 50)) << "a cut in the middle must find all of it due";
  WriteIntent clean_array = WriteIntent::for_resync(classic_view(Trust::stale), classic_component, unit, true);
  EXPECT_TRUE(clean_array.due().empty());
  EXPECT_TRUE(clean_array.wants_tidying());
}

TEST(WriteIntentForResync, ABelievedLocklessBitmapDecidesForCleanArraysToo) {
  for (bool is_clean : {false, true}) {
    WriteIntent intent = WriteIntent::for_resync(lockless_view(Trust::believed), lockless_component, unit, is_clean);
    EXPECT_EQ(intent.due(), chunks_in({dirty, need_sync, syncing, invalid}));
    EXPECT_TRUE(intent.wants_tidying());
    EXPECT_TRUE(intent.rewrites_promised_parity());
    const auto area = *intent.encode(21);
    for (std::uint64_t chunk : chunks_in({need_sync_unwritten, syncing_unwritten})) {
      EXPECT_EQ(state_in(area, chunk), unwritten) << chunk;
    }
    for (std::uint64_t chunk : chunks_in({dirty, syncing, invalid})) {
      EXPECT_EQ(state_in(area, chunk), need_sync) << chunk;
    }
    EXPECT_EQ(state_in(area, 7), clean_unwritten);
    EXPECT_EQ(intent.range_of(99), (SectorRange{Sectors(99 * 128), Sectors(12700 - 99 * 128)}));
  }
}

TEST(WriteIntentForResync, AStaleLocklessBitmapMakesEverythingDueEvenIfClean) {
  for (bool is_clean : {false, true}) {
    WriteIntent intent = WriteIntent::for_resync(lockless_view(Trust::stale), lockless_component, unit, is_clean);
    EXPECT_EQ(intent.due(), all_of(testing::lockless_chunks));
    EXPECT_TRUE(intent.rewrites_promised_parity());
    EXPECT_EQ(state_in(*intent.encode(21), 1), need_sync);
  }
}

TEST(WriteIntentForResync, FirstUseMakesADirtyArrayDueWholeAndWritesTheHeader) {
  WriteIntent intent = WriteIntent::for_resync(lockless_view(Trust::first_use), lockless_component, unit, false);
  EXPECT_EQ(intent.due(), all_of(testing::lockless_chunks));
  const auto area = *intent.encode(21);
  EXPECT_EQ(*load<le32>(area, testing::at_state) & bitmap::state_first_use, 0U);
  EXPECT_EQ(*load<le32>(area, testing::at_chunksize), 128U);
  EXPECT_EQ(state_in(area, 5), need_sync);
  WriteIntent idle = WriteIntent::for_resync(lockless_view(Trust::first_use), lockless_component, unit, true);
  EXPECT_TRUE(idle.due().empty());
  EXPECT_FALSE(idle.wants_tidying());
}

TEST(WriteIntentForBuild, TakesUnwrittenChunksAndThoseInNeedOfASync) {
  WriteIntent intent = WriteIntent::for_build(lockless_view(Trust::believed), lockless_component, unit,
                                              WriteIntent::Extent::unwritten, true);
  EXPECT_EQ(intent.due(),
            chunks_in({unwritten, dirty, need_sync, syncing, need_sync_unwritten, syncing_unwritten, invalid}));
  const auto area = *intent.encode(21);
  EXPECT_EQ(state_in(area, 8), need_sync_unwritten);
  EXPECT_EQ(state_in(area, 1), clean);
  EXPECT_EQ(state_in(area, 7), clean_unwritten);
}

TEST(WriteIntentForBuild, EverythingIsEverythingWhateverTheBitmapSays) {
  const auto everything = WriteIntent::Extent::everything;
  for (Trust trust : {Trust::believed, Trust::stale, Trust::first_use}) {
    const WriteIntent intent = WriteIntent::for_build(lockless_view(trust), lockless_component, unit, everything, true);
    EXPECT_EQ(intent.due(), all_of(testing::lockless_chunks)) << static_cast<int>(trust);
    EXPECT_TRUE(intent.rewrites_promised_parity());
  }
  for (Trust trust : {Trust::believed, Trust::stale}) {
    const WriteIntent intent = WriteIntent::for_build(classic_view(trust), classic_component, unit, everything, true);
    EXPECT_EQ(intent.due(), all_of(classic_chunks));
    EXPECT_TRUE(intent.rewrites_promised_parity());
  }
  const WriteIntent none = WriteIntent::for_build(BitmapView{}, Sectors(4096), unit, everything, true);
  EXPECT_EQ(none.due(), all_of(2));
  EXPECT_TRUE(none.rewrites_promised_parity());
}

TEST(WriteIntentForBuild, AfterFirstUseEveryChunkCountsAsUnwritten) {
  WriteIntent intent = WriteIntent::for_build(lockless_view(Trust::first_use), lockless_component, unit,
                                              WriteIntent::Extent::unwritten, true);
  EXPECT_EQ(intent.due(), all_of(testing::lockless_chunks));
  EXPECT_EQ(state_in(*intent.encode(21), 3), need_sync_unwritten);
}

TEST(WriteIntentForBuild, NothingIsTakenFromAClassicBitmapUnlessAsked) {
  EXPECT_TRUE(WriteIntent::for_build(classic_view(Trust::believed), classic_component, unit,
                                     WriteIntent::Extent::unwritten, true)
                  .due()
                  .empty());
}

TEST(WriteIntent, AClassicBitIsClearedWhenItsChunkIsDone) {
  WriteIntent intent = WriteIntent::for_resync(classic_view(Trust::believed), classic_component, unit, false);
  intent.start(9);
  EXPECT_TRUE(bit_in(*intent.encode(21), 9));
  intent.finish(9, false, BuiltState::automatic);
  intent.start(100);
  intent.leave(100);
  const auto area = *intent.encode(22);
  EXPECT_FALSE(bit_in(area, 9));
  EXPECT_TRUE(bit_in(area, 0));
  EXPECT_TRUE(bit_in(area, 100)) << "what could not be computed is due again";
  EXPECT_EQ(number_in(area, testing::at_events), 22U);
  EXPECT_EQ(number_in(area, testing::at_events_cleared), 22U);
}

TEST(WriteIntent, ALocklessChunkGoesThroughSyncing) {
  WriteIntent intent = WriteIntent::for_resync(lockless_view(Trust::believed), lockless_component, unit, true);
  intent.start(2);
  EXPECT_EQ(state_in(*intent.encode(21), 2), syncing);
  intent.finish(2, true, BuiltState::automatic);
  intent.start(3);
  intent.leave(3);
  const auto area = *intent.encode(22);
  EXPECT_EQ(state_in(area, 2), clean) << "data was promised there: zero or not";
  EXPECT_EQ(state_in(area, 3), need_sync);
  EXPECT_EQ(state_in(area, 4), need_sync);
  EXPECT_EQ(number_in(area, testing::at_events), 22U);
}

std::uint8_t built(std::uint64_t chunk, bool is_zero, BuiltState how) {
  WriteIntent intent = WriteIntent::for_build(lockless_view(Trust::believed), lockless_component, unit,
                                              WriteIntent::Extent::unwritten, true);
  intent.start(chunk);
  EXPECT_EQ(state_in(*intent.encode(21), chunk), syncing_unwritten);
  intent.finish(chunk, is_zero, how);
  return state_in(*intent.encode(21), chunk);
}

TEST(WriteIntent, BuiltChunksEndAsAsked) {
  EXPECT_EQ(built(8, true, BuiltState::automatic), clean_unwritten);
  EXPECT_EQ(built(8, false, BuiltState::automatic), clean) << "live data in an Unwritten chunk: a partial discard";
  EXPECT_EQ(built(0, true, BuiltState::automatic), clean) << "chunk 0 decides whether a rebuild resets CleanUnwritten";
  for (bool is_zero : {false, true}) {
    for (std::uint64_t chunk : {0U, 8U}) {
      EXPECT_EQ(built(chunk, is_zero, BuiltState::clean_unwritten), clean_unwritten);
      EXPECT_EQ(built(chunk, is_zero, BuiltState::clean), clean);
    }
  }
}

TEST(WriteIntent, ABuildThatCouldNotBeComputedLeavesTheChunkUnwritten) {
  WriteIntent intent = WriteIntent::for_build(lockless_view(Trust::believed), lockless_component, unit,
                                              WriteIntent::Extent::unwritten, true);
  intent.start(8);
  intent.leave(8);
  EXPECT_EQ(state_in(*intent.encode(21), 8), unwritten);
}

TEST(WriteIntent, KeptBitsAreNeverClearedNorEventsCleared) {
  WriteIntent classic = WriteIntent::for_resync(classic_view(Trust::believed), classic_component, unit, false);
  classic.keep_bits();
  WriteIntent lockless = WriteIntent::for_resync(lockless_view(Trust::believed), lockless_component, unit, false);
  lockless.keep_bits();
  const auto before = *lockless.encode(30);
  for (std::uint64_t chunk : classic.due()) {
    classic.start(chunk);
    classic.finish(chunk, false, BuiltState::automatic);
  }
  for (std::uint64_t chunk : lockless.due()) {
    lockless.start(chunk);
    lockless.finish(chunk, false, BuiltState::automatic);
    lockless.leave(chunk);
  }
  const auto area = *classic.encode(30);
  for (std::uint64_t chunk : {0U, 9U, 100U}) {
    EXPECT_TRUE(bit_in(area, chunk));
  }
  EXPECT_EQ(number_in(area, testing::at_events), 30U);
  EXPECT_EQ(number_in(area, testing::at_events_cleared), 20U) << "a member that comes back still needs those writes";
  EXPECT_EQ(*lockless.encode(30), before);
}

TEST(WriteIntent, EncodingClearsTheFlagsOfMissedUpdates) {
  for (BitmapMember member : {testing::classic_member(), testing::lockless_member()}) {
    const bool is_classic = member.at(testing::at_version) == std::byte{4};
    member.put32(testing::at_state, bitmap::state_stale);
    const Sectors component = is_classic ? classic_component : lockless_component;
    WriteIntent intent = WriteIntent::for_resync(view_of(member, component), component, unit, false);
    EXPECT_EQ(intent.due().size(), is_classic ? classic_chunks : testing::lockless_chunks);
    EXPECT_EQ(*load<le32>(*intent.encode(21), testing::at_state) & bitmap::state_stale, 0U);
  }
}

}  // namespace
}  // namespace mdtool
