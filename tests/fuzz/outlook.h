// SPDX-License-Identifier: GPL-2.0-or-later
// Everything that the libraries make of a set of members, from inspection to the dry plans of both writing tasks, as
// one text: two sets that look alike give equal ones. Ends the process where an answer breaks a promise.
#pragma once

#include <span>
#include <string>

#include "libraid/assemble/assembly.h"

namespace mdtool::fuzz {

// `members` are named m0, m1, ... in their order.
std::string outlook(std::span<const Source* const> members);

// The part that needs no new look at the members: for callers that change one of many.
std::string outlook_of(std::span<const Candidate> candidates);

}  // namespace mdtool::fuzz
