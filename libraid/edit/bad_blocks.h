// SPDX-License-Identifier: GPL-2.0-or-later
// Members' bad-block logs listed, or emptied as if nothing had ever been bad. Tests no sector.
#pragma once

#include <span>

#include "libraid/assemble/candidate.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

// A plan without a write: a finding for each member says what its log lists. One that lies under the states of a
// lockless bitmap lists nothing.
Result<EditPlan> show_bad_blocks(std::span<const Candidate* const> members);
// The logs become empty, and feature BAD_BLOCKS goes. A log of which a lockless bitmap has the place is not written.
Result<EditPlan> clear_bad_blocks(std::span<const Candidate* const> members);

}  // namespace mdtool
