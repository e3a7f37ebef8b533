// SPDX-License-Identifier: GPL-2.0-or-later
// Sparse images of a dump's members: of their sizes, holding the metadata and nothing else. For mdtool examine, and as
// mdadm --dump makes them, so that mdadm --restore takes them.
#pragma once

#include <string>
#include <vector>

#include "libraid/edit/bundle_format.h"

namespace mdtool {

// One file name for each member, from the last part of its path: no name that leads elsewhere, hides, or has a byte
// that is not printable, and each only once.
std::vector<std::string> image_names(const Bundle& bundle);

// In a folder that is new or empty; nothing is overwritten. Durable when it returns the paths, in the order of the
// members; what was made is removed again where it fails.
Result<std::vector<std::string>> write_images(const Bundle& bundle, const std::string& folder);

}  // namespace mdtool
