// SPDX-License-Identifier: GPL-2.0-or-later
// Where an array's overlay file is if nobody says so.
#pragma once

#include <string>

#include "libmeta/result.h"
#include "libmeta/uuid.h"

namespace mdtool::cli {

// `path` as given, or the one place for this array: $XDG_STATE_HOME/mdtool/overlay/40358a20-4a1cb57a-...overlay, below
// ~/.local/state where that is not set. What is there is the same array's overlay of an earlier time.
Result<std::string> overlay_path(const std::string& path, const Uuid& array);

}  // namespace mdtool::cli
