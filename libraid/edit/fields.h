// SPDX-License-Identifier: GPL-2.0-or-later
// Superblock fields changed by name, on all members of an array or on some, with what belongs to the change: checksums,
// the bitmap's UUID, counts. And mdadm's --update names, each as such a change.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

struct FieldSetting {
  std::string name;   // as Metadata::fields() gives it
  std::string value;  // as people write it
};

// A member that is to hold this slot.
struct SlotSetting {
  const Candidate* member = nullptr;
  std::uint32_t slot = 0;
};

// An update as mdadm names it: "name", "homehost", "uuid", "no-bitmap", "metadata", ...
struct NamedUpdate {
  std::string name;
  std::string value;  // of those that take one
};

struct FieldEdit {
  std::vector<FieldSetting> settings;     // in order
  std::vector<NamedUpdate> updates;       // after them
  std::vector<SlotSetting> slots;         // after those, in all members' view
  std::vector<const Candidate*> targets;  // none: every member of the array that can be written
  std::vector<std::string> forced;        // names of checks that are overridden
};

// Names that plan_fields() takes in FieldEdit::forced and NamedUpdate::name.
std::span<const std::string_view> field_force_names();
std::span<const std::string_view> update_names();

// Refused, with the reason, where the result would be no array that anybody accepts and no force allows it.
Result<EditPlan> plan_fields(const Assembly& array, const FieldEdit& edit);

}  // namespace mdtool
