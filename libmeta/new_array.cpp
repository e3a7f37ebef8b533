// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/new_array.h"

#include "libmeta/md0/create.h"
#include "libmeta/md1/create.h"

namespace mdtool {

Result<std::unique_ptr<Metadata>> new_superblock(const NewArray& array, const NewArrayMember& member) {
  if (array.metadata == "0.90") {
    return md0::create(array, member);
  }
  if (array.metadata == "1.0") {
    return md1::create(array, member, 0);
  }
  if (array.metadata == "1.1") {
    return md1::create(array, member, 1);
  }
  if (array.metadata == "1.2") {
    return md1::create(array, member, 2);
  }
  return Error{ErrorKind::usage, "metadata " + array.metadata + ": one of 0.90, 1.0, 1.1 and 1.2 can be created"};
}

}  // namespace mdtool
