// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/run_command.h"

#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <thread>
#include <vector>

#include "libraid/serve/memory_pressure.h"
#include "libraid/serve/stop_signals.h"

namespace mdtool {
namespace {

constexpr int killed_by = 128;  // as the shell counts: plus the signal
constexpr const char* variable = "MDTOOL_ARRAY=";

std::vector<std::string> environment_with(const std::string& array) {
  std::vector<std::string> lines = {variable + array};
  for (char** line = environ; *line != nullptr; ++line) {
    if (!std::string_view(*line).starts_with(variable)) {
      lines.emplace_back(*line);
    }
  }
  return lines;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// What mdtool does with signals is its own affair: the command starts as from a shell.
class ShellAttributes {
 public:
  ShellAttributes() {
    sigset_t mask, defaults;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      ::sigdelset(&mask, signal);
    }
    ::sigemptyset(&defaults);
    ::sigaddset(&defaults, SIGPIPE);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    ::posix_spawnattr_setsigmask(&attributes_, &mask);
    ::posix_spawnattr_setsigdefault(&attributes_, &defaults);
  }
  ShellAttributes(const ShellAttributes&) = delete;
  ShellAttributes& operator=(const ShellAttributes&) = delete;
  ~ShellAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

Result<pid_t> start_shell(const std::string& command, const std::string& array) {
  std::vector<std::string> words = {"/bin/sh", "-c", command};
  std::vector<std::string> environment = environment_with(array);
  const ShellAttributes attributes;
  const serve::OrdinaryThread ordinary;
  pid_t shell = 0;
  const int cause = ::posix_spawn(&shell, words[0].c_str(), nullptr, attributes.get(), pointers_to(words).data(),
                                  pointers_to(environment).data());
  if (cause != 0) {
    return io_error("starting /bin/sh", cause);
  }
  return shell;
}

// A descriptor that becomes readable when the process ends; it is left to be waited for.
class EndOf {
 public:
  explicit EndOf(pid_t process)
      : event_(::eventfd(0, EFD_CLOEXEC)), thread_([process, fd = event_.get()] {
          siginfo_t ended{};
          while (::waitid(P_PID, static_cast<id_t>(process), &ended, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
          }
          constexpr std::uint64_t one = 1;
          static_cast<void>(::write(fd, &one, sizeof one));
        }) {}
  EndOf(const EndOf&) = delete;
  EndOf& operator=(const EndOf&) = delete;
  ~EndOf() { thread_.join(); }
  int fd() const { return event_.get(); }

 private:
  Descriptor event_;
  std::thread thread_;
};

void forward_until_end(const serve::StopSignals& signals, pid_t shell) {
  const EndOf end(shell);
  std::array<pollfd, 2> events = {{{end.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
  while (true) {
    if (::poll(events.data(), events.size(), -1) < 0) {
      continue;
    }
    if ((events[0].revents & POLLIN) != 0) {
      return;
    }
    const auto signal = signals.take();
    if (signal && signal->ssi_code != SI_KERNEL) {
      ::kill(shell, static_cast<int>(signal->ssi_signo));
    }
  }
}

}  // namespace

Result<int> run_command(const std::string& command, const std::string& array) {
  const serve::StopSignals signals;
  TRY(shell, start_shell(command, array));
  forward_until_end(signals, shell);
  int status = 0;
  if (::waitpid(shell, &status, 0) < 0) {
    return io_error("waiting for /bin/sh", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : killed_by + WTERMSIG(status);
}

}  // namespace mdtool
