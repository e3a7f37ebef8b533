// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md0/create.h"

#include <bit>
#include <limits>
#include <string>

#include "libmeta/md0/superblock.h"

namespace mdtool::md0 {

namespace {

constexpr std::uint64_t sectors_per_kib = 2;
constexpr std::uint64_t word_most = std::numeric_limits<std::uint32_t>::max();

using Little = Superblock<std::endian::little>;

Error too_much(std::string text) {
  return {ErrorKind::usage, std::move(text)};
}

Status check(const NewArray& array, const NewArrayMember& member) {
  if (array.dev_roles.size() > max_disks || array.raid_disks > array.dev_roles.size() ||
      member.dev_number >= array.dev_roles.size()) {
    return too_much("a 0.90 superblock has room for " + std::to_string(max_disks) + " members, spares included");
  }
  if (array.size.count() / sectors_per_kib > word_most) {
    return too_much("a 0.90 superblock counts at most 4 TiB per member");
  }
  if (array.chunk.bytes() > word_most || array.ctime_seconds > word_most) {
    return too_much("the chunk size or the time does not fit into the 32 bits that a 0.90 superblock has for it");
  }
  return Done{};
}

// mdadm prints a UUID's words as numbers.
std::uint32_t uuid_word(const Uuid& uuid, std::size_t word) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < sizeof(value); ++i) {
    value = value << 8 | uuid.bytes[word * sizeof(value) + i];
  }
  return value;
}

void describe_array(const NewArray& array, Little& sb) {
  sb.md_magic = magic_number;
  sb.minor_version = minor_version_normal;
  sb.set_uuid0 = uuid_word(array.set_uuid, 0);
  sb.set_uuid1 = uuid_word(array.set_uuid, 1);
  sb.set_uuid2 = uuid_word(array.set_uuid, 2);
  sb.set_uuid3 = uuid_word(array.set_uuid, 3);
  sb.ctime = static_cast<std::uint32_t>(array.ctime_seconds);
  sb.utime = sb.ctime.value();
  sb.level = array.level;
  sb.size = static_cast<std::uint32_t>(array.size.count() / sectors_per_kib);
  sb.raid_disks = array.raid_disks;
  sb.md_minor = array.preferred_minor;
  sb.state = (array.resync_offset.is_max() ? sb_clean : 0) | (array.bitmap_offset_sectors ? sb_bitmap_present : 0);
  sb.events = array.events;
  sb.layout = array.layout;
  sb.chunk_size = static_cast<std::uint32_t>(array.chunk.bytes());
}

// A missing slot's descriptor stays empty, and the slot counts as failed.
void describe_disks(const NewArray& array, Little& sb) {
  std::uint32_t active = 0;
  for (std::size_t i = 0; i < array.dev_roles.size(); ++i) {
    const bool holds_slot = array.dev_roles[i] < role_max_regular;
    if (!holds_slot && i < array.raid_disks) {
      continue;
    }
    active += holds_slot ? 1 : 0;
    sb.disks[i].number = static_cast<std::uint32_t>(i);
    sb.disks[i].raid_disk = static_cast<std::uint32_t>(i);
    sb.disks[i].state = holds_slot ? disk_active | disk_sync : 0;
  }
  const auto spares = static_cast<std::uint32_t>(array.dev_roles.size()) - array.raid_disks;
  sb.nr_disks = array.raid_disks + spares;
  sb.active_disks = active;
  sb.working_disks = active + spares;
  sb.failed_disks = array.raid_disks - active;
  sb.spare_disks = spares;
}

}  // namespace

Result<std::unique_ptr<Metadata>> create(const NewArray& array, const NewArrayMember& member) {
  TRY(fitting, check(array, member));
  const std::optional<Sectors> place = superblock_place(Sectors::from_bytes(member.member_bytes));
  if (!place) {
    return too_much("the member of " + std::to_string(member.member_bytes) +
                    " bytes has no room for a 0.90 superblock and data before it");
  }
  Record<std::endian::little> record;
  record.fixed = {};
  describe_array(array, record.fixed);
  describe_disks(array, record.fixed);
  record.fixed.this_disk = record.fixed.disks[member.dev_number];
  record.offset_bytes = place->bytes();
  record.member_bytes = member.member_bytes;
  record.fixed.sb_csum = record.expected_checksum();
  return metadata(record);
}

}  // namespace mdtool::md0
