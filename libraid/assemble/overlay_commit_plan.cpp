// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <bit>

#include "libraid/assemble/overlay_commit.h"
#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

using bitmap::ChunkState;

constexpr std::uint64_t most_undoable_bytes = 8U << 20;
// The fence takes no more than these for the data of one member; closer ones become one.
constexpr std::size_t most_fence_extents = 4096;

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

// The runs of sectors that a block speaks for, as extents of its member.
template <typename Visit>
void each_run(const OverlayBlock& block, std::uint64_t member_bytes, Visit visit) {
  for (unsigned at = 0; at < overlay_block_sectors;) {
    const std::uint64_t rest = block.valid >> at;
    if (rest == 0) {
      return;
    }
    at += static_cast<unsigned>(std::countr_zero(rest));
    const auto run = static_cast<unsigned>(std::countr_one(block.valid >> at));
    const std::uint64_t first = block.block * overlay_block_bytes + Sectors(at).bytes();
    visit(Extent{first, std::min(Sectors(run).bytes(), member_bytes - first)});
    at += run;
  }
}

void append_merged(std::vector<Extent>& to, Extent e, std::uint64_t gap_bytes) {
  if (!to.empty() && to.back().offset_bytes + to.back().length_bytes + gap_bytes >= e.offset_bytes) {
    to.back().length_bytes = e.offset_bytes + e.length_bytes - to.back().offset_bytes;
  } else {
    to.push_back(e);
  }
}

// Calls visit(extent) for what of `e` no place covers; places in order.
template <typename Visit>
void each_outside(Extent e, const std::vector<Extent>& places, Visit visit) {
  for (const Extent& place : places) {
    const std::uint64_t end = e.offset_bytes + e.length_bytes;
    const std::uint64_t place_end = place.offset_bytes + place.length_bytes;
    if (place_end <= e.offset_bytes || place.offset_bytes >= end) {
      continue;
    }
    if (place.offset_bytes > e.offset_bytes) {
      visit(Extent{e.offset_bytes, place.offset_bytes - e.offset_bytes});
    }
    e = {place_end, end > place_end ? end - place_end : 0};
  }
  if (e.length_bytes != 0) {
    visit(e);
  }
}

std::vector<Extent> patched_places(const OverlayCommit& record, std::uint32_t member) {
  std::vector<Extent> places;
  for (const OverlayPatch& patch : record.patches) {
    if (patch.member == member) {
      places.push_back({patch.offset_bytes, patch.bytes.size()});
    }
  }
  std::sort(places.begin(), places.end(),
            [](const Extent& a, const Extent& b) { return a.offset_bytes < b.offset_bytes; });
  std::vector<Extent> merged;
  for (const Extent& place : places) {
    append_merged(merged, place, 0);
  }
  return merged;
}

// Extents in order, closer ones joined where they become too many.
class Fence {
 public:
  void add(Extent e) {
    append_merged(extents_, e, gap_bytes_);
    while (extents_.size() > most_fence_extents) {
      gap_bytes_ = std::max(overlay_block_bytes, 2 * gap_bytes_);
      std::vector<Extent> coarser;
      for (const Extent& fine : extents_) {
        append_merged(coarser, fine, gap_bytes_);
      }
      extents_ = std::move(coarser);
    }
  }
  const std::vector<Extent>& extents() const { return extents_; }

 private:
  std::vector<Extent> extents_;
  std::uint64_t gap_bytes_ = 0;
};

OverlayCommitMember member_for(const OverlayFile& overlay, std::size_t base, const OverlayCommit& record) {
  OverlayCommitMember planned{base, patched_places(record, overlay.member_of(base)), 0, {}};
  Fence data;
  [[maybe_unused]] const Status visited = each_data_extent(overlay, planned, [&](Extent e) -> Status {
    planned.data_bytes += e.length_bytes;
    data.add(e);
    return Done{};
  });
  for (const Extent& e : planned.metadata) {
    planned.extents.push_back({e.offset_bytes, e.length_bytes, "metadata"});
  }
  for (const Extent& e : data.extents()) {
    planned.extents.push_back({e.offset_bytes, e.length_bytes, "data"});
  }
  return planned;
}

void say_order(OverlayCommitPlan& plan) {
  plan.steps.push_back("copy " + std::to_string(plan.data_bytes()) + " bytes of data and parity to the members");
  plan.steps.push_back("write the bitmap and the superblocks as the overlay holds them");
}

// Every member that the record is about is there.
Status check_all_there(const OverlayFile& overlay, const OverlayCommit& record) {
  for (const OverlayPatch& patch : record.patches) {
    bool there = false;
    for (std::size_t base = 0; base < overlay.base_count(); ++base) {
      there = there || overlay.member_of(base) == patch.member;
    }
    if (!there) {
      return refused(overlay.members()[patch.member].path + ": is missing, and the commit has begun with it");
    }
  }
  return Done{};
}

void add_members(OverlayCommitPlan& plan, const OverlayFile& overlay) {
  for (std::size_t base = 0; base < overlay.base_count(); ++base) {
    const std::uint32_t member = overlay.member_of(base);
    if (std::ranges::any_of(plan.record.patches, [&](const OverlayPatch& p) { return p.member == member; })) {
      plan.members.push_back(member_for(overlay, base, plan.record));
    }
  }
  plan.data_undoable = plan.data_bytes() <= most_undoable_bytes;
}

class CommitPlanner {
 public:
  CommitPlanner(const OverlaidArray& array, std::uint64_t now_seconds)
      : overlay_(array.overlay),
        bases_(array.bases),
        below_(array.below),
        above_(array.above),
        now_seconds_(now_seconds) {}

  Result<OverlayCommitPlan> plan() {
    TRY(holds, holds_anything());
    if (!holds) {
      return std::move(plan_);
    }
    TRY(fit, check());
    choose();
    if (marked_.empty()) {
      return refused("none of the members is in use in the array as the overlay holds it");
    }
    TRY(events, highest_events(below_, marked_below_));
    events_ = events;
    TRY(marks, add_marks());
    TRY(finishes, add_finishes());
    add_members(plan_, overlay_);
    say_order(plan_);
    return std::move(plan_);
  }

 private:
  // Refused where the overlay holds something for a member that is not there.
  Result<bool> holds_anything() const {
    bool any = false;
    for (std::uint32_t member = 0; member < overlay_.members().size(); ++member) {
      if (overlay_.blocks_of(member).empty()) {
        continue;
      }
      any = true;
      bool there = false;
      for (std::size_t base = 0; base < overlay_.base_count(); ++base) {
        there = there || overlay_.member_of(base) == member;
      }
      if (!there) {
        return refused(overlay_.members()[member].path + ": is missing, and the overlay holds something for it");
      }
    }
    return any;
  }

  Status check() const {
    for (const Assembly* a : {&below_, &above_}) {
      TRY(workable, workable_layout(*a));
      TRY(logs, check_no_logs(*a));
      TRY(split, check_not_split(*a));
      TRY(writable, check_writable(*a));
    }
    if (below_.array().set_uuid != above_.array().set_uuid) {
      return refused("the overlay holds another array than its members");
    }
    if (above_.verdict == Verdict::impossible) {
      return refused("the array that the overlay holds cannot be assembled: " +
                     (above_.reasons.empty() ? std::string("nothing is known of it") : above_.reasons.front()));
    }
    if (above_.bitmap.trust == Trust::rejected || below_.bitmap.kind != above_.bitmap.kind) {
      return refused("the bitmap that the overlay holds cannot be used");
    }
    return Done{};
  }

  static std::optional<std::size_t> find(const Assembly& a, const std::string& identity) {
    for (std::size_t i = 0; i < a.members.size(); ++i) {
      if (a.members[i].candidate != nullptr && a.members[i].candidate->identity == identity) {
        return i;
      }
    }
    return std::nullopt;
  }

  static bool in_use(const Member& m) { return m.state == MemberState::in_sync || m.state == MemberState::recovering; }

  // Who is written, and who of them is in use already and so tells readers of a cut what is going on.
  void choose() {
    for (std::size_t base = 0; base < bases_.size(); ++base) {
      const auto above = find(above_, bases_[base]->identity);
      const auto below = find(below_, bases_[base]->identity);
      const bool kept = above && (in_use(above_.members[*above]) || above_.members[*above].state == MemberState::spare);
      if (!kept) {
        plan_.steps.push_back(bases_[base]->path +
                              " is not in use in the array as the overlay holds it: it is left "
                              "alone, and the others call it missing");
        continue;
      }
      written_.push_back({base, *above});
      if (below && in_use(below_.members[*below]) && in_use(above_.members[*above])) {
        marked_.push_back({base, *below});
        marked_below_.push_back(*below);
      }
    }
    for (const Member& m : below_.members) {
      if (m.state == MemberState::replacement) {
        departed_.push_back(m.description().dev_number);
      }
    }
  }

  struct Part {
    std::size_t base;
    std::size_t member;  // of below_ or above_
  };

  std::vector<std::uint32_t> slots_without(const Assembly& a, const std::vector<Part>& parts) const {
    std::vector<std::uint32_t> missing;
    for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
      if (std::ranges::none_of(
              parts, [&](const Part& p) { return in_use(a.members[p.member]) && a.members[p.member].slot == slot; })) {
        missing.push_back(slot);
      }
    }
    return missing;
  }

  void add(std::uint32_t stage, std::size_t base, std::uint64_t offset_bytes, std::vector<std::byte> bytes) {
    plan_.record.patches.push_back({stage, overlay_.member_of(base), offset_bytes, std::move(bytes)});
  }

  Status add_bitmap(const Assembly& a, const std::vector<Part>& parts,
                    const std::optional<std::vector<std::byte>>& bytes) {
    for (const Part& part : parts) {
      const MemberDescription& d = a.members[part.member].description();
      if (!bytes || !d.bitmap_offset_bytes || !in_use(a.members[part.member])) {
        continue;
      }
      if (bytes->size() > d.bitmap_room_bytes) {
        return refused(bases_[part.base]->path + ": the bitmap of " + std::to_string(bytes->size()) +
                       " bytes does not fit there");
      }
      add(stage_, part.base, *d.bitmap_offset_bytes, *bytes);
    }
    ++stage_;
    return Done{};
  }

  void add_superblocks(const Assembly& a, const std::vector<Part>& parts, const SuperblockChange& change) {
    for (const Part& part : parts) {
      const Member& m = a.members[part.member];
      const Metadata& superblock = *m.candidate->chosen()->metadata;
      SuperblockChange own = change;
      if (!m.description().recovery_is_all_ones()) {
        own.recovery = SuperblockChange::Recovery::keep;
      }
      add(stage_, part.base, superblock.offset_bytes(), superblock.changed(own)->encode());
    }
    ++stage_;
  }

  // Chunks of the sync range in which the overlay holds anything.
  template <typename Visit>
  void each_touched_chunk(Visit visit) const {
    const Sectors chunk = below_.bitmap.chunk();
    for (const Part& part : marked_) {
      const std::uint32_t member = overlay_.member_of(part.base);
      const MemberDescription& d = below_.members[part.member].description();
      for (const OverlayBlock& block : overlay_.blocks_of(member)) {
        each_run(block, overlay_.members()[member].size_bytes, [&](Extent run) {
          const Sectors first = Sectors::from_bytes(run.offset_bytes);
          const Sectors last = Sectors::from_bytes(run.offset_bytes + run.length_bytes - 1);
          if (last < d.data_offset) {
            return;
          }
          const std::uint64_t last_chunk = (last - d.data_offset) / chunk;
          for (std::uint64_t c = (std::max(first, d.data_offset) - d.data_offset) / chunk;
               c <= last_chunk && c < below_.bitmap.chunks(); ++c) {
            visit(c);
          }
        });
      }
    }
  }

  // A bitmap that is not believed says all is due as it is.
  std::optional<std::vector<std::byte>> marked_bitmap(std::uint64_t events) const {
    const BitmapView& view = below_.bitmap;
    if (view.trust != Trust::believed && view.trust != Trust::first_use) {
      return std::nullopt;
    }
    if (view.classic) {
      bitmap::Classic marked = *view.classic;
      each_touched_chunk([&](std::uint64_t chunk) { marked.set(chunk); });
      marked.set_events(events, marked.header().events_cleared);
      return marked.encode();
    }
    if (!view.lockless) {
      return std::nullopt;
    }
    bitmap::Lockless marked = *view.lockless;
    if (marked.first_use()) {
      // As the kernel would initialise it: Clean only where the array was created with assume-clean.
      const bool clean = (marked.header().state & bitmap::state_clean) != 0;
      marked.finish_first_use();
      for (std::uint64_t chunk = 0; chunk < marked.chunks(); ++chunk) {
        marked.set(chunk, clean ? ChunkState::clean : ChunkState::unwritten);
      }
    }
    each_touched_chunk([&](std::uint64_t chunk) { marked.set(chunk, ChunkState::need_sync); });
    marked.set_events(events);
    return marked.encode();
  }

  Status add_marks() {
    SuperblockChange dirty;
    dirty.utime_seconds = now_seconds_;
    dirty.resync_offset = Sectors();
    dirty.missing_slots = slots_without(below_, marked_);
    dirty.departed = departed_;
    // Dirty with that mark the kernel would refuse; as in sync the member is simply resynchronised with the others.
    dirty.recovery = SuperblockChange::Recovery::clear;
    // In two steps of one: a cut between two members' updates leaves them one event apart, which every reader accepts;
    // after both, who is not written is too far behind to be taken back.
    const int rounds = dirty.missing_slots.empty() && departed_.empty() ? 1 : 2;
    for (int round = 0; round < rounds; ++round) {
      dirty.events = ++events_;
      TRY(marked, add_bitmap(below_, marked_, marked_bitmap(events_)));
      add_superblocks(below_, marked_, dirty);
    }
    plan_.record.stages_before_data = stage_;
    plan_.steps.push_back("mark the array dirty" +
                          std::string(below_.bitmap.trust == Trust::absent ? "" : " and the chunks in the bitmap") +
                          ", events " + std::to_string(events_));
    if (rounds == 2) {
      plan_.steps.emplace_back(
          "mark slots missing whose members are not written, so that they are not taken back as they are");
    }
    return Done{};
  }

  // The overlay counted its own events: on the members they go on from the marks.
  std::optional<std::vector<std::byte>> final_bitmap(std::uint64_t events) const {
    const BitmapView& view = above_.bitmap;
    const auto renumbered = [&](std::uint64_t its_events) {
      return view.trust == Trust::stale ? std::min(its_events, events - 1) : events;
    };
    if (view.classic) {
      bitmap::Classic last = *view.classic;
      // A member that left within the overlay lacks what was committed of the time before: no bit speaks of that.
      const std::uint64_t cleared = last.header().events_cleared;
      const std::uint64_t below = below_.bitmap.classic ? below_.bitmap.classic->header().events.value() : 0;
      last.set_events(renumbered(last.header().events), cleared > below ? events : cleared);
      return last.encode();
    }
    if (view.lockless) {
      bitmap::Lockless last = *view.lockless;
      last.set_events(renumbered(last.header().events));
      return last.encode();
    }
    return std::nullopt;
  }

  Status add_finishes() {
    SuperblockChange last;
    last.events = events_ + 1;
    last.missing_slots = slots_without(above_, written_);
    last.departed = departed_;
    TRY(bitmap, add_bitmap(above_, written_, final_bitmap(*last.events)));
    add_superblocks(above_, written_, last);
    return Done{};
  }

  const OverlayFile& overlay_;
  std::span<const Candidate* const> bases_;
  const Assembly& below_;
  const Assembly& above_;
  std::uint64_t now_seconds_;
  std::vector<Part> written_;              // by above_
  std::vector<Part> marked_;               // by below_
  std::vector<std::size_t> marked_below_;  // their members
  std::vector<std::uint32_t> departed_;
  std::uint64_t events_ = 0;
  std::uint32_t stage_ = 0;
  OverlayCommitPlan plan_;
};

}  // namespace

Status each_data_extent(const OverlayFile& overlay, const OverlayCommitMember& member,
                        const std::function<Status(Extent)>& visit) {
  const std::uint32_t index = overlay.member_of(member.base);
  Extent pending;
  Status status = Done{};
  for (const OverlayBlock& block : overlay.blocks_of(index)) {
    each_run(block, overlay.members()[index].size_bytes, [&](Extent run) {
      each_outside(run, member.metadata, [&](Extent e) {
        if (pending.offset_bytes + pending.length_bytes == e.offset_bytes) {
          pending.length_bytes += e.length_bytes;
          return;
        }
        if (status && pending.length_bytes != 0) {
          status = visit(pending);
        }
        pending = e;
      });
    });
    if (!status) {
      return status;
    }
  }
  return pending.length_bytes == 0 ? Status(Done{}) : visit(pending);
}

std::uint64_t OverlayCommitPlan::data_bytes() const {
  std::uint64_t bytes = 0;
  for (const OverlayCommitMember& member : members) {
    bytes += member.data_bytes;
  }
  return bytes;
}

Result<OverlayCommitPlan> plan_overlay_commit(const OverlaidArray& array, std::uint64_t now_seconds) {
  return CommitPlanner(array, now_seconds).plan();
}

Result<OverlayCommitPlan> resume_overlay_commit(const OverlayFile& overlay) {
  OverlayCommitPlan plan;
  plan.resumed = true;
  plan.record = *overlay.commit();
  TRY(there, check_all_there(overlay, plan.record));
  plan.steps.emplace_back("go on with the commit that was begun");
  add_members(plan, overlay);
  say_order(plan);
  return plan;
}

}  // namespace mdtool
