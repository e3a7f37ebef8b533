// SPDX-License-Identifier: GPL-2.0-or-later
// What examine says about the kernels and mdadms that take an array: as text and as JSON. Judges nothing.
#pragma once

#include <string>

#include "cli/command.h"
#include "libraid/assemble/compatibility.h"

namespace mdtool::cli {

// A section of an array's text.
std::string compatibility_text(const Compatibility& compatibility);
// {"oldest_kernel": "6.18", "oldest_mdadm": "4.6", "requirements": [...]}; the versions of a requirement are null where
// any will do.
Json json_of(const Compatibility& compatibility);

}  // namespace mdtool::cli
