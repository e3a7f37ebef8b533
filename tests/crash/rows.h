// SPDX-License-Identifier: GPL-2.0-or-later
// Whether a row's parity agrees with its data, by the plainest arithmetic: shares no code with the engine.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/crash/array_spec.h"

namespace mdtool::crash {

// Makes P and Q of one row (a sector of every member) right. All images are there.
void put_parity(const ArraySpec&, std::vector<Image>& images, std::uint64_t row);
// True if P (and Q) of the row agree with the data. All images are there.
bool row_is_right(const ArraySpec&, const std::vector<Image>& images, std::uint64_t row);

}  // namespace mdtool::crash
