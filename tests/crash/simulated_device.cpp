// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/simulated_device.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace mdtool::crash {

void Log::clear() {
  events_.clear();
  bytes_.clear();
}

void Log::write(std::uint32_t member, std::uint64_t offset_bytes, std::span<const std::byte> in) {
  events_.push_back({EventKind::write, member, offset_bytes / sector_bytes, in.size() / sector_bytes, bytes_.size()});
  bytes_.insert(bytes_.end(), in.begin(), in.end());
}

void Log::harden(std::uint32_t member, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  events_.push_back({EventKind::harden, member, offset_bytes / sector_bytes, length_bytes / sector_bytes, 0});
}

void FaultScript::arm(Trouble trouble, std::uint64_t n) {
  trouble_ = trouble;
  countdown_ = n;
}

void FaultScript::kill(std::uint32_t member) {
  dead_ |= std::uint64_t{1} << member;
}

bool FaultScript::befalls(Operation operation) const {
  switch (trouble_) {
    case Trouble::enospc:
    case Trouble::short_write:
    case Trouble::erofs:
      return operation == Operation::write;
    case Trouble::flush_eio:
      return operation == Operation::flush;
    case Trouble::eio:
    case Trouble::enodev:
      break;
  }
  return true;
}

FaultScript::Verdict FaultScript::meet(std::uint32_t member, Operation operation, std::size_t position) {
  const std::uint64_t bit = std::uint64_t{1} << member;
  if ((dead_ & bit) != 0) {
    return {ENODEV};
  }
  if (operation == Operation::write && (unwritable_ & bit) != 0) {
    return {write_errno_};
  }
  if (countdown_ == 0 || !befalls(operation) || --countdown_ != 0) {
    return {};
  }
  fired_ = Fired{position, member};
  switch (trouble_) {
    case Trouble::eio:
    case Trouble::flush_eio:
      return {EIO};
    case Trouble::short_write:
      return {EIO, true};
    case Trouble::enospc:
      unwritable_ |= bit;
      write_errno_ = ENOSPC;
      return {ENOSPC, true};
    case Trouble::erofs:
      unwritable_ |= bit;
      write_errno_ = EROFS;
      return {EROFS};
    case Trouble::enodev:
      dead_ |= bit;
      return {ENODEV};
  }
  return {};
}

Status SimulatedDevice::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (!fits(offset_bytes, out.size(), image_->size())) {
    return Error{ErrorKind::out_of_range, "read beyond the end of the simulated device"};
  }
  if (const auto verdict = faults_->meet(member_, FaultScript::Operation::read, log_->events().size());
      verdict.errno_value != 0) {
    return io_error("simulated read", verdict.errno_value);
  }
  std::memcpy(out.data(), image_->data() + offset_bytes, out.size());
  return Done{};
}

Status SimulatedDevice::write(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  if (!fits(offset_bytes, in.size(), image_->size()) || offset_bytes % sector_bytes != 0 ||
      in.size() % sector_bytes != 0) {
    return Error{ErrorKind::out_of_range, "a write beyond the end of the simulated device, or not of whole sectors"};
  }
  const auto verdict = faults_->meet(member_, FaultScript::Operation::write, log_->events().size());
  if (verdict.errno_value != 0) {
    in = in.first(verdict.half ? in.size() / 2 / sector_bytes * sector_bytes : 0);
  }
  if (!in.empty()) {
    log_->write(member_, offset_bytes, in);
    std::memcpy(image_->data() + offset_bytes, in.data(), in.size());
  }
  if (verdict.errno_value != 0) {
    return io_error("simulated write", verdict.errno_value);
  }
  return Done{};
}

Status SimulatedDevice::write_durable(std::uint64_t offset_bytes, std::span<const std::byte> in) {
  TRY(written, write(offset_bytes, in));
  log_->harden(member_, offset_bytes, in.size());
  return Done{};
}

Status SimulatedDevice::flush() {
  const auto verdict = faults_->meet(member_, FaultScript::Operation::flush, log_->events().size());
  log_->add(verdict.errno_value == 0 ? EventKind::flush : EventKind::flush_failed, member_);
  if (verdict.errno_value != 0) {
    return io_error("simulated flush", verdict.errno_value);
  }
  return Done{};
}

}  // namespace mdtool::crash
