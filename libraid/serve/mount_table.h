// SPDX-License-Identifier: GPL-2.0-or-later
// How a mount of ours is named and found again among all mounts. Private to serve.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "libraid/io/in_use.h"

namespace mdtool::serve {

constexpr const char* fuse_subtype = "mdtool";
constexpr const char* mount_type = "fuse.mdtool";

// The source of a mount: "mdtool-1234:host_md0", with the server's process and a name of harmless characters.
std::string mount_source(pid_t server, const std::string& name);
std::optional<pid_t> server_of(const std::string& mount_source);

// The path as the kernel writes it, without asking what is mounted there: its server may be dead.
Result<std::string> canonical(const std::string& path);

// The mount that is seen at that canonical path.
std::optional<Mount> topmost_mount(const std::string& path);

}  // namespace mdtool::serve
