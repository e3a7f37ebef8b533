// SPDX-License-Identifier: GPL-2.0-or-later
// Several members' copies of a bitmap as one: which are believed, what they say together, what the kernel would do.
#include "libraid/assemble/bitmap_view.h"

#include <gtest/gtest.h>

#include <deque>

#include "tests/meta/bitmap_member.h"

namespace mdtool {
namespace {

using bitmap::Kind;
using testing::BitmapMember;
using testing::find;

// Members, numbered from 10 on so that an index into the copies is not taken for one into the members.
class Copies {
 public:
  explicit Copies(const std::vector<BitmapMember>& members) {
    for (const BitmapMember& m : members) {
      sources_.push_back(m.source());
      places_.push_back(
          {9 + sources_.size(), "m" + std::to_string(sources_.size()), &sources_.back(), testing::bitmap_at, 4096});
    }
  }
  BitmapView view(std::uint64_t sync_size, Kind suggested = Kind::none) const {
    return view_bitmap(places_, testing::expected_bitmap(sync_size), suggested);
  }

 private:
  std::deque<testing::BytesSource> sources_;
  std::vector<BitmapCopy> places_;
};

BitmapView classic_view(const std::vector<BitmapMember>& members, Kind suggested = Kind::none) {
  return Copies(members).view(testing::classic_sync_size, suggested);
}

BitmapView lockless_view(const std::vector<BitmapMember>& members, Kind suggested = Kind::none) {
  return Copies(members).view(testing::lockless_sync_size, suggested);
}

std::vector<std::uint64_t> set_bits(const BitmapView& view) {
  std::vector<std::uint64_t> bits;
  for (std::uint64_t i = 0; i < view.classic->chunks(); ++i) {
    if (view.classic->is_set(i)) {
      bits.push_back(i);
    }
  }
  return bits;
}

BitmapMember with_wrong_uuid(BitmapMember member) {
  member.at(testing::at_uuid) ^= std::byte{1};
  return member;
}

BitmapMember with_events(BitmapMember member, std::uint64_t events) {
  return member.put64(testing::at_events, events).put64(testing::at_events_cleared, 0);
}

using Indices = std::vector<std::size_t>;
using Bits = std::vector<std::uint64_t>;

TEST(BitmapView, WithoutCopiesThereIsNone) {
  const BitmapView view = classic_view({});
  EXPECT_EQ(view.trust, Trust::absent);
  EXPECT_EQ(view.kind, Kind::none);
  EXPECT_TRUE(view.chunk().is_zero());
  EXPECT_FALSE(view.kernel_refuses());
}

TEST(BitmapView, EqualCopiesAreBelievedWithoutAWord) {
  const BitmapView view = classic_view({testing::classic_member(), testing::classic_member()});
  EXPECT_EQ(view.trust, Trust::believed);
  EXPECT_EQ(view.kind, Kind::classic);
  EXPECT_EQ(view.version, 4U);
  EXPECT_EQ(view.copies, (Indices{10, 11}));
  EXPECT_EQ(view.chunks(), 101U);
  EXPECT_EQ(view.chunk(), Sectors(8));
  EXPECT_EQ(set_bits(view), (Bits{0, 9, 100}));
  EXPECT_TRUE(view.findings.empty()) << testing::ids(view.findings);
}

TEST(BitmapView, AChunkIsDirtyIfAnyCopySaysSo) {
  BitmapMember other = testing::classic_member();
  other.at(testing::at_bits) = std::byte{0x04};
  const BitmapView view = classic_view({testing::classic_member(), other});
  EXPECT_EQ(set_bits(view), (Bits{0, 2, 9, 100}));
  EXPECT_NE(find(view.findings, "bitmap-copies-differ"), nullptr);
  EXPECT_FALSE(view.kernel_refuses());
}

TEST(BitmapView, LocklessCopiesMergeToTheStateThatPromisesLess) {
  BitmapMember other = testing::lockless_member();
  other.at(testing::at_states + 1) = std::byte{3};  // Clean elsewhere
  other.at(testing::at_states + 3) = std::byte{1};  // NeedSync elsewhere
  const BitmapView view = lockless_view({testing::lockless_member(), other});
  ASSERT_TRUE(view.lockless);
  EXPECT_EQ(view.kind, Kind::lockless);
  EXPECT_EQ(view.lockless->raw(1), 3U);
  EXPECT_EQ(view.lockless->raw(3), 3U);
  EXPECT_EQ(view.lockless->raw(7), 7U);
  EXPECT_NE(find(view.findings, "bitmap-copies-differ"), nullptr);
}

// The kernel reads the first in-sync member's copy only.
TEST(BitmapView, AWrongUuidInTheFirstCopyIsWhatTheKernelRefuses) {
  const BitmapView view = classic_view({with_wrong_uuid(testing::classic_member()), testing::classic_member()});
  EXPECT_TRUE(view.kernel_refuses());
  ASSERT_FALSE(view.cures.empty());
  EXPECT_NE(view.cures.front().find("--update=no-bitmap"), std::string::npos);
  EXPECT_EQ(view.trust, Trust::believed) << "the other copy is good";
  EXPECT_EQ(view.copies, (Indices{11}));
}

TEST(BitmapView, AWrongUuidInALaterCopyIsOnlyAFinding) {
  BitmapMember wrong = with_wrong_uuid(testing::classic_member());
  wrong.at(testing::at_bits) = std::byte{0xff};
  const BitmapView view = classic_view({testing::classic_member(), wrong});
  EXPECT_FALSE(view.kernel_refuses());
  EXPECT_TRUE(view.cures.empty());
  EXPECT_FALSE(view.findings.empty());
  EXPECT_EQ(view.copies, (Indices{10}));
  EXPECT_EQ(set_bits(view), (Bits{0, 9, 100})) << "what is not believed is not merged";
}

TEST(BitmapView, WhereAllUuidsAreWrongNothingIsBelieved) {
  const BitmapView view =
      classic_view({with_wrong_uuid(testing::classic_member()), with_wrong_uuid(testing::classic_member())});
  EXPECT_EQ(view.trust, Trust::rejected);
  EXPECT_TRUE(view.kernel_refuses());
}

TEST(BitmapView, AStaleCopyBesideACurrentOneIsNotMerged) {
  BitmapMember stale = with_events(testing::classic_member(), 19);
  stale.at(testing::at_bits) = std::byte{0xff};
  for (const auto& members :
       {std::vector{stale, testing::classic_member()}, std::vector{testing::classic_member(), stale}}) {
    const BitmapView view = classic_view(members);
    EXPECT_EQ(view.trust, Trust::believed);
    EXPECT_EQ(view.copies.size(), 1U);
    EXPECT_EQ(set_bits(view), (Bits{0, 9, 100}));
    EXPECT_NE(find(view.findings, "bitmap-stale"), nullptr);
  }
}

TEST(BitmapView, OnlyStaleCopiesMakeAStaleBitmap) {
  const BitmapView view =
      classic_view({with_events(testing::classic_member(), 19), with_events(testing::classic_member(), 18)});
  EXPECT_EQ(view.trust, Trust::stale);
  EXPECT_EQ(view.copies, (Indices{10})) << "the one that saw more";
  EXPECT_FALSE(view.kernel_refuses());
}

TEST(BitmapView, TheFormatOnDiskIsUsedWhateverIsSuggested) {
  const BitmapView classic = classic_view({testing::classic_member()}, Kind::lockless);
  EXPECT_EQ(classic.kind, Kind::classic);
  EXPECT_EQ(classic.trust, Trust::believed);
  const Finding* mismatch = find(classic.findings, "bitmap-version-mismatch");
  ASSERT_NE(mismatch, nullptr);
  EXPECT_NE(mismatch->text.find("expected a lockless bitmap"), std::string::npos) << mismatch->text;
  EXPECT_NE(mismatch->text.find("version 4 (classic)"), std::string::npos) << mismatch->text;
  const BitmapView lockless = lockless_view({testing::lockless_member()}, Kind::classic);
  EXPECT_EQ(lockless.kind, Kind::lockless);
  EXPECT_EQ(lockless.chunks(), testing::lockless_chunks);
  EXPECT_NE(find(lockless.findings, "bitmap-version-mismatch"), nullptr);
  EXPECT_EQ(find(classic_view({testing::classic_member()}, Kind::classic).findings, "bitmap-version-mismatch"),
            nullptr);
  EXPECT_EQ(find(classic_view({testing::classic_member()}).findings, "bitmap-version-mismatch"), nullptr);
}

TEST(BitmapView, OfMixedVersionsTheOneWithMoreEventsIsUsed) {
  // Both formats describe the same array: a lockless bitmap for the classic one's sectors.
  BitmapMember lockless = testing::member_with_header(6, testing::classic_sync_size, 128);
  std::fill_n(lockless.bytes.begin() + testing::bitmap_at + testing::at_states, 7, std::byte{1});
  lockless.put64(testing::at_events, 21);
  const BitmapView view = classic_view({testing::classic_member(), lockless});
  EXPECT_EQ(view.kind, Kind::lockless);
  EXPECT_EQ(view.copies, (Indices{11}));
  EXPECT_FALSE(view.classic);
  EXPECT_NE(find(view.findings, "bitmap-versions-differ"), nullptr);
}

TEST(BitmapView, FirstUseIsNeitherBelievedNorRejected) {
  BitmapMember fresh = testing::lockless_member();
  fresh.put32(testing::at_state, bitmap::state_first_use);
  EXPECT_EQ(lockless_view({fresh}).trust, Trust::first_use);
  EXPECT_EQ(lockless_view({fresh, testing::lockless_member()}).trust, Trust::believed);
}

TEST(BitmapView, AnUnknownVersionOrMagicIsRejected) {
  BitmapMember version = testing::classic_member();
  version.put32(testing::at_version, 7);
  const BitmapView unknown = classic_view({version});
  EXPECT_EQ(unknown.trust, Trust::rejected);
  EXPECT_EQ(unknown.version, 7U);
  EXPECT_TRUE(unknown.kernel_refuses());
  BitmapMember magic = testing::classic_member();
  magic.put32(testing::at_magic, 0);
  EXPECT_EQ(classic_view({magic}).trust, Trust::rejected);
  EXPECT_TRUE(classic_view({magic}).kernel_refuses());
}

TEST(BitmapView, CopiesThatAreCutDifferentlyAreNotMixedUp) {
  BitmapMember coarse = testing::classic_member();
  coarse.put32(testing::at_chunksize, 8192);
  const BitmapView view = classic_view({testing::classic_member(), coarse});
  EXPECT_EQ(view.trust, Trust::believed);
  EXPECT_EQ(view.chunk(), Sectors(8));
  EXPECT_EQ(view.copies, (Indices{10}));
}

}  // namespace
}  // namespace mdtool
