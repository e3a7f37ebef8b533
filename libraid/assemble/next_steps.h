// SPDX-License-Identifier: GPL-2.0-or-later
// What to do about a finding whose place says nothing of it: one table, by id. Knows no array.
#pragma once

#include <string_view>

namespace mdtool {

// Empty: nothing to be done, or nothing that holds for every array.
std::string_view next_step(std::string_view finding_id);

}  // namespace mdtool
