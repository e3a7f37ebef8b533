// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <limits>
#include <string>

#include "libmeta/field_value.h"
#include "libmeta/md1/superblock.h"

namespace mdtool::md1 {
namespace {

// `offset` sectors from the superblock in bytes from the member's start, or none before that.
std::optional<std::uint64_t> from_superblock(const Record& record, std::int64_t offset) {
  const std::int64_t bytes = offset * static_cast<std::int64_t>(Sectors::bytes_each);
  const auto magnitude = static_cast<std::uint64_t>(bytes < 0 ? -bytes : bytes);
  if (bytes < 0) {
    return magnitude <= record.offset_bytes ? std::optional(record.offset_bytes - magnitude) : std::nullopt;
  }
  return record.offset_bytes + magnitude;
}

// Sector counts from the disk reach bytes only through here: beyond 2^64 bytes they stay at the largest one.
std::uint64_t bounded_bytes(std::uint64_t sectors) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max() / Sectors::bytes_each;
  return std::min(sectors, most) * Sectors::bytes_each;
}

void describe_role(const Record& record, MemberDescription& d) {
  const Superblock& sb = record.fixed;
  const std::int64_t delta = record.has(feature_reshape_active) ? sb.delta_disks.value() : 0;
  const std::int64_t before = std::int64_t{sb.raid_disks} - delta;
  const std::uint16_t role = d.dev_number < d.dev_roles.size() ? d.dev_roles[d.dev_number] : role_spare;
  if (role == role_faulty) {
    d.role = Role::faulty;
  } else if (role == role_journal) {
    d.role = Role::journal;
  } else if (role < role_max_regular && role < std::max(before, std::int64_t{sb.raid_disks})) {
    d.role = Role::active;
    d.slot = role;
  } else {
    d.role = Role::spare;
  }
}

void describe_recovery(const Record& record, MemberDescription& d) {
  const Superblock& sb = record.fixed;
  if (d.role == Role::journal) {
    d.journal_tail = Sectors(sb.recovery_offset);
    return;
  }
  d.replacement = record.has(feature_replacement);
  d.recovery = record.has(feature_recovery_offset);
  d.recovery_by_bitmap = d.recovery && record.has(feature_recovery_bitmap);
  d.recovery_offset = d.recovery ? Sectors(sb.recovery_offset) : Sectors::max();
}

void describe_reshape(const Record& record, MemberDescription& d) {
  const Superblock& sb = record.fixed;
  if (!record.has(feature_reshape_active)) {
    return;
  }
  Reshape& reshape = d.reshape.emplace();
  reshape.new_level = sb.new_level;
  reshape.new_layout = sb.new_layout;
  reshape.new_chunk = Sectors(sb.new_chunk);
  reshape.delta_disks = sb.delta_disks;
  reshape.position = Sectors(sb.reshape_position);
  reshape.backwards = reshape.delta_disks < 0 || (reshape.delta_disks == 0 && record.has(feature_reshape_backwards));
  reshape.new_offset_sectors = record.has(feature_new_offset) ? sb.new_offset.value() : 0;
}

void describe_logs(const Record& record, MemberDescription& d) {
  const Superblock& sb = record.fixed;
  const std::optional<std::uint64_t> log = from_superblock(record, sb.bblog_offset);
  if (sb.bblog_size != 0 && sb.bblog_offset != 0 && log) {
    d.bad_block_log = BadBlockLogPlace{*log, sb.bblog_size, sb.bblog_shift, record.has(feature_bad_blocks)};
  }
  const PplPlace ppl = ppl_place(sb);
  const std::optional<std::uint64_t> area = from_superblock(record, ppl.offset);
  if (record.has(feature_ppl | feature_multiple_ppls) && area) {
    d.ppl = Area{"ppl", *area, bounded_bytes(ppl.size)};
  }
}

// Data in the geometry before and, where data_offset moves down, in the one after.
Area data_area(const Record& record, const MemberDescription& d) {
  const Superblock& sb = record.fixed;
  const std::uint64_t used = sb.size != 0 && d.role != Role::journal ? sb.size : sb.data_size;
  Area data{"data", bounded_bytes(sb.data_offset), bounded_bytes(used)};
  if (d.reshape && d.reshape->new_offset_sectors < 0) {
    const std::uint64_t down = bounded_bytes(static_cast<std::uint64_t>(-d.reshape->new_offset_sectors));
    const std::uint64_t moved = std::min(down, data.offset_bytes);
    data.offset_bytes -= moved;
    data.length_bytes += std::min(moved, std::numeric_limits<std::uint64_t>::max() - data.length_bytes);
  }
  return data;
}

void list_areas(const Record& record, MemberDescription& d) {
  d.areas.push_back({"superblock", record.offset_bytes, record.io_bytes()});
  d.areas.push_back(data_area(record, d));
  if (d.bitmap_offset_bytes) {
    d.areas.push_back({"bitmap", *d.bitmap_offset_bytes, 0});
  }
  if (d.bad_block_log) {
    d.areas.push_back({"bad-block log", d.bad_block_log->offset_bytes, bounded_bytes(d.bad_block_log->sectors)});
  }
  if (d.ppl) {
    d.areas.push_back(*d.ppl);
  }
}

// Up to the nearest area that starts behind `start`, none if it starts inside of one. An empty bad-block log is no
// limit: the state bytes of a lockless bitmap run over it.
std::uint64_t room_from(std::uint64_t start, const Record& record, const MemberDescription& d) {
  std::uint64_t end = std::max(start, record.member_bytes);
  if (record.minor_version == 0 && start >= record.offset_bytes) {
    // super_1_validate(): behind a 1.0 superblock, the rest of its 4 KiB.
    end = std::max(start, std::min(end, record.offset_bytes + superblock_limit_bytes));
  }
  for (const Area& area : d.areas) {
    const bool limits = area.length_bytes != 0 && (area.name != "bad-block log" || d.bad_block_log->not_empty);
    if (!limits) {
      continue;
    }
    if (area.offset_bytes > start) {
      end = std::min(end, area.offset_bytes);
    } else if (start - area.offset_bytes < area.length_bytes) {
      return 0;
    }
  }
  return end - start;
}

}  // namespace

MemberDescription describe(const Record& record) {
  const Superblock& sb = record.fixed;
  MemberDescription d;
  d.metadata = "1." + std::to_string(record.minor_version);
  d.set_uuid.bytes = sb.set_uuid;
  d.device_uuid = Uuid{sb.device_uuid};
  d.bitmap_uuid = d.set_uuid;
  d.set_name.assign(sb.set_name.begin(), std::find(sb.set_name.begin(), sb.set_name.end(), '\0'));
  d.ctime_seconds = sb.ctime & seconds_mask;
  d.utime_seconds = sb.utime & seconds_mask;
  d.level = sb.level;
  // Without its feature bit, raid0's layout was never recorded.
  d.layout = d.level == 0 && !record.has(feature_raid0_layout) ? 0 : sb.layout.value();
  d.chunk = Sectors(sb.chunksize);
  d.raid_disks = sb.raid_disks;
  d.size = Sectors(sb.size);
  d.super_offset = Sectors::from_bytes(record.offset_bytes);
  d.data_offset = Sectors(sb.data_offset);
  d.data_size = Sectors(sb.data_size);
  d.events = sb.events;
  d.resync_offset = Sectors(sb.resync_offset);
  d.dev_number = sb.dev_number;
  d.dev_roles = record.dev_roles();
  d.clustered = record.has(feature_clustered);
  d.has_journal = record.has(feature_journal);
  d.unknown_features = sb.feature_map & ~feature_all;
  d.logical_block_size = sb.logical_block_size;
  describe_role(record, d);
  describe_recovery(record, d);
  describe_reshape(record, d);
  describe_logs(record, d);
  const std::optional<std::uint64_t> bitmap = from_superblock(record, sb.bitmap_offset);
  if (record.has(feature_bitmap_offset) && bitmap && *bitmap < record.member_bytes) {
    d.bitmap_offset_bytes = bitmap;
  }
  list_areas(record, d);
  if (d.bitmap_offset_bytes) {
    d.bitmap_room_bytes = room_from(*d.bitmap_offset_bytes, record, d);
  }
  return d;
}

}  // namespace mdtool::md1
