// SPDX-License-Identifier: GPL-2.0-or-later
// Plans as JSON: what a dry run prints is what --with reads. Knows bytes and names; opens nothing, and believes nothing
// of what it reads but that it has the right shape.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libraid/edit/edit_plan.h"

namespace mdtool::cli {

// What a plan knows its member by.
struct PlanMember {
  std::string path;  // as it was named
  std::string file;  // absolute, links resolved
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t device = 0;           // the block device's own number, or the one that the file is on
  std::uint64_t inode = 0;            // 0 for a block device
  std::optional<std::string> serial;  // of the disk, where sysfs knows it
  std::optional<std::string> device_uuid;
};

// A plan without members to point at: `edit.members` is empty, and all indices are below members.size().
struct PlanFile {
  std::vector<PlanMember> members;
  EditPlan edit;
};

constexpr std::size_t largest_plan_bytes = std::size_t{64} << 20;

// `members` are those of the plan, in its order.
// A file of the plan is named only: a trial leaves it out.
nlohmann::ordered_json plan_json(const EditPlan& plan, std::span<const PlanMember> members);

// The document of a dry run. Every patch lies within its member, and is as long before as after.
Result<PlanFile> parse_plan(std::string_view document);

}  // namespace mdtool::cli
