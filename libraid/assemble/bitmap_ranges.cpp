// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/bitmap_ranges.h"

#include <algorithm>
#include <cassert>

namespace mdtool {

namespace {

// Indexed by ChunkMark. Work that waits comes first, then parity that nobody computed, then what is merely so.
constexpr std::array<int, chunk_mark_count> urgencies{0, 2, 5, 7, 6, 4, 3, 1, 8};

// As the kernel takes it at the next start: llbitmap's Reload, or Stale where the bitmap missed updates.
bool is_due_when_stale(ChunkMark mark, bitmap::Kind kind) {
  return kind == bitmap::Kind::classic || is_due(mark) || mark == ChunkMark::clean;
}

bool counts_as_due(const BitmapView& view, ChunkMark mark) {
  switch (view.trust) {
    case Trust::believed:
      return is_due(mark);
    case Trust::stale:
      return is_due_when_stale(mark, view.kind);
    case Trust::rejected:
      return true;
    case Trust::absent:
    case Trust::first_use:
      break;
  }
  return false;
}

}  // namespace

std::string_view chunk_mark_name(ChunkMark mark) {
  return mark == ChunkMark::invalid ? "invalid" : bitmap::state_name(static_cast<bitmap::ChunkState>(mark));
}

int urgency(ChunkMark mark) {
  return urgencies[static_cast<std::size_t>(mark)];
}

bool is_due(ChunkMark mark) {
  return mark == ChunkMark::dirty || mark == ChunkMark::need_sync || mark == ChunkMark::syncing ||
         mark == ChunkMark::invalid;
}

std::optional<ChunkMarks> ChunkMarks::of(const BitmapView& view) {
  if (view.classic) {
    return ChunkMarks(*view.classic);
  }
  return view.lockless ? std::optional(ChunkMarks(*view.lockless)) : std::nullopt;
}

ChunkMark ChunkMarks::at(std::uint64_t chunk) const {
  if (classic_ != nullptr) {
    return classic_->is_set(chunk) ? ChunkMark::dirty : ChunkMark::clean;
  }
  return static_cast<ChunkMark>(std::min(lockless_->raw(chunk), static_cast<std::uint8_t>(ChunkMark::invalid)));
}

bool ChunkMarks::comparable(const ChunkMarks& other) const {
  return (classic_ != nullptr) == (other.classic_ != nullptr) && chunk() == other.chunk() && chunks() == other.chunks();
}

MarkCounts counts_of(const ChunkMarks& marks) {
  MarkCounts counts{};
  for (std::uint64_t chunk = 0; chunk < marks.chunks(); ++chunk) {
    counts[static_cast<std::size_t>(marks.at(chunk))] += 1;
  }
  return counts;
}

ChunkRanges ranges_of(const ChunkMarks& marks, std::size_t most) {
  ChunkRanges ranges;
  for (std::uint64_t chunk = 0; chunk < marks.chunks();) {
    ChunkRange range{chunk, 0, marks.at(chunk)};
    while (chunk < marks.chunks() && marks.at(chunk) == range.mark) {
      ++chunk;
    }
    range.count = chunk - range.first;
    if (ranges.listed.size() < most) {
      ranges.listed.push_back(range);
    } else {
      ranges.left_out += 1;
    }
  }
  return ranges;
}

ChunkDifferences differences(const ChunkMarks& own, const ChunkMarks& merged, std::size_t most) {
  assert(own.comparable(merged));
  ChunkDifferences found;
  for (std::uint64_t chunk = 0; chunk < own.chunks();) {
    ChunkDifference run{chunk, 0, own.at(chunk), merged.at(chunk)};
    while (chunk < own.chunks() && own.at(chunk) == run.own && merged.at(chunk) == run.merged) {
      ++chunk;
    }
    if (run.own == run.merged) {
      continue;
    }
    run.count = chunk - run.first;
    found.chunks += run.count;
    if (found.listed.size() < most) {
      found.listed.push_back(run);
    } else {
      found.left_out += 1;
    }
  }
  return found;
}

ChunkBytes bytes_of(std::uint64_t first, std::uint64_t count, Sectors chunk, Sectors sync_size) {
  const Sectors start = chunk * first;
  const Sectors end = std::min(chunk * (first + count), sync_size);
  return {start.bytes(), end > start ? (end - start).bytes() : 0};
}

Due due_in(const BitmapView& view) {
  Due due;
  const auto marks = ChunkMarks::of(view);
  for (std::uint64_t chunk = 0; marks && chunk < marks->chunks(); ++chunk) {
    if (counts_as_due(view, marks->at(chunk))) {
      due.chunks += 1;
      due.bytes += bytes_of(chunk, 1, marks->chunk(), view.expected.sync_size).length_bytes;
    }
  }
  return due;
}

}  // namespace mdtool
