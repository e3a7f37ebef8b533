// SPDX-License-Identifier: GPL-2.0-or-later
// Putting what an overlay holds on its members: the plan that can be shown, and the run, in an order that a cut at any
// moment leaves safe: the array is dirty and its bits are set before the first data, clean only when all is durable.
// The plan's metadata is recorded in the overlay file, so that the same command finishes what a cut left.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/assemble/metadata_stages.h"
#include "libraid/engine/run.h"
#include "libraid/io/file.h"
#include "libraid/io/overlay_file.h"

namespace mdtool {

struct OverlayCommitMember {
  std::size_t base = 0;                // of the overlay
  std::vector<Extent> metadata;        // superblock and bitmap, sorted: the record says what becomes of them
  std::uint64_t data_bytes = 0;        // what the overlay holds beside them
  std::vector<PlannedExtent> extents;  // what may be written; the fence holds it to that
};

struct OverlayCommitPlan {
  OverlayCommit record;
  bool resumed = false;  // the record is in the file already, and members may be in any of its states
  std::vector<OverlayCommitMember> members;
  bool data_undoable = false;      // little enough for the undo file
  std::vector<std::string> steps;  // for people, in order

  bool nothing_to_do() const { return members.empty(); }
  std::uint64_t data_bytes() const;
};

// An overlay's members as they are below it, and as they look through it. Candidates of one identity are one member.
struct OverlaidArray {
  const OverlayFile& overlay;
  std::span<const Candidate* const> bases;  // below, in the order of the overlay's bases
  const Assembly& below;
  const Assembly& above;
};

// Refused, with the reason, where the members must not be written, or one is missing of which the overlay holds
// something.
Result<OverlayCommitPlan> plan_overlay_commit(const OverlaidArray& array, std::uint64_t now_seconds);
// For an overlay whose commit has begun.
Result<OverlayCommitPlan> resume_overlay_commit(const OverlayFile& overlay);

// What the overlay holds for a member beside its metadata, in order. Ends with the first error.
Status each_data_extent(const OverlayFile& overlay, const OverlayCommitMember& member,
                        const std::function<Status(Extent)>& visit);

struct OverlayCommitReport {
  std::uint64_t bytes_written = 0;  // data and parity, without metadata
  bool interrupted = false;         // nothing is lost: the same command goes on
  bool undo_kept = false;           // the undo file takes back all of it
};

// `members` are the plan's, in its order, opened for writing. Where the data is too much for the undo file, that file
// is removed before the first data is written: taking back metadata alone would call clean what is not. The overlay
// file is left to the caller.
Result<OverlayCommitReport> run_overlay_commit(OverlayFile& overlay, const OverlayCommitPlan& plan,
                                               const std::vector<WritableMember>& members, UndoSink& undo,
                                               const Run& run);

}  // namespace mdtool
