// SPDX-License-Identifier: GPL-2.0-or-later
// A device that is served in a process of its own, and watched from the test: its bytes and counts are in shared
// memory.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "libraid/io/block_device.h"
#include "libraid/io/descriptor.h"
#include "libraid/io/in_use.h"
#include "libraid/serve/background.h"
#include "libraid/serve/fuse.h"
#include "libraid/serve/mount_table.h"
#include "tests/raid/scratch.h"

namespace mdtool {

constexpr std::uint64_t mebibyte = 1U << 20;

// What the server's device tells and is told, across fork().
struct Counters {
  std::atomic<std::uint64_t> writes = 0, flushes = 0, zeroes = 0, partial = 0, in_flight = 0, most_in_flight = 0;
  std::atomic<std::uint64_t> fails_from = std::numeric_limits<std::uint64_t>::max();  // byte offset
  std::atomic<int> fails_as = static_cast<int>(ErrorKind::io);
  std::atomic<unsigned> write_milliseconds = 0;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// As strict as an array: whole sectors only. Two writes at once to one sector are the fault of the one who sends them.
class SharedDevice final : public BlockDevice {
 public:
  explicit SharedDevice(std::uint64_t size_bytes)
      : size_(size_bytes), bytes_(map(size_bytes)), counters_(new (map(sizeof(Counters))) Counters) {}
  SharedDevice(const SharedDevice&) = delete;
  SharedDevice& operator=(const SharedDevice&) = delete;
  ~SharedDevice() override {
    ::munmap(bytes_, size_);
    ::munmap(counters_, sizeof(Counters));
  }

  Counters& counters() const { return *counters_; }
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(bytes_), static_cast<std::size_t>(size_)}; }

  std::uint64_t size_bytes() const override { return size_; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    TRY(fine, fail(offset_bytes + out.size(), "reading"));
    std::memcpy(out.data(), bytes().data() + offset_bytes, out.size());
    return Done{};
  }
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override {
    count_in();
    const bool aligned = offset_bytes % 512 == 0 && (in.size() % 512 == 0 || offset_bytes + in.size() == size_);
    counters_->partial += aligned ? 0U : 1U;
    std::this_thread::sleep_for(std::chrono::milliseconds(counters_->write_milliseconds));
    const Status fine = fail(offset_bytes + in.size(), "writing");
    if (fine) {
      std::memcpy(bytes().data() + offset_bytes, in.data(), in.size());
    }
    ++counters_->writes;
    --counters_->in_flight;
    return fine;
  }
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    ++counters_->zeroes;
    counters_->partial += offset_bytes % 512 == 0 && length_bytes % 512 == 0 ? 0U : 1U;
    std::memset(bytes().data() + offset_bytes, 0, length_bytes);
    return Done{};
  }
  Status flush() override {
    ++counters_->flushes;
    return fail(size_, "flushing");
  }

 private:
  static void* map(std::uint64_t length_bytes) {
    void* memory = ::mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      std::abort();
    }
    return memory;
  }
  Status fail(std::uint64_t end_bytes, const char* doing) const {
    if (end_bytes <= counters_->fails_from) {
      return Done{};
    }
    return Error{static_cast<ErrorKind>(counters_->fails_as.load()), doing};
  }
  void count_in() {
    const std::uint64_t now = ++counters_->in_flight;
    std::uint64_t most = counters_->most_in_flight;
    while (most < now && !counters_->most_in_flight.compare_exchange_weak(most, now)) {
    }
  }

  std::uint64_t size_;
  void* bytes_;
  Counters* counters_;
};

// Needs a kernel with FUSE: the one thing that these tests cannot bring along.
class ServingTest : public testing::Test {
 protected:
  void SetUp() override {
    const Descriptor fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!fuse) {
      GTEST_SKIP() << "/dev/fuse cannot be opened here";
    }
    const auto bytes = pattern(device_.size_bytes());
    std::memcpy(device_.bytes().data(), bytes.data(), bytes.size());
  }
  void TearDown() override {
    if (serve::topmost_mount(at_)) {
      const auto stopped = stop_fuse(at_, Force::yes);
      EXPECT_TRUE(stopped) << stopped.error().text;
    }
    if (server_ > 0) {
      EXPECT_EQ(server_end(), 0);
    }
  }

  // In a child of the test's process, as `--foreground`; returns when it is usable.
  void serve(const Served& what, ServeOptions options = {}) {
    options.at = at_;
    serve_with(what, options, [](const Usable&) { return Then::serve_on; });
  }
  void serve_writable() { serve(Served::read_write(device_)); }

  void serve_with(const Served& what, const ServeOptions& options, const Ready& ready) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe(pipe.data()), 0);
    server_ = ::fork();
    if (server_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(pipe[0]);
      const Status served = serve_fuse(what, options, [&](const Usable& usable) {
        const std::string loop = usable.loop.value_or("-");
        static_cast<void>(::write(pipe[1], loop.data(), loop.size()));
        ::close(pipe[1]);
        return ready(usable);
      });
      ::_exit(served ? 0 : 1);
    }
    ::close(pipe[1]);
    std::array<char, 64> text{};
    const ssize_t got = ::read(pipe[0], text.data(), text.size());
    ::close(pipe[0]);
    ASSERT_GT(got, 0) << "the server ended before it was usable";
    loop_ = std::string(text.data(), static_cast<std::size_t>(got));
  }

  // Its exit status; -1 if a signal ended it.
  int server_end() {
    int status = 0;
    while (::waitpid(server_, &status, 0) < 0 && errno == EINTR) {
    }
    server_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  bool has_ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(server_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
  }

  Descriptor open(int flags) const { return Descriptor(::open(at_.c_str(), flags | O_CLOEXEC, 0600)); }

  ScratchFolder scratch_;
  std::string at_ = scratch_.path("array");
  SharedDevice device_{8 * mebibyte};
  std::string loop_;
  pid_t server_ = 0;
};

inline bool within(std::chrono::milliseconds patience, const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace mdtool
