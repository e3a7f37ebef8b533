// SPDX-License-Identifier: GPL-2.0-or-later
// Two ways to do the same work, by turns: their rates, and the ratio in each round. Knows no arrays.
#pragma once

#include <functional>
#include <string>

namespace mdtool::bench {

// What one of several threads does.
using Work = std::function<void(unsigned thread, unsigned threads)>;

struct Load {
  std::string name;
  bool sequential;  // amount is bytes, else operations
  double amount;
  Work one, other;
};

struct Titles {
  std::string line, one, other;
};

// Prints a line: medians of the rates, the ratio one/other (median, least, most), and the same by processor time, which
// tells more where other programs run meanwhile.
void compare(const Load&, const Titles&, unsigned threads, int rounds);

}  // namespace mdtool::bench
