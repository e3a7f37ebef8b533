// SPDX-License-Identifier: GPL-2.0-or-later
// The lockless bitmap of an array in use: the bytes on its members at every moment, what is due, what may be trusted.
#include <gtest/gtest.h>

#include <thread>

#include "tests/raid/lockless_running.h"

namespace mdtool {
namespace {

using namespace mdtool::testing;

std::uint64_t count(const States& states, std::uint8_t state) {
  return static_cast<std::uint64_t>(std::ranges::count(states, state));
}

TEST(LocklessIntent, AWriteIsMarkedOnEveryMemberBeforeItBegins) {
  Running array(member_all(clean).bytes);
  ASSERT_TRUE(array.intent->start_write(part(7)).has_value());
  for (std::size_t member = 0; member < 3; ++member) {
    EXPECT_EQ(array.on_disk(member)[7], dirty);
    EXPECT_EQ(count(array.on_disk(member), clean), chunks - 1);
  }
  EXPECT_TRUE(array.intent->trusts_parity(part(7)));
}

TEST(LocklessIntent, OnlyTheBlockIsWrittenAndOnlyOnce) {
  Running array(member_all(clean).bytes);
  array.write(part(7));
  array.forget_writes();
  array.write(part(3000));
  EXPECT_EQ(array.members.devices[2].take_writes(), (Writes{{3584, 512}}));
  array.write(part(3000));
  array.write(part(7));
  EXPECT_TRUE(array.members.devices[2].take_writes().empty()) << "Dirty already";
}

TEST(LocklessIntent, FirstWritesOfAParityArrayNeedTheirParity) {
  Running array(member_all(unwritten).bytes);
  array.write(part(10));
  EXPECT_EQ(array.on_disk()[10], need_sync);
  EXPECT_EQ(count(array.on_disk(), need_sync), 1U);
  EXPECT_FALSE(array.intent->trusts_parity(part(10)));
  EXPECT_FALSE(array.intent->trusts_parity(part(11)));
  EXPECT_TRUE(array.intent->anything_due());
  EXPECT_TRUE(array.intent->resync_offset().is_max()) << "what is written is right";
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(10));
  EXPECT_EQ(array.on_disk()[10], need_sync) << "until it is done";
  array.intent->end_sync(chunk(10), Synced::yes, Ticks(0));
  EXPECT_TRUE(array.intent->trusts_parity(chunk(10)));
  EXPECT_FALSE(array.intent->anything_due());
}

TEST(LocklessIntent, ASecondFirstWriteInfectsItsBlock) {
  Running array(member_all(unwritten).bytes);
  array.write(part(10));
  array.write(part(200));
  EXPECT_EQ(count(array.on_disk(), need_sync), 512U);
  EXPECT_EQ(array.on_disk()[512], unwritten);
}

TEST(LocklessIntent, WithBlocksOf4096BytesTheHeaderStaysAHeader) {
  IntentStart start = clean_start();
  start.logical_block_bytes = 4096;
  const BitmapMember member = member_all(unwritten);
  Running array(member.bytes, start);
  array.write(part(10));
  array.write(part(200));
  EXPECT_EQ(count(array.on_disk(), need_sync), 3072U);
  const auto bytes = array.members.devices[1].bytes();
  EXPECT_TRUE(std::equal(member.bytes.begin(), member.bytes.begin() + bitmap_at + 1024, bytes.begin()));
  array.forget_writes();
  ASSERT_TRUE(array.intent->write_header(77).has_value());
  EXPECT_EQ(array.members.devices[1].take_writes(), (Writes{{0, 4096}}));
  EXPECT_EQ(array.header(at_events), 77U);
  EXPECT_EQ(array.header(at_version), 6U);
}

TEST(LocklessIntent, ASecondWriterWaitsUntilTheBlockIsDurable) {
  Running array(member_all(clean).bytes);
  array.write(part(3000));
  array.members.devices[1].close_gate();
  std::atomic<int> passed = 0;
  const auto writer = [&](std::uint64_t n) {
    EXPECT_TRUE(array.intent->start_write(part(n)).has_value());
    ++passed;
  };
  std::thread first(writer, 5);
  array.members.devices[1].wait_for_arrivals(3);
  std::thread same_chunk(writer, 5);
  std::thread same_block(writer, 6);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(passed, 0);
  EXPECT_EQ(array.on_disk(1)[5], clean);
  array.members.devices[1].open_gate();
  first.join();
  same_chunk.join();
  same_block.join();
  EXPECT_EQ(array.on_disk(1)[5], dirty);
  EXPECT_EQ(array.on_disk(2)[6], dirty);
}

TEST(LocklessIntent, AMarkThatReachesNoMemberIsNoMark) {
  Running array(member_all(clean).bytes);
  array.members.devices[0].fail_from_now_on();
  EXPECT_TRUE(array.intent->start_write(part(5)).has_value()) << "two copies are left";
  array.members.devices[1].fail_from_now_on();
  array.members.devices[2].fail_from_now_on();
  EXPECT_FALSE(array.intent->start_write(part(900)).has_value());
  EXPECT_FALSE(array.intent->start_write(part(900)).has_value());
}

TEST(LocklessIntent, ReloadMakesWhatWasInWorkDue) {
  States states(chunks, clean);
  states[3] = dirty;
  states[1000] = syncing;
  states[2000] = 0xff;
  for (const IntentStart& start : {clean_start(), dirty_start()}) {
    Running array(member_with(states).bytes, start);
    EXPECT_EQ(array.intent->resync_offset().is_max(), start.resync_offset.is_max());
    for (std::uint64_t due : {3U, 1000U, 2000U}) {
      EXPECT_FALSE(array.intent->trusts_parity(chunk(due)));
      EXPECT_EQ(array.intent->start_sync(chunk(due).first), chunk(due));
      array.intent->end_sync(chunk(due), due == 3 ? Synced::no : Synced::yes, Ticks(0));
    }
    EXPECT_EQ(array.intent->resync_offset().is_max(), start.resync_offset.is_max());
    EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(3));
    array.intent->end_sync(chunk(3), Synced::yes, Ticks(0));
    EXPECT_TRUE(array.intent->resync_offset().is_max());
  }
}

TEST(LocklessIntent, ADirtyArrayIsCleanOnceWhatWasDueThenIsDone) {
  States states(chunks, unwritten);
  states[3] = dirty;
  Running array(member_with(states).bytes, dirty_start());
  array.write(part(2000));
  ASSERT_EQ(array.intent->start_sync(Sectors(0)), chunk(3));
  array.intent->end_sync(chunk(3), Synced::yes, Ticks(0));
  EXPECT_TRUE(array.intent->anything_due());
  EXPECT_TRUE(array.intent->resync_offset().is_max()) << "a first write's parity can wait";
}

TEST(LocklessIntent, AStaleBitmapMakesAllOfItDue) {
  Running array(member_with({0, 1, 2, 7}).put64(at_events, 3).bytes);
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(0)) << "writes to it may have been missed";
  ASSERT_TRUE(array.intent->write_header(21).has_value());
  EXPECT_EQ(count(array.on_disk(1), need_sync) + 1, chunks);
  EXPECT_EQ(array.on_disk(1)[0], syncing);
  EXPECT_EQ(array.members.devices[1].take_writes(), (Writes{{512, 4608}, {0, 512}})) << "the header last";
}

// A missed write may have left wrong parity: who takes over has to compute it from data. A degraded array cannot.
TEST(LocklessIntent, AStaleBitmapsArrayIsNotCleanBeforeItsParityIsBuilt) {
  const std::vector<std::byte> bytes = member_with({0, 1, 2, 7}).put64(at_events, 3).bytes;
  Running array(bytes);
  EXPECT_EQ(array.intent->resync_offset(), Sectors(0));
  array.sync_everything();
  EXPECT_TRUE(array.intent->resync_offset().is_max());
  IntentStart start = clean_start();
  start.degraded = true;
  Running degraded(bytes, start, 2);
  EXPECT_TRUE(degraded.intent->resync_offset().is_max());
}

TEST(LocklessIntent, FirstUseIsWrittenAtOnce) {
  for (std::uint32_t flag : {0U, bitmap::state_clean}) {
    BitmapMember member = member_all(0xff);
    member.put32(at_state, bitmap::state_first_use | flag).put32(at_chunksize, 64U << 20);
    Running array(member.bytes);
    EXPECT_EQ(count(array.on_disk(2), flag == 0 ? unwritten : clean), chunks);
    EXPECT_EQ(array.header(at_state), 0U);
    EXPECT_EQ(array.header(at_chunksize), 128U);
    EXPECT_EQ(array.header(at_daemon_sleep), 30U);
    EXPECT_FALSE(array.intent->anything_due());
    EXPECT_EQ(array.intent->trusts_parity(chunk(9)), flag != 0);
  }
}

TEST(LocklessIntent, DegradedWritesStayDueForTheMissingMember) {
  States states(chunks, unwritten);
  states[0] = clean;
  states[1000] = 7;
  states[2000] = dirty;
  Running array(member_with(states).bytes, clean_start(), 2);
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), std::nullopt);
  for (std::uint64_t n : {0U, 1000U, 1U}) {
    array.write(part(n));
    EXPECT_EQ(array.on_disk()[n], need_sync);
  }
  EXPECT_EQ(count(array.on_disk(), need_sync), 4U) << "nothing is infected; Dirty was reloaded";
  EXPECT_TRUE(array.intent->trusts_parity(part(0))) << "its parity was right and is";
  EXPECT_FALSE(array.intent->trusts_parity(part(1))) << "it never had any";
  EXPECT_FALSE(array.intent->trusts_parity(part(2000)));
  EXPECT_FALSE(array.intent->anything_due());
  EXPECT_FALSE(array.maintain(daemon_sleep * 9));
  EXPECT_EQ(count(array.at_the_end(), need_sync), 4U);
}

TEST(LocklessIntent, ChunksKeepWhatTheyAreWhenAMemberGoes) {
  Running array(member_all(clean).bytes);
  array.write(part(5));
  array.intent->degraded();
  array.write(part(5));
  array.write(part(6));
  EXPECT_TRUE(array.intent->trusts_parity(chunk(5, 2)));
  EXPECT_FALSE(array.maintain(daemon_sleep * 2));
  EXPECT_EQ(array.intent->clears_in(Ticks(0)), std::nullopt);
  const States end = array.at_the_end();
  EXPECT_EQ(end[5], dirty) << "never cleaned without a member";
  EXPECT_EQ(end[6], need_sync);
}

TEST(LocklessIntent, ABuildThatAMemberInterruptsIsGivenBack) {
  Running array(member_all(unwritten).bytes);
  array.write(part(5));
  ASSERT_TRUE(array.intent->start_sync(Sectors(0)).has_value());
  array.intent->degraded();
  array.intent->end_sync(chunk(5), Synced::yes, Ticks(0));
  EXPECT_TRUE(array.intent->trusts_parity(chunk(5))) << "its parity is right, for whoever has to read through it";
  EXPECT_EQ(array.at_the_end()[5], need_sync);
}

TEST(LocklessIntent, TheDaemonCleansIdlePagesOnItsTimer) {
  Running array(member_all(clean).bytes);
  EXPECT_EQ(array.intent->clears_in(Ticks(0)), std::nullopt);
  array.write(part(5), second);
  EXPECT_EQ(array.intent->clears_in(second), daemon_sleep);
  array.write(part(3500), second * 28);
  EXPECT_FALSE(array.maintain(second * 30));
  EXPECT_TRUE(array.maintain(second * 31));
  EXPECT_EQ(array.on_disk()[5], dirty) << "on disk it stays until its block is written";
  EXPECT_EQ(array.intent->clears_in(second * 31), daemon_sleep) << "the other page was not idle for five seconds";
  EXPECT_TRUE(array.maintain(second * 61));
  EXPECT_EQ(array.intent->clears_in(second * 61), std::nullopt);
  array.write(part(6), second * 62);
  EXPECT_EQ(array.on_disk()[5], clean) << "in its place in the block";
  EXPECT_EQ(array.on_disk()[6], dirty);
  EXPECT_EQ(array.on_disk()[3500], dirty);
}

TEST(LocklessIntent, APageWithAWriteInFlightIsNotCleaned) {
  Running array(member_all(clean).bytes);
  array.write(part(5));
  ASSERT_TRUE(array.intent->start_write(part(9)).has_value());
  array.write(part(3500));
  ASSERT_TRUE(array.maintain(daemon_sleep));
  array.intent->end_write(part(9), Written::yes, daemon_sleep);
  ASSERT_TRUE(array.intent->start_write(part(3501)).has_value());
  const States now = array.on_disk();
  EXPECT_EQ(now[5], dirty);
  EXPECT_EQ(now[3500], clean);
}

TEST(LocklessIntent, AWriteBetweenTheFlushAndTheCleaningKeepsItsPage) {
  Running array(member_all(clean).bytes);
  array.write(part(5));
  array.write(part(3500));
  ASSERT_TRUE(array.intent->prepare_to_clear(daemon_sleep));
  array.write(part(1000), daemon_sleep);
  ASSERT_TRUE(array.intent->clear_prepared(daemon_sleep).has_value());
  array.write(part(6));
  array.write(part(3501));
  EXPECT_EQ(array.on_disk()[5], dirty);
  EXPECT_EQ(array.on_disk()[3500], clean);
}

TEST(LocklessIntent, ParityThatCameAfterTheFlushIsNotCalledClean) {
  States states(chunks, clean);
  states[20] = need_sync;
  Running array(member_with(states).bytes);
  array.write(part(1000));
  ASSERT_TRUE(array.intent->start_sync(Sectors(0)).has_value());
  ASSERT_TRUE(array.intent->prepare_to_clear(daemon_sleep));
  array.intent->end_sync(chunk(20), Synced::yes, daemon_sleep);
  ASSERT_TRUE(array.intent->clear_prepared(daemon_sleep).has_value());
  array.write(part(21));
  EXPECT_EQ(array.on_disk()[20], dirty);
}

TEST(LocklessIntent, ASyncEndsOnlyItsOwnChunk) {
  States states(chunks, clean);
  states[20] = states[1020] = need_sync;
  Running array(member_with(states).bytes);
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(20));
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), chunk(1020)) << "the first is in work";
  EXPECT_EQ(array.intent->start_sync(Sectors(0)), std::nullopt);
  EXPECT_TRUE(array.intent->anything_due());
  array.intent->end_sync(chunk(1020), Synced::yes, Ticks(0));
  EXPECT_FALSE(array.intent->trusts_parity(chunk(20)));
  EXPECT_TRUE(array.intent->trusts_parity(chunk(1020)));
  array.write(part(20));
  EXPECT_FALSE(array.intent->trusts_parity(chunk(20))) << "a write does not end the sync";
  array.intent->end_sync(chunk(20), Synced::no, Ticks(0));
  EXPECT_EQ(array.intent->start_sync(chunk(20).first), chunk(20)) << "given back";
}

TEST(LocklessIntent, AWriteThatWentWrongIsDueAndTheArrayDirty) {
  Running array(member_all(clean).bytes);
  ASSERT_TRUE(array.intent->start_write(part(5)).has_value());
  array.intent->end_write(part(5), Written::no, Ticks(0));
  EXPECT_FALSE(array.intent->trusts_parity(part(5)));
  EXPECT_EQ(array.intent->resync_offset(), Sectors(0));
  ASSERT_EQ(array.intent->start_sync(Sectors(0)), chunk(5));
  ASSERT_TRUE(array.intent->start_write(part(5)).has_value());
  array.intent->end_write(part(5), Written::no, Ticks(0));
  array.intent->end_sync(chunk(5), Synced::yes, Ticks(0));
  EXPECT_FALSE(array.intent->trusts_parity(part(5))) << "spoiled behind the builder";
  EXPECT_EQ(array.intent->resync_offset(), Sectors(0));
  array.sync_everything();
  EXPECT_TRUE(array.intent->resync_offset().is_max());
  EXPECT_EQ(count(array.at_the_end(), clean), chunks);
}

TEST(LocklessIntent, OnlyWholeChunksAreDiscarded) {
  Running array(member_all(clean).bytes);
  const SectorRange rows{Sectors(128 * 10 + 8), Sectors(128 * 3)};  // 11 and 12 whole, 10 and 13 in part
  ASSERT_TRUE(array.intent->start_discard(rows).has_value());
  for (std::uint64_t n = 10; n < 14; ++n) {
    EXPECT_EQ(array.on_disk()[n], dirty) << "parity is being zeroed, too";
  }
  EXPECT_EQ(count(array.on_disk(), dirty), 4U) << "no neighbour";
  array.intent->discard(rows);
  array.intent->end_write(rows, Written::yes, Ticks(0));
  array.discard(chunk(chunks - 2, 2));
  const States end = array.at_the_end();
  EXPECT_EQ(States(end.begin() + 10, end.begin() + 14), (States{clean, unwritten, unwritten, clean}));
  EXPECT_EQ(end[chunks - 1], unwritten) << "the last one is shorter, but whole";
  EXPECT_EQ(count(end, unwritten), 4U);
}

TEST(LocklessIntent, ADiscardAsksForNoParity) {
  Running array(member_all(unwritten).bytes);
  array.discard(chunk(10, 600));
  EXPECT_FALSE(array.intent->anything_due());
  EXPECT_EQ(count(array.on_disk(), unwritten), chunks);
}

TEST(LocklessIntent, AChunkThatWasWrittenBesideItsDiscardKeepsItsData) {
  for (const bool ends_before : {false, true}) {
    Running array(member_all(clean).bytes);
    ASSERT_TRUE(array.intent->start_discard(chunk(10)).has_value());
    ASSERT_TRUE(array.intent->start_write(part(10)).has_value());
    if (ends_before) {
      array.intent->end_write(part(10), Written::yes, Ticks(0));
    }
    array.intent->discard(chunk(10));
    EXPECT_TRUE(array.intent->trusts_parity(chunk(10)));
    array.intent->end_write(chunk(10), Written::yes, Ticks(0));
    array.discard(chunk(10));
    EXPECT_EQ(array.intent->trusts_parity(chunk(10)), !ends_before) << "the other one is in flight still";
  }
}

TEST(LocklessIntent, NothingBecomesUnwrittenWithoutAMember) {
  Running array(member_all(clean).bytes, clean_start(), 2);
  array.discard(chunk(10));
  EXPECT_EQ(array.at_the_end()[10], need_sync);
}

TEST(LocklessIntent, AnOrderlyEndCleansAndKeepsWhatIsDue) {
  States states(chunks, clean);
  states[2000] = need_sync;
  Running array(member_with(states).bytes);
  array.write(part(5));
  ASSERT_TRUE(array.intent->start_sync(Sectors(0)).has_value());
  array.intent->end_sync(chunk(2000), Synced::no, Ticks(0));
  ASSERT_TRUE(array.intent->write_all(40).has_value());
  for (std::size_t member = 0; member < 3; ++member) {
    EXPECT_EQ(array.on_disk(member), states);
  }
  EXPECT_EQ(array.header(at_events), 40U);
}

TEST(LocklessIntent, ManyWritersABuilderAndTheDaemonAtOnce) {
  Running array(member_all(unwritten).bytes);
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 200; ++i) {
        const std::uint64_t n = (i * 37 + t * 11) % 3990;
        ASSERT_TRUE(array.intent->start_write(chunk(n, 2)).has_value());
        const std::uint8_t marked = array.on_disk(i % 3)[n];
        ASSERT_TRUE(marked >= dirty && marked <= syncing) << int{marked};
        if (i % 7 == 0) {
          array.intent->discard(chunk(n, 2));
        }
        array.intent->end_write(chunk(n, 2), Written::yes, Ticks(0));
      }
    });
  }
  std::thread maintainer([&] {
    for (Ticks now{0}; !stop; now += daemon_sleep) {
      array.maintain(now);
      if (const auto rows = array.intent->start_sync(Sectors(0))) {
        array.intent->end_sync(*rows, Synced::yes, now);
      }
      EXPECT_TRUE(array.intent->write_header(30).has_value());
    }
  });
  for (auto& thread : threads) {
    thread.join();
  }
  stop = true;
  maintainer.join();
  array.sync_everything();
  const States end = array.at_the_end();
  EXPECT_EQ(count(end, clean) + count(end, unwritten), chunks);
  EXPECT_FALSE(array.intent->anything_due());
}

}  // namespace
}  // namespace mdtool
