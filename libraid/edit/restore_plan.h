// SPDX-License-Identifier: GPL-2.0-or-later
// A dump put back: which recorded member each device or image is, and the plan that writes the metadata there. Refuses
// to guess, and to write anywhere that the recorded superblocks do not account for.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/edit/bundle_format.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

// What metadata is to be put on, and by what it may be known again.
struct RestoreTarget {
  const Candidate* candidate = nullptr;
  std::string file;  // absolute, links resolved
  std::uint64_t offset_bytes = 0;
  std::optional<std::string> serial;
};

struct RestorePair {
  std::size_t recorded = 0;  // index into Bundle::members
  const Candidate* candidate = nullptr;
  std::string how;  // it was recognised: "by its superblock"
};

// Every target's recorded member: first as `said`, then by a superblock that is still there, by the disk's serial
// number, by the recorded place, or as the only one of its size that is left. Refused, with the choices, where that
// leaves more than one or none. Recorded members without a target are left alone.
Result<std::vector<RestorePair>> pair_members(const Bundle& bundle, std::span<const RestoreTarget> targets,
                                              std::span<const RestorePair> said);

// Bitmaps and logs first, then superblocks, then the end of superblocks that the dump does not have.
Result<EditPlan> plan_restore(const Bundle& bundle, std::span<const RestorePair> pairs);

}  // namespace mdtool
