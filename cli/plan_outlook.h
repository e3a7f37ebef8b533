// SPDX-License-Identifier: GPL-2.0-or-later
// What a plan makes of the arrays that it touches, judged in memory.
#pragma once

#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/try_plan.h"

namespace mdtool::cli {

struct ArrayChange {
  const Assembly* before = nullptr;  // null: there is none
  const Assembly* after = nullptr;   // null: there would be none
};

class PlanOutlook {
 public:
  // `candidates` outlive it.
  static Result<PlanOutlook> of(std::span<const Candidate> candidates, const EditPlan& plan);

  // Arrays with a member of the plan, before or after; one that stays the same array stands in one entry.
  const std::vector<ArrayChange>& arrays() const { return changes_; }

 private:
  TriedMembers tried_;
  std::vector<Assembly> before_, after_;
  std::vector<ArrayChange> changes_;
};

}  // namespace mdtool::cli
