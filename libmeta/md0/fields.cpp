// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>
#include <bit>
#include <string>
#include <utility>

#include "libmeta/field_value.h"
#include "libmeta/md0/edit.h"
#include "libmeta/md0/superblock.h"

namespace mdtool::md0 {
namespace {

template <typename Fixed, typename Visitor>
void visit_constant(Fixed& sb, Visitor& v) {
  v.number("md_magic", sb.md_magic, Unit::hexadecimal);
  v.number("major_version", sb.major_version);
  v.number("minor_version", sb.minor_version);
  v.number("patch_version", sb.patch_version);
  v.number("gvalid_words", sb.gvalid_words);
  v.number("set_uuid0", sb.set_uuid0, Unit::hexadecimal);
  v.number("ctime", sb.ctime, Unit::seconds);
  v.number("level", sb.level);
  v.number("size", sb.size, Unit::kibibytes);
  v.number("nr_disks", sb.nr_disks);
  v.number("raid_disks", sb.raid_disks);
  v.number("md_minor", sb.md_minor);
  v.number("not_persistent", sb.not_persistent);
  v.number("set_uuid1", sb.set_uuid1, Unit::hexadecimal);
  v.number("set_uuid2", sb.set_uuid2, Unit::hexadecimal);
  v.number("set_uuid3", sb.set_uuid3, Unit::hexadecimal);
  v.raw("gstate_creserved", sb.gstate_creserved);
}

template <typename Fixed, typename Visitor>
void visit_state(Fixed& sb, Visitor& v) {
  v.number("utime", sb.utime, Unit::seconds);
  v.number("state", sb.state, Unit::hexadecimal);
  v.number("active_disks", sb.active_disks);
  v.number("working_disks", sb.working_disks);
  v.number("failed_disks", sb.failed_disks);
  v.number("spare_disks", sb.spare_disks);
  v.number("sb_csum", sb.sb_csum, Unit::hexadecimal);
  v.number("events", sb.events);
  v.number("cp_events", sb.cp_events);
  v.number("recovery_cp", sb.recovery_cp, Unit::sectors, AllOnes::a_state);
  v.number("reshape_position", sb.reshape_position, Unit::sectors);
  v.number("new_level", sb.new_level);
  v.number("delta_disks", sb.delta_disks);
  v.number("new_layout", sb.new_layout);
  v.number("new_chunk", sb.new_chunk, Unit::bytes);
  v.raw("gstate_sreserved", sb.gstate_sreserved);
}

template <typename Fixed, typename Visitor>
void visit_personality(Fixed& sb, Visitor& v) {
  v.number("layout", sb.layout);
  v.number("chunk_size", sb.chunk_size, Unit::bytes);
  v.number("root_pv", sb.root_pv);
  v.number("root_block", sb.root_block);
  v.raw("pstate_creserved", sb.pstate_creserved);
}

template <typename AnyDisk, typename Visitor>
void visit_disk(const std::string& name, AnyDisk& disk, Visitor& v) {
  v.number(name + ".number", disk.number);
  v.number(name + ".major", disk.major);
  v.number(name + ".minor", disk.minor);
  v.number(name + ".raid_disk", disk.raid_disk);
  v.number(name + ".state", disk.state, Unit::hexadecimal);
  v.raw(name + ".reserved", disk.reserved);
}

// The fields in their order on disk: the one list for printing and for editing.
template <typename Fixed, typename Visitor>
void visit(Fixed& sb, Visitor& v) {
  visit_constant(sb, v);
  visit_state(sb, v);
  visit_personality(sb, v);
  for (std::size_t i = 0; i < max_disks; ++i) {
    visit_disk("disks[" + std::to_string(i) + "]", sb.disks[i], v);
  }
  visit_disk("this_disk", sb.this_disk, v);
}

// As mdadm prints it: each word is a number.
template <std::endian Order>
void set_uuid(Superblock<Order>& sb, const Uuid& uuid) {
  const auto words = std::bit_cast<std::array<be32, 4>>(uuid.bytes);
  sb.set_uuid0 = words[0].value();
  sb.set_uuid1 = words[1].value();
  sb.set_uuid2 = words[2].value();
  sb.set_uuid3 = words[3].value();
}

template <std::endian Order>
Status write_field(Record<Order>& record, std::string_view name, std::string_view value) {
  if (name == "set_uuid") {
    std::array<unsigned char, 16> bytes{};
    FieldWriter writer(name, value);
    writer.uuid(name, bytes);
    set_uuid(record.fixed, Uuid{bytes});
    return writer.status();
  }
  FieldWriter writer(name, value);
  visit(record.fixed, writer);
  return writer.found() ? writer.status() : unknown_field(name, fields(record));
}

}  // namespace

template <std::endian Order>
Fields fields(const Record<Order>& record) {
  FieldReader reader;
  visit(record.fixed, reader);
  return std::move(reader).take();
}

template <std::endian Order>
Result<Record<Order>> with_field(const Record<Order>& record, std::string_view name, std::string_view value) {
  constexpr std::string_view checksum = "sb_csum";
  Record<Order> edited = record;
  if (name != checksum || value != "right") {
    TRY(written, write_field(edited, name, value));
  }
  if (name != checksum || value == "right") {
    edited.fixed.sb_csum = edited.expected_checksum();
  }
  return edited;
}

template Fields fields(const Record<std::endian::little>&);
template Fields fields(const Record<std::endian::big>&);
template Result<Record<std::endian::little>> with_field(const Record<std::endian::little>&, std::string_view,
                                                        std::string_view);
template Result<Record<std::endian::big>> with_field(const Record<std::endian::big>&, std::string_view,
                                                     std::string_view);

}  // namespace mdtool::md0
