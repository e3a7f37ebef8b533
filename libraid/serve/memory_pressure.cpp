// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/memory_pressure.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "libmeta/result.h"

namespace mdtool::serve {
namespace {

// Below a limit, mlockall(MCL_FUTURE) makes later allocations fail instead of itself.
bool may_lock_everything() {
  rlimit limit{};
  return ::geteuid() == 0 || (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
}

// What is there now is read in and stays; what comes later (stacks above all) stays as far as it is touched.
int lock_memory() {
  if (!may_lock_everything()) {
    return EPERM;
  }
  return ::mlockall(MCL_CURRENT) == 0 && ::mlockall(MCL_FUTURE | MCL_ONFAULT) == 0 ? 0 : errno;
}

int set_io_flusher(unsigned long on) {
  return ::prctl(PR_SET_IO_FLUSHER, on, 0UL, 0UL, 0UL) == 0 ? 0 : errno;
}

std::string because(const char* what, int errno_value) {
  return io_error(what, errno_value).text;
}

}  // namespace

std::vector<std::string> resist_memory_pressure() {
  std::vector<std::string> warnings;
  if (const int cause = lock_memory()) {
    warnings.push_back(because("the server is not locked into memory, and may stall where that is very short", cause));
  }
  if (const int cause = set_io_flusher(1)) {
    warnings.push_back(because("the server has no IO flusher's precedence, and may stall where memory is very short", cause));
  }
  return warnings;
}

void become_io_flusher() {
  set_io_flusher(1);
}

OrdinaryThread::OrdinaryThread() : was_flusher_(::prctl(PR_GET_IO_FLUSHER, 0UL, 0UL, 0UL, 0UL) == 1) {
  if (was_flusher_) {
    set_io_flusher(0);
  }
}

OrdinaryThread::~OrdinaryThread() {
  if (was_flusher_) {
    set_io_flusher(1);
  }
}

}  // namespace mdtool::serve
