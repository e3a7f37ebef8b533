// SPDX-License-Identifier: GPL-2.0-or-later
// An edit that gives an array another identity, cut off in its middle: the members then look like two arrays.
#pragma once

#include <span>

#include "libraid/edit/fields.h"

namespace mdtool {

// Of two arrays of which one is what the edit makes of the other, that other; null for anything else.
const Assembly* left_to_edit(std::span<const Assembly> arrays, const FieldEdit& edit);

}  // namespace mdtool
