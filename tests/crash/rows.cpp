// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/rows.h"

#include <array>
#include <cstring>

namespace mdtool::crash {

namespace {

using Words = std::array<std::uint64_t, sector_bytes / sizeof(std::uint64_t)>;

Words words_of(const ArraySpec& spec, const std::vector<Image>& images, std::uint32_t slot, std::uint64_t row) {
  Words words;
  std::memcpy(words.data(), images[slot].data() + (spec.data_offset() + row) * sector_bytes, sector_bytes);
  return words;
}

// Every byte of the word times 2, modulo x^8 + x^4 + x^3 + x^2 + 1.
std::uint64_t doubled(std::uint64_t word) {
  const std::uint64_t high = word & 0x8080808080808080U;
  return ((word ^ high) << 1) ^ ((high >> 7) * 0x1d);
}

struct Parity {
  Words p{}, q{};
};

Parity parity_of(const ArraySpec& spec, const std::vector<Image>& images, std::uint64_t row) {
  Parity parity;
  for (std::uint32_t index = spec.data_disks(); index-- > 0;) {
    const Words data = words_of(spec, images, spec.data_slot(row, index), row);
    for (std::size_t i = 0; i < data.size(); ++i) {
      parity.p[i] ^= data[i];
      parity.q[i] = doubled(parity.q[i]) ^ data[i];
    }
  }
  return parity;
}

std::uint32_t q_slot(const ArraySpec& spec, std::uint64_t row) {
  return (spec.p_slot(row) + 1) % spec.slots;
}

}  // namespace

void put_parity(const ArraySpec& spec, std::vector<Image>& images, std::uint64_t row) {
  const Parity parity = parity_of(spec, images, row);
  const std::uint64_t at = (spec.data_offset() + row) * sector_bytes;
  std::memcpy(images[spec.p_slot(row)].data() + at, parity.p.data(), sector_bytes);
  if (spec.level == 6) {
    std::memcpy(images[q_slot(spec, row)].data() + at, parity.q.data(), sector_bytes);
  }
}

bool row_is_right(const ArraySpec& spec, const std::vector<Image>& images, std::uint64_t row) {
  const Parity parity = parity_of(spec, images, row);
  return parity.p == words_of(spec, images, spec.p_slot(row), row) &&
         (spec.level != 6 || parity.q == words_of(spec, images, q_slot(spec, row), row));
}

}  // namespace mdtool::crash
