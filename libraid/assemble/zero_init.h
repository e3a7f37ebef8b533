// SPDX-License-Identifier: GPL-2.0-or-later
// zero-init on a whole array: the plan that can be shown, and the run. The array is dirty while it lasts, and promises
// parity only where it is right; a cut at any moment leaves one that the same command finishes.
#pragma once

#include <string>
#include <vector>

#include "libraid/assemble/array_metadata.h"
#include "libraid/engine/run.h"

namespace mdtool {

struct ZeroInitTask {
  BuiltState built = BuiltState::automatic;  // automatic: CleanUnwritten, chunk 0 Clean
  bool force_data = false;                   // the array may hold data: all of it is lost
};

struct ZeroInitPlan : ArrayMetadataPlan {
  ZeroInitPlan(const ZeroInitTask& its_task, WriteIntent its_intent) : task(its_task), intent(std::move(its_intent)) {}

  ZeroInitTask task;
  WriteIntent intent;
  Sectors start;                   // the array's resync_offset while it is in work: where an earlier run stopped, or 0
  std::vector<SectorRange> due;    // zeroed on every member, from its data_offset: sorted, merged
  std::vector<std::string> steps;  // for people, in order

  bool nothing_to_do() const { return steps.empty(); }
  std::uint64_t due_bytes() const;  // per member
};

struct ZeroInitReport {
  std::uint64_t chunks_zeroed = 0;
  std::uint64_t bytes_zeroed = 0;  // on all members
  bool interrupted = false;
};

// Refused (with the reason) where the array must not be zeroed: what may hold data needs force_data, and that is every
// array but one whose lockless bitmap calls all chunks Unwritten, or of which samples of all members are zero; and that
// one, too, where the signature of a file system is found. What an earlier run has done is not due again; with
// force_data that is one that was stopped.
Result<ZeroInitPlan> plan_zero_init(const Assembly&, const ZeroInitTask&);
// The least that a run to the end leaves of this planned member's superblock and, where there is one, bitmap.
std::vector<Patch> metadata_after(const Assembly&, const ZeroInitPlan&, const PlannedMember&, const Clock&);
// `stages` holds the plan's members, in its order, opened for writing. Zeroes that a member does not keep fail the run,
// and everything is due again.
Result<ZeroInitReport> run_zero_init(const Assembly&, ZeroInitPlan, MetadataStages& stages, const Clock&, const Run&);

}  // namespace mdtool
