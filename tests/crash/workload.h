// SPDX-License-Identifier: GPL-2.0-or-later
// What is done to an array before its power is cut, and the recording of it: the log of all members, and what users
// were told.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/crash/live_machine.h"
#include "tests/crash/machine.h"
#include "tests/crash/marks.h"
#include "tests/crash/oracle.h"

namespace mdtool::crash {

enum class Step : std::uint8_t {
  write_sector,
  write_part,    // of a chunk
  write_stripe,  // a whole one
  write_across,  // the end of one and the beginning of the next
  flush,
  discard,
  zero,
  idle,    // time passes, and what is due is done
  fail,    // a member fails for good, if one may
  reopen,  // an orderly stop, and a new start
  resync,
  build_parity,
  undo,  // of the resync or build-parity just before
};
constexpr std::size_t step_count = 13;

struct Workload {
  ArraySpec spec;
  std::vector<Step> steps;
  std::uint64_t seed = 1;
  std::string name() const;
};

// Every workload of the seed by its number: all sequences of one and two steps on every kind of array, then random ones
// without end.
std::uint64_t short_workloads();
// The first of them are on one kind of array each.
std::uint64_t kinds_of_arrays();
// Which workload comes when, so that any run of them has something of everything: each short one once in
// turns_of_all(), and random ones between them.
std::uint64_t workload_number(std::uint64_t turn);
std::uint64_t turns_of_all();
Workload workload(std::uint64_t seed, std::uint64_t number);

struct Recording {
  std::vector<Image> first;   // the members before
  std::vector<Image> newest;  // as reads would find them at the end
  Log log;
  Oracle oracle;
  struct Death {
    std::size_t position;
    std::uint32_t slot;
    bool for_good;  // else it may have failed once only
  };
  std::vector<Death> deaths;
  // Of a resync or build-parity that was the first to write; good for cuts until `undo_until`.
  std::unique_ptr<UndoRecorder> undo;
  std::size_t undo_until = 0;
  // While undoing: a cut there leaves members of different ages, and undoing again is the way out.
  std::size_t undo_began = 0, undo_ended = 0;
  Complaint complaint;  // something failed, or read wrong, without a cut
};

// An operation that is to fail while the workload runs.
struct PlannedTrouble {
  Trouble trouble = Trouble::eio;
  std::uint64_t nth = 0;  // 0: none
};

// Runs to its end, whatever fails. `befell` tells whether the trouble came about.
struct Played {
  std::unique_ptr<Recording> recording;
  bool befell = false;
};
Played play(const Workload&, const Mutant*, const PlannedTrouble& = {});

}  // namespace mdtool::crash
