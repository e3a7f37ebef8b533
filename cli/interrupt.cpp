// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/interrupt.h"

#include <csignal>

namespace mdtool::cli {

namespace {

// A handler can reach nothing but a global.
volatile std::sig_atomic_t signal_seen = 0;

extern "C" void on_signal(int /*number*/) {
  signal_seen = 1;
}

}  // namespace

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
}

bool interrupted() {
  return signal_seen != 0;
}

}  // namespace mdtool::cli
