// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <limits>

#include "libmeta/bitmap/lockless.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool::bitmap {
namespace {

using namespace mdtool::testing;

const Expected expected = expected_bitmap(lockless_sync_size);
constexpr std::uint64_t all = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t area_bytes = 1536;  // 1024 + 100, in whole sectors

Lockless read_good(const BitmapMember& member) {
  auto bitmap = Lockless::read(member.source(), bitmap_at, expected);
  EXPECT_TRUE(bitmap.has_value());
  return std::move(bitmap).value();
}

std::vector<std::byte> on_disk(const BitmapMember& member) {
  const auto start = member.bytes.begin() + bitmap_at;
  return {start, start + area_bytes};
}

TEST(LocklessBitmap, ReadsAByteOfStatePerChunk) {
  BitmapMember member = lockless_member();
  member.at(at_states + 99) = std::byte{9};
  const Lockless bitmap = read_good(member);
  EXPECT_EQ(bitmap.chunk(), Sectors(128));
  EXPECT_EQ(bitmap.chunks(), 100U);
  EXPECT_EQ(bitmap.raw(0), 0);
  EXPECT_EQ(bitmap.raw(15), 7);
  EXPECT_EQ(bitmap.raw(99), 9);
  EXPECT_EQ(bitmap.used_bytes(), 1124U);
  EXPECT_EQ(bitmap.offset_bytes(), bitmap_at);
  EXPECT_FALSE(bitmap.first_use());
}

TEST(LocklessBitmap, CountsStatesAndInvalidBytes) {
  BitmapMember member = lockless_member();
  member.at(at_states + 8) = std::byte{0xff};
  member.at(at_states + 17) = std::byte{8};
  const Lockless bitmap = read_good(member);
  const StateCounts counts = bitmap.counts();
  EXPECT_EQ(counts.by_state, (std::array<std::uint64_t, 8>{12, 12, 13, 13, 12, 12, 12, 12}));
  EXPECT_EQ(counts.invalid, 2U);
  const Findings findings = bitmap.verify(expected);
  EXPECT_EQ(ids(findings), "bitmap-invalid-state ");
  EXPECT_EQ(findings[0].text.substr(0, 9), "2 of 100 ");
  EXPECT_EQ(worst_effect(findings), Effect::none);
}

TEST(LocklessBitmap, EncodeOfTheUntouchedIsTheAreaAsRead) {
  const BitmapMember member = lockless_member();
  EXPECT_EQ(read_good(member).encode(), on_disk(member));
}

TEST(LocklessBitmap, AChangeTouchesOnlyItsOwnBytes) {
  BitmapMember member = lockless_member();
  Lockless bitmap = read_good(member);
  bitmap.set(0, ChunkState::clean);
  bitmap.set(99, ChunkState::clean_unwritten);
  bitmap.set_events(21);
  member.at(at_states) = std::byte{1};
  member.at(at_states + 99) = std::byte{7};
  member.put64(at_events, 21);
  EXPECT_EQ(bitmap.encode(), on_disk(member));
}

TEST(LocklessBitmap, ApplyWalksTheRangeAndInvalidBytesToo) {
  BitmapMember member = lockless_member();
  member.at(at_states + 10) = std::byte{0xff};
  Lockless bitmap = read_good(member);
  bitmap.apply(Action::daemon, 8, 10, {});  // unwritten, clean, invalid
  EXPECT_EQ(bitmap.raw(2), 2);              // dirty, before the range
  EXPECT_EQ(bitmap.raw(8), 0);
  EXPECT_EQ(bitmap.raw(9), 1);
  EXPECT_EQ(bitmap.raw(10), 3);
  EXPECT_EQ(bitmap.raw(18), 2);  // behind it
}

TEST(LocklessBitmap, ApplyEndsWithTheLastChunk) {
  const BitmapMember member = lockless_member();
  Lockless bitmap = read_good(member);
  bitmap.apply(Action::reload, 0, all, {});
  EXPECT_EQ(bitmap.counts().by_state, (std::array<std::uint64_t, 8>{13 + 12 + 12, 13, 0, 13 + 13 + 12, 0, 0, 0, 12}));
  EXPECT_EQ(bitmap.encode()[at_states + 100], std::byte{0xff});

  Lockless untouched = read_good(member);
  untouched.apply(Action::discard, 100, all, {});
  untouched.apply(Action::discard, all, all, {});
  untouched.apply(Action::discard, 5, 4, {});
  EXPECT_EQ(untouched.encode(), on_disk(member));
}

TEST(LocklessBitmap, ApplyFollowsTheCondition) {
  Lockless degraded = read_good(lockless_member());
  degraded.apply(Action::start_write, 0, 1, {.degraded = true, .raid456 = false});
  EXPECT_EQ(degraded.raw(0), 3);
  EXPECT_EQ(degraded.raw(1), 3);
  Lockless mirror = read_good(lockless_member());
  mirror.apply(Action::start_write, 0, 1, {.degraded = false, .raid456 = false});
  EXPECT_EQ(mirror.raw(0), 2);
  EXPECT_EQ(mirror.raw(1), 2);
}

TEST(LocklessBitmap, AWriteErrorFreezesTheStatesAndMakesThemStale) {
  const BitmapMember member = lockless_member().put32(at_state, state_write_error);
  Lockless bitmap = read_good(member);
  bitmap.apply(Action::stale, 0, all, {});
  EXPECT_EQ(bitmap.encode(), on_disk(member));
  EXPECT_TRUE(bitmap.stale(expected));
  bitmap.clear_flags();
  EXPECT_FALSE(bitmap.stale(expected));
  bitmap.apply(Action::stale, 0, all, {});
  EXPECT_EQ(bitmap.raw(1), 3);
}

TEST(LocklessBitmap, StaleByEventsOrFlagUntilPutRight) {
  Lockless behind = read_good(lockless_member().put64(at_events, 19));
  EXPECT_TRUE(behind.stale(expected));
  behind.set_events(20);
  EXPECT_FALSE(behind.stale(expected));
  Lockless flagged = read_good(lockless_member().put32(at_state, state_stale | state_daemon_busy));
  EXPECT_TRUE(flagged.stale(expected));
  flagged.clear_flags();
  EXPECT_FALSE(flagged.stale(expected));
  EXPECT_EQ(flagged.header().state.value(), state_daemon_busy);
}

BitmapMember first_use_member() {
  return lockless_member()
      .put32(at_state, state_first_use | state_clean | state_daemon_busy)
      .put32(at_chunksize, 64U << 20)
      .put32(at_daemon_sleep, 5);
}

TEST(LocklessBitmap, FirstUseTakesTheKernelsChunkAndNotThePlaceholder) {
  const Lockless bitmap = read_good(first_use_member());
  EXPECT_TRUE(bitmap.first_use());
  EXPECT_EQ(bitmap.chunk(), Sectors(128));
  EXPECT_EQ(bitmap.chunks(), 100U);
  EXPECT_EQ(ids(bitmap.verify(expected)), "bitmap-first-use ");
}

TEST(LocklessBitmap, FirstUseSaysNothingAboutFillerBytes) {
  BitmapMember member = first_use_member();
  std::fill_n(member.bytes.begin() + bitmap_at + at_states, 100, std::byte{0xff});
  const Lockless bitmap = read_good(member);
  EXPECT_EQ(bitmap.counts().invalid, 100U);
  EXPECT_EQ(find(bitmap.verify(expected), "bitmap-invalid-state"), nullptr);
}

TEST(LocklessBitmap, FinishFirstUseWritesTheHeaderAsTheKernelDoes) {
  BitmapMember member = first_use_member();
  Lockless bitmap = read_good(member);
  bitmap.finish_first_use();
  member.put32(at_state, state_daemon_busy).put32(at_chunksize, 128).put32(at_daemon_sleep, 30);
  EXPECT_EQ(bitmap.encode(), on_disk(member));
  const Lockless again = read_good(member);
  EXPECT_FALSE(again.first_use());
  EXPECT_TRUE(same_content(again, bitmap));
  EXPECT_TRUE(again.verify(expected).empty());
}

TEST(LocklessBitmap, OtherFormatsAreRefused) {
  for (std::uint32_t version : {3U, 4U, 5U, 7U, 0x02020206U}) {
    const auto bitmap = Lockless::read(lockless_member().put32(at_version, version).source(), bitmap_at, expected);
    ASSERT_FALSE(bitmap.has_value()) << version;
    EXPECT_EQ(bitmap.error().kind, ErrorKind::format);
  }
}

TEST(LocklessBitmap, MoreStatesThanTheMemberHoldsAreAnError) {
  Expected large = expected_bitmap(128 * 60000);
  const auto bitmap = Lockless::read(lockless_member().source(), bitmap_at, large);
  ASSERT_FALSE(bitmap.has_value());
  EXPECT_EQ(bitmap.error().kind, ErrorKind::out_of_range);
  large.sync_size = Sectors::max();
  EXPECT_FALSE(Lockless::read(lockless_member().source(), bitmap_at, large).has_value());
  EXPECT_FALSE(Lockless::read(first_use_member().source(), bitmap_at, large).has_value());
}

TEST(LocklessBitmap, MergeTakesTheMoreCarefulStateOfEveryChunk) {
  Lockless one = read_good(lockless_member());
  Lockless other = read_good(lockless_member());
  EXPECT_TRUE(same_content(one, other));
  other.set(1, ChunkState::dirty);       // clean in the one
  other.set(3, ChunkState::clean);       // need_sync in the one
  other.set(15, ChunkState::unwritten);  // clean_unwritten in the one
  EXPECT_FALSE(same_content(one, other));
  one.merge(other);
  EXPECT_EQ(one.raw(1), 2);
  EXPECT_EQ(one.raw(3), 3);
  EXPECT_EQ(one.raw(15), 0);
  EXPECT_EQ(one.raw(6), 6);
}

TEST(LocklessBitmap, MergeOfACopyWithAnotherChunkSizeMakesEverythingDue) {
  Lockless one = read_good(lockless_member());
  const Lockless other = read_good(lockless_member().put32(at_chunksize, 256));
  EXPECT_EQ(other.chunks(), 50U);
  EXPECT_FALSE(same_content(one, other));
  one.merge(other);
  EXPECT_EQ(one.counts().by_state[3], 100U);
}

TEST(LocklessBitmap, EveryTruncationIsAnErrorUntilTheStatesAreWhole) {
  const std::vector<std::byte> whole = lockless_member().bytes;
  for (std::size_t length = 0; length < bitmap_at + 1600; length += length < bitmap_at - 2 ? 511 : 1) {
    const auto start = whole.begin();
    const BytesSource cut(std::vector<std::byte>(start, start + static_cast<std::ptrdiff_t>(length)));
    const auto bitmap = Lockless::read(cut, bitmap_at, expected);
    EXPECT_EQ(bitmap.has_value(), length >= bitmap_at + 1124) << length;
    if (!bitmap) {
      EXPECT_EQ(bitmap.error().kind, ErrorKind::out_of_range) << length;
    }
  }
}

// Bytes whose other values are legal: daemon_sleep, write_behind and sectors_reserved, as long as the states fit.
bool may_have_any_value(std::size_t byte) {
  return byte >= at_daemon_sleep && byte < at_nodes;
}

void expect_flip_is_seen(std::size_t byte, unsigned bit) {
  BitmapMember member = lockless_member();
  const std::byte before = member.at(byte);
  member.at(byte) ^= std::byte{1} << bit;
  const auto bitmap = Lockless::read(member.source(), bitmap_at, expected);
  const std::string what = "byte " + std::to_string(byte) + " bit " + std::to_string(bit);
  if (!bitmap) {
    EXPECT_EQ(bitmap.error().kind, ErrorKind::format) << what;
    EXPECT_TRUE(byte < at_uuid || (byte >= at_chunksize && byte < at_daemon_sleep)) << what;
    return;
  }
  EXPECT_EQ(bitmap->encode(), on_disk(member)) << what;
  const Findings findings = bitmap->verify(expected);
  if (byte >= at_states && byte < at_states + lockless_chunks) {
    EXPECT_EQ(bitmap->raw(byte - at_states), std::to_integer<unsigned>(before) ^ (1U << bit)) << what;
    EXPECT_EQ(findings.empty(), bit < 3) << what;
  } else if (byte >= header_bytes) {
    EXPECT_TRUE(findings.empty() && same_content(*bitmap, read_good(lockless_member()))) << what;
  } else if (!may_have_any_value(byte)) {
    EXPECT_EQ(findings.empty(), byte == at_state && bit == 5) << what;  // DAEMON_BUSY is harmless
  }
}

TEST(LocklessBitmap, EveryFlippedBitIsSeenOrHarmless) {
  for (std::size_t byte = 0; byte < area_bytes; ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      expect_flip_is_seen(byte, bit);
    }
  }
}

}  // namespace
}  // namespace mdtool::bitmap
