// SPDX-License-Identifier: GPL-2.0-or-later
// What can be asked of a new array at all, before any size is known, and what its members must not hold. Judges; plans
// nothing.
#pragma once

#include "libraid/edit/create.h"

namespace mdtool {

// Usage errors for combinations that do not exist: level and slots, layout, chunk, bitmap, PPL, metadata, and missing
// slots beyond the level's redundancy. Every slot and spare is given or missing.
Status check_task(const CreateTask&);

// Refused: a member given twice; data or another array's superblock on one, unless forced.
Status check_members(const CreateTask&);

std::uint32_t missing_slots(const CreateTask&);
// All members that are given, slots first.
std::vector<const CreateMember*> given_members(const CreateTask&);

}  // namespace mdtool
