// SPDX-License-Identifier: GPL-2.0-or-later
// Whether a plan would make things worse: what is found on the members and what can be started, before and after.
// Knows no edit; looks at members as the plan would leave them, in memory.
#pragma once

#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

// Whether members may come to belong to other arrays than the rest.
enum class Apart { allowed, worse };

// Only what the plan would bring, each with the id of the check that it fails. Empty: nothing becomes worse.
Result<Findings> worsened_by(const EditPlan& plan, const Assembly& before, Apart apart);

}  // namespace mdtool
