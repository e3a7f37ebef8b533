// SPDX-License-Identifier: GPL-2.0-or-later
// A dump that can be shown to anybody: identities, names, times, paths and serial numbers replaced, each by the same
// throughout, so that everything still fits together as well or as badly as it did. Every byte that no known structure
// accounts for is zero.
#pragma once

#include <array>

#include "libmeta/result.h"
#include "libraid/edit/bundle_format.h"

namespace mdtool {

// Random, and forgotten afterwards: without it nobody can tell whether a dump is of an array that he knows.
using Salt = std::array<unsigned char, 32>;

// Differences between times stay, to the second; of the journal and of the partial parity log's content nothing does.
Result<Bundle> anonymized(const Bundle& bundle, const Salt& salt);

}  // namespace mdtool
