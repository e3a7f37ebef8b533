// SPDX-License-Identifier: GPL-2.0-or-later
// Bitmaps added, removed and converted as plans: what is owed before is owed after every cut, and every cut converges.
#include "libraid/edit/bitmap_change.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <array>

#include "libmeta/bitmap/new_bitmap.h"
#include "libmeta/convert.h"
#include "libraid/edit/bitmap_room.h"
#include "tests/raid/blank_members.h"
#include "tests/raid/edited_array.h"

namespace mdtool::test {
namespace {

using bitmap::ChunkState;
using bitmap::Kind;

constexpr std::uint64_t kib = 1024;

EditClock clock_of_test() {
  EditClock clock;
  clock.now_seconds = 1900000000;
  return clock;
}

BitmapTarget classic(std::optional<std::uint64_t> chunk_bytes = {}, std::optional<std::int64_t> offset = {}) {
  return {Kind::classic, chunk_bytes, offset, ""};
}
BitmapTarget lockless(std::optional<std::int64_t> offset = {}) {
  return {Kind::lockless, {}, offset, ""};
}
BitmapTarget file(const std::string& path, std::optional<std::uint64_t> chunk_bytes = {}) {
  return {Kind::classic, chunk_bytes, {}, path};
}

Planner add(const BitmapTarget& target) {
  return [=](const Look& look) { return plan_bitmap_add(look.array(), target, clock_of_test()); };
}
Planner remove() {
  return [](const Look& look) { return plan_bitmap_remove(look.array(), clock_of_test()); };
}
Planner convert(const BitmapTarget& target) {
  return [=](const Look& look) { return plan_bitmap_convert(look.array(), target, std::nullopt, clock_of_test()); };
}
Planner convert_from(const BitmapTarget& target, const std::string& path, const Source& content) {
  return [=, &content](const Look& look) {
    return plan_bitmap_convert(look.array(), target, BitmapFile{path, &content}, clock_of_test());
  };
}

std::vector<Image> after(const std::vector<Image>& images, const Planner& planner) {
  const Planned made = planned(images, planner);
  EXPECT_TRUE(made.plan) << made.reason();
  return made.plan ? applied(*made, images) : images;
}

// For each 4 KiB of the sync range: the array has to look at it, or remembers that nobody built it. By the kernel's
// rules, from the formats' description; not by what the plans under test use.
std::vector<bool> owed(const Assembly& a) {
  const BitmapView& view = a.bitmap;
  const Sectors step = Sectors::from_bytes(4 * kib);
  std::vector<bool> all(static_cast<std::size_t>(view.expected.sync_size / step), false);
  const bool stale = view.trust == Trust::stale;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Sectors at = step * i;
    if (view.trust == Trust::absent) {
      all[i] = !a.clean && (a.array().clean() || at + step > a.array().resync_offset);
    } else if (view.trust == Trust::rejected) {
      all[i] = true;
    } else if (view.classic) {
      all[i] = stale || (!a.clean && view.classic->is_set(at / view.chunk()));
    } else if (view.trust == Trust::first_use) {
      all[i] = (view.lockless->header().state & bitmap::state_clean) == 0;
    } else {
      const std::uint8_t state = view.lockless->raw(at / view.chunk());
      all[i] = state != 1 && (stale || state != 7);
    }
  }
  return all;
}

std::vector<bool> owed(const std::vector<Image>& images) {
  return owed(look_at(images).array());
}

bool covers(const std::vector<bool>& more, const std::vector<bool>& less) {
  for (std::size_t i = 0; i < less.size(); ++i) {
    if (less[i] && !more[i]) {
      return false;
    }
  }
  return more.size() == less.size();
}

// Members are copied for every cut, by the megabyte: memory that is kept needs not be mapped anew each time.
void keep_memory() {
  constexpr int most = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, most);
  mallopt(M_TRIM_THRESHOLD, most);
}

constexpr std::size_t cut_stride = MDTOOL_TEST_SCALE > 1 ? 1 : 2;

// After sectors of the plan the array starts, with what was owed before still owed, and the plan made again from there
// ends where the whole one does.
enum class Judged { by_superblocks, with_a_file };
void expect_safe(const std::vector<Image>& images, const Planner& planner, Judged how = Judged::by_superblocks) {
  keep_memory();
  const Planned whole = planned(images, planner);
  ASSERT_TRUE(whole.plan) << whole.reason();
  const std::vector<bool> before = owed(images);
  const Verdict verdict = whole.look.array().verdict;
  const std::string complete = essence(applied(*whole, images));
  std::vector<Image> cut = images;
  std::size_t done = 0;
  for (const SectorWrite& w : sector_writes(*whole, images)) {
    write(cut, w);
    if (++done % cut_stride != 0) {
      continue;
    }
    SCOPED_TRACE("after " + std::to_string(done) + " sector writes");
    const Planned again = planned(cut, planner);
    ASSERT_TRUE(how == Judged::with_a_file || covers(owed(again.look.array()), before));
    ASSERT_LE(again.look.array().verdict, verdict);
    ASSERT_TRUE(again.plan) << again.reason();
    ASSERT_EQ(essence(applied(*again, cut)), complete);
  }
  ASSERT_GT(done, 0U);
  EXPECT_TRUE(planned(cut, planner).plan->nothing_to_do());
}

std::size_t count(const std::vector<bool>& all) {
  return static_cast<std::size_t>(std::count(all.begin(), all.end(), true));
}

std::int64_t bitmap_place(const Look& look) {
  const MemberDescription& d = look.array().array();
  return (static_cast<std::int64_t>(*d.bitmap_offset_bytes) - static_cast<std::int64_t>(d.super_offset.bytes())) / 512;
}

std::uint64_t states(const Look& look, ChunkState state) {
  return look.array().bitmap.lockless->counts().by_state[static_cast<std::size_t>(state)];
}

TEST(LocklessToClassic, WhatIsNotPromisedIsDueAndTheArrayIsDirty) {
  const auto images = load_fixture("1.2-raid5-4-lockless-mixed-crash");
  const auto due = owed(images);
  ASSERT_GT(count(due), 0U);
  ASSERT_LT(count(due), due.size());
  const Planned made = planned(images, convert(classic(64 * kib)));
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->costs, std::to_string(count(due) * 4096) + " bytes of each member are due"));
  const auto changed = applied(*made, images);
  const Look look = look_at(changed);
  EXPECT_EQ(look.array().bitmap.kind, Kind::classic);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_FALSE(look.array().clean);
  EXPECT_TRUE(look.array().array().resync_offset.is_zero());
  EXPECT_EQ(owed(changed), due);  // the chunks are cut alike, so exactly that
  EXPECT_EQ(look.array().bitmap.copies.size(), 4U);
  EXPECT_EQ(look.array().bitmap.classic->header().events_cleared, look.array().array().events);
  EXPECT_TRUE(look.array().bitmap.findings.empty());
}

TEST(LocklessToClassic, ACleanSuperblockDoesNotDropTheBits) {
  const auto images = load_fixture("1.2-raid6-5-lockless-unwritten");
  ASSERT_TRUE(look_at(images).array().clean);
  const Planned made = planned(images, convert(classic()));
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->costs, "due for a resync"));
  EXPECT_TRUE(mentions(made.plan->costs, "build-parity"));
  const Look look = look_at(applied(*made, images));
  EXPECT_FALSE(look.array().clean);
  EXPECT_GT(look.array().bitmap.classic->set_count(), 0U);
}

TEST(LocklessToClassic, AllCleanStaysClean) {
  const auto images = load_fixture("1.2-raid5-4-lockless-assume-clean");
  ASSERT_EQ(count(owed(images)), 0U);
  const Look look = look_at(after(images, convert(classic(64 * kib))));
  EXPECT_TRUE(look.array().clean);
  EXPECT_EQ(look.array().bitmap.classic->set_count(), 0U);
}

TEST(ClassicToLockless, BitsOfADirtyArrayNeedASync) {
  const auto images = load_fixture("1.2-raid5-4-classic-crash");
  const auto due = owed(images);
  ASSERT_GT(count(due), 0U);
  const auto changed = after(images, convert(lockless()));
  const Look look = look_at(changed);
  EXPECT_EQ(look.array().bitmap.kind, Kind::lockless);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_TRUE(look.array().array().resync_offset.is_zero());
  EXPECT_TRUE(covers(owed(changed), due));
  ASSERT_FALSE(due[0]);
  EXPECT_EQ(look.array().bitmap.lockless->raw(0), 3) << "the kernel's sync would end early";
  EXPECT_EQ(states(look, ChunkState::need_sync) + states(look, ChunkState::clean), look.array().bitmap.chunks());
  EXPECT_EQ(look.array().bitmap.lockless->header().events_cleared, 0U);
  EXPECT_EQ(look.array().bitmap.lockless->header().sectors_reserved, 256U);
  EXPECT_EQ(look.array().bitmap.lockless->header().daemon_sleep, bitmap::lockless_daemon_sleep);
  EXPECT_EQ(look.array().bitmap.chunk(), Sectors(bitmap::lockless_min_chunk_sectors));
  EXPECT_TRUE(look.array().bitmap.findings.empty());
}

TEST(ClassicToLockless, BitsOfACleanArrayAreDropped) {
  const Look look = look_at(after(load_fixture("1.2-raid5-4-classic-clean"), convert(lockless())));
  EXPECT_TRUE(look.array().clean);
  EXPECT_EQ(states(look, ChunkState::clean), look.array().bitmap.chunks());
}

TEST(ClassicToLockless, TheEmptyBadBlockLogMakesWay) {
  const auto images = load_fixture("1.2-raid5-4-classic-crash");
  const Look before = look_at(images);
  ASSERT_EQ(before.array().array().bad_block_log->offset_bytes, 4096U + 16 * 512);
  const Look look = look_at(after(images, convert(lockless())));
  for (const Candidate& c : look.candidates) {
    const MemberDescription& d = c.chosen()->description;
    const std::uint64_t end = *d.bitmap_offset_bytes + (256 + 8) * 512;
    EXPECT_TRUE(!d.bad_block_log || d.bad_block_log->offset_bytes >= end);
    EXPECT_TRUE(d.bad_block_log);  // there is room behind
    EXPECT_TRUE(c.chosen()->findings.empty());
  }
}

TEST(ClassicToLockless, ALogThatIsInUseStays) {
  auto images = load_fixture("1.2-raid5-4-classic-clean");
  constexpr std::size_t feature_map = 8;
  constexpr std::size_t log = 4096 + 16 * 512;
  for (Image& image : images) {
    set_field(image, feature_map, le32(0x9));
    std::fill_n(image.begin() + log, 4096, std::byte{0xff});
    ASSERT_TRUE(store(std::span(image), log, le64((std::uint64_t{3000} << 10) | 8)));
  }
  const auto changed = after(images, convert(lockless()));
  const Look look = look_at(changed);
  EXPECT_EQ(look.array().array().bad_block_log->offset_bytes, log);
  EXPECT_LE(*look.array().array().bitmap_offset_bytes + look.array().bitmap.lockless->used_bytes(), log);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_TRUE(std::equal(changed[0].begin() + log, changed[0].begin() + log + 4096, images[0].begin() + log));
  EXPECT_FALSE(planned(images, convert(lockless(16))).plan);
}

TEST(ToLockless, RefusedWhereItCannotBeOrWouldLoseSomething) {
  EXPECT_NE(planned(load_fixture("0.90-raid6-5-classic-clean"), convert(lockless())).reason().find("0.90"),
            std::string::npos);
  EXPECT_NE(planned(load_fixture("1.2-raid5-4-none-degraded"), add(lockless())).reason().find("events_cleared"),
            std::string::npos);
  auto images = load_fixture("1.2-raid5-4-classic-clean");
  constexpr std::size_t logical_block_size = 224;
  for (Image& image : images) {
    set_field(image, logical_block_size, le32(4096));
  }
  EXPECT_NE(planned(images, convert(lockless())).reason().find("write over the header"), std::string::npos);
  EXPECT_TRUE(planned(images, convert(classic(16 * kib))).plan);
}

TEST(LeavingLockless, RefusedWhileDegraded) {
  const auto images = load_fixture("1.2-raid6-6-lockless-degraded");
  EXPECT_NE(planned(images, convert(classic())).reason().find("degraded"), std::string::npos);
  EXPECT_NE(planned(images, remove()).reason().find("degraded"), std::string::npos);
  EXPECT_NE(planned(load_fixture("1.2-raid6-5-lockless-dirty-degraded"), remove()).reason().find("degraded"),
            std::string::npos);
}

TEST(Refused, ByName) {
  const auto reason = [](const std::string& name, const Planner& planner) {
    return planned(load_fixture(name), planner).reason();
  };
  EXPECT_NE(reason("1.2-raid0-3", add(classic())).find("RAID-0"), std::string::npos);
  EXPECT_NE(reason("1.2-linear-2", add(classic())).find("linear"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-3-journal-clean", add(classic())).find("journal"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-3-ppl-clean", add(classic())).find("PPL"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-4-none-reshape", add(classic())).find("reshape"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-3-none-replacement", add(classic())).find("replacing"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-4-none-dirty-degraded", add(classic())).find("dirty and degraded"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-4-lockless-lazy-offset", remove()).find("lazy-recovery"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-4-none-clean", convert(classic())).find("bitmap add"), std::string::npos);
  EXPECT_NE(reason("1.2-raid5-4-classic-clean", add(lockless())).find("bitmap convert"), std::string::npos);
}

TEST(Add, CleanArraysOweNothingAndDirtyOnesAll) {
  const auto clean = load_fixture("1.2-raid5-4-none-clean");
  const Look look = look_at(after(clean, add(classic())));
  EXPECT_TRUE(look.array().clean);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(look.array().bitmap.classic->set_count(), 0U);
  EXPECT_EQ(look.array().bitmap.classic->header().events_cleared, look.array().array().events);
  EXPECT_EQ(bitmap_place(look), 8);
  const Look young = look_at(after(clean, add(lockless())));
  EXPECT_TRUE(young.array().clean);
  EXPECT_EQ(states(young, ChunkState::clean), young.array().bitmap.chunks());

  const auto dirty = load_fixture("1.2-raid5-4-none-crash");
  const auto with_bits = after(dirty, add(classic(16 * kib)));
  EXPECT_EQ(owed(with_bits), owed(dirty));
  EXPECT_EQ(count(owed(with_bits)), owed(dirty).size());
  const Look due = look_at(after(dirty, add(lockless())));
  EXPECT_EQ(states(due, ChunkState::need_sync), due.array().bitmap.chunks());
  EXPECT_FALSE(due.array().clean);
}

TEST(Add, AdviceAndStepsAreThoseOfTheArray) {
  const auto said = [](const std::string& fixture, const Planner& planner) {
    const Planned made = planned(load_fixture(fixture), planner);
    EXPECT_TRUE(made.plan) << made.reason();
    std::string text;
    for (const auto* list : {&made.plan->steps, &made.plan->costs, &made.plan->next}) {
      for (const std::string& line : *list) {
        text += line + "\n";
      }
    }
    return text;
  };
  EXPECT_EQ(said("1.2-raid5-4-none-clean", add(file("/tmp/map"))).find("no bitmap any more"), std::string::npos);
  EXPECT_NE(said("1.2-raid5-4-classic-clean", convert(file("/tmp/map"))).find("no bitmap any more"), std::string::npos);
  const std::string parity = said("1.2-raid6-5-lockless-unwritten", remove());
  EXPECT_NE(parity.find("build-parity"), std::string::npos);
  EXPECT_NE(parity.find("mdtool resync"), std::string::npos);
  auto mirror = load_fixture("1.2-raid1-2-classic");
  mirror = after(mirror, convert(lockless()));
  for (Image& image : mirror) {
    ASSERT_TRUE(store(std::span(image), 8192 + bitmap::lockless_states_offset, std::byte{0}));
  }
  const Planned made = planned(mirror, remove());
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->next, "the kernel does"));
  EXPECT_FALSE(mentions(made.plan->costs, "build-parity"));
}

TEST(Add, WhereAResyncStoppedItGoesOn) {
  const auto images = load_fixture("1.2-raid6-4-none-resync-stopped");
  const Sectors reached = look_at(images).array().array().resync_offset;
  ASSERT_FALSE(reached.is_zero() || reached.is_max());
  EXPECT_EQ(look_at(after(images, add(classic()))).array().array().resync_offset, reached);
  EXPECT_TRUE(look_at(after(images, add(lockless()))).array().array().resync_offset.is_zero());
}

TEST(Add, ADegradedArraysMissingMemberIsNotTakenBackByBits) {
  const auto images = load_fixture("1.2-raid5-4-none-degraded");
  const std::uint64_t events = look_at(images).array().array().events;
  const auto changed = after(images, add(classic()));
  const Look look = look_at(changed);
  EXPECT_EQ(look.array().array().events, events + 2);
  EXPECT_EQ(look.array().bitmap.classic->header().events_cleared, events + 2);
  EXPECT_EQ(look.array().verdict, Verdict::degraded);
  expect_safe(images, add(classic()));
}

TEST(Add, AMemberThatIsNotNamedIsLeftBehind) {
  const auto images = load_fixture("1.2-raid6-5-none-left-asymmetric");
  const Look look = look_without(images, {4});
  const auto plan = plan_bitmap_add(look.array(), classic(), clock_of_test());
  ASSERT_TRUE(plan) << plan.error().text;
  const auto changed = applied(*plan, images);
  EXPECT_EQ(changed[4], images[4]);
  const Look now = look_at(changed);
  EXPECT_EQ(now.array().in_sync_count(), 4U);
  EXPECT_EQ(now.array().bitmap.copies.size(), 4U);
}

TEST(Add, OnARaid10TheBitsCoverTheArray) {
  const auto images = load_fixture("1.2-raid10-4-none");
  const Look look = look_at(after(images, add(classic(16 * kib))));
  EXPECT_EQ(look.array().bitmap.expected.sync_size.bytes(), look.array().array_bytes());
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_TRUE(look.array().bitmap.findings.empty());
}

TEST(Remove, WhatALocklessBitmapKnewBecomesAWholeResync) {
  const auto images = load_fixture("1.2-raid6-5-lockless-unwritten");
  const Planned made = planned(images, remove());
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->costs, "due for a resync"));
  EXPECT_TRUE(mentions(made.plan->costs, "mdtool build-parity"));
  const Look look = look_at(applied(*made, images));
  EXPECT_EQ(look.array().bitmap.trust, Trust::absent);
  EXPECT_TRUE(look.array().array().resync_offset.is_zero());
}

TEST(Remove, ACleanClassicArrayStaysClean) {
  const Look look = look_at(after(load_fixture("1.2-raid5-4-classic-clean"), remove()));
  EXPECT_EQ(look.array().bitmap.trust, Trust::absent);
  EXPECT_TRUE(look.array().clean);
}

TEST(Remove, ABitmapThatMissedUpdatesLeavesAllDue) {
  const auto images = load_fixture("1.2-raid5-3-classic-stale-bitmap");
  ASSERT_EQ(look_at(images).array().bitmap.trust, Trust::stale);
  EXPECT_EQ(count(owed(after(images, remove()))), owed(images).size());
  EXPECT_EQ(count(owed(after(images, convert(lockless())))), owed(images).size());
}

TEST(Remove, ADegradedClassicArrayLosesOnlyTheQuickReAdd) {
  const auto images = load_fixture("1.2-raid5-4-classic-stale-member");
  const Planned made = planned(images, remove());
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->costs, "filled whole"));
  expect_safe(images, remove());
}

TEST(ChunkSize, ADegradedArrayTakesNobodyBackByItsBits) {
  const auto images = load_fixture("1.2-raid5-4-classic-stale-member");
  const Planned made = planned(images, convert(classic(128 * kib)));
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->costs, "filled whole"));
  const Look look = look_at(applied(*made, images));
  EXPECT_EQ(look.array().bitmap.classic->header().events_cleared, look.array().array().events);
  expect_safe(images, convert(classic(128 * kib)));
}

TEST(ChunkSize, BitsAreUnitedAndDividedAndEventsClearedStays) {
  const auto images = load_fixture("1.2-raid5-4-classic-crash");
  const Look before = look_at(images);
  const auto due = owed(images);
  for (const std::uint64_t chunk : {4 * kib, 128 * kib, 1024 * kib}) {
    const auto changed = after(images, convert(classic(chunk)));
    const Look look = look_at(changed);
    EXPECT_EQ(look.array().bitmap.chunk().bytes(), chunk);
    EXPECT_TRUE(covers(owed(changed), due));
    EXPECT_EQ(look.array().bitmap.classic->header().events_cleared,
              before.array().bitmap.classic->header().events_cleared);
    EXPECT_EQ(look.array().bitmap.copies.size(), 4U);
  }
  EXPECT_EQ(owed(after(images, convert(classic(4 * kib)))), due);
  EXPECT_FALSE(planned(images, convert(classic(3000))).plan);
  EXPECT_FALSE(planned(images, convert(classic(2 * kib))).plan);
}

TEST(Place, MovesWithinTheRoomAndNowhereElse) {
  const auto images = load_fixture("1.2-raid5-4-classic-crash");
  const auto changed = after(images, convert(classic({}, 64)));
  EXPECT_EQ(bitmap_place(look_at(changed)), 64);
  EXPECT_EQ(owed(changed), owed(images));
  EXPECT_EQ(look_at(changed).array().bitmap.trust, Trust::believed);
  // In the superblock, over the log, in the data, between blocks.
  for (const std::int64_t offset : {0, 16, 4096, 1 << 24, 65, -8}) {
    EXPECT_FALSE(planned(images, convert(classic({}, offset))).plan) << offset;
  }
  EXPECT_NE(planned(images, convert(classic({}, 16))).reason().find("bad-block log has sectors 16 to 23"),
            std::string::npos);
  const Look far = look_at(after(images, convert(lockless(512))));
  EXPECT_EQ(bitmap_place(far), 512);
  EXPECT_EQ(far.array().bitmap.kind, Kind::lockless);
}

TEST(Place, Of10BeforeTheSuperblockAndOf090Fixed) {
  const auto images = load_fixture("1.0-raid5-5-classic-clean");
  const auto without_bitmap = after(images, remove());
  const Look look = look_at(after(without_bitmap, add(classic())));
  EXPECT_LT(bitmap_place(look), 0);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  for (const Candidate& c : look.candidates) {
    EXPECT_TRUE(c.chosen()->findings.empty());
  }
  const Look young = look_at(after(images, convert(lockless())));
  EXPECT_EQ(young.array().bitmap.kind, Kind::lockless);
  EXPECT_LT(bitmap_place(young), 0);

  const auto old = load_fixture("0.90-raid5-3-classic-crash");
  EXPECT_EQ(bitmap_place(look_at(after(old, convert(classic(4 * kib))))), 8);
  EXPECT_FALSE(planned(old, convert(classic({}, 16))).plan);
  EXPECT_EQ(look_at(after(after(old, remove()), add(classic()))).array().bitmap.trust, Trust::believed);
}

TEST(Place, SuperblocksSayIt) {
  const Look old = look_at(load_fixture("0.90-raid5-3-none-clean"));
  const Metadata& md0 = *candidate(old, 0)->chosen()->metadata;
  EXPECT_FALSE(with_bitmap_at(md0, 16));
  const auto there = with_bitmap_at(md0, 8);
  ASSERT_TRUE(there);
  EXPECT_EQ((*there)->describe().bitmap_offset_bytes, md0.offset_bytes() + 4096);
  EXPECT_FALSE((*(*without_bitmap(**there))).describe().bitmap_offset_bytes);
  const Look young = look_at(load_fixture("1.0-raid5-5-classic-clean"));
  const Metadata& md1 = *candidate(young, 0)->chosen()->metadata;
  EXPECT_EQ((*with_bitmap_at(md1, -24))->describe().bitmap_offset_bytes, md1.offset_bytes() - 24 * 512);
  EXPECT_FALSE((*without_bitmap(md1))->describe().bitmap_offset_bytes);
}

TEST(FirstUse, IsFinishedAsTheKernelWould) {
  const auto images = load_fixture("1.2-raid5-4-lockless-first-use");
  ASSERT_EQ(look_at(images).array().bitmap.trust, Trust::first_use);
  const auto changed = after(images, convert(classic(64 * kib)));
  EXPECT_EQ(count(owed(changed)), owed(images).size());
  EXPECT_EQ(look_at(changed).array().bitmap.classic->set_count(), look_at(changed).array().bitmap.chunks());
}

TEST(File, WrittenReadAndMovedInside) {
  const auto images = load_fixture("1.2-raid5-4-classic-crash");
  const Planned out = planned(images, convert(file("/tmp/map", 16 * kib)));
  ASSERT_TRUE(out.plan) << out.reason();
  ASSERT_TRUE(out.plan->file);
  EXPECT_EQ(out.plan->file->path, "/tmp/map");
  const auto bare = applied(*out, images);
  EXPECT_EQ(look_at(bare).array().bitmap.trust, Trust::absent);
  EXPECT_FALSE(look_at(bare).array().clean);
  const MemoryDevice content(out.plan->file->content);
  const auto back = after(bare, convert_from(classic(), "/tmp/map", content));
  EXPECT_EQ(owed(back), owed(images));
  expect_safe(bare, convert_from(classic(), "/tmp/map", content), Judged::with_a_file);
  expect_safe(bare, convert_from(lockless(), "/tmp/map", content), Judged::with_a_file);
}

// A file has up to a million chunks, more than there are bits inside or in 128 KiB.
TEST(File, OfANewArrayMovesInsideAndIntoAnotherFile) {
  Blanks members(1, alike(2, std::uint64_t{5} << 30));
  members.task.size = Sectors::from_bytes(std::uint64_t{4} << 30);
  members.task.bitmap = CreateTask::Bitmap::file;
  members.task.bitmap_file = "/tmp/map";
  const auto made = members.plan();
  ASSERT_TRUE(made && made->file);
  const MemoryDevice content(made->file->content);
  const Look look = members.made();
  const BitmapFile from{"/tmp/map", &content};

  const auto copied = plan_bitmap_convert(look.array(), file("/tmp/other"), from, clock_of_test());
  ASSERT_TRUE(copied) << copied.error().text;
  ASSERT_TRUE(copied->file);
  EXPECT_TRUE(std::equal(made->file->content.begin(), made->file->content.end(), copied->file->content.begin()));

  const auto inside = plan_bitmap_convert(look.array(), classic(), from, clock_of_test());
  ASSERT_TRUE(inside) << inside.error().text;
  const auto tried = try_plan(look.candidates, *inside);
  ASSERT_TRUE(tried);
  const auto arrays = assemble(tried->candidates);
  ASSERT_EQ(arrays.size(), 1U);
  ASSERT_TRUE(arrays.front().bitmap.classic);
  const bitmap::Classic& bits = *arrays.front().bitmap.classic;
  EXPECT_EQ(arrays.front().bitmap.trust, Trust::believed);
  EXPECT_EQ(bits.set_count(), bits.chunks());
  EXPECT_FALSE(plan_bitmap_convert(look.array(), classic(4 * kib), from, clock_of_test()));
}

TEST(File, OneThatMissedUpdatesCallsEverythingDueAndAStrangersIsRefused) {
  const auto images = load_fixture("1.2-raid5-4-none-clean");
  const Look look = look_at(images);
  bitmap::NewBitmap cut;
  cut.uuid = look.array().array().bitmap_uuid;
  cut.events = look.array().array().events - 1;
  cut.sync_size = look.array().bitmap.expected.sync_size;
  cut.chunk_bytes = 64 * kib;
  const MemoryDevice old(bitmap::new_classic(cut, bitmap::Bits::clear));
  const auto changed = after(images, convert_from(classic(), "old", old));
  EXPECT_EQ(count(owed(changed)), owed(images).size());
  cut.events += 1;
  const MemoryDevice fresh(bitmap::new_classic(cut, bitmap::Bits::clear));
  EXPECT_EQ(count(owed(after(images, convert_from(classic(), "fresh", fresh)))), 0U);
  cut.uuid.bytes[3] ^= 1;
  const MemoryDevice strange(bitmap::new_classic(cut, bitmap::Bits::clear));
  EXPECT_NE(planned(images, convert_from(classic(), "strange", strange)).reason().find("no bitmap of this array"),
            std::string::npos);
  cut.uuid.bytes[3] ^= 1;
  const MemoryDevice states(bitmap::new_lockless(cut, ChunkState::clean));
  EXPECT_NE(planned(images, convert_from(classic(), "states", states)).reason().find("lockless"), std::string::npos);
}

TEST(File, IsRefusedWhereTheArrayHasABitmapInsideThatSaysLess) {
  const auto images = load_fixture("1.2-raid5-4-classic-crash");
  const auto refused = [&](const BitmapTarget& target, const Source& content) {
    return planned(images, convert_from(target, "f", content)).reason().find("bitmap on its members") !=
           std::string::npos;
  };
  const MemoryDevice nothing(std::vector<std::byte>(512));
  EXPECT_TRUE(refused(classic(), nothing));
  const Look look = look_at(images);
  const std::uint64_t at = *candidate(look, 0)->chosen()->description.bitmap_offset_bytes;
  auto bytes = *read_bytes(*candidate(look, 0)->metadata, at, 64 * kib);
  const MemoryDevice same(bytes);
  const Planned again = planned(images, convert_from(classic(), "f", same));
  ASSERT_TRUE(again.plan) << again.reason();
  EXPECT_TRUE(again.plan->nothing_to_do());
  EXPECT_TRUE(refused(classic(8 * kib), same));
  EXPECT_TRUE(refused(lockless(), same));
  const auto clear = std::find_if(bytes.begin() + bitmap::header_bytes, bytes.end(),
                                  [](std::byte bits) { return bits == std::byte{0}; });
  ASSERT_NE(clear, bytes.end());
  *clear = std::byte{1};
  const MemoryDevice more(bytes);
  EXPECT_TRUE(refused(classic(), more));
}

TEST(Rejected, IsReplacedWithEverythingDue) {
  auto images = load_fixture("1.2-raid5-4-classic-clean");
  for (Image& image : images) {
    image[4096 + 8 * 512 + 8] ^= std::byte{1};  // the UUID
  }
  ASSERT_EQ(look_at(images).array().bitmap.trust, Trust::rejected);
  for (const BitmapTarget& target : {classic(), lockless()}) {
    const auto changed = after(images, convert(target));
    EXPECT_EQ(look_at(changed).array().bitmap.trust, Trust::believed);
    EXPECT_EQ(count(owed(changed)), owed(images).size());
    EXPECT_LE(look_at(changed).array().verdict, Verdict::assembles);
  }
  EXPECT_EQ(count(owed(after(images, remove()))), owed(images).size());
  expect_safe(images, convert(classic()));
}

TEST(LazyRecovery, ItsMarkEndsWithTheDirtyMark) {
  const auto images = load_fixture("1.2-raid5-4-lockless-lazy-crash");
  const auto changed = after(images, convert(classic(64 * kib)));
  const Look look = look_at(changed);
  EXPECT_FALSE(look.array().clean);
  for (const Candidate& c : look.candidates) {
    EXPECT_FALSE(c.chosen()->description.recovery);
  }
  EXPECT_TRUE(covers(owed(changed), owed(images)));
}

BitmapShape shape(Kind kind, std::uint64_t chunks) {
  return {kind, 8, {Sectors(128), chunks}, 0, 128 * kib};
}

TEST(Place, OneTurnsIntoTheOtherWhereTheyShareNoSectorButTheFirst) {
  // Classic bits of 2,048 chunks end with the first sector, those of 6,144 where the states begin.
  EXPECT_TRUE(turns_over_in_place(shape(Kind::classic, 6144), shape(Kind::lockless, 100000)));
  EXPECT_TRUE(turns_over_in_place(shape(Kind::lockless, 100000), shape(Kind::classic, 6144)));
  EXPECT_FALSE(turns_over_in_place(shape(Kind::classic, 6145), shape(Kind::lockless, 1)));
  EXPECT_FALSE(turns_over_in_place(shape(Kind::lockless, 1), shape(Kind::classic, 6145)));
  EXPECT_TRUE(turns_over_in_place(shape(Kind::classic, 2048), shape(Kind::classic, 100000)));
  EXPECT_TRUE(turns_over_in_place(shape(Kind::classic, 100000), shape(Kind::classic, 2048)));
  EXPECT_FALSE(turns_over_in_place(shape(Kind::classic, 2049), shape(Kind::classic, 100000)));
}

// No plan writes outside of the room that its members have, whatever they say.
void expect_in_bounds(const Look& look, const Result<EditPlan>& plan) {
  for (std::size_t i = 0; plan && i < plan->stages.size(); ++i) {
    for (const EditPatch& patch : plan->stages[i]) {
      const MemberDescription& d = plan->members[patch.member]->chosen()->description;
      const std::uint64_t end = patch.offset_bytes + patch.after.size();
      ASSERT_TRUE(fits(patch.offset_bytes, patch.after.size(), plan->members[patch.member]->metadata->size_bytes()));
      if (patch.purpose == "bitmap") {
        EXPECT_LE(end, d.data_offset.bytes());
        EXPECT_GE(patch.offset_bytes, d.super_offset.bytes() + 4096);
      }
    }
  }
  EXPECT_LE(look.arrays.size(), 3U);
}

TEST(Hostile, NoNumberMakesAPlanThatWritesElsewhere) {
  const auto images = load_fixture("1.2-raid5-3-classic-512k");
  constexpr std::size_t bitmap_at = 4096 + 8 * 512;
  constexpr std::array<std::uint32_t, 4> values{0, 0x7fffffff, 0x80000000, 0xffffffff};
  const std::vector<std::size_t> in_superblock{8, 72, 80, 84, 88, 92, 96, 128, 132, 136, 140, 184, 188, 204, 208, 212};
  const std::vector<std::size_t> in_header{4, 24, 28, 36, 40, 48, 52, 56, 60, 64, 68};
  std::size_t plans = 0;
  const auto try_all = [&](const std::vector<Image>& changed) {
    const Look look = look_at(changed);
    for (const Assembly& a : look.arrays) {
      const EditClock clock = clock_of_test();
      for (const auto& plan :
           {plan_bitmap_add(a, classic(), clock), plan_bitmap_remove(a, clock), plan_bitmap_repair(a, clock),
            plan_bitmap_convert(a, lockless(), {}, clock), plan_bitmap_convert(a, classic(8 * kib), {}, clock)}) {
        expect_in_bounds(look, plan);
        plans += plan ? 1 : 0;
      }
    }
  };
  for (const std::uint32_t value : values) {
    for (const std::size_t field : in_superblock) {
      auto changed = images;
      for (Image& image : changed) {
        set_field(image, field, le32(value));
      }
      try_all(changed);
    }
    for (const std::size_t field : in_header) {
      auto changed = images;
      for (Image& image : changed) {
        ASSERT_TRUE(store(std::span(image), bitmap_at + field, le32(value)));
      }
      try_all(changed);
    }
  }
  EXPECT_GT(plans, 50U);
}

struct Case {
  std::string name;
  std::string fixture;
  Planner planner;
};

class Cuts : public testing::TestWithParam<Case> {};

TEST_P(Cuts, NothingIsForgottenAndTheSameAgainEndsIt) {
  expect_safe(load_fixture(GetParam().fixture), GetParam().planner);
}

INSTANTIATE_TEST_SUITE_P(
    Bitmaps, Cuts,
    testing::Values(Case{"mixed_to_classic", "1.2-raid5-4-lockless-mixed-crash", convert(classic(64 * kib))},
                    Case{"lockless_to_classic", "1.2-raid4-4-lockless-crash", convert(classic())},
                    Case{"lockless_to_classic_elsewhere", "1.2-raid5-4-lockless-crash", convert(classic(4 * kib, 600))},
                    Case{"unwritten_to_none", "1.2-raid6-5-lockless-unwritten", remove()},
                    Case{"mixed_to_none", "1.2-raid5-4-lockless-mixed-crash", remove()},
                    Case{"lockless_moved", "1.2-raid5-4-lockless-mixed-crash", convert(lockless(520))},
                    Case{"lazy_to_classic", "1.2-raid5-4-lockless-lazy-crash", convert(classic())},
                    Case{"first_use_to_classic", "1.2-raid5-4-lockless-first-use", convert(classic())},
                    Case{"classic_to_lockless", "1.2-raid5-4-classic-crash", convert(lockless())},
                    Case{"classic_to_lockless_elsewhere", "1.2-raid5-4-classic-crash", convert(lockless(80))},
                    Case{"clean_classic_to_lockless", "1.2-raid6-5-classic-clean", convert(lockless())},
                    Case{"raid1_to_lockless", "1.2-raid1-2-classic", convert(lockless())},
                    Case{"finer_1_1", "1.1-raid5-3-classic-crash", convert(classic(8 * kib))},
                    Case{"lockless_1_1", "1.1-raid5-3-classic-crash", convert(lockless())},
                    Case{"lockless_1_0", "1.0-raid5-5-classic-clean", convert(lockless())},
                    Case{"finer_0_90", "0.90-raid5-3-classic-crash", convert(classic(4 * kib))},
                    Case{"remove_0_90", "0.90-raid5-3-classic-crash", remove()},
                    Case{"add_0_90", "0.90-raid5-3-none-clean", add(classic())},
                    Case{"classic_moved", "1.2-raid6-6-classic-crash", convert(classic({}, 128))},
                    Case{"classic_removed", "1.2-raid4-4-classic-crash", remove()},
                    Case{"degraded_classic_coarser", "1.2-raid5-4-classic-stale-member", convert(classic(512 * kib))},
                    Case{"degraded_classic_moved", "1.2-raid5-4-classic-stale-member", convert(classic({}, 256))},
                    Case{"recovering_coarser", "1.2-raid6-5-classic-recovering", convert(classic(512 * kib))},
                    Case{"recovering_add", "1.2-raid5-4-none-recovering", add(classic())},
                    Case{"stale_to_lockless", "1.2-raid5-3-classic-stale-bitmap", convert(lockless())},
                    Case{"add_dirty", "1.2-raid5-4-none-crash", add(lockless())},
                    Case{"add_clean_with_spare", "1.2-raid5-3-none-spare", add(lockless())}),
    [](const testing::TestParamInfo<Case>& of) { return of.param.name; });

}  // namespace
}  // namespace mdtool::test
