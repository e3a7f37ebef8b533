// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/fuse.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "libraid/io/descriptor.h"
#include "libraid/serve/mount_table.h"

namespace mdtool {
namespace {

constexpr std::size_t most_read_bytes = 1U << 20;
constexpr double attributes_valid_seconds = 86400;  // they never change
constexpr blksize_t preferred_read_bytes = 128L << 10;

class Server {
 public:
  explicit Server(const Source& device) : device_(device), buffer_(most_read_bytes) {
    ::clock_gettime(CLOCK_REALTIME, &started_);
  }

  bool initialised() const { return initialised_; }
  void init(fuse_conn_info& connection) {
    connection.max_read = most_read_bytes;
    initialised_ = true;
  }

  struct stat attributes() const {
    struct stat st {};
    st.st_ino = FUSE_ROOT_ID;
    st.st_mode = S_IFREG | 0400;
    st.st_nlink = 1;
    st.st_uid = ::geteuid();
    st.st_gid = ::getegid();
    st.st_size = static_cast<off_t>(device_.size_bytes());
    st.st_blksize = preferred_read_bytes;
    st.st_blocks = static_cast<blkcnt_t>((device_.size_bytes() + S_BLKSIZE - 1) / S_BLKSIZE);
    st.st_atim = st.st_mtim = st.st_ctim = started_;
    return st;
  }

  // The bytes from there, fewer at the end; valid until the next call.
  Result<std::span<const std::byte>> read(std::uint64_t offset_bytes, std::size_t length_bytes) {
    const std::uint64_t size = device_.size_bytes();
    const std::uint64_t room = offset_bytes < size ? size - offset_bytes : 0;
    const std::uint64_t length = std::min<std::uint64_t>({length_bytes, room, buffer_.size()});
    const std::span<std::byte> part(buffer_.data(), static_cast<std::size_t>(length));
    TRY(done, device_.read(offset_bytes, part));
    return std::span<const std::byte>(part);
  }

 private:
  const Source& device_;
  std::vector<std::byte> buffer_;
  struct timespec started_ {};
  bool initialised_ = false;
};

Server& server_of(fuse_req_t request) {
  return *static_cast<Server*>(fuse_req_userdata(request));
}

void on_init(void* server, fuse_conn_info* connection) {
  static_cast<Server*>(server)->init(*connection);
}

void on_getattr(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  const struct stat st = server_of(request).attributes();
  fuse_reply_attr(request, &st, attributes_valid_seconds);
}

void on_open(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  if ((file->flags & O_ACCMODE) != O_RDONLY) {
    fuse_reply_err(request, EROFS);
    return;
  }
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

void on_read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info*) {
  const auto bytes = server_of(request).read(static_cast<std::uint64_t>(offset), size);
  if (!bytes) {
    fuse_reply_err(request, EIO);
    return;
  }
  fuse_reply_buf(request, reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops ops{};
  ops.init = on_init;
  ops.getattr = on_getattr;
  ops.open = on_open;
  ops.read = on_read;
  return ops;
}

// The signals that end serving, taken as events of a descriptor for as long as this lives.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      ::sigaddset(&set, signal);
    }
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
    fd_ = Descriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    // What has arrived was obeyed; unblocked, it would end the process.
    signalfd_siginfo seen{};
    while (::read(fd_.get(), &seen, sizeof seen) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  int fd() const { return fd_.get(); }

 private:
  sigset_t before_{};
  Descriptor fd_;
};

// The file that is mounted on; removed at the end if it was made here.
class MountPoint {
 public:
  static Result<MountPoint> prepare(const std::string& at) {
    TRY(path, serve::canonical(at));
    if (const auto mount = serve::topmost_mount(path)) {
      return Error{ErrorKind::refused, at + ": is a mount point already (" + mount->type + ")"};
    }
    const Descriptor made(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (made) {
      return MountPoint(path, path);
    }
    struct stat status {};
    if (errno != EEXIST || ::stat(path.c_str(), &status) != 0) {
      return io_error(at, errno);
    }
    if (!S_ISREG(status.st_mode) || status.st_size != 0) {
      return Error{ErrorKind::refused, at + ": exists, and is not an empty file; give another path to serve at"};
    }
    return MountPoint(path, "");
  }

  MountPoint(MountPoint&& other) noexcept
      : path_(std::move(other.path_)), made_(std::exchange(other.made_, std::string())) {}
  MountPoint& operator=(MountPoint&&) = delete;
  ~MountPoint() {
    if (!made_.empty() && !serve::topmost_mount(made_)) {
      ::unlink(made_.c_str());
    }
  }
  const std::string& path() const { return path_; }

 private:
  MountPoint(std::string path, std::string made) : path_(std::move(path)), made_(std::move(made)) {}
  std::string path_;
  std::string made_;  // empty: it was there before
};

// A session that is unmounted with its owner.
class Session {
 public:
  static Result<std::unique_ptr<Session>> mount(Server& server, const ServeOptions& options, const std::string& path) {
    const std::string mount_options = "ro,nosuid,nodev,fsname=" + serve::mount_source(::getpid(), options.name) +
                                      ",subtype=" + serve::fuse_subtype +
                                      ",max_read=" + std::to_string(most_read_bytes);
    fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&arguments, "mdtool");
    fuse_opt_add_arg(&arguments, "-o");
    fuse_opt_add_arg(&arguments, mount_options.c_str());
    const fuse_lowlevel_ops ops = operations();
    std::unique_ptr<Session> session(new Session(fuse_session_new(&arguments, &ops, sizeof ops, &server)));
    fuse_opt_free_args(&arguments);
    if (session->session_ == nullptr || fuse_session_mount(session->session_, path.c_str()) != 0) {
      return Error{ErrorKind::io, path + ": FUSE could not mount there"};
    }
    session->mounted_ = true;
    // A request that is taken back between poll() and read() must not leave the server deaf to signals.
    const int flags = ::fcntl(session->fd(), F_GETFL);
    if (flags < 0 || ::fcntl(session->fd(), F_SETFL, flags | O_NONBLOCK) != 0) {
      return io_error(path + ": setting up FUSE", errno);
    }
    return session;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    if (mounted_) {
      fuse_session_unmount(session_);
    }
    if (session_ != nullptr) {
      fuse_session_destroy(session_);
    }
    std::free(request_.mem);  // NOLINT(cppcoreguidelines-no-malloc): libfuse allocates it
  }

  int fd() const { return fuse_session_fd(session_); }

  // One request, if there is one. False once unmounted.
  Result<bool> serve_one() {
    const int got = fuse_session_receive_buf(session_, &request_);
    if (got == -EINTR || got == -EAGAIN) {
      return true;
    }
    if (got < 0) {
      return io_error("reading from FUSE", -got);
    }
    if (got > 0) {
      fuse_session_process_buf(session_, &request_);
    }
    return fuse_session_exited(session_) == 0;
  }

 private:
  explicit Session(fuse_session* session) : session_(session) {}
  fuse_session* session_;
  fuse_buf request_{};
  bool mounted_ = false;
};

Status serve_until_stopped(Session& session, const Server& server, const StopSignals& signals,
                           const std::function<void()>& ready) {
  bool announced = false;
  std::array<pollfd, 2> events = {{{session.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
  while (true) {
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
      return io_error("waiting for FUSE", errno);
    }
    if ((events[1].revents & POLLIN) != 0) {
      return Done{};
    }
    TRY(goes_on, session.serve_one());
    if (!goes_on) {
      return Done{};
    }
    if (!announced && server.initialised()) {
      announced = true;
      ready();
    }
  }
}

Status check_fuse() {
  const Descriptor fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (fuse) {
    return Done{};
  }
  return io_error("/dev/fuse (is the kernel's fuse module loaded?)", errno);
}

}  // namespace

Status serve_fuse(const Source& device, const ServeOptions& options, const std::function<void()>& ready) {
  TRY(available, check_fuse());
  const StopSignals signals;
  TRY(point, MountPoint::prepare(options.at));
  Server server(device);
  TRY(session, Session::mount(server, options, point.path()));
  return serve_until_stopped(*session, server, signals, ready);
}

}  // namespace mdtool
