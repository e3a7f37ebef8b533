// SPDX-License-Identifier: GPL-2.0-or-later
// The bad-block log of a 1.x member: ranges whose content there is not valid. Knows its 4 KiB, not whether they are its
// own (a lockless bitmap may run over an empty log) nor what to do about a bad range.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "libmeta/description.h"
#include "libmeta/field.h"
#include "libmeta/finding.h"
#include "libmeta/ondisk.h"
#include "libmeta/sectors.h"
#include "libmeta/source.h"

namespace mdtool::md1 {

constexpr std::uint32_t bad_block_log_sectors_most = 8;  // the one page that super_1_load() reads
constexpr std::uint32_t bad_block_shift_limit = 64;
constexpr std::uint64_t bad_block_end = ~std::uint64_t{0};  // ends the list

// Sectors of the member, from its very start.
struct BadRange {
  Sectors first;
  Sectors count;
  friend bool operator==(const BadRange&, const BadRange&) = default;
};

class BadBlockLog {
 public:
  // At most the first 8 sectors of it; fails if they do not lie on the member or the unit is impossible. The kernel
  // reads a log only where BadBlockLogPlace::not_empty, and so should the caller.
  static Result<BadBlockLog> read(const Source&, const BadBlockLogPlace&);
  // `shift`: units of 512 << shift bytes, below 64.
  static Result<BadBlockLog> decode(std::span<const std::byte> bytes, std::uint8_t shift);

  bool empty() const { return ranges_.empty(); }
  // Sorted, merged, not empty, saturated at the largest sector.
  const std::vector<BadRange>& ranges() const { return ranges_; }
  // True if any sector of [first, first + count) is listed.
  bool covers(Sectors first, Sectors count) const;

  Findings verify(std::uint64_t member_bytes) const;
  Fields fields() const;
  std::vector<std::byte> encode() const;

 private:
  BadBlockLog(std::vector<le64> entries, std::uint8_t shift);
  // Entries before the end mark.
  std::span<const le64> listed() const;

  std::vector<le64> entries_;
  std::uint8_t shift_ = 0;
  std::vector<BadRange> ranges_;
};

}  // namespace mdtool::md1
