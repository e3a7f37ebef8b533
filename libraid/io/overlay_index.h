// SPDX-License-Identifier: GPL-2.0-or-later
// Which sectors of which members an overlay holds, in memory: blocks in the order in which they were first written, and
// a hash table over them. Grows with the number of blocks written, in one place. Not thread-safe; no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libmeta/sectors.h"

namespace mdtool {

constexpr std::uint64_t overlay_block_bytes = 32U << 10;
constexpr unsigned overlay_block_sectors = overlay_block_bytes / Sectors::bytes_each;

// One block of one member. Bit n of a mask: sector n of the block.
struct OverlayBlock {
  std::uint64_t block = 0;   // byte offset on the member / overlay_block_bytes
  std::uint64_t valid = 0;   // the overlay speaks for the sector
  std::uint64_t zeroed = 0;  // and says that it is zero, whatever the file holds there
  std::uint32_t member = 0;

  std::uint64_t written() const { return valid & ~zeroed; }
};
static_assert(overlay_block_sectors == 64);

class OverlayIndex {
 public:
  OverlayIndex();

  std::size_t size() const { return blocks_.size(); }
  const OverlayBlock& operator[](std::size_t number) const { return blocks_[number]; }
  OverlayBlock& operator[](std::size_t number) { return blocks_[number]; }

  std::optional<std::size_t> find(std::uint32_t member, std::uint64_t block) const;
  // The number of the new block; none if that member's block is there already.
  std::optional<std::size_t> add(const OverlayBlock& block);
  // A number that no block has: the place on disk that belongs to it stays unused.
  void add_unused() { blocks_.emplace_back(); }

 private:
  // Where that block is, or the free slot where it belongs.
  std::size_t slot_of(std::uint32_t member, std::uint64_t block) const;
  void grow();

  std::vector<OverlayBlock> blocks_;
  std::vector<std::uint32_t> slots_;  // number + 1; 0: free. A power of two of them
  std::size_t used_ = 0;
  std::uint64_t seed_ = 0;
};

}  // namespace mdtool
