// SPDX-License-Identifier: GPL-2.0-or-later
// One bitmap turned into another, or into none, on the members of an array: superblocks and areas in an order that owes
// no less after any cut than before, and that the same change, planned again from there, finishes. Decides nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "libraid/edit/bitmap_room.h"
#include "libraid/edit/edit_plan.h"

namespace mdtool {

struct BitmapTurn {
  const Assembly* array = nullptr;
  std::vector<const Member*> members;  // that are written: all that are in use, spares too
  std::optional<BitmapShape> before;   // inside the members, where the freshest superblock has it
  std::optional<BitmapShape> after;
  // The area of `after`, whole, once the array's events are known.
  std::function<std::vector<std::byte>(std::uint64_t events)> area;
  std::optional<Sectors> resync_offset;  // none: as the array has it
  std::uint64_t now_seconds = 0;
  enum class Content { as_wanted, to_rewrite } content = Content::as_wanted;  // of a bitmap that keeps its shape
};

// The array's members that a change of its bitmap is written to.
std::vector<const Member*> bitmap_holders(const Assembly& array);

// The array's events afterwards. Nothing is drafted where all members are as wanted.
Result<std::uint64_t> draft_bitmap_turn(EditDraft& draft, const BitmapTurn& turn);

}  // namespace mdtool
