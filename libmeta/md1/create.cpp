// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md1/create.h"

#include <algorithm>
#include <bit>
#include <string>

#include "libmeta/field_value.h"
#include "libmeta/md1/superblock.h"

namespace mdtool::md1 {

namespace {

Error too_much(std::string text) {
  return {ErrorKind::usage, std::move(text)};
}

// mdadm rounds the superblock up to whole sectors, and the roles fill them.
std::uint32_t max_dev_for(std::size_t roles) {
  const std::size_t used = sizeof(Superblock) + roles * sizeof(le16);
  const std::size_t whole = (used + Sectors::bytes_each - 1) / Sectors::bytes_each * Sectors::bytes_each;
  return static_cast<std::uint32_t>((whole - sizeof(Superblock)) / sizeof(le16));
}

Status check(const NewArray& array, const NewArrayMember& member) {
  if (array.set_name.size() > sizeof(Superblock::set_name)) {
    return too_much("the name, with the homehost before it, is longer than the " +
                    std::to_string(sizeof(Superblock::set_name)) + " bytes of its field");
  }
  if (array.dev_roles.size() > max_dev_limit || member.dev_number >= array.dev_roles.size()) {
    return too_much("a 1.x superblock has room for " + std::to_string(max_dev_limit) + " members, spares included");
  }
  if (array.chunk.count() > std::numeric_limits<std::uint32_t>::max()) {
    return too_much("the chunk size does not fit into 32 bits of sectors");
  }
  return Done{};
}

void describe_array(const NewArray& array, Superblock& sb) {
  sb.magic = magic_number;
  sb.major_version = 1;
  sb.set_uuid = array.set_uuid.bytes;
  std::ranges::copy(array.set_name, sb.set_name.begin());
  sb.ctime = array.ctime_seconds & seconds_mask;
  sb.utime = sb.ctime.value();
  sb.level = array.level;
  sb.layout = array.layout;
  sb.size = array.size.count();
  sb.chunksize = static_cast<std::uint32_t>(array.chunk.count());
  sb.raid_disks = array.raid_disks;
  sb.events = array.events;
  sb.resync_offset = array.resync_offset.count();
  sb.max_dev = max_dev_for(array.dev_roles.size());
  if (array.level == 0 && array.layout != 0) {
    sb.feature_map = sb.feature_map | feature_raid0_layout;
  }
  if (array.bitmap_offset_sectors) {
    sb.feature_map = sb.feature_map | feature_bitmap_offset;
    sb.bitmap_offset = *array.bitmap_offset_sectors;
  } else if (array.ppl) {
    sb.feature_map = sb.feature_map | feature_ppl;
    sb.bitmap_offset = std::bit_cast<sle32>(PplPlace{array.ppl->offset_sectors, array.ppl->sectors});
  }
}

void describe_member(const NewArrayMember& member, Sectors place, Superblock& sb) {
  sb.super_offset = place.count();
  sb.data_offset = member.data_offset.count();
  sb.data_size = member.data_size.count();
  sb.dev_number = member.dev_number;
  sb.device_uuid = member.device_uuid.bytes;
  if (member.bad_block_log_offset_sectors) {
    sb.bblog_size = static_cast<std::uint16_t>(bad_block_log_sectors);
    sb.bblog_offset = *member.bad_block_log_offset_sectors;
  }
}

}  // namespace

Sectors bitmap_space(Sectors size) {
  constexpr Sectors gibibyte{std::uint64_t{1} << 21};
  if (size < Sectors(128)) {
    return Sectors(0);
  }
  if (size - Sectors(128) >= gibibyte * 200) {
    return Sectors(256);
  }
  return size - Sectors(8) > gibibyte * 8 ? Sectors(128) : Sectors(8);
}

Result<std::unique_ptr<Metadata>> create(const NewArray& array, const NewArrayMember& member,
                                         std::uint32_t minor_version) {
  TRY(fitting, check(array, member));
  const std::optional<Sectors> place = superblock_place(minor_version, Sectors::from_bytes(member.member_bytes));
  if (!place || !fits(place->bytes(), superblock_limit_bytes, member.member_bytes)) {
    return too_much("the member of " + std::to_string(member.member_bytes) +
                    " bytes has no room for a superblock of this version");
  }
  Record record;
  record.fixed = {};
  describe_array(array, record.fixed);
  describe_member(member, *place, record.fixed);
  record.rest.resize(record.fixed.max_dev * sizeof(le16), std::byte{0xff});
  for (std::size_t i = 0; i < array.dev_roles.size(); ++i) {
    record.set_dev_role(i, array.dev_roles[i]);
  }
  record.minor_version = minor_version;
  record.offset_bytes = place->bytes();
  record.member_bytes = member.member_bytes;
  record.fixed.sb_csum = record.expected_checksum();
  return metadata(std::move(record));
}

}  // namespace mdtool::md1
