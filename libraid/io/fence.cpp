// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/fence.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace mdtool {
namespace {

std::uint64_t end_of(const PlannedExtent& extent) {
  const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - extent.offset_bytes;
  return extent.offset_bytes + std::min(extent.length_bytes, room);
}

}  // namespace

FencedDevice::FencedDevice(std::unique_ptr<BlockDevice> device, std::vector<PlannedExtent> plan)
    : owned_(std::move(device)), device_(owned_.get()), plan_(std::move(plan)), allowed_(merged(plan_)) {}

FencedDevice::FencedDevice(BlockDevice& device, std::vector<PlannedExtent> plan)
    : device_(&device), plan_(std::move(plan)), allowed_(merged(plan_)) {}

std::vector<FencedDevice::Range> FencedDevice::merged(const std::vector<PlannedExtent>& plan) {
  std::vector<Range> sorted;
  sorted.reserve(plan.size());
  for (const PlannedExtent& extent : plan) {
    sorted.push_back({extent.offset_bytes, end_of(extent)});
  }
  std::sort(sorted.begin(), sorted.end(), [](Range a, Range b) { return a.begin_bytes < b.begin_bytes; });
  std::vector<Range> ranges;
  for (const Range& next : sorted) {
    if (!ranges.empty() && next.begin_bytes <= ranges.back().end_bytes) {
      ranges.back().end_bytes = std::max(ranges.back().end_bytes, next.end_bytes);
    } else {
      ranges.push_back(next);
    }
  }
  return ranges;
}

bool FencedDevice::allows(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  const auto after = std::upper_bound(allowed_.begin(), allowed_.end(), offset_bytes,
                                      [](std::uint64_t offset, Range range) { return offset < range.begin_bytes; });
  if (after == allowed_.begin()) {
    return length_bytes == 0;
  }
  return length_bytes == 0 || fits(offset_bytes, length_bytes, std::prev(after)->end_bytes);
}

Status FencedDevice::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  read_bytes_ += out.size();
  return device_->read(offset_bytes, out);
}

void FencedDevice::require_planned(std::uint64_t offset_bytes, std::uint64_t length_bytes) const {
  if (!allows(offset_bytes, length_bytes)) {
    std::fprintf(stderr, "mdtool: write fence: %" PRIu64 " bytes at byte %" PRIu64 " are not in the plan; ending\n",
                 length_bytes, offset_bytes);
    std::abort();
  }
}

Status FencedDevice::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  require_planned(offset_bytes, in.size());
  written_bytes_ += in.size();
  return device_->write(offset_bytes, in);
}

Status FencedDevice::write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  require_planned(offset_bytes, in.size());
  written_bytes_ += in.size();
  return device_->write_durable(offset_bytes, in);
}

Status FencedDevice::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  require_planned(offset_bytes, length_bytes);
  written_bytes_ += length_bytes;
  return device_->zero(offset_bytes, length_bytes);
}

Status FencedDevice::discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  require_planned(offset_bytes, length_bytes);
  return device_->discard(offset_bytes, length_bytes);
}

Status FencedDevice::write_verified(std::uint64_t offset_bytes, std::span<const std::byte> in,
                                    const Source& past_cache) {
  TRY(written, write(offset_bytes, in));
  TRY(flushed, flush());
  read_bytes_ += in.size();
  TRY(there, mdtool::read_bytes(past_cache, offset_bytes, in.size()));
  const auto [wrote, found] = std::mismatch(in.begin(), in.end(), there.begin());
  if (wrote != in.end()) {
    return Error{ErrorKind::io,
                 "byte " + std::to_string(offset_bytes + static_cast<std::uint64_t>(std::distance(in.begin(), wrote))) +
                     " reads back different from what was written and flushed"};
  }
  return Done{};
}

}  // namespace mdtool
