// SPDX-License-Identifier: GPL-2.0-or-later
// Reading what the kernel tells in /proc and /sys: text, words, device numbers, folders. Knows no table; what cannot be
// read is empty.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libraid/io/file.h"
#include "libraid/io/system_paths.h"

namespace mdtool {

std::string text_of(const std::filesystem::path& path);
std::string first_line(const std::filesystem::path& path);
// Without the empty ones.
std::vector<std::string_view> split(std::string_view text, std::string_view separators);
std::optional<std::uint32_t> number(std::string_view text);

struct DeviceNumber {
  std::uint32_t major = 0, minor = 0;
  std::string text() const { return std::to_string(major) + ":" + std::to_string(minor); }
  FileIdentity identity() const;
};

// "8:17"
std::optional<DeviceNumber> device_number(std::string_view text);
// Sorted by name.
std::vector<std::filesystem::path> entries(const std::filesystem::path& folder);
// Of a block device, partitions too: /sys/dev/block/8:17.
std::filesystem::path sysfs_folder(const FileIdentity& block_device, const SystemPaths& system);

}  // namespace mdtool
