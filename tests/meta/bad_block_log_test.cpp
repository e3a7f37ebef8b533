// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md1/bad_block_log.h"

#include <gtest/gtest.h>

#include "tests/meta/superblock_builder.h"

namespace mdtool::testing {
namespace {

using md1::BadBlockLog;
using md1::BadRange;

std::vector<std::byte> page(const std::vector<std::uint64_t>& entries) {
  std::vector<std::byte> bytes(4096, std::byte{0xff});
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const le64 entry = entries[i];
    std::memcpy(bytes.data() + 8 * i, &entry, sizeof(entry));
  }
  return bytes;
}

std::uint64_t entry(std::uint64_t sector, std::uint64_t length) {
  return (sector << 10) | length;
}

BadBlockLog log_of(const std::vector<std::uint64_t>& entries, std::uint8_t shift = 0) {
  return BadBlockLog::decode(page(entries), shift).value();
}

constexpr std::uint64_t member_bytes = 1U << 30;

TEST(BadBlockLog, ReadsWhatTheKernelWrote) {
  // A bad range of 600 sectors from 50000 on.
  const BadBlockLog log = log_of({0x30d4200, 0x3154058});
  EXPECT_EQ(log.ranges(), (std::vector<BadRange>{{Sectors(50000), Sectors(600)}}));
  EXPECT_EQ(ids(log.verify(member_bytes)), "");
  EXPECT_EQ(std::get<std::uint64_t>(log.fields()[0].value), 50000U);
  EXPECT_EQ(std::get<std::uint64_t>(log.fields()[1].value), 512U);
  EXPECT_EQ(log.fields().size(), 4U);
}

TEST(BadBlockLog, AllOnesEndTheList) {
  EXPECT_TRUE(log_of({}).empty());
  const BadBlockLog log = log_of({entry(8, 8), ~std::uint64_t{0}, entry(100, 8)});
  EXPECT_EQ(log.ranges().size(), 1U);
  EXPECT_FALSE(log.covers(Sectors(100), Sectors(1)));
}

TEST(BadBlockLog, CoversAnyOverlapAndNoNeighbour) {
  const BadBlockLog log = log_of({entry(100, 8), entry(200, 8)});
  EXPECT_FALSE(log.covers(Sectors(0), Sectors(100)));
  EXPECT_TRUE(log.covers(Sectors(0), Sectors(101)));
  EXPECT_TRUE(log.covers(Sectors(107), Sectors(1)));
  EXPECT_FALSE(log.covers(Sectors(108), Sectors(92)));
  EXPECT_TRUE(log.covers(Sectors(108), Sectors(93)));
  EXPECT_TRUE(log.covers(Sectors(0), Sectors::max()));
  EXPECT_FALSE(log.covers(Sectors(104), Sectors(0)));
  EXPECT_FALSE(log.covers(Sectors::max(), Sectors::max()));
}

TEST(BadBlockLog, SortsAndMerges) {
  const BadBlockLog log = log_of({entry(200, 10), entry(100, 50), entry(205, 20), entry(120, 5)});
  EXPECT_EQ(log.ranges(), (std::vector<BadRange>{{Sectors(100), Sectors(50)}, {Sectors(200), Sectors(25)}}));
  EXPECT_EQ(ids(log.verify(member_bytes)), "bad-block-order ");
}

TEST(BadBlockLog, UnitsAreShifted) {
  const BadBlockLog log = log_of({entry(100, 2)}, 3);
  EXPECT_EQ(log.ranges(), (std::vector<BadRange>{{Sectors(800), Sectors(16)}}));
}

TEST(BadBlockLog, ImpossibleUnitsAreRefusedAndLargeOnesDoNotWrap) {
  EXPECT_FALSE(BadBlockLog::decode(page({}), 64).has_value());
  const BadBlockLog log = log_of({entry(3, 1023), entry(1, 1)}, 63);
  EXPECT_EQ(log.ranges().size(), 1U);
  EXPECT_EQ(log.ranges()[0].first, Sectors(std::uint64_t{1} << 63));
  EXPECT_NE(find(log.verify(member_bytes), "bad-block-beyond-member"), nullptr);
}

TEST(BadBlockLog, LengthZeroRefusesTheMember) {
  const Findings findings = log_of({entry(100, 8), entry(120, 0)}).verify(member_bytes);
  EXPECT_EQ(find(findings, "bad-block-length")->effect, Effect::refuses_member);
  EXPECT_EQ(find(findings, "bad-block-length")->field, "badblocks[1]");
}

TEST(BadBlockLog, EntriesBeyondTheMemberAreNoticed) {
  const std::uint64_t sectors = member_bytes / 512;
  EXPECT_EQ(ids(log_of({entry(sectors - 8, 8)}).verify(member_bytes)), "");
  EXPECT_EQ(ids(log_of({entry(sectors - 7, 8)}).verify(member_bytes)), "bad-block-beyond-member ");
}

TEST(BadBlockLog, AFullPageHasNoEndMark) {
  std::vector<std::uint64_t> entries;
  for (std::uint64_t i = 0; i < 512; ++i) {
    entries.push_back(entry(1000 * i, 8));
  }
  EXPECT_EQ(log_of(entries).ranges().size(), 512U);
}

TEST(BadBlockLog, EncodesWhatItRead) {
  const std::vector<std::byte> bytes = page({entry(8, 8), ~std::uint64_t{0}, entry(100, 8), 0});
  EXPECT_EQ(BadBlockLog::decode(bytes, 0)->encode(), bytes);
}

TEST(BadBlockLog, IsReadFromItsPlaceAndBounded) {
  SparseMember member(1U << 20);
  member.put(8192, page({entry(100, 8)}));
  EXPECT_EQ(BadBlockLog::read(member, {8192, 65535, 0, true})->encode().size(), 4096U);
  EXPECT_TRUE(BadBlockLog::read(member, {8192, 8, 0, true})->covers(Sectors(100), Sectors(8)));
  EXPECT_FALSE(BadBlockLog::read(member, {(1U << 20) - 512, 8, 0, true}).has_value());
  EXPECT_FALSE(BadBlockLog::read(member, {~std::uint64_t{0}, 8, 0, true}).has_value());
}

TEST(BadBlockLog, EveryPossibleByteIsSurvived) {
  for (unsigned value = 0; value < 256; ++value) {
    const std::vector<std::byte> bytes(4096, static_cast<std::byte>(value));
    for (std::uint8_t shift : {std::uint8_t{0}, std::uint8_t{9}, std::uint8_t{63}}) {
      const BadBlockLog log = BadBlockLog::decode(bytes, shift).value();
      EXPECT_EQ(log.encode(), bytes);
      EXPECT_EQ(log.verify(member_bytes).empty(), value == 255) << value;
    }
  }
}

}  // namespace
}  // namespace mdtool::testing
