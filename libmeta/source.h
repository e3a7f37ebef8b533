// SPDX-License-Identifier: GPL-2.0-or-later
// What libmeta reads from: a size and bytes. Not what it writes to: it never does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libmeta/result.h"

namespace mdtool {

class Source {
 public:
  virtual ~Source() = default;
  virtual std::uint64_t size_bytes() const = 0;
  // Fills `out` whole from `offset_bytes`, or fails: out_of_range beyond the end, io if the device does not answer.
  virtual Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const = 0;
};

// `length_bytes` bytes of the source. The caller has bounded the length by what the format allows.
Result<std::vector<std::byte>> read_bytes(const Source&, std::uint64_t offset_bytes, std::size_t length_bytes);

// True if [offset, offset + length) lies inside of `size`, without overflow.
constexpr bool fits(std::uint64_t offset, std::uint64_t length, std::uint64_t size) {
  return offset <= size && length <= size - offset;
}

}  // namespace mdtool
