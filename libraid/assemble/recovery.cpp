// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/recovery.h"

#include <algorithm>

#include "libraid/engine/checkpoints.h"

namespace mdtool {

namespace {

// How much of each member is done between two looks at whether to stop.
constexpr Sectors step_sectors(2048);

// The kernel's sync marks are whole pages (RAID5_STRIPE_SECTORS in drivers/md/raid5.h).
constexpr Sectors mark_unit(8);

// What the superblocks are to say of an array like this once its members are filled.
SuperblockChange in_sync_at_the_end(const Assembly& a) {
  SuperblockChange change;
  change.resync_offset = resync_offset_of(a);
  change.recovery = SuperblockChange::Recovery::clear;
  return change;
}

// Chunks that any of these sectors is in, in order.
std::vector<std::uint64_t> chunks_of(const WriteIntent& intent, const std::vector<SectorRange>& ranges) {
  std::vector<std::uint64_t> chunks;
  for (const SectorRange& r : ranges) {
    std::uint64_t chunk = r.first / intent.chunk();
    if (!chunks.empty() && chunks.back() == chunk) {
      ++chunk;
    }
    for (; intent.chunk() * chunk < r.end(); ++chunk) {
      chunks.push_back(chunk);
    }
  }
  return chunks;
}

class Runner {
 public:
  Runner(const Assembly& a, RecoveryPlan plan, MetadataStages& stages, const Clock& clock, const Run& run)
      : a_(a), plan_(std::move(plan)), metadata_(a, plan_.metadata, stages, clock), run_(run) {}

  Result<RecoveryReport> execute(const parity::Kernels& kernels) {
    TRY(same, metadata_.check_identity());
    TRY(members, recover_members());
    MemberRecovery recovery(plan_.layout, std::move(members), kernels);
    TRY(begun, metadata_.begin(plan_.intent));
    TRY(filled, fill(recovery));
    report_members(recovery);
    if (report_.interrupted) {
      return report_;
    }
    TRY(finished, finish(recovery));
    return report_;
  }

 private:
  Result<std::vector<RecoverMember>> recover_members() const {
    std::vector<RecoverMember> members(a_.slots());
    for (std::size_t i = 0; i < plan_.metadata.members.size(); ++i) {
      const PlannedMember& planned = plan_.metadata.members[i];
      const Member& m = a_.members[planned.member];
      TRY(bad, bad_ranges(m, a_.bitmap));
      members[planned.slot] = {metadata_.writable(i).device, m.description().data_offset, {}, std::move(bad)};
    }
    for (const Filling& f : plan_.fillings) {
      members[slot_of(f)].lacks = f.lacks;
    }
    return members;
  }

  Status fill(MemberRecovery& recovery) {
    Checkpoints checkpoints(run_.checkpoint_interval);
    progress_ = {0, plan_.due_bytes()};
    for (const SectorRange& due : plan_.due) {
      for (Sectors at = due.first; at < due.end(); at += step_sectors) {
        report_.interrupted = run_.stop.stop_requested();
        if (report_.interrupted) {
          return checkpoint(recovery, at);
        }
        if (checkpoints.due()) {
          TRY(saved, checkpoint(recovery, at));
          checkpoints.taken();
        }
        auto done = step(recovery, {at, std::min(step_sectors, due.end() - at)});
        if (!done) {
          // What was done before is kept; the first error is the one to tell.
          [[maybe_unused]] auto saved = checkpoint(recovery, at);
          return done;
        }
      }
    }
    return Done{};
  }

  Status step(MemberRecovery& recovery, SectorRange range) {
    TRY(outcome, recovery.fill(range).in("member sectors from " + std::to_string(range.first.count())));
    for (const RowsLeft& rows : outcome.left) {
      leave(rows);
    }
    for (const SectorRange& r : outcome.disagreeing) {
      append_range(report_.disagreeing, r);
    }
    progress_.done_bytes += range.count.bytes();
    if (run_.progress) {
      run_.progress(progress_);
    }
    return Done{};
  }

  void leave(const RowsLeft& rows) {
    const auto before = std::find_if(report_.left.rbegin(), report_.left.rend(),
                                     [&](const RowsLeft& r) { return r.slot == rows.slot; });
    if (before != report_.left.rend() && before->range.end() == rows.range.first) {
      before->range.count += rows.range.count;
    } else {
      report_.left.push_back(rows);
    }
  }

  std::uint32_t slot_of(const Filling& f) const { return plan_.metadata.members[f.planned].slot; }

  std::optional<Sectors> first_left(const Filling& f) const {
    const auto found =
        std::find_if(report_.left.begin(), report_.left.end(), [&](const RowsLeft& r) { return r.slot == slot_of(f); });
    return found == report_.left.end() ? std::nullopt : std::optional(found->range.first);
  }

  // Everything before `reached` is done: durable first, then said. What a bitmap guides has no mark: it begins anew.
  Status checkpoint(MemberRecovery& recovery, Sectors reached) {
    TRY(flushed, recovery.flush());
    for (const Filling& f : plan_.fillings) {
      const Sectors done = mark_unit * (std::min(reached, first_left(f).value_or(reached)) / mark_unit);
      if (!f.by_bitmap && done > f.mark) {
        TRY(marked, metadata_.write_recovery_offset(f.planned, done));
      }
    }
    return Done{};
  }

  Status finish(MemberRecovery& recovery) {
    const Sectors component = plan_.layout.geometry().component_size;
    if (report_.left.empty()) {
      TRY(flushed, recovery.flush());
    } else {
      plan_.intent.keep_bits();
      TRY(marked, checkpoint(recovery, component));
    }
    bool any = false;
    for (std::size_t i = 0; i < plan_.fillings.size(); ++i) {
      if (!first_left(plan_.fillings[i])) {
        metadata_.in_sync_next(plan_.fillings[i].planned);
        report_.filled[i].in_sync = true;
        any = true;
      }
    }
    report_.complete = report_.left.empty() && plan_.metadata.missing_slots.empty();
    report_.clean = a_.clean;
    if (report_.complete && a_.clean) {
      plan_.intent.settle(chunks_of(plan_.intent, report_.disagreeing));
    }
    return any ? metadata_.write(in_sync_at_the_end(a_), plan_.intent) : Status(Done{});
  }

  void report_members(const MemberRecovery& recovery) {
    for (const Filling& f : plan_.fillings) {
      FilledMember filled;
      filled.slot = slot_of(f);
      for (const SectorRange& r : f.lacks) {
        filled.lacked_bytes += r.count.bytes();
      }
      for (const RowsLeft& r : report_.left) {
        filled.left_bytes += r.slot == filled.slot ? r.range.count.bytes() : 0;
      }
      report_.filled.push_back(filled);
    }
    for (const PlannedMember& m : plan_.metadata.members) {
      report_.traffic.push_back({m.slot, recovery.bytes_read(m.slot), recovery.bytes_written(m.slot)});
    }
  }

  const Assembly& a_;
  RecoveryPlan plan_;
  ArrayMetadata metadata_;
  const Run& run_;
  Progress progress_;
  RecoveryReport report_;
};

}  // namespace

std::vector<Patch> metadata_after(const Assembly& a, const RecoveryPlan& plan, const PlannedMember& planned,
                                  const Clock& clock) {
  PlannedMember filled = planned;
  for (const Filling& f : plan.fillings) {
    if (plan.metadata.members[f.planned].slot == planned.slot) {
      filled.marks = SuperblockChange::Recovery::clear;
    }
  }
  WriteIntent intent = plan.intent;
  if (a.clean && plan.metadata.missing_slots.empty()) {
    intent.settle({});
  }
  SuperblockChange last = in_sync_at_the_end(a);
  last.events = plan.metadata.events_after(1);
  last.utime_seconds = clock.now_seconds;
  return metadata_after(a, plan.metadata, filled, std::move(intent), last);
}

Result<RecoveryReport> run_recovery(const Assembly& a, RecoveryPlan plan, MetadataStages& stages,
                                    const parity::Kernels& kernels, const Clock& clock, const Run& run) {
  return Runner(a, std::move(plan), stages, clock, run).execute(kernels);
}

}  // namespace mdtool
