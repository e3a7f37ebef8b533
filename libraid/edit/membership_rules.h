// SPDX-License-Identifier: GPL-2.0-or-later
// What all membership edits ask first: whether the array may be edited at all, who a target is, what holds a number,
// and what the array would be afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/member_view.h"
#include "libraid/edit/try_plan.h"

namespace mdtool {

// Refused: a reshape, a cluster, unknown features, a log, a bitmap that nobody can read, a level without failures.
Status check_membership(const Assembly& array);

Error refused_edit(std::string text);

// Null: not a member of this array.
const Member* member_of(const Assembly& array, const Candidate& candidate);

// A member other than `candidate` that is written with the array has this number.
bool number_in_use(const Assembly& array, std::uint32_t dev_number, const Candidate& candidate);

// Where the kernel would put a device that is new: the first number from raid_disks on that nobody has.
std::uint32_t free_number(const Assembly& array, const Candidate& candidate);

// Chunks that a believed bitmap calls written and not synchronised.
std::uint64_t due_chunks(const BitmapView& view);

// The array as a plan would leave it, judged with the members that it has now and those that the plan adds.
struct Outlook {
  std::vector<std::unique_ptr<PatchedSource>> sources;
  std::vector<Candidate> candidates;
  std::vector<Assembly> arrays;
  const Assembly* array = nullptr;  // null: there is none of this UUID left

  bool starts() const { return array != nullptr && array->verdict <= Verdict::degraded; }
  std::string reasons() const;  // why not, in one line
};

// `without` is left out, as if it were not there.
Result<Outlook> look_ahead(const Assembly& array, const EditPlan& plan, std::span<const Candidate* const> without = {});

}  // namespace mdtool
