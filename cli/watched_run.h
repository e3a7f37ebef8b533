// SPDX-License-Identifier: GPL-2.0-or-later
// A run of an engine as the user watches it: progress while it lasts, and stopped at a checkpoint when he says so.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "cli/command.h"
#include "libraid/engine/run.h"

namespace mdtool::cli {

class WatchedRun {
 public:
  // From here on progress is shown, as `verb`, until this object ends. `around` outlives it.
  WatchedRun(const Surroundings& around, const std::string& verb, std::uint64_t total_bytes);
  ~WatchedRun();
  WatchedRun(const WatchedRun&) = delete;
  WatchedRun& operator=(const WatchedRun&) = delete;

  const Run& run() const { return run_; }

 private:
  const Surroundings& around_;
  std::stop_source stop_;
  Run run_;
};

}  // namespace mdtool::cli
