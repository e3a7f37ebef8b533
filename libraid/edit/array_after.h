// SPDX-License-Identifier: GPL-2.0-or-later
// An array's members as a plan would leave them, in memory, and which arrays they then make.
#pragma once

#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"
#include "libraid/edit/try_plan.h"

namespace mdtool {

// The arrays point at the candidates, these at their sources.
struct ArrayAfter {
  TriedMembers tried;  // the array's members that are there, in its order
  std::vector<Assembly> arrays;

  // The one of `arrays` that `before` became; null if there is none of its identity.
  const Assembly* same_as(const Assembly& before) const;
};

Result<ArrayAfter> array_after(const EditPlan& plan, const Assembly& before);

std::vector<const Candidate*> members_of(const Assembly& array);

}  // namespace mdtool
