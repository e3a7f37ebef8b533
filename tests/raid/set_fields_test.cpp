// SPDX-License-Identifier: GPL-2.0-or-later
// Superblock fields by name, slots, and mdadm's updates: what is written, what is refused, and that it can be cut
// anywhere, made again, and taken back. The expected bytes are what mdadm 4.6 wrote to the same members.
#include <gtest/gtest.h>

#include <algorithm>

#include "libmeta/bitmap/header.h"
#include "libmeta/field_list.h"
#include "libraid/edit/array_after.h"
#include "libraid/edit/bad_blocks.h"
#include "libraid/edit/field_rules.h"
#include "libraid/edit/fields.h"
#include "libraid/edit/resume.h"
#include "libraid/edit/sha1.h"
#include "tests/raid/edited_members.h"

namespace mdtool {
namespace {

using test::expect_safe;
using test::Image;
using test::load_fixture;
using test::look_at;
using test::Planner;
using test::refusal;

constexpr std::string_view new_uuid = "11111111:22222222:33333333:44444444";

// A run of the verb: an edit that was cut off and gave some members another identity goes on.
Result<EditPlan> planned(const test::Look& look, const FieldEdit& edit) {
  const Assembly* left = left_to_edit(look.arrays, edit);
  return plan_fields(left == nullptr ? look.arrays.front() : *left, edit);
}

Planner updates(std::vector<NamedUpdate> list, std::vector<std::string> forced = {}) {
  return [=](const test::Look& look) {
    FieldEdit edit;
    edit.updates = list;
    edit.forced = forced;
    return planned(look, edit);
  };
}

Planner update(std::string name, std::string value = "", std::vector<std::string> forced = {}) {
  return updates({{std::move(name), std::move(value)}}, std::move(forced));
}

Planner field(std::string name, std::string value, std::vector<std::string> forced = {},
              std::vector<std::size_t> targets = {}) {
  return [=](const test::Look& look) {
    FieldEdit edit;
    edit.settings = {{name, value}};
    edit.forced = forced;
    for (std::size_t i : targets) {
      edit.targets.push_back(&look.candidates[i]);
    }
    return planned(look, edit);
  };
}

// Member, slot.
Planner slots(std::vector<std::pair<std::size_t, std::uint32_t>> list, std::vector<std::string> forced = {}) {
  return [=](const test::Look& look) {
    FieldEdit edit;
    edit.forced = forced;
    for (const auto& [member, slot] : list) {
      edit.slots.push_back({&look.candidates[member], slot});
    }
    return planned(look, edit);
  };
}

std::string text_field(const Candidate& member, std::string_view name) {
  for (const Field& f : member.chosen()->metadata->fields()) {
    if (f.name == name) {
      const auto* text = std::get_if<std::string>(&f.value);
      const auto* number = std::get_if<std::uint64_t>(&f.value);
      return text != nullptr ? *text : number != nullptr ? std::to_string(*number) : "signed";
    }
  }
  return "no such field";
}

// Every member's superblock with a field set, checksum right.
void set_everywhere(std::vector<Image>& images, std::string_view name, std::string_view value) {
  for (Image& image : images) {
    const MemoryDevice device(image);
    const auto member = inspect("m", "", device, device);
    ASSERT_TRUE(member);
    const auto changed = member->chosen()->metadata->with_field(name, value);
    ASSERT_TRUE(changed) << changed.error().text;
    const std::vector<std::byte> bytes = (*changed)->encode();
    std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>((*changed)->offset_bytes()));
  }
}

void expect_on_all(const std::vector<Image>& images, std::string_view name, const std::string& value) {
  for (const Candidate& member : look_at(images).candidates) {
    EXPECT_EQ(text_field(member, name), value) << member.path;
    EXPECT_EQ(worst_effect(member.chosen()->findings), Effect::none) << member.path;
  }
}

TEST(SetFields, NameKeepsTheHostAndEvents) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-classic-clean");
  const std::uint64_t events = look_at(images).array().array().events;
  const std::vector<Image> named = test::after(images, update("name", "new"));
  expect_on_all(named, "set_name", "any:new");
  EXPECT_EQ(look_at(named).array().array().events, events);
  EXPECT_EQ(look_at(named).array().verdict, Verdict::assembles);
  expect_on_all(test::after(images, update("name", "zeus:new")), "set_name", "zeus:new");
  expect_on_all(test::after(images, update("homehost", "zeus")), "set_name", "zeus:1.2-raid5-4-classic-clean");
  // mdadm's rule: 32 bytes with the colon are too many.
  expect_on_all(test::after(images, update("homehost", "averyveryverylonghostname123")), "set_name",
                "1.2-raid5-4-classic-clean");
  expect_on_all(test::after(images, update("homehost", "")), "set_name", "1.2-raid5-4-classic-clean");
  EXPECT_NE(refusal(images, update("name", "")).find("value"), std::string::npos);
  EXPECT_NE(refusal(images, update("name", std::string(32, 'x'))).find("31 bytes"), std::string::npos);
  EXPECT_NE(refusal(images, update("name", "\x1b[2J")).find("control"), std::string::npos);
  expect_safe(images, update("name", "new"));
}

TEST(SetFields, UuidGoesIntoBitmapsToo) {
  for (const char* name : {"1.2-raid5-4-classic-clean", "1.2-raid5-4-lockless-clean", "1.0-raid5-5-classic-clean",
                           "0.90-raid6-5-classic-clean"}) {
    SCOPED_TRACE(name);
    const std::vector<Image> images = load_fixture(name);
    const test::Look before = look_at(images);
    const std::vector<Image> changed = test::after(images, update("uuid", std::string(new_uuid)));
    const test::Look look = look_at(changed);
    EXPECT_EQ(look.array().array().set_uuid.text(), new_uuid);
    EXPECT_EQ(look.array().array().events, before.array().array().events);
    EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
    EXPECT_EQ(look.array().bitmap.copies.size(), images.size());
    EXPECT_EQ(look.array().verdict, Verdict::assembles);
  }
  expect_safe(load_fixture("1.2-raid5-4-classic-clean"), update("uuid", std::string(new_uuid)));
  expect_safe(load_fixture("0.90-raid6-5-classic-clean"), update("uuid", std::string(new_uuid)));
  expect_safe(load_fixture("1.2-raid5-4-lockless-clean"), field("set_uuid", std::string(new_uuid)));
}

TEST(SetFields, AForeignBitmapIsNotAdopted) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-classic-clean");
  constexpr std::size_t bitmap_uuid = 8192 + offsetof(bitmap::Header, uuid);
  images[1][bitmap_uuid] ^= std::byte{0xff};
  const test::Look look = look_at(images);
  const auto plan = update("uuid", std::string(new_uuid))(look);
  ASSERT_TRUE(plan) << plan.error().text;
  ASSERT_NE(test::finding(plan->findings, "bitmap-left"), nullptr);
  EXPECT_NE(test::finding(plan->findings, "bitmap-left")->text.find("m1"), std::string::npos);
  EXPECT_EQ(plan->stages.front().size(), 3U);
}

TEST(SetFields, AForeignBitmapIsDropped) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-classic-crash");
  for (Image& image : images) {
    image[8192 + offsetof(bitmap::Header, uuid)] ^= std::byte{0xff};
  }
  EXPECT_EQ(look_at(images).array().verdict, Verdict::needs_force);
  const test::Look look = look_at(images);
  const auto plan = update("no-bitmap")(look);
  ASSERT_TRUE(plan) << plan.error().text;
  EXPECT_TRUE(test::mentions(plan->costs, "all of it is due"));
  const std::vector<Image> dropped = test::after(images, update("no-bitmap"));
  EXPECT_EQ(look_at(dropped).array().verdict, Verdict::assembles);
  EXPECT_EQ(look_at(dropped).array().bitmap.trust, Trust::absent);
  expect_safe(images, update("no-bitmap"));
}

TEST(SetFields, ALocklessBitmapIsNotDroppedOverUnbuiltParity) {
  const std::vector<Image> images = load_fixture("1.2-raid6-5-lockless-unwritten");
  EXPECT_NE(refusal(images, update("no-bitmap")).find("--force=unbuilt-parity"), std::string::npos);
  EXPECT_NE(refusal(images, field("feature_map", "0")).find("--force=unbuilt-parity"), std::string::npos);
  const std::vector<Image> due = test::after(images, updates({{"no-bitmap", ""}, {"resync", ""}}));
  EXPECT_FALSE(look_at(due).array().clean);
  EXPECT_EQ(look_at(due).array().bitmap.trust, Trust::absent);
  const test::Look look = look_at(images);
  const auto forced = update("no-bitmap", "", {"unbuilt-parity"})(look);
  ASSERT_TRUE(forced) << forced.error().text;
  EXPECT_TRUE(test::mentions(forced->costs, "31 chunks have no parity"));
  const std::vector<Image> built = load_fixture("1.2-raid6-4-lockless-proactive");
  EXPECT_EQ(look_at(test::after(built, update("no-bitmap"))).array().bitmap.trust, Trust::absent);
}

TEST(SetFields, ArrayFieldsBelongToAll) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  EXPECT_NE(refusal(images, field("set_name", "x", {}, {1})).find("--force=one-member"), std::string::npos);
  EXPECT_NE(refusal(images, field("recovery_offset", "0")).find("--target"), std::string::npos);
  EXPECT_NE(refusal(images, field("device_uuid", std::string(new_uuid))).find("--target"), std::string::npos);
  EXPECT_NE(refusal(images, field("device_uuid", std::string(new_uuid), {}, {0, 1})).find("--target"),
            std::string::npos);
  EXPECT_NE(refusal(images, field("sb_csum", "0")).find("by hand"), std::string::npos);
  EXPECT_NE(refusal(images, field("no_such_field", "0")).find("no_such_field"), std::string::npos);
  const std::vector<Image> one = test::after(images, field("set_name", "x", {"one-member"}, {1}));
  EXPECT_EQ(text_field(look_at(one).candidates[1], "set_name"), "x");
  EXPECT_TRUE(one[0] == images[0] && one[2] == images[2] && one[3] == images[3]);
  const std::vector<Image> flagged = test::after(images, field("devflags", "1", {}, {2}));
  EXPECT_EQ(text_field(look_at(flagged).candidates[2], "devflags"), "1");
  EXPECT_TRUE(flagged[3] == images[3]);
  expect_safe(images, field("devflags", "1", {}, {2}));
}

TEST(SetFields, MeaningIsChecked) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  EXPECT_NE(refusal(images, field("data_offset", "8")).find("[data-overlaps-superblock]"), std::string::npos);
  EXPECT_NE(refusal(images, field("raid_disks", "5")).find("[verdict]"), std::string::npos);
  EXPECT_NE(refusal(images, field("logical_block_size", "3000")).find("[logical-block-size]"), std::string::npos);
  const test::Look look = look_at(images);
  const auto forced = field("data_offset", "8", {"meaning"})(look);
  ASSERT_TRUE(forced) << forced.error().text;
  ASSERT_NE(test::finding(forced->findings, "data-overlaps-superblock"), nullptr);
  EXPECT_EQ(test::finding(forced->findings, "data-overlaps-superblock")->severity, Severity::warning);
  EXPECT_TRUE(test::mentions(forced->costs, "garbage"));
  EXPECT_TRUE(test::mentions(forced->next, "--with"));
}

TEST(SetFields, AnotherGeometryIsACandidate) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const std::vector<Image> changed = test::after(images, field("chunksize", "8"));
  EXPECT_EQ(look_at(changed).array().array().chunk, Sectors(8));
  EXPECT_EQ(look_at(changed).array().verdict, Verdict::assembles);
  expect_safe(images, field("chunksize", "8"));
  expect_safe(images, field("data_offset", "2056", {"meaning"}));
}

TEST(SetFields, WhatIsUnknownIsNeverWritten) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  const std::vector<std::string> all_forces(field_force_names().begin(), field_force_names().end());
  EXPECT_NE(refusal(images, field("feature_map", "0x2000", all_forces)).find("never written"), std::string::npos);
  EXPECT_NE(refusal(images, field("level", "7", all_forces)).find("never written"), std::string::npos);
  set_everywhere(images, "feature_map", "0x2000");
  EXPECT_NE(refusal(images, update("name", "x", all_forces)).find("never written"), std::string::npos);
  EXPECT_NE(refusal(images, field("feature_map", "0", all_forces)).find("never written"), std::string::npos);
}

TEST(SetFields, SlotsAreSwapped) {
  for (const char* name : {"1.2-raid5-4-none-clean", "0.90-raid5-3-none-clean"}) {
    SCOPED_TRACE(name);
    const std::vector<Image> images = load_fixture(name);
    const auto holder = [](const std::vector<Image>& of, std::uint32_t slot) {
      const test::Look look = look_at(of);
      const Member* member = look.array().in_slot(slot);
      return member == nullptr ? std::string("nobody") : member->candidate->path;
    };
    const Planner swap = slots({{0, 1}, {1, 0}});
    const std::vector<Image> swapped = test::after(images, swap);
    EXPECT_EQ(holder(images, 0), "m0");
    EXPECT_EQ(holder(swapped, 0), "m1");
    EXPECT_EQ(holder(swapped, 1), "m0");
    EXPECT_EQ(holder(swapped, 2), "m2");
    EXPECT_EQ(look_at(swapped).array().verdict, Verdict::assembles);
    EXPECT_EQ(look_at(swapped).array().array().events, look_at(images).array().array().events);
    EXPECT_TRUE(test::after(swapped, slots({{0, 0}, {1, 1}})) == images);
    expect_safe(images, swap);
  }
}

TEST(SetFields, AClaimOnASlotEnds) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  // Slot 3 is then empty, and m0 a spare: degraded, which is worse.
  EXPECT_NE(refusal(images, slots({{3, 0}})).find("[verdict]"), std::string::npos);
  const std::vector<Image> taken = test::after(images, slots({{3, 0}}, {"meaning"}));
  const test::Look look = look_at(taken);
  EXPECT_EQ(look.array().in_slot(0)->candidate->path, "m3");
  EXPECT_EQ(look.array().in_slot(3), nullptr);
  EXPECT_EQ(look.candidates[0].chosen()->description.role, Role::spare);
  EXPECT_NE(refusal(images, slots({{3, 4}})).find("no slot 4"), std::string::npos);
  EXPECT_NE(refusal(images, slots({{3, 0}, {2, 0}})).find("twice"), std::string::npos);
}

TEST(SetFields, AllMembersThatAreSparesGetTheirSlotsBack) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  std::vector<Image> spares = images;
  for (std::size_t i = 0; i < 8; ++i) {
    set_everywhere(spares, "dev_roles[" + std::to_string(i) + "]", "0xffff");
  }
  EXPECT_EQ(look_at(spares).array().verdict, Verdict::impossible);
  const Planner all = slots({{0, 0}, {1, 1}, {2, 2}, {3, 3}});
  EXPECT_TRUE(test::after(spares, all) == images);
  expect_safe(spares, all);
}

TEST(SetFields, SlotsWantEqualEvents) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-classic-stale-member");
  const test::Look look = look_at(images);
  std::size_t stale = 0;
  for (const Member& m : look.array().members) {
    if (m.state == MemberState::stale) {
      stale = static_cast<std::size_t>(m.candidate - look.candidates.data());
    }
  }
  const std::uint32_t slot = *look.candidates[stale].chosen()->description.slot;
  EXPECT_NE(refusal(images, slots({{stale, slot}})).find("mdtool force"), std::string::npos);
  const std::vector<Image> aligned = test::after(images, slots({{stale, slot}}, {"events"}));
  EXPECT_EQ(look_at(aligned).array().verdict, Verdict::assembles);
  for (const Candidate& member : look_at(aligned).candidates) {
    EXPECT_GE(member.chosen()->description.events, look.array().array().events);
  }
  expect_safe(images, slots({{stale, slot}}, {"events"}));
  // Nor does a count bring it back, the stale one's own or everybody's.
  const std::uint64_t fresh = look.array().array().events;
  const std::uint64_t old = look.candidates[stale].chosen()->description.events;
  EXPECT_NE(refusal(images, field("events", std::to_string(fresh + 50))).find("mdtool force"), std::string::npos);
  EXPECT_NE(refusal(images, field("events", std::to_string(old))).find("do not step back"), std::string::npos);
}

TEST(SetFields, WhatIsBeingRebuiltIsNotTakenForRebuilt) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-recovering");
  const test::Look look = look_at(images);
  std::size_t at = 0;
  while (!look.candidates[at].chosen()->description.recovery) {
    ++at;
  }
  const Sectors mark = look.candidates[at].chosen()->description.recovery_offset;
  EXPECT_NE(
      refusal(images, field("recovery_offset", std::to_string(mark.count() + 8), {}, {at})).find("mdtool recover"),
      std::string::npos);
  EXPECT_NE(refusal(images, field("recovery_offset", "max", {}, {at})).find("mdtool recover"), std::string::npos);
  EXPECT_TRUE(look_at(test::after(images, field("recovery_offset", "0", {}, {at})))
                  .candidates[at]
                  .chosen()
                  ->description.recovery);
}

TEST(SetFields, AWrongChecksumIsNotMadeRight) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  images[2][4096 + 192] ^= std::byte{1};  // utime
  EXPECT_NE(refusal(images, update("name", "x")).find("--force=checksum"), std::string::npos);
  const std::vector<Image> forced = test::after(images, update("name", "x", {"checksum"}));
  expect_on_all(forced, "set_name", "any:x");
}

TEST(SetFields, ResyncIsAsked) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  expect_on_all(test::after(images, update("resync")), "resync_offset", "0");
  expect_safe(images, update("resync"));
  const std::vector<Image> old = load_fixture("0.90-raid5-3-none-clean");
  const std::vector<Image> asked = test::after(old, update("resync"));
  expect_on_all(asked, "recovery_cp", "0");
  // As mdadm does it: the checkpoint's events stay.
  EXPECT_EQ(text_field(look_at(asked).candidates[0], "cp_events"), text_field(look_at(old).candidates[0], "cp_events"));
  EXPECT_FALSE(look_at(asked).array().clean);
  EXPECT_NE(refusal(load_fixture("1.2-raid0-3"), update("resync")).find("nothing to resynchronise"), std::string::npos);
  // Dirty and degraded would not start.
  EXPECT_NE(refusal(load_fixture("1.2-raid5-4-none-degraded"), update("resync")).find("[verdict]"), std::string::npos);
}

TEST(SetFields, Raid0Layout) {
  const std::vector<Image> images = load_fixture("1.2-raid0-3");
  expect_on_all(test::after(images, update("layout-alternate")), "layout", "2");
  expect_on_all(test::after(images, update("layout-unspecified", "", {"meaning"})), "feature_map", "0");
  EXPECT_NE(refusal(load_fixture("1.2-raid5-4-none-clean"), update("layout-original")).find("not 0"),
            std::string::npos);
}

TEST(SetFields, BadBlockLogs) {
  const std::vector<Image> images = load_fixture("1.2-raid6-5-none-bad-blocks");
  EXPECT_NE(refusal(images, update("no-bbl")).find("force-no-bbl"), std::string::npos);
  const std::vector<Image> without = test::after(images, update("force-no-bbl"));
  expect_on_all(without, "bblog_size", "0");
  const std::vector<Image> again = test::after(without, update("bbl"));
  expect_on_all(again, "bblog_size", "8");
  expect_on_all(again, "feature_map", "0");
  for (const Candidate& member : look_at(again).candidates) {
    EXPECT_EQ(member.chosen()->description.bad_block_log->offset_bytes, Sectors(8 + 80).bytes());
  }
  expect_safe(images, update("force-no-bbl"));
}

TEST(SetFields, BadBlocksAreShownAndCleared) {
  const std::vector<Image> images = load_fixture("1.2-raid6-5-none-bad-blocks");
  const test::Look look = look_at(images);
  const std::vector<const Candidate*> all = members_of(look.array());
  const auto shown = show_bad_blocks(all);
  ASSERT_TRUE(shown);
  EXPECT_TRUE(shown->nothing_to_do());
  ASSERT_EQ(shown->findings.size(), 5U);
  EXPECT_NE(test::finding(shown->findings, "bad-blocks")->text.find("m1"), std::string::npos);
  EXPECT_NE(test::finding(shown->findings, "bad-blocks")->text.find("2080+16"), std::string::npos);
  const Planner clear = [](const test::Look& l) { return clear_bad_blocks(members_of(l.arrays.front())); };
  const std::vector<Image> cleared = test::after(images, clear);
  expect_on_all(cleared, "feature_map", "0");
  expect_on_all(cleared, "bblog_size", "8");
  EXPECT_EQ(cleared[1][look.candidates[1].chosen()->description.bad_block_log->offset_bytes], std::byte{0xff});
  EXPECT_TRUE(cleared[0] == images[0]);
  expect_safe(images, clear);
}

TEST(SetFields, DeviceSize) {
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  for (Image& image : images) {
    image.resize(image.size() + (1U << 20));
  }
  const std::string grown =
      std::to_string((images[0].size() - look_at(images).array().array().data_offset.bytes()) / 512);
  expect_on_all(test::after(images, update("devicesize")), "data_size", grown);
}

TEST(SetFields, Version090BecomesVersion10) {
  const std::vector<Image> images = load_fixture("0.90-raid5-3-none-clean");
  const test::Look before = look_at(images);
  const std::vector<Image> converted = test::after(images, update("metadata"));
  const test::Look look = look_at(converted);
  EXPECT_EQ(look.array().array().metadata, "1.0");
  EXPECT_EQ(look.array().verdict, Verdict::assembles);
  EXPECT_EQ(look.array().array().set_uuid, before.array().array().set_uuid);
  EXPECT_EQ(look.array().array_bytes(), before.array().array_bytes());
  EXPECT_EQ(look.candidates[0].superblocks.size(), 2U);
  EXPECT_NE(look.candidates[0].chosen()->description.device_uuid, look.candidates[1].chosen()->description.device_uuid);
  EXPECT_TRUE(test::after(converted, update("metadata")) == converted);
  expect_safe(images, update("metadata"));
  EXPECT_NE(refusal(load_fixture("0.90-raid6-5-classic-clean"), update("metadata")).find("bitmap"), std::string::npos);
  EXPECT_NE(refusal(load_fixture("0.90-raid5-4-none-stale-member"), update("metadata")).find("leave it out"),
            std::string::npos);
}

TEST(SetFields, ByteOrder) {
  const std::vector<Image> images = load_fixture("0.90-raid6-5-classic-clean");
  const std::vector<Image> big = test::after(images, update("byteorder", "big"));
  const test::Look look = look_at(big);
  EXPECT_EQ(look.candidates[0].chosen()->metadata->format().name(), "0.90-big-endian");
  EXPECT_EQ(look.array().array().set_uuid, look_at(images).array().array().set_uuid);
  EXPECT_EQ(look.array().array().events, look_at(images).array().array().events);
  EXPECT_EQ(look.array().bitmap.trust, Trust::believed);
  EXPECT_TRUE(test::after(big, update("byteorder", "little")) == images);
  EXPECT_TRUE(test::after(images, update("byteorder", "little")) == images);
  // A superblock torn between two byte orders is nobody's to read: only undo leads out.
  test::expect_undone(images, update("byteorder", "big"));
}

TEST(SetFields, HomehostOf090IsAHash) {
  const std::vector<Image> images = load_fixture("0.90-raid5-3-none-clean");
  const std::vector<Image> zeus = test::after(images, update("homehost", "zeus"));
  // What mdadm --update=homehost --homehost=zeus wrote: fc58d173 ddb3c663 in memory order.
  EXPECT_TRUE(look_at(zeus).array().array().set_uuid.text().ends_with(":73d158fc:63c6b3dd"));
  expect_safe(images, update("homehost", "zeus"));
}

TEST(SetFields, CountsOf090) {
  const std::vector<Image> images = load_fixture("0.90-raid4-3-none-degraded");
  const std::vector<Image> counted = test::after(images, update("summaries"));
  expect_on_all(counted, "failed_disks", "0");  // mdadm's way: a missing slot has not failed
  expect_on_all(counted, "active_disks", "2");
  expect_on_all(test::after(images, update("super-minor", "5")), "md_minor", "5");
  EXPECT_NE(refusal(load_fixture("1.2-raid5-4-none-clean"), update("summaries")).find("1.2"), std::string::npos);
}

TEST(SetFields, NoPplAndLogicalBlockSize) {
  expect_on_all(test::after(load_fixture("1.2-raid5-3-ppl-clean"), update("no-ppl")), "feature_map", "0");
  std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  set_everywhere(images, "logical_block_size", "4096");
  expect_on_all(test::after(images, field("logical_block_size", "0")), "logical_block_size", "0");
  expect_safe(images, field("logical_block_size", "0"));
}

TEST(SetFields, LogsKnowTheUuid) {
  for (const char* name : {"1.2-raid5-3-journal-crash", "1.2-raid5-3-ppl-crash"}) {
    const std::vector<Image> images = load_fixture(name);
    EXPECT_NE(refusal(images, update("uuid", std::string(new_uuid))).find("--force=log"), std::string::npos) << name;
    const std::vector<Image> forced = test::after(images, update("uuid", std::string(new_uuid), {"log"}));
    expect_on_all(forced, "set_uuid", std::string(new_uuid));
    EXPECT_FALSE(test::after(images, update("name", "x")) == images);
  }
  EXPECT_NE(refusal(load_fixture("1.2-raid5-3-ppl-crash"), update("no-ppl")).find("--force=log"), std::string::npos);
  expect_on_all(test::after(load_fixture("1.2-raid5-3-ppl-clean"), update("uuid", std::string(new_uuid))), "set_uuid",
                std::string(new_uuid));
}

void expect_inside(const Result<EditPlan>& plan) {
  for (const EditStage& stage : plan ? plan->stages : std::vector<EditStage>()) {
    for (const EditPatch& p : stage) {
      EXPECT_TRUE(fits(p.offset_bytes, p.after.size(), plan->members[p.member]->metadata->size_bytes()));
      EXPECT_EQ(p.before.size(), p.after.size());
    }
  }
}

// Whatever a superblock says, a plan stays within its member.
TEST(SetFields, HostileSuperblocks) {
  const std::vector<std::string> all_forces(field_force_names().begin(), field_force_names().end());
  std::uint32_t random = 4711;
  const auto next = [&] { return random = random * 1664525 + 1013904223; };
  for (const char* name : {"1.2-raid5-4-lockless-clean", "0.90-raid6-5-classic-clean"}) {
    const std::vector<Image> images = {load_fixture(name).front()};
    const std::size_t superblock = look_at(images).candidates[0].chosen()->metadata->offset_bytes();
    for (int round = 0; round < 40; ++round) {
      std::vector<Image> hostile = images;
      for (int flips = 0; flips < 4; ++flips) {
        hostile[0][superblock + 4 + next() % 300] = static_cast<std::byte>(next() >> 24);
      }
      const test::Look look = look_at(hostile);
      for (std::string_view update_name : update_names()) {
        expect_inside(
            update(std::string(update_name), update_name == "uuid" ? std::string(new_uuid) : "", all_forces)(look));
      }
      expect_inside(slots({{0, next() % 8}}, all_forces)(look));
      expect_inside(clear_bad_blocks(members_of(look.arrays.front())));
    }
  }
}

TEST(SetFields, UpdatesHaveNames) {
  const std::vector<Image> images = load_fixture("1.2-raid5-4-none-clean");
  EXPECT_NE(refusal(images, update("no-such-update")).find("no-such-update"), std::string::npos);
  for (std::string_view name : update_names()) {
    const test::Look look = look_at(images);
    const auto plan = update(std::string(name), "x")(look);
    EXPECT_TRUE(plan || plan.error().text.find("no update is called") == std::string::npos) << name;
  }
  FieldEdit nothing;
  const test::Look look = look_at(images);
  EXPECT_EQ(plan_fields(look.array(), nothing).error().kind, ErrorKind::usage);
}

TEST(FieldRules, IndicesBelongToTheName) {
  EXPECT_EQ(field_scope("dev_roles[3]"), FieldScope::array);
  EXPECT_EQ(field_scope("this_disk.state"), FieldScope::identity);
  EXPECT_EQ(field_scope("ppl.offset"), FieldScope::place);
  EXPECT_EQ(field_scope("utime"), FieldScope::array);
  EXPECT_TRUE(maps_data("disks[2].raid_disk"));
  EXPECT_FALSE(maps_data("set_name"));
}

TEST(Sha1, KnownVectors) {
  const auto hex = [](std::string_view text) { return hex_digits(sha1(text)); };
  EXPECT_EQ(hex(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

}  // namespace
}  // namespace mdtool
