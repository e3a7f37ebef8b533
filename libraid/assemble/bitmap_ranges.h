// SPDX-License-Identifier: GPL-2.0-or-later
// The chunks of a write-intent bitmap as marks and runs of marks, the same for both formats: to be counted, compared
// and drawn. Reads no disk and decides nothing.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "libraid/assemble/bitmap_view.h"

namespace mdtool {

// A lockless bitmap's state, with its values; a classic bitmap's bit: clean or dirty.
enum class ChunkMark : std::uint8_t {
  unwritten,
  clean,
  dirty,
  need_sync,
  syncing,
  need_sync_unwritten,
  syncing_unwritten,
  clean_unwritten,
  invalid,
};
constexpr std::size_t chunk_mark_count = 9;

std::string_view chunk_mark_name(ChunkMark mark);  // "need_sync"
// Which of two a picture must not hide: the higher one.
int urgency(ChunkMark mark);
// Parity, or the copies, may differ there.
bool is_due(ChunkMark mark);

// The marks of one bitmap, which has to outlive this.
class ChunkMarks {
 public:
  explicit ChunkMarks(const bitmap::Classic& bitmap) : classic_(&bitmap) {}
  explicit ChunkMarks(const bitmap::Lockless& bitmap) : lockless_(&bitmap) {}
  // None if it has no content that could be read.
  static std::optional<ChunkMarks> of(const BitmapView& view);

  Sectors chunk() const { return classic_ != nullptr ? classic_->chunk() : lockless_->chunk(); }
  std::uint64_t chunks() const { return classic_ != nullptr ? classic_->chunks() : lockless_->chunks(); }
  ChunkMark at(std::uint64_t chunk) const;
  // The same format, cut in the same way.
  bool comparable(const ChunkMarks& other) const;

 private:
  const bitmap::Classic* classic_ = nullptr;
  const bitmap::Lockless* lockless_ = nullptr;
};

using MarkCounts = std::array<std::uint64_t, chunk_mark_count>;
MarkCounts counts_of(const ChunkMarks& marks);

// Chunks [first, first + count) that have the same mark.
struct ChunkRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  ChunkMark mark = ChunkMark::unwritten;
  friend bool operator==(const ChunkRange&, const ChunkRange&) = default;
};
struct ChunkRanges {
  std::vector<ChunkRange> listed;
  std::uint64_t left_out = 0;  // ranges beyond the limit
};
ChunkRanges ranges_of(const ChunkMarks& marks, std::size_t most);

// Chunks of which a copy says one thing and all copies together another.
struct ChunkDifference {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  ChunkMark own = ChunkMark::unwritten;
  ChunkMark merged = ChunkMark::unwritten;
  friend bool operator==(const ChunkDifference&, const ChunkDifference&) = default;
};
struct ChunkDifferences {
  std::vector<ChunkDifference> listed;
  std::uint64_t left_out = 0;
  std::uint64_t chunks = 0;  // in all
};
// Both have to be comparable().
ChunkDifferences differences(const ChunkMarks& own, const ChunkMarks& merged, std::size_t most);

// Where chunks lie in the sync range: the last one may be cut short.
struct ChunkBytes {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};
ChunkBytes bytes_of(std::uint64_t first, std::uint64_t count, Sectors chunk, Sectors sync_size);

// What a resync guided by this bitmap has to look at, as far as it may be believed. Zero while it was never used.
struct Due {
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;
};
Due due_in(const BitmapView& view);

}  // namespace mdtool
