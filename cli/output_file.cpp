// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "libraid/io/in_use.h"

namespace mdtool::cli {

namespace {

constexpr std::size_t hole_bytes = 4096;
constexpr mode_t new_file_mode = 0600;  // an array may hold anybody's data

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

Status check_existing(const std::string& path, const struct stat& status, OutputFile::Existing existing,
                      const MemberSet& members) {
  const FileIdentity identity = FileIdentity::of(status);
  if (members.uses(identity)) {
    return Error{ErrorKind::refused, path + ": is one of the members; nothing was written"};
  }
  if (existing == OutputFile::Existing::refuse) {
    return Error{ErrorKind::refused, path + ": exists already (--force=overwrite replaces it); nothing was written"};
  }
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    return Error{ErrorKind::usage, path + ": neither a regular file nor a block device"};
  }
  if (const auto by = holder(identity)) {
    return Error{ErrorKind::refused, path + ": " + *by + "; nothing was written"};
  }
  return Done{};
}

// A device keeps its size; a file becomes one hole.
Status make_size(const std::string& path, const Descriptor& fd, bool device, std::uint64_t size_bytes) {
  if (device) {
    const off_t end = ::lseek(fd.get(), 0, SEEK_END);
    return end >= 0 && static_cast<std::uint64_t>(end) >= size_bytes
               ? Status(Done{})
               : Status(Error{ErrorKind::refused, path + ": smaller than the array; nothing was written"});
  }
  if (::ftruncate(fd.get(), 0) != 0 || ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) {
    return io_error(path + ": making it " + std::to_string(size_bytes) + " bytes long", errno);
  }
  return Done{};
}

}  // namespace

Status OutputFile::check(const std::string& path, Existing existing, const MemberSet& members) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? check_existing(path, status, existing, members) : Status(Done{});
}

Result<OutputFile> OutputFile::create(const std::string& path, std::uint64_t size_bytes, Existing existing,
                                      const MemberSet& members) {
  struct stat before {};
  const bool exists = ::stat(path.c_str(), &before) == 0;
  if (exists) {
    TRY(checked, check_existing(path, before, existing, members));
  }
  const bool device = exists && S_ISBLK(before.st_mode);
  const int flags = device ? O_EXCL : exists ? 0 : O_CREAT | O_EXCL;
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | flags, new_file_mode));
  struct stat now {};
  if (!fd || ::fstat(fd.get(), &now) != 0) {
    return io_error(path, errno);
  }
  if (exists && FileIdentity::of(now) != FileIdentity::of(before)) {
    return Error{ErrorKind::refused, path + ": was replaced while it was being opened; nothing was written"};
  }
  TRY(sized, make_size(path, fd, device, size_bytes));
  return OutputFile(path, std::move(fd), !device);
}

Result<std::uint64_t> OutputFile::write(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  if (!sparse_) {
    TRY(written, write_all(offset_bytes, bytes));
    return static_cast<std::uint64_t>(bytes.size());
  }
  std::uint64_t written_bytes = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    // The longest run of pieces that are all zero, or all not.
    std::size_t end = std::min(at + hole_bytes, bytes.size());
    const bool zero = all_zero(bytes.subspan(at, end - at));
    while (end < bytes.size()) {
      const std::size_t next = std::min(end + hole_bytes, bytes.size());
      if (all_zero(bytes.subspan(end, next - end)) != zero) {
        break;
      }
      end = next;
    }
    if (!zero) {
      TRY(written, write_all(offset_bytes + at, bytes.subspan(at, end - at)));
      written_bytes += end - at;
    }
    at = end;
  }
  return written_bytes;
}

Status OutputFile::write_all(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return io_error(path_ + ": writing at byte " + std::to_string(offset_bytes), n < 0 ? errno : ENOSPC);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset_bytes += static_cast<std::uint64_t>(n);
  }
  return Done{};
}

Status OutputFile::finish() {
  if (::fsync(fd_.get()) != 0) {
    return io_error(path_ + ": flushing", errno);
  }
  return Done{};
}

}  // namespace mdtool::cli
