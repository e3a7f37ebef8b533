// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/in_use.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <span>

#include "libraid/io/system_tables.h"

namespace mdtool {
namespace {

namespace fs = std::filesystem;

bool is_octal(std::string_view digits) {
  return digits.size() == 3 && digits[0] <= '3' &&
         std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '7'; });
}

// Undoes mangle_path() of fs/seq_file.c: blanks and backslashes are written as \ooo.
std::string unmangled(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && is_octal(text.substr(i + 1, 3))) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool is_same(const FileIdentity& identity, const std::string& path) {
  const auto other = identify(path);
  return other && *other == identity;
}

std::optional<std::string> mounted(const FileIdentity& identity, const SystemPaths& system) {
  for (const Mount& mount : mounts(system)) {
    const bool by_number = identity.block_device && identity.rdev == makedev(mount.major, mount.minor);
    // btrfs and others have a number of their own. Only /dev is looked at: a path on a dead server would hang.
    if (by_number || (mount.source.starts_with("/dev/") && is_same(identity, mount.source))) {
      return "mounted on " + mount.mount_point;
    }
  }
  return std::nullopt;
}

std::optional<std::string> swapped(const FileIdentity& identity, const SystemPaths& system) {
  for (const std::string& path : parse_swaps(text_of(system.proc + "/swaps"))) {
    if (is_same(identity, path)) {
      return "in use as swap";
    }
  }
  return std::nullopt;
}

// md, device-mapper and bcache leave a link to themselves here (bd_link_disk_holder() in block/holder.c).
std::optional<std::string> held(const fs::path& sysfs_device) {
  const std::vector<fs::path> holders = entries(sysfs_device / "holders");
  if (holders.empty()) {
    return std::nullopt;
  }
  return "held by " + holders.front().filename().string();
}

std::optional<std::string> backing_loop(const FileIdentity& identity, const SystemPaths& system) {
  for (const fs::path& disk : entries(system.sys + "/block")) {
    if (!disk.filename().string().starts_with("loop")) {
      continue;
    }
    const std::string file = first_line(disk / "loop" / "backing_file");
    if (!file.empty() && is_same(identity, file)) {
      return "backing /dev/" + disk.filename().string();
    }
  }
  return std::nullopt;
}

std::optional<std::string> partition_holder(const fs::path& sysfs_disk, const SystemPaths& system) {
  std::error_code error;
  for (const fs::path& entry : entries(sysfs_disk)) {
    const auto partition = device_number(first_line(entry / "dev"));
    if (!partition || !fs::exists(entry / "partition", error)) {
      continue;
    }
    if (const auto by = holder(partition->identity(), system)) {
      return "its partition " + entry.filename().string() + " is " + *by;
    }
  }
  return std::nullopt;
}

// "lock:  1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 0 EOF" (lock_get_status() in fs/locks.c): the number of the file
// system may be another than stat's, the inode is the same.
bool shows_lock_on(std::string_view fdinfo, const FileIdentity& identity) {
  const std::string inode = ":" + std::to_string(identity.inode) + " ";
  for (const std::string_view line : split(fdinfo, "\n")) {
    if (line.starts_with("lock:") && (identity.block_device || line.find(inode) != std::string_view::npos)) {
      return true;
    }
  }
  return false;
}

bool has_locked(const fs::path& process, const FileIdentity& identity) {
  for (const fs::path& info : entries(process / "fdinfo")) {
    if (!shows_lock_on(text_of(info), identity)) {
      continue;
    }
    const fs::path file = process / "fd" / info.filename();
    std::error_code error;
    // Only /dev is looked at: a lock on a dead server's file would hang.
    const bool safe = !identity.block_device || fs::read_symlink(file, error).string().starts_with("/dev/");
    if (safe && is_same(identity, file)) {
      return true;
    }
  }
  return false;
}

std::string process_text(const fs::path& process) {
  constexpr std::size_t most_of_a_command = 120;
  std::string command = text_of(process / "cmdline");
  while (command.ends_with('\0')) {
    command.pop_back();
  }
  std::replace(command.begin(), command.end(), '\0', ' ');
  if (command.size() > most_of_a_command) {
    command = command.substr(0, most_of_a_command) + " ...";
  }
  return "process " + process.filename().string() + " (" + command + ")";
}

// "rw,lowerdir=/a,upperdir=/b\054c": a comma within a value is mangled as well (seq_show_option()).
std::vector<std::string> options_of(std::span<const std::string_view> words) {
  std::vector<std::string> options;
  for (const std::string_view word : words) {
    for (const std::string_view option : split(word, ",")) {
      options.push_back(unmangled(option));
    }
  }
  return options;
}

}  // namespace

std::vector<Mount> parse_mountinfo(std::string_view text) {
  // id parent major:minor root mount-point options [optional fields] - type source super-options
  constexpr std::size_t number_at = 2;
  constexpr std::size_t mount_point_at = 4;
  constexpr std::size_t first_optional = 6;
  std::vector<Mount> found;
  for (const std::string_view line : split(text, "\n")) {
    const std::vector<std::string_view> words = split(line, " ");
    if (words.size() < first_optional) {
      continue;
    }
    const auto dash = std::find(words.begin() + first_optional, words.end(), "-");
    const auto device = device_number(words[number_at]);
    if (!device || std::distance(dash, words.end()) < 3) {
      continue;
    }
    found.push_back({device->major, device->minor, unmangled(words[mount_point_at]), unmangled(dash[1]),
                     unmangled(dash[2]), options_of(std::span(dash, words.end()).subspan(3))});
  }
  return found;
}

std::vector<std::string> parse_swaps(std::string_view text) {
  std::vector<std::string> paths;
  for (const std::string_view line : split(text, "\n")) {
    const std::vector<std::string_view> words = split(line, " \t");
    // The first line is a heading: "Filename Type Size Used Priority".
    if (!words.empty() && words.front().starts_with('/')) {
      paths.push_back(unmangled(words.front()));
    }
  }
  return paths;
}

std::vector<Mount> mounts(const SystemPaths& system) {
  return parse_mountinfo(text_of(system.proc + "/self/mountinfo"));
}

std::optional<std::string> holder(const FileIdentity& identity, const SystemPaths& system) {
  if (auto by = mounted(identity, system)) {
    return by;
  }
  if (auto by = swapped(identity, system)) {
    return by;
  }
  if (auto by = backing_loop(identity, system)) {
    return by;
  }
  if (!identity.block_device) {
    return std::nullopt;
  }
  const fs::path sysfs_device = sysfs_folder(identity, system);
  if (auto by = held(sysfs_device)) {
    return by;
  }
  return partition_holder(sysfs_device, system);
}

std::optional<std::string> lock_holder(const FileIdentity& identity, const SystemPaths& system) {
  for (const fs::path& process : entries(system.proc)) {
    if (number(process.filename().string()) && has_locked(process, identity)) {
      return process_text(process);
    }
  }
  return std::nullopt;
}

}  // namespace mdtool
