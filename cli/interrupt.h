// SPDX-License-Identifier: GPL-2.0-or-later
// SIGINT and SIGTERM as a question that a verb asks at its checkpoints; a second signal ends the process at once.
#pragma once

namespace mdtool::cli {

// Installs the handlers, and ignores SIGPIPE: a closed pipe is a write error like any other.
void watch_signals();
bool interrupted();

}  // namespace mdtool::cli
