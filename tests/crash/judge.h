// SPDX-License-Identifier: GPL-2.0-or-later
// The invariants: what has to hold of the members as a power cut left them, of what the real recovery makes of them,
// and of everything that can be read before and after.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "tests/crash/machine.h"
#include "tests/crash/marks.h"
#include "tests/crash/oracle.h"

namespace mdtool::crash {

enum class RecoveryPath : std::uint8_t { resync, live, undo };

struct Situation {
  std::uint64_t absent = 0;  // bit per slot: not there after the cut
  RecoveryPath path = RecoveryPath::resync;
  const UndoRecorder* undo = nullptr;  // for RecoveryPath::undo
  std::uint32_t cuts = 1;              // one after the other, without a recovery that ended between
  // An undo was cut: members may be of different ages until it is run again.
  bool undoing = false;
  // Array sectors that an earlier, forced recovery has named already.
  std::vector<SectorRange> uncertain = {};
};

// What a recovery did.
struct Recovery {
  Log log;
  std::size_t undone = 0;              // what came before in the log was undoing
  std::vector<SectorRange> uncertain;  // array sectors that were named as uncertain
};

class Judge {
 public:
  // `first`: the members before anything happened. All outlive the judge.
  Judge(const ArraySpec&, const std::vector<Image>& first, const Oracle&, const Mutant*);

  // For cuts at this position; `dead`: bit per slot, had failed by then; `degraded_since`: the array has lacked a
  // member from there on.
  void seek(std::size_t position, std::uint64_t dead, std::optional<std::size_t> degraded_since);

  // Looks at what the cut left on `images`, recovers, and looks again. `recovery` gets what was written to them.
  Complaint judge(std::vector<Image>& images, WrongRows wrong, const Situation&, Recovery& recovery) const;

  // Every write of the log lies where metadata or data is.
  Complaint out_of_bounds(const Log&) const;

 private:
  using Read = std::function<Status(std::uint64_t array_sector, std::span<std::byte> out)>;

  ArrayMark mark_of(const Machine&) const;
  Complaint check_start(const Machine&, std::uint64_t absent, std::uint32_t torn) const;
  Complaint check_cut(Machine&, const std::vector<Image>&, const WrongRows&, const Situation&, const Forces&,
                      std::vector<SectorRange>& uncertain) const;
  Complaint recover(Machine&, const std::vector<Image>&, const Situation&, const Forces&, Recovery&) const;
  template <typename Look>  // Complaint look(const Oracle::Allowed&)
  Complaint look_at_all(const std::vector<std::uint64_t>& more_rows, Look look) const;
  Complaint check_members(const std::vector<Image>&, const std::vector<std::uint64_t>& more_rows) const;
  Complaint check_reads(Machine&, const Forces&, const std::vector<std::uint64_t>& more_rows,
                        std::vector<SectorRange>& uncertain) const;
  Complaint check_sector(const Oracle::Allowed&, const std::byte* bytes) const;
  std::vector<std::uint64_t> other_rows(const Log& recovery) const;

  const ArraySpec& spec_;
  const std::vector<Image>& first_;
  const Oracle& oracle_;
  const Mutant* mutant_;
  std::size_t position_ = 0;
  std::uint64_t dead_ = 0;
  std::vector<std::uint64_t> lacking_;     // array sectors whose newest content a missing member lacks
  std::vector<std::uint8_t> has_changes_;  // by row: users write to it
  std::vector<std::uint64_t> sectors_;     // all array sectors of such rows
  std::vector<Oracle::Allowed> allowed_;   // of each of them
};

}  // namespace mdtool::crash
