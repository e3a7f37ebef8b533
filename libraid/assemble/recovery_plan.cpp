// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "libraid/assemble/recovery.h"
#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

// Where no bitmap says what a member missed, everything is listed in units of this.
constexpr Sectors unit_without_bitmap(2048);

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

std::vector<std::uint32_t> recovering_slots(const Assembly& a) {
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    const Member* m = a.in_slot(slot);
    if (m != nullptr && m->state == MemberState::recovering) {
      slots.push_back(slot);
    }
  }
  return slots;
}

Status check_redundancy(const Assembly& a, const Layout& layout) {
  if (a.slots() - a.in_sync_count() > layout.parity_disks()) {
    return refused("too few members: " + std::to_string(a.in_sync_count()) + " in sync, " +
                   std::to_string(layout.data_disks()) + " are needed");
  }
  return Done{};
}

// Parity that a cut may have left wrong is no source of data. A member that holds nothing but parity is computed from
// data.
Status check_parity_counts(const Assembly& a, const Layout& layout, const Forces& forces) {
  const auto slots = recovering_slots(a);
  const bool only_parity = a.in_sync_count() + slots.size() == a.slots() &&
                           std::all_of(slots.begin(), slots.end(), [&](auto s) { return layout.only_parity(s); });
  if (a.clean || forces.dirty_degraded || only_parity) {
    return Done{};
  }
  if (a.lazy_slot) {
    return refused("slot " + std::to_string(*a.lazy_slot) +
                   " is marked as recovering by bitmap, and the array is dirty. If no member was removed and added "
                   "again just before the cut, that was the kernel building lazy parity and the member is good: "
                   "mdtool resync --force=lazy-recovery. If one was, it lacks what was written while it was away: "
                   "--force=dirty-degraded fills it from the others, wrong where writes were in flight, and lists "
                   "those extents");
  }
  return refused(
      "the array is dirty and degraded: what is filled in may come out wrong where writes were in flight; "
      "--force=dirty-degraded goes on all the same and lists those extents");
}

Status check_bitmap(const Assembly& a) {
  if (a.bitmap.trust == Trust::rejected || a.bitmap.kernel_refuses()) {
    return refused(
        "the kernel would not start the array with this bitmap, and what it says is not believed: cure that first");
  }
  return Done{};
}

// A cut in the middle of a change of roles: the member is not yet, or no longer, one of the array's.
Status check_roles(const Assembly& a) {
  for (const std::uint32_t slot : recovering_slots(a)) {
    if (const Member& m = *a.in_slot(slot); !m.reason.empty()) {
      return refused(m.candidate->path + " claims slot " + std::to_string(slot) + ", but " + m.reason +
                     ": mdtool re-add makes the members agree");
    }
  }
  return Done{};
}

std::vector<SectorRange> ranges_of(const WriteIntent& intent) {
  std::vector<SectorRange> ranges;
  for (const std::uint64_t chunk : intent.due()) {
    append_range(ranges, intent.range_of(chunk));
  }
  return ranges;
}

std::vector<SectorRange> united(const std::vector<SectorRange>& a, const std::vector<SectorRange>& b) {
  std::vector<SectorRange> both;
  both.reserve(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both),
             [](const SectorRange& x, const SectorRange& y) { return x.first < y.first; });
  std::vector<SectorRange> out;
  for (const SectorRange& r : both) {
    append_range(out, r);
  }
  return out;
}

std::uint64_t bytes_in(const std::vector<SectorRange>& ranges) {
  std::uint64_t bytes = 0;
  for (const SectorRange& r : ranges) {
    bytes += r.count.bytes();
  }
  return bytes;
}

class Planner {
 public:
  Planner(const Assembly& a, RecoveryPlan& plan) : a_(a), plan_(plan) {}

  Status plan() {
    const std::vector<SectorRange> maybe_missed = ranges_of(plan_.intent);
    for (std::size_t i = 0; i < plan_.metadata.members.size(); ++i) {
      PlannedMember& planned = plan_.metadata.members[i];
      const Member& m = a_.members[planned.member];
      if (m.state == MemberState::recovering) {
        fill(i, m.description(), maybe_missed);
        add_extents(planned, m.description().data_offset, plan_.fillings.back().lacks);
      }
    }
    if (!plan_.nothing_to_do()) {
      say_steps();
    }
    return Done{};
  }

 private:
  void fill(std::size_t planned, const MemberDescription& d, const std::vector<SectorRange>& maybe_missed) {
    const Sectors component = plan_.layout.geometry().component_size;
    Filling f;
    f.planned = planned;
    f.by_bitmap = d.recovery_by_bitmap;
    f.mark = std::min(d.recovery_offset, component);
    if (f.by_bitmap) {
      f.lacks = maybe_missed;
    } else if (f.mark < component) {
      f.lacks.push_back({f.mark, component - f.mark});
    }
    // The kernel's rebuild skips what was never written (md_do_sync() in drivers/md/md.c), below the mark too.
    if (!f.by_bitmap && plan_.intent.keeps_states()) {
      f.lacks = united(f.lacks, maybe_missed);
    }
    plan_.due = united(plan_.due, f.lacks);
    plan_.fillings.push_back(std::move(f));
  }

  static void add_extents(PlannedMember& planned, Sectors data_offset, const std::vector<SectorRange>& lacks) {
    for (const SectorRange& r : lacks) {
      planned.extents.push_back({(data_offset + r.first).bytes(), r.count.bytes(), "data"});
    }
  }

  void say(std::string text) { plan_.steps.push_back(std::move(text)); }

  void say_steps() {
    if (plan_.metadata.leaves_members_behind()) {
      say(leaving_behind_text(plan_.metadata));
    }
    for (const Filling& f : plan_.fillings) {
      const PlannedMember& planned = plan_.metadata.members[f.planned];
      say("fill slot " + std::to_string(planned.slot) + " (" + a_.members[planned.member].candidate->path +
          ") from the others, " + std::to_string(bytes_in(f.lacks)) + " bytes: " + what_it_lacks(f) +
          "; what is there now cannot be brought back");
    }
    say("once that is durable, write the bitmap and the superblocks: " +
        std::string(plan_.fillings.size() == 1 ? "the member is" : "the members are") + " in sync, events " +
        std::to_string(plan_.metadata.events + 1) + " or more");
    if (!a_.clean) {
      say("leave the array dirty: mdtool resync then makes parity agree");
    } else if (!plan_.metadata.missing_slots.empty() && plan_.intent.has_bitmap()) {
      say("keep all bits for the slot that is still missing");
    }
  }

  std::string what_it_lacks(const Filling& f) const {
    if (!f.by_bitmap) {
      return "all from byte " + std::to_string(f.mark.bytes()) + " on" +
             (plan_.intent.keeps_states() ? ", and before that what the bitmap does not call clean" : "");
    }
    if (a_.bitmap.trust != Trust::believed) {
      return "everything, as no bitmap tells what it missed";
    }
    return plan_.intent.keeps_states() ? "all that the bitmap does not call clean" : "what the bitmap says it missed";
  }

  const Assembly& a_;
  RecoveryPlan& plan_;
};

}  // namespace

std::uint64_t RecoveryPlan::due_bytes() const {
  return bytes_in(due);
}

Result<RecoveryPlan> plan_recovery(const Assembly& a, const Forces& forces) {
  TRY(layout, workable_layout(a));
  TRY(logs, check_no_logs(a));
  TRY(split, check_not_split(a));
  TRY(findings, check_writable(a));
  TRY(enough, check_redundancy(a, layout));
  WriteIntent intent = WriteIntent::for_recovery(a.bitmap, layout.geometry().component_size, unit_without_bitmap);
  TRY(metadata, plan_array_metadata(a, intent));
  if (recovering_slots(a).empty()) {
    return RecoveryPlan{layout, std::move(intent), std::move(metadata), {}, {}, {}, {}};
  }
  TRY(parity, check_parity_counts(a, layout, forces));
  TRY(bitmap, check_bitmap(a));
  TRY(roles, check_roles(a));
  if (!metadata.missing_slots.empty()) {
    intent.keep_bits();
  }
  RecoveryPlan plan{layout, std::move(intent), std::move(metadata), {}, {}, uncertain_extents(a, layout), {}};
  TRY(planned, Planner(a, plan).plan());
  return plan;
}

}  // namespace mdtool
