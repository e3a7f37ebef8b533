// SPDX-License-Identifier: GPL-2.0-or-later
// Why at run time: compilers were seen to miscompile vector code (clang 14 a broadcast operand of vgf2p8affineqb), and
// wrong parity is only noticed when a member is lost.
#include <algorithm>
#include <array>

#include "libraid/parity/kernel_tables.h"

namespace mdtool::parity {
namespace {

// Once round the widest loop (8 lines of 64 bytes) and once round the narrowest.
constexpr std::size_t test_bytes = 9 * 64;
// Enough for the shapes chosen by the number of sources, odd and even.
constexpr std::size_t max_sources = 9;

using TestBlock = std::array<std::byte, test_bytes>;

struct TestRow {
  std::array<TestBlock, max_sources> blocks;
  std::array<Block, max_sources> sources;
  std::array<std::uint8_t, max_sources> exponents;
  std::array<std::uint8_t, max_sources> coefficients;  // 2^exponent
};

// Every byte value occurs: 5 is prime to 256.
void fill(TestRow& row, std::uint8_t exponent_step) {
  for (std::size_t i = 0; i < max_sources; ++i) {
    for (std::size_t at = 0; at < test_bytes; ++at) {
      row.blocks[i][at] = static_cast<std::byte>((at * 5 + i * 37 + at / 256) & 0xff);
    }
    row.sources[i] = row.blocks[i].data();
    row.exponents[i] = static_cast<std::uint8_t>(i * exponent_step % 255);
    row.coefficients[i] = gf_power_of_two(row.exponents[i]);
  }
}

// XOR of coefficients[i] * sources[i], byte by byte.
TestBlock expected_sum(std::span<const Block> sources, std::span<const std::uint8_t> coefficients) {
  TestBlock sum{};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    for (std::size_t at = 0; at < test_bytes; ++at) {
      sum[at] ^= static_cast<std::byte>(gf_multiply(coefficients[i], std::to_integer<std::uint8_t>(sources[i][at])));
    }
  }
  return sum;
}

bool xor_passes(const Kernels& kernels, std::span<const Block> sources, TestBlock& p) {
  TestBlock result;
  kernels.xor_generate(sources, result.data(), test_bytes);
  std::array<Block, max_sources + 1> with_p{};
  std::ranges::copy(sources, with_p.begin());
  with_p[sources.size()] = p.data();
  const auto all = std::span(with_p).first(sources.size() + 1);
  const bool agrees = result == p && kernels.xor_check(all, test_bytes);
  p.back() ^= std::byte{1};
  const bool notices = !kernels.xor_check(all, test_bytes);
  p.back() ^= std::byte{1};
  return agrees && notices;
}

bool pq_passes(const Kernels& kernels, std::span<const Block> data, std::span<const std::uint8_t> exponents,
               const TestBlock& p, TestBlock& q) {
  TestBlock result_p;
  TestBlock result_q;
  kernels.pq_generate(data, exponents, result_p.data(), result_q.data(), test_bytes);
  const bool agrees =
      result_p == p && result_q == q && kernels.pq_check(data, exponents, p.data(), q.data(), test_bytes);
  q.front() ^= std::byte{1};
  const bool notices = !kernels.pq_check(data, exponents, p.data(), q.data(), test_bytes);
  q.front() ^= std::byte{1};
  return agrees && notices;
}

bool multiply_add_passes(const Kernels& kernels, std::span<const Block> sources,
                         std::span<const std::uint8_t> coefficients, const TestBlock& expected) {
  TestBlock result;
  kernels.multiply_add(sources, coefficients, result.data(), test_bytes);
  return result == expected;
}

}  // namespace

bool passes_self_test(const Kernels& kernels) {
  constexpr std::array<std::uint8_t, max_sources> ones{1, 1, 1, 1, 1, 1, 1, 1, 1};
  TestRow row;
  // Exponents 0, 1, 2, ..., and some out of order with holes.
  for (const std::uint8_t exponent_step : {std::uint8_t{1}, std::uint8_t{101}}) {
    fill(row, exponent_step);
    for (const std::size_t count : {std::size_t{1}, std::size_t{4}, std::size_t{8}, max_sources}) {
      const auto sources = std::span<const Block>(row.sources).first(count);
      const auto exponents = std::span<const std::uint8_t>(row.exponents).first(count);
      const auto coefficients = std::span<const std::uint8_t>(row.coefficients).first(count);
      TestBlock p = expected_sum(sources, ones);
      TestBlock q = expected_sum(sources, coefficients);
      if (!xor_passes(kernels, sources, p) || !pq_passes(kernels, sources, exponents, p, q) ||
          !multiply_add_passes(kernels, sources, coefficients, q)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace mdtool::parity
