// SPDX-License-Identifier: GPL-2.0-or-later
// A running array while it is served: its heartbeat, what becomes of its members as lines of a log, its orderly end.
#pragma once

#include <string>

#include "libraid/array/live_array.h"
#include "libraid/io/descriptor.h"
#include "libraid/serve/fuse.h"

namespace mdtool::cli {

class Log {
 public:
  static Log none() { return Log(Descriptor()); }
  static Result<Log> to_stderr();
  // Appends; made with mode 0600 where nothing is.
  static Result<Log> to_file(const std::string& path);

  // One line, with the time before it. From any thread.
  void say(const std::string& text) const;

 private:
  explicit Log(Descriptor fd) : fd_(std::move(fd)) {}
  Descriptor fd_;
};

// Serves until the end, and stops the array: the first error of both.
Status serve_live(LiveArray& array, const ServeOptions& options, const Ready& ready, const Log& log);

}  // namespace mdtool::cli
