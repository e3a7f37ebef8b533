// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/maintenance.h"

#include <algorithm>

#include "libraid/engine/checkpoints.h"

namespace mdtool {

namespace {

// recovery_cp of 0.90 has 32 bits, and all ones mean clean.
constexpr Sectors last_checkpoint_0_90(0xfffffffe);

// How much of each member is done between two looks at whether to stop.
constexpr Sectors step_sectors(32768);

SuperblockChange clean_at_the_end() {
  SuperblockChange clean;
  clean.resync_offset = Sectors::max();
  clean.recovery = SuperblockChange::Recovery::clear;
  return clean;
}

class Runner {
 public:
  Runner(const Assembly& a, MaintenancePlan plan, MetadataStages& stages, const Clock& clock, const Run& run)
      : a_(a), plan_(std::move(plan)), metadata_(a, plan_, stages, clock), run_(run) {
    report_.chunks_due = plan_.intent.due().size();
  }

  Result<MaintenanceReport> execute(const parity::Kernels& kernels) {
    TRY(same, metadata_.check_identity());
    TRY(members, sync_members());
    ParitySync sync(plan_.layout, std::move(members), kernels);
    if (plan_.checks_first) {
      TRY(wrong, anything_wrong(sync));
      if (!wrong) {
        report_.wrote = false;
        add_traffic(sync);
        return report_;
      }
    }
    TRY(begun, begin());
    if (plan_.computes) {
      TRY(done, compute(sync));
    }
    add_traffic(sync);
    if (report_.interrupted) {
      return report_;
    }
    TRY(finished, finish(sync));
    return report_;
  }

 private:
  Result<std::vector<SyncMember>> sync_members() const {
    std::vector<SyncMember> members(a_.slots());
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const Member& m = a_.members[plan_.members[i].member];
      TRY(bad, bad_ranges(m, a_.bitmap));
      members[plan_.members[i].slot] = {
          metadata_.writable(i).device, m.description().data_offset,
          m.state == MemberState::recovering && !taken_as_lazy(a_, plan_.task.forces, *m.slot)
              ? m.description().recovery_offset
              : Sectors::max(),
          std::move(bad)};
    }
    return members;
  }

  Result<bool> anything_wrong(ParitySync& sync) const {
    for (std::uint64_t chunk : plan_.intent.due()) {
      if (run_.stop.stop_requested()) {
        return Error{ErrorKind::interrupted, "interrupted while looking; nothing was written"};
      }
      TRY(outcome, sync.sync(plan_.intent.range_of(chunk), ParitySync::Mode::check));
      if (outcome.parity_bytes_wrong != 0) {
        return true;
      }
      if (run_.progress) {
        run_.progress({0, plan_.due_bytes()});
      }
    }
    return false;
  }

  Status write_metadata(const SuperblockChange& change) { return metadata_.write(change, plan_.intent); }
  Status write_bitmap() { return metadata_.write_bitmap(plan_.intent); }

  Status begin() {
    TRY(begun, metadata_.begin(plan_.intent));
    if (plan_.marks_dirty_first) {
      SuperblockChange dirty;
      dirty.resync_offset = Sectors();
      // Dirty with that mark the kernel would refuse; as in sync the member is simply resynchronised with the others.
      dirty.recovery = SuperblockChange::Recovery::clear;
      return write_metadata(dirty);
    }
    const bool build = plan_.task.kind == MaintenanceTask::Kind::build_parity;
    return build ? write_bitmap() : Status(Done{});
  }

  Status compute(ParitySync& sync) {
    Checkpoints checkpoints(run_.checkpoint_interval);
    progress_ = {0, plan_.due_bytes()};
    for (std::uint64_t chunk : plan_.intent.due()) {
      const SectorRange range = plan_.intent.range_of(chunk);
      if (range.end() <= plan_.start) {
        progress_.done_bytes += range.count.bytes();
        continue;
      }
      if (checkpoints.due()) {
        TRY(saved, checkpoint(sync, range.first));
        checkpoints.taken();
      }
      auto done = synchronise(sync, chunk, range);
      if (!done) {
        // What was done before is kept; the first error is the one to tell.
        [[maybe_unused]] auto saved = checkpoint(sync, range.first);
        return done;
      }
      if (report_.interrupted) {
        return plan_.task.kind == MaintenanceTask::Kind::build_parity ? give_back(sync, chunk)
                                                                      : checkpoint(sync, range.first);
      }
    }
    return Done{};
  }

  // A chunk in steps, so that a stop is heard in the middle of a large one: it is then due again.
  Result<SyncOutcome> synchronise_steps(ParitySync& sync, SectorRange range) {
    SyncOutcome all;
    while (!range.count.is_zero()) {
      if (run_.stop.stop_requested()) {
        report_.interrupted = true;
        return all;
      }
      const SectorRange step{range.first, std::min(range.count, step_sectors)};
      TRY(outcome, sync.sync(step).in("member sectors from " + std::to_string(step.first.count())));
      all.data_is_zero = all.data_is_zero && outcome.data_is_zero;
      all.parity_bytes_wrong += outcome.parity_bytes_wrong;
      all.rows_left += outcome.rows_left;
      range = {range.first + step.count, range.count - step.count};
      progress_.done_bytes += step.count.bytes();
      if (run_.progress) {
        run_.progress(progress_);
      }
    }
    return all;
  }

  Status synchronise(ParitySync& sync, std::uint64_t chunk, SectorRange range) {
    plan_.intent.start(chunk);
    auto outcome = synchronise_steps(sync, range);
    if (!outcome || report_.interrupted) {
      plan_.intent.leave(chunk);
      return outcome ? Status(Done{}) : Status(std::move(outcome).error());
    }
    report_.parity_bytes_wrong += outcome->parity_bytes_wrong;
    report_.rows_left += outcome->rows_left;
    ++report_.chunks_synchronised;
    plan_.intent.finish(chunk, outcome->data_is_zero, plan_.task.built);
    return Done{};
  }

  // What a stopped build did is right, and what it did not do is as it was: a clean array is clean again.
  Status give_back(ParitySync& sync, std::uint64_t chunk) {
    TRY(flushed, sync.flush());
    plan_.intent.give_back_from(chunk);
    if (!plan_.marks_dirty_first) {
      return write_bitmap();
    }
    SuperblockChange clean;
    clean.resync_offset = Sectors::max();
    return write_metadata(clean);
  }

  // Everything before `reached` is done: durable first, then said.
  Status checkpoint(ParitySync& sync, Sectors reached) {
    TRY(flushed, sync.flush());
    if (plan_.intent.has_bitmap()) {
      return write_bitmap();
    }
    const bool recordable = a_.bitmap.trust == Trust::absent && a_.complete &&
                            (a_.array().metadata != "0.90" || reached <= last_checkpoint_0_90);
    if (!recordable) {
      return Done{};
    }
    SuperblockChange change;
    change.resync_offset = reached;
    return write_metadata(change);
  }

  Status finish(ParitySync& sync) {
    TRY(flushed, sync.flush());
    return write_metadata(clean_at_the_end());
  }

  void add_traffic(const ParitySync& sync) {
    for (const PlannedMember& m : plan_.members) {
      report_.traffic.push_back({m.slot, sync.bytes_read(m.slot), sync.bytes_written(m.slot)});
    }
  }

  const Assembly& a_;
  MaintenancePlan plan_;
  ArrayMetadata metadata_;
  const Run& run_;
  Progress progress_;
  MaintenanceReport report_;
};

}  // namespace

std::vector<Patch> metadata_after(const Assembly& a, const MaintenancePlan& plan, const PlannedMember& planned,
                                  const Clock& clock) {
  SuperblockChange last = clean_at_the_end();
  last.events = plan.events_after(plan.marks_dirty_first ? 2 : 1);
  last.utime_seconds = clock.now_seconds;
  return metadata_after(a, plan, planned, plan.intent, last);
}

Result<MaintenanceReport> run_maintenance(const Assembly& a, MaintenancePlan plan, MetadataStages& stages,
                                          const parity::Kernels& kernels, const Clock& clock, const Run& run) {
  return Runner(a, std::move(plan), stages, clock, run).execute(kernels);
}

}  // namespace mdtool
