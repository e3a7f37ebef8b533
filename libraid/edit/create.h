// SPDX-License-Identifier: GPL-2.0-or-later
// A new array on members that are given: sizes and places as mdadm 4.6 --create chooses them, as a plan. Knows no
// command line; draws no random numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libmeta/bitmap/header.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

struct CreateMember {
  const Candidate* candidate = nullptr;  // null: "missing"
  Uuid device_uuid;
  std::vector<std::string> content;  // what is on it that is no md superblock ("ext4 file system"); empty: nothing
};

struct CreateTask {
  std::string metadata = "1.2";
  std::int32_t level = 0;
  std::optional<std::uint32_t> layout;  // md's code; none: mdadm's default for the level
  std::optional<Sectors> chunk;
  std::optional<Sectors> size;         // per member
  std::optional<Sectors> data_offset;  // 1.1, 1.2
  enum class Bitmap { none, internal, lockless, file } bitmap = Bitmap::none;
  std::optional<std::uint64_t> bitmap_chunk_bytes;
  std::string bitmap_file;  // path, with Bitmap::file
  bool ppl = false;         // --consistency-policy=ppl
  enum class Initial {
    resync,
    assume_clean,
    zeroed
  } initial = Initial::resync;  // zeroed: the caller writes zeroes first
  Uuid set_uuid;
  std::string set_name;
  std::uint32_t preferred_minor = 0;
  std::uint64_t now_seconds = 0;    // ctime and utime
  std::vector<CreateMember> slots;  // raid_disks of them, in order
  std::vector<CreateMember> spares;
  struct Forces {
    bool old_content = false;  // members that hold data or another array's superblock
  } forces;
};

// Refused (with what is on which member, and the name of the force) or a usage error that says what would be right.
// With Initial::zeroed the plan's zeroed ranges are the data regions of all slots and spares.
Result<EditPlan> plan_create(const CreateTask&);

}  // namespace mdtool
