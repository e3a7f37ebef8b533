// SPDX-License-Identifier: GPL-2.0-or-later
// The lockless bitmap's state machine as a table of its own: pure, no bytes, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mdtool::bitmap {

enum class ChunkState : std::uint8_t {
  unwritten = 0,
  clean = 1,
  dirty = 2,
  need_sync = 3,
  syncing = 4,
  need_sync_unwritten = 5,
  syncing_unwritten = 6,
  clean_unwritten = 7,
};
constexpr std::size_t chunk_state_count = 8;

enum class Action {
  start_write,
  start_sync,
  end_sync,
  abort_sync,
  reload,
  daemon,
  discard,
  stale,
  proactive_sync,
  clear_unwritten,
};
constexpr std::size_t action_count = 10;

struct Condition {
  bool degraded = false;
  bool raid456 = true;
};

// What a state byte becomes: the table and the rules beside it, invalid bytes (above 7) included.
ChunkState next_state(std::uint8_t raw, Action, const Condition&);
// True if a state byte means that the chunk's parity is promised (Clean, CleanUnwritten).
bool parity_is_promised(std::uint8_t raw);

// One state byte for a chunk about which two members' copies differ: the least state that promises nothing which either
// of them does not, neither parity nor the absence of data, and that asks for a sync if either does. Equal bytes stay
// as they are, even invalid ones. Commutative and associative, so that the order of copies does not matter.
std::uint8_t merged_state(std::uint8_t a, std::uint8_t b);

// "unwritten", "clean", "dirty", "need_sync", "syncing", "need_sync_unwritten", "syncing_unwritten", "clean_unwritten"
std::string_view state_name(ChunkState);

struct StateCounts {
  std::array<std::uint64_t, chunk_state_count> by_state{};
  std::uint64_t invalid = 0;
};

}  // namespace mdtool::bitmap
