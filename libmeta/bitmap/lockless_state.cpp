// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/bitmap/lockless_state.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace mdtool::bitmap {
namespace {

using enum ChunkState;

using Next = std::optional<ChunkState>;
constexpr Next keep = std::nullopt;

// A row per state, a column per Action in its order: start_write, start_sync, end_sync, abort_sync, reload, daemon,
// discard, stale, proactive_sync, clear_unwritten. The meaning of state_machine in drivers/md/md-llbitmap.c.
constexpr std::array<std::array<Next, action_count>, chunk_state_count> transitions{{
    // unwritten
    {dirty, keep, keep, keep, keep, keep, keep, keep, need_sync_unwritten, keep},
    // clean
    {dirty, keep, keep, keep, keep, keep, unwritten, need_sync, keep, keep},
    // dirty
    {keep, keep, keep, keep, need_sync, clean, unwritten, need_sync, keep, keep},
    // need_sync
    {keep, syncing, keep, keep, keep, keep, unwritten, keep, keep, keep},
    // syncing
    {keep, syncing, dirty, need_sync, need_sync, keep, unwritten, need_sync, keep, keep},
    // need_sync_unwritten
    {need_sync, syncing_unwritten, keep, unwritten, unwritten, keep, unwritten, unwritten, keep, unwritten},
    // syncing_unwritten
    {syncing, syncing_unwritten, clean_unwritten, unwritten, unwritten, keep, unwritten, unwritten, keep, unwritten},
    // clean_unwritten
    {dirty, keep, keep, keep, keep, keep, unwritten, unwritten, keep, unwritten},
}};

bool is_valid(std::uint8_t raw) {
  return raw < chunk_state_count;
}

// User data may be there and its parity is right, or was when the write in flight began.
bool written_with_parity(ChunkState state) {
  return state == clean || state == dirty;
}

bool asks_for_sync(ChunkState state) {
  return state == need_sync || state == syncing;
}

ChunkState merged(ChunkState a, ChunkState b) {
  if (asks_for_sync(a) || asks_for_sync(b)) {
    return need_sync;
  }
  if (written_with_parity(a) && written_with_parity(b)) {
    return dirty;
  }
  if (written_with_parity(a) || written_with_parity(b)) {
    const auto [written, other] = written_with_parity(a) ? std::pair{a, b} : std::pair{b, a};
    return other == clean_unwritten ? written : need_sync;
  }
  const bool proactive = std::ranges::any_of(
      std::array{a, b}, [](ChunkState state) { return state == need_sync_unwritten || state == syncing_unwritten; });
  return proactive ? need_sync_unwritten : unwritten;
}

}  // namespace

ChunkState next_state(std::uint8_t raw, Action action, const Condition& condition) {
  if (!is_valid(raw)) {
    return need_sync;
  }
  const auto state = static_cast<ChunkState>(raw);
  const Next next = transitions[raw][static_cast<std::size_t>(action)];
  if (action == Action::start_write && next == dirty) {
    // A missing member will need the data; RAID-4/5/6 has no parity yet that a write could keep right.
    const bool initial_parity_is_missing = condition.raid456 && state == unwritten;
    return condition.degraded || initial_parity_is_missing ? need_sync : dirty;
  }
  if (action == Action::start_sync && state == dirty && condition.degraded) {
    return syncing;
  }
  return next.value_or(state);
}

bool parity_is_promised(std::uint8_t raw) {
  return raw == static_cast<std::uint8_t>(clean) || raw == static_cast<std::uint8_t>(clean_unwritten);
}

std::uint8_t merged_state(std::uint8_t a, std::uint8_t b) {
  if (a == b) {
    return a;
  }
  if (!is_valid(a) || !is_valid(b)) {
    return static_cast<std::uint8_t>(need_sync);
  }
  return static_cast<std::uint8_t>(merged(static_cast<ChunkState>(a), static_cast<ChunkState>(b)));
}

std::string_view state_name(ChunkState state) {
  constexpr std::array<std::string_view, chunk_state_count> names{
      "unwritten",         "clean",          "dirty", "need_sync", "syncing", "need_sync_unwritten",
      "syncing_unwritten", "clean_unwritten"};
  return names[static_cast<std::size_t>(state)];
}

}  // namespace mdtool::bitmap
