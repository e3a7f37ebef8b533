// SPDX-License-Identifier: GPL-2.0-or-later
// The array's write-intent bitmap as all of its in-sync members together hold it: which format is on disk, whether it
// may be believed, and the merged content. The on-disk version decides the format; expectations only make findings.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "libmeta/bitmap/classic.h"
#include "libmeta/bitmap/lockless.h"
#include "libraid/assemble/candidate.h"

namespace mdtool {

enum class Trust {
  absent,     // the array has no bitmap
  believed,   // bits and states mean what they say
  stale,      // missed updates: everything counts as dirty
  first_use,  // lockless: states are not valid yet
  rejected,   // cannot be used: mostly the kernel would not start the array with it
};

struct BitmapView {
  bitmap::Kind kind = bitmap::Kind::none;  // on disk
  std::uint32_t version = 0;
  Trust trust = Trust::absent;
  bitmap::Expected expected;
  std::optional<bitmap::Classic> classic;  // the merged copies, if kind is classic and they could be read
  std::optional<bitmap::Lockless> lockless;
  std::vector<std::size_t> copies;  // members (indices into Assembly::members) whose copies were merged
  Findings findings;
  std::vector<std::string> cures;  // what to do where the kernel refuses

  // The kernel would not start the array with the copy that it reads.
  bool kernel_refuses() const;
  // Geometry of the sync range; zero without a usable bitmap.
  Sectors chunk() const;
  std::uint64_t chunks() const;
};

// One in-sync member's copy.
struct BitmapCopy {
  std::size_t member = 0;
  std::string path;
  const Source* source = nullptr;
  std::uint64_t offset_bytes = 0;
  std::uint64_t room_bytes = 0;
};

// `suggested` is what the caller thinks the format is; none: no opinion.
BitmapView view_bitmap(const std::vector<BitmapCopy>& copies, bitmap::Expected expected, bitmap::Kind suggested);

}  // namespace mdtool
