// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/crash/troubles.h"

#include <array>
#include <string_view>

#include "tests/crash/hunt.h"

namespace mdtool::crash {

namespace {

constexpr std::array<std::string_view, trouble_count> names{"EIO",   "ENOSPC", "a short write",
                                                            "EROFS", "ENODEV", "a failed flush"};
// A run that is still failing after so many operations never ends.
constexpr std::uint64_t most_operations = 20'000;
constexpr std::size_t most_complaints = 20;

const std::vector<std::vector<Step>>& verbs() {
  static const std::vector<std::vector<Step>> all{
      {Step::resync},
      {Step::build_parity},
      {Step::resync, Step::undo},
      {Step::write_sector, Step::write_across, Step::flush, Step::idle, Step::write_part},
      {Step::write_stripe, Step::flush, Step::discard, Step::write_part, Step::zero},
      {Step::idle, Step::write_part, Step::reopen, Step::write_sector, Step::flush},
  };
  return all;
}

void try_all(const Workload& w, Trouble trouble, TroubleTally& tally) {
  for (std::uint64_t nth = 1; tally.complaints.size() < most_complaints; ++nth) {
    const Hunted hunted = hunt(w, nullptr, {.nested_one_in = 256, .one_in = 97}, {trouble, nth});
    tally.states += hunted.tally.checked;
    tally.runs += hunted.befell ? 1 : 0;
    if (hunted.found || nth == most_operations) {
      tally.complaints.push_back(w.name() + ", " + std::string(names[static_cast<std::size_t>(trouble)]) +
                                 " at operation " + std::to_string(nth) + ", cut at " +
                                 std::to_string(hunted.found ? hunted.found->where.position : 0) + ": " +
                                 (hunted.found ? hunted.found->complaint : "it never ends"));
      return;
    }
    if (!hunted.befell) {
      return;
    }
  }
}

}  // namespace

TroubleTally all_troubles(std::uint64_t seed, std::uint64_t one_in) {
  TroubleTally tally;
  std::uint64_t verb = 0;
  for (const std::vector<Step>& steps : verbs()) {
    for (std::uint64_t kind = (seed + verb++) % one_in; kind < kinds_of_arrays(); kind += one_in) {
      Workload w = workload(seed, kind);
      w.steps = steps;
      for (std::size_t t = 0; t < trouble_count; ++t) {
        try_all(w, static_cast<Trouble>(t), tally);
      }
    }
  }
  return tally;
}

}  // namespace mdtool::crash
