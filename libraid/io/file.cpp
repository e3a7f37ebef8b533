// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>

#include "libraid/io/in_use.h"

namespace mdtool {
namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t bounce_bytes = 1U << 20;

Error in_use_error(const std::string& path, const FileIdentity& identity, const char* unknown) {
  const std::optional<std::string> by = holder(identity);
  return {ErrorKind::refused, path + ": " + (by ? *by : unknown)};
}

Result<struct stat> status_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return io_error(path, errno);
  }
  return status;
}

struct FreeDeleter {
  void operator()(std::byte* memory) const { std::free(memory); }  // NOLINT(cppcoreguidelines-no-malloc)
};
using AlignedBuffer = std::unique_ptr<std::byte, FreeDeleter>;

// Opened, it is what the descriptor refers to, whatever has the name by now.
std::string same_device(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

// Reads up to `length` bytes; fewer only at the end of the file. -errno on failure.
std::int64_t read_fully(int fd, std::byte* out, std::uint64_t length, std::uint64_t offset) {
  std::uint64_t got = 0;
  while (got < length) {
    const ssize_t n = ::pread(fd, out + got, length - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return -errno;
    }
    if (n == 0) {
      break;
    }
    got += static_cast<std::uint64_t>(n);
  }
  return static_cast<std::int64_t>(got);
}

bool is_conflict(int errno_value) {
  return errno_value == EAGAIN || errno_value == EACCES;
}

// 0 or an errno.
int lock_file(int fd, short type) {
  struct flock whole {};
  whole.l_type = type;
  whole.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_SETLK, &whole) == 0 ? 0 : errno;
}

// udev locks a disk, too, while it looks at it: a conflict counts only when it lasts.
int lock_disk(int fd, int how) {
  constexpr int most_tries = 30;
  constexpr auto between_tries = std::chrono::milliseconds(100);
  int cause = 0;
  for (int i = 0; i < most_tries; ++i) {
    cause = ::flock(fd, how | LOCK_NB) == 0 ? 0 : errno;
    if (!is_conflict(cause)) {
      break;
    }
    std::this_thread::sleep_for(between_tries);
  }
  return cause;
}

}  // namespace

FileIdentity FileIdentity::of(const struct stat& status) {
  if (S_ISBLK(status.st_mode)) {
    return {.rdev = status.st_rdev, .block_device = true};
  }
  return {.device = status.st_dev, .inode = status.st_ino};
}

Result<FileIdentity> identify(const std::string& path) {
  TRY(status, status_of(path));
  return FileIdentity::of(status);
}

FileDevice::FileDevice(std::string path, Descriptor fd, FileIdentity identity, std::uint64_t size_bytes)
    : path_(std::move(path)), fd_(std::move(fd)), identity_(identity), size_bytes_(size_bytes) {}

Result<std::unique_ptr<FileDevice>> FileDevice::open(const std::string& path, Access access) {
  TRY(before, status_of(path));
  // Looked at before it is opened: opening a FIFO would wait for its other end.
  if (!S_ISREG(before.st_mode) && !S_ISBLK(before.st_mode)) {
    return Error{ErrorKind::usage, path + ": neither a regular file nor a block device"};
  }
  const bool writes = access == Access::read_write;
  const int exclusive = writes && S_ISBLK(before.st_mode) ? O_EXCL : 0;
  Descriptor fd(::open(path.c_str(), (writes ? O_RDWR : O_RDONLY) | exclusive | O_CLOEXEC | O_NOCTTY));
  if (!fd && exclusive != 0 && errno == EBUSY) {
    return in_use_error(path, FileIdentity::of(before), "in use: the kernel refuses an exclusive open");
  }
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return io_error(path, errno);
  }
  if (FileIdentity::of(status) != FileIdentity::of(before)) {
    return Error{ErrorKind::io, path + ": was replaced while it was being opened"};
  }
  // The kernel lets a read-only device be opened for writing, and fails the first write.
  int read_only = 0;
  if (exclusive != 0 && ::ioctl(fd.get(), BLKROGET, &read_only) == 0 && read_only != 0) {
    return Error{ErrorKind::io, path + ": a read-only device"};
  }
  const off_t end = ::lseek(fd.get(), 0, SEEK_END);
  if (end < 0) {
    return io_error(path + ": finding its size", errno);
  }
  std::unique_ptr<FileDevice> device(
      new FileDevice(path, std::move(fd), FileIdentity::of(status), static_cast<std::uint64_t>(end)));
  if (writes) {
    TRY(locked, device->lock());
    device->open_durable();
  }
  device->open_direct();
  return device;
}

Status FileDevice::lock() const {
  // While a disk is locked, udev leaves it alone. The O_EXCL open keeps other writers away, the lock those who hold().
  const int cause = identity_.block_device ? lock_disk(fd(), LOCK_EX) : lock_file(fd(), F_WRLCK);
  if (is_conflict(cause)) {
    return locked_error();
  }
  if (cause != 0 && !identity_.block_device) {
    return io_error(path_ + ": locking it", cause);
  }
  if (const std::optional<std::string> by = holder(identity_)) {
    return Error{ErrorKind::refused, path_ + ": " + *by};
  }
  return Done{};
}

Status FileDevice::hold() const {
  const int cause = identity_.block_device ? lock_disk(fd(), LOCK_SH) : lock_file(fd(), F_RDLCK);
  return is_conflict(cause) ? Status(locked_error()) : Done{};
}

Error FileDevice::locked_error() const {
  const std::optional<std::string> by = lock_holder(identity_);
  return {ErrorKind::refused,
          path_ + ": locked by " + (by ? *by : "another process") + ": stop that first, or wait for its end"};
}

void FileDevice::open_direct() {
  if (!identity_.block_device) {
    return;
  }
  alignment_ = page_bytes;
  int logical_block = 0;
  if (::ioctl(fd(), BLKSSZGET, &logical_block) != 0 || logical_block <= 0) {
    return;
  }
  alignment_ = std::max<std::uint64_t>(page_bytes, static_cast<std::uint64_t>(logical_block));
  direct_ = Descriptor(::open(same_device(fd()).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
}

void FileDevice::open_durable() {
  durable_ = Descriptor(::open(same_device(fd()).c_str(), O_WRONLY | O_CLOEXEC));
}

Error FileDevice::failure(const char* doing, std::uint64_t length_bytes, std::uint64_t offset_bytes,
                          int errno_value) const {
  return io_error(
      path_ + ": " + doing + " " + std::to_string(length_bytes) + " bytes at byte " + std::to_string(offset_bytes),
      errno_value);
}

Status FileDevice::check_bounds(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  if (fits(offset_bytes, length_bytes, size_bytes_)) {
    return Done{};
  }
  return Error{ErrorKind::out_of_range, path_ + ": " + std::to_string(length_bytes) + " bytes at byte " +
                                            std::to_string(offset_bytes) + " lie beyond its end at byte " +
                                            std::to_string(size_bytes_)};
}

Status FileDevice::check_known() const {
  if (flush_failed_) {
    return Error{ErrorKind::io, path_ + ": unknown state: an earlier flush failed, so what it holds is not known"};
  }
  struct stat status {};
  if (!identity_.block_device && ::fstat(fd(), &status) == 0 && S_ISREG(status.st_mode) &&
      static_cast<std::uint64_t>(status.st_size) < size_bytes_) {
    cut_short_ = true;
  }
  if (cut_short_) {
    // A write beyond the new end would leave a hole before it that reads as zeroes.
    return Error{ErrorKind::io, path_ + ": was cut short since it was opened"};
  }
  return Done{};
}

Status FileDevice::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(inside, check_bounds(offset_bytes, out.size()));
  const std::int64_t got = read_fully(fd(), out.data(), out.size(), offset_bytes);
  if (got < 0) {
    return failure("reading", out.size(), offset_bytes, static_cast<int>(-got));
  }
  if (static_cast<std::uint64_t>(got) < out.size()) {
    cut_short_ = true;
    return Error{ErrorKind::io, path_ + ": ends at byte " +
                                    std::to_string(offset_bytes + static_cast<std::uint64_t>(got)) +
                                    ": it was cut short since it was opened"};
  }
  return Done{};
}

Status FileDevice::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(known, check_known());
  TRY(inside, check_bounds(offset_bytes, in.size()));
  std::uint64_t done = 0;
  while (done < in.size()) {
    const ssize_t n = ::pwrite(fd(), in.data() + done, in.size() - done, static_cast<off_t>(offset_bytes + done));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return failure("writing", in.size() - done, offset_bytes + done, n < 0 ? errno : EIO);
    }
    done += static_cast<std::uint64_t>(n);
  }
  return Done{};
}

Status FileDevice::write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(inside, check_bounds(offset_bytes, in.size()));
  if (!durable_ || durable_refused_) {
    return BlockDevice::write_durable(offset_bytes, in);
  }
  const std::lock_guard lock(writing_durably_);
  TRY(known, check_known());
  std::uint64_t done = 0;
  while (done < in.size()) {
    const std::span<const std::byte> rest = in.subspan(done);
    const iovec part{const_cast<std::byte*>(rest.data()), rest.size()};
    const ssize_t n = ::pwritev2(durable_.get(), &part, 1, static_cast<off_t>(offset_bytes + done), RWF_DSYNC);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
      durable_refused_ = true;
      return BlockDevice::write_durable(offset_bytes + done, rest);
    }
    if (n <= 0) {
      const int cause = n < 0 ? errno : EIO;
      flush_failed_ = true;
      return failure("writing durably", rest.size(), offset_bytes + done, cause);
    }
    done += static_cast<std::uint64_t>(n);
  }
  return Done{};
}

Status FileDevice::flush() {
  const std::uint64_t begun_before = flushes_begun_;
  const std::lock_guard lock(flushing_);
  TRY(known, check_known());
  if (flushes_begun_ > begun_before) {
    return Done{};  // It began after this one was asked for and has succeeded meanwhile.
  }
  ++flushes_begun_;
  if (::fdatasync(fd()) != 0) {
    const int cause = errno;
    // The kernel reports a lost write once and then forgets it: a second fdatasync would succeed.
    flush_failed_ = true;
    return io_error(path_ + ": flushing", cause);
  }
  return Done{};
}

Status FileDevice::read_past_cache(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(inside, check_bounds(offset_bytes, out.size()));
  if (!identity_.block_device || out.empty()) {
    return read(offset_bytes, out);
  }
  if (direct_ && read_direct(offset_bytes, out)) {
    return Done{};
  }
  // Only clean pages can be dropped; what this process wrote was flushed before it is read back.
  ::posix_fadvise(fd(), static_cast<off_t>(offset_bytes), static_cast<off_t>(out.size()), POSIX_FADV_DONTNEED);
  return read(offset_bytes, out);
}

Status FileDevice::read_direct(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  const std::uint64_t align = alignment_;
  const std::uint64_t room = std::min(bounce_bytes, out.size() + 2 * align) / align * align;
  const AlignedBuffer bounce(static_cast<std::byte*>(std::aligned_alloc(align, room)));
  if (!bounce) {
    return failure("reading past the cache", out.size(), offset_bytes, ENOMEM);
  }
  std::uint64_t done = 0;
  while (done < out.size()) {
    const std::uint64_t at = offset_bytes + done;
    const std::uint64_t lead = at % align;
    const std::uint64_t wanted = std::min(room - lead, out.size() - done);
    // A device need not end at a multiple of the alignment: there the kernel reads less.
    const std::uint64_t length = (lead + wanted + align - 1) / align * align;
    const std::int64_t got = read_fully(direct_.get(), bounce.get(), length, at - lead);
    if (got < static_cast<std::int64_t>(lead + wanted)) {
      return failure("reading past the cache", wanted, at, got < 0 ? static_cast<int>(-got) : EIO);
    }
    std::memcpy(out.data() + done, bounce.get() + lead, wanted);
    done += wanted;
  }
  return Done{};
}

Result<Extent> FileDevice::next_data(std::uint64_t offset_bytes) const {
  if (offset_bytes >= size_bytes_) {
    return Extent{size_bytes_, 0};
  }
  const Extent rest{offset_bytes, size_bytes_ - offset_bytes};
  if (identity_.block_device) {
    return rest;
  }
  const off_t data = ::lseek(fd(), static_cast<off_t>(offset_bytes), SEEK_DATA);
  if (data < 0) {
    if (errno == ENXIO) {
      return Extent{size_bytes_, 0};
    }
    // A file system that does not know of holes has none.
    return rest;
  }
  const off_t hole = ::lseek(fd(), data, SEEK_HOLE);
  const std::uint64_t begin = static_cast<std::uint64_t>(data);
  const std::uint64_t end = hole < 0 ? size_bytes_ : std::min(static_cast<std::uint64_t>(hole), size_bytes_);
  return Extent{begin, end > begin ? end - begin : 0};
}

}  // namespace mdtool
