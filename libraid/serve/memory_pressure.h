// SPDX-License-Identifier: GPL-2.0-or-later
// What a process does that memory is written back through, so that it never waits for itself. Private to serve.
#pragma once

#include <string>
#include <vector>

namespace mdtool::serve {

// Locks the process into memory and makes the calling thread, and those it starts later, IO flushers
// (PR_SET_IO_FLUSHER: the kernel frees no memory through I/O on their behalf). Returns what could not be had, and why.
std::vector<std::string> resist_memory_pressure();

// For the calling thread alone; best effort.
void become_io_flusher();

// While this lives, what the calling thread starts is an ordinary process.
class OrdinaryThread {
 public:
  OrdinaryThread();
  OrdinaryThread(const OrdinaryThread&) = delete;
  OrdinaryThread& operator=(const OrdinaryThread&) = delete;
  ~OrdinaryThread();

 private:
  bool was_flusher_;
};

}  // namespace mdtool::serve
