// SPDX-License-Identifier: GPL-2.0-or-later
// Where the kernel's tables are: tests have their own.
#pragma once

#include <string>

namespace mdtool {

struct SystemPaths {
  std::string proc = "/proc";
  std::string sys = "/sys";
};

}  // namespace mdtool
