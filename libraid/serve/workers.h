// SPDX-License-Identifier: GPL-2.0-or-later
// The threads that answer the requests of a session. Knows nothing of what a request is. Private to serve.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "libraid/io/descriptor.h"
#include "libraid/serve/session.h"

namespace mdtool::serve {

class Workers {
 public:
  // The threads take the signal mask of the caller. The session outlives them.
  static Result<std::unique_ptr<Workers>> start(const Session& session, unsigned count);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() { static_cast<void>(finish()); }

  // Readable (POLLIN) once the session ended, or a thread failed.
  int ended_fd() const { return ended_.get(); }
  // Takes no new request, and returns when those in flight were answered; the first error of a thread, if any.
  Status finish();

 private:
  explicit Workers(const Session& session) : session_(session) {}
  Result<Descriptor> make_queue() const;
  void run(const RequestBuffer& buffer, const Descriptor& queue);
  Status serve(const RequestBuffer& buffer, const Descriptor& queue) const;

  const Session& session_;
  Descriptor ended_, stop_;
  std::atomic<bool> stopping_ = false;
  std::vector<RequestBuffer> buffers_;
  std::vector<Descriptor> queues_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  Status first_failure_ = Done{};
};

}  // namespace mdtool::serve
