// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/mutant.h"

#include <iterator>

namespace mdtool::crash {

std::vector<Mutant> all_mutants() {
  std::vector<Mutant> all;
  for (std::vector<Mutant> some : {device_mutants(), parity_mutants(), intent_mutants(), superblock_mutants()}) {
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace mdtool::crash
