// SPDX-License-Identifier: GPL-2.0-or-later
// A device that fails by script: what tests put under an engine. Knows nothing of what the bytes mean.
#pragma once

#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "libraid/io/block_device.h"

namespace mdtool {

enum class Operation { read, write, flush };

struct Fault {
  std::optional<Operation> operation = std::nullopt;  // none: any of them
  // Reads and writes that touch this range; a flush touches every range.
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t after = 0;                                          // operations that match and still succeed
  std::uint64_t times = std::numeric_limits<std::uint64_t>::max();  // then this many fail
  int errno_value = EIO;
  std::uint64_t transferred_bytes = 0;  // what a failing write leaves behind (a short write)
};

class FaultyDevice final : public BlockDevice {
 public:
  explicit FaultyDevice(std::unique_ptr<BlockDevice> device) : owned_(std::move(device)), device_(owned_.get()) {}
  // The device outlives this one.
  explicit FaultyDevice(BlockDevice& device) : device_(&device) {}

  void add(const Fault& fault);
  // Every operation so far, failed ones included.
  std::uint64_t operations() const;

  std::uint64_t size_bytes() const override { return device_->size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  // A write, then a flush: where the flush fails, the bytes were written and are not durable.
  Status write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  // Both are writes; a discard that fails leaves everything as it was.
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status flush() override;

 private:
  struct Script {
    Fault fault;
    std::uint64_t matched = 0;
  };
  Status write_part(const Fault& fault, std::uint64_t offset_bytes, std::span<const std::byte> in);
  // The fault that this operation meets. Counts it.
  std::optional<Fault> meet(Operation operation, std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  std::unique_ptr<BlockDevice> owned_;
  BlockDevice* device_;
  mutable std::mutex mutex_;
  mutable std::vector<Script> scripts_;
  mutable std::uint64_t operations_ = 0;
};

}  // namespace mdtool
