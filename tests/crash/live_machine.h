// SPDX-License-Identifier: GPL-2.0-or-later
// An array in use on simulated members, with a clock that goes on only when told to.
#pragma once

#include <memory>
#include <vector>

#include "libraid/array/live_array.h"
#include "libraid/io/fence.h"
#include "tests/crash/machine.h"
#include "tests/crash/marks.h"

namespace mdtool::crash {

class LiveMachine {
 public:
  // The machine outlives it.
  static Result<std::unique_ptr<LiveMachine>> open(Machine&, const Forces&);

  LiveArray& array() { return *array_; }
  // Time passes, and what is due is done, until nothing is. Fails if that never comes.
  Status idle();

 private:
  explicit LiveMachine(const Log& log) : log_(&log) {}

  const Log* log_;
  std::vector<std::unique_ptr<FencedDevice>> fences_;
  Ticks now_{1000};
  std::unique_ptr<LiveArray> array_;
};

// Takes the array into use, lets it do what is due, and stops it.
Complaint recover_live(Machine&, const Forces&);

}  // namespace mdtool::crash
