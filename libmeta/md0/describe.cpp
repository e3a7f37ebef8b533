// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <string>

#include "libmeta/md0/superblock.h"

namespace mdtool::md0 {
namespace {

constexpr Sectors bitmap_place{8};  // from the superblock: super_90_validate()'s default_offset
constexpr std::uint64_t bitmap_room_bytes = 60 * 1024;

template <std::endian Order>
std::array<OnDisk<std::uint32_t, Order>, 4> uuid_words(const Superblock<Order>& sb) {
  return {sb.set_uuid0, sb.set_uuid1, sb.set_uuid2, sb.set_uuid3};
}

// mdadm prints each word as a number.
template <std::endian Order>
Uuid printed_uuid(const Superblock<Order>& sb) {
  Uuid uuid;
  std::size_t at = 0;
  for (std::uint32_t word : uuid_words(sb)) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      uuid.bytes[at++] = static_cast<unsigned char>(word >> shift);
    }
  }
  return uuid;
}

// A bitmap carries the words as they lay in the writer's memory.
template <std::endian Order>
Uuid stored_uuid(const Superblock<Order>& sb) {
  return {std::bit_cast<std::array<unsigned char, 16>>(uuid_words(sb))};
}

template <std::endian Order>
std::int64_t most_raid_disks(const Record<Order>& record) {
  const std::int64_t after = record.fixed.raid_disks;
  return record.reshaping() ? std::max(after, after - record.fixed.delta_disks.value()) : after;
}

// Of a descriptor, in the coding of 1.x. With minor version 91 an active member that is not in sync has a slot, too.
template <std::endian Order>
std::uint16_t role_of(const Disk<Order>& disk, const Record<Order>& record) {
  if ((disk.state & disk_faulty) != 0) {
    return (disk.state & disk_removed) != 0 ? role_spare : role_faulty;
  }
  const std::uint32_t holding = record.reshaping() ? disk_sync | disk_active : disk_sync;
  const bool in_range = disk.raid_disk < role_max_regular && disk.raid_disk < most_raid_disks(record);
  return (disk.state & holding) != 0 && in_range ? static_cast<std::uint16_t>(disk.raid_disk) : role_spare;
}

template <std::endian Order>
void describe_role(const Record<Order>& record, MemberDescription& d) {
  for (const Disk<Order>& disk : record.fixed.disks) {
    d.dev_roles.push_back(role_of(disk, record));
  }
  d.dev_number = record.fixed.this_disk.number;
  const std::uint16_t role = d.dev_number < max_disks ? d.dev_roles[d.dev_number] : role_spare;
  if (role == role_faulty) {
    d.role = Role::faulty;
  } else if (role < role_max_regular) {
    d.role = Role::active;
    d.slot = role;
    if ((record.fixed.disks[d.dev_number].state & disk_sync) == 0) {
      // It counts as rebuilt up to reshape_position, an array sector that only the geometry can translate.
      d.recovery = true;
      d.recovery_offset = Sectors(0);
    }
  }
}

template <std::endian Order>
Sectors resync_offset(const Superblock<Order>& sb) {
  if ((sb.state & sb_clean) != 0) {
    return Sectors::max();
  }
  return sb.events == sb.cp_events ? Sectors(sb.recovery_cp) : Sectors(0);
}

template <std::endian Order>
void describe_reshape(const Record<Order>& record, MemberDescription& d) {
  const Superblock<Order>& sb = record.fixed;
  if (!record.reshaping()) {
    return;
  }
  Reshape& reshape = d.reshape.emplace();
  reshape.new_level = sb.new_level;
  reshape.new_layout = sb.new_layout;
  reshape.new_chunk = Sectors::from_bytes(sb.new_chunk);
  reshape.delta_disks = sb.delta_disks;
  reshape.position = Sectors(sb.reshape_position);
  reshape.backwards = reshape.delta_disks < 0;
}

template <std::endian Order>
void describe_areas(const Record<Order>& record, MemberDescription& d) {
  constexpr std::uint64_t superblock_bytes = sizeof(Superblock<Order>);
  const bool sized = d.level > 0 && !d.size.is_zero();
  d.areas.push_back({"superblock", record.offset_bytes, superblock_bytes});
  d.areas.push_back({"data", 0, sized ? d.size.bytes() : d.data_size.bytes()});
  const std::uint64_t bitmap = record.offset_bytes + bitmap_place.bytes();
  if ((record.fixed.state & sb_bitmap_present) != 0 && bitmap < record.member_bytes) {
    d.bitmap_offset_bytes = bitmap;
    d.bitmap_room_bytes = std::min(bitmap_room_bytes, record.member_bytes - bitmap);
    d.areas.push_back({"bitmap", bitmap, 0});
  }
}

}  // namespace

template <std::endian Order>
MemberDescription describe(const Record<Order>& record) {
  const Superblock<Order>& sb = record.fixed;
  MemberDescription d;
  d.metadata = "0.90";
  d.set_uuid = printed_uuid(sb);
  d.bitmap_uuid = stored_uuid(sb);
  d.ctime_seconds = sb.ctime;
  d.utime_seconds = sb.utime;
  d.level = sb.level;
  d.layout = sb.layout;
  d.chunk = Sectors::from_bytes(sb.chunk_size);
  d.raid_disks = sb.raid_disks;
  d.size = Sectors::from_bytes(std::uint64_t{sb.size} * 1024);
  d.super_offset = Sectors::from_bytes(record.offset_bytes);
  d.data_size = d.super_offset;
  d.events = sb.events;
  d.resync_offset = resync_offset(sb);
  describe_role(record, d);
  describe_reshape(record, d);
  describe_areas(record, d);
  return d;
}

template MemberDescription describe(const Record<std::endian::little>&);
template MemberDescription describe(const Record<std::endian::big>&);

}  // namespace mdtool::md0
