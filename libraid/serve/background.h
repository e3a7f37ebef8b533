// SPDX-License-Identifier: GPL-2.0-or-later
// Serving in the background: the caller returns once the server is usable, or with the reason why it never was.
// Knows nothing of what is served, or how.
#pragma once

#include <functional>
#include <string>

#include "libmeta/result.h"

namespace mdtool {

// Serves until it is told to stop; calls ready(message) once usable. Whatever must be closed is closed before it
// returns: nothing of the process is destroyed after that.
using Serving = std::function<Status(const std::function<void(const std::string& message)>& ready)>;

// Runs `serve` in a new process, of a session of its own; returns the message. Once it is ready, that process lets go
// of standard input and output and of the current folder. Call it before the first thread is started: of threads, only
// the caller's goes on. Open descriptors and their locks (OFD, O_EXCL) go on with the server.
Result<std::string> serve_in_background(const Serving& serve);

}  // namespace mdtool
