// SPDX-License-Identifier: GPL-2.0-or-later
// The name that a disk has of itself, as far as sysfs knows it: the same in another slot, under another name, after a
// reboot.
#pragma once

#include <optional>
#include <string>

#include "libraid/io/file.h"
#include "libraid/io/system_paths.h"

namespace mdtool {

// Of a partition: its disk's. None for files, and where the disk tells none.
std::optional<std::string> device_serial(const FileIdentity& identity, const SystemPaths& system = {});

}  // namespace mdtool
