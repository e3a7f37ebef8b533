// SPDX-License-Identifier: GPL-2.0-or-later
// resync and build-parity on a whole array: the plan that can be shown, and the run that carries it out in an order
// that a cut at any moment leaves safe. Metadata goes through ArrayMetadata, parity through ParitySync.
#pragma once

#include <string>
#include <vector>

#include "libraid/assemble/array_metadata.h"
#include "libraid/engine/run.h"
#include "libraid/engine/sync.h"

namespace mdtool {

struct MaintenanceTask {
  enum class Kind { resync, build_parity } kind = Kind::resync;
  WriteIntent::Extent extent = WriteIntent::Extent::unwritten;  // build_parity only
  BuiltState built = BuiltState::automatic;                     // build_parity only
  Forces forces;
};

struct MaintenancePlan : ArrayMetadataPlan {
  MaintenancePlan(const Layout& its_layout, const MaintenanceTask& its_task, WriteIntent its_intent)
      : layout(its_layout), task(its_task), intent(std::move(its_intent)) {}

  Layout layout;
  MaintenanceTask task;
  WriteIntent intent;
  Sectors start;         // without a bitmap: where an earlier run stopped
  bool computes = true;  // false: at the limit of redundancy only metadata changes
  bool marks_dirty_first = false;
  bool checks_first = false;           // nothing remembers that all is well: look before anything is written
  std::vector<SectorRange> uncertain;  // array sectors
  std::vector<std::string> steps;      // for people, in order

  bool nothing_to_do() const { return steps.empty(); }
  std::uint64_t due_bytes() const;  // per member
};

// Refused (with the reason) where the array must not be written.
Result<MaintenancePlan> plan_maintenance(const Assembly&, const MaintenanceTask&);

// The least that a run to the end leaves of this planned member's superblock and, where there is one, bitmap: its
// events may become higher.
std::vector<Patch> metadata_after(const Assembly&, const MaintenancePlan&, const PlannedMember&, const Clock&);

struct MaintenanceReport {
  std::uint64_t chunks_due = 0;
  std::uint64_t chunks_synchronised = 0;
  std::uint64_t parity_bytes_wrong = 0;  // found wrong and rewritten
  Sectors rows_left;                     // rows of which too much is missing or listed as bad
  std::vector<MemberTraffic> traffic;
  bool interrupted = false;
  bool wrote = true;  // false: everything that was due turned out to be right
};

// `stages` holds the plan's members, in its order, opened for writing.
Result<MaintenanceReport> run_maintenance(const Assembly&, MaintenancePlan, MetadataStages& stages,
                                          const parity::Kernels&, const Clock&, const Run&);

}  // namespace mdtool
