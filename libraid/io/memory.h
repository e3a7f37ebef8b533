// SPDX-License-Identifier: GPL-2.0-or-later
// A device whose bytes are in memory: for tests, and for looking at metadata that was already read.
#pragma once

#include <cstddef>
#include <vector>

#include "libraid/io/block_device.h"

namespace mdtool {

class MemoryDevice final : public BlockDevice {
 public:
  explicit MemoryDevice(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  const std::vector<std::byte>& bytes() const { return bytes_; }

  std::uint64_t size_bytes() const override { return bytes_.size(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  // As from a disk that gives back what is discarded: zeroes.
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    return zero(offset_bytes, length_bytes);
  }
  Status flush() override { return Done{}; }

 private:
  Status check_inside(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  std::vector<std::byte> bytes_;
};

}  // namespace mdtool
