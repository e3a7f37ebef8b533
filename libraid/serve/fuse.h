// SPDX-License-Identifier: GPL-2.0-or-later
// A device as one regular file, by FUSE: the mount point is a file, and the root of what is mounted there is one too.
// Knows a size and bytes; cannot know that they are an array's. Only the user who mounted it can use it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "libraid/io/block_device.h"
#include "libraid/serve/last_words.h"
#include "libraid/serve/loop.h"

namespace mdtool {

// What is served: it outlives serve_fuse(), and many threads use it at once.
class Served {
 public:
  static Served read_only(const Source& source) { return Served(source, nullptr); }
  // Reads and writes arrive as whole sectors of 512 bytes (of fewer at an end that is none).
  static Served read_write(BlockDevice& device) { return Served(device, &device); }

  const Source& source() const { return *source_; }
  BlockDevice* device() const { return device_; }  // null: read-only

 private:
  Served(const Source& source, BlockDevice* device) : source_(&source), device_(device) {}
  const Source* source_;
  BlockDevice* device_;
};

struct ServeOptions {
  std::string at;    // an empty regular file, or a path where nothing is: then it is made, and removed at the end
  std::string name;  // shown among the mounts; any bytes
  std::optional<LoopOptions> loop = std::nullopt;  // also as /dev/loopN; needs root
  unsigned workers = 8;                            // requests that are in the device at once
  // Told once who keeps the file in use, where serving therefore goes on after a signal.
  std::function<void(const std::string& holder)> still_used = nullptr;
};

struct Usable {
  std::string path;                     // canonical
  std::optional<std::string> loop;      // "/dev/loop3"
  std::vector<std::string> partitions;  // "/dev/loop3p1", as far as the kernel reads their table
  std::vector<std::string> warnings;    // protection against memory pressure that could not be had; read-write only
};

enum class Then { serve_on, stop };

// Called in the thread that called serve_fuse(), while the workers serve: it may use the file, and last as long as it
// wants. An error ends serving and is what serve_fuse() returns.
using Ready = std::function<Result<Then>(const Usable&)>;

// Mounts, attaches the loop device if one is wanted, calls ready(), serves, and returns when the file is unmounted
// (stop_fuse(), umount), ready() said stop, or a signal came. Requests in flight are finished, the device flushed, all
// threads joined before it returns: the caller then closes the array (superblocks clean), whatever was returned.
//
// SIGINT, SIGTERM and SIGHUP (unless ignored, as under nohup) are taken over for that time. The first one ends serving
// at once if nobody uses the file; else (it is open, or its loop device is mounted, swapped to, held or open) requests
// are served until the last user has let go: the users' data is worth more than the signal. A second SIGINT or SIGTERM
// stops nevertheless: users get errors, and what they had not synced is lost to them. SIGHUP never forces: shells and
// terminals send it twice. Threads that the caller started before must block these signals (Heartbeat does).
//
// Refuses (ErrorKind::refused) a mount point that is neither absent nor an empty regular file, or that is one already.
// The device's errors reach the user of the file as EIO; ErrorKind::refused, from an array that is read-only now, as
// EROFS; a write beyond the end as ENOSPC. A write is in the device when it returns, durable after fsync, close, or at
// once with O_SYNC or O_DSYNC. The size is fixed: ftruncate() is EPERM, but O_TRUNC (and
// with it truncate() to nothing, which looks the same) is ignored, as by a block device.
//
// To use it:
//   foreground: serve_fuse(what, options, [&](const Usable& usable) -> Result<Then> { publish; return Then::serve_on;
//   }) background: serve_in_background([&](auto& tell) { start threads; serve_fuse(..., { tell(text); return
//               Then::serve_on; }); close the array; }): the text can carry what is in Usable to the one who waits.
//   --run:      ready() is { exit = run_command(command, usable.loop.value_or(usable.path)); return Then::stop; }
Status serve_fuse(const Served& what, const ServeOptions& options, const Ready& ready);

struct Stopped {
  std::vector<std::string> loops;  // that were detached
  bool was_dead = false;           // its process was gone before: killed, or a crash
  std::optional<ServerEnd> end;    // what the process said in LastWords, if it has them
};

// Detaches the loop devices of what serve_fuse() serves at that file, unmounts it, and waits for the end of its process
// (10 s). Also removes a mount whose process is gone. Refused where no mdtool is mounted, and where a loop device or a
// partition of it is in use, naming the user; an error that names the readers where the file is busy. Forced, users are
// cut off, and get errors: requests in flight are finished, and the array is closed as ever.
Result<Stopped> stop_fuse(const std::string& at, Force force = Force::no);

}  // namespace mdtool
