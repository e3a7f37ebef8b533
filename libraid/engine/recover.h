// SPDX-License-Identifier: GPL-2.0-or-later
// Members from the other members, row by row: what recover does to them. It writes what a member lacks, only where
// enough of the row is known, and nothing else; it knows neither bitmaps nor superblocks.
#pragma once

#include <vector>

#include "libraid/array/array.h"
#include "libraid/io/block_device.h"

namespace mdtool {

// One slot's member. Ranges are sorted and disjoint, in component sectors.
struct RecoverMember {
  BlockDevice* device = nullptr;  // null: missing
  Sectors data_offset;
  std::vector<SectorRange> lacks;  // to be filled, and not to be read
  std::vector<SectorRange> bad;    // from the bad-block log: not to be read
};

// Rows of which a slot lacks its block, and too many of the others do, too.
struct RowsLeft {
  std::uint32_t slot = 0;
  SectorRange range;
};

struct RecoverOutcome {
  std::vector<RowsLeft> left;
  // Rows of which every block is there now, and the parity does not agree: Q, where a block was taken from P.
  std::vector<SectorRange> disagreeing;
};

class MemberRecovery {
 public:
  // `members` by slot, as many as the layout has.
  MemberRecovery(const Layout&, std::vector<RecoverMember> members, const parity::Kernels&);

  // Fills what any member lacks of [first, first + count) component sectors. A block that cannot be read counts as
  // lost; one that cannot be written fails.
  Result<RecoverOutcome> fill(SectorRange range);
  // What was filled is durable.
  Status flush();

  std::uint64_t bytes_read(std::uint32_t slot) const { return read_[slot]; }
  std::uint64_t bytes_written(std::uint32_t slot) const { return written_[slot]; }

 private:
  SectorRange uniform_piece(SectorRange) const;
  std::vector<std::uint32_t> unreadable_slots(Sectors) const;
  bool lacks(std::uint32_t slot, Sectors) const;
  Status fill_piece(SectorRange, RecoverOutcome&);
  Status fill_in_parts(SectorRange, RecoverOutcome&);
  std::vector<std::uint32_t> read_blocks(SectorRange, const std::vector<std::uint32_t>& lost);
  Status compute_and_write(SectorRange, const std::vector<std::uint32_t>& lost, RecoverOutcome&);
  void leave(SectorRange, RecoverOutcome&) const;

  Layout layout_;
  std::vector<RecoverMember> members_;
  const parity::Kernels* kernels_;
  std::vector<std::byte> pool_;
  std::vector<std::uint64_t> read_, written_;
};

// `ranges` with `next` at the end, as one where they touch.
void append_range(std::vector<SectorRange>& ranges, SectorRange next);

}  // namespace mdtool
