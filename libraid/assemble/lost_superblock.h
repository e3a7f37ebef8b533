// SPDX-License-Identifier: GPL-2.0-or-later
// Members without a superblock that an array may lack: zeros or a partition table where its superblock would be, and
// room for its data. Reads a bounded number of blocks of each.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "libraid/assemble/assembly.h"

namespace mdtool {

struct LostSuperblock {
  const Candidate* candidate = nullptr;
  const Assembly* array = nullptr;
  enum class Cause { partition_table, zeros } cause = Cause::zeros;
  std::vector<std::uint32_t> slots;  // that the array lacks; the member may have had any of them
};

std::vector<LostSuperblock> lost_superblocks(std::span<const Candidate> candidates, std::span<const Assembly> arrays);
Finding finding_of(const LostSuperblock& lost);

}  // namespace mdtool
