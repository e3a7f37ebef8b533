// SPDX-License-Identifier: GPL-2.0-or-later
// What a member says about its array, read from the documented offsets alone.
#pragma once

#include <cstdint>

#include "tests/crash/array_spec.h"

namespace mdtool::crash {

bool superblock_checksum_is_right(const ArraySpec&, const Image&);
std::uint64_t bitmap_events(const ArraySpec&, const Image&);
bool bit_is_set(const ArraySpec&, const Image&, std::uint64_t bitmap_chunk);        // classic
std::uint8_t state_of(const ArraySpec&, const Image&, std::uint64_t bitmap_chunk);  // lockless

}  // namespace mdtool::crash
