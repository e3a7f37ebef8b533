// SPDX-License-Identifier: GPL-2.0-or-later
// A plan carried out: what was there is compared, kept in the undo file, then written stage by stage.
#pragma once

#include "libraid/assemble/metadata_stages.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

// What the plan may write on its member of this index: for the write fence.
std::vector<PlannedExtent> planned_extents(const EditPlan& plan, std::size_t member);

// `stages` has the plan's members in the plan's order. Refused before the first write unless every byte that the plan
// replaces is still what the plan was made from, read past the cache through the descriptor that is written.
Status apply_plan(const EditPlan& plan, MetadataStages& stages);

}  // namespace mdtool
