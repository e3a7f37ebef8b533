// SPDX-License-Identifier: GPL-2.0-or-later
// Superblocks taken off a member, one or all: the whole area that its format gives it, so that nothing finds it again.
// Bitmaps, logs and data stay.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

struct EraseWhat {
  std::optional<std::string> format;  // "1.2": only this one; none: all of them
  // An array that could be had from the members before may be gone afterwards.
  enum class LastMembers { keep, erase } last_members = LastMembers::keep;
};

// `arrays`: what the targets and other members belong to, to say what each of them loses by it. A target without such
// a superblock is a finding.
Result<EditPlan> plan_erase(std::span<const Candidate* const> targets, std::span<const Assembly> arrays,
                            const EraseWhat& what);

}  // namespace mdtool
