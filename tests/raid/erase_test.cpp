// SPDX-License-Identifier: GPL-2.0-or-later
// Superblocks erased: all of their bytes, nothing else's; cut anywhere, made again, and taken back.
#include "libraid/edit/erase.h"

#include <gtest/gtest.h>

#include "tests/raid/edited_members.h"

namespace mdtool {
namespace {

using test::expect_safe;
using test::Image;
using test::load_fixture;
using test::look_at;
using test::Planner;
using test::refusal;

constexpr auto last_members = EraseWhat::LastMembers::erase;

Planner erase(std::vector<std::size_t> members, EraseWhat what = {}) {
  return [=](const test::Look& look) {
    std::vector<const Candidate*> targets;
    for (std::size_t i : members) {
      targets.push_back(&look.candidates[i]);
    }
    return plan_erase(targets, look.arrays, what);
  };
}

std::uint64_t differing_bytes(const Image& a, const Image& b, std::uint64_t from, std::uint64_t length) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    count += a[i] != b[i] && (i < from || i >= from + length) ? 1 : 0;
  }
  return count;
}

bool zeroes(const Image& image, std::uint64_t from, std::uint64_t length) {
  return std::all_of(image.begin() + static_cast<std::ptrdiff_t>(from),
                     image.begin() + static_cast<std::ptrdiff_t>(from + length),
                     [](std::byte b) { return b == std::byte{0}; });
}

TEST(Erase, OneMemberOfARedundantArray) {
  for (const char* name : {"1.2-raid5-4-classic-clean", "1.0-raid5-5-classic-clean", "1.1-raid5-4-none-clean",
                           "0.90-raid5-3-none-clean"}) {
    SCOPED_TRACE(name);
    const std::vector<Image> images = load_fixture(name);
    const test::Look look = look_at(images);
    const auto plan = erase({1})(look);
    ASSERT_TRUE(plan) << plan.error().text;
    EXPECT_TRUE(test::mentions(
        plan->costs, std::to_string(images.size() - 1) + " of its " + std::to_string(images.size()) + " slots"));
    const std::vector<Image> erased = test::after(images, erase({1}));
    const Metadata& gone = *look.candidates[1].chosen()->metadata;
    const std::uint64_t length = gone.encode().size();
    EXPECT_TRUE(zeroes(erased[1], gone.offset_bytes(), length));
    EXPECT_EQ(differing_bytes(erased[1], images[1], gone.offset_bytes(), length), 0U);
    EXPECT_TRUE(erased[0] == images[0] && erased[2] == images[2]);
    EXPECT_EQ(look_at(erased).candidates[1].chosen(), nullptr);
    EXPECT_EQ(look_at(erased).array().verdict, Verdict::degraded);
    expect_safe(images, erase({1}));
  }
}

TEST(Erase, NotTheLastMembersWithoutForce) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  EXPECT_NE(refusal(images, erase({0, 2})).find("--force=last-members"), std::string::npos);
  const Planner all = erase({0, 1, 2, 3}, {std::nullopt, last_members});
  EXPECT_TRUE(look_at(test::after(images, all)).arrays.empty());
  expect_safe(images, all);
}

TEST(Erase, WhatIsAloneCannotBeJudged) {
  const std::vector<Image> images = {load_fixture("1.2-raid5-4-none-clean")[2]};
  const test::Look look = look_at(images);
  const auto plan = erase({0})(look);
  ASSERT_TRUE(plan) << plan.error().text;
  EXPECT_TRUE(test::mentions(plan->costs, "cannot be seen"));
}

// A 0.90 array with superblocks of another one at the place of 1.2.
std::vector<Image> with_two_superblocks() {
  std::vector<Image> images = load_fixture("0.90-raid5-3-none-clean");
  const std::vector<Image> others = load_fixture("1.2-raid5-4-none-clean");
  for (std::size_t i = 0; i < images.size(); ++i) {
    std::copy_n(others[i].begin() + 4096, 4096, images[i].begin() + 4096);
  }
  return images;
}

TEST(Erase, OneOfSeveralSuperblocks) {
  const std::vector<Image> images = with_two_superblocks();
  const test::Look look = look_at(images);
  ASSERT_EQ(look.candidates[0].superblocks.size(), 2U);
  const std::string counts = look.candidates[0].chosen()->description.metadata;
  const std::string under = counts == "1.2" ? "0.90" : "1.2";
  const auto plan = erase({0}, {counts, last_members})(look);
  ASSERT_TRUE(plan) << plan.error().text;
  EXPECT_TRUE(test::mentions(plan->costs, "what counts then is the " + under));
  const Planner one = erase({0, 1, 2}, {counts, last_members});
  const test::Look erased = look_at(test::after(images, one));
  for (const Candidate& member : erased.candidates) {
    ASSERT_EQ(member.superblocks.size(), 1U);
    EXPECT_EQ(member.chosen()->description.metadata, under);
  }
  expect_safe(images, one);
  const Planner all = erase({0, 1, 2}, {std::nullopt, last_members});
  EXPECT_TRUE(look_at(test::after(images, all)).candidates[0].superblocks.empty());
  expect_safe(images, all);
}

// A superblock of more than one sector is found until all of the rest of it is gone.
TEST(Erase, ManyRoles) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  for (Image& image : images) {
    std::fill_n(image.begin() + 4096 + 512, 1024, std::byte{0xff});
    test::set_field(image, 220, le32(600));  // max_dev
  }
  ASSERT_EQ(look_at(images).array().verdict, Verdict::assembles);
  const std::vector<Image> erased = test::after(images, erase({3}));
  EXPECT_TRUE(zeroes(erased[3], 4096, 1536));
  expect_safe(images, erase({3}));
}

TEST(Erase, NothingThere) {
  std::vector<Image> images = {Image(1U << 20)};
  const test::Look look = look_at(images);
  const auto plan = erase({0})(look);
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->nothing_to_do());
  EXPECT_NE(test::finding(plan->findings, "nothing-to-erase"), nullptr);
  images = {load_fixture("1.2-raid5-4-none-clean")[0]};
  const test::Look other = look_at(images);
  const auto none = erase({0}, {"0.90", last_members})(other);
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->nothing_to_do());
  EXPECT_NE(test::finding(none->findings, "nothing-to-erase")->text.find("0.90"), std::string::npos);
}

}  // namespace
}  // namespace mdtool
