// SPDX-License-Identifier: GPL-2.0-or-later
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "libraid/serve/fuse.h"
#include "libraid/serve/mount_table.h"

namespace mdtool {
namespace {

namespace fs = std::filesystem;
using serve::topmost_mount;

constexpr auto patience = std::chrono::seconds(10);
constexpr auto between_looks = std::chrono::milliseconds(10);

// A zombie has ended: its descriptors are closed.
bool is_running(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  std::getline(file, line);
  // PID (NAME) STATE ...: the name may hold anything, a parenthesis too.
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= line.size()) {
    return false;
  }
  const char state = line[name_end + 2];
  return state != 'Z' && state != 'X';
}

bool has_open(const fs::path& process, const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator it(process / "fd", error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    if (fs::read_symlink(it->path(), gone) == path) {
      return true;
    }
  }
  return false;
}

// "; open in process 12 (cat), process 13 (dd)", as far as this user may see. A loop device is no process.
std::string readers_of(const std::string& path) {
  std::string readers;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string process = it->path().filename().string();
    if (process.find_first_not_of("0123456789") != std::string::npos || !has_open(it->path(), path)) {
      continue;
    }
    std::ifstream file(it->path() / "comm");
    std::string name;
    std::getline(file, name);
    readers += readers.empty() ? "; open in process " : ", process ";
    readers.append(process).append(" (").append(name).append(")");
  }
  return readers;
}

Error busy(const std::string& path) {
  const auto identity = identify(path);
  const auto loop = identity ? holder(*identity) : std::nullopt;
  return {ErrorKind::io,
          path + ": busy" + readers_of(path) + (loop ? "; " + *loop : "") + ": close it there and stop again"};
}

// Only fusermount3 may unmount what a user mounted.
Status unmount_as_user(const std::string& path) {
  std::array<std::string, 4> words = {"fusermount3", "-u", "--", path};
  std::array<char*, 5> arguments = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  pid_t process = 0;
  if (const int cause = ::posix_spawnp(&process, words[0].c_str(), nullptr, nullptr, arguments.data(), environ)) {
    return io_error("starting fusermount3", cause);
  }
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0) {
    return Done{};
  }
  return topmost_mount(path) ? busy(path) : Error{ErrorKind::io, path + ": fusermount3 failed"};
}

Status unmount(const std::string& path) {
  if (::geteuid() != 0) {
    return unmount_as_user(path);
  }
  if (::umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) {
    return Done{};
  }
  return errno == EBUSY ? busy(path) : io_error(path + ": unmounting", errno);
}

}  // namespace

Status stop_fuse(const std::string& at) {
  TRY(path, serve::canonical(at));
  const std::optional<Mount> mount = topmost_mount(path);
  const std::optional<pid_t> server = mount ? serve::server_of(mount->source) : std::nullopt;
  if (!server || mount->type != serve::mount_type) {
    return Error{ErrorKind::refused, at + ": no array is served there"};
  }
  TRY(unmounted, unmount(path));
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (is_running(*server)) {
    if (std::chrono::steady_clock::now() > deadline) {
      return Error{ErrorKind::io, at + ": unmounted, but process " + std::to_string(*server) + " has not ended"};
    }
    std::this_thread::sleep_for(between_looks);
  }
  return Done{};
}

}  // namespace mdtool
