// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "libraid/io/file.h"

namespace mdtool {
namespace {

// A kernel's own header may be older than the kernel: include/uapi/linux/falloc.h since 6.17.
#ifdef FALLOC_FL_WRITE_ZEROES
constexpr int write_zeroes_mode = FALLOC_FL_WRITE_ZEROES;
#else
constexpr int write_zeroes_mode = 0x80;
#endif

// No call into the kernel lasts longer than this takes.
constexpr std::uint64_t step_bytes = 1U << 30;

bool not_supported(int errno_value) {
  return errno_value == EOPNOTSUPP || errno_value == EINVAL || errno_value == ENOSYS || errno_value == ENOTTY;
}

}  // namespace

Status FileDevice::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(known, check_known());
  TRY(inside, check_bounds(offset_bytes, length_bytes));
  const std::uint64_t end = offset_bytes + length_bytes;
  const std::uint64_t first = (offset_bytes + alignment_ - 1) / alignment_ * alignment_;
  const std::uint64_t last = end / alignment_ * alignment_;
  if (first >= last) {
    return BlockDevice::zero(offset_bytes, length_bytes);
  }
  TRY(head, BlockDevice::zero(offset_bytes, first - offset_bytes));
  TRY(body, zero_aligned(first, last - first));
  return BlockDevice::zero(last, end - last);
}

Status FileDevice::zero_aligned(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  for (std::uint64_t done = 0; done < length_bytes;) {
    ZeroWay way = zero_way_;
    if (way == ZeroWay::write) {
      return BlockDevice::zero(offset_bytes + done, length_bytes - done);
    }
    const std::uint64_t step = std::min(length_bytes - done, step_bytes);
    const int cause = try_to_zero(fd(), way, offset_bytes + done, step);
    if (cause == 0) {
      done += step;
    } else if (not_supported(cause) && way < last_zero_way_) {
      zero_way_.compare_exchange_strong(way, static_cast<ZeroWay>(static_cast<unsigned char>(way) + 1));
    } else if (cause != EINTR) {
      return failure("zeroing", step, offset_bytes + done, cause);
    }
  }
  return Done{};
}

int FileDevice::try_to_zero(int fd, ZeroWay way, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  if (way == ZeroWay::zero_out) {
    std::array<std::uint64_t, 2> range{offset_bytes, length_bytes};
    return ::ioctl(fd, BLKZEROOUT, range.data()) == 0 ? 0 : errno;
  }
  // On block devices a hole is promised to read as zeroes, else it is refused: blkdev_fallocate() in block/fops.c.
  const int mode = way == ZeroWay::write_zeroes ? write_zeroes_mode
                   : way == ZeroWay::punch_hole ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                                                : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  return ::fallocate(fd, mode, static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes)) == 0 ? 0 : errno;
}

void FileDevice::zero_by(ZeroMethod method, IfRefused if_refused) {
  // On files write_zeroes would allocate what a hole gives back.
  const ZeroWay unmapping = identity_.block_device ? ZeroWay::write_zeroes : ZeroWay::punch_hole;
  const ZeroWay zeroing = identity_.block_device ? ZeroWay::zero_out : ZeroWay::zero_range;
  ZeroWay last = ZeroWay::write;
  switch (method) {
    case ZeroMethod::automatic:
      zero_way_ = unmapping;
      break;
    case ZeroMethod::unmap:
      zero_way_ = unmapping;
      last = ZeroWay::punch_hole;
      break;
    case ZeroMethod::zeroout:
      last = zeroing;
      zero_way_ = zeroing;
      break;
    case ZeroMethod::write:
      zero_way_ = ZeroWay::write;
      break;
  }
  last_zero_way_ = if_refused == IfRefused::fail ? last : ZeroWay::write;
}

}  // namespace mdtool
