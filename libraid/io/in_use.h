// SPDX-License-Identifier: GPL-2.0-or-later
// Who uses a device or a file: mounts, swap, md and device-mapper, loop devices. Knows the kernel's tables, opens no
// device, judges nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libraid/io/file.h"
#include "libraid/io/system_paths.h"

namespace mdtool {

struct Mount {
  std::uint32_t major = 0;  // of the file system; of its device where it has one
  std::uint32_t minor = 0;
  std::string mount_point;
  std::string type;                       // "ext4", "fuse.mdtool"
  std::string source;                     // "/dev/sda1", or any text
  std::vector<std::string> options = {};  // of the file system: "rw", "upperdir=/cow/upper"
};

// The lines of /proc/self/mountinfo; lines that cannot be read are left out.
std::vector<Mount> parse_mountinfo(std::string_view text);

// The paths in /proc/swaps.
std::vector<std::string> parse_swaps(std::string_view text);

std::vector<Mount> mounts(const SystemPaths& system = {});

// "mounted on /srv", "in use as swap", "held by md127", "backing /dev/loop0"; none where nobody is known to use it.
// A use of a partition counts as one of its disk.
std::optional<std::string> holder(const FileIdentity& identity, const SystemPaths& system = {});

// Who has it locked: "process 1234 (mdtool assemble -w m)"; none where that is hidden from this user.
std::optional<std::string> lock_holder(const FileIdentity& identity, const SystemPaths& system = {});

}  // namespace mdtool
