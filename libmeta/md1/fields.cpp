// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <string>
#include <utility>

#include "libmeta/field_list.h"
#include "libmeta/md1/superblock.h"

namespace mdtool::md1 {
namespace {

constexpr std::uint64_t seconds_mask = (std::uint64_t{1} << 40) - 1;

// Low 40 bits seconds, high 24 bits microseconds.
void list_time(const std::string& name, std::uint64_t value, FieldList& list) {
  list.number(name, value & seconds_mask, Unit::seconds);
  list.number(name + ".microseconds", value >> 40);
}

void list_array(const Superblock& sb, FieldList& list) {
  list.number("magic", sb.magic, Unit::hexadecimal);
  list.number("major_version", sb.major_version);
  list.number("feature_map", sb.feature_map, Unit::hexadecimal);
  list.number("pad0", sb.pad0, Unit::hexadecimal);
  list.text("set_uuid", Uuid{sb.set_uuid}.text());
  list.text("set_name", std::string(sb.set_name.begin(), std::find(sb.set_name.begin(), sb.set_name.end(), '\0')));
  list_time("ctime", sb.ctime, list);
  list.signed_number("level", sb.level);
  list.number("layout", sb.layout);
  list.number("size", sb.size, Unit::sectors);
  list.number("chunksize", sb.chunksize, Unit::sectors);
  list.number("raid_disks", sb.raid_disks);
}

void list_bitmap_or_ppl(const Record& record, FieldList& list) {
  if (record.has(feature_ppl | feature_multiple_ppls)) {
    const PplPlace ppl = ppl_place(record.fixed);
    list.signed_number("ppl.offset", ppl.offset, Unit::sectors);
    list.number("ppl.size", ppl.size, Unit::sectors);
  } else {
    list.signed_number("bitmap_offset", record.fixed.bitmap_offset, Unit::sectors);
  }
}

void list_reshape(const Superblock& sb, FieldList& list) {
  list.signed_number("new_level", sb.new_level);
  list.number("reshape_position", sb.reshape_position, Unit::sectors);
  list.signed_number("delta_disks", sb.delta_disks);
  list.number("new_layout", sb.new_layout);
  list.number("new_chunk", sb.new_chunk, Unit::sectors);
  list.signed_number("new_offset", sb.new_offset, Unit::sectors);
}

void list_member(const Superblock& sb, Role role, FieldList& list) {
  list.number("data_offset", sb.data_offset, Unit::sectors);
  list.number("data_size", sb.data_size, Unit::sectors);
  list.number("super_offset", sb.super_offset, Unit::sectors);
  list.number(role == Role::journal ? "journal_tail" : "recovery_offset", sb.recovery_offset, Unit::sectors);
  list.number("dev_number", sb.dev_number);
  list.number("cnt_corrected_read", sb.cnt_corrected_read);
  list.text("device_uuid", Uuid{sb.device_uuid}.text());
  list.number("devflags", sb.devflags, Unit::hexadecimal);
  list.number("bblog_shift", sb.bblog_shift);
  list.number("bblog_size", sb.bblog_size, Unit::sectors);
  list.signed_number("bblog_offset", sb.bblog_offset, Unit::sectors);
}

void list_state(const Superblock& sb, FieldList& list) {
  list_time("utime", sb.utime, list);
  list.number("events", sb.events);
  list.number("resync_offset", sb.resync_offset, Unit::sectors);
  list.number("sb_csum", sb.sb_csum, Unit::hexadecimal);
  list.number("max_dev", sb.max_dev);
  list.number("logical_block_size", sb.logical_block_size, Unit::bytes);
  list.text("pad3", hex_digits(sb.pad3));
}

}  // namespace

Fields fields(const Record& record) {
  FieldList list;
  list_array(record.fixed, list);
  list_bitmap_or_ppl(record, list);
  list_reshape(record.fixed, list);
  list_member(record.fixed, describe(record).role, list);
  list_state(record.fixed, list);
  const std::vector<std::uint16_t> roles = record.dev_roles();
  for (std::size_t i = 0; i < roles.size(); ++i) {
    list.number("dev_roles[" + std::to_string(i) + "]", roles[i], Unit::hexadecimal);
  }
  return std::move(list).take();
}

}  // namespace mdtool::md1
