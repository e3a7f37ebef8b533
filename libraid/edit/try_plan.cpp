// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/try_plan.h"

#include <algorithm>

namespace mdtool {

Result<std::unique_ptr<PatchedSource>> PatchedSource::of(const Source& base, std::vector<Patch> patches) {
  for (const Patch& patch : patches) {
    if (!fits(patch.offset_bytes, patch.bytes.size(), base.size_bytes())) {
      return Error{ErrorKind::out_of_range, "a patch of " + std::to_string(patch.bytes.size()) + " bytes at byte " +
                                                std::to_string(patch.offset_bytes) + " does not lie within " +
                                                std::to_string(base.size_bytes()) + " bytes"};
    }
  }
  return std::unique_ptr<PatchedSource>(new PatchedSource(base, std::move(patches)));
}

Status PatchedSource::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(done, base_->read(offset_bytes, out));
  for (const Patch& patch : patches_) {
    const std::uint64_t begin = std::max(offset_bytes, patch.offset_bytes);
    const std::uint64_t end = std::min(offset_bytes + out.size(), patch.offset_bytes + patch.bytes.size());
    if (begin < end) {
      std::copy_n(patch.bytes.begin() + static_cast<std::ptrdiff_t>(begin - patch.offset_bytes),
                  static_cast<std::ptrdiff_t>(end - begin),
                  out.begin() + static_cast<std::ptrdiff_t>(begin - offset_bytes));
    }
  }
  return Done{};
}

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

}  // namespace

Result<TriedMembers> try_plan(std::span<const Candidate> candidates, const EditPlan& plan) {
  TriedMembers tried;
  for (const Candidate& candidate : candidates) {
    std::vector<Patch> patches = patches_on(candidate, plan);
    TRY(metadata, PatchedSource::of(*candidate.metadata, patches).in(candidate.path));
    TRY(data, PatchedSource::of(*candidate.data, std::move(patches)).in(candidate.path));
    TRY(again, inspect(candidate.path, candidate.identity, *metadata, *data).in(candidate.path));
    tried.sources.push_back(std::move(metadata));
    tried.sources.push_back(std::move(data));
    tried.candidates.push_back(std::move(again));
  }
  return tried;
}

}  // namespace mdtool
