// SPDX-License-Identifier: GPL-2.0-or-later
// What can be done to the rows of one stripe by whoever has leased it: write data with its parity, reconstruct a block,
// put parity right. Chooses the cheapest way that relies on nothing unproven. Takes no lock, writes no metadata.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "libraid/array/intent.h"
#include "libraid/array/live_members.h"
#include "libraid/array/stripe_cache.h"
#include "libraid/geometry/layout.h"
#include "libraid/parity/kernels.h"

namespace mdtool {

class Stripes {
 public:
  Stripes(const Layout&, LiveMembers&, const Intent&, const parity::Kernels&);

  // All rows below lie within one chunk, and within the workspace's blocks.

  // The requests' data in these rows, the last one counting where they overlap, and parity. A member that cannot be
  // written is taken out; fails (io) where a block can neither be stored nor reconstructed afterwards, and (refused)
  // once the array has failed.
  Status write(SectorRange rows, std::span<const WriteRequest* const>, Workspace&);
  // What `slot` holds or should hold there. What its member could not read is written back if parity is trusted.
  Status read(std::uint32_t slot, SectorRange rows, std::span<std::byte> out, Workspace&);
  // Parity from data, written where it is wrong. `left`: rows that could not be computed.
  enum class Synced { all, left };
  Result<Synced> synchronise(SectorRange rows, Workspace&);
  // Zeroes in all blocks, parity too.
  Status zero(SectorRange rows);

  // Sectors of that slot that could not be read, and were written again.
  std::uint32_t corrected_reads(std::uint32_t slot) const { return corrected_[slot].load(); }

 private:
  // Rows in which nothing changes but the offset.
  struct Piece {
    SectorRange rows;
    std::uint64_t stripe = 0;  // of the array: a chunk of every slot
    ParitySlots parity;
    std::span<const WriteRequest* const> requests;
    std::size_t bytes() const { return rows.count.bytes(); }
  };
  // How new parity comes about.
  enum class Way {
    from_data,    // all data, read where it is not new
    from_change,  // old data and old parity
    recover,      // what is lost first, from everything that is left
    none,         // no parity block of these rows is kept
    impossible,
  };

  std::uint32_t slots() const { return layout_.geometry().raid_disks; }
  Piece piece_of(SectorRange rows, std::span<const WriteRequest* const> = {}) const;
  bool valid(std::uint32_t slot, const Piece&) const;
  bool readable(std::uint32_t slot, const Piece&, const Workspace&) const;
  std::span<const Sectors> cuts(SectorRange rows, std::span<const WriteRequest* const>, Workspace&) const;
  // Puts into the workspace where the piece's data blocks are, and what becomes of them.
  void place_data(const Piece&, Workspace&) const;
  const std::byte* new_data(const Piece&, std::uint32_t data_index) const;

  template <typename Act>  // Status act(const Piece&), for all rows, in pieces
  Status for_each_piece(SectorRange rows, std::span<const WriteRequest* const>, Workspace&, Act act) const;
  template <typename Act>  // the same in the smallest pieces that md knows
  Status for_each_small_piece(const Piece&, Workspace&, Act act) const;

  Status write_piece(const Piece&, Workspace&);
  Status write_small_piece(const Piece&, Workspace&);
  Way choose(const Piece&, const Workspace&) const;
  Status fetch(const Piece&, Way, Workspace&);
  Status fetch_block(std::uint32_t slot, const Piece&, Workspace&);
  Status fetch_all_but_lost(const Piece&, Workspace&);
  void compute(const Piece&, Way, Workspace&);
  void compute_from_data(const Piece&, Workspace&);
  void compute_from_change(const Piece&, Workspace&);
  Status store(const Piece&, Way, Workspace&);
  Status read_lost(std::uint32_t slot, const Piece&, std::span<std::byte> out, Workspace&);
  Status recover(const Piece&, Workspace&);
  void mend(std::uint32_t slot, const Piece&, std::span<const std::byte> content);
  Result<Synced> synchronise_piece(const Piece&, Workspace&);
  void store_if_wrong(std::uint32_t slot, const Piece&, const std::byte* right, Workspace&);

  Layout layout_;
  LiveMembers& members_;
  const Intent& intent_;
  const parity::Kernels& kernels_;
  std::vector<std::atomic<std::uint32_t>> corrected_;
};

}  // namespace mdtool
