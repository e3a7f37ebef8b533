// SPDX-License-Identifier: GPL-2.0-or-later
// Where an array's members have room for a bitmap, and how a bitmap is cut there. All places are sectors from the
// superblock, the same on every member. Knows no content.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "libmeta/bitmap/header.h"
#include "libraid/assemble/assembly.h"
#include "libraid/edit/bitmap_change.h"

namespace mdtool {

// How a bitmap lies on the members.
struct BitmapShape {
  bitmap::Kind kind = bitmap::Kind::none;
  std::int64_t offset_sectors = 0;
  bitmap::Geometry geometry;
  std::uint32_t sectors_reserved = 0;  // of a lockless one
  std::uint64_t room_bytes = 0;

  std::uint64_t used_bytes() const;
  std::uint64_t area_bytes() const;  // whole 4 KiB, as far as there is room
};

std::int64_t bitmap_offset_sectors(const MemberDescription&);  // of a member that has one

// The new bitmap's sectors beside the first are none of the old one's: written first, they change nothing, and the
// first sector, with the header, then makes the one into the other at once.
bool turns_over_in_place(const BitmapShape& before, const BitmapShape& after);

// The shape that the target asks for, beside `before` or so that this turns into it. Refused where no room is enough.
Result<BitmapShape> choose_shape(std::span<const Member* const> members, const BitmapTarget& target,
                                 const std::optional<BitmapShape>& before, const BitmapView& view);

// The member's bad-block log, empty or not, lies under this bitmap.
bool covers_log(const BitmapShape&, const MemberDescription&);

// An external file has room for all chunks, of the size wanted or kept.
Result<BitmapShape> shape_in_file(const BitmapTarget& target, const BitmapView& view);

}  // namespace mdtool
