// SPDX-License-Identifier: GPL-2.0-or-later
// The oracle of all other kernels: 64-bit words, eight of them at a time, which any compiler turns into whatever
// vectors the architecture always has.
#include <array>
#include <cstring>

#include "libraid/parity/horner.h"
#include "libraid/parity/kernel_tables.h"

namespace mdtool::parity {
namespace {

using Line = std::array<std::uint64_t, 8>;

constexpr std::uint64_t every_byte = 0x0101010101010101;
constexpr std::uint64_t top_bits = every_byte * 0x80;

Line load(Block block) {
  Line line;
  std::memcpy(line.data(), block, sizeof line);
  return line;
}

void store(MutableBlock block, const Line& line) {
  std::memcpy(block, line.data(), sizeof line);
}

void add(Line& sum, const Line& line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    sum[i] ^= line[i];
  }
}

void double_bytes(Line& line) {
  for (std::uint64_t& word : line) {
    const std::uint64_t leaving = word & top_bits;
    const std::uint64_t mask = (leaving << 1) - (leaving >> 7);  // 0xff in the bytes that overflow
    word = ((word ^ leaving) << 1) ^ (mask & (every_byte * reduction));
  }
}

bool is_zero(const Line& line) {
  std::uint64_t any = 0;
  for (const std::uint64_t word : line) {
    any |= word;
  }
  return any == 0;
}

Line xor_line(std::span<const Block> sources, std::size_t at) {
  Line sum = load(sources[0] + at);
  for (const Block source : sources.subspan(1)) {
    add(sum, load(source + at));
  }
  return sum;
}

struct PqLine {
  Line p;
  Line q;
};

PqLine pq_line(const Horner& terms, std::size_t at) {
  PqLine sum;
  sum.p = sum.q = load(terms.source(0) + at);
  for (std::size_t i = 1; i < terms.size(); ++i) {
    const Line data = load(terms.source(i) + at);
    for (unsigned extra = terms.extra_doublings(i); extra != 0; --extra) {
      double_bytes(sum.q);
    }
    double_bytes(sum.q);
    add(sum.q, data);
    add(sum.p, data);
  }
  for (unsigned last = terms.last_doublings(); last != 0; --last) {
    double_bytes(sum.q);
  }
  return sum;
}

void xor_generate(std::span<const Block> sources, MutableBlock destination, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += sizeof(Line)) {
    store(destination + at, xor_line(sources, at));
  }
}

bool xor_check(std::span<const Block> sources, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += sizeof(Line)) {
    if (!is_zero(xor_line(sources, at))) {
      return false;
    }
  }
  return true;
}

void pq_generate(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p, MutableBlock q,
                 std::size_t bytes) {
  const Horner terms(data, exponents);
  for (std::size_t at = 0; at < bytes; at += sizeof(Line)) {
    const PqLine sum = pq_line(terms, at);
    store(p + at, sum.p);
    store(q + at, sum.q);
  }
}

bool pq_check(std::span<const Block> data, std::span<const std::uint8_t> exponents, Block p, Block q,
              std::size_t bytes) {
  const Horner terms(data, exponents);
  for (std::size_t at = 0; at < bytes; at += sizeof(Line)) {
    PqLine sum = pq_line(terms, at);
    add(sum.p, load(p + at));
    add(sum.q, load(q + at));
    if (!is_zero(sum.p) || !is_zero(sum.q)) {
      return false;
    }
  }
  return true;
}

// Horner's rule over the bits of the coefficients: seven doublings, however many sources there are.
Line multiply_add_line(std::span<const Block> sources, std::span<const std::uint8_t> coefficients, std::size_t at) {
  Line sum{};
  for (unsigned bit = 0x80; bit != 0; bit >>= 1) {
    double_bytes(sum);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if ((coefficients[i] & bit) != 0) {
        add(sum, load(sources[i] + at));
      }
    }
  }
  return sum;
}

void multiply_add(std::span<const Block> sources, std::span<const std::uint8_t> coefficients, MutableBlock destination,
                  std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += sizeof(Line)) {
    store(destination + at, multiply_add_line(sources, coefficients, at));
  }
}

}  // namespace

constexpr Kernels scalar_kernels{"scalar", xor_generate, pq_generate, xor_check, pq_check, multiply_add};

}  // namespace mdtool::parity
