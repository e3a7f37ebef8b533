// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/bitmap_debt.h"

#include <algorithm>

namespace mdtool {

namespace {

using bitmap::ChunkState;

constexpr auto clean = static_cast<std::uint8_t>(ChunkState::clean);
constexpr auto unwritten = static_cast<std::uint8_t>(ChunkState::unwritten);
constexpr auto need_sync = static_cast<std::uint8_t>(ChunkState::need_sync);

bool in_doubt(std::uint8_t state) {
  switch (static_cast<ChunkState>(state)) {
    case ChunkState::unwritten:
    case ChunkState::clean:
    case ChunkState::need_sync_unwritten:
    case ChunkState::syncing_unwritten:
    case ChunkState::clean_unwritten:
      return false;
    default:
      return true;
  }
}

// Of the chunk that begins there; without arithmetic beyond the range's end.
Sectors end_of_chunk(Sectors start, Sectors chunk, Sectors sync_size) {
  return sync_size - start > chunk ? start + chunk : sync_size;
}

}  // namespace

void owe_first_chunk(std::span<std::byte> lockless_states) {
  if (std::ranges::find(lockless_states, std::byte{need_sync}) != lockless_states.end()) {
    lockless_states.front() = std::byte{need_sync};
  }
}

bitmap::NewBitmap new_bitmap_of(const Assembly& array, const BitmapShape& shape, std::uint64_t events) {
  bitmap::NewBitmap cut;
  cut.uuid = array.array().bitmap_uuid;
  cut.events = events;
  cut.sync_size = array.bitmap.expected.sync_size;
  cut.chunk_bytes = shape.geometry.chunk.bytes();
  cut.sectors_reserved = shape.sectors_reserved;
  return cut;
}

BitmapDebt::BitmapDebt(const Assembly& array, const BitmapView& view) : chunk_(view.expected.sync_size) {
  const bool content = view.trust == Trust::believed || view.trust == Trust::stale || view.trust == Trust::first_use;
  if (content && view.classic) {
    read_classic(array, view);
  } else if (content && view.lockless) {
    read_lockless(view, view.expected.raid456);
  } else {
    // Without a bitmap the superblock's word counts; one that cannot be used may have known more.
    states_ = {array.clean && view.trust == Trust::absent ? clean : need_sync};
  }
  account(view.expected.sync_size);
}

void BitmapDebt::read_classic(const Assembly& array, const BitmapView& view) {
  const bool stale = view.trust == Trust::stale;
  chunk_ = view.classic->chunk();
  states_.resize(static_cast<std::size_t>(view.classic->chunks()));
  for (std::size_t i = 0; i < states_.size(); ++i) {
    states_[i] = stale || view.classic->is_set(i) ? need_sync : clean;
  }
  // md_bitmap_load(): from resync_offset on, so that of a clean array no bit counts.
  only_hints_ = array.clean && !stale;
}

void BitmapDebt::read_lockless(const BitmapView& view, bool raid456) {
  const bitmap::Lockless& from = *view.lockless;
  chunk_ = from.chunk();
  states_.resize(static_cast<std::size_t>(from.chunks()));
  const bool assumed_clean = (from.header().state & bitmap::state_clean) != 0;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (from.first_use()) {
      states_[i] = assumed_clean ? clean : unwritten;
    } else if (view.trust == Trust::stale) {
      states_[i] = static_cast<std::uint8_t>(
          bitmap::next_state(from.raw(i), bitmap::Action::stale, {.degraded = false, .raid456 = raid456}));
    } else {
      states_[i] = from.raw(i);
    }
  }
}

void BitmapDebt::account(Sectors sync_size) {
  for (std::size_t i = 0; i < states_.size() && !only_hints_; ++i) {
    const Sectors start = chunk_ * i;
    const Sectors length = end_of_chunk(start, chunk_, sync_size) - start;
    owed_bytes_ += bitmap::parity_is_promised(states_[i]) ? 0 : length.bytes();
    owes_a_sync_ = owes_a_sync_ || in_doubt(states_[i]);
  }
}

std::uint8_t BitmapDebt::state_of(std::uint64_t first, std::uint64_t last) const {
  std::uint8_t state = states_[static_cast<std::size_t>(first)];
  for (std::uint64_t i = first + 1; i <= last; ++i) {
    state = bitmap::merged_state(state, states_[static_cast<std::size_t>(i)]);
  }
  return state;
}

std::vector<std::uint8_t> BitmapDebt::states_in(std::uint64_t chunk_bytes, Sectors sync_size) const {
  const Sectors chunk = Sectors::from_bytes(chunk_bytes);
  std::vector<std::uint8_t> cut;
  for (Sectors start; start < sync_size; start = end_of_chunk(start, chunk, sync_size)) {
    const Sectors last = end_of_chunk(start, chunk, sync_size) - Sectors(1);
    cut.push_back(state_of(start / chunk_, last / chunk_));
  }
  return cut;
}

std::vector<std::byte> BitmapDebt::in_classic(const bitmap::NewBitmap& cut) const {
  std::vector<std::byte> area = bitmap::new_classic(cut, bitmap::Bits::clear);
  const std::vector<std::uint8_t> states = states_in(cut.chunk_bytes, cut.sync_size);
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (!bitmap::parity_is_promised(states[i])) {
      area[bitmap::header_bytes + i / 8] |= std::byte{1} << static_cast<unsigned>(i % 8);
    }
  }
  return area;
}

std::vector<std::byte> BitmapDebt::in_lockless(const bitmap::NewBitmap& cut) const {
  std::vector<std::byte> area = bitmap::new_lockless(cut, ChunkState::clean);
  if (only_hints_) {
    return area;
  }
  const std::vector<std::uint8_t> states = states_in(cut.chunk_bytes, cut.sync_size);
  std::ranges::transform(states, area.begin() + bitmap::lockless_states_offset,
                         [](std::uint8_t state) { return std::byte{state}; });
  owe_first_chunk(std::span(area).subspan(bitmap::lockless_states_offset, states.size()));
  return area;
}

}  // namespace mdtool
