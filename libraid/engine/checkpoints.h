// SPDX-License-Identifier: GPL-2.0-or-later
// When a long run is to save how far it has come. Knows the time, nothing of what is saved.
#pragma once

#include <algorithm>
#include <chrono>

namespace mdtool {

class Checkpoints {
 public:
  explicit Checkpoints(std::chrono::milliseconds interval) : interval_(interval), next_(began_ + interval) {}

  bool due() const { return Clock::now() >= next_; }
  // The longer it has run, the rarer: what a kill costs stays a small part of what was done.
  void taken() {
    const auto now = Clock::now();
    next_ = now + std::max<Clock::duration>(interval_, (now - began_) / part);
  }

 private:
  using Clock = std::chrono::steady_clock;
  // At most after another 1/64 of the time that the run has taken.
  static constexpr int part = 64;

  std::chrono::milliseconds interval_;
  Clock::time_point began_ = Clock::now();
  Clock::time_point next_;
};

}  // namespace mdtool
