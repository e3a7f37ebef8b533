// SPDX-License-Identifier: GPL-2.0-or-later
// Regular files and block devices as a BlockDevice. Knows how they are opened without harm, locked, and read past the
// page cache; knows nothing of what is on them. A read-only device never has a descriptor that could write.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "libraid/io/block_device.h"
#include "libraid/io/descriptor.h"

namespace mdtool {

enum class Access { read_only, read_write };

// How FileDevice::zero() makes zeroes. Each promises them or fails; discard does not and is none of them.
enum class ZeroMethod {
  automatic,  // holes or unmapped blocks where the system promises zeroes then, else what it has
  zeroout,    // BLKZEROOUT; on files FALLOC_FL_ZERO_RANGE
  unmap,      // FALLOC_FL_WRITE_ZEROES where the kernel knows it, else a hole
  write,      // zeroes, written
};

// What a path refers to, whatever it is called: a file by device and inode, a block device by its number alone.
struct FileIdentity {
  std::uint64_t device = 0;  // 0 for block devices
  std::uint64_t inode = 0;   // 0 for block devices
  std::uint64_t rdev = 0;    // 0 for files
  bool block_device = false;

  static FileIdentity of(const struct stat& status);
  friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};

// Fails where nothing is at `path`.
Result<FileIdentity> identify(const std::string& path);

struct Extent {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};

// Every function may be called by many threads at once.
class FileDevice final : public BlockDevice {
 public:
  // read_write takes a block device O_EXCL, a file by an exclusive OFD lock, and refuses (ErrorKind::refused, naming
  // the holder where it is known) what is mounted, swapped to, held, or backs a loop device. read_only takes no lock.
  static Result<std::unique_ptr<FileDevice>> open(const std::string& path, Access access);

  // While this device lives nobody opens it read_write, though others may hold it as well: refused (naming who) where
  // somebody has. Where the file system knows no locks it is not held.
  Status hold() const;

  const std::string& path() const { return path_; }
  FileIdentity identity() const { return identity_; }
  int fd() const { return fd_.get(); }

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  // Waits for this range only, however much of the rest is dirty. One that failed leaves the content unknown, too.
  Status write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  // Durable after a flush.
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  // How zero() does it from now on. What the kernel refuses fails, or is done by a dearer method. At first: automatic.
  enum class IfRefused { fail, dearer_method };
  void zero_by(ZeroMethod method, IfRefused);
  // A flush that failed leaves the device's content unknown: every later write and flush fails too.
  Status flush() override;

  // What the device itself holds, not what the page cache remembers; on files the same as read().
  Status read_past_cache(std::uint64_t offset_bytes, std::span<std::byte> out) const;

  // The first extent at or after `offset_bytes` that is not a hole; of length 0 at the end where only holes follow.
  // All of a block device is data.
  Result<Extent> next_data(std::uint64_t offset_bytes) const;

 private:
  // Dearest last. The kernel's answer to one is remembered.
  enum class ZeroWay : unsigned char { write_zeroes, punch_hole, zero_range, zero_out, write };

  FileDevice(std::string path, Descriptor fd, FileIdentity identity, std::uint64_t size_bytes);
  Status lock() const;
  Error locked_error() const;
  void open_direct();
  void open_durable();
  Status check_bounds(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;
  Status check_known() const;
  Status zero_aligned(std::uint64_t offset_bytes, std::uint64_t length_bytes);
  static int try_to_zero(int fd, ZeroWay way, std::uint64_t offset_bytes, std::uint64_t length_bytes);
  Status read_direct(std::uint64_t offset_bytes, std::span<std::byte> out) const;
  Error failure(const char* doing, std::uint64_t length_bytes, std::uint64_t offset_bytes, int errno_value) const;

  std::string path_;
  Descriptor fd_;
  Descriptor direct_;   // O_DIRECT, block devices only
  Descriptor durable_;  // for writing only: a lost write is reported once to each open file, and flush() uses fd_
  FileIdentity identity_;
  std::uint64_t size_bytes_;
  std::uint64_t alignment_ = 1;            // of direct reads and of what is zeroed without writing
  std::mutex flushing_, writing_durably_;  // who syncs by the same descriptor could take the error meant for the other
  std::atomic<std::uint64_t> flushes_begun_ = 0;
  std::atomic<bool> flush_failed_ = false;
  mutable std::atomic<bool> cut_short_ = false;  // from then on nothing is written
  std::atomic<bool> durable_refused_ = false;
  std::atomic<ZeroWay> zero_way_ = ZeroWay::punch_hole, last_zero_way_ = ZeroWay::write;
};

// A FileDevice whose reads all go past the page cache. The device outlives it.
class UncachedSource final : public Source {
 public:
  explicit UncachedSource(const FileDevice& device) : device_(device) {}
  std::uint64_t size_bytes() const override { return device_.size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    return device_.read_past_cache(offset_bytes, out);
  }

 private:
  const FileDevice& device_;
};

}  // namespace mdtool
