// SPDX-License-Identifier: GPL-2.0-or-later
// What Metadata promises to change in a version 1.x superblock, on its Record. Judges no array: only whether a field
// can hold a value, and whether a member has room.
#pragma once

#include <string_view>

#include "libmeta/format.h"
#include "libmeta/md1/superblock.h"

namespace mdtool::md1 {

// The checksum is right afterwards. A role of a number beyond max_dev raises max_dev, as super_1_sync() does, unless it
// says "spare", which no entry means, too; beyond most_dev_roles() there is no entry and the change is left out.
Record changed(const Record&, const SuperblockChange&);
// "sb_csum" itself is set as told, for tests; its value "right" only puts the checksum right.
Result<Record> with_field(const Record&, std::string_view name, std::string_view value);
Result<Record> for_member(const Record&, const NewMember&);

}  // namespace mdtool::md1
