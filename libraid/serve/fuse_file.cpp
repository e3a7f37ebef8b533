// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/fuse_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>

namespace mdtool::serve {
namespace {

constexpr double attributes_valid_seconds = 86400;  // they never change
constexpr blksize_t preferred_transfer_bytes = 128L << 10;
constexpr mode_t readable = 0400;
constexpr mode_t readable_and_writable = 0600;
constexpr mode_t permission_bits = 07777;
// Requests that the kernel sends without a waiting process: read-ahead, asynchronous direct I/O, a loop device's.
constexpr unsigned most_background_requests = 64;
constexpr unsigned congested_requests = 48;

int errno_of(const Status& status) {
  if (status) {
    return 0;
  }
  // An array that refuses to be written has become read-only.
  return status.error().kind == ErrorKind::refused ? EROFS : EIO;
}

FuseFile& file_of(fuse_req_t request) {
  return *static_cast<FuseFile*>(fuse_req_userdata(request));
}

void on_init(void* file, fuse_conn_info* connection) {
  static_cast<FuseFile*>(file)->init(*connection);
}

void on_getattr(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  const struct stat st = file_of(request).attributes();
  fuse_reply_attr(request, &st, attributes_valid_seconds);
}

void on_setattr(fuse_req_t request, fuse_ino_t, struct stat* wanted, int which, fuse_file_info* opened) {
  const FuseFile& file = file_of(request);
  const auto where = opened != nullptr ? FuseFile::Opened::here : FuseFile::Opened::elsewhere;
  if (const int error = file.judge_change(*wanted, which, where)) {
    fuse_reply_err(request, error);
    return;
  }
  const struct stat st = file.attributes();
  fuse_reply_attr(request, &st, attributes_valid_seconds);
}

void on_open(fuse_req_t request, fuse_ino_t, fuse_file_info* opened) {
  FuseFile& file = file_of(request);
  const bool to_write = (opened->flags & O_ACCMODE) != O_RDONLY;
  if (to_write && !file.is_writable()) {
    fuse_reply_err(request, EROFS);
    return;
  }
  // Nothing changes the content but writes through this file, which the kernel sees.
  opened->keep_cache = 1;
  opened->noflush = to_write ? 0 : 1;
  file.count_open();
  if (fuse_reply_open(request, opened) == -ENOENT) {
    file.count_close();  // open() was interrupted: there will be no release
  }
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  FuseFile& file = file_of(request);
  fuse_reply_err(request, 0);
  file.count_close();
}

void on_read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info*) {
  FuseFile& file = file_of(request);
  const PageBuffers::Lease buffer(file.buffers());
  const auto out = buffer.span().first(std::min(size, most_transfer_bytes));
  const FuseFile::Transferred read = file.read(static_cast<std::uint64_t>(offset), out);
  if (read.error != 0) {
    fuse_reply_err(request, read.error);
    return;
  }
  fuse_reply_buf(request, reinterpret_cast<const char*>(out.data()), read.bytes);
}

void on_write(fuse_req_t request, fuse_ino_t, const char* bytes, std::size_t size, off_t offset, fuse_file_info*) {
  const auto in = std::as_bytes(std::span(bytes, size));
  const FuseFile::Transferred written = file_of(request).write(static_cast<std::uint64_t>(offset), in);
  if (written.error != 0) {
    fuse_reply_err(request, written.error);
    return;
  }
  fuse_reply_write(request, written.bytes);
}

void on_flush(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  fuse_reply_err(request, file_of(request).flush());
}

void on_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  fuse_reply_err(request, file_of(request).flush());
}

void on_fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info*) {
  const int error =
      file_of(request).allocate(mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length));
  fuse_reply_err(request, error);
}

}  // namespace

FuseFile::FuseFile(const Served& what, unsigned threads)
    : source_(what.source()), buffers_(threads, most_transfer_bytes) {
  if (what.device() != nullptr) {
    device_.emplace(*what.device());
  }
  ::clock_gettime(CLOCK_REALTIME, &started_);
}

void FuseFile::init(fuse_conn_info& connection) {
  connection.max_read = most_transfer_bytes;
  connection.max_write = most_transfer_bytes;
  connection.max_background = most_background_requests;
  connection.congestion_threshold = congested_requests;
  // Written through: an acknowledged write is in the device. O_TRUNC comes as a setattr(), which leaves the size alone:
  // opened with it, the kernel would take the file for empty until it asks again. Attributes are never asked for twice.
  connection.want &=
      ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA);
  initialised_ = true;
}

struct stat FuseFile::attributes() const {
  struct stat st {};
  st.st_ino = FUSE_ROOT_ID;
  st.st_mode = S_IFREG | (is_writable() ? readable_and_writable : readable);
  st.st_nlink = 1;
  st.st_uid = ::geteuid();
  st.st_gid = ::getegid();
  st.st_size = static_cast<off_t>(source_.size_bytes());
  st.st_blksize = preferred_transfer_bytes;
  st.st_blocks = static_cast<blkcnt_t>((source_.size_bytes() + S_BLKSIZE - 1) / S_BLKSIZE);
  st.st_atim = st.st_mtim = st.st_ctim = started_;
  return st;
}

int FuseFile::judge_change(const struct stat& wanted, int which, Opened opened) const {
  const struct stat own = attributes();
  // So does open() with O_TRUNC ask (fuse_do_setattr() in fs/fuse/dir.c): a block device ignores it.
  const bool ignored = wanted.st_size == 0 && opened == Opened::elsewhere;
  if ((which & FUSE_SET_ATTR_SIZE) != 0 && wanted.st_size != own.st_size && !ignored) {
    return EPERM;
  }
  const bool mode = (which & FUSE_SET_ATTR_MODE) != 0 && ((wanted.st_mode ^ own.st_mode) & permission_bits) != 0;
  const bool user = (which & FUSE_SET_ATTR_UID) != 0 && wanted.st_uid != own.st_uid;
  const bool group = (which & FUSE_SET_ATTR_GID) != 0 && wanted.st_gid != own.st_gid;
  return mode || user || group ? EPERM : 0;
}

std::uint64_t FuseFile::room(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  const std::uint64_t size = source_.size_bytes();
  return offset_bytes < size ? std::min(length_bytes, size - offset_bytes) : 0;
}

FuseFile::Transferred FuseFile::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  const auto part = out.first(static_cast<std::size_t>(room(offset_bytes, out.size())));
  const Source& source = device_ ? *device_ : source_;
  return {part.size(), part.empty() || source.read(offset_bytes, part) ? 0 : EIO};
}

FuseFile::Transferred FuseFile::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  if (!device_) {
    return {0, EROFS};
  }
  const auto part = in.first(static_cast<std::size_t>(room(offset_bytes, in.size())));
  if (part.empty() && !in.empty()) {
    return {0, ENOSPC};
  }
  return {part.size(), errno_of(device_->write(offset_bytes, part))};
}

int FuseFile::allocate(int mode, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  const bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  const int how = mode & ~FALLOC_FL_KEEP_SIZE;
  if (how != FALLOC_FL_ZERO_RANGE && !(how == FALLOC_FL_PUNCH_HOLE && keeps_size)) {
    return EOPNOTSUPP;
  }
  if (!device_) {
    return EROFS;
  }
  const std::uint64_t length = room(offset_bytes, length_bytes);
  if (!keeps_size && length != length_bytes) {
    return ENOSPC;
  }
  return errno_of(device_->zero(offset_bytes, length));
}

int FuseFile::flush() {
  // Never EROFS, which users of fsync() take for "nothing to sync here".
  return !device_ || device_->flush() ? 0 : EIO;
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops ops{};
  ops.init = on_init;
  ops.getattr = on_getattr;
  ops.setattr = on_setattr;
  ops.open = on_open;
  ops.release = on_release;
  ops.read = on_read;
  ops.write = on_write;
  ops.flush = on_flush;
  ops.fsync = on_fsync;
  ops.fallocate = on_fallocate;
  return ops;
}

}  // namespace mdtool::serve
