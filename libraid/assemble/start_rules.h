// SPDX-License-Identifier: GPL-2.0-or-later
// Whether, and at what price, the kernel and mdadm would start an array: the verdict and its reasons.
#pragma once

#include "libraid/assemble/assembly.h"

namespace mdtool {

// Members in these slots (ascending, each once) would be enough to start the array, were it clean. False for a level or
// layout that is not known.
bool enough_slots(const Assembly& a, const std::vector<std::uint32_t>& held);

// Fills in verdict, reasons and the findings that belong to them. Everything else of the assembly must be there.
void judge_start(Assembly&);

}  // namespace mdtool
