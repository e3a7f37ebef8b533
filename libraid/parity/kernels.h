// SPDX-License-Identifier: GPL-2.0-or-later
// Parity arithmetic over GF(2^8) with the polynomial 0x11d, one constant table of functions per instruction set.
// Compute only: spans and pointers, no devices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "libmeta/result.h"

namespace mdtool::parity {

using Block = const std::byte*;
using MutableBlock = std::byte*;

// At least one source. All lengths are multiples of 64 bytes; any alignment. Sources and destinations do not overlap.
struct Kernels {
  std::string_view name;  // "scalar", "avx2", "avx512-gfni", ...
  // destination = XOR of n >= 1 sources
  void (*xor_generate)(std::span<const Block> sources, MutableBlock destination, std::size_t bytes);
  // P = XOR of D[i]; Q = XOR of 2^exponents[i] * D[i]. Exponents distinct, in any order, with or without holes, each
  // below 255.
  void (*pq_generate)(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p,
                      MutableBlock q, std::size_t bytes);
  // True if the XOR of all sources is zero.
  bool (*xor_check)(std::span<const Block> sources, std::size_t bytes);
  bool (*pq_check)(std::span<const Block> data, std::span<const std::uint8_t> exponents, Block p, Block q,
                   std::size_t bytes);
  // destination = XOR of coefficients[i] * sources[i]: what every recovery of one or two lost blocks comes down to.
  void (*multiply_add)(std::span<const Block> sources, std::span<const std::uint8_t> coefficients,
                       MutableBlock destination, std::size_t bytes);
};

// Every table that this processor can run, fastest first; scalar is always the last.
std::span<const Kernels* const> supported_kernels();
// The fastest that passes its known-answer test, or, if a name is given, that one; fails (usage) on a name that is
// unknown or not supported here, or whose kernels give wrong answers.
Result<const Kernels*> choose_kernels(std::string_view forced_name);

// Field arithmetic for tables and recovery coefficients.
std::uint8_t gf_multiply(std::uint8_t a, std::uint8_t b);
std::uint8_t gf_power_of_two(std::uint32_t exponent);  // 2^255 = 1
std::uint8_t gf_inverse(std::uint8_t a);               // a != 0

}  // namespace mdtool::parity
