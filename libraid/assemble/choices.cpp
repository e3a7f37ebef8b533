// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <limits>

#include "libraid/assemble/account_parts.h"
#include "libraid/assemble/lost_superblock.h"
#include "libraid/assemble/start_rules.h"

namespace mdtool {

namespace {

constexpr std::size_t most_groups_tried = 8;
constexpr std::size_t most_choices_of_a_kind = 4;

class Choices {
 public:
  Choices(const Assembly& a, const std::vector<ViewGroup>& groups, const Account& account,
          std::span<const Candidate> candidates)
      : a_(a), groups_(groups), account_(account), candidates_(candidates), members_(all_members(a)) {}

  std::vector<Choice> all() {
    if (a_.array().reshape) {
      finish_reshape();
    } else if (!account_.halves.empty()) {
      halves();
    } else {
      by_verdict();
    }
    std::stable_sort(choices_.begin(), choices_.end(), [](const Choice& x, const Choice& y) {
      constexpr std::uint64_t unknown = std::numeric_limits<std::uint64_t>::max();
      return x.stale_bytes.value_or(unknown) < y.stale_bytes.value_or(unknown);
    });
    return std::move(choices_);
  }

 private:
  using Stale = std::optional<std::uint64_t>;

  void add(std::string id, std::string what, std::string cost, std::string command, std::vector<std::size_t> members,
           Stale stale) {
    choices_.push_back(
        {std::move(id), std::move(what), std::move(cost), std::move(command), std::move(members), stale});
  }
  std::string arguments() const { return arguments_text(a_, members_); }

  std::vector<std::size_t> in_states(std::initializer_list<MemberState> states) const {
    std::vector<std::size_t> found;
    for (std::size_t i : members_) {
      if (std::find(states.begin(), states.end(), a_.members[i].state) != states.end()) {
        found.push_back(i);
      }
    }
    return found;
  }
  std::vector<std::size_t> taking_part() const {
    return in_states({MemberState::in_sync, MemberState::recovering, MemberState::replacement, MemberState::journal});
  }
  std::vector<std::uint32_t> slots_of(const std::vector<std::size_t>& members) const {
    std::vector<std::uint32_t> slots;
    for (std::size_t i : members) {
      if (const auto& slot = a_.members[i].description().slot; slot && *slot < a_.slots()) {
        slots.push_back(*slot);
      }
    }
    std::sort(slots.begin(), slots.end());
    slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
    return slots;
  }
  bool parity_level() const { return a_.array().level >= 4 && a_.array().level <= 6; }
  bool enough_in_sync() const { return enough_slots(a_, slots_of(in_states({MemberState::in_sync}))); }

  void finish_reshape() {
    add("finish-reshape", "let the kernel finish the reshape: it alone knows both geometries",
        "none, if all members that were there are there", "mdadm --assemble /dev/mdN" + arguments(), members_, 0);
  }

  void by_verdict() {
    switch (a_.verdict) {
      case Verdict::assembles:
        start();
        return;
      case Verdict::degraded:
        start_degraded();
        fill_again();
        in_place();
        return;
      case Verdict::needs_force:
        overridable();
        others_alone();
        in_place();
        force();
        return;
      case Verdict::impossible:
        others_alone();
        give_slots();
        in_place();
        find_members();
    }
  }

  void start() {
    if (!a_.clean && a_.array().level > 0) {
      resync();
    }
    add("start", "start it as it is: all members are there", "none", serving(), taking_part(), 0);
  }

  void resync() {
    const auto due = unsynchronised_bytes(a_);
    add("resync", "make parity and copies agree again where writes were in flight",
        (due ? size_text(*due) + " of the array are due; " : std::string("all of the array is due; ")) +
            "what was being written at the cut may be old or new, as after any power cut",
        parity_level() ? "mdtool resync" + arguments() : serving(), taking_part(), 0);
  }
  // After another command; what mdtool does not do for a level the kernel does at the start.
  std::string and_resync() const { return parity_level() ? " && mdtool resync" + arguments() : ""; }
  std::string and_recover() const { return parity_level() ? " && mdtool recover" + arguments() : ""; }

  void start_degraded() {
    const std::string missing = slots_text(slots_lacking());
    add("start-degraded", "start it without slot " + missing,
        lost_superblocks(candidates_, std::span(&a_, 1)).empty()
            ? "nothing is lost; until the slot is filled there is less redundancy, or none"
            : "with the first write a member that only lost its superblock gets old: look at it first",
        serving(), taking_part(), 0);
  }

  // mdtool writes to parity arrays without a log; for the others it takes the kernel.
  std::string serving() const {
    const MemberDescription& d = a_.array();
    const bool ours = (d.level == 4 || d.level == 5 || d.level == 6) && !d.has_journal && !d.ppl;
    return ours ? "mdtool assemble --read-write --at FILE" + arguments() : "mdadm --assemble /dev/mdN" + arguments();
  }

  std::vector<std::uint32_t> slots_lacking() const {
    std::vector<std::uint32_t> slots;
    for (std::uint32_t slot = 0; slot < a_.slots(); ++slot) {
      const Member* m = a_.in_slot(slot);
      if (m == nullptr || m->state != MemberState::in_sync) {
        slots.push_back(slot);
      }
    }
    return slots;
  }

  // What comes after a degraded start.
  void fill_again() {
    std::size_t shown = 0;
    for (const Departure& left : account_.departures) {
      if (!left.slot_taken && a_.members[left.member].state != MemberState::unusable &&
          ++shown <= most_choices_of_a_kind) {
        give_back(left);
      }
    }
    if (!in_states({MemberState::recovering}).empty()) {
      add("recover", "go on with the recovery that was begun",
          "nothing is lost; all that the member lacks is written to it",
          parity_level() ? "mdtool recover" + arguments() : serving(), members_, 0);
    } else if (!in_states({MemberState::spare}).empty()) {
      add("recover", "let the kernel rebuild slot " + slots_text(slots_lacking()) + " onto the spare",
          "nothing is lost; all of the spare is written", "mdadm --assemble --run /dev/mdN" + arguments(), members_, 0);
    } else if (shown == 0) {
      add("recover",
          "put in a new disk as a spare: the kernel rebuilds slot " + slots_text(slots_lacking()) +
              " onto it at the next start",
          "what is on the new disk is lost", "mdtool add" + arguments() + " DEV --target DEV", members_, 0);
    }
  }

  void give_back(const Departure& left) {
    const Member& m = a_.members[left.member];
    const std::string target = " --target " + quoted(m.candidate->path);
    if (m.description().metadata == "0.90") {
      add("recover", m.candidate->path + " comes back as a spare, and the kernel fills it at the next start",
          "the member's old content is lost", "mdtool re-add" + arguments() + target, members_, 0);
    } else if (left.source == Departure::Source::bitmap) {
      add("re-add",
          m.candidate->path + " comes back, and gets what it missed by the bitmap: if no other member held its slot " +
              "meanwhile, not even for the beginning of a rebuild",
          "nothing is lost then; at most " + size_text(left.stale_bytes) + " are copied",
          "mdtool re-add --force=slot-history" + arguments() + target + and_recover(), members_, 0);
    } else {
      add("recover", m.candidate->path + " comes back, and is filled as a whole",
          "the member's old content is lost, so wait until the array has proved good",
          "mdtool re-add --force=bitmap" + arguments() + target + and_recover(), members_, 0);
    }
  }

  // Arrays that have enough members, and something that md stumbles over.
  void overridable() {
    if (a_.array().has_journal && in_states({MemberState::journal}).empty()) {
      add("copy", "copy what is on the members, without the journal", "writes that were only in the journal are lost",
          "mdtool copy --force=ignore-journal --to FILE" + arguments(), taking_part(), std::nullopt);
    }
    const auto overwritten = [](const Finding& f) { return f.id == "bitmap-header-overwritten"; };
    if (a_.complete && std::any_of(a_.bitmap.findings.begin(), a_.bitmap.findings.end(), overwritten)) {
      add("repair-bitmap", "write the bitmap's header anew, and have what was ever written synchronised",
          "nothing is lost; the parity of those chunks is rebuilt", "mdtool bitmap repair" + arguments() + and_resync(),
          taking_part(), 0);
    }
    if (a_.bitmap.kernel_refuses()) {
      add("without-bitmap", "take the bitmap off, and have everything synchronised",
          "nothing is lost; all of the array is read and parity rebuilt",
          "mdtool set --update=no-bitmap" + arguments() + and_resync(), taking_part(), 0);
    }
    if (!enough_in_sync()) {
      return;
    }
    if (a_.complete && !a_.clean) {
      resync();
      return;
    }
    if (a_.lazy_slot) {
      add("lazy-recovery", "end the lazy recovery: right if no member was removed and added again before the cut",
          "none in that case; else the member keeps what it missed as if it were right",
          "mdtool resync --force=lazy-recovery" + arguments(), taking_part(), std::nullopt);
    }
    add("copy", "copy it as it is, without changing anything", "blocks in doubt are named in the report",
        "mdtool copy --to FILE" + arguments(), taking_part(), 0);
  }

  // mdadm --assemble --force: the last to leave first, those of equal events together.
  void force() {
    std::vector<std::size_t> taken;
    std::vector<std::size_t> part = in_states({MemberState::in_sync});
    std::uint64_t stale = 0;
    for (std::size_t i = 0; i < account_.departures.size();) {
      if (enough_slots(a_, slots_of(part))) {
        break;
      }
      const std::uint64_t behind = account_.departures[i].events_behind;
      for (; i < account_.departures.size() && account_.departures[i].events_behind == behind; ++i) {
        const Departure& left = account_.departures[i];
        if (a_.members[left.member].state != MemberState::unusable && !left.slot_taken) {
          taken.push_back(left.member);
          part.push_back(left.member);
          stale = std::max(stale, left.stale_bytes);
        }
      }
    }
    if (!enough_slots(a_, slots_of(part)) || (taken.empty() && (a_.complete || a_.clean || !parity_level()))) {
      return;
    }
    if (taken.empty()) {
      force_clean(part);
    } else {
      force_stale(taken, std::move(part), stale);
    }
  }

  void force_clean(const std::vector<std::size_t>& part) {
    const auto due = unsynchronised_bytes(a_);
    add("force", "call it clean and start it degraded",
        "in stripes that were being written at the cut, blocks of the missing member may come out wrong: " +
            (due ? "at most " + size_text(*due) + ", says the bitmap" : std::string("nothing says which")),
        "mdtool force" + arguments(), part, due.value_or(a_.array_bytes()));
  }

  void force_stale(const std::vector<std::size_t>& taken, std::vector<std::size_t> part, std::uint64_t stale) {
    std::string cost = stale == 0 ? "nothing was written since then but what was in flight"
                                  : "at most " + size_text(stale) + " of " + size_text(a_.array_bytes()) +
                                        " may be of two times (the write times of files there decide)";
    if (!a_.clean && parity_level()) {
      cost += "; it is dirty, too: stripes in flight may be wrong";
    }
    add("force", "take " + names_text(a_, taken) + " along although stale", std::move(cost),
        "mdtool force" + arguments() + arguments_text(a_, taken, "--target"), std::move(part), stale);
  }

  std::vector<const Candidate*> with_helpers(const std::vector<std::size_t>& members) const {
    std::vector<const Candidate*> named;
    for (std::size_t i : members_) {
      const bool helper = a_.members[i].description().role == Role::journal;
      if (helper || std::find(members.begin(), members.end(), i) != members.end()) {
        named.push_back(a_.members[i].candidate);
      }
    }
    return named;
  }

  // What the members that share a view make when the others are not named.
  void others_alone() {
    std::size_t tried = 0;
    for (const ViewGroup& group : groups_) {
      if (group.members.size() + 1 > members_.size() || ++tried > most_groups_tried) {
        continue;
      }
      const std::vector<const Candidate*> named = with_helpers(group.members);
      const Assembly alone = assemble_alone(named);
      if (alone.verdict > Verdict::degraded) {
        continue;
      }
      std::vector<std::size_t> left_out;
      std::set_difference(members_.begin(), members_.end(), group.members.begin(), group.members.end(),
                          std::back_inserter(left_out));
      add("leave-out",
          names_text(a_, group.members) + " agree with each other, and start without " + names_text(a_, left_out),
          "what only " + names_text(a_, left_out) + " got after event " + std::to_string(alone.array().events) +
              " is lost; that is little where it was cut off from the others",
          "mdtool assemble --read-write --at FILE" + arguments_text(a_, group.members), group.members, 0);
    }
  }

  void halves() {
    std::vector<Stale> written;
    for (const auto& half : account_.halves) {
      written.push_back(written.size() < most_groups_tried ? unsynchronised_bytes(assemble_alone(with_helpers(half)))
                                                           : std::nullopt);
    }
    for (std::size_t h = 0; h < account_.halves.size() && h < most_groups_tried; ++h) {
      take_half(h, written);
    }
  }

  std::uint64_t bounded_sum(std::uint64_t a, std::uint64_t b) const {
    const std::uint64_t whole = a_.array_bytes();
    return a >= whole || b > whole - a ? whole : a + b;
  }

  void take_half(std::size_t h, const std::vector<Stale>& written) {
    const std::vector<std::size_t>& half = account_.halves[h];
    Stale lost = 0;
    std::string cost;
    for (std::size_t other = 0; other < account_.halves.size(); ++other) {
      if (other == h) {
        continue;
      }
      lost = lost && written[other] ? Stale(bounded_sum(*lost, *written[other])) : std::nullopt;
      cost += (cost.empty() ? "what only " : " and ") + names_text(a_, account_.halves[other]);
    }
    cost += lost ? " wrote is lost: at most " + size_text(*lost) + ", say the bitmaps"
                 : " wrote is lost, and nothing says how much that is";
    add(h == 0 ? "force" : "force-other-half",
        "keep what " + names_text(a_, half) + (half.size() == 1 ? " holds" : " hold") +
            "; look first: mdtool copy --to FILE" + arguments_text(a_, half),
        std::move(cost), "mdtool force --force=split-brain" + arguments() + arguments_text(a_, half, "--target"), half,
        lost);
  }

  // All are spares: their numbers are what is left of their order, and mdadm numbers members as they were listed.
  void give_slots() {
    std::vector<std::size_t> spares = in_states({MemberState::spare});
    if (spares.size() != members_.size() || a_.slots() == 0) {
      return;
    }
    std::stable_sort(spares.begin(), spares.end(), [&](std::size_t x, std::size_t y) {
      return a_.members[x].description().dev_number < a_.members[y].description().dev_number;
    });
    spares.resize(std::min<std::size_t>(spares.size(), a_.slots()));
    std::vector<std::uint32_t> slots;
    std::string settings;
    for (std::size_t i : spares) {
      slots.push_back(static_cast<std::uint32_t>(slots.size()));
      settings += " --slot " + quoted(a_.members[i].candidate->path + "=" + std::to_string(slots.back()));
    }
    if (enough_slots(a_, slots)) {
      add("give-slots", "give the members their slots again, in the order of their numbers or in the one that you know",
          "in a wrong order the content is garbage: look at it first (the same with --dry-run --json > PLAN, then "
          "mdtool "
          "copy --with PLAN)",
          "mdtool set" + arguments() + settings, spares, std::nullopt);
    }
  }

  // Members without superblock that may belong here.
  void in_place() {
    const auto lost = lost_superblocks(candidates_, std::span(&a_, 1));
    for (std::size_t i = 0; i < lost.size() && i < most_choices_of_a_kind; ++i) {
      const std::string target = quoted(lost[i].candidate->path);
      add("add-in-place", "take " + lost[i].candidate->path + " as a member that lost its superblock",
          "none if it is: look at the content first (the same with --dry-run --json > PLAN, then mdtool copy --with "
          "PLAN)",
          "mdtool add" + arguments() + " " + target + " --target " + target + " --slot " +
              std::to_string(lost[i].slots.front()),
          members_, std::nullopt);
    }
  }

  void find_members() {
    add("find-members", "find what is missing or unusable: slot " + slots_text(slots_lacking()),
        "with what is here the array cannot be read", "", members_, std::nullopt);
  }

  const Assembly& a_;
  const std::vector<ViewGroup>& groups_;
  const Account& account_;
  std::span<const Candidate> candidates_;
  std::vector<std::size_t> members_;
  std::vector<Choice> choices_;
};

}  // namespace

std::vector<Choice> choices_of(const Assembly& array, const std::vector<ViewGroup>& groups, const Account& account,
                               std::span<const Candidate> candidates) {
  return Choices(array, groups, account, candidates).all();
}

}  // namespace mdtool
