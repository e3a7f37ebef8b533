// SPDX-License-Identifier: GPL-2.0-or-later
// The copies of one write-intent bitmap on the members of a running array, or in a file of its own. Knows bytes only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libraid/array/live_members.h"

namespace mdtool {

struct BitmapTarget {
  std::optional<std::uint32_t> slot;  // none: an external file
  BlockDevice* device = nullptr;
  std::uint64_t offset_bytes = 0;  // of the bitmap's area on the device
};

class BitmapCopies {
 public:
  BitmapCopies(LiveMembers& members, std::vector<BitmapTarget> targets)
      : members_(&members), targets_(std::move(targets)) {}

  // Durable in every copy when it returns. A member that fails is taken out of the set, its copy passed over; fails if
  // an external file does, or if no copy is left.
  Status write(std::uint64_t area_offset_bytes, std::span<const std::byte> bytes);
  const LiveMembers& members() const { return *members_; }

 private:
  LiveMembers* members_;
  std::vector<BitmapTarget> targets_;
};

}  // namespace mdtool
