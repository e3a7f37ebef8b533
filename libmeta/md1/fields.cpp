// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "libmeta/field_value.h"
#include "libmeta/md1/edit.h"
#include "libmeta/md1/superblock.h"

namespace mdtool::md1 {
namespace {

template <typename Fixed, typename Visitor>
void visit_array(Fixed& sb, Visitor& v) {
  v.number("magic", sb.magic, Unit::hexadecimal);
  v.number("major_version", sb.major_version);
  v.number("feature_map", sb.feature_map, Unit::hexadecimal);
  v.number("pad0", sb.pad0, Unit::hexadecimal);
  v.uuid("set_uuid", sb.set_uuid);
  v.characters("set_name", sb.set_name);
  v.time("ctime", sb.ctime);
  v.number("level", sb.level);
  v.number("layout", sb.layout);
  v.number("size", sb.size, Unit::sectors);
  v.number("chunksize", sb.chunksize, Unit::sectors);
  v.number("raid_disks", sb.raid_disks);
}

template <typename Fixed, typename Visitor>
void visit_bitmap_or_ppl(Fixed& sb, Visitor& v) {
  if ((sb.feature_map & (feature_ppl | feature_multiple_ppls)) == 0) {
    v.number("bitmap_offset", sb.bitmap_offset, Unit::sectors);
    return;
  }
  PplPlace ppl = ppl_place(sb);
  v.number("ppl.offset", ppl.offset, Unit::sectors);
  v.number("ppl.size", ppl.size, Unit::sectors);
  if constexpr (!std::is_const_v<Fixed>) {
    sb.bitmap_offset = std::bit_cast<sle32>(ppl);
  }
}

template <typename Fixed, typename Visitor>
void visit_reshape(Fixed& sb, Visitor& v) {
  v.number("new_level", sb.new_level);
  v.number("reshape_position", sb.reshape_position, Unit::sectors);
  v.number("delta_disks", sb.delta_disks);
  v.number("new_layout", sb.new_layout);
  v.number("new_chunk", sb.new_chunk, Unit::sectors);
  v.number("new_offset", sb.new_offset, Unit::sectors);
}

template <typename Fixed, typename Visitor>
void visit_member(Fixed& sb, Role role, Visitor& v) {
  v.number("data_offset", sb.data_offset, Unit::sectors);
  v.number("data_size", sb.data_size, Unit::sectors);
  v.number("super_offset", sb.super_offset, Unit::sectors);
  const AllOnes all_ones = role == Role::journal ? AllOnes::a_number : AllOnes::a_state;
  v.number(role == Role::journal ? "journal_tail" : "recovery_offset", sb.recovery_offset, Unit::sectors, all_ones);
  v.number("dev_number", sb.dev_number);
  v.number("cnt_corrected_read", sb.cnt_corrected_read);
  v.uuid("device_uuid", sb.device_uuid);
  v.number("devflags", sb.devflags, Unit::hexadecimal);
  v.number("bblog_shift", sb.bblog_shift);
  v.number("bblog_size", sb.bblog_size, Unit::sectors);
  v.number("bblog_offset", sb.bblog_offset, Unit::sectors);
}

template <typename Fixed, typename Visitor>
void visit_state(Fixed& sb, Visitor& v) {
  v.time("utime", sb.utime);
  v.number("events", sb.events);
  v.number("resync_offset", sb.resync_offset, Unit::sectors, AllOnes::a_state);
  v.number("sb_csum", sb.sb_csum, Unit::hexadecimal);
  v.number("max_dev", sb.max_dev);
  v.number("logical_block_size", sb.logical_block_size, Unit::bytes);
  v.raw("pad3", sb.pad3);
}

template <typename AnyRecord, typename Visitor>
void visit_roles(AnyRecord& record, Visitor& v) {
  const std::vector<std::uint16_t> roles = record.dev_roles();
  for (std::size_t i = 0; i < roles.size(); ++i) {
    le16 role = roles[i];
    v.number("dev_roles[" + std::to_string(i) + "]", role, Unit::hexadecimal);
    if constexpr (!std::is_const_v<AnyRecord>) {
      record.set_dev_role(i, role);
    }
  }
}

// The fields in their order on disk: the one list for printing and for editing.
template <typename AnyRecord, typename Visitor>
void visit(AnyRecord& record, Visitor& v) {
  visit_array(record.fixed, v);
  visit_bitmap_or_ppl(record.fixed, v);
  visit_reshape(record.fixed, v);
  visit_member(record.fixed, describe(record).role, v);
  visit_state(record.fixed, v);
  visit_roles(record, v);
}

// New roles are those of devices that do not exist, whatever lay behind the superblock.
Status raise_max_dev(Record& record, std::uint32_t before) {
  const std::size_t most = record.most_dev_roles();
  if (record.fixed.max_dev > most) {
    return Error{ErrorKind::usage, "max_dev is at most " + std::to_string(most) + " here"};
  }
  for (std::size_t i = before; i < record.fixed.max_dev; ++i) {
    record.set_dev_role(i, role_spare);
  }
  return Done{};
}

}  // namespace

Fields fields(const Record& record) {
  FieldReader reader;
  visit(record, reader);
  return std::move(reader).take();
}

Result<Record> with_field(const Record& record, std::string_view name, std::string_view value) {
  constexpr std::string_view checksum = "sb_csum";
  Record edited = record;
  if (name != checksum || value != "right") {
    FieldWriter writer(name, value);
    visit(edited, writer);
    if (!writer.found()) {
      return unknown_field(name, fields(record));
    }
    TRY(written, Status(writer.status()));
  }
  if (name == "max_dev") {
    TRY(raised, raise_max_dev(edited, record.fixed.max_dev));
  }
  if (name != checksum || value == "right") {
    edited.fixed.sb_csum = edited.expected_checksum();
  }
  return edited;
}

}  // namespace mdtool::md1
