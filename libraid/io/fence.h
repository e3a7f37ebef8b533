// SPDX-License-Identifier: GPL-2.0-or-later
// The write fence: a device that can be written only where the plan said so. A write outside of the plan is a defect
// of this program and ends it, in releases too, before the byte reaches the device.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libraid/io/block_device.h"

namespace mdtool {

struct PlannedExtent {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
  std::string purpose;  // "superblock", "bitmap", "parity"
};

class FencedDevice final : public BlockDevice {
 public:
  FencedDevice(std::unique_ptr<BlockDevice> device, std::vector<PlannedExtent> plan);
  // The device outlives the fence.
  FencedDevice(BlockDevice& device, std::vector<PlannedExtent> plan);

  const std::vector<PlannedExtent>& plan() const { return plan_; }
  std::uint64_t read_bytes() const { return read_bytes_; }
  std::uint64_t written_bytes() const { return written_bytes_; }

  std::uint64_t size_bytes() const override { return device_->size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  // All four abort the process if any byte lies outside of the plan.
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  // Not counted as written.
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status flush() override { return device_->flush(); }

  // Writes, flushes, reads back through `past_cache` (the same device, without its cache) and compares.
  Status write_verified(std::uint64_t offset_bytes, std::span<const std::byte> in, const Source& past_cache);

 private:
  struct Range {
    std::uint64_t begin_bytes, end_bytes;
  };
  static std::vector<Range> merged(const std::vector<PlannedExtent>& plan);
  bool allows(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;
  void require_planned(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  std::unique_ptr<BlockDevice> owned_;
  BlockDevice* device_;
  std::vector<PlannedExtent> plan_;
  std::vector<Range> allowed_;  // sorted, disjoint, not adjacent
  mutable std::atomic<std::uint64_t> read_bytes_ = 0;
  std::atomic<std::uint64_t> written_bytes_ = 0;
};

}  // namespace mdtool
