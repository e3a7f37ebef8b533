// SPDX-License-Identifier: GPL-2.0-or-later
// What `examine` says to people.
#pragma once

#include <span>
#include <string>

#include "cli/members.h"
#include "libraid/assemble/account.h"
#include "libraid/assemble/compatibility.h"

namespace mdtool::cli {

enum class Detail { summary, every_field };

struct ExaminedArray {
  Assembly assembly;
  Account account;
  Compatibility compatibility;
  LocatedFindings findings;
};

// `findings`: about members, and about several arrays.
std::string examine_text(const MemberSet& members, std::span<const ExaminedArray> arrays,
                         const LocatedFindings& findings, Detail detail);

// "raid5 left-symmetric, 4 slots, chunk 64 KiB, metadata 1.2"
std::string shape_text(const Assembly& array);

}  // namespace mdtool::cli
