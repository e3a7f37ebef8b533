// SPDX-License-Identifier: GPL-2.0-or-later
// Goes through the crash states of a recording, place by place of its log, recovers from each, and from cuts during
// recoveries, and counts what it did.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_set>

#include "tests/crash/crash_point.h"
#include "tests/crash/judge.h"
#include "tests/crash/workload.h"

namespace mdtool::crash {

struct Tally {
  std::uint64_t workloads = 0;
  std::uint64_t positions = 0;   // of logs
  std::uint64_t enumerated = 0;  // crash states, as the model counts them
  std::uint64_t checked = 0;     // different ones, each recovered from and judged
  std::uint64_t nested = 0;      // of those: cuts during a recovery
  std::uint64_t recorded_events = 0;
  Tally& operator+=(const Tally&);
};

// Which state it is, so that it can be seen again.
struct StateName {
  std::size_t position = 0;
  std::uint64_t state = 0;
};

struct Found {
  StateName where;
  std::string complaint;
};

struct Exploration {
  std::optional<StateName> only = std::nullopt;  // this state alone
  std::uint64_t nested_one_in = 32;
  std::uint64_t one_in = 1;  // states of a position that are looked at
};

class Explorer {
 public:
  Explorer(const ArraySpec&, const Recording&, std::uint64_t seed, const Mutant*, const Exploration&);

  // The first violation.
  std::optional<Found> explore();
  const Tally& tally() const { return tally_; }
  // Of the state that was looked at last; while looking, of the one in work.
  const Log& last_recovery() const { return recovery_.log; }

 private:
  struct Trial {
    std::uint64_t state;
    std::uint64_t hash;
  };
  void seek(std::size_t position);
  Complaint explore_position(CrashPoint&, std::uint64_t& state);
  Complaint check_state(const CrashPoint&, const Trial&, std::vector<Image>& scratch);
  Complaint check_variant(const CrashPoint&, const Trial&, std::vector<Image>& scratch, const Situation&, bool nested);
  Complaint check_recovery(const CrashPoint&, const Trial&, const Situation&);
  void update_rows(const std::vector<CrashPoint::Place>&, const std::vector<Image>&, WrongRows&) const;
  std::uint64_t pick_absent(std::uint64_t hash) const;
  RecoveryPath pick_path(std::uint64_t hash, std::uint64_t absent) const;

  const ArraySpec& spec_;
  const Recording& recording_;
  std::uint64_t seed_;
  Exploration how_;
  Judge judge_;
  Tally tally_;
  WrongRows wrong_;  // of what is durable
  std::unordered_set<std::uint64_t> seen_;
  Recovery recovery_, second_recovery_;
  bool undo_possible_ = false;
  bool undo_only_ = false;
  std::vector<std::size_t> told_;  // places of the log where users were told something, sorted
};

}  // namespace mdtool::crash
