// SPDX-License-Identifier: GPL-2.0-or-later
// A part of a device as a device of its own: what `file@offset+size` names. Knows nothing of why it was cut there.
#pragma once

#include <cstdint>
#include <memory>

#include "libraid/io/block_device.h"

namespace mdtool {

// Reads only. The source outlives it.
class SourceSlice final : public Source {
 public:
  // Fails (out_of_range) if the part does not lie inside of the source.
  static Result<SourceSlice> of(const Source& source, std::uint64_t offset_bytes, std::uint64_t size_bytes);

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;

 private:
  SourceSlice(const Source& source, std::uint64_t offset_bytes, std::uint64_t size_bytes)
      : source_(&source), offset_bytes_(offset_bytes), size_bytes_(size_bytes) {}

  const Source* source_;
  std::uint64_t offset_bytes_;
  std::uint64_t size_bytes_;
};

class Slice final : public BlockDevice {
 public:
  // Both fail (out_of_range) if the part does not lie inside of the device.
  static Result<std::unique_ptr<Slice>> of(std::unique_ptr<BlockDevice> device, std::uint64_t offset_bytes,
                                           std::uint64_t size_bytes);
  // The device outlives the slice.
  static Result<std::unique_ptr<Slice>> of(BlockDevice& device, std::uint64_t offset_bytes, std::uint64_t size_bytes);

  std::uint64_t size_bytes() const override { return part_.size_bytes(); }
  Status read(std::uint64_t offset_bytes, std::span<std::byte> out) const override {
    return part_.read(offset_bytes, out);
  }
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) override;
  Status zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) override;
  Status flush() override { return device_->flush(); }

 private:
  Slice(BlockDevice& device, SourceSlice part, std::uint64_t offset_bytes)
      : device_(&device), part_(part), offset_bytes_(offset_bytes) {}

  std::unique_ptr<BlockDevice> owned_;
  BlockDevice* device_;
  SourceSlice part_;
  std::uint64_t offset_bytes_;
};

}  // namespace mdtool
