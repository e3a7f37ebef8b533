// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes to one checksummed zstd frame.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "libmeta/result.h"

namespace mdtool {

Result<std::vector<std::byte>> compressed(std::span<const std::byte> raw);

}  // namespace mdtool
