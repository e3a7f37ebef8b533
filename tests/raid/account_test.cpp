// SPDX-License-Identifier: GPL-2.0-or-later
// Accounts of arrays: who left when and what was written since, halves, contradictions, choices and their prices. On
// arrays that a kernel made, and on the same with superblocks edited as failures leave them.
#include "libraid/assemble/account.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "libmeta/md1/superblock.h"
#include "libraid/assemble/account_parts.h"
#include "libraid/assemble/next_steps.h"
#include "tests/raid/loaded_array.h"

namespace mdtool {
namespace {

using test::finding;
using test::Image;
using test::load_fixture;
using test::Look;
using test::look_at;
using test::look_without;
using test::set_field;
using Indices = std::vector<std::size_t>;

constexpr std::size_t at_chunksize = offsetof(md1::Superblock, chunksize);
constexpr std::size_t at_events = offsetof(md1::Superblock, events);
constexpr std::size_t at_set_uuid = offsetof(md1::Superblock, set_uuid);
constexpr std::size_t at_device_uuid = offsetof(md1::Superblock, device_uuid);

Account account(const Look& look) {
  return account_of(look.array(), look.candidates);
}

// The newest superblock of the image, changed.
void change(Image& image, const SuperblockChange& what) {
  const Look look = look_at({image});
  const auto changed = look.candidates.front().chosen()->metadata->changed(what);
  const std::vector<std::byte> bytes = changed->encode();
  std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(changed->offset_bytes()));
}

MemberDescription described(const Image& image) {
  return look_at({image}).candidates.front().chosen()->description;
}

// As the superblock of a member that went on without these slots.
void go_on_without(Image& image, std::vector<std::uint32_t> slots, std::uint64_t events_more,
                   std::uint64_t seconds_more = 60) {
  const MemberDescription d = described(image);
  SuperblockChange what;
  what.events = d.events + events_more;
  what.utime_seconds = d.utime_seconds + seconds_more;
  what.missing_slots = std::move(slots);
  change(image, what);
}

const Choice* choice(const Account& a, std::string_view id) {
  const auto found = std::find_if(a.choices.begin(), a.choices.end(), [&](const Choice& c) { return c.id == id; });
  return found == a.choices.end() ? nullptr : &*found;
}

std::vector<std::string> paths(const Look& look, const Indices& members) {
  std::vector<std::string> names;
  for (std::size_t i : members) {
    names.push_back(look.array().members[i].candidate->path);
  }
  return names;
}

std::vector<std::string> all_fixtures() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(MDTOOL_FIXTURES)) {
    if (std::filesystem::exists(entry.path() / "expected.json")) {
      names.push_back(entry.path().filename());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Not members that contradict each other, but what the kernel's bugs did to these (hazards_test.cpp).
bool is_known_hazard(const std::string& fixture, const Finding& f) {
  return (fixture == "1.2-raid5-3-lockless-infected-header" && f.id == "lockless-on-large-blocks") ||
         (fixture == "1.2-raid5-3-lockless-replaced" && f.id == "clean-unwritten-after-replacement");
}

// No failure that a kernel and a power cut alone make is called a contradiction.
TEST(Account, ArraysOfOneHistoryContradictNothing) {
  const std::vector<std::string> names = all_fixtures();
  ASSERT_GT(names.size(), 50U);
  for (const std::string& name : names) {
    const Look look = look_at(load_fixture(name));
    const Account a = account(look);
    for (const Finding& f : a.contradictions) {
      EXPECT_TRUE(f.severity == Severity::note || is_known_hazard(name, f)) << name << ": " << f.id << ": " << f.text;
    }
    EXPECT_TRUE(contradictions_among(look.candidates, look.arrays).empty()) << name;
    EXPECT_TRUE(a.halves.empty()) << name;
    ASSERT_FALSE(a.choices.empty()) << name;
    const Assembly& array = look.array();
    const bool forced = array.verdict == Verdict::needs_force && !array.bitmap.kernel_refuses();
    EXPECT_EQ(choice(a, "force") != nullptr || choice(a, "resync") != nullptr,
              forced || (array.verdict == Verdict::assembles && !array.clean))
        << name;
    EXPECT_EQ(choice(a, "find-members") != nullptr, array.verdict == Verdict::impossible) << name;
    EXPECT_EQ(a.evidence.size(), array.members.size());
  }
}

TEST(Account, EveryWarningHasANextStep) {
  for (const std::string& name : all_fixtures()) {
    std::vector<Image> images = load_fixture(name);
    for (const std::size_t damaged : {images.size(), std::size_t{0}}) {
      if (damaged < images.size()) {
        for (std::size_t i = 4096; i < 4096 + 256 && i < images[damaged].size(); i += 24) {
          images[damaged][i] ^= std::byte{0x11};
        }
      }
      const Look look = look_at(images);
      Findings all;
      for (const Candidate& c : look.candidates) {
        all.insert(all.end(), c.findings.begin(), c.findings.end());
        for (const FoundSuperblock& s : c.superblocks) {
          all.insert(all.end(), s.findings.begin(), s.findings.end());
        }
      }
      for (const Assembly& a : look.arrays) {
        all.insert(all.end(), a.findings.begin(), a.findings.end());
        all.insert(all.end(), a.bitmap.findings.begin(), a.bitmap.findings.end());
      }
      for (const Finding& f : all) {
        EXPECT_TRUE(f.severity == Severity::note || !f.next.empty() || !next_step(f.id).empty())
            << name << ": " << f.id;
      }
    }
  }
}

TEST(Account, ABitmapSaysWhatWasWrittenSinceAMemberLeft) {
  const Look look = look_at(load_fixture("1.2-raid5-4-classic-stale-member"));
  const Account a = account(look);
  ASSERT_EQ(a.departures.size(), 1U);
  const Departure& left = a.departures.front();
  const BitmapView& bitmap = look.array().bitmap;
  ASSERT_TRUE(bitmap.classic);
  EXPECT_EQ(left.source, Departure::Source::bitmap);
  EXPECT_EQ(left.stale_bytes,
            std::min(look.array().array_bytes(), bitmap.classic->set_count() * bitmap.chunk().bytes() * 3));
  EXPECT_GT(left.stale_bytes, 0U);
  EXPECT_LT(left.stale_bytes, look.array().array_bytes());
  EXPECT_EQ(left.events_behind, look.array().array().events - look.array().members[left.member].description().events);
  EXPECT_GE(left.last_seconds, left.left_seconds);
  const Choice* back = choice(a, "re-add");
  ASSERT_NE(back, nullptr);
  EXPECT_NE(back->command.find("mdtool re-add --force=slot-history m"), std::string::npos);
  EXPECT_NE(back->command.find("--target " + look.array().members[left.member].candidate->path), std::string::npos);
  EXPECT_EQ(a.choices.front().id, "start-degraded");
}

TEST(Account, ABitmapDoesNotVouchForWhatIsOlderThanItsClearedBits) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-classic-stale-member");
  const Look before = look_at(images);
  const std::uint64_t cleared = before.array().bitmap.classic->header().events_cleared;
  const Departure left = account(before).departures.front();
  const auto at = static_cast<std::size_t>(before.array().members[left.member].candidate - before.candidates.data());
  for (const std::uint64_t events : {cleared, cleared - 1}) {
    set_field(images[at], at_events, le64(events));
    const Look look = look_at(images);
    const Account a = account(look);
    EXPECT_EQ(a.departures.front().source == Departure::Source::bitmap, events >= cleared);
    EXPECT_EQ(a.departures.front().stale_bytes == look.array().array_bytes(), events < cleared);
    EXPECT_EQ(choice(a, "re-add") != nullptr, events >= cleared);
    EXPECT_EQ(choice(a, "recover") != nullptr, events < cleared);
  }
}

TEST(Account, WithoutABitmapAllCountsAsStale) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  set_field(images[1], at_events, le64(described(images[1]).events - 4));
  for (const Look& look : {look_at(load_fixture("0.90-raid5-4-none-stale-member")), look_at(images)}) {
    const Account a = account(look);
    ASSERT_EQ(a.departures.size(), 1U);
    EXPECT_EQ(a.departures[0].source, Departure::Source::none);
    EXPECT_EQ(a.departures[0].stale_bytes, look.array().array_bytes());
    EXPECT_EQ(choice(a, "re-add"), nullptr);
    ASSERT_NE(choice(a, "recover"), nullptr);
    const bool whole = choice(a, "recover")->command.find("--force=bitmap") != std::string::npos;
    EXPECT_EQ(whole, look.array().array().metadata != "0.90");
  }
}

TEST(Account, ASlotThatAnotherHasHeldIsNotVouchedFor) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-classic-clean");
  images.push_back(images[1]);
  set_field(images[4], at_events, le64(described(images[1]).events - 2));
  set_field(images[4], at_device_uuid, le64(77));
  const Look look = look_at(images);
  const Account a = account(look);
  ASSERT_EQ(a.departures.size(), 1U);
  EXPECT_TRUE(a.departures[0].slot_taken);
  EXPECT_EQ(a.departures[0].stale_bytes, look.array().array_bytes());
}

TEST(Account, TheLastToLeaveComesFirst) {
  std::vector<Image> images = load_fixture("1.2-raid6-5-classic-clean");
  const std::uint64_t events = described(images[0]).events;
  ASSERT_GT(events, 12U);
  set_field(images[1], at_events, le64(events - 10));
  set_field(images[3], at_events, le64(events - 4));
  const Look look = look_at(images);
  const Account a = account(look);
  ASSERT_EQ(a.departures.size(), 2U);
  EXPECT_EQ(paths(look, {a.departures[0].member, a.departures[1].member}), (std::vector<std::string>{"m3", "m1"}));
}

// RAID-5, two members gone at different times: mdadm's force takes the one that left last.
TEST(Account, ForceTakesTheLastToLeaveAndSaysThePrice) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const std::uint64_t events = described(images[0]).events;
  ASSERT_GT(events, 8U);
  set_field(images[1], at_events, le64(events - 8));
  set_field(images[2], at_events, le64(events - 3));
  const Look look = look_at(images);
  const Account a = account(look);
  EXPECT_EQ(look.array().verdict, Verdict::needs_force);
  const Choice* force = choice(a, "force");
  ASSERT_NE(force, nullptr);
  EXPECT_EQ(paths(look, force->members), (std::vector<std::string>{"m0", "m3", "m2"}));
  EXPECT_EQ(force->command, "mdtool force m0 m3 m1 m2 --target m2");
  EXPECT_EQ(force->stale_bytes, look.array().array_bytes());
  set_field(images[1], at_events, le64(events - 3));
  const Look equal = look_at(images);
  EXPECT_EQ(choice(account(equal), "force")->command, "mdtool force m0 m3 m1 m2 --target m1 --target m2");
}

// As a kernel left a RAID-5 whose members 1, 2 and 3 failed one after the other: with the second it stood still.
TEST(Account, NothingIsWrittenAfterOneTooManyHasLeft) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  go_on_without(images[2], {1}, 2);
  go_on_without(images[3], {1, 2}, 3);
  go_on_without(images[0], {1, 2, 3}, 5);
  const Look look = look_at(images);
  const Account a = account(look);
  ASSERT_EQ(a.departures.size(), 3U);
  EXPECT_EQ(a.departures[0].source, Departure::Source::standstill);
  EXPECT_EQ(a.departures[1].source, Departure::Source::standstill);
  EXPECT_EQ(a.departures[2].source, Departure::Source::none) << "without the first to leave the others went on";
  EXPECT_EQ(a.departures[2].stale_bytes, look.array().array_bytes());
  const Choice* force = choice(a, "force");
  ASSERT_NE(force, nullptr);
  EXPECT_EQ(force->command, "mdtool force m0 m1 m2 m3 --target m3 --target m2");
  EXPECT_EQ(force->stale_bytes, 0U);
  EXPECT_NE(finding(a.contradictions, "others-failed"), nullptr);
}

// One event behind, and called failed by the last: mdadm --assemble does not start these two, with --force it does.
TEST(Account, AMemberThatFailedLastCanBeForced) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  go_on_without(images[1], {0}, 2);
  go_on_without(images[2], {0}, 2);
  go_on_without(images[3], {0, 1, 2}, 3);
  const Look look = look_without(images, {0});
  EXPECT_EQ(look.array().verdict, Verdict::needs_force);
  EXPECT_EQ(look_at(images, {1, 3}).array().verdict, Verdict::impossible);
  const Account a = account(look);
  ASSERT_NE(choice(a, "force"), nullptr);
  EXPECT_EQ(choice(a, "force")->stale_bytes, 0U);
  EXPECT_EQ(choice(a, "force")->command, "mdtool force m3 m1 m2 --target m1 --target m2");
  EXPECT_EQ(finding(a.contradictions, "one-event-apart"), nullptr) << "nothing was written in between";
}

TEST(Account, DirtyAndDegradedIsForcedWithoutStaleMembers) {
  const Look look = look_at(load_fixture("1.2-raid5-3-classic-dirty-degraded"));
  const Account a = account(look);
  const Choice* force = choice(a, "force");
  ASSERT_NE(force, nullptr);
  EXPECT_EQ(force->command.find("--target"), std::string::npos);
  ASSERT_NE(choice(a, "copy"), nullptr);
  EXPECT_EQ(force->stale_bytes, unsynchronised_bytes(look.array()));
  EXPECT_EQ(a.choices.front().id, "copy") << "the cheapest changes nothing";
}

// ---- halves

TEST(SplitBrain, TwoMirrorsThatWentOnAlone) {
  std::vector<Image> images = load_fixture("1.2-raid1-2-classic");
  go_on_without(images[0], {1}, 4);
  go_on_without(images[1], {0}, 8);
  const Look look = look_at(images);
  const Account a = account(look);
  ASSERT_EQ(a.halves.size(), 2U);
  EXPECT_EQ(paths(look, a.halves[0]), std::vector<std::string>{"m1"});
  EXPECT_EQ(paths(look, a.halves[1]), std::vector<std::string>{"m0"});
  const Finding* found = finding(a.contradictions, "split-brain");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->severity, Severity::problem);
  EXPECT_FALSE(found->next.empty());
  const Choice* other = choice(a, "force-other-half");
  ASSERT_NE(other, nullptr);
  EXPECT_NE(other->command.find("--force=split-brain"), std::string::npos);
  EXPECT_NE(other->command.find("--target m0"), std::string::npos);
  EXPECT_EQ(choice(a, "start-degraded"), nullptr) << "the freshest must not win silently";
}

TEST(Choices, OfALevelThatMdtoolDoesNotSynchroniseAreTheKernels) {
  std::vector<Image> images = load_fixture("1.2-raid1-2-classic");
  SuperblockChange dirty;
  dirty.resync_offset = Sectors();
  for (Image& image : images) {
    change(image, dirty);
  }
  const Look look = look_at(images);
  const Account a = account(look);
  const Choice* resync = choice(a, "resync");
  ASSERT_NE(resync, nullptr);
  EXPECT_TRUE(resync->command.starts_with("mdadm --assemble")) << resync->command;
  EXPECT_TRUE(look.array().reasons.front().starts_with("dirty")) << look.array().reasons.front();
}

TEST(SplitBrain, HalvesOfARaid10) {
  std::vector<Image> images = load_fixture("1.2-raid10-4-none");
  for (std::size_t i : {0U, 2U}) {
    go_on_without(images[i], {1, 3}, 6);
  }
  for (std::size_t i : {1U, 3U}) {
    go_on_without(images[i], {0, 2}, 6);
  }
  const Look look = look_at(images);
  const Account a = account(look);
  ASSERT_EQ(a.halves.size(), 2U);
  EXPECT_EQ(a.halves[0].size() + a.halves[1].size(), 4U);
  EXPECT_NE(finding(a.contradictions, "split-brain"), nullptr);
  EXPECT_EQ(a.choices.size(), 2U);
  const Look one_of_each = look_at(images, {0, 3});
  EXPECT_EQ(account(one_of_each).halves.size(), 2U) << "views tell it, whoever is here";
}

TEST(SplitBrain, AMemberThatFellOutIsNoHalf) {
  std::vector<Image> mirrors = load_fixture("1.2-raid1-2-classic");
  go_on_without(mirrors[0], {1}, 8);
  EXPECT_TRUE(account(look_at(mirrors)).halves.empty());
  // RAID-6: 4 fell out, 3 fell out later and saw that; then 4 was filled again.
  std::vector<Image> images = load_fixture("1.2-raid6-5-classic-clean");
  go_on_without(images[3], {4}, 2);
  for (std::size_t i : {0U, 1U, 2U, 4U}) {
    go_on_without(images[i], {3}, 20);
  }
  const Account a = account(look_at(images));
  EXPECT_TRUE(a.halves.empty());
  EXPECT_EQ(finding(a.contradictions, "split-brain"), nullptr);
  EXPECT_EQ(a.departures.size(), 1U);
}

// ---- contradictions

TEST(Contradictions, OneThatSawAllOthersFailIsBetterLeftOut) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  go_on_without(images[0], {1, 2, 3}, 6);
  const Look look = look_at(images);
  EXPECT_EQ(look.array().verdict, Verdict::needs_force);
  const Account a = account(look);
  const Finding* found = finding(a.contradictions, "others-failed");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->text.find("m0"), 0U);
  const Choice* out = choice(a, "leave-out");
  ASSERT_NE(out, nullptr);
  EXPECT_EQ(paths(look, out->members), (std::vector<std::string>{"m1", "m2", "m3"}));
  EXPECT_EQ(look_without(images, {0}).array().verdict, Verdict::degraded) << "what the choice promises";
  EXPECT_EQ(a.choices.front().id, "leave-out");
}

TEST(Contradictions, EqualEventsWithDifferentViews) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  SuperblockChange without;
  without.missing_slots = {3};
  change(images[1], without);
  const Account a = account(look_at(images));
  const Finding* found = finding(a.contradictions, "equal-events-different-views");
  ASSERT_NE(found, nullptr);
  EXPECT_NE(found->text.find("slots 0, 1, 2 says m1"), std::string::npos) << found->text;
  set_field(images[1], at_events, le64(described(images[0]).events - 1));
  EXPECT_EQ(finding(account(look_at(images)).contradictions, "equal-events-different-views"), nullptr);
}

TEST(Contradictions, OneEventApartAfterTheArrayWentOn) {
  for (const char* name : {"0.90-raid5-3-none-clean", "1.2-raid5-4-none-clean"}) {
    std::vector<Image> images = load_fixture(name);
    const std::size_t last = images.size() - 1;
    for (std::size_t i = 0; i < last; ++i) {
      go_on_without(images[i], {static_cast<std::uint32_t>(*described(images[last]).slot)}, 1, 3600);
    }
    const Account a = account(look_at(images));
    const Finding* found = finding(a.contradictions, "one-event-apart");
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->severity, name[0] == '0' ? Severity::problem : Severity::warning);
    EXPECT_NE(found->next.find("mdtool re-add"), std::string::npos);
  }
}

TEST(Contradictions, EqualEventsFromAnotherTime) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  SuperblockChange earlier;
  earlier.utime_seconds = described(images[2]).utime_seconds - 30;
  change(images[2], earlier);
  EXPECT_EQ(finding(account(look_at(images)).contradictions, "same-events-other-times"), nullptr);
  earlier.utime_seconds = *earlier.utime_seconds - 7200;
  change(images[2], earlier);
  const Account a = account(look_at(images));
  const Finding* found = finding(a.contradictions, "same-events-other-times");
  ASSERT_NE(found, nullptr);
  EXPECT_NE(found->text.find("2 h older"), std::string::npos) << found->text;
}

TEST(Contradictions, EveryMemberASpare) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  for (Image& image : images) {
    set_field(image, 256 + 2 * described(image).dev_number, le16(role_spare));
  }
  const Look look = look_at(images);
  const Account a = account(look);
  EXPECT_EQ(look.array().verdict, Verdict::impossible);
  EXPECT_NE(finding(a.contradictions, "all-members-spare"), nullptr);
  ASSERT_NE(choice(a, "give-slots"), nullptr);
  EXPECT_EQ(choice(a, "give-slots")->command, "mdtool set m0 m1 m2 m3 --slot m0=0 --slot m1=1 --slot m2=2 --slot m3=3");
  EXPECT_EQ(choice(account(look_at(images, {1, 2})), "give-slots"), nullptr) << "too few";
  images[0] = load_fixture("1.2-raid5-4-none-clean")[0];
  EXPECT_EQ(finding(account(look_at(images)).contradictions, "all-members-spare"), nullptr);
}

TEST(Contradictions, WhoSaysWhatAboutTheShape) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  set_field(images[1], at_chunksize, le32(1024));
  const Account a = account(look_at(images));
  const Finding* found = finding(a.contradictions, "members-disagree");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->field, "chunksize");
  EXPECT_NE(found->text.find("512 KiB says m1"), std::string::npos) << found->text;
  EXPECT_NE(found->text.find("64 KiB say m0, m2 and m3"), std::string::npos) << found->text;
}

TEST(Contradictions, ClonesWithOtherEventsOrOtherArrays) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  images.push_back(images[1]);
  EXPECT_EQ(finding(contradictions_among(look_at(images).candidates, look_at(images).arrays), "member-cloned"), nullptr)
      << "judge() says so already";
  set_field(images[4], at_events, le64(described(images[1]).events - 5));
  Look look = look_at(images);
  const Findings older = contradictions_among(look.candidates, look.arrays);
  ASSERT_NE(finding(older, "member-cloned"), nullptr);
  EXPECT_NE(finding(older, "member-cloned")->text.find("m4 (slot 1"), std::string::npos);
  set_field(images[4], at_set_uuid, le64(99));
  look = look_at(images);
  const Findings elsewhere = contradictions_among(look.candidates, look.arrays);
  ASSERT_NE(finding(elsewhere, "member-cloned"), nullptr);
  EXPECT_NE(finding(elsewhere, "member-cloned")->text.find("in different arrays"), std::string::npos);
}

void put(Image& image, std::size_t at, std::string_view text) {
  std::transform(text.begin(), text.end(), image.begin() + static_cast<std::ptrdiff_t>(at),
                 [](char c) { return static_cast<std::byte>(c); });
}

TEST(LostSuperblocks, ZerosOrAPartitionTableWhereOneWas) {
  const std::vector<Image> whole = load_fixture("1.2-raid5-4-none-clean");
  std::vector<Image> images = whole;
  std::fill_n(images[2].begin() + 4096, 512, std::byte{0});
  Look look = look_at(images);
  Findings findings = contradictions_among(look.candidates, look.arrays);
  const Finding* zeroed = finding(findings, "superblock-zeroed");
  ASSERT_NE(zeroed, nullptr);
  EXPECT_NE(zeroed->next.find(" m2 --target m2 --slot 2"), std::string::npos) << zeroed->next;
  EXPECT_NE(choice(account(look), "add-in-place"), nullptr);

  put(images[2], 512, "EFI PART");
  look = look_at(images);
  findings = contradictions_among(look.candidates, look.arrays);
  EXPECT_NE(finding(findings, "gpt-over-superblock"), nullptr);
  EXPECT_EQ(finding(findings, "superblock-zeroed"), nullptr);

  images[2].assign(images[2].size(), std::byte{0});
  look = look_at(images);
  EXPECT_TRUE(contradictions_among(look.candidates, look.arrays).empty()) << "an empty disk lost nothing";
  images[2] = Image(64 << 10);
  put(images[2], 512, "EFI PART");
  look = look_at(images);
  EXPECT_TRUE(contradictions_among(look.candidates, look.arrays).empty()) << "too small for a member";
  images = whole;
  images.push_back(whole[2]);
  std::fill_n(images[4].begin() + 4096, 512, std::byte{0});
  look = look_at(images);
  EXPECT_TRUE(contradictions_among(look.candidates, look.arrays).empty()) << "nothing is missing";
}

// A 1.2 superblock written over an array of 0.90, whose own survives at the end.
TEST(Contradictions, AnOlderSuperblockBeneath) {
  std::vector<Image> images = load_fixture("0.90-raid5-3-none-clean");
  const Image newer = load_fixture("1.2-raid5-4-none-clean")[0];
  const MemberDescription old = described(images[0]);
  std::copy_n(newer.begin() + 4096, 4096, images[0].begin() + 4096);
  set_field(images[0], offsetof(md1::Superblock, ctime), le64(old.ctime_seconds + 1000));
  for (const Indices& named : {Indices{0}, Indices{0, 1, 2}}) {
    const Look look = look_at(images, named);
    ASSERT_EQ(look.candidates[0].superblocks.size(), 2U);
    const Findings findings = contradictions_among(look.candidates, look.arrays);
    const Finding* beneath = finding(findings, "old-superblock-beneath");
    ASSERT_NE(beneath, nullptr);
    EXPECT_EQ(beneath->severity, named.size() == 1 ? Severity::warning : Severity::problem);
    EXPECT_NE(beneath->text.find(old.set_uuid.text()), std::string::npos);
    EXPECT_NE(beneath->next.find("mdtool erase m0"), std::string::npos);
  }
}

TEST(Contradictions, AnArrayCreatedOverAnother) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const std::uint64_t last = described(images[0]).utime_seconds;
  for (std::size_t i : {0U, 1U, 2U}) {
    set_field(images[i], at_set_uuid, le64(5));
    set_field(images[i], offsetof(md1::Superblock, ctime), le64(last + 500));
    set_field(images[i], at_chunksize, le32(1024));
  }
  const Look look = look_at(images);
  const Findings findings = contradictions_among(look.candidates, look.arrays);
  const Finding* over = finding(findings, "created-over");
  ASSERT_NE(over, nullptr);
  EXPECT_NE(over->text.find("chunk 512 KiB"), std::string::npos) << over->text;
  EXPECT_NE(over->text.find("lacks 3 members"), std::string::npos) << over->text;
}

// ---- words

TEST(AccountText, PathsAreSafeToType) {
  EXPECT_EQ(quoted("/dev/disk/by-id/ata-X_1.2"), "/dev/disk/by-id/ata-X_1.2");
  EXPECT_EQ(quoted("a b"), "'a b'");
  EXPECT_EQ(quoted("it's;reboot"), "'it'\\''s;reboot'");
  EXPECT_EQ(quoted("-n"), "'./-n'");
  EXPECT_EQ(quoted(""), "''");
}

TEST(AccountText, SizesAreUpperBoundsAndDurationsShort) {
  EXPECT_EQ(size_text(0), "0 bytes");
  EXPECT_EQ(size_text(65536), "64 KiB");
  EXPECT_EQ(size_text((1 << 20) + 1), "1.1 MiB");
  EXPECT_EQ(size_text((2 << 20) - 1), "2 MiB");
  EXPECT_EQ(size_text(~std::uint64_t{0}), "16 EiB");
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(3661), "1 h 1 min");
  EXPECT_EQ(duration_text(86400), "1 day");
  EXPECT_EQ(duration_text(60 * 86400 + 7200), "60 days 2 h");
}

// ---- hostile

// A member with nothing but a superblock on it.
class BareMember final : public Source {
 public:
  explicit BareMember(std::vector<std::byte> superblock) : superblock_(std::move(superblock)) {}
  std::uint64_t size_bytes() const override { return 16 << 20; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::uint64_t at = offset_bytes + i;
      const bool inside = at >= 4096 && at - 4096 < superblock_.size();
      out[i] = inside ? superblock_[at - 4096] : std::byte{0};
    }
    return Done{};
  }

 private:
  std::vector<std::byte> superblock_;
};

// Two thousand members, each with a view of its own: the work stays bounded.
TEST(Account, ManyMembersThatAllDisagree) {
  constexpr std::size_t count = 2000;
  constexpr std::uint32_t slots = 1900;
  Image image = load_fixture("1.2-raid1-2-classic")[0];
  set_field(image, offsetof(md1::Superblock, raid_disks), le32(slots));
  set_field(image, offsetof(md1::Superblock, max_dev), le32(1920));
  std::vector<std::unique_ptr<BareMember>> members;
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::byte> bytes(image.begin() + 4096, image.begin() + 8192);
    for (std::uint32_t number = 0; number < 1920; ++number) {
      const bool in = number % (i + 2) != 1 && number < slots;
      ASSERT_TRUE(
          store(std::span(bytes), 256 + 2 * number, le16(in ? static_cast<std::uint16_t>(number) : role_spare)));
    }
    ASSERT_TRUE(
        store(std::span(bytes), offsetof(md1::Superblock, dev_number), le32(static_cast<std::uint32_t>(i % 1900))));
    ASSERT_TRUE(store(std::span(bytes), at_events, le64(1000 + i)));
    members.push_back(std::make_unique<BareMember>(bytes));
    const Candidate unsummed = *inspect("m", "", *members.back(), *members.back());
    members.back() = std::make_unique<BareMember>(unsummed.chosen()->metadata->changed({})->encode());
    candidates.push_back(*inspect("m" + std::to_string(i), "", *members.back(), *members.back()));
  }
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<Assembly> arrays = assemble(candidates);
  ASSERT_EQ(arrays.size(), 1U);
  const Account a = account_of(arrays.front(), candidates);
  const Findings among = contradictions_among(candidates, arrays);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_GT(a.departures.size(), 1000U);
  EXPECT_LT(a.contradictions.size() + among.size(), 100U);
  EXPECT_LT(a.choices.size(), 100U);
}

}  // namespace
}  // namespace mdtool
