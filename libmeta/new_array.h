// SPDX-License-Identifier: GPL-2.0-or-later
// The superblock of a new array's member, as mdadm 4.6 --create writes it. Chooses nothing: every size and place is
// given. Judges nothing but whether the format can hold it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libmeta/format.h"

namespace mdtool {

struct NewArray {
  std::string metadata;  // "0.90", "1.0", "1.1", "1.2"
  Uuid set_uuid;
  std::string set_name;               // 1.x, with the homehost in front; at most 32 bytes
  std::uint32_t preferred_minor = 0;  // 0.90
  std::uint64_t ctime_seconds = 0;
  std::int32_t level = 0;
  std::uint32_t layout = 0;
  Sectors chunk;
  std::uint32_t raid_disks = 0;
  Sectors size;  // per member; 0 for raid0 and linear
  Sectors resync_offset = Sectors::max();
  std::uint64_t events = 1;
  std::vector<std::uint16_t> dev_roles;               // by dev_number
  std::optional<std::int32_t> bitmap_offset_sectors;  // from the superblock; 0.90: any value means "present"
  struct Ppl {
    std::int16_t offset_sectors = 0;
    std::uint16_t sectors = 0;
  };
  std::optional<Ppl> ppl;
};

struct NewArrayMember {
  std::uint64_t member_bytes = 0;
  Uuid device_uuid;  // 1.x
  std::uint32_t dev_number = 0;
  Sectors data_offset;                                       // 1.x
  Sectors data_size;                                         // 1.x
  std::optional<std::int32_t> bad_block_log_offset_sectors;  // 1.x; none: no log
};

// Fails (usage) where a number does not fit the format.
Result<std::unique_ptr<Metadata>> new_superblock(const NewArray&, const NewArrayMember&);

}  // namespace mdtool
