// SPDX-License-Identifier: GPL-2.0-or-later
// Plays workloads and explores what a power cut leaves of them, with the engine as it is or with a mutant.
#pragma once

#include <cstdint>
#include <optional>

#include "tests/crash/explorer.h"
#include "tests/crash/mutant.h"

namespace mdtool::crash {

struct Hunted {
  Tally tally;
  std::optional<Found> found;
  bool befell = false;  // the trouble came about
};
Hunted hunt(const Workload&, const Mutant*, const Exploration&, const PlannedTrouble& = {});

struct MutantFate {
  Complaint complaint;  // none: it survived
  std::uint64_t states = 0;
  std::uint64_t workload = 0;
};
MutantFate hunt_mutant(const Mutant&, std::uint64_t seed, std::uint64_t most_states);

}  // namespace mdtool::crash
