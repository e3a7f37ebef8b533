// SPDX-License-Identifier: GPL-2.0-or-later
// Replaces the program's allocation functions by ones that count: for one source file of a test program.
#pragma once

#include <cstdlib>
#include <new>

namespace mdtool::test {
inline thread_local std::size_t allocations = 0;  // of this thread
}  // namespace mdtool::test

// Not inlined: g++ would take malloc and delete, or new and free, for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++mdtool::test::allocations;
  if (void* memory = std::malloc(size)) {
    return memory;
  }
  std::abort();
}
// What sorting asks for.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++mdtool::test::allocations;
  return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
