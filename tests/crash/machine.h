// SPDX-License-Identifier: GPL-2.0-or-later
// The real engine on simulated members: looked at, assembled, synchronised, undone, read and served, in this process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "libraid/assemble/maintenance.h"
#include "libraid/assemble/open_array.h"
#include "libraid/io/undo_file.h"
#include "tests/crash/array_spec.h"
#include "tests/crash/simulated_device.h"

namespace mdtool::crash {

struct Mutant;

// What a run would have put into its undo file, and since when each record was durable there.
class UndoRecorder final : public UndoSink {
 public:
  UndoRecorder(const Log& log, std::vector<UndoMember> members) : log_(&log) { contents_.members = std::move(members); }
  Status append(std::span<const UndoRecord> records) override;
  const std::string& path() const override { return path_; }
  // As the file is after a cut at this place of the log.
  UndoContents contents(std::size_t position) const;
  std::size_t records() const { return contents_.records.size(); }
  // The slots whose members the file knows, in its order.
  std::vector<std::uint32_t> slots;

 private:
  const Log* log_;
  std::string path_ = "simulated.undo";
  UndoContents contents_;
  std::vector<std::size_t> since_;  // by record
};

class Machine {
 public:
  // Members whose bit is set in `absent` are not there. Everything else outlives the machine.
  Machine(const ArraySpec&, std::vector<Image>&, Log&, FaultScript&, std::uint64_t absent, const Mutant* = nullptr);
  ~Machine();

  // Looks at the members anew. Fails unless they make up one array.
  Status look();
  const Assembly& array() const { return arrays_.front(); }
  std::uint32_t slot_of(const Member&) const;

  // Runs to the end. None where there was nothing to do.
  Result<std::optional<MaintenanceReport>> maintain(const MaintenanceTask&, std::unique_ptr<UndoRecorder>* undo);
  Status undo(const UndoContents&, const std::vector<std::uint32_t>& slots);

  const ArraySpec& spec() const { return spec_; }
  const Log& log() const { return *log_; }
  // What the engine is given to write to.
  BlockDevice& device(std::uint32_t slot) { return *devices_[slot]; }
  const Source& past_cache(std::uint32_t slot) const { return *simulated_[slot]; }
  const parity::Kernels& kernels() const { return *kernels_; }
  const Mutant* mutant() const { return mutant_; }

 private:
  ArraySpec spec_;
  Log* log_;
  const Mutant* mutant_;
  const parity::Kernels* kernels_;
  std::vector<std::unique_ptr<SimulatedDevice>> simulated_;  // by slot
  std::vector<std::unique_ptr<BlockDevice>> wrapped_;
  std::vector<BlockDevice*> devices_;  // by slot; null: absent
  std::vector<Candidate> candidates_;
  std::vector<Assembly> arrays_;
};

}  // namespace mdtool::crash
