// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/resume.h"

#include "libraid/edit/array_after.h"

namespace mdtool {

namespace {

// Members of both can have belonged together: the same array but for its name, and no slot held in both.
bool may_be_one(const Assembly& a, const Assembly& b) {
  const MemberDescription& x = a.array();
  const MemberDescription& y = b.array();
  if (x.level != y.level || x.layout != y.layout || x.chunk != y.chunk || x.raid_disks != y.raid_disks ||
      x.size != y.size || x.ctime_seconds != y.ctime_seconds) {
    return false;
  }
  for (std::uint32_t slot = 0; slot < a.slots() && slot < b.slots(); ++slot) {
    if (a.in_slot(slot) != nullptr && b.in_slot(slot) != nullptr) {
      return false;
    }
  }
  return true;
}

bool becomes(const Assembly& from, const Assembly& to, const FieldEdit& edit) {
  const auto plan = plan_fields(from, edit);
  if (!plan || plan->nothing_to_do()) {
    return false;
  }
  const auto after = array_after(*plan, from);
  return after && after->arrays.size() == 1 && after->same_as(to) != nullptr && may_be_one(after->arrays.front(), to);
}

}  // namespace

const Assembly* left_to_edit(std::span<const Assembly> arrays, const FieldEdit& edit) {
  if (arrays.size() != 2) {
    return nullptr;
  }
  if (becomes(arrays[0], arrays[1], edit)) {
    return &arrays[0];
  }
  return becomes(arrays[1], arrays[0], edit) ? &arrays[1] : nullptr;
}

}  // namespace mdtool
