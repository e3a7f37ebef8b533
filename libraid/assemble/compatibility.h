// SPDX-License-Identifier: GPL-2.0-or-later
// The oldest kernel and mdadm that accept an array as it is, feature by feature, and what would have to change for an
// older one. Judges what is on disk; knows nothing of the machine that it runs on.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "libraid/assemble/assembly.h"

namespace mdtool {

struct SoftwareVersion {
  int major = 0;
  int minor = 0;
  int patch = 0;  // 2.6.x only
  friend auto operator<=>(const SoftwareVersion&, const SoftwareVersion&) = default;
  bool any() const { return *this == SoftwareVersion{}; }
  std::string text() const;  // "6.18", "2.6.15"
};

// Something about the array that not every kernel or mdadm takes.
struct Requirement {
  std::string id;          // stable, kebab-case: "logical-block-size", "bitmap-lockless"
  std::string what;        // a sentence: what is on disk
  SoftwareVersion kernel;  // the oldest that accepts it; 0.0: any
  SoftwareVersion mdadm;   // the oldest that handles it; 0.0: any
  std::string change;      // what would make it acceptable to others; empty: nothing can
};

struct Compatibility {
  std::vector<Requirement> requirements;  // the most demanding first
  SoftwareVersion oldest_kernel;          // 2.6 where nothing asks for more
  SoftwareVersion oldest_mdadm;           // 2.0 where nothing asks for more
};

Compatibility compatibility_of(const Assembly& array);

}  // namespace mdtool
