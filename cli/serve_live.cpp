// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/serve_live.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "cli/output_text.h"
#include "libraid/serve/heartbeat.h"

namespace mdtool::cli {

namespace {

// Nobody wakes the heartbeat when a write comes: so long a write may wait for its clean mark, beside md's own delay.
constexpr Ticks longest_rest{250};
constexpr Ticks rest_after_failure{1000};

// What has to be said about a running array, each thing once.
class Watch {
 public:
  Watch(LiveArray& array, const Log& log) : array_(array), log_(log) {}

  Ticks beat() {
    const Result<Ticks> next = array_.maintain();
    say_failures();
    if (next) {
      trouble_.clear();
      return std::min(*next, longest_rest);
    }
    if (next.error().text != trouble_) {
      trouble_ = next.error().text;
      log_.say(trouble_);
    }
    return rest_after_failure;
  }

  void say_failures() {
    const LiveCondition now = array_.condition();
    for (; failures_ < now.failures.size(); ++failures_) {
      const LiveMembers::Failure& failure = now.failures[failures_];
      log_.say("slot " + std::to_string(failure.slot) + " failed and was taken out: " + failure.why.text);
    }
    if (now.failed && !failed_) {
      failed_ = true;
      log_.say("too few members are left: the array can only be read now, as far as it is there");
    }
  }

 private:
  LiveArray& array_;
  const Log& log_;
  std::size_t failures_ = 0;
  bool failed_ = false;
  std::string trouble_;
};

ServerEnd end_of(const LiveCondition& left, const Status& served, const Status& stopped) {
  if (!stopped || !served) {
    return {Left::not_in_order, (stopped ? served : stopped).error().text};
  }
  const std::string text =
      std::string("stopped") + (left.degraded ? ", degraded" : "") + (left.due ? ", with parity still due" : "");
  if (left.failures.empty()) {
    return {Left::in_order, text};
  }
  const LiveMembers::Failure& last = left.failures.back();
  return {Left::with_losses, text + "; members that failed: " + std::to_string(left.failures.size()) +
                                 ", the last in slot " + std::to_string(last.slot) + ": " + last.why.text};
}

}  // namespace

Result<Log> Log::to_stderr() {
  Descriptor fd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  return fd ? Result<Log>(Log(std::move(fd))) : io_error("standard error", errno);
}

Result<Log> Log::to_file(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  return fd ? Result<Log>(Log(std::move(fd))) : io_error(path, errno);
}

void Log::say(const std::string& text) const {
  const std::string line =
      utc_time(static_cast<std::uint64_t>(std::time(nullptr))) + " mdtool: " + printable(text, Charset::ascii) + "\n";
  // A log that is full is no reason to stop an array.
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), line.data(), line.size());
}

Status serve_live(LiveArray& array, const ServeOptions& options, const Ready& ready, const Log& log) {
  const LastWords words;
  Watch watch(array, log);
  Status served = Done{};
  bool was_usable = false;
  {
    const Heartbeat heartbeat([&watch] { return watch.beat(); });
    served = serve_fuse(Served::read_write(array), options, [&](const Usable& usable) {
      was_usable = true;
      return ready(usable);
    });
  }
  Status stopped = array.stop();
  watch.say_failures();
  if (was_usable) {
    const ServerEnd end = end_of(array.condition(), served, stopped);
    log.say(end.left == Left::not_in_order ? "stopped, but not in order: " + end.text : end.text);
    words.say(end);
  }
  return served ? std::move(stopped) : std::move(served);
}

}  // namespace mdtool::cli
