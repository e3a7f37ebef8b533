// SPDX-License-Identifier: GPL-2.0-or-later
// zero-init on arrays that a kernel made: what it refuses, what it leaves, with the power cut anywhere, stopped, and on
// devices that fail or lie.
#include "libraid/assemble/zero_init.h"

#include <gtest/gtest.h>

#include <set>

#include "libraid/assemble/maintenance.h"
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
constexpr std::uint64_t nowhere = ~std::uint64_t{0};

// Reports a range as zeroed of which it leaves one byte alone.
class LyingDevice final : public BlockDevice {
 public:
  LyingDevice(BlockDevice& device, std::uint64_t kept_byte) : device_(device), kept_(kept_byte) {}
  std::uint64_t size_bytes() const override { return device_.size_bytes(); }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override { return device_.read(offset, out); }
  Status write(std::uint64_t offset, std::span<const std::byte> in) override { return device_.write(offset, in); }
  Status flush() override { return device_.flush(); }
  Status zero(std::uint64_t offset, std::uint64_t length) override {
    if (kept_ < offset || kept_ >= offset + length) {
      return device_.zero(offset, length);
    }
    TRY(before, device_.zero(offset, kept_ - offset));
    return device_.zero(kept_ + 1, offset + length - kept_ - 1);
  }

 private:
  BlockDevice& device_;
  std::uint64_t kept_;
};

struct Trouble {
  std::size_t image = 0;
  std::optional<Fault> fault;
  std::uint64_t kept_byte = nowhere;
};

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
  Sectors component() const { return layout().geometry().component_size; }
  const std::vector<Event>& log() const { return log_; }
  RecordingDevice& device(std::size_t image) { return *devices_[image]; }
  std::size_t image_in(std::uint32_t slot) const {
    return static_cast<std::size_t>(std::stoi(array().members[slot].candidate->identity));
  }

  Result<ZeroInitReport> run(const ZeroInitTask& task, const mdtool::Run& how = {}, const Trouble& trouble = {}) {
    TRY(plan, plan_zero_init(array(), task));
    if (plan.nothing_to_do()) {
      return ZeroInitReport{};
    }
    Opened opened = open(plan, trouble);
    undo_ = {};
    for (const PlannedMember& m : plan.members) {
      undo_.devices.push_back(image_in(m.slot));
    }
    MetadataStages stages(opened.members, undo_);
    return run_zero_init(array(), plan, stages, test_clock, how);
  }

  // Puts back what the last run replaced, the last first.
  void undo() {
    for (auto record = undo_.contents.records.rbegin(); record != undo_.contents.records.rend(); ++record) {
      ASSERT_TRUE(devices_[undo_.devices[record->member]]->write(record->offset_bytes, record->before));
    }
    look();
  }

  // As a kernel would after a cut.
  Status resync() {
    TRY(plan, plan_maintenance(array(), {}));
    if (plan.nothing_to_do()) {
      return Done{};
    }
    Opened opened = open(plan, {});
    NoUndo undo;
    MetadataStages stages(opened.members, undo);
    TRY(done, run_maintenance(array(), plan, stages, *parity::supported_kernels().front(), test_clock, {}));
    return Done{};
  }

  bool row_right(Sectors sector) const {
    std::vector<const Source*> sources;
    for (std::uint32_t slot = 0; slot < array().slots(); ++slot) {
      sources.push_back(array().in_slot(slot)->candidate->data);
    }
    return test::row_is_right(layout(), sources, array().array().data_offset, sector);
  }

  bool all_zero() const {
    for (std::uint32_t slot = 0; slot < array().slots(); ++slot) {
      const Member& m = array().members[slot];
      const auto data = read_bytes(*m.candidate->data, m.description().data_offset.bytes(), component().bytes());
      if (!data || *data != std::vector<std::byte>(component().bytes())) {
        return false;
      }
    }
    return true;
  }

 private:
  struct Opened {
    std::vector<std::unique_ptr<FaultyDevice>> faulty;
    std::vector<std::unique_ptr<LyingDevice>> lying;
    std::vector<std::unique_ptr<FencedDevice>> fences;
    std::vector<WritableMember> members;
  };
  Opened open(const ArrayMetadataPlan& plan, const Trouble& trouble) {
    Opened opened;
    for (const PlannedMember& m : plan.members) {
      const std::size_t image = image_in(m.slot);
      opened.faulty.push_back(std::make_unique<FaultyDevice>(*devices_[image]));
      if (trouble.fault && trouble.image == image) {
        opened.faulty.back()->add(*trouble.fault);
      }
      opened.lying.push_back(
          std::make_unique<LyingDevice>(*opened.faulty.back(), trouble.image == image ? trouble.kept_byte : nowhere));
      opened.fences.push_back(std::make_unique<FencedDevice>(*opened.lying.back(), m.extents));
      opened.members.push_back({"m" + std::to_string(image), opened.fences.back().get(), devices_[image].get()});
    }
    return opened;
  }

  std::vector<Event> log_;
  test::UndoInMemory undo_;
  std::vector<std::unique_ptr<RecordingDevice>> devices_;
  std::vector<Candidate> candidates_;
  std::vector<Assembly> arrays_;
};

// Whether anybody who starts the array may rely on this row's parity, now or after a resync of what is due.
bool promised(const Assembly& a, Sectors sector) {
  if (a.bitmap.lockless) {
    return a.bitmap.trust == Trust::believed &&
           bitmap::parity_is_promised(a.bitmap.lockless->raw(sector / a.bitmap.chunk()));
  }
  if (a.clean) {
    return true;
  }
  if (a.bitmap.classic) {
    return a.bitmap.trust == Trust::believed && !a.bitmap.classic->is_set(sector / a.bitmap.chunk());
  }
  return sector < resync_offset_of(a);
}

std::set<std::uint64_t> wrong_promises(const Machine& machine) {
  std::set<std::uint64_t> wrong;
  for (Sectors sector; sector < machine.component(); sector += Sectors(24)) {
    if (promised(machine.array(), sector) && !machine.row_right(sector)) {
      wrong.insert(sector.count());
    }
  }
  return wrong;
}

void for_each_data_region(std::vector<Image>& images, const std::function<void(std::span<std::byte>)>& change) {
  const Machine machine(images);
  for (std::uint32_t slot = 0; slot < machine.array().slots(); ++slot) {
    const Sectors offset = machine.array().members[slot].description().data_offset;
    change(std::span(images[machine.image_in(slot)]).subspan(offset.bytes(), machine.component().bytes()));
  }
}

void set_states(std::vector<Image>& images, std::byte state) {
  const Machine machine(images);
  for (std::uint32_t slot = 0; slot < machine.array().slots(); ++slot) {
    const std::uint64_t offset = *machine.array().members[slot].description().bitmap_offset_bytes;
    const auto states = std::span(images[machine.image_in(slot)]).subspan(offset + bitmap::lockless_states_offset);
    std::fill_n(states.begin(), machine.array().bitmap.chunks(), state);
  }
}

// A kernel's array that nobody ever wrote to, on members that held something before.
std::vector<Image> never_written() {
  std::vector<Image> images = test::load_fixture("1.2-raid6-5-lockless-unwritten");
  set_states(images, std::byte{0});
  unsigned seed = 1;
  for_each_data_region(images, [&](std::span<std::byte> region) {
    for (std::byte& b : region) {
      b = static_cast<std::byte>((seed = seed * 1664525U + 1013904223U) >> 24);
    }
  });
  return images;
}

std::vector<Image> zeroed(const std::string& fixture) {
  std::vector<Image> images = test::load_fixture(fixture);
  for_each_data_region(images,
                       [](std::span<std::byte> region) { std::fill(region.begin(), region.end(), std::byte{}); });
  return images;
}

ZeroInitTask forced(BuiltState built = BuiltState::automatic) {
  return {built, true};
}

mdtool::Run often() {
  mdtool::Run run;
  run.checkpoint_interval = std::chrono::milliseconds(0);
  return run;
}

std::string refusal(const std::vector<Image>& images, const ZeroInitTask& task = {}) {
  const Machine machine(images);
  const auto plan = plan_zero_init(machine.array(), task);
  EXPECT_FALSE(plan);
  if (plan) {
    return "";
  }
  EXPECT_EQ(plan.error().kind, ErrorKind::refused);
  return plan.error().text;
}

void expect_refused(const std::string& fixture, const std::string& words, const ZeroInitTask& task = forced()) {
  const std::string text = refusal(test::load_fixture(fixture), task);
  EXPECT_NE(text.find(words), std::string::npos) << fixture << ": " << text;
}

// A resync in between calls Clean what it found zero already.
enum class Between { nothing, resync };

void expect_finished(Machine& machine, const ZeroInitTask& task, Between between = Between::nothing) {
  machine.look();
  const Assembly& a = machine.array();
  ASSERT_EQ(a.verdict, Verdict::assembles);
  ASSERT_TRUE(a.clean);
  ASSERT_TRUE(machine.all_zero());
  if (a.bitmap.lockless) {
    ASSERT_EQ(a.bitmap.trust, Trust::believed);
    for (std::uint64_t i = 0; i < a.bitmap.chunks(); ++i) {
      const bool clean = task.built == BuiltState::clean || (task.built == BuiltState::automatic && i == 0);
      const std::uint8_t raw = a.bitmap.lockless->raw(i);
      ASSERT_TRUE(raw == (clean ? 1 : 7) || (between == Between::resync && raw == 1)) << i << ": " << int{raw};
    }
  }
  if (a.bitmap.classic) {
    ASSERT_EQ(a.bitmap.trust, Trust::believed);
    ASSERT_EQ(a.bitmap.classic->set_count(), 0U);
  }
  const auto plan = plan_zero_init(a, {task.built, false});
  ASSERT_TRUE(plan);
  ASSERT_TRUE(plan->nothing_to_do()) << plan->steps.front();
}

struct Case {
  std::string name;  // a fixture, or one of the arrays made up here
  ZeroInitTask task;
};

std::vector<Image> images_of(const std::string& name) {
  if (name == "never-written") {
    return never_written();
  }
  return name.starts_with("zeroed-") ? zeroed(name.substr(7)) : test::load_fixture(name);
}

// Of every run: as many moments, each with three ways to lose what was not flushed.
constexpr std::size_t cut_points = 4;

class ZeroInitCut : public testing::TestWithParam<Case> {};

TEST_P(ZeroInitCut, AnywhereLeavesNoWrongPromiseAndTheSameCommandFinishes) {
  const std::vector<Image> start = images_of(GetParam().name);
  const ZeroInitTask& task = GetParam().task;
  Machine machine(start);
  const auto wrong_before = wrong_promises(machine);
  auto report = machine.run(task, often());
  ASSERT_TRUE(report) << report.error().text;
  expect_finished(machine, task);
  ASSERT_GT(machine.log().size(), 8U);
  const std::size_t step = std::max<std::size_t>(1, machine.log().size() / (cut_points * MDTOOL_TEST_SCALE));
  for (std::size_t count = 1; count <= machine.log().size(); count += step) {
    for (const Lost lost : {Lost::nothing, Lost::all_unflushed, Lost::one_members_unflushed}) {
      SCOPED_TRACE(std::to_string(count) + " events, lost " + std::to_string(static_cast<int>(lost)));
      Machine cut(after_cut(start, machine.log(), count, lost));
      ASSERT_TRUE(cut.array().complete);
      ASSERT_EQ(cut.array().verdict, Verdict::assembles);
      for (const std::uint64_t sector : wrong_promises(cut)) {
        ASSERT_TRUE(wrong_before.contains(sector)) << sector;
      }
      if (lost == Lost::all_unflushed) {
        ASSERT_TRUE(cut.resync());
        cut.look();
        ASSERT_TRUE(cut.array().clean);
        for (const std::uint64_t sector : wrong_promises(cut)) {
          ASSERT_TRUE(wrong_before.contains(sector)) << sector;
        }
      }
      // After a resync it may hold data: only the force says that it does not.
      const Between between = lost == Lost::all_unflushed ? Between::resync : Between::nothing;
      auto again = cut.run(between == Between::resync ? forced(task.built) : task);
      ASSERT_TRUE(again) << again.error().text;
      expect_finished(cut, task, between);
    }
  }
}

TEST_P(ZeroInitCut, WhatIsPlannedIsWhatComes) {
  Machine machine(images_of(GetParam().name));
  const auto plan = plan_zero_init(machine.array(), GetParam().task);
  ASSERT_TRUE(plan) << plan.error().text;
  std::vector<std::vector<Patch>> expected;
  std::vector<std::size_t> images;
  for (const PlannedMember& m : plan->members) {
    expected.push_back(metadata_after(machine.array(), *plan, m, test_clock));
    images.push_back(machine.image_in(m.slot));
  }
  const auto report = machine.run(GetParam().task);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->bytes_zeroed, plan->due_bytes() * plan->members.size());
  EXPECT_EQ(report->chunks_zeroed, plan->intent.due().size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(expected[i].size(), machine.array().bitmap.trust == Trust::absent ? 1U : 2U);
    for (const Patch& patch : expected[i]) {
      EXPECT_EQ(*read_bytes(machine.device(images[i]), patch.offset_bytes, patch.bytes.size()), patch.bytes);
    }
  }
}

TEST_P(ZeroInitCut, AStoppedRunIsGoneOnWithWhereItStopped) {
  Machine machine(images_of(GetParam().name));
  const auto plan = plan_zero_init(machine.array(), GetParam().task);
  ASSERT_TRUE(plan);
  const std::uint64_t all = plan->due_bytes() * plan->members.size();
  std::uint64_t zeroed_bytes = 0;
  for (int stops = 1; stops <= 2; ++stops) {
    std::stop_source stop;
    mdtool::Run run;
    run.stop = stop.get_token();
    run.progress = [&](const Progress&) { stop.request_stop(); };
    const auto report = machine.run(GetParam().task, run);
    ASSERT_TRUE(report) << report.error().text;
    zeroed_bytes += report->bytes_zeroed;
    machine.look();
    if (!report->interrupted) {
      break;
    }
    ASSERT_GT(report->chunks_zeroed, 0U);
    EXPECT_FALSE(machine.array().clean);
    EXPECT_EQ(zeroed_bytes, (std::uint64_t{1} << 20) * static_cast<std::uint64_t>(stops) * plan->members.size());
  }
  const auto rest = machine.run({GetParam().task.built, GetParam().task.force_data && !machine.array().clean});
  ASSERT_TRUE(rest) << rest.error().text;
  EXPECT_EQ(zeroed_bytes + rest->bytes_zeroed, all);
  expect_finished(machine, GetParam().task);
  const std::size_t events = machine.log().size();
  ASSERT_TRUE(machine.run({GetParam().task.built, false}));
  EXPECT_EQ(machine.log().size(), events);
}

TEST_P(ZeroInitCut, AWriteThatFailsAnywhereLeavesNoWrongPromise) {
  const std::vector<Image> start = images_of(GetParam().name);
  const auto wrong_before = wrong_promises(Machine(start));
  for (const Operation operation : {Operation::write, Operation::flush}) {
    bool failed = true;
    for (std::uint64_t after = 0; failed; after = after * 2 + 1) {
      SCOPED_TRACE("after " + std::to_string(after));
      Machine machine(start);
      const auto report =
          machine.run(GetParam().task, often(), {1, Fault{.operation = operation, .after = after}, nowhere});
      failed = !report;
      machine.look();
      ASSERT_EQ(machine.array().verdict, Verdict::assembles);
      for (const std::uint64_t sector : wrong_promises(machine)) {
        ASSERT_TRUE(wrong_before.contains(sector)) << sector;
      }
      ASSERT_TRUE(machine.run(GetParam().task));
      expect_finished(machine, GetParam().task);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Arrays, ZeroInitCut,
    testing::Values(Case{"never-written", {}}, Case{"never-written", {BuiltState::clean, false}},
                    Case{"1.2-raid5-4-lockless-first-use", {}}, Case{"1.2-raid5-4-lockless-mixed-crash", forced()},
                    Case{"1.2-raid4-4-lockless-crash", forced(BuiltState::clean_unwritten)},
                    Case{"1.2-raid5-4-classic-crash", forced()}, Case{"1.2-raid6-5-classic-clean", forced()},
                    Case{"0.90-raid5-3-classic-crash", forced()}, Case{"1.2-raid5-4-none-crash", forced()},
                    Case{"0.90-raid5-3-none-clean", forced()}, Case{"zeroed-1.2-raid5-4-none-crash", {}},
                    Case{"zeroed-1.2-raid5-4-lockless-crash", {}}),
    [](const auto& case_info) {
      std::string name = case_info.param.name + "_" + std::to_string(case_info.index);
      std::replace_if(
          name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
      return name;
    });

TEST(ZeroInit, RefusesWhatMayHoldDataUnlessForced) {
  expect_refused("1.2-raid5-4-none-clean", "may hold data", {});
  expect_refused("1.2-raid5-4-classic-crash", "--force=data", {});
  expect_refused("1.2-raid5-4-lockless-clean", "may hold data", {});
  expect_refused("1.2-raid5-4-lockless-assume-clean", "may hold data", {});
  // A label in the only chunk that was ever written.
  std::vector<Image> labelled = never_written();
  EXPECT_TRUE(plan_zero_init(Machine(labelled).array(), {}));
  const Machine machine(labelled);
  for (std::uint32_t slot = 0; slot < machine.array().slots(); ++slot) {
    const std::uint64_t states = *machine.array().members[slot].description().bitmap_offset_bytes + 1024;
    labelled[machine.image_in(slot)][states + 5] = std::byte{2};
  }
  EXPECT_NE(refusal(labelled).find("may hold data"), std::string::npos);
  for_each_data_region(
      labelled, [&](std::span<std::byte> region) { std::fill_n(region.begin() + 5 * 65536, 65536, std::byte{}); });
  EXPECT_TRUE(plan_zero_init(Machine(labelled).array(), {}));
}

// As after a discard of a part of every chunk.
TEST(ZeroInit, UnwrittenIsNoProofAgainstAFileSystem) {
  std::vector<Image> images = never_written();
  const auto named = [](const ZeroInitPlan& plan) {
    return std::count_if(plan.steps.begin(), plan.steps.end(),
                         [](const std::string& s) { return s.find("no data") != s.npos; });
  };
  const auto noise = plan_zero_init(Machine(images).array(), {});
  ASSERT_TRUE(noise);
  EXPECT_EQ(named(*noise), 1);
  constexpr std::string_view swap = "SWAPSPACE2";  // at the end of the first page; libblkid wants a version, too
  const Machine machine(images);
  const Sectors data = machine.array().array().data_offset;
  Image& first = images[machine.image_in(1)];  // slot 0 begins with Q
  const std::size_t at = data.bytes();
  std::transform(swap.begin(), swap.end(), first.begin() + static_cast<std::ptrdiff_t>(at + 4096 - swap.size()),
                 [](char c) { return static_cast<std::byte>(c); });
  ASSERT_TRUE(store(std::span(first), at + 1024, le32(1)));
  ASSERT_TRUE(store(std::span(first), at + 1028, le32(100)));
  EXPECT_NE(refusal(images).find("swap"), std::string::npos);
  const auto wanted = plan_zero_init(Machine(images).array(), forced());
  ASSERT_TRUE(wanted);
  EXPECT_EQ(named(*wanted), 0);
}

TEST(ZeroInit, ForcedMeansAllOfItThoughSamplesAreZero) {
  std::vector<Image> images = test::load_fixture("1.2-raid5-4-none-clean");
  for_each_data_region(images, [](std::span<std::byte> region) { std::ranges::fill(region, std::byte{}); });
  const Machine machine(images);
  EXPECT_TRUE(plan_zero_init(machine.array(), {})->nothing_to_do());
  EXPECT_EQ(plan_zero_init(machine.array(), forced())->due_bytes(), machine.component().bytes());
}

TEST(ZeroInit, RefusesArraysOfWhichNotAllMembersWouldBeRight) {
  expect_refused("1.2-raid5-4-none-degraded", "missing or being rebuilt");
  expect_refused("1.2-raid5-4-none-recovering", "missing or being rebuilt");
  expect_refused("1.2-raid5-4-none-dirty-degraded", "missing or being rebuilt");
  expect_refused("1.2-raid5-3-none-replacement", "replacement");
  expect_refused("1.2-raid5-4-none-reshape", "reshape");
  expect_refused("1.2-raid5-3-journal-clean", "journal");
  expect_refused("1.2-raid5-3-ppl-clean", "partial parity log");
  expect_refused("1.2-raid6-5-none-bad-blocks", "bad-block log");
  expect_refused("1.2-raid1-2-classic", "raid1 is not supported");
}

TEST(ZeroInit, ASpareStaysAsItIs) {
  const std::vector<Image> start = test::load_fixture("1.2-raid5-3-none-spare");
  Machine machine(start);
  ASSERT_TRUE(machine.run(forced()));
  machine.look();
  EXPECT_TRUE(machine.array().complete);
  std::size_t spares = 0;
  for (const Member& m : machine.array().members) {
    if (m.state == MemberState::spare) {
      ++spares;
      const auto image = static_cast<std::size_t>(std::stoi(m.candidate->identity));
      EXPECT_TRUE(*read_bytes(machine.device(image), 0, start[image].size()) == start[image]);
    }
  }
  EXPECT_EQ(spares, 1U);
}

TEST(ZeroInit, AFinishedArrayIsOnlyNamedAnewForKernelsThatKnowFiveStates) {
  Machine machine(never_written());
  ASSERT_TRUE(machine.run({}));
  machine.look();
  const auto report = machine.run({BuiltState::clean, false});
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(report->bytes_zeroed, 0U);
  machine.look();
  EXPECT_EQ(machine.array().bitmap.lockless->counts().by_state[1], machine.array().bitmap.chunks());
  expect_finished(machine, {BuiltState::clean, false});
}

// What the kernel's proactive sync calls CleanUnwritten has right parity, and anything in it.
TEST(ZeroInit, ChunksThatAreNotZeroAreDueWhateverTheyAreCalled) {
  std::vector<Image> images = test::load_fixture("1.2-raid6-4-lockless-proactive");
  for_each_data_region(images, [](std::span<std::byte> region) { region[0] = std::byte{1}; });
  Machine machine(images);
  const auto plan = plan_zero_init(machine.array(), forced());
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->due_bytes(), machine.component().bytes());
  ASSERT_TRUE(machine.run(forced()));
  expect_finished(machine, forced());
}

TEST(ZeroInit, ADeviceThatLiesIsFoundAndNothingStaysCalledZero) {
  for (const std::string name : {"never-written", "1.2-raid5-4-classic-clean", "1.2-raid5-4-none-clean"}) {
    SCOPED_TRACE(name);
    const std::vector<Image> start = images_of(name);
    Machine machine(start);
    const auto wrong_before = wrong_promises(machine);
    // The last byte: checkpoints before it called zero what they saw.
    const Member& m = machine.array().members[2];
    const std::uint64_t last = (m.description().data_offset + machine.component()).bytes() - 1;
    const std::size_t image = machine.image_in(2);
    ASSERT_TRUE(machine.device(image).write(last, std::vector{std::byte{9}}));
    machine.look();
    const auto report = machine.run(forced(), often(), {image, {}, last});
    ASSERT_FALSE(report);
    EXPECT_NE(report.error().text.find("m" + std::to_string(image) + ": byte " + std::to_string(last)),
              std::string::npos)
        << report.error().text;
    machine.look();
    EXPECT_FALSE(machine.array().clean);
    for (const std::uint64_t sector : wrong_promises(machine)) {
      EXPECT_TRUE(wrong_before.contains(sector));
    }
    const auto plan = plan_zero_init(machine.array(), forced());
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->due_bytes(), machine.component().bytes());
    ASSERT_TRUE(machine.run(forced()));
    expect_finished(machine, forced());
  }
}

TEST(ZeroInit, ACheckpointLooksBeforeItCallsAnythingZero) {
  Machine machine(never_written());
  std::stop_source stop;
  mdtool::Run run;
  run.stop = stop.get_token();
  run.progress = [&](const Progress&) { stop.request_stop(); };
  const std::uint64_t first = machine.array().members[1].description().data_offset.bytes();
  const auto report = machine.run({}, run, {machine.image_in(1), {}, first});
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().text.find("byte " + std::to_string(first)), std::string::npos) << report.error().text;
  machine.look();
  EXPECT_EQ(machine.array().bitmap.lockless->counts().by_state[0], machine.array().bitmap.chunks());
}

TEST(ZeroInit, WhatWasZeroedBeforeAnErrorIsKept) {
  for (const std::string name : {"never-written", "1.2-raid5-4-classic-clean", "1.2-raid5-4-none-clean"}) {
    SCOPED_TRACE(name);
    Machine machine(images_of(name));
    const Member& m = machine.array().members[2];
    const std::uint64_t last = (m.description().data_offset + machine.component()).bytes() - 1;
    const auto report = machine.run(
        forced(), {},
        {machine.image_in(2), Fault{.operation = Operation::write, .offset_bytes = last, .length_bytes = 1}, nowhere});
    ASSERT_FALSE(report);
    machine.look();
    const auto plan = plan_zero_init(machine.array(), forced());
    ASSERT_TRUE(plan);
    EXPECT_LE(plan->due_bytes(), machine.component().bytes() - (1 << 20));
  }
}

// The zeroes stay, so that parity is wrong where not all members got that far: a clean array would promise it.
TEST(ZeroInit, AnUndoNeverGoesBackToAPromiseThatIsGone) {
  for (const std::string name : {"1.2-raid5-4-lockless-clean", "1.2-raid5-4-classic-clean", "1.2-raid5-4-none-clean"}) {
    SCOPED_TRACE(name);
    Machine machine(images_of(name));
    const std::uint64_t start = machine.array().members[2].description().data_offset.bytes();
    ASSERT_FALSE(
        machine.run(forced(), {},
                    {machine.image_in(2),
                     Fault{.operation = Operation::write, .offset_bytes = start, .length_bytes = 1}, nowhere}));
    machine.undo();
    EXPECT_EQ(wrong_promises(machine), std::set<std::uint64_t>{});
    EXPECT_FALSE(machine.array().clean);
    ASSERT_TRUE(machine.run(forced()));
    machine.look();
    machine.undo();
    EXPECT_FALSE(machine.array().clean);
    ASSERT_TRUE(machine.resync());
    machine.look();
    EXPECT_TRUE(machine.array().clean);
    EXPECT_EQ(wrong_promises(machine), std::set<std::uint64_t>{});
  }
}

// Created with assume-clean it holds what somebody knew to be there.
TEST(ZeroInit, AnAssumedCleanArrayThatNobodyStartedMayHoldData) {
  std::vector<Image> images = test::load_fixture("1.2-raid5-4-lockless-first-use");
  for_each_data_region(images, [](std::span<std::byte> region) { region[4096] = std::byte{1}; });
  EXPECT_TRUE(plan_zero_init(Machine(images).array(), {}));
  const Machine machine(images);
  for (std::uint32_t slot = 0; slot < machine.array().slots(); ++slot) {
    const std::uint64_t header = *machine.array().members[slot].description().bitmap_offset_bytes;
    images[machine.image_in(slot)][header + 48] |= std::byte{bitmap::state_clean};
  }
  EXPECT_NE(refusal(images).find("may hold data"), std::string::npos);
  Machine assumed(images);
  ASSERT_TRUE(assumed.run(forced()));
  expect_finished(assumed, forced());
}

TEST(ZeroInit, MembersThatChangedSinceTheyWereJudgedAreNotTouched) {
  Machine machine(never_written());
  const Metadata& superblock = *machine.array().members[1].candidate->chosen()->metadata;
  RecordingDevice& device = machine.device(machine.image_in(1));
  ASSERT_TRUE(device.write(superblock.offset_bytes() + 200, std::vector{std::byte{1}}));
  const std::size_t events = machine.log().size();
  const auto report = machine.run({});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::refused);
  EXPECT_EQ(machine.log().size(), events);
}

}  // namespace
}  // namespace mdtool
