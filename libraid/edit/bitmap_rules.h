// SPDX-License-Identifier: GPL-2.0-or-later
// What every change of a bitmap asks first: whether the array can have one, and whether its members let it change now.
#pragma once

#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/edit/bitmap_room.h"

namespace mdtool {

// The bitmap inside of the members as the freshest superblock has it, and what all copies there say. After a cut others
// may have it elsewhere, or not at all.
struct BitmapNow {
  BitmapView view;
  std::optional<BitmapShape> shape;  // none: the freshest superblock has no bitmap
};
BitmapNow bitmap_now(const Assembly& array);

// What to do about a resync that is due now.
std::string resync_advice(const Assembly& array);

// Refused: levels without bitmaps, logs, a cluster, a reshape, a replacement, members filled by this very bitmap, a
// dirty array that is degraded.
Status check_bitmap_change(const Assembly& array);
// Refused: a lockless bitmap is entered or left, and the array is not whole.
enum class LocklessWay { enters, leaves };
Status check_whole_for_lockless(const Assembly& array, LocklessWay way);
// Refused: metadata or blocks that no lockless bitmap goes with.
Status check_lockless_possible(const Assembly& array);

}  // namespace mdtool
