// SPDX-License-Identifier: GPL-2.0-or-later
// What an array owes, chunk by chunk, when its bitmap is to change: parity or copies that may differ, parity that was
// never built. Knows what each bitmap means to the kernel, not where on a member it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libmeta/bitmap/new_bitmap.h"
#include "libraid/assemble/assembly.h"
#include "libraid/edit/bitmap_room.h"

namespace mdtool {

// The first chunk is due where any is: Linux 7.2 starts the timer that ends a lockless sync at sector 0 only, and a
// pass that skips that chunk can end after one stripe of the next. The array is to be dirty, so that parity comes from
// data.
void owe_first_chunk(std::span<std::byte> lockless_states);

// How a bitmap of this shape is cut for the array.
bitmap::NewBitmap new_bitmap_of(const Assembly& array, const BitmapShape& shape, std::uint64_t events);

class BitmapDebt {
 public:
  // By this view of its bitmap: the array's own, one of an external file, or one that is absent.
  BitmapDebt(const Assembly& array, const BitmapView& view);

  // Chunks in which nothing vouches for parity or copies, whatever the superblock says: clear bits would forget them.
  bool owes_anything() const { return owed_bytes_ != 0; }
  std::uint64_t owed_bytes() const { return owed_bytes_; }  // of each member
  // Chunks whose content is in doubt: a lockless bitmap has a state for those that were only never written.
  bool owes_a_sync() const { return owes_a_sync_; }

  // The area of a new bitmap with all of this in it.
  std::vector<std::byte> in_classic(const bitmap::NewBitmap& cut) const;
  std::vector<std::byte> in_lockless(const bitmap::NewBitmap& cut) const;

 private:
  void read_classic(const Assembly& array, const BitmapView& view);
  void read_lockless(const BitmapView& view, bool raid456);
  void account(Sectors sync_size);
  std::uint8_t state_of(std::uint64_t first_source_chunk, std::uint64_t last_source_chunk) const;
  // The state, or the bit, of each chunk of so many bytes.
  std::vector<std::uint8_t> states_in(std::uint64_t chunk_bytes, Sectors sync_size) const;

  Sectors chunk_;                     // of the source; the whole range where there is no bitmap
  std::vector<std::uint8_t> states_;  // in the lockless coding
  // A classic bitmap's bits on a clean array: the kernel drops them, and they are no more than a hint for re-adds.
  bool only_hints_ = false;
  std::uint64_t owed_bytes_ = 0;
  bool owes_a_sync_ = false;
};

}  // namespace mdtool
