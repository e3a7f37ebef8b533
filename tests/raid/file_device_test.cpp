// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "libraid/io/file.h"
#include "libraid/io/memory.h"
#include "libraid/io/slice.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

class FileDeviceTest : public testing::Test {
 protected:
  std::unique_ptr<FileDevice> opened(Access access) {
    auto device = FileDevice::open(path_, access);
    EXPECT_TRUE(device) << device.error().text;
    return std::move(device).value();
  }

  ScratchFolder scratch_;
  std::string path_ = scratch_.path("member");
  std::vector<std::byte> content_ = pattern(10'000);

  void SetUp() override { write_file(path_, content_); }
};

// A write beyond the new end would make the file long again, with a hole of zeroes where data was.
TEST_F(FileDeviceTest, a_file_that_was_cut_short_is_not_written_any_more) {
  const std::vector<std::byte> bytes(512);
  for (const bool noticed_by_reading : {false, true}) {
    write_file(path_, content_);
    const auto device = opened(Access::read_write);
    ASSERT_TRUE(device->write(9'000, bytes));
    ASSERT_EQ(::truncate(path_.c_str(), 100), 0);
    if (noticed_by_reading) {
      std::vector<std::byte> out(512);
      ASSERT_FALSE(device->read(4096, out));
      ASSERT_EQ(::truncate(path_.c_str(), 10'000), 0);
    }
    EXPECT_FALSE(device->write(9'000, bytes));
    EXPECT_FALSE(device->write(0, bytes));
    EXPECT_FALSE(device->write_durable(9'000, bytes));
    EXPECT_FALSE(device->zero(9'000, 512));
    EXPECT_FALSE(device->flush());
    struct stat status {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_size, noticed_by_reading ? 10'000 : 100);
  }
}

TEST_F(FileDeviceTest, reads_what_is_there_at_any_offset) {
  const auto device = opened(Access::read_only);
  EXPECT_EQ(device->size_bytes(), content_.size());
  for (const std::size_t offset : {0U, 1U, 511U, 4096U, 9'000U}) {
    std::vector<std::byte> out(777);
    ASSERT_TRUE(device->read(offset, out));
    EXPECT_TRUE(std::equal(out.begin(), out.end(), content_.begin() + static_cast<std::ptrdiff_t>(offset))) << offset;
    std::vector<std::byte> uncached(777);
    ASSERT_TRUE(UncachedSource(*device).read(offset, uncached));
    EXPECT_EQ(uncached, out);
  }
}

TEST_F(FileDeviceTest, beyond_the_end_is_out_of_range_not_a_short_read) {
  const auto device = opened(Access::read_only);
  std::vector<std::byte> out(2);
  for (const std::uint64_t offset : {std::uint64_t{9'999}, std::uint64_t{10'001}, ~std::uint64_t{0}}) {
    const Status status = device->read(offset, out);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::out_of_range);
    EXPECT_NE(status.error().text.find(path_), std::string::npos);
    EXPECT_EQ(device->read_past_cache(offset, out).error().kind, ErrorKind::out_of_range);
  }
}

TEST_F(FileDeviceTest, writes_land_where_they_should_and_nowhere_else) {
  const auto device = opened(Access::read_write);
  const auto fresh = pattern(1000, 2);
  ASSERT_TRUE(device->write(4095, fresh));
  ASSERT_TRUE(device->flush());
  auto expected = content_;
  std::copy(fresh.begin(), fresh.end(), expected.begin() + 4095);
  EXPECT_EQ(file_bytes(path_), expected);
}

TEST_F(FileDeviceTest, a_write_never_grows_the_file) {
  const auto device = opened(Access::read_write);
  const Status status = device->write(9'999, pattern(2));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(file_bytes(path_), content_);
}

TEST_F(FileDeviceTest, read_only_cannot_write) {
  const auto device = opened(Access::read_only);
  EXPECT_EQ(::fcntl(device->fd(), F_GETFL) & O_ACCMODE, O_RDONLY);
  const Status status = device->write(0, pattern(1));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().text.find("writing 1 bytes at byte 0"), std::string::npos) << status.error().text;
  EXPECT_EQ(file_bytes(path_), content_);
}

TEST_F(FileDeviceTest, two_writers_are_refused_and_readers_are_not) {
  const auto first = opened(Access::read_write);
  const auto second = FileDevice::open(path_, Access::read_write);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::refused);
  EXPECT_TRUE(FileDevice::open(path_, Access::read_only));
}

TEST_F(FileDeviceTest, the_lock_ends_with_the_device) {
  opened(Access::read_write).reset();
  EXPECT_TRUE(FileDevice::open(path_, Access::read_write));
}

TEST_F(FileDeviceTest, held_files_are_shared_and_never_written) {
  const auto first = opened(Access::read_only);
  const auto second = opened(Access::read_only);
  ASSERT_TRUE(first->hold());
  ASSERT_TRUE(second->hold());
  for (int writers = 0; writers < 2; ++writers) {
    const auto writer = FileDevice::open(path_, Access::read_write);
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().kind, ErrorKind::refused);
    EXPECT_NE(writer.error().text.find("process " + std::to_string(::getpid()) + " ("), std::string::npos)
        << writer.error().text;
  }
}

TEST_F(FileDeviceTest, what_is_written_is_not_held) {
  const auto writer = opened(Access::read_write);
  const auto reader = opened(Access::read_only);
  const Status held = reader->hold();
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().kind, ErrorKind::refused);
}

TEST_F(FileDeviceTest, what_is_held_no_more_is_written) {
  ASSERT_TRUE(opened(Access::read_only)->hold());
  EXPECT_TRUE(FileDevice::open(path_, Access::read_write));
}

TEST_F(FileDeviceTest, what_is_no_member_is_not_opened) {
  const std::string fifo = scratch_.path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, scratch_.path("."), std::string("/dev/null")}) {
    const auto device = FileDevice::open(path, Access::read_only);
    ASSERT_FALSE(device) << path;
    EXPECT_EQ(device.error().kind, ErrorKind::usage);
  }
  const auto missing = FileDevice::open(scratch_.path("missing"), Access::read_only);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().text.find("No such file"), std::string::npos);
}

TEST_F(FileDeviceTest, a_file_has_one_identity_whatever_it_is_called) {
  const std::string link = scratch_.path("link"), hard = scratch_.path("hard"), copy = scratch_.path("copy");
  ASSERT_EQ(::symlink(path_.c_str(), link.c_str()), 0);
  ASSERT_EQ(::link(path_.c_str(), hard.c_str()), 0);
  write_file(copy, content_);
  const FileIdentity own = opened(Access::read_only)->identity();
  EXPECT_EQ(*identify(link), own);
  EXPECT_EQ(*identify(hard), own);
  EXPECT_NE(*identify(copy), own);
}

TEST_F(FileDeviceTest, block_devices_are_the_same_by_number_alone) {
  struct stat one {
  }, other{};
  one.st_mode = other.st_mode = S_IFBLK;
  one.st_rdev = other.st_rdev = 0x801;
  one.st_ino = 5;
  other.st_ino = 6;
  EXPECT_EQ(FileIdentity::of(one), FileIdentity::of(other));
  other.st_rdev = 0x802;
  EXPECT_NE(FileIdentity::of(one), FileIdentity::of(other));
}

TEST_F(FileDeviceTest, holes_are_found) {
  const std::string sparse = scratch_.path("sparse");
  write_file(sparse, std::string());
  ASSERT_EQ(::truncate(sparse.c_str(), 4 << 20), 0);
  {
    const auto device = std::move(FileDevice::open(sparse, Access::read_write)).value();
    ASSERT_TRUE(device->write(1 << 20, pattern(65536)));
    ASSERT_TRUE(device->flush());
  }
  const auto device = std::move(FileDevice::open(sparse, Access::read_only)).value();
  const auto first = device->next_data(0);
  ASSERT_TRUE(first);
  // A file system without holes would answer with everything: both are right, but data must be covered.
  EXPECT_LE(first->offset_bytes, 1U << 20);
  EXPECT_GE(first->offset_bytes + first->length_bytes, (1U << 20) + 65536U);
  const auto none = device->next_data(4 << 20);
  ASSERT_TRUE(none);
  EXPECT_EQ(none->length_bytes, 0U);
  EXPECT_EQ(none->offset_bytes, 4U << 20);
}

TEST_F(FileDeviceTest, data_is_found_from_its_middle_and_up_to_the_end) {
  const auto device = opened(Access::read_only);
  const auto extent = device->next_data(5000);
  ASSERT_TRUE(extent);
  EXPECT_EQ(extent->offset_bytes, 5000U);
  EXPECT_EQ(extent->length_bytes, 5000U);
}

TEST_F(FileDeviceTest, a_file_cut_short_behind_our_back_is_an_error) {
  const auto device = opened(Access::read_only);
  ASSERT_EQ(::truncate(path_.c_str(), 100), 0);
  std::vector<std::byte> out(200);
  const Status status = device->read(0, out);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::io);
  EXPECT_NE(status.error().text.find("byte 100"), std::string::npos) << status.error().text;
}

TEST_F(FileDeviceTest, after_a_failed_flush_the_device_stays_unknown) {
  const auto device = opened(Access::read_write);
  const int saved = ::dup(device->fd());
  const int nothing = ::open(scratch_.path(".").c_str(), O_PATH);
  ASSERT_EQ(::dup3(nothing, device->fd(), O_CLOEXEC), device->fd());
  EXPECT_FALSE(device->flush());
  // The file answers again, but what became of the writes before is not known.
  ASSERT_EQ(::dup3(saved, device->fd(), O_CLOEXEC), device->fd());
  const Status write = device->write(0, pattern(1, 3));
  ASSERT_FALSE(write);
  EXPECT_NE(write.error().text.find("unknown state"), std::string::npos);
  EXPECT_FALSE(device->flush());
  EXPECT_EQ(file_bytes(path_), content_);
  ::close(saved);
  ::close(nothing);
}

TEST_F(FileDeviceTest, a_short_write_goes_on_until_the_error_says_why) {
  const std::string sparse = scratch_.path("limited");
  write_file(sparse, std::string());
  ASSERT_EQ(::truncate(sparse.c_str(), 1 << 20), 0);
  const auto device = std::move(FileDevice::open(sparse, Access::read_write)).value();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_action = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limited{6000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  const Status status = device->write(4096, pattern(4096));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, old_action);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::io);
  EXPECT_NE(status.error().text.find("at byte 6000: File too large"), std::string::npos) << status.error().text;
}

TEST(Slice, is_a_window_and_nothing_outside_of_it_can_be_reached) {
  MemoryDevice whole(pattern(4096));
  const auto before = whole.bytes();
  auto slice = std::move(Slice::of(whole, 1000, 500)).value();
  EXPECT_EQ(slice->size_bytes(), 500U);
  std::vector<std::byte> out(500);
  ASSERT_TRUE(slice->read(0, out));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), before.begin() + 1000));
  EXPECT_EQ(slice->read(1, out).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(slice->write(499, pattern(2)).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(slice->write(~std::uint64_t{0} - 999, pattern(2)).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(whole.bytes(), before);
  ASSERT_TRUE(slice->write(499, pattern(1, 9)));
  EXPECT_EQ(whole.bytes()[1499], pattern(1, 9)[0]);
}

TEST(Slice, must_lie_inside) {
  MemoryDevice whole(pattern(4096));
  EXPECT_FALSE(Slice::of(whole, 4000, 97));
  EXPECT_FALSE(Slice::of(whole, ~std::uint64_t{0}, 2));
  EXPECT_FALSE(SourceSlice::of(whole, 1, 4096));
  EXPECT_TRUE(SourceSlice::of(whole, 0, 4096));
}

TEST(Slice, owns_what_it_was_given) {
  auto slice = Slice::of(std::make_unique<MemoryDevice>(pattern(4096)), 512, 512);
  ASSERT_TRUE(slice);
  std::vector<std::byte> out(512);
  ASSERT_TRUE((*slice)->read(0, out));
  EXPECT_EQ(out[0], pattern(4096)[512]);
}

TEST(MemoryDevice, is_bounded) {
  MemoryDevice device(pattern(100));
  std::vector<std::byte> out(10);
  EXPECT_FALSE(device.read(91, out));
  EXPECT_FALSE(device.write(~std::uint64_t{0}, out));
  ASSERT_TRUE(device.read(90, out));
  EXPECT_EQ(out[9], device.bytes()[99]);
}

}  // namespace
}  // namespace mdtool
