// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/serve/fuse.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libraid/io/descriptor.h"
#include "libraid/io/faulty.h"
#include "libraid/io/in_use.h"
#include "libraid/io/memory.h"
#include "libraid/serve/background.h"
#include "libraid/serve/mount_table.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

constexpr std::size_t page = 4096;
using Tell = std::function<void(const std::string&)>;

// Needs a kernel with FUSE: the one thing that these tests cannot bring along.
class FuseTest : public testing::Test {
 protected:
  void SetUp() override {
    const Descriptor fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!fuse) {
      GTEST_SKIP() << "/dev/fuse cannot be opened here";
    }
  }
  void TearDown() override {
    if (mount()) {
      EXPECT_TRUE(stop_fuse(at_));
    }
  }

  Result<std::string> serve(const std::string& at) {
    return serve_in_background([&](const Tell& tell) {
      const ServeOptions options{.at = at, .name = "host:md0,weird \\ name"};
      return serve_fuse(Served::read_only(device_), options, [&](const Usable& usable) -> Result<Then> {
        tell(usable.path);
        return Then::serve_on;
      });
    });
  }
  std::optional<Mount> mount() const { return serve::topmost_mount(at_); }

  ScratchFolder scratch_;
  std::string at_ = scratch_.path("array with, blank");
  MemoryDevice memory_{pattern(3 * 1024 * 1024 + 1000)};
  FaultyDevice device_{memory_};
};

TEST_F(FuseTest, the_file_has_the_content_and_nothing_else) {
  const auto served = serve(at_);
  ASSERT_TRUE(served) << served.error().text;
  EXPECT_EQ(*served, at_);
  struct stat status {};
  ASSERT_EQ(::stat(at_.c_str(), &status), 0);
  EXPECT_TRUE(S_ISREG(status.st_mode));
  EXPECT_EQ(status.st_mode & 07777, 0400U);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), memory_.bytes().size());
  EXPECT_TRUE(file_bytes(at_) == memory_.bytes());
  ASSERT_TRUE(stop_fuse(at_));
  EXPECT_FALSE(mount());
  EXPECT_FALSE(std::filesystem::exists(at_));
}

TEST_F(FuseTest, large_reads_past_the_cache_and_reads_at_the_end) {
  ASSERT_TRUE(serve(at_));
  const Descriptor file(::open(at_.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  ASSERT_TRUE(file);
  std::vector<std::byte> out(2 * 1024 * 1024);
  ASSERT_EQ(::pread(file.get(), out.data(), out.size(), 1024 * 1024), static_cast<ssize_t>(out.size()));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), memory_.bytes().begin() + 1024 * 1024));
  EXPECT_EQ(::pread(file.get(), out.data(), page, 3 * 1024 * 1024), 1000);
  EXPECT_EQ(out[999], memory_.bytes().back());
  EXPECT_EQ(::pread(file.get(), out.data(), page, 4 * 1024 * 1024), 0);
}

TEST_F(FuseTest, cannot_be_written) {
  ASSERT_TRUE(serve(at_));
  EXPECT_LT(::open(at_.c_str(), O_RDWR | O_CLOEXEC), 0);
  EXPECT_NE(::truncate(at_.c_str(), 0), 0);
  EXPECT_TRUE(file_bytes(at_) == memory_.bytes());
}

TEST_F(FuseTest, a_bad_range_is_an_error_to_its_reader_only) {
  device_.add({.operation = Operation::read, .offset_bytes = 1024 * 1024, .length_bytes = page});
  ASSERT_TRUE(serve(at_));
  const Descriptor file(::open(at_.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<std::byte> out(page);
  errno = 0;
  EXPECT_LT(::pread(file.get(), out.data(), page, 1024 * 1024), 0);
  EXPECT_EQ(errno, EIO);
  ASSERT_EQ(::pread(file.get(), out.data(), page, 1024 * 1024 + page), static_cast<ssize_t>(page));
  EXPECT_EQ(out[0], memory_.bytes()[1024 * 1024 + page]);
  ASSERT_EQ(::pread(file.get(), out.data(), page, 0), static_cast<ssize_t>(page));
}

TEST_F(FuseTest, an_empty_file_is_taken_and_left) {
  write_file(at_, std::string());
  ASSERT_TRUE(serve(at_));
  EXPECT_TRUE(file_bytes(at_) == memory_.bytes());
  ASSERT_TRUE(stop_fuse(at_));
  EXPECT_TRUE(std::filesystem::exists(at_));
  EXPECT_TRUE(file_bytes(at_).empty());
}

TEST_F(FuseTest, what_is_in_the_way_is_not_hidden) {
  write_file(at_, std::string("precious"));
  const std::string missing = scratch_.path("no/folder");
  EXPECT_EQ(serve(at_).error().kind, ErrorKind::refused);
  EXPECT_EQ(serve(scratch_.path(".")).error().kind, ErrorKind::refused);
  const auto nowhere = serve(missing);
  ASSERT_FALSE(nowhere);
  EXPECT_NE(nowhere.error().text.find("No such file"), std::string::npos) << nowhere.error().text;
  EXPECT_EQ(file_bytes(at_).size(), 8U);
}

TEST_F(FuseTest, two_arrays_do_not_share_a_file) {
  ASSERT_TRUE(serve(at_));
  const auto second = serve(at_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::refused);
  EXPECT_TRUE(file_bytes(at_) == memory_.bytes());
}

TEST_F(FuseTest, a_busy_file_is_named_and_stays) {
  ASSERT_TRUE(serve(at_));
  const Descriptor reader(::open(at_.c_str(), O_RDONLY | O_CLOEXEC));
  const auto stopped = stop_fuse(at_);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::io);
  EXPECT_NE(stopped.error().text.find("process " + std::to_string(::getpid())), std::string::npos)
      << stopped.error().text;
  EXPECT_TRUE(mount());
}

TEST_F(FuseTest, stop_refuses_what_is_not_ours) {
  write_file(at_, std::string("x"));
  for (const std::string& path : {at_, std::string("/proc"), scratch_.path("missing")}) {
    const auto stopped = stop_fuse(path);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, ErrorKind::refused) << path << stopped.error().text;
  }
}

TEST_F(FuseTest, stop_finds_it_by_a_relative_path_and_by_a_link) {
  const auto before = std::filesystem::current_path();
  ASSERT_EQ(::symlink("array with, blank", scratch_.path("link").c_str()), 0);
  std::filesystem::current_path(scratch_.path("."));
  EXPECT_TRUE(serve("array with, blank"));
  EXPECT_TRUE(stop_fuse("./array with, blank"));
  write_file(at_, std::string());
  EXPECT_TRUE(serve(at_));
  EXPECT_TRUE(stop_fuse("link"));
  std::filesystem::current_path(before);
}

TEST_F(FuseTest, a_signal_ends_serving_in_order) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t server = ::fork();
  if (server == 0) {
    const Status served = serve_fuse(Served::read_only(device_), {.at = at_, .name = ""}, [&](const Usable&) {
      static_cast<void>(::write(pipe[1], "R", 1));
      return Result<Then>(Then::serve_on);
    });
    ::_exit(served ? 0 : 1);
  }
  char mark = 0;
  ASSERT_EQ(::read(pipe[0], &mark, 1), 1);
  EXPECT_TRUE(file_bytes(at_) == memory_.bytes());
  ASSERT_EQ(::kill(server, SIGTERM), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(server, &status, 0), server);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_FALSE(mount());
  EXPECT_FALSE(std::filesystem::exists(at_));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(FuseTest, the_mount_of_a_killed_server_can_be_stopped) {
  ASSERT_TRUE(serve(at_));
  const auto server = serve::server_of(mount()->source);
  ASSERT_TRUE(server);
  ASSERT_EQ(::kill(*server, SIGKILL), 0);
  const auto again = serve(at_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::refused);
  const auto stopped = stop_fuse(at_);
  EXPECT_TRUE(stopped) << stopped.error().text;
  EXPECT_FALSE(mount());
}

TEST(Background, an_error_comes_back_whole) {
  const auto status = serve_in_background([](const Tell&) -> Status {
    return Error{ErrorKind::out_of_range, std::string(5000, 'x') + "\nsecond line"};
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(status.error().text, std::string(5000, 'x') + "\nsecond line");
}

TEST(Background, a_server_that_dies_is_an_error) {
  EXPECT_FALSE(serve_in_background([](const Tell&) -> Status { ::_exit(0); }));
  EXPECT_FALSE(serve_in_background([](const Tell&) -> Status { return Done{}; }));
}

TEST(Background, after_ready_our_output_is_not_held_open) {
  std::array<int, 2> pipe{}, release{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  ASSERT_EQ(::pipe2(release.data(), O_CLOEXEC), 0);
  const int saved = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  ASSERT_EQ(::dup2(pipe[1], STDOUT_FILENO), STDOUT_FILENO);
  ::close(pipe[1]);
  const auto status = serve_in_background([&](const Tell& ready) -> Status {
    ready("message\nof two lines");
    ::close(release[1]);
    char unused = 0;
    static_cast<void>(::read(release[0], &unused, 1));
    return Done{};
  });
  ASSERT_EQ(::dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
  ::close(saved);
  ASSERT_TRUE(status);
  EXPECT_EQ(*status, "message\nof two lines");
  char unused = 0;
  EXPECT_EQ(::read(pipe[0], &unused, 1), 0);  // would wait for ever if the server held the other end
  ::close(pipe[0]);
  ::close(release[0]);
  ::close(release[1]);
}

TEST(MountSource, carries_the_process_and_harmless_characters) {
  EXPECT_EQ(serve::mount_source(17, "host:md 0,\\\x1b\xff"), "mdtool-17:host_md_0____");
  EXPECT_EQ(serve::server_of("mdtool-17:host"), 17);
  EXPECT_EQ(serve::server_of("mdtool-17"), 17);
  EXPECT_EQ(serve::server_of(serve::mount_source(5, std::string(500, 'x'))), 5);
  for (const char* wrong : {"", "mdtool-", "mdtool-x", "mdtool-0:a", "mdtool--1", "mdtool-17x", "sshfs-17:a"}) {
    EXPECT_EQ(serve::server_of(wrong), std::nullopt) << wrong;
  }
}

}  // namespace
}  // namespace mdtool
