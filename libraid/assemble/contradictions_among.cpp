// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <map>

#include "libraid/assemble/account_parts.h"
#include "libraid/assemble/lost_superblock.h"

namespace mdtool {

namespace {

constexpr std::size_t most_named = 8;

void find(Findings& findings, Severity severity, std::string id, std::string field, std::string text,
          std::string next) {
  findings.push_back({severity, std::move(id), std::move(field), std::move(text), Effect::none, std::move(next)});
}

std::string claim_text(const Candidate& c) {
  const MemberDescription& d = c.chosen()->description;
  return c.path + " (" + (d.slot ? "slot " + std::to_string(*d.slot) : std::string("no slot")) + ", " +
         std::to_string(d.events) + " events)";
}

// judge() has found those that tie for one slot.
bool tie_for_a_slot(const std::vector<const Candidate*>& clones) {
  const MemberDescription& first = clones.front()->chosen()->description;
  return std::all_of(clones.begin(), clones.end(), [&](const Candidate* c) {
    const MemberDescription& d = c->chosen()->description;
    return d.set_uuid == first.set_uuid && d.slot == first.slot && d.events == first.events && first.slot;
  });
}

void clones(std::span<const Candidate> candidates, Findings& findings) {
  std::map<Uuid, std::vector<const Candidate*>> by_device;
  for (const Candidate& c : candidates) {
    if (c.chosen() != nullptr && c.chosen()->description.device_uuid.value_or(Uuid{}) != Uuid{}) {
      by_device[*c.chosen()->description.device_uuid].push_back(&c);
    }
  }
  for (const auto& [uuid, same] : by_device) {
    if (same.size() < 2 || tie_for_a_slot(same)) {
      continue;
    }
    std::string text;
    for (std::size_t i = 0; i < same.size() && i < most_named; ++i) {
      text += (i == 0 ? "" : ", ") + claim_text(*same[i]);
    }
    const Uuid array = same.front()->chosen()->description.set_uuid;
    const bool two_arrays = std::any_of(same.begin(), same.end(),
                                        [&](const Candidate* c) { return c->chosen()->description.set_uuid != array; });
    find(findings, Severity::warning, "member-cloned", "device_uuid",
         text + " carry one device UUID" + (two_arrays ? ", in different arrays" : "") +
             ": copies of one disk, taken at different times",
         "name only the one that is meant");
  }
}

const Assembly* array_with(std::span<const Assembly> arrays, const Uuid& uuid) {
  const auto found =
      std::find_if(arrays.begin(), arrays.end(), [&](const Assembly& a) { return a.array().set_uuid == uuid; });
  return found == arrays.end() ? nullptr : &*found;
}

std::string shape(const MemberDescription& d) {
  return "level " + std::to_string(d.level) + ", " + std::to_string(d.raid_disks) + " slots, chunk " +
         (d.chunk.is_zero() ? std::string("none") : size_text(d.chunk.bytes()));
}

// What the one that counts has over the other.
void beneath(const Candidate& c, const FoundSuperblock& older, std::span<const Assembly> arrays, Findings& findings) {
  const MemberDescription& now = c.chosen()->description;
  const MemberDescription& before = older.description;
  const std::string lead = c.path + ": under the " + now.metadata + " superblock of array " + now.set_uuid.text() +
                           " lies an older " + before.metadata + " one";
  const std::string erase = "mdtool erase " + quoted(c.path) + " --metadata " + before.metadata;
  if (now.set_uuid == before.set_uuid) {
    find(findings, Severity::note, "old-superblock-beneath", "",
         lead + " of the same array, as a conversion leaves it behind", erase + " takes the old one off");
    return;
  }
  const Assembly* others = array_with(arrays, before.set_uuid);
  if (others == nullptr) {
    find(findings, Severity::warning, "old-superblock-beneath", "",
         lead + " of array " + before.set_uuid.text() + " (" + shape(before) + "), created " +
             duration_text(now.ctime_seconds - before.ctime_seconds) + " earlier: what counts is " + shape(now),
         "if the newer one is the mistake (an accidental --create), take it off in memory and look: mdtool erase " +
             quoted(c.path) + " --metadata " + now.metadata +
             " --dry-run --json > PLAN, mdtool examine --with PLAN; else " + erase);
    return;
  }
  find(findings, Severity::problem, "old-superblock-beneath", "",
       lead + " of array " + before.set_uuid.text() + ", which other members here still belong to (" + shape(before) +
           "): it was created over (" + shape(now) + ")",
       "try without the newer one: mdtool erase " + quoted(c.path) + " --metadata " + now.metadata +
           " --dry-run --json > PLAN, mdtool examine --with PLAN");
}

std::size_t empty_slots(const Assembly& a) {
  std::size_t count = 0;
  for (std::uint32_t slot = 0; slot < a.slots(); ++slot) {
    count += a.in_slot(slot) == nullptr ? 1 : 0;
  }
  return count;
}

bool equally_large(const Assembly& a, const Assembly& b) {
  const auto size = [](const Assembly& x) { return x.members[x.freshest].candidate->metadata->size_bytes(); };
  return size(a) == size(b);
}

// `old` lacks members, and `fresh` was created later on members of the same size: mdadm --create over them.
bool created_over(const Assembly& old, const Assembly& fresh) {
  const MemberDescription& before = old.array();
  const MemberDescription& now = fresh.array();
  return before.set_uuid != now.set_uuid && now.ctime_seconds > before.ctime_seconds &&
         now.ctime_seconds >= before.utime_seconds && before.raid_disks == now.raid_disks && empty_slots(old) > 0 &&
         equally_large(old, fresh);
}

void accidental_creates(std::span<const Assembly> arrays, Findings& findings) {
  std::size_t found = 0;
  for (const Assembly& old : arrays) {
    const auto fresh =
        std::find_if(arrays.begin(), arrays.end(), [&](const Assembly& a) { return created_over(old, a); });
    if (fresh == arrays.end() || ++found > most_named) {
      continue;
    }
    const std::string path = quoted(fresh->members[fresh->freshest].candidate->path);
    find(findings, Severity::warning, "created-over", "ctime",
         "array " + fresh->array().set_uuid.text() + " (" + shape(fresh->array()) + ") was created " +
             duration_text(fresh->array().ctime_seconds - old.array().utime_seconds) + " after array " +
             old.array().set_uuid.text() + " (" + shape(old.array()) +
             ") was last updated, on members of the same "
             "size, and that one lacks " +
             std::to_string(empty_slots(old)) + " members: perhaps it was created over them by mistake",
         "give the older array's superblock back in memory and look at the content: mdtool add --uuid " +
             old.array().set_uuid.text() + arguments_text(old, all_members(old)) + " " + path + " --target " + path +
             " --slot N --force=old-content --dry-run --json > PLAN, then "
             "mdtool copy --with PLAN");
  }
}

}  // namespace

Findings contradictions_among(std::span<const Candidate> candidates, std::span<const Assembly> arrays) {
  Findings findings;
  clones(candidates, findings);
  for (const Candidate& c : candidates) {
    for (std::size_t i = 1; i < c.superblocks.size(); ++i) {
      beneath(c, c.superblocks[i], arrays, findings);
    }
  }
  accidental_creates(arrays, findings);
  for (const LostSuperblock& lost : lost_superblocks(candidates, arrays)) {
    findings.push_back(finding_of(lost));
  }
  return findings;
}

}  // namespace mdtool
