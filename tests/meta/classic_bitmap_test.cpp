// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <limits>

#include "libmeta/bitmap/classic.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool::bitmap {
namespace {

using namespace mdtool::testing;

const Expected expected = expected_bitmap(classic_sync_size);

Classic read_good(const BitmapMember& member) {
  auto bitmap = Classic::read(member.source(), bitmap_at, expected);
  EXPECT_TRUE(bitmap.has_value());
  return std::move(bitmap).value();
}

std::vector<std::byte> on_disk(const BitmapMember& member, std::size_t length) {
  const auto start = member.bytes.begin() + bitmap_at;
  return {start, start + static_cast<std::ptrdiff_t>(length)};
}

std::vector<std::uint64_t> set_chunks(const Classic& bitmap) {
  std::vector<std::uint64_t> chunks;
  for (std::uint64_t chunk = 0; chunk < bitmap.chunks(); ++chunk) {
    if (bitmap.is_set(chunk)) {
      chunks.push_back(chunk);
    }
  }
  return chunks;
}

TEST(ClassicBitmap, ReadsBitsInTheKernelsOrder) {
  const Classic bitmap = read_good(classic_member());
  EXPECT_EQ(bitmap.chunk(), Sectors(8));
  EXPECT_EQ(bitmap.chunks(), 101U);
  EXPECT_EQ(set_chunks(bitmap), (std::vector<std::uint64_t>{0, 9, 100}));
  EXPECT_EQ(bitmap.set_count(), 3U);
  EXPECT_EQ(bitmap.offset_bytes(), bitmap_at);
  EXPECT_EQ(bitmap.used_bytes(), 256U + 13U);
  EXPECT_TRUE(bitmap.verify(expected).empty());
}

TEST(ClassicBitmap, PaddingBitsDoNotCount) {
  BitmapMember ones = classic_member();
  ones.at(at_bits + 12) = std::byte{0xff};
  BitmapMember zeros = classic_member();
  zeros.at(at_bits + 12) = std::byte{0x1f};
  EXPECT_EQ(read_good(ones).set_count(), read_good(zeros).set_count());
  EXPECT_TRUE(same_content(read_good(ones), read_good(zeros)));
}

TEST(ClassicBitmap, EncodeOfTheUntouchedIsTheSectorAsRead) {
  const BitmapMember member = classic_member();
  EXPECT_EQ(read_good(member).encode(), on_disk(member, 512));
}

TEST(ClassicBitmap, AMemberThatEndsInsideOfTheSectorIsReadUpToItsEnd) {
  BitmapMember member = classic_member();
  member.bytes.resize(bitmap_at + 256 + 13);
  const Classic bitmap = read_good(member);
  EXPECT_EQ(bitmap.encode(), on_disk(member, 256 + 13));
  EXPECT_EQ(bitmap.set_count(), 3U);
}

TEST(ClassicBitmap, AChangeTouchesOnlyItsOwnBytes) {
  BitmapMember member = classic_member();
  Classic bitmap = read_good(member);
  bitmap.set(8);
  bitmap.clear(9);
  bitmap.set(100);
  bitmap.set_events(0x1122334455667788, 19);
  member.at(at_bits + 1) = std::byte{0x01};
  member.put64(at_events, 0x1122334455667788).put64(at_events_cleared, 19);
  EXPECT_EQ(bitmap.encode(), on_disk(member, 512));
}

TEST(ClassicBitmap, SetAllLeavesThePaddingAlone) {
  BitmapMember member = classic_member();
  member.at(at_bits + 12) = std::byte{0x00};
  Classic bitmap = read_good(member);
  bitmap.set_all();
  EXPECT_EQ(bitmap.set_count(), 101U);
  EXPECT_EQ(bitmap.encode()[at_bits + 11], std::byte{0xff});
  EXPECT_EQ(bitmap.encode()[at_bits + 12], std::byte{0x1f});
}

TEST(ClassicBitmap, StaleByEventsOrFlagUntilPutRight) {
  Classic behind = read_good(classic_member().put64(at_events, 19));
  EXPECT_TRUE(behind.stale(expected));
  behind.set_events(20, 20);
  EXPECT_FALSE(behind.stale(expected));

  Classic flagged = read_good(classic_member().put32(at_state, state_stale | state_write_error | state_host_endian));
  EXPECT_TRUE(flagged.stale(expected));
  flagged.clear_flags();
  EXPECT_FALSE(flagged.stale(expected));
  EXPECT_EQ(flagged.header().state.value(), state_host_endian);
}

TEST(ClassicBitmap, TheSuperblocksSizeCountsAndNotTheHeaders) {
  const Classic bitmap = read_good(classic_member().put64(at_sync_size, 8));
  EXPECT_EQ(bitmap.chunks(), 101U);
  EXPECT_NE(find(bitmap.verify(expected), "bitmap-sync-size"), nullptr);
}

TEST(ClassicBitmap, OtherFormatsAreRefused) {
  for (std::uint32_t version : {0U, 2U, 6U, 7U}) {
    const auto bitmap = Classic::read(classic_member().put32(at_version, version).source(), bitmap_at, expected);
    ASSERT_FALSE(bitmap.has_value()) << version;
    EXPECT_EQ(bitmap.error().kind, ErrorKind::format);
  }
  for (std::uint32_t version : {3U, 4U, 5U}) {
    EXPECT_TRUE(Classic::read(classic_member().put32(at_version, version).source(), bitmap_at, expected).has_value());
  }
}

TEST(ClassicBitmap, ImpossibleChunkSizesAreRefused) {
  for (std::uint32_t bytes : {0U, 1U, 256U, 511U, 513U, 4095U, 0xffffffffU}) {
    EXPECT_FALSE(Classic::read(classic_member().put32(at_chunksize, bytes).source(), bitmap_at, expected).has_value())
        << bytes;
  }
  const auto largest = Classic::read(classic_member().put32(at_chunksize, 1U << 31).source(), bitmap_at, expected);
  ASSERT_TRUE(largest.has_value());
  EXPECT_EQ(largest->chunks(), 1U);
}

TEST(ClassicBitmap, AnEmptySyncRangeHasNoBits) {
  const auto bitmap = Classic::read(classic_member().source(), bitmap_at, expected_bitmap(0));
  ASSERT_TRUE(bitmap.has_value());
  EXPECT_EQ(bitmap->chunks(), 0U);
  EXPECT_EQ(bitmap->set_count(), 0U);
  EXPECT_EQ(bitmap->used_bytes(), 256U);
}

TEST(ClassicBitmap, MergeTakesTheBitsOfBoth) {
  Classic one = read_good(classic_member());
  Classic other = read_good(classic_member());
  EXPECT_TRUE(same_content(one, other));
  other.clear(0);
  other.set(50);
  other.set_events(99, 99);
  EXPECT_FALSE(same_content(one, other));
  one.merge(other);
  EXPECT_EQ(set_chunks(one), (std::vector<std::uint64_t>{0, 9, 50, 100}));
  EXPECT_EQ(one.header().events.value(), 20U);
}

TEST(ClassicBitmap, MergeOfACopyWithAnotherChunkSizeMakesEverythingDue) {
  Classic one = read_good(classic_member());
  const Classic other = read_good(classic_member().put32(at_chunksize, 8192));
  EXPECT_FALSE(same_content(one, other));
  one.merge(other);
  EXPECT_EQ(one.set_count(), one.chunks());
}

TEST(ClassicBitmap, EveryTruncationIsAnErrorUntilTheBitsAreWhole) {
  const std::vector<std::byte> whole = classic_member().bytes;
  for (std::size_t length = 0; length < bitmap_at + 600; length += length < bitmap_at - 2 ? 511 : 1) {
    const auto start = whole.begin();
    const BytesSource cut(std::vector<std::byte>(start, start + static_cast<std::ptrdiff_t>(length)));
    const auto bitmap = Classic::read(cut, bitmap_at, expected);
    EXPECT_EQ(bitmap.has_value(), length >= bitmap_at + 256 + 13) << length;
    if (!bitmap) {
      EXPECT_EQ(bitmap.error().kind, ErrorKind::out_of_range) << length;
      EXPECT_FALSE(bitmap.error().text.empty());
    }
  }
}

// Header bytes whose other values are legal: events_cleared (lower), daemon_sleep, write_behind, sectors_reserved.
bool may_have_any_value(std::size_t byte) {
  return (byte >= at_events_cleared && byte < at_sync_size) || (byte >= at_daemon_sleep && byte < at_nodes);
}

void expect_flip_is_seen(std::size_t byte, unsigned bit) {
  BitmapMember member = classic_member();
  member.at(byte) ^= std::byte{1} << bit;
  const auto bitmap = Classic::read(member.source(), bitmap_at, expected);
  const std::string what = "byte " + std::to_string(byte) + " bit " + std::to_string(bit);
  if (!bitmap) {
    EXPECT_EQ(bitmap.error().kind, ErrorKind::format) << what;
    EXPECT_TRUE(byte < at_uuid || (byte >= at_chunksize && byte < at_daemon_sleep)) << what;
    return;
  }
  EXPECT_EQ(bitmap->encode(), on_disk(member, 512)) << what;
  if (byte >= at_bits) {
    const bool real = (byte - at_bits) * 8 + bit < 101;
    EXPECT_EQ(same_content(*bitmap, read_good(classic_member())), !real) << what;
  } else if (!may_have_any_value(byte) && bitmap->header().version != 5) {
    EXPECT_FALSE(bitmap->verify(expected).empty()) << what;
  }
}

TEST(ClassicBitmap, EveryFlippedBitIsSeenOrHarmless) {
  for (std::size_t byte = 0; byte < 512; ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      expect_flip_is_seen(byte, bit);
    }
  }
}

}  // namespace
}  // namespace mdtool::bitmap
