// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/fuse.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "libraid/serve/fuse_file.h"
#include "libraid/serve/memory_pressure.h"
#include "libraid/serve/mount_point.h"
#include "libraid/serve/session.h"
#include "libraid/serve/stop_signals.h"
#include "libraid/serve/unmount.h"
#include "libraid/serve/workers.h"

namespace mdtool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds for_ever{-1};  // poll()'s
constexpr milliseconds shortest_wait{10};
constexpr milliseconds longest_wait{1000};
// The kernel and udev hold the file a little longer than its users: nothing to speak of.
constexpr milliseconds untold{1000};

struct Event {
  bool ended = false;
  std::optional<int> signal;
};

Result<Event> wait_for(int session_end, const serve::StopSignals& signals, milliseconds how_long) {
  std::array<pollfd, 2> events = {{{session_end, POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
  if (::poll(events.data(), events.size(), static_cast<int>(how_long.count())) < 0 && errno != EINTR) {
    return io_error("waiting for FUSE", errno);
  }
  Event event;
  event.ended = (events[0].revents & POLLIN) != 0;
  if ((events[1].revents & POLLIN) != 0) {
    const auto taken = signals.take();
    event.signal = taken ? std::optional(static_cast<int>(taken->ssi_signo)) : std::nullopt;
  }
  return event;
}

// The kernel's first request, alone: what the others may be depends on it.
Status initialise(const serve::Session& session, const serve::FuseFile& file, const serve::StopSignals& signals) {
  const serve::RequestBuffer buffer;
  while (!file.initialised()) {
    std::array<pollfd, 2> events = {{{session.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
      return io_error("waiting for FUSE", errno);
    }
    TRY(got, session.serve_one(buffer));
    if (got == serve::Session::Got::end || (events[1].revents & POLLIN) != 0) {
      return Error{ErrorKind::interrupted, session.path() + ": stopped before it could be used"};
    }
  }
  return Done{};
}

// From the first request that any thread may answer to the last.
class Serving {
 public:
  Serving(const serve::FuseFile& file, const serve::Session& session, serve::Workers& workers,
          const serve::StopSignals& signals, const ServeOptions& options)
      : file_(file), session_(session), workers_(workers), signals_(signals), options_(options) {}

  Status run(const Ready& ready, std::vector<std::string> warnings) {
    const auto then = be_ready(ready, std::move(warnings));
    if (!then) {
      return give_up(then.error());
    }
    if (*then == Then::serve_on) {
      TRY(event, wait_for(workers_.ended_fd(), signals_, for_ever));
      if (event.ended) {
        return end();
      }
    }
    return leave_when_unused();
  }

 private:
  Result<Then> be_ready(const Ready& ready, std::vector<std::string> warnings) {
    // The kernel asks for the size when a file is read, but not when it is mapped.
    struct stat unused {};
    if (::stat(session_.path().c_str(), &unused) != 0) {
      return io_error(session_.path(), errno);
    }
    Usable usable{.path = session_.path(), .loop = {}, .partitions = {}, .warnings = std::move(warnings)};
    if (options_.loop) {
      TRY(loop, attach_loop(session_.path(), *options_.loop));
      loop_ = loop;
      usable.loop = loop;
      usable.partitions = loop_partitions(loop);
    }
    return ready(usable);
  }

  Status give_up(const Error& cause) {
    static_cast<void>(leave());
    static_cast<void>(end());
    return cause;
  }

  // What nobody uses is unmounted; else the error says who does.
  Status leave() {
    if (loop_) {
      TRY(detached, detach_loop(*loop_, session_.path()));
      loop_.reset();
    }
    const serve::Session::Place place = session_.place();
    if (file_.is_open() || place == serve::Session::Place::covered) {
      return serve::busy(session_.path());
    }
    if (place == serve::Session::Place::nowhere) {
      return Done{};
    }
    TRY(unmounted, serve::unmount(session_.path(), Force::no));
    return unmounted == serve::Unmounted::yes ? Status(Done{}) : serve::busy(session_.path());
  }

  // Whoever uses it still is cut off.
  Status end() {
    if (loop_) {
      static_cast<void>(detach_loop(*loop_, session_.path(), Force::yes));
    }
    return workers_.finish();
  }

  void tell(const Error& used, Clock::time_point since) {
    if (!told_ && options_.still_used && Clock::now() - since >= untold) {
      told_ = true;
      options_.still_used(used.text);
    }
  }

  Status leave_when_unused() {
    const auto since = Clock::now();
    for (milliseconds pause = shortest_wait;; pause = std::min(2 * pause, longest_wait)) {
      const Status left = leave();
      if (left) {
        return end();
      }
      tell(left.error(), since);
      TRY(event, wait_for(workers_.ended_fd(), signals_, pause));
      if (event.ended || event.signal == SIGINT || event.signal == SIGTERM) {
        return end();
      }
    }
  }

  const serve::FuseFile& file_;
  const serve::Session& session_;
  serve::Workers& workers_;
  const serve::StopSignals& signals_;
  const ServeOptions& options_;
  std::optional<std::string> loop_;
  bool told_ = false;
};

Status check_fuse() {
  const Descriptor fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (fuse) {
    return Done{};
  }
  return io_error("/dev/fuse (is the kernel's fuse module loaded?)", errno);
}

Status serve_mounted(const Served& what, const ServeOptions& options, const Ready& ready,
                     const serve::StopSignals& signals) {
  TRY(point, serve::MountPoint::prepare(options.at));
  std::vector<std::string> warnings;
  if (what.device() != nullptr) {
    warnings = serve::resist_memory_pressure();
  }
  const unsigned count = std::max(1U, options.workers);
  serve::FuseFile file(what, count);
  TRY(session, serve::Session::mount(file, options.name, point.path()));
  TRY(initialised, initialise(*session, file, signals));
  TRY(workers, serve::Workers::start(*session, count));
  const Status served = Serving(file, *session, *workers, signals, options).run(ready, std::move(warnings));
  const Status flushed = what.device() != nullptr ? what.device()->flush() : Status(Done{});
  return served ? flushed : served;
}

}  // namespace

Status serve_fuse(const Served& what, const ServeOptions& options, const Ready& ready) {
  TRY(available, check_fuse());
  const serve::StopSignals signals;
  return serve_mounted(what, options, ready, signals);
}

}  // namespace mdtool
