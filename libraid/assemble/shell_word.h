// SPDX-License-Identifier: GPL-2.0-or-later
// Paths as words of commands that people are to type.
#pragma once

#include <string>

namespace mdtool {

// Safe to type into a shell, and never an option.
std::string quoted(const std::string& path);

}  // namespace mdtool
