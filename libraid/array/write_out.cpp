// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/write_out.h"

#include <algorithm>
#include <utility>

namespace mdtool {

WriteOut::WriteOut(BitmapCopies copies, std::uint64_t area_bytes, std::uint64_t block_bytes, Fill fill)
    : copies_(std::move(copies)),
      block_bytes_(block_bytes),
      fill_(std::move(fill)),
      outgoing_(area_bytes),
      blocks_((area_bytes + block_bytes - 1) / block_bytes) {}

void WriteOut::mark_all() {
  for (Block& block : blocks_) {
    block.marked = true;
  }
}

Status WriteOut::until_durable(Lock& lock, std::size_t first, std::size_t last) {
  for (std::size_t i = first; i <= last && i < blocks_.size(); ++i) {
    const std::uint64_t target = blocks_[i].submitted + (blocks_[i].marked ? 1 : 0);
    while (blocks_[i].written < target) {
      if (blocks_[i].in_flight) {
        done_.wait(lock);
      } else {
        TRY(written, write_run(lock, i, last));
      }
    }
  }
  return Done{};
}

// The marked blocks that follow `first` immediately go with it.
Status WriteOut::write_run(Lock& lock, std::size_t first, std::size_t last) {
  std::size_t end = first;
  for (; end <= last && end < blocks_.size() && blocks_[end].marked && !blocks_[end].in_flight; ++end) {
    blocks_[end].marked = false;
    blocks_[end].in_flight = true;
    ++blocks_[end].submitted;
  }
  const std::uint64_t offset = first * block_bytes_;
  const auto bytes = std::span(outgoing_).subspan(offset, std::min(end * block_bytes_, outgoing_.size()) - offset);
  fill_(offset, bytes);
  lock.unlock();
  Status written = copies_.write(offset, bytes);
  lock.lock();
  for (Block& block : std::span(blocks_).subspan(first, end - first)) {
    block.in_flight = false;
    if (written) {
      block.written = block.submitted;
    } else {
      block.marked = true;
    }
  }
  done_.notify_all();
  return written;
}

Status WriteOut::until_all_durable(Lock& lock) {
  TRY(others, until_durable(lock, 1, blocks_.size() - 1));
  TRY(header, until_durable(lock, 0, 0));
  usable_ = true;
  return Done{};
}

Status WriteOut::until_usable(Lock& lock) {
  return usable_ ? Status(Done{}) : until_all_durable(lock);
}

}  // namespace mdtool
