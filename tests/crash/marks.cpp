// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/marks.h"

#include <algorithm>

#include "libmeta/bitmap/lockless_state.h"
#include "tests/crash/disk_view.h"

namespace mdtool::crash {

namespace {

using bitmap::ChunkState;

bool is(std::uint8_t raw, ChunkState state) {
  return raw == static_cast<std::uint8_t>(state);
}

// What Reload would make due, or leave so.
bool is_due(std::uint8_t raw) {
  return is(raw, ChunkState::dirty) || is(raw, ChunkState::need_sync) || is(raw, ChunkState::syncing) ||
         raw >= bitmap::chunk_state_count;
}

std::string in_slot(std::uint32_t slot) {
  return " (copy of slot " + std::to_string(slot) + ")";
}

// True if this member's copy alone makes a resync look at the row.
bool copy_covers(const ArraySpec& spec, const Image& image, const ArrayMark& mark, std::uint64_t row) {
  const std::uint64_t chunk = row / spec.bitmap_chunk;
  switch (spec.bitmap) {
    case bitmap::Kind::none:
      return !mark.clean && row >= mark.resync_offset;
    case bitmap::Kind::classic:
      return !mark.clean && (bitmap_events(spec, image) < mark.events || bit_is_set(spec, image, chunk));
    case bitmap::Kind::lockless:
      return bitmap_events(spec, image) < mark.events || !bitmap::parity_is_promised(state_of(spec, image, chunk));
  }
  return false;
}

}  // namespace

std::uint32_t torn_superblocks(const ArraySpec& spec, const std::vector<Image>& images, std::uint64_t absent) {
  std::uint32_t torn = 0;
  for (std::uint32_t slot = 0; slot < spec.slots; ++slot) {
    const bool there = !images[slot].empty() && (absent >> slot & 1) == 0;
    torn += there && !superblock_checksum_is_right(spec, images[slot]) ? 1 : 0;
  }
  return torn;
}

Complaint check_marked(const ArraySpec& spec, const std::vector<Image>& images, const ArrayMark& mark,
                       const WrongRows& wrong) {
  for (std::uint64_t row = 0; row < spec.rows(); ++row) {
    if (wrong[row] == 0) {
      continue;
    }
    for (const std::uint32_t slot : mark.in_sync) {
      if (!copy_covers(spec, images[slot], mark, row)) {
        return "I6: parity of row " + std::to_string(row) + " is wrong, and nothing says that it is due" +
               in_slot(slot) + (mark.clean ? ", the array is clean" : ", the array is dirty");
      }
    }
  }
  return std::nullopt;
}

Complaint check_written(const ArraySpec& spec, const std::vector<Image>& images, const ArrayMark& mark,
                        std::span<const Oracle::Allowed> sectors) {
  if (spec.bitmap != bitmap::Kind::lockless) {
    return std::nullopt;
  }
  for (const Oracle::Allowed& a : sectors) {
    if (!a.holds_user_data) {
      continue;
    }
    const std::uint64_t chunk = spec.place(a.sector).row / spec.bitmap_chunk;
    for (const std::uint32_t slot : mark.in_sync) {
      const std::uint8_t raw = state_of(spec, images[slot], chunk);
      if (!is_due(raw) && !is(raw, ChunkState::clean)) {
        return "array sector " + std::to_string(a.sector) + " was written and flushed, but its chunk " +
               std::to_string(chunk) + " is in state " + std::to_string(raw) + in_slot(slot);
      }
    }
  }
  return std::nullopt;
}

Complaint check_kept(const ArraySpec& spec, const std::vector<Image>& images, const ArrayMark& mark,
                     std::span<const std::uint64_t> sectors) {
  for (const std::uint64_t sector : sectors) {
    const std::uint64_t chunk = spec.place(sector).row / spec.bitmap_chunk;
    for (const std::uint32_t slot : mark.in_sync) {
      const bool kept = spec.bitmap == bitmap::Kind::none ||
                        (spec.bitmap == bitmap::Kind::classic ? bit_is_set(spec, images[slot], chunk)
                                                              : is_due(state_of(spec, images[slot], chunk)));
      if (!kept) {
        return "array sector " + std::to_string(sector) + " was written while a member was missing, but chunk " +
               std::to_string(chunk) + " is not marked any more" + in_slot(slot);
      }
    }
  }
  return std::nullopt;
}

Complaint check_synchronised(const ArraySpec& spec, const std::vector<Image>& images, const ArrayMark& mark,
                             const WrongRows& wrong) {
  if (!mark.clean) {
    return "I5: the array is still dirty";
  }
  for (const std::uint32_t slot : mark.in_sync) {
    for (std::uint64_t chunk = 0; spec.bitmap != bitmap::Kind::none && chunk < spec.bitmap_chunks(); ++chunk) {
      const bool due = spec.bitmap == bitmap::Kind::classic ? bit_is_set(spec, images[slot], chunk)
                                                            : is_due(state_of(spec, images[slot], chunk));
      if (due) {
        return "I5: chunk " + std::to_string(chunk) + " is still due" + in_slot(slot);
      }
    }
  }
  Complaint left = check_marked(spec, images, mark, wrong);
  return left ? "I5: after recovery: " + *left : left;
}

}  // namespace mdtool::crash
