// SPDX-License-Identifier: GPL-2.0-or-later
// SHA-1 (FIPS 180-4), for the one use that md's metadata has for it: 0.90 keeps a host's name as its hash. Not for
// anything that has to be secure.
#pragma once

#include <array>
#include <string_view>

namespace mdtool {

std::array<unsigned char, 20> sha1(std::string_view text);

}  // namespace mdtool
