// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/apply_plan.h"

namespace mdtool {

std::vector<PlannedExtent> planned_extents(const EditPlan& plan, std::size_t member) {
  std::vector<PlannedExtent> extents;
  for (const EditStage& stage : plan.stages) {
    for (const EditPatch& patch : stage) {
      if (patch.member == member) {
        extents.push_back({patch.offset_bytes, patch.after.size(), patch.purpose});
      }
    }
  }
  for (const ZeroedRange& range : plan.zeroed) {
    if (range.member == member) {
      extents.push_back({range.offset_bytes, range.length_bytes, "zeroes"});
    }
  }
  return extents;
}

Status apply_plan(const EditPlan& plan, MetadataStages& stages) {
  for (std::size_t i = 0; i < plan.members.size(); ++i) {
    const WritableMember& member = stages.members()[i];
    TRY(same, still_as_planned(plan, i, *member.past_cache).in(member.path));
  }
  for (const EditStage& stage : plan.stages) {
    std::vector<MemberPatch> patches;
    for (const EditPatch& patch : stage) {
      patches.push_back({patch.member, {patch.offset_bytes, patch.after}});
    }
    TRY(written, stages.write(patches));
  }
  return Done{};
}

}  // namespace mdtool
