// SPDX-License-Identifier: GPL-2.0-or-later
// What an overlay holds put on members that a kernel made, with the power cut after every write.
#include "libraid/assemble/overlay_commit.h"

#include <gtest/gtest.h>

#include "libraid/array/write_intent.h"
#include "tests/raid/overlay_usage.h"

namespace mdtool {
namespace {

using test::Bench;
using test::Event;
using test::Image;
using test::Lost;
using test::Sight;
using test::Trouble;
using test::Usage;

std::set<std::uint64_t> due_chunks(const Assembly& a, Sectors component) {
  const WriteIntent intent = WriteIntent::for_resync(a.bitmap, component, Sectors(2048), a.clean);
  return {intent.due().begin(), intent.due().end()};
}

Sectors chunk_of_intent(const Assembly& a, Sectors component) {
  const WriteIntent intent = WriteIntent::for_resync(a.bitmap, component, Sectors(2048), false);
  return intent.due().empty() ? component : intent.range_of(0).count;
}

// Rows that no resync would look at: their parity has to be right.
void expect_promised_rows_right(const Sight& sight, const std::set<std::uint64_t>& wrong_before) {
  const Assembly& a = sight.array();
  const Sectors component = sight.layout().geometry().component_size;
  const auto due = due_chunks(a, component);
  const Sectors chunk = a.bitmap.trust == Trust::believed ? a.bitmap.chunk() : chunk_of_intent(a, component);
  for (Sectors sector; sector < component; sector += Sectors(8)) {
    const std::uint64_t index = sector / chunk;
    const bool unwritten = a.bitmap.lockless && a.bitmap.lockless->raw(index) == 0;
    if (due.contains(index) || unwritten || wrong_before.contains(sector.count())) {
      continue;
    }
    ASSERT_TRUE(sight.row_right(sector)) << "sector " << sector.count() << " clean " << a.clean;
  }
}

std::set<std::uint64_t> wrong_rows(const Sight& sight) {
  std::set<std::uint64_t> wrong;
  for (Sectors sector; sector < sight.layout().geometry().component_size; sector += Sectors(8)) {
    if (!sight.row_right(sector)) {
      wrong.insert(sector.count());
    }
  }
  return wrong;
}

class OverlayCommits : public testing::TestWithParam<const char*> {
 protected:
  std::string path() const { return scratch_.path("overlay"); }
  // A copy of the file as it is now.
  std::string copy(const std::string& name) const {
    const std::string to = scratch_.path(name);
    std::filesystem::copy_file(path(), to, std::filesystem::copy_options::overwrite_existing);
    return to;
  }
  ScratchFolder scratch_;
};

TEST_P(OverlayCommits, put_on_the_members_what_was_read_through_it) {
  const std::vector<Image> start = test::load_fixture(GetParam());
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  const bool complete = bench.below().array().complete;
  const std::uint64_t events = bench.below().array().array().events;
  test::use(bench);
  const auto content = bench.above().content();
  EXPECT_NE(content, bench.below().content());
  EXPECT_TRUE(bench.log().empty());
  const auto report = bench.commit();
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_TRUE(report->undo_kept);
  const Bench after(bench.images(), path());
  const Assembly& a = after.below().array();
  EXPECT_EQ(after.below().content(), content);
  EXPECT_EQ(a.verdict, complete ? Verdict::assembles : Verdict::degraded);
  EXPECT_TRUE(a.clean);
  EXPECT_EQ(a.array().events, events + (complete ? 2 : 3));
  if (a.bitmap.trust != Trust::absent) {
    EXPECT_EQ(a.bitmap.trust, Trust::believed);
  }
  if (complete) {
    const auto wrong = wrong_rows(bench.above());
    EXPECT_EQ(wrong_rows(after.below()), wrong);
    EXPECT_TRUE(due_chunks(a, after.below().layout().geometry().component_size).empty() ||
                GetParam() == std::string("1.2-raid5-4-lockless-crash"));
  }
}

TEST_P(OverlayCommits, cut_anywhere_leave_an_array_that_knows_it_and_are_finished_by_the_same_command) {
  const std::vector<Image> start = test::load_fixture(GetParam());
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  const bool complete = bench.below().array().complete;
  const auto wrong = complete ? wrong_rows(bench.below()) : std::set<std::uint64_t>{};
  test::use(bench);
  ASSERT_TRUE(bench.commit());
  const std::vector<Image> finished = bench.images();
  bench.close();
  ASSERT_GT(bench.log().size(), 8U);
  const std::size_t step = std::max<std::size_t>(1, bench.log().size() / (4 * MDTOOL_TEST_SCALE));
  for (std::size_t count = 0; count <= bench.log().size(); count += step) {
    for (const Lost lost : {Lost::nothing, Lost::all_unflushed, Lost::one_members_unflushed}) {
      SCOPED_TRACE(std::to_string(count) + " of " + std::to_string(bench.log().size()) + " events, " +
                   std::to_string(static_cast<int>(lost)));
      Bench again(test::after_cut(start, bench.log(), count, lost), copy("again"));
      if (complete) {
        ASSERT_EQ(again.below().array().verdict, Verdict::assembles);
        expect_promised_rows_right(again.below(), wrong);
      }
      EXPECT_EQ(again.open(OverlayUse::serve).error().kind, ErrorKind::refused);
      const auto opened = again.open(OverlayUse::commit);
      ASSERT_TRUE(opened) << opened.error().text;
      const auto report = again.commit();
      ASSERT_TRUE(report) << report.error().text;
      ASSERT_TRUE(again.images() == finished);
    }
  }
}

TEST_P(OverlayCommits, finish_after_whatever_operation_failed) {
  const std::vector<Image> start = test::load_fixture(GetParam());
  {
    Bench bench(start, path());
    ASSERT_TRUE(bench.open(OverlayUse::serve));
    test::use(bench);
  }
  std::uint64_t failures = 0;
  for (const Operation operation : {Operation::read, Operation::write, Operation::flush}) {
    for (std::uint64_t n = 0; n < 4 * start.size(); ++n) {
      SCOPED_TRACE(std::to_string(static_cast<int>(operation)) + " " + std::to_string(n));
      Bench bench(start, copy("again"));
      ASSERT_TRUE(bench.open(OverlayUse::commit));
      const auto content = bench.above().content();
      Fault fault;
      fault.operation = operation;
      fault.after = n / start.size();
      fault.times = 1;
      const auto report = bench.commit({}, Trouble{n % start.size(), fault});
      failures += report ? 0 : 1;
      bench.close();
      Bench again(bench.images(), scratch_.path("again"));
      ASSERT_TRUE(again.open(OverlayUse::commit));
      const auto finished = again.commit();
      ASSERT_TRUE(finished) << finished.error().text;
      const Bench after(again.images(), path());
      ASSERT_EQ(after.below().content(), content);
      ASSERT_TRUE(after.below().array().clean);
    }
  }
  EXPECT_GE(failures, 3 * start.size());
}

INSTANTIATE_TEST_SUITE_P(Kernel, OverlayCommits,
                         testing::Values("1.2-raid5-4-none-clean", "1.2-raid5-4-classic-clean",
                                         "1.2-raid5-4-lockless-clean", "0.90-raid6-5-classic-clean",
                                         "1.0-raid5-5-classic-clean", "1.2-raid5-4-lockless-first-use",
                                         "1.2-raid6-5-lockless-unwritten", "1.2-raid5-4-none-degraded",
                                         "1.2-raid4-3-none-clean"),
                         [](const auto& fixture) {
                           std::string name = fixture.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
                           return name;
                         });

class OverlayCommit : public testing::Test {
 protected:
  std::string path() const { return scratch_.path("overlay"); }
  ScratchFolder scratch_;
};

TEST_F(OverlayCommit, is_taken_back_by_its_undo_file) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-classic-clean");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  test::use(bench);
  ASSERT_TRUE(bench.commit());
  const auto contents = read_undo_file(bench.undo_path());
  ASSERT_TRUE(contents);
  std::vector<MemoryDevice> members;
  for (const UndoMember& named : contents->members) {
    members.emplace_back(bench.images()[static_cast<std::size_t>(std::stoi(named.path.substr(1)))]);
  }
  std::vector<const Source*> sources;
  for (const MemoryDevice& member : members) {
    sources.push_back(&member);
  }
  const auto plan = undo_plan(*contents, sources);
  ASSERT_TRUE(plan) << plan.error().text;
  for (const UndoRecord& record : *plan) {
    ASSERT_TRUE(members[record.member].write(record.offset_bytes, record.after));
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    EXPECT_TRUE(members[i].bytes() == start[static_cast<std::size_t>(std::stoi(contents->members[i].path.substr(1)))]);
  }
}

TEST_F(OverlayCommit, of_more_data_than_an_undo_file_takes_leave_none_that_takes_back_half) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-8-none-clean");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  Usage usage(bench);
  usage.write({Sectors(), bench.above().layout().geometry().component_size}, 1);
  usage.stop(4, Usage::End::clean);
  const auto content = bench.above().content();
  ASSERT_GT(bench.plan()->data_bytes(), 8U << 20);
  std::stop_source source;
  mdtool::Run stop;
  stop.stop = source.get_token();
  stop.progress = [&](const Progress& p) {
    EXPECT_FALSE(std::filesystem::exists(bench.undo_path()));
    if (p.done_bytes * 2 > p.total_bytes) {
      source.request_stop();
    }
  };
  const auto report = bench.commit(stop);
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_TRUE(report->interrupted);
  EXPECT_FALSE(report->undo_kept);
  bench.close();
  Bench again(bench.images(), path());
  EXPECT_FALSE(again.below().array().clean);
  ASSERT_TRUE(again.open(OverlayUse::commit));
  ASSERT_TRUE(again.commit());
  EXPECT_FALSE(std::filesystem::exists(again.undo_path()));
  EXPECT_EQ(Bench(again.images(), path()).below().content(), content);
}

TEST_F(OverlayCommit, leave_a_member_alone_that_failed_above_and_it_is_not_taken_back) {
  for (const std::string name : {"1.2-raid6-5-classic-clean", "1.2-raid5-4-none-clean", "1.2-raid5-4-lockless-clean"}) {
    SCOPED_TRACE(name);
    const std::vector<Image> start = test::load_fixture(name);
    Bench bench(start, scratch_.path(name));
    ASSERT_TRUE(bench.open(OverlayUse::serve));
    Usage usage(bench);
    usage.write({Sectors(8), Sectors(16)}, 1);
    const std::size_t lost = test::device_of(*bench.above().array().in_slot(1));
    usage.lose(1);
    usage.write({Sectors(64), Sectors(16)}, 2);
    usage.stop(9, Usage::End::clean);
    EXPECT_EQ(bench.above().array().verdict, Verdict::degraded);
    const auto content = bench.above().content();
    const auto report = bench.commit();
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_TRUE(bench.images()[lost] == start[lost]);
    const Bench after(bench.images(), path());
    const Assembly& a = after.below().array();
    EXPECT_EQ(a.in_slot(1), nullptr);
    EXPECT_EQ(a.verdict, Verdict::degraded);
    EXPECT_EQ(after.below().content(), content);
    // Two steps before the data: whoever is one event behind would be taken back.
    EXPECT_EQ(a.array().events, bench.below().array().array().events + 3);
  }
}

TEST_F(OverlayCommit, let_no_bitmap_speak_for_a_member_that_lacks_what_came_before_it_failed) {
  const std::vector<Image> start = test::load_fixture("1.2-raid6-5-classic-clean");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  const std::uint64_t events = bench.below().array().array().events;
  test::use(bench);  // its bits are cleared again
  Usage usage(bench);
  usage.lose(1);
  usage.write({Sectors(64), Sectors(16)}, 2);
  usage.stop(9, Usage::End::clean);
  ASSERT_TRUE(bench.commit());
  const Bench after(bench.images(), path());
  ASSERT_TRUE(after.below().array().bitmap.classic);
  EXPECT_GT(after.below().array().bitmap.classic->header().events_cleared, events);
  EXPECT_LE(after.below().array().bitmap.classic->header().events_cleared, after.below().array().array().events);
}

TEST_F(OverlayCommit, never_counts_events_back) {
  constexpr std::uint64_t superblock_1_2 = 4096;
  constexpr std::size_t events_at = 200;
  const auto events_of = [](std::span<const std::byte> superblock) {
    return load<le64>(superblock, events_at)->value();
  };
  // A slot is missing: two rounds of marks.
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-none-degraded");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  test::use(bench);
  ASSERT_TRUE(bench.commit());
  bench.close();
  for (std::size_t count = 0; count <= bench.log().size(); ++count) {
    SCOPED_TRACE(count);
    std::filesystem::copy_file(path(), scratch_.path("again"), std::filesystem::copy_options::overwrite_existing);
    const auto cut = test::after_cut(start, bench.log(), count, Lost::nothing);
    Bench again(cut, scratch_.path("again"));
    ASSERT_TRUE(again.open(OverlayUse::commit));
    ASSERT_TRUE(again.commit());
    std::vector<std::uint64_t> events;
    for (const Image& image : cut) {
      events.push_back(events_of(std::span(image).subspan(superblock_1_2)));
    }
    for (const Event& e : again.log()) {
      if (!e.flush && e.offset == superblock_1_2) {
        EXPECT_GE(events_of(e.bytes), events[e.member]);
        events[e.member] = events_of(e.bytes);
      }
    }
  }
}

TEST_F(OverlayCommit, is_refused_where_a_member_changed_after_it_was_looked_at) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-none-clean");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  test::use(bench);
  ASSERT_TRUE(bench.device(2).write(4096 + 300, pattern(8)));
  const std::size_t before = bench.log().size();
  const auto report = bench.commit();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::refused);
  EXPECT_NE(report.error().text.find("m2"), std::string::npos);
  EXPECT_EQ(bench.log().size(), before);
  EXPECT_FALSE(bench.overlay().commit());
}

TEST_F(OverlayCommit, of_an_overlay_that_was_cut_off_itself_leave_the_array_dirty) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-lockless-clean");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  test::use(bench, Usage::End::dirty);
  const auto content = bench.above().content();
  ASSERT_TRUE(bench.commit());
  const Bench after(bench.images(), path());
  EXPECT_FALSE(after.below().array().clean);
  EXPECT_EQ(after.below().array().verdict, Verdict::assembles);
  EXPECT_EQ(after.below().content(), content);
  const auto due = due_chunks(after.below().array(), after.below().layout().geometry().component_size);
  EXPECT_FALSE(due.empty());
  EXPECT_LT(due.size(), after.below().array().bitmap.chunks());
}

TEST_F(OverlayCommit, of_nothing_do_nothing) {
  Bench bench(test::load_fixture("1.2-raid5-4-none-clean"), path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  const auto plan = bench.plan();
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->nothing_to_do());
}

TEST_F(OverlayCommit, want_every_member_of_which_the_overlay_holds_something) {
  const std::vector<Image> start = test::load_fixture("1.2-raid6-5-classic-clean");
  {
    Bench bench(start, path());
    ASSERT_TRUE(bench.open(OverlayUse::serve));
    test::use(bench);
  }
  Bench fewer({start.begin() + 1, start.end()}, path());
  ASSERT_TRUE(fewer.open(OverlayUse::commit));
  const auto plan = fewer.plan();
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, ErrorKind::refused);
  EXPECT_NE(plan.error().text.find("m0"), std::string::npos);
}

TEST_F(OverlayCommit, refuse_a_bitmap_file_that_was_written_above) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-none-clean");
  const Bench bench(start, path());
  const MemoryDevice bitmap(pattern(8192));
  std::vector<OverlayBase> bases = {overlay_base_of_bitmap_file("x.bitmap", bitmap)};
  for (const Candidate& c : bench.below().candidates) {
    bases.push_back(*overlay_base(c));
  }
  {
    const auto overlay = OverlayFile::create(path(), bases);
    ASSERT_TRUE(overlay);
    ASSERT_TRUE(overlay->device(0)->write(512, pattern(512)));
    ASSERT_TRUE(overlay->device(0)->flush());
  }
  Bench again(start, path());
  ASSERT_TRUE(again.open(OverlayUse::commit));
  const auto plan = again.plan();
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().text.find("x.bitmap"), std::string::npos);
}

TEST_F(OverlayCommit, are_refused_once_the_array_went_on_without_the_overlay) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-none-clean");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  test::use(bench);
  bench.close();
  Bench other(start, scratch_.path("other"));
  ASSERT_TRUE(other.open(OverlayUse::serve));
  test::use(other, Usage::End::clean, 3);
  ASSERT_TRUE(other.commit());
  Bench later(other.images(), path());
  for (const OverlayUse use : {OverlayUse::serve, OverlayUse::commit}) {
    const auto opened = later.open(use);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().kind, ErrorKind::refused);
    EXPECT_NE(opened.error().text.find("m0"), std::string::npos);
    EXPECT_NE(opened.error().text.find("superblock"), std::string::npos);
  }
  EXPECT_TRUE(later.log().empty());
}

TEST_F(OverlayCommit, record_the_commit_before_the_first_member_is_written) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-none-clean");
  Bench bench(start, path());
  ASSERT_TRUE(bench.open(OverlayUse::serve));
  test::use(bench);
  Fault fault;
  fault.operation = Operation::write;
  for (std::size_t member = 0; member < start.size(); ++member) {
    if (bench.log().empty()) {
      ASSERT_FALSE(bench.commit({}, Trouble{member, fault}));
    }
  }
  const auto contents = read_overlay_file(path());
  ASSERT_TRUE(contents);
  EXPECT_TRUE(contents->commit);
}

}  // namespace
}  // namespace mdtool
