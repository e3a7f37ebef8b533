// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "libmeta/md0/superblock.h"
#include "tests/meta/superblock_builder.h"

namespace mdtool::testing {
namespace {

constexpr auto little = std::endian::little;
constexpr auto big = std::endian::big;

template <typename T>
class EveryOrder : public ::testing::Test {};
using Members = ::testing::Types<Md0Member<little>, Md0Member<big>>;
TYPED_TEST_SUITE(EveryOrder, Members);

TYPED_TEST(EveryOrder, IsDescribed) {
  const TypeParam made;
  const MemberDescription d = made.read()->describe();
  EXPECT_EQ(d.metadata, "0.90");
  EXPECT_EQ(d.set_uuid.text(), "01020304:11121314:21222324:31323334");
  EXPECT_EQ(d.events, (std::uint64_t{7} << 32) | 9);
  EXPECT_EQ(d.size, Sectors(16384));
  EXPECT_EQ(d.chunk, Sectors(128));
  EXPECT_EQ(d.data_offset, Sectors(0));
  EXPECT_EQ(d.data_size, Sectors(TypeParam::super_sector));
  EXPECT_EQ(d.slot, 1U);
  EXPECT_EQ(d.dev_roles.size(), 27U);
  EXPECT_EQ(d.dev_roles[2], 2);
  EXPECT_EQ(d.dev_roles[3], role_spare);
  EXPECT_TRUE(d.clean() && d.in_sync());
  EXPECT_FALSE(d.reshape);
  EXPECT_EQ(d.bitmap_offset_bytes, (TypeParam::super_sector + 8) * 512);
  EXPECT_EQ(d.bitmap_room_bytes, 60U * 1024);
}

TYPED_TEST(EveryOrder, IsSound) {
  const Findings findings = TypeParam().verify();
  EXPECT_EQ(worst_effect(findings), Effect::none) << ids(findings);
}

TYPED_TEST(EveryOrder, AChangedByteBreaksTheSum) {
  const TypeParam made;
  SparseMember member = made.member();
  member.at(TypeParam::super_sector * 512 + 3500) ^= std::byte{0x10};
  const Findings findings =
      made.format().read(member, TypeParam::super_sector * 512).value()->verify(member_sectors * 512);
  EXPECT_EQ(find(findings, "superblock-checksum")->effect, Effect::refuses_member);
}

TYPED_TEST(EveryOrder, ResyncOffsetNeedsEqualEvents) {
  TypeParam made;
  made.sb.state = 0;
  made.sb.recovery_cp = 4096;
  EXPECT_EQ(made.read()->describe().resync_offset, Sectors(4096));
  made.sb.cp_events = 9;  // only the low word agrees
  EXPECT_EQ(made.read()->describe().resync_offset, Sectors(0));
}

TYPED_TEST(EveryOrder, ChangeToDirtyAndBack) {
  const TypeParam made;
  SuperblockChange change;
  change.events = (std::uint64_t{8} << 32) | 1;
  change.utime_seconds = 1800000000;
  change.resync_offset = Sectors(0);
  const auto dirty = made.read()->changed(change);
  EXPECT_EQ(worst_effect(dirty->verify(member_sectors * 512)), Effect::none);
  EXPECT_EQ(dirty->describe().resync_offset, Sectors(0));
  EXPECT_EQ(dirty->describe().events, *change.events);
  EXPECT_EQ(dirty->describe().utime_seconds, 1800000000U);
  EXPECT_TRUE(dirty->describe().bitmap_offset_bytes.has_value());
  const auto raw = load<md0::Superblock<little>>(dirty->encode(), 0);
  EXPECT_EQ(raw->recovery_cp, 0U);
  EXPECT_EQ(raw->cp_events, 0U);
  change.resync_offset = Sectors::max();
  EXPECT_EQ(dirty->changed(change)->describe().resync_offset, Sectors::max());
}

TYPED_TEST(EveryOrder, NewEventsKeepACheckpoint) {
  TypeParam made;
  made.sb.state = 0;
  made.sb.recovery_cp = 4096;
  SuperblockChange change;
  change.events = 100;
  EXPECT_EQ(made.read()->changed(change)->describe().resync_offset, Sectors(4096));
}

TYPED_TEST(EveryOrder, NothingAskedIsNothingChanged) {
  const auto metadata = TypeParam().read();
  EXPECT_EQ(metadata->changed({})->encode(), metadata->encode());
}

TYPED_TEST(EveryOrder, UnsynchronisedMembersOfAReshapeAreRecovering) {
  TypeParam made;
  made.sb.disks[1].state = md0::disk_active;
  EXPECT_EQ(made.read()->describe().role, Role::spare);
  made.sb.minor_version = md0::minor_version_reshape;
  made.sb.delta_disks = 1;
  made.sb.new_chunk = 131072;
  made.sb.reshape_position = (std::uint64_t{3} << 32) | 5;
  const MemberDescription d = made.read()->describe();
  EXPECT_EQ(d.slot, 1U);
  EXPECT_TRUE(d.recovery);
  EXPECT_FALSE(d.in_sync());
  EXPECT_EQ(d.reshape->position, Sectors((std::uint64_t{3} << 32) | 5));
  EXPECT_EQ(d.reshape->new_chunk, Sectors(256));
  EXPECT_NE(find(made.verify(), "reshape-active"), nullptr);
}

TEST(Md0Superblock, BitmapUuidIsInTheWritersMemoryOrder) {
  EXPECT_EQ(Md0Member<little>().read()->describe().bitmap_uuid.text(), "04030201:14131211:24232221:34333231");
  EXPECT_EQ(Md0Member<big>().read()->describe().bitmap_uuid.text(), "01020304:11121314:21222324:31323334");
}

TEST(Md0Superblock, ByteOrdersDoNotClaimEachOther) {
  const auto member = Md0Member<big>().member();
  EXPECT_TRUE(md0::little_endian().probe(member)->empty());
  EXPECT_EQ(md0::big_endian().probe(member)->size(), 1U);
  EXPECT_FALSE(md0::little_endian().read(member, Md0Member<big>::super_sector * 512).has_value());
  EXPECT_NE(find(Md0Member<big>().verify(), "byte-order"), nullptr);
}

TEST(Md0Superblock, PlaceIsInTheLastWholeSlot) {
  const Md0Member<little> made;
  SparseMember member = made.member();
  member.resize((member_sectors + 127) * 512);
  EXPECT_EQ(md0::little_endian().probe(member)->size(), 1U);
  member.resize((member_sectors + 128) * 512);
  EXPECT_TRUE(md0::little_endian().probe(member)->empty());
}

TEST(Md0Superblock, SumsFoldedToSixteenBitsAreGoodEnough) {
  const Md0Member<little> made;
  SparseMember member = made.member();
  const std::uint64_t at = Md0Member<little>::super_sector * 512;
  auto sb = made.sb;
  const std::uint32_t sum = superblock_sum<little>(std::as_bytes(std::span(&sb, 1)), 152);
  std::uint32_t folded = (sum & 0xffff) + (sum >> 16);
  folded = (folded & 0xffff) + (folded >> 16);
  sb.sb_csum = folded;
  member.put(at, bytes_of(sb));
  const Findings findings = md0::little_endian().read(member, at).value()->verify(member.size_bytes());
  EXPECT_EQ(ids(findings), "superblock-checksum-folded ");
}

TEST(Md0Superblock, FaultyAndRemovedAreToldApart) {
  Md0Member<little> made;
  made.sb.disks[0].state = md0::disk_faulty | md0::disk_removed;
  made.sb.disks[3].state = md0::disk_faulty;
  const MemberDescription d = made.read()->describe();
  EXPECT_EQ(d.dev_roles[0], role_spare);
  EXPECT_EQ(d.dev_roles[3], role_faulty);
}

TEST(Md0Superblock, NumbersBeyondTheTableAreSpares) {
  Md0Member<little> made;
  made.sb.this_disk.number = 27;
  EXPECT_EQ(made.read()->describe().role, Role::spare);
  EXPECT_EQ(find(made.verify(), "dev-number")->effect, Effect::stops_writing);
}

struct Damage {
  const char* id;
  Effect effect;
  void (*make)(md0::Superblock<little>&);
};

class EveryRule : public ::testing::TestWithParam<Damage> {};

TEST_P(EveryRule, IsAFindingWithItsEffect) {
  Md0Member<little> made;
  GetParam().make(made.sb);
  const Findings findings = made.verify();
  const Finding* finding = find(findings, GetParam().id);
  ASSERT_NE(finding, nullptr) << "found: " << ids(findings);
  EXPECT_EQ(finding->effect, GetParam().effect);
}

const Damage rules[] = {
    {"major-version", Effect::refuses_member, [](auto& sb) { sb.major_version = 1; }},
    {"minor-version", Effect::refuses_member, [](auto& sb) { sb.minor_version = 92; }},
    {"data-beyond-member", Effect::refuses_member, [](auto& sb) { sb.size = 0xffffffff; }},
    {"chunk", Effect::refuses_array, [](auto& sb) { sb.chunk_size = 65537; }},
    {"chunk", Effect::refuses_array, [](auto& sb) { sb.chunk_size = 0; }},
    {"layout", Effect::refuses_array, [](auto& sb) { sb.layout = 8; }},
    {"level", Effect::refuses_array, [](auto& sb) { sb.level = -4; }},
    {"raid-disks", Effect::refuses_array, [](auto& sb) { sb.raid_disks = 28; }},
    {"role-out-of-range", Effect::none, [](auto& sb) { sb.disks[2].raid_disk = 3; }},
    {"delta-disks", Effect::refuses_array,
     [](auto& sb) {
       sb.minor_version = 91;
       sb.delta_disks = 3;
     }},
};
INSTANTIATE_TEST_SUITE_P(Rules, EveryRule, ::testing::ValuesIn(rules));

TEST(Md0Change, AMissingSlotLooksAsTheKernelLeavesIt) {
  const Md0Member<little> made;
  SuperblockChange change;
  change.missing_slots = {1, 2};
  const auto changed = made.read()->changed(change);
  const auto sb = load<md0::Superblock<little>>(changed->encode(), 0).value();
  EXPECT_EQ(sb.disks[2].number, 2U);
  EXPECT_EQ(sb.disks[2].major, 0U);
  EXPECT_EQ(sb.disks[2].minor, 0U);
  EXPECT_EQ(sb.disks[2].raid_disk, 2U);
  EXPECT_EQ(sb.disks[2].state, 9U);
  EXPECT_EQ(sb.disks[1].state, 6U);  // its own
  EXPECT_EQ(sb.this_disk.number, 1U);
  EXPECT_EQ(sb.nr_disks, 3U);
  EXPECT_EQ(sb.active_disks, 2U);
  EXPECT_EQ(sb.working_disks, 3U);
  EXPECT_EQ(sb.failed_disks, 1U);
  EXPECT_EQ(sb.spare_disks, 1U);
  EXPECT_EQ(changed->describe().dev_roles[2], role_spare);
  EXPECT_EQ(ids(changed->verify(member_sectors * 512)), "");
}

TEST(Md0Change, AMemberThatFailedMovesBehindTheSlots) {
  const Md0Member<little> made;
  const auto before = load<md0::Superblock<little>>(made.read()->encode(), 0).value();
  std::size_t free = before.raid_disks;
  while (before.disks[free].state != 0 || before.disks[free].number != 0) {
    ++free;
  }
  SuperblockChange change;
  change.faulty_slots = {1, 2};
  const auto changed = made.read()->changed(change);
  const auto sb = load<md0::Superblock<little>>(changed->encode(), 0).value();
  EXPECT_EQ(sb.disks[2].state, 9U);
  EXPECT_EQ(sb.disks[2].major, 0U);
  EXPECT_EQ(sb.disks[1].state, 6U);  // its own
  EXPECT_EQ(sb.disks[free].number, free);
  EXPECT_EQ(sb.disks[free].raid_disk, free);
  EXPECT_EQ(sb.disks[free].state, 1U);
  EXPECT_EQ(sb.disks[free].major, before.disks[2].major);
  EXPECT_EQ(sb.disks[free].minor, before.disks[2].minor);
  EXPECT_EQ(sb.nr_disks, 4U);
  EXPECT_EQ(sb.active_disks, 2U);
  EXPECT_EQ(sb.failed_disks, 1U);
  EXPECT_EQ(changed->describe().dev_roles[2], role_spare);
  EXPECT_EQ(changed->describe().dev_roles[free], role_faulty);
  EXPECT_EQ(ids(changed->verify(member_sectors * 512)), "");
}

template <typename Member>
auto with_roles(const Member& made, std::vector<RoleChange> roles,
                SuperblockChange::Recovery recovery = SuperblockChange::Recovery::keep) {
  SuperblockChange change;
  change.roles = std::move(roles);
  change.recovery = recovery;
  const auto changed = made.read()->changed(change);
  EXPECT_EQ(worst_effect(changed->verify(member_sectors * 512)), Effect::none);
  return load<decltype(made.sb)>(changed->encode(), 0).value();
}

TYPED_TEST(EveryOrder, AnAddedRoleIsAnActiveDescriptor) {
  TypeParam made;
  made.sb.disks[2].state = md0::disk_removed | md0::disk_faulty;
  made.sb.disks[2].state = made.sb.disks[2].state | md0::disk_write_mostly;
  const auto sb = with_roles(made, {{2, 2}});
  EXPECT_EQ(sb.disks[2].state, 6U | md0::disk_write_mostly);
  EXPECT_EQ(sb.disks[2].raid_disk, 2U);
  EXPECT_EQ(sb.disks[2].minor, 32U);  // as it was
  EXPECT_EQ(sb.active_disks, 3U);
  EXPECT_EQ(sb.failed_disks, 0U);
  EXPECT_EQ(sb.this_disk.state, 6U);
}

TYPED_TEST(EveryOrder, LostRolesLookAsTheKernelLeavesThem) {
  const TypeParam made;
  const auto removed = with_roles(made, {{2, role_spare}, {3, role_spare}});
  EXPECT_EQ(removed.disks[2].state, 9U);
  EXPECT_EQ(removed.disks[2].minor, 0U);
  EXPECT_EQ(removed.disks[2].number, 2U);
  EXPECT_EQ(removed.disks[3].number, 0U);
  EXPECT_EQ(removed.disks[3].minor, 0U);
  EXPECT_EQ(removed.nr_disks, 2U);
  EXPECT_EQ(removed.failed_disks, 1U);
  EXPECT_EQ(removed.spare_disks, 0U);
  const auto failed = with_roles(made, {{2, role_faulty}});
  EXPECT_EQ(failed.disks[2].state, 9U);
  EXPECT_EQ(failed.disks[4].state, 1U);
  EXPECT_EQ(failed.disks[4].number, 4U);
  EXPECT_EQ(failed.disks[4].minor, 32U);
  EXPECT_EQ(with_roles(made, {{2, role_spare}, {2, role_faulty}}).disks[4].state, 0U);  // it held no slot any more
  EXPECT_EQ(with_roles(made, {{27, 0}, {0xffffffff, 0}}).nr_disks, 4U);
}

TYPED_TEST(EveryOrder, ItsOwnRoleIsInBothPlaces) {
  TypeParam made;
  made.sb.this_disk.reserved[0] = 7;
  const auto faulty = with_roles(made, {{1, role_faulty}});
  EXPECT_EQ(faulty.disks[1].state, 1U);
  EXPECT_EQ(faulty.this_disk.state, 1U);
  const auto spare = with_roles(made, {{1, role_spare}});
  EXPECT_EQ(spare.disks[1].state, 0U);
  EXPECT_EQ(spare.disks[1].number, 1U);
  EXPECT_EQ(spare.this_disk.state, 0U);
  EXPECT_EQ(spare.spare_disks, 2U);
  // Somebody else's role leaves this_disk alone, whatever is in it.
  EXPECT_EQ(with_roles(made, {{2, role_spare}}).this_disk.reserved[0], 7U);
}

TYPED_TEST(EveryOrder, ARecoveryFromTheStartIsASpares) {
  const TypeParam made;
  for (const auto recovery : {SuperblockChange::Recovery::from_start, SuperblockChange::Recovery::by_bitmap}) {
    const auto sb = with_roles(made, {{1, 1}}, recovery);  // never in sync
    EXPECT_EQ(sb.this_disk.state, 0U);
    EXPECT_EQ(sb.disks[1].state, 0U);
    EXPECT_EQ(sb.active_disks, 2U);
  }
}

TYPED_TEST(EveryOrder, GivesAnotherMemberItsOwnSuperblock) {
  TypeParam made;
  made.sb.disks[2].state = md0::disk_removed | md0::disk_faulty;
  const auto other = made.read()->for_member({30000 * 512, Uuid{}, 2, 2}).value();
  EXPECT_EQ(other->offset_bytes(), ((30000 & ~127ULL) - 128) * 512);
  const MemberDescription d = other->describe();
  EXPECT_EQ(d.dev_number, 2U);
  EXPECT_EQ(d.slot, 2U);
  EXPECT_TRUE(d.in_sync());
  EXPECT_EQ(d.events, made.sb.events.value());
  EXPECT_EQ(d.bitmap_offset_bytes, other->offset_bytes() + 4096);
  EXPECT_EQ(worst_effect(other->verify(30000 * 512)), Effect::none);
  const auto sb = load<decltype(made.sb)>(other->encode(), 0).value();
  EXPECT_EQ(sb.active_disks, 3U);
  EXPECT_EQ(sb.disks[2].major, 0U);  // not known
}

TYPED_TEST(EveryOrder, ASpareGetsADescriptor) {
  const TypeParam made;
  const auto other = made.read()->for_member({member_sectors * 512, Uuid{}, 4, role_spare}).value();
  const auto sb = load<decltype(made.sb)>(other->encode(), 0).value();
  EXPECT_EQ(sb.this_disk.number, 4U);
  EXPECT_EQ(sb.disks[4].number, 4U);
  EXPECT_EQ(sb.disks[4].raid_disk, 4U);
  EXPECT_EQ(sb.disks[4].state, 0U);
  EXPECT_EQ(sb.nr_disks, 5U);
  EXPECT_EQ(sb.spare_disks, 2U);
  EXPECT_EQ(other->describe().role, Role::spare);
}

TYPED_TEST(EveryOrder, RefusesAMemberWithoutRoom) {
  const TypeParam made;
  const auto metadata = made.read();
  EXPECT_TRUE(metadata->for_member({(16384 + 128) * 512, Uuid{}, 2, 2}));
  for (std::uint64_t sectors : {16384U + 127, 200U, 0U}) {
    const auto refused = metadata->for_member({sectors * 512, Uuid{}, 2, 2});
    ASSERT_FALSE(refused) << sectors;
    EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  }
  EXPECT_EQ(metadata->for_member({member_sectors * 512, Uuid{}, 27, 2}).error().kind, ErrorKind::usage);
}

TEST(Md0Fields, NameEveryDescriptor) {
  const Fields fields = Md0Member<big>().read()->fields();
  EXPECT_EQ(fields.front().name, "md_magic");
  EXPECT_EQ(std::get<std::uint64_t>(fields.front().value), 0xa92b4efcU);
  EXPECT_EQ(fields.back().name, "this_disk.reserved");
  const auto size = std::find_if(fields.begin(), fields.end(), [](const Field& f) { return f.name == "size"; });
  EXPECT_EQ(size->unit, Unit::kibibytes);
  EXPECT_EQ(std::get<std::uint64_t>(size->value), 8192U);
}

}  // namespace
}  // namespace mdtool::testing
