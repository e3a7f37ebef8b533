// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/write_access.h"

#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>

namespace mdtool::cli {

namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

std::string absolute(const std::string& path) {
  char* real = realpath(path.c_str(), nullptr);
  std::string out = real == nullptr ? path : real;
  std::free(real);
  return out;
}

}  // namespace

Result<WriteAccess::File*> WriteAccess::file_of(const Origin& origin) {
  for (const auto& file : files_) {
    if (file->identity == origin.identity) {
      return file.get();
    }
  }
  TRY(device, FileDevice::open(origin.file, Access::read_write));
  if (device->identity() != origin.identity) {
    return Error{ErrorKind::refused, origin.file + ": no longer the device that was examined; nothing was written"};
  }
  auto file = std::make_unique<File>();
  file->identity = origin.identity;
  file->device = std::move(device);
  file->past_cache = std::make_unique<UncachedSource>(*file->device);
  files_.push_back(std::move(file));
  return files_.back().get();
}

Status WriteAccess::add(const Origin& origin, const std::string& path, std::vector<PlannedExtent> extents) {
  TRY(file, file_of(origin));
  TRY(slice, Slice::of(*file->device, origin.offset_bytes, origin.size_bytes).in(path));
  TRY(past_cache, SourceSlice::of(*file->past_cache, origin.offset_bytes, origin.size_bytes).in(path));
  fences_.push_back(std::make_unique<FencedDevice>(std::move(slice), std::move(extents)));
  past_cache_.push_back(std::make_unique<SourceSlice>(past_cache));
  members_.push_back({path, fences_.back().get(), past_cache_.back().get()});
  undo_members_.push_back({absolute(origin.file), origin.size_bytes, std::to_string(origin.offset_bytes)});
  return Done{};
}

Result<std::string> undo_path(const std::string& path) {
  if (!path.empty()) {
    return path;
  }
  return default_undo_path({environment("XDG_STATE_HOME"), environment("HOME"),
                            static_cast<std::uint64_t>(std::time(nullptr)), static_cast<std::uint64_t>(getpid())});
}

std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  for (char& c : text) {
    c = c == '\0' ? ' ' : c;
  }
  while (!text.empty() && text.back() == ' ') {
    text.pop_back();
  }
  return text.empty() ? "mdtool" : text;
}

}  // namespace mdtool::cli
