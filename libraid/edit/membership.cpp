// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/membership.h"

#include <algorithm>

#include "libraid/assemble/write_checks.h"
#include "libraid/edit/membership_rules.h"

namespace mdtool {

namespace {

// RAID-0 and linear arrays know no failed member.
Status check_level(const Assembly& a) {
  if (a.array().level <= 0) {
    return refused_edit("this level has no redundancy, and no member that could be missing");
  }
  return Done{};
}

std::uint16_t seen_role(const Assembly& a, std::uint32_t dev_number) {
  const std::vector<std::uint16_t>& roles = a.array().dev_roles;
  return dev_number < roles.size() ? roles[dev_number] : role_spare;
}

bool in_use(const Member& m) {
  return m.state == MemberState::in_sync || m.state == MemberState::recovering || m.state == MemberState::replacement;
}

Result<const Member*> target_member(const Assembly& a, const Candidate& target) {
  const Member* m = member_of(a, target);
  if (m == nullptr) {
    return refused_edit(target.path + ": not a member of this array");
  }
  if (m->state == MemberState::unusable) {
    return refused_edit(target.path + ": " + m->reason);
  }
  return m;
}

// What the others say of a member from now on, and that it is not written any more.
void let_go(const Assembly& a, const Member& m, std::uint16_t role, NewView& view) {
  const MemberDescription& d = m.description();
  view.leaving.push_back(m.candidate);
  const bool spare = m.state == MemberState::spare && m.reason.empty();
  if (!spare && d.events <= a.array().events + 1) {
    view.above_events = std::max(view.above_events, d.events);
  }
  if (d.dev_number < view.roles.size() && !number_in_use(a, d.dev_number, *m.candidate)) {
    view.roles[d.dev_number] = role;
  }
}

}  // namespace

Result<EditPlan> plan_fail(const Assembly& a, std::span<const Candidate* const> targets, const EditClock& clock,
                           const MembershipForces& forces) {
  TRY(level, check_level(a));
  TRY(editable, check_membership(a));
  TRY(split, check_not_split(a));
  EditDraft draft;
  NewView view;
  view.roles = a.array().dev_roles;
  for (const Candidate* target : targets) {
    TRY(found, target_member(a, *target));
    const Member& m = *found;
    if (m.state == MemberState::spare && m.reason.empty()) {
      return refused_edit(target->path + ": a spare holds no data that could fail: mdtool remove, or mdtool erase");
    }
    if (seen_role(a, m.description().dev_number) >= role_max_regular && !in_use(m)) {
      draft.step(target->path + ": the others call it failed already");
      let_go(a, m, seen_role(a, m.description().dev_number), view);
      continue;
    }
    draft.step("mark " + target->path + " faulty in the others' superblocks; its own stays as it is");
    draft.cost("slot " + std::to_string(m.slot.value_or(0)) +
               " is without a member then: what it holds is kept, and "
               "gets old with the first write to the array");
    let_go(a, m, role_faulty, view);
  }
  TRY(drafted, draft_view(draft, a, std::move(view), clock.now_seconds));
  draft.next("to take it back: mdtool re-add; to forget it: mdtool remove");
  EditPlan plan = std::move(draft).take();
  TRY(ahead, look_ahead(a, plan, targets));
  if (!ahead.starts() && !forces.too_few) {
    return refused_edit("without it the array could not start: " + ahead.reasons() +
                        " (--force=too-few goes on all the same)");
  }
  return plan;
}

Result<EditPlan> plan_remove(const Assembly& a, std::span<const Candidate* const> targets, const EditClock& clock) {
  TRY(level, check_level(a));
  TRY(editable, check_membership(a));
  TRY(split, check_not_split(a));
  EditDraft draft;
  NewView view;
  view.roles = a.array().dev_roles;
  for (const Candidate* target : targets) {
    TRY(found, target_member(a, *target));
    const Member& m = *found;
    if (in_use(m) || m.state == MemberState::journal) {
      return refused_edit(target->path + ": in use in the array; mdtool fail it first");
    }
    draft.step("end the entry of " + target->path + " in the others' superblocks; its own stays as it is");
    const std::uint32_t number = m.description().dev_number;
    let_go(a, m, role_spare, view);
    const bool own_descriptor = a.array().metadata == "0.90" && number >= a.slots() && m.role == Role::spare;
    if (own_descriptor && !number_in_use(a, number, *target)) {
      view.besides.push_back({number, role_spare});
    }
    draft.next("to make " + target->path + " forget the array: mdtool erase; until then it is taken for " +
               (m.role == Role::spare ? "a spare of it again" : "a former member of it"));
  }
  TRY(drafted, draft_view(draft, a, std::move(view), clock.now_seconds));
  return std::move(draft).take();
}

}  // namespace mdtool
