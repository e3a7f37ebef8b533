// SPDX-License-Identifier: GPL-2.0-or-later
// Chunks of a lockless bitmap whose state the members' content contradicts: read, compared, never written. Names what
// the kernel's own bugs leave behind.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "libraid/assemble/assembly.h"
#include "libraid/engine/run.h"
#include "libraid/parity/kernels.h"

namespace mdtool {

enum class Doubt {
  wrong_parity_clean,            // Clean, but rows have wrong parity: a sync that ended in mid-chunk
  wrong_parity_clean_unwritten,  // CleanUnwritten, but rows have wrong parity: a member was replaced
  data_in_unwritten,             // Unwritten, but data is not zero: a discard of a part of the chunk
};
std::string_view doubt_name(Doubt);  // "wrong-parity-clean", ...

struct DoubtfulChunk {
  std::uint64_t chunk = 0;
  Doubt doubt = Doubt::wrong_parity_clean;
  friend bool operator==(const DoubtfulChunk&, const DoubtfulChunk&) = default;
};

struct DoubtReport {
  std::vector<DoubtfulChunk> chunks;  // sorted
  std::uint64_t chunks_read = 0;      // whole: one that a stop cut short is not among them
  bool interrupted = false;
};

// Refused without a lockless bitmap that can be used, and while degraded. Rows with blocks that a bad-block log lists
// are not compared; a block that cannot be read fails.
Result<DoubtReport> find_doubts(const Assembly&, const parity::Kernels&, const Run&);

}  // namespace mdtool
