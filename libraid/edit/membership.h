// SPDX-License-Identifier: GPL-2.0-or-later
// Who belongs to an array, changed on the members' superblocks alone: fail, remove, add, re-add, force. Each gives a
// plan or the reason why not; none starts a resync or a recovery.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

// What the command line adds to the array and the members.
struct EditClock {
  std::uint64_t now_seconds = 0;  // since 1970
  Uuid fresh_uuid;                // random: for a member that gets an identity
};

// Named checks that the user overrides, one by one.
struct MembershipForces {
  bool split_brain = false;     // take the named half although the other was written too
  bool slot_history = false;    // re-add although another member may have held the slot meanwhile
  bool bitmap = false;          // re-add, to be filled whole, although no bitmap vouches for what the member missed
  bool old_content = false;     // add a member that holds data or another array's superblock
  bool stale_content = false;   // take a member as it is although the array went on, or can go on, without it
  bool too_few = false;         // fail a member without which the array cannot start
  bool dirty_degraded = false;  // add a lost slot's holder to a dirty array, whose resync then counts on its content
};

// Marked faulty in all others' view; its own superblock stays as it is.
Result<EditPlan> plan_fail(const Assembly& array, std::span<const Candidate* const> targets, const EditClock& clock,
                           const MembershipForces& forces);
// A spare, faulty or stale member's entry ends; its own superblock stays as it is (erase ends that).
Result<EditPlan> plan_remove(const Assembly& array, std::span<const Candidate* const> targets, const EditClock& clock);
// A member without a superblock of this array becomes a spare; or, with `slot`, the holder of that slot whose content
// is taken as right ("in sync", the cost stated): for a member whose superblock alone was lost. Where the array went on
// without that slot and a bitmap says what was written, it is filled by that.
struct AddAs {
  std::optional<std::uint32_t> slot;  // one target then
  std::vector<std::string> content;   // of each target, in order: what is on it ("ext4 file system"); empty: nothing
};
Result<EditPlan> plan_add(const Assembly& array, std::span<const Candidate* const> targets, AddAs as,
                          const EditClock& clock, const MembershipForces& forces);
// Back into its slot, to be filled by a recovery that the bitmap guides: RECOVERY_OFFSET and RECOVERY_BITMAP with
// recovery_offset 0; on 0.90 as a spare. Never in sync with bits set.
Result<EditPlan> plan_re_add(const Assembly& array, std::span<const Candidate* const> targets, const EditClock& clock,
                             const MembershipForces& forces);
// mdadm --assemble --force as a plan: stale members taken along until there are enough (`targets`: exactly these), the
// array marked clean where dirty and degraded. Refused where two halves were written and no target chooses.
Result<EditPlan> plan_force(const Assembly& array, std::span<const Candidate* const> targets, const EditClock& clock,
                            const MembershipForces& forces);

}  // namespace mdtool
