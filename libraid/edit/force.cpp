// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <iterator>
#include <map>

#include "libraid/assemble/account.h"
#include "libraid/assemble/account_parts.h"
#include "libraid/assemble/open_array.h"
#include "libraid/assemble/views.h"
#include "libraid/edit/membership.h"
#include "libraid/edit/membership_rules.h"

namespace mdtool {

namespace {

using Chosen = std::vector<const Member*>;  // stale members that are taken along

std::string comma(const std::string& before) {
  return before.empty() ? "" : ", ";
}

std::string half_text(const Assembly& a, const std::vector<std::size_t>& half) {
  std::uint64_t events = 0;
  std::uint64_t last = 0;
  for (std::size_t i : half) {
    events = std::max(events, a.members[i].description().events);
    last = std::max(last, a.members[i].description().utime_seconds);
  }
  std::uint64_t latest = 0;
  for (std::size_t i : all_members(a)) {
    latest = std::max(latest, a.members[i].description().utime_seconds);
  }
  return names_text(a, half) + " (" + std::to_string(events) + " events, " +
         (last == latest ? "the last update" : "last update " + duration_text(latest - last) + " before that") + ")";
}

std::string choosing_command(const Assembly& a, const std::vector<std::size_t>& half) {
  return "mdtool force" + arguments_text(a, all_members(a)) + arguments_text(a, half, "--target") +
         " --force=split-brain";
}

Error split_error(const Assembly& a, const std::vector<std::vector<std::size_t>>& halves) {
  std::string text = "these members were written in " + std::to_string(halves.size()) +
                     " groups, each without the other, and only one can be kept: ";
  for (std::size_t i = 0; i < halves.size(); ++i) {
    text += (i == 0 ? "" : "; ") + half_text(a, halves[i]) + ": " + choosing_command(a, halves[i]);
  }
  return refused_edit(text + "; mdtool copy --with such a plan (--dry-run --json) saves either first");
}

bool contains(std::span<const Candidate* const> list, const Candidate* candidate) {
  return std::find(list.begin(), list.end(), candidate) != list.end();
}

struct Half {
  Assembly array;
  std::uint64_t others_events = 0;  // the highest on members of other halves
  std::vector<std::string> others;
};

// Judged anew as if the others were not there; it points at the candidates of `a` again.
Result<Assembly> judged_without(const Assembly& a, std::span<const Candidate* const> others) {
  TRY(ahead, look_ahead(a, EditPlan(), others));
  if (ahead.array == nullptr) {
    return refused_edit("no member is left");
  }
  Assembly again = *ahead.array;
  for (Member& m : again.members) {
    if (m.candidate == nullptr) {
      continue;
    }
    for (const Member& original : a.members) {
      if (original.candidate != nullptr && original.candidate->path == m.candidate->path) {
        m.candidate = original.candidate;
        break;
      }
    }
  }
  return again;
}

Result<Half> half_of_targets(const Assembly& a, const std::vector<std::vector<std::size_t>>& halves,
                             std::span<const Candidate* const> targets, const MembershipForces& forces) {
  if (halves.empty()) {
    return Half{a, 0, {}};
  }
  std::size_t named = 0;
  std::vector<const Candidate*> others;
  Half half;
  for (const std::vector<std::size_t>& members : halves) {
    const bool chosen = std::any_of(members.begin(), members.end(),
                                    [&](std::size_t i) { return contains(targets, a.members[i].candidate); });
    named += chosen ? 1 : 0;
    for (std::size_t i : members) {
      if (!chosen) {
        others.push_back(a.members[i].candidate);
        half.others_events = std::max(half.others_events, a.members[i].description().events);
        half.others.push_back(a.members[i].candidate->path);
      }
    }
  }
  if (named != 1 || !forces.split_brain) {
    return split_error(a, halves);
  }
  TRY(array, judged_without(a, others));
  half.array = std::move(array);
  return half;
}

bool usable(const Assembly& a, const Member& m) {
  if (m.candidate == nullptr) {
    return false;
  }
  const bool left = m.state == MemberState::stale || m.state == MemberState::faulty || m.state == MemberState::spare;
  const MemberDescription& d = m.description();
  return (left || may_be_torn(m)) && d.role == Role::active && d.slot && *d.slot < a.slots() && d.in_sync() &&
         a.in_slot(*d.slot) == nullptr;
}

// Of each empty slot the member that left last; the last to leave first.
Chosen candidates_for(const Assembly& a) {
  std::map<std::uint32_t, const Member*> best;
  for (const Member& m : a.members) {
    if (!usable(a, m)) {
      continue;
    }
    const Member*& place = best[*m.description().slot];
    if (place == nullptr || place->description().events < m.description().events) {
      place = &m;
    }
  }
  Chosen all;
  for (const auto& [slot, m] : best) {
    all.push_back(m);
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Member* x, const Member* y) { return x->description().events > y->description().events; });
  return all;
}

bool same_bitmap_place(const Assembly& a, const MemberDescription& d) {
  const MemberDescription& fresh = a.array();
  if (!d.bitmap_offset_bytes || !fresh.bitmap_offset_bytes) {
    return d.bitmap_offset_bytes.has_value() == fresh.bitmap_offset_bytes.has_value();
  }
  return static_cast<std::int64_t>(*d.bitmap_offset_bytes - d.super_offset.bytes()) ==
         static_cast<std::int64_t>(*fresh.bitmap_offset_bytes - fresh.super_offset.bytes());
}

Status check_chosen(const Assembly& a, const Member& m) {
  const MemberDescription& d = m.description();
  if (!same_bitmap_place(a, d)) {
    return refused_edit(m.candidate->path + ": the array got or lost its bitmap since this member left: mdtool set");
  }
  if (number_in_use(a, d.dev_number, *m.candidate)) {
    return refused_edit(m.candidate->path + ": its number " + std::to_string(d.dev_number) +
                        " is another member's now");
  }
  return Done{};
}

// Clean and complete, with chunks that need a sync, the kernel would rebuild one member from the others, or copy one to
// the others: which of them is right nobody knows.
bitmap::Lockless without_due_chunks(bitmap::Lockless states) {
  using enum bitmap::ChunkState;
  for (std::uint64_t chunk = 0; chunk < states.chunks(); ++chunk) {
    const std::uint8_t raw = states.raw(chunk);
    const bool settled = raw == static_cast<std::uint8_t>(unwritten) || raw == static_cast<std::uint8_t>(clean) ||
                         raw == static_cast<std::uint8_t>(clean_unwritten);
    const bool never_written =
        raw == static_cast<std::uint8_t>(need_sync_unwritten) || raw == static_cast<std::uint8_t>(syncing_unwritten);
    if (!settled) {
      states.set(chunk, never_written ? unwritten : clean);
    }
  }
  return states;
}

class Forcer {
 public:
  Forcer(const Assembly& a, const Half& half, const EditClock& clock) : a_(a), half_(half), clock_(clock) {}

  Result<EditPlan> plan(const Chosen& chosen) const {
    EditDraft draft;
    NewView view;
    view.roles = a_.array().dev_roles;
    view.resync_offset = Sectors::max();
    view.above_events = half_.others_events;
    if (!chosen.empty()) {
      // In any case a change of all: what was cut off can be told from what is done.
      view.above_events = std::max(view.above_events, std::max<std::uint64_t>(a_.array().events, 1) - 1);
    }
    for (const Member* m : chosen) {
      TRY(possible, check_chosen(a_, *m));
      join(*m, view, draft);
    }
    const bool complete = fills_all(view);
    if (complete && a_.bitmap.lockless && a_.bitmap.trust == Trust::believed) {
      view.lockless = without_due_chunks(*a_.bitmap.lockless);
    }
    say_bitmap(chosen, complete, draft);
    say_clean(complete, draft);
    say_others(draft);
    TRY(drafted, draft_view(draft, a_, std::move(view), clock_.now_seconds));
    say_next(complete, draft);
    return std::move(draft).take();
  }

 private:
  void join(const Member& m, NewView& view, EditDraft& draft) const {
    const MemberDescription& d = m.description();
    if (d.dev_number >= view.roles.size()) {
      view.roles.resize(d.dev_number + 1, role_spare);
    }
    view.roles[d.dev_number] = static_cast<std::uint16_t>(*d.slot);
    SuperblockChange change;
    change.recovery = SuperblockChange::Recovery::clear;
    change.roles = {{d.dev_number, static_cast<std::uint16_t>(*d.slot)}};
    const Metadata& own = *m.candidate->chosen()->metadata;
    view.joining.push_back({m.candidate, &own, own.changed(change)});
    draft.step("take " + m.candidate->path + " along into slot " + std::to_string(*d.slot) + ", in sync");
    draft.cost(what_it_missed(m));
  }

  std::string what_it_missed(const Member& m) const {
    const Account account = account_of(a_, {});
    for (const Departure& departure : account.departures) {
      if (a_.members[departure.member].candidate == m.candidate) {
        return m.candidate->path + " " + departure.text + "; what it missed is old on it, and counts as right";
      }
    }
    return m.candidate->path + " left at event " + std::to_string(m.description().events) + " of " +
           std::to_string(a_.array().events) + "; what it missed is old on it, and counts as right";
  }

  bool fills_all(const NewView& view) const {
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      const Member* m = a_.in_slot(slot);
      const bool joins = std::any_of(view.joining.begin(), view.joining.end(),
                                     [&](const Joining& j) { return j.superblock->describe().slot == slot; });
      if (!joins && (m == nullptr || m->state != MemberState::in_sync)) {
        return false;
      }
    }
    return true;
  }

  void say_bitmap(const Chosen& chosen, bool complete, EditDraft& draft) const {
    if (a_.bitmap.trust != Trust::believed || due_chunks(a_.bitmap) == 0 || (chosen.empty() && !complete)) {
      return;
    }
    const std::string amount = size_text(unsynchronised_bytes(a_).value_or(0));
    if (complete) {
      draft.cost("the bitmap marks " + amount +
                 " of the array; on the complete array these marks end without a sync, "
                 "because no member is known to be right there");
    } else {
      draft.cost("the bitmap marks " + amount + " of the array, and keeps the marks for the members that stay away");
    }
  }

  void say_clean(bool complete, EditDraft& draft) const {
    if (a_.clean) {
      return;
    }
    draft.step("mark the array clean, so that it starts and no resync runs");
    if (a_.array().level == 1 || a_.array().level == 10) {
      draft.cost("writes were in flight when it stopped: copies may differ there");
      return;
    }
    if (complete) {
      draft.cost(
          "writes were in flight when it stopped: parity may be wrong there until mdtool build-parity --all has run");
      return;
    }
    std::string extent;
    if (const auto layout = workable_layout(a_)) {
      std::uint64_t bytes = 0;
      for (const SectorRange& range : uncertain_extents(a_, *layout)) {
        bytes += range.count.bytes();
      }
      extent = ", in at most " + size_text(bytes) + " of the array";
    }
    draft.cost(
        "the write hole: writes were in flight when it stopped, and where they were, the blocks of the missing "
        "members may be reconstructed wrong" +
        extent);
  }

  void say_others(EditDraft& draft) const {
    if (half_.others.empty()) {
      return;
    }
    std::string names;
    for (const std::string& path : half_.others) {
      names += comma(names) + path;
    }
    draft.cost("what was written to " + names +
               " without the chosen members is given up; these members stay as they "
               "are, behind the events of the others");
  }

  void say_next(bool complete, EditDraft& draft) const {
    if (!half_.others.empty()) {
      draft.next(
          "afterwards: check file systems, then mdtool add --force=split-brain makes spares of the members of the "
          "other "
          "half");
    } else if (complete) {
      draft.next(
          "afterwards: check file systems before anything is written; mdtool build-parity --all then makes all parity "
          "follow the data");
    } else {
      draft.next(
          "afterwards: copy what matters, check file systems, then mdtool re-add or mdtool add for the empty "
          "slots");
    }
  }

  const Assembly& a_;
  const Half& half_;
  const EditClock& clock_;
};

std::string named_all_spare(const Assembly& a) {
  return a.in_sync_count() == 0 && std::none_of(a.members.begin(), a.members.end(),
                                                [](const Member& m) {
                                                  return m.candidate != nullptr && m.description().role == Role::active;
                                                })
             ? "; no member claims a slot: mdtool set --slot MEMBER=N gives them back"
             : "";
}

Status check_forcible(const Assembly& a) {
  if (a.array().level <= 0) {
    return refused_edit("this level has no redundancy: all members count, and none is ever left behind" +
                        named_all_spare(a));
  }
  if (a.verdict == Verdict::impossible && candidates_for(a).empty()) {
    std::string why;
    for (const std::string& reason : a.reasons) {
      why += (why.empty() ? "" : "; ") + reason;
    }
    return refused_edit("no force makes this array start: " + why + named_all_spare(a));
  }
  return Done{};
}

// A cut of an edit, or of the kernel's update: the members do not say the same yet.
bool in_step(const Assembly& a) {
  std::vector<const MemberDescription*> all;
  for (const Member* m : staying_members(a, {})) {
    if (m->state != MemberState::spare) {
      all.push_back(&m->description());
    }
  }
  return std::none_of(a.members.begin(), a.members.end(),
                      [](const Member& m) { return m.candidate != nullptr && may_be_torn(m); }) &&
         std::all_of(all.begin(), all.end(), [&](const MemberDescription* d) {
           return d->events == all.front()->events && d->resync_offset == all.front()->resync_offset &&
                  d->dev_roles == all.front()->dev_roles;
         });
}

// Members that the freshest superblock has in their slots, while the others are not in step: this edit was cut off.
Chosen begun(const Assembly& a) {
  Chosen rest;
  if (in_step(a)) {
    return rest;
  }
  for (const Member* m : candidates_for(a)) {
    const MemberDescription& d = m->description();
    if (m->state == MemberState::stale && d.dev_number < a.array().dev_roles.size() &&
        a.array().dev_roles[d.dev_number] == *d.slot) {
      rest.push_back(m);
    }
  }
  return rest;
}

Result<Chosen> chosen_by_targets(const Assembly& a, std::span<const Candidate* const> targets) {
  Chosen chosen;
  for (const Candidate* target : targets) {
    const Member* m = member_of(a, *target);
    if (m == nullptr) {
      return refused_edit(target->path + ": not a member of this array");
    }
    if (m->state == MemberState::in_sync) {
      continue;
    }
    if (!usable(a, *m)) {
      return refused_edit(target->path + ": cannot be taken along" +
                          (m->state == MemberState::recovering || m->description().recovery
                               ? ", it was being rebuilt and is not in sync"
                           : m->reason.empty() ? ""
                                               : ", " + m->reason));
    }
    const auto same_slot = [&](const Member* other) { return other->description().slot == m->description().slot; };
    if (std::any_of(chosen.begin(), chosen.end(), same_slot)) {
      return refused_edit(target->path + ": another target has the same slot");
    }
    chosen.push_back(m);
  }
  return chosen;
}

Result<EditPlan> plan_targets(const Forcer& forcer, const Assembly& a, const Chosen& chosen) {
  TRY(plan, forcer.plan(chosen));
  TRY(ahead, look_ahead(a, plan));
  if (!ahead.starts()) {
    return refused_edit("it would still not start: " + ahead.reasons());
  }
  return plan;
}

bool counts_on(const Member& viewer, const Member& m) {
  const MemberDescription& d = m.description();
  const std::vector<std::uint16_t>& roles = viewer.description().dev_roles;
  return d.dev_number < roles.size() && roles[d.dev_number] == *d.slot;
}

// Its superblock is written already, and the others do not count on it yet.
bool begun_with(const Assembly& a, const Member& m) {
  return m.state != MemberState::stale && m.description().events + 1 == a.array().events;
}

// From `all`, the last to leave first: the next, and who left together with it. This edit, cut off, leaves the first of
// them one event behind, counting on the others.
void take_next(const Assembly& a, Chosen& all, Chosen& chosen) {
  const Member& next = *all.front();
  const auto together = [&](const Member* m) {
    return m == &next || m->description().events == next.description().events ||
           (begun_with(a, next) && counts_on(next, *m));
  };
  std::copy_if(all.begin(), all.end(), std::back_inserter(chosen), together);
  std::erase_if(all, together);
}

// As mdadm: the last to leave first, until there are enough.
Result<EditPlan> plan_enough(const Forcer& forcer, const Assembly& a) {
  Chosen all = candidates_for(a);
  Chosen chosen;
  for (;;) {
    TRY(plan, forcer.plan(chosen));
    TRY(ahead, look_ahead(a, plan));
    if (ahead.starts()) {
      return plan;
    }
    if (all.empty()) {
      return refused_edit("it would still not start: " + ahead.reasons() + named_all_spare(a));
    }
    take_next(a, all, chosen);
  }
}

}  // namespace

Result<EditPlan> plan_force(const Assembly& whole, std::span<const Candidate* const> targets, const EditClock& clock,
                            const MembershipForces& forces) {
  TRY(half, half_of_targets(whole, halves_of(whole, view_groups(whole)), targets, forces));
  const Assembly& a = half.array;
  TRY(forcible, check_forcible(a));
  TRY(editable, check_membership(a));
  if (a.complete && !a.clean && half.others.empty()) {
    return refused_edit("all members are there and in sync, the array is only dirty: mdtool resync needs no force");
  }
  const Forcer forcer(a, half, clock);
  if (!targets.empty()) {
    TRY(chosen, chosen_by_targets(a, targets));
    if (a.verdict <= Verdict::degraded && in_step(a) && !chosen.empty() && !forces.stale_content) {
      return refused_edit("the array starts without " + chosen.front()->candidate->path +
                          ", which would count as right where it is old: mdtool re-add or mdtool add has it filled; "
                          "--force=stale-content takes it as it is");
    }
    return plan_targets(forcer, a, chosen);
  }
  if (a.verdict > Verdict::degraded) {
    return plan_enough(forcer, a);
  }
  if (in_step(a)) {
    EditDraft nothing;
    nothing.find({Severity::note, "starts-without-force", "", "the array starts without force", Effect::none});
    return std::move(nothing).take();
  }
  return plan_targets(forcer, a, begun(a));
}

}  // namespace mdtool
