// SPDX-License-Identifier: GPL-2.0-or-later
// Superblocks and bitmap headers of the members that stay in an array, brought to one new view of it, in an order that
// a cut at any moment leaves safe and that the same edit, planned again from there, finishes. Who stays, leaves or
// joins, and whether that is wise, is its callers' matter.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

// A member that gets a superblock of the array, or its own anew.
struct Joining {
  const Candidate* candidate = nullptr;
  const Metadata* before = nullptr;      // its superblock of this array; null: none that counts
  std::unique_ptr<Metadata> superblock;  // as it will be, but for events, time and what it says of the others
};

struct NewView {
  std::vector<const Candidate*> leaving;  // members of the array that are not written
  std::vector<std::uint16_t> roles;       // of all members afterwards, by dev_number
  std::vector<RoleChange> besides;        // written whatever the roles are: 0.90 descriptors of spares
  std::vector<Joining> joining;
  std::optional<Sectors> resync_offset;      // none: as the array is now
  std::optional<bitmap::Lockless> lockless;  // the bitmap's content afterwards; none: as it is
  std::uint64_t above_events = 0;            // the highest on members that are not to be taken back
};

// A cut between two sectors of a superblock leaves it with a wrong checksum, and nothing else to complain of.
bool may_be_torn(const Member& member);

// Members whose superblocks are written with every change: in sync, recovering, replacements and spares, and those that
// may be torn where the freshest superblock has them.
std::vector<const Member*> staying_members(const Assembly& array, const NewView& view);

// Who has a slot in the view and is not here, as the view has it. They are marked missing, unless nothing changes on
// the members that stay: then they are as good as before.
std::vector<RoleChange> absent_members(const Assembly& array, const NewView& view);

// Where anything changes on the members that stay, their events rise by two, in steps of one, and the new view comes
// with the last: wherever it can be seen, who is not written is too far behind to be taken back.
// Who joins is written before it, one event behind: not counted by anybody until the others count on it, and never
// counted on without its superblock. No patch where all is as wanted.
Status draft_view(EditDraft& draft, const Assembly& array, NewView view, std::uint64_t now_seconds);

}  // namespace mdtool
