// SPDX-License-Identifier: GPL-2.0-or-later
// Whom each superblock counts as being in the array: members of one view together, and groups that were each started
// without the other. Knows roles and event counts only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"

namespace mdtool {

// Members whose superblocks give the same roles to all.
struct ViewGroup {
  std::vector<std::size_t> members;         // indices into Assembly::members
  std::vector<std::uint32_t> dev_numbers;   // that have a slot in this view, ascending
  std::vector<std::uint32_t> filled_slots;  // ascending, each once
  std::uint64_t events = 0;                 // the highest of its members
};

// Only members that claim a slot and whose superblock can be used. The highest events first.
std::vector<ViewGroup> view_groups(const Assembly& array);

// The array could have been started with what this view counts on.
bool could_run(const Assembly& array, const ViewGroup& group);

// Groups that were each started without any member of the other, the freshest first; empty unless there are two.
std::vector<std::vector<std::size_t>> halves_of(const Assembly& array, const std::vector<ViewGroup>& groups);

// The array's slots as this superblock sees them, in mdadm's letters: A one member, R two (a replacement runs), "."
// none, "?" more.
std::string view_letters(const MemberDescription& viewer, std::uint32_t slots);

}  // namespace mdtool
