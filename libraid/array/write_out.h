// SPDX-License-Identifier: GPL-2.0-or-later
// Brings blocks of a bitmap's area to all of its copies: who finds a block marked writes it, who finds it being written
// waits. Blocks never overtake themselves. Knows bytes and blocks only; its user's mutex guards everything.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "libraid/array/bitmap_copies.h"

namespace mdtool {

class WriteOut {
 public:
  // Copies out the area as it is in memory. Called with the mutex held.
  using Fill = std::function<void(std::uint64_t offset_bytes, std::span<std::byte> out)>;

  // At first every block is marked: copies may differ, and none need be what is in memory.
  WriteOut(BitmapCopies copies, std::uint64_t area_bytes, std::uint64_t block_bytes, Fill fill);

  std::size_t block_of(std::uint64_t area_byte) const { return static_cast<std::size_t>(area_byte / block_bytes_); }
  void mark(std::size_t block) { blocks_[block].marked = true; }
  void mark_all();

  using Lock = std::unique_lock<std::mutex>;
  // What is in memory now of the marked blocks in [first, last] is durable when it returns. Gives `lock` up meanwhile.
  Status until_durable(Lock& lock, std::size_t first, std::size_t last);
  // The same for all blocks, the first one last: its header says that the others count.
  Status until_all_durable(Lock& lock);
  // The same, unless it has been done once: a header may only go to copies whose other blocks are right.
  Status until_usable(Lock& lock);

  const LiveMembers& members() const { return copies_.members(); }

 private:
  struct Block {
    bool marked = true;      // memory is ahead of what was last submitted
    bool in_flight = false;  // somebody is writing it
    std::uint64_t submitted = 0;
    std::uint64_t written = 0;
  };
  Status write_run(Lock& lock, std::size_t first, std::size_t last);

  BitmapCopies copies_;
  std::uint64_t block_bytes_;
  Fill fill_;
  std::vector<std::byte> outgoing_;  // each block's bytes belong to whoever has it in flight
  std::vector<Block> blocks_;
  std::condition_variable done_;
  bool usable_ = false;
};

}  // namespace mdtool
