// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "libraid/edit/membership.h"
#include "libraid/edit/membership_rules.h"

namespace mdtool {

namespace {

using Recovery = SuperblockChange::Recovery;

std::uint16_t role_in(const std::vector<std::uint16_t>& roles, std::uint32_t dev_number) {
  return dev_number < roles.size() ? roles[dev_number] : role_spare;
}

class ReAdder {
 public:
  ReAdder(const Assembly& a, const EditClock& clock, const MembershipForces& forces)
      : a_(a), fresh_(a.array()), clock_(clock), forces_(forces) {
    view_.roles = fresh_.dev_roles;
  }

  Status take_back(const Candidate& target) {
    const Member* m = member_of(a_, target);
    if (m == nullptr) {
      return refused_edit(target.path + ": has no superblock of this array; mdtool add makes it a member");
    }
    const MemberDescription& d = m->description();
    if (m->state == MemberState::in_sync) {
      return Done{};  // nothing was missed
    }
    if (m->state == MemberState::recovering && m->slot) {
      set_role(d.dev_number, *m->slot);  // written before a cut, and perhaps the others not yet
      return Done{};
    }
    TRY(fit, check_fit(*m, d));
    TRY(alone, check_not_apart(target, d));
    TRY(way, way_back(target, d));
    SuperblockChange change;
    change.recovery = way;
    set_role(d.dev_number, static_cast<std::uint16_t>(*d.slot));
    const Metadata& own = *target.chosen()->metadata;
    draft_.step("put " + target.path + " back into slot " + std::to_string(*d.slot) + ", to be filled by a recovery" +
                (way == Recovery::by_bitmap ? " that the bitmap guides" : " of the whole member"));
    say_what_it_lacks(target, d, way);
    Joining joining{&target, &own, own.changed(change)};
    view_.joining.push_back(std::move(joining));
    return Done{};
  }

  Result<EditPlan> take() && {
    const bool filled = !view_.joining.empty();
    TRY(drafted, draft_view(draft_, a_, std::move(view_), clock_.now_seconds));
    if (filled) {
      draft_.next("to fill it: mdtool recover, or start the array with the kernel, which does it at once");
    }
    return std::move(draft_).take();
  }

 private:
  void set_role(std::uint32_t dev_number, std::uint32_t slot) {
    if (dev_number >= view_.roles.size()) {
      view_.roles.resize(dev_number + 1, role_spare);
    }
    view_.roles[dev_number] = static_cast<std::uint16_t>(slot);
  }

  // As a cut of this edit leaves it: one event behind, nothing filled, and the others do not count on it yet.
  bool begun(const MemberDescription& d) const {
    return d.recovery && d.recovery_offset.is_zero() && d.events + 1 == fresh_.events &&
           (d.recovery_by_bitmap || forces_.bitmap);
  }

  Status check_fit(const Member& m, const MemberDescription& d) const {
    const std::string& path = m.candidate->path;
    if (m.state == MemberState::unusable) {
      return refused_edit(path + ": " + m.reason);
    }
    if (d.role != Role::active || !d.slot || d.replacement) {
      return refused_edit(path + ": its own superblock gives it no slot to go back to: mdtool add");
    }
    if (!d.in_sync() && !begun(d)) {
      return refused_edit(path + ": was still being rebuilt when it left: mdtool add, and a whole recovery");
    }
    if (*d.slot >= a_.slots() || a_.in_slot(*d.slot) != nullptr) {
      return refused_edit(path + ": slot " + std::to_string(*d.slot) + " is held by another member");
    }
    for (const Joining& other : view_.joining) {
      if (other.superblock->describe().slot == d.slot) {
        return refused_edit(path + ": slot " + std::to_string(*d.slot) + " is for " + other.candidate->path);
      }
    }
    if (number_in_use(a_, d.dev_number, *m.candidate)) {
      return refused_edit(path + ": its number " + std::to_string(d.dev_number) +
                          " is another member's now: mdtool add");
    }
    return Done{};
  }

  // A half that was written on its own differs where no bitmap of the others says so.
  Status check_not_apart(const Candidate& target, const MemberDescription& d) const {
    for (const Member& m : a_.members) {
      if (m.candidate != nullptr && m.state == MemberState::in_sync && m.candidate != &target &&
          role_in(d.dev_roles, m.description().dev_number) == m.slot) {
        return Done{};
      }
    }
    return refused_edit(target.path +
                        ": counts on none of the members that are in the array now: it may have been written without "
                        "them, where no bitmap of theirs says so: mdtool add, and a whole recovery");
  }

  Result<Recovery> way_back(const Candidate& target, const MemberDescription& d) const {
    if (const std::string why = why_no_bitmap(d); !why.empty()) {
      if (!forces_.bitmap) {
        return refused_edit(target.path + ": " + why +
                            "; mdtool add makes it a spare, --force=bitmap puts it back to be filled whole");
      }
      return Recovery::from_start;
    }
    if (const std::string why = another_holder(target, d); !why.empty() && !forces_.slot_history && !forces_.bitmap) {
      return refused_edit(target.path + ": " + why +
                          ", and what was cleared from the bitmap then would never be copied: --force=bitmap has it "
                          "filled whole, --force=slot-history trusts the bitmap all the same");
    }
    return forces_.bitmap ? Recovery::from_start : Recovery::by_bitmap;
  }

  std::string why_no_bitmap(const MemberDescription& d) const {
    const BitmapView& view = a_.bitmap;
    if (view.trust == Trust::absent || !d.bitmap_offset_bytes) {
      return view.trust == Trust::absent ? "the array has no bitmap that says what it missed"
                                         : "it left before the array had its bitmap";
    }
    if (view.trust != Trust::believed) {
      return "the bitmap missed updates and cannot say what this member missed";
    }
    if (view.classic && d.events < view.classic->header().events_cleared) {
      return "it left at event " + std::to_string(d.events) + ", and bits were cleared until event " +
             std::to_string(view.classic->header().events_cleared);
    }
    return "";
  }

  // Empty where the others still list it. Rebuilding another member clears bits on disk before events_cleared rises,
  // and once that member is gone nothing tells of it: no bitmap proves that it did not happen.
  std::string another_holder(const Candidate& target, const MemberDescription& d) const {
    for (const Member& m : a_.members) {
      if (m.candidate != nullptr && m.candidate != &target && m.state != MemberState::unusable &&
          m.description().slot == d.slot && m.description().events > d.events) {
        return m.candidate->path + " held slot " + std::to_string(*d.slot) + " after it";
      }
    }
    const std::vector<std::uint16_t>& roles = fresh_.dev_roles;
    for (std::uint32_t number = 0; number < roles.size(); ++number) {
      const bool new_to_it = number != d.dev_number && role_in(d.dev_roles, number) >= role_max_regular;
      if (fresh_.metadata != "0.90" && roles[number] == role_faulty && new_to_it &&
          role_in(d.dev_roles, number) != role_faulty) {
        return "member number " + std::to_string(number) + " came and failed since, perhaps in slot " +
               std::to_string(*d.slot);
      }
    }
    const bool never_left = role_in(roles, d.dev_number) == *d.slot;
    if (!never_left) {
      return "nothing proves that no other member held slot " + std::to_string(*d.slot) + " meanwhile";
    }
    return "";
  }

  void say_what_it_lacks(const Candidate& target, const MemberDescription& d, Recovery way) {
    const std::string behind = std::to_string(d.events) + " of " + std::to_string(fresh_.events);
    if (way == Recovery::by_bitmap) {
      draft_.cost(target.path + " left at event " + behind +
                  ": until its recovery has copied what the bitmap marks, it counts as not in sync");
    } else {
      draft_.cost(target.path + " left at event " + behind +
                  ": all of it is rebuilt, and the redundancy is not back "
                  "before that is done");
    }
    if (forces_.slot_history && way == Recovery::by_bitmap && !another_holder(target, d).empty()) {
      draft_.cost("if another member held its slot meanwhile, what was written then is old on it and is never copied");
    }
  }

  const Assembly& a_;
  const MemberDescription& fresh_;
  const EditClock& clock_;
  const MembershipForces& forces_;
  EditDraft draft_;
  NewView view_;
};

Status check_array(const Assembly& a) {
  if (a.array().level <= 0) {
    return refused_edit("this level has no redundancy that a member could be filled from");
  }
  if (!a.clean) {
    return refused_edit(
        "the array is dirty and degraded: nobody knows yet what is right in the stripes that were being written; "
        "mdtool resync or mdtool force first");
  }
  if (a.verdict > Verdict::degraded) {
    return refused_edit("the array does not start without it, and it is not in sync: mdtool force takes it as it is");
  }
  return Done{};
}

}  // namespace

Result<EditPlan> plan_re_add(const Assembly& a, std::span<const Candidate* const> targets, const EditClock& clock,
                             const MembershipForces& forces) {
  TRY(editable, check_membership(a));
  TRY(array, check_array(a));
  if (a.array().metadata == "0.90") {
    for (const Candidate* target : targets) {
      if (member_of(a, *target) == nullptr) {
        return refused_edit(target->path + ": has no superblock of this array; mdtool add makes it a member");
      }
    }
    // A superblock that has no place for a sync mark: a spare, which is filled whole.
    return plan_add(a, targets, {}, clock, forces);
  }
  ReAdder adder(a, clock, forces);
  for (const Candidate* target : targets) {
    TRY(added, adder.take_back(*target));
  }
  return std::move(adder).take();
}

}  // namespace mdtool
