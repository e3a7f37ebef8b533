// SPDX-License-Identifier: GPL-2.0-or-later
// While it lives, the process may take 64 MiB more than it has: an allocation whose size a disk chose fails then. Not
// under sanitizers, whose shadow memory counts too.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace mdtool::conformance {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_can_be_limited = false;
#elif defined(__has_feature)
constexpr bool memory_can_be_limited = !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
constexpr bool memory_can_be_limited = true;
#endif

class MemoryLimit {
 public:
  MemoryLimit() {
    EXPECT_EQ(getrlimit(RLIMIT_AS, &before_), 0);
    std::uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const std::uint64_t bytes = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) + allowed_bytes;
    if (memory_can_be_limited && bytes < before_.rlim_max) {
      const rlimit limit{bytes, before_.rlim_max};
      EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    }
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  static constexpr std::uint64_t allowed_bytes = 64U << 20;
  rlimit before_{};
};

}  // namespace mdtool::conformance
