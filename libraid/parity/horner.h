// SPDX-License-Identifier: GPL-2.0-or-later
// The order in which Q is summed up without multiplications: from the greatest exponent down, doubling in between.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "libraid/parity/gf_tables.h"
#include "libraid/parity/kernels.h"

namespace mdtool::parity {

class Horner {
 public:
  // At most 255 sources, since their exponents are distinct.
  Horner(std::span<const Block> data, std::span<const std::uint8_t> exponents);

  std::size_t size() const { return size_; }
  Block source(std::size_t i) const { return sources_[i]; }  // by falling exponent
  // Doublings of the sum before source i comes in, beyond the usual one; only from the second source on.
  unsigned extra_doublings(std::size_t i) const { return extra_doublings_[i]; }
  // Doublings after the last source: its exponent.
  unsigned last_doublings() const { return last_doublings_; }

 private:
  std::array<Block, field_order> sources_;  // size_ of them are set
  std::array<std::uint8_t, field_order> extra_doublings_;
  std::size_t size_ = 0;
  unsigned last_doublings_ = 0;
};

}  // namespace mdtool::parity
