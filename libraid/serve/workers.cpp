// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/workers.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace mdtool::serve {
namespace {

Result<Descriptor> make_event() {
  Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) {
    return io_error("making an eventfd", errno);
  }
  return event;
}

void raise(const Descriptor& event) {
  constexpr std::uint64_t one = 1;
  static_cast<void>(::write(event.get(), &one, sizeof one));
}

bool add(const Descriptor& queue, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  return ::epoll_ctl(queue.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

// Memory that is locked as it is touched: the stack is, before a request depends on it.
void touch_stack() {
  constexpr std::size_t deep_enough = 128U << 10;
  std::array<volatile char, deep_enough> stack;
  for (std::size_t i = 0; i < deep_enough; i += page_bytes) {
    stack[i] = 0;
  }
}

}  // namespace

Result<std::unique_ptr<Workers>> Workers::start(const Session& session, unsigned count) {
  std::unique_ptr<Workers> workers(new Workers(session));
  TRY(ended, make_event());
  workers->ended_ = std::move(ended);
  TRY(stop, make_event());
  workers->stop_ = std::move(stop);
  workers->buffers_ = std::vector<RequestBuffer>(count);
  for (unsigned i = 0; i < count; ++i) {
    TRY(queue, workers->make_queue());
    workers->queues_.push_back(std::move(queue));
  }
  for (unsigned i = 0; i < count; ++i) {
    workers->threads_.emplace_back([all = workers.get(), &buffer = workers->buffers_[i], &queue = workers->queues_[i]] {
      all->run(buffer, queue);
    });
  }
  return workers;
}

// EPOLLEXCLUSIVE: a request wakes one thread, not all of them.
Result<Descriptor> Workers::make_queue() const {
  Descriptor queue(::epoll_create1(EPOLL_CLOEXEC));
  if (!queue || !add(queue, session_.fd(), EPOLLIN | EPOLLEXCLUSIVE) || !add(queue, stop_.get(), EPOLLIN)) {
    return io_error("waiting for FUSE", errno);
  }
  return queue;
}

Status Workers::finish() {
  stopping_ = true;
  raise(stop_);
  for (std::thread& thread : threads_) {
    if (thread.joinable()) {
      thread.join();
    }
  }
  return first_failure_;
}

void Workers::run(const RequestBuffer& buffer, const Descriptor& queue) {
  touch_stack();
  Status served = serve(buffer, queue);
  if (!served) {
    const std::lock_guard lock(mutex_);
    if (first_failure_) {
      first_failure_ = std::move(served);
    }
  }
  raise(ended_);
}

Status Workers::serve(const RequestBuffer& buffer, const Descriptor& queue) const {
  while (!stopping_) {
    TRY(got, session_.serve_one(buffer));
    if (got == Session::Got::end) {
      return Done{};
    }
    epoll_event event{};
    if (got == Session::Got::nothing && ::epoll_wait(queue.get(), &event, 1, -1) < 0 && errno != EINTR) {
      return io_error("waiting for FUSE", errno);
    }
  }
  return Done{};
}

}  // namespace mdtool::serve
