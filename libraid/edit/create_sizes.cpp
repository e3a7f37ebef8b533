// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/edit/create_sizes.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "libmeta/bitmap/new_bitmap.h"
#include "libmeta/md0/create.h"
#include "libmeta/md0/superblock.h"
#include "libmeta/md1/create.h"
#include "libmeta/md1/superblock.h"
#include "libraid/edit/create_rules.h"

namespace mdtool {

namespace {

constexpr Sectors default_chunk{1024};       // DEFAULT_CHUNK of mdadm
constexpr std::uint32_t raid0_original = 1;  // RAID0_ORIG_LAYOUT
constexpr std::uint32_t left_symmetric = 2;  // ALGORITHM_LEFT_SYMMETRIC
constexpr std::uint32_t raid10_near_2 = 0x102;
constexpr Sectors kib{2};
constexpr Sectors raid1_rounding{128};          // so that it can become a raid5 later
constexpr Sectors most_headroom{262144};        // for a later move of data_offset
constexpr std::uint64_t headroom_share = 1024;  // of a member, one part in so many
constexpr Sectors offset_rounding{2048};
constexpr Sectors before_data{24};  // superblock and bad-block log
constexpr Sectors ppl_area{2048};   // MULTIPLE_PPL_AREA_SIZE_SUPER1
constexpr Sectors log_area{md1::bad_block_log_sectors};
constexpr Sectors superblock_area{8};
constexpr Sectors at_end{16};                        // of a 1.0 superblock, from the end
constexpr Sectors md0_reserved{128};                 // MD_RESERVED_SECTORS
constexpr Sectors md0_most{std::uint64_t{4} << 31};  // 4 TiB
constexpr std::uint64_t file_chunk_least = 4096;     // DEFAULT_BITMAP_CHUNK, CreateBitmap() of mdadm 4.2
constexpr std::uint64_t file_chunks_most = 1U << 20;

Error wrong(std::string text) {
  return {ErrorKind::usage, std::move(text)};
}

Sectors rounded_down(Sectors value, Sectors unit) {
  return unit.is_zero() ? value : value - value % unit;
}

Sectors rounded_up(Sectors value, Sectors unit) {
  return rounded_down(value + unit - Sectors(1), unit);
}

bool in_front(const CreateTask& task) {
  return task.metadata == "1.1" || task.metadata == "1.2";
}

Sectors super_offset(const CreateTask& task) {
  return task.metadata == "1.2" ? Sectors(8) : Sectors(0);
}

Sectors member_size(const CreateMember& member) {
  return Sectors::from_bytes(member.candidate->metadata->size_bytes());
}

Sectors chosen_chunk(const CreateTask& task) {
  if (task.level == 1 || task.level == level_linear) {
    return task.chunk.value_or(Sectors(0));
  }
  return task.chunk.value_or(default_chunk);
}

Sectors log_or_bitmap_space(const CreateTask& task, Sectors member) {
  return task.ppl ? ppl_area : md1::bitmap_space(member);
}

// validate_geometry1() of mdadm: about 0.1 % of the first member, rounded to 1 MiB.
Sectors default_data_offset(const CreateTask& task, Sectors chunk, Sectors member) {
  Sectors headroom = most_headroom;
  while (headroom * headroom_share > member && (chunk.is_zero() || headroom / 2 >= chunk * 2)) {
    headroom = headroom / 2;
  }
  return rounded_up(before_data + log_or_bitmap_space(task, member) + headroom, offset_rounding);
}

// Sectors of a member that are not for data.
Sectors overhead(const CreateTask& task, const NewPlaces& places, Sectors member) {
  if (in_front(task)) {
    return places.data_offset;
  }
  if (task.metadata == "1.0") {
    return member % Sectors(8) + at_end + log_area + log_or_bitmap_space(task, member);
  }
  const std::optional<Sectors> place = md0::superblock_place(member);
  return place ? member - *place : member;
}

Sectors unit_of(const NewPlaces& places) {
  return places.chunk.is_zero() ? kib : places.chunk;
}

// A member of this size has the room, and none that is smaller.
Sectors least_member(const CreateTask& task, const NewPlaces& places, Sectors wanted) {
  if (task.metadata == "0.90") {
    return std::max(rounded_up(wanted, md0_reserved), md0_reserved) + md0_reserved;
  }
  if (task.metadata != "1.0") {
    return places.data_offset + wanted;
  }
  const Sectors base = rounded_up(wanted, superblock_area) + at_end + log_area;
  return base + log_or_bitmap_space(task, base + log_or_bitmap_space(task, base));
}

Error too_small(const CreateTask& task, const NewPlaces& places, const CreateMember& member) {
  const Sectors wanted = task.size ? rounded_down(*task.size, unit_of(places)) : unit_of(places);
  return {ErrorKind::refused, member.candidate->path + ": has " + std::to_string(member_size(member).bytes()) +
                                  " bytes, too few: for " + std::to_string(wanted.bytes()) +
                                  " bytes of data and what goes with them " +
                                  std::to_string(least_member(task, places, wanted).bytes()) + " are needed"};
}

Status measure(const CreateTask& task, NewPlaces& places) {
  places.smallest = Sectors::max();
  for (const CreateMember* member : given_members(task)) {
    const Sectors all = member_size(*member);
    const Sectors taken = overhead(task, places, all);
    const Sectors room = taken < all ? rounded_down(rounded_down(all - taken, kib), unit_of(places)) : Sectors(0);
    if (room.is_zero() || (task.size && room < rounded_down(*task.size, unit_of(places)))) {
      return too_small(task, places, *member);
    }
    places.smallest = std::min(places.smallest, room);
    places.largest = std::max(places.largest, room);
  }
  return Done{};
}

// As mdadm, but for its --layout=dangerous: kernels from 5.4 on start none whose zones depend on a layout not recorded.
Status check_zones(const CreateTask& task, const NewPlaces& places) {
  if (task.level != 0 || task.metadata != "0.90" || places.smallest == places.largest) {
    return Done{};
  }
  return wrong(
      "the members differ in size, and 0.90 metadata cannot say which raid0 layout is meant: take 1.2 metadata");
}

Status choose_size(const CreateTask& task, NewPlaces& places) {
  if (task.level <= 0) {
    return Done{};
  }
  if (task.size) {
    places.size = rounded_down(*task.size, unit_of(places));
  } else {
    places.size = task.level == 1 ? rounded_down(places.smallest, raid1_rounding) : places.smallest;
  }
  if (places.size.is_zero()) {
    return wrong("the size, " + std::to_string(task.size.value_or(places.smallest).bytes()) +
                 " bytes per member, is less than the " +
                 std::to_string((task.level == 1 ? raid1_rounding : unit_of(places)).bytes()) +
                 " that it is rounded to");
  }
  if (task.metadata == "0.90" && places.size >= md0_most) {
    return wrong("0.90 metadata counts less than 4 TiB per member: give a size, or take 1.2 metadata");
  }
  return Done{};
}

std::uint64_t raid10_copies(std::uint32_t layout) {
  return std::uint64_t{layout & 0xff} * (layout >> 8 & 0xff);
}

Sectors choose_sync_size(const CreateTask& task, const NewPlaces& places) {
  if (task.level != 10) {
    return places.size;
  }
  return kib * (places.size / kib * task.slots.size() / raid10_copies(places.layout));
}

// What CreateBitmap() of mdadm 4.2 takes, the last version that makes such files.
std::uint64_t file_chunk(Sectors sync_size) {
  std::uint64_t chunk = file_chunk_least;
  while (sync_size.bytes() / chunk > file_chunks_most) {
    chunk *= 2;
  }
  return chunk;
}

std::uint64_t bitmap_room_bytes(const CreateTask& task, const NewPlaces& places) {
  if (task.bitmap == CreateTask::Bitmap::file) {
    return bitmap::max_area_bytes;
  }
  return task.metadata == "0.90" ? md0::bitmap_bytes : md1::bitmap_space(places.size).bytes();
}

Result<std::uint64_t> bitmap_chunk(const CreateTask& task, const NewPlaces& places) {
  const std::uint64_t room = bitmap_room_bytes(task, places);
  if (room == 0) {
    return wrong("the members are too small for a bitmap");
  }
  const std::uint64_t least = bitmap::min_classic_chunk_bytes(places.sync_size, room);
  const std::uint64_t usual = task.bitmap == CreateTask::Bitmap::file
                                  ? file_chunk(places.sync_size)
                                  : bitmap::default_classic_chunk_bytes(places.sync_size, room);
  const std::uint64_t chunk = task.bitmap_chunk_bytes.value_or(usual);
  if (chunk < least || chunk > bitmap::max_new_chunk_bytes) {
    return wrong("a bitmap chunk of " + std::to_string(chunk) + " bytes: the " + std::to_string(room) +
                 " bytes for the bitmap are enough for chunks from " + std::to_string(least) + " to " +
                 std::to_string(bitmap::max_new_chunk_bytes));
  }
  return chunk;
}

// add_internal_bitmap1() of mdadm counts a bit more than there are chunks.
Sectors room_before_superblock(const NewPlaces& places) {
  const std::uint64_t bits = places.sync_size.bytes() / places.bitmap_chunk_bytes + 1;
  return rounded_up(Sectors((bitmap::header_bytes + (bits + 7) / 8 + Sectors::bytes_each - 1) / Sectors::bytes_each),
                    superblock_area);
}

Status place_bitmap(const CreateTask& task, NewPlaces& places) {
  if (task.bitmap == CreateTask::Bitmap::none) {
    return Done{};
  }
  TRY(chunk, bitmap_chunk(task, places));
  places.bitmap_chunk_bytes = chunk;
  if (task.bitmap == CreateTask::Bitmap::file) {
    return Done{};
  }
  places.bitmap_area = Sectors::from_bytes(bitmap::classic_area_bytes(places.sync_size, chunk));
  places.bitmap_reach = places.bitmap_area;
  places.bitmap_offset_sectors = static_cast<std::int32_t>(superblock_area.count());
  if (task.metadata == "1.0") {
    places.bitmap_offset_sectors = -static_cast<std::int32_t>((room_before_superblock(places) + log_area).count());
  }
  if (task.bitmap == CreateTask::Bitmap::lockless) {
    TRY(geometry, bitmap::default_lockless_geometry(places.sync_size, bitmap::lockless_room_sectors));
    const Sectors states = Sectors::from_bytes(bitmap::lockless_area_bytes(geometry.chunks));
    places.bitmap_reach = std::max(places.bitmap_area, states);
  }
  return Done{};
}

void place_ppl(const CreateTask& task, NewPlaces& places) {
  if (!task.ppl) {
    return;
  }
  const auto offset = static_cast<std::int16_t>(superblock_area.count());
  const auto before = static_cast<std::int16_t>(-static_cast<std::int32_t>((ppl_area + log_area).count()));
  places.ppl = NewArray::Ppl{task.metadata == "1.0" ? before : offset, static_cast<std::uint16_t>(ppl_area.count())};
}

Status check_front(const CreateTask& task, const NewPlaces& places) {
  if (!in_front(task)) {
    return Done{};
  }
  const Sectors log = places.ppl ? ppl_area : places.bitmap_reach;
  const Sectors needed = super_offset(task) + superblock_area + log;
  if (places.data_offset < needed) {
    return wrong("a data offset of " + std::to_string(places.data_offset.bytes()) +
                 " bytes: superblock, bitmap and log before the data need " + std::to_string(needed.bytes()));
  }
  return Done{};
}

// write_init_super1() of mdadm. Where its place would be inside of the bitmap there is no log here; over the state
// bytes of a lockless bitmap, which it does not count, the log moves behind all that these can ever take.
std::optional<std::int32_t> log_place(const CreateTask& task, const NewPlaces& places) {
  const Sectors lockless_end =
      superblock_area +
      Sectors::from_bytes(bitmap::lockless_area_bytes(Sectors(bitmap::lockless_room_sectors).bytes()));
  const Sectors room = places.data_offset - super_offset(task);
  const Sectors area = places.bitmap_offset_sectors ? places.bitmap_area
                       : places.ppl                 ? ppl_area
                                                    : md1::bitmap_space(places.size);
  Sectors place = superblock_area + area;
  if (places.bitmap_reach > places.bitmap_area) {
    place = lockless_end;
  }
  if (place + log_area <= room) {
    return static_cast<std::int32_t>(place.count());
  }
  const Sectors used = superblock_area + (places.ppl ? ppl_area : places.bitmap_reach);
  if (used + log_area <= room) {
    return static_cast<std::int32_t>((room - log_area).count());
  }
  return std::nullopt;
}

NewMemberPlaces places_before_superblock(const NewPlaces& places, Sectors member) {
  const Sectors place = *md1::superblock_place(0, member);
  Sectors space = log_area + (places.bitmap_offset_sectors ? places.bitmap_area
                              : places.ppl                 ? ppl_area
                                                           : md1::bitmap_space(places.size));
  space = std::min(space, place - places.size);
  NewMemberPlaces result;
  result.data_size = place - space;
  if (space >= log_area) {
    result.bad_block_log_offset_sectors = -static_cast<std::int32_t>(log_area.count());
  }
  return result;
}

}  // namespace

std::uint32_t default_layout(const CreateTask& task) {
  if (task.layout) {
    return *task.layout;
  }
  switch (task.level) {
    case 0:
      return task.metadata == "0.90" ? 0 : raid0_original;
    case 5:
    case 6:
      return left_symmetric;
    case 10:
      return raid10_near_2;
    default:
      return 0;
  }
}

Result<NewPlaces> choose_places(const CreateTask& task) {
  NewPlaces places;
  places.layout = default_layout(task);
  places.chunk = chosen_chunk(task);
  if (in_front(task)) {
    const Sectors first = member_size(*given_members(task).front());
    places.data_offset = task.data_offset.value_or(default_data_offset(task, places.chunk, first));
  }
  TRY(measured, measure(task, places));
  TRY(zones, check_zones(task, places));
  TRY(sized, choose_size(task, places));
  places.sync_size = choose_sync_size(task, places);
  TRY(bitmap, place_bitmap(task, places));
  place_ppl(task, places);
  TRY(front, check_front(task, places));
  return places;
}

NewMemberPlaces member_places(const CreateTask& task, const NewPlaces& places, Sectors member) {
  if (in_front(task)) {
    return {member - places.data_offset, log_place(task, places)};
  }
  if (task.metadata == "1.0") {
    return places_before_superblock(places, member);
  }
  return {*md0::superblock_place(member), std::nullopt};
}

Sectors array_size(const CreateTask& task, const NewPlaces& places, std::span<const Sectors> data_sizes) {
  const std::uint64_t slots = task.slots.size();
  switch (task.level) {
    case level_linear:
    case 0:
      return std::accumulate(data_sizes.begin(), data_sizes.end(), Sectors(0),
                             [&](Sectors sum, Sectors size) { return sum + rounded_down(size, places.chunk); });
    case 1:
      return places.size;
    case 10:
      return places.sync_size;
    default:
      return places.size * (slots - (task.level == 6 ? 2 : 1));
  }
}

}  // namespace mdtool
