// SPDX-License-Identifier: GPL-2.0-or-later
// A write-intent bitmap added, taken away, turned into the other format, moved, cut into other chunks, or rebuilt where
// its header was destroyed: as plans. No chunk that needs work is forgotten on the way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libmeta/bitmap/header.h"
#include "libraid/assemble/assembly.h"
#include "libraid/edit/edit_plan.h"
#include "libraid/edit/membership.h"

namespace mdtool {

struct BitmapTarget {
  bitmap::Kind kind = bitmap::Kind::classic;
  std::optional<std::uint64_t> chunk_bytes;    // none: kept where it fits, or the default; of a lockless one it follows
  std::optional<std::int64_t> offset_sectors;  // from the superblock; none: where it is, or the first room
  std::string file;                            // not empty: an external classic bitmap goes there, nothing inside
};

// An external bitmap file that the array has now, if the caller was given one. Superblocks do not speak of it.
struct BitmapFile {
  std::string path;
  const Source* content = nullptr;
};

// Each refuses, with the reason, what would lose a chunk that needs work. One that is done already has an empty plan.
//
// On a clean array no bit is set and every chunk is Clean; on a dirty one all are due, as they are without a bitmap.
Result<EditPlan> plan_bitmap_add(const Assembly& array, const BitmapTarget&, const EditClock&);
// What the bitmap alone knew becomes a resync of the whole array.
Result<EditPlan> plan_bitmap_remove(const Assembly& array, const EditClock&);
// Also to and from external files, into other chunks, to another place. `from` is refused where the array has a bitmap
// inside, unless that is the one asked for and says no less: after a cut, or when all was done before.
Result<EditPlan> plan_bitmap_convert(const Assembly& array, const BitmapTarget&, const std::optional<BitmapFile>& from,
                                     const EditClock&);
// A lockless header that states were written over (bitmap::overwritten_by_states()), rebuilt: what may have been missed
// since then is due.
Result<EditPlan> plan_bitmap_repair(const Assembly& array, const EditClock&);

}  // namespace mdtool
