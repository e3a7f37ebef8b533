// SPDX-License-Identifier: GPL-2.0-or-later
// A device as one regular file, by FUSE: the mount point is a file, and the root of what is mounted there is one too.
// Knows a size and bytes; cannot know that they are an array's. Only the user who mounted it can read it.
#pragma once

#include <functional>
#include <string>

#include "libmeta/source.h"

namespace mdtool {

struct ServeOptions {
  std::string at;    // an empty regular file, or a path where nothing is: then it is made, and removed at the end
  std::string name;  // shown among the mounts; any bytes
};

// Mounts, calls ready() once the file can be read, serves until the file is unmounted or SIGINT, SIGTERM or SIGHUP
// arrives, and unmounts. Takes these signals over for that time. Refuses (ErrorKind::refused) a mount point that is
// neither absent nor an empty regular file, or that is one already. A read that fails gives EIO to the reader.
Status serve_fuse(const Source& device, const ServeOptions& options, const std::function<void()>& ready);

// Unmounts what serve_fuse() serves at that file, and waits for the end of its process (10 s). Also removes a mount
// whose process is gone. Refused where no mdtool is mounted; an error that names the readers where the file is busy.
Status stop_fuse(const std::string& at);

}  // namespace mdtool
