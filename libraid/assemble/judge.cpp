// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <map>

#include "libraid/assemble/assembly.h"
#include "libraid/assemble/start_rules.h"
#include "libraid/geometry/layout.h"

namespace mdtool {

namespace {

constexpr std::uint32_t most_slots = 1920;  // MD_SB_DISKS of 1.x: what 4096 bytes of superblock can name

bool usable(const Candidate& c) {
  return worst_effect(c.chosen()->findings) < Effect::refuses_member &&
         c.chosen()->description.raid_disks <= most_slots;
}

// How well a member can speak for the array: in sync before recovering before anything else, usable before not.
int rank(const Candidate& c) {
  const MemberDescription& d = c.chosen()->description;
  if (!usable(c)) {
    return 0;
  }
  if (d.in_sync()) {
    return 3;
  }
  return d.role == Role::active ? 2 : 1;
}

bool fresher(const Candidate* a, const Candidate* b) {
  const MemberDescription& da = a->chosen()->description;
  const MemberDescription& db = b->chosen()->description;
  return std::tuple(rank(*a), da.events) > std::tuple(rank(*b), db.events);
}

// What two superblocks of one array must agree on (kernel: level, layout, chunk; mdadm: the rest too).
std::string disagreement(const MemberDescription& d, const MemberDescription& fresh) {
  if (d.level != fresh.level) {
    return "level " + std::to_string(d.level) + " where the freshest member says " + std::to_string(fresh.level);
  }
  if (d.layout != fresh.layout) {
    return "layout " + std::to_string(d.layout) + " where the freshest member says " + std::to_string(fresh.layout);
  }
  if (d.chunk != fresh.chunk) {
    return "chunk of " + std::to_string(d.chunk.count()) + " sectors where the freshest member says " +
           std::to_string(fresh.chunk.count());
  }
  if (d.reshape || fresh.reshape) {
    return "";
  }
  if (d.raid_disks != fresh.raid_disks) {
    return std::to_string(d.raid_disks) + " slots where the freshest member says " + std::to_string(fresh.raid_disks);
  }
  if (d.size != fresh.size) {
    return "size of " + std::to_string(d.size.count()) + " sectors where the freshest member says " +
           std::to_string(fresh.size.count());
  }
  if (d.ctime_seconds != fresh.ctime_seconds) {
    return "a creation time that differs from the freshest member's";
  }
  return "";
}

std::uint16_t role_seen_by(const MemberDescription& viewer, std::uint32_t dev_number) {
  return dev_number < viewer.dev_roles.size() ? viewer.dev_roles[dev_number] : role_spare;
}

std::string events_text(const MemberDescription& d, const MemberDescription& fresh) {
  return "events " + std::to_string(d.events) + ", the array's are " + std::to_string(fresh.events);
}

void judge_active(Member& m, const MemberDescription& d, const MemberDescription& fresh) {
  const bool one_behind = d.events != fresh.events && d.events + 1 == fresh.events;
  const bool one_ahead = d.events == fresh.events + 1;
  m.slot = d.slot;
  if (d.events != fresh.events && !one_behind && !one_ahead) {
    m.state = MemberState::stale;
    m.reason = events_text(d, fresh);
    return;
  }
  const std::uint16_t seen = role_seen_by(fresh, d.dev_number);
  if (one_behind && seen >= role_max_regular) {
    m.slot.reset();
    m.role = seen == role_faulty ? Role::faulty : Role::spare;
    m.state = seen == role_faulty ? MemberState::faulty : MemberState::spare;
    m.reason = "one event behind, and the freshest member calls it " + std::string(role_name(m.role));
    return;
  }
  if (one_behind) {
    m.slot = seen;
  }
  // mdadm drops a member in whose view the freshest one has failed.
  const std::uint16_t fresh_seen = role_seen_by(d, fresh.dev_number);
  if (fresh.slot && fresh_seen >= role_max_regular) {
    m.state = MemberState::stale;
    m.reason = "in its view the freshest member (slot " + std::to_string(*fresh.slot) + ") has failed or left";
    return;
  }
  if (seen >= role_max_regular && !one_behind) {
    m.reason = std::string("the freshest member calls it ") + (seen == role_faulty ? "faulty" : "a spare or removed");
  }
  if (d.replacement) {
    m.state = MemberState::replacement;
  } else {
    m.state = d.in_sync() ? MemberState::in_sync : MemberState::recovering;
  }
}

Member judge_member(const Candidate& c, const MemberDescription& fresh) {
  const MemberDescription& d = c.chosen()->description;
  Member m;
  m.candidate = &c;
  m.role = d.role;
  if (!usable(c)) {
    m.slot = d.slot;
    m.state = MemberState::unusable;
    m.reason = "the kernel would not accept this superblock";
    return m;
  }
  if (std::string text = disagreement(d, fresh); !text.empty()) {
    m.slot = d.slot;
    m.state = MemberState::unusable;
    m.reason = text;
    return m;
  }
  switch (d.role) {
    case Role::active:
      judge_active(m, d, fresh);
      break;
    case Role::spare:
      m.state = MemberState::spare;
      break;
    case Role::faulty:
      m.state = MemberState::faulty;
      break;
    case Role::journal:
      m.state = d.events + 1 >= fresh.events ? MemberState::journal : MemberState::stale;
      m.reason = m.state == MemberState::stale ? events_text(d, fresh) : "";
      break;
  }
  return m;
}

bool fills_slot(const Member& m) {
  return m.slot && (m.state == MemberState::in_sync || m.state == MemberState::recovering);
}

// In sync before recovering, then the higher event count.
bool better(const Member& a, const Member& b) {
  const bool a_in_sync = a.state == MemberState::in_sync;
  const bool b_in_sync = b.state == MemberState::in_sync;
  return std::tuple(a_in_sync, a.description().events) > std::tuple(b_in_sync, b.description().events);
}

void claim_slot(Assembly& a, std::map<std::uint32_t, Member>& slots, Member m, std::vector<Member>& others) {
  auto [place, fresh] = slots.try_emplace(*m.slot, m);
  if (fresh) {
    return;
  }
  Member& holder = place->second;
  const bool tie = !better(holder, m) && !better(m, holder);
  if (better(m, holder)) {
    std::swap(holder, m);
  }
  m.state = MemberState::unusable;
  m.reason = "slot " + std::to_string(*m.slot) + " is held by " + holder.candidate->path;
  if (tie) {
    const bool clone = m.description().device_uuid == holder.description().device_uuid && m.description().device_uuid;
    a.findings.push_back({Severity::problem, clone ? "member-cloned" : "slot-claimed-twice", "",
                          holder.candidate->path + " and " + m.candidate->path + " both claim slot " +
                              std::to_string(*m.slot) + " with " + std::to_string(m.description().events) + " events" +
                              (clone ? " and the same device UUID: one is a copy of the other" : "") +
                              "; name only the right one of them",
                          Effect::stops_writing});
  }
  others.push_back(std::move(m));
}

void place_members(Assembly& a, std::span<const Candidate* const> candidates, const Candidate& freshest) {
  const MemberDescription& fresh = freshest.chosen()->description;
  std::map<std::uint32_t, Member> slots;
  std::vector<Member> others;
  for (const Candidate* c : candidates) {
    Member m = judge_member(*c, fresh);
    if (fills_slot(m)) {
      claim_slot(a, slots, std::move(m), others);
    } else {
      others.push_back(std::move(m));
    }
  }
  const std::int64_t delta = fresh.reshape ? fresh.reshape->delta_disks : 0;
  const auto before = static_cast<std::int64_t>(fresh.raid_disks) - delta;
  const std::int64_t claimed = std::max<std::int64_t>(fresh.raid_disks, before);
  const std::int64_t count = claimed > most_slots ? 0 : std::max<std::int64_t>(claimed, 0);
  a.slot_count = static_cast<std::uint32_t>(count);
  for (std::uint32_t slot = 0; slot < a.slot_count; ++slot) {
    auto found = slots.find(slot);
    if (found != slots.end()) {
      a.members.push_back(std::move(found->second));
      slots.erase(found);
    } else {
      Member empty;
      empty.slot = slot;
      a.members.push_back(empty);
    }
  }
  for (auto& [slot, m] : slots) {
    m.state = MemberState::spare;
    m.reason = "slot " + std::to_string(slot) + " does not exist in this array";
    others.push_back(std::move(m));
  }
  std::stable_sort(others.begin(), others.end(), [](const Member& x, const Member& y) { return x.slot < y.slot; });
  a.members.insert(a.members.end(), others.begin(), others.end());
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    if (a.members[i].candidate == &freshest) {
      a.freshest = i;
    }
  }
}

// Mixed marks at the highest event count (a cut between two members' updates, or after mdadm --force): dirty wins.
bool judge_clean(const Assembly& a) {
  for (const Member& m : a.members) {
    if (m.candidate != nullptr && fills_slot(m) && m.description().events == a.array().events &&
        !m.description().clean()) {
      return false;
    }
  }
  return a.array().clean();
}

void member_findings(Assembly& a) {
  for (const Member& m : a.members) {
    if (m.candidate != nullptr && !m.reason.empty()) {
      a.findings.push_back({m.state == MemberState::unusable ? Severity::problem : Severity::warning,
                            m.state == MemberState::in_sync ? "role-contradiction" : "member-left-out", "",
                            m.candidate->path + ": " + m.reason, Effect::none});
    }
    if (m.candidate != nullptr && m.state == MemberState::in_sync && m.description().recovery_is_all_ones()) {
      a.findings.push_back(
          {a.clean ? Severity::note : Severity::warning, "lazy-recovery-cut", "recovery_offset",
           m.candidate->path + ": marked as recovering with nothing left to recover (a lockless lazy recovery that was "
                               "cut off); it counts as in sync, and mdtool resync clears the mark",
           Effect::none});
    }
  }
}

bitmap::Expected expected_bitmap(const Assembly& a) {
  const MemberDescription& d = a.array();
  bitmap::Expected expected;
  expected.uuid = d.bitmap_uuid;
  expected.events = d.events;
  expected.raid456 = d.level == 4 || d.level == 5 || d.level == 6;
  if (d.level == 10) {
    expected.sync_size = Sectors::from_bytes(a.array_bytes());
  } else {
    expected.sync_size = expected.raid456 && !d.chunk.is_zero() ? d.chunk * (d.size / d.chunk) : d.size;
  }
  return expected;
}

std::vector<BitmapCopy> bitmap_copies(const Assembly& a) {
  std::vector<BitmapCopy> copies;
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    const Member& m = a.members[i];
    if (m.candidate == nullptr || m.state != MemberState::in_sync || !m.description().bitmap_offset_bytes) {
      continue;
    }
    copies.push_back({i, m.candidate->path, m.candidate->metadata, *m.description().bitmap_offset_bytes,
                      m.description().bitmap_room_bytes});
  }
  return copies;
}

// With a lockless bitmap the kernel calls the in-sync member with the highest slot "recovering by bitmap" while it
// builds parity after first writes. In the run that created the member recovery_offset is then all ones; after an
// assembly it is an ordinary number, and nothing in the superblock tells it from a member that was really added again.
// Only the user knows: in the first case its data is good, in the second it lacks what was written while it was away.
std::optional<std::uint32_t> lazy_recovery(const Assembly& a) {
  const MemberDescription& d = a.array();
  const std::uint32_t last = a.slots() - 1;
  const Member* m = a.slots() == 0 ? nullptr : a.in_slot(last);
  const bool suspected = !a.clean && (d.level == 4 || d.level == 5 || d.level == 6) && !d.reshape && m != nullptr &&
                         m->state == MemberState::recovering && m->description().recovery_by_bitmap &&
                         a.in_sync_count() == last && a.bitmap.lockless && a.bitmap.trust == Trust::believed;
  return suspected ? std::optional(last) : std::nullopt;
}

// Normal above 3,072 chunks: mdadm sizes the area by the classic formula. The log must then be left alone.
void note_log_under_states(Assembly& a) {
  if (!a.bitmap.lockless) {
    return;
  }
  for (std::size_t index : a.bitmap.copies) {
    const MemberDescription& d = a.members[index].description();
    if (!d.bad_block_log || !d.bitmap_offset_bytes) {
      continue;
    }
    const std::uint64_t begin = *d.bitmap_offset_bytes;
    const std::uint64_t log = d.bad_block_log->offset_bytes;
    if (log < begin + a.bitmap.lockless->used_bytes() && log + Sectors(d.bad_block_log->sectors).bytes() > begin) {
      a.findings.push_back({d.bad_block_log->not_empty ? Severity::problem : Severity::note,
                            "bad-block-log-under-bitmap", "bblog_offset",
                            a.members[index].candidate->path + ": the bad-block log at byte " + std::to_string(log) +
                                " lies under the lockless bitmap's states; it is neither read nor written",
                            d.bad_block_log->not_empty ? Effect::stops_writing : Effect::none});
    }
  }
}

Assembly judge(std::span<const Candidate* const> candidates, const AssembleOptions& options) {
  Assembly a;
  const Candidate* freshest = candidates.front();
  for (const Candidate* c : candidates) {
    freshest = fresher(c, freshest) ? c : freshest;
  }
  place_members(a, candidates, *freshest);
  a.clean = judge_clean(a);
  a.complete = a.in_sync_count() == a.slots();
  member_findings(a);
  a.bitmap = view_bitmap(bitmap_copies(a), expected_bitmap(a), options.suggested_bitmap);
  note_log_under_states(a);
  a.lazy_slot = lazy_recovery(a);
  if (a.lazy_slot) {
    a.findings.push_back(
        {Severity::warning, "lazy-recovery-or-re-add", "recovery_offset",
         a.in_slot(*a.lazy_slot)->candidate->path +
             ": marked as recovering by bitmap: either the kernel was building lazy parity, and the member "
             "is good, or it had just been added again and lacks what was written while it was away; "
             "nothing on disk tells the two apart",
         Effect::none});
  }
  judge_start(a);
  return a;
}

}  // namespace

const Member* Assembly::in_slot(std::uint32_t slot) const {
  return slot < slots() && members[slot].candidate != nullptr ? &members[slot] : nullptr;
}

std::uint32_t Assembly::in_sync_count() const {
  const std::uint32_t count = slots();
  return static_cast<std::uint32_t>(std::count_if(members.begin(), members.begin() + count,
                                                  [](const Member& m) { return m.state == MemberState::in_sync; }));
}

std::vector<Assembly> assemble(std::span<const Candidate> candidates, const AssembleOptions& options) {
  // The UUID alone does not tell a 0.90 array from the 1.0 one that it was converted to.
  std::vector<std::pair<std::pair<Uuid, bool>, std::vector<const Candidate*>>> groups;
  for (const Candidate& c : candidates) {
    if (c.chosen() == nullptr) {
      continue;
    }
    const MemberDescription& d = c.chosen()->description;
    const std::pair key(d.set_uuid, d.metadata == "0.90");
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == key; });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), {key, {}});
    }
    group->second.push_back(&c);
  }
  std::vector<Assembly> arrays;
  arrays.reserve(groups.size());
  for (const auto& [key, members] : groups) {
    arrays.push_back(judge(members, options));
  }
  return arrays;
}

Assembly assemble_alone(std::span<const Candidate* const> members, const AssembleOptions& options) {
  return judge(members, options);
}

std::string_view member_state_name(MemberState state) {
  switch (state) {
    case MemberState::in_sync:
      return "in-sync";
    case MemberState::stale:
      return "stale";
    case MemberState::recovering:
      return "recovering";
    case MemberState::replacement:
      return "replacement";
    case MemberState::spare:
      return "spare";
    case MemberState::faulty:
      return "faulty";
    case MemberState::missing:
      return "missing";
    case MemberState::journal:
      return "journal";
    case MemberState::unusable:
      break;
  }
  return "unusable";
}

std::string_view role_name(Role role) {
  switch (role) {
    case Role::active:
      return "active";
    case Role::spare:
      return "spare";
    case Role::faulty:
      return "faulty";
    case Role::journal:
      break;
  }
  return "journal";
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::assembles:
      return "assembles";
    case Verdict::degraded:
      return "degraded";
    case Verdict::needs_force:
      return "needs-force";
    case Verdict::impossible:
      break;
  }
  return "impossible";
}

}  // namespace mdtool
