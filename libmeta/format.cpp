// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/format.h"

#include <array>

#include "libmeta/md0/superblock.h"
#include "libmeta/md1/superblock.h"

namespace mdtool {

std::span<const Format* const> all_formats() {
  static const std::array<const Format*, 5> formats{&md0::little_endian(), &md0::big_endian(), &md1::version_1_0(),
                                                    &md1::version_1_1(), &md1::version_1_2()};
  return formats;
}

}  // namespace mdtool
