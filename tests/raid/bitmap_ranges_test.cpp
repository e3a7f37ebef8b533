// SPDX-License-Identifier: GPL-2.0-or-later
// Bitmaps as runs of marks: counted, compared copy by copy, on arrays that a real kernel left.
#include "libraid/assemble/bitmap_ranges.h"

#include <gtest/gtest.h>

#include <numeric>

#include "libraid/assemble/member_bitmaps.h"
#include "tests/raid/loaded_array.h"

namespace mdtool {
namespace {

using test::load_fixture;
using test::Look;
using test::look_at;

std::uint64_t total(const MarkCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

std::uint64_t count(const MarkCounts& counts, ChunkMark mark) {
  return counts[static_cast<std::size_t>(mark)];
}

ChunkMarks marks_of(const Look& look) {
  const auto marks = ChunkMarks::of(look.array().bitmap);
  EXPECT_TRUE(marks);
  return *marks;
}

constexpr std::size_t no_limit = 1U << 20;
constexpr std::size_t bitmap_at = 8192;  // of these fixtures' members

void set_state(test::Image& image, std::size_t chunk, std::uint8_t state) {
  image[bitmap_at + bitmap::lockless_states_offset + chunk] = std::byte{state};
}

// The ranges, put together again, are the marks.
void expect_ranges_cover(const ChunkMarks& marks) {
  const ChunkRanges ranges = ranges_of(marks, no_limit);
  EXPECT_EQ(ranges.left_out, 0U);
  std::uint64_t next = 0;
  for (const ChunkRange& range : ranges.listed) {
    ASSERT_EQ(range.first, next);
    ASSERT_GT(range.count, 0U);
    for (std::uint64_t chunk = range.first; chunk < range.first + range.count; ++chunk) {
      ASSERT_EQ(marks.at(chunk), range.mark);
    }
    ASSERT_TRUE(next == 0 || marks.at(next - 1) != range.mark);
    next += range.count;
  }
  EXPECT_EQ(next, marks.chunks());
}

TEST(BitmapRanges, CoverEveryFixture) {
  for (const char* name : {"1.2-raid5-4-classic-crash", "0.90-raid6-5-classic-clean", "1.2-raid5-3-lockless-3300-crash",
                           "1.2-raid6-5-lockless-unwritten", "1.2-raid1-2-classic"}) {
    SCOPED_TRACE(name);
    const auto images = load_fixture(name);
    const Look look = look_at(images);
    expect_ranges_cover(marks_of(look));
    EXPECT_EQ(total(counts_of(marks_of(look))), marks_of(look).chunks());
  }
}

TEST(BitmapRanges, CountsAreTheBitmapsOwn) {
  const auto classic_images = load_fixture("1.2-raid5-4-classic-crash");
  const Look classic = look_at(classic_images);
  const std::uint64_t set = classic.array().bitmap.classic->set_count();
  ASSERT_GT(set, 0U);
  EXPECT_EQ(count(counts_of(marks_of(classic)), ChunkMark::dirty), set);
  EXPECT_EQ(due_in(classic.array().bitmap).chunks, set);

  const auto lockless_images = load_fixture("1.2-raid5-4-lockless-crash");
  const Look lockless = look_at(lockless_images);
  const bitmap::StateCounts states = lockless.array().bitmap.lockless->counts();
  const MarkCounts counts = counts_of(marks_of(lockless));
  for (std::size_t i = 0; i < bitmap::chunk_state_count; ++i) {
    EXPECT_EQ(counts[i], states.by_state[i]);
  }
  EXPECT_EQ(due_in(lockless.array().bitmap).chunks, states.by_state[2] + states.by_state[3] + states.by_state[4]);
}

TEST(BitmapRanges, LimitCountsWhatItLeavesOut) {
  auto images = load_fixture("1.2-raid5-4-lockless-clean");
  for (auto& image : images) {
    set_state(image, 1, 3);
    set_state(image, 3, 3);
  }
  const Look look = look_at(images);
  const ChunkRanges all = ranges_of(marks_of(look), no_limit);
  ASSERT_GE(all.listed.size(), 4U);
  const ChunkRanges some = ranges_of(marks_of(look), 2);
  EXPECT_EQ(some.listed, std::vector(all.listed.begin(), all.listed.begin() + 2));
  EXPECT_EQ(some.left_out, all.listed.size() - 2);
}

TEST(BitmapRanges, BytesAreCutAtTheEndOfTheSyncRange) {
  const ChunkBytes inside = bytes_of(2, 3, Sectors(128), Sectors(1000));
  EXPECT_EQ(inside.offset_bytes, 256U * 512);
  EXPECT_EQ(inside.length_bytes, 384U * 512);
  const ChunkBytes last = bytes_of(7, 1, Sectors(128), Sectors(1000));
  EXPECT_EQ(last.offset_bytes, 896U * 512);
  EXPECT_EQ(last.length_bytes, 104U * 512);
}

TEST(BitmapRanges, UrgencyPutsWaitingWorkFirst) {
  const std::array order{ChunkMark::unwritten,         ChunkMark::clean_unwritten,     ChunkMark::clean,
                         ChunkMark::syncing_unwritten, ChunkMark::need_sync_unwritten, ChunkMark::dirty,
                         ChunkMark::syncing,           ChunkMark::need_sync,           ChunkMark::invalid};
  for (std::size_t i = 1; i < order.size(); ++i) {
    EXPECT_GT(urgency(order[i]), urgency(order[i - 1])) << chunk_mark_name(order[i]);
  }
}

TEST(BitmapRanges, StaleMeansMoreIsDue) {
  const auto images = load_fixture("1.2-raid5-3-classic-stale-bitmap");
  const Look look = look_at(images);
  ASSERT_EQ(look.array().bitmap.trust, Trust::stale);
  EXPECT_EQ(due_in(look.array().bitmap).chunks, look.array().bitmap.chunks());
  EXPECT_EQ(due_in(look.array().bitmap).bytes, look.array().bitmap.expected.sync_size.bytes());
}

TEST(MemberBitmaps, EqualCopiesDifferNowhere) {
  const auto images = load_fixture("1.2-raid5-4-classic-clean");
  const Look look = look_at(images);
  const auto copies = member_bitmaps(look.array());
  ASSERT_EQ(copies.size(), 4U);
  for (const MemberBitmap& copy : copies) {
    EXPECT_EQ(copy.ignored, "");
    EXPECT_EQ(copy.trust, Trust::believed);
    EXPECT_EQ(differences(*copy.marks(), marks_of(look), no_limit).chunks, 0U);
  }
  const auto differing = differing_chunks(look.array().bitmap, copies);
  EXPECT_EQ(std::count(differing.begin(), differing.end(), true), 0);
}

TEST(MemberBitmaps, DifferencesNameTheChunks) {
  auto images = load_fixture("1.2-raid5-4-lockless-clean");
  set_state(images[2], 5, 3);
  set_state(images[2], 6, 3);
  set_state(images[0], 9, 2);
  const Look look = look_at(images);
  const auto copies = member_bitmaps(look.array());
  ASSERT_EQ(copies.size(), 4U);
  const ChunkDifferences of_0 = differences(*copies[0].marks(), marks_of(look), no_limit);
  EXPECT_EQ(of_0.listed, (std::vector{ChunkDifference{5, 2, ChunkMark::clean, ChunkMark::need_sync}}));
  const ChunkDifferences of_1 = differences(*copies[1].marks(), marks_of(look), no_limit);
  EXPECT_EQ(of_1.chunks, 3U);
  const ChunkDifferences limited = differences(*copies[1].marks(), marks_of(look), 1);
  EXPECT_EQ(limited.listed.size(), 1U);
  EXPECT_EQ(limited.left_out, of_1.listed.size() - 1);
  const auto differing = differing_chunks(look.array().bitmap, copies);
  for (std::size_t chunk = 0; chunk < differing.size(); ++chunk) {
    EXPECT_EQ(differing[chunk], chunk == 5 || chunk == 6 || chunk == 9) << chunk;
  }
}

// What is not used is said, and does not count among the differences.
TEST(MemberBitmaps, IgnoredCopiesHaveAReason) {
  const auto stale_images = load_fixture("1.2-raid5-4-classic-stale-member");
  const Look stale = look_at(stale_images);
  std::size_t ignored = 0;
  for (const MemberBitmap& copy : member_bitmaps(stale.array())) {
    const bool in_sync = stale.array().members[copy.member].state == MemberState::in_sync;
    EXPECT_EQ(copy.ignored.empty(), in_sync) << copy.ignored;
    ignored += in_sync ? 0 : 1;
  }
  EXPECT_EQ(ignored, 1U);

  auto images = load_fixture("1.2-raid5-4-lockless-clean");
  images[1][bitmap_at + 8] ^= std::byte{0xff};  // UUID
  images[2][bitmap_at] ^= std::byte{0xff};      // magic
  set_state(images[1], 4, 3);
  const Look look = look_at(images);
  const auto copies = member_bitmaps(look.array());
  EXPECT_NE(copies[1].ignored.find("belongs to array"), std::string::npos) << copies[1].ignored;
  EXPECT_NE(copies[2].ignored.find("magic"), std::string::npos) << copies[2].ignored;
  const auto differing = differing_chunks(look.array().bitmap, copies);
  EXPECT_EQ(std::count(differing.begin(), differing.end(), true), 0);
}

TEST(MemberBitmaps, TrustHasAReason) {
  const auto stale_images = load_fixture("1.2-raid5-3-classic-stale-bitmap");
  EXPECT_NE(trust_reason(look_at(stale_images).array().bitmap).find("events"), std::string::npos);
  const auto first_images = load_fixture("1.2-raid5-4-lockless-first-use");
  const Look first = look_at(first_images);
  EXPECT_EQ(first.array().bitmap.trust, Trust::first_use);
  EXPECT_NE(trust_reason(first.array().bitmap).find("not used it yet"), std::string::npos);
  EXPECT_EQ(due_in(first.array().bitmap).chunks, 0U);
  const auto none = load_fixture("1.2-raid5-4-none-clean");
  EXPECT_EQ(trust_reason(look_at(none).array().bitmap), "the array has no bitmap");
}

}  // namespace
}  // namespace mdtool
