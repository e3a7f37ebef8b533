// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/parity/gf_tables.h"
#include "libraid/parity/kernels.h"

namespace mdtool::parity {

std::uint8_t gf_multiply(std::uint8_t a, std::uint8_t b) {
  return multiply(a, b);
}

std::uint8_t gf_power_of_two(std::uint32_t exponent) {
  return logarithms.power[exponent % field_order];
}

std::uint8_t gf_inverse(std::uint8_t a) {
  return logarithms.power[field_order - logarithms.log[a]];
}

}  // namespace mdtool::parity
