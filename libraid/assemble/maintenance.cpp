// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/maintenance.h"

#include <algorithm>

namespace mdtool {

namespace {

// recovery_cp of 0.90 has 32 bits, and all ones mean clean.
constexpr Sectors last_checkpoint_0_90(0xfffffffe);

// A checkpoint at most after another 1/64 of the time that the run has taken.
constexpr int checkpoint_part = 64;

// How much of each member is done between two looks at whether to stop.
constexpr Sectors step_sectors(32768);

class Runner {
 public:
  Runner(const Assembly& a, MaintenancePlan plan, MetadataStages& stages, const Clock& clock, const Run& run)
      : a_(a), plan_(std::move(plan)), stages_(stages), clock_(clock), run_(run), events_(plan_.events) {
    report_.chunks_due = plan_.intent.due().size();
  }

  Result<MaintenanceReport> execute(const parity::Kernels& kernels) {
    TRY(same, check_identity());
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
  // The member that was opened for writing is the one that was judged, byte for byte.
  Status check_identity() const {
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const FoundSuperblock& found = *a_.members[plan_.members[i].member].candidate->chosen();
      const std::vector<std::byte> planned = found.metadata->encode();
      const WritableMember& m = stages_.members()[i];
      TRY(now, read_bytes(*m.past_cache, found.metadata->offset_bytes(), planned.size()).in(m.path));
      if (now != planned) {
        return Error{ErrorKind::refused,
                     m.path + ": the superblock has changed since it was examined; nothing was written"};
      }
    }
    return Done{};
  }

  Result<std::vector<SyncMember>> sync_members() const {
    std::vector<SyncMember> members(a_.slots());
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const Member& m = a_.members[plan_.members[i].member];
      TRY(bad, bad_ranges(m, a_.bitmap));
      members[plan_.members[i].slot] = {
          stages_.members()[i].device, m.description().data_offset,
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

  // One step of the event counter: bitmap first, then the superblocks, so that the bitmap is never behind.
  Status write_metadata(const SuperblockChange& change) {
    TRY(bitmap, write_bitmap(*change.events));
    std::vector<MemberPatch> stage;
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const Member& m = a_.members[plan_.members[i].member];
      const Metadata& superblock = *m.candidate->chosen()->metadata;
      SuperblockChange own = change;
      if (!taken_as_lazy(a_, plan_.task.forces, *m.slot) && !m.description().recovery_is_all_ones()) {
        own.recovery = SuperblockChange::Recovery::keep;
      }
      stage.push_back({i, {superblock.offset_bytes(), superblock.changed(own)->encode()}});
    }
    return stages_.write(stage);
  }

  Status write_bitmap(std::uint64_t events) {
    std::vector<MemberPatch> stage;
    const auto bytes = plan_.intent.encode(events);
    for (std::size_t i = 0; bytes && i < plan_.members.size(); ++i) {
      if (const auto& offset = a_.members[plan_.members[i].member].description().bitmap_offset_bytes) {
        stage.push_back({i, {*offset, *bytes}});
      }
    }
    return stages_.write(stage);
  }

  SuperblockChange next_change() {
    SuperblockChange change;
    change.events = ++events_;
    change.utime_seconds = clock_.now_seconds;
    change.missing_slots = plan_.missing_slots;
    change.departed = plan_.departed;
    return change;
  }

  // After a cut members may be one event apart, and the bitmap one ahead of them. Who is behind catches up first: the
  // next event, on its way from member to member, would put him two behind, and out of the array.
  Status catch_up() {
    std::uint64_t highest = 0;
    for (const PlannedMember& m : plan_.members) {
      highest = std::max(highest, a_.members[m.member].description().events);
    }
    TRY(level, raise_to(highest));
    if (events_ == highest) {
      return Done{};
    }
    TRY(bitmap, write_bitmap(events_));
    return raise_to(events_);
  }

  Status raise_to(std::uint64_t events) {
    SuperblockChange change;
    change.events = events;
    change.utime_seconds = clock_.now_seconds;
    change.resync_offset = a_.array().resync_offset;
    change.missing_slots = plan_.missing_slots;
    std::vector<MemberPatch> stage;
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const Member& m = a_.members[plan_.members[i].member];
      if (m.description().events < events) {
        const Metadata& superblock = *m.candidate->chosen()->metadata;
        stage.push_back({i, {superblock.offset_bytes(), superblock.changed(change)->encode()}});
      }
    }
    return stages_.write(stage);
  }

  Status begin() {
    TRY(caught_up, catch_up());
    if (plan_.leaves_members_behind) {
      // In two steps of one: a cut between two members' updates leaves them one event apart, which every reader
      // accepts; after both an absent member is too far behind to be taken back.
      for (int step = 0; step < 2; ++step) {
        TRY(written, write_metadata(next_change()));
      }
    }
    if (plan_.marks_dirty_first) {
      SuperblockChange dirty = next_change();
      dirty.resync_offset = Sectors();
      // Dirty with that mark the kernel would refuse; as in sync the member is simply resynchronised with the others.
      dirty.recovery = SuperblockChange::Recovery::clear;
      return write_metadata(dirty);
    }
    const bool build = plan_.task.kind == MaintenanceTask::Kind::build_parity;
    return build ? write_bitmap(events_) : Status(Done{});
  }

  Status compute(ParitySync& sync) {
    const auto began = std::chrono::steady_clock::now();
    auto checkpoint_due = began + run_.checkpoint_interval;
    progress_ = {0, plan_.due_bytes()};
    for (std::uint64_t chunk : plan_.intent.due()) {
      const SectorRange range = plan_.intent.range_of(chunk);
      if (range.end() <= plan_.start) {
        progress_.done_bytes += range.count.bytes();
        continue;
      }
      if (std::chrono::steady_clock::now() >= checkpoint_due) {
        TRY(saved, checkpoint(sync, range.first));
        // The longer it has run, the rarer: what a kill costs stays a small part of what was done.
        const auto now = std::chrono::steady_clock::now();
        checkpoint_due = now + std::max<std::chrono::steady_clock::duration>(run_.checkpoint_interval,
                                                                             (now - began) / checkpoint_part);
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

  // A build that was stopped leaves a clean array: what it did is right, and what it did not do is as it was.
  Status give_back(ParitySync& sync, std::uint64_t chunk) {
    TRY(flushed, sync.flush());
    plan_.intent.give_back_from(chunk);
    if (!plan_.marks_dirty_first) {
      return write_bitmap(events_);
    }
    SuperblockChange clean = next_change();
    clean.resync_offset = Sectors::max();
    return write_metadata(clean);
  }

  // Everything before `reached` is done: durable first, then said.
  Status checkpoint(ParitySync& sync, Sectors reached) {
    TRY(flushed, sync.flush());
    if (plan_.intent.has_bitmap()) {
      return write_bitmap(events_);
    }
    const bool recordable = a_.bitmap.trust == Trust::absent && a_.complete &&
                            (a_.array().metadata != "0.90" || reached <= last_checkpoint_0_90);
    if (!recordable) {
      return Done{};
    }
    SuperblockChange change = next_change();
    change.resync_offset = reached;
    return write_metadata(change);
  }

  Status finish(ParitySync& sync) {
    TRY(flushed, sync.flush());
    SuperblockChange clean = next_change();
    clean.resync_offset = Sectors::max();
    clean.recovery = SuperblockChange::Recovery::clear;
    return write_metadata(clean);
  }

  void add_traffic(const ParitySync& sync) {
    for (const PlannedMember& m : plan_.members) {
      report_.traffic.push_back({m.slot, sync.bytes_read(m.slot), sync.bytes_written(m.slot)});
    }
  }

  const Assembly& a_;
  MaintenancePlan plan_;
  MetadataStages& stages_;
  const Clock& clock_;
  const Run& run_;
  std::uint64_t events_;
  Progress progress_;
  MaintenanceReport report_;
};

}  // namespace

Result<MaintenanceReport> run_maintenance(const Assembly& a, MaintenancePlan plan, MetadataStages& stages,
                                          const parity::Kernels& kernels, const Clock& clock, const Run& run) {
  return Runner(a, std::move(plan), stages, clock, run).execute(kernels);
}

}  // namespace mdtool
