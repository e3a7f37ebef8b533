// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/system_tables.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

namespace mdtool {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string first_line(const std::filesystem::path& path) {
  const std::string text = text_of(path);
  return text.substr(0, text.find('\n'));
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(separators), text.size());
    if (end > 0) {
      words.push_back(text.substr(0, end));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

FileIdentity DeviceNumber::identity() const {
  return {.rdev = makedev(major, minor), .block_device = true};
}

std::optional<DeviceNumber> device_number(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  const auto major = number(text.substr(0, colon));
  const auto minor = number(text.substr(colon + 1));
  return major && minor ? std::optional(DeviceNumber{*major, *minor}) : std::nullopt;
}

std::vector<std::filesystem::path> entries(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    found.push_back(it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::filesystem::path sysfs_folder(const FileIdentity& block_device, const SystemPaths& system) {
  const DeviceNumber device{major(block_device.rdev), minor(block_device.rdev)};
  return std::filesystem::path(system.sys) / "dev" / "block" / device.text();
}

}  // namespace mdtool
