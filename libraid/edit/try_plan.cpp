// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/try_plan.h"

#include <algorithm>
#include <iterator>
#include <string>

namespace mdtool {

namespace {

Status check_within(const Source& base, std::uint64_t offset_bytes, std::uint64_t length_bytes, const char* what) {
  if (fits(offset_bytes, length_bytes, base.size_bytes())) {
    return Done{};
  }
  return Error{ErrorKind::out_of_range, std::string(what) + " of " + std::to_string(length_bytes) + " bytes at byte " +
                                            std::to_string(offset_bytes) + " does not lie within " +
                                            std::to_string(base.size_bytes()) + " bytes"};
}

}  // namespace

Result<std::unique_ptr<PatchedSource>> PatchedSource::of(const Source& base, std::vector<Patch> patches,
                                                         std::vector<ZeroedRange> zeroed) {
  for (const Patch& patch : patches) {
    TRY(within, check_within(base, patch.offset_bytes, patch.bytes.size(), "a patch"));
  }
  for (const ZeroedRange& range : zeroed) {
    TRY(within, check_within(base, range.offset_bytes, range.length_bytes, "a zeroed range"));
  }
  return std::unique_ptr<PatchedSource>(new PatchedSource(base, std::move(patches), std::move(zeroed)));
}

Status PatchedSource::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(done, base_->read(offset_bytes, out));
  for (const ZeroedRange& range : zeroed_) {
    const std::uint64_t begin = std::max(offset_bytes, range.offset_bytes);
    const std::uint64_t end = std::min(offset_bytes + out.size(), range.offset_bytes + range.length_bytes);
    if (begin < end) {
      std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(begin - offset_bytes), end - begin, std::byte{});
    }
  }
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

std::vector<ZeroedRange> zeroed_on(const Candidate& candidate, const EditPlan& plan) {
  std::vector<ZeroedRange> zeroed;
  std::copy_if(plan.zeroed.begin(), plan.zeroed.end(), std::back_inserter(zeroed),
               [&](const ZeroedRange& range) { return plan.members[range.member] == &candidate; });
  return zeroed;
}

}  // namespace

Result<TriedMembers> try_plan(std::span<const Candidate> candidates, const EditPlan& plan) {
  TriedMembers tried;
  for (const Candidate& candidate : candidates) {
    std::vector<Patch> patches = patches_on(candidate, plan);
    const std::vector<ZeroedRange> zeroed = zeroed_on(candidate, plan);
    TRY(metadata, PatchedSource::of(*candidate.metadata, patches, zeroed).in(candidate.path));
    TRY(data, PatchedSource::of(*candidate.data, std::move(patches), zeroed).in(candidate.path));
    TRY(again, inspect(candidate.path, candidate.identity, *metadata, *data).in(candidate.path));
    tried.sources.push_back(std::move(metadata));
    tried.sources.push_back(std::move(data));
    tried.candidates.push_back(std::move(again));
  }
  return tried;
}

}  // namespace mdtool
