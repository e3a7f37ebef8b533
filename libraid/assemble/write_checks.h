// SPDX-License-Identifier: GPL-2.0-or-later
// What has to hold before any command writes to an array's members, whatever it is going to write.
#pragma once

#include <cstdint>
#include <span>

#include "libraid/assemble/open_array.h"

namespace mdtool {

// Refused: the array has a log that holds back writes, and nothing here replays it.
Status check_no_logs(const Assembly&);

// Refused: groups of members were each written without the other, and nobody but the user knows which one is meant.
Status check_not_split(const Assembly&);

// Refused: something was found, on the array or on a member in use, that forbids writing.
Status check_writable(const Assembly&);

// Every slot has a member whose data counts.
bool whole(const Assembly&, const Forces&);

// Refused: dirty and degraded, without the force that it takes.
Status check_not_dirty_degraded(const Assembly&, const Forces&);

// The highest events on these members (indices into Assembly::members) and in the bitmap, which may be one ahead.
// Refused where the number cannot be real.
Result<std::uint64_t> highest_events(const Assembly&, std::span<const std::size_t> members);

}  // namespace mdtool
