// SPDX-License-Identifier: GPL-2.0-or-later
// First superblocks and bitmaps against bytes that mdadm 4.6 and the kernel wrote.
#include "libmeta/new_array.h"

#include <gtest/gtest.h>

#include <map>

#include "libmeta/bitmap/classic.h"
#include "libmeta/bitmap/lockless.h"
#include "libmeta/bitmap/new_bitmap.h"
#include "libmeta/ondisk.h"
#include "tests/meta/bitmap_member.h"

namespace mdtool {
namespace {

using Words = std::map<std::size_t, std::uint32_t>;

// What is neither zero nor left out, by byte offset.
Words words_of(const std::vector<std::byte>& bytes, const std::vector<std::size_t>& left_out = {}) {
  Words words;
  for (std::size_t at = 0; at + sizeof(le32) <= bytes.size(); at += sizeof(le32)) {
    const std::uint32_t word = *load<le32>(bytes, at);
    if (word != 0 && std::find(left_out.begin(), left_out.end(), at) == left_out.end()) {
      words[at] = word;
    }
  }
  return words;
}

NewArray raid5() {
  NewArray array;
  array.metadata = "1.2";
  array.set_uuid = *Uuid::parse("208a3540:7ab51c4a:46692033:745ae093");
  array.set_name = "labhost:one";
  array.ctime_seconds = 0x6b00df5d;
  array.level = 5;
  array.layout = 2;
  array.chunk = Sectors(128);
  array.raid_disks = 3;
  array.size = Sectors(0x1f800);
  array.events = 0x14;
  array.dev_roles = {0, 1, role_spare, 2};
  array.bitmap_offset_sectors = 8;
  return array;
}

NewArrayMember first_member() {
  NewArrayMember member;
  member.member_bytes = std::uint64_t{64} << 20;
  member.device_uuid = *Uuid::parse("73b695d6:0d00e4a3:12a360a1:d7a91c30");
  member.data_offset = Sectors(0x800);
  member.data_size = Sectors(0x1f800);
  member.bad_block_log_offset_sectors = 16;
  return member;
}

std::unique_ptr<Metadata> made(const NewArray& array, const NewArrayMember& member) {
  auto superblock = new_superblock(array, member);
  EXPECT_TRUE(superblock) << superblock.error().text;
  return superblock ? std::move(*superblock) : nullptr;
}

std::string refusal(const NewArray& array, const NewArrayMember& member) {
  const auto superblock = new_superblock(array, member);
  EXPECT_FALSE(superblock);
  EXPECT_TRUE(superblock || superblock.error().kind == ErrorKind::usage);
  return superblock ? "" : superblock.error().text;
}

// The worked example of the format's description: a member that the kernel had used since it was made.
TEST(Version1, EveryWordIsAsOnAKernelsMember) {
  SuperblockChange later;
  later.utime_seconds = 0x6b00df76;
  const auto changed = made(raid5(), first_member())->changed(later)->with_field("logical_block_size", "512");
  ASSERT_TRUE(changed);
  const std::unique_ptr<Metadata>& superblock = *changed;
  Words expected{{0x00, 0xa92b4efc}, {0x04, 1},          {0x08, 1},          {0x10, 0x40358a20}, {0x14, 0x4a1cb57a},
                 {0x18, 0x33206946}, {0x1c, 0x93e05a74}, {0x20, 0x6862616c}, {0x24, 0x3a74736f}, {0x28, 0x656e6f},
                 {0x40, 0x6b00df5d}, {0x48, 5},          {0x4c, 2},          {0x50, 0x1f800},    {0x58, 0x80},
                 {0x5c, 3},          {0x60, 8},          {0x80, 0x800},      {0x88, 0x1f800},    {0x90, 8},
                 {0xa8, 0xd695b673}, {0xac, 0xa3e4000d}, {0xb0, 0xa160a312}, {0xb4, 0x301ca9d7}, {0xb8, 0x80000},
                 {0xbc, 0x10},       {0xc0, 0x6b00df76}, {0xc8, 0x14},       {0xd0, 0xffffffff}, {0xd4, 0xffffffff},
                 {0xd8, 0xbfc3531a}, {0xdc, 0x80},       {0xe0, 512},        {0x100, 0x10000},   {0x104, 0x2ffff}};
  for (std::size_t at = 0x108; at < 0x200; at += 4) {
    expected[at] = 0xffffffff;
  }
  EXPECT_EQ(words_of(superblock->encode()), expected);
  EXPECT_EQ(superblock->offset_bytes(), 4096U);
  EXPECT_TRUE(superblock->verify(first_member().member_bytes).empty());
}

TEST(Version1, APplSharesTheBitmapsField) {
  NewArray array = raid5();
  array.bitmap_offset_sectors.reset();
  array.ppl = NewArray::Ppl{8, 2048};
  const MemberDescription d = made(array, first_member())->describe();
  ASSERT_TRUE(d.ppl);
  EXPECT_FALSE(d.bitmap_offset_bytes);
  EXPECT_EQ(d.ppl->length_bytes, 2048U * 512);
  EXPECT_EQ(d.ppl->offset_bytes, 8192U);
  array.metadata = "1.0";
  array.ppl = NewArray::Ppl{-2056, 2048};
  EXPECT_EQ(words_of(made(array, first_member())->encode())[0x60], 0x0800f7f8U);
}

TEST(Version1, RaidZeroNamesItsLayoutByAFeature) {
  NewArray array = raid5();
  array.level = 0;
  array.layout = 1;
  array.bitmap_offset_sectors.reset();
  EXPECT_EQ(words_of(made(array, first_member())->encode())[0x08], 0x1000U);
  array.layout = 0;  // "dangerous": none said
  EXPECT_FALSE(words_of(made(array, first_member())->encode()).contains(0x08));
}

TEST(Version1, RolesFillWholeSectors) {
  NewArray array = raid5();
  for (const auto& [roles, bytes] :
       std::map<std::size_t, std::size_t>{{1, 512}, {128, 512}, {129, 1024}, {1920, 4096}}) {
    array.dev_roles.assign(roles, role_spare);
    const auto superblock = made(array, first_member());
    EXPECT_EQ(superblock->encode().size(), bytes);
    EXPECT_EQ(superblock->describe().dev_roles.size(), (bytes - 256) / 2);
  }
  array.dev_roles.assign(1921, role_spare);
  EXPECT_NE(refusal(array, first_member()).find("1920"), std::string::npos);
}

TEST(Version1, WhatDoesNotFitIsRefused) {
  NewArray array = raid5();
  array.set_name = std::string(32, 'n');
  EXPECT_EQ(made(array, first_member())->describe().set_name, array.set_name);
  array.set_name += 'n';
  EXPECT_NE(refusal(array, first_member()).find("name"), std::string::npos);

  NewArrayMember tiny = first_member();
  tiny.member_bytes = 8191;
  EXPECT_NE(refusal(raid5(), tiny).find("8191"), std::string::npos);
  NewArrayMember stranger = first_member();
  stranger.dev_number = 4;
  EXPECT_FALSE(refusal(raid5(), stranger).empty());
  array = raid5();
  array.metadata = "1.3";
  EXPECT_NE(refusal(array, first_member()).find("1.3"), std::string::npos);
}

NewArray old_raid5() {
  NewArray array;
  array.metadata = "0.90";
  array.set_uuid = *Uuid::parse("75cc2c04:18d3c153:ddf95339:50ab75f9");
  array.ctime_seconds = 0x6b0188a0;
  array.level = 5;
  array.layout = 2;
  array.chunk = Sectors(1024);
  array.raid_disks = 3;
  array.size = Sectors(0x4e00 * 2);
  array.dev_roles = {0, role_spare, 2, role_spare};
  array.bitmap_offset_sectors = 8;
  return array;
}

// mdadm 4.6 --create -e 0.90 --level=5 --raid-devices=3 --spare-devices=1 --bitmap=internal A missing B C, with C, but
// for the checksum (0x98) and the words that say which device each is.
TEST(Version090, EveryWordIsAsMdadms) {
  NewArrayMember spare;
  spare.member_bytes = std::uint64_t{20} << 20;
  spare.dev_number = 3;
  const auto superblock = made(old_raid5(), spare);
  const Words expected{{0x0, 0xa92b4efc},  {0x8, 0x5a},        {0x14, 0x75cc2c04}, {0x18, 0x6b0188a0},
                       {0x1c, 0x5},        {0x20, 0x4e00},     {0x24, 0x4},        {0x28, 0x3},
                       {0x34, 0x18d3c153}, {0x38, 0xddf95339}, {0x3c, 0x50ab75f9}, {0x80, 0x6b0188a0},
                       {0x84, 0x101},      {0x88, 0x2},        {0x8c, 0x3},        {0x90, 0x1},
                       {0x94, 0x1},        {0x9c, 0x1},        {0x100, 0x2},       {0x104, 0x80000},
                       {0x210, 0x6},       {0x300, 0x2},       {0x30c, 0x2},       {0x310, 0x6},
                       {0x380, 0x3},       {0x38c, 0x3},       {0xf80, 0x3},       {0xf8c, 0x3}};
  EXPECT_EQ(words_of(superblock->encode(), {0x98}), expected);
  EXPECT_EQ(superblock->offset_bytes(), 40832U * 512);
  EXPECT_TRUE(superblock->verify(spare.member_bytes).empty());  // the checksum among others
  EXPECT_EQ(superblock->describe().role, Role::spare);
}

TEST(Version090, DirtyIsNotClean) {
  NewArray array = old_raid5();
  NewArrayMember member;
  member.member_bytes = std::uint64_t{20} << 20;
  EXPECT_TRUE(made(array, member)->describe().clean());
  array.resync_offset = Sectors(0);
  EXPECT_EQ(made(array, member)->describe().resync_offset, Sectors(0));
}

TEST(Version090, WhatDoesNotFitIsRefused) {
  NewArrayMember member;
  member.member_bytes = std::uint64_t{20} << 20;
  NewArray array = old_raid5();
  array.dev_roles.assign(28, role_spare);
  EXPECT_NE(refusal(array, member).find("27"), std::string::npos);
  array = old_raid5();
  array.size = Sectors(std::uint64_t{1} << 33);
  EXPECT_NE(refusal(array, member).find("4 TiB"), std::string::npos);
  array = old_raid5();
  array.ctime_seconds = std::uint64_t{1} << 32;
  EXPECT_FALSE(refusal(array, member).empty());
  member.member_bytes = 128 * 512;
  EXPECT_FALSE(refusal(old_raid5(), member).empty());
}

bitmap::NewBitmap a_bitmap(Sectors sync_size, std::uint64_t chunk_bytes) {
  bitmap::NewBitmap bitmap;
  bitmap.uuid = *Uuid::parse("12f1b726:beaf253f:fa8e9516:80af73a4");
  bitmap.events = 1;
  bitmap.sync_size = sync_size;
  bitmap.chunk_bytes = chunk_bytes;
  return bitmap;
}

bitmap::Expected expected_of(const bitmap::NewBitmap& bitmap) {
  bitmap::Expected expected;
  expected.uuid = bitmap.uuid;
  expected.events = bitmap.events;
  expected.sync_size = bitmap.sync_size;
  expected.room_bytes = 128 << 10;
  return expected;
}

// mdadm 4.6 --create --bitmap=lockless on members of 300 MiB, apart from the events.
TEST(NewBitmap, FirstUseHeaderIsAsMdadms) {
  bitmap::NewBitmap bitmap = a_bitmap(Sectors(0x95800), bitmap::preferred_chunk_bytes);
  bitmap.sectors_reserved = bitmap::lockless_room_sectors;
  Words expected{{0, 0x6d746962}, {4, 6},        {8, 0x26b7f112}, {12, 0x3f25afbe}, {16, 0x16958efa}, {20, 0xa473af80},
                 {24, 1},         {40, 0x95800}, {48, 8},         {52, 0x4000000},  {56, 5},          {64, 0x100}};
  for (std::size_t at = 256; at < 4096; at += 4) {
    expected[at] = 0xffffffff;
  }
  EXPECT_EQ(words_of(bitmap::first_use_lockless(bitmap, bitmap::Content::unknown)), expected);
  expected[48] = 0x18;
  EXPECT_EQ(words_of(bitmap::first_use_lockless(bitmap, bitmap::Content::assumed_clean)), expected);
}

TEST(NewBitmap, ClassicBitsAndPadding) {
  for (const std::uint64_t sectors : {1U, 128U, 128U * 7, 128U * 8 + 1, 128U * 8 * 3841}) {
    const bitmap::NewBitmap bitmap = a_bitmap(Sectors(sectors), 64 << 10);
    for (const bitmap::Bits bits : {bitmap::Bits::set, bitmap::Bits::clear}) {
      const std::vector<std::byte> area = bitmap::new_classic(bitmap, bits);
      EXPECT_EQ(area.size() % 4096, 0U);
      EXPECT_EQ(area.size(), bitmap::classic_area_bytes(bitmap.sync_size, bitmap.chunk_bytes));
      const auto read = bitmap::Classic::read(testing::BytesSource(area), 0, expected_of(bitmap));
      ASSERT_TRUE(read) << read.error().text;
      EXPECT_EQ(read->chunks(), (sectors + 127) / 128);
      EXPECT_EQ(read->set_count(), bits == bitmap::Bits::set ? read->chunks() : 0);
      EXPECT_TRUE(read->verify(expected_of(bitmap)).empty());
      // Ones behind the last bit.
      const std::uint64_t last_byte = 256 + read->chunks() / 8;
      const auto padding = static_cast<std::byte>(0xff << read->chunks() % 8 & 0xff);
      EXPECT_EQ(area[last_byte] & padding, padding);
      EXPECT_EQ(std::count(area.begin() + static_cast<std::ptrdiff_t>(last_byte) + 1, area.end(), std::byte{0xff}),
                static_cast<std::ptrdiff_t>(area.size() - last_byte - 1));
    }
  }
}

TEST(NewBitmap, LocklessIsValidAtOnce) {
  bitmap::NewBitmap bitmap = a_bitmap(Sectors(128 * 3073 - 5), 64 << 10);
  bitmap.sectors_reserved = bitmap::lockless_room_sectors;
  const std::vector<std::byte> area = bitmap::new_lockless(bitmap, bitmap::ChunkState::clean_unwritten);
  EXPECT_EQ(area.size(), 8192U);  // a byte beyond the first block
  EXPECT_EQ(bitmap::lockless_area_bytes(3073), 8192U);
  EXPECT_EQ(bitmap::lockless_area_bytes(3072), 4096U);
  const auto read = bitmap::Lockless::read(testing::BytesSource(area), 0, expected_of(bitmap));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_FALSE(read->first_use());
  EXPECT_EQ(read->chunk(), Sectors(128));
  EXPECT_EQ(read->chunks(), 3073U);
  EXPECT_EQ(read->counts().by_state[static_cast<std::size_t>(bitmap::ChunkState::clean_unwritten)], 3073U);
  EXPECT_TRUE(read->verify(expected_of(bitmap)).empty());
  EXPECT_EQ(read->header().daemon_sleep.value(), 30U);
}

TEST(NewBitmap, DefaultsOverSizes) {
  constexpr std::uint64_t mib = std::uint64_t{1} << 20;
  constexpr std::uint64_t tib = std::uint64_t{1} << 40;
  const auto chunk = [](std::uint64_t bytes, std::uint64_t room) {
    return bitmap::default_classic_chunk_bytes(Sectors::from_bytes(bytes), room);
  };
  EXPECT_EQ(chunk(64 * mib, 4096), 64 * mib);
  EXPECT_EQ(chunk(2 * tib, 4096), 128 * mib);  // 30720 bits
  EXPECT_EQ(chunk(3 * tib, 128 << 10), 64 * mib);
  EXPECT_EQ(chunk(64 * tib, 128 << 10), 128 * mib);
  // mdadm counts a chunk too many where the size is whole chunks: one less is enough for the next size.
  const std::uint64_t most = (4096 - 256) * 8;
  EXPECT_EQ(bitmap::min_classic_chunk_bytes(Sectors(most * 8 - 1), 4096), 4096U);
  EXPECT_EQ(bitmap::min_classic_chunk_bytes(Sectors(most * 8), 4096), 8192U);

  const auto cut = [](std::uint64_t sectors) { return *bitmap::default_lockless_geometry(Sectors(sectors), 256); };
  EXPECT_EQ(cut(128 * 131072U), (bitmap::Geometry{Sectors(128), 131072}));
  EXPECT_EQ(cut(128 * 131072U + 1), (bitmap::Geometry{Sectors(256), 65537}));
  EXPECT_FALSE(bitmap::default_lockless_geometry(Sectors::max(), 256));
}

}  // namespace
}  // namespace mdtool
