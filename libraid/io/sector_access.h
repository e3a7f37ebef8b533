// SPDX-License-Identifier: GPL-2.0-or-later
// Any byte of a device that takes whole sectors only: the rest of a sector is read, and written back with it. Two
// writers of one sector do not lose each other. Knows nothing of what is below; allocates nothing per request.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "libraid/io/block_device.h"

namespace mdtool {

class SectorAccess final : public BlockDevice {
 public:
  static constexpr std::uint64_t sector_bytes = 512;

  // The device outlives it, and is written through it alone. Whole sectors are handed on as they come, and overlap as
  // they come. Where the size is no multiple of a sector, the last one is shorter.
  explicit SectorAccess(BlockDevice& device) : device_(device) {}

  std::uint64_t size_bytes() const override { return device_.size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  // The whole sectors of the range.
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status flush() override { return device_.flush(); }

 private:
  struct Range {
    std::uint64_t begin_bytes = 0, end_bytes = 0;  // empty: the place is free
    bool partial = false;                          // sectors of it are read first
  };
  class Claim;
  static constexpr std::size_t most_in_flight = 64;

  Range sectors_of(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;
  Range* place_for(const Range& range);
  // `out` and `in` lie inside of one sector.
  Status read_part(std::uint64_t offset_bytes, std::span<std::byte> out) const;
  Status patch(std::uint64_t offset_bytes, std::span<const std::byte> in);

  BlockDevice& device_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::array<Range, most_in_flight> in_flight_{};
};

}  // namespace mdtool
