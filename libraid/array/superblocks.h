// SPDX-License-Identifier: GPL-2.0-or-later
// What a running array has to say in its members' superblocks, whatever their format.
#pragma once

#include <cstdint>
#include <span>

#include "libraid/array/live_members.h"

namespace mdtool {

// The array as every superblock of it is to describe it.
struct ArrayState {
  std::uint64_t events = 0;
  Sectors resync_offset;                           // max(): clean
  std::span<const std::uint32_t> faulty_slots;     // taken out since the start
  std::span<const std::uint32_t> corrected_reads;  // by slot: rewritten sectors' reads since the start
};

class Superblocks {
 public:
  virtual ~Superblocks() = default;
  // The highest events on any member at the start.
  virtual std::uint64_t events() const = 0;
  // One working member after the other, each durable before the next. A member that fails is taken out of the set and
  // passed over (the caller sees failures_seen() rise); fails if none is left.
  virtual Status write(const ArrayState&) = 0;
};

}  // namespace mdtool
