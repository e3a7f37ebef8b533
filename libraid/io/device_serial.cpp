// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/device_serial.h"

#include <array>

#include "libraid/io/system_tables.h"

namespace mdtool {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_serial = 256;

// The most certain first: device-mapper, NVMe and SCSI know a name that is meant to be unique in the world.
constexpr std::array<const char*, 5> attributes = {"dm/uuid", "wwid", "device/wwid", "serial", "device/serial"};

std::string trimmed(const std::string& text) {
  constexpr const char* blanks = " \t\r";
  const std::size_t first = text.find_first_not_of(blanks);
  return first == std::string::npos ? std::string() : text.substr(first, text.find_last_not_of(blanks) + 1 - first);
}

}  // namespace

std::optional<std::string> device_serial(const FileIdentity& identity, const SystemPaths& system) {
  if (!identity.block_device) {
    return std::nullopt;
  }
  std::error_code error;
  fs::path disk = fs::canonical(sysfs_folder(identity, system), error);
  if (error) {
    return std::nullopt;
  }
  if (fs::exists(disk / "partition", error)) {
    disk = disk.parent_path();
  }
  for (const char* attribute : attributes) {
    const std::string serial = trimmed(first_line(disk / attribute)).substr(0, longest_serial);
    if (!serial.empty()) {
      return serial;
    }
  }
  return std::nullopt;
}

}  // namespace mdtool
