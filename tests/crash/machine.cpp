// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/machine.h"

#include "tests/crash/mutant.h"

namespace mdtool::crash {

namespace {

constexpr Clock maintenance_clock{1700000100};

const parity::Kernels& fastest_kernels() {
  return *parity::supported_kernels().front();
}

}  // namespace

Status UndoRecorder::append(std::span<const UndoRecord> records) {
  for (const UndoRecord& record : records) {
    contents_.records.push_back(record);
    since_.push_back(log_->events().size());
  }
  return Done{};
}

UndoContents UndoRecorder::contents(std::size_t position) const {
  UndoContents then = contents_;
  std::size_t durable = 0;
  while (durable < since_.size() && since_[durable] <= position) {
    ++durable;
  }
  then.records.resize(durable);
  return then;
}

Machine::Machine(const ArraySpec& spec, std::vector<Image>& images, Log& log, FaultScript& faults, std::uint64_t absent,
                 const Mutant* mutant)
    : spec_(spec),
      log_(&log),
      mutant_(mutant),
      kernels_(mutant && mutant->kernels ? mutant->kernels : &fastest_kernels()) {
  for (std::uint32_t slot = 0; slot < spec.slots; ++slot) {
    const bool there = !images[slot].empty() && (absent >> slot & 1) == 0;
    simulated_.push_back(there ? std::make_unique<SimulatedDevice>(images[slot], slot, log, faults) : nullptr);
    devices_.push_back(simulated_.back().get());
    if (there && mutant && mutant->wrap) {
      wrapped_.push_back(mutant->wrap(*simulated_.back(), slot, spec));
      devices_.back() = wrapped_.back().get();
    }
  }
}

Machine::~Machine() = default;

Status Machine::look() {
  arrays_.clear();
  candidates_.clear();
  for (std::uint32_t slot = 0; slot < simulated_.size(); ++slot) {
    if (simulated_[slot]) {
      const std::string name(1, static_cast<char>('0' + slot));
      auto candidate = inspect(name, name, *simulated_[slot], *simulated_[slot]);
      if (candidate) {
        candidates_.push_back(std::move(*candidate));
      }
    }
  }
  arrays_ = assemble(candidates_);
  if (arrays_.size() != 1) {
    return Error{ErrorKind::refused, std::to_string(arrays_.size()) + " arrays found"};
  }
  return Done{};
}

std::uint32_t Machine::slot_of(const Member& m) const {
  return static_cast<std::uint32_t>(m.candidate->identity.front() - '0');
}

Result<std::optional<MaintenanceReport>> Machine::maintain(const MaintenanceTask& task,
                                                           std::unique_ptr<UndoRecorder>* undo) {
  TRY(plan, plan_maintenance(array(), task));
  if (plan.nothing_to_do()) {
    return std::optional<MaintenanceReport>();
  }
  std::vector<std::unique_ptr<FencedDevice>> fences;
  std::vector<WritableMember> members;
  std::vector<UndoMember> named;
  std::vector<std::uint32_t> slots;
  for (const PlannedMember& m : plan.members) {
    const std::uint32_t slot = slot_of(array().members[m.member]);
    fences.push_back(std::make_unique<FencedDevice>(device(slot), m.extents));
    members.push_back({"m", fences.back().get(), simulated_[slot].get()});
    named.push_back({"m", device(slot).size_bytes(), ""});
    slots.push_back(slot);
  }
  auto recorder = std::make_unique<UndoRecorder>(*log_, std::move(named));
  recorder->slots = std::move(slots);
  MetadataStages stages(std::move(members), *recorder);
  mdtool::Run run;
  run.checkpoint_interval = std::chrono::milliseconds(0);
  auto report = run_maintenance(array(), std::move(plan), stages, *kernels_, maintenance_clock, run);
  if (undo) {
    *undo = std::move(recorder);
  }
  TRY(done, std::move(report));
  return std::optional(std::move(done));
}

Status Machine::undo(const UndoContents& contents, const std::vector<std::uint32_t>& slots) {
  std::vector<const Source*> sources;
  for (const std::uint32_t slot : slots) {
    if (!simulated_[slot]) {
      return Error{ErrorKind::refused, "a member of the undo file is missing"};
    }
    sources.push_back(simulated_[slot].get());
  }
  TRY(records, undo_plan(contents, sources));
  for (const UndoRecord& r : records) {
    FencedDevice fence(device(slots[r.member]), {{r.offset_bytes, r.after.size(), "metadata"}});
    TRY(written, fence.write_verified(r.offset_bytes, r.after, *simulated_[slots[r.member]]));
  }
  return Done{};
}

}  // namespace mdtool::crash
