// SPDX-License-Identifier: GPL-2.0-or-later
// Candidates to arrays: which members are fresh, stale, missing, spare or recovering, what the array's state is, and
// the verdict with its reasons, as the kernel and mdadm would judge. Reads only; opens nothing.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/assemble/bitmap_view.h"
#include "libraid/assemble/candidate.h"

namespace mdtool {

enum class MemberState { in_sync, stale, recovering, replacement, spare, faulty, missing, journal, unusable };

enum class Verdict {
  assembles,    // complete, without force
  degraded,     // without force, with fewer members than slots
  needs_force,  // only by overriding something
  impossible,
};

struct Member {
  const Candidate* candidate = nullptr;  // null: an empty slot
  std::optional<std::uint32_t> slot;
  Role role = Role::active;
  MemberState state = MemberState::missing;
  std::string reason;  // why the state is not the one that the member claims; empty otherwise

  const MemberDescription& description() const { return candidate->chosen()->description; }
};

struct Assembly {
  std::vector<Member> members;   // slots in order (empty ones too), then replacements, spares, journals and the rest
  std::uint32_t slot_count = 0;  // during a reshape: the larger count
  std::size_t freshest = 0;      // the member whose superblock speaks for the array
  bool clean = false;
  // A slot whose member claims a recovery that may have been a lockless lazy one: see lazy_recovery() in judge.cpp.
  std::optional<std::uint32_t> lazy_slot;
  bool complete = false;  // every slot has an in-sync member
  Verdict verdict = Verdict::impossible;
  std::vector<std::string> reasons;
  BitmapView bitmap;
  Findings findings;

  const MemberDescription& array() const { return members[freshest].description(); }
  std::uint32_t slots() const { return slot_count; }
  const Member* in_slot(std::uint32_t slot) const;  // in sync or recovering; null if missing
  std::uint32_t in_sync_count() const;
  std::uint64_t array_bytes() const;  // 0 if the level's size cannot be told
};

struct AssembleOptions {
  bitmap::Kind suggested_bitmap = bitmap::Kind::none;
};

// All arrays among the candidates, in order of first appearance. Candidates without superblock belong to none.
std::vector<Assembly> assemble(std::span<const Candidate> candidates, const AssembleOptions& = {});

// The same for these members of one array, taken by themselves: at least one, each with a superblock.
Assembly assemble_alone(std::span<const Candidate* const> members, const AssembleOptions& = {});

std::string_view member_state_name(MemberState);  // "in-sync", ...
std::string_view role_name(Role);
std::string_view verdict_name(Verdict);  // "needs-force", ...

}  // namespace mdtool
