// SPDX-License-Identifier: GPL-2.0-or-later
// A file as /dev/loopN. Knows the kernel's loop driver; knows nothing of who serves the file. Needs root.
// The thread that calls waits for reads of the file: whoever serves it must do so in another thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libraid/io/file.h"

namespace mdtool {

enum class Force { no, yes };

struct LoopOptions {
  Access access = Access::read_only;
  std::uint32_t block_bytes = 512;  // the logical block size: a power of two, up to a page
};

// Attaches the file to a free loop device with its partitions scanned; returns "/dev/loopN". A node that is missing in
// /dev is made.
Result<std::string> attach_loop(const std::string& file, const LoopOptions& options);

// "/dev/loop3p1" and so on, as the kernel found them.
std::vector<std::string> loop_partitions(const std::string& loop);

// The loop devices that this canonical path is attached to, by sysfs: no server is asked.
std::vector<std::string> loops_backed_by(const std::string& file);

// Detaches it, and returns when it is gone; at once where `file` is not attached to it any more. Refused, naming the
// user, while it or a partition is mounted, swapped to, held, or open (for longer than udev takes to look at it).
// Forced, it goes away with its last user, and is not waited for.
Status detach_loop(const std::string& loop, const std::string& file, Force force = Force::no);

}  // namespace mdtool
