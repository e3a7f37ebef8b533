// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/md1/edit.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "libmeta/field_value.h"

namespace mdtool::md1 {
namespace {

template <typename T>
bool contains(const std::vector<std::uint32_t>& list, T value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// As super_1_sync(): a device that failed stays faulty for as long as it is attached, one that is not there is a spare.
void mark_lost(Record& record, const SuperblockChange& change) {
  const std::vector<std::uint16_t> roles = record.dev_roles();
  for (std::size_t i = 0; i < roles.size(); ++i) {
    if (roles[i] >= role_max_regular || i == record.fixed.dev_number) {
      continue;
    }
    if (contains(change.missing_slots, roles[i]) || contains(change.departed, i)) {
      record.set_dev_role(i, role_spare);
    } else if (contains(change.faulty_slots, roles[i])) {
      record.set_dev_role(i, role_faulty);
    }
  }
}

void enter_role(Record& record, std::uint32_t dev_number, std::uint16_t role) {
  for (std::uint32_t i = record.fixed.max_dev; i <= dev_number; ++i) {
    record.set_dev_role(i, role_spare);
    record.fixed.max_dev = i + 1;
  }
  record.set_dev_role(dev_number, role);
}

void change_role(Record& record, const RoleChange& change) {
  const bool listed = change.dev_number < record.fixed.max_dev;
  if (change.dev_number < record.most_dev_roles() && (listed || change.role != role_spare)) {
    enter_role(record, change.dev_number, change.role);
  }
}

void change_recovery(Superblock& sb, SuperblockChange::Recovery recovery) {
  using Recovery = SuperblockChange::Recovery;
  constexpr std::uint32_t recovering = feature_recovery_offset | feature_recovery_bitmap;
  if (recovery == Recovery::keep || (recovery == Recovery::clear && (sb.feature_map & feature_recovery_offset) == 0)) {
    return;
  }
  const std::uint32_t bits = recovery == Recovery::clear        ? 0
                             : recovery == Recovery::from_start ? feature_recovery_offset
                                                                : recovering;
  sb.feature_map = (sb.feature_map & ~recovering) | bits;
  sb.recovery_offset = 0;  // as super_1_sync() leaves a member in sync
}

// choose_bm_space() of mdadm: what it leaves for a bitmap.
std::uint64_t bitmap_space_sectors(std::uint64_t size) {
  constexpr std::uint64_t gibibyte = std::uint64_t{1} << 21;  // sectors
  if (size < 128) {
    return 0;
  }
  if (size - 128 >= 200 * gibibyte) {
    return 256;
  }
  return size - 8 > 8 * gibibyte ? 128 : 8;
}

// Before a 1.0 superblock: mdadm's space for a bitmap and for the bad-block log, or more if something lies further up.
std::uint64_t reserved_sectors(const Record& record) {
  const Superblock& sb = record.fixed;
  std::int64_t reserved = static_cast<std::int64_t>(bitmap_space_sectors(sb.size) + bad_block_log_sectors);
  reserved = std::max(reserved, -std::int64_t{sb.bblog_offset});
  if (record.has(feature_ppl | feature_multiple_ppls)) {
    reserved = std::max(reserved, -std::int64_t{ppl_place(sb).offset});
  } else if (record.has(feature_bitmap_offset)) {
    reserved = std::max(reserved, -std::int64_t{sb.bitmap_offset});
  }
  return static_cast<std::uint64_t>(reserved);
}

// 0 where there is no room at all.
std::uint64_t data_room_sectors(const Record& record) {
  const Superblock& sb = record.fixed;
  const bool at_end = record.minor_version == 0;
  const std::uint64_t end = at_end ? sb.super_offset.value() : Sectors::from_bytes(record.member_bytes).count();
  const std::uint64_t reserved = at_end ? reserved_sectors(record) : 0;
  return end < sb.data_offset || end - sb.data_offset < reserved ? 0 : end - sb.data_offset - reserved;
}

// The array's part stays, the member's begins anew.
void begin_anew(Record& record, const NewMember& member, Sectors super_offset) {
  Superblock& sb = record.fixed;
  sb.feature_map =
      sb.feature_map & ~(feature_bad_blocks | feature_recovery_offset | feature_recovery_bitmap | feature_replacement);
  sb.super_offset = super_offset.count();
  sb.recovery_offset = 0;
  sb.dev_number = member.dev_number;
  sb.cnt_corrected_read = 0;
  sb.device_uuid = member.device_uuid.bytes;
  sb.devflags = 0;
  record.offset_bytes = super_offset.bytes();
  record.member_bytes = member.member_bytes;
  // Behind the roles were the other member's bytes.
  const std::size_t roles = std::min(sb.max_dev.value(), max_dev_limit) * sizeof(le16);
  record.rest.resize(std::min(record.rest.size(), roles));
  record.rest.resize(roles, std::byte{0xff});
  record.rest.resize(superblock_limit_bytes - sizeof(Superblock));
}

// What verify() says about places.
constexpr std::array<std::string_view, 8> place_findings{
    "data-size",    "size",      "data-beyond-member", "data-overlaps-superblock",
    "bitmap-place", "ppl-place", "area-beyond-member", "areas-overlap"};

Status judge_places(const Record& record) {
  for (const Finding& finding : verify(record, record.member_bytes)) {
    const bool place = std::find(place_findings.begin(), place_findings.end(), finding.id) != place_findings.end();
    if (place && finding.effect != Effect::none) {
      return Error{ErrorKind::refused, "the member has no room for this array: " + finding.text};
    }
  }
  return Done{};
}

}  // namespace

Record changed(const Record& from, const SuperblockChange& change) {
  Record record = from;
  if (change.events) {
    record.fixed.events = *change.events;
  }
  if (change.utime_seconds) {
    record.fixed.utime = *change.utime_seconds & seconds_mask;
  }
  if (change.resync_offset) {
    record.fixed.resync_offset = change.resync_offset->count();
  }
  mark_lost(record, change);
  record.fixed.cnt_corrected_read = record.fixed.cnt_corrected_read + change.corrected_reads;
  for (const RoleChange& role : change.roles) {
    change_role(record, role);
  }
  change_recovery(record.fixed, change.recovery);
  record.fixed.sb_csum = record.expected_checksum();
  return record;
}

Result<Record> for_member(const Record& from, const NewMember& member) {
  const std::optional<Sectors> place = superblock_place(from.minor_version, Sectors::from_bytes(member.member_bytes));
  if (!place || !fits(place->bytes(), superblock_limit_bytes, member.member_bytes)) {
    return Error{ErrorKind::refused, "the member is too small for a 1." + std::to_string(from.minor_version) +
                                         " superblock: " + std::to_string(member.member_bytes) + " bytes"};
  }
  if (member.dev_number >= max_dev_limit) {
    return Error{ErrorKind::usage, "dev_number is at most " + std::to_string(max_dev_limit - 1)};
  }
  Record record = from;
  begin_anew(record, member, *place);
  enter_role(record, member.dev_number, member.role);
  record.fixed.data_size = data_room_sectors(record);
  record.fixed.sb_csum = record.expected_checksum();
  TRY(room, judge_places(record));
  return record;
}

}  // namespace mdtool::md1
