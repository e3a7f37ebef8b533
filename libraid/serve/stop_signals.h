// SPDX-License-Identifier: GPL-2.0-or-later
// The signals that end serving, taken as events of a descriptor for as long as this lives. Knows not what they do.
// Private to serve.
#pragma once

#include <signal.h>
#include <sys/signalfd.h>

#include <optional>

#include "libraid/io/descriptor.h"

namespace mdtool::serve {

class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction action {};
      ::sigaction(signal, nullptr, &action);
      // Blocked, it would be seen although it is ignored.
      if (action.sa_handler != SIG_IGN) {
        ::sigaddset(&set, signal);
      }
    }
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
    fd_ = Descriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    // What has arrived was obeyed; unblocked, it would end the process.
    while (take()) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  int fd() const { return fd_.get(); }
  std::optional<signalfd_siginfo> take() const {
    signalfd_siginfo seen{};
    return ::read(fd_.get(), &seen, sizeof seen) == sizeof seen ? std::optional(seen) : std::nullopt;
  }

 private:
  sigset_t before_{};
  Descriptor fd_;
};

}  // namespace mdtool::serve
