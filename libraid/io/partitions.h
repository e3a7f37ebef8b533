// SPDX-License-Identifier: GPL-2.0-or-later
// The partitions that a disk or an image of one is divided into, through libblkid. Knows only where they are.
#pragma once

#include <cstdint>
#include <vector>

#include "libraid/io/file.h"

namespace mdtool {

struct Partition {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint32_t number = 0;  // as in sda1

  friend auto operator<=>(const Partition&, const Partition&) = default;
};

// Empty where there is no partition table. Partitions that begin at 0 or beyond the end, and containers of others
// (extended partitions), are left out; one that reaches beyond the end is cut there.
Result<std::vector<Partition>> partitions(const FileDevice& device);

}  // namespace mdtool
