// SPDX-License-Identifier: GPL-2.0-or-later
// fail, remove, add and re-add as plans: what they say, what they refuse, and that every cut of them converges.
#include "libraid/edit/membership.h"

#include <gtest/gtest.h>

#include "tests/raid/edited_array.h"

namespace mdtool::test {
namespace {

EditClock clock_of_test() {
  EditClock clock;
  clock.now_seconds = 1900000000;
  clock.fresh_uuid.bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  return clock;
}

std::vector<const Candidate*> named(const Look& look, const std::vector<std::size_t>& images) {
  std::vector<const Candidate*> all;
  for (std::size_t image : images) {
    all.push_back(candidate(look, image));
  }
  return all;
}

Planner fail(std::vector<std::size_t> targets, MembershipForces forces = {}) {
  return [=](const Look& look) { return plan_fail(look.array(), named(look, targets), clock_of_test(), forces); };
}

Planner remove(std::vector<std::size_t> targets) {
  return [=](const Look& look) { return plan_remove(look.array(), named(look, targets), clock_of_test()); };
}

Planner add(std::vector<std::size_t> targets, AddAs as = {}, MembershipForces forces = {}) {
  return [=](const Look& look) { return plan_add(look.array(), named(look, targets), as, clock_of_test(), forces); };
}

Planner re_add(std::vector<std::size_t> targets, MembershipForces forces = {}) {
  return [=](const Look& look) { return plan_re_add(look.array(), named(look, targets), clock_of_test(), forces); };
}

std::vector<Image> after(const std::vector<Image>& images, const Planner& planner) {
  const Planned made = planned(images, planner);
  EXPECT_TRUE(made.plan) << made.reason();
  return made.plan ? applied(*made, images) : images;
}

AddAs in_slot(std::uint32_t slot) {
  AddAs as;
  as.slot = slot;
  return as;
}

// mdadm --zero-superblock.
std::vector<Image> without_superblock(std::vector<Image> images, std::size_t image) {
  const Look look = look_at(images);
  const Metadata& superblock = *candidate(look, image)->chosen()->metadata;
  const auto at = images[image].begin() + static_cast<std::ptrdiff_t>(superblock.offset_bytes());
  std::fill_n(at, static_cast<std::ptrdiff_t>(superblock.encode().size()), std::byte{0});
  return images;
}

const MemberDescription& description(const Look& look, std::size_t image) {
  return candidate(look, image)->chosen()->description;
}

const Member& member(const Look& look, std::size_t image) {
  const auto& members = look.array().members;
  return *std::find_if(members.begin(), members.end(),
                       [&](const Member& m) { return m.candidate == candidate(look, image); });
}

std::size_t stale_image(const std::vector<Image>& images) {
  const Look look = look_at(images);
  std::size_t image = 0;
  while (image < images.size() && member(look, image).state != MemberState::stale) {
    ++image;
  }
  EXPECT_LT(image, images.size()) << "no stale member";
  return image;
}

TEST(Fail, TheOthersCallItFaultyAndItsOwnSuperblockStays) {
  const auto images = load_fixture("1.2-raid5-4-classic-clean");
  const auto changed = after(images, fail({2}));
  EXPECT_EQ(changed[2], images[2]);
  const Look before = look_at(images);
  const Look look = look_at(changed);
  const std::uint32_t number = description(before, 2).dev_number;
  for (std::size_t image : {0, 1, 3}) {
    EXPECT_EQ(description(look, image).dev_roles[number], role_faulty);
    EXPECT_EQ(description(look, image).events, description(before, image).events + 2);
    EXPECT_EQ(description(look, image).utime_seconds, clock_of_test().now_seconds);
    EXPECT_TRUE(candidate(look, image)->chosen()->findings.empty());
  }
  EXPECT_EQ(member(look, 2).state, MemberState::stale);
  EXPECT_EQ(look.array().verdict, Verdict::degraded);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(look.array().bitmap.classic->header().events_cleared,
            before.array().bitmap.classic->header().events_cleared);
}

TEST(Fail, RefusedWhereTheArrayCouldNotStartWithout) {
  const auto images = load_fixture("1.2-raid5-4-classic-clean");
  EXPECT_NE(planned(images, fail({1, 2})).reason().find("too-few"), std::string::npos);
  MembershipForces forces;
  forces.too_few = true;
  EXPECT_EQ(look_at(after(images, fail({1, 2}, forces))).array().verdict, Verdict::needs_force);
  const auto dirty = load_fixture("1.2-raid5-4-none-crash");
  EXPECT_NE(planned(dirty, fail({1})).reason().find("dirty and degraded"), std::string::npos);
}

TEST(Fail, AMemberThatIsNotThereIsMarkedMissingAndLeftBehind) {
  const auto images = load_fixture("1.2-raid6-5-classic-clean");
  Look look = look_without(images, {4});
  const auto plan = plan_fail(look.array(), named(look, {0}), clock_of_test(), {});
  ASSERT_TRUE(plan) << plan.error().text;
  EXPECT_TRUE(mentions(plan->costs, "slot 4"));
  const auto changed = applied(*plan, images);
  const Look all = look_at(changed);
  EXPECT_EQ(member(all, 4).state, MemberState::stale);
  EXPECT_EQ(all.array().verdict, Verdict::degraded);
}

TEST(Fail, RefusesWhatItDoesNotUnderstand) {
  EXPECT_NE(planned(load_fixture("1.2-raid5-4-none-reshape"), fail({1})).reason().find("reshape"), std::string::npos);
  EXPECT_NE(planned(load_fixture("1.2-raid5-3-journal-clean"), fail({1})).reason().find("journal"), std::string::npos);
  EXPECT_NE(planned(load_fixture("1.2-raid5-3-ppl-clean"), fail({1})).reason().find("partial parity"),
            std::string::npos);
  EXPECT_NE(planned(load_fixture("1.2-raid0-3"), fail({1})).reason().find("no redundancy"), std::string::npos);
  EXPECT_NE(planned(load_fixture("1.2-raid5-3-none-spare"), fail({3})).reason().find("spare"), std::string::npos);
}

TEST(Remove, OnlyWhoIsNotInUse) {
  const auto images = load_fixture("1.2-raid5-4-lockless-clean");
  EXPECT_NE(planned(images, remove({1})).reason().find("fail it first"), std::string::npos);
  const auto failed = after(images, fail({1}));
  const auto removed = after(failed, remove({1}));
  const Look look = look_at(removed);
  EXPECT_EQ(description(look, 0).dev_roles[description(look, 1).dev_number], role_spare);
  EXPECT_EQ(removed[1], images[1]);
}

TEST(Remove, AMemberThatFailedJustNowIsLeftBehind) {
  const auto images = load_fixture("1.2-raid5-4-none-just-failed");
  const Look look = look_at(images);
  std::size_t target = images.size();
  for (std::size_t i = 0; i < images.size(); ++i) {
    const MemberState state = member(look, i).state;
    target = state == MemberState::faulty || state == MemberState::spare || state == MemberState::stale ? i : target;
  }
  ASSERT_LT(target, images.size());
  const Look done = look_at(after(images, remove({target})));
  EXPECT_EQ(member(done, target).state, MemberState::stale);
  EXPECT_GE(done.array().array().events, description(done, target).events + 2);
}

TEST(Remove, ASpareOf090LeavesTheCounts) {
  auto images = load_fixture("0.90-raid5-3-none-clean");
  images.push_back(Image(images.front().size()));
  const auto with_spare = after(images, add({3}));
  const Look look = look_at(with_spare);
  EXPECT_EQ(member(look, 3).state, MemberState::spare);
  EXPECT_EQ(description(look, 3).dev_number, 3U);
  EXPECT_TRUE(candidate(look, 3)->chosen()->findings.empty());
  const Planned gone = planned(with_spare, remove({3}));
  ASSERT_TRUE(gone.plan) << gone.reason();
  EXPECT_TRUE(mentions(gone.plan->next, "mdtool erase"));
}

TEST(Add, ASpareGetsTheFirstFreeNumberAndNobodyElseIsWritten) {
  auto images = load_fixture("1.2-raid5-4-classic-clean");
  images.push_back(Image(images.front().size()));
  const Planned made = planned(images, add({4}));
  ASSERT_TRUE(made.plan) << made.reason();
  ASSERT_EQ(made.plan->members.size(), 1U);
  const Look look = look_at(applied(*made, images));
  const MemberDescription& d = description(look, 4);
  EXPECT_EQ(d.role, Role::spare);
  EXPECT_GE(d.dev_number, 4U);
  for (std::size_t image = 0; image < 4; ++image) {
    EXPECT_NE(description(look, image).dev_number, d.dev_number);
  }
  EXPECT_EQ(d.events, description(look, 0).events);
  EXPECT_EQ(*d.device_uuid, clock_of_test().fresh_uuid);
  EXPECT_EQ(look.array().verdict, Verdict::assembles);
}

TEST(Add, RefusesContentSmallDevicesAndMembers) {
  auto images = load_fixture("1.2-raid5-4-classic-clean");
  images.push_back(Image(images.front().size()));
  images.push_back(Image(images.front().size() / 2));
  AddAs with_content;
  with_content.content = {"ext4 (filesystem)"};
  EXPECT_NE(planned(images, add({4}, with_content)).reason().find("old-content"), std::string::npos);
  MembershipForces forces;
  forces.old_content = true;
  EXPECT_TRUE(planned(images, add({4}, with_content, forces)).plan);
  EXPECT_FALSE(planned(images, add({5})).plan);
  EXPECT_NE(planned(images, add({1})).reason().find("a member of this array already"), std::string::npos);
  auto mixed = load_fixture("1.2-raid5-4-classic-clean");
  mixed.push_back(load_fixture("1.2-raid5-4-none-clean")[0]);
  const Look look = look_at(mixed);
  const auto other = plan_add(look.arrays[0], named(look, {4}), {}, clock_of_test(), {});
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().text.find("another array"), std::string::npos);
}

TEST(Add, NotToAnArrayThatDoesNotStart) {
  auto images = load_fixture("1.2-raid5-4-none-two-lost");
  images.push_back(Image(images.front().size()));
  const std::size_t fresh = images.size() - 1;
  EXPECT_NE(planned(images, add({fresh})).reason().find("mdtool force"), std::string::npos);
}

TEST(AddInSlot, ALostSuperblockComesBackAsItWas) {
  for (const char* fixture : {"1.2-raid5-4-classic-clean", "1.2-raid5-4-lockless-clean", "1.0-raid5-5-classic-clean",
                              "0.90-raid6-5-classic-clean", "1.1-raid5-4-none-clean", "1.2-raid0-3"}) {
    SCOPED_TRACE(fixture);
    const auto images = load_fixture(fixture);
    const Look before = look_at(images);
    const std::uint32_t slot = *description(before, 2).slot;
    const Planned made = planned(without_superblock(images, 2), add({2}, in_slot(slot)));
    ASSERT_TRUE(made.plan) << made.reason();
    EXPECT_EQ(made.plan->members.size(), 1U);
    const auto changed = applied(*made, without_superblock(images, 2));
    const Look look = look_at(changed);
    EXPECT_EQ(look.array().verdict, before.array().verdict);
    EXPECT_TRUE(look.array().complete);
    EXPECT_EQ(description(look, 2).dev_number, description(before, 2).dev_number);
    EXPECT_EQ(description(look, 2).data_offset, description(before, 2).data_offset);
    EXPECT_EQ(description(look, 2).events, description(before, 2).events);
    EXPECT_EQ(look.array().bitmap.copies.size(), before.array().bitmap.copies.size());
    EXPECT_FALSE(made.plan->costs.empty());
  }
}

TEST(AddInSlot, ByBitmapWhereTheArrayWentOnWithoutIt) {
  const auto images = load_fixture("1.2-raid5-4-classic-stale-member");
  const Look before = look_at(images);
  const std::size_t gone = stale_image(images);
  const std::uint32_t slot = *description(before, gone).slot;
  const Look look = look_at(after(without_superblock(images, gone), add({gone}, in_slot(slot))));
  EXPECT_EQ(member(look, gone).state, MemberState::recovering);
  EXPECT_TRUE(description(look, gone).recovery_by_bitmap);
  EXPECT_TRUE(description(look, gone).recovery_offset.is_zero());
  EXPECT_EQ(look.array().verdict, Verdict::degraded);
}

TEST(AddInSlot, NotIntoAHeldSlotAndNotOnADirtyArray) {
  const auto images = load_fixture("1.2-raid5-4-classic-clean");
  const auto lost = without_superblock(images, 2);
  const std::uint32_t slot = *description(look_at(images), 2).slot;
  EXPECT_NE(planned(lost, add({2}, in_slot(slot == 0 ? 1 : 0))).reason().find("is held by"), std::string::npos);
  EXPECT_EQ(planned(lost, add({2}, in_slot(9))).plan.error().kind, ErrorKind::usage);
  const auto dirty = load_fixture("1.2-raid5-4-classic-crash");
  const std::uint32_t dirty_slot = *description(look_at(dirty), 1).slot;
  EXPECT_NE(planned(without_superblock(dirty, 1), add({1}, in_slot(dirty_slot))).reason().find("dirty-degraded"),
            std::string::npos);
}

TEST(Add, ALostSuperblockComesBackAsOldAsTheOthers) {
  const auto images = load_fixture("1.2-raid5-4-none-clean");
  const std::uint32_t slot = *description(look_at(images), 2).slot;
  const Look look = look_at(after(without_superblock(images, 2), add({2}, in_slot(slot))));
  EXPECT_EQ(look.array().verdict, Verdict::assembles);
  EXPECT_EQ(description(look, 2).events, description(look, 0).events);
  EXPECT_EQ(description(look, 2).utime_seconds, description(look, 0).utime_seconds);
}

TEST(ReAdd, BackInItsSlotToBeFilledByBitmap) {
  const auto images = load_fixture("1.2-raid5-4-classic-stale-member");
  const Look before = look_at(images);
  const std::size_t gone = stale_image(images);
  // A rebuild of another member clears bits before events_cleared rises: no bitmap proves that there was none.
  EXPECT_NE(planned(images, re_add({gone})).reason().find("slot-history"), std::string::npos);
  MembershipForces forces;
  forces.slot_history = true;
  const Look look = look_at(after(images, re_add({gone}, forces)));
  const MemberDescription& d = description(look, gone);
  EXPECT_EQ(member(look, gone).state, MemberState::recovering);
  EXPECT_TRUE(d.recovery_by_bitmap);
  EXPECT_TRUE(d.recovery_offset.is_zero());
  EXPECT_EQ(d.slot, description(before, gone).slot);
  EXPECT_EQ(d.device_uuid, description(before, gone).device_uuid);
  for (std::size_t image = 0; image < images.size(); ++image) {
    EXPECT_EQ(description(look, image).events, before.array().array().events + 2);
    EXPECT_EQ(description(look, image).dev_roles[d.dev_number], *d.slot);
  }
  EXPECT_EQ(look.array().bitmap.classic->set_count(), before.array().bitmap.classic->set_count());
  EXPECT_GT(look.array().bitmap.classic->set_count(), 0U);
  // Its own copy is the array's now, although nobody reads it yet.
  const auto own =
      bitmap::Classic::read(*candidate(look, gone)->metadata, *d.bitmap_offset_bytes, look.array().bitmap.expected);
  ASSERT_TRUE(own);
  EXPECT_TRUE(same_content(*own, *look.array().bitmap.classic));
}

TEST(ReAdd, RefusedWhereNoBitmapVouches) {
  const auto images = load_fixture("0.90-raid5-4-none-stale-member");
  const std::size_t gone = stale_image(images);
  // 0.90 has no place for a sync mark.
  const Look spare = look_at(after(images, re_add({gone})));
  EXPECT_EQ(member(spare, gone).state, MemberState::spare);
  const auto failed = after(load_fixture("1.2-raid5-4-none-clean"), fail({1}));
  EXPECT_NE(planned(failed, re_add({1})).reason().find("--force=bitmap"), std::string::npos);
  MembershipForces forces;
  forces.bitmap = true;
  const Look whole = look_at(after(failed, re_add({1}, forces)));
  EXPECT_EQ(member(whole, 1).state, MemberState::recovering);
  EXPECT_FALSE(description(whole, 1).recovery_by_bitmap);
}

TEST(ReAdd, AMemberOlderThanTheLastClearedBitIsNotFilledByBitmap) {
  auto images = after(load_fixture("1.2-raid5-4-classic-clean"), fail({1}));
  const Look look = look_at(images);
  // As after a write that ended on the complete array: the bitmap's events_cleared has passed the member.
  for (std::size_t image : {0, 2, 3}) {
    auto copy = bitmap::Classic::read(*candidate(look, image)->metadata, *description(look, image).bitmap_offset_bytes,
                                      look.array().bitmap.expected);
    ASSERT_TRUE(copy);
    copy->set_events(copy->header().events, description(look, 1).events + 1);
    const auto bytes = copy->encode();
    std::copy(bytes.begin(), bytes.end(),
              images[image].begin() + static_cast<std::ptrdiff_t>(*description(look, image).bitmap_offset_bytes));
  }
  EXPECT_NE(planned(images, re_add({1})).reason().find("bits were cleared"), std::string::npos);
}

TEST(ReAdd, ALocklessBitmapWantsProofOfTheSlot) {
  const auto images = load_fixture("1.2-raid5-4-lockless-clean");
  const auto failed = after(images, fail({1}));
  const Planned refused = planned(failed, re_add({1}));
  ASSERT_FALSE(refused.plan);
  EXPECT_NE(refused.reason().find("--force=slot-history"), std::string::npos);
  MembershipForces forces;
  forces.slot_history = true;
  EXPECT_EQ(member(look_at(after(failed, re_add({1}, forces))), 1).state, MemberState::recovering);
}

TEST(ReAdd, NotWhileTheArrayIsDirtyAndDegraded) {
  const auto images = load_fixture("1.2-raid5-3-classic-dirty-degraded");
  EXPECT_NE(planned(images, re_add({stale_image(images)})).reason().find("dirty and degraded"), std::string::npos);
}

TEST(ReAdd, NotAMemberThatWasWrittenApart) {
  const auto images = load_fixture("1.2-raid1-2-classic");
  // Each went on without the other.
  std::vector<Image> apart = after(images, fail({1}));
  apart[1] = after(images, fail({0}))[1];
  const Look look = look_at(apart);
  const std::size_t stale = member(look, 0).state == MemberState::stale ? 0 : 1;
  const auto plan = plan_re_add(look.array(), named(look, {stale}), clock_of_test(), {});
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().text.find("without"), std::string::npos);
}

TEST(Membership, EveryCutConverges) {
  {
    SCOPED_TRACE("fail, classic bitmap");
    expect_convergence(load_fixture("1.2-raid5-4-classic-clean"), fail({2}));
  }
  {
    SCOPED_TRACE("fail, 0.90");
    expect_convergence(load_fixture("0.90-raid6-5-classic-clean"), fail({2}));
  }
  {
    SCOPED_TRACE("remove");
    expect_convergence(after(load_fixture("1.2-raid5-4-lockless-clean"), fail({0})), remove({0}));
  }
  {
    const auto images = load_fixture("1.2-raid5-4-classic-stale-member");
    const std::size_t gone = stale_image(images);
    SCOPED_TRACE("re-add");
    MembershipForces forces;
    forces.slot_history = true;
    expect_convergence(images, re_add({gone}, forces));
    SCOPED_TRACE("a former member as a spare");
    expect_convergence(images, add({gone}));
  }
  {
    SCOPED_TRACE("re-add, lockless");
    MembershipForces forces;
    forces.slot_history = true;
    expect_convergence(after(load_fixture("1.2-raid5-4-lockless-clean"), fail({1})), re_add({1}, forces));
  }
  {
    SCOPED_TRACE("a lost superblock of 0.90");
    const auto images = load_fixture("0.90-raid6-5-classic-clean");
    const std::uint32_t slot = *description(look_at(images), 3).slot;
    expect_convergence(without_superblock(images, 3), add({3}, in_slot(slot)));
  }
  {
    SCOPED_TRACE("a lost superblock, the array went on");
    const auto images = after(load_fixture("1.2-raid5-4-classic-clean"), fail({2}));
    const std::uint32_t slot = *description(look_at(images), 2).slot;
    expect_convergence(without_superblock(after(images, remove({2})), 2), add({2}, in_slot(slot)));
  }
}

}  // namespace
}  // namespace mdtool::test
