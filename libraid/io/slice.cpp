// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/slice.h"

#include <string>

namespace mdtool {
namespace {

Status check_inside(std::uint64_t offset_bytes, std::uint64_t length_bytes, std::uint64_t size_bytes) {
  if (fits(offset_bytes, length_bytes, size_bytes)) {
    return Done{};
  }
  return Error{ErrorKind::out_of_range, std::to_string(length_bytes) + " bytes at byte " +
                                            std::to_string(offset_bytes) + " lie beyond the end at byte " +
                                            std::to_string(size_bytes)};
}

}  // namespace

Result<SourceSlice> SourceSlice::of(const Source& source, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  TRY(inside, check_inside(offset_bytes, size_bytes, source.size_bytes()));
  return SourceSlice(source, offset_bytes, size_bytes);
}

Status SourceSlice::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  TRY(inside, check_inside(offset_bytes, out.size(), size_bytes_));
  return source_->read(offset_bytes_ + offset_bytes, out);
}

Result<std::unique_ptr<Slice>> Slice::of(std::unique_ptr<BlockDevice> device, std::uint64_t offset_bytes,
                                         std::uint64_t size_bytes) {
  TRY(slice, of(*device, offset_bytes, size_bytes));
  slice->owned_ = std::move(device);
  return std::move(slice);
}

Result<std::unique_ptr<Slice>> Slice::of(BlockDevice& device, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  TRY(part, SourceSlice::of(device, offset_bytes, size_bytes));
  return std::unique_ptr<Slice>(new Slice(device, part, offset_bytes));
}

Status Slice::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(inside, check_inside(offset_bytes, in.size(), size_bytes()));
  return device_->write(offset_bytes_ + offset_bytes, in);
}

Status Slice::write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(inside, check_inside(offset_bytes, in.size(), size_bytes()));
  return device_->write_durable(offset_bytes_ + offset_bytes, in);
}

Status Slice::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(inside, check_inside(offset_bytes, length_bytes, size_bytes()));
  return device_->zero(offset_bytes_ + offset_bytes, length_bytes);
}

Status Slice::discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  TRY(inside, check_inside(offset_bytes, length_bytes, size_bytes()));
  return device_->discard(offset_bytes_ + offset_bytes, length_bytes);
}

}  // namespace mdtool
