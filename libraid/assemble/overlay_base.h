// SPDX-License-Identifier: GPL-2.0-or-later
// What of a member binds an overlay to it: its superblock and the header of its bitmap, and the name by which it is
// known again.
#pragma once

#include "libraid/assemble/candidate.h"
#include "libraid/io/overlay_file.h"

namespace mdtool {

// The candidate's sources outlive the overlay. Refused where there is no superblock.
Result<OverlayBase> overlay_base(const Candidate& candidate);
// A bitmap in a file of its own: written above the array, too, so it goes under the same overlay.
OverlayBase overlay_base_of_bitmap_file(const std::string& path, const Source& file);

}  // namespace mdtool
