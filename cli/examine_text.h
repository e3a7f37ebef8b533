// SPDX-License-Identifier: GPL-2.0-or-later
// What `examine` says to people.
#pragma once

#include <span>
#include <string>

#include "cli/members.h"

namespace mdtool::cli {

enum class Detail { summary, every_field };

std::string examine_text(const MemberSet& members, std::span<const Assembly> arrays, const LocatedFindings& findings,
                         Detail detail);

// "raid5 left-symmetric, 4 slots, chunk 64 KiB, metadata 1.2"
std::string shape_text(const Assembly& array);

}  // namespace mdtool::cli
