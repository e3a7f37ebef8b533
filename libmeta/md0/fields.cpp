// SPDX-License-Identifier: GPL-2.0-or-later
#include <bit>
#include <string>
#include <utility>

#include "libmeta/field_list.h"
#include "libmeta/md0/superblock.h"

namespace mdtool::md0 {
namespace {

// As they lie on disk.
template <typename Word, std::size_t Count>
void list_reserved(const std::string& name, const std::array<Word, Count>& words, FieldList& list) {
  list.text(name, hex_digits(std::bit_cast<std::array<unsigned char, sizeof(words)>>(words)));
}

template <std::endian Order>
void list_constant(const Superblock<Order>& sb, FieldList& list) {
  list.number("md_magic", sb.md_magic, Unit::hexadecimal);
  list.number("major_version", sb.major_version);
  list.number("minor_version", sb.minor_version);
  list.number("patch_version", sb.patch_version);
  list.number("gvalid_words", sb.gvalid_words);
  list.number("set_uuid0", sb.set_uuid0, Unit::hexadecimal);
  list.number("ctime", sb.ctime, Unit::seconds);
  list.signed_number("level", sb.level);
  list.number("size", sb.size, Unit::kibibytes);
  list.number("nr_disks", sb.nr_disks);
  list.number("raid_disks", sb.raid_disks);
  list.number("md_minor", sb.md_minor);
  list.number("not_persistent", sb.not_persistent);
  list.number("set_uuid1", sb.set_uuid1, Unit::hexadecimal);
  list.number("set_uuid2", sb.set_uuid2, Unit::hexadecimal);
  list.number("set_uuid3", sb.set_uuid3, Unit::hexadecimal);
  list_reserved("gstate_creserved", sb.gstate_creserved, list);
}

template <std::endian Order>
void list_state(const Superblock<Order>& sb, FieldList& list) {
  list.number("utime", sb.utime, Unit::seconds);
  list.number("state", sb.state, Unit::hexadecimal);
  list.number("active_disks", sb.active_disks);
  list.number("working_disks", sb.working_disks);
  list.number("failed_disks", sb.failed_disks);
  list.number("spare_disks", sb.spare_disks);
  list.number("sb_csum", sb.sb_csum, Unit::hexadecimal);
  list.number("events", sb.events);
  list.number("cp_events", sb.cp_events);
  list.number("recovery_cp", sb.recovery_cp, Unit::sectors);
  list.number("reshape_position", sb.reshape_position, Unit::sectors);
  list.signed_number("new_level", sb.new_level);
  list.signed_number("delta_disks", sb.delta_disks);
  list.number("new_layout", sb.new_layout);
  list.number("new_chunk", sb.new_chunk, Unit::bytes);
  list_reserved("gstate_sreserved", sb.gstate_sreserved, list);
}

template <std::endian Order>
void list_personality(const Superblock<Order>& sb, FieldList& list) {
  list.number("layout", sb.layout);
  list.number("chunk_size", sb.chunk_size, Unit::bytes);
  list.number("root_pv", sb.root_pv);
  list.number("root_block", sb.root_block);
  list_reserved("pstate_creserved", sb.pstate_creserved, list);
}

template <std::endian Order>
void list_disk(const std::string& name, const Disk<Order>& disk, FieldList& list) {
  list.number(name + ".number", disk.number);
  list.number(name + ".major", disk.major);
  list.number(name + ".minor", disk.minor);
  list.number(name + ".raid_disk", disk.raid_disk);
  list.number(name + ".state", disk.state, Unit::hexadecimal);
  list_reserved(name + ".reserved", disk.reserved, list);
}

}  // namespace

template <std::endian Order>
Fields fields(const Record<Order>& record) {
  FieldList list;
  list_constant(record.fixed, list);
  list_state(record.fixed, list);
  list_personality(record.fixed, list);
  for (std::size_t i = 0; i < max_disks; ++i) {
    list_disk("disks[" + std::to_string(i) + "]", record.fixed.disks[i], list);
  }
  list_disk("this_disk", record.fixed.this_disk, list);
  return std::move(list).take();
}

template Fields fields(const Record<std::endian::little>&);
template Fields fields(const Record<std::endian::big>&);

}  // namespace mdtool::md0
