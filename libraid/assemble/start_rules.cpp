// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/start_rules.h"

#include <algorithm>

#include "libraid/geometry/layout.h"

namespace mdtool {

namespace {

constexpr std::int32_t level_linear = -1;

std::uint64_t striped_array_bytes(const Assembly& a) {
  const Sectors chunk = a.array().chunk;
  std::uint64_t total = 0;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    const Member* m = a.in_slot(slot);
    if (m == nullptr) {
      return 0;
    }
    // linear rounds only where a rounding is given.
    const Sectors length = m->description().data_size;
    total += (chunk.is_zero() ? length : chunk * (length / chunk)).bytes();
  }
  return total;
}

std::uint64_t raid10_array_bytes(const MemberDescription& d) {
  const std::uint64_t near = d.layout & 0xff;
  const std::uint64_t far = (d.layout >> 8) & 0xff;
  if (near == 0 || far == 0 || d.chunk.is_zero() || d.raid_disks == 0 ||
      d.size / d.chunk > (std::uint64_t{1} << 62) / d.raid_disks / d.chunk.bytes()) {
    return 0;
  }
  return (d.chunk * ((d.size / d.chunk / far) * d.raid_disks / near)).bytes();
}

// enough() in drivers/md/raid10.c: the copies of a block are in `copies` slots in a row.
bool every_block_has_a_copy(const Assembly& a, const std::vector<std::uint32_t>& held, std::uint32_t near,
                            std::uint32_t copies) {
  std::uint32_t first = 0;
  do {
    bool alive = false;
    for (std::uint32_t i = 0; i < copies && !alive; ++i) {
      alive = std::binary_search(held.begin(), held.end(), (first + i) % a.slots());
    }
    if (!alive) {
      return false;
    }
    first = (first + near) % a.slots();
  } while (first != 0);
  return true;
}

class StartRules {
 public:
  explicit StartRules(Assembly& a) : a_(a), d_(a.array()) {}

  void judge() {
    a_.verdict = by_members();
    if (!a_.clean && d_.level > 0) {
      say(never_started() ? "not synchronised yet: nobody has started it since it was created"
          : d_.resync_offset.is_zero() || d_.resync_offset.is_max()
              ? "dirty: writes may have been in flight, a resync is due"
              : "a resync has reached member sector " + std::to_string(d_.resync_offset.count()));
    }
    reshape();
    bitmap();
    journal();
    recovering();
  }

 private:
  // mdadm creates arrays with 0 events, mdtool and 0.90 with 1; a start alone makes it more.
  bool never_started() const { return d_.events <= 1 && d_.resync_offset.is_zero(); }

  void say(std::string text) { a_.reasons.push_back(std::move(text)); }
  void at_least(Verdict v) { a_.verdict = std::max(a_.verdict, v); }

  std::uint32_t count(MemberState state) const {
    return static_cast<std::uint32_t>(std::count_if(a_.members.begin(), a_.members.end(), [&](const Member& m) {
      return m.candidate != nullptr && m.state == state;
    }));
  }

  Verdict by_members() {
    if (a_.slots() == 0 || a_.members[a_.freshest].state == MemberState::unusable) {
      say(a_.slots() == 0 ? "the superblocks give no possible number of slots"
                          : "no member has a superblock that the kernel would accept");
      return Verdict::impossible;
    }
    switch (d_.level) {
      case level_linear:
      case 0:
        return striped();
      case 1:
        return redundant(1);
      case 4:
      case 5:
        return parity(a_.slots() - 1);
      case 6:
        return parity(a_.slots() >= 2 ? a_.slots() - 2 : 0);
      case 10:
        return raid10();
      default:
        say("level " + std::to_string(d_.level) + " is not known");
        return Verdict::impossible;
    }
  }

  Verdict striped() {
    if (a_.in_sync_count() == a_.slots()) {
      return Verdict::assembles;
    }
    name_missing();
    say("this level has no redundancy: every member is needed");
    return could_be_forced(a_.slots()) ? Verdict::needs_force : Verdict::impossible;
  }

  std::vector<std::uint32_t> slots_held_by(std::initializer_list<MemberState> states) const {
    std::vector<std::uint32_t> slots;
    for (const Member& m : a_.members) {
      if (m.candidate != nullptr && m.slot && *m.slot < a_.slots() &&
          std::find(states.begin(), states.end(), m.state) != states.end()) {
        slots.push_back(*m.slot);
      }
    }
    std::sort(slots.begin(), slots.end());
    slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
    return slots;
  }

  // Stale members, and those that the freshest superblock calls failed although they are but one event behind: mdadm
  // --assemble --force clears that mark.
  std::vector<std::uint32_t> slots_with_force() const {
    std::vector<std::uint32_t> slots = slots_held_by({MemberState::in_sync, MemberState::stale});
    for (const Member& m : a_.members) {
      const bool demoted = m.candidate != nullptr && !m.reason.empty() && m.description().in_sync() &&
                           (m.state == MemberState::faulty || m.state == MemberState::spare);
      if (demoted && *m.description().slot < a_.slots()) {
        slots.push_back(*m.description().slot);
      }
    }
    std::sort(slots.begin(), slots.end());
    slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
    return slots;
  }

  // Stale members could be taken along by force.
  bool could_be_forced(std::uint32_t needed) {
    if (slots_with_force().size() < needed) {
      return false;
    }
    say_what_force_does();
    return true;
  }

  void say_what_force_does() {
    say("with --force mdadm would take stale members along: what was written since they left is lost on them");
  }

  void name_missing() {
    std::string slots;
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      const Member* m = a_.in_slot(slot);
      if (m == nullptr || m->state != MemberState::in_sync) {
        slots += (slots.empty() ? "" : ", ") + std::to_string(slot) + (m == nullptr ? "" : " (recovering)");
      }
    }
    say("without an in-sync member: slot " + slots);
  }

  // The freshest superblock counts on a member that is not here: mdadm asks for --run.
  bool newly_degraded() const {
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      const bool expected = std::find(d_.dev_roles.begin(), d_.dev_roles.end(), slot) != d_.dev_roles.end();
      if (expected && a_.in_slot(slot) == nullptr) {
        return true;
      }
    }
    return false;
  }

  Verdict degraded() {
    if (newly_degraded()) {
      say("fewer members than at the last start: mdadm --assemble wants --run");
    }
    return Verdict::degraded;
  }

  Verdict redundant(std::uint32_t needed) {
    if (a_.in_sync_count() == a_.slots()) {
      return Verdict::assembles;
    }
    name_missing();
    if (a_.in_sync_count() >= needed) {
      return degraded();
    }
    say(std::to_string(a_.in_sync_count()) + " of at least " + std::to_string(needed) + " members that are needed");
    return could_be_forced(needed) ? Verdict::needs_force : Verdict::impossible;
  }

  Verdict raid10() {
    const std::uint32_t near = d_.layout & 0xff;
    const std::uint32_t copies = near * ((d_.layout >> 8) & 0xff);
    if (copies == 0 || copies > a_.slots()) {
      say("layout " + std::to_string(d_.layout) + " is not possible");
      return Verdict::impossible;
    }
    if (a_.in_sync_count() == a_.slots()) {
      return Verdict::assembles;
    }
    name_missing();
    if (enough_slots(a_, slots_held_by({MemberState::in_sync}))) {
      return degraded();
    }
    say("every copy of some blocks is gone");
    if (!enough_slots(a_, slots_with_force())) {
      return Verdict::impossible;
    }
    say_what_force_does();
    return Verdict::needs_force;
  }

  bool partial_parity_log() const { return d_.ppl.has_value(); }

  Verdict parity(std::uint32_t needed) {
    auto layout = layout_of_level();
    if (!layout) {
      say(layout.error().text);
      return Verdict::impossible;
    }
    const Verdict members = redundant(needed);
    if (a_.clean || members > Verdict::degraded || partial_parity_log()) {
      return members;
    }
    return members == Verdict::assembles ? lazy_recovery_and_dirty() : dirty_and_degraded();
  }

  // Feature RECOVERY_OFFSET counts as degraded when the kernel judges "dirty degraded", whatever the offset.
  Verdict lazy_recovery_and_dirty() {
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      if (a_.in_slot(slot)->description().recovery) {
        say("the kernel and mdadm refuse this array as dirty and degraded, because slot " + std::to_string(slot) +
            " carries the mark of a lazy recovery, although no member is bad: mdtool resync clears it, without force");
        return Verdict::needs_force;
      }
    }
    return Verdict::assembles;
  }

  Verdict dirty_and_degraded() {
    // The one excuse that kernel and mdadm share: RAID-4's parity disk, present and being rebuilt.
    const Member* last = a_.in_slot(a_.slots() - 1);
    if (d_.level == 4 && a_.in_sync_count() == a_.slots() - 1 && last != nullptr &&
        last->state == MemberState::recovering) {
      return Verdict::degraded;
    }
    if (a_.lazy_slot) {
      say("slot " + std::to_string(*a_.lazy_slot) +
          " carries the mark of a recovery by bitmap; if no member was removed and added again just before the cut, it "
          "was "
          "the kernel building lazy parity: mdtool resync --force=lazy-recovery; if one was, let the kernel recover "
          "it: "
          "mdadm --assemble --force");
    }
    say("dirty and degraded: where writes were in flight, what is reconstructed may be wrong; mdadm wants --force");
    return Verdict::needs_force;
  }

  Result<Layout> layout_of_level() const { return Layout::of({d_.level, d_.layout, d_.raid_disks, d_.chunk, d_.size}); }

  void reshape() {
    if (d_.reshape) {
      say("a reshape is under way, at array sector " + std::to_string(d_.reshape->position.count()) +
          ": mdtool neither reads nor writes it with one geometry; let the kernel finish it");
    }
  }

  void bitmap() {
    if (a_.bitmap.kernel_refuses()) {
      at_least(Verdict::needs_force);
      say("the kernel would not start the array with this bitmap");
      for (const std::string& cure : a_.bitmap.cures) {
        say(cure);
      }
    } else if (a_.bitmap.trust == Trust::rejected) {
      say("the bitmap cannot be used: everything counts as dirty");
    } else if (a_.bitmap.trust == Trust::stale) {
      say("the bitmap missed updates: everything counts as dirty");
    }
  }

  void journal() {
    if (d_.has_journal && count(MemberState::journal) == 0) {
      at_least(Verdict::needs_force);
      say("the journal device is missing or stale: writes that were only there are lost; mdadm wants --force and "
          "starts it "
          "read-only");
    } else if (d_.has_journal) {
      say("a journal belongs to this array: the kernel replays it at every start");
    }
  }

  void recovering() {
    for (const Member& m : a_.members) {
      if (m.state == MemberState::recovering) {
        say("slot " + std::to_string(*m.slot) + " is being rebuilt, up to member sector " +
            std::to_string(m.description().recovery_offset.count()));
      }
    }
  }

  Assembly& a_;
  const MemberDescription& d_;
};

}  // namespace

bool enough_slots(const Assembly& a, const std::vector<std::uint32_t>& held) {
  const MemberDescription& d = a.array();
  const std::uint32_t near = d.layout & 0xff;
  const std::uint32_t copies = near * ((d.layout >> 8) & 0xff);
  switch (d.level) {
    case level_linear:
    case 0:
      return a.slots() > 0 && held.size() >= a.slots();
    case 1:
      return !held.empty();
    case 4:
    case 5:
      return !held.empty() && held.size() + 1 >= a.slots();
    case 6:
      return !held.empty() && held.size() + 2 >= a.slots();
    case 10:
      return copies != 0 && copies <= a.slots() && every_block_has_a_copy(a, held, near, copies);
    default:
      return false;
  }
}

std::uint64_t Assembly::array_bytes() const {
  const MemberDescription& d = array();
  switch (d.level) {
    case level_linear:
    case 0:
      return striped_array_bytes(*this);
    case 1:
      return d.size.count() > Sectors::max().count() / Sectors::bytes_each ? 0 : d.size.bytes();
    case 10:
      return raid10_array_bytes(d);
    default: {
      // While a reshape goes on both geometries have to hold the array.
      const std::int64_t before = static_cast<std::int64_t>(d.raid_disks) - (d.reshape ? d.reshape->delta_disks : 0);
      const auto slots = static_cast<std::uint32_t>(std::clamp<std::int64_t>(before, 0, d.raid_disks));
      auto layout = Layout::of({d.level, d.layout, slots, d.chunk, d.size});
      return layout ? layout->array_size().bytes() : 0;
    }
  }
}

void judge_start(Assembly& a) {
  StartRules(a).judge();
}

}  // namespace mdtool
