// SPDX-License-Identifier: GPL-2.0-or-later
// What a resync, a build-parity or a recovery does to the write-intent bitmap, whatever its format: which chunks are
// due, what they are called while they are in work and afterwards. No I/O: the caller writes the bytes of encode() to
// the members.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/array/array.h"
#include "libraid/assemble/bitmap_view.h"

namespace mdtool {

// How a chunk ends that had never been written when its parity was built.
enum class BuiltState {
  automatic,        // CleanUnwritten where all data is zero, Clean elsewhere and for chunk 0
  clean_unwritten,  // as the kernel's proactive sync
  clean,            // for kernels whose lockless bitmap has five states only
};

class WriteIntent {
 public:
  // For a resync. `component` is the sync range's length; without a usable bitmap it is divided into units of
  // `unit`, or of a multiple where those would be too many to list.
  static WriteIntent for_resync(const BitmapView&, Sectors component, Sectors unit, bool clean);
  // For build-parity: every Unwritten chunk and every one that needs a sync; or every chunk there is. `clean`: whether
  // the array is.
  enum class Extent { unwritten, everything };
  static WriteIntent for_build(const BitmapView&, Sectors component, Sectors unit, Extent, bool clean);
  // For a recovery: the chunks that a member may lack which was away while this bitmap was kept. Of a lockless one
  // everything but Clean: a discard of a part of a chunk calls all of it Unwritten, data that is left there included.
  static WriteIntent for_recovery(const BitmapView&, Sectors component, Sectors unit);
  // For zero-init: every chunk that is not inside of the ranges (sorted, disjoint) where all members are zero and
  // parity is promised. While it is in work no chunk that is due promises anything.
  static WriteIntent for_zeroing(const BitmapView&, Sectors component, Sectors unit, std::span<const SectorRange> zero,
                                 BuiltState);

  // The chunks that are due, in order, and the component sectors of each.
  const std::vector<std::uint64_t>& due() const { return due_; }
  SectorRange range_of(std::uint64_t chunk) const;
  // True if a due chunk's parity is rewritten that a reader might rely on: the array is to be marked dirty first.
  bool rewrites_promised_parity() const { return rewrites_promised_; }
  // True if bytes on the members would change although nothing is due (bits left over, stale header).
  bool wants_tidying() const { return wants_tidying_; }

  // On a degraded array no bit is cleared and events_cleared stays: what follows changes no state any more.
  void keep_bits() { keeps_bits_ = true; }
  void start(std::uint64_t chunk);
  void finish(std::uint64_t chunk, bool data_is_zero, BuiltState);
  void leave(std::uint64_t chunk);  // it could not be computed: due again
  void finish_zeroed(std::uint64_t chunk, BuiltState);
  // After a recovery that filled all that was due of every member: nobody is owed anything any more. In the chunks
  // given (sorted) parity was found wrong: a lockless bitmap is to say so.
  void settle(const std::vector<std::uint64_t>& doubtful);
  // For a build that ends early: every due chunk from this one on is called what it was called before.
  void give_back_from(std::uint64_t chunk);

  // Present only where there is a bitmap that is to be written. The events of the superblock that is written with it.
  std::optional<std::vector<std::byte>> encode(std::uint64_t events);
  Sectors chunk() const { return chunk_; }
  bool has_bitmap() const { return classic_ || lockless_; }
  bool keeps_states() const { return lockless_.has_value(); }

 private:
  WriteIntent(Sectors component, Sectors chunk) : component_(component), chunk_(chunk) {}
  static WriteIntent over(const BitmapView&, Sectors component, Sectors unit);
  void due_everything();
  void due_from_states();
  void begin_first_use(bitmap::ChunkState if_assumed_clean);
  void due_to_be_zeroed(std::uint64_t chunk);
  void keep_zeroed(std::uint64_t chunk, BuiltState);

  Sectors component_;
  Sectors chunk_;
  std::optional<bitmap::Classic> classic_;
  std::optional<bitmap::Lockless> lockless_;
  std::optional<bitmap::Classic> classic_before_;
  std::optional<bitmap::Lockless> lockless_before_;
  std::vector<std::uint64_t> due_;
  bool rewrites_promised_ = false;
  bool keeps_bits_ = false;
  bool wants_tidying_ = false;
};

}  // namespace mdtool
