// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/unmount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "libraid/io/in_use.h"
#include "libraid/serve/mount_table.h"

namespace mdtool::serve {
namespace {

namespace fs = std::filesystem;

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

// Cuts the users off from a server that they could wait for for ever. The kernel lets the mount's owner do so
// (fuse_ctl_add_conn() in fs/fuse/control.c), where that file system is mounted.
void abort_connection(const Mount& mount) {
  const std::string file = "/sys/fs/fuse/connections/" + std::to_string(mount.minor) + "/abort";
  const Descriptor switch_(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  static_cast<void>(::write(switch_.get(), "1", 1));
}

// Only fusermount3 may unmount what a user mounted. Quiet: why it failed is seen in the mount table.
Result<int> run_fusermount(const std::string& path, const char* how) {
  std::array<std::string, 5> words = {"fusermount3", how, "-q", "--", path};
  std::array<char*, 6> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    arguments[i] = words[i].data();
  }
  posix_spawn_file_actions_t quiet;
  ::posix_spawn_file_actions_init(&quiet);
  ::posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t process = 0;
  const int cause = ::posix_spawnp(&process, words[0].c_str(), &quiet, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&quiet);
  if (cause != 0) {
    return io_error("starting fusermount3", cause);
  }
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

Result<Unmounted> unmount_as_user(const std::string& path, Force force) {
  TRY(status, run_fusermount(path, force == Force::yes ? "-uz" : "-u"));
  if (status == 0) {
    return Unmounted::yes;
  }
  if (topmost_mount(path)) {
    return Unmounted::busy;
  }
  return Error{ErrorKind::io, path + ": fusermount3 failed"};
}

Result<Unmounted> unmount_as_root(const std::string& path, Force force) {
  const int how = UMOUNT_NOFOLLOW | (force == Force::yes ? MNT_FORCE | MNT_DETACH : 0);
  if (::umount2(path.c_str(), how) == 0) {
    return Unmounted::yes;
  }
  if (errno == EBUSY) {
    return Unmounted::busy;
  }
  return io_error(path + ": unmounting", errno);
}

}  // namespace

std::string users_of(const std::string& path) {
  std::string users;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string process = it->path().filename().string();
    if (process.find_first_not_of("0123456789") != std::string::npos || !has_open(it->path(), path)) {
      continue;
    }
    std::ifstream file(it->path() / "comm");
    std::string name;
    std::getline(file, name);
    users += users.empty() ? "; open in process " : ", process ";
    users.append(process).append(" (").append(name).append(")");
  }
  return users;
}

Error busy(const std::string& path) {
  std::string loops;
  for (const std::string& loop : loops_backed_by(path)) {
    loops += "; backing " + loop;
  }
  return {ErrorKind::io, path + ": busy" + users_of(path) + loops + ": close it there and stop again"};
}

Result<Unmounted> unmount(const std::string& path, Force force) {
  const auto mount = topmost_mount(path);
  if (mount && force == Force::yes) {
    abort_connection(*mount);
  }
  return ::geteuid() == 0 ? unmount_as_root(path, force) : unmount_as_user(path, force);
}

}  // namespace mdtool::serve
