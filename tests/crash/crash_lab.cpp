// SPDX-License-Identifier: GPL-2.0-or-later
// The crash laboratory's command line: see usage below, and README.md.
#include <malloc.h>

#include <charconv>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/crash/crash_point.h"
#include "tests/crash/explorer.h"
#include "tests/crash/hunt.h"
#include "tests/crash/mutant.h"
#include "tests/crash/troubles.h"

namespace mdtool::crash {

namespace {

constexpr const char* usage =
    "crash_lab explore [SEED [STATES [PART/PARTS]]]   crash states of many workloads, until so many were checked\n"
    "crash_lab sweep [SEED [ONE-IN [PART/PARTS]]]     one in so many states of every short workload\n"
    "crash_lab mutants [SEED [STATES [NAME]]]         every mutant has to be noticed within so many states\n"
    "crash_lab troubles [SEED [ONE-IN]]               the n-th operation fails, for every n, kind of trouble and verb, "
    "on\n"
    "                                                 one in so many kinds of arrays\n"
    "crash_lab --replay SEED:WORKLOAD:POSITION:STATE  one state again, and what led to it\n";

std::vector<std::uint64_t> numbers(std::string_view text, char separator) {
  std::vector<std::uint64_t> out;
  while (!text.empty()) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) {
      return {};
    }
    out.push_back(value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty() && text.front() != separator) {
      return {};
    }
    text.remove_prefix(text.empty() ? 0 : 1);
  }
  return out;
}

void print_event(const ArraySpec& spec, std::size_t at, const Event& e) {
  constexpr std::array kinds{"write", "durable", "flush", "flush failed"};
  std::printf("  %4zu slot %" PRIu32 " %s", at, e.member, kinds[static_cast<std::size_t>(e.kind)]);
  if (e.sectors != 0) {
    if (const auto row = spec.row_of(e.sector)) {
      std::printf(" rows %" PRIu64 "+%" PRIu64 "%s", *row, e.sectors, spec.p_slot(*row) == e.member ? " P" : "");
    } else {
      std::printf(" %s+%" PRIu64, e.sector >= spec.bitmap_sector() ? "bitmap" : "superblock", e.sectors);
    }
  }
  std::printf("\n");
}

void print(const Tally& t, double seconds) {
  std::printf("workloads %" PRIu64 ", log positions %" PRIu64 ", states enumerated %" PRIu64
              ", distinct states recovered and checked %" PRIu64 " (%" PRIu64
              " of them cut during a recovery), %.1f s, %.0f states/s\n",
              t.workloads, t.positions, t.enumerated, t.checked, t.nested, seconds,
              static_cast<double>(t.checked) / std::max(seconds, 1e-9));
}

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

struct Part {
  std::uint64_t part = 0, parts = 1;
};

struct Extent {
  std::uint64_t most_states = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t most_turns = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t one_in = 1;
};

int explore(std::uint64_t seed, const Extent& extent, Part part) {
  const auto began = std::chrono::steady_clock::now();
  Tally all;
  int violations = 0;
  constexpr int most_violations = 20;
  std::uint64_t turn = 0;
  for (; all.checked < extent.most_states && turn < extent.most_turns && violations < most_violations; ++turn) {
    if (mixed(turn) % part.parts != part.part) {
      continue;
    }
    const std::uint64_t number = workload_number(turn);
    const Workload w = workload(seed, number);
    const Hunted hunted = hunt(w, nullptr, {.one_in = extent.one_in});
    all += hunted.tally;
    if (hunted.found) {
      ++violations;
      std::printf("%s: %s\n  replay: crash_lab --replay %" PRIu64 ":%" PRIu64 ":%zu:%" PRIu64 "\n", w.name().c_str(),
                  hunted.found->complaint.c_str(), seed, number, hunted.found->where.position,
                  hunted.found->where.state);
    }
  }
  std::printf("seed %" PRIu64 ", part %" PRIu64 " of %" PRIu64 ", turn %" PRIu64 " of %" PRIu64
              " in which all short sequences come once: ",
              seed, part.part, part.parts, turn, turns_of_all());
  print(all, seconds_since(began));
  return violations == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int mutants(std::uint64_t seed, std::uint64_t most_states, std::string_view name) {
  int survivors = 0;
  std::uint64_t count = 0;
  for (const Mutant& mutant : all_mutants()) {
    if (mutant.name.find(name) == std::string_view::npos) {
      continue;
    }
    const MutantFate fate = hunt_mutant(mutant, seed, most_states);
    ++count;
    if (fate.complaint) {
      std::printf("killed  %-62s %8" PRIu64 " states, workload %" PRIu64 ": %s\n", std::string(mutant.name).c_str(),
                  fate.states, fate.workload, fate.complaint->c_str());
    } else {
      ++survivors;
      std::printf("SURVIVED %s (%" PRIu64 " states)\n", std::string(mutant.name).c_str(), fate.states);
    }
  }
  std::printf("%" PRIu64 " mutants, %d survived\n", count, survivors);
  return survivors == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int troubles(std::uint64_t seed, std::uint64_t one_in) {
  const TroubleTally tally = all_troubles(seed, one_in);
  for (const std::string& complaint : tally.complaints) {
    std::printf("%s\n", complaint.c_str());
  }
  std::printf("%" PRIu64 " runs in which an operation failed, %" PRIu64 " crash states after them, %zu complaints\n",
              tally.runs, tally.states, tally.complaints.size());
  return tally.complaints.empty() ? EXIT_SUCCESS : EXIT_FAILURE;
}

int replay(const std::vector<std::uint64_t>& name) {
  const Workload w = workload(name[0], name[1]);
  const Played played = play(w, nullptr);
  std::printf("%s\n", w.name().c_str());
  const std::vector<Event>& events = played.recording->log.events();
  for (std::size_t at = 0; at < events.size(); ++at) {
    std::printf("%s", at == name[2] ? "       ---- cut ----\n" : "");
    print_event(w.spec, at, events[at]);
  }
  Explorer explorer(w.spec, *played.recording, w.seed, nullptr, {.only = StateName{name[2], name[3]}});
  const auto found = explorer.explore();
  std::printf("recovery:\n");
  for (std::size_t at = 0; at < explorer.last_recovery().events().size(); ++at) {
    print_event(w.spec, at, explorer.last_recovery().events()[at]);
  }
  std::printf("%s\n", found ? found->complaint.c_str() : "no violation");
  return found ? EXIT_FAILURE : EXIT_SUCCESS;
}

int run(std::span<char* const> arguments) {
  const auto text = [&](std::size_t i) { return std::string_view(i < arguments.size() ? arguments[i] : ""); };
  const auto number = [&](std::size_t i, std::uint64_t otherwise) {
    const auto given = numbers(text(i), ':');
    return given.empty() ? otherwise : given.front();
  };
  const auto part = [&](std::size_t i) {
    const auto given = numbers(text(i), '/');
    return given.size() == 2 && given[1] != 0 ? Part{given[0] % given[1], given[1]} : Part{};
  };
  constexpr std::uint64_t states = 100'000;
  if (text(1) == "explore") {
    return explore(number(2, 1), {.most_states = number(3, states)}, part(4));
  }
  if (text(1) == "sweep") {
    return explore(number(2, 1), {.most_turns = turns_of_all(), .one_in = number(3, 64)}, part(4));
  }
  if (text(1) == "mutants") {
    return mutants(number(2, 1), number(3, states), text(4));
  }
  if (text(1) == "troubles") {
    return troubles(number(2, 1), number(3, 8));
  }
  if (const auto name = numbers(text(2), ':'); text(1) == "--replay" && name.size() == 4) {
    return replay(name);
  }
  std::fputs(usage, stderr);
  return 2;
}

}  // namespace

}  // namespace mdtool::crash

int main(int argc, char** argv) {
  // Buffers that every recovery takes and gives back stay with the process.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  return mdtool::crash::run(std::span(argv, static_cast<std::size_t>(argc)));
}
