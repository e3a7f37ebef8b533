// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/live_members.h"

#include <algorithm>

namespace mdtool {

LiveMembers::LiveMembers(std::vector<SlotMember> members, std::uint32_t tolerated)
    : members_(std::move(members)), tolerated_(tolerated), working_(members_.size()) {
  std::uint32_t missing = 0;
  for (std::size_t slot = 0; slot < members_.size(); ++slot) {
    const SlotMember& member = members_[slot];
    working_[slot] = member.device != nullptr;
    missing += member.device == nullptr || !member.valid_until.is_max() ? 1U : 0U;
  }
  missing_ = missing;
  reasons_.reserve(members_.size());
}

LiveMembers::Validity LiveMembers::validity(std::uint32_t slot, Sectors row) const {
  const SlotMember& member = members_[slot];
  if (!working(slot) || row >= member.valid_until) {
    return {false, Sectors::max()};
  }
  const auto next =
      std::partition_point(member.bad.begin(), member.bad.end(), [&](const SectorRange& r) { return r.end() <= row; });
  if (next == member.bad.end()) {
    return {true, member.valid_until};
  }
  if (next->first <= row) {
    return {false, next->end()};
  }
  return {true, std::min(member.valid_until, next->first)};
}

std::uint64_t LiveMembers::byte_of(std::uint32_t slot, Sectors row) const {
  return (members_[slot].data_offset + row).bytes();
}

Status LiveMembers::check_working(std::uint32_t slot) const {
  if (working(slot)) {
    return Done{};
  }
  return Error{ErrorKind::io, "slot " + std::to_string(slot) + " is missing"};
}

Status LiveMembers::read(std::uint32_t slot, Sectors row, std::span<std::byte> out) const {
  TRY(there, check_working(slot));
  return members_[slot].device->read(byte_of(slot, row), out);
}

Status LiveMembers::write(std::uint32_t slot, Sectors row, std::span<const std::byte> in) {
  TRY(there, check_working(slot));
  Status written = members_[slot].device->write(byte_of(slot, row), in);
  if (!written) {
    fail(slot, written.error());
  }
  return written;
}

Status LiveMembers::zero(std::uint32_t slot, SectorRange rows) {
  TRY(there, check_working(slot));
  Status zeroed = members_[slot].device->zero(byte_of(slot, rows.first), rows.count.bytes());
  if (!zeroed) {
    fail(slot, zeroed.error());
  }
  return zeroed;
}

Status LiveMembers::flush() {
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    if (!working(slot)) {
      continue;
    }
    if (Status flushed = members_[slot].device->flush(); !flushed) {
      fail(slot, flushed.error());
    }
  }
  return check_redundancy();
}

Status LiveMembers::check_redundancy() const {
  if (!failed()) {
    return Done{};
  }
  return Error{ErrorKind::refused, "the array has failed: " + std::to_string(missing_.load()) + " of " +
                                       std::to_string(slots()) + " members are missing; nothing is written any more"};
}

void LiveMembers::fail(std::uint32_t slot, Error why) {
  const std::lock_guard lock(mutex_);
  if (!working(slot)) {
    return;
  }
  working_[slot].store(false, std::memory_order_release);
  if (members_[slot].valid_until.is_max()) {
    missing_.fetch_add(1, std::memory_order_acq_rel);
  }
  reasons_.push_back({slot, std::move(why)});
  failures_.fetch_add(1, std::memory_order_acq_rel);
}

std::vector<LiveMembers::Failure> LiveMembers::failures() const {
  const std::lock_guard lock(mutex_);
  return reasons_;
}

}  // namespace mdtool
