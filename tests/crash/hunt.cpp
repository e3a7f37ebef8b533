// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/hunt.h"

#include "tests/crash/crash_point.h"

namespace mdtool::crash {

namespace {

// What a mutant does wrong shows in many states of the right workload, so little of each is looked at.
constexpr Exploration glance{.one_in = 64};

// Where something is made to fail, it is one of the first operations.
constexpr std::uint64_t most_nth = 128;

}  // namespace

Hunted hunt(const Workload& w, const Mutant* mutant, const Exploration& how, const PlannedTrouble& trouble) {
  const Played played = play(w, mutant, trouble);
  Explorer explorer(w.spec, *played.recording, w.seed, mutant, how);
  Hunted hunted;
  hunted.found = explorer.explore();
  hunted.tally = explorer.tally();
  hunted.befell = played.befell;
  return hunted;
}

MutantFate hunt_mutant(const Mutant& mutant, std::uint64_t seed, std::uint64_t most_states) {
  MutantFate fate;
  for (std::uint64_t i = 0; fate.states < most_states; ++i) {
    fate.workload = workload_number(i);
    const Workload w = workload(seed, fate.workload);
    Hunted hunted = hunt(w, &mutant, glance);
    if (!hunted.found) {
      const std::uint64_t random = mixed(w.seed);
      const PlannedTrouble trouble{random % 2 == 0 ? Trouble::eio : static_cast<Trouble>(random / 2 % trouble_count),
                                   1 + random / 64 % most_nth};
      fate.states += hunted.tally.checked;
      hunted = hunt(w, &mutant, glance, trouble);
    }
    // A workload costs something even where no state is looked at.
    fate.states += hunted.tally.checked + 1;
    if (hunted.found) {
      fate.complaint = hunted.found->complaint;
      return fate;
    }
  }
  return fate;
}

}  // namespace mdtool::crash
