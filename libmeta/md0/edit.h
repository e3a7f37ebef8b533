// SPDX-License-Identifier: GPL-2.0-or-later
// What Metadata promises to change in a version 0.90 superblock, on its Record. Judges no array: only whether a field
// can hold a value, and whether a member has room.
#pragma once

#include <string_view>

#include "libmeta/format.h"
#include "libmeta/md0/superblock.h"

namespace mdtool::md0 {

// The checksum and the disk counts are right afterwards, and this_disk is its descriptor. In what differs from 1.x, the
// descriptors are as super_90_sync() writes them:
// - a role of a number beyond the 27 is left out;
// - "faulty" for a member that held a slot leaves the slot removed|faulty and moves the device behind the slots (its
//   own superblock keeps the number);
// - "spare" is removed|faulty for a slot's number, an empty descriptor behind the slots, and a spare for this member;
// - a recovery from the start or by bitmap makes this member a spare: there is no place for its progress.
template <std::endian Order>
Record<Order> changed(const Record<Order>&, const SuperblockChange&);
// Also "set_uuid", all four words as mdadm prints them. "sb_csum" itself is set as told, for tests; its value "right"
// only puts the checksum right.
template <std::endian Order>
Result<Record<Order>> with_field(const Record<Order>&, std::string_view name, std::string_view value);
template <std::endian Order>
Result<Record<Order>> for_member(const Record<Order>&, const NewMember&);

}  // namespace mdtool::md0
