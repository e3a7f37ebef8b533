// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

#include "libraid/io/in_use.h"
#include "libraid/serve/loop_setup.h"
#include "libraid/serve/unmount.h"

namespace mdtool {
namespace {

namespace fs = std::filesystem;

constexpr int most_tries = 64;  // others look for a free device at the same time
constexpr mode_t node_mode = 0660;
constexpr auto patience = std::chrono::seconds(3);
constexpr auto between_looks = std::chrono::milliseconds(10);

std::string name_of(const std::string& loop) {
  return fs::path(loop).filename().string();
}

// What the kernel calls the file; none where nothing is attached.
std::optional<std::string> backing_file(const std::string& loop) {
  std::ifstream file("/sys/block/" + name_of(loop) + "/loop/backing_file", std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text.empty()) {
    return std::nullopt;
  }
  if (text.back() == '\n') {
    text.pop_back();
  }
  return text;
}

Result<std::string> free_loop() {
  const Descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) {
    return io_error("/dev/loop-control (is the kernel's loop module loaded?)", errno);
  }
  const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
  if (number < 0) {
    return io_error("finding a free loop device", errno);
  }
  return "/dev/loop" + std::to_string(number);
}

// In a /dev that the kernel does not fill, the node is made, with the number that the kernel gave the device.
int make_node(const std::string& loop) {
  std::ifstream file("/sys/block/" + name_of(loop) + "/dev");
  unsigned major_number = 0, minor_number = 0;
  char colon = 0;
  if (!(file >> major_number >> colon >> minor_number) || major_number != LOOP_MAJOR) {
    return ENXIO;
  }
  return ::mknod(loop.c_str(), S_IFBLK | node_mode, makedev(major_number, minor_number)) == 0 ? 0 : errno;
}

Descriptor open_loop(const std::string& loop, int flags) {
  Descriptor fd(::open(loop.c_str(), flags | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    const int cause = make_node(loop);
    if (cause != 0 && cause != EEXIST) {
      errno = cause;
      return fd;
    }
    fd = Descriptor(::open(loop.c_str(), flags | O_CLOEXEC));
  }
  return fd;
}

int configure(const std::string& loop, const Descriptor& file, const std::string& name, const LoopOptions& options) {
  const Descriptor device = open_loop(loop, options.access == Access::read_only ? O_RDONLY : O_RDWR);
  if (!device) {
    return errno;
  }
  const int cause = serve::configure_at_once(device, file, name, options);
  return cause == ENOTTY || cause == EINVAL ? serve::configure_in_steps(device, file, name, options) : cause;
}

Error in_use(const std::string& loop, const std::string& by) {
  return {ErrorKind::refused, loop + " is in use: " + by + "; end that and stop again"};
}

std::string users_of_all(const std::string& loop) {
  std::string users = serve::users_of(loop);
  for (const std::string& partition : loop_partitions(loop)) {
    users += serve::users_of(partition);
  }
  return users.empty() ? "open in a process that is not seen here" : users.substr(users.find_first_not_of("; "));
}

bool gone_in_time(const std::string& loop, const std::string& file) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (backing_file(loop) == file) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(between_looks);
  }
  return true;
}

// Somebody has it open, so that the kernel waits for the end of that: it is to stay instead.
void take_back_clearing(const std::string& loop) {
  const Descriptor device(::open(loop.c_str(), O_RDONLY | O_CLOEXEC));
  loop_info64 info{};
  if (::ioctl(device.get(), LOOP_GET_STATUS64, &info) == 0) {
    info.lo_flags &= ~static_cast<__u32>(LO_FLAGS_AUTOCLEAR);
    ::ioctl(device.get(), LOOP_SET_STATUS64, &info);
  }
}

Status clear(const std::string& loop, const Descriptor& device) {
  if (::ioctl(device.get(), LOOP_CLR_FD, 0) != 0 && errno != ENXIO) {
    return io_error("detaching " + loop, errno);
  }
  return Done{};
}

Status detach_unused(const std::string& loop, const std::string& file) {
  const auto identity = identify(loop);
  if (const auto by = identity ? holder(*identity) : std::nullopt) {
    return in_use(loop, *by);
  }
  // Exclusively, so that uses are noticed that cannot be seen from here: mounts of other namespaces.
  Descriptor device = open_loop(loop, O_RDONLY | O_EXCL);
  if (!device) {
    return errno == EBUSY ? in_use(loop, users_of_all(loop)) : io_error(loop, errno);
  }
  TRY(cleared, clear(loop, device));
  device.reset();  // the kernel lets go of the file with the last descriptor
  if (!gone_in_time(loop, file)) {
    take_back_clearing(loop);
    return in_use(loop, users_of_all(loop));
  }
  return Done{};
}

}  // namespace

Result<std::string> attach_loop(const std::string& file, const LoopOptions& options) {
  const Descriptor fd(::open(file.c_str(), (options.access == Access::read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!fd) {
    return io_error(file, errno);
  }
  for (int tries = 1;; ++tries) {
    TRY(loop, free_loop());
    const int cause = configure(loop, fd, file, options);
    if (cause == 0) {
      return loop;
    }
    // Another process took it (EBUSY), or removed it (ENXIO), meanwhile.
    if ((cause != EBUSY && cause != ENXIO) || tries == most_tries) {
      return io_error("attaching " + file + " to " + loop, cause);
    }
  }
}

std::vector<std::string> loop_partitions(const std::string& loop) {
  std::vector<std::string> partitions;
  std::error_code error;
  for (fs::directory_iterator it("/sys/block/" + name_of(loop), error), end; !error && it != end; it.increment(error)) {
    std::error_code none;
    if (fs::exists(it->path() / "partition", none)) {
      partitions.push_back("/dev/" + it->path().filename().string());
    }
  }
  std::sort(partitions.begin(), partitions.end());
  return partitions;
}

std::vector<std::string> loops_backed_by(const std::string& file) {
  std::vector<std::string> loops;
  std::error_code error;
  for (fs::directory_iterator it("/sys/block", error), end; !error && it != end; it.increment(error)) {
    const std::string loop = "/dev/" + it->path().filename().string();
    if (it->path().filename().string().starts_with("loop") && backing_file(loop) == file) {
      loops.push_back(loop);
    }
  }
  std::sort(loops.begin(), loops.end());
  return loops;
}

Status detach_loop(const std::string& loop, const std::string& file, Force force) {
  if (backing_file(loop) != file) {
    return Done{};
  }
  if (force == Force::no) {
    return detach_unused(loop, file);
  }
  const Descriptor device = open_loop(loop, O_RDONLY);
  return device ? clear(loop, device) : io_error(loop, errno);
}

}  // namespace mdtool
