// SPDX-License-Identifier: GPL-2.0-or-later
// First inputs for each fuzz target, cut out of the fixtures: what a kernel wrote, so that mutations start behind the
// first check.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace mdtool::fuzz {

using Input = std::vector<std::uint8_t>;

// Never empty: every target has at least one. A target that is not known ends the process.
std::vector<Input> seeds_for(std::string_view target);

}  // namespace mdtool::fuzz
