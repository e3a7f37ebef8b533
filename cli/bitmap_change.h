// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool bitmap add, remove, convert and repair: from their options to plans. Writes nothing itself.
#pragma once

#include <optional>
#include <string>

#include "cli/options.h"
#include "libraid/assemble/assembly.h"
#include "libraid/edit/bitmap_change.h"

namespace mdtool::cli {

struct BitmapChangeOptions {
  std::optional<std::string> bitmap;  // "internal", "lockless", or a file
  std::optional<std::string> chunk;   // mdadm's sizes: KiB, or with a suffix
  std::optional<std::string> offset;  // sectors from the superblock
  std::optional<std::string> from;    // the file that holds the bitmap now

  void add_to(Options& app);
};

Result<EditPlan> added_bitmap(const Assembly& array, const BitmapChangeOptions& options);
Result<EditPlan> removed_bitmap(const Assembly& array);
Result<EditPlan> converted_bitmap(const Assembly& array, const BitmapChangeOptions& options);
Result<EditPlan> repaired_bitmap(const Assembly& array);

}  // namespace mdtool::cli
