// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/session.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <unistd.h>

#include <cerrno>

#include "libraid/serve/mount_table.h"

namespace mdtool::serve {
namespace {

constexpr std::size_t write_header_bytes = sizeof(fuse_in_header) + sizeof(fuse_write_in);

std::string mount_options(const FuseFile& file, const std::string& source) {
  return std::string(file.is_writable() ? "rw" : "ro") + ",nosuid,nodev,fsname=" + source + ",subtype=" + fuse_subtype +
         ",max_read=" + std::to_string(most_transfer_bytes);
}

}  // namespace

RequestBuffer::RequestBuffer() : pages_(page_bytes + most_transfer_bytes + page_bytes) {}

std::span<std::byte> RequestBuffer::span() const {
  return pages_.span().subspan(page_bytes - write_header_bytes);
}

Result<std::unique_ptr<Session>> Session::mount(FuseFile& file, const std::string& name, const std::string& path) {
  const std::string source = mount_source(::getpid(), name);
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&arguments, "mdtool");
  fuse_opt_add_arg(&arguments, "-o");
  fuse_opt_add_arg(&arguments, mount_options(file, source).c_str());
  const fuse_lowlevel_ops ops = operations();
  std::unique_ptr<Session> session(new Session(fuse_session_new(&arguments, &ops, sizeof ops, &file), source, path));
  fuse_opt_free_args(&arguments);
  if (session->session_ == nullptr || fuse_session_mount(session->session_, path.c_str()) != 0) {
    return Error{ErrorKind::io, path + ": FUSE could not mount there"};
  }
  session->mounted_ = true;
  const int flags = ::fcntl(session->fd(), F_GETFL);
  if (flags < 0 || ::fcntl(session->fd(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return io_error(path + ": setting up FUSE", errno);
  }
  return session;
}

Session::~Session() {
  if (mounted_) {
    fuse_session_unmount(session_);
  }
  if (session_ != nullptr) {
    fuse_session_destroy(session_);
  }
}

int Session::fd() const {
  return fuse_session_fd(session_);
}

Session::Place Session::place() const {
  Place place = Place::nowhere;
  for (const Mount& mount : mounts()) {
    if (mount.mount_point == path_ && mount.source == source_) {
      place = Place::on_top;
    } else if (mount.mount_point == path_ && place == Place::on_top) {
      place = Place::covered;
    }
  }
  return place;
}

Result<Session::Got> Session::serve_one(const RequestBuffer& buffer) const {
  const std::span<std::byte> memory = buffer.span();
  const ssize_t got = ::read(fd(), memory.data(), memory.size());
  if (got < 0) {
    switch (errno) {
      case EINTR:
      case EAGAIN:
      case ENOENT:  // its user was interrupted before it could be read
        return Got::nothing;
      case ENODEV:
      case ECONNABORTED:
        return Got::end;
      default:
        return io_error("reading from FUSE", errno);
    }
  }
  fuse_buf request{};
  request.size = static_cast<std::size_t>(got);
  request.mem = memory.data();
  fuse_session_process_buf(session_, &request);
  return Got::request;
}

}  // namespace mdtool::serve
