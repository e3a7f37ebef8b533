// SPDX-License-Identifier: GPL-2.0-or-later
// What real kernels leave behind, in arrays that one made: found, named with a next step, and never believed.
#include <gtest/gtest.h>

#include "libraid/assemble/account.h"
#include "libraid/assemble/bitmap_doubts.h"
#include "libraid/assemble/maintenance.h"
#include "libraid/assemble/next_steps.h"
#include "libraid/edit/bad_blocks.h"
#include "libraid/edit/bitmap_change.h"
#include "libraid/edit/membership.h"
#include "tests/raid/edited_array.h"
#include "tests/raid/small_array.h"

namespace mdtool::test {
namespace {

using bitmap::ChunkState;

const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

EditClock clock_of_test() {
  EditClock clock;
  clock.now_seconds = 1900000000;
  clock.fresh_uuid.bytes.fill(7);
  return clock;
}

std::vector<const Candidate*> all_of(const Look& look) {
  std::vector<const Candidate*> members;
  for (const Candidate& c : look.candidates) {
    members.push_back(&c);
  }
  return members;
}

Findings contradictions(const Look& look) {
  return account_of(look.array(), look.candidates).contradictions;
}

std::uint64_t chunks_in(const Look& look, ChunkState state) {
  return look.array().bitmap.lockless->counts().by_state[static_cast<std::size_t>(state)];
}

// The kernel's log of bad blocks where states are: on the sector of the first one.
std::vector<Image> with_log_under_states(std::int32_t log_offset_sectors, std::uint32_t features) {
  const SmallArray array{5, 2, 4, bitmap::Kind::lockless};
  std::vector<Image> images = with_content(array, random_content(array, 1));
  for (std::uint32_t slot = 0; slot < array.slots; ++slot) {
    SmallMember member;
    member.recovery_features = features;
    put_superblock(array, images[slot], slot, member);
    put_bitmap(array, images[slot],
               std::vector<std::uint8_t>(SmallArray::bitmap_chunks, static_cast<std::uint8_t>(ChunkState::clean)), 20,
               0);
    set_field<le16>(images[slot], offsetof(md1::Superblock, bblog_size), 8);
    set_field<sle32>(images[slot], offsetof(md1::Superblock, bblog_offset), log_offset_sectors);
  }
  return images;
}

constexpr std::int32_t over_the_states = 10;  // from the superblock: where the first state is
constexpr std::int32_t into_the_header = 1;   // the log begins in front of the bitmap
constexpr std::int32_t behind_the_states = 20;

TEST(Hazards, ABadBlockLogUnderStatesIsNoHindranceWhileItIsSaidToBeEmpty) {
  const Look look = look_at(with_log_under_states(over_the_states, 0));
  const Finding* found = finding(look.array().findings, "bad-block-log-under-bitmap");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->severity, Severity::note);
  EXPECT_TRUE(open_for_reading(look.array(), {}, kernels()));
  EXPECT_TRUE(find_doubts(look.array(), kernels(), {})->chunks.empty());
  const Look apart = look_at(with_log_under_states(behind_the_states, 0));
  EXPECT_EQ(finding(apart.array().findings, "bad-block-log-under-bitmap"), nullptr);
}

TEST(Hazards, StatesAreNeverTakenForBadBlocksNorOverwrittenAsSuch) {
  for (const std::int32_t offset : {over_the_states, into_the_header}) {
    const std::vector<Image> images = with_log_under_states(offset, md1::feature_bad_blocks);
    const Look look = look_at(images);
    const Finding* found = finding(look.array().findings, "bad-block-log-under-bitmap");
    ASSERT_NE(found, nullptr) << offset;
    EXPECT_EQ(found->severity, Severity::problem);
    EXPECT_EQ(found->effect, Effect::stops_writing);
    EXPECT_FALSE(next_step(found->id).empty());
    const auto reading = open_for_reading(look.array(), {}, kernels());
    ASSERT_FALSE(reading);
    EXPECT_EQ(reading.error().kind, ErrorKind::refused);
    EXPECT_FALSE(find_doubts(look.array(), kernels(), {}));
    MaintenanceTask build;
    build.kind = MaintenanceTask::Kind::build_parity;
    EXPECT_FALSE(plan_maintenance(look.array(), build));

    const auto shown = show_bad_blocks(all_of(look));
    ASSERT_TRUE(shown);
    EXPECT_EQ(finding(shown->findings, "bad-blocks"), nullptr);
    EXPECT_NE(finding(shown->findings, "bad-block-log-under-bitmap"), nullptr);
  }
  const std::vector<Image> images = with_log_under_states(over_the_states, md1::feature_bad_blocks);
  const Look before = look_at(images);
  const auto cleared = clear_bad_blocks(all_of(before));
  ASSERT_TRUE(cleared) << cleared.error().text;
  const Look after = look_at(applied(*cleared, images));
  EXPECT_EQ(after.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(chunks_in(after, ChunkState::clean), SmallArray::bitmap_chunks);
  EXPECT_EQ(finding(after.array().findings, "bad-block-log-under-bitmap")->severity, Severity::note);
  EXPECT_TRUE(open_for_reading(after.array(), {}, kernels()));
}

TEST(Hazards, AHeaderOverwrittenWithStatesIsNamedAndRebuilt) {
  const std::vector<Image> images = load_fixture("1.2-raid5-3-lockless-infected-header");
  const Look look = look_at(images);
  EXPECT_EQ(look.array().bitmap.trust, Trust::rejected);
  EXPECT_NE(finding(look.array().bitmap.findings, "bitmap-header-overwritten"), nullptr);
  EXPECT_NE(next_step("bitmap-header-overwritten").find("bitmap repair"), std::string::npos);
  const Findings told = contradictions(look);
  ASSERT_NE(finding(told, "lockless-on-large-blocks"), nullptr);
  EXPECT_NE(finding(told, "lockless-on-large-blocks")->next.find("bitmap convert"), std::string::npos);

  const std::vector<Choice> choices = account_of(look.array(), look.candidates).choices;
  ASSERT_FALSE(choices.empty());
  EXPECT_EQ(choices.front().id, "repair-bitmap");
  EXPECT_EQ(choices.front().command, "mdtool bitmap repair m0 m1 m2 && mdtool resync m0 m1 m2");

  const auto plan = plan_bitmap_repair(look.array(), clock_of_test());
  ASSERT_TRUE(plan) << plan.error().text;
  const Look after = look_at(applied(*plan, images));
  EXPECT_EQ(after.array().bitmap.trust, Trust::believed);
  EXPECT_FALSE(after.array().clean);
  EXPECT_EQ(chunks_in(after, ChunkState::clean) + chunks_in(after, ChunkState::clean_unwritten), 0U);
  EXPECT_EQ(after.array().bitmap.chunks(), 48U);
}

TEST(Hazards, AMemberThatCameLaterIsToldWhereChunksAreCleanUnwritten) {
  const Look replaced = look_at(load_fixture("1.2-raid5-3-lockless-replaced"));
  const Findings told = contradictions(replaced);
  const Finding* found = finding(told, "clean-unwritten-after-replacement");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->severity, Severity::warning);
  EXPECT_NE(found->text.find("48 chunks"), std::string::npos);
  EXPECT_NE(found->text.find("m2 came"), std::string::npos) << found->text;
  EXPECT_NE(found->next.find("mdtool bitmap check m0 m1 m2"), std::string::npos) << found->next;
  // All of them there from the start; and a later member with nothing that would have been left out.
  for (const char* name : {"1.2-raid6-4-lockless-proactive", "1.2-raid5-3-lockless-short-sync"}) {
    EXPECT_EQ(finding(contradictions(look_at(load_fixture(name))), "clean-unwritten-after-replacement"), nullptr)
        << name;
  }
}

// No bit is set, and events_cleared is what it was when the member left: the kernel copies nothing and calls it in
// sync.
TEST(Hazards, AMemberWhoseSlotWasAnothersIsNotTakenBackByTheBitmap) {
  const std::vector<Image> images = load_fixture("1.2-raid5-3-classic-slot-reused");
  const std::vector<Image> three(images.begin(), images.begin() + 3);
  const auto re_add = [](MembershipForces forces) {
    return [forces](const Look& look) {
      const std::vector<const Candidate*> target{candidate(look, 2)};
      return plan_re_add(look.array(), target, clock_of_test(), forces);
    };
  };
  const Look before = look_at(three);
  EXPECT_EQ(before.array().bitmap.classic->set_count(), 0U);
  EXPECT_GE(candidate(before, 2)->chosen()->description.events,
            before.array().bitmap.classic->header().events_cleared.value());
  EXPECT_NE(planned(three, re_add({})).reason().find("slot-history"), std::string::npos);
  EXPECT_NE(planned(images, re_add({})).reason().find("slot-history"), std::string::npos);

  // With the other one at hand it is no suspicion any more, and nobody is told to trust the bitmap.
  const Look all = look_at(images);
  const Account told = account_of(all.array(), all.candidates);
  ASSERT_EQ(told.departures.size(), 2U);
  EXPECT_FALSE(told.departures[0].slot_taken);  // m3, the last one that was there
  EXPECT_TRUE(told.departures[1].slot_taken);
  EXPECT_EQ(told.departures[1].source, Departure::Source::none);
  for (const Choice& choice : told.choices) {
    const bool by_the_bitmap = choice.command.find("--force=slot-history") != std::string::npos;
    EXPECT_FALSE(by_the_bitmap && choice.command.find("--target m2") != std::string::npos) << choice.command;
  }

  MembershipForces filled_whole;
  filled_whole.bitmap = true;
  const Planned whole = planned(three, re_add(filled_whole));
  ASSERT_TRUE(whole.plan) << whole.reason();
  const Look after = look_at(applied(*whole, three));
  const Member* member = after.array().in_slot(2);
  ASSERT_NE(member, nullptr);
  EXPECT_EQ(member->state, MemberState::recovering);
  EXPECT_FALSE(member->description().recovery_by_bitmap);
  EXPECT_TRUE(member->description().recovery_offset.is_zero());
}

}  // namespace
}  // namespace mdtool::test
