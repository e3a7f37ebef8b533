// SPDX-License-Identifier: GPL-2.0-or-later
// A command of the user's that runs while something is served. Knows a shell, an environment and signals.
#pragma once

#include <string>

#include "libmeta/result.h"

namespace mdtool {

// Runs `/bin/sh -c command` with MDTOOL_ARRAY=array and our standard input and output, and waits for its end. Returns
// its exit status, 128 + n where signal n ended it. SIGINT, SIGTERM and SIGHUP sent to us go on to the shell, except
// those of the terminal, which it gets anyway. To be called in Ready (fuse.h), where these signals are blocked in every
// thread; ready() then says Then::stop.
Result<int> run_command(const std::string& command, const std::string& array);

}  // namespace mdtool
