// SPDX-License-Identifier: GPL-2.0-or-later
// resync and build-parity on arrays that a kernel made, with the power cut after every write.
#include "libraid/assemble/maintenance.h"

#include <gtest/gtest.h>

#include <set>

#include "libraid/io/faulty.h"
#include "libraid/io/memory.h"
#include "tests/raid/fixture.h"
#include "tests/raid/plain_rows.h"
#include "tests/raid/recording_device.h"
#include "tests/raid/undo_in_memory.h"

namespace mdtool {
namespace {

using test::after_cut;
using test::Event;
using test::Image;
using test::Lost;
using test::RecordingDevice;

constexpr Clock test_clock{1700000000};

const parity::Kernels& kernels() {
  return *parity::supported_kernels().front();
}

class Machine {
 public:
  explicit Machine(const std::vector<Image>& images) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      devices_.push_back(std::make_unique<RecordingDevice>(images[i], i, log_));
    }
    look();
  }

  void look() {
    candidates_.clear();
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      auto c = inspect("m" + std::to_string(i), std::to_string(i), *devices_[i], *devices_[i]);
      ASSERT_TRUE(c);
      candidates_.push_back(std::move(*c));
    }
    arrays_ = assemble(candidates_);
    ASSERT_EQ(arrays_.size(), 1U);
  }

  const Assembly& array() const { return arrays_.front(); }
  Layout layout() const { return *workable_layout(array()); }
  const std::vector<Event>& log() const { return log_; }

  std::vector<Image> images() const {
    std::vector<Image> out;
    for (const auto& d : devices_) {
      out.push_back(*read_bytes(*d, 0, d->size_bytes()));
    }
    return out;
  }

  // The member whose operations fail by the script, and the script.
  struct Trouble {
    std::size_t member;
    Fault fault;
  };

  Result<MaintenanceReport> run(const MaintenanceTask& task, const mdtool::Run& how = {},
                                const std::optional<Trouble>& trouble = {}) {
    TRY(plan, plan_maintenance(array(), task));
    if (plan.nothing_to_do()) {
      return MaintenanceReport{};
    }
    std::vector<std::unique_ptr<FaultyDevice>> faulty;
    std::vector<std::unique_ptr<FencedDevice>> fences;
    std::vector<WritableMember> members;
    undo_ = {};
    for (const PlannedMember& m : plan.members) {
      const auto index = static_cast<std::size_t>(std::stoi(array().members[m.member].candidate->identity));
      faulty.push_back(std::make_unique<FaultyDevice>(*devices_[index]));
      if (trouble && trouble->member == index) {
        faulty.back()->add(trouble->fault);
      }
      BlockDevice& device = *faulty.back();
      fences.push_back(std::make_unique<FencedDevice>(device, m.extents));
      members.push_back({"m", fences.back().get(), &device});
      undo_.contents.members.push_back({"m", device.size_bytes(), ""});
      undo_.devices.push_back(index);
    }
    MetadataStages stages(members, undo_);
    return run_maintenance(array(), plan, stages, kernels(), test_clock, how);
  }

  // Takes the last run back, as mdtool undo does.
  void undo() {
    std::vector<const Source*> sources;
    for (const std::size_t index : undo_.devices) {
      sources.push_back(devices_[index].get());
    }
    const auto steps = undo_plan(undo_.contents, sources);
    ASSERT_TRUE(steps) << steps.error().text;
    for (const UndoRecord& r : *steps) {
      RecordingDevice& device = *devices_[undo_.devices[r.member]];
      ASSERT_TRUE(device.write(r.offset_bytes, r.after));
      ASSERT_TRUE(device.flush());
    }
  }

  RecordingDevice& device(std::size_t index) { return *devices_[index]; }

  std::vector<const Source*> data_sources() const {
    std::vector<const Source*> out;
    for (std::uint32_t slot = 0; slot < array().slots(); ++slot) {
      out.push_back(array().in_slot(slot)->candidate->data);
    }
    return out;
  }

  bool row_right(Sectors sector) const {
    return test::row_is_right(layout(), data_sources(), array().array().data_offset, sector);
  }

  std::vector<std::byte> content(const Forces& forces = {}) const {
    auto open = open_for_reading(array(), forces, kernels());
    EXPECT_TRUE(open);
    std::vector<std::byte> out(open->array.size_bytes());
    EXPECT_TRUE(open->array.read(0, out));
    return out;
  }

 private:
  std::vector<Event> log_;
  std::vector<std::unique_ptr<RecordingDevice>> devices_;
  std::vector<Candidate> candidates_;
  std::vector<Assembly> arrays_;
  test::UndoInMemory undo_;
};

MaintenanceTask resync_task() {
  return {};
}

MaintenanceTask build_task(WriteIntent::Extent extent, BuiltState built = BuiltState::automatic) {
  MaintenanceTask task;
  task.kind = MaintenanceTask::Kind::build_parity;
  task.extent = extent;
  task.built = built;
  return task;
}

// Rows that are in a chunk which counts as in sync now: wrong parity there would never be found again by a resync.
void expect_promised_rows_right(const Machine& machine, const std::set<std::uint64_t>& wrong_from_the_start) {
  const Assembly& a = machine.array();
  const Sectors component = machine.layout().geometry().component_size;
  const WriteIntent intent = WriteIntent::for_resync(a.bitmap, component, Sectors(2048), a.clean);
  std::set<std::uint64_t> due(intent.due().begin(), intent.due().end());
  const Sectors chunk = intent.due().empty() && !intent.has_bitmap() ? component : intent.range_of(0).count;
  for (Sectors sector; sector < component; sector += Sectors(8)) {
    const std::uint64_t index = sector / chunk;
    const bool unwritten = a.bitmap.lockless && a.bitmap.lockless->raw(index) == 0;
    if (due.contains(index) || unwritten || wrong_from_the_start.contains(sector.count())) {
      continue;
    }
    ASSERT_TRUE(machine.row_right(sector)) << "sector " << sector.count() << " clean " << a.clean;
  }
}

std::set<std::uint64_t> wrong_and_not_due(const Machine& machine) {
  const Assembly& a = machine.array();
  const Sectors component = machine.layout().geometry().component_size;
  const WriteIntent intent = WriteIntent::for_resync(a.bitmap, component, Sectors(2048), a.clean);
  std::set<std::uint64_t> wrong;
  for (Sectors sector; sector < component; sector += Sectors(8)) {
    if (!machine.row_right(sector)) {
      wrong.insert(sector.count());
    }
  }
  for (std::uint64_t chunk : intent.due()) {
    const SectorRange r = intent.range_of(chunk);
    wrong.erase(wrong.lower_bound(r.first.count()), wrong.lower_bound(r.end().count()));
  }
  return wrong;
}

// Of every run: as many moments, each with three ways to lose what was not flushed.
constexpr std::size_t cut_points = 5;

struct Case {
  std::string fixture;
  MaintenanceTask task;
};

class PowerCut : public testing::TestWithParam<Case> {};

TEST_P(PowerCut, AnywhereLeavesAnArrayThatTheSameCommandFinishes) {
  const std::vector<Image> start = test::load_fixture(GetParam().fixture);
  Machine machine(start);
  const auto content = machine.content();
  const auto wrong = wrong_and_not_due(machine);
  mdtool::Run often;
  often.checkpoint_interval = std::chrono::milliseconds(0);
  auto report = machine.run(GetParam().task, often);
  ASSERT_TRUE(report) << report.error().text;
  ASSERT_GT(machine.log().size(), 8U);
  const std::size_t step = std::max<std::size_t>(1, machine.log().size() / (cut_points * MDTOOL_TEST_SCALE));
  for (std::size_t count = 1; count <= machine.log().size(); count += step) {
    for (Lost lost : {Lost::nothing, Lost::all_unflushed, Lost::one_members_unflushed}) {
      SCOPED_TRACE(std::to_string(count) + " events, lost " + std::to_string(static_cast<int>(lost)));
      Machine cut(after_cut(start, machine.log(), count, lost));
      ASSERT_TRUE(cut.array().complete);
      ASSERT_EQ(cut.array().verdict, Verdict::assembles);
      ASSERT_EQ(cut.content(), content);
      expect_promised_rows_right(cut, wrong);
      // A resync, too, settles what a build left.
      auto again = cut.run(lost == Lost::all_unflushed ? resync_task() : GetParam().task);
      ASSERT_TRUE(again) << again.error().text;
      cut.look();
      ASSERT_TRUE(cut.array().clean);
      ASSERT_EQ(cut.content(), content);
      expect_promised_rows_right(cut, wrong);
      const std::size_t events = cut.log().size();
      auto third = cut.run(resync_task());
      ASSERT_TRUE(third);
      ASSERT_EQ(cut.log().size(), events) << "the second resync wrote something";
    }
  }
}

TEST_P(PowerCut, OfAnUndoLeavesAnArrayThatTheSameCommandFinishes) {
  const std::vector<Image> start = test::load_fixture(GetParam().fixture);
  Machine machine(start);
  const auto content = machine.content();
  const auto wrong = wrong_and_not_due(machine);
  ASSERT_TRUE(machine.run(GetParam().task));
  const std::size_t run_end = machine.log().size();
  machine.undo();
  const std::size_t step = std::max<std::size_t>(1, (machine.log().size() - run_end) / cut_points);
  for (std::size_t count = run_end; count <= machine.log().size(); count += step) {
    SCOPED_TRACE(std::to_string(count - run_end) + " events of the undo");
    Machine cut(after_cut(start, machine.log(), count, Lost::nothing));
    ASSERT_EQ(cut.array().verdict, Verdict::assembles);
    ASSERT_EQ(cut.content(), content);
    expect_promised_rows_right(cut, wrong);
    ASSERT_TRUE(cut.run(resync_task()));
    cut.look();
    ASSERT_TRUE(cut.array().clean);
    ASSERT_EQ(cut.content(), content);
    expect_promised_rows_right(cut, wrong);
  }
}

TEST_P(PowerCut, WhatIsPlannedIsWhatComes) {
  Machine machine(test::load_fixture(GetParam().fixture));
  const auto plan = plan_maintenance(machine.array(), GetParam().task);
  ASSERT_TRUE(plan);
  std::vector<std::vector<Patch>> expected;
  for (const PlannedMember& m : plan->members) {
    expected.push_back(metadata_after(machine.array(), *plan, m, test_clock));
  }
  mdtool::Run without_checkpoints;
  without_checkpoints.checkpoint_interval = std::chrono::hours(1);
  ASSERT_TRUE(machine.run(GetParam().task, without_checkpoints));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Assembly& a = machine.array();
    const auto index = static_cast<std::size_t>(std::stoi(a.members[plan->members[i].member].candidate->identity));
    const Patch& superblock = expected[i].front();
    EXPECT_EQ(*read_bytes(machine.device(index), superblock.offset_bytes, superblock.bytes.size()), superblock.bytes);
    ASSERT_EQ(expected[i].size() == 2, a.bitmap.trust != Trust::absent);
    for (const Patch& bitmap : std::span(expected[i]).subspan(1)) {
      const MemoryDevice written(*read_bytes(machine.device(index), bitmap.offset_bytes, bitmap.bytes.size()));
      const auto header = bitmap::read_header(written, 0);
      const auto planned = bitmap::read_header(MemoryDevice(bitmap.bytes), 0);
      ASSERT_TRUE(header && planned);
      EXPECT_EQ(header->events, planned->events);
      EXPECT_EQ(header->events_cleared, planned->events_cleared);
      EXPECT_EQ(header->state, planned->state);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, PowerCut,
    testing::Values(Case{"1.2-raid5-4-none-crash", resync_task()}, Case{"1.2-raid5-4-classic-crash", resync_task()},
                    Case{"1.2-raid5-4-lockless-crash", resync_task()},
                    Case{"1.2-raid6-5-lockless-crash", resync_task()},
                    Case{"1.2-raid5-4-lockless-mixed-crash", resync_task()},
                    Case{"1.2-raid6-5-lockless-unwritten", build_task(WriteIntent::Extent::unwritten)},
                    Case{"1.2-raid6-5-lockless-unwritten", build_task(WriteIntent::Extent::everything)},
                    Case{"1.2-raid5-4-lockless-mixed-crash", build_task(WriteIntent::Extent::unwritten)},
                    Case{"1.2-raid5-4-classic-crash", build_task(WriteIntent::Extent::everything)},
                    Case{"1.2-raid6-5-classic-clean", build_task(WriteIntent::Extent::everything)},
                    Case{"1.2-raid5-4-none-clean", build_task(WriteIntent::Extent::everything)}),
    [](const auto& case_info) {
      std::string name = case_info.param.fixture + "_" + std::to_string(case_info.index);
      std::replace_if(
          name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
      return name;
    });

TEST(Maintenance, BuildParityMakesEveryRowRightAndLeavesNothingUnwritten) {
  for (BuiltState built : {BuiltState::automatic, BuiltState::clean_unwritten, BuiltState::clean}) {
    Machine machine(test::load_fixture("1.2-raid6-5-lockless-unwritten"));
    const auto before = machine.content();
    const bitmap::StateCounts was = machine.array().bitmap.lockless->counts();
    ASSERT_GT(was.by_state[0], 0U);
    std::set<std::uint64_t> clean_before;
    for (std::uint64_t i = 0; i < machine.array().bitmap.lockless->chunks(); ++i) {
      if (machine.array().bitmap.lockless->raw(i) == 1) {
        clean_before.insert(i);
      }
    }
    ASSERT_TRUE(machine.run(build_task(WriteIntent::Extent::unwritten, built)));
    machine.look();
    const bitmap::StateCounts now = machine.array().bitmap.lockless->counts();
    EXPECT_EQ(now.by_state[0], 0U);
    EXPECT_EQ(now.by_state[1] + now.by_state[7], machine.array().bitmap.lockless->chunks());
    if (built == BuiltState::clean) {
      EXPECT_EQ(now.by_state[7], 0U);
    } else if (built == BuiltState::clean_unwritten) {
      EXPECT_EQ(now.by_state[7], was.by_state[0] + was.by_state[7]);
    }
    // A chunk that the kernel called Clean may have been left wrong by the kernel: its sync can stop after one row.
    const Sectors chunk = machine.array().bitmap.chunk();
    for (Sectors sector; sector < machine.layout().geometry().component_size; sector += Sectors(1)) {
      ASSERT_TRUE(clean_before.contains(sector / chunk) || machine.row_right(sector)) << sector.count();
    }
    EXPECT_EQ(machine.content(), before);
    ASSERT_TRUE(machine.run(build_task(WriteIntent::Extent::everything, built)));
    machine.look();
    for (Sectors sector; sector < machine.layout().geometry().component_size; sector += Sectors(1)) {
      ASSERT_TRUE(machine.row_right(sector)) << sector.count();
    }
    EXPECT_EQ(machine.content(), before);
    for (const Member& m : machine.array().members) {
      EXPECT_EQ(m.description().events, machine.array().bitmap.lockless->header().events);
    }
  }
}

TEST(Maintenance, ResyncTouchesOnlyWhatIsDue) {
  for (const std::string name :
       {"1.2-raid5-4-classic-crash", "1.2-raid5-4-lockless-mixed-crash", "1.2-raid4-4-lockless-crash"}) {
    SCOPED_TRACE(name);
    std::vector<Image> images = test::load_fixture(name);
    Machine before(images);
    const WriteIntent intent =
        WriteIntent::for_resync(before.array().bitmap, before.layout().geometry().component_size, Sectors(2048), false);
    ASSERT_FALSE(intent.due().empty());
    std::set<std::uint64_t> due(intent.due().begin(), intent.due().end());
    std::uint64_t outside = 0;
    while (due.contains(outside)) {
      ++outside;
    }
    // Wrong parity inside of the first due chunk, and in one that is not due.
    const Sectors data_offset = before.array().array().data_offset;
    for (std::uint64_t chunk : {*due.begin(), outside}) {
      const Sectors at = intent.range_of(chunk).first;
      const std::uint32_t p = before.layout().parity(at / before.layout().geometry().chunk).p;
      const auto member = static_cast<std::size_t>(std::stoi(before.array().in_slot(p)->candidate->identity));
      images[member][(data_offset + at).bytes()] ^= std::byte{1};
    }
    Machine machine(images);
    auto report = machine.run(resync_task());
    ASSERT_TRUE(report) << report.error().text;
    machine.look();
    EXPECT_TRUE(machine.row_right(intent.range_of(*due.begin()).first));
    const std::vector<Image> after = machine.images();
    const Sectors untouched = data_offset + intent.range_of(outside).first;
    for (std::size_t i = 0; i < images.size(); ++i) {
      const auto from = static_cast<std::ptrdiff_t>(untouched.bytes());
      EXPECT_TRUE(std::equal(images[i].begin() + from, images[i].begin() + from + 65536, after[i].begin() + from));
    }
    const std::uint64_t most = intent.due().size() * intent.range_of(0).count.bytes();
    for (const MemberTraffic& t : report->traffic) {
      EXPECT_GT(t.bytes_read, 0U);
      EXPECT_LE(t.bytes_read, most);
      EXPECT_LE(t.bytes_written, most);
    }
  }
}

TEST(Maintenance, AMemberThatChangedSinceItWasPlannedForIsNotWritten) {
  for (std::size_t changed = 0; changed < 4; ++changed) {
    Machine machine(test::load_fixture("1.2-raid5-4-classic-crash"));
    constexpr std::uint64_t utime_of_1_2 = 4096 + 192;
    ASSERT_TRUE(machine.device(changed).write(utime_of_1_2, std::vector<std::byte>(1, std::byte{0x5a})));
    const std::size_t events = machine.log().size();
    const auto report = machine.run(resync_task());
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, ErrorKind::refused);
    EXPECT_EQ(machine.log().size(), events);
  }
}

TEST(Maintenance, StoppedAtOnceItClaimsNothing) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-lockless-crash");
  Machine machine(start);
  mdtool::Run stop;
  std::stop_source source;
  source.request_stop();
  stop.stop = source.get_token();
  auto report = machine.run(resync_task(), stop);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->interrupted);
  machine.look();
  EXPECT_FALSE(machine.array().clean);
  ASSERT_TRUE(machine.run(resync_task()));
  machine.look();
  EXPECT_TRUE(machine.array().clean);
}

TEST(Maintenance, AStoppedBuildLeavesACleanArrayThatTheSameCommandFinishes) {
  for (const std::string name :
       {"1.2-raid6-5-lockless-unwritten", "1.2-raid6-5-classic-clean", "1.2-raid5-4-none-clean"}) {
    SCOPED_TRACE(name);
    Machine machine(test::load_fixture(name));
    const auto content = machine.content();
    std::stop_source source;
    mdtool::Run stop;
    stop.stop = source.get_token();
    stop.progress = [&](const Progress& p) {
      if (p.done_bytes * 2 > p.total_bytes) {
        source.request_stop();
      }
    };
    auto report = machine.run(build_task(WriteIntent::Extent::everything), stop);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_TRUE(report->interrupted || report->chunks_due == 1);
    machine.look();
    EXPECT_TRUE(machine.array().clean);
    EXPECT_EQ(machine.array().verdict, Verdict::assembles);
    const auto resync = plan_maintenance(machine.array(), resync_task());
    ASSERT_TRUE(resync);
    EXPECT_TRUE(resync->nothing_to_do());
    report = machine.run(build_task(WriteIntent::Extent::everything));
    ASSERT_TRUE(report) << report.error().text;
    machine.look();
    for (Sectors sector; sector < machine.layout().geometry().component_size; sector += Sectors(8)) {
      ASSERT_TRUE(machine.row_right(sector)) << sector.count();
    }
    EXPECT_EQ(machine.content(), content);
  }
}

TEST(Maintenance, AStoppedBuildLeavesADirtyArrayDirty) {
  for (const std::string name :
       {"1.2-raid5-4-lockless-mixed-crash", "1.2-raid5-4-classic-crash", "1.2-raid5-4-none-crash"}) {
    SCOPED_TRACE(name);
    Machine machine(test::load_fixture(name));
    const auto content = machine.content();
    const auto wrong = wrong_and_not_due(machine);
    std::stop_source source;
    mdtool::Run stop;
    stop.stop = source.get_token();
    stop.progress = [&](const Progress&) { source.request_stop(); };
    const auto report = machine.run(build_task(WriteIntent::Extent::everything), stop);
    ASSERT_TRUE(report) << report.error().text;
    ASSERT_TRUE(report->interrupted);
    machine.look();
    EXPECT_FALSE(machine.array().clean);
    expect_promised_rows_right(machine, wrong);
    ASSERT_TRUE(machine.run(build_task(WriteIntent::Extent::everything)));
    machine.look();
    EXPECT_TRUE(machine.array().clean);
    expect_promised_rows_right(machine, {});
    EXPECT_EQ(machine.content(), content);
  }
}

TEST(Maintenance, WhateverOperationFailsNothingIsClaimedThatIsNotSo) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-4-lockless-mixed-crash");
  Machine untouched(start);
  const auto content = untouched.content();
  const auto wrong = wrong_and_not_due(untouched);
  for (Operation operation : {Operation::read, Operation::write, Operation::flush}) {
    std::uint64_t failures = 0;
    for (std::uint64_t n = 0; n < 16 * start.size(); ++n) {
      SCOPED_TRACE(std::to_string(static_cast<int>(operation)) + " " + std::to_string(n));
      Machine machine(start);
      Fault fault;
      fault.operation = operation;
      fault.after = n / start.size();
      fault.times = 1;
      auto report = machine.run(resync_task(), {}, Machine::Trouble{n % start.size(), fault});
      failures += report ? 0 : 1;
      machine.look();
      ASSERT_EQ(machine.array().verdict, Verdict::assembles);
      ASSERT_EQ(machine.content(), content);
      expect_promised_rows_right(machine, wrong);
      ASSERT_TRUE(machine.run(resync_task()));
      machine.look();
      ASSERT_TRUE(machine.array().clean);
      expect_promised_rows_right(machine, wrong);
    }
    EXPECT_GE(failures, 2 * start.size());
  }
}

TEST(Maintenance, DirtyAndDegradedIsRefusedUnlessForced) {
  std::vector<Image> images = test::load_fixture("1.2-raid6-5-lockless-crash");
  Machine whole(images);
  images.erase(images.begin() + 1);
  Machine machine(images);
  auto refused = machine.run(resync_task());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_TRUE(machine.log().empty());

  MaintenanceTask forced = resync_task();
  forced.forces.dirty_degraded = true;
  const std::uint64_t events = machine.array().array().events;
  const auto bits = machine.array().bitmap.lockless->counts();
  auto report = machine.run(forced);
  ASSERT_TRUE(report) << report.error().text;
  machine.look();
  EXPECT_TRUE(machine.array().clean);
  EXPECT_EQ(machine.array().verdict, Verdict::degraded);
  EXPECT_GE(machine.array().array().events, events + 2);
  const auto now = machine.array().bitmap.lockless->counts();
  EXPECT_GE(now.by_state[2] + now.by_state[3] + now.by_state[4],
            bits.by_state[2] + bits.by_state[3] + bits.by_state[4]);
  // The member that was away is not taken back as good.
  std::vector<Image> together = machine.images();
  together.push_back(whole.images()[1]);
  Machine later(together);
  EXPECT_FALSE(later.array().complete);
  EXPECT_EQ(later.array().members.back().state, MemberState::stale);
}

TEST(Maintenance, AMarkOfLazyRecoveryIsClearedWithoutForceOnlyWhereItIsAllOnes) {
  for (const std::string name : {"1.2-raid5-4-lockless-lazy-crash", "1.2-raid5-4-lockless-lazy-offset"}) {
    SCOPED_TRACE(name);
    Machine machine(test::load_fixture(name));
    EXPECT_EQ(machine.array().verdict, Verdict::needs_force);
    MaintenanceTask task = resync_task();
    if (machine.array().lazy_slot) {
      // The member may have been added again just before the cut: only the user knows.
      auto refused = machine.run(task);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().kind, ErrorKind::refused);
      EXPECT_TRUE(machine.log().empty());
      task.forces.lazy_recovery = true;
    }
    EXPECT_EQ(machine.array().lazy_slot.has_value(), name == "1.2-raid5-4-lockless-lazy-offset");
    const auto before = machine.content(task.forces);
    auto report = machine.run(task);
    ASSERT_TRUE(report) << report.error().text;
    machine.look();
    EXPECT_EQ(machine.array().verdict, Verdict::assembles);
    EXPECT_TRUE(machine.array().clean);
    EXPECT_FALSE(machine.array().in_slot(3)->description().recovery);
    EXPECT_FALSE(machine.array().in_slot(3)->description().recovery_by_bitmap);
    EXPECT_EQ(machine.content(), before);
    expect_promised_rows_right(machine, {});
    const std::size_t events = machine.log().size();
    ASSERT_TRUE(machine.run(resync_task()));
    EXPECT_EQ(machine.log().size(), events);
  }
}

TEST(Maintenance, AWriteErrorFlagKeepsNoChunkDue) {
  std::vector<Image> images = test::load_fixture("1.2-raid5-4-lockless-crash");
  Machine good(images);
  for (const Member& m : good.array().members) {
    const auto member = static_cast<std::size_t>(std::stoi(m.candidate->identity));
    images[member][*m.description().bitmap_offset_bytes + 48] |= std::byte{4};
  }
  Machine machine(images);
  ASSERT_TRUE(machine.run(resync_task()));
  machine.look();
  EXPECT_EQ(machine.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(machine.array().bitmap.lockless->counts().by_state[1], machine.array().bitmap.chunks());
  const auto plan = plan_maintenance(machine.array(), resync_task());
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->nothing_to_do());
}

TEST(Maintenance, AReplacementUnderWayIsGivenUp) {
  std::vector<Image> images = test::load_fixture("1.2-raid5-3-none-replacement");
  Machine machine(images);
  const auto replacement = std::find_if(machine.array().members.begin(), machine.array().members.end(),
                                        [](const Member& m) { return m.state == MemberState::replacement; });
  ASSERT_NE(replacement, machine.array().members.end());
  const std::uint32_t dev_number = replacement->description().dev_number;
  const std::string path = replacement->candidate->path;
  auto report = machine.run(build_task(WriteIntent::Extent::everything));
  ASSERT_TRUE(report) << report.error().text;
  machine.look();
  EXPECT_TRUE(machine.array().complete);
  for (const Member& m : machine.array().members) {
    if (m.candidate->path == path) {
      EXPECT_EQ(m.state, MemberState::stale);
    } else if (m.state == MemberState::in_sync) {
      EXPECT_EQ(m.description().dev_roles[dev_number], role_spare);
    }
  }
}

TEST(Maintenance, AFirstUseHeaderIsFinishedAsTheKernelWould) {
  Machine machine(test::load_fixture("1.2-raid5-4-lockless-first-use"));
  ASSERT_EQ(machine.array().bitmap.trust, Trust::first_use);
  ASSERT_FALSE(machine.array().clean);
  auto report = machine.run(resync_task());
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(report->chunks_synchronised, machine.array().bitmap.chunks());
  machine.look();
  EXPECT_EQ(machine.array().bitmap.trust, Trust::believed);
  EXPECT_EQ(machine.array().bitmap.lockless->header().daemon_sleep, 30U);
  EXPECT_EQ(machine.array().bitmap.lockless->header().chunksize, machine.array().bitmap.chunk().count());
  EXPECT_EQ(machine.array().bitmap.lockless->counts().by_state[1], machine.array().bitmap.chunks());
  for (Sectors sector; sector < machine.layout().geometry().component_size; sector += Sectors(8)) {
    ASSERT_TRUE(machine.row_right(sector)) << sector.count();
  }
}

TEST(Maintenance, WithABitmapThatCannotBeUsedItLooksBeforeItWrites) {
  std::vector<Image> images = test::load_fixture("1.2-raid5-4-classic-clean");
  Machine good(images);
  for (const Member& m : good.array().members) {
    const auto member = static_cast<std::size_t>(std::stoi(m.candidate->identity));
    images[member][*m.description().bitmap_offset_bytes + 8] ^= std::byte{1};  // uuid
  }
  Machine right(images);
  ASSERT_EQ(right.array().bitmap.trust, Trust::rejected);
  auto report = right.run(resync_task());
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_FALSE(report->wrote);
  EXPECT_TRUE(right.log().empty());

  const std::uint32_t p = good.layout().parity(0).p;
  const auto member = static_cast<std::size_t>(std::stoi(good.array().in_slot(p)->candidate->identity));
  images[member][good.array().array().data_offset.bytes()] ^= std::byte{1};
  Machine wrong(images);
  report = wrong.run(resync_task());
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_TRUE(report->wrote);
  wrong.look();
  EXPECT_TRUE(wrong.row_right(Sectors()));
  EXPECT_TRUE(wrong.array().clean);
  EXPECT_EQ(wrong.array().bitmap.trust, Trust::rejected);
}

}  // namespace
}  // namespace mdtool
