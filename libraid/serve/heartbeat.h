// SPDX-License-Identifier: GPL-2.0-or-later
// A thread that calls a function again and again, when the function says. Knows nothing of what it does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace mdtool {

class Heartbeat {
 public:
  // Does its work and returns after how long it wants to be called again.
  using Beat = std::function<std::chrono::milliseconds()>;

  // The first call is at once. The thread blocks all signals and, where it may, is an IO flusher (memory_pressure.h).
  explicit Heartbeat(Beat beat);
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;
  // Waits for a call that is running. Not from within the function.
  ~Heartbeat();

  // The next call is now; where one is running, right after it. Never waits for it. From any thread.
  void wake();

 private:
  void run();

  Beat beat_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = true;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mdtool
