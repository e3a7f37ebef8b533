// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <array>

#include "libraid/serve/loop.h"
#include "libraid/serve/loop_setup.h"
#include "libraid/serve/run_command.h"
#include "tests/raid/serving.h"

namespace mdtool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Needs root and a kernel with loop devices.
bool has_loops() {
  return ::geteuid() == 0 && Descriptor(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
}

class ServeLoopTest : public ServingTest {
 protected:
  void SetUp() override {
    if (!has_loops()) {
      GTEST_SKIP() << "no loop device can be made here";
    }
    ServingTest::SetUp();
  }
  void TearDown() override {
    ServingTest::TearDown();
    EXPECT_TRUE(loops_backed_by(at_).empty());
  }
  void serve_with_loop(Access access = Access::read_write, std::uint32_t block_bytes = 512) {
    ServeOptions options;
    options.loop = LoopOptions{.access = access, .block_bytes = block_bytes};
    serve(access == Access::read_only ? Served::read_only(device_) : Served::read_write(device_), options);
    ASSERT_TRUE(loop_.starts_with("/dev/loop")) << loop_;
  }
};

TEST_F(ServeLoopTest, is_a_block_device_of_the_content) {
  serve_with_loop();
  EXPECT_EQ(loops_backed_by(at_), std::vector<std::string>{loop_});
  const Descriptor loop(::open(loop_.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(loop);
  std::uint64_t size = 0;
  ASSERT_EQ(::ioctl(loop.get(), BLKGETSIZE64, &size), 0);
  EXPECT_EQ(size, device_.size_bytes());
  std::vector<std::byte> bytes(2 * mebibyte);
  ASSERT_EQ(::pread(loop.get(), bytes.data(), bytes.size(), mebibyte), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(std::memcmp(bytes.data(), device_.bytes().data() + mebibyte, bytes.size()), 0);

  const auto written = pattern(bytes.size(), 12);
  const std::uint64_t flushes = device_.counters().flushes;
  ASSERT_EQ(::pwrite(loop.get(), written.data(), written.size(), 4096), static_cast<ssize_t>(written.size()));
  ASSERT_EQ(::fsync(loop.get()), 0);
  EXPECT_GT(device_.counters().flushes, flushes);
  EXPECT_EQ(std::memcmp(written.data(), device_.bytes().data() + 4096, written.size()), 0);

  std::array<std::uint64_t, 2> hole = {mebibyte, mebibyte};
  ASSERT_EQ(::ioctl(loop.get(), BLKDISCARD, hole.data()), 0) << std::strerror(errno);
  EXPECT_EQ(device_.counters().zeroes, 1U);
  EXPECT_EQ(device_.bytes()[mebibyte + 5], std::byte{0});
}

TEST_F(ServeLoopTest, read_only_and_with_larger_blocks) {
  serve_with_loop(Access::read_only, 4096);
  const Descriptor loop(::open(loop_.c_str(), O_RDONLY | O_CLOEXEC));
  int block_bytes = 0, read_only = 0;
  ASSERT_EQ(::ioctl(loop.get(), BLKSSZGET, &block_bytes), 0);
  ASSERT_EQ(::ioctl(loop.get(), BLKROGET, &read_only), 0);
  EXPECT_EQ(block_bytes, 4096);
  EXPECT_NE(read_only, 0);
}

TEST_F(ServeLoopTest, stop_detaches_it) {
  serve_with_loop();
  const auto stopped = stop_fuse(at_);
  ASSERT_TRUE(stopped) << stopped.error().text;
  EXPECT_EQ(stopped->loops, std::vector<std::string>{loop_});
  EXPECT_EQ(server_end(), 0);
}

TEST_F(ServeLoopTest, a_signal_detaches_it) {
  serve_with_loop();
  ASSERT_EQ(::kill(server_, SIGTERM), 0);
  EXPECT_EQ(server_end(), 0);
  EXPECT_TRUE(loops_backed_by(at_).empty());
  EXPECT_FALSE(serve::topmost_mount(at_));
}

TEST_F(ServeLoopTest, one_that_is_open_is_refused_and_stays) {
  serve_with_loop();
  Descriptor loop(::open(loop_.c_str(), O_RDONLY | O_CLOEXEC));
  const auto stopped = stop_fuse(at_);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::refused);
  EXPECT_NE(stopped.error().text.find("process " + std::to_string(::getpid())), std::string::npos)
      << stopped.error().text;
  EXPECT_TRUE(serve::topmost_mount(at_));
  loop.reset();
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(loops_backed_by(at_), std::vector<std::string>{loop_}) << "it must not vanish later";
  EXPECT_TRUE(stop_fuse(at_));
}

TEST_F(ServeLoopTest, one_that_is_held_is_served_until_released) {
  serve_with_loop();
  Descriptor holder(::open(loop_.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  const auto stopped = stop_fuse(at_);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::refused);
  ASSERT_EQ(::kill(server_, SIGTERM), 0);
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_FALSE(has_ended());
  std::array<std::byte, 4096> page{};
  EXPECT_EQ(::pread(holder.get(), page.data(), page.size(), 3 * mebibyte), 4096);
  EXPECT_EQ(std::memcmp(page.data(), device_.bytes().data() + 3 * mebibyte, page.size()), 0);
  holder.reset();
  EXPECT_EQ(server_end(), 0);
}

TEST_F(ServeLoopTest, forced_it_goes_with_its_last_user) {
  serve_with_loop();
  Descriptor loop(::open(loop_.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  std::thread reaper([this] { EXPECT_EQ(server_end(), 0); });
  EXPECT_TRUE(stop_fuse(at_, Force::yes));
  reaper.join();
  EXPECT_GE(device_.counters().flushes, 1U);
  loop.reset();
  EXPECT_TRUE(within(seconds(5), [this] { return loops_backed_by(at_).empty(); }));
}

// A file system, if the machine can make one: written through it, found in the device.
TEST_F(ServeLoopTest, a_mounted_file_system_is_refused_by_its_mount_point) {
  serve_with_loop();
  const Result<int> made = run_command("mkfs.ext4 -q -F \"$MDTOOL_ARRAY\" >/dev/null 2>&1", loop_);
  ASSERT_TRUE(made);
  const std::string mount_point = scratch_.path("mnt");
  std::filesystem::create_directory(mount_point);
  if (*made != 0 || ::mount(loop_.c_str(), mount_point.c_str(), "ext4", 0, nullptr) != 0) {
    GTEST_SKIP() << "ext4 cannot be made and mounted here";
  }
  const auto bytes = pattern(mebibyte, 77);
  write_file(mount_point + "/file", bytes);
  const auto stopped = stop_fuse(at_);
  ASSERT_EQ(::umount(mount_point.c_str()), 0);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::refused);
  EXPECT_NE(stopped.error().text.find("mounted on " + mount_point), std::string::npos) << stopped.error().text;
  const auto content = device_.bytes();
  EXPECT_NE(std::search(content.begin(), content.end(), bytes.begin(), bytes.begin() + 512), content.end());
}

TEST(Loop, both_ways_to_set_one_up_are_the_same) {
  if (!has_loops()) {
    GTEST_SKIP() << "no loop device can be made here";
  }
  const ScratchFolder scratch;
  const std::string path = scratch.path("file");
  write_file(path, pattern(mebibyte));
  const auto first = attach_loop(path, {.access = Access::read_write, .block_bytes = 4096});
  ASSERT_TRUE(first) << first.error().text;
  loop_info64 at_once{}, in_steps{};
  {
    const Descriptor loop(::open(first->c_str(), O_RDWR | O_CLOEXEC));
    const Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::ioctl(loop.get(), LOOP_GET_STATUS64, &at_once), 0);
    ASSERT_EQ(serve::configure_in_steps(loop, file, path, {}), EBUSY);
    ASSERT_EQ(::ioctl(loop.get(), LOOP_CLR_FD, 0), 0);
  }
  ASSERT_TRUE(within(seconds(5), [&] { return loops_backed_by(path).empty(); }));
  const Descriptor loop(::open(first->c_str(), O_RDWR | O_CLOEXEC));
  const Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(serve::configure_in_steps(loop, file, path, {.access = Access::read_write, .block_bytes = 4096}), 0);
  ASSERT_EQ(::ioctl(loop.get(), LOOP_GET_STATUS64, &in_steps), 0);
  EXPECT_EQ(std::memcmp(&at_once, &in_steps, sizeof at_once), 0);
  int block_bytes = 0;
  ASSERT_EQ(::ioctl(loop.get(), BLKSSZGET, &block_bytes), 0);
  EXPECT_EQ(block_bytes, 4096);
  ASSERT_EQ(::ioctl(loop.get(), LOOP_CLR_FD, 0), 0);
}

TEST(Loop, many_who_look_for_a_free_one_all_find_one) {
  if (!has_loops()) {
    GTEST_SKIP() << "no loop device can be made here";
  }
  const ScratchFolder scratch;
  constexpr std::size_t count = 6;
  std::array<std::string, count> loops;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      const std::string path = scratch.path(std::to_string(i));
      write_file(path, pattern(mebibyte));
      const auto loop = attach_loop(path, {});
      loops[i] = loop ? *loop : loop.error().text;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(loops_backed_by(scratch.path(std::to_string(i))), std::vector<std::string>{loops[i]});
    EXPECT_TRUE(detach_loop(loops[i], scratch.path(std::to_string(i))));
  }
}

TEST(Loop, what_is_attached_to_another_file_is_left_alone) {
  if (!has_loops()) {
    GTEST_SKIP() << "no loop device can be made here";
  }
  const ScratchFolder scratch;
  const std::string path = scratch.path("file");
  write_file(path, pattern(mebibyte));
  const auto loop = attach_loop(path, {});
  ASSERT_TRUE(loop);
  EXPECT_TRUE(detach_loop(*loop, scratch.path("other")));
  EXPECT_TRUE(detach_loop(*loop, scratch.path("other"), Force::yes));
  EXPECT_EQ(loops_backed_by(path).size(), 1U);
  EXPECT_TRUE(detach_loop(*loop, path));
  EXPECT_TRUE(loops_backed_by(path).empty());
}

TEST(Loop, a_file_that_is_not_there_is_an_error) {
  const auto loop = attach_loop("/no/such/file", {});
  ASSERT_FALSE(loop);
  EXPECT_NE(loop.error().text.find("/no/such/file"), std::string::npos);
}

}  // namespace
}  // namespace mdtool
