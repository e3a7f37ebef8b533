// SPDX-License-Identifier: GPL-2.0-or-later
// force as a plan: who is taken along and at what price, what is refused, and that every cut of it converges.
#include <gtest/gtest.h>

#include "libraid/assemble/write_checks.h"
#include "libraid/edit/membership.h"
#include "tests/raid/edited_array.h"

namespace mdtool::test {
namespace {

EditClock clock_of_test() {
  EditClock clock;
  clock.now_seconds = 1900000000;
  return clock;
}

std::vector<const Candidate*> named(const Look& look, const std::vector<std::size_t>& images) {
  std::vector<const Candidate*> all;
  for (std::size_t image : images) {
    all.push_back(candidate(look, image));
  }
  return all;
}

Planner force(std::vector<std::size_t> targets = {}, MembershipForces forces = {}) {
  return [=](const Look& look) { return plan_force(look.array(), named(look, targets), clock_of_test(), forces); };
}

MembershipForces split_brain() {
  MembershipForces forces;
  forces.split_brain = true;
  return forces;
}

// The members `images` are as the array looks after the others went on without them.
std::vector<Image> fail(const std::vector<Image>& images, const std::vector<std::size_t>& gone) {
  const Look look = look_at(images);
  MembershipForces forces;
  forces.too_few = true;
  const auto plan = plan_fail(look.array(), named(look, gone), clock_of_test(), forces);
  EXPECT_TRUE(plan) << plan.error().text;
  return applied(*plan, images);
}

std::vector<Image> after(const std::vector<Image>& images, const Planner& planner) {
  const Planned made = planned(images, planner);
  EXPECT_TRUE(made.plan) << made.reason();
  return made.plan ? applied(*made, images) : images;
}

const Member& member(const Look& look, std::size_t image) {
  const auto& members = look.array().members;
  return *std::find_if(members.begin(), members.end(),
                       [&](const Member& m) { return m.candidate == candidate(look, image); });
}

void set_raw(std::vector<Image>& images, std::uint64_t chunk, bitmap::ChunkState state) {
  const Look look = look_at(images);
  for (std::size_t image = 0; image < images.size(); ++image) {
    const auto offset = *candidate(look, image)->chosen()->description.bitmap_offset_bytes;
    images[image][offset + bitmap::lockless_states_offset + chunk] = static_cast<std::byte>(state);
  }
}

TEST(Force, TheLastToLeaveIsTakenAlongAndTheOtherStaysAway) {
  const auto images = fail(fail(load_fixture("1.2-raid5-4-classic-clean"), {1}), {3});
  ASSERT_EQ(look_at(images).array().verdict, Verdict::needs_force);
  const Planned made = planned(images, force());
  ASSERT_TRUE(made.plan) << made.reason();
  EXPECT_TRUE(mentions(made.plan->costs, "m3"));
  const auto changed = applied(*made, images);
  EXPECT_EQ(changed[1], images[1]);
  const Look look = look_at(changed);
  EXPECT_EQ(look.array().verdict, Verdict::degraded);
  EXPECT_EQ(member(look, 3).state, MemberState::in_sync);
  EXPECT_EQ(member(look, 1).state, MemberState::stale);
  for (std::size_t image : {0, 2, 3}) {
    const MemberDescription& d = candidate(look, image)->chosen()->description;
    EXPECT_EQ(d.events, look.array().array().events);
    EXPECT_TRUE(d.clean());
    EXPECT_EQ(d.dev_roles, look.array().array().dev_roles);
  }
  EXPECT_EQ(look.array().bitmap.copies.size(), 3U);
}

TEST(Force, ThoseThatLeftTogetherComeTogether) {
  const auto images = fail(load_fixture("1.2-raid5-4-none-clean"), {1, 3});
  const Look look = look_at(after(images, force()));
  EXPECT_EQ(look.array().verdict, Verdict::assembles);
  EXPECT_TRUE(look.array().clean);
  const Look one = look_at(after(images, force({3})));
  EXPECT_EQ(one.array().verdict, Verdict::degraded);
  EXPECT_EQ(member(one, 1).state, MemberState::stale);
}

TEST(Force, DirtyAndDegradedIsMarkedCleanWithTheWriteHoleNamed) {
  for (const char* fixture : {"1.2-raid5-4-none-dirty-degraded", "1.2-raid6-5-lockless-dirty-degraded"}) {
    SCOPED_TRACE(fixture);
    const auto images = load_fixture(fixture);
    const Planned made = planned(images, force());
    ASSERT_TRUE(made.plan) << made.reason();
    EXPECT_TRUE(mentions(made.plan->costs, "write hole"));
    const Look look = look_at(applied(*made, images));
    EXPECT_EQ(look.array().verdict, Verdict::degraded);
    for (const Member& m : look.array().members) {
      if (m.state == MemberState::in_sync) {
        EXPECT_TRUE(m.description().clean());
      }
    }
  }
}

TEST(Force, OnALocklessBitmapNothingIsLeftThatTheKernelWouldRebuildFromStaleMembers) {
  auto images = fail(load_fixture("1.2-raid5-4-lockless-clean"), {1, 3});
  using enum bitmap::ChunkState;
  set_raw(images, 0, need_sync);
  set_raw(images, 1, dirty);
  set_raw(images, 2, syncing);
  const Look complete = look_at(after(images, force()));
  EXPECT_EQ(complete.array().verdict, Verdict::assembles);
  const auto states = complete.array().bitmap.lockless->counts().by_state;
  for (const auto due : {need_sync, dirty, syncing}) {
    EXPECT_EQ(states[static_cast<std::size_t>(due)], 0U);
  }
  // Degraded nothing is synced, and what is due is kept for the member that stays away.
  const Look degraded = look_at(after(images, force({1})));
  EXPECT_EQ(degraded.array().bitmap.lockless->raw(0), static_cast<std::uint8_t>(need_sync));
}

TEST(Force, AMemberThatWasBeingRebuiltIsNotTakenAsInSync) {
  const auto images = load_fixture("1.2-raid5-4-none-recovering");
  const Look look = look_at(images);
  std::size_t recovering = 0;
  while (member(look, recovering).state != MemberState::recovering) {
    ++recovering;
  }
  const auto lost = fail(images, {recovering == 0 ? std::size_t{1} : std::size_t{0}});
  const auto all = fail(lost, {recovering});
  const Planned made = planned(all, force({recovering}));
  ASSERT_FALSE(made.plan);
  EXPECT_NE(made.reason().find("being rebuilt"), std::string::npos);
}

TEST(Force, NothingToDoWhereTheArrayStarts) {
  EXPECT_TRUE(planned(load_fixture("1.2-raid5-4-classic-clean"), force()).plan->nothing_to_do());
  EXPECT_TRUE(planned(load_fixture("1.2-raid5-4-none-degraded"), force()).plan->nothing_to_do());
  EXPECT_NE(planned(load_fixture("1.2-raid5-4-none-crash"), force()).reason().find("mdtool resync"), std::string::npos);
}

TEST(Force, AStaleMemberIsNotTakenInWhereTheArrayStartsWithoutIt) {
  const auto images = fail(load_fixture("1.2-raid5-4-classic-clean"), {2});
  EXPECT_NE(planned(images, force({2})).reason().find("mdtool re-add"), std::string::npos);
  MembershipForces forces;
  forces.stale_content = true;
  EXPECT_TRUE(planned(images, force({2}, forces)).plan);
}

// Each half went on without the other, the second one longer.
std::vector<Image> two_halves(const std::string& fixture, const std::vector<std::size_t>& first,
                              const std::vector<std::size_t>& second) {
  const auto images = load_fixture(fixture);
  auto split = fail(images, second);
  const auto others = fail(fail(images, {first[0]}), first);
  for (std::size_t image : second) {
    split[image] = others[image];
  }
  return split;
}

TEST(Force, OfTwoHalvesTheNamedOneWinsForGood) {
  const auto images = two_halves("1.2-raid1-2-classic", {0}, {1});
  const Planned refused = planned(images, force());
  ASSERT_FALSE(refused.plan);
  EXPECT_NE(refused.reason().find("--target m0 --force=split-brain"), std::string::npos);
  EXPECT_NE(refused.reason().find("--target m1 --force=split-brain"), std::string::npos);
  EXPECT_FALSE(planned(images, force({0})).plan);
  EXPECT_FALSE(planned(images, force({0, 1}, split_brain())).plan);
  // The one with fewer events is chosen all the same.
  for (std::size_t winner : {0, 1}) {
    const auto changed = after(images, force({winner}, split_brain()));
    EXPECT_EQ(changed[1 - winner], images[1 - winner]);
    const Look look = look_at(changed);
    EXPECT_EQ(look.array().members[look.array().freshest].candidate, candidate(look, winner));
    EXPECT_EQ(member(look, 1 - winner).state, MemberState::stale);
    EXPECT_GE(candidate(look, winner)->chosen()->description.events,
              candidate(look, 1 - winner)->chosen()->description.events + 2);
    EXPECT_EQ(look.array().verdict, Verdict::degraded);
  }
}

TEST(Force, OfTwoHalvesNobodyElseChooses) {
  const auto images = two_halves("1.2-raid6-5-classic-clean", {0, 1, 2}, {3, 4});
  const Look look = look_at(images);
  const auto other = two_halves("1.2-raid1-2-classic", {0}, {1});
  const Look pair = look_at(other);
  EXPECT_NE(check_not_split(pair.array()).error().text.find("mdtool force"), std::string::npos);
  EXPECT_TRUE(check_not_split(look.array()));  // two of five could not have run alone
  const auto spare = [](const Look& l) {
    return plan_add(l.array(), named(l, {1}), {}, clock_of_test(), MembershipForces());
  };
  EXPECT_NE(planned(other, spare).reason().find("written on its own"), std::string::npos);
  const auto failing = [](const Look& l) {
    MembershipForces forces;
    forces.too_few = true;
    return plan_fail(l.array(), named(l, {1}), clock_of_test(), forces);
  };
  EXPECT_NE(planned(other, failing).reason().find("mdtool force"), std::string::npos);
}

TEST(Force, EveryCutConverges) {
  {
    SCOPED_TRACE("one of two");
    expect_convergence(fail(fail(load_fixture("1.2-raid5-4-classic-clean"), {1}), {3}), force());
  }
  {
    SCOPED_TRACE("two together, lockless");
    expect_convergence(fail(load_fixture("1.2-raid5-4-lockless-clean"), {1, 3}), force());
  }
  {
    SCOPED_TRACE("two together, 0.90");
    expect_convergence(fail(load_fixture("0.90-raid5-3-none-clean"), {0, 2}), force());
  }
  {
    SCOPED_TRACE("dirty and degraded");
    expect_convergence(load_fixture("1.2-raid5-3-classic-dirty-degraded"), force());
  }
  {
    SCOPED_TRACE("half");
    expect_convergence(two_halves("1.2-raid1-2-classic", {0}, {1}), force({0}, split_brain()));
  }
  {
    SCOPED_TRACE("named");
    expect_convergence(fail(load_fixture("1.0-raid5-5-classic-clean"), {1, 3}), force({3}));
  }
}

}  // namespace
}  // namespace mdtool::test
