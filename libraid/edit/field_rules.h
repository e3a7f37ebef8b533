// SPDX-License-Identifier: GPL-2.0-or-later
// Whose a superblock field is: the array's, so that all members must say the same, or one member's. Knows names, no
// values.
#pragma once

#include <string_view>

namespace mdtool {

enum class FieldScope {
  array,     // equal on all members
  place,     // a member's own, but mostly equal: may be set on all of them at once
  member,    // a member's own state
  identity,  // of one member alone
  kept,      // never set by hand: checksums, magics, padding
};

// Of a field as Metadata::fields() names it; unknown names count as the array's.
FieldScope field_scope(std::string_view name);

// The field says where data lies or in what order: with a wrong value everything reads as garbage.
bool maps_data(std::string_view name);

}  // namespace mdtool
