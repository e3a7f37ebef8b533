// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/create_rules.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "libmeta/bitmap/new_bitmap.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/md1/superblock.h"
#include "libraid/edit/create_sizes.h"
#include "libraid/geometry/layout.h"

namespace mdtool {

namespace {

constexpr Sectors least_chunk{8};                // of levels 4, 5, 6 and 10; mdadm's for all
constexpr std::uint32_t most_raid6_slots = 256;  // mdadm's
constexpr std::uint32_t most_ppl_slots = 64;     // RAID5_PPL_MAX_DISKS
constexpr std::uint32_t near_mask = 0xff;        // setup_geo() in drivers/md/raid10.c
constexpr int far_shift = 8;

Error wrong(std::string text) {
  return {ErrorKind::usage, std::move(text)};
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

std::string name_of_level(std::int32_t level) {
  return level_name(level).value_or("level " + std::to_string(level));
}

std::uint32_t fewest_slots(std::int32_t level) {
  if (level == 6) {
    return 4;
  }
  return level >= 4 ? 2 : 1;
}

Status check_level(const CreateTask& task) {
  constexpr std::array<std::int32_t, 7> levels{level_linear, 0, 1, 4, 5, 6, 10};
  if (std::ranges::find(levels, task.level) == levels.end()) {
    return wrong("level " + std::to_string(task.level) + ": one of linear, 0, 1, 4, 5, 6 and 10");
  }
  const std::uint32_t fewest = fewest_slots(task.level);
  if (task.slots.size() < fewest) {
    return wrong(name_of_level(task.level) + " needs at least " + number(fewest) + " slots, not " +
                 number(task.slots.size()));
  }
  if (task.level == 6 && task.slots.size() > most_raid6_slots) {
    return wrong("raid6 has at most " + number(most_raid6_slots) + " slots");
  }
  if (task.level <= 0 && !task.spares.empty()) {
    return wrong(name_of_level(task.level) + " has no use for spares");
  }
  return Done{};
}

Status check_metadata(const CreateTask& task) {
  constexpr std::array<std::string_view, 4> known{"0.90", "1.0", "1.1", "1.2"};
  if (std::ranges::find(known, task.metadata) == known.end()) {
    return wrong("metadata " + task.metadata + ": one of 0.90, 1.0, 1.1 and 1.2");
  }
  const std::size_t most = task.metadata == "0.90" ? md0::max_disks : md1::max_dev_limit;
  if (task.slots.size() + task.spares.size() > most) {
    return wrong(task.metadata + " metadata has room for " + number(most) + " members, spares included, not for " +
                 number(task.slots.size() + task.spares.size()));
  }
  if (task.data_offset && task.metadata != "1.1" && task.metadata != "1.2") {
    return wrong("with " + task.metadata +
                 " metadata the data begins at the start of the member: a data offset is for "
                 "1.1 and 1.2");
  }
  if (task.size && task.level <= 0) {
    return wrong(name_of_level(task.level) + " uses all of every member: a size is for levels with redundancy");
  }
  return Done{};
}

Status check_layout(const CreateTask& task) {
  if (!task.layout) {
    return Done{};
  }
  const std::uint32_t layout = *task.layout;
  if (task.level == 0 && task.metadata == "0.90") {
    return wrong("0.90 metadata cannot say which raid0 layout is meant");
  }
  const bool without = task.level == level_linear || task.level == 1 || task.level == 4;
  if (without ? layout == 0 : layout_name(task.level, layout).has_value()) {
    return Done{};
  }
  return wrong("layout " + number(layout) + (without ? ": there are no layouts for " : " does not exist for ") +
               name_of_level(task.level));
}

// _enough() in drivers/md/raid10.c: of every set of copies one.
bool raid10_enough(const CreateTask& task, std::uint32_t layout) {
  const std::uint32_t near = layout & near_mask;
  const std::uint32_t copies = near * (layout >> far_shift & near_mask);
  const auto slots = static_cast<std::uint32_t>(task.slots.size());
  std::uint32_t first = 0;
  do {
    bool any = false;
    for (std::uint32_t i = 0; i < copies; ++i) {
      any = any || task.slots[(first + i) % slots].candidate != nullptr;
    }
    if (!any) {
      return false;
    }
    first = (first + near) % slots;
  } while (first != 0);
  return true;
}

Status check_raid10(const CreateTask& task) {
  const std::uint32_t layout = default_layout(task);
  const std::uint32_t copies = (layout & near_mask) * (layout >> far_shift & near_mask);
  if (copies < 2 || copies > task.slots.size()) {
    return wrong("that layout keeps " + number(copies) + " copies, on " + number(task.slots.size()) +
                 " slots: from 2 to as many as there are slots");
  }
  if (!raid10_enough(task, layout)) {
    return wrong("too many slots are missing: no member would hold a copy of some of the data");
  }
  return Done{};
}

Status check_missing(const CreateTask& task) {
  const std::uint32_t missing = missing_slots(task);
  if (missing == task.slots.size()) {
    return wrong("not all slots can be missing");
  }
  if (task.level == 10) {
    return check_raid10(task);
  }
  const std::size_t most = task.level <= 0   ? 0
                           : task.level == 1 ? task.slots.size() - 1
                                             : std::size_t{task.level == 6 ? 2U : 1U};
  if (missing > most) {
    return wrong(most == 0 ? name_of_level(task.level) + " cannot do without a member"
                           : name_of_level(task.level) + " can do without " + number(most) + " members, not without " +
                                 number(missing));
  }
  return Done{};
}

Status check_chunk(const CreateTask& task) {
  if (!task.chunk) {
    return Done{};
  }
  if (task.level == 1) {
    return wrong("raid1 has no chunks");
  }
  if (*task.chunk < least_chunk || !std::has_single_bit(task.chunk->count())) {
    return wrong("a chunk of " + number(task.chunk->bytes()) + " bytes: a power of two, at least " +
                 number(least_chunk.bytes()));
  }
  return Done{};
}

Status check_bitmap_chunk(const CreateTask& task) {
  if (!task.bitmap_chunk_bytes) {
    return Done{};
  }
  const std::uint64_t chunk = *task.bitmap_chunk_bytes;
  if (task.bitmap == CreateTask::Bitmap::none) {
    return wrong("a bitmap chunk size without a bitmap");
  }
  if (task.bitmap == CreateTask::Bitmap::lockless) {
    return wrong("the kernel chooses the chunk size of a lockless bitmap when it first starts the array");
  }
  if (chunk < bitmap::min_new_chunk_bytes || chunk > bitmap::max_new_chunk_bytes || !std::has_single_bit(chunk)) {
    return wrong("a bitmap chunk of " + number(chunk) + " bytes: a power of two from " +
                 number(bitmap::min_new_chunk_bytes) + " to " + number(bitmap::max_new_chunk_bytes));
  }
  return Done{};
}

Status check_bitmap(const CreateTask& task) {
  using Bitmap = CreateTask::Bitmap;
  if (task.bitmap != Bitmap::none && task.level <= 0) {
    return wrong("a bitmap has no meaning for " + name_of_level(task.level));
  }
  if (task.bitmap == Bitmap::lockless && task.metadata != "1.2") {
    return wrong("a lockless bitmap is for 1.2 metadata, not for " + task.metadata);
  }
  if (task.bitmap == Bitmap::lockless && task.level == 6 && missing_slots(task) == 1 &&
      task.initial == CreateTask::Initial::resync) {
    // mdadm turns a member into a spare then, to which the kernel copies nothing where the bitmap says "unwritten".
    return wrong(
        "raid6 with one slot missing and a lockless bitmap: nothing would ever make Q right in chunks that are not "
        "written as a whole. Give all members, or another bitmap, or have the members zeroed");
  }
  return check_bitmap_chunk(task);
}

Status check_ppl(const CreateTask& task) {
  if (!task.ppl) {
    return Done{};
  }
  if (task.level != 5) {
    return wrong("a PPL is for raid5 alone, not for " + name_of_level(task.level));
  }
  if (task.metadata == "0.90") {
    return wrong("0.90 metadata has no PPL");
  }
  if (task.bitmap != CreateTask::Bitmap::none) {
    return wrong("a PPL and a bitmap exclude each other: the superblock has one place for both");
  }
  if (task.slots.size() > most_ppl_slots) {
    return wrong("the kernel has a PPL for at most " + number(most_ppl_slots) + " slots");
  }
  return Done{};
}

Status check_twice(const std::vector<const CreateMember*>& members) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Candidate& one = *members[i]->candidate;
    for (std::size_t j = 0; j < i; ++j) {
      const Candidate& other = *members[j]->candidate;
      const bool same = &one == &other || (!one.identity.empty() && one.identity == other.identity);
      if (same) {
        return Error{ErrorKind::refused,
                     one.path + " and " + other.path + " are the same member: each can have one place"};
      }
    }
  }
  return Done{};
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    text += (text.empty() ? "" : "; ") + part;
  }
  return text;
}

void add_content(const CreateMember& member, std::vector<std::string>& found) {
  for (const std::string& content : member.content) {
    found.push_back(member.candidate->path + " holds " + content);
  }
  for (const FoundSuperblock& superblock : member.candidate->superblocks) {
    found.push_back(member.candidate->path + " is a member of array " + superblock.description.set_uuid.text() + " (" +
                    superblock.description.metadata + " superblock)");
  }
}

}  // namespace

std::uint32_t missing_slots(const CreateTask& task) {
  return static_cast<std::uint32_t>(
      std::ranges::count_if(task.slots, [](const CreateMember& m) { return m.candidate == nullptr; }));
}

std::vector<const CreateMember*> given_members(const CreateTask& task) {
  std::vector<const CreateMember*> members;
  for (const std::vector<CreateMember>* list : {&task.slots, &task.spares}) {
    for (const CreateMember& member : *list) {
      if (member.candidate != nullptr) {
        members.push_back(&member);
      }
    }
  }
  return members;
}

Status check_task(const CreateTask& task) {
  TRY(level, check_level(task));
  TRY(metadata, check_metadata(task));
  TRY(layout, check_layout(task));
  TRY(missing, check_missing(task));
  TRY(chunk, check_chunk(task));
  TRY(bitmap, check_bitmap(task));
  TRY(ppl, check_ppl(task));
  if (std::ranges::any_of(task.spares, [](const CreateMember& m) { return m.candidate == nullptr; })) {
    return wrong("a spare cannot be missing");
  }
  return Done{};
}

Status check_members(const CreateTask& task) {
  const std::vector<const CreateMember*> members = given_members(task);
  TRY(once, check_twice(members));
  std::vector<std::string> found;
  for (const CreateMember* member : members) {
    add_content(*member, found);
  }
  if (!found.empty() && !task.forces.old_content) {
    return Error{ErrorKind::refused, joined(found) + " (--force=old-content overwrites it)"};
  }
  return Done{};
}

}  // namespace mdtool
