// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bitmap_rules.h"

#include <algorithm>

#include "libraid/assemble/write_checks.h"

namespace mdtool {

namespace {

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

Status check_level(const MemberDescription& d) {
  switch (d.level) {
    case 1:
    case 4:
    case 5:
    case 6:
    case 10:
      return Done{};
    case 0:
      return refused("RAID-0 has no redundancy, and so no bitmap");
    case -1:
      return refused("a linear array has no redundancy, and so no bitmap");
    default:
      return refused("level " + std::to_string(d.level) + " has no bitmap");
  }
}

bool clustered(const Assembly& a) {
  const auto& classic = a.bitmap.classic;
  return a.array().clustered || a.bitmap.version == bitmap::version_clustered ||
         (classic && classic->header().version == bitmap::version_clustered);
}

Status check_members(const Assembly& a) {
  for (const Member& m : a.members) {
    if (m.candidate == nullptr) {
      continue;
    }
    if (m.state == MemberState::replacement) {
      return refused(m.candidate->path + " is replacing another member: let that finish first");
    }
    if (m.state == MemberState::recovering && m.description().recovery_by_bitmap) {
      const std::string lazy = a.lazy_slot ? ", or mdtool resync --force=lazy-recovery where that is the kernel's own "
                                             "lazy parity"
                                           : "";
      return refused(m.candidate->path +
                     " is being filled by what the bitmap says: let that finish first (mdtool recover" + lazy + ")");
    }
  }
  return Done{};
}

}  // namespace

BitmapNow bitmap_now(const Assembly& a) {
  const MemberDescription& fresh = a.array();
  BitmapNow now{a.bitmap, std::nullopt};
  if (!fresh.bitmap_offset_bytes) {
    return now;
  }
  const std::int64_t offset = bitmap_offset_sectors(fresh);
  std::vector<BitmapCopy> copies;
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    const Member& m = a.members[i];
    if (m.candidate != nullptr && m.state == MemberState::in_sync && m.description().bitmap_offset_bytes &&
        bitmap_offset_sectors(m.description()) == offset) {
      copies.push_back({i, m.candidate->path, m.candidate->metadata, *m.description().bitmap_offset_bytes,
                        m.description().bitmap_room_bytes});
    }
  }
  now.view = view_bitmap(copies, a.bitmap.expected, bitmap::Kind::none);
  BitmapShape& shape = now.shape.emplace();
  shape.offset_sectors = offset;
  shape.room_bytes = fresh.bitmap_room_bytes;
  if (now.view.classic || now.view.lockless) {
    shape.kind = now.view.kind;
    shape.geometry = {now.view.chunk(), now.view.chunks()};
  }
  return now;
}

std::string resync_advice(const Assembly& a) {
  return a.bitmap.expected.raid456 ? "afterwards: mdtool resync MEMBER..., or let the kernel do it"
                                   : "afterwards: the kernel does the resync at the next start";
}

Status check_bitmap_change(const Assembly& a) {
  const MemberDescription& d = a.array();
  TRY(level, check_level(d));
  if (d.unknown_features != 0) {
    return refused("the array uses features that are not known here: it is not written");
  }
  if (clustered(a)) {
    return refused("the array belongs to a cluster, of which other nodes may have it in use");
  }
  if (d.has_journal) {
    return refused("the array has a journal: no bitmap goes with it");
  }
  if (d.ppl) {
    return refused("the array has a partial parity log (PPL): no bitmap goes with it");
  }
  if (d.reshape) {
    return refused("a reshape is under way: let the kernel finish it first");
  }
  if (a.members[a.freshest].state == MemberState::unusable) {
    return refused("no member has a superblock that the kernel would accept");
  }
  if (a.bitmap.expected.sync_size.is_zero()) {
    return refused("the array's size cannot be told");
  }
  TRY(split, check_not_split(a));
  TRY(members, check_members(a));
  TRY(writable, check_writable(a));
  if (!a.complete && !a.clean) {
    return refused(
        "the array is dirty and degraded: what is missing has to be recovered first (mdtool recover "
        "--force=dirty-degraded), or started by force (mdtool force)");
  }
  if (!a.complete && a.verdict > Verdict::degraded) {
    return refused("the array cannot start with these members");
  }
  return Done{};
}

Status check_whole_for_lockless(const Assembly& a, LocklessWay way) {
  if (a.complete) {
    return Done{};
  }
  return way == LocklessWay::enters
             ? refused(
                   "the array is degraded: a lockless bitmap has events_cleared 0, with which the kernel would "
                   "take any stale member back in as if it had missed nothing else. Fill the empty slots first "
                   "(mdtool recover)")
             : refused(
                   "the array is degraded: what its lockless bitmap knows of never built parity, and of what the "
                   "missing member missed, cannot be kept without it. Fill the empty slots first (mdtool recover)");
}

Status check_lockless_possible(const Assembly& a) {
  const MemberDescription& d = a.array();
  if (!d.metadata.starts_with("1.")) {
    return refused("a lockless bitmap needs metadata 1.x, the array has " + d.metadata);
  }
  if (d.logical_block_size > bitmap::lockless_states_offset) {
    return refused("the array has logical blocks of " + std::to_string(d.logical_block_size) +
                   " bytes: a lockless bitmap's header shares its block with chunk states then, and kernels write "
                   "over the header with states, after which the array does not start any more");
  }
  return Done{};
}

}  // namespace mdtool
