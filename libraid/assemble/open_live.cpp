// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/open_live.h"

#include <algorithm>

#include "libraid/array/make_intent.h"
#include "libraid/array/write_intent.h"
#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

// The unit in which a resync is announced where no bitmap gives one.
constexpr Sectors unit_without_bitmap(2048);

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

bool is_spare(const Member& m) {
  return m.state == MemberState::spare && m.candidate->chosen()->description.role == Role::spare;
}

Status check_bitmap(const Assembly& a) {
  if (a.bitmap.trust != Trust::rejected && !a.bitmap.kernel_refuses()) {
    return Done{};
  }
  std::string text = "the kernel would not start the array with this bitmap, and what it says is not believed";
  for (const std::string& cure : a.bitmap.cures) {
    text += "; " + cure;
  }
  return refused(std::move(text));
}

Status check_redundancy(const Assembly& a, const Layout& layout, const Forces& forces) {
  const std::uint32_t in_sync = whole(a, forces) ? a.slots() : a.in_sync_count();
  if (in_sync < layout.data_disks()) {
    return refused("too few members: " + std::to_string(in_sync) + " in sync, " + std::to_string(layout.data_disks()) +
                   " are needed; name the others too, or see mdtool examine for why they were left out");
  }
  // RAID-4 without its parity is the one dirty and degraded array that the kernel starts.
  return a.verdict == Verdict::degraded ? Status(Done{}) : check_not_dirty_degraded(a, forces);
}

SuperblockChange::Recovery recovery_of(const Member& m, bool taken_as_lazy) {
  return taken_as_lazy || m.description().recovery_is_all_ones() ? SuperblockChange::Recovery::clear
                                                                 : SuperblockChange::Recovery::keep;
}

std::size_t bitmap_bytes(const BitmapView& view) {
  return view.classic ? view.classic->encode().size() : view.lockless ? view.lockless->encode().size() : 0;
}

class Planner {
 public:
  Planner(const Assembly& a, LivePlan& plan) : a_(a), plan_(plan) {}

  Status plan() {
    std::vector<std::size_t> written;
    for (LiveMember& m : plan_.members) {
      TRY(done, extents(m));
      if (m.slot) {
        written.push_back(m.member);
      }
    }
    TRY(events, highest_events(a_, written));
    plan_.events = events;
    left_behind();
    say();
    return Done{};
  }

 private:
  Status extents(LiveMember& planned) const {
    const Member& m = a_.members[planned.member];
    const MemberDescription& d = m.description();
    const Metadata& superblock = *m.candidate->chosen()->metadata;
    planned.extents.push_back({superblock.offset_bytes(), superblock.encode().size(), "superblock"});
    if (!planned.slot) {
      return Done{};
    }
    if (const std::size_t length = bitmap_bytes(a_.bitmap); length != 0 && d.bitmap_offset_bytes) {
      if (length > d.bitmap_room_bytes) {
        return refused(m.candidate->path + ": the bitmap of " + std::to_string(length) + " bytes does not fit there");
      }
      planned.extents.push_back({*d.bitmap_offset_bytes, length, "bitmap"});
    }
    const Geometry& g = plan_.layout.geometry();
    planned.extents.push_back({d.data_offset.bytes(), (g.chunk * plan_.layout.stripes()).bytes(), "data"});
    return Done{};
  }

  void left_behind() {
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      if (a_.in_slot(slot) == nullptr) {
        plan_.left.missing_slots.push_back(slot);
      }
    }
    for (const Member& m : a_.members) {
      if (m.state == MemberState::replacement) {
        plan_.left.departed.push_back(m.description().dev_number);
      }
    }
  }

  void say() {
    std::vector<std::string>& steps = plan_.steps;
    steps.emplace_back(
        "serve the array for reading and writing; what is written to it cannot be undone (--overlay keeps the members "
        "as they are)");
    if (plan_.left.any()) {
      steps.emplace_back(
          "with the first write, raise the events by 2 and mark missing slots missing, so that no member that is not "
          "written is taken back" +
          std::string(plan_.left.departed.empty() ? "" : "; a replacement under way is given up and starts anew"));
    }
    const WriteIntent intent =
        WriteIntent::for_resync(a_.bitmap, plan_.layout.geometry().component_size, unit_without_bitmap, a_.clean);
    if (!a_.clean && whole(a_, plan_.forces)) {
      steps.emplace_back("synchronise parity meanwhile, in " + std::to_string(intent.due().size()) +
                         " chunks that are due");
    }
    if (bitmap_bytes(a_.bitmap) != 0) {
      steps.emplace_back(std::string("keep the ") + (a_.bitmap.classic ? "classic" : "lockless") + " bitmap " +
                         (plan_.bitmap_file ? "in its file" : "on the members"));
    }
    steps.emplace_back("mark the array active when it is written, and clean when it is idle and at the end");
  }

  const Assembly& a_;
  LivePlan& plan_;
};

class Opener {
 public:
  Opener(const Assembly& a, const LivePlan& plan, const LiveDevices& devices) : a_(a), plan_(plan), devices_(devices) {}

  // The members that were opened for writing are those that were judged, byte for byte.
  Status check_identity() const {
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const LiveDevice& d = devices_.members[i];
      const std::vector<std::byte> planned = found(i).metadata->encode();
      TRY(now, read_bytes(*d.past_cache, found(i).metadata->offset_bytes(), planned.size()).in(d.path));
      if (now != planned) {
        return refused(d.path + ": the superblock has changed since it was examined; nothing was written");
      }
    }
    return Done{};
  }

  Result<std::unique_ptr<LiveMembers>> members() const {
    std::vector<SlotMember> members(a_.slots());
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      if (!plan_.members[i].slot) {
        continue;
      }
      const std::uint32_t slot = *plan_.members[i].slot;
      const Member& m = member(i);
      TRY(bad, bad_ranges(m, a_.bitmap));
      const bool partial = m.state == MemberState::recovering && !taken_as_lazy(a_, plan_.forces, slot);
      members[slot] = {devices_.members[i].device, devices_.members[i].path, m.description().data_offset,
                       partial ? m.description().recovery_offset : Sectors::max(), std::move(bad)};
    }
    return std::make_unique<LiveMembers>(std::move(members), plan_.layout.parity_disks());
  }

  IntentStart intent_start(const LiveMembers& members) const {
    const Geometry& g = plan_.layout.geometry();
    const Sectors resync_offset = a_.array().clean() ? Sectors() : a_.array().resync_offset;
    IntentStart start{g.chunk * plan_.layout.stripes(), g.chunk,
                      a_.clean || keeps_no_parity() ? Sectors::max() : resync_offset, !members.complete()};
    start.logical_block_bytes = std::max(start.logical_block_bytes, a_.array().logical_block_size);
    return start;
  }

  BitmapCopies bitmap(LiveMembers& members) const {
    std::vector<BitmapTarget> targets;
    if (plan_.bitmap_file) {
      targets.push_back({std::nullopt, devices_.bitmap_file, 0});
      return {members, std::move(targets)};
    }
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const auto& offset = member(i).description().bitmap_offset_bytes;
      if (plan_.members[i].slot && offset) {
        targets.push_back({plan_.members[i].slot, devices_.members[i].device, *offset});
      }
    }
    return {members, std::move(targets)};
  }

  std::unique_ptr<LiveSuperblocks> superblocks(LiveMembers& members) const {
    std::vector<SuperblockPlace> places;
    for (std::size_t i = 0; i < plan_.members.size(); ++i) {
      const std::optional<std::uint32_t> slot = plan_.members[i].slot;
      places.push_back({slot, devices_.members[i].device, found(i).metadata->changed({}),
                        recovery_of(member(i), slot && taken_as_lazy(a_, plan_.forces, *slot))});
    }
    return std::make_unique<LiveSuperblocks>(members, std::move(places), plan_.events, plan_.left,
                                             devices_.now_seconds);
  }

 private:
  const Member& member(std::size_t i) const { return a_.members[plan_.members[i].member]; }
  const FoundSuperblock& found(std::size_t i) const { return *member(i).candidate->chosen(); }

  // RAID-4 and its like without their parity: nothing can be out of step, and no resync would ever end the array's
  // being dirty.
  bool keeps_no_parity() const {
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      if (plan_.layout.parity_disks() == 1 && plan_.layout.only_parity(slot) && a_.in_slot(slot) == nullptr) {
        return true;
      }
    }
    return false;
  }

  const Assembly& a_;
  const LivePlan& plan_;
  const LiveDevices& devices_;
};

}  // namespace

std::vector<LiveMember> live_members_of(const Assembly& a) {
  std::vector<LiveMember> members;
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    const Member& m = a.members[i];
    if (m.candidate == nullptr) {
      continue;
    }
    if (i < a.slots()) {
      members.push_back({i, static_cast<std::uint32_t>(i), {}});
    } else if (is_spare(m)) {
      members.push_back({i, std::nullopt, {}});
    }
  }
  return members;
}

Status use_bitmap_file(Assembly& a, const std::string& path, const Source& file) {
  if (a.bitmap.trust != Trust::absent || a.array().bitmap_offset_bytes) {
    return refused(path + ": the array has a bitmap on its members; a file is not used beside it");
  }
  if (a.array().has_journal || a.array().ppl) {
    return refused(path + ": an array with a log has no bitmap");
  }
  a.bitmap = view_bitmap({{a.freshest, path, &file, 0, file.size_bytes()}}, a.bitmap.expected, bitmap::Kind::none);
  if (a.bitmap.kind == bitmap::Kind::lockless) {
    return refused(path + ": a lockless bitmap; the kernel keeps only the classic one in a file");
  }
  return Done{};
}

Result<LivePlan> plan_live(const Assembly& a, const Forces& forces) {
  TRY(layout, workable_layout(a));
  TRY(logs, check_no_logs(a));
  TRY(split, check_not_split(a));
  TRY(writable, check_writable(a));
  TRY(believed, check_bitmap(a));
  TRY(redundant, check_redundancy(a, layout, forces));
  LivePlan plan{layout, forces, live_members_of(a), {}, {}, 0, {}};
  if (a.bitmap.trust != Trust::absent && !a.array().bitmap_offset_bytes) {
    plan.bitmap_file = {{0, bitmap_bytes(a.bitmap), "bitmap"}};
  }
  TRY(planned, Planner(a, plan).plan());
  return plan;
}

Result<LiveParts> live_parts(const Assembly& a, const LivePlan& plan, const LiveDevices& devices) {
  const Opener opener(a, plan, devices);
  TRY(same, opener.check_identity());
  TRY(members, opener.members());
  auto superblocks = opener.superblocks(*members);
  TRY(intent, make_intent(a.bitmap, opener.intent_start(*members), opener.bitmap(*members)));
  LiveParts parts;
  parts.members = std::move(members);
  parts.intent = std::move(intent);
  parts.superblocks = std::move(superblocks);
  parts.now = devices.ticks;
  parts.clean = a.clean;
  return parts;
}

Result<std::unique_ptr<LiveArray>> open_live(const Assembly& a, const LivePlan& plan, const LiveDevices& devices,
                                             const parity::Kernels& kernels) {
  TRY(parts, live_parts(a, plan, devices));
  return std::make_unique<LiveArray>(plan.layout, std::move(parts), kernels);
}

}  // namespace mdtool
