// SPDX-License-Identifier: GPL-2.0-or-later
// Sizes and places of a new array as mdadm 4.6 chooses them from its members' sizes. Arithmetic: reads no member, plans
// nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "libmeta/new_array.h"
#include "libraid/edit/create.h"

namespace mdtool {

constexpr std::int32_t level_linear = -1;  // LEVEL_LINEAR

// The same on every member.
struct NewPlaces {
  std::uint32_t layout = 0;
  Sectors chunk;        // 0: linear without rounding, raid1
  Sectors data_offset;  // 0 with 0.90 and 1.0
  Sectors size;         // per member; 0 for raid0 and linear
  Sectors sync_size;    // what a bitmap covers: the member's size, of raid10 the array's
  Sectors smallest;     // of the members' room for data, in whole chunks
  Sectors largest;
  std::uint64_t bitmap_chunk_bytes = 0;
  std::optional<std::int32_t> bitmap_offset_sectors;  // from the superblock
  Sectors bitmap_area;                                // that mdadm counts for it, in whole 4 KiB
  Sectors bitmap_reach;                               // that it can grow into: more than its area with lockless ones
  std::optional<NewArray::Ppl> ppl;
};

// The task's, or mdadm's default for the level.
std::uint32_t default_layout(const CreateTask&);

// Usage errors say what would be right. Knows the members' sizes alone; the task is one that check_task() took.
Result<NewPlaces> choose_places(const CreateTask&);

// Those of one member.
struct NewMemberPlaces {
  Sectors data_size;
  std::optional<std::int32_t> bad_block_log_offset_sectors;
};
NewMemberPlaces member_places(const CreateTask&, const NewPlaces&, Sectors member);

// What an array of this size offers, from its members' data sizes (which matter for raid0 and linear alone).
Sectors array_size(const CreateTask&, const NewPlaces&, std::span<const Sectors> data_sizes);

}  // namespace mdtool
