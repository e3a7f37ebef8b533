// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/array_after.h"

#include <algorithm>
#include <utility>

namespace mdtool {

namespace {

std::vector<Patch> patches_on(const Candidate& candidate, const EditPlan& plan) {
  std::vector<Patch> patches;
  for (const EditStage& stage : plan.stages) {
    for (const EditPatch& patch : stage) {
      if (plan.members[patch.member] == &candidate) {
        patches.push_back({patch.offset_bytes, patch.after});
      }
    }
  }
  return patches;
}

// As assemble() groups superblocks.
bool same_identity(const MemberDescription& a, const MemberDescription& b) {
  return a.set_uuid == b.set_uuid && (a.metadata == "0.90") == (b.metadata == "0.90");
}

}  // namespace

const Assembly* ArrayAfter::same_as(const Assembly& before) const {
  const auto at = std::find_if(arrays.begin(), arrays.end(),
                               [&](const Assembly& a) { return same_identity(a.array(), before.array()); });
  return at == arrays.end() ? nullptr : &*at;
}

Result<ArrayAfter> array_after(const EditPlan& plan, const Assembly& before) {
  ArrayAfter after;
  for (const Candidate* member : members_of(before)) {
    std::vector<Patch> patches = patches_on(*member, plan);
    TRY(metadata, PatchedSource::of(*member->metadata, patches).in(member->path));
    TRY(data, PatchedSource::of(*member->data, std::move(patches)).in(member->path));
    TRY(again, inspect(member->path, member->identity, *metadata, *data).in(member->path));
    after.tried.sources.push_back(std::move(metadata));
    after.tried.sources.push_back(std::move(data));
    after.tried.candidates.push_back(std::move(again));
  }
  after.arrays = assemble(after.tried.candidates);
  return after;
}

std::vector<const Candidate*> members_of(const Assembly& array) {
  std::vector<const Candidate*> members;
  for (const Member& m : array.members) {
    if (m.candidate != nullptr) {
      members.push_back(m.candidate);
    }
  }
  return members;
}

}  // namespace mdtool
