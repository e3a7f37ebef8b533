// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/bitmap_copies.h"

namespace mdtool {

Status BitmapCopies::write(std::uint64_t area_offset_bytes, std::span<const std::byte> bytes) {
  bool anywhere = false;
  for (const BitmapTarget& target : targets_) {
    if (target.slot && !members_->working(*target.slot)) {
      continue;
    }
    Status written = target.device->write_durable(target.offset_bytes + area_offset_bytes, bytes);
    if (written) {
      anywhere = true;
    } else if (target.slot) {
      members_->fail(*target.slot, std::move(written).error().in("write-intent bitmap"));
    } else {
      return std::move(written).error().in("write-intent bitmap");
    }
  }
  if (!anywhere) {
    return Error{ErrorKind::io, "no copy of the write-intent bitmap is left"};
  }
  return Done{};
}

}  // namespace mdtool
