// SPDX-License-Identifier: GPL-2.0-or-later
// --with PLAN: members as one or several plans would leave them, tried in memory. Knows which candidate a plan means;
// writes nothing.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/members.h"
#include "cli/plan_json.h"

namespace mdtool::cli {

// `--with` as an option of a verb: files that dry runs printed as JSON, in the order in which they are tried.
void add_with_option(Options& app, std::vector<std::string>& plans);

// What a plan knows this candidate by.
PlanMember plan_member(const MemberSet& members, const Candidate& candidate);

// Lays the plans over the members, one above the other. Fails where one cannot be read, names a member that is not
// there, or (refused) was made from other bytes.
Status try_with(MemberSet& members, std::span<const std::string> plans);

}  // namespace mdtool::cli
