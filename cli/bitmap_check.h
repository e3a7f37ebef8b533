// SPDX-License-Identifier: GPL-2.0-or-later
// mdtool bitmap check: chunks of a lockless bitmap whose state the members' content contradicts, told with what made
// them so and what settles it. Reads, never writes.
#pragma once

#include "cli/command.h"
#include "cli/members.h"

namespace mdtool::cli {

Outcome check_bitmap(const MemberSet& members, const std::optional<Uuid>& uuid, const Surroundings& around);

}  // namespace mdtool::cli
