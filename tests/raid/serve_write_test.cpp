// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/falloc.h>
#include <sys/statvfs.h>

#include <array>
#include <random>

#include "tests/raid/serving.h"

namespace mdtool {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ServeWriteTest = ServingTest;

bool put(const Descriptor& file, std::span<const std::byte> bytes, std::uint64_t at) {
  return ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(bytes.size());
}

std::vector<std::byte> get(const Descriptor& file, std::size_t length, std::uint64_t at) {
  std::vector<std::byte> bytes(length);
  const ssize_t got = ::pread(file.get(), bytes.data(), length, static_cast<off_t>(at));
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

TEST_F(ServeWriteTest, is_a_file_of_its_owner_with_a_fixed_size) {
  serve_writable();
  struct stat status {};
  ASSERT_EQ(::stat(at_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 0600U);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), device_.size_bytes());
}

TEST_F(ServeWriteTest, a_write_is_in_the_device_when_it_returns) {
  serve_writable();
  const Descriptor file = open(O_RDWR);
  const auto bytes = pattern(3 * mebibyte, 7);
  ASSERT_TRUE(put(file, bytes, mebibyte));
  EXPECT_TRUE(equal(device_.bytes().subspan(mebibyte, bytes.size()), bytes));
  EXPECT_TRUE(equal(get(file, bytes.size(), mebibyte), bytes));
  EXPECT_EQ(device_.counters().writes, 3U);  // of 1 MiB each
  const auto untouched = pattern(mebibyte);
  EXPECT_TRUE(equal(device_.bytes().first(mebibyte), untouched));
}

TEST_F(ServeWriteTest, direct_and_cached_users_see_each_other) {
  serve_writable();
  const Descriptor cached = open(O_RDWR), direct = open(O_RDWR | O_DIRECT);
  ASSERT_TRUE(cached && direct);
  EXPECT_TRUE(equal(get(cached, 8192, 0), device_.bytes().first(8192)));
  alignas(4096) std::array<std::byte, 4096> page;
  page.fill(std::byte{0x5a});
  ASSERT_TRUE(put(direct, page, 4096));
  EXPECT_TRUE(equal(get(cached, page.size(), 4096), page));
  page.fill(std::byte{0xa5});
  const auto other = pattern(4096, 9);
  ASSERT_TRUE(put(cached, other, 0));
  ASSERT_EQ(::pread(direct.get(), page.data(), page.size(), 0), 4096);
  EXPECT_TRUE(equal(page, other));
}

// Threads that write different bytes of the same sectors: none loses what another wrote.
TEST_F(ServeWriteTest, neighbours_in_a_sector_do_not_lose_each_other) {
  serve_writable();
  constexpr std::size_t writers = 6, records = 400, length = 100;
  std::vector<std::thread> threads;
  for (std::size_t writer = 0; writer < writers; ++writer) {
    threads.emplace_back([&, writer] {
      const Descriptor file = open(O_WRONLY);
      for (std::size_t i = 0; i < records; ++i) {
        const std::vector<std::byte> bytes(length, static_cast<std::byte>(writer + i));
        ASSERT_TRUE(put(file, bytes, (i * writers + writer) * length));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t record = 0; record < writers * records; ++record) {
    const auto expected = static_cast<std::byte>(record % writers + record / writers);
    ASSERT_EQ(device_.bytes()[record * length], expected) << record;
    ASSERT_EQ(device_.bytes()[record * length + length - 1], expected) << record;
  }
  EXPECT_EQ(device_.counters().partial, 0U) << "an array takes whole sectors only";
}

TEST_F(ServeWriteTest, many_threads_write_and_read_back) {
  serve_writable();
  constexpr std::size_t threads_count = 8;
  const std::uint64_t share = device_.size_bytes() / threads_count;
  std::vector<std::vector<std::byte>> models(threads_count);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < threads_count; ++i) {
    models[i].assign(device_.bytes().begin() + static_cast<std::ptrdiff_t>(i * share),
                     device_.bytes().begin() + static_cast<std::ptrdiff_t>((i + 1) * share));
    threads.emplace_back([&, i] {
      const Descriptor file = open(O_RDWR);
      std::mt19937_64 random(i);
      for (int round = 0; round < 150; ++round) {
        const std::size_t length = 1 + random() % 70000;
        const std::size_t at = random() % (share - length);
        const auto bytes = pattern(length, random());
        std::copy(bytes.begin(), bytes.end(), models[i].begin() + static_cast<std::ptrdiff_t>(at));
        ASSERT_TRUE(put(file, bytes, i * share + at));
        const std::size_t from = random() % (share - 5000);
        ASSERT_TRUE(equal(get(file, 5000, i * share + from), std::span(models[i]).subspan(from, 5000)));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t i = 0; i < threads_count; ++i) {
    EXPECT_TRUE(equal(device_.bytes().subspan(i * share, share), models[i])) << i;
  }
}

// Reads need no lock of the inode: all workers are in the device at once.
TEST_F(ServeWriteTest, requests_are_in_the_device_at_once) {
  device_.counters().write_milliseconds = 20;
  serve_writable();
  std::vector<std::thread> threads;
  const Descriptor map_file = open(O_RDWR);
  auto* memory =
      static_cast<char*>(::mmap(nullptr, device_.size_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, map_file.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  for (std::uint64_t at = 0; at < device_.size_bytes(); at += 256 * 1024) {
    memory[at] = 'x';
  }
  ASSERT_EQ(::msync(memory, device_.size_bytes(), MS_SYNC), 0);
  EXPECT_GT(device_.counters().most_in_flight, 3U);
  EXPECT_EQ(device_.bytes()[7 * mebibyte], std::byte{'x'});
  ::munmap(memory, device_.size_bytes());
}

TEST_F(ServeWriteTest, a_flush_for_each_sync_and_each_close_of_a_writer) {
  serve_writable();
  const auto bytes = pattern(4096, 3);
  auto& flushes = device_.counters().flushes;
  {
    const Descriptor reader = open(O_RDONLY);
    EXPECT_EQ(get(reader, 10, 0).size(), 10U);
  }
  EXPECT_EQ(flushes, 0U);
  Descriptor file = open(O_RDWR);
  ASSERT_TRUE(put(file, bytes, 0));
  EXPECT_EQ(flushes, 0U);
  ASSERT_EQ(::fsync(file.get()), 0);
  EXPECT_EQ(flushes, 1U);
  ASSERT_EQ(::fdatasync(file.get()), 0);
  EXPECT_EQ(flushes, 2U);
  file.reset();
  EXPECT_EQ(flushes, 3U);
  Descriptor synchronous = open(O_WRONLY | O_DSYNC);
  ASSERT_TRUE(put(synchronous, bytes, 0));
  EXPECT_EQ(flushes, 4U);
}

TEST_F(ServeWriteTest, a_failed_flush_is_heard) {
  serve_writable();
  const Descriptor file = open(O_RDWR);
  device_.counters().fails_from = 0;
  device_.counters().fails_as = static_cast<int>(ErrorKind::refused);
  EXPECT_NE(::fsync(file.get()), 0);
  EXPECT_EQ(errno, EIO);
  device_.counters().fails_from = std::numeric_limits<std::uint64_t>::max();
}

TEST_F(ServeWriteTest, holes_and_zeroes_inside_of_the_size_only) {
  serve_writable();
  const Descriptor file = open(O_RDWR);
  const auto size = static_cast<off_t>(device_.size_bytes());
  EXPECT_FALSE(get(file, 4096, 8192).empty());  // into the cache
  ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096), 0);
  ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_ZERO_RANGE, 100, 1000), 0);
  ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, size - 4096, 8192), 0);
  auto expected = pattern(device_.size_bytes());
  std::fill_n(expected.begin() + 8192, 4096, std::byte{0});
  std::fill_n(expected.begin() + 100, 1000, std::byte{0});
  std::fill_n(expected.end() - 4096, 4096, std::byte{0});
  EXPECT_TRUE(equal(device_.bytes(), expected));
  EXPECT_TRUE(equal(get(file, 16384, 0), std::span(expected).first(16384)));
  EXPECT_EQ(device_.counters().partial, 0U);
  EXPECT_EQ(device_.counters().zeroes, 3U);

  EXPECT_NE(::fallocate(file.get(), FALLOC_FL_ZERO_RANGE, size - 4096, 8192), 0);
  EXPECT_EQ(errno, ENOSPC);
  for (const int mode : {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_UNSHARE_RANGE}) {
    EXPECT_NE(::fallocate(file.get(), mode, 0, 4096), 0);
    EXPECT_EQ(errno, EOPNOTSUPP) << mode;
  }
  EXPECT_TRUE(equal(device_.bytes(), expected));
}

TEST_F(ServeWriteTest, truncation_by_open_is_ignored_and_by_name_refused) {
  serve_writable();
  const auto before = pattern(device_.size_bytes());
  {
    const Descriptor file = open(O_WRONLY | O_TRUNC | O_CREAT);
    ASSERT_TRUE(file) << std::strerror(errno);
    struct stat status {};
    ASSERT_EQ(::fstat(file.get(), &status), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), device_.size_bytes());
    for (const off_t size : {off_t{0}, off_t{4096}, static_cast<off_t>(device_.size_bytes() + 1)}) {
      EXPECT_NE(::ftruncate(file.get(), size), 0) << size;
      EXPECT_EQ(errno, EPERM);
    }
    EXPECT_NE(::truncate(at_.c_str(), 4096), 0);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::truncate(at_.c_str(), 0), 0);  // the kernel asks as it does for O_TRUNC
    EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(device_.size_bytes())), 0);
  }
  EXPECT_TRUE(equal(device_.bytes(), before));
  EXPECT_TRUE(file_bytes(at_) == before);
}

TEST_F(ServeWriteTest, times_may_be_set_and_modes_stay) {
  serve_writable();
  EXPECT_EQ(::utimensat(AT_FDCWD, at_.c_str(), nullptr, 0), 0);
  EXPECT_EQ(::chmod(at_.c_str(), 0600), 0);
  EXPECT_NE(::chmod(at_.c_str(), 0644), 0);
  EXPECT_EQ(errno, EPERM);
}

TEST_F(ServeWriteTest, the_end_is_the_end) {
  serve_writable();
  const Descriptor file = open(O_RDWR);
  const auto size = static_cast<off_t>(device_.size_bytes());
  const auto bytes = pattern(4096, 5);
  EXPECT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), size - 1000), 1000);
  EXPECT_LT(::pwrite(file.get(), bytes.data(), bytes.size(), size), 0);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_LT(::pwrite(file.get(), bytes.data(), bytes.size(), size + 4096), 0);
  EXPECT_EQ(errno, ENOSPC);
  struct stat status {};
  ASSERT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_EQ(status.st_size, size);
  EXPECT_TRUE(equal(device_.bytes().last(1000), std::span(bytes).first(1000)));
}

TEST_F(ServeWriteTest, the_devices_errors_reach_the_writer) {
  serve_writable();
  const Descriptor file = open(O_RDWR);
  const auto bytes = pattern(4096, 6);
  device_.counters().fails_from = 4 * mebibyte;
  EXPECT_FALSE(put(file, bytes, 5 * mebibyte));
  EXPECT_EQ(errno, EIO);
  EXPECT_TRUE(put(file, bytes, mebibyte));
  device_.counters().fails_as = static_cast<int>(ErrorKind::refused);
  EXPECT_FALSE(put(file, bytes, 5 * mebibyte));
  EXPECT_EQ(errno, EROFS);
  EXPECT_TRUE(get(file, 4096, 6 * mebibyte).empty());
  EXPECT_EQ(errno, EIO);
  device_.counters().fails_from = std::numeric_limits<std::uint64_t>::max();
  // What failed to be written is not what a reader gets.
  EXPECT_TRUE(equal(get(file, 4096, 5 * mebibyte), device_.bytes().subspan(5 * mebibyte, 4096)));
}

TEST_F(ServeWriteTest, what_is_read_only_cannot_be_written) {
  serve(Served::read_only(device_));
  EXPECT_FALSE(open(O_RDWR));
  EXPECT_EQ(errno, EROFS);
  struct stat status {};
  ASSERT_EQ(::stat(at_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0400U);
}

TEST_F(ServeWriteTest, a_map_reads_and_writes) {
  serve_writable();
  const Descriptor file = open(O_RDWR);
  auto* memory = static_cast<std::byte*>(::mmap(nullptr, mebibyte, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_TRUE(equal({memory, mebibyte}, device_.bytes().first(mebibyte)));
  const auto bytes = pattern(5000, 8);
  std::copy(bytes.begin(), bytes.end(), memory + 700);
  ASSERT_EQ(::msync(memory, mebibyte, MS_SYNC), 0);
  EXPECT_TRUE(equal(device_.bytes().subspan(700, bytes.size()), bytes));
  ::munmap(memory, mebibyte);
}

// Whatever a signal meets: what was acknowledged is there, and the last flush comes after it.
TEST_F(ServeWriteTest, a_signal_with_requests_in_flight_loses_none) {
  device_.counters().write_milliseconds = 5;
  serve_writable();
  std::atomic<bool> stop = false;
  std::array<std::uint64_t, 4> acknowledged{};
  std::vector<std::thread> writers;
  for (std::size_t i = 0; i < acknowledged.size(); ++i) {
    writers.emplace_back([&, i] {
      const Descriptor file = open(O_WRONLY);
      for (std::uint64_t n = 1; !stop; ++n) {
        const std::vector<std::byte> bytes(4096, static_cast<std::byte>(n % 256));
        if (!put(file, bytes, i * 4096)) {
          return;
        }
        acknowledged[i] = n;
      }
    });
  }
  ASSERT_TRUE(within(seconds(10), [&] { return device_.counters().writes > 40; }));
  ASSERT_EQ(::kill(server_, SIGTERM), 0);
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_FALSE(has_ended()) << "it is in use";
  EXPECT_TRUE(serve::topmost_mount(at_));
  const std::uint64_t served = device_.counters().writes;
  ASSERT_TRUE(within(seconds(10), [&] { return device_.counters().writes > served + 10; }));
  stop = true;
  for (std::thread& writer : writers) {
    writer.join();
  }
  EXPECT_EQ(server_end(), 0);
  EXPECT_FALSE(serve::topmost_mount(at_));
  EXPECT_FALSE(std::filesystem::exists(at_));
  for (std::size_t i = 0; i < acknowledged.size(); ++i) {
    EXPECT_EQ(device_.bytes()[i * 4096], static_cast<std::byte>(acknowledged[i] % 256)) << i;
  }
}

TEST_F(ServeWriteTest, a_second_signal_ends_it_in_order) {
  device_.counters().write_milliseconds = 100;
  serve_writable();
  const Descriptor file = open(O_WRONLY);
  std::thread writer([&] {
    const auto bytes = pattern(4096, 4);
    while (put(file, bytes, 0)) {
    }
  });
  ASSERT_TRUE(within(seconds(10), [&] { return device_.counters().in_flight == 1; }));
  ::kill(server_, SIGHUP);
  std::this_thread::sleep_for(milliseconds(50));
  ::kill(server_, SIGHUP);
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_FALSE(has_ended()) << "SIGHUP never forces";
  ::kill(server_, SIGINT);
  writer.join();
  EXPECT_EQ(server_end(), 0);
  EXPECT_EQ(device_.counters().in_flight, 0U) << "a request was left behind";
  EXPECT_EQ(device_.counters().flushes, 1U);  // the last one
  EXPECT_FALSE(serve::topmost_mount(at_));
}

TEST_F(ServeWriteTest, the_users_are_named_while_it_waits) {
  const std::string said = scratch_.path("said");
  ServeOptions options;
  options.still_used = [&](const std::string& holder) { write_file(said, holder); };
  serve(Served::read_write(device_), options);
  Descriptor file = open(O_RDONLY);
  ::kill(server_, SIGTERM);
  ASSERT_TRUE(within(seconds(10), [&] { return std::filesystem::exists(said) && !file_bytes(said).empty(); }));
  const auto bytes = file_bytes(said);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_NE(text.find("process " + std::to_string(::getpid())), std::string::npos) << text;
  file.reset();
  EXPECT_EQ(server_end(), 0);
}

TEST_F(ServeWriteTest, stop_refuses_while_open_and_cuts_off_when_forced) {
  serve_writable();
  const Descriptor file = open(O_RDWR);
  const auto bytes = pattern(4096, 2);
  ASSERT_TRUE(put(file, bytes, 0));
  EXPECT_FALSE(stop_fuse(at_));
  EXPECT_TRUE(put(file, bytes, 4096));
  std::thread reaper([this] { EXPECT_EQ(server_end(), 0); });
  const auto stopped = stop_fuse(at_, Force::yes);
  reaper.join();
  EXPECT_TRUE(stopped) << stopped.error().text;
  EXPECT_FALSE(put(file, bytes, 0));
  EXPECT_EQ(device_.counters().flushes, 1U);
  EXPECT_TRUE(equal(device_.bytes().subspan(4096, 4096), bytes));
}

TEST_F(ServeWriteTest, ready_may_end_it_or_fail) {
  const ServeOptions options{.at = at_, .name = "n"};
  serve_with(Served::read_write(device_), options, [](const Usable& usable) -> Result<Then> {
    const Descriptor file(::open(usable.path.c_str(), O_WRONLY | O_CLOEXEC));
    const auto bytes = pattern(4096, 2);
    return put(file, bytes, 0) ? Result<Then>(Then::stop) : Error{ErrorKind::io, "not served"};
  });
  EXPECT_EQ(server_end(), 0);
  EXPECT_EQ(device_.counters().writes, 1U);
  serve_with(Served::read_write(device_), options, [](const Usable&) -> Result<Then> {
    return Error{ErrorKind::refused, "no"};
  });
  EXPECT_EQ(server_end(), 1);
  EXPECT_FALSE(serve::topmost_mount(at_));
  EXPECT_FALSE(std::filesystem::exists(at_));
}

}  // namespace
}  // namespace mdtool
