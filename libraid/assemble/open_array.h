// SPDX-License-Identifier: GPL-2.0-or-later
// From a judged assembly to an array that can be read, or the reason why not, and which extents of it are uncertain.
#pragma once

#include <string>
#include <vector>

#include "libraid/array/array.h"
#include "libraid/assemble/assembly.h"

namespace mdtool {

// Named checks that the user overrides, one by one.
struct Forces {
  bool ignore_journal = false;  // --force=ignore-journal
  bool dirty_degraded = false;  // --force=dirty-degraded
  bool lazy_recovery = false;   // --force=lazy-recovery: Assembly::lazy_slot's member never left, its data counts
};

struct ReadableArray {
  Array array;
  // Array sectors that are reconstructed from parity which nothing vouches for (dirty and degraded), merged, in order.
  std::vector<SectorRange> uncertain;
  Findings findings;
  bool degraded = false;
};

// Refused (ErrorKind::refused, with the reason): too few members, a journal with content, mid-reshape, unknown feature
// bits, levels other than 4, 5, 6.
Result<ReadableArray> open_for_reading(const Assembly&, const Forces&, const parity::Kernels&);

// True if the user vouches that the member of this slot was only taken out of sync to build lazy parity.
bool taken_as_lazy(const Assembly&, const Forces&, std::uint32_t slot);

// What no engine of this program works on, for reading or writing: levels, reshape, unknown feature bits, clusters.
Result<Layout> workable_layout(const Assembly&);

// Component sectors that the member's bad-block log lists, sorted. An empty log is not read.
Result<std::vector<SectorRange>> bad_ranges(const Member&, const BitmapView&);

// Array sectors that a dirty array with these slots missing may return wrong: their data in everything that is due.
std::vector<SectorRange> uncertain_extents(const Assembly&, const Layout&);

}  // namespace mdtool
