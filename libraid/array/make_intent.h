// SPDX-License-Identifier: GPL-2.0-or-later
// Which kind of write intent a running array keeps: decided by the bitmap that is on its members.
#pragma once

#include <memory>

#include "libraid/array/bitmap_copies.h"
#include "libraid/array/intent.h"
#include "libraid/assemble/bitmap_view.h"

namespace mdtool {

struct IntentStart {
  Sectors component;                       // length of the sync range
  Sectors chunk;                           // the array's
  Sectors resync_offset = Sectors::max();  // as in the superblocks; max(): the array is clean
  bool degraded = false;
  std::uint32_t logical_block_bytes = Sectors::bytes_each;
};

// Refused for a bitmap that cannot be used, and for clustered ones. Writes only where a lockless bitmap's first use
// fills it in; what else is new goes out before the first write, or with the first header.
Result<std::unique_ptr<Intent>> make_intent(const BitmapView&, const IntentStart&, BitmapCopies);

}  // namespace mdtool
