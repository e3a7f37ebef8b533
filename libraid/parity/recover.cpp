// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/parity/recover.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <memory_resource>
#include <string>

namespace mdtool::parity {
namespace {

// Blocks of a row and what they are multiplied with; on the stack unless the row is very wide.
class Terms {
 public:
  explicit Terms(std::size_t capacity) {
    sources_.reserve(capacity);
    factors_.reserve(capacity);
  }
  void add(Block source, std::uint32_t factor = 1) {
    sources_.push_back(source);
    factors_.push_back(static_cast<std::uint8_t>(factor));
  }
  std::span<const Block> sources() const { return sources_; }
  std::span<const std::uint8_t> factors() const { return factors_; }

 private:
  std::array<std::byte, 2560> storage_;
  std::pmr::monotonic_buffer_resource arena_{storage_.data(), storage_.size()};
  std::pmr::vector<Block> sources_{&arena_};
  std::pmr::vector<std::uint8_t> factors_{&arena_};
};

bool is_parity(const Row& row, std::uint32_t slot) {
  return slot == row.p || slot == row.q;
}

std::uint32_t exponent(const Row& row, std::uint32_t slot) {
  assert(row.exponents[slot].has_value());
  return *row.exponents[slot];
}

std::uint8_t weight(const Row& row, std::uint32_t slot) {
  return gf_power_of_two(exponent(row, slot));
}

// Calls `visit(slot)` for all data slots that are not among `lost`.
template <typename Visit>
void for_each_data(const Row& row, std::span<const std::uint32_t> lost, Visit visit) {
  for (std::uint32_t slot = 0; slot < row.blocks.size(); ++slot) {
    if (!is_parity(row, slot) && std::ranges::find(lost, slot) == lost.end()) {
      visit(slot);
    }
  }
}

// The XOR of all blocks that take part in P, P itself among them, is zero: any one of them from the others.
void fill_from_p(const Kernels& kernels, const Row& row, std::uint32_t slot) {
  Terms others(row.blocks.size());
  for (std::uint32_t other = 0; other < row.blocks.size(); ++other) {
    if (other != slot && other != row.q) {
      others.add(row.blocks[other]);
    }
  }
  kernels.xor_generate(others.sources(), row.blocks[slot], row.bytes);
}

void fill_q(const Kernels& kernels, const Row& row) {
  Terms data(row.blocks.size());
  for_each_data(row, {}, [&](std::uint32_t slot) { data.add(row.blocks[slot], weight(row, slot)); });
  kernels.multiply_add(data.sources(), data.factors(), row.blocks[*row.q], row.bytes);
}

// One data block without P: D = (Q ^ Q') / 2^a.
void fill_data_from_q(const Kernels& kernels, const Row& row, std::uint32_t lost) {
  const std::uint8_t inverse = gf_inverse(weight(row, lost));
  Terms terms(row.blocks.size());
  for_each_data(row, std::span(&lost, 1),
                [&](std::uint32_t slot) { terms.add(row.blocks[slot], gf_multiply(inverse, weight(row, slot))); });
  terms.add(row.blocks[*row.q], inverse);
  kernels.multiply_add(terms.sources(), terms.factors(), row.blocks[lost], row.bytes);
}

// Two data blocks: D_a = (2^b * (P ^ P') ^ Q ^ Q') / (2^a ^ 2^b), all in one sum; then D_b from P.
void fill_two_data(const Kernels& kernels, const Row& row, std::uint32_t lost_a, std::uint32_t lost_b) {
  const std::uint8_t weight_b = weight(row, lost_b);
  const std::uint8_t inverse = gf_inverse(weight(row, lost_a) ^ weight_b);
  Terms terms(row.blocks.size());
  for_each_data(row, std::array{lost_a, lost_b}, [&](std::uint32_t slot) {
    terms.add(row.blocks[slot], gf_multiply(inverse, weight_b ^ weight(row, slot)));
  });
  terms.add(row.blocks[row.p], gf_multiply(inverse, weight_b));
  terms.add(row.blocks[*row.q], inverse);
  kernels.multiply_add(terms.sources(), terms.factors(), row.blocks[lost_a], row.bytes);
  fill_from_p(kernels, row, lost_b);
}

struct Lost {
  std::array<std::uint32_t, 2> data{};
  std::size_t data_count = 0;
  std::size_t p_count = 0;
  std::size_t q_count = 0;
};

Error refused(std::string text) {
  return {ErrorKind::refused, std::move(text)};
}

Result<Lost> sort_out(const Row& row, std::span<const std::uint32_t> slots) {
  const std::size_t parity_blocks = row.q ? 2 : 1;
  if (slots.size() > parity_blocks) {
    return refused(std::to_string(slots.size()) + " blocks of a row are lost, and it has parity for " +
                   std::to_string(parity_blocks));
  }
  Lost lost;
  for (const std::uint32_t slot : slots) {
    if (slot >= row.blocks.size() || std::ranges::count(slots, slot) != 1) {
      return refused("slot " + std::to_string(slot) + " cannot be lost: not in the row, or named twice");
    }
    if (slot == row.p) {
      ++lost.p_count;
    } else if (slot == row.q) {
      ++lost.q_count;
    } else {
      lost.data[lost.data_count++] = slot;
    }
  }
  return lost;
}

}  // namespace

Status recover(const Kernels& kernels, const Row& row, std::span<const std::uint32_t> lost_slots) {
  TRY(lost, sort_out(row, lost_slots));
  if (lost.p_count == 1 && lost.q_count == 1) {
    return generate(kernels, row);
  }
  if (lost.data_count == 2) {
    fill_two_data(kernels, row, lost.data[0], lost.data[1]);
  } else if (lost.data_count == 1 && lost.p_count == 1) {
    fill_data_from_q(kernels, row, lost.data[0]);
  } else if (lost.data_count == 1) {
    fill_from_p(kernels, row, lost.data[0]);
  }
  if (lost.p_count == 1) {
    fill_from_p(kernels, row, row.p);
  }
  if (lost.q_count == 1) {
    fill_q(kernels, row);
  }
  return Done{};
}

Status generate(const Kernels& kernels, const Row& row) {
  if (!row.q) {
    fill_from_p(kernels, row, row.p);
    return Done{};
  }
  Terms data(row.blocks.size());
  for_each_data(row, {}, [&](std::uint32_t slot) { data.add(row.blocks[slot], exponent(row, slot)); });
  kernels.pq_generate(data.sources(), data.factors(), row.blocks[row.p], row.blocks[*row.q], row.bytes);
  return Done{};
}

bool consistent(const Kernels& kernels, const Row& row) {
  Terms terms(row.blocks.size());
  if (!row.q) {
    for (const Block block : row.blocks) {
      terms.add(block);
    }
    return kernels.xor_check(terms.sources(), row.bytes);
  }
  for_each_data(row, {}, [&](std::uint32_t slot) { terms.add(row.blocks[slot], exponent(row, slot)); });
  return kernels.pq_check(terms.sources(), terms.factors(), row.blocks[row.p], row.blocks[*row.q], row.bytes);
}

}  // namespace mdtool::parity
