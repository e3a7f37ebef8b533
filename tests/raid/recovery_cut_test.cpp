// SPDX-License-Identifier: GPL-2.0-or-later
// recover interrupted: the power cut after every write, operations that fail, a stop; and what a kernel left behind.
#include <gtest/gtest.h>

#include "tests/raid/rebuilding.h"

namespace mdtool {
namespace {

using namespace test;
using Machine = RebuildMachine;

// The power went when of all that was not flushed only the newest write had arrived.
std::vector<Image> with_the_newest_write(const std::vector<Image>& start, const std::vector<Event>& log,
                                         std::size_t count) {
  std::vector<Image> images = after_cut(start, log, count, Lost::all_unflushed);
  if (count != 0) {
    const Event& last = log[count - 1];
    std::copy(last.bytes.begin(), last.bytes.end(),
              images[last.member].begin() + static_cast<std::ptrdiff_t>(last.offset));
  }
  return images;
}

struct Cut {
  std::string name;
  Story story;
};

class RecoveryCut : public testing::TestWithParam<Cut> {};

// Whatever a power cut leaves, the array reads the same, a member that claims to be in sync is, and the same command
// ends where the uninterrupted run did.
TEST_P(RecoveryCut, AfterAnyWriteTheSameCommandConverges) {
  const Story& story = GetParam().story;
  const Told told = tell(story);
  Machine machine(told.before);
  mdtool::Run often;
  often.checkpoint_interval = std::chrono::milliseconds(0);
  ASSERT_TRUE(machine.run({}, often));
  ASSERT_GT(machine.log().size(), 8U);
  for (std::size_t count = 0; count <= machine.log().size(); ++count) {
    const auto& log = machine.log();
    const std::vector<std::vector<Image>> possible{after_cut(told.before, log, count, Lost::nothing),
                                                   after_cut(told.before, log, count, Lost::all_unflushed),
                                                   after_cut(told.before, log, count, Lost::one_members_unflushed),
                                                   with_the_newest_write(told.before, log, count)};
    for (std::size_t i = 0; i < possible.size(); ++i) {
      SCOPED_TRACE(std::to_string(count) + " events, possibility " + std::to_string(i));
      Machine cut(possible[i]);
      ASSERT_TRUE(cut.array().clean);
      const auto content = cut.content();
      ASSERT_TRUE(content) << content.error().text;
      ASSERT_EQ(*content, told.content);
      const std::vector<Image> images = cut.images();
      for (const std::size_t image : told.recovering) {
        const Member* m = cut.array().in_slot(story.recovering[image == told.recovering.front() ? 0 : 1]);
        ASSERT_NE(m, nullptr);
        ASSERT_TRUE(m->state == MemberState::recovering || data_is_right(images, told, image));
      }
      auto again = cut.run();
      ASSERT_TRUE(again) << again.error().text;
      cut.look();
      expect_all_in_sync(cut, told);
      if (story.missing.empty()) {
        expect_settled_bitmap(cut.array());
      }
      ASSERT_FALSE(HasFailure());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Stories, RecoveryCut,
    testing::Values(Cut{"raid5_classic", {{5, 2, 4, bitmap::Kind::classic}}},
                    Cut{"raid4_lockless", {{4, 0, 4, bitmap::Kind::lockless}, {2}}},
                    Cut{"raid5_none_mark", {{5, 0, 4, bitmap::Kind::none}, {0}, false, Sectors(64)}},
                    Cut{"raid6_classic_two", {{6, 2, 5, bitmap::Kind::classic}, {0, 3}}},
                    Cut{"raid6_lockless_mark_missing",
                        {{6, 8, 5, bitmap::Kind::lockless}, {1}, false, Sectors(100), {4}}},
                    Cut{"raid6_none_two_marks", {{6, 10, 5, bitmap::Kind::none}, {2, 4}, false, Sectors(8)}}),
    [](const auto& test_info) { return test_info.param.name; });

// The rows of this fixture are all right below the mark, and what is above it is the kernel's business.
void expect_rebuilt(const Machine& machine, const std::vector<std::byte>& content) {
  EXPECT_TRUE(machine.array().complete);
  const auto now = machine.content();
  ASSERT_TRUE(now);
  EXPECT_EQ(*now, content);
  const Layout layout = *workable_layout(machine.array());
  std::vector<const Source*> data;
  for (std::uint32_t slot = 0; slot < machine.array().slots(); ++slot) {
    data.push_back(machine.array().in_slot(slot)->candidate->data);
  }
  for (Sectors row; row < layout.geometry().component_size; row += Sectors(8)) {
    ASSERT_TRUE(row_is_right(layout, data, machine.array().array().data_offset, row)) << row.count();
  }
}

const Member& recovering_member(const Assembly& a) {
  return *std::find_if(a.members.begin(), a.members.end(),
                       [](const Member& m) { return m.state == MemberState::recovering; });
}

TEST(Recovery, StoppedItGoesOnFromItsMark) {
  for (const std::string name : {"1.2-raid5-4-none-recovering", "1.2-raid6-5-classic-recovering"}) {
    SCOPED_TRACE(name);
    Machine machine(load_fixture(name));
    const auto content = machine.content();
    ASSERT_TRUE(content);
    const Sectors mark = recovering_member(machine.array()).description().recovery_offset;
    std::stop_source source;
    mdtool::Run stop;
    stop.stop = source.get_token();
    stop.progress = [&](const Progress&) { source.request_stop(); };
    auto report = machine.run({}, stop);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_TRUE(report->interrupted);
    machine.look();
    const Sectors reached = recovering_member(machine.array()).description().recovery_offset;
    EXPECT_EQ(reached, mark + Sectors(2048));
    report = machine.run();
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->filled[0].lacked_bytes,
              (workable_layout(machine.array())->geometry().component_size - reached).bytes());
    machine.look();
    expect_rebuilt(machine, *content);
  }
}

TEST(Recovery, APowerCutLosesNoMoreThanACheckpoint) {
  const std::vector<Image> start = load_fixture("1.2-raid5-4-none-recovering");
  Machine machine(start);
  const auto content = machine.content();
  ASSERT_TRUE(content);
  mdtool::Run often;
  often.checkpoint_interval = std::chrono::milliseconds(0);
  ASSERT_TRUE(machine.run({}, often));
  std::set<std::uint64_t> marks;
  const std::uint64_t data = machine.array().array().data_offset.bytes();
  for (std::size_t count = 1; count <= machine.log().size(); ++count) {
    const Event& last = machine.log()[count - 1];
    if (last.flush || last.offset >= data) {
      continue;  // cuts between two metadata writes are alike
    }
    SCOPED_TRACE(std::to_string(count) + " events");
    Machine cut(with_the_newest_write(start, machine.log(), count));
    ASSERT_EQ(*cut.content(), *content);
    if (!cut.array().complete) {
      marks.insert(recovering_member(cut.array()).description().recovery_offset.count());
      ASSERT_TRUE(cut.run());
      cut.look();
    }
    ASSERT_TRUE(cut.array().complete);
    ASSERT_EQ(*cut.content(), *content);
  }
  EXPECT_GE(marks.size(), 2U);
}

TEST(Recovery, WhateverOperationFailsNothingIsClaimedThatIsNotSo) {
  for (const Story& story :
       {Story{{5, 2, 4, bitmap::Kind::classic}}, Story{{6, 2, 5, bitmap::Kind::none}, {1, 2}, false, Sectors(24)}}) {
    const Told told = tell(story);
    for (const Operation operation : {Operation::read, Operation::write, Operation::flush}) {
      std::size_t failures = 0;
      for (std::uint64_t n = 0; n < 10 * told.before.size(); ++n) {
        SCOPED_TRACE(std::to_string(static_cast<int>(operation)) + " " + std::to_string(n));
        Machine machine(told.before);
        Fault fault;
        fault.operation = operation;
        fault.after = n / told.before.size();
        fault.times = 1;
        failures += machine.run({}, {}, {{n % told.before.size(), fault}}) ? 0 : 1;
        machine.look();
        const auto content = machine.content();
        ASSERT_TRUE(content);
        ASSERT_EQ(*content, told.content);
        ASSERT_TRUE(machine.run());
        machine.look();
        expect_all_in_sync(machine, told);
        ASSERT_FALSE(HasFailure());
      }
      EXPECT_GT(failures, 0U);
    }
  }
}

TEST(Recovery, WhatAKernelLeftHalfRebuiltIsFinished) {
  for (const std::string name :
       {"1.2-raid5-4-none-recovering", "1.2-raid6-5-classic-recovering", "1.2-raid5-3-lockless-recovering"}) {
    SCOPED_TRACE(name);
    Machine machine(load_fixture(name));
    ASSERT_FALSE(machine.array().complete);
    ASSERT_TRUE(machine.array().clean);
    const auto content = machine.content();
    ASSERT_TRUE(content);
    auto report = machine.run();
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_TRUE(report->disagreeing.empty());
    machine.look();
    expect_rebuilt(machine, *content);
    expect_settled_bitmap(machine.array());
  }
}

}  // namespace
}  // namespace mdtool
