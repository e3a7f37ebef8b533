// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/background.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "libraid/io/descriptor.h"

namespace mdtool {
namespace {

// What comes through the pipe: `ready_mark`, or an error's kind counted from `first_error`, each with its text.
constexpr char ready_mark = 'R';
constexpr char first_error = '0';
constexpr std::size_t most_text = 64U << 10;

void send(const Descriptor& pipe, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(pipe.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) {
      return;
    }
    done += n < 0 ? 0 : static_cast<std::size_t>(n);
  }
}

std::string receive(const Descriptor& pipe) {
  std::string text;
  std::array<char, 4096> part{};
  while (text.size() < most_text) {
    const ssize_t n = ::read(pipe.get(), part.data(), part.size());
    if (n == 0 || (n < 0 && errno != EINTR)) {
      break;
    }
    text.append(part.data(), n < 0 ? 0 : static_cast<std::size_t>(n));
  }
  return text;
}

// So that whoever waits for the end of our output does not wait for the server, and no file system is kept busy.
void let_go() {
  const Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::dup2(null.get(), standard);
  }
  static_cast<void>(::chdir("/"));
}

[[noreturn]] void run_server(const Serving& serve, Descriptor pipe) {
  const Status served = serve([&pipe](const std::string& message) {
    let_go();
    send(pipe, ready_mark + message);
    pipe.reset();
  });
  if (!served && pipe) {
    send(pipe, static_cast<char>(first_error + static_cast<int>(served.error().kind)) + served.error().text);
  }
  // Nothing of the process that was forked may be flushed or destroyed a second time.
  ::_exit(served ? 0 : 1);
}

}  // namespace

Result<std::string> serve_in_background(const Serving& serve) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return io_error("making a pipe", errno);
  }
  const Descriptor from(ends[0]);
  Descriptor to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) {
    return io_error("starting a process", errno);
  }
  if (child == 0) {
    ::setsid();
    // The server is nobody's child here, so that nobody has to wait for it.
    const pid_t server = ::fork();
    if (server != 0) {
      ::_exit(server < 0 ? 1 : 0);
    }
    run_server(serve, std::move(to));
  }
  to.reset();
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  const std::string answer = receive(from);
  if (answer.empty()) {
    return Error{ErrorKind::io, "the serving process ended before it could be used"};
  }
  if (answer.front() == ready_mark) {
    return answer.substr(1);
  }
  return Error{static_cast<ErrorKind>(answer.front() - first_error), answer.substr(1)};
}

}  // namespace mdtool
