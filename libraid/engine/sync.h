// SPDX-License-Identifier: GPL-2.0-or-later
// Parity from data, row by row: what resync and build-parity do to members. It reads data, compares parity, and writes
// parity where it is wrong; it never writes a data block, and knows neither bitmaps nor superblocks.
#pragma once

#include <span>
#include <vector>

#include "libraid/array/array.h"
#include "libraid/io/block_device.h"

namespace mdtool {

struct SyncMember {
  BlockDevice* device = nullptr;  // null: missing
  Sectors data_offset;
  Sectors valid_until = Sectors::max();  // recovery_offset
  std::vector<SectorRange> bad;          // from the bad-block log, sorted, component sectors
};

// What syncing one range did.
struct SyncOutcome {
  bool data_is_zero = true;              // every data block that was read holds zeroes only
  std::uint64_t parity_bytes_wrong = 0;  // and rewritten, unless checking
  Sectors rows_left;                     // rows that could not be computed: too much of them is missing
};

class ParitySync {
 public:
  enum class Mode { correct, check };  // check: count what is wrong, write nothing

  // `members` by slot, as many as the layout has.
  ParitySync(const Layout&, std::vector<SyncMember> members, const parity::Kernels&);

  // Puts parity right in [first, first + count) component sectors, or fails where data cannot be read or parity not
  // written. A missing data block of RAID-6 is taken from P, and Q rewritten.
  Result<SyncOutcome> sync(SectorRange range, Mode = Mode::correct);
  // Durable on all members.
  Status flush();

  std::uint64_t bytes_read(std::uint32_t slot) const { return read_[slot]; }
  std::uint64_t bytes_written(std::uint32_t slot) const { return written_[slot]; }

 private:
  Sectors uniform_run(SectorRange) const;
  bool usable(std::uint32_t slot, Sectors) const;
  Status sync_piece(SectorRange, SyncOutcome&, Mode);
  Status read_block(std::uint32_t slot, SectorRange, std::byte* to);
  Status write_if_wrong(std::uint32_t slot, SectorRange, const std::byte* right, SyncOutcome&, Mode);

  Layout layout_;
  std::vector<SyncMember> members_;
  const parity::Kernels* kernels_;
  std::vector<std::byte> pool_;
  std::vector<std::byte> stored_;
  std::vector<std::uint64_t> read_, written_;
};

}  // namespace mdtool
