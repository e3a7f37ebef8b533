// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/write_checks.h"

#include <algorithm>

#include "libraid/assemble/views.h"

namespace mdtool {

namespace {

// No array lives to see it; above it the counter could wrap.
constexpr std::uint64_t events_most = std::uint64_t{1} << 62;

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

std::optional<std::uint64_t> bitmap_events(const BitmapView& view) {
  if (view.trust == Trust::rejected) {
    return std::nullopt;
  }
  if (view.classic) {
    return view.classic->header().events;
  }
  return view.lockless ? std::optional<std::uint64_t>(view.lockless->header().events) : std::nullopt;
}

}  // namespace

Status check_no_logs(const Assembly& a) {
  if (a.array().has_journal) {
    return refused("the array has a journal, which has to be replayed first: start it once with a kernel");
  }
  if (a.array().ppl) {
    return refused("the array has a partial parity log, which has to be replayed first: start it once with a kernel");
  }
  return Done{};
}

Status check_not_split(const Assembly& a) {
  const auto halves = halves_of(a, view_groups(a));
  if (halves.empty()) {
    return Done{};
  }
  std::string text = "the array is split: ";
  for (std::size_t i = 0; i < halves.size(); ++i) {
    text += i == 0 ? "" : " and ";
    for (std::size_t j = 0; j < halves[i].size(); ++j) {
      text += (j == 0 ? "" : ", ") + a.members[halves[i][j]].candidate->path;
    }
  }
  return refused(text +
                 " were each written without the others. Leave out the members of the half that is not meant, or let "
                 "mdtool force choose one");
}

Status check_writable(const Assembly& a) {
  for (const Finding& f : a.findings) {
    if (f.effect == Effect::stops_writing) {
      return refused(f.text);
    }
  }
  for (const Member& m : a.members) {
    if (m.candidate == nullptr || (m.state != MemberState::in_sync && m.state != MemberState::recovering)) {
      continue;
    }
    for (const Finding& f : m.candidate->chosen()->findings) {
      if (f.effect == Effect::stops_writing) {
        return refused(m.candidate->path + ": " + f.text);
      }
    }
  }
  return Done{};
}

bool whole(const Assembly& a, const Forces& forces) {
  return a.complete || (a.lazy_slot && forces.lazy_recovery);
}

Status check_not_dirty_degraded(const Assembly& a, const Forces& forces) {
  if (whole(a, forces) || forces.dirty_degraded) {
    return Done{};
  }
  if (a.lazy_slot) {
    return refused(
        "slot " + std::to_string(*a.lazy_slot) +
        " is marked as recovering by bitmap, and the array is dirty. If no member was removed and added "
        "again just before "
        "the cut, that was the kernel building lazy parity and the member is good: --force=lazy-recovery. "
        "If one was, it "
        "lacks what was written while it was away: mdtool recover --force=dirty-degraded fills it from the others");
  }
  if (!a.clean) {
    return refused(
        "the array is dirty and degraded: what is missing may come out wrong where writes were in flight; "
        "--force=dirty-degraded goes on all the same and lists those extents");
  }
  return Done{};
}

Result<std::uint64_t> highest_events(const Assembly& a, std::span<const std::size_t> members) {
  std::uint64_t events = 0;
  for (const std::size_t member : members) {
    events = std::max(events, a.members[member].description().events);
  }
  // A bitmap far ahead is not a cut but damage, and no reason to let the array's events jump.
  if (const auto ahead = bitmap_events(a.bitmap); ahead == events + 1) {
    events = *ahead;
  }
  if (events > events_most) {
    return refused("the event count " + std::to_string(events) + " cannot be real, and has no room to rise");
  }
  return events;
}

}  // namespace mdtool
