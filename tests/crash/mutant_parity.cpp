// SPDX-License-Identifier: GPL-2.0-or-later
// Mutants that compute wrong parity.
#include <algorithm>
#include <array>
#include <cstring>

#include "tests/crash/mutant.h"

namespace mdtool::crash {

namespace {

using parity::Block;
using parity::Kernels;
using parity::MutableBlock;

constexpr std::size_t tail_bytes = 64;
using Exponents = std::array<std::uint8_t, 256>;

const Kernels& right() {
  return *parity::supported_kernels().front();
}

void xor_without_tail(std::span<const Block> sources, MutableBlock to, std::size_t bytes) {
  if (bytes > tail_bytes) {
    right().xor_generate(sources, to, bytes - tail_bytes);
  }
}

void xor_without_last(std::span<const Block> sources, MutableBlock to, std::size_t bytes) {
  right().xor_generate(sources.first(std::max<std::size_t>(1, sources.size() - 1)), to, bytes);
}

void q_coefficient_off(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p,
                       MutableBlock q, std::size_t bytes) {
  Exponents off{};
  std::copy(exponents.begin(), exponents.end(), off.begin());
  off[exponents.size() - 1] = static_cast<std::uint8_t>(off[exponents.size() - 1] + 7);
  right().pq_generate(data, std::span(off).first(exponents.size()), p, q, bytes);
}

void q_is_p(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p, MutableBlock q,
            std::size_t bytes) {
  right().pq_generate(data, exponents, p, q, bytes);
  std::memcpy(q, p, bytes);
}

void pq_without_last(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p,
                     MutableBlock q, std::size_t bytes) {
  const std::size_t n = std::max<std::size_t>(1, data.size() - 1);
  right().pq_generate(data.first(n), exponents.first(n), p, q, bytes);
}

void pq_without_tail(std::span<const Block> data, std::span<const std::uint8_t> exponents, MutableBlock p,
                     MutableBlock q, std::size_t bytes) {
  if (bytes > tail_bytes) {
    right().pq_generate(data, exponents, p, q, bytes - tail_bytes);
  }
}

void multiply_by_one(std::span<const Block> sources, std::span<const std::uint8_t>, MutableBlock to,
                     std::size_t bytes) {
  right().xor_generate(sources, to, bytes);
}

template <auto Function, auto Kernels::*Member>
const Kernels* with() {
  static const Kernels changed = [] {
    Kernels k = right();
    k.name = "mutant";
    k.*Member = Function;
    return k;
  }();
  return &changed;
}

}  // namespace

std::vector<Mutant> parity_mutants() {
  return {
      {.name = "the last 64 bytes of P are not computed", .kernels = with<xor_without_tail, &Kernels::xor_generate>()},
      {.name = "P lacks a source", .kernels = with<xor_without_last, &Kernels::xor_generate>()},
      {.name = "Q has a wrong coefficient", .kernels = with<q_coefficient_off, &Kernels::pq_generate>()},
      {.name = "Q is P", .kernels = with<q_is_p, &Kernels::pq_generate>()},
      {.name = "P and Q lack a source", .kernels = with<pq_without_last, &Kernels::pq_generate>()},
      {.name = "the last 64 bytes of P and Q are not computed",
       .kernels = with<pq_without_tail, &Kernels::pq_generate>()},
      {.name = "every coefficient is 1", .kernels = with<multiply_by_one, &Kernels::multiply_add>()},
  };
}

}  // namespace mdtool::crash
