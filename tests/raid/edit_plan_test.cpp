// SPDX-License-Identifier: GPL-2.0-or-later
// Plans: put together, tried in memory, applied; and made again from the middle of their own writing.
#include "libraid/edit/edit_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "libraid/edit/apply_plan.h"
#include "libraid/edit/try_plan.h"
#include "tests/raid/loaded_array.h"
#include "tests/raid/recording_device.h"

namespace mdtool {
namespace {

using test::Image;
using test::Look;

constexpr std::uint64_t superblock_at = 4096;  // metadata 1.2
constexpr std::uint64_t log_at = 16384;        // somewhere else

std::vector<std::byte> filled(std::size_t length, int value) {
  return std::vector<std::byte>(length, static_cast<std::byte>(value));
}

const Metadata& superblock_of(const Candidate& member) {
  return *member.chosen()->metadata;
}

std::unique_ptr<Metadata> with_events(const Candidate& member, std::uint64_t events) {
  SuperblockChange change;
  change.events = events;
  return superblock_of(member).changed(change);
}

// In two stages: a log on every member, then all superblocks.
EditPlan events_plan(const Look& look, std::uint64_t events) {
  EditDraft draft;
  for (const Candidate& member : look.candidates) {
    EXPECT_TRUE(draft.bytes(member, "bad-block log", log_at, filled(1024, 7)));
  }
  draft.next_stage();
  for (const Candidate& member : look.candidates) {
    EXPECT_TRUE(draft.superblock(member, superblock_of(member), *with_events(member, events)));
  }
  return std::move(draft).take();
}

std::vector<EditPatch> patches_of(const EditPlan& plan) {
  std::vector<EditPatch> all;
  for (const EditStage& stage : plan.stages) {
    all.insert(all.end(), stage.begin(), stage.end());
  }
  return all;
}

// Keeps what it is given, and how much had been written then.
class RecordedUndo final : public UndoSink {
 public:
  explicit RecordedUndo(const std::vector<test::Event>& log) : log_(&log) {}
  Status append(std::span<const UndoRecord> records) override {
    records_.insert(records_.end(), records.begin(), records.end());
    written_before_.push_back(log_->size());
    return Done{};
  }
  const std::string& path() const override { return path_; }
  const std::vector<UndoRecord>& records() const { return records_; }
  const std::vector<std::size_t>& written_before() const { return written_before_; }

 private:
  const std::vector<test::Event>* log_;
  std::string path_ = "undo";
  std::vector<UndoRecord> records_;
  std::vector<std::size_t> written_before_;
};

// Members as opened for writing, in the order of `images`.
class Written {
 public:
  Written(const std::vector<Image>& images, const EditPlan& plan) : undo_(log_) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      devices_.push_back(std::make_unique<test::RecordingDevice>(images[i], i, log_));
      fences_.push_back(std::make_unique<FencedDevice>(*devices_.back(), planned_extents(plan, i)));
    }
  }
  Status apply(const EditPlan& plan) {
    std::vector<WritableMember> members;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      members.push_back({"m" + std::to_string(i), fences_[i].get(), devices_[i].get()});
    }
    MetadataStages stages(std::move(members), undo_);
    return apply_plan(plan, stages);
  }
  std::vector<Image> images() const {
    std::vector<Image> all;
    for (const auto& device : devices_) {
      all.push_back(device->bytes());
    }
    return all;
  }
  const std::vector<test::Event>& log() const { return log_; }
  const RecordedUndo& undo() const { return undo_; }

 private:
  std::vector<test::Event> log_;
  RecordedUndo undo_;
  std::vector<std::unique_ptr<test::RecordingDevice>> devices_;
  std::vector<std::unique_ptr<FencedDevice>> fences_;
};

std::vector<Image> raid5() {
  return test::load_fixture("1.2-raid5-4-none-clean");
}

TEST(ChangesBetween, NamesWhatDiffersAndWhatOneOfBothHasNot) {
  const Fields before{{"events", std::uint64_t{3}, Unit::none},
                      {"set_name", std::string("old"), Unit::none},
                      {"gone", std::uint64_t{1}, Unit::hexadecimal},
                      {"level", std::int64_t{5}, Unit::none}};
  const Fields after{{"level", std::int64_t{5}, Unit::none},
                     {"set_name", std::string("new"), Unit::none},
                     {"dev_roles[4]", std::uint64_t{65534}, Unit::none},
                     {"events", std::uint64_t{4}, Unit::none}};
  const auto changes = changes_between(before, after);
  ASSERT_EQ(changes.size(), 4U);
  EXPECT_EQ(changes[0].before.value, before[1].value);
  EXPECT_EQ(changes[0].after.name, "set_name");
  EXPECT_EQ(changes[0].after.value, after[1].value);
  EXPECT_EQ(changes[1].before.name, "dev_roles[4]");
  EXPECT_EQ(std::get<std::string>(changes[1].before.value), "");
  EXPECT_EQ(changes[2].after.name, "events");
  EXPECT_EQ(std::get<std::uint64_t>(changes[2].before.value), 3U);
  EXPECT_EQ(std::get<std::uint64_t>(changes[2].after.value), 4U);
  EXPECT_EQ(changes[3].after.name, "gone");
  EXPECT_EQ(std::get<std::string>(changes[3].after.value), "");
  EXPECT_EQ(changes[3].after.unit, Unit::hexadecimal);
}

TEST(EditDraft, HoldsBytesAndFieldsOfASuperblock) {
  const Look look = test::look_at(raid5());
  const Candidate& member = look.candidates[1];
  const std::uint64_t events = member.chosen()->description.events;
  EditDraft draft;
  ASSERT_TRUE(draft.superblock(member, superblock_of(member), *with_events(member, events + 2)));
  const EditPlan plan = std::move(draft).take();
  EXPECT_FALSE(plan.nothing_to_do());
  ASSERT_EQ(plan.members, (std::vector<const Candidate*>{&member}));
  const auto patches = patches_of(plan);
  ASSERT_EQ(patches.size(), 1U);
  EXPECT_EQ(patches[0].offset_bytes, superblock_at);
  EXPECT_EQ(patches[0].purpose, "superblock");
  EXPECT_EQ(patches[0].before, superblock_of(member).encode());
  EXPECT_EQ(patches[0].after, with_events(member, events + 2)->encode());
  std::vector<std::string> names;
  for (const FieldChange& change : patches[0].fields) {
    names.push_back(change.after.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"events", "sb_csum"}));
}

TEST(EditDraft, LeavesOutWhatChangesNothing) {
  const std::vector<Image> images = raid5();
  const Look look = test::look_at(images);
  const Candidate& member = look.candidates[0];
  EditDraft draft;
  ASSERT_TRUE(draft.superblock(member, superblock_of(member), superblock_of(member)));
  draft.next_stage();
  const auto there = std::vector<std::byte>(images[0].begin(), images[0].begin() + 512);
  ASSERT_TRUE(draft.bytes(member, "gap", 0, there));
  draft.next_stage();
  draft.step("nothing");
  const EditPlan plan = std::move(draft).take();
  EXPECT_TRUE(plan.nothing_to_do());
  EXPECT_TRUE(plan.stages.empty());
  EXPECT_TRUE(plan.members.empty());
  EXPECT_EQ(plan.steps, (std::vector<std::string>{"nothing"}));
}

TEST(EditDraft, ReadsThroughItsOwnPatches) {
  const Look look = test::look_at(raid5());
  const Candidate& member = look.candidates[0];
  const auto first = with_events(member, 1000);
  SuperblockChange more;
  more.utime_seconds = 1;
  const auto second = first->changed(more);
  EditDraft draft;
  ASSERT_TRUE(draft.superblock(member, superblock_of(member), *first));
  draft.next_stage();
  ASSERT_TRUE(draft.superblock(member, *first, *second));
  const EditPlan plan = std::move(draft).take();
  ASSERT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(plan.stages[1][0].before, plan.stages[0][0].after);
  EXPECT_EQ(plan.members.size(), 1U);
}

TEST(EditDraft, RefusesASuperblockThatIsNoMoreWhatWasRead) {
  const Look look = test::look_at(raid5());
  const Candidate& member = look.candidates[0];
  ASSERT_TRUE(look.devices[0]->write(superblock_at + 40, filled(1, 0xee)));
  EditDraft draft;
  const Status drafted = draft.superblock(member, superblock_of(member), *with_events(member, 1000));
  ASSERT_FALSE(drafted);
  EXPECT_EQ(drafted.error().kind, ErrorKind::refused);
  EXPECT_NE(drafted.error().text.find("m0"), std::string::npos) << drafted.error().text;
  EXPECT_TRUE(std::move(draft).take().nothing_to_do());
}

TEST(EditDraft, NewSuperblockNamesAllFieldsOrThoseThatDiffer) {
  std::vector<Image> images = raid5();
  std::fill_n(images[3].begin() + superblock_at, 4096, std::byte{0});
  const Look look = test::look_at(images);
  ASSERT_EQ(look.candidates[3].chosen(), nullptr);
  EditDraft draft;
  ASSERT_TRUE(draft.new_superblock(look.candidates[3], superblock_of(look.candidates[2])));
  ASSERT_TRUE(draft.new_superblock(look.candidates[1], superblock_of(look.candidates[2])));
  const auto patches = patches_of(std::move(draft).take());
  ASSERT_EQ(patches.size(), 2U);
  EXPECT_EQ(patches[0].fields.size(), superblock_of(look.candidates[2]).fields().size());
  EXPECT_EQ(patches[0].before, filled(patches[0].after.size(), 0));
  const bool other_device = std::any_of(patches[1].fields.begin(), patches[1].fields.end(),
                                        [](const FieldChange& c) { return c.after.name == "device_uuid"; });
  EXPECT_TRUE(other_device);
  EXPECT_LT(patches[1].fields.size(), 6U);
}

TEST(EditDraft, RefusesBytesBeyondTheMember) {
  const Look look = test::look_at(raid5());
  EditDraft draft;
  const Status drafted = draft.bytes(look.candidates[0], "gap", look.devices[0]->size_bytes() - 1, filled(2, 1));
  ASSERT_FALSE(drafted);
  EXPECT_EQ(drafted.error().kind, ErrorKind::out_of_range);
}

TEST(EditPlan, MadeAgainAfterAnyPartOfItsWritesHoldsTheRest) {
  const std::vector<Image> images = raid5();
  const Look look = test::look_at(images);
  const EditPlan plan = events_plan(look, 1000);
  Written whole(images, plan);
  ASSERT_TRUE(whole.apply(plan));
  const auto patches = patches_of(plan);
  ASSERT_EQ(patches.size(), 2 * images.size());
  for (std::size_t count = 0; count <= whole.log().size(); ++count) {
    const std::vector<Image> cut = test::after_cut(images, whole.log(), count, test::Lost::nothing);
    const Look again = test::look_at(cut);
    const EditPlan rest = events_plan(again, 1000);
    const auto writes = static_cast<std::size_t>(std::count_if(whole.log().begin(),
                                                               whole.log().begin() + static_cast<std::ptrdiff_t>(count),
                                                               [](const test::Event& e) { return !e.flush; }));
    EXPECT_EQ(patches_of(rest).size(), patches.size() - writes) << "after " << count;
    std::vector<Image> of_rest;
    for (const Candidate* member : rest.members) {
      of_rest.push_back(cut[static_cast<std::size_t>(member - again.candidates.data())]);
    }
    Written finished(of_rest, rest);
    ASSERT_TRUE(finished.apply(rest));
    for (std::size_t i = 0; i < rest.members.size(); ++i) {
      const auto member = static_cast<std::size_t>(rest.members[i] - again.candidates.data());
      EXPECT_EQ(finished.images()[i], whole.images()[member]) << "after " << count << ", member " << member;
    }
  }
}

TEST(ApplyPlan, WritesStageAfterStageEachKeptBefore) {
  const std::vector<Image> images = raid5();
  const EditPlan plan = events_plan(test::look_at(images), 1000);
  Written written(images, plan);
  ASSERT_TRUE(written.apply(plan));
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < written.log().size(); ++i) {
    const test::Event& e = written.log()[i];
    if (!e.flush) {
      order.emplace_back(e.offset, e.member);
      ASSERT_LT(i + 1, written.log().size());
      EXPECT_TRUE(written.log()[i + 1].covers(e)) << "write " << i << " is not flushed before the next";
    }
  }
  std::vector<std::pair<std::uint64_t, std::size_t>> expected;
  for (std::uint64_t offset : {log_at, superblock_at}) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      expected.emplace_back(offset, i);
    }
  }
  EXPECT_EQ(order, expected);
  EXPECT_EQ(written.undo().written_before(), (std::vector<std::size_t>{0, 2 * images.size()}));
  for (const UndoRecord& record : written.undo().records()) {
    const Image& image = images[record.member];
    EXPECT_TRUE(std::equal(record.before.begin(), record.before.end(),
                           image.begin() + static_cast<std::ptrdiff_t>(record.offset_bytes)));
  }
  const Look after = test::look_at(written.images());
  for (const Candidate& member : after.candidates) {
    EXPECT_EQ(member.chosen()->description.events, 1000U);
    EXPECT_TRUE(member.chosen()->findings.empty());
  }
}

TEST(ApplyPlan, RefusesWhereAnyByteIsNotWhatItWasMadeFrom) {
  const std::vector<Image> images = raid5();
  const Look look = test::look_at(images);
  const EditPlan plan = events_plan(look, 1000);
  for (std::size_t member = 0; member < images.size(); ++member) {
    for (std::uint64_t offset : {log_at, log_at + 1023, superblock_at + 200}) {
      std::vector<Image> changed = images;
      changed[member][offset] ^= std::byte{1};
      Written written(changed, plan);
      const Status applied = written.apply(plan);
      ASSERT_FALSE(applied);
      EXPECT_EQ(applied.error().kind, ErrorKind::refused);
      EXPECT_NE(applied.error().text.find("m" + std::to_string(member) + ":"), std::string::npos);
      EXPECT_NE(applied.error().text.find("at byte " + std::to_string(offset)), std::string::npos)
          << applied.error().text;
      EXPECT_TRUE(written.log().empty());
      EXPECT_TRUE(written.undo().records().empty());
    }
    std::vector<Image> beside = images;
    beside[member][log_at + 1024] ^= std::byte{1};
    EXPECT_TRUE(Written(beside, plan).apply(plan));
  }
}

TEST(ApplyPlan, ComparesTheFirstVersionOfBytesThatAreReplacedTwice) {
  const std::vector<Image> images{Image(8192, std::byte{0})};
  const Look look = test::look_at(images);
  EditDraft draft;
  ASSERT_TRUE(draft.bytes(look.candidates[0], "a", 512, filled(1024, 1)));
  draft.next_stage();
  ASSERT_TRUE(draft.bytes(look.candidates[0], "b", 1024, filled(1024, 2)));
  draft.next_stage();
  ASSERT_TRUE(draft.bytes(look.candidates[0], "c", 0, filled(4096, 3)));
  const EditPlan plan = std::move(draft).take();
  ASSERT_EQ(plan.stages.size(), 3U);
  Written written(images, plan);
  ASSERT_TRUE(written.apply(plan));
  const Image after = written.images()[0];
  EXPECT_TRUE(std::all_of(after.begin(), after.begin() + 4096, [](std::byte b) { return b == std::byte{3}; }));
  EXPECT_EQ(after[4096], std::byte{0});
  std::vector<Image> middle = images;
  std::fill_n(middle[0].begin() + 512, 1024, std::byte{1});
  EXPECT_FALSE(Written(middle, plan).apply(plan)) << "the result of its first stage is not what it was made from";
}

TEST(PlannedExtents, AreTheMembersPatchesAndNoMore) {
  const std::vector<Image> images = raid5();
  const Look look = test::look_at(images);
  EditDraft draft;
  ASSERT_TRUE(draft.bytes(look.candidates[2], "bad-block log", log_at, filled(100, 7)));
  draft.next_stage();
  for (std::size_t i : {0, 2}) {
    const Candidate& member = look.candidates[i];
    ASSERT_TRUE(draft.superblock(member, superblock_of(member), *with_events(member, 1000)));
  }
  const EditPlan plan = std::move(draft).take();
  const auto of_first = planned_extents(plan, 0);
  ASSERT_EQ(of_first.size(), 2U);
  EXPECT_EQ(of_first[0].offset_bytes, log_at);
  EXPECT_EQ(of_first[0].length_bytes, 100U);
  EXPECT_EQ(of_first[1].offset_bytes, superblock_at);
  EXPECT_EQ(of_first[1].length_bytes, superblock_of(look.candidates[2]).encode().size());
  EXPECT_EQ(of_first[1].purpose, "superblock");
  const auto of_second = planned_extents(plan, 1);
  ASSERT_EQ(of_second.size(), 1U);
  EXPECT_EQ(of_second[0].offset_bytes, superblock_at);
}

TEST(TryPlan, ShowsMembersAsThePlanWouldLeaveThem) {
  std::vector<Image> images = raid5();
  std::fill_n(images[3].begin() + superblock_at, 4096, std::byte{0});
  const Look look = test::look_at(images);
  EditDraft draft;
  ASSERT_TRUE(
      draft.superblock(look.candidates[1], superblock_of(look.candidates[1]), *with_events(look.candidates[1], 1000)));
  ASSERT_TRUE(draft.new_superblock(look.candidates[3], superblock_of(look.candidates[2])));
  const EditPlan plan = std::move(draft).take();
  const auto tried = try_plan(look.candidates, plan);
  ASSERT_TRUE(tried) << tried.error().text;
  ASSERT_EQ(tried->candidates.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(tried->candidates[i].path, look.candidates[i].path);
    EXPECT_EQ(tried->candidates[i].identity, look.candidates[i].identity);
    ASSERT_NE(tried->candidates[i].chosen(), nullptr);
    EXPECT_TRUE(tried->candidates[i].chosen()->findings.empty());
  }
  EXPECT_EQ(tried->candidates[1].chosen()->description.events, 1000U);
  EXPECT_EQ(tried->candidates[0].chosen()->description.events, look.candidates[0].chosen()->description.events);
  EXPECT_EQ(tried->candidates[3].chosen()->description.slot, look.candidates[2].chosen()->description.slot);
  const auto through_data = read_bytes(*tried->candidates[1].data, superblock_at, 256);
  const auto through_metadata = read_bytes(*tried->candidates[1].metadata, superblock_at, 256);
  ASSERT_TRUE(through_data);
  EXPECT_EQ(*through_data, *through_metadata);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(look.devices[i]->bytes(), images[i]);
  }
}

TEST(TryPlan, StacksPlans) {
  const Look look = test::look_at(raid5());
  const auto first = try_plan(look.candidates, events_plan(look, 1000));
  ASSERT_TRUE(first);
  const Candidate& member = first->candidates[2];
  EXPECT_EQ(member.chosen()->description.events, 1000U);
  EditDraft draft;
  ASSERT_TRUE(draft.superblock(member, superblock_of(member), *with_events(member, 2000)));
  const auto second = try_plan(first->candidates, std::move(draft).take());
  ASSERT_TRUE(second);
  EXPECT_EQ(second->candidates[2].chosen()->description.events, 2000U);
  EXPECT_EQ(second->candidates[1].chosen()->description.events, 1000U);
  EXPECT_EQ(read_bytes(*second->candidates[2].data, log_at, 1024).value(), filled(1024, 7));
}

TEST(PatchedSource, LaterPatchesHideEarlierOnesAndReadsMayCutThem) {
  const MemoryDevice base(filled(64, 0));
  const auto patched = PatchedSource::of(base, {{10, filled(20, 1)}, {20, filled(4, 2)}, {60, filled(4, 3)}});
  ASSERT_TRUE(patched);
  std::vector<std::byte> expected = filled(64, 0);
  std::fill_n(expected.begin() + 10, 20, std::byte{1});
  std::fill_n(expected.begin() + 20, 4, std::byte{2});
  std::fill_n(expected.begin() + 60, 4, std::byte{3});
  for (std::size_t offset = 0; offset < 64; ++offset) {
    for (std::size_t length = 1; length <= 64 - offset; ++length) {
      const auto read = read_bytes(**patched, offset, length);
      ASSERT_TRUE(read);
      ASSERT_TRUE(std::equal(read->begin(), read->end(), expected.begin() + static_cast<std::ptrdiff_t>(offset)))
          << offset << "+" << length;
    }
  }
  EXPECT_FALSE(PatchedSource::of(base, {{61, filled(4, 1)}}));
  EXPECT_FALSE(PatchedSource::of(base, {{~std::uint64_t{0}, filled(4, 1)}}));
}

// Its checksum is in the first sector and covers all eight: a cut between two writes would leave a superblock that
// nobody takes.
TEST(ApplyPlan, WritesASuperblockOfManySectorsAtOnce) {
  const std::vector<Image> images{test::load_fixture("0.90-raid6-5-classic-clean")[0]};
  const Look look = test::look_at(images);
  const Candidate& member = look.candidates[0];
  SuperblockChange change;
  change.events = 1000;
  change.roles = {{9, role_faulty}};
  EditDraft draft;
  ASSERT_TRUE(draft.superblock(member, superblock_of(member), *superblock_of(member).changed(change)));
  const EditPlan plan = std::move(draft).take();
  Written written(images, plan);
  ASSERT_TRUE(written.apply(plan));
  EXPECT_EQ(std::count_if(written.log().begin(), written.log().end(), [](const test::Event& e) { return !e.flush; }),
            1);
  EXPECT_EQ(written.undo().records().size(), 1U);
  EXPECT_GT(written.undo().records()[0].after.size(), Sectors::bytes_each);
}

}  // namespace
}  // namespace mdtool
