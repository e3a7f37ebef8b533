// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/faulty.h"

#include <algorithm>
#include <string>

namespace mdtool {
namespace {

bool touches(const Fault& fault, Operation operation, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  if (fault.operation && *fault.operation != operation) {
    return false;
  }
  if (operation == Operation::flush) {
    return true;
  }
  // Written without sums, which could overflow.
  return offset_bytes >= fault.offset_bytes ? offset_bytes - fault.offset_bytes < fault.length_bytes
                                            : fault.offset_bytes - offset_bytes < length_bytes;
}

Error scripted(const Fault& fault, const char* what, std::uint64_t offset_bytes) {
  return io_error(std::string(what) + " at byte " + std::to_string(offset_bytes), fault.errno_value);
}

}  // namespace

void FaultyDevice::add(const Fault& fault) {
  const std::lock_guard lock(mutex_);
  scripts_.push_back({fault});
}

std::uint64_t FaultyDevice::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

std::optional<Fault> FaultyDevice::meet(Operation operation, std::uint64_t offset_bytes,
                                        std::uint64_t length_bytes) const {
  const std::lock_guard lock(mutex_);
  ++operations_;
  std::optional<Fault> met;
  for (Script& script : scripts_) {
    if (!touches(script.fault, operation, offset_bytes, length_bytes)) {
      continue;
    }
    const std::uint64_t nth = script.matched++;
    if (!met && nth >= script.fault.after && nth - script.fault.after < script.fault.times) {
      met = script.fault;
    }
  }
  return met;
}

Status FaultyDevice::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (const auto fault = meet(Operation::read, offset_bytes, out.size())) {
    return scripted(*fault, "reading", offset_bytes);
  }
  return device_->read(offset_bytes, out);
}

Status FaultyDevice::write_part(const Fault& fault, std::uint64_t offset_bytes, std::span<const std::byte> in) {
  const auto part = in.first(static_cast<std::size_t>(std::min<std::uint64_t>(fault.transferred_bytes, in.size())));
  TRY(written, device_->write(offset_bytes, part));
  return scripted(fault, "writing", offset_bytes);
}

Status FaultyDevice::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  if (const auto fault = meet(Operation::write, offset_bytes, in.size())) {
    return write_part(*fault, offset_bytes, in);
  }
  return device_->write(offset_bytes, in);
}

Status FaultyDevice::write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  if (const auto fault = meet(Operation::write, offset_bytes, in.size())) {
    return write_part(*fault, offset_bytes, in);
  }
  if (const auto fault = meet(Operation::flush, offset_bytes, in.size())) {
    TRY(written, device_->write(offset_bytes, in));
    return scripted(*fault, "flushing what was written", offset_bytes);
  }
  return device_->write_durable(offset_bytes, in);
}

Status FaultyDevice::zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  if (const auto fault = meet(Operation::write, offset_bytes, length_bytes)) {
    TRY(zeroed, device_->zero(offset_bytes, std::min(fault->transferred_bytes, length_bytes)));
    return scripted(*fault, "zeroing", offset_bytes);
  }
  return device_->zero(offset_bytes, length_bytes);
}

Status FaultyDevice::discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  if (const auto fault = meet(Operation::write, offset_bytes, length_bytes)) {
    return scripted(*fault, "discarding", offset_bytes);
  }
  return device_->discard(offset_bytes, length_bytes);
}

Status FaultyDevice::flush() {
  if (const auto fault = meet(Operation::flush, 0, 0)) {
    return io_error("flushing", fault->errno_value);
  }
  return device_->flush();
}

}  // namespace mdtool
