// SPDX-License-Identifier: GPL-2.0-or-later
// write_durable(), zero() and discard() of every device; what a kernel that refuses or fails a call makes of them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <thread>

#include "libraid/io/faulty.h"
#include "libraid/io/fence.h"
#include "libraid/io/file.h"
#include "libraid/io/memory.h"
#include "libraid/io/slice.h"
#include "tests/raid/scratch.h"

namespace mdtool {
namespace {

constexpr std::uint64_t all_ones = ~std::uint64_t{0};

struct FailingCall {
  unsigned number;
  int errno_value;
};

// Runs `body` in a thread in which the kernel answers these calls with an error: seccomp needs no root for that.
void with_failing(const std::vector<FailingCall>& calls, const std::function<void()>& body) {
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const FailingCall& call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call.number, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(call.errno_value)));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  std::thread([&] {
    ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
    body();
  }).join();
}

std::vector<std::byte> with_zeroes(std::vector<std::byte> bytes, std::size_t offset, std::size_t length) {
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
  return bytes;
}

std::vector<std::byte> with_written(std::vector<std::byte> bytes, std::size_t offset,
                                    const std::vector<std::byte>& in) {
  std::copy(in.begin(), in.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
  return bytes;
}

class FileDeviceZeroTest : public testing::Test {
 protected:
  static constexpr std::uint64_t size = 1 << 20;

  void SetUp() override {
    write_file(path_, content_);
    device_ = std::move(FileDevice::open(path_, Access::read_write)).value();
  }
  std::uint64_t allocated_bytes() const {
    struct stat status {};
    EXPECT_EQ(::fsync(device_->fd()), 0);
    EXPECT_EQ(::fstat(device_->fd(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }

  ScratchFolder scratch_;
  std::string path_ = scratch_.path("member");
  std::vector<std::byte> content_ = pattern(size);
  std::unique_ptr<FileDevice> device_;
};

TEST_F(FileDeviceZeroTest, gives_the_range_back_and_reads_zeroes) {
  ASSERT_TRUE(device_->zero(256 << 10, 512 << 10));
  ASSERT_TRUE(device_->flush());
  EXPECT_EQ(file_bytes(path_), with_zeroes(content_, 256 << 10, 512 << 10));
  const auto data = device_->next_data(256 << 10);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->offset_bytes, 768U << 10);
  EXPECT_LE(allocated_bytes(), size / 2 + 65536);
}

TEST_F(FileDeviceZeroTest, unaligned_ranges_are_zero_and_their_neighbours_are_not_touched) {
  struct Range {
    std::size_t offset, length;
  };
  auto expected = content_;
  for (const Range r : {Range{1, 1}, {4095, 2}, {10'000, 7}, {20'001, 40'000}, {100'352, 512}, {1'040'000, 8'576}}) {
    ASSERT_TRUE(device_->zero(r.offset, r.length));
    expected = with_zeroes(expected, r.offset, r.length);
    ASSERT_EQ(file_bytes(path_), expected) << r.offset;
  }
  ASSERT_TRUE(device_->zero(size, 0));
  EXPECT_EQ(file_bytes(path_), expected);
}

TEST_F(FileDeviceZeroTest, beyond_the_end_nothing_is_zeroed_and_nothing_grows) {
  EXPECT_EQ(device_->zero(size - 1, 2).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(device_->zero(0, all_ones).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(device_->zero(all_ones, 2).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(device_->write_durable(size - 1, pattern(2)).error().kind, ErrorKind::out_of_range);
  EXPECT_EQ(file_bytes(path_), content_);
  EXPECT_TRUE(device_->write(0, pattern(1))) << "a range that was refused says nothing about the device";
}

TEST_F(FileDeviceZeroTest, where_holes_are_refused_zeroes_are_written_and_the_refusal_is_remembered) {
  const std::uint64_t before = allocated_bytes();
  with_failing({{SYS_fallocate, EOPNOTSUPP}}, [&] { ASSERT_TRUE(device_->zero(4096, 300'000)); });
  const auto expected = with_zeroes(content_, 4096, 300'000);
  EXPECT_EQ(file_bytes(path_), expected);
  ASSERT_TRUE(device_->zero(512 << 10, 512 << 10));
  EXPECT_EQ(file_bytes(path_), with_zeroes(expected, 512 << 10, 512 << 10));
  EXPECT_GE(allocated_bytes(), before) << "asked again after a refusal";
}

TEST_F(FileDeviceZeroTest, an_error_that_is_no_refusal_is_reported_and_forgotten) {
  with_failing({{SYS_fallocate, EIO}}, [&] {
    const Status status = device_->zero(4096, 8192);
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().text.find("zeroing 8192 bytes at byte 4096: Input/output error"), std::string::npos)
        << status.error().text;
  });
  EXPECT_EQ(file_bytes(path_), content_);
  ASSERT_TRUE(device_->zero(0, size));
  EXPECT_LE(allocated_bytes(), 65536U);
}

TEST_F(FileDeviceZeroTest, a_method_that_was_chosen_is_not_replaced_unless_that_is_allowed) {
  with_failing({{SYS_fallocate, EOPNOTSUPP}}, [&] {
    for (const ZeroMethod method : {ZeroMethod::unmap, ZeroMethod::zeroout}) {
      device_->zero_by(method, FileDevice::IfRefused::fail);
      EXPECT_FALSE(device_->zero(4096, 8192));
      EXPECT_EQ(file_bytes(path_), content_);
    }
    device_->zero_by(ZeroMethod::zeroout, FileDevice::IfRefused::dearer_method);
    EXPECT_TRUE(device_->zero(4096, 8192));
    device_->zero_by(ZeroMethod::write, FileDevice::IfRefused::fail);
    EXPECT_TRUE(device_->zero(65536, 512));
  });
  EXPECT_EQ(file_bytes(path_), with_zeroes(with_zeroes(content_, 4096, 8192), 65536, 512));
}

TEST_F(FileDeviceZeroTest, what_is_written_allocates_and_what_is_unmapped_gives_back) {
  device_->zero_by(ZeroMethod::write, FileDevice::IfRefused::fail);
  ASSERT_TRUE(device_->zero(0, size));
  const std::uint64_t written = allocated_bytes();
  device_->zero_by(ZeroMethod::unmap, FileDevice::IfRefused::fail);
  ASSERT_TRUE(device_->zero(256 << 10, 512 << 10));
  EXPECT_LE(allocated_bytes() + (512 << 10), written);
  EXPECT_EQ(file_bytes(path_), std::vector<std::byte>(size));
}

TEST_F(FileDeviceZeroTest, a_read_only_device_zeroes_nothing) {
  device_ = std::move(FileDevice::open(path_, Access::read_only)).value();
  EXPECT_FALSE(device_->zero(0, 4096));
  EXPECT_FALSE(device_->write_durable(0, pattern(512)));
  EXPECT_EQ(file_bytes(path_), content_);
}

TEST_F(FileDeviceZeroTest, a_discard_changes_nothing) {
  ASSERT_TRUE(device_->discard(0, size));
  EXPECT_EQ(file_bytes(path_), content_);
}

TEST_F(FileDeviceZeroTest, a_durable_write_needs_no_flush_of_the_whole_file) {
  const auto fresh = pattern(5000, 2);
  with_failing({{SYS_fdatasync, EIO}, {SYS_fsync, EIO}, {SYS_pwrite64, EIO}},
               [&] { ASSERT_TRUE(device_->write_durable(4095, fresh)); });
  EXPECT_EQ(file_bytes(path_), with_written(content_, 4095, fresh));
}

TEST_F(FileDeviceZeroTest, where_the_flag_is_refused_the_whole_file_is_flushed) {
  for (const int refusal : {EOPNOTSUPP, EINVAL, ENOSYS}) {
    device_.reset();
    write_file(path_, content_);
    device_ = std::move(FileDevice::open(path_, Access::read_write)).value();
    const auto fresh = pattern(5000, static_cast<std::uint64_t>(refusal));
    with_failing({{SYS_pwritev2, refusal}}, [&] { ASSERT_TRUE(device_->write_durable(4095, fresh)); });
    EXPECT_EQ(file_bytes(path_), with_written(content_, 4095, fresh));
    // Remembered: the flag would work by now. Without the flush that then fails, this would succeed.
    with_failing({{SYS_fdatasync, EIO}}, [&] { EXPECT_FALSE(device_->write_durable(0, fresh)); });
    EXPECT_FALSE(device_->flush());
  }
}

TEST_F(FileDeviceZeroTest, after_a_failed_durable_write_the_device_stays_unknown) {
  for (const int cause : {EIO, ENOSPC, EROFS, ENODEV}) {
    device_.reset();
    device_ = std::move(FileDevice::open(path_, Access::read_write)).value();
    with_failing({{SYS_pwritev2, cause}}, [&] {
      const Status status = device_->write_durable(512, pattern(512));
      ASSERT_FALSE(status);
      EXPECT_NE(status.error().text.find("writing durably 512 bytes at byte 512"), std::string::npos);
    });
    for (const Status& later : {device_->write(0, pattern(1)), device_->flush(), device_->zero(0, 4096),
                                device_->write_durable(0, pattern(1))}) {
      ASSERT_FALSE(later);
      EXPECT_NE(later.error().text.find("unknown state"), std::string::npos) << later.error().text;
    }
    EXPECT_EQ(file_bytes(path_), content_);
  }
}

TEST_F(FileDeviceZeroTest, a_flush_that_fails_ends_durable_writes_and_zeroing) {
  with_failing({{SYS_fdatasync, EIO}}, [&] { EXPECT_FALSE(device_->flush()); });
  EXPECT_FALSE(device_->write_durable(0, pattern(512)));
  EXPECT_FALSE(device_->zero(0, 4096));
  EXPECT_EQ(file_bytes(path_), content_);
}

TEST_F(FileDeviceZeroTest, many_threads_may_call_it_at_once) {
  constexpr std::size_t threads = 4, part = size / threads, block = 16'384;
  auto expected = content_;
  std::vector<std::thread> running;
  for (std::size_t t = 0; t < threads; ++t) {
    const auto fresh = pattern(block, t + 10);
    for (std::size_t at = t * part; at < (t + 1) * part; at += 4 * block) {
      expected = with_written(std::move(expected), at, fresh);
      expected = with_written(std::move(expected), at + block, fresh);
      expected = with_zeroes(std::move(expected), at + 2 * block, block);
    }
    running.emplace_back([this, t, fresh] {
      for (std::size_t at = t * part; at < (t + 1) * part; at += 4 * block) {
        EXPECT_TRUE(device_->write(at, fresh));
        EXPECT_TRUE(device_->write_durable(at + block, fresh));
        EXPECT_TRUE(device_->zero(at + 2 * block, block));
        EXPECT_TRUE(device_->flush());
        std::vector<std::byte> back(block);
        EXPECT_TRUE(device_->read(at, back));
        EXPECT_EQ(back, fresh);
      }
    });
  }
  for (std::thread& thread : running) {
    thread.join();
  }
  EXPECT_EQ(file_bytes(path_), expected);
}

TEST(FileDeviceFlush, fails_every_caller_that_waits_for_it) {
  ScratchFolder scratch;
  write_file(scratch.path("member"), pattern(4096));
  const auto device = std::move(FileDevice::open(scratch.path("member"), Access::read_write)).value();
  with_failing({{SYS_fdatasync, EIO}}, [&] {
    std::vector<std::thread> callers;  // a thread inherits the filter
    for (int i = 0; i < 8; ++i) {
      callers.emplace_back([&] { EXPECT_FALSE(device->flush()); });
    }
    for (std::thread& caller : callers) {
      caller.join();
    }
  });
}

class WrapperZeroTest : public testing::Test {
 protected:
  WrapperZeroTest() { testing::GTEST_FLAG(death_test_style) = "threadsafe"; }

  const std::vector<std::byte> content_ = pattern(65536);
  MemoryDevice memory_{content_};
  FaultyDevice faulty_{memory_};
};

TEST_F(WrapperZeroTest, memory_is_bounded) {
  EXPECT_FALSE(memory_.zero(65536, 1));
  EXPECT_FALSE(memory_.zero(1, all_ones));
  EXPECT_FALSE(memory_.discard(65000, 537));
  EXPECT_EQ(memory_.bytes(), content_);
  ASSERT_TRUE(memory_.zero(65535, 1));
  EXPECT_EQ(memory_.bytes(), with_zeroes(content_, 65535, 1));
}

TEST_F(WrapperZeroTest, a_slice_shifts_and_bounds) {
  const auto slice = std::move(Slice::of(memory_, 1000, 5000)).value();
  for (const Status& outside : {slice->zero(4999, 2), slice->zero(all_ones - 999, 2), slice->discard(5000, 1),
                                slice->write_durable(4999, pattern(2))}) {
    ASSERT_FALSE(outside);
    EXPECT_EQ(outside.error().kind, ErrorKind::out_of_range);
  }
  EXPECT_EQ(memory_.bytes(), content_);
  ASSERT_TRUE(slice->zero(10, 20));
  ASSERT_TRUE(slice->discard(100, 4900));
  ASSERT_TRUE(slice->write_durable(4990, pattern(10, 3)));
  const auto zeroed = with_zeroes(with_zeroes(content_, 1010, 20), 1100, 4900);
  EXPECT_EQ(memory_.bytes(), with_written(zeroed, 5990, pattern(10, 3)));
}

TEST_F(WrapperZeroTest, a_slice_hands_down_what_it_is_asked_for) {
  const auto slice = std::move(Slice::of(faulty_, 0, 65536)).value();
  ASSERT_TRUE(slice->zero(0, 65536));
  EXPECT_EQ(faulty_.operations(), 1U) << "written in pieces";
  faulty_.add({.operation = Operation::flush});
  EXPECT_FALSE(slice->write_durable(0, pattern(1)));
}

TEST_F(WrapperZeroTest, the_fence_passes_and_counts_what_is_planned) {
  FencedDevice fence(faulty_, {{4096, 4096, "data"}});
  ASSERT_TRUE(fence.zero(4096, 1000));
  ASSERT_TRUE(fence.write_durable(6000, pattern(100, 3)));
  EXPECT_EQ(fence.written_bytes(), 1100U);
  ASSERT_TRUE(fence.discard(7000, 1192));
  EXPECT_EQ(fence.written_bytes(), 1100U);
  const auto zeroed = with_zeroes(with_zeroes(content_, 4096, 1000), 7000, 1192);
  EXPECT_EQ(memory_.bytes(), with_written(zeroed, 6000, pattern(100, 3)));
  faulty_.add({.operation = Operation::flush});
  EXPECT_FALSE(fence.write_durable(6000, pattern(1)));
}

TEST_F(WrapperZeroTest, outside_of_the_plan_the_fence_ends_the_process) {
  FencedDevice fence(memory_, {{4096, 4096, "data"}});
  EXPECT_DEATH(static_cast<void>(fence.zero(4095, 2)), "write fence: 2 bytes at byte 4095 are not in the plan");
  EXPECT_DEATH(static_cast<void>(fence.zero(8191, 2)), "write fence");
  EXPECT_DEATH(static_cast<void>(fence.zero(4096, all_ones)), "write fence");
  EXPECT_DEATH(static_cast<void>(fence.discard(0, 1)), "write fence");
  EXPECT_DEATH(static_cast<void>(fence.write_durable(8192, pattern(1))), "write fence: 1 bytes at byte 8192");
}

TEST_F(WrapperZeroTest, a_scripted_write_error_meets_zeroing_and_durable_writes) {
  faulty_.add({.operation = Operation::write,
               .offset_bytes = 1024,
               .length_bytes = 512,
               .errno_value = ENOSPC,
               .transferred_bytes = 100});
  EXPECT_TRUE(faulty_.zero(1536, 512));
  EXPECT_TRUE(faulty_.write_durable(0, pattern(1024, 2)));
  auto expected = with_written(with_zeroes(content_, 1536, 512), 0, pattern(1024, 2));
  EXPECT_EQ(memory_.bytes(), expected);
  EXPECT_FALSE(faulty_.discard(1000, 100));
  EXPECT_EQ(memory_.bytes(), expected);
  const Status zeroed = faulty_.zero(1500, 4000);
  ASSERT_FALSE(zeroed);
  EXPECT_NE(zeroed.error().text.find("No space left"), std::string::npos) << zeroed.error().text;
  expected = with_zeroes(expected, 1500, 100);
  EXPECT_EQ(memory_.bytes(), expected);
  EXPECT_FALSE(faulty_.write_durable(1535, pattern(200, 4)));
  const auto part = pattern(200, 4);
  EXPECT_EQ(memory_.bytes(), with_written(expected, 1535, {part.begin(), part.begin() + 100}));
}

TEST_F(WrapperZeroTest, a_scripted_flush_error_leaves_a_durable_write_written_only) {
  faulty_.add({.operation = Operation::flush, .after = 1, .times = 1});
  EXPECT_TRUE(faulty_.write_durable(0, pattern(10, 2)));
  EXPECT_FALSE(faulty_.write_durable(20, pattern(10, 3)));
  EXPECT_TRUE(faulty_.write_durable(40, pattern(10, 4)));
  EXPECT_EQ(faulty_.operations(), 6U) << "a write and a flush each";
  const auto expected = with_written(with_written(content_, 0, pattern(10, 2)), 20, pattern(10, 3));
  EXPECT_EQ(memory_.bytes(), with_written(expected, 40, pattern(10, 4)));
}

}  // namespace
}  // namespace mdtool
