// SPDX-License-Identifier: GPL-2.0-or-later
// The sums that md puts over its metadata: the folded word sum of superblocks, and CRC-32C as PPL and the journal use
// it. Knows no structure: callers say where a stored sum lies.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mdtool {

// calc_sb_csum() and calc_sb_1_csum() in drivers/md/md.c: 32-bit words summed in 64 bits and folded once, a last half
// word added as such, the word at `csum_offset` (a multiple of 4) taken as 0.
template <std::endian Order>
std::uint32_t superblock_sum(std::span<const std::byte> superblock, std::size_t csum_offset);

// The plain reflected loop, no inversion at either end: what crc32c() means in the kernel. Chains: the result is the
// next seed.
std::uint32_t crc32c(std::uint32_t seed, std::span<const std::byte> bytes);
// Standard CRC-32C: seed and result inverted.
std::uint32_t crc32c_standard(std::span<const std::byte> bytes);

}  // namespace mdtool
