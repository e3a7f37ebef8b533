// SPDX-License-Identifier: GPL-2.0-or-later
// A lockless bitmap in use: the state machine with what it does besides, marking blocks for write-out and infecting the
// chunks beside. Knows what the kernel would write, not when; pure memory.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libmeta/bitmap/lockless.h"

namespace mdtool::bitmap {

class LocklessWalk {
 public:
  // `block_bytes`: the unit of writing, the array's logical block size. STALE and WRITE_ERROR must have been cleared.
  LocklessWalk(Lockless bitmap, std::uint64_t block_bytes);

  Lockless& bitmap() { return bitmap_; }  // for its header
  const Lockless& bitmap() const { return bitmap_; }
  std::uint8_t raw(std::uint64_t chunk) const { return bitmap_.raw(chunk); }
  std::uint64_t count(ChunkState state) const { return total_.by_state[static_cast<std::size_t>(state)]; }
  // The next chunk from `chunk` on whose parity is to be built and in nobody's work.
  std::optional<std::uint64_t> next_due(std::uint64_t chunk) const;

  // One walk over [first, last] as far as there are chunks: llbitmap_state_machine().
  void apply(Action, std::uint64_t first, std::uint64_t last, const Condition&);
  // This state for this chunk alone; no block is marked.
  void put(std::uint64_t chunk, ChunkState);
  // The same, and its block is to be written.
  void put_marked(std::uint64_t chunk, ChunkState);

  // Blocks of the area are counted from its start, the header's included.
  std::uint64_t block_of(std::uint64_t chunk) const;
  // True if the block is waiting to be written; it no longer is.
  bool take_waiting(std::uint64_t block);

 private:
  struct Range {
    std::uint64_t first;
    std::uint64_t end;
  };
  Range chunks_of(std::uint64_t block) const;
  void mark(std::uint64_t chunk, const Condition&);
  void infect(std::uint64_t block, const Condition&);
  void count_state(std::uint64_t block, std::uint8_t raw);
  void uncount_state(std::uint64_t block, std::uint8_t raw);

  struct Block {
    StateCounts counts;
    bool waiting = false;
    std::uint64_t of(ChunkState state) const { return counts.by_state[static_cast<std::size_t>(state)]; }
  };
  Lockless bitmap_;
  std::uint64_t block_bytes_;
  std::vector<Block> blocks_;
  StateCounts total_;
};

}  // namespace mdtool::bitmap
