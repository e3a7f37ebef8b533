// SPDX-License-Identifier: GPL-2.0-or-later
// An account of an array for people and as JSON: the table of members, who left when, what can be started. Judges
// nothing.
#pragma once

#include <string>

#include "cli/command.h"
#include "libraid/assemble/account.h"

namespace mdtool::cli {

// One row a member; what does not fit into 80 columns is on a line below its row.
std::string member_table_text(const Assembly& array, const Account& account);
// Empty if nobody left.
std::string history_text(const Assembly& array, const Account& account);
std::string choices_text(const Account& account);
// The first choice once more, as the last line.
std::string next_text(const Account& account);

// Adds "history", "choices" and "halves" to an array's JSON.
void add_account(Json& json, const Assembly& array, const Account& account);

}  // namespace mdtool::cli
