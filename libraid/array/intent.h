// SPDX-License-Identifier: GPL-2.0-or-later
// What a writer has to have said on the members before its data goes there, and what is still to be synchronised: the
// write-intent bitmap of a running array, whatever its format, or none. All functions may be called by many threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "libraid/array/array.h"

namespace mdtool {

// Milliseconds of a clock that never goes back.
using Ticks = std::chrono::milliseconds;

class Intent {
 public:
  virtual ~Intent() = default;

  // For writers. `rows` are component sectors: those of whole stripes that the write overlaps (md-raid5's rule for
  // bitmaps). Returns once every chunk of them is marked, durably, on every working member; pairs with end_write().
  virtual Status start_write(SectorRange rows) = 0;
  enum class Written { yes, no };  // no: the parity of these rows may be wrong now; they are due
  virtual void end_write(SectorRange rows, Written, Ticks now) = 0;
  // For whole stripes that are about to be zeroed because their content was discarded: as start_write(), but asks for
  // no parity to be built and drags no neighbour along; pairs with end_write().
  virtual Status start_discard(SectorRange rows) = 0;
  // Between start_discard() and end_write(), once all of these rows are zeroes, parity too: chunks wholly inside hold
  // no data any more.
  virtual void discard(SectorRange rows) = 0;

  // True if the parity of all these rows is promised: it may be used to update it, and to reconstruct what cannot be
  // read. Elsewhere parity is computed from data.
  virtual bool trusts_parity(SectorRange rows) const = 0;

  // For the builder of parity. The next rows at or after `from` that are due, at most one chunk, now in work: while
  // they are, they stay marked. None: nothing is due from there to the end.
  virtual std::optional<SectorRange> start_sync(Sectors from) = 0;
  enum class Synced { yes, no };
  // `rows` as start_sync() gave them; yes: parity of all of them was put right, by writes that have returned.
  virtual void end_sync(SectorRange rows, Synced, Ticks now) = 0;
  virtual bool anything_due() const = 0;
  // What the superblock of an idle array is to say: max() if the array is clean although parity may be due (in chunks
  // that the bitmap names, whose written rows are right), else where a resync has to start.
  virtual Sectors resync_offset() const = 0;

  // Clearing, in two steps with a flush of all members' data in between: false if nothing is ripe by now.
  virtual bool prepare_to_clear(Ticks now) = 0;
  // Clears what was ripe and has not been written since. `events` as in the superblocks.
  virtual Status clear_prepared(Ticks now) = 0;
  // How long until prepare_to_clear() may find something; none: nothing is waiting.
  virtual std::optional<Ticks> clears_in(Ticks now) const = 0;

  // From now on nothing is cleared: a member is missing.
  virtual void degraded() = 0;
  // The header for superblocks with these events, durable on every working member; before they are written.
  virtual Status write_header(std::uint64_t events) = 0;
  // Everything that is only in memory so far, with this header: at the end, after a flush, with no write in flight and
  // no sync in work. A complete array's bitmap then asks for nothing but what is still due.
  virtual Status write_all(std::uint64_t events) = 0;
};

}  // namespace mdtool
