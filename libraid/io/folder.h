// SPDX-License-Identifier: GPL-2.0-or-later
// Folders that files of this program's own go to: made private, and durable with what was put into them or removed.
#pragma once

#include <filesystem>

#include "libmeta/result.h"

namespace mdtool {

// Missing folders are made with mode 0700.
Status make_folders(const std::filesystem::path& folder);
// What was made, renamed or removed in it before is durable when it returns. An empty path: the current folder.
Status sync_folder(const std::filesystem::path& folder);

}  // namespace mdtool
