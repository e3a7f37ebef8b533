// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/types.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "libraid/serve/fuse.h"
#include "libraid/serve/mount_table.h"
#include "libraid/serve/unmount.h"

namespace mdtool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto patience = std::chrono::seconds(10);
// The kernel closes the file of a loop device a little after that is gone.
constexpr auto patience_after_loop = std::chrono::seconds(2);
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

// All or none: what keeps the file from being unmounted is looked for before.
Result<std::vector<std::string>> detach_all(const std::string& path, Force force) {
  std::vector<std::string> loops = loops_backed_by(path);
  if (!loops.empty() && force == Force::no && !serve::users_of(path).empty()) {
    return serve::busy(path);
  }
  for (const std::string& loop : loops) {
    TRY(detached, detach_loop(loop, path, force));
  }
  return loops;
}

bool is_mounted(const std::string& path, const Mount& mount) {
  const auto seen = serve::topmost_mount(path);
  return seen && seen->source == mount.source;
}

// The server may do the same at that moment, having got a signal.
Status unmount_patiently(const std::string& path, const Mount& mount, Force force, Clock::duration how_long) {
  const auto deadline = Clock::now() + how_long;
  while (is_mounted(path, mount)) {
    const auto unmounted = serve::unmount(path, force);
    if (!unmounted && is_mounted(path, mount)) {
      return unmounted.error();
    }
    if (unmounted && *unmounted == serve::Unmounted::busy) {
      if (Clock::now() >= deadline) {
        return serve::busy(path);
      }
      std::this_thread::sleep_for(between_looks);
    }
  }
  return Done{};
}

}  // namespace

Result<Stopped> stop_fuse(const std::string& at, Force force) {
  TRY(path, serve::canonical(at));
  const std::optional<Mount> mount = serve::topmost_mount(path);
  const std::optional<pid_t> server = mount ? serve::server_of(mount->source) : std::nullopt;
  if (!server || mount->type != serve::mount_type) {
    return Error{ErrorKind::refused, at + ": no array is served there"};
  }
  const bool was_dead = !is_running(*server);
  const LastWordsOf words(*server);
  TRY(loops, detach_all(path, force));
  TRY(unmounted, unmount_patiently(path, *mount, force, loops.empty() ? Clock::duration{0} : patience_after_loop));
  const auto deadline = Clock::now() + patience;
  while (is_running(*server)) {
    if (Clock::now() > deadline) {
      return Error{ErrorKind::io, at + ": unmounted, but process " + std::to_string(*server) + " has not ended"};
    }
    std::this_thread::sleep_for(between_looks);
  }
  return Stopped{std::move(loops), was_dead, words.read()};
}

}  // namespace mdtool
