// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/heartbeat.h"

#include <signal.h>

#include <algorithm>

#include "libraid/serve/memory_pressure.h"

namespace mdtool {
namespace {

// So that an instant in the future can be computed from any answer.
constexpr std::chrono::milliseconds longest_rest = std::chrono::hours(24);

// What is started while this lives takes no signal.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

Heartbeat::Heartbeat(Beat beat) : beat_(std::move(beat)) {
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Heartbeat::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void Heartbeat::run() {
  serve::become_io_flusher();
  std::chrono::milliseconds rest{0};
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait_for(lock, rest, [this] { return woken_ || stopping_; });
    if (stopping_) {
      return;
    }
    woken_ = false;
    lock.unlock();
    rest = std::clamp(beat_(), std::chrono::milliseconds(0), longest_rest);
    lock.lock();
  }
}

}  // namespace mdtool
