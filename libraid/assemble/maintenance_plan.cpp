// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "libraid/assemble/maintenance.h"
#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

// The unit of work and of a checkpoint where no bitmap gives one.
constexpr Sectors unit_without_bitmap(2048);

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

Status check_redundancy(const Assembly& a, const MaintenanceTask& task) {
  if (task.kind == MaintenanceTask::Kind::build_parity && !whole(a, task.forces)) {
    return refused("a slot is missing or being rebuilt: parity is built on complete arrays only");
  }
  return check_not_dirty_degraded(a, task.forces);
}

class Planner {
 public:
  Planner(const Assembly& a, MaintenancePlan& plan) : a_(a), plan_(plan) {}

  Status plan() {
    TRY(metadata, plan_array_metadata(a_, plan_.intent));
    static_cast<ArrayMetadataPlan&>(plan_) = std::move(metadata);
    decide();
    for (PlannedMember& m : plan_.members) {
      marks(m);
      add_parity_extents(m);
    }
    return Done{};
  }

 private:
  // A mark of lazy parity ends with the run; the others are for a recovery.
  void marks(PlannedMember& m) const {
    if (taken_as_lazy(a_, plan_.task.forces, m.slot) || a_.members[m.member].description().recovery_is_all_ones()) {
      m.marks = SuperblockChange::Recovery::clear;
    }
  }

  bool recovery_marks() const {
    return std::any_of(plan_.members.begin(), plan_.members.end(), [&](const PlannedMember& m) {
      return a_.members[m.member].description().recovery_is_all_ones();
    });
  }

  bool superblocks_differ() const {
    return std::any_of(plan_.members.begin(), plan_.members.end(), [&](const PlannedMember& m) {
      const MemberDescription& d = a_.members[m.member].description();
      return d.events != a_.array().events || d.clean() != a_.clean;
    });
  }

  void say(std::string text) { plan_.steps.push_back(std::move(text)); }

  void decide() {
    const bool build = plan_.task.kind == MaintenanceTask::Kind::build_parity;
    const std::uint64_t due = plan_.intent.due().size();
    if (a_.clean && !whole(a_, plan_.task.forces)) {
      return;  // a clean degraded array keeps its bits for the member that is missing
    }
    if (due == 0 && (a_.clean || build)) {
      if (plan_.intent.wants_tidying() || recovery_marks() || superblocks_differ()) {
        say("nothing is due; put the bitmap and the superblocks as a clean stop leaves them");
      }
      return;
    }
    if (plan_.leaves_members_behind()) {
      say(leaving_behind_text(plan_));
    }
    if (plan_.checks_first) {
      say("check all parity, because the bitmap cannot be used; go on only where some is wrong");
    }
    if (plan_.marks_dirty_first) {
      say("mark the array dirty, so that an interruption is noticed");
    } else if (build) {
      say("mark the chunks in the bitmap as being built");
    }
    if (plan_.computes) {
      say("compute parity from data in " + std::to_string(due) + " chunks (" + std::to_string(plan_.due_bytes()) +
          " bytes on each member), write it where it is wrong");
    } else {
      say("compute nothing: no redundancy is left; all bits stay set");
    }
    say(std::string("write the bitmap and the superblocks: clean, events ") + std::to_string(plan_.events + 1) +
        " or more");
  }

  void add_parity_extents(PlannedMember& p) const {
    if (!plan_.computes) {
      return;
    }
    const MemberDescription& d = a_.members[p.member].description();
    for (std::uint64_t chunk : plan_.intent.due()) {
      const SectorRange range = plan_.intent.range_of(chunk);
      const std::uint64_t first = (d.data_offset + range.first).bytes();
      if (p.extents.back().purpose == "parity" &&
          p.extents.back().offset_bytes + p.extents.back().length_bytes == first) {
        p.extents.back().length_bytes += range.count.bytes();
      } else {
        p.extents.push_back({first, range.count.bytes(), "parity"});
      }
    }
  }

  const Assembly& a_;
  MaintenancePlan& plan_;
};

WriteIntent intent_for(const Assembly& a, const Layout& layout, const MaintenanceTask& task) {
  const Sectors component = layout.geometry().component_size;
  return task.kind == MaintenanceTask::Kind::resync
             ? WriteIntent::for_resync(a.bitmap, component, unit_without_bitmap, a.clean)
             : WriteIntent::for_build(a.bitmap, component, unit_without_bitmap, task.extent, a.clean);
}

}  // namespace

std::uint64_t MaintenancePlan::due_bytes() const {
  std::uint64_t bytes = 0;
  for (std::uint64_t chunk : intent.due()) {
    bytes += intent.range_of(chunk).count.bytes();
  }
  return bytes;
}

Result<MaintenancePlan> plan_maintenance(const Assembly& a, const MaintenanceTask& task) {
  TRY(layout, workable_layout(a));
  TRY(logs, check_no_logs(a));
  TRY(split, check_not_split(a));
  TRY(findings, check_writable(a));
  TRY(redundancy, check_redundancy(a, task));
  const std::uint32_t missing_redundancy = whole(a, task.forces) ? 0 : a.slots() - a.in_sync_count();
  if (missing_redundancy > layout.parity_disks()) {
    return refused("too few members: " + std::to_string(a.in_sync_count()) + " in sync, " +
                   std::to_string(layout.data_disks()) + " are needed");
  }
  const bool build = task.kind == MaintenanceTask::Kind::build_parity;
  if (build && task.extent == WriteIntent::Extent::unwritten && a.bitmap.kind != bitmap::Kind::lockless) {
    return refused("only a lockless bitmap knows of regions never written; --all rebuilds all parity");
  }
  if (build && a.bitmap.trust == Trust::rejected) {
    return refused(
        "the kernel would not start the array with this bitmap, and what it says is not believed: cure that first");
  }
  MaintenancePlan plan(layout, task, intent_for(a, layout, task));
  plan.computes = missing_redundancy < layout.parity_disks();
  plan.checks_first = !build && a.clean && a.bitmap.trust == Trust::rejected;
  plan.marks_dirty_first = a.clean && plan.intent.rewrites_promised_parity() && !plan.intent.due().empty();
  if (!whole(a, task.forces)) {
    plan.uncertain = uncertain_extents(a, layout);
    plan.intent.keep_bits();
  }
  const bool checkpoint_counts = !build && a.bitmap.trust == Trust::absent && a.complete && !a.clean;
  if (checkpoint_counts && a.array().resync_offset < layout.geometry().component_size) {
    plan.start = unit_without_bitmap * (a.array().resync_offset / unit_without_bitmap);
  }
  Planner planner(a, plan);
  TRY(planned, planner.plan());
  return plan;
}

}  // namespace mdtool
