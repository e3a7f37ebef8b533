// SPDX-License-Identifier: GPL-2.0-or-later
// What can be read, what is refused, and which extents of a dirty and degraded array are said to be uncertain.
#include "libraid/assemble/open_array.h"

#include <gtest/gtest.h>

#include <set>

#include "libmeta/journal/meta_block.h"
#include "libmeta/md1/superblock.h"
#include "tests/raid/loaded_array.h"

namespace mdtool {
namespace {

using test::finding;
using test::Image;
using test::load_fixture;
using test::look_at;
using test::look_without;
using test::set_field;

const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

std::string refusal(const Assembly& a, const Forces& forces = {}) {
  const auto open = open_for_reading(a, forces, kernels());
  if (open) {
    return "";
  }
  EXPECT_EQ(open.error().kind, ErrorKind::refused);
  return open.error().text;
}

void expect_refused(const test::Look& look, const std::string& words) {
  EXPECT_NE(refusal(look.array()).find(words), std::string::npos) << refusal(look.array());
}

std::vector<std::byte> content(const Array& array) {
  std::vector<std::byte> bytes(array.size_bytes());
  EXPECT_TRUE(array.read(0, bytes));
  return bytes;
}

TEST(OpenArray, ReadsTheSameWithAnyTolerableSetMissing) {
  const std::vector<Image> images = load_fixture("1.2-raid6-5-classic-clean");
  const test::Look whole = look_at(images);
  const auto open = open_for_reading(whole.array(), {}, kernels());
  ASSERT_TRUE(open);
  EXPECT_FALSE(open->degraded);
  const auto expected = content(open->array);
  for (std::size_t a = 0; a < 5; ++a) {
    for (std::size_t b = a; b < 5; ++b) {
      const test::Look look = look_without(images, {a, b});
      const auto degraded = open_for_reading(look.array(), {}, kernels());
      ASSERT_TRUE(degraded);
      EXPECT_TRUE(degraded->degraded);
      EXPECT_TRUE(degraded->uncertain.empty()) << "a clean array keeps its promise";
      EXPECT_EQ(content(degraded->array), expected) << a << " " << b;
    }
  }
}

TEST(OpenArray, RefusesTooFewMembers) {
  expect_refused(look_without(load_fixture("1.2-raid5-4-none-clean"), {0, 3}), "too few members: 2 of at least 3");
  expect_refused(look_without(load_fixture("1.2-raid6-5-classic-clean"), {0, 3, 4}),
                 "too few members: 2 of at least 3");
}

TEST(OpenArray, RefusesAJournalWithContentUnlessForced) {
  const test::Look cut = look_at(load_fixture("1.2-raid5-3-journal-crash"));
  expect_refused(cut, "--force=ignore-journal");
  EXPECT_EQ(refusal(cut.array(), {.ignore_journal = true, .dirty_degraded = false}), "");
  EXPECT_NE(refusal(cut.array(), {.ignore_journal = false, .dirty_degraded = true}), "");
}

// The kernel leaves blocks with content behind even after a clean stop.
TEST(OpenArray, RefusesTheJournalOfACleanStop) {
  const std::vector<Image> images = load_fixture("1.2-raid5-3-journal-clean");
  expect_refused(look_at(images), "--force=ignore-journal");
}

std::size_t journal_member(const test::Look& look) {
  const auto found = std::find_if(look.candidates.begin(), look.candidates.end(),
                                  [](const Candidate& c) { return c.chosen()->description.role == Role::journal; });
  EXPECT_NE(found, look.candidates.end());
  return static_cast<std::size_t>(found - look.candidates.begin());
}

// The tail's meta block as it would be without payloads.
void empty_journal(Image& image, const MemberDescription& d) {
  const std::uint64_t tail = (d.data_offset + *d.journal_tail).bytes();
  std::vector<std::byte> bytes(journal::block_bytes);
  std::copy_n(image.begin() + static_cast<std::ptrdiff_t>(tail), sizeof(journal::BlockHeader), bytes.begin());
  ASSERT_TRUE(store(std::span(bytes), offsetof(journal::BlockHeader, meta_size), le32(sizeof(journal::BlockHeader))));
  const le32 checksum = journal::MetaBlock::decode(bytes)->expected_checksum(d.set_uuid);
  ASSERT_TRUE(store(std::span(bytes), offsetof(journal::BlockHeader, checksum), checksum));
  std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(tail));
}

TEST(OpenArray, ReadsAnArrayWhoseJournalIsEmpty) {
  std::vector<Image> images = load_fixture("1.2-raid5-3-journal-clean");
  const test::Look whole = look_at(images);
  const std::size_t journal = journal_member(whole);
  const MemberDescription& d = whole.candidates[journal].chosen()->description;
  empty_journal(images[journal], d);
  EXPECT_EQ(refusal(look_at(images).array()), "");
  images[journal][(d.data_offset + *d.journal_tail).bytes()] ^= std::byte{1};
  expect_refused(look_at(images), "journal");
}

TEST(OpenArray, RefusesAnArrayWhoseJournalIsNotHere) {
  const std::vector<Image> images = load_fixture("1.2-raid5-3-journal-crash");
  const std::size_t journal = journal_member(look_at(images));
  expect_refused(look_without(images, {journal}), "--force=ignore-journal");
}

TEST(OpenArray, RefusesAnArrayInReshape) {
  expect_refused(look_at(load_fixture("1.2-raid5-4-none-reshape")), "reshape");
}

TEST(OpenArray, RefusesLevelsThatAreNotBuiltYet) {
  expect_refused(look_at(load_fixture("1.2-raid1-2-classic")), "raid1");
  expect_refused(look_at(load_fixture("1.2-raid10-4-none")), "raid10");
  expect_refused(look_at(load_fixture("1.2-linear-2")), "linear");
}

std::vector<Image> edited_alike(std::size_t field, auto value) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  for (Image& image : images) {
    set_field(image, field, value);
  }
  return images;
}

TEST(OpenArray, RefusesUnknownFeatures) {
  const test::Look look = look_at(edited_alike(offsetof(md1::Superblock, feature_map), le32(0x4000)));
  expect_refused(look, "feature bits 16384");
}

TEST(OpenArray, RefusesClusters) {
  expect_refused(look_at(edited_alike(offsetof(md1::Superblock, feature_map), le32(md1::feature_clustered))),
                 "cluster");
}

// Everything that is sized by it would be: a list of what is due could take all memory.
TEST(OpenArray, RefusesASizeThatNoMemberBacks) {
  std::vector<Image> images = edited_alike(offsetof(md1::Superblock, size), le64(std::uint64_t{1} << 50));
  for (Image& image : images) {
    set_field(image, offsetof(md1::Superblock, resync_offset), le64(0));
  }
  expect_refused(look_without(images, {1}), "more than");
}

TEST(OpenArray, RefusesALayoutThatDoesNotExist) {
  EXPECT_NE(refusal(look_at(edited_alike(offsetof(md1::Superblock, layout), le32(7))).array()), "");
}

// Left-symmetric RAID-5, worked out from its definition: parity moves from the last slot down, data starts behind it.
std::set<std::uint64_t> lost_sectors(std::uint64_t slots, std::uint64_t lost, std::uint64_t chunk,
                                     const std::set<std::uint64_t>& due_component_sectors) {
  std::set<std::uint64_t> sectors;
  for (std::uint64_t at : due_component_sectors) {
    const std::uint64_t stripe = at / chunk;
    const std::uint64_t parity = slots - 1 - stripe % slots;
    if (lost != parity) {
      const std::uint64_t index = (lost + slots - parity - 1) % slots;
      sectors.insert((stripe * (slots - 1) + index) * chunk + at % chunk);
    }
  }
  return sectors;
}

std::set<std::uint64_t> sectors_of(const std::vector<SectorRange>& ranges) {
  std::set<std::uint64_t> sectors;
  Sectors end;
  for (const SectorRange& r : ranges) {
    EXPECT_TRUE(r.first > end || r.first.is_zero()) << "not merged, or not in order";
    end = r.end();
    for (Sectors at = r.first; at < r.end(); at += Sectors(1)) {
      sectors.insert(at.count());
    }
  }
  return sectors;
}

// The bits as they lie on the member, without any bitmap code.
std::set<std::uint64_t> classic_due(const Image& image, std::uint64_t bitmap_at, std::uint64_t component) {
  const le32 chunk_bytes = *load<le32>(image, bitmap_at + 52);
  const std::uint64_t chunk = chunk_bytes / 512;
  std::set<std::uint64_t> due;
  for (std::uint64_t at = 0; at < component; ++at) {
    const std::uint64_t bit = at / chunk;
    const auto byte = std::to_integer<unsigned>(image[bitmap_at + 256 + bit / 8]);
    if ((byte >> bit % 8 & 1) != 0) {
      due.insert(at);
    }
  }
  return due;
}

void expect_uncertain(const test::Look& look, std::size_t lost, const std::set<std::uint64_t>& due) {
  const Assembly& a = look.array();
  ASSERT_FALSE(a.clean);
  const auto open = open_for_reading(a, {}, kernels());
  ASSERT_TRUE(open) << open.error().text;
  EXPECT_EQ(sectors_of(open->uncertain), lost_sectors(a.slots(), lost, a.array().chunk.count(), due));
  EXPECT_EQ(finding(open->findings, "uncertain-extents") != nullptr, !open->uncertain.empty());
}

TEST(OpenArray, NamesAllDataOfAMissingMemberWhereThereIsNoBitmap) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-crash");
  EXPECT_TRUE(open_for_reading(look_at(images).array(), {}, kernels())->uncertain.empty())
      << "nothing is reconstructed";
  for (std::size_t lost = 0; lost < 4; ++lost) {
    const test::Look look = look_without(images, {lost});
    const MemberDescription& d = look.array().array();
    ASSERT_EQ(d.layout, 2U);
    std::set<std::uint64_t> due;
    for (std::uint64_t at = 0; at < d.size.count() / d.chunk.count() * d.chunk.count(); ++at) {
      due.insert(due.end(), at);
    }
    expect_uncertain(look, lost, due);
  }
}

TEST(OpenArray, NothingOfACleanArrayIsUncertain) {
  const test::Look look = look_without(load_fixture("1.2-raid5-4-none-clean"), {1});
  const auto open = open_for_reading(look.array(), {}, kernels());
  ASSERT_TRUE(open);
  EXPECT_TRUE(open->degraded);
  EXPECT_TRUE(open->uncertain.empty());
}

TEST(OpenArray, NamesOnlyWhatABitmapCallsDirty) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-classic-crash");
  for (std::size_t lost = 0; lost < 4; ++lost) {
    const test::Look look = look_without(images, {lost});
    const MemberDescription& d = look.array().array();
    std::set<std::uint64_t> due;
    for (std::size_t i = 0; i < 4; ++i) {
      if (i != lost) {
        due.merge(classic_due(images[i], *d.bitmap_offset_bytes, d.size.count() / d.chunk.count() * d.chunk.count()));
      }
    }
    ASSERT_FALSE(due.empty());
    ASSERT_LT(due.size(), d.size.count());
    expect_uncertain(look, lost, due);
  }
}

TEST(OpenArray, SaysThatABadBitmapIsIgnored) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-classic-clean");
  const test::Look whole = look_at(images);
  for (Image& image : images) {
    image[*whole.array().array().bitmap_offset_bytes] ^= std::byte{1};
  }
  const test::Look look = look_at(images);
  EXPECT_EQ(look.array().verdict, Verdict::needs_force);
  const auto open = open_for_reading(look.array(), {}, kernels());
  ASSERT_TRUE(open);
  EXPECT_NE(finding(open->findings, "bitmap-ignored"), nullptr);
  EXPECT_EQ(content(open->array), content(open_for_reading(whole.array(), {}, kernels())->array));
}

TEST(OpenArray, DoesNotReadARecoveringMemberBeyondItsMark) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const auto expected = content(open_for_reading(look_at(images).array(), {}, kernels())->array);
  const MemberDescription d = look_at(images).array().array();
  const Sectors mark = d.chunk + Sectors(8);
  set_field(images[2], offsetof(md1::Superblock, feature_map), le32(md1::feature_recovery_offset));
  set_field(images[2], offsetof(md1::Superblock, recovery_offset), le64(mark.count()));
  const std::uint64_t data_end = (d.data_offset + d.size).bytes();
  for (std::uint64_t at = (d.data_offset + mark).bytes(); at < data_end; ++at) {
    images[2][at] ^= std::byte{0x33};
  }
  const test::Look look = look_at(images);
  const auto open = open_for_reading(look.array(), {}, kernels());
  ASSERT_TRUE(open);
  EXPECT_TRUE(open->degraded);
  EXPECT_EQ(content(open->array), expected);
}

TEST(OpenArray, NamesBadBlocksOfADirtyArray) {
  std::vector<test::Image> images = test::load_fixture("1.2-raid6-5-none-bad-blocks");
  EXPECT_TRUE(open_for_reading(test::look_at(images).array(), {}, kernels())->uncertain.empty());
  for (test::Image& image : images) {
    auto source = MemoryDevice(image);
    auto candidate = inspect("m", "", source, source);
    ASSERT_TRUE(candidate);
    const Metadata& superblock = *candidate->chosen()->metadata;
    SuperblockChange dirty;
    dirty.resync_offset = Sectors();
    const auto bytes = superblock.changed(dirty)->encode();
    std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(superblock.offset_bytes()));
  }
  const test::Look look = test::look_at(images);
  ASSERT_FALSE(look.array().clean);
  const Layout layout = *workable_layout(look.array());
  // Members 1 and 3 list 16 sectors from 2080 and 1 from 3000, counted from their starts.
  std::set<std::uint64_t> expected;
  const auto add = [&](std::uint32_t slot, std::uint64_t sector) {
    const Sectors component = Sectors(sector) - look.array().in_slot(slot)->description().data_offset;
    if (const auto at = layout.array_sector({slot, component})) {
      expected.insert(at->count());
    }
  };
  for (std::uint64_t i = 0; i < 16; ++i) {
    add(1, 2080 + i);
  }
  add(3, 3000);
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(sectors_of(open_for_reading(look.array(), {}, kernels())->uncertain), expected);
}

}  // namespace
}  // namespace mdtool
