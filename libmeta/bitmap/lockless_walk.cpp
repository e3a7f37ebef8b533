// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/bitmap/lockless_walk.h"

#include <algorithm>
#include <utility>

namespace mdtool::bitmap {
namespace {

using enum ChunkState;

std::uint64_t& counter(StateCounts& counts, std::uint8_t raw) {
  return raw < chunk_state_count ? counts.by_state[raw] : counts.invalid;
}

// Transitions that llbitmap_write() marks a block for; and one that it forgets: a write into a chunk whose parity is
// being built ahead of its first write must be found after a cut.
bool marks(ChunkState next, Action action) {
  return next == dirty || next == need_sync || next == need_sync_unwritten ||
         (next == syncing && action == Action::start_write);
}

bool infects(ChunkState next) {
  return next == dirty || next == need_sync;
}

}  // namespace

LocklessWalk::LocklessWalk(Lockless bitmap, std::uint64_t block_bytes)
    : bitmap_(std::move(bitmap)),
      block_bytes_(block_bytes),
      blocks_((bitmap_.used_bytes() + block_bytes - 1) / block_bytes) {
  for (std::uint64_t chunk = 0; chunk < bitmap_.chunks(); ++chunk) {
    count_state(block_of(chunk), raw(chunk));
  }
}

void LocklessWalk::count_state(std::uint64_t block, std::uint8_t raw) {
  ++counter(blocks_[block].counts, raw);
  ++counter(total_, raw);
}

void LocklessWalk::uncount_state(std::uint64_t block, std::uint8_t raw) {
  --counter(blocks_[block].counts, raw);
  --counter(total_, raw);
}

std::uint64_t LocklessWalk::block_of(std::uint64_t chunk) const {
  return (lockless_states_offset + chunk) / block_bytes_;
}

LocklessWalk::Range LocklessWalk::chunks_of(std::uint64_t block) const {
  // A block of 4 KiB begins with the header: the kernel walks over that as well, and destroys it.
  const std::uint64_t first = std::max(block * block_bytes_, std::uint64_t{lockless_states_offset});
  return {first - lockless_states_offset,
          std::min((block + 1) * block_bytes_ - lockless_states_offset, bitmap_.chunks())};
}

std::optional<std::uint64_t> LocklessWalk::next_due(std::uint64_t chunk) const {
  while (chunk < bitmap_.chunks()) {
    const std::uint64_t block = block_of(chunk);
    const std::uint64_t end = chunks_of(block).end;
    if (blocks_[block].of(need_sync) + blocks_[block].of(need_sync_unwritten) == 0) {
      chunk = end;
      continue;
    }
    for (; chunk < end; ++chunk) {
      const auto state = static_cast<ChunkState>(raw(chunk));
      if (state == need_sync || state == need_sync_unwritten) {
        return chunk;
      }
    }
  }
  return std::nullopt;
}

void LocklessWalk::put(std::uint64_t chunk, ChunkState state) {
  const std::uint64_t block = block_of(chunk);
  uncount_state(block, raw(chunk));
  bitmap_.set(chunk, state);
  count_state(block, raw(chunk));
}

void LocklessWalk::put_marked(std::uint64_t chunk, ChunkState state) {
  put(chunk, state);
  blocks_[block_of(chunk)].waiting = true;
}

void LocklessWalk::apply(Action action, std::uint64_t first, std::uint64_t last, const Condition& condition) {
  for (std::uint64_t chunk = first; chunk <= last && chunk < bitmap_.chunks(); ++chunk) {
    const std::uint8_t before = raw(chunk);
    const ChunkState next = next_state(before, action, condition);
    if (static_cast<std::uint8_t>(next) == before) {
      continue;
    }
    put(chunk, next);
    if (marks(next, action)) {
      mark(chunk, condition);
    }
  }
}

// llbitmap_set_page_dirty()
void LocklessWalk::mark(std::uint64_t chunk, const Condition& condition) {
  const std::uint64_t at = block_of(chunk);
  Block& block = blocks_[at];
  const bool was_waiting = std::exchange(block.waiting, true);
  if (condition.degraded || !infects(static_cast<ChunkState>(raw(chunk)))) {
    return;
  }
  const std::uint64_t others = block.of(dirty) + block.of(need_sync) - 1;
  if (was_waiting || others != 0) {
    infect(at, condition);
  }
}

// llbitmap_infect_dirty_bits()
void LocklessWalk::infect(std::uint64_t at, const Condition& condition) {
  const Block& block = blocks_[at];
  if (block.of(unwritten) + block.of(clean) + block.of(clean_unwritten) == 0) {
    return;
  }
  const Range chunks = chunks_of(at);
  for (std::uint64_t chunk = chunks.first; chunk < chunks.end; ++chunk) {
    switch (static_cast<ChunkState>(raw(chunk))) {
      case unwritten:
        put(chunk, condition.raid456 ? need_sync : dirty);
        break;
      case clean:
      case clean_unwritten:
        put(chunk, dirty);
        break;
      default:
        break;
    }
  }
}

bool LocklessWalk::take_waiting(std::uint64_t block) {
  return std::exchange(blocks_[block].waiting, false);
}

}  // namespace mdtool::bitmap
