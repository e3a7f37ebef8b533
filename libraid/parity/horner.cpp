// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/parity/horner.h"

#include <algorithm>
#include <cassert>
#include <functional>

namespace mdtool::parity {
namespace {

struct Term {
  std::uint8_t exponent;
  std::uint8_t source;
};

}  // namespace

Horner::Horner(std::span<const Block> data, std::span<const std::uint8_t> exponents) : size_(data.size()) {
  assert(!data.empty() && data.size() <= field_order && data.size() == exponents.size());
  std::array<Term, field_order> storage{};
  const std::span<Term> terms = std::span(storage).first(size_);
  for (std::size_t i = 0; i < size_; ++i) {
    terms[size_ - 1 - i] = {exponents[i], static_cast<std::uint8_t>(i)};
  }
  if (!std::ranges::is_sorted(terms, std::greater{}, &Term::exponent)) {
    std::ranges::sort(terms, std::greater{}, &Term::exponent);
  }
  unsigned previous = terms.front().exponent + 1U;
  for (std::size_t i = 0; i < size_; ++i) {
    sources_[i] = data[terms[i].source];
    extra_doublings_[i] = static_cast<std::uint8_t>(previous - terms[i].exponent - 1U);
    previous = terms[i].exponent;
  }
  last_doublings_ = previous;
}

}  // namespace mdtool::parity
