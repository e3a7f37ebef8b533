// SPDX-License-Identifier: GPL-2.0-or-later
// Members whose writes and flushes are recorded in one log, and what is on them after a power cut at any moment of it.
#pragma once

#include <vector>

#include "libraid/io/memory.h"
#include "tests/raid/fixture.h"

namespace mdtool::test {

struct Event {
  std::size_t member;
  bool flush;
  std::uint64_t offset;
  std::vector<std::byte> bytes;
  std::uint64_t length = ~std::uint64_t{0};  // of what a flush covers

  bool covers(const Event& write) const {
    return flush && member == write.member && write.offset >= offset &&
           fits(write.offset - offset, write.bytes.size(), length);
  }
};

// Writes go to memory and into a log that all members share.
class RecordingDevice final : public BlockDevice {
 public:
  RecordingDevice(Image image, std::size_t member, std::vector<Event>& log)
      : memory_(std::move(image)), member_(member), log_(&log) {}
  std::uint64_t size_bytes() const override { return memory_.size_bytes(); }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override { return memory_.read(offset, out); }
  Status write(std::uint64_t offset, std::span<const std::byte> in) override {
    log_->push_back({member_, false, offset, {in.begin(), in.end()}});
    return memory_.write(offset, in);
  }
  Status write_durable(std::uint64_t offset, std::span<const std::byte> in) override {
    TRY(written, write(offset, in));
    log_->push_back({member_, true, offset, {}, in.size()});
    return Done{};
  }
  Status flush() override {
    log_->push_back({member_, true, 0, {}});
    return Done{};
  }
  const Image& bytes() const { return memory_.bytes(); }

 private:
  MemoryDevice memory_;
  std::size_t member_;
  std::vector<Event>* log_;
};

enum class Lost { nothing, all_unflushed, one_members_unflushed };

// What is on the members after `count` events and a power cut.
inline std::vector<Image> after_cut(std::vector<Image> images, const std::vector<Event>& log, std::size_t count,
                                    Lost lost) {
  const std::size_t unlucky = count % images.size();
  for (std::size_t i = 0; i < count; ++i) {
    const Event& e = log[i];
    if (e.flush) {
      continue;
    }
    bool durable = lost == Lost::nothing || (lost == Lost::one_members_unflushed && e.member != unlucky);
    for (std::size_t j = i + 1; j < count && !durable; ++j) {
      durable = log[j].covers(e);
    }
    if (durable) {
      std::copy(e.bytes.begin(), e.bytes.end(), images[e.member].begin() + static_cast<std::ptrdiff_t>(e.offset));
    }
  }
  return images;
}

}  // namespace mdtool::test
