// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <functional>

#include "libraid/assemble/write_checks.h"
#include "libraid/assemble/zero_init.h"
#include "libraid/engine/zero.h"
#include "libraid/io/signature.h"

namespace mdtool {

namespace {

using bitmap::ChunkState;

// The unit of work and of a checkpoint where no bitmap gives one.
constexpr Sectors unit_without_bitmap(2048);

// What mdadm leaves in the state bytes until the kernel has started the array.
constexpr std::uint8_t filler = 0xff;

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

bool is_state(std::uint8_t raw, ChunkState state) {
  return raw == static_cast<std::uint8_t>(state);
}

// No write ever went there, whether parity was built or not.
bool never_written(std::uint8_t raw) {
  return is_state(raw, ChunkState::unwritten) || is_state(raw, ChunkState::need_sync_unwritten) ||
         is_state(raw, ChunkState::syncing_unwritten) || is_state(raw, ChunkState::clean_unwritten);
}

// Of the component: where the metadata do not rule out data, and where they promise parity.
struct Claims {
  std::vector<SectorRange> may_hold_data;
  std::vector<SectorRange> promised;
};

class Reader {
 public:
  Reader(const Assembly& a, Sectors component) : a_(a), component_(component) {}

  Claims claims() const {
    const BitmapView& view = a_.bitmap;
    const std::vector<SectorRange> everything{{Sectors(), component_}};
    if (view.lockless) {
      return lockless_claims(everything);
    }
    if (a_.clean) {
      return {everything, everything};
    }
    if (view.trust == Trust::absent) {
      const Sectors reached = std::min(resync_offset_of(a_), component_);
      return {everything, reached.is_zero() ? std::vector<SectorRange>() : std::vector<SectorRange>{{{}, reached}}};
    }
    if (view.trust == Trust::believed && view.classic) {
      return {everything, chunks([&](std::uint64_t i) { return !view.classic->is_set(i); })};
    }
    return {everything, {}};
  }

 private:
  Claims lockless_claims(const std::vector<SectorRange>& everything) const {
    const bitmap::Lockless& states = *a_.bitmap.lockless;
    if (a_.bitmap.trust == Trust::believed) {
      return {chunks([&](std::uint64_t i) { return !never_written(states.raw(i)); }),
              chunks([&](std::uint64_t i) { return bitmap::parity_is_promised(states.raw(i)); })};
    }
    // A first start may have come as far as the states, and writes further, before the header was written again.
    const bool never_used =
        a_.bitmap.trust == Trust::first_use && (states.header().state & bitmap::state_clean) == 0 &&
        chunks([&](std::uint64_t i) { return !never_written(states.raw(i)) && states.raw(i) != filler; }).empty();
    return {never_used ? std::vector<SectorRange>() : everything, {}};
  }

  std::vector<SectorRange> chunks(const std::function<bool(std::uint64_t)>& wanted) const {
    const Sectors chunk = a_.bitmap.chunk();
    std::vector<SectorRange> ranges;
    for (std::uint64_t i = 0; i < a_.bitmap.chunks() && chunk * i < component_; ++i) {
      if (!wanted(i)) {
        continue;
      }
      const SectorRange range{chunk * i, std::min(chunk, component_ - chunk * i)};
      if (!ranges.empty() && ranges.back().end() == range.first) {
        ranges.back().count += range.count;
      } else {
        ranges.push_back(range);
      }
    }
    return ranges;
  }

  const Assembly& a_;
  Sectors component_;
};

// Names a byte that is not zero, on any member.
Result<std::optional<std::string>> not_zero(const Assembly& a, const std::vector<SectorRange>& ranges) {
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    const Member& m = a.members[slot];
    TRY(found, sample_not_zero(*m.candidate->data, m.description().data_offset.bytes(), ranges, Sampling::thorough)
                   .in(m.candidate->path));
    if (found) {
      return std::optional(m.candidate->path + " holds something at byte " + std::to_string(*found));
    }
  }
  return std::optional<std::string>();
}

Status check_complete(const Assembly& a) {
  if (!a.complete) {
    return refused("a slot is missing or being rebuilt: zeroes on the other members would leave it with wrong data");
  }
  for (const Member& m : a.members) {
    if (m.state == MemberState::replacement) {
      return refused(m.candidate->path + ": a replacement is under way, and it would not be zeroed");
    }
  }
  if (a.bitmap.trust == Trust::rejected) {
    return refused(
        "the kernel would not start the array with this bitmap, and what it says is not believed: cure that first");
  }
  return Done{};
}

Status check_bad_blocks(const Assembly& a) {
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    TRY(bad, bad_ranges(a.members[slot], a.bitmap));
    if (!bad.empty()) {
      return refused(a.members[slot].candidate->path +
                     ": its bad-block log lists sectors that would not be believed, zero or not");
    }
  }
  return Done{};
}

Status check_no_data(const Assembly& a, const Claims& claims, const ZeroInitTask& task) {
  if (task.force_data) {
    return Done{};
  }
  TRY(data, not_zero(a, claims.may_hold_data));
  if (data) {
    return refused("the array may hold data: " + *data +
                   ", and no lockless bitmap says that nothing was ever written there. What a disk held before looks "
                   "the same as an encrypted file system, so nobody else can tell: --force=data zeroes all of it");
  }
  return Done{};
}

// "Unwritten" proves nothing: a discard of a part of a chunk makes all of it so, a file system in the rest or not.
Status check_no_signature(const Assembly& a, const ZeroInitTask& task) {
  if (task.force_data) {
    return Done{};
  }
  TRY(opened, open_for_reading(a, {}, *parity::supported_kernels().front()));
  TRY(found, signatures(opened.array, "the array"));
  if (!found.empty()) {
    return refused("the array holds data: " + found.front() +
                   ". A bitmap that calls everything unwritten is no proof against it, as discards make chunks "
                   "unwritten again: --force=data zeroes all of it");
  }
  return Done{};
}

// What is promised and zero is done; what cannot be read is not. Who forces it does not trust samples; a run that was
// stopped left the array dirty.
std::vector<SectorRange> done_already(const Assembly& a, const Claims& claims, const ZeroInitTask& task) {
  if (task.force_data && a.clean) {
    return {};
  }
  const auto data = not_zero(a, claims.promised);
  return data && !*data ? claims.promised : std::vector<SectorRange>();
}

class Planner {
 public:
  Planner(const Assembly& a, ZeroInitPlan& plan) : a_(a), plan_(plan) {}

  Status plan() {
    TRY(metadata, plan_array_metadata(a_, plan_.intent));
    static_cast<ArrayMetadataPlan&>(plan_) = std::move(metadata);
    merge_due();
    decide();
    for (PlannedMember& m : plan_.members) {
      const MemberDescription& d = a_.members[m.member].description();
      if (d.recovery_is_all_ones()) {
        m.marks = SuperblockChange::Recovery::clear;
      }
      for (const SectorRange& r : plan_.due) {
        m.extents.push_back({(d.data_offset + r.first).bytes(), r.count.bytes(), "zeroes"});
      }
    }
    return Done{};
  }

 private:
  void merge_due() {
    for (const std::uint64_t chunk : plan_.intent.due()) {
      const SectorRange range = plan_.intent.range_of(chunk);
      if (!plan_.due.empty() && plan_.due.back().end() == range.first) {
        plan_.due.back().count += range.count;
      } else {
        plan_.due.push_back(range);
      }
    }
  }

  bool superblocks_differ() const {
    return std::any_of(plan_.members.begin(), plan_.members.end(), [&](const PlannedMember& m) {
      const MemberDescription& d = a_.members[m.member].description();
      return d.events != a_.array().events || d.clean() != a_.clean || d.recovery_is_all_ones();
    });
  }

  void say(std::string text) { plan_.steps.push_back(std::move(text)); }

  void decide() {
    if (plan_.due.empty()) {
      if (!a_.clean || plan_.intent.wants_tidying() || superblocks_differ()) {
        say("samples everywhere are zero; put the bitmap and the superblocks as a clean stop leaves them");
      }
      return;
    }
    name_leftovers();
    say(plan_.intent.has_bitmap()
            ? "mark the array dirty, and in the bitmap that nothing vouches for what is to be zeroed"
            : "mark the array dirty");
    say("zero " + std::to_string(plan_.due_bytes()) +
        " bytes on each member: whatever is there is lost, and no undo "
        "file brings it back");
    say("read samples back past the cache, and stop where one is not zero");
    say("write the bitmap and the superblocks: clean, events " + std::to_string(plan_.events_after(2)) + " or more");
  }

  void name_leftovers() {
    if (plan_.task.force_data || !a_.bitmap.lockless) {
      return;
    }
    if (const auto there = not_zero(a_, plan_.due); there && *there) {
      say("take for no data what is there, as the bitmap calls it unwritten: " + **there +
          ". The disks may have held it before; but a discard of a part of a chunk makes all of it unwritten, too");
    }
  }

  const Assembly& a_;
  ZeroInitPlan& plan_;
};

}  // namespace

std::uint64_t ZeroInitPlan::due_bytes() const {
  std::uint64_t bytes = 0;
  for (const SectorRange& r : due) {
    bytes += r.count.bytes();
  }
  return bytes;
}

Result<ZeroInitPlan> plan_zero_init(const Assembly& a, const ZeroInitTask& task) {
  TRY(layout, workable_layout(a));
  TRY(logs, check_no_logs(a));
  TRY(split, check_not_split(a));
  TRY(findings, check_writable(a));
  TRY(complete, check_complete(a));
  TRY(bad_blocks, check_bad_blocks(a));
  const Sectors component = layout.geometry().component_size;
  const Claims claims = Reader(a, component).claims();
  TRY(no_data, check_no_data(a, claims, task));
  TRY(no_signature, check_no_signature(a, task));
  const std::vector<SectorRange> done = done_already(a, claims, task);
  ZeroInitPlan plan(task, WriteIntent::for_zeroing(a.bitmap, component, unit_without_bitmap, done, task.built));
  if (!a.clean && !plan.intent.has_bitmap() && !done.empty() && !plan.intent.due().empty()) {
    plan.start = plan.intent.range_of(plan.intent.due().front()).first;
  }
  Planner planner(a, plan);
  TRY(planned, planner.plan());
  return plan;
}

}  // namespace mdtool
