// SPDX-License-Identifier: GPL-2.0-or-later
// recover on a whole array: members that hold a slot and are being rebuilt get what they lack, in place, from their
// sync mark on or as the bitmap says. The plan that can be shown, and the run that carries it out in an order that a
// cut at any moment leaves safe. Metadata goes through ArrayMetadata, data through MemberRecovery.
#pragma once

#include <string>
#include <vector>

#include "libraid/assemble/array_metadata.h"
#include "libraid/assemble/maintenance.h"
#include "libraid/engine/recover.h"
#include "libraid/engine/run.h"

namespace mdtool {

// A member that is to be filled. Ranges are component sectors, sorted and disjoint.
struct Filling {
  std::size_t planned = 0;  // index into ArrayMetadataPlan::members
  bool by_bitmap = false;   // it lacks what the bitmap says; otherwise everything from its mark on, and perhaps more
  Sectors mark;             // its recovery_offset, at most the component's size
  std::vector<SectorRange> lacks;
};

struct RecoveryPlan {
  Layout layout;
  WriteIntent intent;
  ArrayMetadataPlan metadata;
  std::vector<Filling> fillings;
  std::vector<SectorRange> due;        // all that any of them lacks
  std::vector<SectorRange> uncertain;  // array sectors
  std::vector<std::string> steps;      // for people, in order

  bool nothing_to_do() const { return fillings.empty(); }
  std::uint64_t due_bytes() const;  // of the rows
};

// Refused (with the reason) where the array must not be written, or what would be filled in could not be believed.
Result<RecoveryPlan> plan_recovery(const Assembly&, const Forces&);

// The least that a run to the end leaves of this planned member's superblock and bitmap.
std::vector<Patch> metadata_after(const Assembly&, const RecoveryPlan&, const PlannedMember&, const Clock&);

struct FilledMember {
  std::uint32_t slot = 0;
  std::uint64_t lacked_bytes = 0;
  std::uint64_t left_bytes = 0;
  bool in_sync = false;  // its superblock says so now
};

struct RecoveryReport {
  std::vector<FilledMember> filled;
  std::vector<RowsLeft> left;            // what could not be computed; the member stays as it is, being rebuilt
  std::vector<SectorRange> disagreeing;  // component sectors where Q does not agree with what was taken from P
  std::vector<MemberTraffic> traffic;
  bool complete = false;  // no slot is missing or being rebuilt any more
  bool clean = false;     // parity is as good as the bitmap says; otherwise a resync is due
  bool interrupted = false;
};

// `stages` holds the plan's members, in its order, opened for writing.
Result<RecoveryReport> run_recovery(const Assembly&, RecoveryPlan, MetadataStages& stages, const parity::Kernels&,
                                    const Clock&, const Run&);

}  // namespace mdtool
