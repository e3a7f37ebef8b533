// SPDX-License-Identifier: GPL-2.0-or-later
// Damage to the metadata of real arrays, everywhere, a byte at a time: nothing crashes, hangs or takes more than 64
// MiB, and what changes something that md looks at does not go unnoticed.
#include <gtest/gtest.h>

#include <random>

#include "tests/conformance/looked_at_fixture.h"
#include "tests/conformance/memory_limit.h"

namespace mdtool::conformance {
namespace {

constexpr std::byte masks[] = {std::byte{0xff}, std::byte{0x01}};
constexpr std::uint64_t sector_bytes = 512;
constexpr std::uint64_t block_bytes = 4096;

// Each version, level, bitmap and kind of log, clean and not.
std::vector<std::string> damaged_fixtures() {
  if (MDTOOL_TEST_SCALE > 1) {
    return fuzz::fixture_names();
  }
  return {"0.90-raid4-3-none-degraded",
          "0.90-raid5-3-classic-crash",
          "1.0-raid5-5-classic-clean",
          "1.1-raid5-3-classic-crash",
          "1.2-raid10-4-none",
          "1.2-raid5-3-journal-crash",
          "1.2-raid5-3-lockless-3300-crash",
          "1.2-raid5-3-ppl-crash",
          "1.2-raid5-4-lockless-first-use",
          "1.2-raid5-4-lockless-lazy-crash",
          "1.2-raid5-4-lockless-mixed-crash",
          "1.2-raid5-4-none-reshape",
          "1.2-raid6-5-classic-recovering",
          "1.2-raid6-5-none-bad-blocks"};
}

class CorruptInput : public testing::TestWithParam<std::string> {
 protected:
  std::vector<std::size_t> damaged_members() {
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < (MDTOOL_TEST_SCALE > 1 ? fixture_.members().size() : 1); ++i) {
      members.push_back(i);
    }
    return members;
  }
  const MemberDescription& description(std::size_t member) const {
    return fixture_.candidates()[member].chosen()->description;
  }
  std::uint64_t superblock_at(std::size_t member) const {
    return fixture_.candidates()[member].chosen()->metadata->offset_bytes();
  }
  // A superblock's bytes behind its roles are not under its checksum, and nobody reads them.
  std::uint64_t summed_bytes(std::size_t member) const {
    const MemberDescription& d = description(member);
    return d.metadata == "0.90" ? block_bytes : 256 + 2 * d.dev_roles.size();
  }
  bool is_refused(std::size_t member) const {
    const FoundSuperblock* found = fixture_.candidates()[member].chosen();
    return found == nullptr || worst_effect(found->findings) >= Effect::refuses_member;
  }

  LookedAtFixture fixture_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Spread, CorruptInput, testing::ValuesIn(damaged_fixtures()), test_name);

TEST_P(CorruptInput, EveryFlippedByteOfASuperblockIsNoticed) {
  const MemoryLimit limit;
  for (std::size_t member : damaged_members()) {
    const std::uint64_t at = superblock_at(member);
    const std::uint64_t summed = summed_bytes(member);
    for (std::uint64_t i = 0; i < block_bytes; ++i) {
      for (std::byte mask : masks) {
        fixture_.members()[member].flip(at + i, mask);
        const std::string look = fixture_.look_again(member);
        if (i < summed) {
          ASSERT_TRUE(is_refused(member)) << "byte " << i << " of member " << member;
          ASSERT_NE(look, fixture_.healthy()) << "byte " << i << " of member " << member;
        }
        fixture_.restore(member);
      }
    }
  }
}

struct ByteRange {
  std::uint64_t first, end;
  bool holds(std::uint64_t byte) const { return byte >= first && byte < end; }
};

// Bytes of a bitmap that may change without any consequence for what is due or whether the kernel starts the array.
std::vector<ByteRange> ignored_bytes(const BitmapView& view) {
  std::vector<ByteRange> ignored{{56, 60},   // daemon_sleep: how lazily the daemon clears, unless 0
                                 {60, 64},   // write_behind: unless above its limit
                                 {64, 68}};  // sectors_reserved: unless too few
  if (view.classic) {
    ignored.push_back({32, 40});  // events_cleared: what a re-added member has to catch up with, unless above events
    ignored.push_back({256 + (view.classic->chunks() + 7) / 8, ~std::uint64_t{0}});
    return ignored;
  }
  ignored.push_back({256, 1024});  // between header and states
  ignored.push_back({1024 + view.chunks(), ~std::uint64_t{0}});
  if (view.trust == Trust::first_use) {
    ignored.push_back({24, 40});  // events, events_cleared: the kernel will write its own
    ignored.push_back({52, 56});  // chunksize: the same
  }
  return ignored;
}

TEST_P(CorruptInput, EveryFlippedByteOfABitmapIsNoticed) {
  const Assembly a = fixture_.assembly();
  if (a.bitmap.kind == bitmap::Kind::none) {
    ASSERT_EQ(GetParam().find("classic"), std::string::npos);
    ASSERT_EQ(GetParam().find("lockless"), std::string::npos);
    return;
  }
  const std::size_t member =
      static_cast<std::size_t>(a.members[a.bitmap.copies.front()].candidate - fixture_.candidates().data());
  const std::uint64_t at = *description(member).bitmap_offset_bytes;
  const std::vector<ByteRange> ignored = ignored_bytes(a.bitmap);
  const std::uint64_t used = a.bitmap.classic ? a.bitmap.classic->encode().size() : a.bitmap.lockless->encode().size();
  const MemoryLimit limit;
  for (std::uint64_t i = 0; i < used; ++i) {
    for (std::byte mask : masks) {
      fixture_.members()[member].flip(at + i, mask);
      const std::string look = fixture_.look_again(member);
      if (std::none_of(ignored.begin(), ignored.end(), [&](const ByteRange& r) { return r.holds(i); })) {
        ASSERT_NE(look, fixture_.healthy()) << "byte " << i << " mask " << std::to_integer<int>(mask);
      }
      fixture_.restore(member);
    }
  }
}

// Where a cut may matter: all sectors around metadata, some of the data.
std::vector<std::uint64_t> truncations(const MemberDescription& d, std::uint64_t superblock_at, std::uint64_t size) {
  constexpr std::uint64_t around = 128U << 10;
  std::vector<std::uint64_t> sizes{0, 1, 511};
  std::uint64_t metadata_end = superblock_at + block_bytes;
  for (const Area& area : d.areas) {
    metadata_end = area.name == "data" ? metadata_end : std::max(metadata_end, area.offset_bytes + area.length_bytes);
  }
  for (std::uint64_t at = 0; at <= size; at += sector_bytes) {
    const bool near = at < around || (at <= metadata_end + around && at + around >= superblock_at) ||
                      size - at < around || at % (64 * sector_bytes) == 0;
    if (near) {
      sizes.push_back(at);
      sizes.push_back(at + 1);
    }
  }
  std::erase_if(sizes, [&](std::uint64_t s) { return s > size; });
  return sizes;
}

TEST_P(CorruptInput, EveryTruncationIsNoticed) {
  const MemoryLimit limit;
  for (std::size_t member : damaged_members()) {
    const MemberDescription d = description(member);
    const std::uint64_t size = fixture_.members()[member].size_bytes();
    const std::uint64_t needed = (d.data_offset + (d.size.is_zero() ? d.data_size : d.size)).bytes();
    for (std::uint64_t cut : truncations(d, superblock_at(member), size)) {
      fixture_.members()[member].truncate(cut);
      const std::string look = fixture_.look_again(member);
      if (cut < needed) {
        ASSERT_NE(look, fixture_.healthy()) << "member " << member << " cut to " << cut;
        ASSERT_TRUE(is_refused(member)) << "member " << member << " cut to " << cut;
      }
      fixture_.restore(member);
    }
  }
}

TEST_P(CorruptInput, RandomBlocksOverMetadataAreSurvived) {
  const MemoryLimit limit;
  std::mt19937 random(4);
  std::vector<std::byte> noise(block_bytes);
  for (std::size_t member : damaged_members()) {
    std::vector<std::uint64_t> places{superblock_at(member), superblock_at(member) + 512};
    for (const Area& area : description(member).areas) {
      places.push_back(area.offset_bytes);
      places.push_back(area.offset_bytes + 1024);
    }
    const std::uint64_t at = superblock_at(member);
    for (std::size_t round = 0; round < 20 * places.size(); ++round) {
      for (std::byte& b : noise) {
        b = static_cast<std::byte>(random());
      }
      fixture_.members()[member].write(places[round % places.size()], noise);
      // A damaged superblock that looks whole lets the damage in everything behind it count.
      if (round % 2 == 1 && fixture_.candidates()[member].chosen()->metadata) {
        fixture_.members()[member].write(at, fixture_.candidates()[member].chosen()->metadata->encode());
      }
      const std::string look = fixture_.look_again(member);
      EXPECT_FALSE(look.empty());
      if (round % places.size() == 0 && round % 2 == 0) {
        ASSERT_EQ(fixture_.candidates()[member].chosen(), nullptr) << "noise is no superblock";
      }
      fixture_.restore(member);
    }
  }
}

}  // namespace
}  // namespace mdtool::conformance
