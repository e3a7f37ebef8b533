// SPDX-License-Identifier: GPL-2.0-or-later
// New arrays: sizes and places as mdadm 4.6 chose them under Linux 7.2, what is refused, and plans cut anywhere.
#include "libraid/edit/create.h"

#include <gtest/gtest.h>

#include "libmeta/bitmap/classic.h"
#include "libmeta/bitmap/new_bitmap.h"
#include "libmeta/ppl/header.h"
#include "tests/raid/blank_members.h"

namespace mdtool {
namespace {

using namespace test;
using Bitmap = CreateTask::Bitmap;
using Initial = CreateTask::Initial;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t gib = std::uint64_t{1} << 30;
constexpr std::uint64_t tib = std::uint64_t{1} << 40;

// ---- what mdadm 4.6 made of sparse members in the lab, in sectors
// ----------------------------------------------------

struct Made {
  std::string metadata;
  std::int32_t level;
  std::size_t slots;
  std::uint64_t member_bytes;
  bool bitmap;
  std::uint64_t data_offset;
  std::uint64_t data_size;
  std::uint64_t size;
  std::int64_t log;  // bad-block log, from the superblock; 0: none
  std::int64_t bitmap_offset;
  std::uint64_t sync_size;
};

const std::vector<Made> mdadms{
    {"0.90", 5, 3, 100 * mib, true, 0, 204672, 203776, 0, 8, 203776},
    {"0.90", 10, 4, 3 * tib, true, 0, 6442450816, 6442449920, 0, 8, 12884899840},
    {"1.0", 1, 2, 100 * mib, true, 0, 204768, 204672, -8, -16, 204672},
    {"1.0", 10, 4, 300 * gib, true, 0, 629145568, 629144576, -8, -16, 1258289152},
    {"1.0", 10, 4, 3 * tib, true, 0, 6442450888, 6442449920, -8, -40, 12884899840},
    {"1.0", 0, 2, 10 * gib, false, 0, 20971496, 0, -8, 0, 0},
    {"1.1", 1, 2, 100 * mib, true, 2048, 202752, 202752, 16, 8, 202752},
    {"1.1", 5, 3, 100 * mib, true, 4096, 200704, 200704, 16, 8, 200704},
    {"1.2", 10, 4, 10 * gib, true, 18432, 20953088, 20953088, 16, 8, 41906176},
    {"1.2", 1, 2, 300 * gib, true, 264192, 628881408, 628881408, 16, 8, 628881408},
    {"1.2", 10, 4, 3 * tib, true, 264192, 6442186752, 6442186752, 40, 8, 12884373504},
    {"1.2", 0, 2, 10 * gib, false, 18432, 20953088, 0, 8, 0, 0},
};

TEST(CreateSizes, AreMdadms) {
  for (const Made& made : mdadms) {
    SCOPED_TRACE(made.metadata + " level " + std::to_string(made.level) + ", " + std::to_string(made.member_bytes));
    Blanks members = blanks(made.metadata, made.level, alike(made.slots, made.member_bytes));
    members.task.bitmap = made.bitmap ? Bitmap::internal : Bitmap::none;
    const Look look = members.made();
    const MemberDescription& d = first(look);
    EXPECT_EQ(d.data_offset, Sectors(made.data_offset));
    EXPECT_EQ(d.data_size, Sectors(made.data_size));
    EXPECT_EQ(d.size, Sectors(made.size));
    EXPECT_EQ(d.bad_block_log ? sectors_from_superblock(d, d.bad_block_log->offset_bytes) : 0, made.log);
    ASSERT_EQ(d.bitmap_offset_bytes.has_value(), made.bitmap);
    if (!made.bitmap) {
      continue;
    }
    EXPECT_EQ(sectors_from_superblock(d, *d.bitmap_offset_bytes), made.bitmap_offset);
    const auto header = bitmap::read_header(*look.candidates.front().metadata, *d.bitmap_offset_bytes);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->sync_size, made.sync_size);
    EXPECT_EQ(header->chunksize, 64 * mib);
  }
}

TEST(CreateSizes, DataOffsetIsOfTheFirstMemberGiven) {
  Blanks members(5, {missing, 64 * mib, 10 * gib});
  members.task.chunk = Sectors(128);
  EXPECT_EQ(first(members.made()).data_offset, Sectors(2048));
  Blanks swapped(5, {missing, 10 * gib, 64 * mib});
  swapped.task.chunk = Sectors(128);
  const Look look = swapped.made();
  EXPECT_EQ(first(look).data_offset, Sectors(18432));
  EXPECT_EQ(first(look).size, Sectors(64 * mib / 512 - 18432));
}

TEST(CreateSizes, ASizeIsRoundedDownToChunks) {
  Blanks members = blanks("1.2", 5, alike(3, 64 * mib));
  members.task.chunk = Sectors(128);
  members.task.size = Sectors(1000 * 2);
  EXPECT_EQ(first(members.made()).size, Sectors(960 * 2));
  members.task.size = Sectors(126);
  EXPECT_NE(members.refusal(ErrorKind::usage).find("65536"), std::string::npos);
}

TEST(CreateSizes, WhatATooSmallMemberNeedsIsEnoughAndNoMoreThanThat) {
  for (const std::string metadata : {"0.90", "1.0", "1.1", "1.2"}) {
    SCOPED_TRACE(metadata);
    Blanks small = blanks(metadata, 5, {64 * mib, 64 * mib, 16384});
    small.task.chunk = Sectors(128);
    small.task.size = Sectors(4096);
    const std::string text = small.refusal(ErrorKind::refused);
    const std::string tail = " are needed";
    ASSERT_TRUE(text.ends_with(tail)) << text;
    const std::string head = text.substr(0, text.size() - tail.size());
    const std::uint64_t needed = std::stoull(head.substr(head.rfind(' ') + 1));
    for (const bool enough : {true, false}) {
      Blanks again = blanks(metadata, 5, {64 * mib, 64 * mib, enough ? needed : needed - 512});
      again.task.chunk = Sectors(128);
      again.task.size = Sectors(4096);
      EXPECT_EQ(again.plan().has_value(), enough) << needed;
    }
  }
}

TEST(CreateSizes, ALargerMemberIsAFinding) {
  Blanks members(1, {100 * mib, 102 * mib});
  EXPECT_NE(finding(members.plan()->findings, "members-differ"), nullptr);
  Blanks close(1, {100 * mib, 101 * mib});
  EXPECT_EQ(finding(close.plan()->findings, "members-differ"), nullptr);
}

// ---- bitmaps and logs
// ------------------------------------------------------------------------------------------------

TEST(CreateAreas, TheLogLiesBehindALocklessBitmapsStates) {
  // mdadm's place, 16 sectors behind the superblock, is free up to 3072 chunks of 64 KiB.
  for (const auto& [member, log] :
       std::vector<std::pair<std::uint64_t, std::int64_t>>{{194 * mib, 16}, {195 * mib, 272}, {3 * tib, 272}}) {
    Blanks members(5, alike(3, member));
    members.task.bitmap = Bitmap::lockless;
    const Look look = members.made();
    const MemberDescription& d = first(look);
    ASSERT_TRUE(d.bad_block_log);
    EXPECT_EQ(sectors_from_superblock(d, d.bad_block_log->offset_bytes), log) << member;
    const auto cut = bitmap::default_lockless_geometry(d.size, 256);
    ASSERT_TRUE(cut);
    EXPECT_GE(log - 8, static_cast<std::int64_t>(bitmap::lockless_area_bytes(cut->chunks) / 512));
    EXPECT_EQ(finding(members.plan()->findings, "bad-block-log-moved") != nullptr, log == 272);
    ASSERT_TRUE(look.array().bitmap.lockless);
    EXPECT_TRUE(look.array().bitmap.lockless->first_use());
  }
}

TEST(CreateAreas, NothingOverlapsHoweverSmallTheDataOffset) {
  for (const Bitmap kind : {Bitmap::none, Bitmap::internal, Bitmap::lockless}) {
    bool any = false;
    for (std::uint64_t offset = 0; offset <= 320; offset += 8) {
      Blanks members(5, alike(3, 400 * mib));
      members.task.bitmap = kind;
      members.task.data_offset = Sectors(offset);
      const auto plan = members.plan();
      if (!plan) {
        EXPECT_FALSE(any) << "refused at " << offset << ", but not before";
        EXPECT_NE(plan.error().text.find("data offset"), std::string::npos) << plan.error().text;
        continue;
      }
      any = true;
      const Look look = members.made();
      const MemberDescription& d = first(look);
      std::uint64_t end = d.super_offset.bytes() + 4096;
      if (d.bitmap_offset_bytes) {
        EXPECT_GE(*d.bitmap_offset_bytes, end);
        const std::uint64_t states = bitmap::lockless_area_bytes((d.size.count() + 127) / 128);
        end = *d.bitmap_offset_bytes + (kind == Bitmap::lockless ? states : 4096);
      }
      if (d.bad_block_log) {
        EXPECT_GE(d.bad_block_log->offset_bytes, end);
        end = d.bad_block_log->offset_bytes + 4096;
      }
      EXPECT_LE(end, d.data_offset.bytes());
    }
    EXPECT_TRUE(any);
  }
}

TEST(CreateAreas, AClassicBitmapIsFreshAndFull) {
  for (const std::string metadata : {"0.90", "1.0", "1.1", "1.2"}) {
    Blanks members = blanks(metadata, 5, alike(3, 64 * mib));
    members.task.bitmap = Bitmap::internal;
    members.task.bitmap_chunk_bytes = 64 << 10;
    const Look look = members.made();
    EXPECT_EQ(look.array().array().events, 1U);
    EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
    ASSERT_TRUE(look.array().bitmap.classic);
    EXPECT_EQ(look.array().bitmap.classic->set_count(), (first(look).size.count() + 127) / 128);
    EXPECT_EQ(look.array().bitmap.classic->header().events_cleared, 1U);
    EXPECT_EQ(members.plan()->stages.size(), 2U);
    EXPECT_EQ(members.plan()->stages.front().front().after.size() % 4096, 0U);
  }
  Blanks old = blanks("0.90", 5, alike(3, 64 * mib));
  old.task.bitmap = Bitmap::internal;
  EXPECT_EQ(old.plan()->stages.front().front().after.size(), 60U * 1024);
}

TEST(CreateAreas, AnEmptyPplOnEveryMember) {
  for (const std::string metadata : {"1.0", "1.1", "1.2"}) {
    Blanks members = Blanks(5, alike(4, 64 * mib), 1);
    members.task.metadata = metadata;
    members.task.ppl = true;
    const Look look = members.made();
    for (const Candidate& candidate : look.candidates) {
      const MemberDescription& d = candidate.superblocks.front().description;
      ASSERT_TRUE(d.ppl);
      EXPECT_EQ(d.ppl->length_bytes, 2048U * 512);
      EXPECT_EQ(sectors_from_superblock(d, d.ppl->offset_bytes), metadata == "1.0" ? -2056 : 8);
      const auto header = ppl::decode(*read_bytes(*candidate.metadata, d.ppl->offset_bytes, 4096));
      ASSERT_TRUE(header);
      EXPECT_TRUE(ppl::intact(*header, members.task.set_uuid));
      EXPECT_FALSE(ppl::holds_content(*header));
    }
  }
}

TEST(CreateAreas, AFileHoldsTheBitmapAndNothingElseSaysSo) {
  Blanks members(1, alike(2, 10 * gib));
  members.task.bitmap = Bitmap::file;
  members.task.bitmap_file = "/tmp/bits";
  const auto plan = members.plan();
  ASSERT_TRUE(plan);
  ASSERT_TRUE(plan->file);
  EXPECT_EQ(plan->file->path, "/tmp/bits");
  const Look look = members.made();
  EXPECT_FALSE(first(look).bitmap_offset_bytes);
  // mdadm 4.2: the least chunk size with at most 2^20 chunks; header and bits, no more.
  const std::uint64_t chunks = (first(look).size.bytes() + 16383) / 16384;
  EXPECT_EQ(plan->file->content.size(), 256 + (chunks + 7) / 8);
  const auto header = load<bitmap::Header>(plan->file->content, 0);
  EXPECT_EQ(header->chunksize, 16384U);
  EXPECT_EQ(header->events, 1U);
}

// ---- roles and the first state
// ---------------------------------------------------------------------------------------

TEST(CreateRoles, EverySlotItsNumberAndSparesBehind) {
  for (const std::string metadata : {"0.90", "1.2"}) {
    Blanks members(5, {64 * mib, missing, 64 * mib, 64 * mib}, 1);
    members.task.metadata = metadata;
    const Look look = members.made();
    ASSERT_EQ(look.candidates.size(), 3U);
    EXPECT_EQ(first(look).slot, 0U);
    EXPECT_EQ(look.candidates[1].superblocks.front().description.slot, 2U);
    EXPECT_EQ(look.candidates[1].superblocks.front().description.dev_number, 2U);
    EXPECT_EQ(look.candidates[2].superblocks.front().description.role, Role::spare);
    EXPECT_EQ(look.candidates[2].superblocks.front().description.dev_number, 3U);
    EXPECT_EQ(look.array().verdict, Verdict::degraded);
    EXPECT_TRUE(look.array().clean);  // nothing can contradict the parity
    EXPECT_NE(finding(members.plan()->findings, "created-degraded"), nullptr);
  }
}

TEST(CreateRoles, OfRaid6WithOneSlotMissingTheLastMemberIsRebuilt) {
  Blanks members(6, {64 * mib, missing, 64 * mib, 64 * mib, 64 * mib}, 1);
  const Look look = members.made();
  ASSERT_EQ(look.candidates.size(), 4U);
  EXPECT_EQ(look.candidates[1].superblocks.front().description.slot, 2U);
  const MemberDescription& moved = look.candidates[2].superblocks.front().description;
  EXPECT_EQ(moved.role, Role::spare);
  EXPECT_EQ(moved.dev_number, 5U);
  EXPECT_EQ(look.candidates[3].superblocks.front().description.dev_number, 4U);
  EXPECT_EQ(look.array().verdict, Verdict::degraded);
  EXPECT_TRUE(mentions(members.plan()->next, "m3"));

  Blanks last(6, {64 * mib, 64 * mib, 64 * mib, missing});
  EXPECT_EQ(last.made().candidates[2].superblocks.front().description.role, Role::spare);
  last.task.initial = Initial::assume_clean;
  EXPECT_EQ(last.made().candidates[2].superblocks.front().description.slot, 2U);
}

TEST(CreateRoles, CleanOrDueForAResync) {
  struct Case {
    std::int32_t level;
    std::vector<std::uint64_t> sizes;
    bool clean;
  };
  const std::uint64_t m = 64 * mib;
  for (const Case& one : std::vector<Case>{{-1, {m, m}, true},
                                           {0, {m, m}, true},
                                           {1, {m, m}, false},
                                           {1, {m, missing}, false},
                                           {4, {m, m, m}, false},
                                           {5, {m, m, m}, false},
                                           {5, {m, m, missing}, true},
                                           {6, {m, m, m, m}, false},
                                           {6, {m, m, missing, missing}, true},
                                           {10, {m, m, m, missing}, false}}) {
    SCOPED_TRACE(one.level);
    Blanks members(one.level, one.sizes);
    EXPECT_EQ(first(members.made()).clean(), one.clean);
    EXPECT_EQ(mentions(members.plan()->next, "resync"), !one.clean);
    members.task.initial = Initial::assume_clean;
    EXPECT_TRUE(first(members.made()).clean());
    EXPECT_FALSE(mentions(members.plan()->next, "resync"));
    EXPECT_EQ(mentions(members.plan()->costs, "taken for"), one.level > 0);
  }
}

TEST(CreateRoles, ZeroedMembersAreCleanAndZeroedWhereDataWillBe) {
  Blanks members(5, alike(4, 64 * mib), 1);
  members.task.bitmap = Bitmap::lockless;
  members.task.initial = Initial::zeroed;
  const auto plan = members.plan();
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->zeroed.size(), 4U);
  const Look look = members.made();
  for (const ZeroedRange& range : plan->zeroed) {
    EXPECT_EQ(range.offset_bytes, first(look).data_offset.bytes());
    EXPECT_EQ(range.length_bytes, first(look).size.bytes());
  }
  EXPECT_TRUE(first(look).clean());
  EXPECT_EQ(look.array().bitmap.lockless->header().state, bitmap::state_first_use | bitmap::state_clean);
  EXPECT_TRUE(mentions(plan->costs, "no undo"));
}

// ---- refusals
// --------------------------------------------------------------------------------------------------------

using Change = std::function<void(CreateTask&)>;

void as_it_is(CreateTask&) {}

Change metadata(const std::string& version, const Change& besides = as_it_is) {
  return [=](CreateTask& task) {
    task.metadata = version;
    besides(task);
  };
}

Change layout(std::uint32_t code) {
  return [=](CreateTask& task) { task.layout = code; };
}

Change chunk(std::uint64_t sectors) {
  return [=](CreateTask& task) { task.chunk = Sectors(sectors); };
}

Change size(std::uint64_t sectors, const Change& besides = as_it_is) {
  return [=](CreateTask& task) {
    task.size = Sectors(sectors);
    besides(task);
  };
}

Change with(Bitmap kind, std::optional<std::uint64_t> chunk_bytes = {}) {
  return [=](CreateTask& task) {
    task.bitmap = kind;
    task.bitmap_chunk_bytes = chunk_bytes;
  };
}

Change ppl(Bitmap kind = Bitmap::none) {
  return [=](CreateTask& task) {
    task.ppl = true;
    task.bitmap = kind;
  };
}

struct Refusal {
  std::string words;
  std::int32_t level;
  std::vector<std::uint64_t> sizes;
  Change change = as_it_is;
};

const std::uint64_t m = 64 * mib;
const std::vector<std::uint64_t> two = alike(2, m);
const std::vector<std::uint64_t> three = alike(3, m);
const std::vector<std::uint64_t> four = alike(4, m);

const std::vector<Refusal> refusals{
    {"one of linear, 0, 1", 3, three},
    {"at least 4 slots", 6, three},
    {"at least 2 slots", 5, {m}},
    {"at most 256", 6, alike(257, m)},
    {"no use for spares", 0, two, [](CreateTask& task) { task.spares = task.slots; }},
    {"cannot be missing", 5, three, [](CreateTask& task) { task.spares.emplace_back(); }},
    {"can do without 1", 5, {m, missing, missing}},
    {"can do without 2", 6, {m, missing, missing, missing}},
    {"cannot do without", 0, {m, missing}},
    {"not all slots", 1, {missing, missing}},
    {"no member would hold a copy", 10, {m, m, missing, missing}},
    {"one of 0.90", 5, three, metadata("1.3")},
    {"room for 27", 1, alike(28, m), metadata("0.90")},
    {"room for 1920", 1, alike(1921, m)},
    {"4 TiB", 1, alike(2, 5 * tib), metadata("0.90")},
    {"for 1.1 and 1.2", 5, three, metadata("1.0", [](CreateTask& task) { task.data_offset = Sectors(2048); })},
    {"uses all of every member", 0, two, size(2048)},
    {"layout 6 does not exist", 5, three, layout(6)},
    {"layout 7 does not exist", 6, four, layout(7)},
    {"no layouts", 1, two, layout(2)},
    {"no layouts", 4, three, layout(2)},
    {"which raid0 layout", 0, two, metadata("0.90", layout(1))},
    {"3 copies, on 2 slots", 10, two, layout(0x103)},
    {"1 copies", 10, two, layout(0x101)},
    {"a power of two", 5, three, chunk(24)},
    {"a power of two", 5, three, chunk(4)},
    {"no chunks", 1, two, chunk(128)},
    {"has no meaning", 0, two, with(Bitmap::internal)},
    {"for 1.2 metadata", 5, three, metadata("1.1", with(Bitmap::lockless))},
    {"the kernel chooses", 5, three, with(Bitmap::lockless, 65536)},
    {"make Q right", 6, {m, m, m, missing}, with(Bitmap::lockless)},
    {"without a bitmap", 5, three, with(Bitmap::none, 65536)},
    {"a power of two", 5, three, with(Bitmap::internal, 65537)},
    {"a power of two", 5, three, with(Bitmap::internal, 2048)},
    {"chunks from 32768", 5, alike(3, 10 * gib), with(Bitmap::internal, 4096)},
    {"chunks from 4194304", 1, alike(2, 10 * tib), with(Bitmap::file, 4096)},
    {"too small for a bitmap", 1, alike(2, mib + 40960), size(64, with(Bitmap::internal))},
    {"for raid5 alone", 6, four, ppl()},
    {"0.90 metadata has no PPL", 5, three, metadata("0.90", ppl())},
    {"exclude each other", 5, three, ppl(Bitmap::internal)},
    {"at most 64", 5, alike(65, m), ppl()},
    {"longer than the 32 bytes", 5, three, [](CreateTask& task) { task.set_name = std::string(33, 'x'); }},
    {"members differ in size", 0, {m, m, 2 * m}, metadata("0.90")},
};

TEST(CreateRefuses, WhatDoesNotExist) {
  for (const Refusal& one : refusals) {
    SCOPED_TRACE(one.words);
    Blanks members(one.level, one.sizes);
    one.change(members.task);
    const std::string text = members.refusal(ErrorKind::usage);
    EXPECT_NE(text.find(one.words), std::string::npos) << text;
  }
}

TEST(CreateRefuses, ATooSmallMember) {
  const std::string text = Blanks(5, {m, mib, m}).refusal(ErrorKind::refused);
  EXPECT_NE(text.find("m1: has 1048576 bytes"), std::string::npos) << text;
}

TEST(CreateRoles, AdviceIsForTheLevel) {
  for (const Bitmap bitmap : {Bitmap::none, Bitmap::lockless}) {
    for (const std::int32_t level : {1, 10}) {
      Blanks members(level, alike(2, m));
      members.task.bitmap = bitmap;
      EXPECT_FALSE(mentions(members.plan()->next, "mdtool"));
    }
    Blanks members(5, alike(3, m));
    members.task.bitmap = bitmap;
    EXPECT_TRUE(mentions(members.made().array().reasons, "not synchronised yet"));
    EXPECT_TRUE(mentions(members.plan()->next, bitmap == Bitmap::none ? "mdtool resync" : "mdtool build-parity"));
  }
}

TEST(CreateRefuses, AMemberGivenTwice) {
  Blanks members(5, alike(3, 64 * mib));
  members.task.slots[2] = members.task.slots[0];
  EXPECT_NE(members.refusal(ErrorKind::refused).find("m0 and m0 are the same"), std::string::npos);
  Blanks linked(5, alike(3, 64 * mib));
  linked.candidate(2).identity = linked.candidate(1).identity;
  EXPECT_NE(linked.refusal(ErrorKind::refused).find("m2 and m1 are the same"), std::string::npos);
}

TEST(CreateRefuses, ContentUnlessForced) {
  Blanks members(5, alike(3, 64 * mib));
  members.task.slots[1].content = {"ext4 (filesystem)", "gpt (partition table)"};
  const std::string text = members.refusal(ErrorKind::refused);
  EXPECT_NE(text.find("m1 holds ext4 (filesystem); m1 holds gpt"), std::string::npos) << text;
  EXPECT_NE(text.find("--force=old-content"), std::string::npos);
  members.task.forces.old_content = true;
  EXPECT_TRUE(mentions(members.plan()->costs, "m1: the ext4"));
}

}  // namespace
}  // namespace mdtool
