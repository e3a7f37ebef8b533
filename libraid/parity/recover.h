// SPDX-License-Identifier: GPL-2.0-or-later
// The lost blocks of one row from the others: any one of RAID-4/5, any one or two of RAID-6.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "libraid/parity/kernels.h"

namespace mdtool::parity {

// One row: a block per slot. `exponents[slot]` is the slot's exponent in Q; none for P and Q.
struct Row {
  std::span<MutableBlock const> blocks;                     // by slot
  std::span<const std::optional<std::uint32_t>> exponents;  // by slot
  std::uint32_t p = 0;
  std::optional<std::uint32_t> q;
  std::size_t bytes = 0;
};

// Fills the blocks of the `lost` slots (distinct) from all the others. Fails (refused), with nothing written, if more
// are lost than the row has parity. Lost blocks must point to writable memory; the others are only read.
Status recover(const Kernels&, const Row&, std::span<const std::uint32_t> lost);

// P (and Q) from all data blocks into the parity blocks of the row.
Status generate(const Kernels&, const Row&);
// True if P (and Q) agree with the data.
bool consistent(const Kernels&, const Row&);

}  // namespace mdtool::parity
