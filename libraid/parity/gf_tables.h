// SPDX-License-Identifier: GPL-2.0-or-later
// Constant tables of GF(2^8) modulo 0x11d, made by the compiler. For the kernels only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mdtool::parity {

inline constexpr std::size_t field_size = 256;
inline constexpr std::size_t field_order = 255;  // 2^255 = 1
// x^8 = x^4 + x^3 + x^2 + 1: what a doubling folds back where the top bit leaves.
inline constexpr std::uint8_t reduction = 0x1d;

constexpr std::uint8_t doubled(std::uint8_t x) {
  return static_cast<std::uint8_t>((x << 1) ^ ((x & 0x80) != 0 ? reduction : 0));
}

struct Logarithms {
  std::array<std::uint8_t, 2 * field_order> power{};  // of two; twice over, so that two logarithms may be added
  std::array<std::uint8_t, field_size> log{};         // log[0] means nothing
};

constexpr Logarithms make_logarithms() {
  Logarithms tables;
  std::uint8_t x = 1;
  for (std::size_t i = 0; i < field_order; ++i) {
    tables.power[i] = tables.power[i + field_order] = x;
    tables.log[x] = static_cast<std::uint8_t>(i);
    x = doubled(x);
  }
  return tables;
}

inline constexpr Logarithms logarithms = make_logarithms();

constexpr std::uint8_t multiply(std::uint8_t a, std::uint8_t b) {
  return a == 0 || b == 0 ? std::uint8_t{0}
                          : logarithms.power[std::size_t{logarithms.log[a]} + std::size_t{logarithms.log[b]}];
}

// c * x for the low and for the high four bits of x: what a byte shuffle looks up.
struct Nibbles {
  std::array<std::uint8_t, 16> low{};
  std::array<std::uint8_t, 16> high{};
};

constexpr std::array<Nibbles, field_size> make_nibbles() {
  std::array<Nibbles, field_size> tables;
  for (std::size_t c = 0; c < field_size; ++c) {
    for (std::size_t x = 0; x < 16; ++x) {
      tables[c].low[x] = multiply(static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(x));
      tables[c].high[x] = multiply(static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(x << 4));
    }
  }
  return tables;
}

inline constexpr std::array<Nibbles, field_size> nibbles = make_nibbles();

// "Multiply by c" as the 8x8 bit matrix of vgf2p8affineqb: byte 7 - i holds the inputs of output bit i.
constexpr std::uint64_t affine_matrix(std::uint8_t c) {
  std::uint64_t matrix = 0;
  for (unsigned input = 0; input < 8; ++input, c = doubled(c)) {
    for (unsigned output = 0; output < 8; ++output) {
      matrix |= std::uint64_t{(c >> output) & 1U} << (8 * (7 - output) + input);
    }
  }
  return matrix;
}

constexpr std::array<std::uint64_t, field_size> make_affine_matrices() {
  std::array<std::uint64_t, field_size> matrices{};
  for (std::size_t c = 0; c < field_size; ++c) {
    matrices[c] = affine_matrix(static_cast<std::uint8_t>(c));
  }
  return matrices;
}

inline constexpr std::array<std::uint64_t, field_size> affine_matrices = make_affine_matrices();

}  // namespace mdtool::parity
