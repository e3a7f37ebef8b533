// SPDX-License-Identifier: GPL-2.0-or-later
// Members as plans would leave them, in memory only.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "libmeta/format.h"
#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

// Bytes of a source, some of them zeroed, with patches above; later patches hide earlier ones. The source outlives it.
class PatchedSource final : public Source {
 public:
  // Refused where a patch or a zeroed range does not lie within the source.
  static Result<std::unique_ptr<PatchedSource>> of(const Source& base, std::vector<Patch> patches,
                                                   std::vector<ZeroedRange> zeroed = {});

  std::uint64_t size_bytes() const override { return base_->size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;

 private:
  PatchedSource(const Source& base, std::vector<Patch> patches, std::vector<ZeroedRange> zeroed)
      : base_(&base), zeroed_(std::move(zeroed)), patches_(std::move(patches)) {}

  const Source* base_;
  std::vector<ZeroedRange> zeroed_;
  std::vector<Patch> patches_;
};

// Candidates looked at anew through patches. They point into `sources`; move-only.
struct TriedMembers {
  std::vector<std::unique_ptr<PatchedSource>> sources;
  std::vector<Candidate> candidates;
};

// All of `candidates` (the plan's members are among them), as the plan would leave them.
Result<TriedMembers> try_plan(std::span<const Candidate> candidates, const EditPlan& plan);

}  // namespace mdtool
