// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/loop_setup.h"

#include <linux/loop.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace mdtool::serve {
namespace {

constexpr int most_tries = 100;
constexpr auto between_tries = std::chrono::milliseconds(10);

loop_info64 information(const std::string& name, const LoopOptions& options) {
  loop_info64 info{};
  info.lo_flags = LO_FLAGS_PARTSCAN;
  if (options.access == Access::read_only) {
    info.lo_flags |= LO_FLAGS_READ_ONLY;
  }
  const std::size_t length = std::min(name.size(), sizeof info.lo_file_name - 1);
  std::copy_n(name.begin(), length, info.lo_file_name);
  return info;
}

// EAGAIN: its page cache is being written back.
int patiently(const Descriptor& loop, unsigned long request, unsigned long argument) {
  for (int tries = 1; ::ioctl(loop.get(), request, argument) != 0; ++tries) {
    if (errno != EAGAIN || tries == most_tries) {
      return errno;
    }
    std::this_thread::sleep_for(between_tries);
  }
  return 0;
}

}  // namespace

int configure_at_once(const Descriptor& loop, const Descriptor& file, const std::string& name,
                      const LoopOptions& options) {
  loop_config config{};
  config.fd = static_cast<__u32>(file.get());
  config.block_size = options.block_bytes;
  config.info = information(name, options);
  // Past the page cache of the file: many requests at once, and nothing is cached twice.
  config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
  return ::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0 ? 0 : errno;
}

int configure_in_steps(const Descriptor& loop, const Descriptor& file, const std::string& name,
                       const LoopOptions& options) {
  if (::ioctl(loop.get(), LOOP_SET_FD, file.get()) != 0) {
    return errno;
  }
  loop_info64 info = information(name, options);
  int cause = patiently(loop, LOOP_SET_BLOCK_SIZE, options.block_bytes);
  if (cause == 0) {
    cause = patiently(loop, LOOP_SET_STATUS64, reinterpret_cast<unsigned long>(&info));
  }
  if (cause != 0) {
    ::ioctl(loop.get(), LOOP_CLR_FD, 0);
    return cause;
  }
  ::ioctl(loop.get(), LOOP_SET_DIRECT_IO, 1UL);  // best effort
  return 0;
}

}  // namespace mdtool::serve
