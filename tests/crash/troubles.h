// SPDX-License-Identifier: GPL-2.0-or-later
// The n-th operation fails, for n = 1, 2, ... until none does: in every verb and in use. Nothing that failed may be
// called done, and what a power cut leaves afterwards must still be right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mdtool::crash {

struct TroubleTally {
  std::uint64_t runs = 0;    // in which something failed
  std::uint64_t states = 0;  // that power cuts left of them
  std::vector<std::string> complaints;
};

// One in `one_in` of the kinds of arrays for each verb.
TroubleTally all_troubles(std::uint64_t seed, std::uint64_t one_in);

}  // namespace mdtool::crash
