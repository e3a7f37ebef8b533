// SPDX-License-Identifier: GPL-2.0-or-later
// The members of an array that is written: a device per slot, and which of them still count. A member that fails once
// stays out for good. Knows no metadata: who records the failures is told by failures_seen().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "libraid/array/array.h"
#include "libraid/io/block_device.h"

namespace mdtool {

// One slot's member. Sectors are component sectors: from data_offset.
struct SlotMember {
  BlockDevice* device = nullptr;  // null: missing
  std::string path;
  Sectors data_offset;
  Sectors valid_until = Sectors::max();  // recovery_offset: from there on the content is neither read nor kept
  std::vector<SectorRange> bad;          // from the bad-block log, sorted: neither read nor written
};

class LiveMembers {
 public:
  // `members` by slot. `tolerated`: how many may be missing before the array has failed.
  LiveMembers(std::vector<SlotMember> members, std::uint32_t tolerated);

  std::uint32_t slots() const { return static_cast<std::uint32_t>(members_.size()); }
  const SlotMember& member(std::uint32_t slot) const { return members_[slot]; }
  // The device is there, whatever its content is worth: metadata is still written to it.
  bool working(std::uint32_t slot) const { return working_[slot].load(std::memory_order_acquire); }
  // Rows of the slot that hold what they should; `until` is the first row where that may change.
  struct Validity {
    bool good;
    Sectors until;
  };
  Validity validity(std::uint32_t slot, Sectors row) const;
  // Every slot works and is valid to its end.
  bool complete() const { return missing_.load(std::memory_order_acquire) == 0; }
  // More members are gone than the level tolerates: nothing may be written any more.
  bool failed() const { return missing_.load(std::memory_order_acquire) > tolerated_; }

  // Refused, saying so, once the array has failed.
  Status check_redundancy() const;

  Status read(std::uint32_t slot, Sectors row, std::span<std::byte> out) const;
  // Of a member that is missing: ErrorKind::io. A write or zeroing that fails takes the member out.
  Status write(std::uint32_t slot, Sectors row, std::span<const std::byte> in);
  Status zero(std::uint32_t slot, SectorRange rows);
  // Every working member; one whose flush fails is taken out. Fails once the array has failed.
  Status flush();

  // Takes a member out. The first reason counts.
  void fail(std::uint32_t slot, Error why);
  // Rises with every member that is taken out.
  std::uint64_t failures_seen() const { return failures_.load(std::memory_order_acquire); }
  struct Failure {
    std::uint32_t slot = 0;
    Error why;
  };
  std::vector<Failure> failures() const;

 private:
  std::uint64_t byte_of(std::uint32_t slot, Sectors row) const;
  Status check_working(std::uint32_t slot) const;

  std::vector<SlotMember> members_;
  std::uint32_t tolerated_;
  std::vector<std::atomic<bool>> working_;
  std::atomic<std::uint32_t> missing_;  // slots without a member that is valid to its end
  std::atomic<std::uint64_t> failures_ = 0;
  mutable std::mutex mutex_;
  std::vector<Failure> reasons_;
};

}  // namespace mdtool
