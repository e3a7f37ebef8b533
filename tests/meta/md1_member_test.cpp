// SPDX-License-Identifier: GPL-2.0-or-later
// Who a 1.x member is to its array: roles, recovery, and superblocks for members that have none.
#include <gtest/gtest.h>

#include "libmeta/md1/superblock.h"
#include "tests/meta/superblock_builder.h"

namespace mdtool::testing {
namespace {

std::unique_ptr<Metadata> with_roles(const Metadata& metadata, std::vector<RoleChange> roles) {
  SuperblockChange change;
  change.roles = std::move(roles);
  return metadata.changed(change);
}

TEST(Md1Roles, ChangeAfterWhatWasLost) {
  const auto metadata = Md1Member(2).read();
  SuperblockChange change;
  change.missing_slots = {0, 2};
  change.roles = {{2, 0}, {1, role_faulty}, {5, role_journal}};
  const MemberDescription d = metadata->changed(change)->describe();
  EXPECT_EQ(d.dev_roles[0], role_spare);
  EXPECT_EQ(d.dev_roles[2], 0);
  EXPECT_EQ(d.dev_roles[5], role_journal);
  EXPECT_EQ(d.role, Role::faulty);  // its own entry, too
}

TEST(Md1Roles, BeyondMaxDevRaiseItAsTheKernelDoes) {
  const auto metadata = Md1Member(2).read();
  const auto raised = with_roles(*metadata, {{200, 3}});
  EXPECT_EQ(raised->encode().size(), 1024U);
  EXPECT_EQ(raised->describe().dev_roles.size(), 201U);
  EXPECT_EQ(raised->describe().dev_roles[128], role_spare);  // 0x5a5a lay there
  EXPECT_EQ(raised->describe().dev_roles[200], 3);
  EXPECT_EQ(ids(raised->verify(member_sectors * 512)), "");
  EXPECT_EQ(with_roles(*metadata, {{200, role_spare}})->encode(), metadata->encode());
  EXPECT_EQ(with_roles(*metadata, {{1919, 3}})->encode().size(), 4096U);
  EXPECT_EQ(with_roles(*metadata, {{1920, 3}})->encode(), metadata->encode());
}

TEST(Md1Recovery, BeginsFromTheStartOrByBitmap) {
  Md1Member made(2);
  made.sb.recovery_offset = 640;
  SuperblockChange change;
  change.recovery = SuperblockChange::Recovery::by_bitmap;
  const auto by_bitmap = made.read()->changed(change);
  EXPECT_TRUE(by_bitmap->describe().recovery && by_bitmap->describe().recovery_by_bitmap);
  EXPECT_EQ(by_bitmap->describe().recovery_offset, Sectors(0));
  EXPECT_TRUE(by_bitmap->describe().bitmap_offset_bytes);  // other features stay
  change.recovery = SuperblockChange::Recovery::from_start;
  const auto from_start = by_bitmap->changed(change);
  EXPECT_TRUE(from_start->describe().recovery && !from_start->describe().recovery_by_bitmap);
  change.recovery = SuperblockChange::Recovery::clear;
  made.sb.recovery_offset = 0;
  EXPECT_EQ(by_bitmap->changed(change)->encode(), made.read()->encode());
}

constexpr std::uint64_t other_sectors = 30000;

class EveryMinorsMember : public ::testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Versions, EveryMinorsMember, ::testing::Values(0U, 1U, 2U));

TEST_P(EveryMinorsMember, GivesAnotherMemberItsOwnSuperblock) {
  Md1Member made(GetParam());
  made.sb.feature_map = md1::feature_bitmap_offset | md1::feature_bad_blocks | md1::feature_recovery_offset |
                        md1::feature_recovery_bitmap | md1::feature_replacement;
  made.sb.recovery_offset = 640;
  made.sb.devflags = md1::devflag_write_mostly;
  made.sb.cnt_corrected_read = 5;
  const Uuid device{{9, 8, 7}};
  const auto other = made.read()->for_member({other_sectors * 512 + 100, device, 4, 2}).value();
  const MemberDescription d = other->describe();
  const MemberDescription old = made.read()->describe();
  EXPECT_EQ(ids(other->verify(other_sectors * 512)), "");
  EXPECT_EQ(other->offset_bytes(), GetParam() == 0 ? (other_sectors - 16) / 8 * 8 * 512 : made.super_offset().bytes());
  EXPECT_EQ(d.device_uuid, device);
  EXPECT_EQ(d.dev_number, 4U);
  EXPECT_EQ(d.slot, 2U);
  EXPECT_EQ(d.dev_roles[1], 1);
  EXPECT_TRUE(d.in_sync());
  EXPECT_EQ(d.data_offset, old.data_offset);
  // 1.0: 8 sectors for a bitmap, which lies further up here, and 8 for the log.
  EXPECT_EQ(d.data_size, Sectors(GetParam() == 0 ? (other_sectors - 16) / 8 * 8 - 24 : other_sectors - 2048));
  EXPECT_EQ(d.bitmap_offset_bytes.value() - other->offset_bytes(),
            old.bitmap_offset_bytes.value() - made.super_offset().bytes());
  EXPECT_FALSE(d.bad_block_log->not_empty);
  EXPECT_EQ(d.set_uuid, old.set_uuid);
  EXPECT_EQ(d.events, old.events);
  const auto sb = load<md1::Superblock>(other->encode(), 0).value();
  EXPECT_EQ(sb.devflags, 0);
  EXPECT_EQ(sb.cnt_corrected_read, 0U);
  EXPECT_EQ(sb.recovery_offset, 0U);
  EXPECT_EQ(sb.feature_map, md1::feature_bitmap_offset);
}

TEST_P(EveryMinorsMember, RefusesAMemberWithoutRoom) {
  const Md1Member made(GetParam());
  const auto metadata = made.read();
  const auto fits_in = [&](std::uint64_t sectors) {
    const auto other = metadata->for_member({sectors * 512, Uuid{}, 4, 2});
    EXPECT_TRUE(other || other.error().kind == ErrorKind::refused);
    return other.has_value();
  };
  const std::uint64_t least = GetParam() == 0 ? 16384 + 24 + 16 : 16384 + 2048;
  EXPECT_TRUE(fits_in(least));
  for (std::uint64_t sectors :
       {least - 1, std::uint64_t{2048}, std::uint64_t{33}, std::uint64_t{15}, std::uint64_t{0}}) {
    EXPECT_FALSE(fits_in(sectors)) << sectors;
  }
}

TEST(Md1ForMember, KeepsNothingOfTheOtherMember) {
  const auto other = Md1Member(2).read()->for_member({member_sectors * 512, Uuid{}, 300, role_spare}).value();
  EXPECT_EQ(other->describe().dev_roles.size(), 301U);
  EXPECT_EQ(other->describe().dev_roles[128], role_spare);
  EXPECT_EQ(other->describe().role, Role::spare);
  const std::vector<std::byte> bytes = other->encode();
  EXPECT_EQ(bytes.size(), 1024U);
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{0x5a}), 0);
}

TEST(Md1ForMember, NeedsAnEntryForItsNumber) {
  const auto metadata = Md1Member(2).read();
  EXPECT_TRUE(metadata->for_member({member_sectors * 512, Uuid{}, 1919, 2}));
  EXPECT_EQ(metadata->for_member({member_sectors * 512, Uuid{}, 1920, 2}).error().kind, ErrorKind::usage);
}

// mdadm 4.6: a raid1 of 65408 used sectors on members of 65536 (seen in the lab).
TEST(Md1ForMember, LeavesTheSpaceThatMdadmLeaves) {
  Md1Member made(0);
  made.sb.level = 1;
  made.sb.chunksize = 0;
  made.sb.layout = 0;
  made.sb.size = 65408;
  made.sb.bitmap_offset = -16;
  const auto other = made.read()->for_member({65536 * 512, Uuid{}, 4, 2}).value();
  EXPECT_EQ(other->describe().super_offset, Sectors(65520));
  EXPECT_EQ(other->describe().data_size, Sectors(65504));
  const std::uint64_t large = std::uint64_t{300} << 21;
  made.sb.feature_map = 0;
  made.sb.size = large;
  const auto roomy = made.read()->for_member({(large + 2000) * 512, Uuid{}, 4, 2}).value();
  EXPECT_EQ(roomy->describe().super_offset - roomy->describe().data_size, Sectors(264));
}

}  // namespace
}  // namespace mdtool::testing
