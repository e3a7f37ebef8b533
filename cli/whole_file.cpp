// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "libraid/io/file.h"
#include "libraid/io/folder.h"

namespace mdtool::cli {

namespace {

constexpr std::string_view beside_suffix = ".new-XXXXXX";

std::optional<struct stat> status_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? std::optional(status) : std::nullopt;
}

bool holds(const std::string& path, std::span<const std::byte> content) {
  const auto file = FileDevice::open(path, Access::read_only);
  if (!file || (*file)->size_bytes() != content.size()) {
    return false;
  }
  const auto there = read_bytes(**file, 0, content.size());
  return there && std::equal(there->begin(), there->end(), content.begin(), content.end());
}

// A link stays one: the file that it names is replaced.
std::string place_of(const std::string& path) {
  std::error_code failed;
  const std::filesystem::path real = std::filesystem::canonical(path, failed);
  return failed ? path : real.string();
}

Status write_durably(const Descriptor& fd, const std::string& path, std::span<const std::byte> content) {
  for (std::size_t at = 0; at < content.size();) {
    const ssize_t n = ::pwrite(fd.get(), content.data() + at, content.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return io_error(path + ": writing at byte " + std::to_string(at), n < 0 ? errno : ENOSPC);
    }
    at += static_cast<std::size_t>(n);
  }
  return ::fsync(fd.get()) == 0 ? Status(Done{}) : io_error(path + ": flushing", errno);
}

}  // namespace

Status WholeFile::check(const std::string& path, std::span<const std::byte> content, OutputFile::Existing existing,
                        const MemberSet& members) {
  const auto there = status_of(path);
  if (!there) {
    return Done{};
  }
  if (!S_ISREG(there->st_mode) && !members.uses(FileIdentity::of(*there))) {
    return Error{ErrorKind::refused, path + ": not a regular file; nothing was written"};
  }
  return OutputFile::check(path, holds(path, content) ? OutputFile::Existing::overwrite : existing, members);
}

Result<WholeFile> WholeFile::write(const std::string& path, std::span<const std::byte> content,
                                   OutputFile::Existing existing, const MemberSet& members) {
  TRY(checked, check(path, content, existing, members));
  const std::string place = place_of(path);
  const auto old = status_of(place);
  std::string beside = place + std::string(beside_suffix);
  const Descriptor fd(::mkostemp(beside.data(), O_CLOEXEC));
  if (!fd) {
    return io_error(path, errno);
  }
  WholeFile file(place, beside, old.has_value());
  if (old && ((::fchown(fd.get(), old->st_uid, old->st_gid) != 0 && errno != EPERM) ||
              ::fchmod(fd.get(), old->st_mode & ALLPERMS) != 0)) {
    return io_error(path, errno);
  }
  TRY(written, write_durably(fd, path, content));
  return file;
}

WholeFile::~WholeFile() {
  if (!beside_.empty()) {
    ::unlink(beside_.c_str());
  }
}

Status WholeFile::put_in_place() {
  if (!replaces_ && status_of(place_)) {
    return Error{ErrorKind::refused, place_ + ": was made by somebody else meanwhile"};
  }
  if (std::rename(beside_.c_str(), place_.c_str()) != 0) {
    return io_error(place_, errno);
  }
  beside_.clear();
  return sync_folder(std::filesystem::path(place_).parent_path());
}

bool WholeFile::take_back() {
  return !replaces_ && ::unlink(place_.c_str()) == 0;
}

}  // namespace mdtool::cli
