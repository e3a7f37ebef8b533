// SPDX-License-Identifier: GPL-2.0-or-later
// How a long run is watched and stopped: the same for every engine.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>

namespace mdtool {

struct Progress {
  std::uint64_t done_bytes = 0;  // of every member, what was due
  std::uint64_t total_bytes = 0;
};

struct Run {
  std::stop_token stop;
  std::function<void(const Progress&)> progress;  // called often; the callee limits itself
  std::chrono::milliseconds checkpoint_interval{5000};
};

}  // namespace mdtool
