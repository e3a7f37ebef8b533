// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/file_place.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>

#include "libraid/io/in_use.h"
#include "libraid/io/system_tables.h"

namespace mdtool {

namespace {

namespace fs = std::filesystem;

// Upper folders of overlays within overlays: the kernel stacks two (FILESYSTEM_MAX_STACK_DEPTH).
constexpr int deepest_stack = 4;

fs::path nearest_existing(const std::string& path) {
  std::error_code error;
  fs::path at = fs::absolute(path, error);
  while (at.has_relative_path() && !fs::exists(at, error)) {
    at = at.parent_path();
  }
  const fs::path real = fs::canonical(at, error);
  return error ? at : real;
}

bool is_within(const fs::path& path, const std::string& folder) {
  const fs::path prefix(folder);
  return std::mismatch(prefix.begin(), prefix.end(), path.begin(), path.end()).first == prefix.end();
}

// The last one of those that lie deepest: a later mount hides an earlier one.
std::optional<Mount> mount_of(const fs::path& existing, const SystemPaths& system) {
  std::optional<Mount> found;
  for (Mount& mount : mounts(system)) {
    const bool deeper = !found || mount.mount_point.size() >= found->mount_point.size();
    if (deeper && is_within(existing, mount.mount_point)) {
      found = std::move(mount);
    }
  }
  return found;
}

std::optional<std::string> option(const Mount& mount, std::string_view name) {
  for (const std::string& each : mount.options) {
    if (each.starts_with(name) && each.substr(name.size()).starts_with('=')) {
      return each.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}

// What live-boot, casper, and dracut's dmsquash-live are told.
bool is_live_system(const SystemPaths& system) {
  constexpr std::array<std::string_view, 4> words = {"boot=live", "boot=casper", "rd.live.image", "rd.live.image=1"};
  const std::string line = first_line(system.proc + "/cmdline");
  const std::vector<std::string_view> given = split(line, " ");
  return std::any_of(given.begin(), given.end(),
                     [&](std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); });
}

std::optional<std::string> upper_folder(const Mount& overlay) {
  const auto upper = option(overlay, "upperdir");
  std::error_code error;
  return upper && upper->starts_with('/') && fs::exists(*upper, error) ? upper : std::nullopt;
}

// Without a line in the table: the path of a chroot that is no mount point.
std::optional<std::string> volatile_by_magic(const fs::path& existing) {
  struct statfs status {};
  if (::statfs(existing.c_str(), &status) != 0) {
    return std::nullopt;
  }
  return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC ? std::optional<std::string>("in memory")
                                                                      : std::nullopt;
}

std::optional<std::string> dies(const std::string& path, const SystemPaths& system, int depth) {
  const fs::path existing = nearest_existing(path);
  const auto mount = mount_of(existing, system);
  if (!mount) {
    return volatile_by_magic(existing);
  }
  if (mount->type == "tmpfs" || mount->type == "ramfs" || mount->type == "rootfs") {
    return mount->type + ", mounted on " + mount->mount_point;
  }
  if (mount->type != "overlay") {
    return std::nullopt;
  }
  if (const auto upper = upper_folder(*mount)) {
    const auto why = depth < deepest_stack ? dies(*upper, system, depth + 1) : std::nullopt;
    return why ? std::optional("an overlay on " + mount->mount_point + " above " + *why) : std::nullopt;
  }
  const bool live = mount->mount_point == "/" && is_live_system(system);
  return live ? std::optional<std::string>("the overlay of a live system") : std::nullopt;
}

class Below {
 public:
  explicit Below(const SystemPaths& system) : system_(system) {}

  void add_path(const std::string& path) {
    const auto mount = mount_of(nearest_existing(path), system_);
    if (!mount) {
      return;
    }
    if (mount->major != 0) {
      add(DeviceNumber{mount->major, mount->minor}.identity());
    }
    // btrfs and others have a number of their own. Only /dev is looked at: a path on a dead server would hang.
    if (mount->source.starts_with("/dev/")) {
      add_file(mount->source);
    }
    if (const auto upper = mount->type == "overlay" ? upper_folder(*mount) : std::nullopt) {
      add_path_once(*upper);
    }
  }
  std::vector<FileIdentity> take() && { return std::move(found_); }

 private:
  void add(const FileIdentity& identity) {
    if (std::find(found_.begin(), found_.end(), identity) != found_.end()) {
      return;
    }
    found_.push_back(identity);
    if (!identity.block_device) {
      return;
    }
    const fs::path folder = sysfs_folder(identity, system_);
    for (const fs::path& part : entries(folder / "slaves")) {
      add_number(part / "dev");
    }
    std::error_code error;
    if (fs::exists(folder / "partition", error)) {
      add_number(fs::canonical(folder, error).parent_path() / "dev");
    }
    const std::string backing = first_line(folder / "loop" / "backing_file");
    if (!backing.empty()) {
      add_file(backing);
      add_path_once(backing);
    }
  }

  void add_number(const fs::path& attribute) {
    if (const auto device = device_number(first_line(attribute))) {
      add(device->identity());
    }
  }

  void add_file(const std::string& path) {
    if (const auto identity = identify(path)) {
      add(*identity);
    }
  }

  void add_path_once(const std::string& path) {
    if (std::find(paths_.begin(), paths_.end(), path) == paths_.end()) {
      paths_.push_back(path);
      add_path(path);
    }
  }

  const SystemPaths& system_;
  std::vector<FileIdentity> found_;
  std::vector<std::string> paths_;
};

}  // namespace

std::optional<std::string> dies_with_power(const std::string& path, const SystemPaths& system) {
  return dies(path, system, 0);
}

std::vector<FileIdentity> stands_on(const std::string& path, const SystemPaths& system) {
  Below below(system);
  below.add_path(path);
  return std::move(below).take();
}

}  // namespace mdtool
