// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/memory.h"

#include <algorithm>
#include <string>

namespace mdtool {

Status MemoryDevice::check_inside(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  if (fits(offset_bytes, length_bytes, bytes_.size())) {
    return Done{};
  }
  return Error{ErrorKind::out_of_range, std::to_string(length_bytes) + " bytes at byte " +
                                            std::to_string(offset_bytes) + " lie beyond the end at byte " +
                                            std::to_string(bytes_.size())};
}

Status MemoryDevice::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(inside, check_inside(offset_bytes, out.size()));
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset_bytes), out.size(), out.begin());
  return Done{};
}

Status MemoryDevice::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(inside, check_inside(offset_bytes, in.size()));
  std::copy(in.begin(), in.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
  return Done{};
}

Status MemoryDevice::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(inside, check_inside(offset_bytes, length_bytes));
  std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset_bytes), length_bytes, std::byte{0});
  return Done{};
}

}  // namespace mdtool
