// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/block_device.h"

#include <algorithm>
#include <array>

namespace mdtool {

Status BlockDevice::write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(written, write(offset_bytes, in));
  return flush();
}

Status BlockDevice::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  static constexpr std::array<std::byte, 64U << 10> zeroes{};
  for (std::uint64_t done = 0; done < length_bytes;) {
    const std::uint64_t piece = std::min<std::uint64_t>(length_bytes - done, zeroes.size());
    TRY(written, write(offset_bytes + done, std::span(zeroes).first(piece)));
    done += piece;
  }
  return Done{};
}

Status BlockDevice::discard(std::uint64_t, std::uint64_t) {
  return Done{};
}

}  // namespace mdtool
