// SPDX-License-Identifier: GPL-2.0-or-later
// Members to verdicts: what is missing, stale, doubled, mixed or dirty, on arrays that a kernel made.
#include <gtest/gtest.h>

#include <algorithm>

#include "libmeta/md1/superblock.h"
#include "libraid/assemble/maintenance.h"
#include "tests/raid/loaded_array.h"

namespace mdtool {
namespace {

using test::all_but;
using test::finding;
using test::Image;
using test::load_fixture;
using test::look_at;
using test::look_without;
using test::mentions;
using test::set_field;

constexpr std::size_t at_feature_map = offsetof(md1::Superblock, feature_map);
constexpr std::size_t at_events = offsetof(md1::Superblock, events);
constexpr std::size_t at_recovery_offset = offsetof(md1::Superblock, recovery_offset);
constexpr std::size_t at_resync_offset = offsetof(md1::Superblock, resync_offset);
constexpr std::size_t at_device_uuid = offsetof(md1::Superblock, device_uuid);
constexpr std::size_t at_set_uuid = offsetof(md1::Superblock, set_uuid);

Verdict verdict_without(const std::vector<Image>& images, const std::vector<std::size_t>& missing) {
  const test::Look look = look_without(images, missing);
  const Assembly& a = look.array();
  EXPECT_TRUE(a.verdict == Verdict::assembles || !a.reasons.empty());
  for (std::size_t slot : missing) {
    EXPECT_EQ(a.members[slot].state, MemberState::missing);
    EXPECT_EQ(a.members[slot].slot, slot);
  }
  return a.verdict;
}

// Every set of `count` of the members.
std::vector<std::vector<std::size_t>> sets_of(std::size_t count, std::size_t members) {
  std::vector<std::vector<std::size_t>> sets;
  for (std::size_t bits = 0; bits < std::size_t{1} << members; ++bits) {
    std::vector<std::size_t> set;
    for (std::size_t i = 0; i < members; ++i) {
      if ((bits >> i & 1) != 0) {
        set.push_back(i);
      }
    }
    if (set.size() == count) {
      sets.push_back(set);
    }
  }
  return sets;
}

struct Tolerance {
  std::string fixture;
  std::size_t members, tolerated;
  bool clean;
};

class MissingMembers : public testing::TestWithParam<Tolerance> {};

TEST_P(MissingMembers, DecideTheVerdict) {
  const Tolerance& t = GetParam();
  const std::vector<Image> images = load_fixture(t.fixture);
  ASSERT_EQ(images.size(), t.members);
  EXPECT_EQ(verdict_without(images, {}), Verdict::assembles);
  for (std::size_t count = 1; count < t.members; ++count) {
    const Verdict expected = count > t.tolerated ? Verdict::impossible
                             : t.clean           ? Verdict::degraded
                                                 : Verdict::needs_force;
    for (const auto& missing : sets_of(count, t.members)) {
      EXPECT_EQ(verdict_without(images, missing), expected) << count << " missing, the first is " << missing.front();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, MissingMembers,
                         testing::Values(Tolerance{"1.2-raid4-3-none-clean", 3, 1, true},
                                         Tolerance{"1.2-raid5-4-none-clean", 4, 1, true},
                                         Tolerance{"1.2-raid5-4-lockless-clean", 4, 1, true},
                                         Tolerance{"1.2-raid6-5-classic-clean", 5, 2, true},
                                         Tolerance{"0.90-raid6-5-classic-clean", 5, 2, true},
                                         Tolerance{"1.2-raid1-2-classic", 2, 1, true},
                                         Tolerance{"1.2-raid0-3", 3, 0, true}, Tolerance{"1.2-linear-2", 2, 0, true},
                                         Tolerance{"1.2-raid5-4-none-crash", 4, 1, false},
                                         Tolerance{"1.2-raid5-4-lockless-crash", 4, 1, false},
                                         Tolerance{"0.90-raid5-3-classic-crash", 3, 1, false},
                                         Tolerance{"1.2-raid6-4-none-crash", 4, 2, false}),
                         [](const auto& case_info) {
                           std::string name = case_info.param.fixture;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
                           return name;
                         });

TEST(Judge, SaysWhatIsMissingAndThatMdadmWantsRun) {
  const test::Look look = look_without(load_fixture("1.2-raid5-4-none-clean"), {2});
  EXPECT_TRUE(mentions(look.array().reasons, "slot 2"));
  EXPECT_TRUE(mentions(look.array().reasons, "--run"));
  const test::Look known = look_at(load_fixture("1.2-raid5-4-none-degraded"));
  EXPECT_EQ(known.array().verdict, Verdict::degraded);
  EXPECT_FALSE(mentions(known.array().reasons, "--run"));
}

// Near copies of 2 over 4 slots: 0 and 1 hold the same, and 2 and 3.
TEST(Judge, Raid10LivesAsLongAsEveryBlockHasACopy) {
  const std::vector<Image> images = load_fixture("1.2-raid10-4-none");
  ASSERT_EQ(look_at(images).array().array().layout, 0x102U);
  for (const auto& missing : sets_of(2, 4)) {
    const bool same_pair = missing[0] / 2 == missing[1] / 2;
    EXPECT_EQ(verdict_without(images, missing), same_pair ? Verdict::impossible : Verdict::degraded);
  }
  EXPECT_EQ(verdict_without(images, {1}), Verdict::degraded);
  EXPECT_EQ(verdict_without(images, {0, 2, 3}), Verdict::impossible);
}

TEST(Judge, StaleRaid10MembersHelpOnlyWhereTheyHoldWhatIsGone) {
  std::vector<Image> images = load_fixture("1.2-raid10-4-none");
  const std::uint64_t events = look_at(images).array().array().events;
  set_field(images[0], at_events, le64(events - 2));
  EXPECT_EQ(look_without(images, {1}).array().verdict, Verdict::needs_force);
  EXPECT_EQ(look_without(images, {2}).array().verdict, Verdict::degraded);
  EXPECT_EQ(look_without(images, {2, 3}).array().verdict, Verdict::impossible);
}

TEST(Judge, AMemberGivenTwiceIsAFindingThatStopsWriting) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-crash");
  const test::Look look = look_at(images, {0, 1, 2, 3, 1});
  const Assembly& a = look.array();
  ASSERT_EQ(a.members.size(), 5U);
  EXPECT_EQ(a.members[1].state, MemberState::in_sync);
  EXPECT_EQ(a.members[4].state, MemberState::unusable);
  EXPECT_NE(a.members[4].reason.find("held by"), std::string::npos);
  const Finding* cloned = finding(a.findings, "member-cloned");
  ASSERT_NE(cloned, nullptr);
  EXPECT_EQ(cloned->effect, Effect::stops_writing);
  const auto plan = plan_maintenance(a, {});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, ErrorKind::refused);
  EXPECT_TRUE(plan_maintenance(look_at(images).array(), {}));
}

TEST(Judge, TwoDevicesWithOneSlotAreNoClones) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  images.push_back(images[3]);
  set_field(images[4], at_device_uuid, le64(0x1234));
  const test::Look look = look_at(images);
  EXPECT_EQ(finding(look.array().findings, "member-cloned"), nullptr);
  const Finding* claimed = finding(look.array().findings, "slot-claimed-twice");
  ASSERT_NE(claimed, nullptr);
  EXPECT_EQ(claimed->effect, Effect::stops_writing);
}

TEST(Judge, AnOlderCopyOfAMemberYieldsToTheNewer) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const std::uint64_t events = look_at(images).array().array().events;
  images.push_back(images[0]);
  set_field(images[0], at_events, le64(events - 1));
  const test::Look look = look_at(images);
  EXPECT_EQ(look.array().members[0].candidate->path, "m4");
  EXPECT_EQ(finding(look.array().findings, "member-cloned"), nullptr);
  EXPECT_EQ(look.array().verdict, Verdict::assembles);
}

TEST(Judge, MembersOfTwoArraysMakeTwoAssemblies) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  for (const Image& image : load_fixture("1.2-raid6-5-classic-clean")) {
    images.push_back(image);
  }
  const test::Look look = look_at(images, {4, 0, 5, 1, 6, 2, 7, 3, 8});
  ASSERT_EQ(look.arrays.size(), 2U);
  EXPECT_EQ(look.arrays[0].array().level, 6);
  EXPECT_EQ(look.arrays[1].array().level, 5);
  for (const Assembly& a : look.arrays) {
    EXPECT_EQ(a.verdict, Verdict::assembles);
    EXPECT_EQ(a.members.size(), a.slots());
  }
}

TEST(Judge, AForeignUuidMakesAnArrayOfItsOwn) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  set_field(images[2], at_set_uuid, le64(7));
  const test::Look look = look_at(images);
  ASSERT_EQ(look.arrays.size(), 2U);
  EXPECT_EQ(look.arrays[0].verdict, Verdict::degraded);
  EXPECT_EQ(look.arrays[1].verdict, Verdict::impossible);
}

TEST(Judge, StaleMembersAreLeftOut) {
  for (const char* name : {"1.2-raid5-4-classic-stale-member", "0.90-raid5-4-none-stale-member"}) {
    const test::Look look = look_at(load_fixture(name));
    const Assembly& a = look.array();
    EXPECT_EQ(a.verdict, Verdict::degraded) << name;
    const auto stale =
        std::find_if(a.members.begin(), a.members.end(), [](const Member& m) { return m.state == MemberState::stale; });
    ASSERT_NE(stale, a.members.end()) << name;
    EXPECT_FALSE(stale->reason.empty());
    EXPECT_EQ(a.in_slot(*stale->slot), nullptr);
  }
}

// The kernel accepts one event less or more: a cut between two members' updates.
TEST(Judge, OneEventApartIsInSyncTwoAreStale) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const std::uint64_t events = look_at(images).array().array().events;
  for (std::uint64_t behind : {0U, 1U, 2U, 5U}) {
    std::vector<Image> edited = images;
    set_field(edited[1], at_events, le64(events - behind));
    const test::Look look = look_at(edited);
    EXPECT_EQ(look.array().members[1].state, behind <= 1 ? MemberState::in_sync : MemberState::missing) << behind;
    EXPECT_EQ(look.array().verdict, behind <= 1 ? Verdict::assembles : Verdict::degraded);
    EXPECT_EQ(look.array().complete, behind <= 1);
    if (behind > 1) {
      EXPECT_EQ(look.array().members[4].state, MemberState::stale);
    }
  }
}

TEST(Judge, StaleMembersThatAreNeededCanBeForced) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const std::uint64_t events = look_at(images).array().array().events;
  set_field(images[0], at_events, le64(events - 2));
  set_field(images[1], at_events, le64(events - 2));
  EXPECT_EQ(look_at(images).array().verdict, Verdict::needs_force);
  EXPECT_EQ(look_without(images, {0}).array().verdict, Verdict::needs_force);
  EXPECT_EQ(look_without(images, {0, 1}).array().verdict, Verdict::impossible);
}

TEST(Judge, DirtyMarksOfOneMemberAtTheHighestEventsCount) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  EXPECT_TRUE(look_at(images).array().clean);
  set_field(images[3], at_resync_offset, le64(0));
  const test::Look look = look_at(images);
  EXPECT_FALSE(look.array().clean);
  EXPECT_EQ(look.array().verdict, Verdict::assembles);
  EXPECT_EQ(look_without(images, {0}).array().verdict, Verdict::needs_force);
}

TEST(Judge, ARecoveryOfAllOnesCountsAsInSyncButNeedsForceWhileDirty) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-lockless-lazy-crash");
  const test::Look dirty = look_at(images);
  EXPECT_TRUE(dirty.array().complete);
  EXPECT_FALSE(dirty.array().clean);
  EXPECT_EQ(dirty.array().verdict, Verdict::needs_force);
  EXPECT_TRUE(mentions(dirty.array().reasons, "lazy recovery"));
  EXPECT_NE(finding(dirty.array().findings, "lazy-recovery-cut"), nullptr);
  EXPECT_TRUE(plan_maintenance(dirty.array(), {})) << "resync is the cure, without force";
  for (Image& image : images) {
    set_field(image, at_resync_offset, le64(~std::uint64_t{0}));
  }
  EXPECT_EQ(look_at(images).array().verdict, Verdict::assembles);
}

void mark_recovering(Image& image) {
  set_field(image, at_feature_map,
            le32(look_at({image}).array().array().bitmap_offset_bytes
                     ? md1::feature_recovery_offset | md1::feature_bitmap_offset
                     : md1::feature_recovery_offset));
  set_field(image, at_recovery_offset, le64(128));
}

TEST(Judge, OnlyRaid4MayRebuildItsParityMemberWhileDirty) {
  const std::vector<Image> raid4 = load_fixture("1.2-raid4-4-classic-crash");
  for (std::size_t slot = 0; slot < 4; ++slot) {
    std::vector<Image> images = raid4;
    mark_recovering(images[slot]);
    const test::Look look = look_at(images);
    EXPECT_EQ(look.array().members[slot].state, MemberState::recovering);
    EXPECT_EQ(look.array().verdict, slot == 3 ? Verdict::degraded : Verdict::needs_force) << slot;
    EXPECT_TRUE(mentions(look.array().reasons, "is being rebuilt, up to member sector 128"));
  }
  std::vector<Image> raid5 = load_fixture("1.2-raid5-4-none-crash");
  mark_recovering(raid5[3]);
  EXPECT_EQ(look_at(raid5).array().verdict, Verdict::needs_force);
}

TEST(Judge, ReplacementsAndSparesFillNoSlot) {
  const test::Look replaced = look_at(load_fixture("1.2-raid5-3-none-replacement"));
  EXPECT_EQ(replaced.array().verdict, Verdict::assembles);
  ASSERT_EQ(replaced.array().members.size(), 4U);
  EXPECT_EQ(replaced.array().members[3].state, MemberState::replacement);
  const test::Look spare = look_at(load_fixture("1.2-raid5-3-none-spare"));
  EXPECT_EQ(spare.array().verdict, Verdict::assembles);
  ASSERT_EQ(spare.array().members.size(), 4U);
  EXPECT_EQ(spare.array().members[3].state, MemberState::spare);
  EXPECT_FALSE(spare.array().members[3].slot);
}

TEST(Judge, AMissingJournalNeedsForce) {
  const std::vector<Image> images = load_fixture("1.2-raid5-3-journal-crash");
  const test::Look whole = look_at(images);
  std::size_t journal = images.size();
  for (std::size_t i = 0; i < images.size(); ++i) {
    journal = whole.candidates[i].chosen()->description.role == Role::journal ? i : journal;
  }
  ASSERT_LT(journal, images.size());
  EXPECT_EQ(look_without(images, {journal}).array().verdict, Verdict::needs_force);
}

TEST(Judge, DisagreeingMembersAreUnusable) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  set_field(images[1], offsetof(md1::Superblock, layout), le32(0));
  const test::Look look = look_at(images);
  EXPECT_EQ(look.array().verdict, Verdict::degraded);
  EXPECT_EQ(look.array().members[4].state, MemberState::unusable);
  EXPECT_NE(look.array().members[4].reason.find("layout 0"), std::string::npos);
}

TEST(Judge, NothingUsableIsImpossible) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  for (Image& image : images) {
    image[4096 + offsetof(md1::Superblock, sb_csum)] ^= std::byte{1};
  }
  EXPECT_EQ(look_at(images).array().verdict, Verdict::impossible);
  EXPECT_TRUE(look_at({Image(1 << 20)}).arrays.empty());
}

TEST(Judge, AMemberThatCallsItselfFaultyFillsNoSlot) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const MemberDescription own = look_at(images).array().in_slot(2)->description();
  set_field(images[2], 256 + 2 * own.dev_number, le16(role_faulty));
  const auto look = look_at(images);
  const Assembly& a = look.array();
  EXPECT_EQ(a.verdict, Verdict::degraded);
  EXPECT_EQ(a.in_slot(2), nullptr);
  const auto faulty =
      std::find_if(a.members.begin(), a.members.end(), [](const Member& m) { return m.state == MemberState::faulty; });
  ASSERT_NE(faulty, a.members.end());
  EXPECT_EQ(faulty->role, Role::faulty);
  EXPECT_FALSE(faulty->slot.has_value());
}

}  // namespace
}  // namespace mdtool
