// SPDX-License-Identifier: GPL-2.0-or-later
// Where a file is, or would be once it is made: whether its file system outlives the power, and what it stands on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libraid/io/file.h"
#include "libraid/io/system_paths.h"

namespace mdtool {

// Why what is written at `path` is lost with the power: "tmpfs, mounted on /run"; none where it lasts or nobody can
// tell. In a container an overlay's upper folder cannot be seen: that proves nothing.
std::optional<std::string> dies_with_power(const std::string& path, const SystemPaths& system = {});

// The devices and files below the file system at `path`: its device, that one's disk, what md, device-mapper and loop
// devices on the way are made of, down to the last.
std::vector<FileIdentity> stands_on(const std::string& path, const SystemPaths& system = {});

}  // namespace mdtool
