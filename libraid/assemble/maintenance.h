// SPDX-License-Identifier: GPL-2.0-or-later
// resync and build-parity on a whole array: the plan that can be shown, and the run that carries it out in an order
// that a cut at any moment leaves safe. Metadata goes through MetadataStages, parity through ParitySync.
#pragma once

#include <string>
#include <vector>

#include "libraid/array/write_intent.h"
#include "libraid/assemble/metadata_stages.h"
#include "libraid/assemble/open_array.h"
#include "libraid/engine/run.h"
#include "libraid/engine/sync.h"

namespace mdtool {

struct MaintenanceTask {
  enum class Kind { resync, build_parity } kind = Kind::resync;
  WriteIntent::Extent extent = WriteIntent::Extent::unwritten;  // build_parity only
  BuiltState built = BuiltState::automatic;                     // build_parity only
  Forces forces;
};

struct PlannedMember {
  std::size_t member = 0;  // index into Assembly::members
  std::uint32_t slot = 0;
  std::vector<PlannedExtent> extents;  // what may be written; the fence holds it to that
};

struct MaintenancePlan {
  Layout layout;
  MaintenanceTask task;
  WriteIntent intent;
  std::vector<PlannedMember> members;
  std::vector<std::uint32_t> missing_slots;  // not written: the others will call them missing
  std::vector<std::uint32_t> departed;       // dev_numbers of replacements, which are not written either
  bool leaves_members_behind = false;        // members of this array that are not written must not be taken back
  Sectors start;                             // without a bitmap: where an earlier run stopped
  bool computes = true;                      // false: at the limit of redundancy only metadata changes
  bool marks_dirty_first = false;
  bool checks_first = false;           // nothing remembers that all is well: look before anything is written
  std::uint64_t events = 0;            // the highest on any member now
  std::vector<SectorRange> uncertain;  // array sectors
  std::vector<std::string> steps;      // for people, in order

  bool nothing_to_do() const { return steps.empty(); }
  std::uint64_t due_bytes() const;  // per member
};

// Refused (with the reason) where the array must not be written.
Result<MaintenancePlan> plan_maintenance(const Assembly&, const MaintenanceTask&);

struct MemberTraffic {
  std::uint32_t slot = 0;
  std::uint64_t bytes_read = 0;  // data and parity, without metadata
  std::uint64_t bytes_written = 0;
};

struct MaintenanceReport {
  std::uint64_t chunks_due = 0;
  std::uint64_t chunks_synchronised = 0;
  std::uint64_t parity_bytes_wrong = 0;  // found wrong and rewritten
  Sectors rows_left;                     // rows of which too much is missing or listed as bad
  std::vector<MemberTraffic> traffic;
  bool interrupted = false;
  bool wrote = true;  // false: everything that was due turned out to be right
};

struct Clock {
  std::uint64_t now_seconds = 0;  // since 1970: what superblocks get as update time
};

// `stages` holds the plan's members, in its order, opened for writing.
Result<MaintenanceReport> run_maintenance(const Assembly&, MaintenancePlan, MetadataStages& stages,
                                          const parity::Kernels&, const Clock&, const Run&);

}  // namespace mdtool
