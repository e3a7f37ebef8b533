// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <limits>

#include "libmeta/md1/superblock.h"
#include "tests/meta/superblock_builder.h"

namespace mdtool::testing {
namespace {

using md1::feature_bad_blocks;
using md1::feature_bitmap_offset;
using md1::feature_journal;
using md1::feature_multiple_ppls;
using md1::feature_new_offset;
using md1::feature_ppl;
using md1::feature_raid0_layout;
using md1::feature_recovery_bitmap;
using md1::feature_recovery_offset;
using md1::feature_replacement;
using md1::feature_reshape_active;
using md1::feature_reshape_backwards;

void set_ppl(md1::Superblock& sb, std::int16_t offset, std::uint16_t size) {
  sb.bitmap_offset = std::bit_cast<sle32>(md1::PplPlace{offset, size});
}

// Member 0 of a 3-disk RAID-5, 64 MiB, as a 7.2 kernel wrote it: non-zero words by byte offset.
SparseMember real_member() {
  const std::map<std::size_t, std::uint32_t> words{
      {0x00, 0xa92b4efc}, {0x04, 1},          {0x08, 1},          {0x10, 0x40358a20}, {0x14, 0x4a1cb57a},
      {0x18, 0x33206946}, {0x1c, 0x93e05a74}, {0x20, 0x6862616c}, {0x24, 0x3a74736f}, {0x28, 0x656e6f},
      {0x40, 0x6b00df5d}, {0x48, 5},          {0x4c, 2},          {0x50, 0x1f800},    {0x58, 0x80},
      {0x5c, 3},          {0x60, 8},          {0x80, 0x800},      {0x88, 0x1f800},    {0x90, 8},
      {0xa8, 0xd695b673}, {0xac, 0xa3e4000d}, {0xb0, 0xa160a312}, {0xb4, 0x301ca9d7}, {0xb8, 0x80000},
      {0xbc, 0x10},       {0xc0, 0x6b00df76}, {0xc8, 0x14},       {0xd0, 0xffffffff}, {0xd4, 0xffffffff},
      {0xd8, 0xbfc3531a}, {0xdc, 0x80},       {0xe0, 0x200},      {0x100, 0x10000},   {0x104, 0x2ffff}};
  std::vector<std::byte> bytes(512);
  std::fill(bytes.begin() + 0x108, bytes.end(), std::byte{0xff});
  for (const auto& [offset, value] : words) {
    const le32 word = value;
    std::memcpy(bytes.data() + offset, &word, sizeof(word));
  }
  SparseMember member(64U << 20);
  member.put(4096, bytes);
  return member;
}

TEST(Md1Superblock, ReadsWhatTheKernelWrote) {
  const SparseMember member = real_member();
  const auto metadata = md1::version_1_2().read(member, 4096).value();
  EXPECT_EQ(ids(metadata->verify(member.size_bytes())), "");
  const MemberDescription d = metadata->describe();
  EXPECT_EQ(d.metadata, "1.2");
  EXPECT_EQ(d.set_uuid.text(), "208a3540:7ab51c4a:46692033:745ae093");
  EXPECT_EQ(d.set_name, "labhost:one");
  EXPECT_EQ(d.level, 5);
  EXPECT_EQ(d.chunk, Sectors(128));
  EXPECT_EQ(d.raid_disks, 3U);
  EXPECT_EQ(d.events, 20U);
  EXPECT_TRUE(d.clean());
  EXPECT_TRUE(d.in_sync());
  EXPECT_EQ(d.slot, 0U);
  EXPECT_EQ(d.dev_roles.size(), 128U);
  EXPECT_EQ(d.dev_roles[3], 2);  // dev_number 3 has slot 2
  EXPECT_EQ(d.dev_roles[2], role_spare);
  EXPECT_EQ(d.bitmap_offset_bytes, 16U * 512);
  EXPECT_EQ(d.bitmap_room_bytes, (2048U - 16) * 512);  // the empty log at sector 24 is no limit
  EXPECT_EQ(d.bad_block_log->offset_bytes, 24U * 512);
  EXPECT_FALSE(d.bad_block_log->not_empty);
  EXPECT_EQ(d.logical_block_size, 512U);
  EXPECT_EQ(metadata->encode().size(), 512U);
}

TEST(Md1Superblock, TheWorkedExampleHasItsChecksum) {
  const auto changed = md1::version_1_2().read(real_member(), 4096).value()->changed({});
  EXPECT_EQ(load<le32>(changed->encode(), 216)->value(), 0xbfc3531aU);
}

class EveryMinor : public ::testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Versions, EveryMinor, ::testing::Values(0U, 1U, 2U));

TEST_P(EveryMinor, IsFoundAndSound) {
  const Md1Member made(GetParam());
  const auto found = made.format().probe(made.member());
  EXPECT_EQ(found.value(), std::vector<std::uint64_t>{made.super_offset().bytes()});
  EXPECT_EQ(ids(made.verify()), "");
  EXPECT_EQ(made.read()->describe().metadata, made.format().name());
  EXPECT_EQ(made.read()->describe().slot, 1U);
}

TEST_P(EveryMinor, TimesLoseTheirMicroseconds) {
  const MemberDescription d = Md1Member(GetParam()).read()->describe();
  EXPECT_EQ(d.ctime_seconds, 1700000000U);
  EXPECT_EQ(d.utime_seconds, 1700000001U);
}

TEST_P(EveryMinor, EncodesOnlyItsOwnSectors) {
  const Md1Member made(GetParam());
  const std::vector<std::byte> all = made.superblock();
  EXPECT_EQ(made.read()->encode(), std::vector<std::byte>(all.begin(), all.begin() + 512));
}

TEST(Md1Superblock, PlaceOf10IsAlignedBackFromTheEnd) {
  Md1Member made(0);
  SparseMember member((member_sectors + 7) * 512 + 300);
  member.put(made.super_offset().bytes(), made.superblock());
  EXPECT_EQ(md1::version_1_0().probe(member)->size(), 1U);
  member.resize((member_sectors + 8) * 512);
  EXPECT_TRUE(md1::version_1_0().probe(member)->empty());
}

TEST(Md1Superblock, IoSizeIsRoundedUpToSectorsAndBounded) {
  Md1Member made(2);
  made.sb.max_dev = 129;
  made.roles.resize(129, role_spare);
  EXPECT_EQ(made.read()->encode().size(), 1024U);
  EXPECT_EQ(find(made.verify(), "superblock-checksum"), nullptr);  // 2 bytes beyond whole words
  made.sb.max_dev = 0xffffffff;
  EXPECT_EQ(made.read()->encode().size(), 4096U);
  EXPECT_EQ(made.read()->describe().dev_roles.size(), 1920U);
}

TEST(Md1Superblock, BitmapOf10MayLieOnEitherSide) {
  Md1Member made(0);
  const std::uint64_t superblock = made.super_offset().bytes();
  EXPECT_EQ(made.read()->describe().bitmap_offset_bytes, superblock - 24 * 512);
  EXPECT_EQ(made.read()->describe().bitmap_room_bytes, 24U * 512);
  made.sb.feature_map = feature_bitmap_offset | feature_bad_blocks;
  EXPECT_EQ(made.read()->describe().bitmap_room_bytes, 16U * 512);  // a log in use is a limit
  made.sb.bitmap_offset = 2;
  EXPECT_EQ(made.read()->describe().bitmap_offset_bytes, superblock + 1024);
  EXPECT_EQ(made.read()->describe().bitmap_room_bytes, 3072U);
}

TEST(Md1Superblock, BitmapOutsideOfTheMemberIsNotFollowed) {
  Md1Member made(2);
  for (std::int32_t offset : {-9, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()}) {
    made.sb.bitmap_offset = offset;
    EXPECT_FALSE(made.read()->describe().bitmap_offset_bytes);
    EXPECT_EQ(find(made.verify(), "bitmap-place")->effect, Effect::refuses_array);
  }
}

TEST(Md1Superblock, BitmapInsideOfTheDataHasNoRoomAndOverlaps) {
  Md1Member made(2);
  made.sb.bitmap_offset = 4000;
  EXPECT_EQ(made.read()->describe().bitmap_room_bytes, 0U);
  EXPECT_EQ(find(made.verify(), "areas-overlap")->effect, Effect::stops_writing);
}

TEST(Md1Superblock, RolesFollowDevNumber) {
  Md1Member made(2);
  const auto role = [&](std::uint16_t value) {
    made.roles[1] = value;
    return made.read()->describe().role;
  };
  EXPECT_EQ(role(role_spare), Role::spare);
  EXPECT_EQ(role(role_faulty), Role::faulty);
  EXPECT_EQ(role(role_journal), Role::journal);
  EXPECT_EQ(role(4), Role::spare);  // only slots 0..3 exist
  EXPECT_EQ(find(made.verify(), "role-out-of-range")->severity, Severity::warning);
  EXPECT_EQ(role(3), Role::active);
  made.sb.dev_number = 128;
  EXPECT_EQ(made.read()->describe().role, Role::spare);
  EXPECT_FALSE(made.read()->describe().slot);
  EXPECT_NE(find(made.verify(), "dev-number"), nullptr);
}

TEST(Md1Superblock, ShrinkingKeepsTheSlotsBefore) {
  Md1Member made(2);
  made.roles[1] = 4;
  made.sb.feature_map = feature_reshape_active;
  made.sb.delta_disks = -1;
  EXPECT_EQ(made.read()->describe().slot, 4U);
  EXPECT_TRUE(made.read()->describe().reshape->backwards);
}

TEST(Md1Superblock, ReshapeFieldsNeedTheirFeatures) {
  Md1Member made(2);
  made.sb.reshape_position = 1000;
  made.sb.new_offset = -512;
  EXPECT_FALSE(made.read()->describe().reshape);
  made.sb.feature_map = feature_reshape_active | feature_reshape_backwards;
  EXPECT_EQ(made.read()->describe().reshape->new_offset_sectors, 0);
  EXPECT_TRUE(made.read()->describe().reshape->backwards);
  made.sb.feature_map = feature_reshape_active | feature_new_offset;
  EXPECT_EQ(made.read()->describe().reshape->new_offset_sectors, -512);
  EXPECT_EQ(made.read()->describe().areas[1].offset_bytes, (2048U - 512) * 512);
  made.sb.new_offset = -2046;
  EXPECT_EQ(find(made.verify(), "data-overlaps-superblock")->effect, Effect::refuses_member);
}

TEST(Md1Superblock, RecoveryIsOnlyWhatItsFeatureSays) {
  Md1Member made(2);
  made.sb.recovery_offset = 640;
  EXPECT_TRUE(made.read()->describe().in_sync());
  made.sb.feature_map = feature_recovery_offset | feature_recovery_bitmap | feature_replacement;
  const MemberDescription d = made.read()->describe();
  EXPECT_FALSE(d.in_sync());
  EXPECT_EQ(d.recovery_offset, Sectors(640));
  EXPECT_TRUE(d.recovery_by_bitmap && d.replacement);
  EXPECT_NE(find(made.verify(), "member-recovering"), nullptr);
  EXPECT_NE(find(made.verify(), "member-replacement"), nullptr);
}

TEST(Md1Superblock, AJournalDeviceHasATailAndNoRecovery) {
  Md1Member made(2);
  made.roles[1] = role_journal;
  made.sb.feature_map = feature_journal;
  made.sb.recovery_offset = 800;
  EXPECT_EQ(made.read()->describe().journal_tail, Sectors(800));
  EXPECT_FALSE(made.read()->describe().recovery);
  EXPECT_TRUE(made.read()->describe().has_journal);
  EXPECT_EQ(ids(made.verify()), "");
  made.sb.feature_map = 0;
  EXPECT_EQ(find(made.verify(), "journal-role")->effect, Effect::refuses_member);
}

TEST(Md1Superblock, PplSharesTheBitmapsField) {
  Md1Member made(0);
  made.sb.feature_map = feature_ppl;
  set_ppl(made.sb, -2056, 2048);
  made.sb.data_size = 16384;
  const MemberDescription d = made.read()->describe();
  EXPECT_FALSE(d.bitmap_offset_bytes);
  EXPECT_EQ(d.ppl->offset_bytes, (made.super_offset() - Sectors(2056)).bytes());
  EXPECT_EQ(d.ppl->length_bytes, 2048U * 512);
  EXPECT_EQ(ids(made.verify()), "");
}

TEST(Md1Superblock, RaidZeroHasNoLayoutWithoutItsFeature) {
  Md1Member made(2);
  made.sb.level = 0;
  made.sb.size = 0;
  EXPECT_EQ(made.read()->describe().layout, 0U);
  made.sb.feature_map = feature_raid0_layout;
  EXPECT_EQ(made.read()->describe().layout, 2U);
  EXPECT_EQ(made.read()->describe().areas[1].length_bytes, made.sb.data_size * 512);
}

TEST(Md1Superblock, NameMayFillItsField) {
  Md1Member made(2);
  made.sb.set_name.fill('x');
  EXPECT_EQ(made.read()->describe().set_name, std::string(32, 'x'));
  made.sb.set_name[3] = '\x1b';
  const Findings findings = made.verify();
  ASSERT_NE(find(findings, "set-name-control-bytes"), nullptr);
  EXPECT_EQ(find(findings, "set-name-control-bytes")->text.find('\x1b'), std::string::npos);
}

struct Damage {
  const char* id;
  Effect effect;
  void (*make)(Md1Member&);
};

class EveryRule : public ::testing::TestWithParam<Damage> {};

TEST_P(EveryRule, IsAFindingWithItsEffect) {
  Md1Member made(2);
  GetParam().make(made);
  const Findings findings = made.verify();
  const Finding* finding = find(findings, GetParam().id);
  ASSERT_NE(finding, nullptr) << "found: " << ids(findings);
  EXPECT_EQ(finding->effect, GetParam().effect);
  EXPECT_FALSE(finding->text.empty());
}

const Damage rules[] = {
    {"major-version", Effect::refuses_member, [](Md1Member& m) { m.sb.major_version = 2; }},
    {"max-dev", Effect::refuses_member, [](Md1Member& m) { m.sb.max_dev = 1921; }},
    {"super-offset", Effect::refuses_member, [](Md1Member& m) { m.sb.super_offset = 0; }},
    {"unknown-features", Effect::refuses_member, [](Md1Member& m) { m.sb.feature_map = 0x2000; }},
    {"padding", Effect::refuses_member, [](Md1Member& m) { m.sb.pad0 = 1; }},
    {"padding", Effect::refuses_member, [](Md1Member& m) { m.sb.pad3[27] = 1; }},
    {"data-size", Effect::refuses_member, [](Md1Member& m) { m.sb.data_size = 9; }},
    {"data-beyond-member", Effect::refuses_member, [](Md1Member& m) { m.sb.data_size = member_sectors - 2047; }},
    {"data-beyond-member", Effect::refuses_member, [](Md1Member& m) { m.sb.data_offset = ~std::uint64_t{0}; }},
    {"data-overlaps-superblock", Effect::refuses_member, [](Md1Member& m) { m.sb.data_offset = 8; }},
    {"bad-block-log-place", Effect::refuses_member,
     [](Md1Member& m) {
       m.sb.feature_map = feature_bad_blocks;
       m.sb.bblog_offset = 0;
     }},
    {"bad-block-log-place", Effect::refuses_member,
     [](Md1Member& m) {
       m.sb.feature_map = feature_bad_blocks;
       m.sb.bblog_size = 9;
     }},
    {"bad-block-log-place", Effect::refuses_member,
     [](Md1Member& m) {
       m.sb.feature_map = feature_bad_blocks;
       m.sb.bblog_shift = 64;
     }},
    {"bad-block-log-place", Effect::none, [](Md1Member& m) { m.sb.bblog_size = 9; }},
    {"raid0-layout", Effect::refuses_member, [](Md1Member& m) { m.sb.feature_map = feature_raid0_layout; }},
    {"ppl-conflict", Effect::refuses_member,
     [](Md1Member& m) { m.sb.feature_map = feature_ppl | feature_bitmap_offset; }},
    {"ppl-conflict", Effect::refuses_member,
     [](Md1Member& m) { m.sb.feature_map = feature_ppl | feature_multiple_ppls; }},
    {"ppl-level", Effect::refuses_array,
     [](Md1Member& m) {
       m.sb.feature_map = feature_ppl;
       m.sb.level = 6;
     }},
    {"ppl-place", Effect::refuses_array,
     [](Md1Member& m) {
       m.sb.feature_map = feature_multiple_ppls;
       set_ppl(m.sb, 8, 15);
     }},
    {"areas-overlap", Effect::stops_writing,
     [](Md1Member& m) {
       m.sb.feature_map = feature_multiple_ppls;
       set_ppl(m.sb, 8, 2040);
     }},
    {"journal-with-bitmap", Effect::refuses_array,
     [](Md1Member& m) { m.sb.feature_map = feature_journal | feature_bitmap_offset; }},
    {"level", Effect::refuses_array, [](Md1Member& m) { m.sb.level = 3; }},
    {"layout", Effect::refuses_array, [](Md1Member& m) { m.sb.layout = 6; }},
    {"chunk", Effect::refuses_array, [](Md1Member& m) { m.sb.chunksize = 0; }},
    {"chunk", Effect::refuses_array, [](Md1Member& m) { m.sb.chunksize = 96; }},
    {"raid-disks", Effect::refuses_array, [](Md1Member& m) { m.sb.raid_disks = 0; }},
    {"raid-disks", Effect::refuses_array, [](Md1Member& m) { m.sb.raid_disks = 0xffffffff; }},
    {"size", Effect::stops_writing, [](Md1Member& m) { m.sb.size = member_sectors; }},
    {"logical-block-size", Effect::refuses_array, [](Md1Member& m) { m.sb.logical_block_size = 768; }},
    {"delta-disks", Effect::refuses_array,
     [](Md1Member& m) {
       m.sb.feature_map = feature_reshape_active;
       m.sb.delta_disks = 4;
     }},
    {"recovery-offset-all-ones", Effect::none,
     [](Md1Member& m) {
       m.sb.feature_map = feature_recovery_offset;
       m.sb.recovery_offset = ~std::uint64_t{0};
     }},
    {"member-faulty", Effect::none, [](Md1Member& m) { m.roles[1] = role_faulty; }},
    {"resync-offset-range", Effect::none, [](Md1Member& m) { m.sb.resync_offset = 16385; }},
};
INSTANTIATE_TEST_SUITE_P(Rules, EveryRule, ::testing::ValuesIn(rules));

TEST(Md1Superblock, AWrongChecksumRefusesTheMember) {
  const Md1Member made(2);
  SparseMember member = made.member();
  member.at(4096 + 200) ^= std::byte{1};
  const Findings findings = md1::version_1_2().read(member, 4096).value()->verify(member.size_bytes());
  EXPECT_EQ(find(findings, "superblock-checksum")->effect, Effect::refuses_member);
}

TEST(Md1Superblock, BytesBehindTheRolesAreNotSummed) {
  const Md1Member made(2);
  SparseMember member = made.member();
  member.at(4096 + 512) ^= std::byte{1};
  EXPECT_EQ(ids(md1::version_1_2().read(member, 4096).value()->verify(member.size_bytes())), "");
}

TEST(Md1Superblock, DataOf10MustEndBeforeTheSuperblock) {
  Md1Member made(0);
  made.sb.data_size = made.super_offset().count() + 1;
  EXPECT_EQ(find(made.verify(), "data-beyond-member")->effect, Effect::refuses_member);
  made.sb.data_size = made.super_offset().count();
  made.sb.data_offset = 8192;
  EXPECT_EQ(find(made.verify(), "data-overlaps-superblock")->effect, Effect::refuses_array);
}

TEST(Md1Superblock, ALogInUseUnderTheBitmapOverlaps) {
  Md1Member made(2);
  made.sb.bitmap_offset = 17;
  made.sb.feature_map = feature_bitmap_offset | feature_bad_blocks;
  EXPECT_NE(find(made.verify(), "areas-overlap"), nullptr);
}

TEST(Md1Change, EditsWhatItNamesAndFixesTheSum) {
  const Md1Member made(2);
  SuperblockChange change;
  change.events = 44;
  change.utime_seconds = 1800000000;
  change.resync_offset = Sectors(0);
  const auto changed = made.read()->changed(change);
  EXPECT_EQ(ids(changed->verify(member_sectors * 512)), "");
  const MemberDescription d = changed->describe();
  EXPECT_EQ(d.events, 44U);
  EXPECT_EQ(d.utime_seconds, 1800000000U);
  EXPECT_EQ(load<le64>(changed->encode(), 192)->value() >> 40, 0U);
  EXPECT_EQ(load<le64>(changed->encode(), 64)->value() >> 40, 77U);  // ctime is left alone
  EXPECT_FALSE(d.clean());
}

TEST(Md1Change, NothingAskedIsNothingChanged) {
  const Md1Member made(1);
  EXPECT_EQ(made.read()->changed({})->encode(), made.read()->encode());
}

TEST(Md1Change, MarksSlotsMissingButNeverItself) {
  Md1Member made(2);
  made.roles[7] = 2;  // a replacement of slot 2
  SuperblockChange change;
  change.missing_slots = {1, 2};
  const MemberDescription d = made.read()->changed(change)->describe();
  EXPECT_EQ(d.slot, 1U);
  EXPECT_EQ(d.dev_roles[2], role_spare);
  EXPECT_EQ(d.dev_roles[7], role_spare);
  EXPECT_EQ(d.dev_roles[3], 3);
}

TEST(Md1Change, AMemberThatFailedIsFaultyInTheOthersViewOnly) {
  Md1Member made(2);
  made.sb.cnt_corrected_read = 5;
  SuperblockChange change;
  change.faulty_slots = {1, 2};
  change.missing_slots = {3};
  change.corrected_reads = 8;
  const auto changed = made.read()->changed(change);
  const MemberDescription d = changed->describe();
  EXPECT_EQ(d.dev_roles[1], 1);  // its own
  EXPECT_EQ(d.dev_roles[2], role_faulty);
  EXPECT_EQ(d.dev_roles[3], role_spare);
  EXPECT_EQ(load<le32>(changed->encode(), 164)->value(), 13U);
  EXPECT_EQ(ids(changed->verify(member_sectors * 512)), "");
}

TEST(Md1Change, ClearsOnlyARecoveryOfAllOnes) {
  Md1Member made(2);
  SuperblockChange change;
  change.recovery = SuperblockChange::Recovery::clear;
  made.sb.feature_map = feature_bitmap_offset | feature_recovery_offset | feature_recovery_bitmap;
  made.sb.recovery_offset = 640;
  EXPECT_TRUE(made.read()->changed({})->describe().recovery);
  EXPECT_FALSE(made.read()->changed(change)->describe().recovery);
  EXPECT_FALSE(made.read()->changed(change)->describe().recovery_by_bitmap);
  made.sb.recovery_offset = ~std::uint64_t{0};
  EXPECT_TRUE(made.read()->changed({})->describe().recovery_is_all_ones());
  const auto cleared = made.read()->changed(change);
  EXPECT_FALSE(cleared->describe().recovery);
  EXPECT_TRUE(cleared->describe().bitmap_offset_bytes.has_value());
  EXPECT_EQ(load<le64>(cleared->encode(), 152)->value(), 0U);
}

TEST(Md1Fields, AreCompleteAndInOrder) {
  Md1Member made(2);
  const Fields fields = made.read()->fields();
  EXPECT_EQ(fields.front().name, "magic");
  EXPECT_EQ(fields.back().name, "dev_roles[127]");
  const auto named = [&](const std::string& name) {
    return std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  };
  EXPECT_EQ(std::get<std::int64_t>(named("bitmap_offset")->value), 8);
  EXPECT_EQ(std::get<std::uint64_t>(named("ctime")->value), 1700000000U);
  EXPECT_EQ(named("data_offset")->unit, Unit::sectors);
  EXPECT_EQ(std::get<std::string>(named("pad3")->value), std::string(56, '0'));
  EXPECT_NE(named("logical_block_size"), fields.end());
  EXPECT_EQ(named("journal_tail"), fields.end());
}

}  // namespace
}  // namespace mdtool::testing
