// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <set>

#include "libraid/assemble/views.h"
#include "libraid/edit/membership.h"
#include "libraid/edit/membership_rules.h"

namespace mdtool {

namespace {

using Recovery = SuperblockChange::Recovery;

// Another superblock that would be found beside the new one, of whichever array.
const FoundSuperblock* elsewhere(const Candidate& target, std::uint64_t offset_bytes) {
  const auto at = std::find_if(target.superblocks.begin(), target.superblocks.end(), [&](const FoundSuperblock& found) {
    return found.metadata->offset_bytes() != offset_bytes;
  });
  return at == target.superblocks.end() ? nullptr : &*at;
}

bool of_this_array(const Assembly& a, const Candidate& target) {
  return target.chosen() != nullptr && target.chosen()->description.set_uuid == a.array().set_uuid &&
         (target.chosen()->description.metadata == "0.90") == (a.array().metadata == "0.90");
}

std::string text_of(std::uint32_t slot) {
  return "slot " + std::to_string(slot);
}

class Adder {
 public:
  Adder(const Assembly& a, const EditClock& clock, const MembershipForces& forces)
      : a_(a), fresh_(a.array()), clock_(clock), forces_(forces) {
    view_.roles = fresh_.dev_roles;
  }

  Status spare(const Candidate& target, const std::string& content, std::uint32_t which) {
    const Member* m = member_of(a_, target);
    if (m != nullptr && m->state == MemberState::spare && m->reason.empty()) {
      return Done{};  // it is one already
    }
    if (m != nullptr && staying(*m)) {
      return refused_edit(target.path + ": a member of this array already");
    }
    TRY(half, check_half(target));
    TRY(empty, check_content(target, content));
    NewMember member = identity(target, which);
    member.dev_number = spare_number(target);
    TRY(superblock, base().for_member(member).in(target.path));
    TRY(alone, check_alone(target, *superblock));
    const std::uint32_t number = member.dev_number;
    if (number < view_.roles.size() && view_.roles[number] != role_spare) {
      view_.roles[number] = role_spare;
    }
    taken_.insert(number);
    draft_.step("write a superblock to " + target.path + ": a spare, number " + std::to_string(number));
    draft_.cost(m != nullptr ? target.path +
                                   " was a member: as a spare it is filled whole, and what it holds is lost; "
                                   "mdtool re-add keeps it"
                             : "what is on " + target.path + " is overwritten once it takes a slot");
    view_.joining.push_back({&target, nullptr, std::move(superblock)});
    return Done{};
  }

  Status holder(const Candidate& target, std::uint32_t slot, const std::string& content) {
    TRY(free, check_slot(target, slot));
    if (done_) {
      return Done{};
    }
    NewMember member = identity(target, 0);
    member.role = static_cast<std::uint16_t>(slot);
    const std::optional<std::uint32_t> listed = listed_number(target, slot);
    const Recovery way = listed ? Recovery::keep : way_in();
    if (!listed && way == Recovery::keep && a_.verdict <= Verdict::degraded && !forces_.stale_content) {
      return refused_edit("the array went on without " + text_of(slot) +
                          ", and no bitmap says what was written: " + target.path +
                          " would count as right where it is old. Without --slot it becomes a spare, which is filled "
                          "whole; --force=stale-content takes it as it is");
    }
    member.dev_number = listed ? *listed : holder_number(target, slot);
    TRY(superblock, base().for_member(member).in(target.path));
    TRY(alone, check_alone(target, *superblock));
    set_role(member.dev_number, member.role);
    SuperblockChange change;
    change.recovery = way;
    draft_.step("write a superblock to " + target.path + ": " + text_of(slot) + ", number " +
                std::to_string(member.dev_number) +
                (way == Recovery::by_bitmap ? ", to be filled by a recovery that the bitmap guides" : ", in sync"));
    say_assumptions(target, slot, listed.has_value(), way, content);
    view_.joining.push_back({&target, nullptr, superblock->changed(change)});
    return Done{};
  }

  Result<EditPlan> take() && {
    const bool holds = !view_.joining.empty() && view_.joining.front().superblock->describe().role == Role::active;
    TRY(drafted, draft_view(draft_, a_, std::move(view_), clock_.now_seconds));
    if (holds) {
      draft_.next(
          "before it is used: look at the content, with this plan above the members (mdtool copy --with) before it is "
          "written, "
          "or afterwards");
    }
    return std::move(draft_).take();
  }

 private:
  // As a spare it would no longer say what the other half was.
  Status check_half(const Candidate& target) const {
    for (const std::vector<std::size_t>& half : halves_of(a_, view_groups(a_))) {
      const bool has_target =
          std::any_of(half.begin(), half.end(), [&](std::size_t i) { return a_.members[i].candidate == &target; });
      if (has_target && !forces_.split_brain) {
        return refused_edit(target.path +
                            ": belongs to a half of the array that was written on its own: mdtool force chooses a "
                            "half; once that is done, --force=split-brain gives this one up");
      }
    }
    return Done{};
  }

  bool staying(const Member& m) const {
    const NewView nobody;
    const std::vector<const Member*> all = staying_members(a_, nobody);
    return m.state != MemberState::unusable && std::find(all.begin(), all.end(), &m) != all.end();
  }

  const Metadata& base() const { return *a_.members[a_.freshest].candidate->chosen()->metadata; }

  NewMember identity(const Candidate& target, std::uint32_t which) const {
    NewMember member;
    member.member_bytes = target.metadata->size_bytes();
    member.device_uuid = clock_.fresh_uuid;
    member.device_uuid.bytes.back() = static_cast<unsigned char>(member.device_uuid.bytes.back() + which);
    return member;
  }

  // Its old number, where nobody has it by now; a new one behind the slots.
  std::uint32_t spare_number(const Candidate& target) const {
    if (of_this_array(a_, target)) {
      const std::uint32_t own = target.chosen()->description.dev_number;
      const bool fits = own < fresh_.dev_roles.size() && own >= (fresh_.metadata == "0.90" ? a_.slots() : 0);
      if (fits && !number_in_use(a_, own, target) && !taken_.contains(own)) {
        return own;
      }
    }
    std::uint32_t number = free_number(a_, target);
    while (taken_.contains(number)) {
      ++number;
    }
    return number;
  }

  std::uint32_t holder_number(const Candidate& target, std::uint32_t slot) const {
    const bool own =
        fresh_.metadata == "0.90" ||
        (slot < fresh_.dev_roles.size() && fresh_.dev_roles[slot] == role_spare && !number_in_use(a_, slot, target));
    return own ? slot : free_number(a_, target);
  }

  // The number that the freshest superblock has for a member of this slot that is not here.
  std::optional<std::uint32_t> listed_number(const Candidate& target, std::uint32_t slot) const {
    NewView without;
    without.roles = view_.roles;
    without.leaving = {&target};
    for (const RoleChange& absent : absent_members(a_, without)) {
      if (absent.role == slot) {
        return absent.dev_number;
      }
    }
    return std::nullopt;
  }

  Status check_content(const Candidate& target, const std::string& content) const {
    if (forces_.old_content) {
      return Done{};
    }
    if (target.chosen() != nullptr && !of_this_array(a_, target)) {
      return refused_edit(target.path + ": a member of another array, " + target.chosen()->description.set_uuid.text() +
                          " (--force=old-content overwrites it)");
    }
    if (!content.empty()) {
      return refused_edit(target.path + ": holds " + content + " (--force=old-content overwrites it)");
    }
    return Done{};
  }

  Status check_alone(const Candidate& target, const Metadata& superblock) const {
    if (const FoundSuperblock* other = elsewhere(target, superblock.offset_bytes())) {
      return refused_edit(target.path + ": a " + other->description.metadata + " superblock of array " +
                          other->description.set_uuid.text() + " is at byte " +
                          std::to_string(other->metadata->offset_bytes()) +
                          " and would be found beside the new one: mdtool erase it first");
    }
    return Done{};
  }

  // One event behind and not counted on: as a cut of this edit leaves it.
  bool begun(const Member& m, std::uint32_t slot) const {
    return m.description().slot == slot && m.description().events + 1 == fresh_.events;
  }

  Status check_slot(const Candidate& target, std::uint32_t slot) {
    if (slot >= a_.slots()) {
      return Error{ErrorKind::usage,
                   "--slot " + std::to_string(slot) + ": the array has slots 0 to " + std::to_string(a_.slots() - 1)};
    }
    const Member* m = member_of(a_, target);
    if (m != nullptr && staying(*m)) {
      done_ = m->slot == slot;
      if (!done_) {
        return refused_edit(target.path + ": a member of this array already");
      }
      // Written before a cut, and the others not yet.
      set_role(m->description().dev_number, static_cast<std::uint16_t>(slot));
      return Done{};
    }
    if (const Member* holder = a_.in_slot(slot)) {
      return refused_edit(text_of(slot) + " is held by " + holder->candidate->path);
    }
    if (m != nullptr && m->state != MemberState::unusable && !begun(*m, slot)) {
      return refused_edit(target.path + ": has a superblock of this array (" +
                          std::string(member_state_name(m->state)) +
                          "): mdtool re-add or mdtool force take it back with what it says");
    }
    if (target.chosen() != nullptr && !of_this_array(a_, target) && !forces_.old_content) {
      return refused_edit(target.path + ": a member of another array, " + target.chosen()->description.set_uuid.text() +
                          " (--force=old-content overwrites it)");
    }
    if (!a_.clean && !forces_.dirty_degraded) {
      return refused_edit(
          "the array is dirty: with this member it would be resynchronised, and what is old on it would "
          "count as right (--force=dirty-degraded goes on all the same)");
    }
    return Done{};
  }

  // The array went on without the slot: by bitmap where that remembers what was written.
  Recovery way_in() const {
    const bool possible = fresh_.metadata != "0.90" && fresh_.level > 0 && a_.bitmap.trust == Trust::believed;
    return possible && a_.verdict <= Verdict::degraded ? Recovery::by_bitmap : Recovery::keep;
  }

  void set_role(std::uint32_t dev_number, std::uint16_t role) {
    if (dev_number >= view_.roles.size()) {
      view_.roles.resize(dev_number + 1, role_spare);
    }
    view_.roles[dev_number] = role;
  }

  void say_assumptions(const Candidate& target, std::uint32_t slot, bool listed, Recovery way,
                       const std::string& content) {
    draft_.cost(target.path + " is taken for what " + text_of(slot) + " held, its data from byte " +
                std::to_string(fresh_.data_offset.bytes()) + " on: nothing on it proves that");
    if (listed) {
      draft_.cost("the others still count on " + text_of(slot) +
                  ", so the array was never updated without it: nothing was written since, if it is the right one");
    } else if (way == Recovery::by_bitmap) {
      draft_.cost("the array went on without " + text_of(slot) +
                  ": only what the bitmap marks is copied, so it has to have left after the bitmap's bits were last "
                  "cleared, and no other member may have held the slot since");
    } else {
      draft_.cost("the array went on without " + text_of(slot) +
                  ", and no bitmap says what was written: whatever was is old on it, and counts as right");
    }
    if (a_.bitmap.lockless && a_.bitmap.trust == Trust::believed && way == Recovery::keep &&
        due_chunks(a_.bitmap) != 0) {
      draft_.cost(
          "the lockless bitmap marks chunks: once the array is complete, the kernel rebuilds the highest slot "
          "there from the others, this member included");
    }
    if (!a_.clean) {
      draft_.cost("the array is dirty: the resync at its next start computes parity from this member's content");
    }
    if (!content.empty() && fresh_.data_offset.is_zero()) {
      draft_.cost("the data begins at byte 0 of the member: where " + content +
                  " was written over it, it is wrong, and counts as right; a spare is filled whole instead");
    }
    if (!content.empty()) {
      draft_.find({Severity::warning, "other-content", "",
                   target.path + ": holds " + content + ", which stays; programs may take the member for that",
                   Effect::none});
    }
  }

  const Assembly& a_;
  const MemberDescription& fresh_;
  const EditClock& clock_;
  const MembershipForces& forces_;
  EditDraft draft_;
  NewView view_;
  std::set<std::uint32_t> taken_;
  bool done_ = false;
};

// An array that cannot start is not helped by a spare, and a former member is not made one while it may be needed.
Status check_starts(const Assembly& a) {
  if (a.array().level <= 0) {
    return refused_edit("this level has no use for a spare");
  }
  if (a.verdict > Verdict::degraded) {
    return refused_edit("the array does not start as it is (" +
                        (a.reasons.empty() ? std::string("no reason") : a.reasons.front()) +
                        "); a spare does not help: mdtool force, or mdtool add --slot where a superblock was lost");
  }
  return Done{};
}

}  // namespace

Result<EditPlan> plan_add(const Assembly& a, std::span<const Candidate* const> targets, AddAs as,
                          const EditClock& clock, const MembershipForces& forces) {
  TRY(editable, check_membership(a));
  Adder adder(a, clock, forces);
  const auto content = [&](std::size_t i) { return i < as.content.size() ? as.content[i] : std::string(); };
  if (as.slot) {
    if (targets.size() != 1) {
      return Error{ErrorKind::usage, "--slot is for one --target"};
    }
    TRY(added, adder.holder(*targets.front(), *as.slot, content(0)));
    return std::move(adder).take();
  }
  TRY(starts, check_starts(a));
  for (std::size_t i = 0; i < targets.size(); ++i) {
    TRY(added, adder.spare(*targets[i], content(i), static_cast<std::uint32_t>(i)));
  }
  return std::move(adder).take();
}

}  // namespace mdtool
